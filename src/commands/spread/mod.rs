//! Runs that several workers measure: on the cards of this machine, by Slurm, or by Kubernetes. None of it schedules: workers
//! take fixed shares of the plan, whoever starts them, and leave journals that are read as one.

use std::path::Path;

use super::run::suite_of;
use super::session::Session;
use super::worker::Work;
use super::{earlier, runs};
use crate::cli::{Cluster, Global, ResumeArgs, RunArgs};
use crate::console;
use crate::error::{EXIT_INTERRUPTED, Error, Result};
use crate::measure::runner::Ending;
use crate::record::filter::Filter;
use crate::record::journal::{Journal, JournalWriter};
use crate::record::plan::Plan;
use crate::record::share::{can_be_shared, most_workers, share};
use crate::record::suite::Suite;
use crate::record::{Spread, SpreadOn, journal, plan};
use crate::suite;

mod cards;
mod crew;
mod kubernetes;
pub(super) mod shares;
mod slurm;
mod tally;
mod yaml;

/// Workers on a cluster, where the user names no number.
const USUAL_TASKS: u32 = 8;

/// `run` with `--gpus` or `--on`.
pub(super) fn run(args: &RunArgs, global: &Global) -> Result<u8> {
    let suite = suite::load(&args.suite, &args.overrides())?;
    let plan = &plan::plan(&suite, &Filter::parse(&args.filters)?)?;
    can_be_shared(&suite)?;
    match (&args.spread.gpus, args.spread.on) {
        (Some(gpus), _) => cards::run(suite, plan, gpus, args, global),
        (None, Some(Cluster::Kubernetes)) => kubernetes::run(&suite, plan, args, global),
        (None, _) => slurm::run(suite, plan, args, global),
    }
}

/// How many tasks a cluster is asked for: no more than have something to do.
fn tasks(suite: &Suite, plan: &Plan, args: &RunArgs) -> u32 {
    let most = most_workers(suite, plan);
    match args.spread.tasks {
        Some(tasks) if tasks > most => {
            console::note(&format!(
                "{most} of {tasks} tasks have something to do: what is compared is measured by one task; more `rounds` in the \
                 suite make more shares"
            ));
            most
        }
        Some(tasks) => tasks,
        None => most.min(USUAL_TASKS),
    }
}

/// Who would measure what, a line for each worker.
fn shares_in_words(suite: &Suite, plan: &Plan, workers: u32, name: impl Fn(u32) -> String) -> String {
    let line = |index: u32| {
        let share = share(suite, plan, index, workers);
        let mut rounds: Vec<u32> = share.visits.iter().map(|visit| visit.round + 1).collect();
        rounds.sort_unstable();
        rounds.dedup();
        let rounds: Vec<String> = rounds.iter().map(u32::to_string).collect();
        let load = if share.load.is_empty() { "" } else { ", the load phase" };
        format!(
            "worker {index}{}: {} trials in {} server starts, rounds {}{load}\n",
            name(index),
            share.trials(),
            share.visits.len(),
            rounds.join(", ")
        )
    };
    (0..workers).map(line).collect()
}

/// Whether the run that `resume` is asked to go on with is one that workers measure.
pub(super) fn is_of_workers(args: &ResumeArgs, global: &Global) -> bool {
    let folder = runs::find(&global.runs_dir, &args.run);
    folder.is_ok_and(|folder| earlier::header(&folder).is_some_and(|header| header.spread.is_some()))
}

/// `resume` of a run that workers measure.
pub(super) fn resume(args: &ResumeArgs, global: &Global) -> Result<u8> {
    let folder = &runs::find(&global.runs_dir, &args.run)?;
    let run = &journal::own(folder)?;
    let (suite, _) = suite_of(run)?;
    let plan = plan::plan(&suite, &Filter::parse(&run.header.filters)?)?;
    let Some(spread) = &run.header.spread else {
        return Err(Error::usage(format!("run {} is not spread over workers", run.header.run)));
    };
    let again = Again { folder, run, suite: &suite, plan: &plan, spread, args };
    let missing = shares::missing(folder, &suite, &plan, spread, args.retry_failed)?;
    if missing.is_empty() {
        return again.report(Ending::Complete, global);
    }
    match &spread.on {
        SpreadOn::Cards(groups) => cards::resume(&again, groups, &missing, global),
        SpreadOn::Slurm(options) => slurm::resume(&again, options, &missing, global),
        SpreadOn::Kubernetes => kubernetes::resume(&again, &missing),
        SpreadOn::Merged(_) => {
            let retry_failed = args.retry_failed;
            let code =
                Work { folder, run, spread, index: 0, retry_failed }.measure(Vec::new(), false, global)?;
            let interrupted = code == EXIT_INTERRUPTED;
            again.report(if interrupted { Ending::Interrupted } else { Ending::Complete }, global)
        }
    }
}

/// A run that goes on.
struct Again<'a> {
    folder: &'a Path,
    run: &'a Journal,
    suite: &'a Suite,
    plan: &'a Plan,
    spread: &'a Spread,
    args: &'a ResumeArgs,
}

impl Again<'_> {
    /// Reports what there is.
    fn report(&self, ending: Ending, global: &Global) -> Result<u8> {
        let session = self.session()?;
        session.report(self.plan, ending, global)
    }

    /// The run's own journal, held so that no other kneepoint starts its workers.
    fn session(&self) -> Result<Session> {
        let (writer, journal) = JournalWriter::open(self.folder)?;
        let (suite, secrets) = suite_of(self.run)?;
        let (folder, json, retry_failed) =
            (self.folder.to_path_buf(), self.args.json, self.args.retry_failed);
        Ok(Session { folder, suite, secrets, journal, writer, retry_failed, json })
    }
}
