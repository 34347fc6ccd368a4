//! Where a series of nights changed its level.

use rand::Rng;

use super::bootstrap::pick;

/// A level needs at least so many points on either side of a change.
const LEAST: usize = 3;

/// A change of level in a series.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Change {
    /// Number of the first point of the new level.
    pub at: usize,
    /// Mean of the level before.
    pub before: f64,
    /// Mean of the level after.
    pub after: f64,
    /// How often a series without change, of the same numbers, looks as changed (0..1).
    pub p_value: f64,
}

/// Changes of level that random order explains with a probability of at most `level`, in order. A series of
/// fewer than eight points can show none at 5%: there are too few orders.
///
/// Formula: binary segmentation (Scott and Knott 1974) with the largest rank CUSUM (Pettitt 1979) as the
/// statistic, its distribution from `permutations` random orders instead of the asymptotic one.
pub fn change_points(series: &[f64], level: f64, permutations: u32, rng: &mut impl Rng) -> Vec<Change> {
    let mut changes = Vec::new();
    segment(series, 0, (level, permutations), rng, &mut changes);
    changes.sort_by_key(|change| change.at);
    changes
}

fn segment(
    series: &[f64],
    start: usize,
    (level, permutations): (f64, u32),
    rng: &mut impl Rng,
    changes: &mut Vec<Change>,
) {
    if series.len() < 2 * LEAST {
        return;
    }
    let mut ranks = ranks(series);
    let (at, seen) = largest_cusum(&ranks);
    let mut as_far = 0;
    for _ in 0..permutations {
        shuffle(&mut ranks, rng);
        as_far += u32::from(largest_cusum(&ranks).1 >= seen - 1e-9);
    }
    let p_value = f64::from(as_far + 1) / (f64::from(permutations) + 1.0);
    if p_value > level {
        return;
    }
    let mean = |part: &[f64]| part.iter().sum::<f64>() / part.len() as f64;
    let (before, after) = series.split_at(at);
    changes.push(Change { at: start + at, before: mean(before), after: mean(after), p_value });
    segment(before, start, (level, permutations), rng, changes);
    segment(after, start + at, (level, permutations), rng, changes);
}

/// Where the two sides differ most, and by how much (in standard errors up to a common factor).
fn largest_cusum(ranks: &[f64]) -> (usize, f64) {
    let n = ranks.len();
    let middle = (n as f64 + 1.0) / 2.0;
    let mut best = (LEAST, -1.0);
    let mut sum = 0.0_f64;
    for (at, rank) in ranks.iter().enumerate() {
        if (LEAST..=n - LEAST).contains(&at) {
            let scale = (at * (n - at)) as f64;
            let distance = sum.abs() / scale.sqrt();
            if distance > best.1 {
                best = (at, distance);
            }
        }
        sum += rank - middle;
    }
    best
}

/// Ranks from 1, equal numbers sharing theirs.
fn ranks(series: &[f64]) -> Vec<f64> {
    let below = |x: f64| series.iter().filter(|other| **other < x).count();
    let equal = |x: f64| series.iter().filter(|other| **other == x).count();
    series.iter().map(|x| below(*x) as f64 + (equal(*x) as f64 + 1.0) / 2.0).collect()
}

/// Fisher and Yates (1938).
fn shuffle(numbers: &mut [f64], rng: &mut impl Rng) {
    for last in (1..numbers.len()).rev() {
        numbers.swap(last, pick(rng, last + 1));
    }
}

#[cfg(test)]
mod tests {
    use super::super::{close, rng};
    use super::*;

    #[test]
    fn a_step_is_found_where_it_is() {
        let series = [0.80, 0.81, 0.79, 0.80, 0.82, 0.81, 0.70, 0.71, 0.69, 0.70];
        let changes = change_points(&series, 0.05, 999, &mut rng(1, "step"));
        assert_eq!(changes.iter().map(|change| change.at).collect::<Vec<_>>(), [6]);
        close(changes[0].before, 0.805, 1e-9);
        close(changes[0].after, 0.70, 1e-9);
    }

    #[test]
    fn one_bad_night_and_few_nights_are_no_change() {
        let outlier = [0.80, 0.81, 0.79, 0.10, 0.80, 0.82, 0.81, 0.80, 0.79, 0.81];
        assert!(change_points(&outlier, 0.05, 999, &mut rng(1, "outlier")).is_empty());
        assert!(change_points(&[0.9, 0.9, 0.9, 0.1, 0.1, 0.1], 0.05, 999, &mut rng(1, "few")).is_empty());
        assert!(change_points(&[0.5; 20], 0.05, 999, &mut rng(1, "flat")).is_empty());
        assert!(change_points(&[], 0.05, 999, &mut rng(1, "none")).is_empty());
    }

    #[test]
    fn noise_is_seldom_called_a_change() {
        let mut rng = rng(8, "noise");
        let alarms = (0..300)
            .filter(|_| {
                let series: Vec<f64> = (0..14).map(|_| f64::from(rng.next_u32())).collect();
                !change_points(&series, 0.05, 99, &mut rng).is_empty()
            })
            .count();
        // 5% of 300 and three standard errors
        assert!(alarms <= 27, "{alarms} false alarms in 300 at 5%");
    }
}
