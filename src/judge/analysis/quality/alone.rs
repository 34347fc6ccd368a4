//! Means and paired differences by the evidence that a suite's scores are, with draws of their own: what is not drawn together
//! with other cells.

use super::interval::{
    Difference, anytime_difference, anytime_score, mean_score, paired_difference, stratified,
};
use super::probability;
use crate::judge::analysis::Resampling;
use crate::judge::analysis::summary::Estimate;
use crate::judge::stats::ClusterSums;
use crate::record::suite::Suite;

/// Mean paired difference over strata (-1..1), as the suite's verdicts have it; `None` without pairs.
pub(crate) fn difference_in(
    suite: &Suite,
    strata: &[ClusterSums],
    resampling: Resampling,
    purpose: &str,
) -> Option<Difference> {
    match probability::Rule::of(suite) {
        Some(rule) => rule.difference(strata, &stratified(strata, resampling, purpose)),
        None if suite.stops_by_outcome() => anytime_difference(strata, resampling.confidence),
        None => paired_difference(strata, resampling, purpose),
    }
}

/// Mean score over strata (0..1), as the suite's report has it; `None` without scores.
pub(crate) fn score_in(
    suite: &Suite,
    strata: &[ClusterSums],
    resampling: Resampling,
    context: u32,
) -> Option<Estimate> {
    match probability::Rule::of(suite) {
        Some(rule) => rule.score(strata, &stratified(strata, resampling, &format!("quality {context}"))),
        None if suite.stops_by_outcome() => anytime_score(strata, resampling.confidence),
        None => mean_score(strata, resampling, context),
    }
}

/// Mean paired difference of two runs: of probabilities where both score so, of texts that either may have stopped at.
pub(crate) fn difference_of_runs(
    suites: (&Suite, &Suite),
    strata: &[ClusterSums],
    resampling: Resampling,
    purpose: &str,
) -> Option<Difference> {
    match probability::Rule::of(suites.0).zip(probability::Rule::of(suites.1)) {
        Some((a, b)) => a.with(b).difference(strata, &stratified(strata, resampling, purpose)),
        None => paired_difference(strata, resampling, purpose),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::analysis::testing;
    use crate::record::Scoring;

    const RESAMPLING: Resampling =
        Resampling { seed: 3, draws: 400, confidence: 0.95, graded_from: Resampling::GRADED_UNITS };

    fn suite(score: Scoring) -> Suite {
        let mut suite = testing::Play::new("").journal.header.suite;
        suite.tasks.iter_mut().for_each(|task| task.score = score);
        suite
    }

    /// The same probabilities twice, of six texts with six questions each.
    fn equal() -> ClusterSums {
        ClusterSums::of((0..36).map(|case| (format!("{}", case / 6), 0.0)))
    }

    fn width(found: Option<Difference>) -> f64 {
        let estimate = found.unwrap().estimate;
        estimate.high.unwrap() - estimate.low.unwrap()
    }

    #[test]
    fn two_runs_with_equal_probabilities_are_known_to_be_equal() {
        let (probability, other) = (suite(Scoring::Probability), suite(Scoring::Match));
        let of = |a, b| width(difference_of_runs((a, b), &[equal()], RESAMPLING, "t"));
        // Six texts scatter by a fifth of the margin, as far as anyone knows: over the square root of six, 2.57 times.
        assert!(of(&probability, &probability) < 0.025, "{}", of(&probability, &probability));
        assert!(of(&probability, &other) > 0.5);
        assert_eq!(
            width(difference_in(&probability, &[equal()], RESAMPLING, "t")),
            of(&probability, &probability)
        );
        assert!(width(difference_in(&other, &[equal()], RESAMPLING, "t")) > 0.5);
    }
}
