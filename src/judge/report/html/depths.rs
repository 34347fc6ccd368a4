//! Where in the text a cell's answers are lost: a map of each task by the depth of the answer, beside the reference's.

use serde::Serialize;

use crate::judge::analysis::summary::{CellSummary, DepthRow, Summary};

/// A task of a cell by depth.
#[derive(Serialize)]
pub(super) struct DepthMap<'a> {
    task: &'a str,
    /// The figures are mean KLD (nat) and not scores.
    is_kld: bool,
    bins: Vec<Bin>,
}

/// Answers that stood in one part of the text.
#[derive(Debug, PartialEq, Serialize)]
pub(super) struct Bin {
    /// Where it begins and ends (0..1).
    from: f64,
    to: f64,
    value: f64,
    /// How dark it is shown, 0 (worst) to 4.
    shade: usize,
    n: u32,
    reference: Option<f64>,
    reference_shade: Option<usize>,
}

/// Returns the maps of a cell, a task each; empty where no task of it has depths.
pub(super) fn maps<'a>(summary: &'a Summary, cell: &CellSummary) -> Vec<DepthMap<'a>> {
    let rows = |setting: &str| -> Vec<&'a DepthRow> {
        summary.depths.iter().filter(|row| row.context == cell.context && row.setting == setting).collect()
    };
    let reference = rows(&summary.reference);
    let mut maps: Vec<DepthMap<'a>> = Vec::new();
    for row in rows(&cell.setting) {
        let is_kld = !summary.tasks.iter().any(|task| task.task == row.task && task.quality.is_some());
        let bin = bin(row, &reference, is_kld);
        match maps.iter_mut().find(|map| map.task == row.task) {
            Some(map) => map.bins.push(bin),
            None => maps.push(DepthMap { task: &row.task, is_kld, bins: vec![bin] }),
        }
    }
    maps
}

fn bin(row: &DepthRow, reference: &[&DepthRow], is_kld: bool) -> Bin {
    let alike = |other: &&&DepthRow| (&other.task, other.from) == (&row.task, row.from);
    let beside = reference.iter().find(alike);
    Bin {
        from: row.from,
        to: row.to,
        value: row.value,
        shade: shade(row.value, is_kld),
        n: row.n,
        reference: beside.map(|other| other.value),
        reference_shade: beside.map(|other| shade(other.value, is_kld)),
    }
}

/// Five shades: of a score by fifths, of a KLD by powers of ten from 0.001 nat on.
fn shade(value: f64, is_kld: bool) -> usize {
    const NATS: [f64; 4] = [0.001, 0.01, 0.1, 1.0];
    const SCORES: [f64; 4] = [0.2, 0.4, 0.6, 0.8];
    match is_kld {
        true => NATS.iter().filter(|step| value < **step).count(),
        false => SCORES.iter().filter(|step| value >= **step).count(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(task: &str, from: f64, value: f64) -> DepthRow {
        DepthRow { task: task.into(), setting: "a".into(), context: 512, from, to: from + 0.2, value, n: 4 }
    }

    #[test]
    fn scores_are_darker_and_distances_lighter_the_larger_they_are() {
        assert_eq!([0.0, 0.19, 0.2, 0.5, 0.79, 1.0].map(|score| shade(score, false)), [0, 0, 1, 2, 3, 4]);
        assert_eq!([0.0, 0.005, 0.05, 0.5, 5.0].map(|nat| shade(nat, true)), [4, 3, 2, 1, 0]);
    }

    #[test]
    fn a_bin_stands_beside_the_references() {
        let own = row("t", 0.2, 0.4);
        let theirs = [row("t", 0.0, 0.1), row("u", 0.2, 0.2), row("t", 0.2, 0.9)];
        let made = bin(&own, &theirs.iter().collect::<Vec<_>>(), false);
        assert_eq!((made.reference, made.reference_shade, made.shade), (Some(0.9), Some(4), 2));
        assert_eq!(bin(&own, &[], false).reference, None);
    }
}
