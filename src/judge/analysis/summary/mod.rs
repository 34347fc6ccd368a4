//! What a run says, as data: the one input of every report, and the JSON that is published.

#[cfg(test)]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::record::suite::{PackedReference, SampledAlike};
use crate::record::{EngineInfo, Machine, ModelInfo, Objective, Scoring, SelectedCases};

mod absence;
mod capacity;
mod cell;
mod distributions;
mod estimate;
mod judging;
mod loadtest;
mod memory;
mod serving;
mod task;
mod verdict;
mod warning;
mod worded;
mod worker;

pub use absence::{Absence, AbsenceCode};
pub use capacity::{
    CapacityCrowd, CapacityEnd, CapacityQuality, CapacityRow, CapacityStep, LoadCapacity, LoadLimit,
    MissedLimit,
};
pub use cell::{BandwidthSource, CellSummary, EnergySummary, Roofline, SpeedRow, WeightsSummary};
pub use distributions::{
    AcceptanceRow, DivergenceExample, DivergenceRow, DivergenceVerdict, FigureRow, KldBand, KldSummary,
    SurvivalPoint,
};
pub use estimate::Estimate;
pub use judging::{
    FailureRow, FrontSummary, GateResult, GateStatus, Interaction, InteractionFinding, KneeShare,
    NightBefore, StoppingSummary,
};
pub use loadtest::{LoadQualityRow, LoadRow, LoadServerRow, LoadSummary, Percentiles};
pub use memory::{MemoryCheck, MemoryFit, MemoryKind, MemoryPrediction, MemorySummary, PoolSummary};
pub(crate) use memory::{START_NOISE, agree};
pub use serving::{
    AcceptanceHalf, DraftFigures, DraftMemory, DraftPositionRate, DraftStretch, LosslessFinding,
    Losslessness, PrefixCacheRow, SpeculationRow, SpeculationTask, SpeculationVerdict,
};
pub use task::{
    AaSummary, Allowed, ArmRow, ConstrainedArm, ConstraintCost, ConversationRow, DepthRow, EffectiveLength,
    EffectivePoint, HeldArm, HeldFailures, HeldTask, PassRow, RepeatRow, TaskRow, ThinkingRow, TriggerRow,
};
pub use verdict::{FrontStatus, Verdict};
pub use warning::{Figure, Severity, Unit, Warning, WarningCell, WarningCode};
pub use worker::WorkerRow;

/// Version of the JSON form of [`Summary`]. Version 1 had sentences, `flags`, where `warnings` are; version 2 had
/// sentences in `not_measured`.
pub const SUMMARY_SCHEMA_VERSION: u32 = 3;

/// The oldest version that [`Summary`] still reads.
pub const OLDEST_SUMMARY_SCHEMA_VERSION: u32 = 1;

/// Everything a report says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
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
    /// Time from the first to the last trial of every session, in sum (s).
    pub duration_s: f64,
    /// Command that repeats the run.
    pub repeat: String,
    /// Planned trials, the A/A visit included, those that stopping early saved left out.
    pub planned: u32,
    /// Journalled trials.
    pub done: u32,
    /// The machine; where several workers measured, that of the one that measured most.
    pub machine: Machine,
    /// Who measured what, where several workers did.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub workers: Vec<WorkerRow>,
    /// Engine builds.
    pub engines: Vec<EngineInfo>,
    /// Model files.
    pub models: Vec<ModelInfo>,
    /// Label of the reference setting.
    pub reference: String,
    /// Where the reference was measured, when it comes from a pack: then nothing is said of its speed and memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pack: Option<PackedReference>,
    /// Non-inferiority margin (points of the 0..1 scale).
    pub margin: f64,
    /// How answers are scored.
    #[serde(default, skip_serializing_if = "Scoring::is_match")]
    pub score: Scoring,
    /// Time that servers spent on requests (s); the rest of the duration is loading, warming up and what kneepoint does itself.
    #[serde(default)]
    pub busy_s: f64,
    /// Which cases the settings were compared on, where the suite lets the reference choose.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub selection: Vec<SelectedCases>,
    /// Seed of cases and resampling.
    pub seed: u64,
    /// Confidence of intervals (0..1).
    pub confidence: f64,
    /// Bootstrap draws.
    pub draws: u32,
    /// How settings are sampled, those that sample alike together, the reference among the first; left out where all are greedy.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sampling: Vec<SampledAlike>,
    /// What the front trades off.
    pub objectives: Vec<Objective>,
    /// The answer in two sentences.
    pub verdict: String,
    /// What changed since the run before; there only where an earlier run of the suite lies beside this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub night_before: Option<NightBefore>,
    /// Every cell, in suite order, by context.
    pub cells: Vec<CellSummary>,
    /// The noise floor, by context.
    pub aa: Vec<AaSummary>,
    /// Every task on every cell.
    pub tasks: Vec<TaskRow>,
    /// How often all replies to a case are right, and how far they scatter, where cases are asked several times.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub repeats: Vec<RepeatRow>,
    /// How much replies think, on cells where they do.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub thinking: Vec<ThinkingRow>,
    /// Speed by length of the prompt, where a context length has prompts of several.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub speeds: Vec<SpeedRow>,
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
    /// What the server holds of the schemas of each task's requests; left out where it was not asked.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub held: Vec<HeldTask>,
    /// Many requests at once; left out when there was no load phase.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub load: Option<LoadSummary>,
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
    #[serde(alias = "flags", deserialize_with = "worded::of_any_version")]
    pub warnings: Vec<Warning>,
    /// What was not measured, and why.
    #[serde(deserialize_with = "worded::of_any_version")]
    pub not_measured: Vec<Absence>,
}
