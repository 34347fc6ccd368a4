//! When the verdict of a cell cannot change any more.

use crate::judge::analysis::measured::Measured;
use crate::judge::analysis::summary::{Estimate, Verdict};
use crate::judge::analysis::words::{points, thousands};
use crate::record::suite::Suite;

/// Why the verdict of a cell cannot change any more, however the other cells' p-values turn out: Holm multiplies by no more
/// than `family`.
pub(in crate::judge::analysis) fn settled(suite: &Suite, cell: &Measured, family: f64) -> Option<String> {
    let difference = cell.difference.as_ref()?;
    let Estimate { value, low: Some(low), high: Some(high), n } = difference.estimate else {
        return None;
    };
    let pairs = thousands(u64::from(n));
    match cell.summary.verdict {
        Verdict::NoWorse => Some(format!(
            "no worse: a difference of {} [{}, {}] points on {pairs} pairs, the margin is {}",
            signed(value),
            signed(low),
            signed(high),
            points(suite.margin)
        )),
        Verdict::Worse if difference.p_value * family <= 1.0 - suite.confidence => Some(format!(
            "worse: {} points on {pairs} pairs, E = {:.0}",
            signed(value),
            1.0 / difference.p_value
        )),
        _ => None,
    }
}

fn signed(value: f64) -> String {
    format!("{:+.1}", value * 100.0).replace('-', "−")
}
