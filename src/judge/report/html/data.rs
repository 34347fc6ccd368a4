//! Plain figures of a run's cells, for the page's script.

use serde::Serialize;

use crate::error::{Context, Result};
use crate::judge::analysis::summary::{CellSummary, Estimate, FrontStatus, Summary, Verdict};

/// What can stand on an axis: name, unit, and whether more is better.
const AXES: &[(&str, &str, &str, bool)] = &[
    ("quality", "quality", "", true),
    ("kld", "KLD", "nat", false),
    ("decode", "decode", "tokens/s", true),
    ("prefill", "prefill", "tokens/s", true),
    ("ttft", "time to first token", "ms", false),
    ("memory", "memory", "MiB", false),
    ("energy", "energy a request", "J", false),
];

#[derive(Serialize)]
struct Data<'a> {
    axes: Vec<Axis>,
    contexts: Vec<u32>,
    cells: Vec<Cell<'a>>,
}

#[derive(Serialize)]
struct Axis {
    key: &'static str,
    name: &'static str,
    unit: &'static str,
    more: bool,
}

#[derive(Serialize)]
struct Cell<'a> {
    /// Number of its part of the page.
    id: usize,
    setting: &'a str,
    context: u32,
    /// `reference`, `no worse`, `worse` ..
    verdict: &'static str,
    /// Whether it can be chosen: the reference, and what is no worse.
    good: bool,
    dominated: bool,
    /// Value and ends of the interval, in the order of the axes; null where there is none.
    figures: Vec<Option<[Option<f64>; 3]>>,
}

/// Writes the figures as JSON that cannot end the element that it stands in.
pub(super) fn json(summary: &Summary) -> Result<String> {
    let figures = |cell: &CellSummary| AXES.iter().map(|axis| figure(cell, axis.0)).collect::<Vec<_>>();
    let has = |at: usize| summary.cells.iter().any(|cell| figures(cell)[at].is_some());
    let used: Vec<usize> = (0..AXES.len()).filter(|at| has(*at)).collect();
    let axis = |at: &usize| {
        let (key, name, unit, more) = AXES[*at];
        Axis { key, name, unit, more }
    };
    let mut contexts: Vec<u32> = summary.cells.iter().map(|cell| cell.context).collect();
    contexts.dedup();
    let cell = |(id, cell)| part(id, cell, &figures(cell), &used);
    let data = Data {
        axes: used.iter().map(axis).collect(),
        contexts,
        cells: summary.cells.iter().enumerate().map(cell).collect(),
    };
    let text = serde_json::to_string(&data).context(|| "cannot write the page's figures".into())?;
    Ok(text.replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026"))
}

fn part<'a>(
    id: usize,
    cell: &'a CellSummary,
    figures: &[Option<[Option<f64>; 3]>],
    used: &[usize],
) -> Cell<'a> {
    let is_void = cell.void.is_some();
    Cell {
        id,
        setting: &cell.setting,
        context: cell.context,
        verdict: if is_void { "void" } else { cell.verdict.words() },
        good: !is_void && matches!(cell.verdict, Verdict::Reference | Verdict::NoWorse),
        dominated: cell.front == FrontStatus::Dominated,
        figures: used.iter().map(|at| figures[*at]).collect(),
    }
}

fn figure(cell: &CellSummary, axis: &str) -> Option<[Option<f64>; 3]> {
    let scaled = |estimate: Option<Estimate>, by: f64| {
        let estimate = estimate?;
        Some([
            Some(estimate.value * by),
            estimate.low.map(|low| low * by),
            estimate.high.map(|high| high * by),
        ])
    };
    let found = match axis {
        "quality" => scaled(cell.quality, 1.0),
        "kld" => scaled(cell.kld.as_ref().map(|kld| kld.mean), 1.0),
        "decode" => scaled(cell.decode_tps, 1.0),
        "prefill" => scaled(cell.prefill_tps, 1.0),
        "ttft" => scaled(cell.ttft_s, 1000.0),
        "energy" => scaled(cell.energy.as_ref().map(|energy| energy.per_request_j), 1.0),
        _ => cell.memory.peak_bytes.map(|bytes| [Some(bytes as f64 / f64::from(1 << 20)), None, None]),
    };
    found.filter(|figures| figures[0].is_some_and(f64::is_finite))
}
