//! What is asked for, and what is answered, as it is published.

#[cfg(test)]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::compared::{ComparedCell, Flip, RunName};
use super::costs::{CostRow, Prices};
use super::headers::Difference;
use super::thresholds::{Regression, Threshold};

/// Version of the JSON form of [`Comparison`].
pub const COMPARE_SCHEMA_VERSION: u32 = 1;

/// What is asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct CompareRequest {
    /// Changes that fail the comparison.
    pub thresholds: Vec<Threshold>,
    /// How many flips to list; the losses come first.
    pub flips: usize,
    /// What the machines cost, where that is known.
    pub prices: Prices,
}

/// Run B against run A.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct Comparison {
    /// [`COMPARE_SCHEMA_VERSION`].
    pub schema_version: u32,
    /// The run that is compared with.
    pub a: RunName,
    /// The run that is judged.
    pub b: RunName,
    /// What else differs between the runs: every change below may be its effect.
    pub differences: Vec<Difference>,
    /// Confidence of intervals (0..1).
    pub confidence: f64,
    /// Bootstrap draws.
    pub draws: u32,
    /// Every cell that both runs have, by context, in the suite order of A.
    pub cells: Vec<ComparedCell>,
    /// Cells that only one run has, in words.
    pub unpaired: Vec<String>,
    /// What speed costs on each machine; there when the machines differ or a price is given.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub costs: Vec<CostRow>,
    /// Cases whose score changed, the largest loss first; at most as many as asked for.
    pub flips: Vec<Flip>,
    /// Cases whose score changed, all of them.
    pub flips_in_all: u32,
    /// The least change (0..1) that counts as one, where not every change does: a probability is another one in its third digit
    /// on every machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub least_flip: Option<f64>,
    /// Changes that fail the comparison when a whole interval lies beyond them.
    pub thresholds: Vec<Threshold>,
    /// Where one did.
    pub regressions: Vec<Regression>,
    /// What the reader must know.
    pub notes: Vec<String>,
}
