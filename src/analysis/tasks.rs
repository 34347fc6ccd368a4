//! Results task by task, by depth, and what broke.

use std::collections::{BTreeMap, HashMap};

use super::frame::{Scored, Visit};
use super::quality::mean_score;
use super::stats::{ClusterSums, wilson};
use super::summary::{DepthRow, Estimate, FailureRow, TaskRow};
use super::{Resampling, Run};
use crate::error::Result;
use crate::journal::Journal;
use crate::task::Weight;
use crate::trial::{Arm, Outcome, Part};

/// Above this mean score of the reference a task is too easy to show much.
const CEILING: f64 = 0.97;

/// Depth bins of scored tasks: quarters of the context.
const DEPTH_BINS: u32 = 4;

/// Every task and arm on every cell, by context, in suite order.
pub(crate) fn rows(run: &Run<'_>) -> Result<Vec<TaskRow>> {
    let mut rows = Vec::new();
    for &context in &run.suite.contexts {
        for (task, arm) in run.task_arms(context) {
            let start = rows.len();
            for setting in &run.suite.settings {
                rows.push(row(run, (task, arm), &setting.label, context)?);
            }
            let on_reference = rows[start].quality.map(|quality| quality.value);
            let uninformative = on_reference.is_some_and(|mean| mean > CEILING || mean <= 0.0);
            rows[start..].iter_mut().for_each(|row| row.uninformative = uninformative);
        }
    }
    Ok(rows)
}

fn row(run: &Run<'_>, (task, arm): (&str, Option<Arm>), setting: &str, context: u32) -> Result<TaskRow> {
    let visit = Visit { setting, context, replicate: 0 };
    let scored = run.frame.scored(visit, task, arm)?;
    let mut row = TaskRow {
        task: task.into(),
        arm,
        setting: setting.into(),
        context,
        sanity: run.weight(task) != Weight::Primary,
        quality: estimate(&scored, run.resampling, context),
        uninformative: false,
        labels: BTreeMap::new(),
        scored: 0,
        unscored: BTreeMap::new(),
        failed: 0,
    };
    let here = run.trials(visit).iter().filter(|trial| trial.key.task == task && trial.key.arm == arm);
    for trial in here {
        match &trial.outcome {
            Outcome::Scored(score) => {
                row.scored += 1;
                if let Some(label) = &score.label {
                    *row.labels.entry(label.clone()).or_default() += 1;
                }
            }
            Outcome::Unscored { reason } => *row.unscored.entry(reason.clone()).or_default() += 1,
            Outcome::Failed { .. } => row.failed += 1,
        }
    }
    Ok(row)
}

/// Wilson's interval for independent pass/fail scores, the cell's procedure for others.
fn estimate(scored: &[Scored], resampling: Resampling, context: u32) -> Option<Estimate> {
    let sums = ClusterSums::of(scored.iter().map(|item| (item.cluster.as_str(), item.quality)));
    let pass_fail = scored.iter().all(|item| item.quality == 0.0 || item.quality == 1.0);
    if pass_fail && sums.counts.len() == scored.len() {
        let right = scored.iter().map(|item| item.quality).sum::<f64>();
        let n = scored.len() as f64;
        let (low, high) = wilson(right, n, resampling.confidence)?;
        return Some(Estimate { value: right / n, low: Some(low), high: Some(high), n: n as u32 });
    }
    mean_score(&[sums], resampling, context)
}

/// Scores with the place of what they are about, by task, arm and setting.
type Places<'a> = BTreeMap<(&'a str, Option<Arm>, &'a str), Vec<Part>>;

/// Mean scores by quarter of the context, for tasks whose answers have a place. An answer of several parts counts
/// part by part, each where it lies.
pub(crate) fn depths(run: &Run<'_>, context: u32) -> Vec<DepthRow> {
    let places = places(run, context);
    let mut rows = Vec::new();
    for (task, arm) in run.task_arms(context) {
        for setting in &run.suite.settings {
            let Some(parts) = places.get(&(task, arm, setting.label.as_str())) else { continue };
            let visit = Visit { setting: &setting.label, context, replicate: 0 };
            rows.extend((0..DEPTH_BINS).filter_map(|bin| depth_row(parts, task, visit, bin)));
        }
    }
    rows
}

fn places<'a>(run: &Run<'a>, context: u32) -> Places<'a> {
    let depths: HashMap<&str, f64> =
        run.journal.cases.iter().filter_map(|case| Some((case.id.as_str(), case.depth?))).collect();
    let mut places = Places::new();
    for trial in &run.journal.trials {
        let key = &trial.key;
        let counts = key.context == context
            && key.replicate == 0
            && !run.void.contains_key(&(key.setting.as_str(), context));
        let Some(score) = trial.outcome.score().filter(|_| counts) else { continue };
        let whole = depths.get(trial.case.as_str()).zip(score.quality);
        let whole = whole.map(|(&depth, quality)| Part { depth, quality });
        let parts = places.entry((&key.task, key.arm, &key.setting)).or_default();
        parts.extend(if score.parts.is_empty() { whole.as_slice() } else { &score.parts });
    }
    places
}

fn depth_row(parts: &[Part], task: &str, visit: Visit<'_>, bin: u32) -> Option<DepthRow> {
    let edge = |bin: u32| f64::from(bin) / f64::from(DEPTH_BINS);
    let (from, to) = (edge(bin), edge(bin + 1));
    let last = bin + 1 == DEPTH_BINS;
    let inside = |part: &&Part| from <= part.depth && (part.depth < to || last && part.depth <= to);
    let items: Vec<f64> = parts.iter().filter(inside).map(|part| part.quality).collect();
    (!items.is_empty()).then(|| DepthRow {
        task: task.into(),
        setting: visit.setting.into(),
        context: visit.context,
        from,
        to,
        value: items.iter().sum::<f64>() / items.len() as f64,
        n: items.len() as u32,
    })
}

/// Trials that broke, in the order they ended.
pub(crate) fn failures(journal: &Journal) -> Vec<FailureRow> {
    let failed = journal.trials.iter().filter_map(|trial| match &trial.outcome {
        Outcome::Failed { stage, error } => Some((trial, stage, error)),
        _ => None,
    });
    failed
        .map(|(trial, stage, error)| FailureRow {
            setting: trial.key.setting.clone(),
            context: trial.key.context,
            task: trial.key.task.clone(),
            index: trial.key.index,
            stage: *stage,
            error: error.clone(),
        })
        .collect()
}
