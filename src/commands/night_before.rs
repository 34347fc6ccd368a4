//! What changed since the run before: the first thing that the morning wants to know.

use std::path::Path;

use super::earlier::{self, machine_of};
use crate::judge::analysis::compare;
use crate::judge::analysis::summary::NightBefore;
use crate::record::journal;
use crate::record::journal::Journal;

/// Runs before this one that are tried: one that was broken off at once has nothing to compare.
const TRIED: usize = 5;

/// A run against the latest earlier one of the same suite on a machine of the same kind; `None` when the run is not in
/// the store, or there is no such run with a case in common.
pub(super) fn of(journal: &Journal, folder: &Path, runs_dir: &Path) -> Option<NightBefore> {
    let same_place = |a: &Path, b: &Path| a.canonicalize().ok() == b.canonicalize().ok();
    if !same_place(folder.parent()?, runs_dir) {
        return None;
    }
    let own = &journal.header;
    let before = earlier::runs(runs_dir, |header| {
        header.suite.name == own.suite.name
            && (header.started.as_str(), header.run.as_str()) < (own.started.as_str(), own.run.as_str())
            && machine_of(header) == machine_of(own)
    });
    before.iter().take(TRIED).find_map(|earlier| {
        let before = journal::load(&earlier.folder).ok()?;
        compare::since(&before, journal).ok()
    })
}
