//! Quality with weights of the user's own: a weighted mean over tasks instead of the plain one.
//!
//! Interval: each task's own, put together by the method of variance estimates recovery (Zou and Donner 2008).

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::error::{Error, Result, nearest};
use crate::judge::analysis::draws::Draw;
use crate::judge::analysis::frame::{RequestKey, ScoredCase, VisitKey, arm_name};
use crate::judge::analysis::quality::{difference_in, score_in};
use crate::judge::analysis::run::Run;
use crate::judge::analysis::summary::Estimate;
use crate::judge::stats::{ClusterSums, joint_draws, mover, rng};
use crate::record::Name;
use crate::task::Weight;

/// Refuses names that are no primary task of the run.
pub(super) fn check_names(run: &Run<'_>, weights: &BTreeMap<String, f64>) -> Result<()> {
    let names: Vec<&str> = run
        .suite
        .tasks
        .iter()
        .map(|task| task.name.as_str())
        .filter(|task| run.weight(task) == Weight::Primary)
        .collect();
    for name in weights.keys() {
        if !names.iter().any(|task| is_named(task, name)) {
            let error = Error::usage(format!("no primary task `{name}` in this run"));
            return Err(match nearest(name, names.iter().copied()) {
                Some(near) => error.hint(format!("did you mean `{near}`?")),
                None => error.hint(format!("its primary tasks: {}", names.join(", "))),
            });
        }
    }
    if !weights.is_empty() && names.iter().all(|task| weight_of(weights, task) == 0.0) {
        return Err(Error::usage("every task has the weight 0").hint("leave one task with a weight above 0"));
    }
    Ok(())
}

/// A task is named by its whole name, or by what follows the last slash.
fn is_named(task: &str, name: &str) -> bool {
    task == name || task.rsplit('/').next() == Some(name)
}

fn weight_of(weights: &BTreeMap<String, f64>, task: &str) -> f64 {
    weights.iter().find(|(name, _)| is_named(task, name)).map_or(1.0, |(_, weight)| *weight)
}

/// Whether a task has a part in the quality.
pub(super) fn counts(weights: &BTreeMap<String, f64>, task: &str) -> bool {
    weight_of(weights, task) > 0.0
}

/// A weighted task (and arm) at one context length.
struct Stratum {
    task: String,
    arm: &'static str,
    weight: f64,
    clusters: BTreeMap<Name, usize>,
}

/// The weighted endpoint of one context length.
pub(super) struct Endpoint<'r, 'a> {
    run: &'r Run<'a>,
    context: u32,
    strata: Vec<Stratum>,
    /// By setting, in suite order; drawn together, which pairs them.
    draws: Vec<Vec<Draw>>,
}

/// Quality of one setting, weighted.
pub(super) struct Quality {
    pub(super) quality: Option<Estimate>,
    pub(super) difference: Option<Estimate>,
    pub(super) draws: Vec<Draw>,
    /// What it gains on cases that broke on the reference.
    pub(super) credit: f64,
    /// Weighted tasks (and arms) of which it has no case in common with the reference; then it has no quality.
    pub(super) not_comparable: Vec<String>,
}

impl<'r, 'a> Endpoint<'r, 'a> {
    /// Tasks with a weight, without those at which the reference scores 0 (they cannot show a loss).
    pub(super) fn new(run: &'r Run<'a>, context: u32, weights: &BTreeMap<String, f64>) -> Self {
        let mut endpoint = Self { run, context, strata: Vec::new(), draws: Vec::new() };
        for (task, arm) in run.task_arms(context) {
            let weight = weight_of(weights, task);
            if run.weight(task) == Weight::Primary && weight > 0.0 {
                let mut clusters = BTreeMap::new();
                let cases = run.journal.cases.iter();
                for case in cases.filter(|c| c.context == context && c.task == task && c.arm == arm) {
                    let next = clusters.len();
                    clusters.entry(case.cluster).or_insert(next);
                }
                endpoint.strata.push(Stratum { task: task.into(), arm: arm_name(arm), weight, clusters });
            }
        }
        let reference = endpoint.scores(&run.suite.reference().label);
        let mut can_lose = reference.iter().map(|sums| sums.mean().is_some_and(|mean| mean > 0.0));
        endpoint.strata.retain(|_| can_lose.next().unwrap_or_default());
        endpoint.draws = endpoint.draw();
        endpoint
    }

    pub(super) fn of(&self, setting: &str) -> Quality {
        let resampling = self.run.resampling;
        let scores = self.scores(setting);
        let score = |_: &Stratum, sums: &ClusterSums| {
            score_in(self.run.suite, std::slice::from_ref(sums), resampling, self.context)
        };
        let (changes, credits) = self.differences(setting);
        let not_comparable = self.missing(setting, &scores, &changes);
        if !not_comparable.is_empty() {
            let (quality, difference) = (None, None);
            return Quality { quality, difference, draws: Vec::new(), credit: 0.0, not_comparable };
        }
        let change = |stratum: &Stratum, sums: &ClusterSums| {
            let purpose = format!("pick {} {} {} {setting}", self.context, stratum.task, stratum.arm);
            let sums = std::slice::from_ref(sums);
            Some(difference_in(self.run.suite, sums, resampling, &purpose)?.estimate)
        };
        Quality {
            quality: self.combine(&scores, score),
            difference: self.combine(&changes, change),
            draws: self.draws_of(setting),
            credit: self.mean(&credits),
            not_comparable,
        }
    }

    /// The tasks that the setting cannot be compared on; by the rule of the report's quality.
    fn missing(&self, setting: &str, scores: &[ClusterSums], changes: &[ClusterSums]) -> Vec<String> {
        let has = |sums: &ClusterSums| sums.mean().is_some();
        if setting == self.run.suite.reference().label || !scores.iter().any(has) {
            return Vec::new();
        }
        let pairs = changes.iter().any(has);
        let missing = self.strata.iter().zip(scores).zip(changes);
        let missing = missing.filter(|((_, own), paired)| if pairs { !has(paired) } else { !has(own) });
        missing.map(|((stratum, _), _)| stratum.task.clone()).collect()
    }

    /// The weighted mean of plain figures.
    fn mean(&self, sums: &[ClusterSums]) -> f64 {
        let known = || self.strata.iter().zip(sums).filter_map(|(s, sums)| Some((s.weight, sums.mean()?)));
        let total: f64 = known().map(|(weight, _)| weight).sum();
        if total > 0.0 { known().map(|(weight, mean)| weight * mean).sum::<f64>() / total } else { 0.0 }
    }

    fn visit<'s>(&self, setting: &'s str) -> VisitKey<'s> {
        VisitKey { setting, context: self.context, replicate: 0 }
    }

    /// The setting's cases that the reference has too; all of its own where they have none in common.
    fn cases(&self, setting: &str) -> Vec<ScoredCase> {
        let mut cases = self.run.frame.cases(self.visit(setting));
        let reference = self.run.frame.cases(self.visit(&self.run.suite.reference().label));
        let theirs: HashSet<u32> = reference.iter().map(|case| case.number).collect();
        let shared = |case: &ScoredCase| theirs.contains(&case.number);
        if cases.iter().any(shared) {
            cases.retain(shared);
        }
        cases
    }

    fn scores(&self, setting: &str) -> Vec<ClusterSums> {
        let cases = self.cases(setting);
        self.sums(cases.iter().map(|case| (case, case.quality)))
    }

    /// The paired differences, and what of them comes from cases that broke on the reference.
    fn differences(&self, setting: &str) -> (Vec<ClusterSums>, Vec<ClusterSums>) {
        let (cases, reference) = (self.cases(setting), self.cases(&self.run.suite.reference().label));
        let theirs: HashMap<u32, &ScoredCase> = reference.iter().map(|case| (case.number, case)).collect();
        let pairs: Vec<(&ScoredCase, &ScoredCase)> =
            cases.iter().filter_map(|case| Some((case, *theirs.get(&case.number)?))).collect();
        let sums = |of: &dyn Fn(&ScoredCase, &ScoredCase) -> f64| {
            self.sums(pairs.iter().map(|(ours, theirs)| (*ours, of(ours, theirs))))
        };
        let change = |ours: &ScoredCase, theirs: &ScoredCase| ours.quality - theirs.quality;
        let credit = |ours: &ScoredCase, theirs: &ScoredCase| if theirs.broke { ours.quality } else { 0.0 };
        (sums(&change), sums(&credit))
    }

    fn sums<'i>(&self, cases: impl Iterator<Item = (&'i ScoredCase, f64)>) -> Vec<ClusterSums> {
        let mut all: Vec<ClusterSums> =
            self.strata.iter().map(|stratum| ClusterSums::new(stratum.clusters.len())).collect();
        for (case, value) in cases {
            let (RequestKey { task, arm, .. }, cluster) = self.run.frame.request(case);
            let place = self.strata.iter().position(|s| task == *s.task && arm == *s.arm);
            if let Some((at, &cluster)) =
                place.and_then(|at| Some((at, self.strata[at].clusters.get(&cluster)?)))
            {
                all[at].add(cluster, value);
            }
        }
        all
    }

    /// The weighted mean of the tasks' estimates; a task that was not scored has no part in it.
    fn combine(
        &self,
        sums: &[ClusterSums],
        estimate: impl Fn(&Stratum, &ClusterSums) -> Option<Estimate>,
    ) -> Option<Estimate> {
        let found: Vec<(f64, Estimate)> = self
            .strata
            .iter()
            .zip(sums)
            .filter_map(|(stratum, sums)| Some((stratum.weight, estimate(stratum, sums)?)))
            .collect();
        let total: f64 = found.iter().map(|(weight, _)| weight).sum();
        // MOVER takes the plain mean of its parts: each is scaled so that this becomes the weighted one.
        let scale = |weight: f64| weight * found.len() as f64 / total;
        let n = found.iter().map(|(_, estimate)| estimate.n).sum();
        let parts: Option<Vec<(f64, f64, f64)>> = found
            .iter()
            .map(|(weight, e)| {
                Some((scale(*weight) * e.value, scale(*weight) * e.low?, scale(*weight) * e.high?))
            })
            .collect();
        if let Some((value, low, high)) = parts.and_then(|parts| mover(&parts)) {
            return Some(Estimate { value, low: Some(low), high: Some(high), n });
        }
        let value = found.iter().map(|(weight, estimate)| weight * estimate.value).sum::<f64>() / total;
        (!found.is_empty()).then_some(Estimate { value, low: None, high: None, n })
    }

    fn draws_of(&self, setting: &str) -> Vec<Draw> {
        let place = self.run.suite.settings.iter().position(|known| known.label == setting);
        place.and_then(|at| self.draws.get(at)).cloned().unwrap_or_default()
    }

    /// The weighted mean of every setting in every draw; a task that was not scored has no part in it. All
    /// settings are drawn together, task by task.
    fn draw(&self) -> Vec<Vec<Draw>> {
        let resampling = self.run.resampling;
        let settings = &self.run.suite.settings;
        let scores: Vec<Vec<ClusterSums>> =
            settings.iter().map(|setting| self.scores(&setting.label)).collect();
        let mut totals = vec![vec![(0.0, 0.0); resampling.draws as usize]; settings.len()];
        for (at, stratum) in self.strata.iter().enumerate() {
            let columns: Vec<&[ClusterSums]> =
                scores.iter().map(|scores| std::slice::from_ref(&scores[at])).collect();
            let name = format!("pick {} {} {}", self.context, stratum.task, stratum.arm);
            let drawn = joint_draws(&columns, resampling.draws, &mut rng(resampling.seed, &name));
            for (totals, draws) in totals.iter_mut().zip(drawn) {
                for ((sum, weight), draw) in totals.iter_mut().zip(draws.smoothed) {
                    if let Some(mean) = draw {
                        *sum += mean * stratum.weight;
                        *weight += stratum.weight;
                    }
                }
            }
        }
        let mean = |(sum, weight): (f64, f64)| (weight > 0.0).then(|| sum / weight);
        totals.into_iter().map(|totals| totals.into_iter().map(mean).collect()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tasks_go_by_their_short_names_too() {
        assert!(is_named("retrieval/counting", "counting"));
        assert!(is_named("retrieval/counting", "retrieval/counting"));
        assert!(!is_named("retrieval/counting", "retrieval"));
        let weights = BTreeMap::from([("counting".to_owned(), 2.0)]);
        assert_eq!(weight_of(&weights, "retrieval/counting"), 2.0);
        assert_eq!(weight_of(&weights, "tools/arguments"), 1.0);
    }
}
