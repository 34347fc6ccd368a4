//! Intervals of rates and of paired differences of rates that hold for small samples.

use statrs::distribution::{Beta, ContinuousCDF, StudentsT};

use super::two_sided_z;

/// Lower and upper end.
pub type Interval = (f64, f64);

/// Interval of a rate from `successes` of `n` (both may be fractional: effective counts).
///
/// Formula: Wilson (1927), score interval without continuity correction.
pub fn wilson(successes: f64, n: f64, confidence: f64) -> Option<Interval> {
    if n <= 0.0 {
        return None;
    }
    let z = two_sided_z(confidence);
    let rate = (successes / n).clamp(0.0, 1.0);
    let scale = 1.0 + z * z / n;
    let centre = (rate + z * z / (2.0 * n)) / scale;
    let half = z * (rate * (1.0 - rate) / n + z * z / (4.0 * n * n)).sqrt() / scale;
    Some(((centre - half).max(0.0), (centre + half).min(1.0)))
}

/// Exact interval of a rate from `successes` of `n`.
///
/// Formula: Clopper and Pearson (1934), as quantiles of beta distributions.
pub fn clopper_pearson(successes: u32, n: u32, confidence: f64) -> Option<Interval> {
    if n == 0 || successes > n {
        return None;
    }
    let tail = (1.0 - confidence) / 2.0;
    let (k, n) = (f64::from(successes), f64::from(n));
    let low = match successes {
        0 => 0.0,
        _ => Beta::new(k, n - k + 1.0).ok()?.inverse_cdf(tail),
    };
    let high = if k == n { 1.0 } else { Beta::new(k + 1.0, n - k).ok()?.inverse_cdf(1.0 - tail) };
    Some((low, high))
}

/// Interval of the difference of two paired rates, `(gains - losses) / n`, where `gains` pairs went from
/// wrong to right and `losses` from right to wrong (fractional: effective counts).
///
/// It keeps its coverage where a bootstrap degenerates: without any flip it is +-z^2 / (n + z^2), so four
/// equal pairs prove nothing.
///
/// Formula: Tango (1998), "Equivalence test and confidence interval for the difference in proportions for
/// the paired-sample design"; the ends are found by bisection of the score statistic.
pub fn tango(gains: f64, losses: f64, n: f64, confidence: f64) -> Option<Interval> {
    if n <= 0.0 {
        return None;
    }
    let z = two_sided_z(confidence);
    let observed = ((gains - losses) / n).clamp(-1.0, 1.0);
    let excess = |difference: f64| tango_statistic(gains, losses, n, difference).abs() - z;
    let end = |mut outside: f64| {
        let mut inside = observed;
        for _ in 0..80 {
            let middle = f64::midpoint(inside, outside);
            if excess(middle) > 0.0 {
                outside = middle;
            } else {
                inside = middle;
            }
        }
        inside
    };
    Some((end(-1.0), end(1.0)))
}

/// The score statistic of `difference`; infinite where the variance vanishes.
fn tango_statistic(gains: f64, losses: f64, n: f64, difference: f64) -> f64 {
    let a = 2.0 * n;
    let b = -gains - losses + (2.0 * n - gains + losses) * difference;
    let c = -losses * difference * (1.0 - difference);
    let loss_rate = ((b * b - 4.0 * a * c).max(0.0).sqrt() - b) / (2.0 * a);
    let variance = n * (2.0 * loss_rate + difference * (1.0 - difference));
    let distance = gains - losses - n * difference;
    if distance == 0.0 {
        0.0
    } else if variance <= 0.0 {
        f64::INFINITY
    } else {
        distance / variance.sqrt()
    }
}

/// Student's interval of a mean; `None` for fewer than two numbers, and for numbers that are all alike: a few of them do not show that others
/// would be, and an interval without width says that they do.
///
/// Formula: mean +- t(n-1) s / sqrt(n); Student (1908).
pub fn student(numbers: &[f64], confidence: f64) -> Option<Interval> {
    let n = numbers.len() as f64;
    if numbers.len() < 2 {
        return None;
    }
    let mean = numbers.iter().sum::<f64>() / n;
    if numbers.iter().all(|x| *x == numbers[0]) {
        return None;
    }
    let variance = numbers.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / (n - 1.0);
    let t = StudentsT::new(0.0, 1.0, n - 1.0).ok()?;
    let half = t.inverse_cdf(0.5 + confidence / 2.0) * (variance / n).sqrt();
    Some((mean - half, mean + half))
}

#[cfg(test)]
mod tests {
    use super::super::close;
    use super::*;

    fn check(got: Option<Interval>, want: Interval) {
        let got = got.unwrap();
        close(got.0, want.0, 1e-9);
        close(got.1, want.1, 1e-9);
    }

    #[test]
    fn wilson_agrees_with_scipy() {
        // scipy.stats.binomtest(k, n).proportion_ci(method="wilson")
        check(wilson(8.0, 10.0, 0.95), (0.490_162_471_5, 0.943_317_848_5));
        check(wilson(0.0, 20.0, 0.95), (0.0, 0.161_125_158_1));
        check(wilson(60.0, 60.0, 0.95), (0.939_828_147_9, 1.0));
        assert_eq!(wilson(0.0, 0.0, 0.95), None);
    }

    #[test]
    fn clopper_pearson_agrees_with_scipy() {
        // scipy.stats.binomtest(k, n).proportion_ci(method="exact")
        check(clopper_pearson(8, 10, 0.95), (0.443_904_537_7, 0.974_789_273_7));
        check(clopper_pearson(57, 60, 0.95), (0.860_756_753_278_9, 0.989_567_670_355_651_7));
        check(clopper_pearson(190, 200, 0.95), (0.909_972_462_298_441_2, 0.975_765_834_527_891_7));
        check(clopper_pearson(1, 3, 0.95), (0.008_403_758_659_612_647, 0.905_700_675_949_286_6));
        check(clopper_pearson(0, 20, 0.95), (0.0, 0.168_433_471_0));
        check(clopper_pearson(20, 20, 0.95), (1.0 - 0.168_433_471_0, 1.0));
        assert_eq!(clopper_pearson(3, 2, 0.95), None);
    }

    #[test]
    fn tango_agrees_with_a_numeric_profile_likelihood() {
        // python3: the trinomial likelihood of p21 given p12 - p21 = d has its maximum where
        // gains / (q + d) + losses / q - 2 (n - gains - losses) / (1 - 2 q - d) = 0, by scipy.optimize.brentq with
        // xtol 1e-16; then brentq on the score statistic -+ z.
        check(tango(3.0, 9.0, 60.0, 0.95), (-0.222_378_930_996_120_74, 0.014_950_105_157_143_9));
        check(tango(0.0, 5.0, 40.0, 0.95), (-0.261_121_198_388_511_1, -0.026_425_698_653_052_623));
    }

    #[test]
    fn without_flips_tango_is_the_closed_form() {
        let z2 = two_sided_z(0.95).powi(2);
        for n in [1.0, 4.0, 60.0, 200.0] {
            check(tango(0.0, 0.0, n, 0.95), (-z2 / (n + z2), z2 / (n + z2)));
        }
    }

    #[test]
    fn tango_ends_stay_within_the_possible() {
        for (gains, losses) in [(0.0, 4.0), (4.0, 0.0), (2.0, 2.0)] {
            let (low, high) = tango(gains, losses, 4.0, 0.95).unwrap();
            let value = (gains - losses) / 4.0;
            assert!(-1.0 <= low && low <= value && value <= high && high <= 1.0, "{low} {high}");
        }
    }

    #[test]
    fn student_agrees_with_scipy() {
        // scipy.stats.t.interval(.95, 4, numpy.mean(x), scipy.stats.sem(x)) of x = [1, 2, 4, 4, 9]
        check(student(&[1.0, 2.0, 4.0, 4.0, 9.0], 0.95), (0.172_934_531_2, 7.827_065_468_8));
        assert_eq!(student(&[1.0], 0.95), None);
        assert_eq!(student(&[-0.6, -0.6, -0.6], 0.95), None, "three alike are no proof");
    }
}
