//! What the load phase says, as data.

#[cfg(test)]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::capacity::LoadCapacity;
use super::{Estimate, Verdict};
use crate::record::Arm;
use crate::record::journal::loadtest::WarmUp;
use crate::record::suite::{Arrivals, LoadLimits};

/// How the settings serve many requests at once.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct LoadSummary {
    /// Context length of a slot (tokens).
    pub context: u32,
    /// Slots of a server.
    pub slots: u16,
    /// Tokens of the prompts, in turn.
    pub prompt_tokens: Vec<u32>,
    /// Tokens of the replies, in turn.
    pub output_tokens: Vec<u32>,
    /// Tokens that all prompts begin with.
    pub shared_prefix_tokens: u32,
    /// What a request has to keep.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<LoadLimits>,
    /// The servers, one a setting.
    pub servers: Vec<LoadServerRow>,
    /// What a search for the highest load found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capacity: Option<LoadCapacity>,
    /// Every setting at every step, in suite order, or by load where they were searched for.
    pub steps: Vec<LoadRow>,
    /// The same cases alone and under load.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub quality: Vec<LoadQualityRow>,
}

/// A server of the load phase.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct LoadServerRow {
    /// Setting label.
    pub setting: String,
    /// Why it did not come up, or what it changed silently; `None`: it did what was asked.
    pub void: Option<String>,
    /// How it was warmed up.
    pub warm_up: Option<WarmUp>,
    /// Peak GPU memory where it uses a GPU, else peak proportional or resident set size, over all steps (bytes).
    pub peak_bytes: Option<u64>,
    /// KV cache of all slots, or the pool that they share, as the engine reports it (bytes).
    pub kv_bytes: Option<u64>,
    /// Its command line.
    pub command: String,
}

/// A setting at a step. Only requests that were due between the load being full and the last one that counts enter
/// it; latencies start when a request was due, and are of those that were answered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct LoadRow {
    /// Setting label.
    pub setting: String,
    /// When requests are sent.
    pub arrivals: Arrivals,
    /// How often a search measured this load before; 0 where steps are listed.
    #[serde(default, skip_serializing_if = "is_first")]
    pub visit: u32,
    /// Why it shows nothing.
    pub broke: Option<String>,
    /// Requests that count.
    pub requests: u32,
    /// Those of them that failed.
    pub failed: u32,
    /// Those of them that were due but not sent, because too many were under way.
    pub not_sent: u32,
    /// What most of the failed ones said.
    pub error: Option<String>,
    /// Length of the steady part (s).
    pub window_s: Option<f64>,
    /// Tokens generated in it per second (tokens/s).
    pub output_tps: Option<f64>,
    /// Prompt tokens read in it per second, cached ones left out (tokens/s).
    pub prompt_tps: Option<f64>,
    /// Requests answered in it per second (1/s).
    pub requests_per_s: Option<f64>,
    /// Time to the first token (s).
    pub ttft_s: Percentiles,
    /// Time between two events that carry tokens, of all requests together (s).
    pub itl_s: Percentiles,
    /// Time to the end of the reply (s).
    pub e2e_s: Percentiles,
    /// How long after it was due a request was sent (s): the client's own part.
    pub late_s: Percentiles,
    /// Share of the requests that keep all limits (0..1), failed and unsent ones not, with Wilson's interval; `None`
    /// without limits.
    pub within_limits: Option<Estimate>,
    /// Requests answered in the steady part that keep all limits, per second (1/s).
    pub goodput_per_s: Option<f64>,
    /// Most requests under way at the same time.
    pub peak_in_flight: u32,
    /// For an open loop: by how many the requests under way grew over the steady part.
    pub backlog: Option<i64>,
    /// For an open loop: the backlog grew by more than the slots and a tenth of the requests, so latencies depend on
    /// how long the step was.
    pub falls_behind: bool,
    /// Share of the prompt tokens that came from a cache (0..1).
    pub cached: Option<f64>,
    /// Answered requests whose reply was shorter than asked.
    pub short: u32,
    /// Answered requests whose events did not arrive when their tokens were made: they are in no time to the first token
    /// and in no time between tokens.
    #[serde(default)]
    pub untimed: u32,
    /// Why that was so in most of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub untimed_reason: Option<String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's form")]
const fn is_first(visit: &u32) -> bool {
    *visit == 0
}

/// Percentiles by nearest rank; each is absent when fewer than one observation is expected above it (the 99th takes
/// 100, the 95th 20, the 90th 10, the median 2).
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct Percentiles {
    /// Observations.
    pub n: u32,
    /// Median.
    pub p50: Option<f64>,
    /// 90th.
    pub p90: Option<f64>,
    /// 95th.
    pub p95: Option<f64>,
    /// 99th.
    pub p99: Option<f64>,
}

impl Percentiles {
    /// The four of them, ascending.
    pub const fn all(&self) -> [Option<f64>; 4] {
        [self.p50, self.p90, self.p95, self.p99]
    }
}

/// Cases under load against the same cases alone, on the same server.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct LoadQualityRow {
    /// Setting label.
    pub setting: String,
    /// Task name.
    pub task: String,
    /// Arm, for tool tasks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arm: Option<Arm>,
    /// Context length of the cases (tokens).
    pub context: u32,
    /// Requests under way; 1: alone for the second time, the noise floor of this setting.
    pub streams: u32,
    /// Mean score (0..1).
    pub quality: Option<Estimate>,
    /// Paired difference to the first time alone (-1..1).
    pub difference: Option<Estimate>,
    /// Test of no difference, Holm-adjusted over all concurrencies of all settings; in a search times all that it may ask
    /// (Bonferroni); `None` for the noise floor.
    pub p_holm: Option<f64>,
    /// What that comes to, by the same rule as for settings; the noise floor is `reference`.
    pub verdict: Verdict,
    /// Share of the replies that are the same to the byte (0..1).
    pub identical: Option<f64>,
    /// Cases that failed.
    pub failed: u32,
    /// Why cases were not scored.
    pub unscored: Option<String>,
}
