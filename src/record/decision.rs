//! Cells that were stopped early, and why.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::trial::TrialKey;

/// A cell that was stopped between two rounds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
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
    /// Why.
    pub reason: StopReason,
    /// The figures behind it, in words.
    pub because: String,
}

impl Decision {
    /// Whether a planned trial is not wanted any more because of it.
    pub fn stops(&self, key: &TrialKey) -> bool {
        key.round > self.after_round && self.covers(&key.setting, key.context, key.replicate)
    }

    /// Whether it is about this visit of a cell.
    pub fn covers(&self, setting: &str, context: u32, replicate: u32) -> bool {
        self.context == context && self.setting == setting && self.replicate.is_none_or(|r| r == replicate)
    }
}

/// Why a cell was stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StopReason {
    /// Its verdict cannot change any more; of the reference's second visit: the noise floor is shown to be below
    /// the margin.
    Settled,
    /// Another setting is better, and no worse on speed and memory.
    Dominated,
    /// The budget is spent.
    Budget,
    /// It is the reference, and no other cell of its context length goes on.
    NothingLeft,
}
