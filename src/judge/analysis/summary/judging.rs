//! Fronts, interactions, stopping, gates and failures.

#[cfg(test)]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Estimate;
use crate::record::{Decision, Objective, Stage};

/// The front of one context length.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct FrontSummary {
    /// Context length (tokens).
    pub context: u32,
    /// What it trades off: the suite's objectives that any cell has.
    pub objectives: Vec<Objective>,
    /// Settings that are the knee in at least 1% of the joint draws, most often first. The knee is the point of
    /// the front with the largest distance to the chord, on normalised objectives.
    pub knees: Vec<KneeShare>,
    /// Share of draws in which the front has no knee: fewer than three points, or straight or hollow (0..1).
    pub no_knee: Option<f64>,
    /// Volume that the front dominates, every objective as a ratio to the reference's figure (better is larger,
    /// at most 2; a KLD counts as exp(-KLD)): the reference alone has 1. For trends.
    pub hypervolume: Option<Estimate>,
}

/// How often a setting is the knee.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct KneeShare {
    /// Setting label.
    pub setting: String,
    /// Share of the joint draws (0..1).
    pub frequency: f64,
}

/// Two changes of the reference, each alone and both together.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct Interaction {
    /// Context length (tokens).
    pub context: u32,
    /// Setting with the first change alone.
    pub one: String,
    /// Setting with the other change alone.
    pub other: String,
    /// Setting with both changes.
    pub both: String,
    /// What differs in `one`, such as `kv=q4_0`.
    pub first_change: String,
    /// What differs in `other`.
    pub second_change: String,
    /// `both - one - other + reference` over the cases that all four scored (points of the 0..1 scale): below zero
    /// both together cost more than the sum of each.
    pub contrast: Estimate,
    /// What it amounts to.
    pub finding: InteractionFinding,
}

/// What an interaction amounts to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum InteractionFinding {
    /// Each alone is not worse than the reference, both together are, and the interval of the contrast lies below
    /// zero.
    BrokenTogether,
    /// The interval of the contrast lies below zero.
    CostsMore,
    /// The interval of the contrast lies above zero: the damages overlap.
    CostsLess,
    /// The data cannot tell.
    NotSeparable,
}

/// What `[stopping]` did.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct StoppingSummary {
    /// The rule, in the suite's words.
    pub rule: String,
    /// Why the claims hold although the run looked at its results.
    pub guarantee: String,
    /// Cells that were stopped, in order.
    pub decisions: Vec<Decision>,
    /// Trials that were not run because of that.
    pub saved: u32,
}

/// A `[[gate]]` of the suite on one cell.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct GateResult {
    /// The gate, in words.
    pub gate: String,
    /// Setting label.
    pub setting: String,
    /// Context length (tokens).
    pub context: u32,
    /// The figure, with its exact interval where it is a rate of independent pass/fail cases.
    pub value: Option<Estimate>,
    /// Whether it holds.
    pub status: GateStatus,
    /// What that rests on, in words.
    pub because: String,
}

/// Whether a gate holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum GateStatus {
    /// The whole interval lies within the limits.
    Passed,
    /// The whole interval lies beyond a limit, there is no figure, or the gate is strict and not shown to hold.
    Failed,
    /// The interval reaches over a limit: the data cannot tell.
    Open,
    /// The run is not finished where the gate looks.
    Undecided,
}

/// A trial that broke.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct FailureRow {
    /// Setting label.
    pub setting: String,
    /// Context length (tokens).
    pub context: u32,
    /// Task name.
    pub task: String,
    /// Index of the case.
    pub index: u32,
    /// Where it broke.
    pub stage: Stage,
    /// What happened.
    pub error: String,
}

/// What changed since the run before of the same suite on a machine of the same kind. Not from the journal: there only
/// where the run lies in a store with earlier ones. Its texts hold names of settings: escape them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct NightBefore {
    /// Name of that run's folder.
    pub run: String,
    /// Its start (UTC, RFC 3339).
    pub started: String,
    /// Primary cases judged in both runs, over all cells.
    pub pairs: u32,
    /// Cases that lost score.
    pub lost: u32,
    /// Cases that gained score.
    pub gained: u32,
    /// Figures with an interval that were looked at.
    pub figures: u32,
    /// Confidence of these intervals (0..1).
    pub confidence: f64,
    /// Figures whose whole interval lies on the worse side, in words.
    pub worse: Vec<String>,
    /// Figures whose whole interval lies on the better side, in words.
    pub better: Vec<String>,
    /// What else is another one: engine, model file, driver.
    pub set_up: Vec<String>,
}

impl NightBefore {
    /// The answer in one sentence, without the details.
    pub fn sentence(&self) -> String {
        let Self { run, started, pairs, lost, gained, figures, .. } = self;
        let (worse, better) = (self.worse.len(), self.better.len());
        let changed = match (worse, better) {
            (0, 0) => "nothing is shown to have changed".to_owned(),
            _ => format!("{worse} of {figures} figures are worse and {better} better beyond their intervals"),
        };
        let by_chance = f64::from(*figures) * (1.0 - self.confidence);
        let chance = match worse + better {
            0 => String::new(),
            _ => format!(" (about {} of so many are by chance)", by_chance.round().max(1.0)),
        };
        let set_up = match self.set_up.len() {
            0 => "; the set-up is the same".to_owned(),
            _ => format!("; what else changed: {}", self.set_up.join("; ")),
        };
        format!(
            "Since {run} ({started}): {changed}{chance}; of {pairs} cases {lost} lost score and {gained} gained{set_up}."
        )
    }
}
