//! The table of a whole run: a row per trial, names as numbers.

use std::collections::BTreeMap;

use polars::prelude::{
    BooleanChunkedBuilder, ChunkedBuilder, Column, DataFrame, Float64Type, IntoColumn,
    PrimitiveChunkedBuilder, UInt32Type,
};

use super::columns::{ENERGY, QUALITY, net_energy};
use super::requests::{Request, Row};
use crate::error::{Context, Result};
use crate::judge::analysis::workers::Workers;
use crate::record::journal::Journal;
use crate::record::{FinishReason, Outcome, Selection, Source, Trial, metric};
use crate::task::Weight;

/// Number of the trial's visit.
pub(super) const VISIT: &str = "visit";
/// Number of the trial's visit and, in the lower half, of its request.
pub(super) const PLACE: &str = "place";
/// Number of the server process.
pub(super) const LAUNCH: &str = "launch";
/// Index of the case in its task's list.
pub(super) const INDEX: &str = "index";
/// Round that the trial belongs to.
pub(super) const ROUND: &str = "round";
/// Whether the trial was scored.
pub(super) const SCORED: &str = "scored";
/// Whether the task does not apply.
pub(super) const UNSCORED: &str = "unscored";
/// Whether the trial broke.
pub(super) const BROKE: &str = "broke";
/// Whether the reply was cut off at its budget.
pub(super) const TRUNCATED: &str = "truncated";
/// Whether the task belongs to the primary endpoint.
pub(super) const PRIMARY: &str = "primary";
/// Whether speed and energy count: a chat of a cell that is not void.
pub(super) const COUNTED: &str = "counted";
/// Score as settings are compared by it, what broke counting as lost; of a cell that is not void.
pub(super) const JUDGED: &str = "judged";

/// A visit's request as one number that sorts by visit, then by the request's names.
pub(super) fn place(visit: u32, request: u32) -> u64 {
    u64::from(visit) << 32 | u64::from(request)
}

/// The request of a place.
pub(super) fn request_at(place: u64) -> usize {
    (place & u64::from(u32::MAX)) as usize
}

/// Returns the table: rows of a visit (of so many trials each) together, figures that nobody measured left out.
pub(super) fn table(
    (journal, workers): (&Journal, &Workers),
    (void, selection): (&BTreeMap<(&str, u32), String>, &Selection),
    visits: &[usize],
    rows: &[Row<'_>],
    requests: &[Request],
) -> Result<DataFrame> {
    let request = |row: &Row<'_>| &requests[row.request as usize];
    let counts = |row: &Row<'_>| !void.contains_key(&(row.trial.key.setting.as_str(), row.trial.key.context));
    let outcome = |row: &Row<'_>| row.trial.outcome.judged();
    // What broke before its case was made, and is not known from another visit, pairs with nothing.
    let judged = |row: &Row<'_>| {
        let counts =
            !request(row).key.case.is_empty() && counts(row) && !selection.leaves_out(&row.trial.key);
        outcome(row).filter(|_| counts)
    };
    let numbers: Vec<u32> =
        visits.iter().zip(0..).flat_map(|(&trials, visit)| std::iter::repeat_n(visit, trials)).collect();
    let places: Vec<u64> = numbers.iter().zip(rows).map(|(&visit, row)| place(visit, row.request)).collect();
    let mut table = Table::new(rows.len());
    table.number(LAUNCH, |row| row.trial.launch);
    table.number(INDEX, |row| row.trial.key.index);
    table.number(ROUND, |row| row.trial.key.round);
    table.flag(SCORED, |row| matches!(row.trial.outcome, Outcome::Scored(_)));
    table.flag(UNSCORED, |row| matches!(row.trial.outcome, Outcome::Unscored { .. }));
    table.flag(BROKE, |row| matches!(row.trial.outcome, Outcome::Failed { .. }));
    // A comparative task asks for as long a reply as its budget allows.
    table.flag(TRUNCATED, |row| is_truncated(row.trial) && request(row).weight != Some(Weight::Comparative));
    table.flag(PRIMARY, |row| request(row).weight.unwrap_or(Weight::Primary) == Weight::Primary);
    table.flag(COUNTED, |row| request(row).chat && counts(row));
    table.figure(JUDGED, judged);
    figures(&mut table, (journal, workers), requests);
    let mut columns = vec![Column::new(VISIT.into(), numbers), Column::new(PLACE.into(), places)];
    columns.extend(table.filled(rows));
    DataFrame::new(rows.len(), columns).context(|| "cannot make a table of the trials".into())
}

fn figures<'a>(
    table: &mut Table<'a>,
    (journal, workers): (&'a Journal, &'a Workers),
    requests: &'a [Request],
) {
    let taken = measured(journal);
    let counts = |row: &&Row<'_>| workers.counts(journal, row.trial.launch);
    for of in metric::FIGURES {
        let here = |source: &Source| taken.contains(&(of.metric, *source));
        let sources: Vec<Source> = of.sources.iter().copied().filter(here).collect();
        if !sources.is_empty() {
            table.figure(of.name, move |row| {
                let row = Some(row).filter(counts)?;
                sources.iter().find_map(|source| row.trial.measured(of.metric, *source))
            });
        }
    }
    if taken.iter().any(|(name, _)| [metric::GPU_ENERGY_J, metric::CPU_ENERGY_J].contains(name)) {
        let idle_w = |row: &Row<'_>| journal.machine_of(row.trial.launch).idle_gpu_w.unwrap_or_default();
        // A forced answer is no reply: like its speed, its energy is in no figure.
        let free = |row: &&Row<'_>| !requests[row.request as usize].forced;
        table.figure(ENERGY, move |row| {
            Some(row).filter(free).filter(counts).and_then(|row| net_energy(row.trial, idle_w(row)))
        });
        table.figure(QUALITY, |row| row.trial.outcome.score()?.quality);
    }
}

/// What was measured on any trial, and by whom: a figure that nobody measured is not looked for a million times.
fn measured(journal: &Journal) -> Vec<(&'static str, Source)> {
    let mut seen: Vec<(&'static str, Source)> = Vec::new();
    for trial in &journal.trials {
        for (at, measurement) in trial.measurements.iter().enumerate() {
            let this = (measurement.name.as_str(), measurement.source);
            // Most trials have the same figures in the same order.
            if seen.get(at) != Some(&this) && !seen.contains(&this) {
                seen.push(this);
            }
        }
    }
    seen
}

pub(super) fn is_truncated(trial: &Trial) -> bool {
    let reply = trial.reply.as_ref().filter(|reply| reply.distributions.is_none());
    reply.is_some_and(|reply| reply.turns().any(|turn| turn.finish_reason == Some(FinishReason::Length)))
}

/// Rows that all columns are filled from before the next ones are looked at: what a trial holds is read from memory once.
const TOGETHER: usize = 512;

/// Columns by name, what each takes of a row, and what it has so far.
struct Table<'a> {
    rows: usize,
    columns: Vec<Filling<'a>>,
}

enum Filling<'a> {
    Numbers(Of<'a, u32>, PrimitiveChunkedBuilder<UInt32Type>),
    Flags(Of<'a, bool>, BooleanChunkedBuilder),
    Figures(Of<'a, Option<f64>>, PrimitiveChunkedBuilder<Float64Type>),
}

type Of<'a, T> = Box<dyn Fn(&Row<'_>) -> T + 'a>;

impl<'a> Table<'a> {
    fn new(rows: usize) -> Self {
        Self { rows, columns: Vec::new() }
    }

    fn number(&mut self, name: &str, of: impl Fn(&Row<'_>) -> u32 + 'a) {
        let column = PrimitiveChunkedBuilder::new(name.into(), self.rows);
        self.columns.push(Filling::Numbers(Box::new(of), column));
    }

    fn flag(&mut self, name: &str, of: impl Fn(&Row<'_>) -> bool + 'a) {
        let column = BooleanChunkedBuilder::new(name.into(), self.rows);
        self.columns.push(Filling::Flags(Box::new(of), column));
    }

    fn figure(&mut self, name: &str, of: impl Fn(&Row<'_>) -> Option<f64> + 'a) {
        let column = PrimitiveChunkedBuilder::new(name.into(), self.rows);
        self.columns.push(Filling::Figures(Box::new(of), column));
    }

    fn filled(mut self, rows: &[Row<'_>]) -> Vec<Column> {
        for rows in rows.chunks(TOGETHER) {
            self.columns.iter_mut().for_each(|column| column.fill(rows));
        }
        self.columns.into_iter().map(Filling::column).collect()
    }
}

impl Filling<'_> {
    fn fill(&mut self, rows: &[Row<'_>]) {
        match self {
            Self::Numbers(of, column) => rows.iter().for_each(|row| column.append_value(of(row))),
            Self::Flags(of, column) => rows.iter().for_each(|row| column.append_value(of(row))),
            Self::Figures(of, column) => rows.iter().for_each(|row| column.append_option(of(row))),
        }
    }

    fn column(self) -> Column {
        match self {
            Self::Numbers(_, column) => column.finish().into_column(),
            Self::Flags(_, column) => column.finish().into_column(),
            Self::Figures(_, column) => column.finish().into_column(),
        }
    }
}
