//! The first line: what a run is.

use std::collections::BTreeMap;

#[cfg(test)]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::record::suite::Suite;
use crate::record::{EngineInfo, FileInfo, Machine, ModelInfo, Spread, Worker};

/// Version of the journal's format.
pub const FORMAT: u32 = 1;

/// What a run is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct Header {
    /// [`FORMAT`].
    pub format: u32,
    /// Name of the run folder.
    pub run: String,
    /// Start of the run (UTC, RFC 3339).
    pub started: String,
    /// Version of kneepoint.
    pub tool_version: String,
    /// Git commit that kneepoint was built from, if known.
    pub git_hash: Option<String>,
    /// The suite as resolved.
    pub suite: Suite,
    /// Hash of the suite, the task versions, the engine builds and the model files: what must be the same
    /// for trials of two sessions to belong to one run.
    pub fingerprint: String,
    /// The suite as the user named it (path and overrides), for the command that repeats the run.
    pub repeat: String,
    /// The machine.
    pub machine: Machine,
    /// The engine builds.
    pub engines: Vec<EngineInfo>,
    /// The model files.
    pub models: Vec<ModelInfo>,
    /// Other files that the suite names; runs before they were kept have none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<FileInfo>,
    /// Filters that the run was started with; part of the plan.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub filters: Vec<String>,
    /// Environment variables that servers may obey, by name, where they were started here; never keys. Runs before they were kept
    /// have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<BTreeMap<String, String>>,
    /// What `choose` has to say of its candidates and questions, if it began the run: what was left out, and why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub choice_notes: Option<Vec<String>>,
    /// How the plan is shared out among workers, whose journals lie in the folder `parts`; absent where one process
    /// measures all of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spread: Option<Spread>,
    /// Which worker wrote the journal, where it is one of several of a run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker: Option<Worker>,
}
