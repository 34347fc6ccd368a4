//! What is answered, as it is published.

#[cfg(test)]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::bytes::Bytes;
use super::longest::Longest;
use super::request::Goal;
use super::warning::Warning;
use crate::judge::analysis::summary::{Estimate, MemoryKind, MemoryPrediction};
use crate::judge::serving::ServeText;

/// Version of the JSON form of [`Pick`].
pub const PICK_SCHEMA_VERSION: u32 = 1;

/// The answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct Pick {
    /// [`PICK_SCHEMA_VERSION`].
    pub schema_version: u32,
    /// Name of the run folder.
    pub run: String,
    /// Suite name.
    pub suite: String,
    /// Label of the reference setting.
    pub reference: String,
    /// Context length asked for, or found to be the longest (tokens).
    pub context: u32,
    /// What stands beyond it, where the longest was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub longest: Option<Longest>,
    /// What a byte buys in weights and in KV cache, where that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<Bytes>,
    /// Measured context lengths that the answer rests on (tokens): `context` itself, or its neighbours.
    pub based_on: Vec<u32>,
    /// What to be the best in.
    pub goal: Goal,
    /// What was required, in words.
    pub requirements: Vec<String>,
    /// What must be read before the answer, the gravest first: on what weak ground it stands. Empty: nothing was seen.
    #[serde(default)]
    pub warnings: Vec<Warning>,
    /// Label of the setting to use.
    pub setting: String,
    /// The command line to serve it with, for a shell: an ordinary port, and nothing that is there only to measure.
    #[serde(default)]
    pub serve_command: Option<String>,
    /// The same in every form in which people keep it; empty where there is no command.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub serve: Vec<ServeText>,
    /// The command line of its server as it was measured, for a shell.
    pub command: Option<String>,
    /// Share of bootstrap draws in which it is the best that meets the requirements (0..1); `None` without
    /// draws, and on so few trials that their draws say nothing.
    pub frequency: Option<f64>,
    /// The second best.
    pub runner_up: Option<RunnerUp>,
    /// Every setting, the pick first, then those that meet the requirements from best to worst, then the
    /// refused ones.
    pub candidates: Vec<CandidateRow>,
    /// Memory of the pick by formula, checked against the measured cells.
    pub memory: MemoryPrediction,
    /// What the reader must know.
    pub notes: Vec<String>,
}

/// The second best, and by how much.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct RunnerUp {
    /// Setting label.
    pub setting: String,
    /// By how much the pick is better in the goal: a share of the runner-up's figure (0.1 is 10%), for `knee`
    /// the difference of the compromise scores (0..1).
    pub margin: Estimate,
    /// Share of draws in which it would have been picked (0..1).
    pub frequency: Option<f64>,
}

/// A setting that could be picked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct CandidateRow {
    /// Setting label.
    pub setting: String,
    /// Quality (0..1).
    pub quality: Option<Estimate>,
    /// Paired difference to the reference (points of the 0..1 scale).
    pub difference: Option<Estimate>,
    /// Decode rate (tokens/s).
    pub decode_tps: Option<Estimate>,
    /// Time to first token (s).
    pub ttft_s: Option<Estimate>,
    /// Energy of a request (J).
    pub energy_j: Option<Estimate>,
    /// Peak memory (bytes): measured, or by formula at a context length that was not.
    pub memory_bytes: Option<u64>,
    /// Which memory that is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_kind: Option<MemoryKind>,
    /// Share of draws in which it is picked (0..1).
    pub frequency: Option<f64>,
    /// Whether nothing of it was run: a search leaves out what can be no better. A setting whose trials are void was run.
    #[serde(default)]
    pub untried: bool,
    /// Why it is refused; empty: it meets the requirements.
    pub refused: Vec<String>,
    /// Whether it is refused although it looks better in the goal than the pick.
    pub better_looking: bool,
}
