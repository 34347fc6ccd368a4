//! How small a difference the cases can show, and how many cases a margin needs.

use statrs::distribution::{Binomial, Discrete, DiscreteCDF};

use super::{mcnemar_exact, normal_quantile, two_sided_z};

/// The power that detectable effects and sample sizes are given for.
pub const POWER: f64 = 0.8;

/// The smallest mean paired difference that `n` pairs show with [`POWER`] at this confidence, when the mean
/// squared difference of a pair is `discordance` (for pass/fail scores: the share of pairs that differ).
///
/// Formula: normal approximation for paired proportions, (z(1-a/2) + z(power)) sqrt(d / n); Connor (1987)
/// without the second-order term.
pub fn minimum_detectable_effect(discordance: f64, n: f64, confidence: f64) -> Option<f64> {
    (n > 0.0).then(|| (two_sided_z(confidence) + normal_quantile(POWER)) * (discordance / n).sqrt())
}

/// The discordance that `n` pairs cannot rule out when none of them differed (one-sided 95%): about 3/n.
///
/// Formula: 1 - 0.05^(1/n); Hanley and Lippman-Hand (1983), "If nothing goes wrong, is everything all right?"
pub fn rule_of_three(n: f64) -> f64 {
    if n > 0.0 { 1.0 - 0.05_f64.powf(1.0 / n) } else { 1.0 }
}

/// How much of what was spent (s, or anything that grows with the pairs) it takes to show with [`POWER`] a `difference` like the one that
/// was seen with the interval `low`..`high`; `None` where the interval has 0 in it, or no width.
///
/// Formula: the square of [`minimum_detectable_effect`] falls with the number of pairs; the standard error is that of the interval's
/// half on the side of 0, so few pairs count as less.
pub fn time_to_show(spent: f64, difference: f64, low: f64, high: f64, confidence: f64) -> Option<f64> {
    let nearest = if difference < 0.0 { high } else { low };
    let half = (difference - nearest).abs();
    let excludes_zero = nearest * difference > 0.0;
    let z = two_sided_z(confidence);
    let detectable = (z + normal_quantile(POWER)) * half / z;
    (excludes_zero && half > 0.0).then(|| spent * (detectable / difference).powi(2))
}

/// How many pairs it takes to show with [`POWER`] that a setting which in truth equals the reference is no
/// worse than `margin`, at this discordance. Never fewer than a run without a single flip would need:
/// there Tango's interval reaches down to -z^2 / (n + z^2).
pub fn pairs_for_margin(discordance: f64, margin: f64, confidence: f64) -> Option<u64> {
    if !(margin > 0.0 && margin < 1.0) {
        return None;
    }
    let z = two_sided_z(confidence);
    let by_power = (z + normal_quantile(POWER)).powi(2) * discordance / margin.powi(2);
    let without_flips = z * z * (1.0 - margin) / margin;
    Some(by_power.max(without_flips).ceil() as u64)
}

/// The chance that the exact McNemar test at `level` calls a difference when, of `pairs` pairs, a share of
/// `discordance` differs and the setting loses `drop` more of them than it gains (both 0..1, drop at most
/// discordance). 0 for what cannot be.
///
/// Formula: the test's rejections summed over the binomial number of discordant pairs; Duffy (1984), without an
/// approximation. The planned sizes of docs/statistics.md (229, 168 and 47 pairs) are where it reaches 80%.
pub fn mcnemar_power(pairs: u32, discordance: f64, drop: f64, level: f64) -> f64 {
    let Ok(flipping) = Binomial::new(discordance, u64::from(pairs)) else { return 0.0 };
    if discordance <= 0.0 || drop.abs() > discordance {
        return 0.0;
    }
    let loss = (discordance + drop) / (2.0 * discordance);
    // More than nine standard deviations away nothing adds to the sum.
    let reach = 9.0 * (f64::from(pairs) * discordance * (1.0 - discordance)).sqrt() + 1.0;
    let centre = f64::from(pairs) * discordance;
    let first = (centre - reach).max(0.0) as u32;
    let last = ((centre + reach) as u32).min(pairs);
    let mut fewest = None;
    let mut power = 0.0;
    for flips in first..=last {
        fewest = critical(flips, level, fewest);
        if let Some(fewest) = fewest {
            power += flipping.pmf(u64::from(flips)) * refusals(flips, fewest, loss);
        }
    }
    power
}

/// The largest number of flips of the rarer kind that the test still refuses; it never falls as flips are added.
fn critical(flips: u32, level: f64, before: Option<u32>) -> Option<u32> {
    let mut fewest = before;
    loop {
        let next = fewest.map_or(0, |fewest| fewest + 1);
        if 2 * next >= flips || mcnemar_exact(next, flips - next) > level {
            return fewest;
        }
        fewest = Some(next);
    }
}

/// Probability of at most `fewest` gains or at most `fewest` losses.
fn refusals(flips: u32, fewest: u32, loss: f64) -> f64 {
    let at_most = |share: f64| {
        Binomial::new(share.clamp(0.0, 1.0), u64::from(flips)).map_or(0.0, |b| b.cdf(u64::from(fewest)))
    };
    at_most(1.0 - loss) + at_most(loss)
}

/// The smallest drop that so many pairs show with [`POWER`] at this discordance; `None` when not even a drop of
/// all discordant pairs does.
pub fn smallest_drop(pairs: u32, discordance: f64, level: f64) -> Option<f64> {
    let shown = |drop: f64| mcnemar_power(pairs, discordance, drop, level) >= POWER;
    if !shown(discordance) {
        return None;
    }
    let (mut low, mut high) = (0.0, discordance);
    for _ in 0..20 {
        let middle = f64::midpoint(low, high);
        if shown(middle) { high = middle } else { low = middle }
    }
    Some(high)
}

/// Holm's step-down adjustment: the p-values of one family, in their own order, made comparable with the
/// family-wise level.
///
/// Formula: Holm (1979).
pub fn holm(p_values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p_values.len()).collect();
    order.sort_by(|&a, &b| p_values[a].total_cmp(&p_values[b]));
    let mut adjusted = vec![1.0; p_values.len()];
    let mut largest = 0.0_f64;
    for (rank, &index) in order.iter().enumerate() {
        let scaled = p_values[index] * (p_values.len() - rank) as f64;
        largest = largest.max(scaled.min(1.0));
        adjusted[index] = largest;
    }
    adjusted
}

#[cfg(test)]
mod tests {
    use super::super::close;
    use super::*;

    #[test]
    fn what_is_clear_takes_less_time_than_was_spent() {
        // Half a width of 10 points is a standard error of 5.1; 14.3 can be detected, 40 were lost.
        let time_s = time_to_show(100.0, -0.4, -0.5, -0.3, 0.95).unwrap();
        close(time_s, 100.0 * (0.142_943_f64 / 0.4).powi(2), 1e-3);
        close(time_to_show(100.0, 0.4, 0.3, 0.5, 0.95).unwrap(), time_s, 1e-9);
        let barely = time_to_show(100.0, -0.4, -0.79, -0.01, 0.95).unwrap();
        assert!(barely > 100.0, "what was barely seen is likely missed by as many: {barely}");
        for (low, high) in [(-0.9, 0.1), (-0.4, -0.4)] {
            assert_eq!(time_to_show(100.0, -0.4, low, high, 0.95), None);
        }
    }

    #[test]
    fn detectable_effect_follows_the_formula() {
        // python3: (norm.ppf(.975) + norm.ppf(.8)) * math.sqrt(.07 / 200)
        close(minimum_detectable_effect(0.07, 200.0, 0.95).unwrap(), 0.052_412_9, 1e-6);
        assert_eq!(minimum_detectable_effect(0.07, 0.0, 0.95), None);
    }

    #[test]
    fn planned_sample_sizes_have_their_power() {
        // python3, scipy.stats.binom: for every number k of flips, pmf(k, n, d) times the probability of the
        // counts c with 2 * cdf(c, k, .5) <= .05, under the share of losses (d + drop) / (2 d)
        for (pairs, discordance, drop, power) in [
            (229, 0.07, 0.05, 0.803_340_003_114_193_3),
            (168, 0.20, 0.10, 0.800_562_387_775_225_3),
            (47, 0.24, 0.20, 0.803_076_596_480_022_8),
            (60, 0.10, 0.10, 0.562_834_129_262_872_5),
            (200, 0.10, 0.05, 0.543_296_357_196_550_2),
        ] {
            close(mcnemar_power(pairs, discordance, drop, 0.05), power, 1e-9);
        }
        assert_eq!(mcnemar_power(100, 0.05, 0.10, 0.05), 0.0);
        assert_eq!(mcnemar_power(100, 0.0, 0.0, 0.05), 0.0);
        assert!(mcnemar_power(200, 0.1, 0.0, 0.05) <= 0.05);
    }

    #[test]
    fn the_smallest_drop_is_the_planned_one() {
        close(smallest_drop(229, 0.07, 0.05).unwrap(), 0.05, 0.001);
        assert_eq!(smallest_drop(10, 0.2, 0.05), None);
    }

    #[test]
    fn rule_of_three_is_near_three_over_n() {
        close(rule_of_three(300.0), 0.01, 1e-4);
        assert_eq!(rule_of_three(0.0), 1.0);
    }

    #[test]
    fn sample_size_has_a_floor_without_flips() {
        // python3: math.ceil(norm.ppf(.975)**2 * .98 / .02)
        assert_eq!(pairs_for_margin(0.0, 0.02, 0.95), Some(189));
        // python3: math.ceil((norm.ppf(.975) + norm.ppf(.8))**2 * .1 / .02**2)
        assert_eq!(pairs_for_margin(0.1, 0.02, 0.95), Some(1963));
        assert_eq!(pairs_for_margin(0.1, 0.0, 0.95), None);
    }

    #[test]
    fn holm_steps_down_and_never_decreases() {
        // statsmodels.stats.multitest.multipletests([.01, .04, .03, .005], method="holm")[1]
        let adjusted = holm(&[0.01, 0.04, 0.03, 0.005]);
        for (got, want) in adjusted.iter().zip([0.03, 0.06, 0.06, 0.02]) {
            close(*got, want, 1e-12);
        }
        assert!(holm(&[]).is_empty());
        assert_eq!(holm(&[0.9, 0.9]), vec![1.0, 1.0]);
    }
}
