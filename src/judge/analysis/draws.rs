//! Bootstrap draws of what the front trades off.

/// One bootstrap draw; `None` when nothing was drawn that could be measured.
pub(crate) type Draw = Option<f64>;

/// Bootstrap draws of a cell's objectives; empty where there is no such figure.
#[derive(Debug, Clone, Default)]
pub(crate) struct Draws {
    pub(crate) quality: Vec<Draw>,
    /// The same draws with one more case in every task.
    pub(crate) smoothed: Vec<Draw>,
    pub(crate) ttft: Vec<Draw>,
    pub(crate) prefill: Vec<Draw>,
    pub(crate) decode: Vec<Draw>,
    pub(crate) kld: Vec<Draw>,
    pub(crate) energy: Vec<Draw>,
}
