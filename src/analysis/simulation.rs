//! The procedures checked by simulation: coverage of the intervals, false claims, power.

use rand::Rng;
use rand_chacha::ChaCha8Rng;

use super::Resampling;
use super::quality::{Difference, Rule, mean_score, paired_difference};
use super::speed;
use super::stats::{ClusterSums, pairs_for_margin, rng};
use super::summary::Verdict;

const RUNS: u32 = 300;

fn resampling(run: u32) -> Resampling {
    Resampling { seed: u64::from(run), draws: 100, confidence: 0.95 }
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
            paired_difference(&strata, resampling(run), name).expect("pairs")
        })
        .collect()
}

fn share(differences: &[Difference], holds: impl Fn(&Difference) -> bool) -> f64 {
    differences.iter().filter(|difference| holds(difference)).count() as f64 / differences.len() as f64
}

fn verdict(difference: &Difference) -> Verdict {
    let rule = Rule { margin: 0.02, floor: Some(0.0), level: 0.05, anytime: false };
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
        assert!(covered >= 0.95 - SLACK, "{covered} covered with {n} items of rate {rate}");
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
                let estimate =
                    paired_difference(&strata, resampling(run), "unequal").expect("pairs").estimate;
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
