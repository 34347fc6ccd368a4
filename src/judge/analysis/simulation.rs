//! The procedures checked by simulation: coverage of the intervals, false claims, power.

use rand::Rng;
use rand_chacha::ChaCha8Rng;
use statrs::distribution::{Binomial, Discrete};

use super::frame::{RequestKey, Timed};
use super::measured::Measured;
use super::quality::{Difference, Rule, mean_score, paired_difference};
use super::summary::{Estimate, FrontStatus, Verdict};
use super::{Resampling, draws, pareto, speed, testing};
use crate::judge::stats::{
    ClusterSums, Differences, clopper_pearson, holm, mcnemar_exact, pairs_for_margin, rng, student, tango,
    wilson,
};
use crate::record::Objective;

const RUNS: u32 = 300;

fn resampling(run: u32) -> Resampling {
    Resampling { seed: u64::from(run), draws: 100, confidence: 0.95, graded_from: Resampling::GRADED_UNITS }
}

fn uniform(rng: &mut ChaCha8Rng) -> f64 {
    f64::from(rng.next_u32()) / (f64::from(u32::MAX) + 1.0)
}

/// Pass/fail pairs that are lost or gained with these probabilities.
fn flips(rng: &mut ChaCha8Rng, n: usize, loss: f64, gain: f64) -> ClusterSums {
    let mut sums = ClusterSums::new(n);
    for item in 0..n {
        let toss = uniform(rng);
        let value = if toss < loss {
            -1.0
        } else if toss < loss + gain {
            1.0
        } else {
            0.0
        };
        sums.add(item, value);
    }
    sums
}

/// Differences of `RUNS` simulated comparisons with two tasks of `n` pairs.
fn simulate(name: &str, n: usize, loss: f64, gain: f64) -> Vec<Difference> {
    let mut rng = rng(11, name);
    (0..RUNS)
        .map(|run| {
            let strata = [flips(&mut rng, n, loss, gain), flips(&mut rng, n, loss, gain)];
            // The interval for small samples decides here; few draws keep the test quick.
            let resampling = Resampling { draws: 40, ..resampling(run) };
            paired_difference(&strata, resampling, name).expect("pairs")
        })
        .collect()
}

fn share(differences: &[Difference], holds: impl Fn(&Difference) -> bool) -> f64 {
    differences.iter().filter(|difference| holds(difference)).count() as f64 / differences.len() as f64
}

fn verdict(difference: &Difference) -> Verdict {
    let rule = Rule { margin: 0.02, floor: Some(0.0), room: 1.0, level: 0.05, anytime: false };
    rule.verdict(Some(&difference.estimate), Some(difference.p_value), 0.0)
}

/// Three standard errors of a simulated share around 5%.
const SLACK: f64 = 0.038;

#[test]
fn intervals_of_differences_cover_the_truth() {
    for (n, loss, gain) in
        [(6, 0.05, 0.05), (20, 0.02, 0.0), (30, 0.1, 0.03), (60, 0.01, 0.0), (60, 0.2, 0.15)]
    {
        let differences = simulate("coverage", n, loss, gain);
        let truth = gain - loss;
        let covered = share(&differences, |d| {
            d.estimate.low.is_some_and(|low| low <= truth)
                && d.estimate.high.is_some_and(|high| truth <= high)
        });
        assert!(
            covered >= 0.95 - SLACK,
            "{covered} covered with {n} pairs a task, {loss} lost, {gain} gained"
        );
    }
}

#[test]
fn intervals_of_rates_cover_the_truth() {
    let mut rng = rng(12, "rates");
    for (n, rate) in [(5, 0.9), (20, 0.98), (40, 0.6)] {
        let covered = (0..RUNS)
            .filter(|&run| {
                let strata = [flips(&mut rng, n, 0.0, rate), flips(&mut rng, n, 0.0, rate)];
                let quality = mean_score(&strata, resampling(run), 512).expect("items");
                quality.low.is_some_and(|low| low <= rate) && quality.high.is_some_and(|high| rate <= high)
            })
            .count();
        let covered = covered as f64 / f64::from(RUNS);
        assert!(covered >= 0.95 - SLACK, "{covered} covered with {n} cases of rate {rate}");
    }
}

#[test]
fn tasks_of_unequal_size_keep_the_coverage() {
    let mut rng = rng(13, "unequal");
    for (small, large) in [(0.15, 0.01), (0.03, 0.05), (0.0, 0.1)] {
        let covered = (0..RUNS)
            .filter(|&run| {
                let strata = [flips(&mut rng, 12, small, 0.0), flips(&mut rng, 60, large, 0.0)];
                let truth = -f64::midpoint(small, large);
                let resampling = Resampling { draws: 40, ..resampling(run) };
                let estimate = paired_difference(&strata, resampling, "unequal").expect("pairs").estimate;
                estimate.low.is_some_and(|low| low <= truth)
                    && estimate.high.is_some_and(|high| truth <= high)
            })
            .count();
        let covered = covered as f64 / f64::from(RUNS);
        assert!(covered >= 0.95 - SLACK, "{covered} covered with losses of {small} and {large}");
    }
}

#[test]
fn a_loss_of_the_margin_is_rarely_called_no_worse() {
    for n in [4, 60, 110, 200] {
        let claimed = share(&simulate("at the margin", n, 0.02, 0.0), |d| verdict(d) == Verdict::NoWorse);
        assert!(claimed <= 0.025 + SLACK, "{claimed} of equal-looking losses claimed with {n} pairs a task");
    }
}

#[test]
fn settings_that_are_equal_are_rarely_called_worse() {
    for n in [10, 60] {
        let alarms = share(&simulate("null", n, 0.1, 0.1), |d| verdict(d) == Verdict::Worse);
        assert!(alarms <= 0.025 + SLACK, "{alarms} false alarms with {n} pairs a task");
    }
}

#[test]
fn the_planned_effect_is_found() {
    // 10 points at 20% discordance: 168 pairs for 80% power, so 84 a task.
    let found = share(&simulate("power", 84, 0.15, 0.05), |d| d.estimate.high.is_some_and(|high| high < 0.0));
    assert!(found >= 0.7, "power {found}");
}

#[test]
fn the_planned_sample_size_shows_that_equal_is_no_worse() {
    let pairs = pairs_for_margin(0.004, 0.02, 0.95).expect("a margin") as usize;
    let shown =
        share(&simulate("non-inferior", pairs / 2 + 1, 0.002, 0.002), |d| verdict(d) == Verdict::NoWorse);
    assert!(shown >= 0.5, "{shown} of equal settings shown with {pairs} pairs");
}

#[test]
fn intervals_of_speed_cover_drift_between_visits() {
    let mut rng = rng(14, "speed");
    // A sum of twelve uniform numbers is nearly normal, with a standard deviation of 1.
    let normal = |rng: &mut ChaCha8Rng| (0..12).map(|_| uniform(rng)).sum::<f64>() - 6.0;
    let covered = (0..RUNS)
        .filter(|&run| {
            let visits: Vec<Vec<f64>> = (0..6)
                .map(|_| {
                    let drift = normal(&mut rng);
                    (0..8).map(|_| 50.0 + drift + normal(&mut rng)).collect()
                })
                .collect();
            let (rate, _) = speed::estimate(&visits, resampling(run), "speed").expect("trials");
            rate.low.is_some_and(|low| low <= 50.0) && rate.high.is_some_and(|high| 50.0 <= high)
        })
        .count();
    // With six visits a bootstrap over visits is known to fall somewhat short of 95%.
    let covered = covered as f64 / f64::from(RUNS);
    assert!(covered >= 0.86, "{covered} covered");
}

/// A nearly normal number: a sum of twelve uniform ones.
fn normal(rng: &mut ChaCha8Rng) -> f64 {
    (0..12).map(|_| uniform(rng)).sum::<f64>() - 6.0
}

/// Mean coverage of the true rate over every outcome of `n` cases, for rates from 50 to 95%: no simulation error.
fn coverage_of_rates(n: u32, interval: impl Fn(u32) -> (f64, f64)) -> (f64, f64) {
    let intervals: Vec<(f64, f64)> = (0..=n).map(interval).collect();
    let coverage = |rate: f64| -> f64 {
        let outcomes = Binomial::new(rate, u64::from(n)).expect("a rate");
        let covering = intervals.iter().zip(0..).filter(|((low, high), _)| *low <= rate && rate <= *high);
        covering.map(|(_, right)| outcomes.pmf(right)).sum()
    };
    let all: Vec<f64> = (0..46).map(|step| coverage(0.5 + 0.01 * f64::from(step))).collect();
    (all.iter().sum::<f64>() / all.len() as f64, all.iter().copied().fold(1.0, f64::min))
}

#[test]
fn wilsons_interval_covers_94_to_96_percent_and_clopper_pearsons_at_least_95() {
    for n in [20, 60, 200] {
        let (mean, _) = coverage_of_rates(n, |k| wilson(f64::from(k), f64::from(n), 0.95).expect("items"));
        assert!((0.94..=0.96).contains(&mean), "Wilson covers {mean} of {n} cases");
        let (_, least) = coverage_of_rates(n, |k| clopper_pearson(k, n, 0.95).expect("items"));
        assert!(least >= 0.95 - 1e-9, "Clopper and Pearson cover {least} of {n} cases");
    }
}

/// Over every outcome of 60 pairs: no simulation error.
#[test]
fn tangos_interval_covers_94_to_96_percent() {
    const PAIRS: u32 = 60;
    for (loss, gain) in [(0.10, 0.10), (0.15, 0.05), (0.12, 0.02), (0.06, 0.06)] {
        let truth = gain - loss;
        let flipping = Binomial::new(loss + gain, u64::from(PAIRS)).expect("a rate");
        let mut coverage = 0.0;
        for flips in 0..=40_u32 {
            let losing = Binomial::new(loss / (loss + gain), u64::from(flips)).expect("a share");
            for losses in 0..=flips {
                let counts = (f64::from(flips - losses), f64::from(losses));
                let (low, high) = tango(counts.0, counts.1, f64::from(PAIRS), 0.95).expect("pairs");
                if low <= truth && truth <= high {
                    coverage += flipping.pmf(u64::from(flips)) * losing.pmf(u64::from(losses));
                }
            }
        }
        assert!((0.94..=0.965).contains(&coverage), "{coverage} with {loss} lost and {gain} gained");
    }
}

#[test]
fn students_interval_covers_94_to_96_percent_of_graded_differences() {
    const MANY: u32 = 2500;
    let mut rng = rng(31, "graded");
    let covered = (0..MANY)
        .filter(|_| {
            let differences: Vec<f64> = (0..20).map(|_| 0.1 * normal(&mut rng)).collect();
            student(&differences, 0.95).is_some_and(|(low, high)| low <= 0.0 && 0.0 <= high)
        })
        .count();
    // The standard error of a simulated 95% in 2500 runs is 0.44 points: 94 to 96% is 2.3 of them either way.
    let covered = covered as f64 / f64::from(MANY);
    assert!((0.94..=0.96).contains(&covered), "{covered} covered");
}

/// The whole procedure on graded scores: the hull of Student's interval and the bootstrap's is not much longer.
#[test]
fn intervals_of_graded_differences_are_neither_short_nor_long() {
    let mut rng = rng(32, "whole");
    let covered = (0..RUNS)
        .filter(|&run| {
            let mut sums = ClusterSums::new(40);
            (0..40).for_each(|item| sums.add(item, 0.03 + 0.1 * normal(&mut rng)));
            let estimate = paired_difference(&[sums], resampling(run), "graded").expect("pairs").estimate;
            estimate.low.is_some_and(|low| low <= 0.03) && estimate.high.is_some_and(|high| 0.03 <= high)
        })
        .count();
    let covered = covered as f64 / f64::from(RUNS);
    assert!((0.95 - SLACK..=0.985).contains(&covered), "{covered} covered");
}

#[test]
fn clusters_that_move_together_keep_the_coverage() {
    let mut rng = rng(33, "clusters");
    let covered = (0..RUNS)
        .filter(|&run| {
            let mut sums = ClusterSums::new(40);
            for cluster in 0..40 {
                let shared = 0.1 * normal(&mut rng);
                (0..5).for_each(|_| sums.add(cluster, shared + 0.05 * normal(&mut rng)));
            }
            let estimate = paired_difference(&[sums], resampling(run), "clusters").expect("pairs").estimate;
            estimate.low.is_some_and(|low| low <= 0.0) && estimate.high.is_some_and(|high| 0.0 <= high)
        })
        .count();
    let covered = covered as f64 / f64::from(RUNS);
    assert!(covered >= 0.95 - SLACK, "{covered} covered");
}

/// The exact test at the planned sizes of docs/statistics.md, by drawing pairs and not by its formula.
#[test]
fn planned_sizes_find_the_planned_drops() {
    let mut rng = rng(34, "planned");
    for (pairs, discordance, drop) in [(229, 0.07, 0.05), (168, 0.20, 0.10), (47, 0.24, 0.20)] {
        let (loss, gain) = (f64::midpoint(discordance, drop), (discordance - drop) / 2.0);
        let found = (0..1000)
            .filter(|_| {
                let (mut losses, mut gains) = (0, 0);
                for _ in 0..pairs {
                    let toss = uniform(&mut rng);
                    losses += u32::from(toss < loss);
                    gains += u32::from((loss..loss + gain).contains(&toss));
                }
                mcnemar_exact(gains, losses) <= 0.05
            })
            .count();
        // 80% and three standard errors of 1000 runs
        assert!((762..=840).contains(&found), "{found} of 1000 with {pairs} pairs");
    }
}

#[test]
fn a_family_of_equal_settings_raises_an_alarm_at_most_at_the_level() {
    let mut rng = rng(35, "family");
    let alarms = (0..500)
        .filter(|_| {
            let p_values: Vec<f64> = (0..5)
                .map(|_| {
                    let flips: Vec<bool> =
                        (0..60).filter(|_| uniform(&mut rng) < 0.3).map(|_| true).collect();
                    let gains = flips.iter().filter(|_| uniform(&mut rng) < 0.5).count();
                    mcnemar_exact(gains as u32, (flips.len() - gains) as u32)
                })
                .collect();
            holm(&p_values).iter().any(|p| *p <= 0.05)
        })
        .count();
    // 5% of 500 and three standard errors
    assert!(alarms <= 40, "{alarms} of 500 families");
}

/// Looks after each of four rounds at three settings that equal the reference but for noise; a setting that is
/// called worse once counts.
#[test]
fn stopping_whenever_a_setting_looks_worse_keeps_the_level() {
    let mut rng = rng(36, "sequential");
    let rule = Rule { margin: 0.02, floor: Some(0.0), room: 1.0, level: 0.05, anytime: true };
    let alarms = (0..200)
        .filter(|_| {
            let mut cells: Vec<Vec<f64>> = vec![Vec::new(); 3];
            (0..4).any(|_| {
                let p_values: Vec<f64> = cells
                    .iter_mut()
                    .map(|cell| {
                        let toss = |_| uniform(&mut rng);
                        let flip = |u: f64| {
                            if u < 0.12 {
                                -1.0
                            } else if u < 0.24 {
                                1.0
                            } else {
                                0.0
                            }
                        };
                        cell.extend((0..30).map(toss).map(flip));
                        1.0 / Differences::new(cell.iter().copied()).e_value()
                    })
                    .collect();
                let worse = |(cell, p): (&Vec<f64>, f64)| {
                    let value = cell.iter().sum::<f64>() / cell.len() as f64;
                    let estimate = Estimate { value, low: Some(-1.0), high: Some(1.0), n: cell.len() as u32 };
                    rule.verdict(Some(&estimate), Some(p), 0.0) == Verdict::Worse
                };
                cells.iter().zip(holm(&p_values)).any(worse)
            })
        })
        .count();
    // 5% of 200 and three standard errors
    assert!(alarms <= 19, "{alarms} of 200");
}

/// A flaw of the margin's size is not called no worse more often than its interval allows, look as often as one
/// will.
#[test]
fn stopping_whenever_a_setting_looks_no_worse_keeps_the_level() {
    let mut rng = rng(37, "sequential margin");
    let claims = (0..200)
        .filter(|_| {
            let mut cell: Vec<f64> = Vec::new();
            (0..4).any(|_| {
                cell.extend((0..50).map(|_| if uniform(&mut rng) < 0.05 { -1.0 } else { 0.0 }));
                let interval = Differences::new(cell.iter().copied()).confidence_sequence(0.95);
                interval.is_some_and(|(low, _)| low > -0.05)
            })
        })
        .count();
    // 2.5% of 200 and three standard errors
    assert!(claims <= 12, "{claims} of 200");
}

#[test]
fn a_clear_loss_stops_early() {
    let mut rng = rng(38, "early");
    let stopped = (0..200)
        .filter(|_| {
            let loss = |_| if uniform(&mut rng) < 0.2 { -1.0 } else { 0.0 };
            // Half of 120 planned cases, in a family of five.
            Differences::new((0..60).map(loss)).e_value() >= 5.0 / 0.05
        })
        .count();
    assert!(stopped >= 110, "{stopped} of 200 stopped at half of the cases");
}

/// A cell is as often on the front as its frequency says: where two settings are in truth equal in quality and
/// cost, the share of draws that put one on the front is not often extreme.
#[test]
fn front_frequencies_are_calibrated() {
    let mut rng = rng(39, "front");
    let rule =
        pareto::Rule { objectives: &[Objective::Quality, Objective::Decode], margin: 0.0, confidence: 0.95 };
    let (mut wrongly_dominated, mut found) = (0, 0);
    for run in 0..150 {
        let mut speed = |mean: f64| -> Vec<Vec<f64>> {
            (0..6).map(|_| (0..8).map(|_| mean + 4.0 * normal(&mut rng)).collect()).collect()
        };
        // Two with equal truth, and one that is slower by much and no better.
        let cells: Vec<Vec<Vec<f64>>> = vec![speed(50.0), speed(50.0), speed(30.0)];
        let mut measured: Vec<Measured> =
            cells.iter().map(|visits| on_front(visits, &cells[0], resampling(run))).collect();
        pareto::place(&mut measured, rule);
        let status = |at: usize| measured[at].summary.front;
        wrongly_dominated += u32::from([0, 1].iter().all(|&at| status(at) == FrontStatus::Dominated));
        found += u32::from(status(2) == FrontStatus::Dominated);
        let share: f64 = [0, 1].iter().filter_map(|&at| measured[at].summary.front_frequency).sum();
        assert!((share - 1.0).abs() < 0.15, "one of the two is ahead in every draw: {share}");
    }
    assert_eq!(wrongly_dominated, 0);
    assert!(found >= 140, "{found} of 150 found the slow one");
}

/// Two settings of equal truth: each is called dominated in at most 5% of the runs (and their standard errors).
#[test]
fn equal_settings_are_seldom_called_dominated() {
    let mut rng = rng(40, "equal front");
    let rule = pareto::Rule { objectives: &[Objective::Decode], margin: 0.0, confidence: 0.95 };
    let dominated = (0..300)
        .filter(|&run| {
            let mut speed = || -> Vec<Vec<f64>> {
                (0..12).map(|_| (0..4).map(|_| 50.0 + normal(&mut rng)).collect()).collect()
            };
            let (reference, other) = (speed(), speed());
            let mut measured: Vec<Measured> =
                [&reference, &other].map(|visits| on_front(visits, &reference, resampling(run))).into();
            pareto::place(&mut measured, rule);
            measured[0].summary.front == FrontStatus::Dominated
        })
        .count();
    assert!(dominated <= 27, "{dominated} of 300");
}

/// A cell of known quality whose requests took these times, beside the reference's; requests pair by their order.
fn on_front(visits: &[Vec<f64>], reference: &[Vec<f64>], resampling: Resampling) -> Measured {
    let timed = |visits: &[Vec<f64>]| -> Vec<Timed> {
        let request = |launch: usize, at: usize| {
            let case = format!("{launch} {at}").into();
            RequestKey { task: "t".into(), arm: "".into(), case }
        };
        let of_launch = |(launch, values): (usize, &Vec<f64>)| -> Vec<Timed> {
            let one = |(at, value): (usize, &f64)| Timed {
                launch: launch as u32,
                request: request(launch, at),
                prompt_tokens: 100,
                value: *value,
            };
            values.iter().enumerate().map(one).collect()
        };
        visits.iter().enumerate().flat_map(of_launch).collect()
    };
    let mut summary = testing::cell("x", 512);
    summary.quality = Some(Estimate { value: 0.8, low: None, high: None, n: 100 });
    let standing = speed::ratio(&timed(visits), &timed(reference), resampling, "ratio").expect("trials");
    let same = vec![Some(0.8); standing.draws.len()];
    let mut cell = Measured::new(summary);
    cell.draws = draws::Draws { quality: same.clone(), smoothed: same, ..draws::Draws::default() };
    cell.standing.insert(Objective::Decode, standing);
    cell
}
