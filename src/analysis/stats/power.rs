//! How small a difference the items can show, and how many items a margin needs.

use super::{normal_quantile, two_sided_z};

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
    fn detectable_effect_follows_the_formula() {
        // python3: (norm.ppf(.975) + norm.ppf(.8)) * math.sqrt(.07 / 200)
        close(minimum_detectable_effect(0.07, 200.0, 0.95).unwrap(), 0.052_412_9, 1e-6);
        assert_eq!(minimum_detectable_effect(0.07, 0.0, 0.95), None);
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
