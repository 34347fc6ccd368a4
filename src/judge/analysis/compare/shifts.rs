//! Figures whose difference between two runs says more than their ratio: distances, and shares that are often 0.

use std::collections::{BTreeMap, BTreeSet};

use super::compared::Shift;
use super::pair::Pair;
use crate::judge::analysis::kld::Comparison;
use crate::judge::analysis::run::Run;
use crate::judge::analysis::summary::Estimate;
use crate::judge::analysis::{LEAKED, kld};
use crate::judge::stats::{Interval, percentile_interval, wilson};
use crate::record::{Case, Outcome, Trial};

/// The KLD of both runs, by context length.
pub(super) struct Klds {
    of: BTreeMap<u32, (Comparison, Comparison)>,
}

impl Klds {
    pub(super) fn of(runs: &Pair<'_>, cells: &[(&str, u32)]) -> Self {
        let contexts: BTreeSet<u32> = cells.iter().map(|(_, context)| *context).collect();
        let both = |context| (context, (kld::compare(&runs.a, context), kld::compare(&runs.b, context)));
        let alike = |context: &u32| windows(&runs.a, *context) == windows(&runs.b, *context);
        Self { of: contexts.into_iter().filter(alike).map(both).collect() }
    }

    /// The change of a cell's mean KLD, of the same windows of text: then the draws of both runs are pairs. The reference's
    /// distance from itself is no figure.
    pub(super) fn shift(&self, runs: &Pair<'_>, setting: &str, context: u32) -> Option<Shift> {
        let is_reference = |run: &Run<'_>| run.suite.reference().label == setting;
        if is_reference(&runs.a) || is_reference(&runs.b) {
            return None;
        }
        let (of_a, of_b) = self.of.get(&context)?;
        let ((a, draws_a), (b, draws_b)) = (of_a.cells.get(setting)?, of_b.cells.get(setting)?);
        let draws = draws_a.iter().zip(draws_b).filter_map(|(a, b)| Some((*b)? - (*a)?));
        let known = a.mean.low.is_some() && b.mean.low.is_some();
        let interval = percentile_interval(draws, runs.resampling().confidence).filter(|_| known);
        Some(shift(a.mean.value, b.mean.value, interval, a.mean.n.min(b.mean.n)))
    }
}

/// The texts that are compared at a context length.
fn windows<'a>(run: &Run<'a>, context: u32) -> BTreeSet<&'a str> {
    let compares =
        |case: &&Case| case.context == context && run.tasks.comparison(&case.task).is_of_distributions();
    run.journal.cases.iter().filter(compares).map(|case| case.id.as_str()).collect()
}

/// The change of the share of replies to tool tasks whose calls stand in the text.
pub(super) fn leaked(runs: &Pair<'_>, setting: &str, context: u32) -> Option<Shift> {
    let leaks = |trial: &Trial| {
        let score = trial.outcome.score()?;
        let leaked = score.label.as_deref() == Some(LEAKED);
        (trial.key.arm.is_some() || leaked).then_some(leaked)
    };
    of_shares(runs, setting, context, leaks)
}

/// The change of the share of trials that broke.
pub(super) fn failed(runs: &Pair<'_>, setting: &str, context: u32) -> Option<Shift> {
    of_shares(runs, setting, context, |trial| Some(matches!(trial.outcome, Outcome::Failed { .. })))
}

fn of_shares(
    runs: &Pair<'_>,
    setting: &str,
    context: u32,
    counts: impl Fn(&Trial) -> Option<bool>,
) -> Option<Shift> {
    let count = |run: &Run<'_>| {
        let here = |trial: &&Trial| {
            trial.key.setting == setting && trial.key.context == context && trial.key.replicate == 0
        };
        let counted = run.journal.trials.iter().filter(here).filter_map(&counts);
        counted.fold((0_u32, 0_u32), |(hits, all), hit| (hits + u32::from(hit), all + 1))
    };
    let (a, b) = (count(&runs.a), count(&runs.b));
    if a.1 == 0 || b.1 == 0 {
        return None;
    }
    let share = |(hits, all): (u32, u32)| f64::from(hits) / f64::from(all);
    let interval = newcombe(a, b, runs.resampling().confidence);
    Some(shift(share(a), share(b), interval, a.1.min(b.1)))
}

fn shift(a: f64, b: f64, interval: Option<Interval>, n: u32) -> Shift {
    let (low, high) = (interval.map(|(low, _)| low), interval.map(|(_, high)| high));
    Shift { a, b, difference: Estimate { value: b - a, low, high, n } }
}

/// Interval of the difference of two independent rates, `b` minus `a`, each given as hits of all. Of the same cases it
/// is too wide rather than too narrow.
///
/// Formula: Newcombe (1998), "Interval estimation for the difference between independent proportions", method 10: the
/// square-and-add of the two Wilson intervals.
fn newcombe(a: (u32, u32), b: (u32, u32), confidence: f64) -> Option<Interval> {
    let rate = |(hits, all): (u32, u32)| f64::from(hits) / f64::from(all);
    let of = |(hits, all): (u32, u32)| wilson(f64::from(hits), f64::from(all), confidence);
    let ((low_a, high_a), (low_b, high_b)) = (of(a)?, of(b)?);
    let difference = rate(b) - rate(a);
    let below = (rate(b) - low_b).hypot(high_a - rate(a));
    let above = (high_b - rate(b)).hypot(rate(a) - low_a);
    Some((difference - below, difference + above))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::stats::close;

    #[test]
    fn the_difference_of_two_rates_has_newcombes_interval() {
        // Newcombe (1998), table II, method 10: 56/70 - 48/80 is 0.2 [0.0524, 0.3339]; 0/10 and 10/10 stay within 1.
        let (low, high) = newcombe((48, 80), (56, 70), 0.95).unwrap();
        close(low, 0.0524, 1e-4);
        close(high, 0.3339, 1e-4);
        let (low, high) = newcombe((0, 10), (10, 10), 0.95).unwrap();
        close(high, 1.0, 1e-9);
        assert!(low > 0.6, "{low}");
    }
}
