//! One case run once on one cell.

#[cfg(test)]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::key::TrialKey;
use super::measurement::Source;
use super::measurements::Measurements;
use super::name::Name;
use super::outcome::Outcome;
use super::reply::Reply;
use super::timestamp::Timestamp;
use crate::clock::Tick;

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
        assert!(size_of::<TrialKey>() <= 8, "{}", size_of::<TrialKey>());
        assert!(size_of::<Outcome>() <= 40, "{}", size_of::<Outcome>());
        assert!(size_of::<Trial>() <= 104, "{}", size_of::<Trial>());
    }
}
