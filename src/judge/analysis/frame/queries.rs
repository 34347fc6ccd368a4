//! What is counted of every visit: grouped queries over tables of their trials.

use polars::prelude::{DataFrame, IntoLazy, LazyFrame, SortMultipleOptions, col};

use super::read;
use super::table::{BROKE, Columns, Row, SCORED, TRUNCATED, UNSCORED, VISIT};
use crate::error::{Context, Error, Result};

/// Trials of visits that are tallied together: what is in memory beside the journal.
const TOGETHER: usize = 1 << 17;

/// Trials of a visit by outcome.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) scored: u32,
    pub(crate) unscored: u32,
    pub(crate) failed: u32,
    pub(crate) truncated: u32,
}

/// Trials by outcome, and of every figure how many have it and the largest, a row per visit.
pub(super) struct Tallies(DataFrame);

impl Tallies {
    /// Of visits, each with the rows of its trials.
    pub(super) fn of<'r>(columns: &Columns<'_>, visits: impl Iterator<Item = Vec<Row<'r>>>) -> Result<Self> {
        let mut tallies = Self(DataFrame::default());
        let mut together: Vec<Row<'_>> = Vec::new();
        for rows in visits {
            together.extend(rows);
            if together.len() >= TOGETHER {
                tallies.add(columns, &together)?;
                together.clear();
            }
        }
        if !together.is_empty() {
            tallies.add(columns, &together)?;
        }
        Ok(tallies)
    }

    fn add(&mut self, columns: &Columns<'_>, rows: &[Row<'_>]) -> Result<()> {
        let (flags, figures) = ([SCORED, UNSCORED, BROKE, TRUNCATED], columns.figures());
        let names: Vec<&str> = [VISIT].into_iter().chain(flags).chain(figures.iter().copied()).collect();
        let table = columns.table(rows, &names).ok_or_else(|| Error::runtime("a figure is gone"))??;
        let flags = flags.map(|flag| col(flag).sum());
        let figures = figures.into_iter().flat_map(|figure| {
            [col(figure).max().alias(largest(figure)), col(figure).count().alias(present(figure))]
        });
        let asked: Vec<_> = flags.into_iter().chain(figures).collect();
        let tallies = table.lazy().group_by([col(VISIT)]).agg(asked);
        let tallies = collect(tallies.sort([VISIT], SortMultipleOptions::default()))?;
        if self.0.width() == 0 {
            self.0 = tallies;
            return Ok(());
        }
        self.0.vstack_mut(&tallies).map(drop).context(|| "cannot put tallies together".into())
    }

    pub(super) fn counts(&self, visit: usize) -> Result<Counts> {
        let count = |name: &str| read::whole(&self.0, name, visit);
        Ok(Counts {
            scored: count(SCORED)?,
            unscored: count(UNSCORED)?,
            failed: count(BROKE)?,
            truncated: count(TRUNCATED)?,
        })
    }

    pub(super) fn largest(&self, visit: usize, column: &str) -> Result<Option<f64>> {
        read::number(&self.0, &largest(column), visit)
    }

    /// Whether any trial of the visit has the figure.
    pub(super) fn has(&self, visit: usize, column: &str) -> bool {
        read::whole(&self.0, &present(column), visit).is_ok_and(|trials| trials > 0)
    }
}

fn largest(column: &str) -> String {
    format!("largest {column}")
}

fn present(column: &str) -> String {
    format!("present {column}")
}

fn collect(rows: LazyFrame) -> Result<DataFrame> {
    rows.collect().context(|| "cannot query the table of trials".into())
}
