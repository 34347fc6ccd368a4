//! Two runs side by side: last night's and tonight's, two engine builds, two machines.
//!
//! Cases are paired by task, arm, context length and the hash of the case's content, setting by setting (by
//! label), so what differs between the runs is the only factor. A trial that broke counts as wrong: a server
//! that dies on the hard cases must not look the better for it. Quality is compared as in a report (mean over
//! primary tasks of the paired differences, cluster bootstrap within the small-sample interval), speed as the
//! median ratio over the same requests (nested bootstrap over the pairs of server processes), memory as the ratio of peaks.

use std::collections::BTreeMap;

use super::run::Run;
use super::{Registry, Tasks};
use crate::error::Result;
use crate::record::journal::Journal;

mod beside;
mod cases;
mod cell;
mod compared;
mod comparison;
mod costs;
mod flips;
mod headers;
mod pair;
mod shifts;
mod since;
mod thresholds;

pub use beside::{BESIDE_SCHEMA_VERSION, Beside, BesideRun, beside};
pub use compared::{ComparedCell, Flip, Ratio, RunName, Shift};
pub use comparison::{COMPARE_SCHEMA_VERSION, CompareRequest, Comparison};
pub use costs::{Cost, CostRow, Prices};
pub use headers::Difference;
pub use since::since;
pub use thresholds::{Measure, Regression, Threshold, Unit};

use cases::CellCases;
use pair::Pair;

/// Compares run `b` with run `a`.
///
/// # Errors
/// A usage error when the runs have no cell or no case in common.
pub fn compare(a: &Journal, b: &Journal, request: &CompareRequest) -> Result<Comparison> {
    compare_with(a, b, &Registry, request)
}

/// As [`compare`], with another table of tasks.
///
/// # Errors
/// As [`compare`].
pub fn compare_with(
    a: &Journal,
    b: &Journal,
    tasks: &dyn Tasks,
    request: &CompareRequest,
) -> Result<Comparison> {
    let (renamed, note) = references_as_one(a, b);
    let runs = Pair { a: Run::new(a, tasks)?, b: Run::new(renamed.as_ref().unwrap_or(b), tasks)? };
    let shared = runs.shared_cells()?;
    let mut cells = Vec::new();
    let mut flips = Vec::new();
    let least_flip = flips::least(runs.a.suite);
    let mut in_common = false;
    let floors = floors(&runs);
    let klds = shifts::Klds::of(&runs, &shared);
    for &(setting, context) in &shared {
        let cases = CellCases::of(&runs, setting, context);
        let (mut cell, p_value) =
            cell::compare(&runs, setting, context, &cases, floors.get(&context).copied())?;
        if cell.void.is_none() {
            cell.kld = klds.shift(&runs, setting, context);
            cell.leaked = shifts::leaked(&runs, setting, context);
            cell.failed = shifts::failed(&runs, setting, context);
        }
        in_common |= !cases.paired.is_empty();
        flips.extend(cases.flips(setting, context, least_flip));
        cells.push((cell, p_value));
    }
    if !in_common {
        return Err(runs.nothing_in_common());
    }
    let cells = cell::adjust(cells);
    let mut notes: Vec<String> = note.into_iter().collect();
    notes.extend(cells.iter().filter_map(not_comparable));
    notes.extend(thresholds::unjudged(&cells, &request.thresholds));
    notes.extend(runs.few_visits());
    notes.extend(runs.stopped_early());
    notes.extend(runs.unread_kld());
    let flips_in_all = flips.len() as u32;
    Ok(Comparison {
        schema_version: COMPARE_SCHEMA_VERSION,
        a: name(a),
        b: name(b),
        differences: differences(a, b),
        confidence: runs.a.suite.confidence,
        draws: runs.a.suite.draws,
        unpaired: runs.unpaired_cells(),
        costs: costs::rows(&runs, &shared, request.prices)?,
        flips: flips::first(flips, request.flips),
        flips_in_all,
        least_flip,
        regressions: thresholds::regressions(&cells, &request.thresholds),
        notes,
        thresholds: request.thresholds.clone(),
        cells,
    })
}

/// Everything that differs beside the trials.
fn differences(a: &Journal, b: &Journal) -> Vec<Difference> {
    let mut found = headers::differences(&a.header, &b.header);
    found.extend(headers::of_servers(a, b));
    found
}

/// Run B with its reference named as that of A, where no setting has the same name in both (two engines, two models),
/// and what is to be said of it.
fn references_as_one(a: &Journal, b: &Journal) -> (Option<Journal>, Option<String>) {
    let (ours, theirs) = (&a.header.suite, &b.header.suite);
    let known = |label: &str| theirs.settings.iter().any(|setting| setting.label == label);
    if ours.settings.iter().any(|setting| known(&setting.label)) {
        return (None, None);
    }
    let (new, old) = (ours.reference().label.clone(), theirs.reference().label.clone());
    let note = format!(
        "no setting has the same name in both runs: their references are compared, `{new}` in A with `{old}` in B"
    );
    let mut renamed = b.clone();
    let labels = renamed.header.suite.settings.iter_mut().map(|setting| &mut setting.label);
    let labels = labels.chain(renamed.launches.iter_mut().map(|launch| &mut launch.setting));
    labels.filter(|label| **label == old).for_each(|label| label.clone_from(&new));
    let keys = renamed.trials.iter_mut().map(|trial| &mut trial.key);
    keys.filter(|key| key.setting == old).for_each(|key| key.change(|key| key.setting = new.as_str().into()));
    (Some(renamed), Some(note))
}

/// That a cell has tasks without a single pair.
fn not_comparable(cell: &ComparedCell) -> Option<String> {
    let tasks = cell.not_comparable.join(", ");
    (!tasks.is_empty()).then(|| {
        format!(
            "{} at {} tokens is not comparable on {tasks}: only one of the runs has results there, so a change of it is \
             not in the figures",
            cell.setting, cell.context
        )
    })
}

fn name(journal: &Journal) -> RunName {
    let header = &journal.header;
    RunName { run: header.run.clone(), suite: header.suite.name.clone(), started: header.started.clone() }
}

/// By context, the larger noise floor of the two runs.
fn floors(runs: &Pair<'_>) -> BTreeMap<u32, f64> {
    let mut floors = BTreeMap::new();
    for run in [&runs.a, &runs.b] {
        for &context in &run.suite.contexts {
            if let Some(discord) = cases::floor(run, context) {
                let floor: &mut f64 = floors.entry(context).or_default();
                *floor = floor.max(discord);
            }
        }
    }
    floors
}
