//! Where a cell stands on the Pareto front of its context length, and how sure that is.
//!
//! Every bootstrap draw of all cells together makes a front of its own; the share of draws in which a cell
//! is on it decides. One cell dominates another when it is as good in every objective and better in one;
//! memory within 1% counts as equal (epsilon dominance: Laumanns et al. 2002).
//!
//! Quality draws are paired between cells. Cells that agree on every case agree in every draw, which on few
//! cases is no certainty: as good in quality also means that one more case in every task, right or wrong by
//! the toss of a coin (see [`CellDraws`](crate::judge::stats::CellDraws)), could not put the cell behind by more than
//! the suite's margin.
//!
//! Time and energy are those beside the reference's on the same requests (see [`speed`](super::speed)).
//!
//! A front trades quality for cost, so the cheapest of all is on it however bad its answers are. A cell that the verdict
//! calls worse is therefore never called `on front` and never the knee: it is there only by its cost, and is named so.

use super::draws::Draw;
use super::measured::Measured;
use super::summary::{CellSummary, Estimate, FrontStatus, FrontSummary, KneeShare, START_NOISE, Verdict};
use crate::judge::stats::{fill_rows, percentile_interval, threads_for};
use crate::record::suite::Suite;
use crate::record::{Direction, Objective};

mod shape;

/// At least this share of draws on the front: on the front; at most the rest: dominated.
const SURE: f64 = 0.95;

/// Draws that the interval of the hypervolume comes from: each costs as much as a thousand fronts.
const VOLUME_DRAWS: usize = 200;

/// A gain over the reference counts up to so many times.
const LARGEST_RATIO: f64 = 2.0;

/// A setting is named as the knee from this share of draws on.
const KNEE_NAMED: f64 = 0.01;

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

/// The cell's figure for an objective as it is laid beside the others': time and energy as ratios to the reference's.
fn laid(cell: &Measured, objective: Objective) -> Option<f64> {
    match objective {
        Objective::Decode | Objective::Prefill | Objective::Ttft | Objective::Energy => {
            cell.standing.get(&objective).map(|standing| standing.estimate.value)
        }
        Objective::Quality | Objective::Memory | Objective::Kld => value(&cell.summary, objective),
    }
}

/// Whether all peaks are of one kind of memory: GPU memory and main memory are no better or worse than each other.
pub(crate) fn is_one_kind<'c>(cells: impl Iterator<Item = &'c CellSummary>) -> bool {
    let mut kinds = cells.filter_map(|cell| cell.memory.peak_bytes.and(cell.memory.peak_kind));
    let first = kinds.next();
    kinds.all(|kind| Some(kind) == first)
}

/// What a front is made of.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rule<'a> {
    /// What is traded off.
    pub(crate) objectives: &'a [Objective],
    /// The suite's margin, for qualities that look equal.
    pub(crate) margin: f64,
    /// Of intervals.
    pub(crate) confidence: f64,
}

impl<'a> Rule<'a> {
    /// The rule of a suite.
    pub(crate) fn of(suite: &'a Suite) -> Self {
        Self { objectives: &suite.objectives, margin: suite.margin, confidence: suite.confidence }
    }
}

/// Gives every cell of one context length its place, and describes the front; `None` without one. Objectives
/// that no cell has are left out, and those in which cells are no better or worse than each other: memory of two kinds, and a KLD
/// that does not see what a cell's KV type does.
pub(crate) fn place(cells: &mut [Measured], rule: Rule<'_>) -> Option<FrontSummary> {
    let any = |objective: &&Objective| cells.iter().any(|cell| laid(cell, **objective).is_some());
    let comparable = |objective: &&Objective| match objective {
        Objective::Memory => is_one_kind(cells.iter().map(|cell| &cell.summary)),
        Objective::Kld => !cells.iter().any(|cell| cell.unread_kld),
        _ => true,
    };
    let objectives: Vec<Objective> = rule.objectives.iter().filter(any).filter(comparable).copied().collect();
    let measured = |cell: &Measured| objectives.iter().all(|o| laid(cell, *o).is_some());
    let points: Vec<usize> = (0..cells.len()).filter(|&at| measured(&cells[at])).collect();
    if objectives.is_empty() || points.is_empty() {
        return None;
    }
    let front = Front { cells, points: &points, objectives: &objectives, margin: rule.margin };
    let tally = front.tally();
    let summary = front.describe(&tally, rule.confidence);
    for (&at, frequency) in points.iter().zip(tally.on_front) {
        let cell = &mut cells[at].summary;
        cell.front_frequency = frequency;
        cell.front = match frequency {
            None => FrontStatus::NotMeasured,
            Some(share) if share >= SURE && cell.verdict == Verdict::Worse => FrontStatus::OnlyByCost,
            Some(share) if share >= SURE => FrontStatus::OnFront,
            Some(share) if share <= 1.0 - SURE => FrontStatus::Dominated,
            Some(_) => FrontStatus::NotSeparable,
        };
    }
    summary
}

/// The cells of one context length that have every objective.
struct Front<'a> {
    cells: &'a [Measured],
    points: &'a [usize],
    objectives: &'a [Objective],
    margin: f64,
}

/// Shares of complete draws, a number for each point; `None` without a complete draw.
struct Tally {
    on_front: Vec<Option<f64>>,
    knee: Vec<Option<f64>>,
    no_knee: Option<f64>,
}

/// What a draw says about a point.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Place {
    complete: bool,
    on_front: bool,
    knee: bool,
}

impl Front<'_> {
    fn draws(&self) -> usize {
        self.points.iter().map(|&at| length(&self.cells[at], self.objectives)).min().unwrap_or_default()
    }

    fn tally(&self) -> Tally {
        let (draws, points) = (self.draws(), self.points.len());
        let mut places = vec![Place::default(); draws * points];
        let rows = || vec![vec![Figure::default(); self.objectives.len()]; points];
        let steps = draws * points * points * self.objectives.len() * 4;
        fill_rows(&mut places, points, threads_for(steps), rows, |rows, draw, places| {
            if fill(rows, self.cells, self.points, self.objectives, draw).is_some() {
                self.place_all(rows, places);
            }
        });
        let of = |at: usize| places.iter().skip(at).step_by(points);
        let complete = of(0).filter(|place| place.complete).count();
        let share = |count: usize| (complete > 0).then(|| count as f64 / complete as f64);
        let each = |holds: fn(&Place) -> bool| -> Vec<Option<f64>> {
            (0..points).map(|at| share(of(at).filter(|place| holds(place)).count())).collect()
        };
        let with_knee = places.iter().filter(|place| place.knee).count();
        Tally {
            on_front: each(|place| place.on_front),
            knee: each(|place| place.knee),
            no_knee: share(complete - with_knee),
        }
    }

    fn place_all(&self, rows: &[Vec<Figure>], places: &mut [Place]) {
        for (at, place) in places.iter_mut().enumerate() {
            let beaten = rows.iter().any(|other| dominates(other, &rows[at], self.objectives, self.margin));
            *place = Place { complete: true, on_front: !beaten, knee: false };
        }
        let on_front: Vec<usize> = (0..rows.len()).filter(|&at| places[at].on_front).collect();
        let drawn = |row: &Vec<Figure>| row.iter().map(|figure| figure.drawn).collect::<Vec<_>>();
        let gains: Vec<Vec<f64>> = on_front.iter().map(|&at| self.gains(&drawn(&rows[at]))).collect();
        let may_be_named =
            |at: usize| self.cells[self.points[on_front[at]]].summary.verdict != Verdict::Worse;
        if let Some((at, _)) = shape::knee(&gains, may_be_named) {
            places[on_front[at]].knee = true;
        }
    }

    /// Figures turned so that more is better.
    fn gains(&self, figures: &[f64]) -> Vec<f64> {
        let gain = |(figure, objective): (&f64, &Objective)| match objective.direction() {
            Direction::Up => *figure,
            Direction::Down => -figure,
        };
        figures.iter().zip(self.objectives).map(gain).collect()
    }

    fn describe(&self, tally: &Tally, confidence: f64) -> Option<FrontSummary> {
        let context = self.cells.first()?.summary.context;
        let shares = self.points.iter().zip(&tally.knee).filter_map(|(&at, share)| {
            let frequency = share.filter(|share| *share >= KNEE_NAMED)?;
            Some(KneeShare { setting: self.cells[at].summary.setting.clone(), frequency })
        });
        let mut knees: Vec<KneeShare> = shares.collect();
        knees.sort_by(|a, b| b.frequency.total_cmp(&a.frequency));
        Some(FrontSummary {
            context,
            objectives: self.objectives.to_vec(),
            knees,
            no_knee: tally.no_knee,
            hypervolume: self.hypervolume(confidence),
        })
    }

    /// The volume that the front dominates, every objective as a ratio to the reference's figure (better is
    /// larger, at most 2): the reference alone has 1.
    fn hypervolume(&self, confidence: f64) -> Option<Estimate> {
        let reference = self.cells.first()?;
        let scale: Vec<f64> =
            self.objectives.iter().map(|objective| laid(reference, *objective)).collect::<Option<_>>()?;
        let published = |at: &usize| {
            let figures = self.objectives.iter().map(|o| laid(&self.cells[*at], *o));
            figures.collect::<Option<Vec<f64>>>().map(|figures| self.ratios(&figures, &scale))
        };
        let points: Vec<Vec<f64>> = self.points.iter().filter_map(published).collect();
        let mut rows = vec![vec![Figure::default(); self.objectives.len()]; self.points.len()];
        let volumes = (0..self.draws().min(VOLUME_DRAWS)).filter_map(|draw| {
            fill(&mut rows, self.cells, self.points, self.objectives, draw)?;
            let drawn = |row: &Vec<Figure>| row.iter().map(|figure| figure.drawn).collect::<Vec<_>>();
            Some(shape::hypervolume(
                &rows.iter().map(|row| self.ratios(&drawn(row), &scale)).collect::<Vec<_>>(),
            ))
        });
        let interval = percentile_interval(volumes.collect::<Vec<_>>(), confidence);
        Some(Estimate {
            value: shape::hypervolume(&points),
            low: interval.map(|(low, _)| low),
            high: interval.map(|(_, high)| high),
            n: points.len() as u32,
        })
    }

    fn ratios(&self, figures: &[f64], reference: &[f64]) -> Vec<f64> {
        let ratio = |((figure, reference), objective): ((&f64, &f64), &Objective)| {
            let ratio = match (objective, objective.direction()) {
                // The reference's own distance is 0: nothing can be divided by it.
                (Objective::Kld, _) => (-figure).exp(),
                (_, Direction::Up) if *reference > 0.0 => figure / reference,
                (_, Direction::Down) if *figure > 0.0 => reference / figure,
                _ => 1.0,
            };
            ratio.clamp(0.0, LARGEST_RATIO)
        };
        figures.iter().zip(reference).zip(self.objectives).map(ratio).collect()
    }
}

/// How many draws a cell has; memory is one number for all of them.
fn length(cell: &Measured, objectives: &[Objective]) -> usize {
    let varying = objectives.iter().filter_map(|objective| draws_of(cell, *objective));
    varying.map(<[Draw]>::len).min().unwrap_or(1)
}

fn draws_of(cell: &Measured, objective: Objective) -> Option<&[Draw]> {
    match objective {
        Objective::Quality => Some(&cell.draws.quality),
        Objective::Kld => Some(&cell.draws.kld),
        Objective::Decode | Objective::Prefill | Objective::Ttft | Objective::Energy => {
            cell.standing.get(&objective).map(|standing| standing.draws.as_slice())
        }
        Objective::Memory => None,
    }
}

/// A cell's figure in one draw.
#[derive(Debug, Clone, Copy, Default)]
struct Figure {
    drawn: f64,
    /// For quality: with one more case in every task; else the same.
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
                None => laid(&cells[at], objective)?,
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
            Objective::Memory => START_NOISE * a.drawn.max(b.drawn),
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
    use crate::judge::analysis::draws::Draws;
    use crate::judge::analysis::measured::Standing;
    use crate::judge::analysis::summary::{Estimate, KldSummary};

    const OBJECTIVES: &[Objective] = &[Objective::Quality, Objective::Decode, Objective::Memory];

    const RULE: Rule<'_> = Rule { objectives: OBJECTIVES, margin: 0.02, confidence: 0.95 };

    fn point(quality: &[f64], decode: &[f64], memory: u64) -> Measured {
        let mut summary = testing::cell("x", 512);
        let estimate = |value: f64| Estimate { value, low: None, high: None, n: 9 };
        let drawn = |values: &[f64]| values.iter().copied().map(Some).collect::<Vec<Draw>>();
        summary.quality = Some(estimate(quality[0]));
        summary.memory.peak_bytes = Some(memory);
        let mut cell = Measured::new(summary);
        cell.draws = Draws { quality: drawn(quality), smoothed: drawn(quality), ..Draws::default() };
        let standing = Standing { estimate: estimate(decode[0]), draws: drawn(decode) };
        cell.standing.insert(Objective::Decode, standing);
        cell
    }

    fn statuses(mut cells: Vec<Measured>) -> Vec<FrontStatus> {
        place(&mut cells, RULE);
        cells.iter().map(|cell| cell.summary.front).collect()
    }

    #[test]
    fn a_slower_larger_and_worse_cell_is_dominated() {
        let good = point(&[0.8; 20], &[50.0; 20], 1000);
        let bad = point(&[0.6; 20], &[40.0; 20], 2000);
        assert_eq!(statuses(vec![good, bad]), [FrontStatus::OnFront, FrontStatus::Dominated]);
    }

    #[test]
    fn a_distance_that_does_not_see_a_cache_is_no_objective() {
        let rule = Rule { objectives: &[Objective::Decode, Objective::Kld], ..RULE };
        let kld = |mean: f64| KldSummary {
            mean: Estimate { value: mean, low: None, high: None, n: 9 },
            median: mean,
            p99: mean,
            p999: mean,
            rms_delta_p: 0.0,
            top1_agreement: 1.0,
            perplexity: 2.0,
            positions: 9,
            outside: 0,
            unlisted: None,
        };
        let mut cells = vec![point(&[0.8; 20], &[40.0; 20], 1000), point(&[0.6; 20], &[50.0; 20], 1000)];
        for (cell, mean) in cells.iter_mut().zip([0.0, 0.01]) {
            cell.summary.kld = Some(kld(mean));
            cell.draws.kld = vec![Some(mean); 20];
        }
        assert_eq!(place(&mut cells, rule).unwrap().objectives, [Objective::Decode, Objective::Kld]);
        assert_eq!(cells[0].summary.front, FrontStatus::OnFront, "it is slower and nearer");
        cells[1].unread_kld = true;
        assert_eq!(place(&mut cells, rule).unwrap().objectives, [Objective::Decode]);
        assert_eq!(cells[0].summary.front, FrontStatus::Dominated);
    }

    #[test]
    fn trade_offs_share_the_front() {
        let exact = point(&[0.8; 20], &[40.0; 20], 2000);
        let quick = point(&[0.6; 20], &[50.0; 20], 1000);
        assert_eq!(statuses(vec![exact, quick]), [FrontStatus::OnFront; 2]);
    }

    #[test]
    fn a_setting_that_is_worse_is_on_the_front_only_by_its_cost_and_never_its_knee() {
        let mut cells = vec![
            point(&[0.80; 20], &[40.0; 20], 1000),
            point(&[0.78; 20], &[50.0; 20], 1000),
            point(&[0.60; 20], &[79.0; 20], 1000),
            point(&[0.50; 20], &[80.0; 20], 1000),
        ];
        let names = ["reference", "quick", "bad", "worst"];
        cells.iter_mut().zip(names).for_each(|(cell, name)| cell.summary.setting = name.into());
        let knees = |cells: &mut Vec<Measured>| -> Vec<String> {
            place(cells, RULE).unwrap().knees.into_iter().map(|knee| knee.setting).collect()
        };
        assert_eq!(knees(&mut cells), ["bad"], "without verdicts it is the farthest from the chord");
        cells[2..].iter_mut().for_each(|cell| cell.summary.verdict = Verdict::Worse);
        assert_eq!(knees(&mut cells), ["quick"]);
        let statuses: Vec<FrontStatus> = cells.iter().map(|cell| cell.summary.front).collect();
        use FrontStatus::{OnFront, OnlyByCost};
        assert_eq!(statuses, [OnFront, OnFront, OnlyByCost, OnlyByCost]);
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
    fn one_more_case_undoes_an_equality_on_few_cases_only() {
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

    #[test]
    fn the_knee_comes_with_its_frequency_and_the_volume_with_its_interval() {
        let noisy: Vec<f64> = (0..20).map(|i| if i % 4 == 0 { 0.50 } else { 0.78 }).collect();
        let mut cells = vec![
            point(&[0.8; 20], &[40.0; 20], 1000),
            point(&noisy, &[70.0; 20], 1000),
            point(&[0.5; 20], &[80.0; 20], 1000),
        ];
        cells[1].summary.setting = "knee".into();
        let front = place(&mut cells, RULE).unwrap();
        assert_eq!(front.knees.len(), 1);
        assert_eq!((front.knees[0].setting.as_str(), front.knees[0].frequency), ("knee", 0.75));
        assert_eq!(front.no_knee, Some(0.25));
        let volume = front.hypervolume.unwrap();
        assert!(volume.value > 1.5 && volume.low.unwrap() < volume.high.unwrap(), "{volume:?}");
    }

    #[test]
    fn the_reference_alone_has_a_volume_of_one() {
        let front = place(&mut [point(&[0.8; 20], &[40.0; 20], 1000)], RULE).unwrap();
        assert_eq!(front.hypervolume.map(|volume| volume.value), Some(1.0));
    }
}
