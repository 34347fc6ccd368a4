//! The short form of a comparison: what changed since the run before.

use super::compared::ComparedCell;
use super::{CompareRequest, Comparison, Measure, Prices, Unit, compare};
use crate::error::Result;
use crate::judge::analysis::summary::{Estimate, NightBefore};
use crate::judge::analysis::words;
use crate::record::journal::Journal;

/// What changed from the run before to this one.
///
/// # Errors
/// As [`compare`].
pub fn since(before: &Journal, now: &Journal) -> Result<NightBefore> {
    let request = CompareRequest { thresholds: Vec::new(), flips: 0, prices: Prices::default() };
    Ok(short(&compare(before, now, &request)?))
}

fn short(comparison: &Comparison) -> NightBefore {
    let counted = || comparison.cells.iter().filter(|cell| cell.void.is_none());
    let figures =
        counted().flat_map(|cell| Measure::ALL.iter().filter_map(|measure| measure.worsening(cell)));
    let of = |worse: bool| -> Vec<String> { counted().flat_map(|cell| lines(cell, worse)).collect() };
    let set_up = comparison.differences.iter();
    NightBefore {
        run: comparison.a.run.clone(),
        started: comparison.a.started.clone(),
        pairs: counted().map(|cell| cell.pairs).sum(),
        lost: counted().map(|cell| cell.lost).sum(),
        gained: counted().map(|cell| cell.gained).sum(),
        figures: figures.filter(|figure| figure.low.is_some()).count() as u32,
        confidence: comparison.confidence,
        worse: of(true),
        better: of(false),
        set_up: set_up.map(|changed| format!("{}: {} -> {}", changed.what, changed.a, changed.b)).collect(),
    }
}

/// The figures of a cell whose whole interval lies beyond no change.
fn lines(cell: &ComparedCell, worse: bool) -> Vec<String> {
    let beyond = |measure: &Measure, worsening: Estimate| {
        let floor = cell.floor.filter(|_| *measure == Measure::Quality).unwrap_or_default();
        let shown = if worse { worsening.low? > 0.0 } else { worsening.high? < 0.0 };
        (shown && worsening.value.abs() > floor).then_some(worsening)
    };
    let line = |measure: &Measure| {
        let by = beyond(measure, measure.worsening(cell)?)?;
        let word = if worse { "worse" } else { "better" };
        let amount = amount(measure.unit(), by, worse);
        Some(format!("{} at {} tokens: {} {word} by {amount}", cell.setting, cell.context, measure.name()))
    };
    Measure::ALL.iter().filter_map(line).collect()
}

/// An amount with its interval, always positive in the direction that is named.
fn amount(unit: Unit, by: Estimate, worse: bool) -> String {
    let sign = if worse { 1.0 } else { -1.0 };
    let (scale, name) = match unit {
        Unit::Points => (100.0, " points"),
        Unit::Share => (100.0, "%"),
        Unit::Nat => (1.0, " nat"),
    };
    let shown = |value: f64| words::significant(value * sign * scale);
    let (low, high) = (by.low.unwrap_or(by.value), by.high.unwrap_or(by.value));
    let (near, far) = if worse { (low, high) } else { (high, low) };
    format!("{}{name} [{}, {}]", shown(by.value), shown(near), shown(far))
}
