//! What a run says, as data: the one input of every report, and the JSON that is published.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::memory_formula::MemoryCheck;
use crate::engine::Effective;
use crate::model::kv::KvShape;
use crate::trial::{Arm, Stage, TrialKey};

mod serving;

pub use serving::{
    AcceptanceHalf, DraftFigures, DraftMemory, DraftPositionRate, DraftStretch, LosslessFinding,
    Losslessness, PrefixCacheRow, SpeculationRow, SpeculationTask, SpeculationVerdict,
};

/// Version of the JSON form of [`Summary`].
pub const SUMMARY_SCHEMA_VERSION: u32 = 1;

/// A number with its confidence interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Estimate {
    /// Mean (quality) or median (speed).
    pub value: f64,
    /// Lower end of the interval; `None` when there are too few observations for one.
    pub low: Option<f64>,
    /// Upper end of the interval.
    pub high: Option<f64>,
    /// How many observations.
    pub n: u32,
}

/// Whether a setting keeps the reference's quality (STATISTICS: non-inferiority with a margin).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// This is the reference.
    Reference,
    /// The whole interval of the difference lies above minus the margin.
    NoWorse,
    /// The whole interval lies below zero and beyond the A/A floor.
    Worse,
    /// The data cannot tell.
    NotSeparable,
    /// Nothing was scored.
    NotMeasured,
}

impl Verdict {
    /// The verdict in words.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Reference => "reference",
            Self::NoWorse => "no worse",
            Self::Worse => "worse",
            Self::NotSeparable => "not separable",
            Self::NotMeasured => "not measured",
        }
    }
}

/// Where a cell stands relative to the Pareto front of its context length.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FrontStatus {
    /// On the front in nearly every bootstrap draw.
    OnFront,
    /// Dominated in nearly every bootstrap draw.
    Dominated,
    /// The data cannot tell.
    NotSeparable,
    /// An objective was not measured.
    NotMeasured,
}

/// Which way an objective improves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// More is better.
    Up,
    /// Less is better.
    Down,
}

/// Something that a front trades off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Objective {
    /// Mean score of the primary tasks (0..1).
    Quality,
    /// Decode rate (tokens/s).
    Decode,
    /// Cold prefill rate (tokens/s).
    Prefill,
    /// Time to first token (s).
    Ttft,
    /// Peak memory of the server (bytes).
    Memory,
    /// Mean KLD from the reference (nat); the reference itself is 0.
    Kld,
    /// Energy of a request (J), beyond the idle machine where that is known.
    Energy,
}

impl Objective {
    /// Which way it improves.
    pub const fn direction(self) -> Direction {
        match self {
            Self::Quality | Self::Decode | Self::Prefill => Direction::Up,
            Self::Ttft | Self::Memory | Self::Kld | Self::Energy => Direction::Down,
        }
    }

    /// The name used in suites and reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Quality => "quality",
            Self::Decode => "decode",
            Self::Prefill => "prefill",
            Self::Ttft => "ttft",
            Self::Memory => "memory",
            Self::Kld => "kld",
            Self::Energy => "energy",
        }
    }
}

/// How far the served next-token distributions are from the reference's (nat; lower bounds, top-K binned).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
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
}

/// Served KLD in one band of depth, every figure with an interval: from a bootstrap of the windows, and of blocks
/// of neighbouring positions within a window.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DivergenceVerdict {
    /// This is the reference against itself.
    Noise,
    /// On no more cases than the reference parts from itself.
    AsNoise,
    /// Earlier or on more cases than the reference parts from itself, beyond chance.
    BeyondNoise,
    /// More than the reference from itself, but so few cases cannot tell.
    Unclear,
    /// The reference did not run twice.
    NoNoiseFloor,
}

/// Where the greedy replies of a setting part from the reference's on the same requests.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
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
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SurvivalPoint {
    /// Index of a token.
    pub token: u32,
    /// Share of the replies that are the same up to this token (0..1).
    pub share: f64,
}

/// Replies whose drafted tokens were accepted to this share.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
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

/// Peak memory of a cell (bytes), each `None` with a line in [`Summary::not_measured`].
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct MemorySummary {
    /// The objective `memory`: peak GPU memory of the server where it uses a GPU, else its peak proportional set
    /// size, else its peak resident set size.
    pub peak_bytes: Option<u64>,
    /// Peak resident set size of the process tree.
    pub peak_rss_bytes: Option<u64>,
    /// Peak proportional set size.
    pub peak_pss_bytes: Option<u64>,
    /// Peak anonymous memory.
    pub peak_anon_bytes: Option<u64>,
    /// Peak file-mapped memory.
    pub peak_file_bytes: Option<u64>,
    /// Peak GPU memory of the server's processes, over all cards.
    #[serde(default)]
    pub peak_vram_bytes: Option<u64>,
    /// Peak GPU memory in use on the server's cards, by whomever.
    #[serde(default)]
    pub peak_vram_device_bytes: Option<u64>,
    /// KV cache, as the engine reports it.
    pub kv_bytes: Option<u64>,
    /// Compute buffers, as the engine reports them: those on graphics cards where `peak_bytes` is of these.
    pub compute_bytes: Option<u64>,
    /// Model buffers, as the engine reports them: those on graphics cards where `peak_bytes` is of these.
    pub model_bytes: Option<u64>,
}

/// How well the memory formula of `pick` meets what was measured on the cells of a setting.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct MemoryFit {
    /// Setting label.
    pub setting: String,
    /// What the server takes beside weights, KV cache and compute buffers (bytes): the largest excess.
    pub other_bytes: Option<i64>,
    /// Its cells by context length.
    pub checks: Vec<MemoryCheck>,
}

/// Energy of a cell's chat requests (J).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
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

/// One setting at one context length.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
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
    /// Replies that ran out of output budget.
    pub truncated: u32,
    /// Mean over primary tasks of the mean score (0..1); tasks at which the reference scores 0 are left out.
    pub quality: Option<Estimate>,
    /// Paired difference to the reference (points of the 0..1 scale).
    pub difference: Option<Estimate>,
    /// Smallest difference that this many items could show (0..1); see STATISTICS.
    pub mde: Option<f64>,
    /// Paired test of no difference (exact McNemar or sign flips), Holm-adjusted over the cells of this
    /// context length (0..1).
    pub p_holm: Option<f64>,
    /// Whether the quality is kept.
    pub verdict: Verdict,
    /// Distance from the reference's distributions.
    pub kld: Option<KldSummary>,
    /// Time to first token (s), client's clock.
    pub ttft_s: Option<Estimate>,
    /// Cold prefill rate (tokens/s), engine's where it reports one.
    pub prefill_tps: Option<Estimate>,
    /// Decode rate (tokens/s), client's clock.
    pub decode_tps: Option<Estimate>,
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
    /// Peak memory.
    pub memory: MemorySummary,
    /// Energy, where this machine measures it.
    #[serde(default)]
    pub energy: Option<EnergySummary>,
    /// Position relative to the front.
    pub front: FrontStatus,
    /// Share of joint bootstrap draws in which the cell is on the front (0..1).
    pub front_frequency: Option<f64>,
    /// Exact command of the server, for a shell.
    pub command: Option<String>,
    /// What the server really ran.
    pub effective: Option<Effective>,
}

/// One task on one cell.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TaskRow {
    /// Task name.
    pub task: String,
    /// Arm, for tool tasks.
    pub arm: Option<Arm>,
    /// Setting label.
    pub setting: String,
    /// Context length (tokens).
    pub context: u32,
    /// A sanity check, or only compared: not part of the primary endpoint.
    pub sanity: bool,
    /// Mean score (0..1) with its interval (Wilson for pass/fail scores, bootstrap else).
    pub quality: Option<Estimate>,
    /// Above 97% (nearly no room for a gain, and small damage hides) or at 0 on the reference (no damage can
    /// show): see [`Summary::flags`].
    pub uninformative: bool,
    /// Error labels and how often.
    pub labels: BTreeMap<String, u32>,
    /// Trials with a score.
    pub scored: u32,
    /// Why trials were not scored, and how many.
    pub unscored: BTreeMap<String, u32>,
    /// Trials that broke.
    pub failed: u32,
}

/// Scores of one task by depth of the answer in the context.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DepthRow {
    /// Task name.
    pub task: String,
    /// Setting label.
    pub setting: String,
    /// Context length (tokens).
    pub context: u32,
    /// Start of the bin (0..1).
    pub from: f64,
    /// End of the bin (0..1).
    pub to: f64,
    /// Mean score (0..1), or mean KLD (nat) for `coherence/kld`.
    pub value: f64,
    /// Observations: answers, each part of one that lies in several places by itself.
    pub n: u32,
}

/// Conversations of one task on one cell, with one kind of history.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ConversationRow {
    /// Task name.
    pub task: String,
    /// Setting label.
    pub setting: String,
    /// Context length (tokens).
    pub context: u32,
    /// Whether the conversations went on from the right replies instead of the model's own.
    pub gold: bool,
    /// Conversations with a score.
    pub n: u32,
    /// Mean number of judged turns.
    pub turns: Option<f64>,
    /// Mean score (0..1) in each quarter of the conversation; `None` where no turn falls.
    pub quarters: Vec<Option<f64>>,
    /// Median of the first turn (from 1) that was not all right; `None` when at least half of the conversations have
    /// none.
    pub first_wrong_turn: Option<f64>,
    /// Mean of the last turn up to which at least half of the score was reached.
    pub horizon: Option<f64>,
    /// Share of the turns (0..1) that are wrong because the model followed an earlier mistake of its own.
    pub own_mistake: Option<f64>,
    /// Share of the turns (0..1) that are wrong though nothing wrong that the model said leads there.
    pub forgot: Option<f64>,
    /// Share of the turns (0..1) without an answer that could be judged.
    pub unanswered: Option<f64>,
}

/// How far a setting goes on the ladder of context lengths. A length counts only when all shorter ones do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct EffectiveLength {
    /// Setting label.
    pub setting: String,
    /// Longest context (tokens) up to which the mean score stays within the margin of the reference's at the
    /// same context, by the point estimate; `None`: not even at the shortest.
    pub within_margin: Option<u32>,
    /// Longest context (tokens) up to which that is shown: the verdict is `no_worse`.
    pub shown_within_margin: Option<u32>,
    /// Longest context (tokens) up to which the mean score is at least RULER's fixed line of 0.856.
    pub above_line: Option<u32>,
    /// The ladder, by context.
    pub points: Vec<EffectivePoint>,
}

/// A setting at one context length of the ladder.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct EffectivePoint {
    /// Context length (tokens).
    pub context: u32,
    /// Mean score of the primary tasks (0..1).
    pub quality: Option<Estimate>,
    /// Paired difference to the reference (points of the 0..1 scale).
    pub difference: Option<Estimate>,
    /// Whether the quality is kept.
    pub verdict: Verdict,
}

/// The reference against itself: the noise floor.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AaSummary {
    /// Context length (tokens).
    pub context: u32,
    /// Pairs of items.
    pub pairs: u32,
    /// Share of pairs with different scores (0..1).
    pub discordance: f64,
    /// Mean absolute difference of the two visits, over primary tasks (points of the 0..1 scale): no
    /// setting is called worse for less than this.
    pub floor: f64,
    /// Share of chat pairs with byte-identical replies (0..1).
    pub identical_replies: f64,
    /// Paired difference of the two visits.
    pub difference: Option<Estimate>,
    /// Largest KLD between the two visits (nat); `None` when kld did not run.
    pub max_kld: Option<f64>,
}

/// A user's own requests (`tools/requests`) on one setting: does it call tools where the reference does?
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TriggerRow {
    /// Setting label; the reference's own row compares its second visit with its first, the noise floor.
    pub setting: String,
    /// Context length (tokens).
    pub context: u32,
    /// Requests that both answered.
    pub cases: u32,
    /// Requests on which both called tools.
    pub both: u32,
    /// Requests on which the setting alone did.
    pub only_setting: u32,
    /// Requests on which the reference alone did.
    pub only_reference: u32,
    /// F1 of calling tools at all, the reference's finish reason taken as the truth (0..1), with a bootstrap
    /// interval over requests; `None` when neither ever called.
    pub f1: Option<Estimate>,
    /// Calls that the setting made on those requests.
    pub calls: u32,
    /// Calls whose tool is offered and whose arguments are valid against its schema.
    pub valid_calls: u32,
}

/// What the arms of a tool task show on a cell: the same requests, asked in other ways.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ArmRow {
    /// Task name.
    pub task: String,
    /// Setting label.
    pub setting: String,
    /// Context length (tokens).
    pub context: u32,
    /// Mean score of the native arm minus that of the prompted one, over the requests that both scored (points of
    /// the 0..1 scale): what the engine's template, grammar and parser contribute. `None` without such requests.
    pub native: Option<Estimate>,
    /// What holding the output to a form does; `None` where the arm has no answer.
    pub constrained: Option<ConstrainedArm>,
}

/// What holding the output to a form brings, and costs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ConstrainedArm {
    /// Mean score of the constrained arm minus that of the prompted one, over the requests that both scored (points
    /// of the 0..1 scale). `None` without such requests.
    pub difference: Option<Estimate>,
    /// Share of the requests that the server took (0..1), with Wilson's interval. Not taken are those whose schema it
    /// could not compile and, where the task does not tell, those that it refused.
    pub coverage: Estimate,
    /// Share of what came for those that is valid against the schema (0..1), calls of a request averaged; with
    /// Wilson's interval where all are 0 or 1, else Student's. `None` where the task does not say.
    pub compliance: Option<Estimate>,
    /// What it costs; `None` where neither other arm was timed on the same requests.
    pub cost: Option<ConstraintCost>,
}

/// Time and speed of the constrained arm, as ratios to those of another arm on the same requests (client's clock).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ConstraintCost {
    /// The other arm: native, or prompted where native was not timed.
    pub against: Arm,
    /// Median over requests of the ratio of the times to first token; above 1 is slower.
    pub ttft: Option<Estimate>,
    /// Median over requests of the ratio of the decode rates; below 1 is slower.
    pub decode: Option<Estimate>,
}

/// The front of one context length.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
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
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct KneeShare {
    /// Setting label.
    pub setting: String,
    /// Share of the joint draws (0..1).
    pub frequency: f64,
}

/// Two changes of the reference, each alone and both together.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
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
    /// `both - one - other + reference` over the items that all four scored (points of the 0..1 scale): below zero
    /// both together cost more than the sum of each.
    pub contrast: Estimate,
    /// What it amounts to.
    pub finding: InteractionFinding,
}

/// What an interaction amounts to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
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

/// A cell that was stopped between two rounds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Decision {
    /// The last round that it was part of, from 0.
    pub after_round: u32,
    /// Setting label.
    pub setting: String,
    /// Context length (tokens).
    pub context: u32,
    /// Why.
    pub reason: StopReason,
    /// The figures behind it, in words.
    pub because: String,
}

impl Decision {
    /// Whether a planned trial is not wanted any more because of it.
    pub fn stops(&self, key: &TrialKey) -> bool {
        key.round > self.after_round && key.context == self.context && key.setting == self.setting
    }
}

/// Why a cell was stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StopReason {
    /// Its verdict cannot change any more.
    Settled,
    /// Another setting is better, and no worse on speed and memory.
    Dominated,
    /// The budget is spent.
    Budget,
    /// It is the reference, and no other cell of its context length goes on.
    NothingLeft,
}

/// A `[[gate]]` of the suite on one cell.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct GateResult {
    /// The gate, in words.
    pub gate: String,
    /// Setting label.
    pub setting: String,
    /// Context length (tokens).
    pub context: u32,
    /// The figure, with its exact interval where it is a rate of independent pass/fail items.
    pub value: Option<Estimate>,
    /// Whether it holds.
    pub status: GateStatus,
    /// What that rests on, in words.
    pub because: String,
}

/// Whether a gate holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum GateStatus {
    /// The whole interval lies within the limits.
    Passed,
    /// The whole interval lies beyond a limit, there is no figure, or the gate is strict and not shown to hold.
    Failed,
    /// The interval reaches over a limit: the data cannot tell.
    Open,
}

/// A trial that broke.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
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

/// The machine that a run was made on.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Machine {
    /// Operating system and kernel.
    pub os: String,
    /// Processor.
    pub cpu: String,
    /// Logical processors.
    pub cpus: u32,
    /// Memory (bytes).
    pub memory_bytes: u64,
    /// GPUs, by name.
    pub gpus: Vec<String>,
    /// Mean power of a card before the first server started (W), where the driver says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle_gpu_w: Option<f64>,
    /// What all processors together move when they copy memory (bytes/s), read and written bytes both counted; the
    /// median of several copies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_copy_bytes_per_s: Option<f64>,
    /// Mean clock of the processors when the run started (Hz).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_hz: Option<f64>,
    /// Highest clock of the first processor (Hz).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_max_hz: Option<f64>,
    /// What decides on the clock of the first processor, such as `performance`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_governor: Option<String>,
    /// What the cards' drivers say of them, when the run started.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cards: Vec<GpuCard>,
}

/// A graphics card as its driver describes it; `None` where it does not say.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct GpuCard {
    /// Name.
    pub name: String,
    /// Driver and its version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub driver: Option<String>,
    /// Memory (bytes).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
    /// Clock of the cores when the run started (Hz).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock_hz: Option<f64>,
    /// Highest clock of the cores (Hz).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_clock_hz: Option<f64>,
    /// Highest clock of the memory (Hz).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_memory_clock_hz: Option<f64>,
    /// What it may draw (W).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub power_limit_w: Option<f64>,
    /// Link to the machine when the run started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pcie: Option<String>,
    /// Instances that MIG has split it into.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub instances: Vec<String>,
}

/// A model file that was used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ModelInfo {
    /// Name in the suite.
    pub name: String,
    /// Weight quant.
    pub weights: String,
    /// Where it came from, in words.
    pub origin: String,
    /// Requantised by kneepoint from another quant (not the publisher's own).
    pub derived: bool,
    /// SHA-256 of the file.
    pub sha256: String,
    /// Size of the file (bytes).
    pub bytes: u64,
    /// What its KV cache holds for each token, from the file's metadata; runs before it was kept have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kv: Option<KvShape>,
    /// Why `kv` is absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kv_unknown: Option<String>,
}

/// An engine build that was used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EngineInfo {
    /// Engine name.
    pub name: String,
    /// Version as the binary says it.
    pub version: String,
    /// Where it came from, in words.
    pub origin: String,
}

/// Everything a report says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Summary {
    /// [`SUMMARY_SCHEMA_VERSION`].
    pub schema_version: u32,
    /// Version of kneepoint that measured.
    pub tool_version: String,
    /// Suite name.
    pub suite: String,
    /// What the suite is for.
    pub description: String,
    /// Fingerprint of the resolved suite.
    pub fingerprint: String,
    /// Name of the run folder.
    pub run: String,
    /// Start of the run (UTC, RFC 3339).
    pub started: String,
    /// Time from the first to the last trial (s).
    pub duration_s: f64,
    /// Command that repeats the run.
    pub repeat: String,
    /// Planned trials, the A/A visit included, those that stopping early saved left out.
    pub planned: u32,
    /// Journalled trials.
    pub done: u32,
    /// The machine.
    pub machine: Machine,
    /// Engine builds.
    pub engines: Vec<EngineInfo>,
    /// Model files.
    pub models: Vec<ModelInfo>,
    /// Label of the reference setting.
    pub reference: String,
    /// Non-inferiority margin (points of the 0..1 scale).
    pub margin: f64,
    /// Seed of cases and resampling.
    pub seed: u64,
    /// Confidence of intervals (0..1).
    pub confidence: f64,
    /// Bootstrap draws.
    pub draws: u32,
    /// What the front trades off.
    pub objectives: Vec<Objective>,
    /// The answer in two sentences.
    pub verdict: String,
    /// Every cell, in suite order, by context.
    pub cells: Vec<CellSummary>,
    /// The noise floor, by context.
    pub aa: Vec<AaSummary>,
    /// Every task on every cell.
    pub tasks: Vec<TaskRow>,
    /// By depth.
    pub depths: Vec<DepthRow>,
    /// Conversations of many turns, by quarter; left out when there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conversations: Vec<ConversationRow>,
    /// Served KLD by band of depth, where a case has several.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kld_bands: Vec<KldBand>,
    /// Where greedy replies part from the reference's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub divergence: Vec<DivergenceRow>,
    /// What speculation does, on every cell that speculates.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub speculation: Vec<SpeculationRow>,
    /// What keeps the server's prefix cache, where `serving/prefix_cache` ran.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub prefix_cache: Vec<PrefixCacheRow>,
    /// Tasks' own figures.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub figures: Vec<FigureRow>,
    /// Memory by formula against measured memory, for settings whose model's KV cache is known.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub memory_fits: Vec<MemoryFit>,
    /// How far each setting goes; empty with fewer than two context lengths.
    #[serde(default)]
    pub effective: Vec<EffectiveLength>,
    /// A user's own requests against the reference; empty when no suite task imports any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub triggers: Vec<TriggerRow>,
    /// What the arms of tool tasks show; left out where no two arms answered the same requests.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub arms: Vec<ArmRow>,
    /// Many requests at once; left out when there was no load phase.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub load: Option<super::load::summary::LoadSummary>,
    /// The fronts, by context.
    #[serde(default)]
    pub fronts: Vec<FrontSummary>,
    /// Pairs of changes that were measured alone and together.
    #[serde(default)]
    pub interactions: Vec<Interaction>,
    /// What stopping early did; `None` without `[stopping]`.
    #[serde(default)]
    pub stopping: Option<StoppingSummary>,
    /// The suite's gates, on every cell that they are about.
    #[serde(default)]
    pub gates: Vec<GateResult>,
    /// Trials that broke.
    pub failures: Vec<FailureRow>,
    /// Things the reader must know: uninformative tasks, disagreeing clocks, noise.
    pub flags: Vec<String>,
    /// What was not measured, and why.
    pub not_measured: Vec<String>,
}
