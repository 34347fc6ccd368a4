//! Where the changes are: the best partition of the nights, and the nights that may as well be the date.

use super::night::{LEAST, Night, spread};
use crate::quantile::median;

/// A night farther than so many robust standard deviations from its level, and than half a step, costs no more than one
/// that is there, when a change is dated: a single bad night is not a level.
const ODD: f64 = 3.0;

/// Confidence of the set of nights that may be the date.
const DATE_CONFIDENCE: f64 = 0.95;

/// The ends of the straight line through a series, where it describes it better than the best partition with so many
/// changes does: by what either leaves unexplained, and by what it has to choose (Schwarz 1978).
pub(super) fn drift(costs: &Costs, changes: usize) -> Option<(f64, f64)> {
    let nights = costs.values.len() as f64;
    let (first, last) = costs.line();
    let by_levels = costs.of_partition(&costs.best_partition(changes));
    let rounding = 1e-9 * costs.cost(0, costs.values.len());
    let criterion = |left: f64, chosen: usize| nights * (left + rounding).ln() + chosen as f64 * nights.ln();
    let on_line = costs.about_line(first, last);
    (criterion(on_line, 2) < criterion(by_levels, 2 * changes + 1)).then_some((first, last))
}

/// What it costs to call any stretch of nights a level: the weighted sum of squares about it, bounded for each night.
pub(super) struct Costs {
    values: Vec<f64>,
    weights: Vec<f64>,
    /// Farther from its level no night costs more.
    reach: f64,
    /// Of the nights `from..to`, at `from * (nights + 1) + to`.
    table: Vec<f64>,
}

impl Costs {
    /// `places`: about where the levels change.
    pub(super) fn of(series: &[Night], weights: Vec<f64>, places: &[usize]) -> Self {
        let values: Vec<f64> = series.iter().map(|night| night.value).collect();
        let steps: Vec<f64> = values.windows(2).map(|pair| pair[1] - pair[0]).collect();
        let noise = spread(&steps) / std::f64::consts::SQRT_2;
        let edges = std::iter::once(0).chain(places.iter().copied());
        let levels: Vec<f64> = edges
            .zip(places.iter().copied().chain([values.len()]))
            .filter_map(|(from, to)| median(&mut values[from..to].to_vec()))
            .collect();
        let least_step =
            levels.windows(2).map(|pair| (pair[1] - pair[0]).abs()).fold(f64::INFINITY, f64::min);
        let reach = (ODD * noise).max(if least_step.is_finite() { least_step / 2.0 } else { 0.0 });
        let nights = values.len();
        let mut costs = Self { values, weights, reach, table: vec![0.0; (nights + 1) * (nights + 1)] };
        for from in 0..nights {
            let mut sorted: Vec<f64> = Vec::new();
            for to in from + 1..=nights {
                let value = costs.values[to - 1];
                sorted.insert(sorted.partition_point(|other| *other < value), value);
                costs.table[from * (nights + 1) + to] = costs.about(from, to, costs.level(&sorted));
            }
        }
        costs
    }

    /// The mean of the nights that are near the median.
    pub(super) fn level(&self, sorted: &[f64]) -> f64 {
        let middle = f64::midpoint(sorted[(sorted.len() - 1) / 2], sorted[sorted.len() / 2]);
        let near = sorted.iter().filter(|value| (*value - middle).abs() <= self.reach);
        let (sum, count) = near.fold((0.0, 0.0), |(sum, count), value| (sum + value, count + 1.0));
        if count > 0.0 { sum / count } else { middle }
    }

    pub(super) fn about(&self, from: usize, to: usize, level: f64) -> f64 {
        (from..to).map(|at| self.loss(at, level)).sum()
    }

    pub(super) fn loss(&self, at: usize, level: f64) -> f64 {
        self.weights[at] * (self.values[at] - level).abs().min(self.reach).powi(2)
    }

    pub(super) fn cost(&self, from: usize, to: usize) -> f64 {
        self.table[from * (self.values.len() + 1) + to]
    }

    /// Over all levels of a partition.
    pub(super) fn of_partition(&self, starts: &[usize]) -> f64 {
        let edges = std::iter::once(0).chain(starts.iter().copied());
        edges
            .zip(starts.iter().copied().chain([self.values.len()]))
            .map(|(from, to)| self.cost(from, to))
            .sum()
    }

    /// The ends of a straight line through all nights: the median of the slopes between any two (Theil 1950, Sen 1968).
    pub(super) fn line(&self) -> (f64, f64) {
        let nights = self.values.len();
        let slope = |from: usize, to: usize| (self.values[to] - self.values[from]) / (to - from) as f64;
        let mut slopes: Vec<f64> = (0..nights)
            .flat_map(|from| (from + 1..nights).map(move |to| (from, to)))
            .map(|(a, b)| slope(a, b))
            .collect();
        let slope = median(&mut slopes).unwrap_or_default();
        let mut starts: Vec<f64> =
            self.values.iter().enumerate().map(|(at, value)| value - slope * at as f64).collect();
        let first = median(&mut starts).unwrap_or_default();
        (first, first + slope * (nights - 1) as f64)
    }

    pub(super) fn about_line(&self, first: f64, last: f64) -> f64 {
        let nights = self.values.len();
        let line = |at: usize| first + (last - first) * at as f64 / (nights - 1) as f64;
        (0..nights).map(|at| self.loss(at, line(at))).sum()
    }

    /// First nights of the levels behind the first one, for the partition with so many changes and the smallest cost.
    pub(super) fn best_partition(&self, changes: usize) -> Vec<usize> {
        let nights = self.values.len();
        // The cost of the best partition of the first `to` nights, and where its last level starts.
        let mut best: Vec<(f64, usize)> = (0..=nights)
            .map(|to| if to >= LEAST { (self.cost(0, to), 0) } else { (f64::INFINITY, 0) })
            .collect();
        let mut lasts = Vec::new();
        for change in 1..=changes {
            let with_one_more = |to: usize| {
                let earliest = change * LEAST;
                let starts = earliest..=to.saturating_sub(LEAST);
                let of = |from: usize| (best[from].0 + self.cost(from, to), from);
                starts.map(of).min_by(|a, b| a.0.total_cmp(&b.0)).unwrap_or((f64::INFINITY, 0))
            };
            best = (0..=nights).map(with_one_more).collect();
            lasts.push(best.iter().map(|(_, from)| *from).collect::<Vec<_>>());
        }
        let mut starts = Vec::new();
        let mut to = nights;
        for last in lasts.iter().rev() {
            to = last[to];
            starts.push(to);
        }
        starts.reverse();
        starts
    }

    /// Every night that may be the first of a new level, the neighbouring changes where they are.
    pub(super) fn candidates(
        &self,
        starts: &[usize],
        number: usize,
        variance: f64,
        freedom: f64,
    ) -> Vec<usize> {
        let from = number.checked_sub(1).map_or(0, |before| starts[before]);
        let to = starts.get(number + 1).copied().unwrap_or(self.values.len());
        let cost = |at: usize| self.cost(from, at) + self.cost(at, to);
        let least = cost(starts[number]);
        // Nothing but rounding where the levels have no noise at all.
        let rounding = 1e-9 * self.cost(from, to);
        let reach = variance * date_limit(freedom) + rounding;
        (from + 1..to).filter(|&at| at == starts[number] || cost(at) - least <= reach).collect()
    }
}

/// How much worse another date may fit (in variances): the quantile of Hansen's distribution, P(x) = (1 - q)^2 with q
/// the tail of two squared normal numbers, exp(-x / 2), or of F(2, freedom) where the variance is estimated.
pub(super) fn date_limit(freedom: f64) -> f64 {
    let tail = 1.0 - DATE_CONFIDENCE.sqrt();
    freedom * (tail.powf(-2.0 / freedom) - 1.0)
}
