//! Whether there is a change: its size among those of random orders of the nights.

use rand::Rng;

use super::night::LEAST;
use crate::judge::stats::random::pick;

/// A level that went and came back within so many nights is looked for, too.
const LONGEST_ARC: usize = 30;

/// Share of the level that is spent on changes of one direction; the rest is for levels that came back.
pub(super) const FOR_STEPS: f64 = 0.75;

/// Most random orders that a series is compared with, and how many as extreme ones are enough to know that it is not.
pub(super) const MOST_ORDERS: u32 = 19_999;
pub(super) const ENOUGH: u32 = 20;

/// Finds the place at which a change is largest.
pub(super) type Largest = fn(&Centred) -> Place;

/// Cuts a piece of the series that starts at night `start`, and what comes of it, while random order does not explain
/// the cut.
pub(super) fn cut(
    values: &[f64],
    weights: &[f64],
    start: usize,
    level: f64,
    rng: &mut impl Rng,
    found: &mut Vec<(usize, f64)>,
) {
    let tests: [(Largest, f64); 2] =
        [(largest_step, level * FOR_STEPS), (largest_arc, level * (1.0 - FOR_STEPS))];
    for (largest, share) in tests {
        let place = largest(&Centred::of(values, weights));
        let Some(p_value) = p_value(values, weights, largest, place.squares, share, rng) else { continue };
        let mut edges = vec![0];
        edges.extend(place.cuts.iter().flatten());
        edges.push(values.len());
        found.extend(place.cuts.iter().flatten().map(|at| (start + at, p_value)));
        for edge in edges.windows(2) {
            let (from, to) = (edge[0], edge[1]);
            // All pieces together have the level once more.
            let share = level * (to - from) as f64 / values.len() as f64;
            cut(&values[from..to], &weights[from..to], start + from, share, rng, found);
        }
        return;
    }
}

/// A cut of a piece, and the weighted sum of squares between its parts.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    cuts: [Option<usize>; 2],
    pub(super) squares: f64,
}

pub(super) const NOWHERE: Place = Place { cuts: [None, None], squares: 0.0 };

/// Running sums of the weights, and of the weighted distances from the weighted mean.
pub(super) struct Centred {
    weights: Vec<f64>,
    sums: Vec<f64>,
}

impl Centred {
    pub(super) fn of(values: &[f64], weights: &[f64]) -> Self {
        let total: f64 = weights.iter().sum();
        let centre = values.iter().zip(weights).map(|(value, weight)| value * weight).sum::<f64>() / total;
        let (mut weight_so_far, mut so_far) = (vec![0.0], vec![0.0]);
        for (value, weight) in values.iter().zip(weights) {
            weight_so_far.push(weight_so_far[weight_so_far.len() - 1] + weight);
            so_far.push(so_far[so_far.len() - 1] + weight * (value - centre));
        }
        Self { weights: weight_so_far, sums: so_far }
    }

    pub(super) fn nights(&self) -> usize {
        self.sums.len() - 1
    }

    /// Sum of squares between the nights `from..to` and all others.
    pub(super) fn between(&self, from: usize, to: usize) -> f64 {
        let all = self.weights[self.nights()];
        let inside = self.weights[to] - self.weights[from];
        let apart = self.sums[to] - self.sums[from];
        let scale = inside * (all - inside);
        if scale > 0.0 { apart * apart * all / scale } else { 0.0 }
    }
}

pub(super) fn largest_step(piece: &Centred) -> Place {
    let mut best = NOWHERE;
    for at in LEAST..=piece.nights().saturating_sub(LEAST) {
        let squares = piece.between(0, at);
        if squares > best.squares {
            best = Place { cuts: [Some(at), None], squares };
        }
    }
    best
}

pub(super) fn largest_arc(piece: &Centred) -> Place {
    let mut best = NOWHERE;
    let last = piece.nights().saturating_sub(LEAST);
    for from in LEAST..=last {
        for to in (from + LEAST)..=last.min(from + LONGEST_ARC) {
            let squares = piece.between(from, to);
            if squares > best.squares {
                best = Place { cuts: [Some(from), Some(to)], squares };
            }
        }
    }
    best
}

/// The p-value of a cut, unless it is above `level`.
pub(super) fn p_value(
    values: &[f64],
    weights: &[f64],
    largest: fn(&Centred) -> Place,
    seen: f64,
    level: f64,
    rng: &mut impl Rng,
) -> Option<f64> {
    let most = ((20.0 / level).ceil() as u32).clamp(99, MOST_ORDERS);
    let stop_after = (level * f64::from(most + 1)).floor() as u32;
    let p_value = Orders { most, stop_after }.p_value(values, weights, largest, seen, rng);
    (p_value <= level).then_some(p_value)
}

/// How many random orders a piece is compared with.
pub(super) struct Orders {
    pub(super) most: u32,
    /// Once so many are as extreme, no more are needed.
    pub(super) stop_after: u32,
}

impl Orders {
    /// The share of random orders whose largest sum of squares is as large. Stopping early keeps it a p-value (Besag and
    /// Clifford 1991).
    pub(super) fn p_value(
        &self,
        values: &[f64],
        weights: &[f64],
        largest: fn(&Centred) -> Place,
        seen: f64,
        rng: &mut impl Rng,
    ) -> f64 {
        if seen <= 0.0 {
            return 1.0;
        }
        let mut nights: Vec<(f64, f64)> = values.iter().copied().zip(weights.iter().copied()).collect();
        let mut as_far = 0;
        for order in 1..=self.most {
            shuffle(&mut nights, rng);
            let (values, weights): (Vec<f64>, Vec<f64>) = nights.iter().copied().unzip();
            let squares = largest(&Centred::of(&values, &weights)).squares;
            as_far += u32::from(squares >= seen * (1.0 - 1e-9));
            if as_far >= self.stop_after.max(1) {
                return f64::from(as_far) / f64::from(order);
            }
        }
        f64::from(as_far + 1) / f64::from(self.most + 1)
    }
}

/// Fisher and Yates (1938).
fn shuffle<T>(items: &mut [T], rng: &mut impl Rng) {
    for last in (1..items.len()).rev() {
        items.swap(last, pick(rng, last + 1));
    }
}
