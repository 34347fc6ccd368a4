//! Cells that were stopped early, and why.

#[cfg(test)]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::key::TrialKey;

/// A cell that was stopped between two rounds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct Decision {
    /// The last round that it was part of, from 0.
    pub after_round: u32,
    /// Setting label.
    pub setting: String,
    /// Context length (tokens).
    pub context: u32,
    /// Only this visit of the cell (1: the reference's second one); absent: all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicate: Option<u32>,
    /// Whether not even its first round is wanted: it was given up before it was tried.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub untried: bool,
    /// Why.
    pub reason: StopReason,
    /// The figures behind it, in words.
    pub because: String,
}

impl Decision {
    /// Whether a planned trial is not wanted any more because of it.
    pub fn stops(&self, key: &TrialKey) -> bool {
        key.round >= self.rounds() && self.covers(&key.setting, key.context, key.replicate)
    }

    /// How many rounds it was part of.
    pub const fn rounds(&self) -> u32 {
        if self.untried { 0 } else { self.after_round.saturating_add(1) }
    }

    /// Whether it is about this visit of a cell.
    pub fn covers(&self, setting: &str, context: u32, replicate: u32) -> bool {
        self.context == context && self.setting == setting && self.replicate.is_none_or(|r| r == replicate)
    }
}

/// A cell whose verdict is open, and what it would take.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct OpenCell {
    /// Setting label.
    pub setting: String,
    /// Context length (tokens).
    pub context: u32,
    /// What it would take.
    pub outlook: Outlook,
}

/// What a verdict would take, if what comes is like what came.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct Outlook {
    /// What is counted.
    pub unit: EvidenceUnit,
    /// Units so far.
    pub seen: u32,
    /// Units in all with which the verdict is expected; `None`: none that anybody would wait for.
    pub needed: Option<u32>,
    /// Time that servers would work on the further ones (s), the reference's share included; `None` where no reply was timed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub further_s: Option<f64>,
}

/// What evidence of a paired difference counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum EvidenceUnit {
    /// Pairs of independent cases, or of clusters of them.
    Pairs,
    /// Texts, each with its questions.
    Texts,
}

impl EvidenceUnit {
    /// Returns the name in sentences.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pairs => "pairs",
            Self::Texts => "texts",
        }
    }
}

/// Why a cell was stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum StopReason {
    /// Its verdict cannot change any more; of the reference's second visit: the noise floor is shown to be below
    /// the margin.
    Settled,
    /// No verdict can be expected within what is planned.
    Undecidable,
    /// Another setting is better, and no worse on speed and memory.
    Dominated,
    /// It would not be chosen: one that is shown to be good enough is better in what was asked for, or what keeps more than it
    /// is worse already.
    NotNeeded,
    /// Its next-token distributions are far from the reference's, and its cases so far lean below the margin: it was given up, and its
    /// verdict stays open.
    Alarm,
    /// The budget is spent.
    Budget,
    /// It is the reference, and no other cell of its context length goes on.
    NothingLeft,
}
