//! How far a setting moved from the reference token by token: divergences, greedy partings, figures of tasks.

#[cfg(test)]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Estimate;
use crate::record::Arm;

/// How far the served next-token distributions are from the reference's (nat; lower bounds, top-K binned).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct KldSummary {
    /// Mean over positions, with an interval over windows.
    pub mean: Estimate,
    /// Median over positions.
    pub median: f64,
    /// 99th percentile over positions.
    pub p99: f64,
    /// 99.9th percentile over positions.
    pub p999: f64,
    /// Root mean square of the change of the actual next token's probability (0..1).
    pub rms_delta_p: f64,
    /// Share of positions at which the most probable token is the same (0..1).
    pub top1_agreement: f64,
    /// Perplexity of the actual text under this cell.
    pub perplexity: f64,
    /// Positions compared.
    pub positions: u32,
    /// Positions whose actual token was outside the listed ones (its probability is bounded, not known).
    pub outside: u32,
    /// Mean probability that the reference gives to tokens that not both lists name (0..1): what moved among them is
    /// not seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unlisted: Option<f64>,
}

/// Served KLD in one band of depth, every figure with an interval: from a bootstrap of the windows, and of blocks
/// of neighbouring positions within a window.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct KldBand {
    /// Setting label.
    pub setting: String,
    /// Context length (tokens).
    pub context: u32,
    /// Tokens that the first position of the band sees.
    pub from: u32,
    /// Tokens that the last position of the band sees.
    pub to: u32,
    /// Mean divergence over positions (nat).
    pub mean: Estimate,
    /// Median (nat).
    pub median: Estimate,
    /// 99th percentile (nat).
    pub p99: Estimate,
    /// 99.9th percentile (nat).
    pub p999: Estimate,
    /// Root mean square of the change of the actual next token's probability (0..1).
    pub rms_delta_p: Estimate,
    /// Share of positions at which the most probable token is the same (0..1).
    pub top1_agreement: Estimate,
    /// Perplexity of the actual text.
    pub perplexity: Estimate,
    /// Positions compared.
    pub positions: u32,
}

/// Whether greedy replies part from the reference's more than the reference's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum DivergenceVerdict {
    /// This is the reference against itself.
    Noise,
    /// On no more cases than the reference parts from itself.
    AsNoise,
    /// On no more cases than the reference parts from itself, but of so few (fewer than 10) that this shows no likeness.
    TooFew,
    /// Earlier or on more cases than the reference parts from itself, beyond chance.
    BeyondNoise,
    /// More than the reference from itself, but so few cases cannot tell.
    Unclear,
    /// The reference did not run twice.
    NoNoiseFloor,
}

/// Where the greedy replies of a setting part from the reference's on the same requests.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct DivergenceRow {
    /// Task name.
    pub task: String,
    /// Setting label.
    pub setting: String,
    /// Context length (tokens).
    pub context: u32,
    /// Share of the replies that part at all (0..1), with Clopper and Pearson's interval.
    pub parted: Estimate,
    /// Median index of the first token that differs, among the replies that part.
    pub median_first: Option<f64>,
    /// Share that has not parted before a token.
    pub survival: Vec<SurvivalPoint>,
    /// Paired log-rank test against the reference's own noise: two-sided sign flips of the differences of the
    /// log-rank scores, Holm-adjusted over the settings of this context length (0..1).
    pub p_holm: Option<f64>,
    /// What that comes to.
    pub verdict: DivergenceVerdict,
    /// Accepted share of drafted tokens over these replies (0..1); `None` without speculation.
    pub draft_acceptance: Option<f64>,
    /// Replies by the accepted share of their drafted tokens; empty without speculation.
    pub by_acceptance: Vec<AcceptanceRow>,
    /// The earliest place at which a reply parts.
    pub example: Option<DivergenceExample>,
}

/// A point of a survival curve (Kaplan and Meier).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct SurvivalPoint {
    /// Index of a token.
    pub token: u32,
    /// Share of the replies that are the same up to this token (0..1).
    pub share: f64,
}

/// Replies whose drafted tokens were accepted to this share.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct AcceptanceRow {
    /// Start of the range (0..1).
    pub from: f64,
    /// End of the range (0..1).
    pub to: f64,
    /// Replies.
    pub replies: u32,
    /// Those of them that part from the reference's.
    pub parted: u32,
}

/// A place at which a reply parts from the reference's. Texts are a model's: escape them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct DivergenceExample {
    /// Index of the case.
    pub index: u32,
    /// Index of the first token that differs.
    pub token: u32,
    /// The end of what both wrote.
    pub before: String,
    /// How the setting went on.
    pub setting: String,
    /// How the reference went on.
    pub reference: String,
}

/// The mean of a task's own figure on a cell, beside the reference's on the same cases.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct FigureRow {
    /// Task name.
    pub task: String,
    /// Arm, for tool tasks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arm: Option<Arm>,
    /// Name of the figure.
    pub figure: String,
    /// Setting label.
    pub setting: String,
    /// Context length (tokens).
    pub context: u32,
    /// 0, or 1 for the reference's second visit.
    pub replicate: u32,
    /// Mean over the cases that have it, with Wilson's interval where all are 0 or 1, else Student's.
    pub value: Estimate,
    /// Mean difference to the reference's first visit over the cases where both have it, with Tango's or
    /// Student's interval.
    pub difference: Option<Estimate>,
}
