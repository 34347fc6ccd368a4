//! What the runs have in common, side by side.

#[cfg(test)]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::judge::analysis::summary::Estimate;
use crate::record::Arm;

/// A run by its name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct RunName {
    /// Name of the run folder.
    pub run: String,
    /// Suite name.
    pub suite: String,
    /// Start of the run (UTC, RFC 3339).
    pub started: String,
}

/// One cell in both runs. Differences are B minus A, ratios B to A.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct ComparedCell {
    /// Setting label.
    pub setting: String,
    /// Context length (tokens).
    pub context: u32,
    /// Why the cell does not count in one of the runs; no figures then.
    pub void: Option<String>,
    /// Primary cases judged in both runs.
    pub pairs: u32,
    /// Primary cases judged in one run only.
    pub unpaired: u32,
    /// Primary tasks (and arms) that both suites have, judged in one run only: they have no part in the figures below.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub not_comparable: Vec<String>,
    /// Cases that lost score, of the primary ones.
    pub lost: u32,
    /// Cases that gained score.
    pub gained: u32,
    /// Mean score in A over primary tasks, of the paired cases (0..1).
    pub quality_a: Option<f64>,
    /// Mean score in B.
    pub quality_b: Option<f64>,
    /// Paired difference (points of the 0..1 scale).
    pub quality: Option<Estimate>,
    /// Paired test of no difference, Holm-adjusted over all cells (0..1).
    pub p_holm: Option<f64>,
    /// Noise floor: the larger mean absolute A/A difference of the two runs (points of the 0..1 scale).
    pub floor: Option<f64>,
    /// Decode rate (tokens/s).
    pub decode: Option<Ratio>,
    /// Cold prefill rate (tokens/s).
    pub prefill: Option<Ratio>,
    /// Time to first token (s).
    pub ttft: Option<Ratio>,
    /// Energy of a request (J).
    pub energy: Option<Ratio>,
    /// Peak memory (bytes).
    pub memory: Option<Ratio>,
    /// Mean KLD from the run's own reference (nat).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kld: Option<Shift>,
    /// Share of the scored replies to tool tasks whose calls stand in the text (0..1).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leaked: Option<Shift>,
    /// Share of the trials that broke (0..1).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<Shift>,
}

/// A figure in both runs whose difference says more than its ratio.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct Shift {
    /// In A.
    pub a: f64,
    /// In B.
    pub b: f64,
    /// B minus A.
    pub difference: Estimate,
}

/// A figure in both runs, over the requests that both have; memory is the peak of each.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct Ratio {
    /// In A.
    pub a: f64,
    /// In B.
    pub b: f64,
    /// B / A: the median over requests of their ratio.
    pub ratio: Estimate,
}

/// A case whose score changed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct Flip {
    /// Setting label.
    pub setting: String,
    /// Context length (tokens).
    pub context: u32,
    /// Task name.
    pub task: String,
    /// Arm, for tool tasks.
    pub arm: Option<Arm>,
    /// Index of the case.
    pub index: u32,
    /// Hash of the case.
    pub case: String,
    /// Score in A (0..1).
    pub score_a: f64,
    /// Score in B (0..1).
    pub score_b: f64,
    /// The beginning of the reply in A, as it came: hostile text.
    pub reply_a: String,
    /// The beginning of the reply in B.
    pub reply_b: String,
}
