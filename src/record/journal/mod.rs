//! The journal: the only seam between measuring and judging. One JSON record a line.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::clock::Tick;
use crate::record::suite::Suite;
use crate::record::{
    Argv, Case, Decision, Effective, EngineInfo, FileInfo, Machine, ModelInfo, Trial, TrialKey,
};

mod check;
mod fingerprint;
mod line;
pub mod load;
mod read;
mod write;

#[cfg(test)]
pub(crate) use fingerprint::NEWEST_TASK_VERSION;
pub use fingerprint::fingerprint;
use load::{LoadJournal, LoadServer, LoadStep, LoadTrial};
pub use read::{load, parse};
pub use write::{JournalWriter, Place};

/// Name of the journal in a run folder.
pub const FILE_NAME: &str = "journal.jsonl";
/// Name of a journal that was packed with gzip to be published; it is only read.
pub const PACKED_NAME: &str = "journal.jsonl.gz";

/// Whether a folder holds a journal, packed or not.
pub fn is_in(folder: &std::path::Path) -> bool {
    [FILE_NAME, PACKED_NAME].iter().any(|name| folder.join(name).is_file())
}

/// Whether the journal of a folder has its header, as far as that can be seen without reading it.
pub fn has_header(folder: &std::path::Path) -> bool {
    use std::io::BufRead;
    match std::fs::File::open(folder.join(FILE_NAME)) {
        Ok(file) => {
            let mut line = Vec::new();
            let read = std::io::BufReader::new(file).read_until(b'\n', &mut line);
            read.is_ok() && line.ends_with(b"\n")
        }
        Err(_) => folder.join(PACKED_NAME).is_file(),
    }
}

/// Whether somebody is writing to the journal of a folder.
pub fn is_locked(folder: &std::path::Path) -> bool {
    let file = std::fs::File::open(folder.join(FILE_NAME));
    file.is_ok_and(|file| matches!(file.try_lock_shared(), Err(std::fs::TryLockError::WouldBlock)))
}

/// Version of the journal's format.
pub const FORMAT: u32 = 1;

/// One line of a journal: a record and its checksum. `kneepoint schema journal` describes it.
#[derive(Debug, JsonSchema)]
pub struct Line {
    /// The record.
    #[serde(flatten)]
    pub record: Record,
    /// CRC-32 of the record's bytes, from the first brace to the last, as 8 hex digits; journals of before 2026-11
    /// have none. Always the last key.
    #[serde(default)]
    pub crc32: Option<String>,
}

/// What a line of a journal holds.
///
/// Not internally tagged: with `serde_json`'s arbitrary precision such an enum cannot read back its floats.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Record {
    /// Always the first line.
    Header(Box<Header>),
    /// A case, once, before the first trial that runs it.
    Case(Box<Case>),
    /// A server was started for a cell.
    Launch(Box<LaunchRecord>),
    /// A trial ended.
    Trial(Box<Trial>),
    /// A cell was stopped between two rounds.
    Decision(Box<Decision>),
    /// A server of the load phase was started and warmed up.
    LoadServer(Box<LoadServer>),
    /// A step of the load phase ended.
    LoadStep(Box<LoadStep>),
    /// An item that was asked under load, or alone on the same server, ended.
    LoadTrial(Box<LoadTrial>),
}

/// What a run is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
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
    /// for trials of two sittings to belong to one run. See [`fingerprint`].
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
}

/// A server process that was started for a visit of a cell.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LaunchRecord {
    /// Number within the run, from 0; trials name it.
    pub id: u32,
    /// Setting label.
    pub setting: String,
    /// Context length (tokens).
    pub context: u32,
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
    /// Time until it was ready (s); `None` when it never was.
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
}

impl LaunchRecord {
    /// The command that started the server; `None` for one that ran already.
    pub fn command(&self) -> Option<String> {
        self.attached.is_none().then(|| self.argv.shell())
    }
}

/// A server that was running before kneepoint, and still is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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

/// A whole journal in memory.
#[derive(Debug, Clone, PartialEq)]
pub struct Journal {
    /// What the run is.
    pub header: Header,
    /// Cases in the order they were made.
    pub cases: Vec<Case>,
    /// Server processes.
    pub launches: Vec<LaunchRecord>,
    /// Trials in the order they ended.
    pub trials: Vec<Trial>,
    /// Cells that were stopped, in order.
    pub decisions: Vec<Decision>,
    /// The load phase.
    pub load: LoadJournal,
    /// What whoever uses its figures has to know of the file, such as a header that was changed.
    pub doubts: Vec<String>,
}

impl Journal {
    /// The journal of a run that has just begun.
    pub fn new(header: Header) -> Self {
        Self {
            header,
            cases: Vec::new(),
            launches: Vec::new(),
            trials: Vec::new(),
            decisions: Vec::new(),
            load: LoadJournal::default(),
            doubts: Vec::new(),
        }
    }

    /// Whether a planned trial is not wanted any more, because its cell was stopped before its round.
    pub fn is_stopped(&self, key: &TrialKey) -> bool {
        self.decisions.iter().any(|decision| decision.stops(key))
    }

    /// Keys of the trials that have an outcome.
    pub fn done(&self) -> std::collections::HashSet<TrialKey> {
        self.trials.iter().map(|trial| trial.key.clone()).collect()
    }

    /// The number of the sitting that goes on with this run.
    pub fn next_sitting(&self) -> u32 {
        let of_trials = self.trials.iter().map(|trial| trial.tick);
        let servers = self.launches.iter().chain(self.load.servers.iter().map(|server| &server.launch));
        let ticks = of_trials.chain(servers.map(|launch| launch.tick)).flatten();
        ticks.map(|tick| tick.sitting.saturating_add(1)).max().unwrap_or(0)
    }

    /// The number that the next launch gets.
    pub fn next_launch(&self) -> u32 {
        let of_load = self.load.servers.iter().map(|server| &server.launch);
        self.launches.iter().chain(of_load).map(|launch| launch.id + 1).max().unwrap_or(0)
    }
}
