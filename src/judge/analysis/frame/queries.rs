//! What is asked of every visit at once: grouped queries over the whole table, whose answers are looked up per visit.

use std::collections::BTreeMap;

use polars::prelude::{DataFrame, IntoLazy, LazyFrame, SortMultipleOptions, col, len, lit};

use super::read;
use super::table::{BROKE, JUDGED, PLACE, PRIMARY, SCORED, TRUNCATED, UNSCORED, VISIT};
use crate::error::{Context, Result};
use crate::record::metric;

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
    pub(super) fn of(trials: &DataFrame) -> Result<Self> {
        let flags = [SCORED, UNSCORED, BROKE, TRUNCATED].map(|flag| col(flag).sum());
        let figures = metric::FIGURES.iter().map(|figure| figure.name);
        let measured = figures.filter(|figure| trials.column(figure).is_ok());
        let figures = measured.flat_map(|figure| {
            [col(figure).max().alias(largest(figure)), col(figure).count().alias(present(figure))]
        });
        let asked: Vec<_> = flags.into_iter().chain(figures).collect();
        let tallies = trials.clone().lazy().group_by([col(VISIT)]).agg(asked);
        Ok(Self(collect(tallies.sort([VISIT], SortMultipleOptions::default()))?))
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

/// The judged cases of the primary endpoint, repeats averaged, by visit and then by the request's names.
pub(super) struct CaseColumns {
    pub(super) places: Vec<u64>,
    pub(super) quality: Vec<f64>,
    /// Trials of the case that broke.
    pub(super) broke: Vec<u32>,
    /// Its trials.
    pub(super) trials: Vec<u32>,
}

impl CaseColumns {
    pub(super) fn of(trials: &DataFrame) -> Result<Self> {
        let rows = trials
            .clone()
            .lazy()
            .filter(col(PRIMARY).and(col(JUDGED).is_not_null()))
            .select([col(PLACE), col(JUDGED), col(BROKE)])
            // Repeats stay in the order they ended: what is added up then does not depend on threads.
            .sort([PLACE], SortMultipleOptions::default().with_maintain_order(true))
            .group_by_stable([col(PLACE)])
            .agg([col(JUDGED).mean(), col(BROKE).sum(), len().alias("trials")]);
        let rows = collect(rows)?;
        Ok(Self {
            places: read::places(&rows, PLACE)?,
            quality: read::present(&rows, JUDGED)?,
            broke: read::wholes(&rows, BROKE)?,
            trials: read::wholes(&rows, "trials")?,
        })
    }

    /// Where the cases of a visit stand.
    pub(super) fn of_visit(&self, visit: usize) -> std::ops::Range<usize> {
        let before = |visit: usize| self.places.partition_point(|place| (place >> 32) < visit as u64);
        before(visit)..before(visit + 1)
    }
}

/// Of every visit, how many trials have a figure and how many of them lie above a threshold.
pub(super) fn above(trials: &DataFrame, column: &str, threshold: f64) -> Result<BTreeMap<usize, (u32, u32)>> {
    if trials.column(column).is_err() {
        return Ok(BTreeMap::new());
    }
    let rows = trials.clone().lazy().filter(col(column).is_not_null()).group_by([col(VISIT)]);
    let rows =
        collect(rows.agg([len().alias("trials"), col(column).gt(lit(threshold)).sum().alias("above")]))?;
    let counts = read::wholes(&rows, "trials")?.into_iter().zip(read::wholes(&rows, "above")?);
    Ok(read::wholes(&rows, VISIT)?.into_iter().map(|visit| visit as usize).zip(counts).collect())
}

fn collect(rows: LazyFrame) -> Result<DataFrame> {
    rows.collect().context(|| "cannot query the table of trials".into())
}
