//! What `history` prints as JSON.

#[cfg(test)]
use schemars::JsonSchema;
use serde::Serialize;

use crate::judge::analysis::history::Trend;

/// What `history --json` and `history show --json` print.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub(crate) struct History {
    /// Version of this form.
    pub schema_version: u32,
    /// The runs, oldest first.
    pub runs: Vec<RunEntry>,
}

/// One run in the store.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub(crate) struct RunEntry {
    /// Name of the run folder.
    pub run: String,
    /// Suite name.
    pub suite: String,
    /// Start of the run (UTC, RFC 3339).
    pub started: String,
    /// What must be the same for runs to be one series; see the journal's header.
    pub fingerprint: String,
    /// Trials with an outcome.
    pub done: u32,
    /// Trials planned, those that stopping early saved left out.
    pub planned: u32,
    /// Gates that failed.
    pub gates_failed: u32,
    /// Gates in all.
    pub gates: u32,
    /// Size of the folder (bytes).
    pub bytes: u64,
    /// The verdict.
    pub verdict: String,
    /// How many figures changed since the run before, in words.
    #[serde(skip)]
    pub changed: String,
    /// What changed since the run before, in a sentence; there where the run's report was written beside an earlier run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
}

/// What `history trend --json` and `history export --format json` print.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub(crate) struct Trends {
    /// Version of this form.
    pub schema_version: u32,
    /// Changes are marked at this level (0..1).
    pub level: f64,
    /// Every endpoint of every suite.
    pub trends: Vec<Trend>,
}
