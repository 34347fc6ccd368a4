//! By how much a cell is better than the reference on what settings save: time, memory, energy.

use super::summary::{CellSummary, Estimate, START_NOISE, Summary};
use crate::record::{Direction, Objective};

/// A smaller gain is none to change a setting for (share).
const WORTH: f64 = 0.01;

/// A cell beside the reference on one objective.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Gain {
    /// The cell's figure over the reference's (1: the same).
    pub(crate) ratio: f64,
    /// How many times as good it is, whichever way is better: above 1 it is better.
    pub(crate) times: f64,
    /// Whether it differs at all: the interval of time and energy leaves 1 out, memory differs by more than two starts of one
    /// server do. What has no interval is never clear.
    pub(crate) is_clear: bool,
}

impl Gain {
    /// Whether a setting may be advised for it: it is better, clearly, and by more than a percent.
    pub(crate) fn is_worth_it(&self) -> bool {
        self.is_clear && self.times > 1.0 + WORTH
    }

    fn new(ratio: f64, objective: Objective, is_clear: bool) -> Option<Self> {
        let times = match objective.direction() {
            Direction::Up => ratio,
            Direction::Down => 1.0 / ratio,
        };
        let is_figure = ratio.is_finite() && ratio > 0.0 && times.is_finite();
        is_figure.then_some(Self { ratio, times, is_clear })
    }
}

/// The reference's cell at a context length (tokens).
pub(crate) fn reference_of(summary: &Summary, context: u32) -> Option<&CellSummary> {
    summary.cells.iter().find(|cell| cell.setting == summary.reference && cell.context == context)
}

/// Returns what a cell gains over the reference's; `None` where either has no figure, their memory is of two kinds, or the
/// objective is no cost: of quality the verdict speaks, of KLD there is no ratio to a reference whose own is 0.
pub(crate) fn gain(cell: &CellSummary, reference: &CellSummary, objective: Objective) -> Option<Gain> {
    let paired = match objective {
        Objective::Decode => cell.decode_ratio,
        Objective::Prefill => cell.prefill_ratio,
        Objective::Ttft => cell.ttft_ratio,
        Objective::Energy => cell.energy_ratio,
        Objective::Memory => return of_memory(cell, reference),
        Objective::Quality | Objective::Kld => None,
    }?;
    Gain::new(paired.value, objective, leaves_out_1(&paired))
}

fn leaves_out_1(ratio: &Estimate) -> bool {
    ratio.low.is_some_and(|low| low > 1.0) || ratio.high.is_some_and(|high| high < 1.0)
}

fn of_memory(cell: &CellSummary, reference: &CellSummary) -> Option<Gain> {
    let (own, theirs) = (&cell.memory, &reference.memory);
    let (own, theirs) =
        own.peak_bytes.zip(theirs.peak_bytes).filter(|_| own.peak_kind == theirs.peak_kind)?;
    let ratio = own as f64 / theirs as f64;
    Gain::new(ratio, Objective::Memory, (ratio - 1.0).abs() > START_NOISE)
}

#[cfg(test)]
mod tests {
    use super::super::summary::MemoryKind;
    use super::super::testing;
    use super::*;

    fn cell(bytes: u64, ratio: Option<(f64, f64, f64)>) -> CellSummary {
        let mut cell = testing::cell("a", 512);
        let ratio =
            ratio.map(|(low, value, high)| Estimate { value, low: Some(low), high: Some(high), n: 9 });
        (cell.decode_ratio, cell.ttft_ratio) = (ratio, ratio);
        cell.memory.peak_bytes = Some(bytes);
        cell
    }

    #[test]
    fn better_is_above_1_whichever_way_is_better() {
        let (own, reference) = (cell(500, Some((1.9, 2.0, 2.1))), cell(1000, None));
        let of = |objective| gain(&own, &reference, objective).unwrap();
        assert_eq!(of(Objective::Decode), Gain { ratio: 2.0, times: 2.0, is_clear: true });
        assert_eq!(of(Objective::Ttft), Gain { ratio: 2.0, times: 0.5, is_clear: true });
        assert_eq!(of(Objective::Memory), Gain { ratio: 0.5, times: 2.0, is_clear: true });
        assert!(of(Objective::Decode).is_worth_it() && of(Objective::Memory).is_worth_it());
        assert!(!of(Objective::Ttft).is_worth_it(), "it is clearly worse");
        assert_eq!(gain(&own, &reference, Objective::Kld), None);
        assert_eq!(gain(&own, &reference, Objective::Energy), None, "not measured");
    }

    #[test]
    fn what_varies_as_much_by_itself_is_not_clear() {
        let reference = cell(1000, None);
        let of = |own: &CellSummary, objective| gain(own, &reference, objective).unwrap();
        let unsure = cell(995, Some((0.9, 1.4, 1.9)));
        assert!(!of(&unsure, Objective::Decode).is_clear && !of(&unsure, Objective::Memory).is_clear);
        let mut few = cell(1005, None);
        few.decode_ratio = Some(Estimate { value: 3.0, low: None, high: None, n: 2 });
        assert!(!of(&few, Objective::Decode).is_worth_it(), "two requests have no interval");
        let tiny = of(&cell(1000, Some((1.001, 1.004, 1.006))), Objective::Decode);
        assert!(tiny.is_clear && !tiny.is_worth_it(), "nobody changes a setting for 0.4%");
    }

    #[test]
    fn two_kinds_of_memory_are_no_gain() {
        let (mut own, reference) = (cell(500, None), cell(1000, None));
        own.memory.peak_kind = Some(MemoryKind::Gpu);
        assert_eq!(gain(&own, &reference, Objective::Memory), None);
        assert_eq!(gain(&cell(500, None), &cell(0, None), Objective::Memory), None);
    }
}
