//! Reading a journal: strict about everything but a torn last line. A line that cannot be right is damage: all of them
//! are counted and the first is named, and no figure is made of the rest.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::hash::Hash;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::sync::Arc;

use flate2::read::MultiGzDecoder;
use serde_json::Value;

use super::check::Rules;
use super::fingerprint;
use super::folder::{FILE_NAME, PACKED_NAME};
use super::header::FORMAT;
use super::index::Index;
use super::line::{self, Seal};
use super::loadtest::{LoadtestStep, LoadtestTrial};
use super::records::Record;
use super::shelf::{Shelf, Shelved};
use super::whole::Journal;
use crate::error::{Context, Error, Result};
use crate::record::{Case, Measurements, Prompt, Trial, TrialKey};

/// Longest line (bytes): far more than the longest reply takes, and less than fills a machine.
const MAX_LINE: u64 = 1 << 30;
/// How many damaged lines are named.
const SHOWN: usize = 8;

/// What of a journal is kept in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Keep {
    /// Everything.
    All,
    /// What it takes to go on: no replies, no measurements, no prompts.
    Progress,
}

/// Reads the journal file of a folder, or the packed one of a published report. A torn last line (a crash while writing) is
/// left out.
///
/// # Errors
/// When the file cannot be read, does not start with a header of this format whose numbers can be, or lines are damaged
/// (counted, the first of them named): no JSON, a wrong checksum, a trial that is not of the plan or of no known case.
pub(super) fn load_one(folder: &Path, keep: Keep) -> Result<Journal> {
    load_of(folder, keep, None).map(|book| book.journal)
}

/// As [`load_one`], one of several journals whose cases go on a shelf that they share.
pub(super) fn load_part(folder: &Path, keep: Keep, shelf: &Shelf) -> Result<Shared> {
    load_of(folder, keep, Some(shelf))
}

fn load_of(folder: &Path, keep: Keep, shelf: Option<&Shelf>) -> Result<Shared> {
    let path = [FILE_NAME, PACKED_NAME].map(|name| folder.join(name)).into_iter().find(|path| path.exists());
    let path = path.unwrap_or_else(|| folder.join(FILE_NAME));
    let file = File::open(&path)
        .context(|| format!("cannot read {}", path.display()))
        .map_err(|error| error.hint("name a run folder, a unique prefix of its name, or `latest`"))?;
    let reader: Box<dyn BufRead> = match path.extension() {
        Some(packed) if packed == "gz" => Box::new(BufReader::new(MultiGzDecoder::new(file))),
        _ => Box::new(BufReader::new(file)),
    };
    let mut book = Book { shelf, ..Book::new(keep, Judge::Plan) };
    book.read(reader).and_then(|()| book.close()).map_err(|reason| unreadable(&path, &reason))
}

/// A journal that cannot be used, and what to do.
pub(super) fn unreadable(path: &Path, reason: &str) -> Error {
    Error::runtime(format!("{}: {reason}", path.display()))
        .hint("no crash damages a whole line: a disk did, or somebody changed the file. Restore it from a copy")
        .hint("without a copy: delete the damaged lines that are trials, then `kneepoint resume` runs those again")
}

/// Reads a journal from memory: the journal, and how many bytes of it are whole lines. Only lines are judged (JSON and
/// checksums); whether they are of one plan is for [`load`](super::load).
///
/// # Errors
/// As [`load`](super::load), in words.
pub fn parse(bytes: &[u8]) -> Result<(Journal, usize), String> {
    let mut book = Book::new(Keep::All, Judge::Lines);
    book.read(bytes)?;
    book.close().map(|book| (book.journal, book.whole))
}

/// Reads a journal line by line and checks that it holds together: the journal, and how many bytes of it are whole
/// lines.
pub(super) fn read(reader: impl BufRead, keep: Keep) -> Result<(Journal, usize), String> {
    let mut book = Book::new(keep, Judge::Plan);
    book.read(reader)?;
    book.close().map(|book| (book.journal, book.whole))
}

/// A journal that was read, apart from the cases that it shares with others.
pub(super) struct Shared {
    pub(super) journal: Journal,
    /// In the order of their lines; without a shelf none, but all in the journal.
    pub(super) cases: Vec<Arc<Shelved>>,
    /// How many bytes are whole lines.
    whole: usize,
}

/// What lines are checked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Judge {
    /// JSON and checksum.
    Lines,
    /// Also: a header whose numbers can be, and records of its plan.
    Plan,
}

/// A journal while it is read.
struct Book<'s> {
    keep: Keep,
    judge: Judge,
    shelf: Option<&'s Shelf>,
    shelved: Vec<Arc<Shelved>>,
    journal: Option<Journal>,
    rules: Option<Rules>,
    /// Whether the header has a checksum: then every line must have one.
    sealed: bool,
    suite_hash: Option<String>,
    trials: Index,
    load_trials: HashMap<(u32, TrialKey), usize>,
    damage: Damage,
    whole: usize,
}

/// Lines that cannot be used.
#[derive(Default)]
struct Damage {
    first: Option<(usize, String)>,
    lines: Vec<usize>,
    count: usize,
}

impl Damage {
    fn add(&mut self, number: usize, reason: String) {
        self.count += 1;
        if self.count <= SHOWN {
            self.lines.push(number);
        }
        self.first.get_or_insert((number, reason));
    }

    fn said(&self) -> Result<(), String> {
        let Some((number, reason)) = &self.first else { return Ok(()) };
        let others: Vec<String> = self.lines.iter().skip(1).map(usize::to_string).collect();
        let more = if self.count > SHOWN { ", .." } else { "" };
        let others = match self.count {
            1 => String::new(),
            count => format!(" ({count} damaged lines in all; also {}{more})", others.join(", ")),
        };
        Err(format!("line {number} is damaged: {reason}{others}"))
    }
}

impl Book<'_> {
    fn new(keep: Keep, judge: Judge) -> Self {
        Self {
            keep,
            judge,
            shelf: None,
            shelved: Vec::new(),
            journal: None,
            rules: None,
            sealed: false,
            suite_hash: None,
            trials: Index::default(),
            load_trials: HashMap::new(),
            damage: Damage::default(),
            whole: 0,
        }
    }

    fn read(&mut self, mut reader: impl BufRead) -> Result<(), String> {
        let mut line = Vec::new();
        for number in 1.. {
            line.clear();
            let most = MAX_LINE + 1;
            let length = (&mut reader).take(most).read_until(b'\n', &mut line);
            let length = length.map_err(|error| format!("cannot read line {number}: {error}"))?;
            if line.pop_if(|last| *last == b'\n').is_none() {
                self.unended(number, &line)?;
                break;
            }
            match &self.journal {
                None => self.header(&mut line)?,
                Some(_) => {
                    if let Err(reason) = self.record(&mut line) {
                        self.damage.add(number, reason);
                    }
                }
            }
            self.whole += length;
        }
        Ok(())
    }

    /// The end of the file: nothing, or a line that a crash has torn.
    fn unended(&mut self, number: usize, line: &[u8]) -> Result<(), String> {
        if line.len() as u64 > MAX_LINE {
            return Err(format!("line {number} is longer than {} MiB", MAX_LINE >> 20));
        }
        if line::lost_its_end(line) {
            self.damage.add(number, "its line break was changed".into());
        }
        Ok(())
    }

    /// Without a header nothing can be said of anything behind it.
    fn header(&mut self, line: &mut Vec<u8>) -> Result<(), String> {
        let damaged = |reason: String| format!("line 1 is damaged: {reason}");
        let (record, sealed) = record_of(line).map_err(damaged)?;
        let Record::Header(header) = record else { return Err("line 1 is not a header".into()) };
        if header.format != FORMAT {
            let (format, made) = (header.format, header.tool_version);
            let way = if format > FORMAT {
                "a later kneepoint wrote it, and reads it"
            } else {
                "no kneepoint reads it any more"
            };
            return Err(format!("format {format} (kneepoint {made}), this one reads format {FORMAT}: {way}"));
        }
        if self.judge == Judge::Plan {
            let rules = Rules::new(&header);
            self.rules =
                Some(rules.map_err(|reason| damaged(format!("the header cannot be right: {reason}")))?);
            self.suite_hash = fingerprint::suite_hash(line);
        }
        self.sealed = sealed == Seal::Kept;
        self.journal = Some(Journal::new(*header));
        Ok(())
    }

    fn record(&mut self, line: &mut Vec<u8>) -> Result<(), String> {
        let Some((shelf, mark)) = self.shelf.and_then(|shelf| Some((shelf, shelf.mark(line)?))) else {
            return self.checked(line).and_then(|(record, _)| self.keep(record));
        };
        if let Some(case) = shelf.find(mark) {
            return self.shelved(case);
        }
        let (record, seal) = self.checked(line)?;
        match record {
            Record::Case(case) => self.shelved.push(shelf.put(mark, self.keep.case(*case), seal)),
            other => self.keep(other)?,
        }
        Ok(())
    }

    /// The record of a line, if it can be one of this journal.
    fn checked(&mut self, line: &mut Vec<u8>) -> Result<(Record, Seal), String> {
        let (record, seal) = record_of(line)?;
        self.sealed_enough(seal)?;
        if let Some(rules) = &mut self.rules {
            rules.check(&record)?;
        }
        Ok((record, seal))
    }

    fn sealed_enough(&self, seal: Seal) -> Result<(), String> {
        match seal {
            Seal::Absent if self.sealed => Err("it has no checksum, while the header has one".into()),
            Seal::Absent | Seal::Kept => Ok(()),
        }
    }

    /// A case whose line was read, and was right, in another journal.
    fn shelved(&mut self, case: Arc<Shelved>) -> Result<(), String> {
        self.sealed_enough(case.seal)?;
        if let Some(rules) = &mut self.rules {
            rules.known_case(case.id, case.item);
        }
        self.shelved.push(case);
        Ok(())
    }

    fn keep(&mut self, record: Record) -> Result<(), String> {
        let keep = self.keep;
        let Some(journal) = &mut self.journal else { return Ok(()) };
        match record {
            Record::Header(_) => return Err("it is a second header".into()),
            Record::Case(case) => journal.cases.push(keep.case(*case)),
            Record::Launch(launch) => journal.launches.push(*launch),
            Record::Decision(decision) => journal.decisions.push(*decision),
            Record::HeldSchema(held) => journal.held.schemas.push(*held),
            Record::HeldCase(held) => journal.held.cases.push(*held),
            Record::Trial(trial) => {
                let trial = keep.trial(*trial);
                match self.trials.find_or_add(&journal.trials, &trial.key) {
                    // A later record of the same key supersedes (`resume --retry-failed`).
                    Some(at) => journal.trials[at] = trial,
                    None => journal.trials.push(trial),
                }
            }
            Record::LoadtestServer(server) => journal.load.servers.push(*server),
            Record::LoadtestStep(step) => {
                let searched = journal.header.suite.load.as_ref().is_some_and(|load| load.search.is_some());
                journal.load.add_step(keep.load_step(*step, searched));
            }
            Record::LoadtestTrial(asked) => {
                let asked = LoadtestTrial { trial: keep.trial(asked.trial), ..*asked };
                let key = (asked.streams, asked.trial.key);
                replace_or_push(&mut journal.load.trials, &mut self.load_trials, key, asked);
            }
        }
        Ok(())
    }

    fn close(self) -> Result<Shared, String> {
        self.damage.said()?;
        let mut journal = self.journal.ok_or_else(|| "it has no header".to_owned())?;
        let cases = self.shelved;
        let doubt = self.suite_hash.and_then(|suite| {
            let versions = task_versions(&journal.cases, &cases);
            fingerprint::doubt(&journal.header, &versions, &suite)
        });
        journal.doubts.extend(doubt);
        Ok(Shared { journal, cases, whole: self.whole })
    }
}

/// The versions of the tasks that cases were made of.
fn task_versions<'c>(cases: &'c [Case], shelved: &'c [Arc<Shelved>]) -> BTreeMap<&'c str, u32> {
    let shelved = shelved.iter().map(|case| (case.item.task.as_str(), case.task_version));
    cases.iter().map(|case| (case.task.as_str(), case.task_version)).chain(shelved).collect()
}

/// The record of a line without its line break, and whether it had a checksum, which is taken off the line.
fn record_of(line: &mut Vec<u8>) -> Result<(Record, Seal), String> {
    let sealed = line::unseal(line)?;
    let record = serde_json::from_slice(line).map_err(|error| match line::was_rewritten(line) {
        true => "another tool has rewritten it, and its checksum is not kept".to_owned(),
        false => error.to_string(),
    })?;
    Ok((record, sealed))
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
            Self::Progress => Trial { reply: None, measurements: Measurements::default(), ..trial },
        }
    }

    /// A search goes on from what the requests of its steps were.
    fn load_step(self, step: LoadtestStep, searched: bool) -> LoadtestStep {
        match self {
            Self::All => step,
            Self::Progress if searched => LoadtestStep { measurements: Vec::new(), ..step },
            Self::Progress => LoadtestStep { requests: Vec::new(), measurements: Vec::new(), ..step },
        }
    }
}

/// As with trials.
fn replace_or_push<K: Hash + Eq, T>(all: &mut Vec<T>, places: &mut HashMap<K, usize>, key: K, new: T) {
    match places.get(&key) {
        Some(&place) => all[place] = new,
        None => {
            places.insert(key, all.len());
            all.push(new);
        }
    }
}
