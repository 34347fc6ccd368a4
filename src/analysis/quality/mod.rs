//! The primary endpoint: quality of a cell, its paired difference to the reference, and the verdict.
//!
//! The endpoint at a context length is the mean over the primary tasks (each arm of a tool task counts as
//! one) of the task's mean score. A task at which the reference scores 0 cannot show a loss and would only
//! dilute the others', so it is left out for every setting alike, and flagged.

use std::collections::BTreeMap;

use super::frame::{Visit, arm_name};
use super::stats::{ClusterSums, holm, rng, smoothed_draws, stratified_draws};
use super::summary::{AaSummary, CellSummary, Estimate, Verdict};
use super::{Measured, Run, pareto};
use crate::error::Result;
use crate::suite::Suite;
use crate::task::Weight;
use crate::trial::{Prompt, Reply, Trial};

mod interval;

use interval::mean_of_means;
pub(crate) use interval::{Difference, mean_score, paired_difference};

/// The items of one primary task (and arm) at one context length, by cluster.
#[derive(Debug, Clone)]
struct Stratum {
    task: String,
    arm: String,
    clusters: BTreeMap<String, usize>,
}

/// What is shared by all cells of a context length.
pub(crate) struct Level<'a> {
    pub(crate) context: u32,
    reference: &'a str,
    strata: Vec<Stratum>,
    /// Whether any task can show a loss; without, there is no difference to judge.
    comparable: bool,
    aa: Option<Difference>,
    aa_replies: Option<(u32, u32)>,
}

impl<'a> Level<'a> {
    pub(crate) fn new(run: &Run<'a>, context: u32) -> Result<Self> {
        let reference = run.suite.reference().label.as_str();
        let visits = [0, 1].map(|replicate| Visit { setting: reference, context, replicate });
        let all = strata(run, context);
        let items = run.frame.items(visits[0])?;
        let by_task = sums(&all, items.iter().map(|i| (&*i.task, &*i.arm, &*i.cluster, i.quality)));
        let shows_loss = |sums: &ClusterSums| sums.mean().is_some_and(|mean| mean > 0.0);
        let informative: Vec<Stratum> = all
            .iter()
            .zip(&by_task)
            .filter(|(_, sums)| shows_loss(sums))
            .map(|(stratum, _)| stratum.clone())
            .collect();
        let comparable = !informative.is_empty();
        let mut level = Self {
            context,
            reference,
            strata: if comparable { informative } else { all },
            comparable,
            aa: None,
            aa_replies: identical_replies(run, reference, context),
        };
        level.aa = level.difference(run, visits[1], "aa")?;
        Ok(level)
    }

    /// Fills in quality and difference of a cell; returns the difference for the verdict.
    pub(crate) fn measure(
        &self,
        run: &Run<'_>,
        cell: &mut CellSummary,
        draws: &mut pareto::Draws,
    ) -> Result<Option<Difference>> {
        let setting = cell.setting.clone();
        let visit = Visit { setting: &setting, context: self.context, replicate: 0 };
        let items = run.frame.items(visit)?;
        let sums = sums(&self.strata, items.iter().map(|i| (&*i.task, &*i.arm, &*i.cluster, i.quality)));
        cell.quality = mean_score(&sums, run.resampling, self.context);
        if cell.quality.is_some() {
            // The same stream for every cell: that pairs the draws. The coins are the cell's own.
            let clusters = || rng(run.resampling.seed, &format!("front items {}", self.context));
            let mut coins = rng(run.resampling.seed, &format!("front coins {} {setting}", self.context));
            let count = run.resampling.draws;
            draws.quality = stratified_draws(&sums, count, &mut clusters());
            draws.smoothed = smoothed_draws(&sums, count, &mut clusters(), &mut coins);
        }
        if setting == self.reference {
            return Ok(None);
        }
        let difference = self.difference(run, visit, &setting)?;
        cell.difference = difference.as_ref().map(|difference| difference.estimate);
        cell.mde = difference.as_ref().and_then(|difference| difference.mde);
        Ok(difference)
    }

    fn difference(&self, run: &Run<'_>, visit: Visit<'_>, name: &str) -> Result<Option<Difference>> {
        if !self.comparable {
            return Ok(None);
        }
        let reference = Visit { setting: self.reference, context: self.context, replicate: 0 };
        let pairs = run.frame.pairs(visit, reference)?;
        let change = pairs.iter().map(|p| (&*p.task, &*p.arm, &*p.cluster, p.quality - p.reference));
        let strata: Vec<ClusterSums> = sums(&self.strata, change);
        let size = pairs.iter().map(|p| (&*p.task, &*p.arm, &*p.cluster, (p.quality - p.reference).abs()));
        let sizes: Vec<ClusterSums> = sums(&self.strata, size);
        let differing = pairs.iter().filter(|pair| pair.quality != pair.reference).count();
        let purpose = format!("difference {} {name}", self.context);
        let mut difference = paired_difference(&strata, run.resampling, &purpose);
        if let Some(difference) = &mut difference {
            difference.absolute = mean_of_means(&sizes).unwrap_or_default();
            difference.discordance = differing as f64 / pairs.len() as f64;
        }
        Ok(difference)
    }

    /// The noise floor, once the reference ran twice.
    pub(crate) fn aa(&self, max_kld: Option<f64>) -> Option<AaSummary> {
        if self.aa.is_none() && self.aa_replies.is_none() && max_kld.is_none() {
            return None;
        }
        let (identical, replies) = self.aa_replies.unwrap_or_default();
        Some(AaSummary {
            context: self.context,
            pairs: self.aa.as_ref().map_or(0, |aa| aa.estimate.n),
            discordance: self.aa.as_ref().map_or(0.0, |aa| aa.discordance),
            floor: self.aa.as_ref().map_or(0.0, |aa| aa.absolute),
            identical_replies: f64::from(identical) / f64::from(replies.max(1)),
            difference: self.aa.as_ref().map(|aa| aa.estimate),
            max_kld,
        })
    }
}

/// Gives every cell of a context length its verdict; p-values are adjusted over these cells.
pub(crate) fn judge(cells: &mut [Measured], level: &Level<'_>, suite: &Suite) {
    let tested: Vec<usize> = (0..cells.len()).filter(|&i| cells[i].difference.is_some()).collect();
    let p_value = |&i: &usize| cells[i].difference.as_ref().map_or(1.0, |difference| difference.p_value);
    let adjusted = holm(&tested.iter().map(p_value).collect::<Vec<_>>());
    for (&index, p) in tested.iter().zip(adjusted) {
        cells[index].summary.p_holm = Some(p);
    }
    let rule = Rule {
        margin: suite.margin,
        floor: level.aa.as_ref().map(|aa| aa.absolute),
        level: 1.0 - suite.confidence,
    };
    for cell in cells {
        let summary = &mut cell.summary;
        summary.verdict = if summary.setting == level.reference && summary.void.is_none() {
            Verdict::Reference
        } else if summary.quality.is_none() {
            Verdict::NotMeasured
        } else {
            rule.verdict(summary.difference.as_ref(), summary.p_holm, missing(summary))
        };
    }
}

/// The rule of STATISTICS, point 4.
pub(crate) struct Rule {
    /// Non-inferiority margin (points of the 0..1 scale).
    pub(crate) margin: f64,
    /// Mean absolute difference of the A/A pair; `None`: it did not run, so nothing is called worse.
    pub(crate) floor: Option<f64>,
    /// Level of the adjusted test (0..1).
    pub(crate) level: f64,
}

impl Rule {
    /// `no_worse` when the whole interval lies above minus the margin; `worse` when it lies below zero, the
    /// difference is beyond the A/A floor, and the test holds over all cells; else not separable. A
    /// difference that is both (small, certain and within the margin) is `no_worse`.
    ///
    /// Pairs leave out items that broke, so `missing`, their share, is counted as lost before anything is
    /// called `no_worse`: a server that dies on the hard items must not look the better for it.
    pub(crate) fn verdict(
        &self,
        difference: Option<&Estimate>,
        p_holm: Option<f64>,
        missing: f64,
    ) -> Verdict {
        let Some(Estimate { value, low: Some(low), high: Some(high), .. }) = difference else {
            return Verdict::NotSeparable;
        };
        let beyond_floor = self.floor.is_some_and(|floor| value.abs() > floor);
        let significant = p_holm.is_some_and(|p| p <= self.level);
        if *low - missing > -self.margin {
            Verdict::NoWorse
        } else if *high < 0.0 && beyond_floor && significant {
            Verdict::Worse
        } else {
            Verdict::NotSeparable
        }
    }
}

/// Share of a cell's trials that broke.
fn missing(cell: &CellSummary) -> f64 {
    let all = cell.scored + cell.unscored + cell.failed;
    f64::from(cell.failed) / f64::from(all.max(1))
}

/// The primary tasks and arms of a context length, with the clusters of their cases.
fn strata(run: &Run<'_>, context: u32) -> Vec<Stratum> {
    let task_arms = run.task_arms(context).into_iter();
    let primary = task_arms.filter(|(task, _)| run.weight(task) == Weight::Primary);
    primary
        .map(|(task, arm)| {
            let mut clusters = BTreeMap::new();
            let cases = run.journal.cases.iter();
            for case in cases.filter(|c| c.context == context && c.task == task && c.arm == arm) {
                let next = clusters.len();
                clusters.entry(case.cluster.clone()).or_insert(next);
            }
            Stratum { task: task.into(), arm: arm_name(arm).into(), clusters }
        })
        .collect()
}

/// Adds items (task, arm, cluster, value) up by stratum and cluster; items of other strata are left out.
fn sums<'i>(
    strata: &[Stratum],
    items: impl Iterator<Item = (&'i str, &'i str, &'i str, f64)>,
) -> Vec<ClusterSums> {
    let mut all: Vec<ClusterSums> = strata.iter().map(|s| ClusterSums::new(s.clusters.len())).collect();
    for (task, arm, cluster, value) in items {
        let found = strata.iter().position(|stratum| stratum.task == task && stratum.arm == arm);
        let place = found.and_then(|at| Some((at, *strata[at].clusters.get(cluster)?)));
        if let Some((at, cluster)) = place {
            all[at].add(cluster, value);
        }
    }
    all
}

/// How many chat replies of the reference's two visits are byte-identical, of how many.
fn identical_replies(run: &Run<'_>, reference: &str, context: u32) -> Option<(u32, u32)> {
    let mut first: BTreeMap<&str, &Trial> = BTreeMap::new();
    let mut second = Vec::new();
    let chats: BTreeMap<&str, bool> = run
        .journal
        .cases
        .iter()
        .map(|case| (case.id.as_str(), matches!(case.prompt, Prompt::Chat { .. })))
        .collect();
    let of_cell = |trial: &&Trial| trial.key.setting == reference && trial.key.context == context;
    for trial in run.journal.trials.iter().filter(of_cell) {
        if trial.reply.is_none() || chats.get(trial.case.as_str()) != Some(&true) {
            continue;
        }
        match trial.key.replicate {
            0 => drop(first.insert(&trial.case, trial)),
            _ => second.push(trial),
        }
    }
    let turn = |reply: &Reply| {
        let calls: Vec<_> =
            reply.tool_calls.iter().map(|call| (call.name.clone(), call.arguments.clone())).collect();
        (reply.content.clone(), reply.reasoning.clone(), calls)
    };
    let text = |trial: &Trial| -> Vec<_> { trial.reply.iter().flat_map(Reply::turns).map(turn).collect() };
    let pairs: Vec<bool> = second
        .iter()
        .filter_map(|trial| Some(text(trial) == text(first.get(trial.case.as_str())?)))
        .collect();
    let identical = pairs.iter().filter(|same| **same).count();
    (!pairs.is_empty()).then_some((identical as u32, pairs.len() as u32))
}

#[cfg(test)]
mod tests {
    use super::super::Resampling;
    use super::*;

    const RESAMPLING: Resampling = Resampling { seed: 1, draws: 1000, confidence: 0.95 };

    fn singletons(values: &[f64]) -> ClusterSums {
        let mut sums = ClusterSums::new(values.len());
        values.iter().enumerate().for_each(|(at, value)| sums.add(at, *value));
        sums
    }

    fn rule(floor: Option<f64>) -> Rule {
        Rule { margin: 0.02, floor, level: 0.05 }
    }

    fn interval(value: f64, low: f64, high: f64) -> Estimate {
        Estimate { value, low: Some(low), high: Some(high), n: 100 }
    }

    #[test]
    fn verdicts_follow_the_rule() {
        let rule = rule(Some(0.03));
        let verdict = |value, low, high, p| rule.verdict(Some(&interval(value, low, high)), Some(p), 0.0);
        assert_eq!(verdict(0.0, -0.01, 0.01, 1.0), Verdict::NoWorse);
        assert_eq!(verdict(-0.10, -0.15, -0.05, 0.001), Verdict::Worse);
        assert_eq!(verdict(-0.10, -0.25, 0.05, 0.2), Verdict::NotSeparable);
        assert_eq!(verdict(-0.025, -0.04, -0.01, 0.001), Verdict::NotSeparable, "within the A/A floor");
        assert_eq!(verdict(-0.10, -0.15, -0.05, 0.06), Verdict::NotSeparable, "not over all cells");
        assert_eq!(rule.verdict(None, None, 0.0), Verdict::NotSeparable);
    }

    #[test]
    fn items_that_broke_count_as_lost() {
        let equal = interval(0.0, -0.01, 0.01);
        assert_eq!(rule(Some(0.0)).verdict(Some(&equal), Some(1.0), 0.05), Verdict::NotSeparable);
    }

    #[test]
    fn without_an_aa_pair_nothing_is_called_worse() {
        let worse = interval(-0.5, -0.6, -0.4);
        assert_eq!(rule(None).verdict(Some(&worse), Some(0.0), 0.0), Verdict::NotSeparable);
    }

    #[test]
    fn equal_scores_on_few_items_prove_nothing() {
        for (n, proven) in [(4, false), (60, false), (188, false), (200, true)] {
            let difference = paired_difference(&[singletons(&vec![0.0; n])], RESAMPLING, "t").unwrap();
            assert_eq!(difference.estimate.value, 0.0);
            let verdict = rule(Some(0.0)).verdict(Some(&difference.estimate), Some(1.0), 0.0);
            assert_eq!(verdict == Verdict::NoWorse, proven, "{n} pairs: {difference:?}");
        }
    }
}
