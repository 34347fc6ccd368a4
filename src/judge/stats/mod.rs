//! The statistics that claims rest on: plain functions over numbers, seeded, independent of threads.
//!
//! Nothing here knows of settings or tasks. Every function names the source of its formula; the expected
//! values in the tests come from scipy, and the tests say how.

mod bootstrap;
mod changes;
mod clusters;
mod joint;
mod medians;
mod order;
pub(crate) mod parallel;
mod power;
mod random;
mod rates;
mod repeats;
mod sequential;
mod significance;
mod student_sequence;
mod survival;

pub use bootstrap::{
    Part, blocked, mover, nested_draws, nested_mean_draws, percentile_interval, stratified_draws,
};
pub use changes::{Change, Course, Night, change_points, evidence_of_change};
pub use clusters::ClusterSums;
pub use joint::{CellDraws, joint_draws};
pub use medians::nested_median_draws;
pub use order::quantile;
pub(crate) use parallel::{fill_rows, threads_for};
pub use power::{
    POWER, holm, mcnemar_power, minimum_detectable_effect, pairs_for_margin, rule_of_three, smallest_drop,
    time_to_show,
};
pub use random::rng;
pub use rates::{Interval, clopper_pearson, student, tango, wilson};
pub use repeats::{all_right, deviation_within};
pub use sequential::{Differences, flip_e_value};
pub use significance::{mcnemar_exact, sign_flip};
pub use student_sequence::{StudentUnits, t_bound};
pub use survival::{Observation, log_rank_scores, survival};

/// The standard normal quantile for a two-sided interval of this confidence (0..1), such as 1.96 for 0.95.
pub fn two_sided_z(confidence: f64) -> f64 {
    normal_quantile(0.5 + confidence / 2.0)
}

/// The quantile of the standard normal distribution at `p` (0..1, exclusive).
pub fn normal_quantile(p: f64) -> f64 {
    use statrs::distribution::{ContinuousCDF, Normal};
    Normal::standard().inverse_cdf(p)
}

#[cfg(test)]
pub(crate) fn close(left: f64, right: f64, tolerance: f64) {
    assert!((left - right).abs() <= tolerance, "{left} is not within {tolerance} of {right}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_of_the_normal_distribution() {
        // scipy.stats.norm.ppf([0.975, 0.8, 0.95])
        close(two_sided_z(0.95), 1.959_963_984_540_054, 1e-9);
        close(normal_quantile(0.8), 0.841_621_233_572_914_3, 1e-9);
        close(two_sided_z(0.90), 1.644_853_626_951_472_2, 1e-9);
    }
}
