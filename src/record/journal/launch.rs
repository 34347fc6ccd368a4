//! Servers that trials were asked of.

#[cfg(test)]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::clock::Tick;
use crate::record::suite::PackedReference;
use crate::record::{Argv, Effective};

/// A server process that was started for a visit of a cell.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct LaunchRecord {
    /// Number within the run, from 0; trials name it.
    pub id: u32,
    /// Setting label.
    pub setting: String,
    /// Context length (tokens).
    pub context: u32,
    /// Context length (tokens) that the server was started for, where it serves several: its memory is that of this one, and not
    /// written down here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub served_at: Option<u32>,
    /// Round, from 0.
    pub round: u32,
    /// 0, or 1 for the reference's second visit.
    pub replicate: u32,
    /// When it was started (UTC, RFC 3339).
    pub started: String,
    /// The same by the monotonic clock; journals before it was kept have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tick: Option<Tick>,
    /// The command line, the home folder written as `~`.
    pub argv: Argv,
    /// Time until it was ready (s); `None` when it never was, or when it was up already for another context length.
    pub load_s: Option<f64>,
    /// What it really runs.
    pub effective: Effective,
    /// Settings that the server silently changed; not empty: the cell is void.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub deviations: Vec<String>,
    /// Why it did not come up, with the end of its log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
    /// Its log, relative to the run folder; empty when there is none.
    pub log: String,
    /// The server that ran already, where none was started: then `argv` and `log` are empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attached: Option<AttachedServer>,
    /// Where it ran, when its trials come from a pack: then nothing of it was measured in this run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pack: Option<PackedServer>,
}

impl LaunchRecord {
    /// The command that started the server; `None` for one that ran already, or elsewhere.
    pub fn command(&self) -> Option<String> {
        (self.attached.is_none() && self.pack.is_none()).then(|| self.argv.shell())
    }
}

/// A server that answered elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct PackedServer {
    /// The run that the pack was made of.
    pub run: String,
    /// The machine of that run, in words.
    pub machine: String,
    /// The engine and its build, in words.
    pub engine: String,
}

impl PackedServer {
    /// A server of the run that a pack was made of.
    pub fn of(pack: &PackedReference) -> Self {
        Self { run: pack.run.clone(), machine: pack.machine_words(), engine: pack.engine_words() }
    }
}

/// A server that was running before kneepoint, and still is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct AttachedServer {
    /// Its address.
    pub url: String,
    /// What it calls the model.
    pub model: String,
    /// Its process on this machine; `None` where that cannot be known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// What it was found not to take or not to tell, one a line.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}
