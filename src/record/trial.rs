//! One case run once on one cell.

use std::hash::Hash;

#[cfg(test)]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::arm::Arm;
use super::measurement::Source;
use super::measurements::Measurements;
use super::name::Name;
use super::outcome::Outcome;
use super::reply::Reply;
use super::timestamp::Timestamp;
use crate::clock::Tick;

/// Names one planned trial; unique within a run.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct TrialKey {
    /// Setting label, unique in the suite (see [`Setting`](crate::record::suite::Setting)).
    pub setting: Name,
    /// Context length of the cell in tokens.
    pub context: u32,
    /// Round that it belongs to, from 0.
    pub round: u32,
    /// 0, or 1 for the reference's second visit (the A/A pair).
    pub replicate: u32,
    /// Task name.
    pub task: Name,
    /// For tool tasks: the arm.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arm: Option<Arm>,
    /// Index of the case in its task's list.
    pub index: u32,
    /// Which reply to the case it is, from 0, where each case is asked several times; journals before that was possible have none.
    #[serde(default, skip_serializing_if = "is_first")]
    pub repeat: u32,
}

impl TrialKey {
    /// What equal keys share, for tables of millions of them: names by their numbers, not their texts.
    pub(super) fn numbers(&self) -> impl Hash + use<> {
        let Self { setting, context, round, replicate, task, arm, index, repeat } = *self;
        (setting.number(), task.number(), (context, round, replicate), arm, (index, repeat))
    }
}

fn is_first(repeat: &u32) -> bool {
    *repeat == 0
}

/// One case run once on one cell.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct Trial {
    /// Which planned trial this is.
    pub key: TrialKey,
    /// Content hash of the case; empty when it failed before cases could be made.
    pub case: Name,
    /// Which server process answered: number of the launch record in the journal, from 0.
    pub launch: u32,
    /// Start of the request, UTC, RFC 3339.
    pub started: Timestamp,
    /// Start of the request by the monotonic clock; journals before it was kept have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tick: Option<Tick>,
    /// What came back; `None` when nothing did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply: Option<Box<Reply>>,
    /// What was measured, each with its source.
    pub measurements: Measurements,
    /// The judgement.
    pub outcome: Outcome,
}

impl Trial {
    /// The number that `source` measured as `name`, if there is one.
    pub fn measured(&self, name: &str, source: Source) -> Option<f64> {
        self.measurements.number(name, source)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs of ten million trials are judged from memory: what stands in each counts.
    #[test]
    fn a_trial_takes_little_room() {
        assert!(size_of::<TrialKey>() <= 40, "{}", size_of::<TrialKey>());
        assert!(size_of::<Outcome>() <= 40, "{}", size_of::<Outcome>());
        assert!(size_of::<Trial>() <= 176, "{}", size_of::<Trial>());
    }
}
