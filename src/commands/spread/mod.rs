//! Runs that several workers measure: on the cards of this machine, by Slurm, or by Kubernetes. None of it schedules: workers
//! take fixed shares of the plan, whoever starts them, and leave journals that are read as one.

use super::run::suite_of;
use super::worker::Work;
use super::{earlier, runs};
use crate::cli::{Cluster, Global, ResumeArgs, RunArgs};
use crate::error::{EXIT_INTERRUPTED, Error, Result};
use crate::measure::runner::Ending;
use crate::record::filter::Filter;
use crate::record::share::can_be_shared;
use crate::record::{SpreadOn, journal, plan};
use crate::suite;

mod again;
mod cards;
mod crew;
mod kubernetes;
mod room;
pub(super) mod shares;
mod slurm;
mod tally;
mod tasks;
mod yaml;

use again::Again;

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
            let code = Work { folder, run, spread, index: 0, retry_failed, asked: None }.measure(
                Vec::new(),
                false,
                global,
            )?;
            let interrupted = code == EXIT_INTERRUPTED;
            again.report(if interrupted { Ending::Interrupted } else { Ending::Complete }, global)
        }
    }
}
