//! Gates: limits of the suite that its cells must keep.
//!
//! A gate fails when the whole interval lies beyond the limit, and passes when the whole interval lies within;
//! between the two it stays open, which only a strict gate takes for a failure. A figure that does not exist fails:
//! a gate that cannot be checked must not look kept. While a cell has planned trials without an outcome (the run goes on,
//! or was broken off), its gates are undecided: nothing holds or fails on a part of the data. A speed that the run
//! itself calls doubtful is not failed for.

use std::collections::BTreeMap;

use super::gain::reference_of;
use super::summary::{CellSummary, Estimate, GateResult, GateStatus, Summary, Verdict};
use crate::judge::stats::clopper_pearson;
use crate::record::filter::Filter;
use crate::record::suite::{Gate, GateMetric};

mod doubt;
mod planned;

pub(crate) use doubt::Doubts;
pub use planned::{UndecidableGate, undecidable};

/// Cases that were right and all cases, of cells with one primary task of independent pass/fail cases.
pub(super) type Right<'a> = BTreeMap<(&'a str, u32), (u32, u32)>;

/// Every gate on every cell that it is about.
pub(super) fn check(
    gates: &[Gate],
    summary: &Summary,
    right: &Right<'_>,
    doubts: &Doubts,
) -> Vec<GateResult> {
    let mut results = Vec::new();
    for gate in gates {
        // The suite was checked when it was loaded; a term that cannot be read selects nothing.
        let Ok(filter) = Filter::parse(&gate.cells) else { continue };
        let here = summary.cells.iter().filter(|cell| filter.keeps_cell(&cell.setting, cell.context));
        let elsewhere = |cell: &CellSummary| summary.pack.is_some() && cell.setting == summary.reference;
        for cell in
            here.filter(|cell| applies(gate, cell) && !(is_of_machine(gate.metric) && elsewhere(cell)))
        {
            let judged = result(gate, cell, summary, right);
            results.push(doubted(gate, cell, judged, doubts));
        }
    }
    results
}

/// What was measured while others used the machine says little of the setting: a limit that it does not keep stays
/// undecided. Under a strict gate that is a failure, too, but says why.
fn doubted(gate: &Gate, cell: &CellSummary, judged: GateResult, doubts: &Doubts) -> GateResult {
    let engine_agrees = cell.engine_decode_tps.is_none_or(|rate| within(gate, rate) == judged.status);
    let contradicted = gate.metric == GateMetric::Decode && !engine_agrees;
    let contradiction = doubts.contradiction(&cell.setting, cell.context).filter(|_| contradicted);
    let doubt = doubts.about(gate.metric, &cell.setting, cell.context).or(contradiction);
    let measured = judged.value.is_some() && matches!(judged.status, GateStatus::Failed | GateStatus::Open);
    let Some(doubt) = doubt.filter(|_| measured) else { return judged };
    let status = if gate.strict { GateStatus::Failed } else { GateStatus::Open };
    let because = format!("undecided, as its speed is doubtful: {doubt}; it was {}", judged.because);
    GateResult { status, because, ..judged }
}

/// Whether it limits what a reference from a pack says nothing of.
fn is_of_machine(metric: GateMetric) -> bool {
    match metric {
        GateMetric::Decode
        | GateMetric::Prefill
        | GateMetric::Ttft
        | GateMetric::Energy
        | GateMetric::Memory => true,
        GateMetric::Quality | GateMetric::Difference | GateMetric::Kld | GateMetric::Failed => false,
    }
}

/// The reference is not compared with itself.
fn applies(gate: &Gate, cell: &CellSummary) -> bool {
    let compares = gate.no_worse_than_reference || gate.metric == GateMetric::Difference;
    !(compares && cell.verdict == Verdict::Reference)
}

fn result(gate: &Gate, cell: &CellSummary, summary: &Summary, right: &Right<'_>) -> GateResult {
    let value = figure(gate, cell, summary, right);
    let (status, because) = match (&cell.void, value) {
        (Some(reason), _) => (GateStatus::Failed, format!("the cell is void: {reason}")),
        (None, None) => (GateStatus::Failed, format!("there is no {}", gate.metric.name())),
        (None, Some(value)) => judge(gate, cell.verdict, value),
    };
    let status = if gate.strict && status == GateStatus::Open { GateStatus::Failed } else { status };
    let (status, because) = match unfinished(gate, cell, summary) {
        Some(why) => (GateStatus::Undecided, why),
        None => (status, because),
    };
    GateResult {
        gate: gate.words(),
        setting: cell.setting.clone(),
        context: cell.context,
        value: value.filter(|_| cell.void.is_none()),
        status,
        because,
    }
}

/// Why the gate cannot be judged yet: trials of the cell, or of the reference that it is compared with, are missing.
fn unfinished(gate: &Gate, cell: &CellSummary, summary: &Summary) -> Option<String> {
    if summary.done >= summary.planned {
        return None;
    }
    let compares = gate.no_worse_than_reference
        || matches!(gate.metric, GateMetric::Difference | GateMetric::Kld | GateMetric::Quality);
    let reference = reference_of(summary, cell.context).filter(|_| compares);
    let part = std::iter::once(cell)
        .chain(reference)
        .find(|cell| tried(cell) < cell.planned && !stopped(cell, summary))?;
    Some(format!(
        "the run is not finished: {} of {} trials of {} are in the journal",
        tried(part),
        part.planned,
        part.setting
    ))
}

fn tried(cell: &CellSummary) -> u32 {
    cell.scored + cell.unscored + cell.failed
}

fn stopped(cell: &CellSummary, summary: &Summary) -> bool {
    let decisions = summary.stopping.iter().flat_map(|stopping| &stopping.decisions);
    decisions.into_iter().any(|decision| decision.covers(&cell.setting, cell.context, 0))
}

fn figure(gate: &Gate, cell: &CellSummary, summary: &Summary, right: &Right<'_>) -> Option<Estimate> {
    let known = |value: f64| Estimate { value, low: Some(value), high: Some(value), n: 1 };
    match gate.metric {
        GateMetric::Quality => match &gate.task {
            Some(task) => worst_task(task, cell, summary),
            None => {
                let exact = right.get(&(cell.setting.as_str(), cell.context));
                exact.and_then(|(k, n)| rate(*k, *n, summary.confidence)).or(cell.quality)
            }
        },
        GateMetric::Difference => cell.difference,
        GateMetric::Kld => cell.kld.as_ref().map(|kld| kld.mean),
        GateMetric::Decode => cell.decode_tps,
        GateMetric::Prefill => cell.prefill_tps,
        GateMetric::Ttft => cell.ttft_s,
        GateMetric::Energy => cell.energy.as_ref().map(|energy| energy.per_request_j),
        GateMetric::Memory => cell.memory.peak_bytes.map(|bytes| known(bytes as f64)),
        GateMetric::Failed => rate(cell.failed, tried(cell), summary.confidence),
    }
}

/// Of the task's arms the one with the lowest score.
fn worst_task(task: &str, cell: &CellSummary, summary: &Summary) -> Option<Estimate> {
    let rows = summary.tasks.iter();
    let rows = rows.filter(|r| r.task == task && r.setting == cell.setting && r.context == cell.context);
    rows.filter_map(|row| row.quality).min_by(|a, b| a.value.total_cmp(&b.value))
}

/// A rate of independent trials with Clopper and Pearson's interval.
fn rate(hits: u32, n: u32, confidence: f64) -> Option<Estimate> {
    let (low, high) = clopper_pearson(hits, n, confidence)?;
    Some(Estimate { value: f64::from(hits) / f64::from(n), low: Some(low), high: Some(high), n })
}

fn judge(gate: &Gate, verdict: Verdict, value: Estimate) -> (GateStatus, String) {
    if gate.no_worse_than_reference {
        let status = match verdict {
            Verdict::NoWorse | Verdict::Reference => GateStatus::Passed,
            Verdict::Worse => GateStatus::Failed,
            Verdict::NotSeparable | Verdict::NotComparable | Verdict::NotMeasured => GateStatus::Open,
        };
        let limits = within(gate, value);
        return (worse_of(status, limits), format!("the verdict is {}", verdict.words()));
    }
    let interval = match (value.low, value.high) {
        (Some(low), Some(high)) if low < high => format!(" [{}, {}]", short(low), short(high)),
        _ => String::new(),
    };
    (within(gate, value), format!("{}{interval} of {} observations", short(value.value), value.n))
}

fn within(gate: &Gate, value: Estimate) -> GateStatus {
    let (Some(low), Some(high)) = (value.low, value.high) else {
        let unlimited = gate.min.is_none() && gate.max.is_none();
        return if unlimited { GateStatus::Passed } else { GateStatus::Open };
    };
    let side = |shown: bool, refuted: bool| match (shown, refuted) {
        (_, true) => GateStatus::Failed,
        (true, _) => GateStatus::Passed,
        _ => GateStatus::Open,
    };
    let at_least = gate.min.map_or(GateStatus::Passed, |min| side(low >= min, high < min));
    let at_most = gate.max.map_or(GateStatus::Passed, |max| side(high <= max, low > max));
    worse_of(at_least, at_most)
}

fn worse_of(a: GateStatus, b: GateStatus) -> GateStatus {
    match (a, b) {
        (GateStatus::Failed, _) | (_, GateStatus::Failed) => GateStatus::Failed,
        (GateStatus::Undecided, _) | (_, GateStatus::Undecided) => GateStatus::Undecided,
        (GateStatus::Open, _) | (_, GateStatus::Open) => GateStatus::Open,
        _ => GateStatus::Passed,
    }
}

/// Four significant digits.
fn short(value: f64) -> String {
    if value == 0.0 || value.abs() >= 1000.0 {
        return format!("{value:.0}");
    }
    let digits = (3.0 - value.abs().log10().floor()).clamp(0.0, 9.0) as usize;
    format!("{value:.digits$}")
}

#[cfg(test)]
mod tests {
    use super::super::testing;
    use super::*;

    fn gate(metric: GateMetric, min: Option<f64>, max: Option<f64>) -> Gate {
        Gate {
            metric,
            task: None,
            cells: Vec::new(),
            min,
            max,
            no_worse_than_reference: false,
            strict: false,
        }
    }

    fn cell(quality: Estimate) -> CellSummary {
        let mut cell = testing::cell("quick", 512);
        (cell.scored, cell.failed) = (98, 2);
        cell.quality = Some(quality);
        cell.memory.peak_bytes = Some(1000);
        cell
    }

    fn status(gate: &Gate, cell: CellSummary, right: &Right<'_>) -> GateStatus {
        let mut summary = testing::summary();
        summary.cells = vec![cell];
        let results = check(std::slice::from_ref(gate), &summary, right, &Doubts::default());
        assert_eq!(results.len(), 1);
        results[0].status
    }

    const QUALITY: Estimate = Estimate { value: 0.8, low: Some(0.7), high: Some(0.9), n: 100 };

    #[test]
    fn the_whole_interval_decides() {
        use GateStatus::{Failed, Open, Passed};
        for (min, max, expected) in [
            (Some(0.6), None, Passed),
            (Some(0.75), None, Open),
            (Some(0.95), None, Failed),
            (None, Some(0.95), Passed),
            (None, Some(0.6), Failed),
            (Some(0.6), Some(0.85), Open),
        ] {
            let gate = gate(GateMetric::Quality, min, max);
            assert_eq!(status(&gate, cell(QUALITY), &Right::new()), expected, "{min:?} {max:?}");
        }
        let strict = Gate { strict: true, ..gate(GateMetric::Quality, Some(0.75), None) };
        assert_eq!(status(&strict, cell(QUALITY), &Right::new()), Failed);
    }

    #[test]
    fn rates_of_independent_cases_have_exact_intervals() {
        // scipy.stats.binomtest(190, 200).proportion_ci(method="exact"): 0.90997..0.97577
        let right = Right::from([(("quick", 512), (190, 200))]);
        let at = |min| status(&gate(GateMetric::Quality, Some(min), None), cell(QUALITY), &right);
        assert_eq!(
            (at(0.909), at(0.911), at(0.976)),
            (GateStatus::Passed, GateStatus::Open, GateStatus::Failed)
        );
        let failed = |max| status(&gate(GateMetric::Failed, None, Some(max)), cell(QUALITY), &Right::new());
        assert_eq!(
            (failed(0.1), failed(0.01), failed(0.001)),
            (GateStatus::Passed, GateStatus::Open, GateStatus::Failed)
        );
    }

    #[test]
    fn what_does_not_exist_fails() {
        let decode = gate(GateMetric::Decode, Some(1.0), None);
        assert_eq!(status(&decode, cell(QUALITY), &Right::new()), GateStatus::Failed);
        let mut void = cell(QUALITY);
        void.void = Some("changed".into());
        let memory = gate(GateMetric::Memory, None, Some(2000.0));
        assert_eq!(status(&memory, void, &Right::new()), GateStatus::Failed);
        assert_eq!(status(&memory, cell(QUALITY), &Right::new()), GateStatus::Passed);
    }

    #[test]
    fn gates_of_a_run_that_goes_on_are_undecided() {
        let gate = gate(GateMetric::Quality, Some(0.95), None);
        let mut summary = testing::summary();
        summary.cells = vec![CellSummary { planned: 120, ..cell(QUALITY) }];
        (summary.done, summary.planned) = (100, 240);
        let check = |summary: &Summary| {
            check(std::slice::from_ref(&gate), summary, &Right::new(), &Doubts::default()).remove(0)
        };
        let result = check(&summary);
        assert_eq!(result.status, GateStatus::Undecided, "it would fail on these cases");
        assert!(result.because.contains("not finished: 100 of 120 trials"), "{}", result.because);
        summary.cells[0].planned = 100;
        assert_eq!(check(&summary).status, GateStatus::Failed, "its own trials are all there");
        let mut reference = testing::cell(&summary.reference, 512);
        reference.planned = 120;
        summary.cells.push(reference);
        assert_eq!(check(&summary).status, GateStatus::Undecided, "the reference decides which tasks count");
        summary.done = summary.planned;
        assert_eq!(check(&summary).status, GateStatus::Failed);
    }

    #[test]
    fn verdicts_gate_all_but_the_reference() {
        let no_worse = Gate { no_worse_than_reference: true, ..gate(GateMetric::Quality, None, None) };
        for (verdict, expected) in [
            (Verdict::NoWorse, GateStatus::Passed),
            (Verdict::Worse, GateStatus::Failed),
            (Verdict::NotSeparable, GateStatus::Open),
        ] {
            let mut judged = cell(QUALITY);
            judged.verdict = verdict;
            assert_eq!(status(&no_worse, judged, &Right::new()), expected);
        }
        let mut summary = testing::summary();
        summary.cells = vec![cell(QUALITY)];
        summary.cells[0].verdict = Verdict::Reference;
        assert!(check(&[no_worse], &summary, &Right::new(), &Doubts::default()).is_empty());
    }
}
