//! Means over tasks, of scores and of paired differences, with intervals and tests.
//!
//! Intervals are the hull of two: the percentile interval of the stratified cluster bootstrap, and one
//! that holds for small samples: Wilson's for rates, Tango's for paired differences, and Student's for graded
//! scores once ten of them lie between right and wrong. The
//! bootstrap alone degenerates where it matters most: four equal pairs give it the interval [0, 0]. Here
//! they give about +-49 points, and it takes 189 pairs without a flip to be within 2 points. With clusters,
//! the cluster is the unit of the small-sample interval.

use super::super::Resampling;
use super::super::summary::Estimate;
use crate::judge::analysis::draws::Draw;
use crate::judge::stats::{
    ClusterSums, Differences, Interval, mcnemar_exact, minimum_detectable_effect, mover, percentile_interval,
    rng, rule_of_three, sign_flip, stratified_draws, student, tango, wilson,
};

/// Fewer pairs than this have no interval.
const MIN_PAIRS: u32 = 2;

/// A paired difference of two visits.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Difference {
    /// Mean over tasks, with its interval.
    pub(crate) estimate: Estimate,
    /// Smallest difference that these cases could show.
    pub(crate) mde: Option<f64>,
    /// Paired test of no difference.
    pub(crate) p_value: f64,
    /// Share of pairs with different scores.
    pub(crate) discordance: f64,
    /// Mean absolute difference, over tasks.
    pub(crate) absolute: f64,
    /// For scores by probability: the texts that are its units.
    pub(crate) texts: Option<u32>,
}

pub(super) fn mean_of_means(strata: &[ClusterSums]) -> Option<f64> {
    let means: Vec<f64> = strata.iter().filter_map(ClusterSums::mean).collect();
    (!means.is_empty()).then(|| means.iter().sum::<f64>() / means.len() as f64)
}

pub(super) fn cases_in(strata: &[ClusterSums]) -> u32 {
    strata.iter().map(ClusterSums::cases).sum()
}

/// Mean score over strata, within 0..1, with draws of its own.
pub(crate) fn mean_score(strata: &[ClusterSums], resampling: Resampling, context: u32) -> Option<Estimate> {
    let draws = stratified(strata, resampling, &format!("quality {context}"));
    mean_score_of(strata, &draws, resampling)
}

/// Draws of the mean over strata; `purpose` keeps them apart from others.
pub(super) fn stratified(strata: &[ClusterSums], resampling: Resampling, purpose: &str) -> Vec<Draw> {
    stratified_draws(strata, resampling.draws, &mut rng(resampling.seed, purpose))
}

/// As [`mean_score`], from draws that were made together with those of other cells.
pub(super) fn mean_score_of(
    strata: &[ClusterSums],
    draws: &[Draw],
    resampling: Resampling,
) -> Option<Estimate> {
    let value = mean_of_means(strata)?;
    let guard = guard(strata, |units| rate_interval(units, resampling));
    let interval = hull(draws, guard, resampling.confidence);
    Some(estimate(value, interval, cases_in(strata), (0.0, 1.0)))
}

/// Mean paired difference over strata, from differences added up by cluster, with draws of its own.
pub(crate) fn paired_difference(
    strata: &[ClusterSums],
    resampling: Resampling,
    purpose: &str,
) -> Option<Difference> {
    let draws = stratified(strata, resampling, purpose);
    difference_of(strata, &draws, resampling, purpose)
}

/// Mean paired difference over strata, from draws that were made together with those of other cells.
pub(super) fn difference_of(
    strata: &[ClusterSums],
    draws: &[Draw],
    resampling: Resampling,
    purpose: &str,
) -> Option<Difference> {
    let value = mean_of_means(strata)?;
    let guard = change_guard(strata, resampling);
    let interval = hull(draws, guard, resampling.confidence);
    Some(Difference {
        estimate: estimate(value, interval, cases_in(strata), (-1.0, 1.0)),
        mde: detectable(strata, resampling.confidence),
        p_value: no_difference(&contributions(strata), resampling, purpose),
        discordance: 0.0,
        absolute: 0.0,
        texts: None,
    })
}

/// The contrast of four cells, `A+B - A - B + reference` (-2..2), over strata.
pub(crate) fn contrast_of(
    strata: &[ClusterSums],
    draws: &[Draw],
    resampling: Resampling,
) -> Option<Estimate> {
    let value = mean_of_means(strata)?;
    // A contrast is half as wide as the scale of a difference twice its size.
    let halved: Vec<ClusterSums> = strata.iter().map(|stratum| stratum.scaled(0.5)).collect();
    let guard = change_guard(&halved, resampling).map(|(low, high)| (2.0 * low, 2.0 * high));
    Some(estimate(value, hull(draws, guard, resampling.confidence), cases_in(strata), (-2.0, 2.0)))
}

/// As [`difference_of`], for cells that may have been stopped at any time because of what they showed: the
/// interval is a confidence sequence, and the p-value is one over the E-value.
///
/// Units are cluster means, equally many of every task (see [`Differences`]); what a task has beyond that
/// counts in the estimate but not in the evidence.
pub(crate) fn anytime_difference(strata: &[ClusterSums], confidence: f64) -> Option<Difference> {
    let value = mean_of_means(strata)?;
    let units = pooled(strata);
    let pairs = units.len() as u32;
    let interval = units.confidence_sequence(confidence).map(|(low, high)| (low.min(value), high.max(value)));
    Some(Difference {
        estimate: Estimate { n: cases_in(strata), ..estimate(value, interval, pairs, (-1.0, 1.0)) },
        mde: detectable(strata, confidence),
        p_value: (1.0 / units.e_value()).min(1.0),
        discordance: 0.0,
        absolute: 0.0,
        texts: None,
    })
}

/// As [`mean_score_of`], for cells that may have been stopped at any time because of what they showed.
pub(crate) fn anytime_score(strata: &[ClusterSums], confidence: f64) -> Option<Estimate> {
    let value = mean_of_means(strata)?;
    // Betting knows numbers from -1 to 1: a score from 0 to 1 is put there and back.
    let stretched = |stratum: &ClusterSums| {
        let sums = stratum
            .sums
            .iter()
            .zip(&stratum.counts)
            .map(|(sum, count)| 2.0 * sum - f64::from(*count))
            .collect();
        ClusterSums { sums, counts: stratum.counts.clone() }
    };
    let units = pooled(&strata.iter().map(stretched).collect::<Vec<_>>());
    let interval = units
        .confidence_sequence(confidence)
        .map(|(low, high)| (f64::midpoint(low, 1.0).min(value), f64::midpoint(high, 1.0).max(value)));
    Some(Estimate { n: cases_in(strata), ..estimate(value, interval, units.len() as u32, (0.0, 1.0)) })
}

/// The first cluster means of every task, as many as the smallest has.
pub(crate) fn pooled(strata: &[ClusterSums]) -> Differences {
    let tasks: Vec<Vec<f64>> = strata.iter().map(ClusterSums::cluster_means).collect();
    let tasks = tasks.iter().filter(|units| !units.is_empty());
    let smallest = tasks.clone().map(Vec::len).min().unwrap_or(0);
    Differences::new(tasks.flat_map(|units| units.iter().take(smallest).copied()))
}

pub(super) fn estimate(value: f64, interval: Option<Interval>, n: u32, range: Interval) -> Estimate {
    let interval = interval.filter(|_| n >= MIN_PAIRS);
    Estimate {
        value,
        low: interval.map(|(low, _)| low.clamp(range.0, range.1)),
        high: interval.map(|(_, high)| high.clamp(range.0, range.1)),
        n,
    }
}

/// The hull of the bootstrap interval and the guard.
fn hull(draws: &[Draw], guard: Option<Interval>, confidence: f64) -> Option<Interval> {
    let (low, high) = percentile_interval(draws.iter().copied().flatten(), confidence)?;
    let (guard_low, guard_high) = guard?;
    Some((low.min(guard_low), high.max(guard_high)))
}

/// Small-sample interval of the mean over strata. `of` gives the interval of the mean of a stratum's
/// cluster means; its reach is put around the stratum's mean over cases.
fn guard(strata: &[ClusterSums], of: impl Fn(&[f64]) -> Option<Interval>) -> Option<Interval> {
    let mut parts = Vec::new();
    for stratum in strata {
        let Some(mean) = stratum.mean() else { continue };
        let units = stratum.cluster_means();
        let centre = units.iter().sum::<f64>() / units.len() as f64;
        let (low, high) = of(&units)?;
        parts.push((mean, mean - (centre - low), mean + (high - centre)));
    }
    mover(&parts).map(|(_, low, high)| (low, high))
}

fn rate_interval(units: &[f64], Resampling { confidence, graded_from, .. }: Resampling) -> Option<Interval> {
    if is_graded(units, graded_from) {
        student(units, confidence)
    } else {
        wilson(units.iter().sum(), units.len() as f64, confidence)
    }
}

/// Small-sample interval of a paired difference. The tasks' flips are pooled, each task weighing the same
/// and none counting as more pairs than the smallest has: the variance of the mean over tasks is at most
/// that of so many pairs with the mean rates. Graded differences are put together task by task.
fn change_guard(strata: &[ClusterSums], resampling: Resampling) -> Option<Interval> {
    let tasks: Vec<Vec<f64>> = strata.iter().map(ClusterSums::cluster_means).collect();
    let tasks: Vec<&Vec<f64>> = tasks.iter().filter(|units| !units.is_empty()).collect();
    if tasks.iter().any(|units| is_graded(units, resampling.graded_from)) {
        return guard(strata, |units| change_interval(units, resampling));
    }
    let smallest = tasks.iter().map(|units| units.len()).min()?;
    let pairs = (smallest * tasks.len()) as f64;
    let rate = |of: fn(f64) -> f64| {
        let of_task = |units: &&Vec<f64>| units.iter().map(|d| of(*d)).sum::<f64>() / units.len() as f64;
        tasks.iter().map(of_task).sum::<f64>() / tasks.len() as f64
    };
    let (gains, losses) = (rate(|d| d.max(0.0)), rate(|d| (-d).max(0.0)));
    let (low, high) = tango(gains * pairs, losses * pairs, pairs, resampling.confidence)?;
    let shift = mean_of_means(strata)? - (gains - losses);
    Some((low + shift, high + shift))
}

fn is_graded(units: &[f64], from: usize) -> bool {
    let between = |unit: &&f64| unit.abs() > 0.0 && unit.abs() < 1.0;
    units.iter().filter(between).count() >= from
}

/// A graded difference counts as the share of a flip that it is: its variance is at most that of a
/// pass/fail difference with the same mean gains and losses, so the interval is never too short.
fn change_interval(
    units: &[f64],
    Resampling { confidence, graded_from, .. }: Resampling,
) -> Option<Interval> {
    if is_graded(units, graded_from) {
        return student(units, confidence);
    }
    let gains = units.iter().map(|unit| unit.max(0.0)).sum();
    let losses = units.iter().map(|unit| (-unit).max(0.0)).sum();
    tango(gains, losses, units.len() as f64, confidence)
}

/// What every cluster adds to the mean over strata.
fn contributions(strata: &[ClusterSums]) -> Vec<f64> {
    let counted: Vec<&ClusterSums> = strata.iter().filter(|stratum| stratum.mean().is_some()).collect();
    let mut all = Vec::new();
    for stratum in &counted {
        let share = 1.0 / (f64::from(stratum.cases()) * counted.len() as f64);
        all.extend(stratum.sums.iter().map(|sum| sum * share));
    }
    all
}

/// McNemar's exact test where every flip weighs the same, random signs else.
fn no_difference(contributions: &[f64], resampling: Resampling, purpose: &str) -> f64 {
    let flips: Vec<f64> = contributions.iter().copied().filter(|x| *x != 0.0).collect();
    let largest = flips.iter().fold(0.0_f64, |largest, x| largest.max(x.abs()));
    if flips.iter().all(|x| x.abs() > largest * (1.0 - 1e-9)) {
        let gains = flips.iter().filter(|x| **x > 0.0).count();
        return mcnemar_exact(gains as u32, (flips.len() - gains) as u32);
    }
    let mut signs = rng(resampling.seed, &format!("signs {purpose}"));
    sign_flip(&flips, resampling.draws, &mut signs)
}

/// The detectable effect over strata: mean squared difference of the units (never below what so many
/// units cannot rule out when none differs), and the effective number of pairs of equally weighted strata.
fn detectable(strata: &[ClusterSums], confidence: f64) -> Option<f64> {
    let units: Vec<Vec<f64>> = strata.iter().map(ClusterSums::cluster_means).collect();
    let units: Vec<&Vec<f64>> = units.iter().filter(|units| !units.is_empty()).collect();
    let k = units.len() as f64;
    let square = |units: &&Vec<f64>| units.iter().map(|d| d * d).sum::<f64>() / units.len() as f64;
    let effective = k * k / units.iter().map(|units| 1.0 / units.len() as f64).sum::<f64>();
    if units.is_empty() {
        return None;
    }
    let seen = units.iter().map(square).sum::<f64>() / k;
    minimum_detectable_effect(seen.max(rule_of_three(effective)), effective, confidence)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RESAMPLING: Resampling =
        Resampling { seed: 1, draws: 1000, confidence: 0.95, graded_from: Resampling::GRADED_UNITS };

    #[test]
    fn one_pair_has_no_interval() {
        let difference = paired_difference(&[ClusterSums::singletons(&[-1.0])], RESAMPLING, "t").unwrap();
        assert_eq!((difference.estimate.low, difference.estimate.high), (None, None));
        assert_eq!(paired_difference(&[], RESAMPLING, "t"), None);
    }

    #[test]
    fn a_flip_never_makes_the_detectable_effect_smaller() {
        let mut values = vec![0.0; 60];
        let none = paired_difference(&[ClusterSums::singletons(&values)], RESAMPLING, "t").unwrap();
        values[0] = -1.0;
        let one = paired_difference(&[ClusterSums::singletons(&values)], RESAMPLING, "t").unwrap();
        values[1..12].fill(1.0);
        let many = paired_difference(&[ClusterSums::singletons(&values)], RESAMPLING, "t").unwrap();
        assert!(none.mde <= one.mde && one.mde < many.mde, "{none:?} {one:?} {many:?}");
    }

    #[test]
    fn p_values_are_mcnemars_for_flips() {
        let mut values = vec![0.0; 40];
        values[..10].fill(-1.0);
        values[10..12].fill(1.0);
        let difference = paired_difference(&[ClusterSums::singletons(&values)], RESAMPLING, "t").unwrap();
        assert_eq!(difference.p_value, mcnemar_exact(2, 10));
    }

    #[test]
    fn tasks_weigh_the_same_whatever_their_size() {
        let strata = [ClusterSums::singletons(&[1.0; 10]), ClusterSums::singletons(&[0.0; 90])];
        let quality = mean_score(&strata, RESAMPLING, 512).unwrap();
        assert_eq!((quality.value, quality.n), (0.5, 100));
    }

    #[test]
    fn correlated_cases_widen_the_interval() {
        let flips: Vec<f64> = (0..60).map(|i| if i < 6 { -1.0 } else { 0.0 }).collect();
        let mut clustered = ClusterSums::new(10);
        flips.iter().enumerate().for_each(|(at, value)| clustered.add(at / 6, *value));
        let width = |sums| {
            let difference = paired_difference(&[sums], RESAMPLING, "t").unwrap();
            difference.estimate.high.unwrap() - difference.estimate.low.unwrap()
        };
        assert!(width(clustered) > 1.5 * width(ClusterSums::singletons(&flips)));
    }

    #[test]
    fn graded_scores_have_an_interval_that_knows_their_spread() {
        let small: Vec<f64> = (0..100).map(|i| if i % 2 == 0 { 0.01 } else { -0.01 }).collect();
        let difference = paired_difference(&[ClusterSums::singletons(&small)], RESAMPLING, "t").unwrap();
        assert!(difference.estimate.low.unwrap() > -0.003, "{difference:?}");
    }
}
