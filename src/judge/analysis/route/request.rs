//! What is asked for.

/// What is asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RouteRequest {
    /// Label of the fast setting; `None`: the one with the lowest mean latency but the smart one.
    pub fast: Option<String>,
    /// Label of the smart setting; `None`: the reference.
    pub smart: Option<String>,
}
