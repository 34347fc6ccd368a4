//! What is counted of every visit: aggregates over the table of its trials.

use polars::prelude::{ChunkAgg, DataFrame};

use super::read;
use super::table::{BROKE, Columns, Row, SCORED, TRUNCATED, UNSCORED};
use crate::error::{Error, Result};

/// Trials of a visit by outcome.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) scored: u32,
    pub(crate) unscored: u32,
    pub(crate) failed: u32,
    pub(crate) truncated: u32,
}

/// Trials by outcome, and of every figure how many have it and the largest, by the number of the visit.
pub(super) struct Tallies {
    figures: Vec<&'static str>,
    visits: Vec<Tally>,
}

struct Tally {
    counts: Counts,
    /// In the order of the figures' names.
    figures: Vec<Spread>,
}

/// A figure of a visit's trials.
#[derive(Debug, Clone, Copy)]
struct Spread {
    largest: Option<f64>,
    /// How many trials have it.
    present: usize,
}

impl Tallies {
    /// Of visits in the order of their numbers, each with the rows of its trials.
    pub(super) fn of<'r>(columns: &Columns<'_>, visits: impl Iterator<Item = Vec<Row<'r>>>) -> Result<Self> {
        let figures = columns.figures();
        let names: Vec<&str> =
            [SCORED, UNSCORED, BROKE, TRUNCATED].into_iter().chain(figures.iter().copied()).collect();
        let tally = |rows: Vec<Row<'r>>| {
            let table = columns.table(&rows, &names).ok_or_else(|| Error::runtime("a figure is gone"))??;
            Tally::of(&table, &figures)
        };
        let visits = visits.map(tally).collect::<Result<_>>()?;
        Ok(Self { figures, visits })
    }

    pub(super) fn counts(&self, visit: usize) -> Counts {
        self.visits.get(visit).map_or_else(Counts::default, |tally| tally.counts)
    }

    pub(super) fn largest(&self, visit: usize, figure: &str) -> Option<f64> {
        self.spread(visit, figure)?.largest
    }

    /// Whether any trial of the visit has the figure.
    pub(super) fn has(&self, visit: usize, figure: &str) -> bool {
        self.spread(visit, figure).is_some_and(|spread| spread.present > 0)
    }

    fn spread(&self, visit: usize, figure: &str) -> Option<Spread> {
        let place = self.figures.iter().position(|known| *known == figure)?;
        self.visits.get(visit)?.figures.get(place).copied()
    }
}

impl Tally {
    fn of(table: &DataFrame, figures: &[&str]) -> Result<Self> {
        let count = |flag: &str| Ok::<u32, Error>(read::flagged(table, flag)?.sum().unwrap_or_default());
        let counts = Counts {
            scored: count(SCORED)?,
            unscored: count(UNSCORED)?,
            failed: count(BROKE)?,
            truncated: count(TRUNCATED)?,
        };
        let spread = |figure: &&str| {
            let values = read::figure(table, figure)?;
            Ok(Spread { largest: values.max(), present: values.len() - values.null_count() })
        };
        Ok(Self { counts, figures: figures.iter().map(spread).collect::<Result<_>>()? })
    }
}
