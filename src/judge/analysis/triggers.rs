//! A user's own requests: does a setting call tools where the reference does, and validly?
//!
//! A call that the server left in the text reached nobody: the setting did not call. That the reference meant to call
//! there is the truth all the same, so that a setting whose calls arrive is not blamed for them.

use std::collections::{BTreeMap, HashMap};

use super::frame::VisitKey;
use super::run::Run;
use super::summary::{Estimate, TriggerRow};
use crate::judge::stats::{Part, nested_mean_draws, percentile_interval, rng};
use crate::record::suite::TaskSpec;
use crate::record::{Reply, Trial};
use crate::task::Comparison;
use crate::task::tools::fault::Fault;

/// Every setting that answered requests which the reference answered too, by context, in suite order.
pub(crate) fn rows(run: &Run<'_>) -> Vec<TriggerRow> {
    let asking = asking(run);
    if asking.is_empty() {
        return Vec::new();
    }
    let reference = run.suite.reference().label.as_str();
    let mut rows = Vec::new();
    for &context in &run.suite.contexts {
        let truth = answered(run, &asking, (reference, 0), context);
        for setting in &run.suite.settings {
            let label = setting.label.as_str();
            let replicate = u32::from(label == reference);
            let ours = answered(run, &asking, (label, replicate), context);
            rows.extend(row(run, (label, context), &ours, &truth));
        }
    }
    rows
}

/// The suite's tasks that ask whether tools are called, and how they tell.
fn asking<'a>(run: &Run<'a>) -> HashMap<&'a str, Calls> {
    let of_task = |spec: &'a TaskSpec| match run.tasks.comparison(&spec.name) {
        Comparison::Calls(calls) => Some((spec.name.as_str(), calls)),
        _ => None,
    };
    run.suite.tasks.iter().filter_map(of_task).collect()
}

/// Whether a reply calls tools.
type Calls = fn(&Reply) -> bool;

/// An answered request.
struct Answered<'a> {
    trial: &'a Trial,
    called: bool,
}

/// The answered requests of a visit by case; none where the cell does not count.
fn answered<'a>(
    run: &Run<'a>,
    asking: &HashMap<&str, Calls>,
    (setting, replicate): (&str, u32),
    context: u32,
) -> BTreeMap<&'a str, Answered<'a>> {
    if run.void.contains_key(&(setting, context)) {
        return BTreeMap::new();
    }
    let answer = |trial: &'a Trial| {
        // Of requests that were asked several times the first replies are compared.
        if trial.key.repeat > 0 {
            return None;
        }
        let calls = asking.get(trial.key.task.as_str())?;
        trial.outcome.score()?;
        Some((trial.case.as_str(), Answered { trial, called: calls(trial.reply.as_deref()?) }))
    };
    run.trials(VisitKey { setting, context, replicate }).filter_map(answer).collect()
}

fn row(
    run: &Run<'_>,
    (setting, context): (&str, u32),
    ours: &BTreeMap<&str, Answered<'_>>,
    truth: &BTreeMap<&str, Answered<'_>>,
) -> Option<TriggerRow> {
    let leaked = |answered: &Answered<'_>| {
        let label = answered.trial.outcome.score().and_then(|score| score.label.as_deref());
        label == Some(Fault::LeakedToContent.name())
    };
    let pairs: Vec<(&Answered<'_>, &Answered<'_>)> =
        ours.iter().filter_map(|(case, ours)| Some((ours, truth.get(case)?))).collect();
    let outcomes: Vec<(bool, bool)> =
        pairs.iter().map(|(ours, theirs)| (ours.called, theirs.called || leaked(theirs))).collect();
    let count = |outcome| outcomes.iter().filter(|seen| **seen == outcome).count() as u32;
    let sum = |name: &str| {
        let figure = |ours: &Answered<'_>| ours.trial.outcome.score()?.metrics.get(name).copied();
        pairs.iter().filter_map(|(ours, _)| figure(ours)).sum::<f64>() as u32
    };
    (!pairs.is_empty()).then(|| TriggerRow {
        setting: setting.into(),
        context,
        cases: pairs.len() as u32,
        both: count((true, true)),
        only_setting: count((true, false)),
        only_reference: count((false, true)),
        f1: f1(run, context, &outcomes),
        leaked: pairs.iter().filter(|(ours, _)| leaked(ours)).count() as u32,
        reference_leaked: pairs.iter().filter(|(_, theirs)| leaked(theirs)).count() as u32,
        calls: sum("calls"),
        valid_calls: sum("valid_calls"),
    })
}

/// F1 = 2 both / (2 both + only one of them): a mean over requests of 1 (both) or 0 (one), weighted 2 and 1.
fn f1(run: &Run<'_>, context: u32, outcomes: &[(bool, bool)]) -> Option<Estimate> {
    let part = |(ours, theirs): &(bool, bool)| Part {
        mean: f64::from(u8::from(*ours && *theirs)),
        count: f64::from(u8::from(*ours) + u8::from(*theirs)),
    };
    let parts: Vec<Part> = outcomes.iter().map(part).collect();
    let weight: f64 = parts.iter().map(|part| part.count).sum();
    if weight == 0.0 {
        return None;
    }
    let value = parts.iter().map(|part| part.mean * part.count).sum::<f64>() / weight;
    // The same stream for every setting: the draws are paired.
    let mut stream = rng(run.resampling.seed, &format!("triggers {context}"));
    let draws = nested_mean_draws(&[parts], run.resampling.draws, &mut stream);
    let interval = percentile_interval(draws, run.resampling.confidence).filter(|_| outcomes.len() > 1);
    Some(Estimate {
        value,
        low: interval.map(|(low, _)| low),
        high: interval.map(|(_, high)| high),
        n: outcomes.len() as u32,
    })
}
