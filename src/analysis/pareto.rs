//! Where a cell stands on the Pareto front of its context length, and how sure that is.
//!
//! Every bootstrap draw of all cells together makes a front of its own; the share of draws in which a cell
//! is on it decides. One cell dominates another when it is as good in every objective and better in one;
//! memory within 1% counts as equal (epsilon dominance: Laumanns et al. 2002).
//!
//! Quality draws are paired between cells. Cells that agree on every item agree in every draw, which on few
//! items is no certainty: as good in quality also means that one more item in every task, right or wrong by
//! the toss of a coin (see [`smoothed_draws`](super::stats::smoothed_draws)), could not put the cell behind
//! by more than the suite's margin.

use super::Measured;
use super::summary::{CellSummary, Direction, FrontStatus, Objective};

/// At least this share of draws on the front: on the front; at most the rest: dominated.
const SURE: f64 = 0.95;

/// Peak memory of two starts of one server differs by about as much (relative).
const MEMORY_TOLERANCE: f64 = 0.01;

/// One bootstrap draw; `None` when nothing was drawn that could be measured.
pub(crate) type Draw = Option<f64>;

/// Bootstrap draws of a cell's objectives; empty where there is no such figure.
#[derive(Debug, Clone, Default)]
pub(crate) struct Draws {
    pub(crate) quality: Vec<Draw>,
    /// The same draws with one more item in every task.
    pub(crate) smoothed: Vec<Draw>,
    pub(crate) ttft: Vec<Draw>,
    pub(crate) prefill: Vec<Draw>,
    pub(crate) decode: Vec<Draw>,
    pub(crate) kld: Vec<Draw>,
    pub(crate) energy: Vec<Draw>,
}

/// The cell's figure for an objective, as published.
pub(crate) fn value(cell: &CellSummary, objective: Objective) -> Option<f64> {
    match objective {
        Objective::Quality => cell.quality.map(|estimate| estimate.value),
        Objective::Decode => cell.decode_tps.map(|estimate| estimate.value),
        Objective::Prefill => cell.prefill_tps.map(|estimate| estimate.value),
        Objective::Ttft => cell.ttft_s.map(|estimate| estimate.value),
        Objective::Memory => cell.memory.peak_bytes.map(|bytes| bytes as f64),
        Objective::Kld => cell.kld.as_ref().map(|kld| kld.mean.value),
        Objective::Energy => cell.energy.as_ref().map(|energy| energy.per_request_j.value),
    }
}

/// Gives every cell of one context length its place. Objectives that no cell has are left out.
pub(crate) fn place(cells: &mut [Measured], objectives: &[Objective], margin: f64) {
    let any = |objective: &&Objective| cells.iter().any(|cell| value(&cell.summary, **objective).is_some());
    let objectives: Vec<Objective> = objectives.iter().filter(any).copied().collect();
    let measured = |cell: &Measured| objectives.iter().all(|o| value(&cell.summary, *o).is_some());
    let points: Vec<usize> = (0..cells.len()).filter(|&at| measured(&cells[at])).collect();
    if objectives.is_empty() {
        return;
    }
    let frequencies = frequencies(cells, &points, &objectives, margin);
    for (&at, frequency) in points.iter().zip(frequencies) {
        let cell = &mut cells[at].summary;
        cell.front_frequency = frequency;
        cell.front = match frequency {
            None => FrontStatus::NotMeasured,
            Some(share) if share >= SURE => FrontStatus::OnFront,
            Some(share) if share <= 1.0 - SURE => FrontStatus::Dominated,
            Some(_) => FrontStatus::NotSeparable,
        };
    }
}

/// Share of draws in which each point is on the front; `None` without a complete draw.
fn frequencies(
    cells: &[Measured],
    points: &[usize],
    objectives: &[Objective],
    margin: f64,
) -> Vec<Option<f64>> {
    let draws = points.iter().map(|&at| length(&cells[at], objectives)).min().unwrap_or_default();
    let mut on_front = vec![0_u32; points.len()];
    let mut complete = 0_u32;
    let mut rows = vec![vec![Figure::default(); objectives.len()]; points.len()];
    for draw in 0..draws {
        if fill(&mut rows, cells, points, objectives, draw).is_none() {
            continue;
        }
        complete += 1;
        for (at, count) in on_front.iter_mut().enumerate() {
            let beaten = rows.iter().any(|other| dominates(other, &rows[at], objectives, margin));
            *count += u32::from(!beaten);
        }
    }
    let share = |count: u32| (complete > 0).then(|| f64::from(count) / f64::from(complete));
    on_front.into_iter().map(share).collect()
}

/// How many draws a cell has; memory is one number for all of them.
fn length(cell: &Measured, objectives: &[Objective]) -> usize {
    let varying = objectives.iter().filter_map(|objective| draws_of(cell, *objective));
    varying.map(<[Draw]>::len).min().unwrap_or(1)
}

fn draws_of(cell: &Measured, objective: Objective) -> Option<&[Draw]> {
    match objective {
        Objective::Quality => Some(&cell.draws.quality),
        Objective::Decode => Some(&cell.draws.decode),
        Objective::Prefill => Some(&cell.draws.prefill),
        Objective::Ttft => Some(&cell.draws.ttft),
        Objective::Kld => Some(&cell.draws.kld),
        Objective::Energy => Some(&cell.draws.energy),
        Objective::Memory => None,
    }
}

/// A cell's figure in one draw.
#[derive(Debug, Clone, Copy, Default)]
struct Figure {
    drawn: f64,
    /// For quality: with one more item in every task; else the same.
    smoothed: f64,
}

fn fill(
    rows: &mut [Vec<Figure>],
    cells: &[Measured],
    points: &[usize],
    objectives: &[Objective],
    draw: usize,
) -> Option<()> {
    for (row, &at) in rows.iter_mut().zip(points) {
        for (place, &objective) in row.iter_mut().zip(objectives) {
            let drawn = match draws_of(&cells[at], objective) {
                Some(draws) => draws.get(draw).copied().flatten()?,
                None => value(&cells[at].summary, objective)?,
            };
            let smoothed = match objective {
                Objective::Quality => cells[at].draws.smoothed.get(draw).copied().flatten()?,
                _ => drawn,
            };
            *place = Figure { drawn, smoothed };
        }
    }
    Some(())
}

/// Whether `a` is as good as `b` in every objective and better in one.
fn dominates(a: &[Figure], b: &[Figure], objectives: &[Objective], margin: f64) -> bool {
    let mut better = false;
    for ((a, b), objective) in a.iter().zip(b).zip(objectives) {
        let gain = |a: f64, b: f64| match objective.direction() {
            Direction::Up => a - b,
            Direction::Down => b - a,
        };
        let tolerance = match objective {
            Objective::Memory => MEMORY_TOLERANCE * a.drawn.max(b.drawn),
            _ => 0.0,
        };
        let uncertain = *objective == Objective::Quality && gain(a.smoothed, b.smoothed) < -margin;
        if gain(a.drawn, b.drawn) < -tolerance || uncertain {
            return false;
        }
        better |= gain(a.drawn, b.drawn) > tolerance;
    }
    better
}

#[cfg(test)]
mod tests {
    use super::super::testing;
    use super::*;
    use crate::analysis::summary::Estimate;

    const OBJECTIVES: &[Objective] = &[Objective::Quality, Objective::Decode, Objective::Memory];

    fn point(quality: &[f64], decode: &[f64], memory: u64) -> Measured {
        let mut summary = testing::cell("x", 512);
        let estimate = |value: f64| Some(Estimate { value, low: None, high: None, n: 9 });
        summary.quality = estimate(quality[0]);
        summary.decode_tps = estimate(decode[0]);
        summary.memory.peak_bytes = Some(memory);
        let draws = Draws {
            quality: quality.iter().copied().map(Some).collect(),
            smoothed: quality.iter().copied().map(Some).collect(),
            decode: decode.iter().copied().map(Some).collect(),
            ..Draws::default()
        };
        Measured { summary, difference: None, draws }
    }

    fn statuses(mut cells: Vec<Measured>) -> Vec<FrontStatus> {
        place(&mut cells, OBJECTIVES, 0.02);
        cells.iter().map(|cell| cell.summary.front).collect()
    }

    #[test]
    fn a_slower_larger_and_worse_cell_is_dominated() {
        let good = point(&[0.8; 20], &[50.0; 20], 1000);
        let bad = point(&[0.6; 20], &[40.0; 20], 2000);
        assert_eq!(statuses(vec![good, bad]), [FrontStatus::OnFront, FrontStatus::Dominated]);
    }

    #[test]
    fn trade_offs_share_the_front() {
        let exact = point(&[0.8; 20], &[40.0; 20], 2000);
        let quick = point(&[0.6; 20], &[50.0; 20], 1000);
        assert_eq!(statuses(vec![exact, quick]), [FrontStatus::OnFront; 2]);
    }

    #[test]
    fn draws_that_disagree_are_not_separable() {
        let steady = point(&[0.8; 20], &[50.0; 20], 1000);
        let noisy: Vec<f64> = (0..20).map(|i| if i % 2 == 0 { 40.0 } else { 60.0 }).collect();
        let other = point(&[0.8; 20], &noisy, 1000);
        assert_eq!(statuses(vec![steady, other]), [FrontStatus::NotSeparable; 2]);
    }

    #[test]
    fn memory_within_one_percent_is_a_tie() {
        let a = point(&[0.80; 20], &[50.0; 20], 1000);
        let b = point(&[0.80; 20], &[40.0; 20], 995);
        assert_eq!(statuses(vec![a, b]), [FrontStatus::OnFront, FrontStatus::Dominated]);
    }

    #[test]
    fn one_more_item_undoes_an_equality_on_few_items_only() {
        for (spread, status) in [(0.1, FrontStatus::NotSeparable), (0.01, FrontStatus::Dominated)] {
            let quick = point(&[0.80; 20], &[50.0; 20], 1000);
            let mut slow = point(&[0.80; 20], &[40.0; 20], 1000);
            for draw in (0..20).step_by(2) {
                slow.draws.smoothed[draw] = Some(0.80 + spread);
            }
            assert_eq!(statuses(vec![quick, slow]), [FrontStatus::OnFront, status]);
        }
    }

    #[test]
    fn a_cell_without_an_objective_is_not_placed() {
        let whole = point(&[0.8; 20], &[50.0; 20], 1000);
        let mut part = point(&[0.8; 20], &[60.0; 20], 1000);
        part.summary.memory.peak_bytes = None;
        assert_eq!(statuses(vec![whole, part]), [FrontStatus::OnFront, FrontStatus::NotMeasured]);
    }

    #[test]
    fn an_objective_that_nobody_has_is_left_out() {
        let mut cells = vec![point(&[0.8; 20], &[50.0; 20], 0), point(&[0.6; 20], &[40.0; 20], 0)];
        cells.iter_mut().for_each(|cell| cell.summary.memory.peak_bytes = None);
        assert_eq!(statuses(cells), [FrontStatus::OnFront, FrontStatus::Dominated]);
    }
}
