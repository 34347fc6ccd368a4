//! A number, and how sure it is.

#[cfg(test)]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A number with its confidence interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct Estimate {
    /// Mean (quality) or median (speed).
    pub value: f64,
    /// Lower end of the interval; `None` when there are too few observations for one.
    pub low: Option<f64>,
    /// Upper end of the interval.
    pub high: Option<f64>,
    /// How many observations.
    pub n: u32,
}
