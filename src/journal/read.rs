//! Reading a journal: strict about everything but a torn last line.

use std::collections::HashMap;
use std::fs::File;
use std::hash::Hash;
use std::io::{BufRead, BufReader};
use std::path::Path;

use flate2::read::MultiGzDecoder;
use serde_json::Value;

use super::load::{LoadStep, LoadTrial};
use super::{FILE_NAME, FORMAT, Journal, PACKED_NAME, Record};
use crate::error::{Context, Error, Result};
use crate::trial::{Case, Prompt, Trial, TrialKey};

/// What of a journal is kept in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Keep {
    /// Everything.
    All,
    /// What it takes to go on: no replies, no measurements, no prompts.
    Progress,
}

/// Reads the journal of a run folder, or the packed one of a published report. A torn last line (a crash while writing) is left out.
///
/// # Errors
/// When the file cannot be read, does not start with a header of this format, or a line in its middle
/// is damaged (named by number).
pub fn load(folder: &Path) -> Result<Journal> {
    let path = [FILE_NAME, PACKED_NAME].map(|name| folder.join(name)).into_iter().find(|path| path.exists());
    let path = path.unwrap_or_else(|| folder.join(FILE_NAME));
    let file = File::open(&path)
        .context(|| format!("cannot read {}", path.display()))
        .map_err(|error| error.hint("name a run folder, a unique prefix of its name, or `latest`"))?;
    let reader: Box<dyn BufRead> = match path.extension() {
        Some(packed) if packed == "gz" => Box::new(BufReader::new(MultiGzDecoder::new(file))),
        _ => Box::new(BufReader::new(file)),
    };
    read(reader, Keep::All).map(|(journal, _)| journal).map_err(|reason| {
        Error::runtime(format!("{}: {reason}", path.display())).hint(
            "a line in the middle of a journal is never damaged by a crash: restore the file from a copy",
        )
    })
}

/// Reads a journal from memory: the journal, and how many bytes of it are whole lines.
///
/// # Errors
/// A message with the line's number.
pub fn parse(bytes: &[u8]) -> Result<(Journal, usize), String> {
    read(bytes, Keep::All)
}

/// Reads a journal line by line: the journal, and how many bytes of it are whole lines.
pub(super) fn read(mut reader: impl BufRead, keep: Keep) -> Result<(Journal, usize), String> {
    let mut journal: Option<Journal> = None;
    let mut places: HashMap<TrialKey, usize> = HashMap::new();
    let mut load_places: HashMap<(u32, TrialKey), usize> = HashMap::new();
    let mut whole = 0;
    let mut line = Vec::new();
    for number in 1.. {
        line.clear();
        reader.read_until(b'\n', &mut line).map_err(|error| format!("cannot read line {number}: {error}"))?;
        let Some(text) = line.strip_suffix(b"\n") else {
            break;
        };
        let record: Record =
            serde_json::from_slice(text).map_err(|error| format!("line {number} is damaged: {error}"))?;
        match (&mut journal, record) {
            (None, Record::Header(header)) if header.format == FORMAT => {
                journal = Some(Journal::new(*header));
            }
            (None, Record::Header(header)) => {
                let made = header.tool_version;
                return Err(format!("format {} (kneepoint {made}); this is format {FORMAT}", header.format));
            }
            (None, _) => return Err("line 1 is not a header".into()),
            (Some(_), Record::Header(_)) => return Err(format!("line {number} is a second header")),
            (Some(journal), Record::Case(case)) => journal.cases.push(keep.case(*case)),
            (Some(journal), Record::Launch(launch)) => journal.launches.push(*launch),
            (Some(journal), Record::Decision(decision)) => journal.decisions.push(*decision),
            (Some(journal), Record::Trial(trial)) => {
                let trial = keep.trial(*trial);
                replace_or_push(&mut journal.trials, &mut places, trial.key.clone(), trial);
            }
            (Some(journal), Record::LoadServer(server)) => journal.load.servers.push(*server),
            (Some(journal), Record::LoadStep(step)) => journal.load.add_step(keep.load_step(*step)),
            (Some(journal), Record::LoadTrial(asked)) => {
                let asked = LoadTrial { trial: keep.trial(asked.trial), ..*asked };
                let key = (asked.streams, asked.trial.key.clone());
                replace_or_push(&mut journal.load.trials, &mut load_places, key, asked);
            }
        }
        whole += line.len();
    }
    journal.map(|journal| (journal, whole)).ok_or_else(|| "it has no header".into())
}

impl Keep {
    fn case(self, case: Case) -> Case {
        match self {
            Self::All => case,
            Self::Progress => Case { prompt: Prompt::chat(Vec::new()), target: Value::Null, ..case },
        }
    }

    fn trial(self, trial: Trial) -> Trial {
        match self {
            Self::All => trial,
            Self::Progress => Trial { reply: None, measurements: Vec::new(), ..trial },
        }
    }

    fn load_step(self, step: LoadStep) -> LoadStep {
        match self {
            Self::All => step,
            Self::Progress => LoadStep { requests: Vec::new(), measurements: Vec::new(), ..step },
        }
    }
}

/// A later record of the same key supersedes (`resume --retry-failed`).
fn replace_or_push<K: Hash + Eq, T>(all: &mut Vec<T>, places: &mut HashMap<K, usize>, key: K, new: T) {
    match places.get(&key) {
        Some(&place) => all[place] = new,
        None => {
            places.insert(key, all.len());
            all.push(new);
        }
    }
}
