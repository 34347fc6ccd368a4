//! Two runs side by side as Markdown.

use serde::Serialize;

use super::filters::{self, Figure};
use super::markdown::built_in;
use crate::error::Result;
use crate::judge::analysis::compare::{ComparedCell, Comparison, Regression, Unit};

const TEMPLATE: &str = include_str!("templates/compare.md.j2");

/// What the template shows: the comparison, and what of it is counted.
#[derive(Serialize)]
struct View<'a> {
    comparison: &'a Comparison,
    pairs: u32,
    unpaired: u32,
    /// Cells whose quality differs by an interval that leaves out 0.
    changed: usize,
    regressions: Vec<RegressionRow<'a>>,
}

#[derive(Serialize)]
struct RegressionRow<'a> {
    regression: &'a Regression,
    /// How the change is written.
    figure: Figure,
}

/// Returns what changed from run A to run B.
///
/// # Errors
/// When the template fails.
pub fn comparison(comparison: &Comparison) -> Result<String> {
    let cells = &comparison.cells;
    let apart = |cell: &&ComparedCell| {
        // Without an end nothing is left out.
        cell.quality
            .is_some_and(|q| q.low.is_some_and(|low| low > 0.0) || q.high.is_some_and(|high| high < 0.0))
    };
    let view = View {
        comparison,
        pairs: cells.iter().map(|cell| cell.pairs).sum(),
        unpaired: cells.iter().map(|cell| cell.unpaired).sum(),
        changed: cells.iter().filter(apart).count(),
        regressions: comparison.regressions.iter().map(row).collect(),
    };
    built_in("compare.md", TEMPLATE, view)
}

fn row(regression: &Regression) -> RegressionRow<'_> {
    let figure = match regression.threshold.measure.unit() {
        Unit::Points => filters::IN_POINTS,
        Unit::Share => filters::IN_PERCENT,
        Unit::Nat => filters::IN_NAT,
    };
    RegressionRow { regression, figure }
}
