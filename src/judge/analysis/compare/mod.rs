//! Two runs side by side: last night's and tonight's, two engine builds, two machines.
//!
//! Items are paired by task, arm, context length and the hash of the case's content, setting by setting (by
//! label), so what differs between the runs is the only factor. A trial that broke counts as wrong: a server
//! that dies on the hard items must not look the better for it. Quality is compared as in a report (mean over
//! primary tasks of the paired differences, cluster bootstrap within the small-sample interval), speed as the
//! median ratio over the same requests (nested bootstrap over the pairs of server processes), memory as the ratio of peaks.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::summary::Estimate;
use super::{Registry, Resampling, Run, Tasks};
use crate::error::{Error, Result};
use crate::record::Arm;
use crate::record::journal::Journal;

mod cell;
mod costs;
mod flips;
mod headers;
mod items;
mod shifts;
mod since;
mod thresholds;

pub use costs::{Cost, CostRow, Prices};
pub use headers::Difference;
pub use since::since;
pub use thresholds::{Measure, Regression, Threshold, Unit};

use items::Items;

/// Version of the JSON form of [`Comparison`].
pub const COMPARE_SCHEMA_VERSION: u32 = 1;

/// What is asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// Changes that fail the comparison.
    pub thresholds: Vec<Threshold>,
    /// How many flips to list; the losses come first.
    pub flips: usize,
    /// What the machines cost, where that is known.
    pub prices: Prices,
}

/// Run B against run A.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Comparison {
    /// [`COMPARE_SCHEMA_VERSION`].
    pub schema_version: u32,
    /// The run that is compared with.
    pub a: RunName,
    /// The run that is judged.
    pub b: RunName,
    /// What else differs between the runs: every change below may be its effect.
    pub differences: Vec<Difference>,
    /// Confidence of intervals (0..1).
    pub confidence: f64,
    /// Bootstrap draws.
    pub draws: u32,
    /// Every cell that both runs have, by context, in the suite order of A.
    pub cells: Vec<ComparedCell>,
    /// Cells that only one run has, in words.
    pub unpaired: Vec<String>,
    /// What speed costs on each machine; there when the machines differ or a price is given.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub costs: Vec<CostRow>,
    /// Items whose score changed, losses first; at most as many as asked for.
    pub flips: Vec<Flip>,
    /// Items whose score changed, all of them.
    pub flips_in_all: u32,
    /// Changes that fail the comparison when a whole interval lies beyond them.
    pub thresholds: Vec<Threshold>,
    /// Where one did.
    pub regressions: Vec<Regression>,
    /// What the reader must know.
    pub notes: Vec<String>,
}

/// A run by its name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RunName {
    /// Name of the run folder.
    pub run: String,
    /// Suite name.
    pub suite: String,
    /// Start of the run (UTC, RFC 3339).
    pub started: String,
}

/// One cell in both runs. Differences are B minus A, ratios B to A.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ComparedCell {
    /// Setting label.
    pub setting: String,
    /// Context length (tokens).
    pub context: u32,
    /// Why the cell does not count in one of the runs; no figures then.
    pub void: Option<String>,
    /// Primary items judged in both runs.
    pub pairs: u32,
    /// Primary items judged in one run only.
    pub unpaired: u32,
    /// Primary tasks (and arms) that both suites have, judged in one run only: they have no part in the figures below.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub not_comparable: Vec<String>,
    /// Items that lost score, of the primary ones.
    pub lost: u32,
    /// Items that gained score.
    pub gained: u32,
    /// Mean score in A over primary tasks, of the paired items (0..1).
    pub quality_a: Option<f64>,
    /// Mean score in B.
    pub quality_b: Option<f64>,
    /// Paired difference (points of the 0..1 scale).
    pub quality: Option<Estimate>,
    /// Paired test of no difference, Holm-adjusted over all cells (0..1).
    pub p_holm: Option<f64>,
    /// Noise floor: the larger mean absolute A/A difference of the two runs (points of the 0..1 scale).
    pub floor: Option<f64>,
    /// Decode rate (tokens/s).
    pub decode: Option<Ratio>,
    /// Cold prefill rate (tokens/s).
    pub prefill: Option<Ratio>,
    /// Time to first token (s).
    pub ttft: Option<Ratio>,
    /// Energy of a request (J).
    pub energy: Option<Ratio>,
    /// Peak memory (bytes).
    pub memory: Option<Ratio>,
    /// Mean KLD from the run's own reference (nat).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kld: Option<Shift>,
    /// Share of the scored replies to tool tasks whose calls stand in the text (0..1).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leaked: Option<Shift>,
    /// Share of the trials that broke (0..1).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<Shift>,
}

/// A figure in both runs whose difference says more than its ratio.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Shift {
    /// In A.
    pub a: f64,
    /// In B.
    pub b: f64,
    /// B minus A.
    pub difference: Estimate,
}

/// A figure in both runs, over the requests that both have; memory is the peak of each.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Ratio {
    /// In A.
    pub a: f64,
    /// In B.
    pub b: f64,
    /// B / A: the median over requests of their ratio.
    pub ratio: Estimate,
}

/// An item whose score changed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Flip {
    /// Setting label.
    pub setting: String,
    /// Context length (tokens).
    pub context: u32,
    /// Task name.
    pub task: String,
    /// Arm, for tool tasks.
    pub arm: Option<Arm>,
    /// Index of the case.
    pub index: u32,
    /// Hash of the case.
    pub case: String,
    /// Score in A (0..1).
    pub score_a: f64,
    /// Score in B (0..1).
    pub score_b: f64,
    /// The beginning of the reply in A, as it came: hostile text.
    pub reply_a: String,
    /// The beginning of the reply in B.
    pub reply_b: String,
}

/// Compares run `b` with run `a`.
///
/// # Errors
/// A usage error when the runs have no cell or no item in common.
pub fn compare(a: &Journal, b: &Journal, request: &Request) -> Result<Comparison> {
    compare_with(a, b, &Registry, request)
}

/// As [`compare`], with another table of tasks.
///
/// # Errors
/// As [`compare`].
pub fn compare_with(a: &Journal, b: &Journal, tasks: &dyn Tasks, request: &Request) -> Result<Comparison> {
    let (renamed, note) = references_as_one(a, b);
    let runs = Pair { a: Run::new(a, tasks)?, b: Run::new(renamed.as_ref().unwrap_or(b), tasks)? };
    let shared = runs.shared_cells()?;
    let mut cells = Vec::new();
    let mut flips = Vec::new();
    let mut in_common = false;
    let floors = runs.floors()?;
    let klds = shifts::Klds::of(&runs, &shared);
    for &(setting, context) in &shared {
        let items = Items::of(&runs, setting, context);
        let (mut cell, p_value) =
            cell::compare(&runs, setting, context, &items, floors.get(&context).copied())?;
        if cell.void.is_none() {
            cell.kld = klds.shift(&runs, setting, context);
            cell.leaked = shifts::leaked(&runs, setting, context);
            cell.failed = shifts::failed(&runs, setting, context);
        }
        in_common |= !items.paired.is_empty();
        flips.extend(items.flips(setting, context));
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
    let flips_in_all = flips.len() as u32;
    Ok(Comparison {
        schema_version: COMPARE_SCHEMA_VERSION,
        a: name(a),
        b: name(b),
        differences: headers::differences(&a.header, &b.header),
        confidence: runs.a.suite.confidence,
        draws: runs.a.suite.draws,
        unpaired: runs.unpaired_cells(),
        costs: costs::rows(&runs, &shared, request.prices)?,
        flips: flips::first(flips, request.flips),
        flips_in_all,
        regressions: thresholds::regressions(&cells, &request.thresholds),
        notes,
        thresholds: request.thresholds.clone(),
        cells,
    })
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
    let labels = labels.chain(renamed.trials.iter_mut().map(|trial| &mut trial.key.setting));
    let labels = labels.chain(renamed.launches.iter_mut().map(|launch| &mut launch.setting));
    labels.filter(|label| **label == old).for_each(|label| label.clone_from(&new));
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

/// The two runs.
struct Pair<'a> {
    a: Run<'a>,
    b: Run<'a>,
}

impl<'a> Pair<'a> {
    /// The first run's seed, draws and confidence serve for both.
    fn resampling(&self) -> Resampling {
        self.a.resampling
    }

    /// Setting and context of the cells that both suites have, by context.
    fn shared_cells(&self) -> Result<Vec<(&'a str, u32)>> {
        let theirs = cells_of(&self.b);
        let shared: Vec<_> = cells_of(&self.a).into_iter().filter(|cell| theirs.contains(cell)).collect();
        if !shared.is_empty() {
            return Ok(shared);
        }
        let labels = |run: &Run<'_>| {
            run.suite.settings.iter().map(|setting| setting.label.clone()).collect::<Vec<_>>().join(", ")
        };
        Err(Error::usage("the runs have no setting at the same context length in common").hint(format!(
            "A has {}; B has {}",
            labels(&self.a),
            labels(&self.b)
        )))
    }

    fn unpaired_cells(&self) -> Vec<String> {
        let (ours, theirs) = (cells_of(&self.a), cells_of(&self.b));
        let only = |these: &[(&str, u32)], those: &[(&str, u32)], name: &str| -> Vec<String> {
            let alone = these.iter().filter(|cell| !those.contains(cell));
            alone.map(|(setting, context)| format!("{setting} at {context} tokens: only in {name}")).collect()
        };
        let mut lines = only(&ours, &theirs, "A");
        lines.extend(only(&theirs, &ours, "B"));
        lines
    }

    /// By context, the larger noise floor of the two runs.
    fn floors(&self) -> Result<BTreeMap<u32, f64>> {
        let mut floors = BTreeMap::new();
        for run in [&self.a, &self.b] {
            for &context in &run.suite.contexts {
                if let Some(discord) = items::floor(run, context)? {
                    let floor: &mut f64 = floors.entry(context).or_default();
                    *floor = floor.max(discord);
                }
            }
        }
        Ok(floors)
    }

    /// Speed drifts from visit to visit and from night to night; few visits cannot show by how much.
    fn few_visits(&self) -> Option<String> {
        const FEW: u32 = 4;
        let rounds = self.a.suite.rounds.min(self.b.suite.rounds);
        (rounds < FEW).then(|| {
            format!(
                "speed: with {rounds} visits of a cell its interval covers little of the drift between visits, and none of that between the runs; set thresholds wider than the machine's own"
            )
        })
    }

    /// Intervals of a fixed number of items are too narrow where the data decided when to stop.
    fn stopped_early(&self) -> Option<String> {
        let stopped = |run: &Run<'_>| run.suite.stops_by_outcome() && !run.journal.decisions.is_empty();
        (stopped(&self.a) || stopped(&self.b)).then(|| {
            "a run stopped some cells early by their outcome: quality intervals here do not allow for that".into()
        })
    }

    fn nothing_in_common(&self) -> Error {
        let mut error = Error::usage("the runs have no item in common, so nothing can be paired");
        for difference in headers::differences(&self.a.journal.header, &self.b.journal.header) {
            if difference.changes_items {
                let Difference { what, a, b, .. } = difference;
                error = error.hint(format!("{what} differs: {a} in A, {b} in B"));
            }
        }
        error.hint("cases pair when suite, seed, task versions and tokenizer are the same")
    }
}

fn cells_of<'a>(run: &Run<'a>) -> Vec<(&'a str, u32)> {
    let contexts = run.suite.contexts.iter();
    contexts
        .flat_map(|&context| run.suite.settings.iter().map(move |setting| (setting.label.as_str(), context)))
        .collect()
}
