//! What a report says of speculation and of the server's cache.

#[cfg(test)]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Estimate;
use crate::record::Arm;

/// What speculation does on a cell.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct SpeculationRow {
    /// Setting label.
    pub setting: String,
    /// Context length (tokens).
    pub context: u32,
    /// Label of the setting that is the same but for speculation; `None`: the suite has none, so nothing can be
    /// compared.
    pub twin: Option<String>,
    /// All requests together.
    pub all: DraftFigures,
    /// By task.
    pub tasks: Vec<SpeculationTask>,
    /// Accepted share by position within a draft, from its first token; empty where the engine does not say.
    pub positions: Vec<DraftPositionRate>,
    /// Accepted share by position in the reply; empty where the engine does not say.
    pub stretches: Vec<DraftStretch>,
    /// Whether the replies stay what they are without it.
    pub losslessness: Losslessness,
    /// What it costs in memory.
    pub memory: DraftMemory,
    /// What it all comes to.
    pub verdict: SpeculationVerdict,
    /// What that rests on, in words.
    pub because: String,
}

/// What the drafts of some requests were good for.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct DraftFigures {
    /// Requests that say how many tokens were drafted.
    pub requests: u32,
    /// Requests for which nothing was drafted.
    pub undrafted: u32,
    /// Tokens drafted.
    pub drafted: u64,
    /// Drafted tokens that were accepted.
    pub accepted: u64,
    /// Accepted share of the drafted tokens (0..1), with a bootstrap interval over cases.
    pub acceptance: Option<Estimate>,
    /// Median over requests of the decode rate beside that of the twin on the same request (client's clock); above 1
    /// is faster.
    pub decode: Option<Estimate>,
    /// Median over requests of the twin's time for the whole reply to this setting's; above 1 is faster. Replies of
    /// another length take another time.
    pub total: Option<Estimate>,
    /// Requests whose reply is the twin's, word by word, of those that both answered.
    pub same_replies: u32,
    /// Requests that both answered.
    pub compared: u32,
}

/// What the drafts of one task's requests were good for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct SpeculationTask {
    /// Task name.
    pub task: String,
    /// Arm, for tool tasks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arm: Option<Arm>,
    /// The figures.
    pub figures: DraftFigures,
}

/// How often the token at a position of the drafts was accepted.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct DraftPositionRate {
    /// Position within the draft, from 1.
    pub position: u32,
    /// Drafts that reach so far.
    pub drafted: u64,
    /// Accepted share of them (0..1), with a bootstrap interval over cases.
    pub acceptance: Estimate,
}

/// Drafts that begin in a stretch of the reply.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct DraftStretch {
    /// Tokens of the reply in front of the stretch.
    pub from: u32,
    /// Tokens of the reply at its end.
    pub to: u32,
    /// Tokens drafted.
    pub drafted: u64,
    /// Accepted share of them (0..1), with a bootstrap interval over cases.
    pub acceptance: Option<Estimate>,
}

/// Whether speculation changes what is said.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct Losslessness {
    /// What can be said.
    pub finding: LosslessFinding,
    /// Greedy replies beside the twin's.
    pub replies: u32,
    /// Those of them that part from the twin's.
    pub parted: u32,
    /// Pairs of the reference against itself, and those of them that part: the noise.
    pub noise_replies: u32,
    /// Pairs of the reference against itself that part.
    pub noise_parted: u32,
    /// Paired log-rank test against that noise, Holm-adjusted over the speculating settings of this context length
    /// (0..1); `None` where there is nothing to test.
    pub p_holm: Option<f64>,
    /// The replies with the lower and with the higher acceptance, split at the median; empty where too few were
    /// drafted.
    pub halves: Vec<AcceptanceHalf>,
    /// Mean KLD from the twin's served distributions (nat), where `coherence/kld` ran and the twin is the reference.
    pub kld: Option<f64>,
}

/// Half of the replies, by the accepted share of their drafts.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct AcceptanceHalf {
    /// Smallest accepted share (0..1).
    pub from: f64,
    /// Largest accepted share (0..1).
    pub to: f64,
    /// Replies.
    pub replies: u32,
    /// Those of them that part from the twin's.
    pub parted: u32,
}

/// What can be said of losslessness.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum LosslessFinding {
    /// Greedy replies part from the twin's no more than the reference's from its own.
    AsNoise,
    /// They part beyond that noise.
    BeyondNoise,
    /// They part more often, but so few replies cannot tell.
    Unclear,
    /// The reference did not run twice.
    NoNoiseFloor,
    /// Sampling is not greedy: equal distributions give different texts.
    NotGreedy,
    /// No task asked for greedy replies to be compared, or there is no twin.
    #[default]
    NotMeasured,
}

/// What speculation costs in memory (bytes), each `None` where it is not known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct DraftMemory {
    /// Peak memory of the server beyond the twin's; below zero where it used less.
    pub beyond_twin_bytes: Option<i64>,
    /// Buffers of the draft model, as the engine reports them.
    pub model_bytes: Option<u64>,
    /// KV cache of the draft model, as the engine reports it.
    pub kv_bytes: Option<u64>,
}

/// What speculation comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum SpeculationVerdict {
    /// The whole interval of the decode rate's ratio lies above 1, and the replies part no more than the noise.
    FasterAndLossless,
    /// The replies part no more than the noise, and the whole interval lies below 1.05.
    LosslessNotFaster,
    /// The replies part beyond the noise.
    NotLossless,
    /// The data cannot tell.
    NotShown,
}

impl SpeculationVerdict {
    /// The verdict in words.
    pub const fn words(self) -> &'static str {
        match self {
            Self::FasterAndLossless => "faster and lossless",
            Self::LosslessNotFaster => "lossless but not faster",
            Self::NotLossless => "not lossless",
            Self::NotShown => "not shown",
        }
    }
}

/// What one change between two requests does to the server's prefix cache.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct PrefixCacheRow {
    /// Setting label.
    pub setting: String,
    /// Context length (tokens).
    pub context: u32,
    /// The change, such as `append`; see [`Variant`](crate::task::serving::Variant).
    pub variant: String,
    /// Cases of three requests that were answered.
    pub cases: u32,
    /// Mean share of the second prompt (0..1) that a cache of prefixes could give; `None`: the server does not show
    /// its prompts as tokens.
    pub possible: Option<Estimate>,
    /// Mean share of the second prompt (0..1) that the server took from its cache; `None`: it does not say.
    pub reused: Option<Estimate>,
    /// Time to first token from the cache (s), median.
    pub warm_ttft_s: Option<Estimate>,
    /// Time to first token of the same request without it (s), median over the cases whose cold request was cold.
    pub cold_ttft_s: Option<Estimate>,
    /// Median over cases of warm to cold time to first token.
    pub ttft_ratio: Option<Estimate>,
    /// Cases with a cold answer: those whose cold request took nothing from the cache, or does not say.
    pub compared: u32,
    /// Those of them whose warm answer is the cold one, word by word.
    pub same: u32,
    /// Those of them whose warm answer is right.
    pub right_warm: u32,
    /// Those of them whose cold answer is right.
    pub right_cold: u32,
}
