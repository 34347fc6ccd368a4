//! What the load phase leaves in a journal: its servers, its steps, and the cases asked under load.

#[cfg(test)]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::launch::LaunchRecord;
use crate::record::suite::Arrivals;
use crate::record::{Measurement, Stage, Trial, TrialKey};

/// A server of the load phase. Its launch is apart from those of the trials: it has other slots, and its memory
/// is not theirs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct LoadtestServer {
    /// The server; round and replicate are 0.
    pub launch: LaunchRecord,
    /// Requests that it was started to work on at the same time.
    pub slots: u16,
    /// How it was warmed up; `None`: it never came up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warm_up: Option<WarmUp>,
}

/// Requests in front of the first step, whose results do not count.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct WarmUp {
    /// How often every slot was given a request at the same time.
    pub rounds: u32,
    /// How long that took in all (s).
    pub seconds: f64,
    /// Whether the last two rounds took the same time to within a tenth; `false`: it was broken off.
    pub steady: bool,
}

/// A step of the load phase on one setting. Times are seconds since its beginning, to the microsecond.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct LoadtestStep {
    /// Setting label.
    pub setting: String,
    /// Context length of a slot (tokens).
    pub context: u32,
    /// Number of the server's launch.
    pub launch: u32,
    /// When requests are sent.
    pub arrivals: Arrivals,
    /// How often a search measured this load before; 0 where steps are listed.
    #[serde(default, skip_serializing_if = "is_first")]
    pub visit: u32,
    /// When it began (UTC, RFC 3339).
    pub started: String,
    /// From when on requests count: the first of every stream have ended (closed loop), or the first of all (open
    /// loop). `None`: it did not get so far.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from_s: Option<f64>,
    /// When the last request that counts was due. Between both the load was full, and every token is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until_s: Option<f64>,
    /// Requests up to `until_s`, in the order in which they were due.
    pub requests: Vec<LoadtestRequest>,
    /// Requests that kept the load up until the last one that counts had ended; what they show is not kept.
    pub pressure: u32,
    /// Most requests under way at the same time.
    pub peak_in_flight: u32,
    /// Why it was broken off: nothing of it counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub broke: Option<String>,
    /// What the probes saw from its beginning to its end.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub measurements: Vec<Measurement>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's form")]
const fn is_first(visit: &u32) -> bool {
    *visit == 0
}

/// One request under load.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct LoadtestRequest {
    /// Position in the step, from 0.
    #[serde(rename = "n")]
    pub number: u32,
    /// Whether it counts; else it brought the load up.
    pub counts: bool,
    /// When it was due (s): in an open loop by the timetable, else when its stream was free. Latencies start here.
    pub due_s: f64,
    /// When it was sent (s); `None`: too many were under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sent_s: Option<f64>,
    /// When its first token arrived (s).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_s: Option<f64>,
    /// When its reply had ended, or it had failed (s).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end_s: Option<f64>,
    /// Times between the events that carry tokens (microseconds).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gaps_us: Vec<u32>,
    /// Prompt tokens by the engine's count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt_tokens: Option<u64>,
    /// Tokens of the reply by the engine's count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_tokens: Option<u64>,
    /// Prompt tokens that came from a cache, by the engine's count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cached_tokens: Option<u64>,
    /// Why its events did not arrive when its tokens were made, such as a parser that kept them back: neither `first_s`
    /// nor `gaps_us` are times of tokens then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub untimed: Option<String>,
    /// Where it failed; `None`: it did not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<Stage>,
    /// What happened then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

impl LoadtestStep {
    /// What tells it from others.
    pub fn key(&self) -> (&str, Arrivals, u32) {
        (&self.setting, self.arrivals, self.visit)
    }
}

impl LoadtestRequest {
    /// Whether its reply came to its end.
    pub fn is_done(&self) -> bool {
        self.sent_s.is_some() && self.failed.is_none()
    }
}

/// A case that was asked while others were under way, or alone on the same server.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct LoadtestTrial {
    /// Requests under way at the same time; 1: alone. Of these, replicate 1 of the key is the second time.
    pub streams: u32,
    /// The trial; its round is 0.
    pub trial: Trial,
}

impl LoadtestTrial {
    /// What tells it from others.
    pub fn key(&self) -> (u32, &TrialKey) {
        (self.streams, &self.trial.key)
    }
}

/// The load phase of a journal.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LoadtestJournal {
    /// Its servers.
    pub servers: Vec<LoadtestServer>,
    /// Steps in the order they ended; one that was tried again only as it ended last.
    pub steps: Vec<LoadtestStep>,
    /// Cases; one that was tried again only as it ended last.
    pub trials: Vec<LoadtestTrial>,
}

impl LoadtestJournal {
    /// The steps of a setting.
    pub fn steps_of<'a>(&'a self, setting: &'a str) -> impl Iterator<Item = &'a LoadtestStep> {
        self.steps.iter().filter(move |step| step.setting == setting)
    }

    /// Whether there was no load phase.
    pub fn is_empty(&self) -> bool {
        self.servers.is_empty() && self.steps.is_empty() && self.trials.is_empty()
    }

    /// Adds a step, in the place of an earlier one of the same setting, arrivals and visit.
    pub fn add_step(&mut self, step: LoadtestStep) {
        match self.steps.iter_mut().find(|known| known.key() == step.key()) {
            Some(known) => *known = step,
            None => self.steps.push(step),
        }
    }
}
