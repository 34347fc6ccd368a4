//! The same cases alone and under load.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::judge::analysis::quality::{Difference, Rule, mean_score, paired_difference};
use crate::judge::analysis::run::Run;
use crate::judge::analysis::summary::{Estimate, LoadQualityRow, Verdict};
use crate::judge::stats::{ClusterSums, holm};
use crate::record::capacity::CrowdAnswer;
use crate::record::journal::loadtest::LoadtestTrial;
use crate::record::suite::LoadQuality;
use crate::record::{Outcome, Reply, Stage, Trial};

/// Cases of a setting at a concurrency, by case.
type Asked<'a> = BTreeMap<&'a str, &'a Trial>;

/// Every setting at every concurrency, and alone once more, against alone.
pub(super) fn rows(run: &Run<'_>, quality: &LoadQuality) -> Vec<LoadQualityRow> {
    let comparison = Comparison::new(run, quality);
    let mut compared: Vec<Compared> = Vec::new();
    for setting in &run.suite.settings {
        let alone = comparison.alone(&setting.label);
        compared.extend(comparison.floor_row(&alone));
        let crowds = crowds(run, &setting.label);
        compared.extend(crowds.into_iter().filter_map(|streams| comparison.row(&alone, streams)));
    }
    judge(run, compared)
}

/// What the cases of a setting with so many under way came to; the same verdict as in [`rows`].
pub(super) fn crowd(run: &Run<'_>, quality: &LoadQuality, setting: &str, streams: u32) -> CrowdAnswer {
    let rounds = [(1, 0), (streams, 0), (1, 1)].map(|(streams, replicate)| {
        let trials = run.journal.load.trials.iter();
        trials.filter(move |asked| is_of(asked, setting, streams, replicate)).collect::<Vec<_>>()
    });
    if rounds.iter().any(|asked| asked.len() < quality.samples as usize) {
        return CrowdAnswer::Open;
    }
    let no_server =
        |asked: &LoadtestTrial| matches!(asked.trial.outcome, Outcome::Failed { stage: Stage::Launch, .. });
    if rounds.iter().flatten().any(|asked| no_server(asked)) {
        return CrowdAnswer::Unknown;
    }
    let comparison = Comparison::new(run, quality);
    let row = comparison.row(&comparison.alone(setting), streams);
    match judge(run, row.into_iter().collect()).first().map(|row| row.verdict) {
        Some(Verdict::Worse) => CrowdAnswer::Worse,
        _ => CrowdAnswer::Held,
    }
}

/// The crowds that cases of a setting were asked in: those of the suite, or those that a search came to.
fn crowds(run: &Run<'_>, setting: &str) -> Vec<u32> {
    let Some(load) = &run.suite.load else { return Vec::new() };
    if load.search.is_none() {
        return load.concurrencies().collect();
    }
    let of = run.journal.load.trials.iter().filter(|asked| asked.trial.key.setting == setting);
    let crowds: BTreeSet<u32> = of.map(|asked| asked.streams).filter(|streams| *streams > 1).collect();
    crowds.into_iter().collect()
}

/// What all comparisons under load have in common.
struct Comparison<'r, 'a> {
    run: &'r Run<'a>,
    quality: &'r LoadQuality,
    clusters: HashMap<&'a str, &'a str>,
}

/// The cases of a setting alone, twice.
struct Alone<'a, 's> {
    setting: &'s str,
    first: Asked<'a>,
    again: Asked<'a>,
    /// What answered ones differ by.
    floor: Option<Difference>,
}

impl<'a> Comparison<'_, 'a> {
    fn new<'r>(run: &'r Run<'a>, quality: &'r LoadQuality) -> Comparison<'r, 'a> {
        let cases = run.journal.cases.iter();
        let clusters = cases.map(|case| (case.id.as_str(), case.cluster.as_str())).collect();
        Comparison { run, quality, clusters }
    }

    fn alone<'s>(&self, setting: &'s str) -> Alone<'a, 's> {
        let (first, again) = (asked(self.run, setting, 1, 0), asked(self.run, setting, 1, 1));
        let purpose = format!("load alone {setting}");
        let floor = difference(self.run, &self.clusters, &answered(&first), &answered(&again), &purpose);
        Alone { setting, first, again, floor }
    }

    /// The noise floor, which is not judged.
    fn floor_row(&self, alone: &Alone<'a, '_>) -> Option<Compared> {
        if alone.again.is_empty() {
            return None;
        }
        let pair = (&alone.first, &alone.again);
        let row =
            blank(self.run, self.quality, (alone.setting, 1), &self.clusters, pair, alone.floor.as_ref());
        Some(Compared { row, found: None, credit: 0.0, room: 1.0, floor: None })
    }

    /// With so many under way; `None` when nothing was asked so.
    fn row(&self, alone: &Alone<'a, '_>, streams: u32) -> Option<Compared> {
        let loaded = asked(self.run, alone.setting, streams, 0);
        if loaded.is_empty() {
            return None;
        }
        let purpose = format!("load {streams} {}", alone.setting);
        let found = difference(self.run, &self.clusters, &alone.first, &loaded, &purpose);
        let pair = (&alone.first, &loaded);
        let of = (alone.setting, streams);
        let row = blank(self.run, self.quality, of, &self.clusters, pair, found.as_ref());
        let floor = alone.floor.as_ref().map(|floor| floor.absolute);
        let credit = credit(&alone.first, &loaded);
        Some(Compared { row, found, credit, room: room(&alone.first), floor })
    }
}

/// A row before it is judged.
struct Compared {
    row: LoadQualityRow,
    /// `None` for the noise floor, which is not judged.
    found: Option<Difference>,
    /// What the loaded ones gain on cases that broke alone, a share of all.
    credit: f64,
    /// What the cases score alone: the most that can be lost.
    room: f64,
    /// What the cases differ alone.
    floor: Option<f64>,
}

/// The verdicts, by the rule for settings: p-values are adjusted over all concurrencies (in a search over all that it may ask),
/// and nothing is called worse within what the cases differ alone.
fn judge(run: &Run<'_>, compared: Vec<Compared>) -> Vec<LoadQualityRow> {
    let p_values: Vec<f64> =
        compared.iter().filter_map(|one| one.found.as_ref().map(|found| found.p_value)).collect();
    let mut adjusted = adjusted(run, &p_values).into_iter();
    let judged = compared.into_iter().map(|Compared { mut row, found, credit, room, floor }| {
        let Some(found) = found else { return row };
        row.p_holm = adjusted.next();
        let level = 1.0 - run.suite.confidence;
        let rule = Rule { margin: run.suite.margin, floor, room, level, anytime: false };
        row.verdict = rule.verdict(Some(&found.estimate), row.p_holm, credit);
        row
    });
    judged.collect()
}

/// Holm's over what was asked. A search asks one crowd after the other, and what it made of one must not change with the
/// next: there every p-value is multiplied by the most that it may ask (Bonferroni).
fn adjusted(run: &Run<'_>, p_values: &[f64]) -> Vec<f64> {
    match run.suite.load.as_ref().and_then(|load| load.search) {
        None => holm(p_values),
        Some(search) => {
            let most = f64::from(search.most_crowds()) * run.suite.settings.len() as f64;
            p_values.iter().map(|p| (p * most).min(1.0)).collect()
        }
    }
}

fn is_of(asked: &LoadtestTrial, setting: &str, streams: u32, replicate: u32) -> bool {
    let key = &asked.trial.key;
    asked.streams == streams && key.setting == setting && key.replicate == replicate
}

fn asked<'a>(run: &Run<'a>, setting: &str, streams: u32, replicate: u32) -> Asked<'a> {
    let trials: &'a [LoadtestTrial] = &run.journal.load.trials;
    let here = trials.iter().filter(|asked| is_of(asked, setting, streams, replicate));
    // A case that could not be asked has no content of its own: the one of its place in the plan is meant.
    here.map(|asked| (run.case_of(&asked.trial), &asked.trial)).filter(|(case, _)| !case.is_empty()).collect()
}

/// The score; what broke counts as lost.
fn score(trial: &Trial) -> Option<f64> {
    trial.outcome.judged()
}

/// Those that did not break: the noise floor is what answers differ by.
fn answered<'a>(asked: &Asked<'a>) -> Asked<'a> {
    asked
        .iter()
        .filter(|(_, trial)| trial.outcome.score().is_some())
        .map(|(case, trial)| (*case, *trial))
        .collect()
}

/// The mean score of the cases that were asked alone.
fn room(alone: &Asked<'_>) -> f64 {
    let scores: Vec<f64> = alone.values().filter_map(|trial| score(trial)).collect();
    scores.iter().sum::<f64>() / scores.len().max(1) as f64
}

/// What the loaded ones gain on cases that broke alone, as a share of all pairs: it proves nothing.
fn credit(alone: &Asked<'_>, loaded: &Asked<'_>) -> f64 {
    let gain = |(case, trial): (&&str, &&Trial)| {
        let theirs = alone.get(*case)?;
        let (ours, _) = score(trial).zip(score(theirs))?;
        Some(if theirs.outcome.score().is_some() { 0.0 } else { ours })
    };
    let gains: Vec<f64> = loaded.iter().filter_map(gain).collect();
    gains.iter().sum::<f64>() / gains.len().max(1) as f64
}

fn difference(
    run: &Run<'_>,
    clusters: &HashMap<&str, &str>,
    alone: &Asked<'_>,
    loaded: &Asked<'_>,
    purpose: &str,
) -> Option<Difference> {
    let pairs: Vec<(&str, f64)> = loaded
        .iter()
        .filter_map(|(case, trial)| {
            let change = score(trial)? - score(alone.get(case)?)?;
            Some((clusters.get(case).copied().unwrap_or(case), change))
        })
        .collect();
    if pairs.is_empty() {
        return None;
    }
    let absolute = pairs.iter().map(|(_, change)| change.abs()).sum::<f64>() / pairs.len().max(1) as f64;
    let found = paired_difference(&[ClusterSums::of(pairs)], run.resampling, purpose)?;
    Some(Difference { absolute, ..found })
}

fn blank(
    run: &Run<'_>,
    quality: &LoadQuality,
    (setting, streams): (&str, u32),
    clusters: &HashMap<&str, &str>,
    (alone, loaded): (&Asked<'_>, &Asked<'_>),
    found: Option<&Difference>,
) -> LoadQualityRow {
    let scores = loaded
        .iter()
        .filter_map(|(case, trial)| Some((clusters.get(case).copied().unwrap_or(case), score(trial)?)));
    let unscored = loaded.values().find_map(|trial| match &trial.outcome {
        Outcome::Unscored { reason } => Some(reason.clone()),
        _ => None,
    });
    let failed = loaded.values().filter(|trial| matches!(trial.outcome, Outcome::Failed { .. }));
    LoadQualityRow {
        setting: setting.to_owned(),
        task: quality.task.clone(),
        arm: quality.arm,
        context: quality.context,
        streams,
        quality: mean(&ClusterSums::of(scores), run, quality.context),
        difference: found.map(|found| found.estimate),
        p_holm: None,
        verdict: if streams == 1 { Verdict::Reference } else { Verdict::NotMeasured },
        identical: identical(alone, loaded),
        failed: failed.count() as u32,
        unscored,
    }
}

fn mean(scores: &ClusterSums, run: &Run<'_>, context: u32) -> Option<Estimate> {
    scores.mean()?;
    mean_score(std::slice::from_ref(scores), run.resampling, context)
}

/// What a model said in a turn: text, reasoning, calls.
type Said<'a> = (&'a str, &'a str, Vec<(&'a str, &'a str)>);

fn said(reply: &Reply) -> Vec<Said<'_>> {
    reply
        .turns()
        .map(|turn| {
            let calls =
                turn.tool_calls.iter().map(|call| (call.name.as_str(), call.arguments.as_str())).collect();
            (turn.content.as_str(), turn.reasoning.as_str(), calls)
        })
        .collect()
}

fn identical(alone: &Asked<'_>, loaded: &Asked<'_>) -> Option<f64> {
    let pairs: Vec<bool> = loaded
        .iter()
        .filter_map(|(case, trial)| {
            Some(said(trial.reply.as_ref()?) == said(alone.get(case)?.reply.as_ref()?))
        })
        .collect();
    let same = pairs.iter().filter(|same| **same).count();
    (!pairs.is_empty()).then(|| same as f64 / pairs.len() as f64)
}
