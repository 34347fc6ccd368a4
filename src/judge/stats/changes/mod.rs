//! Where a series of nights changed its level, and how sure the date is.
//!
//! Three questions, three tools. Whether there is a change is decided by random orders of the nights, which holds for
//! any noise and any number of nights; where it is, by least squares over all places at once; how well that is known,
//! by the likelihood ratio of the other places.

use rand::Rng;

mod dates;
mod night;
mod orders;

use dates::{Costs, drift};
pub use night::{Change, Course, Night};
use night::{clamped, usable, weights};
use orders::{Centred, ENOUGH, FOR_STEPS, MOST_ORDERS, Orders, Place, cut, largest_arc, largest_step};

/// How often a series without change looks as changed as this one (0..1); `None` for one that is too short, or has one
/// value only. Of many series, it is what tells which to look at.
pub fn evidence_of_change(series: &[Night], rng: &mut impl Rng) -> Option<f64> {
    let first = series.first()?.value;
    if !usable(series) || series.iter().all(|night| night.value == first) {
        return None;
    }
    let (values, weights) = (clamped(series), weights(series));
    let piece = Centred::of(&values, &weights);
    let of = |largest: fn(&Centred) -> Place, share: f64, rng: &mut _| {
        let orders = Orders { most: MOST_ORDERS, stop_after: ENOUGH };
        orders.p_value(&values, &weights, largest, largest(&piece).squares, rng) / share
    };
    let steps = of(largest_step, FOR_STEPS, rng);
    Some(steps.min(of(largest_arc, 1.0 - FOR_STEPS, rng)).min(1.0))
}

/// The changes of level of a series: those that random order explains with a probability of at most `level`, and
/// whose step is larger than what the nights' own intervals leave open.
///
/// Formulas: binary segmentation (Scott and Knott 1974), each piece cut where the weighted sum of squares between
/// its parts is largest, also into a middle and its surroundings (circular binary segmentation, Olshen and others
/// 2004); the distribution of that largest sum comes from random orders of the nights instead of a normal
/// distribution. The dates are those of the best partition into so many levels (optimal partitioning by dynamic
/// programming, Jackson and others 2005; what PELT, Killick and others 2012, finds faster for long series), with a
/// bounded loss for single bad nights (biweight, Fearnhead and Rigaill 2019). The set of dates inverts the
/// likelihood ratio as Hansen (2000, "Sample splitting and threshold estimation") does, with the F distribution's tail
/// for few nights. Weights are 1 / (own variance + variance between nights).
pub fn change_points(series: &[Night], level: f64, rng: &mut impl Rng) -> Course {
    if !usable(series) {
        return Course::default();
    }
    let weights = weights(series);
    let clamped = clamped(series);
    let mut found = Vec::new();
    cut(&clamped, &weights, 0, level, rng, &mut found);
    found.sort_by_key(|(at, _)| *at);
    if found.is_empty() {
        return Course::default();
    }
    let places: Vec<usize> = found.iter().map(|(at, _)| *at).collect();
    let costs = Costs::of(series, weights, &places);
    if let Some(drift) = drift(&costs, found.len()) {
        return Course { changes: Vec::new(), drift: Some(drift) };
    }
    dated(series, &costs, found)
}

/// The best dates for so many changes; a step within the nights' own intervals is given up, and the others are dated
/// anew.
fn dated(series: &[Night], costs: &Costs, mut found: Vec<(usize, f64)>) -> Course {
    while !found.is_empty() {
        let starts = costs.best_partition(found.len());
        let excess = |number: usize| {
            let (before, after) = (piece(series, &starts, number), piece(series, &starts, number + 1));
            (mean(after) - mean(before)).abs() - own_noise(before).hypot(own_noise(after))
        };
        let least = (0..starts.len()).min_by(|a, b| excess(*a).total_cmp(&excess(*b)));
        match least.filter(|number| excess(*number) <= 0.0) {
            Some(number) => {
                found.remove(number);
            }
            None => {
                return Course { changes: changes(series, costs, &starts, &found), drift: None };
            }
        }
    }
    Course::default()
}

fn changes(series: &[Night], costs: &Costs, starts: &[usize], found: &[(usize, f64)]) -> Vec<Change> {
    let freedom = series.len() as f64 - starts.len() as f64 - 1.0;
    let variance = costs.of_partition(starts) / freedom.max(1.0);
    let change = |(number, (&at, &(_, p_value))): (usize, (&usize, &(usize, f64)))| Change {
        at,
        candidates: costs.candidates(starts, number, variance, freedom.max(1.0)),
        before: mean(piece(series, starts, number)),
        after: mean(piece(series, starts, number + 1)),
        p_value,
    };
    starts.iter().zip(found).enumerate().map(change).collect()
}

/// The nights of a level.
fn piece<'s>(series: &'s [Night], starts: &[usize], number: usize) -> &'s [Night] {
    let start = number.checked_sub(1).map_or(0, |before| starts[before]);
    &series[start..starts.get(number).copied().unwrap_or(series.len())]
}

fn mean(nights: &[Night]) -> f64 {
    nights.iter().map(|night| night.value).sum::<f64>() / nights.len().max(1) as f64
}

/// Half the width of the interval of a level's mean, from the nights' own intervals.
fn own_noise(nights: &[Night]) -> f64 {
    let squares: f64 = nights.iter().map(|night| night.half_width.powi(2)).sum();
    squares.sqrt() / nights.len().max(1) as f64
}

#[cfg(test)]
mod tests {
    use rand_chacha::ChaCha8Rng;

    use super::super::{close, normal_quantile, rng};
    use super::*;

    fn nights(values: &[f64]) -> Vec<Night> {
        values.iter().map(|&value| Night { value, half_width: 0.0 }).collect()
    }

    fn course(values: &[f64], level: f64) -> Course {
        change_points(&nights(values), level, &mut rng(1, "course"))
    }

    fn dates(course: &Course) -> Vec<usize> {
        course.changes.iter().map(|change| change.at).collect()
    }

    fn uniform(rng: &mut ChaCha8Rng) -> f64 {
        (f64::from(rng.next_u32()) + 0.5) / (f64::from(u32::MAX) + 1.0)
    }

    fn normal(rng: &mut ChaCha8Rng) -> f64 {
        normal_quantile(uniform(rng))
    }

    /// Student's t with two degrees of freedom: about one number in a hundred is beyond seven.
    fn heavy(rng: &mut ChaCha8Rng) -> f64 {
        let u = 2.0 * uniform(rng) - 1.0;
        u * (2.0 / (1.0 - u * u)).sqrt()
    }

    #[test]
    fn a_step_is_found_where_it_is() {
        let series = [0.80, 0.81, 0.79, 0.80, 0.82, 0.81, 0.70, 0.71, 0.69, 0.70];
        let changes = course(&series, 0.05).changes;
        assert_eq!(changes.len(), 1);
        assert_eq!((changes[0].at, &*changes[0].candidates), (6, [6].as_slice()));
        close(changes[0].before, 0.805, 1e-9);
        close(changes[0].after, 0.70, 1e-9);
    }

    /// A rank statistic gave nights of the old level that happened to lie above its median to the new one.
    #[test]
    fn a_clean_step_is_dated_to_its_night_wherever_it_is() {
        let mut noise = rng(5, "clean");
        let (mut series_in_all, mut right) = (0, 0);
        for n in [12, 14, 20, 35, 60] {
            for at in [n / 2, n - 5, n - 4] {
                for _ in 0..10 {
                    let level = |night| if night < at { 50.0 } else { 40.0 };
                    let series: Vec<f64> = (0..n).map(|night| level(night) + normal(&mut noise)).collect();
                    let found = dates(&course(&series, 0.01));
                    assert!(found.contains(&at), "{found:?} in {n} nights: {series:?}");
                    series_in_all += 1;
                    right += u32::from(found == [at]);
                }
            }
        }
        // Another date beside it is a false alarm: 1% of them.
        assert!(right >= series_in_all - 5, "{right} of {series_in_all}");
    }

    #[test]
    fn levels_without_any_noise_change_on_one_night() {
        let series: Vec<f64> = (0..15).map(|night| if night < 11 { 0.8125 } else { 0.7969 }).collect();
        let changes = course(&series, 0.05).changes;
        assert_eq!((changes[0].at, changes[0].candidates.len()), (11, 1));
    }

    #[test]
    fn the_set_of_dates_holds_the_night_as_often_as_it_says() {
        let mut noise = rng(6, "set");
        for (n, at, step) in [(20, 12, 2.0), (40, 30, 1.5), (15, 10, 3.0)] {
            let (mut found, mut held, mut nights) = (0, 0, 0);
            for _ in 0..200 {
                let level = |night| if night < at { 0.0 } else { step };
                let series: Vec<f64> = (0..n).map(|night| level(night) + normal(&mut noise)).collect();
                if let [change] = course(&series, 0.05).changes.as_slice() {
                    found += 1;
                    held += usize::from(change.candidates.contains(&at));
                    nights += change.candidates.len();
                }
            }
            // 95% less three standard errors.
            let least = 0.95 - 3.0 * (0.95 * 0.05 / found as f64).sqrt();
            assert!(found > 60, "{found} of 200 found");
            assert!(held as f64 >= least * found as f64, "{held} of {found} at a step of {step}");
            assert!(nights < 10 * found, "{nights} nights in {found} sets");
        }
    }

    #[test]
    fn one_bad_night_and_few_nights_are_no_change() {
        let outlier = [0.80, 0.81, 0.79, 0.10, 0.80, 0.82, 0.81, 0.80, 0.79, 0.81];
        assert_eq!(course(&outlier, 0.05), Course::default());
        assert_eq!(course(&[0.9, 0.9, 0.9, 0.1, 0.1, 0.1], 0.05), Course::default());
        assert_eq!(course(&[0.5; 20], 0.05), Course::default());
        assert_eq!(course(&[], 0.05), Course::default());
        assert_eq!(course(&[f64::NAN; 20], 0.05), Course::default());
    }

    #[test]
    fn bad_nights_beside_a_step_do_not_move_its_date() {
        let mut noise = rng(7, "bad nights");
        let mut right = 0;
        for bad in [2, 5, 9, 13] {
            for _ in 0..10 {
                let level = |night| if night < 11 { 50.0 } else { 40.0 };
                let mut series: Vec<f64> = (0..18).map(|night| level(night) + normal(&mut noise)).collect();
                series[bad] = 5.0;
                right += u32::from(dates(&course(&series, 0.01)) == [11]);
            }
        }
        assert!(right >= 38, "{right} of 40");
    }

    #[test]
    fn a_level_that_came_back_has_two_dates() {
        let mut noise = rng(9, "arc");
        let level = |night| if (20..26).contains(&night) { 40.0 } else { 50.0 };
        let series: Vec<f64> = (0..45).map(|night| level(night) + normal(&mut noise)).collect();
        assert_eq!(dates(&course(&series, 0.05)), [20, 26]);
    }

    #[test]
    fn a_drift_has_no_date() {
        let mut noise = rng(10, "drift");
        let mut drifts = 0;
        for _ in 0..20 {
            let series: Vec<f64> =
                (0..30).map(|night| 50.0 - 0.4 * f64::from(night) + normal(&mut noise)).collect();
            let course = course(&series, 0.05);
            drifts += u32::from(
                course.changes.is_empty() && course.drift.is_some_and(|(first, last)| first > last + 8.0),
            );
        }
        assert!(drifts >= 19, "{drifts} of 20");
    }

    /// A night with few cases has a wide interval: it may be far off without a change.
    #[test]
    fn nights_weigh_by_their_own_intervals() {
        let mut series = nights(&[0.80, 0.81, 0.80, 0.79, 0.80, 0.81, 0.80, 0.79, 0.80, 0.72, 0.73, 0.71]);
        let sure = change_points(&series, 0.05, &mut rng(1, "weights"));
        assert_eq!(dates(&sure), [9]);
        for night in &mut series[9..] {
            night.half_width = 0.2;
        }
        assert_eq!(change_points(&series, 0.05, &mut rng(1, "weights")), Course::default());
    }

    #[test]
    fn evidence_is_a_p_value() {
        let mut rng = rng(12, "evidence");
        let mut small = 0;
        for _ in 0..400 {
            let series: Vec<f64> = (0..12).map(|_| normal(&mut rng)).collect();
            small += u32::from(evidence_of_change(&nights(&series), &mut rng).unwrap() <= 0.05);
        }
        // 5% of 400 and three standard errors.
        assert!(small <= 33, "{small} of 400");
        let step: Vec<f64> = (0..14).map(|night| if night < 9 { 1.0 } else { 3.0 }).collect();
        assert!(evidence_of_change(&nights(&step), &mut rng).unwrap() < 0.003);
        assert_eq!(evidence_of_change(&nights(&[1.0; 20]), &mut rng), None);
        assert_eq!(evidence_of_change(&nights(&[1.0, 2.0]), &mut rng), None);
    }

    #[test]
    fn noise_is_seldom_called_a_change() {
        type Noise = fn(&mut ChaCha8Rng) -> f64;
        let kinds: [(&str, Noise); 3] =
            [("normal", normal), ("heavy", heavy), ("coarse", |rng| (normal(rng) * 1.5).round())];
        for (name, noise) in kinds {
            for n in [6, 9, 14, 30, 60] {
                let mut rng = rng(8, &format!("{name} {n}"));
                let alarms = (0..200)
                    .filter(|_| {
                        let series: Vec<f64> = (0..n).map(|_| noise(&mut rng)).collect();
                        let course = change_points(&nights(&series), 0.05, &mut rng);
                        course != Course::default()
                    })
                    .count();
                // 5% of 200 and three standard errors.
                assert!(alarms <= 19, "{alarms} false alarms in 200 flat series of {n} nights, {name} noise");
            }
        }
    }
}
