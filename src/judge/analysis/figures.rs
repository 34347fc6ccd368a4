//! The figures that tasks name for the report: means of every setting, beside the reference's on the same cases.

use std::collections::BTreeMap;

use super::frame::VisitKey;
use super::run::Run;
use super::summary::{Estimate, FigureRow};
use crate::judge::stats::{Interval, student, tango, wilson};
use crate::record::{Arm, Case, Trial};

/// Figures of a visit's trials of a task, by case.
type Figures<'a> = BTreeMap<&'a str, BTreeMap<String, f64>>;

/// The rows of one context length, in suite order; the reference's second visit behind its first.
pub(crate) fn rows(run: &Run<'_>, context: u32) -> Vec<FigureRow> {
    let reference = VisitKey { setting: &run.suite.reference().label, context, replicate: 0 };
    let others = run.suite.settings.iter().map(|setting| setting.label.as_str());
    let others = others.filter(|label| *label != reference.setting);
    let visits: Vec<VisitKey<'_>> = [reference, VisitKey { replicate: 1, ..reference }]
        .into_iter()
        .chain(others.map(|setting| VisitKey { setting, ..reference }))
        .collect();
    let asks = |(task, _): &(&str, Option<Arm>)| !run.tasks.figures(task).is_empty();
    let tasks = run.task_arms(context).into_iter().filter(asks);
    tasks.flat_map(|task_arm| task_rows(run, task_arm, &visits)).collect()
}

fn task_rows(run: &Run<'_>, (task, arm): (&str, Option<Arm>), visits: &[VisitKey<'_>]) -> Vec<FigureRow> {
    let of_task = |visit: &VisitKey<'_>| figures(run, (task, arm), *visit, visits[0]);
    let by_visit: Vec<Figures<'_>> = visits.iter().map(of_task).collect();
    let mut rows = Vec::new();
    for figure in run.tasks.figures(task) {
        for (visit, figures) in visits.iter().zip(&by_visit) {
            let values: Vec<f64> = figures.values().filter_map(|of| of.get(*figure)).copied().collect();
            let Some(value) = mean(&values, run.resampling.confidence) else { continue };
            let is_first = visit.setting == visits[0].setting && visit.replicate == 0;
            let pairs = pairs(figures, &by_visit[0], figure);
            rows.push(FigureRow {
                task: task.into(),
                arm,
                figure: (*figure).into(),
                setting: visit.setting.into(),
                context: visit.context,
                replicate: visit.replicate,
                value,
                difference: difference(&pairs, run.resampling.confidence).filter(|_| !is_first),
            });
        }
    }
    rows
}

/// What the score says of each reply, and what it is beside the reference's.
fn figures<'a>(
    run: &Run<'a>,
    (task, arm): (&str, Option<Arm>),
    visit: VisitKey<'_>,
    reference: VisitKey<'_>,
) -> Figures<'a> {
    let cases: BTreeMap<&str, &Case> =
        run.journal.cases.iter().map(|case| (case.id.as_str(), case)).collect();
    let theirs = run.scored(reference);
    let ours = run.scored(visit).into_iter();
    let ours = ours.filter(|(_, trial)| trial.key.task == task && trial.key.arm == arm);
    let mut further = further(run, (task, arm), visit);
    let beside = |id: &str, trial: &Trial| {
        let (case, reference) = (cases.get(id)?, theirs.get(id)?);
        Some(run.tasks.comparison(task).figures(case, trial.reply.as_ref()?, reference.reply.as_ref()?))
    };
    let all = |(id, trial): (&'a str, &'a Trial)| {
        let own = trial.outcome.score().map(|score| score.metrics.clone());
        let mut all = own.unwrap_or_default().taken();
        all.extend(beside(id, trial).unwrap_or_default());
        all.retain(|_, value| value.is_finite());
        (id, all)
    };
    let mut found: Figures<'a> = ours.map(all).collect();
    for (case, replies) in &mut further {
        let first = found.remove(case);
        replies.extend(first);
        found.insert(*case, means(replies));
    }
    found
}

/// What the scores of further replies to cases say that were asked several times.
fn further<'a>(
    run: &Run<'a>,
    (task, arm): (&str, Option<Arm>),
    visit: VisitKey<'_>,
) -> BTreeMap<&'a str, Vec<BTreeMap<String, f64>>> {
    let mut further: BTreeMap<&'a str, Vec<BTreeMap<String, f64>>> = BTreeMap::new();
    if run.suite.repeats_of(task) <= 1 || run.void.contains_key(&(visit.setting, visit.context)) {
        return further;
    }
    for trial in run.trials(visit).filter(|trial| trial.key.task == task && trial.key.arm == arm) {
        if let Some(score) = trial.outcome.score().filter(|_| trial.key.repeat > 0) {
            let mut own = score.metrics.clone().taken();
            own.retain(|_, value| value.is_finite());
            further.entry(trial.case.as_str()).or_default().push(own);
        }
    }
    further
}

/// The mean of every figure over the replies that have it.
fn means(replies: &[BTreeMap<String, f64>]) -> BTreeMap<String, f64> {
    let mut sums: BTreeMap<&String, (f64, f64)> = BTreeMap::new();
    for (name, value) in replies.iter().flatten() {
        let (sum, count) = sums.entry(name).or_default();
        (*sum, *count) = (*sum + value, *count + 1.0);
    }
    sums.into_iter().map(|(name, (sum, count))| (name.clone(), sum / count)).collect()
}

/// The figure here and on the reference, where both have it.
fn pairs(ours: &Figures<'_>, theirs: &Figures<'_>, figure: &str) -> Vec<(f64, f64)> {
    let pair = |(case, of): (&&str, &BTreeMap<String, f64>)| {
        Some((*of.get(figure)?, *theirs.get(case)?.get(figure)?))
    };
    ours.iter().filter_map(pair).collect()
}

fn is_flag(value: f64) -> bool {
    value == 0.0 || value == 1.0
}

fn estimate(numbers: &[f64], interval: Option<Interval>) -> Option<Estimate> {
    let n = numbers.len();
    (n > 0).then(|| Estimate {
        value: numbers.iter().sum::<f64>() / n as f64,
        low: interval.map(|(low, _)| low),
        high: interval.map(|(_, high)| high),
        n: n as u32,
    })
}

/// Mean of a figure, with Wilson's interval where all are 0 or 1, else Student's; `None` without any.
pub(super) fn mean(values: &[f64], confidence: f64) -> Option<Estimate> {
    let interval = if values.iter().all(|value| is_flag(*value)) {
        wilson(values.iter().sum(), values.len() as f64, confidence)
    } else {
        student(values, confidence)
    };
    estimate(values, interval)
}

/// A mean of shares (0..1); Student's interval knows nothing of their range.
pub(super) fn share(values: &[f64], confidence: f64) -> Option<Estimate> {
    let within = |end: Option<f64>| end.map(|end| end.clamp(0.0, 1.0));
    let mean = mean(values, confidence)?;
    Some(Estimate { low: within(mean.low), high: within(mean.high), ..mean })
}

/// Mean difference of pairs, with Tango's interval where all are 0 or 1, else Student's; `None` without any.
pub(super) fn difference(pairs: &[(f64, f64)], confidence: f64) -> Option<Estimate> {
    let differences: Vec<f64> = pairs.iter().map(|(ours, theirs)| ours - theirs).collect();
    let interval = if pairs.iter().all(|(ours, theirs)| is_flag(*ours) && is_flag(*theirs)) {
        let count = |sign: f64| differences.iter().filter(|difference| **difference == sign).count() as f64;
        tango(count(1.0), count(-1.0), pairs.len() as f64, confidence)
    } else {
        student(&differences, confidence)
    };
    estimate(&differences, interval)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::stats::close;

    #[test]
    fn flags_have_intervals_of_rates_and_others_of_means() {
        let flags = mean(&[1.0, 0.0, 0.0, 0.0], 0.95).unwrap();
        assert_eq!((flags.value, flags.n), (0.25, 4));
        assert!(flags.low.unwrap() > 0.0 && flags.high.unwrap() < 0.75);
        let graded = mean(&[1.0, 2.0, 4.0, 4.0, 9.0], 0.95).unwrap();
        close(graded.low.unwrap(), 0.172_934_531_2, 1e-6);
        assert_eq!(mean(&[2.5], 0.95).unwrap().low, None);
        assert_eq!(mean(&[], 0.95), None);
    }

    #[test]
    fn figures_of_several_replies_are_averaged_over_those_that_have_them() {
        let reply = |figures: &[(&str, f64)]| {
            figures.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect::<BTreeMap<_, _>>()
        };
        let replies = [reply(&[("steps", 2.0), ("tokens", 10.0)]), reply(&[("steps", 4.0)])];
        assert_eq!(means(&replies), reply(&[("steps", 3.0), ("tokens", 10.0)]));
        assert_eq!(means(&[]), reply(&[]));
    }

    #[test]
    fn differences_are_paired() {
        let gained = difference(&[(1.0, 0.0), (1.0, 1.0), (0.0, 0.0), (1.0, 0.0)], 0.95).unwrap();
        assert_eq!((gained.value, gained.n), (0.5, 4));
        assert!(gained.low.unwrap() < 0.0, "four pairs prove nothing: {gained:?}");
        let graded = difference(&[(1.5, 1.0), (2.5, 2.0)], 0.95).unwrap();
        assert_eq!((graded.value, graded.low, graded.high), (0.5, None, None), "two alike are no proof");
    }
}
