//! Plain figures of a run's cells, for the page's script.

use serde::Serialize;

use crate::error::{Context, Result};
use crate::judge::analysis::gain::{Gain, gain, reference_of};
use crate::judge::analysis::summary::{CellSummary, Estimate, FrontStatus, Summary, Verdict};
use crate::record::{Direction, Objective};

/// What can stand on an axis: the objective, its name on the page, unit, and how much of the unit one of the summary's is.
const AXES: &[(Objective, &str, &str, f64)] = &[
    (Objective::Quality, "quality", "", 1.0),
    (Objective::Kld, "KLD", "nat", 1.0),
    (Objective::Decode, "decode", "tokens/s", 1.0),
    (Objective::Prefill, "prefill", "tokens/s", 1.0),
    (Objective::Ttft, "time to first token", "ms", 1000.0),
    (Objective::Memory, "memory", "MiB", 1.0 / (1 << 20) as f64),
    (Objective::Energy, "energy a request", "J", 1.0),
];

#[derive(Serialize)]
struct Data<'a> {
    axes: Vec<&'a Axis>,
    contexts: Vec<u32>,
    cells: Vec<Cell<'a>>,
}

#[derive(Serialize)]
struct Axis {
    key: &'static str,
    name: &'static str,
    unit: &'static str,
    /// Whether more is better.
    more: bool,
    #[serde(skip)]
    objective: Objective,
    #[serde(skip)]
    scale: f64,
}

impl Axis {
    fn of(&(objective, name, unit, scale): &(Objective, &'static str, &'static str, f64)) -> Self {
        let more = objective.direction() == Direction::Up;
        Self { key: objective.name(), name, unit, more, objective, scale }
    }
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
    /// How many times as good as the reference it is, in the order of the axes; null where that is not worth a choice.
    gains: Vec<Option<f64>>,
}

/// Writes the figures as JSON that cannot end the element that it stands in.
pub(super) fn json(summary: &Summary) -> Result<String> {
    let has = |axis: &&Axis| summary.cells.iter().any(|cell| figure(cell, axis).is_some());
    let axes: Vec<Axis> = AXES.iter().map(Axis::of).collect();
    let used: Vec<&Axis> = axes.iter().filter(has).collect();
    let mut contexts: Vec<u32> = summary.cells.iter().map(|cell| cell.context).collect();
    contexts.dedup();
    let cells = summary.cells.iter().enumerate().map(|(id, cell)| part(id, cell, summary, &used)).collect();
    let data = Data { contexts, cells, axes: used };
    let text = serde_json::to_string(&data).context(|| "cannot write the page's figures".into())?;
    Ok(text.replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026"))
}

fn part<'a>(id: usize, cell: &'a CellSummary, summary: &Summary, used: &[&Axis]) -> Cell<'a> {
    let reference = reference_of(summary, cell.context);
    let gain = |axis: &&Axis| gain(cell, reference?, axis.objective).filter(Gain::is_worth_it);
    let is_void = cell.void.is_some();
    Cell {
        id,
        setting: &cell.setting,
        context: cell.context,
        verdict: if is_void { "void" } else { cell.verdict.words() },
        good: !is_void && matches!(cell.verdict, Verdict::Reference | Verdict::NoWorse),
        dominated: cell.front == FrontStatus::Dominated,
        figures: used.iter().map(|axis| figure(cell, axis)).collect(),
        gains: used.iter().map(|axis| Some(gain(axis)?.times)).collect(),
    }
}

fn figure(cell: &CellSummary, axis: &Axis) -> Option<[Option<f64>; 3]> {
    let exact = |value: f64| Estimate { value, low: None, high: None, n: 1 };
    let found = match axis.objective {
        Objective::Quality => cell.quality,
        Objective::Kld => cell.kld.as_ref().map(|kld| kld.mean),
        Objective::Decode => cell.decode_tps,
        Objective::Prefill => cell.prefill_tps,
        Objective::Ttft => cell.ttft_s,
        Objective::Memory => cell.memory.peak_bytes.map(|bytes| exact(bytes as f64)),
        Objective::Energy => cell.energy.as_ref().map(|energy| energy.per_request_j),
    };
    let found = found.filter(|estimate| estimate.value.is_finite())?;
    Some([Some(found.value), found.low, found.high].map(|value| value.map(|value| value * axis.scale)))
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::judge::analysis::testing;

    #[test]
    fn what_is_no_better_than_the_reference_is_no_choice() {
        let mut summary = testing::summary();
        let cell = |setting: &str, verdict, bytes, ratio: Option<(f64, f64, f64)>| {
            let mut cell = testing::cell(setting, 512);
            cell.verdict = verdict;
            cell.memory.peak_bytes = Some(bytes);
            let estimate = |(low, value, high)| Estimate { value, low: Some(low), high: Some(high), n: 9 };
            cell.decode_tps =
                ratio.map(|(low, value, high)| estimate((low * 50.0, value * 50.0, high * 50.0)));
            cell.decode_ratio = ratio.map(estimate);
            cell
        };
        summary.cells = vec![
            cell(&summary.reference.clone(), Verdict::Reference, 4 << 20, None),
            cell("quick", Verdict::NoWorse, 4 << 20, Some((1.4, 1.5, 1.6))),
            cell("unsure", Verdict::NoWorse, 2 << 20, Some((0.9, 1.7, 2.5))),
        ];
        let data: Value = serde_json::from_str(&json(&summary).unwrap()).unwrap();
        let keys: Vec<&Value> = data["axes"].as_array().unwrap().iter().map(|axis| &axis["key"]).collect();
        assert_eq!(keys, ["decode", "memory"]);
        let gains: Vec<&Value> =
            data["cells"].as_array().unwrap().iter().map(|cell| &cell["gains"]).collect();
        assert_eq!(gains[0], &serde_json::json!([null, null]));
        assert_eq!(gains[1], &serde_json::json!([1.5, null]));
        assert_eq!(gains[2], &serde_json::json!([null, 2.0]));
        assert_eq!(data["cells"][2]["figures"][1], serde_json::json!([2.0, null, null]), "in MiB");
    }
}
