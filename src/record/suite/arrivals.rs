//! When the requests of a load phase's step are sent.

#[cfg(test)]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// When the requests of a step are sent.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Arrivals {
    /// Closed loop: so many streams, each sends its next request when its last has ended.
    Closed(u32),
    /// Open loop: so many requests a second, at exponentially distributed intervals, whatever the server does.
    Poisson(f64),
}

impl Arrivals {
    /// Such as `4 streams` or `0.5 requests/s`.
    pub fn words(self) -> String {
        match self {
            Self::Closed(1) => "1 stream".to_owned(),
            Self::Closed(streams) => format!("{streams} streams"),
            Self::Poisson(rate) => format!("{rate} requests/s"),
        }
    }
}
