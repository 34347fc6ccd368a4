//! What each worker of a run has done, and what is missing.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;

use crate::error::Result;
use crate::record::capacity::{Course, End};
use crate::record::journal::Journal;
use crate::record::plan::Plan;
use crate::record::share::share;
use crate::record::suite::Suite;
use crate::record::{Outcome, Selection, Spread, SpreadOn, TrialKey, journal};

/// What is left of a share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::commands) struct Missing {
    /// Which share.
    pub(in crate::commands) index: u32,
    /// Trials without an outcome.
    pub(in crate::commands) trials: usize,
}

/// What workers have done, by the number of their share: trials and decisions of all its journals. Of a merged run, all is one
/// share's.
///
/// # Errors
/// When a journal cannot be read.
pub(in crate::commands) fn done(folder: &Path, spread: &Spread) -> Result<BTreeMap<u32, Journal>> {
    let mut done = BTreeMap::<u32, Journal>::new();
    for part in journal::parts(folder) {
        let part = journal::own(&part)?;
        let index = match (&part.header.worker, &spread.on) {
            (_, SpreadOn::Merged(_)) => 0,
            (Some(worker), _) => worker.index,
            (None, _) => continue,
        };
        match done.get_mut(&index) {
            None => drop(done.insert(index, part)),
            Some(known) => {
                known.trials.extend(part.trials);
                known.decisions.extend(part.decisions);
                known.load.steps.extend(part.load.steps);
            }
        }
    }
    Ok(done)
}

/// The shares that have trials, or steps under load, without an outcome; with `retry_failed` also those of which any broke.
///
/// # Errors
/// As [`done`].
pub(in crate::commands) fn missing(
    folder: &Path,
    suite: &Suite,
    plan: &Plan,
    spread: &Spread,
    retry_failed: bool,
) -> Result<Vec<Missing>> {
    let done = done(folder, spread)?;
    let of = |index: u32| {
        let share = share(suite, plan, index, spread.workers);
        let trials = left(suite, &share, done.get(&index), retry_failed);
        let steps = unloaded(suite, &share, done.get(&index));
        (trials + steps > 0).then_some(Missing { index, trials })
    };
    Ok((0..spread.workers).filter_map(of).collect())
}

fn left(suite: &Suite, share: &Plan, done: Option<&Journal>, retry_failed: bool) -> usize {
    let Some(journal) = done else { return share.trials() };
    let settled = |outcome: &Outcome| !(retry_failed && matches!(outcome, Outcome::Failed { .. }));
    let ended = journal.trials.iter().filter(|trial| settled(&trial.outcome));
    let ended: HashSet<&TrialKey> = ended.map(|trial| &trial.key).collect();
    let selection = Selection::of(suite, &journal.trials);
    let wanted = |key: &&TrialKey| !ended.contains(key) && !journal.is_stopped(key) && !selection.skips(key);
    share.keys().filter(wanted).count()
}

/// Steps under load that a share has and nobody took.
fn unloaded(suite: &Suite, share: &Plan, done: Option<&Journal>) -> usize {
    let Some(load) = &suite.load else { return 0 };
    let steps = done.map_or(&[][..], |journal| &journal.load.steps);
    let missing = |setting: &str| {
        let of = || steps.iter().filter(|step| step.setting == setting);
        match &load.search {
            Some(search) => usize::from(Course::limits_end(load, search, of()) == End::Open),
            None => load.steps().iter().filter(|step| !of().any(|known| known.arrivals == **step)).count(),
        }
    };
    share.load.iter().map(|visit| missing(&visit.cell.setting.label)).sum()
}
