//! `worker`: measures one share of a run that is spread over several workers, into a journal of its own.
//!
//! A worker that was killed goes on in its journal; on another machine it begins another one, and leaves out what its share
//! has already. Nobody else measures its share meanwhile: a lock says so.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::progress::Display;
use super::run::{Asked, check_same, suite_of};
use super::session::Session;
use super::setup::prepare_asked;
use super::{reference, runs};
use crate::cli::{Global, WorkerArgs};
use crate::console;
use crate::error::{Context, EXIT_INCOMPLETE, EXIT_INTERRUPTED, EXIT_OK, Error, Result};
use crate::measure::probe::machine;
use crate::measure::{processes, runner};
use crate::record::filter::Filter;
use crate::record::journal::{FILE_NAME, Header, Journal, JournalWriter, PARTS};
use crate::record::plan::Plan;
use crate::record::share::{can_be_shared, share};
use crate::record::{Build, Machine, Outcome, Spread, SpreadOn, Worker, journal, plan};
use crate::{files, suite};

/// How long a worker waits for another one that measures its share to end.
const PATIENCE: Duration = Duration::from_secs(30);
/// Names the machine, where a cluster does not.
const NODE_VARIABLE: &str = "KNEEPOINT_NODE";

pub(super) fn worker(args: &WorkerArgs, global: &Global) -> Result<u8> {
    if let Some(parent) = args.parent {
        processes::end_with(parent)?;
    }
    processes::pin(&args.cpus)?;
    let folder = match &args.suite {
        Some(suite) => begin(suite, args, global)?,
        None => runs::find(&global.runs_dir, &args.run)?,
    };
    let run = journal::own(&folder)?;
    let spread = spread_of(&run.header, args.index)?;
    let (index, retry_failed) = (args.index, args.retry_failed);
    let asked = args.build.as_deref().and_then(handed);
    let work = Work { folder: &folder, run: &run, spread, index, retry_failed, asked };
    work.measure(cards(args), args.parent.is_some(), global)
}

/// Leaves what the server's binary said of itself where workers of this machine find it: on a host with cards each answer
/// takes a second, of a server in Python ten and more.
///
/// # Errors
/// When the file cannot be written.
pub(super) fn hand_over(folder: &Path, build: &Build) -> Result<PathBuf> {
    let parts = folder.join(PARTS);
    std::fs::create_dir_all(&parts).context(|| format!("cannot create {}", parts.display()))?;
    let file = parts.join("build.json");
    let text = serde_json::to_vec(build).context(|| "cannot write what the server said of itself".into())?;
    files::write(&file, &text)?;
    Ok(file)
}

/// What was handed over; `None`, and the binary is asked again, where it cannot be read.
fn handed(file: &Path) -> Option<Build> {
    serde_json::from_slice(&std::fs::read(file).ok()?).ok()
}

/// Begins the run where nobody has yet.
fn begin(file: &Path, args: &WorkerArgs, global: &Global) -> Result<PathBuf> {
    let folder = global.runs_dir.join(&args.run);
    if journal::is_in(&folder) {
        return Ok(folder);
    }
    if args.run.is_empty() || args.run.starts_with('.') || args.run.contains('/') {
        return Err(Error::usage(format!("`{}` is no name for a run", args.run))
            .hint("with --suite, RUN is the name of the folder to make in --runs-dir"));
    }
    let suite = suite::load(file, &args.sets)?;
    can_be_shared(&suite)?;
    let workers = args.tasks.unwrap_or(1);
    let spread = Spread { workers, on: SpreadOn::Kubernetes };
    let asked = Asked { file, sets: &args.sets, filters: &args.filters, json: false };
    let start = asked.start(suite, Some(spread))?;
    start.begin_once(&Display::new(global), &global.runs_dir, &args.run, &args.index.to_string())
}

fn spread_of(header: &Header, index: u32) -> Result<&Spread> {
    let spread = header.spread.as_ref().ok_or_else(|| {
        Error::usage(format!("run {} is not spread over workers", header.run))
            .hint("`kneepoint resume RUN` goes on with it")
            .hint("`kneepoint run SUITE --gpus 0,1` and `--on slurm` begin one that is")
    })?;
    if index >= spread.workers {
        let last = spread.workers.saturating_sub(1);
        return Err(Error::usage(format!("run {} has no worker {index}: they are 0 to {last}", header.run)));
    }
    Ok(spread)
}

/// The cards that servers of this worker see, as far as somebody said so.
fn cards(args: &WorkerArgs) -> Vec<u32> {
    if !args.cards.is_empty() {
        return args.cards.clone();
    }
    let numbers = |name: &str| {
        let value = std::env::var(name).ok()?;
        value.split(',').map(|number| number.trim().parse().ok()).collect::<Option<Vec<u32>>>()
    };
    // Within a task of Slurm the last one counts from 0 again.
    ["SLURM_STEP_GPUS", "SLURM_JOB_GPUS", "CUDA_VISIBLE_DEVICES"]
        .iter()
        .find_map(|name| numbers(name))
        .unwrap_or_default()
}

/// A share of a run, and who measures it.
pub(super) struct Work<'a> {
    pub(super) folder: &'a Path,
    /// The run's own journal.
    pub(super) run: &'a Journal,
    pub(super) spread: &'a Spread,
    pub(super) index: u32,
    pub(super) retry_failed: bool,
    /// What the server's binary said of itself to whoever started this worker.
    pub(super) asked: Option<Build>,
}

impl Work<'_> {
    /// Measures what is left of the share on these cards; `beside`: other workers measure on this machine, too.
    ///
    /// # Errors
    /// When another worker measures it, this machine has another engine or other files than the run, or as the runner's.
    pub(super) fn measure(&self, cards: Vec<u32>, beside: bool, global: &Global) -> Result<u8> {
        let _lock = lock(self.folder, self.index)?;
        let (suite, secrets) = suite_of(self.run)?;
        let header = &self.run.header;
        let whole = plan::plan(&suite, &Filter::parse(&header.filters)?)?;
        let plan = share(&suite, &whole, self.index, self.spread.workers);
        if plan.visits.is_empty() && plan.load.is_empty() {
            console::note(&format!("worker {} of {} has nothing to do", self.index, self.spread.workers));
            return Ok(EXIT_OK);
        }
        let mut display = Display::new(global);
        let prepared = prepare_asked(&suite, self.asked.clone(), &display)?;
        check_same(header, &prepared, &secrets).map_err(|error| self.elsewhere(error))?;
        reference::same_tokenizer(&suite, &prepared)?;
        let machine = machine_here(&header.machine, &cards, beside, prepared.files.is_some());
        let header = Header {
            worker: Some(Worker { index: self.index, place: place(), cards }),
            environment: prepared.files.is_some().then(crate::record::environment::telling_variables),
            started: crate::clock::now(),
            machine,
            ..header.clone()
        };
        let (folder, writer, own) = open(self.folder, &self.name(&header), header)?;
        let journal = self.with_others(own, &folder)?;
        let retry_failed = self.retry_failed;
        let mut session = Session { folder, suite, secrets, journal, writer, retry_failed, json: false };
        let ending = session.measure(&plan, &prepared, &mut display, global)?;
        Ok(match ending {
            runner::Ending::Interrupted => EXIT_INTERRUPTED,
            runner::Ending::Complete if self.broke(&plan)? => EXIT_INCOMPLETE,
            runner::Ending::Complete => EXIT_OK,
        })
    }

    fn elsewhere(&self, error: Error) -> Error {
        error.hint(format!("worker {} measured nothing here: what others measured stays", self.index))
    }

    /// Name of the journal's folder: the share, and where it is measured.
    fn name(&self, header: &Header) -> String {
        let worker = header.worker.as_ref();
        let place = worker.map_or_else(String::new, |worker| as_file_name(&worker.place));
        let cards: Vec<String> =
            worker.map_or_else(Vec::new, |worker| worker.cards.iter().map(u32::to_string).collect());
        let cards = if cards.is_empty() { String::new() } else { format!("-gpu{}", cards.join("+")) };
        match self.spread.on {
            SpreadOn::Merged(_) => format!("resumed@{place}{cards}"),
            _ => format!("{:04}@{place}{cards}", self.index),
        }
    }

    /// The worker's own journal with what else is done of its share, here or elsewhere.
    fn with_others(&self, own: Journal, folder: &Path) -> Result<Journal> {
        let mut journal = own;
        for part in journal::parts(self.folder).into_iter().filter(|part| part != folder) {
            let other = journal::own(&part)?;
            let ours = other.header.worker.as_ref().is_some_and(|worker| worker.index == self.index);
            if ours || matches!(self.spread.on, SpreadOn::Merged(_)) {
                let done = journal.done();
                journal.trials.extend(other.trials.into_iter().filter(|trial| !done.contains(&trial.key)));
                journal.decisions.extend(other.decisions);
                other.load.steps.into_iter().for_each(|step| journal.load.steps.push(step));
                journal.load.trials.extend(other.load.trials);
            }
        }
        Ok(journal)
    }

    /// Whether trials of the share broke.
    fn broke(&self, plan: &Plan) -> Result<bool> {
        let done = super::spread::shares::done(self.folder, self.spread)?;
        let broke = |trial: &crate::record::Trial| matches!(trial.outcome, Outcome::Failed { .. });
        let ours: std::collections::HashSet<_> = plan.keys().collect();
        let trials = done.get(&self.index).map_or(&[][..], |journal| &journal.trials);
        Ok(trials.iter().any(|trial| broke(trial) && ours.contains(&trial.key)))
    }
}

/// The machine, with the worker's cards alone. What only shows while nothing of ours runs was measured before others began.
fn machine_here(before: &Machine, cards: &[u32], beside: bool, starts_servers: bool) -> Machine {
    let here = if beside {
        let Machine { idle_gpu_w, memory_copy_bytes_per_s, .. } = before.clone();
        Machine { idle_gpu_w, memory_copy_bytes_per_s, ..machine::machine() }
    } else {
        machine::measured(starts_servers)
    };
    here.with_cards(cards)
}

/// Name of this machine, as its cluster calls it.
fn place() -> String {
    let named = [NODE_VARIABLE, "SLURMD_NODENAME"].iter().find_map(|name| std::env::var(name).ok());
    let host = || std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default().trim().to_owned();
    let name = named.filter(|name| !name.is_empty()).unwrap_or_else(host);
    if name.is_empty() { "here".to_owned() } else { name }
}

fn as_file_name(name: &str) -> String {
    let safe = |c: char| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '_' };
    name.chars().map(safe).take(80).collect()
}

/// Opens the worker's journal, or creates it; a machine of another kind under the same name has one of its own.
fn open(run: &Path, name: &str, header: Header) -> Result<(PathBuf, JournalWriter, Journal)> {
    for number in 1.. {
        let name = if number == 1 { name.to_owned() } else { format!("{name}.{number}") };
        let folder = run.join(PARTS).join(name);
        if !journal::has_header(&folder) {
            std::fs::create_dir_all(folder.join("engine"))
                .context(|| format!("cannot create {}", folder.display()))?;
            let torn = folder.join(FILE_NAME);
            if torn.exists() {
                std::fs::remove_file(&torn).context(|| format!("cannot remove {}", torn.display()))?;
            }
            let writer = JournalWriter::create(&folder, &header)?;
            return Ok((folder, writer, Journal::new(header)));
        }
        let (writer, journal) = JournalWriter::open(&folder)?;
        if journal.header.machine.kind() == header.machine.kind() {
            return Ok((folder, writer, journal));
        }
    }
    Err(Error::runtime("no name is left for the worker's journal"))
}

/// Nobody else measures the share until this is dropped.
///
/// # Errors
/// When another worker measures it and does not end.
fn lock(run: &Path, index: u32) -> Result<File> {
    let parts = run.join(PARTS);
    std::fs::create_dir_all(&parts).context(|| format!("cannot create {}", parts.display()))?;
    let path = parts.join(format!(".{index:04}.lock"));
    let open = OpenOptions::new().create(true).truncate(false).write(true).open(&path);
    let file = open.context(|| format!("cannot open {}", path.display()))?;
    let began = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if began.elapsed() < PATIENCE => {
                std::thread::sleep(Duration::from_millis(200));
            }
            Err(TryLockError::WouldBlock) => {
                return Err(Error::runtime(format!(
                    "another worker measures share {index} of {}",
                    run.display()
                ))
                .hint("wait until it has ended: what it measures counts")
                .hint("`kneepoint resume RUN` measures what is missing afterwards"));
            }
            Err(TryLockError::Error(source)) => {
                return Err(Error::runtime(format!("cannot lock {}", path.display()))
                    .with_source(source)
                    .hint(
                        "the file system of the runs must lock files: NFS 4, or Lustre mounted with `flock`",
                    ));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_has_one_worker_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let held = lock(dir.path(), 3).unwrap();
        assert!(lock(dir.path(), 4).is_ok());
        let path = dir.path().join(PARTS).join(".0003.lock");
        let other = File::open(path).unwrap();
        assert!(matches!(other.try_lock(), Err(TryLockError::WouldBlock)));
        drop(held);
        assert!(other.try_lock().is_ok());
    }

    #[test]
    fn places_become_names_of_files() {
        assert_eq!(as_file_name("node/7 (a)"), "node_7__a_");
        assert_eq!(as_file_name(&"x".repeat(200)).len(), 80);
    }
}
