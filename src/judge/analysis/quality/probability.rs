//! Scores that are probabilities: the texts are the units, and their t statistic is the evidence; see
//! [`StudentUnits`].

use super::interval::{Difference, cases_in, estimate, mean_of_means};
use crate::judge::analysis::draws::Draw;
use crate::judge::analysis::summary::Estimate;
use crate::judge::stats::{
    ClusterSums, Interval, POWER, StudentUnits, normal_quantile, percentile_interval, t_bound, two_sided_z,
};
use crate::record::suite::Suite;

/// The standard deviation of texts counts as at least this share of the margin: that of a few may be small by luck.
const FLOOR_OF_MARGIN: f64 = 0.2;

/// How the scores of a suite become evidence.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rule {
    /// Confidence of intervals (0..1).
    confidence: f64,
    /// Smallest standard deviation of a text's mean difference.
    floor: f64,
    /// Cells may be stopped because of what they showed.
    anytime: bool,
}

impl Rule {
    /// The rule of a suite whose answers are scored by probability; `None` for any other.
    pub(crate) fn of(suite: &Suite) -> Option<Self> {
        let (confidence, anytime) = (suite.confidence, suite.stops_by_outcome());
        suite.scores_by_probability().then_some(Self {
            confidence,
            floor: FLOOR_OF_MARGIN * suite.margin,
            anytime,
        })
    }

    /// The rule of two runs: what either may have stopped by, holds for both.
    pub(crate) fn with(self, other: Self) -> Self {
        Self {
            confidence: self.confidence,
            floor: self.floor.max(other.floor),
            anytime: self.anytime || other.anytime,
        }
    }

    /// Mean paired difference over strata, from draws that were made together with those of other cells.
    pub(crate) fn difference(self, strata: &[ClusterSums], draws: &[Draw]) -> Option<Difference> {
        let value = mean_of_means(strata)?;
        let units = self.units(strata);
        let interval = self.interval(&units, draws).map(|(low, high)| (low.min(value), high.max(value)));
        let error = units.standard_error();
        Some(Difference {
            estimate: estimate(value, interval, cases_in(strata), (-1.0, 1.0)),
            mde: error.map(|error| (two_sided_z(self.confidence) + normal_quantile(POWER)) * error),
            p_value: if self.anytime { (1.0 / units.e_value()).min(1.0) } else { units.p_value() },
            discordance: 0.0,
            absolute: 0.0,
            texts: Some(units.len() as u32),
        })
    }

    /// Mean score over strata, within 0..1.
    pub(crate) fn score(self, strata: &[ClusterSums], draws: &[Draw]) -> Option<Estimate> {
        let value = mean_of_means(strata)?;
        let units = StudentUnits::new(text_means(strata), 0.0);
        let interval = self.interval(&units, draws).map(|(low, high)| (low.min(value), high.max(value)));
        Some(estimate(value, interval, cases_in(strata), (0.0, 1.0)))
    }

    /// The texts of several tasks, as one unit each.
    pub(super) fn units(self, strata: &[ClusterSums]) -> StudentUnits {
        StudentUnits::new(text_means(strata), self.floor)
    }

    /// A confidence sequence where cells stop by what they show; else the hull of Student's interval and the bootstrap's.
    fn interval(self, units: &StudentUnits, draws: &[Draw]) -> Option<Interval> {
        if self.anytime {
            return units.confidence_sequence(self.confidence);
        }
        let (low, high) = units.interval(self.confidence)?;
        let drawn = percentile_interval(draws.iter().copied().flatten(), self.confidence);
        Some(drawn.map_or((low, high), |drawn| (low.min(drawn.0), high.max(drawn.1))))
    }
}

/// How many texts show that a setting which in truth equals the reference is no worse than `margin`, when `texts` of them
/// show a difference of `mde` at best; `None` where no bearable number does.
pub(crate) fn texts_for_margin(texts: u32, mde: f64, margin: f64, confidence: f64) -> Option<u64> {
    let error = mde / (two_sided_z(confidence) + normal_quantile(POWER));
    let scatter = error * f64::from(texts).sqrt();
    let shows = |n: &u64| {
        let reach = t_bound(*n as usize, 1.0 - confidence).unwrap_or(f64::INFINITY);
        reach * scatter / (*n as f64).sqrt() < margin
    };
    (2..MOST_TEXTS).find(shows)
}

/// Texts beyond which nobody is told how many it takes.
const MOST_TEXTS: u64 = 100_000;

/// The mean over tasks of their first texts, of their second ones, and so on, as many as the smallest task has: texts of
/// different tasks have nothing in common, so each such mean is a unit of its own, with the endpoint as its expectation.
fn text_means(strata: &[ClusterSums]) -> Vec<f64> {
    let tasks: Vec<Vec<f64>> = strata.iter().map(ClusterSums::cluster_means).collect();
    let tasks: Vec<&Vec<f64>> = tasks.iter().filter(|texts| !texts.is_empty()).collect();
    let smallest = tasks.iter().map(|texts| texts.len()).min().unwrap_or(0);
    let mean = |at: usize| tasks.iter().map(|texts| texts[at]).sum::<f64>() / tasks.len() as f64;
    (0..smallest).map(mean).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::stats::close;

    fn rule(anytime: bool) -> Rule {
        Rule { confidence: 0.95, floor: 0.01, anytime }
    }

    fn texts(means: &[f64], questions: usize) -> ClusterSums {
        let mut sums = ClusterSums::new(means.len());
        for (text, mean) in means.iter().enumerate() {
            (0..questions).for_each(|_| sums.add(text, *mean));
        }
        sums
    }

    #[test]
    fn texts_are_the_units_and_questions_are_not() {
        let means = [0.02, -0.05, -0.01, 0.03, -0.04, 0.0, -0.02, 0.01];
        let of = |questions| rule(false).difference(&[texts(&means, questions)], &[]).unwrap();
        let (one, twelve) = (of(1), of(12));
        close(one.estimate.low.unwrap(), twelve.estimate.low.unwrap(), 1e-12);
        close(one.p_value, twelve.p_value, 1e-9);
        assert_eq!((one.estimate.n, twelve.estimate.n), (8, 96));
    }

    #[test]
    fn a_sequence_is_wider_than_the_interval_of_one_look() {
        let means = [-0.02, -0.05, -0.01, -0.03, -0.04, -0.06, -0.02, -0.05];
        let width = |anytime| {
            let difference = rule(anytime).difference(&[texts(&means, 12)], &[]).unwrap();
            assert!(difference.p_value < 0.05, "{difference:?}");
            difference.estimate.high.unwrap() - difference.estimate.low.unwrap()
        };
        assert!(width(true) > 1.5 * width(false));
    }

    #[test]
    fn the_texts_that_a_margin_takes_follow_from_their_scatter() {
        // Eight texts with a standard deviation of 3.1 points, as `q4_0` showed on SmolLM2.
        let mde = (two_sided_z(0.95) + normal_quantile(POWER)) * 0.031 / 8.0_f64.sqrt();
        assert_eq!(texts_for_margin(8, mde, 0.05, 0.95), Some(8));
        assert!(texts_for_margin(8, 3.0 * mde, 0.05, 0.95) > Some(20));
        assert_eq!(texts_for_margin(8, mde, 0.0, 0.95), None);
    }

    #[test]
    fn tasks_weigh_the_same_and_their_texts_are_laid_side_by_side() {
        let strata = [texts(&[-0.2; 6], 4), texts(&[0.0; 6], 8)];
        assert_eq!(text_means(&strata), vec![-0.1; 6]);
        assert_eq!(text_means(&[texts(&[0.5; 3], 1), texts(&[0.1; 9], 1)]).len(), 3);
    }
}
