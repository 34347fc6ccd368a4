//! What was measured on a cell.

use std::collections::BTreeMap;

#[cfg(test)]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Estimate, FrontStatus, KldSummary, MemorySummary, Verdict};
use crate::record::{Effective, Outlook};

/// Energy of a cell's chat requests (J), those apart whose answer was forced.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct EnergySummary {
    /// Median over requests, prefill included; the objective `energy`.
    pub per_request_j: Estimate,
    /// All energy over all tokens generated.
    pub per_token_j: Option<f64>,
    /// All energy over the sum of scores: what an answer that is right costs.
    pub per_right_answer_j: Option<f64>,
    /// Graphics cards are in it.
    pub gpu: bool,
    /// Processor packages are in it.
    pub cpu: bool,
    /// Power of an idle card that was taken off for each card in use (W); `None`: nothing was.
    pub idle_w: Option<f64>,
}

/// The weights that a setting serves.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct WeightsSummary {
    /// Size of the file (bytes).
    pub bytes: u64,
    /// Bits for each of the model's values; `None` where nobody counted these.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bits: Option<f64>,
}

/// How near a cell's decode rate is to what the memory allows.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct Roofline {
    /// What each token reads of the weights (bytes).
    pub weights_bytes: u64,
    /// What each token reads of the KV cache at this context length (bytes).
    pub kv_bytes: u64,
    /// Bandwidth of the memory (bytes/s).
    pub bandwidth: f64,
    /// Where the bandwidth is from.
    pub source: BandwidthSource,
    /// The decode rate times the bytes of a token over the bandwidth: 1 would be all that the memory gives.
    pub share: f64,
}

/// Where a memory's bandwidth is from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum BandwidthSource {
    /// Main memory, measured when the run began: what all processors copy together, bytes read and written both counted.
    Measured,
    /// The card's data sheet.
    DataSheet,
}

/// Speed of a cell on prompts of about one length (medians).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct SpeedRow {
    /// Setting label.
    pub setting: String,
    /// Context length (tokens).
    pub context: u32,
    /// Shortest prompt (tokens).
    pub shortest: u32,
    /// Longest prompt (tokens), less than twice the shortest.
    pub longest: u32,
    /// Time to first token (s), client's clock.
    pub ttft_s: Option<Estimate>,
    /// Cold prefill rate (tokens/s).
    pub prefill_tps: Option<Estimate>,
    /// Decode rate (tokens/s), client's clock.
    pub decode_tps: Option<Estimate>,
    /// The first of them beside the reference's on the same requests; `None` for the reference.
    pub ttft_ratio: Option<Estimate>,
    /// The last of them likewise.
    pub decode_ratio: Option<Estimate>,
}

/// One setting at one context length.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct CellSummary {
    /// Setting label.
    pub setting: String,
    /// Context length (tokens).
    pub context: u32,
    /// Why the cell does not count (the server silently changed something); no figures then.
    pub void: Option<String>,
    /// Trials planned, scored, unscored and failed (the A/A visit of the reference not counted).
    pub planned: u32,
    /// Trials with a score.
    pub scored: u32,
    /// Trials that do not apply.
    pub unscored: u32,
    /// Trials that broke.
    pub failed: u32,
    /// Whether probabilities of answers were read on the way of prompts: a KV type that is not read there shows no damage.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub prefill_path: bool,
    /// Whether next-token distributions were.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub kld_on_prefill_path: bool,
    /// Replies that ran out of output budget.
    pub truncated: u32,
    /// Mean over primary tasks of the mean score (0..1), what broke counted as 0; tasks at which the reference scores 0
    /// are left out. `None` where the cell is not comparable.
    pub quality: Option<Estimate>,
    /// Paired difference to the reference (points of the 0..1 scale).
    pub difference: Option<Estimate>,
    /// Smallest difference that this many cases could show (0..1); see docs/statistics.md, section 4.
    pub mde: Option<f64>,
    /// Texts behind the difference, each with its questions one unit: for answers scored by their probability.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub texts: Option<u32>,
    /// Paired test of no difference (exact McNemar or sign flips), Holm-adjusted over the cells of this
    /// context length (0..1).
    pub p_holm: Option<f64>,
    /// Whether the quality is kept.
    pub verdict: Verdict,
    /// What a verdict would take, where it is open and cells may be looked at any time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outlook: Option<Outlook>,
    /// Primary tasks (and arms) of which the cell has no case in common with the reference: it has no quality then, for
    /// means over different tasks are never compared.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub not_comparable: Vec<String>,
    /// Distance from the reference's distributions.
    pub kld: Option<KldSummary>,
    /// Time to first token (s), client's clock.
    pub ttft_s: Option<Estimate>,
    /// Cold prefill rate (tokens/s), engine's where it reports one.
    pub prefill_tps: Option<Estimate>,
    /// Decode rate (tokens/s), client's clock.
    pub decode_tps: Option<Estimate>,
    /// Time to first token beside the reference's on the same requests: the median of their ratios, above 1 is slower.
    /// Cells are compared by this; `None` for the reference and without shared requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttft_ratio: Option<Estimate>,
    /// Prefill rate beside the reference's likewise; below 1 is slower.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefill_ratio: Option<Estimate>,
    /// Decode rate beside the reference's likewise; below 1 is slower.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decode_ratio: Option<Estimate>,
    /// Energy of a request beside the reference's likewise; above 1 is more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub energy_ratio: Option<Estimate>,
    /// Decode rate as the engine reports it (tokens/s).
    pub engine_decode_tps: Option<Estimate>,
    /// Inter-token latency: median over trials of the 50th and 95th percentile, and the longest (s).
    pub itl_p50_s: Option<f64>,
    /// 95th percentile.
    pub itl_p95_s: Option<f64>,
    /// Longest gap in any trial.
    pub itl_max_s: Option<f64>,
    /// Accepted share of drafted tokens (0..1); `None` without speculation.
    pub draft_acceptance: Option<f64>,
    /// How near its decode rate is to what the memory allows; absent where tokens are drafted, where weights lie in two
    /// memories, and where the bandwidth or the bytes are not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub roofline: Option<Roofline>,
    /// The weights, where their file is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weights: Option<WeightsSummary>,
    /// Peak memory.
    pub memory: MemorySummary,
    /// Energy, where this machine measures it.
    #[serde(default)]
    pub energy: Option<EnergySummary>,
    /// Figures that have no field of their own, by name with unit; see `record::metric`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub figures: BTreeMap<String, Estimate>,
    /// Position relative to the front.
    pub front: FrontStatus,
    /// Share of joint bootstrap draws in which the cell is on the front (0..1).
    pub front_frequency: Option<f64>,
    /// Exact command of the server, for a shell.
    pub command: Option<String>,
    /// What the server really ran.
    pub effective: Option<Effective>,
}

impl CellSummary {
    /// A cell of which nothing is known but its name.
    pub(crate) fn unmeasured(setting: &str, context: u32) -> Self {
        Self {
            setting: setting.into(),
            context,
            void: None,
            prefill_path: false,
            kld_on_prefill_path: false,
            planned: 0,
            scored: 0,
            unscored: 0,
            failed: 0,
            truncated: 0,
            quality: None,
            difference: None,
            mde: None,
            texts: None,
            p_holm: None,
            verdict: Verdict::NotMeasured,
            outlook: None,
            not_comparable: Vec::new(),
            kld: None,
            ttft_s: None,
            prefill_tps: None,
            decode_tps: None,
            ttft_ratio: None,
            prefill_ratio: None,
            decode_ratio: None,
            energy_ratio: None,
            engine_decode_tps: None,
            itl_p50_s: None,
            itl_p95_s: None,
            itl_max_s: None,
            draft_acceptance: None,
            roofline: None,
            weights: None,
            memory: MemorySummary::default(),
            energy: None,
            figures: BTreeMap::new(),
            front: FrontStatus::NotMeasured,
            front_frequency: None,
            command: None,
            effective: None,
        }
    }
}
