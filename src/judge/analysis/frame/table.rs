//! Tables of trials: a row per trial, names as numbers, only the columns that are asked for.

use std::collections::BTreeMap;
use std::sync::Arc;

use polars::prelude::{
    BooleanChunkedBuilder, ChunkedBuilder, Column, DataFrame, Float64Type, IntoColumn,
    PrimitiveChunkedBuilder, UInt32Type,
};

use super::columns::{ENERGY, QUALITY, net_energy};
use super::requests::Request;
use crate::error::{Context, Result};
use crate::judge::analysis::workers::Workers;
use crate::record::journal::Journal;
use crate::record::{FinishReason, Measurements, Outcome, Selection, Source, Trial, metric};
use crate::task::Weight;

/// Number of the trial's request, in the order of the requests' names.
pub(super) const REQUEST: &str = "request";
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
/// Whether speed and energy count: a chat of a cell that is not void.
pub(super) const COUNTED: &str = "counted";
/// Score as settings are compared by it, what broke counting as lost; of a cell that is not void.
pub(super) const JUDGED: &str = "judged";

/// A trial, and the number of its request.
#[derive(Clone, Copy)]
pub(super) struct Row<'a> {
    pub(super) trial: &'a Trial,
    pub(super) request: u32,
}

/// What columns are made from.
pub(super) struct Columns<'a> {
    pub(super) journal: &'a Journal,
    pub(super) workers: Arc<Workers>,
    /// Why cells do not count, by setting and context.
    pub(super) void: Arc<BTreeMap<(&'a str, u32), String>>,
    pub(super) selection: Arc<Selection>,
    pub(super) requests: Vec<Request>,
    /// What was measured on any trial, and by whom: a figure that nobody measured is not looked for a million times.
    taken: Vec<(&'static str, Source)>,
}

impl<'a> Columns<'a> {
    pub(super) fn new(
        journal: &'a Journal,
        workers: &Arc<Workers>,
        void: &Arc<BTreeMap<(&'a str, u32), String>>,
        selection: &Arc<Selection>,
        requests: Vec<Request>,
    ) -> Self {
        let (workers, void, selection) = (Arc::clone(workers), Arc::clone(void), Arc::clone(selection));
        Self { journal, workers, void, selection, requests, taken: measured(journal) }
    }

    /// Columns of some trials; `None` when nobody measured one of them.
    pub(super) fn table(&self, rows: &[Row<'_>], names: &[&str]) -> Option<Result<DataFrame>> {
        let mut columns = Vec::new();
        for name in names {
            columns.push(self.column(name, rows.len())?);
        }
        // What a trial holds is read from memory once.
        for rows in rows.chunks(TOGETHER) {
            columns.iter_mut().for_each(|column| column.fill(rows));
        }
        let columns = columns.into_iter().map(Filling::column).collect();
        Some(DataFrame::new(rows.len(), columns).context(|| "cannot make a table of the trials".into()))
    }

    /// Names of the figures that were measured.
    pub(super) fn figures(&self) -> Vec<&'static str> {
        let figures = metric::FIGURES.iter().map(|figure| figure.name);
        figures.filter(|name| !self.sources(name).is_empty()).collect()
    }

    fn column<'f>(&'f self, name: &str, rows: usize) -> Option<Filling<'f>> {
        let named = Named { name, rows };
        Some(match name {
            REQUEST => named.number(|row| row.request),
            LAUNCH => named.number(|row| row.trial.launch),
            INDEX => named.number(|row| row.trial.key.index),
            ROUND => named.number(|row| row.trial.key.round),
            SCORED => named.flag(|row| matches!(row.trial.outcome, Outcome::Scored(_))),
            UNSCORED => named.flag(|row| matches!(row.trial.outcome, Outcome::Unscored { .. })),
            BROKE => named.flag(|row| matches!(row.trial.outcome, Outcome::Failed { .. })),
            // A comparative task asks for as long a reply as its budget allows.
            TRUNCATED => named
                .flag(|row| is_truncated(row.trial) && self.request(row).weight != Some(Weight::Comparative)),
            COUNTED => named.flag(|row| self.request(row).chat && self.cell_counts(row)),
            JUDGED => named.figure(|row| self.judged(row)),
            ENERGY if self.knows_energy() => named.figure(|row| self.energy(row)),
            QUALITY if self.knows_energy() => named.figure(|row| row.trial.outcome.score()?.quality),
            figure => {
                let sources = self.sources(figure);
                let metric = metric::FIGURES.iter().find(|known| known.name == figure)?.metric;
                (!sources.is_empty()).then(|| {
                    named.figure(move |row| {
                        let row = Some(row).filter(|row| self.figures_count(row))?;
                        sources.iter().find_map(|source| row.trial.measured(metric, *source))
                    })
                })?
            }
        })
    }

    fn request(&self, row: &Row<'_>) -> &Request {
        &self.requests[row.request as usize]
    }

    fn cell_counts(&self, row: &Row<'_>) -> bool {
        !self.void.contains_key(&(row.trial.key.setting.as_str(), row.trial.key.context))
    }

    fn figures_count(&self, row: &Row<'_>) -> bool {
        self.workers.counts(self.journal, row.trial.launch)
    }

    /// Whether the task belongs to the primary endpoint.
    pub(super) fn is_primary(&self, row: &Row<'_>) -> bool {
        self.request(row).weight.unwrap_or(Weight::Primary) == Weight::Primary
    }

    /// What broke before its case was made, and is not known from another visit, pairs with nothing.
    pub(super) fn judged(&self, row: &Row<'_>) -> Option<f64> {
        let counts = !self.request(row).key.case.is_empty()
            && self.cell_counts(row)
            && !self.selection.leaves_out(&row.trial.key);
        row.trial.outcome.judged().filter(|_| counts)
    }

    fn knows_energy(&self) -> bool {
        self.taken.iter().any(|(name, _)| [metric::GPU_ENERGY_J, metric::CPU_ENERGY_J].contains(name))
    }

    /// A forced answer is no reply: like its speed, its energy is in no figure.
    fn energy(&self, row: &Row<'_>) -> Option<f64> {
        let idle_w = || self.journal.machine_of(row.trial.launch).idle_gpu_w.unwrap_or_default();
        let counts = !self.request(row).forced && self.figures_count(row);
        if counts { net_energy(row.trial, idle_w()) } else { None }
    }

    /// Who measured a figure, whom it is taken from first in front.
    fn sources(&self, figure: &str) -> Vec<Source> {
        let of = metric::FIGURES.iter().filter(|known| known.name == figure);
        of.flat_map(|of| {
            of.sources.iter().copied().filter(|source| self.taken.contains(&(of.metric, *source)))
        })
        .collect()
    }
}

fn measured(journal: &Journal) -> Vec<(&'static str, Source)> {
    let mut seen: Vec<(&'static str, Source)> = Vec::new();
    let mut last: Option<&Measurements> = None;
    for Trial { measurements, .. } in &journal.trials {
        // Most trials have the same figures.
        if last.is_some_and(|last| last.is_like(measurements)) {
            continue;
        }
        last = Some(measurements);
        for measurement in measurements {
            let this = (measurement.name.as_str(), measurement.source);
            if !seen.contains(&this) {
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

/// Rows that all columns are filled from before the next ones are looked at.
const TOGETHER: usize = 512;

/// What a column takes of a row, and what it has so far.
enum Filling<'f> {
    Numbers(Of<'f, u32>, PrimitiveChunkedBuilder<UInt32Type>),
    Flags(Of<'f, bool>, BooleanChunkedBuilder),
    Figures(Of<'f, Option<f64>>, PrimitiveChunkedBuilder<Float64Type>),
}

type Of<'f, T> = Box<dyn Fn(&Row<'_>) -> T + 'f>;

/// A column that is to be.
#[derive(Clone, Copy)]
struct Named<'n> {
    name: &'n str,
    rows: usize,
}

impl Named<'_> {
    fn number<'f>(self, of: impl Fn(&Row<'_>) -> u32 + 'f) -> Filling<'f> {
        Filling::Numbers(Box::new(of), PrimitiveChunkedBuilder::new(self.name.into(), self.rows))
    }

    fn flag<'f>(self, of: impl Fn(&Row<'_>) -> bool + 'f) -> Filling<'f> {
        Filling::Flags(Box::new(of), BooleanChunkedBuilder::new(self.name.into(), self.rows))
    }

    fn figure<'f>(self, of: impl Fn(&Row<'_>) -> Option<f64> + 'f) -> Filling<'f> {
        Filling::Figures(Box::new(of), PrimitiveChunkedBuilder::new(self.name.into(), self.rows))
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
