//! Results task by task, by depth, and what broke.

use std::cell::LazyCell;
use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;

use foldhash::fast::RandomState;

use super::frame::{Judged, VisitKey};
use super::quality::mean_score;
use super::run::Run;
use super::summary::{DepthRow, Estimate, FailureRow, TaskRow};
use super::{Resampling, figures};
use crate::error::Result;
use crate::judge::stats::{ClusterSums, time_to_show, wilson};
use crate::record::journal::Journal;
use crate::record::{Arm, Outcome, Part, Source, Trial, metric};
use crate::task::Weight;

/// Above this mean score of the reference a task is too easy to show much.
const CEILING: f64 = 0.97;

/// Whether a mean score of the reference (0..1) leaves no room for a loss, or none for a gain.
pub(crate) fn is_uninformative(mean: f64) -> bool {
    mean > CEILING || mean <= 0.0
}

/// Depth bins of scored tasks: quarters of the context.
const DEPTH_BINS: u32 = 4;

/// Every task and arm on every cell of a context length, in suite order.
pub(crate) fn rows(run: &Run<'_>, context: u32) -> Result<Vec<TaskRow>> {
    let mut rows = Vec::new();
    let reference = &run.suite.reference().label;
    let visit = |setting| VisitKey { setting, context, replicate: 0 };
    for (task, arm) in run.task_arms(context) {
        let start = rows.len();
        let theirs = means(&run.frame.judged(visit(reference), task, arm)?);
        let their_times = LazyCell::new(|| server_times(run, (task, arm), visit(reference)));
        for setting in &run.suite.settings {
            let judged = run.frame.judged(visit(&setting.label), task, arm)?;
            let mut row = row(run, (task, arm), visit(&setting.label), &judged);
            row.difference = difference(&judged, &theirs, run.resampling.confidence)
                .filter(|_| setting.label != *reference);
            let spent =
                || spent_on_both(&server_times(run, (task, arm), visit(&setting.label)), &their_times);
            row.shown_after_s = row.difference.and_then(|lost| shown_after(run, &lost, spent));
            rows.push(row);
        }
        let on_reference = rows[start].quality.map(|quality| quality.value);
        let uninformative = on_reference.is_some_and(is_uninformative);
        rows[start..].iter_mut().for_each(|row| row.uninformative = uninformative);
    }
    Ok(rows)
}

fn row(run: &Run<'_>, (task, arm): (&str, Option<Arm>), visit: VisitKey<'_>, judged: &[Judged]) -> TaskRow {
    let mut row = TaskRow {
        task: task.into(),
        arm,
        setting: visit.setting.into(),
        context: visit.context,
        sanity: run.weight(task) != Weight::Primary,
        quality: estimate(&units(judged), run.resampling, visit.context),
        difference: None,
        server_s: 0.0,
        shown_after_s: None,
        uninformative: false,
        labels: BTreeMap::new(),
        scored: 0,
        unscored: BTreeMap::new(),
        failed: 0,
    };
    let here = run.trials(visit).filter(|trial| trial.key.task == task && trial.key.arm == arm);
    for trial in here {
        row.server_s += server_s(trial);
        match &trial.outcome {
            Outcome::Scored(score) => {
                row.scored += 1;
                if let Some(label) = &score.label {
                    *row.labels.entry(label.as_str().to_owned()).or_default() += 1;
                }
            }
            Outcome::Unscored { reason } => *row.unscored.entry(reason.clone()).or_default() += 1,
            Outcome::Failed { .. } => row.failed += 1,
        }
    }
    row
}

/// How long servers would work until what a setting loses on a task shows (s), from what was spent on it (s).
fn shown_after(run: &Run<'_>, lost: &Estimate, spent: impl FnOnce() -> f64) -> Option<f64> {
    let share = time_to_show(1.0, lost.value, lost.low?, lost.high?, run.resampling.confidence)?;
    // One group of cases shows nothing, however much it lost.
    Some(share.max(2.0 / f64::from(lost.n)) * spent())
}

/// What was spent (s) on the cases that both asked, added up in their order: the same to the last bit in every run.
fn spent_on_both(ours: &[(u32, f64)], theirs: &[(u32, f64)]) -> f64 {
    let at = |case: &u32| theirs.binary_search_by_key(case, |(case, _)| *case).ok();
    ours.iter().filter_map(|(case, ours_s)| Some(ours_s + theirs[at(case)?].1)).sum()
}

/// How long the server worked on each case of a task in a visit (s), by the numbers of their requests.
fn server_times(run: &Run<'_>, (task, arm): (&str, Option<Arm>), visit: VisitKey<'_>) -> Vec<(u32, f64)> {
    let asked = run.trials(visit).zip(run.frame.asked(visit));
    let asked = asked.filter(|(trial, _)| trial.key.task == task && trial.key.arm == arm);
    let mut times: Vec<(u32, f64)> = asked.map(|(trial, &request)| (request, server_s(trial))).collect();
    // Repeats stay in the order they ended.
    times.sort_by_key(|(request, _)| *request);
    let together = |case: &[(u32, f64)]| (case[0].0, case.iter().map(|(_, time_s)| time_s).sum());
    times.chunk_by(|a, b| a.0 == b.0).map(together).collect()
}

fn server_s(trial: &Trial) -> f64 {
    trial.measured(metric::TOTAL_S, Source::Client).unwrap_or_default()
}

/// Mean scores by the numbers of their cases.
type Means = HashMap<u32, f64, RandomState>;

/// The mean score of each case.
fn means(judged: &[Judged]) -> Means {
    let mut sums: HashMap<u32, (f64, f64), RandomState> = HashMap::default();
    for item in judged {
        let (sum, count) = sums.entry(item.case).or_default();
        (*sum, *count) = (*sum + item.quality, *count + 1.0);
    }
    sums.into_iter().map(|(case, (sum, count))| (case, sum / count)).collect()
}

/// Scores minus the reference's means on the same cases; the cases of a cluster are no independent evidence and count as
/// one.
fn difference(ours: &[Judged], theirs: &Means, confidence: f64) -> Option<Estimate> {
    let both = ours.iter().filter_map(|item| Some((item.cluster, item.quality, *theirs.get(&item.case)?)));
    let mut both: Vec<(u32, f64, f64)> = both.collect();
    // The cases of a cluster stay in their order.
    both.sort_by_key(|(cluster, ..)| *cluster);
    let mean = |cases: &[(u32, f64, f64)]| {
        let (ours, theirs) = cases.iter().fold((0.0, 0.0), |sums, case| (sums.0 + case.1, sums.1 + case.2));
        (ours / cases.len() as f64, theirs / cases.len() as f64)
    };
    let pairs: Vec<(f64, f64)> = both.chunk_by(|a, b| a.0 == b.0).map(mean).collect();
    // Student's interval knows nothing of the range of scores.
    let within = |end: Option<f64>| end.map(|end| end.clamp(-1.0, 1.0));
    let difference = figures::difference(&pairs, confidence)?;
    Some(Estimate { low: within(difference.low), high: within(difference.high), ..difference })
}

/// Scores with the numbers of their clusters.
fn units(judged: &[Judged]) -> Vec<(u32, f64)> {
    judged.iter().map(|item| (item.cluster, item.quality)).collect()
}

/// The mean of scores with their clusters: Wilson's interval for independent pass/fail scores, the cell's procedure for
/// others.
pub(super) fn estimate<K: Copy + Eq + Hash>(
    scores: &[(K, f64)],
    resampling: Resampling,
    context: u32,
) -> Option<Estimate> {
    let sums = ClusterSums::of(scores.iter().copied());
    let pass_fail = scores.iter().all(|(_, score)| *score == 0.0 || *score == 1.0);
    if pass_fail && sums.counts.len() == scores.len() {
        let right = scores.iter().map(|(_, score)| score).sum::<f64>();
        let n = scores.len() as f64;
        let (low, high) = wilson(right, n, resampling.confidence)?;
        return Some(Estimate { value: right / n, low: Some(low), high: Some(high), n: n as u32 });
    }
    mean_score(&[sums], resampling, context)
}

/// Mean scores by quarter of the context, for tasks whose answers have a place. An answer of several parts counts
/// part by part, each where it lies.
pub(crate) fn depths(run: &Run<'_>, context: u32) -> Vec<DepthRow> {
    let cases = run.journal.cases.iter().filter(|case| case.context == context);
    let depths: HashMap<&str, f64> = cases.filter_map(|case| Some((case.id.as_str(), case.depth?))).collect();
    let mut rows = Vec::new();
    for task_arm in run.task_arms(context) {
        for setting in &run.suite.settings {
            let visit = VisitKey { setting: &setting.label, context, replicate: 0 };
            let parts = parts(run, task_arm, visit, &depths);
            rows.extend((0..DEPTH_BINS).filter_map(|bin| depth_row(&parts, task_arm.0, visit, bin)));
        }
    }
    rows
}

/// The scores of a task on a cell with the place of what they are about; none of a void cell.
fn parts(
    run: &Run<'_>,
    (task, arm): (&str, Option<Arm>),
    visit: VisitKey<'_>,
    depths: &HashMap<&str, f64>,
) -> Vec<Part> {
    if run.void.contains_key(&(visit.setting, visit.context)) {
        return Vec::new();
    }
    let mut found = Places::default();
    for trial in run.trials(visit).filter(|trial| trial.key.task == task && trial.key.arm == arm) {
        let Some(score) = trial.outcome.score() else { continue };
        let whole = depths.get(trial.case.as_str()).zip(score.quality);
        let whole = whole.map(|(&depth, quality)| Part { depth, quality });
        let parts = if score.parts.is_empty() { whole.as_slice() } else { &score.parts };
        parts.iter().enumerate().for_each(|(at, part)| found.add((trial.key.index, at), *part));
    }
    found.means()
}

/// The parts of answers in the order in which they are first seen; those of several replies to one case are averaged.
#[derive(Default)]
struct Places {
    known: HashMap<(u32, usize), usize>,
    parts: Vec<(Part, f64)>,
}

impl Places {
    fn add(&mut self, place: (u32, usize), part: Part) {
        let next = self.parts.len();
        let at = *self.known.entry(place).or_insert(next);
        match self.parts.get_mut(at) {
            Some((known, count)) => {
                known.quality += part.quality;
                *count += 1.0;
            }
            None => self.parts.push((part, 1.0)),
        }
    }

    fn means(self) -> Vec<Part> {
        let mean = |(part, count): (Part, f64)| Part { quality: part.quality / count, ..part };
        self.parts.into_iter().map(mean).collect()
    }
}

fn depth_row(parts: &[Part], task: &str, visit: VisitKey<'_>, bin: u32) -> Option<DepthRow> {
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
            setting: trial.key.setting.to_string(),
            context: trial.key.context,
            task: trial.key.task.to_string(),
            index: trial.key.index,
            stage: *stage,
            error: error.clone(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::analysis::summarise;
    use crate::judge::analysis::testing::{self, ITEMS, OTHER, Play};
    use crate::judge::stats::close;
    use crate::record::Score;

    fn scored(case: char, cluster: char, quality: f64) -> Judged {
        Judged { case: case.into(), cluster: cluster.into(), quality, broke: false }
    }

    #[test]
    fn a_cluster_counts_as_one_and_items_without_a_partner_not_at_all() {
        let theirs = [scored('a', 'x', 1.0), scored('b', 'x', 1.0), scored('c', 'y', 1.0)];
        let ours =
            [scored('a', 'x', 0.0), scored('b', 'x', 1.0), scored('c', 'y', 1.0), scored('d', 'z', 0.0)];
        let difference = difference(&ours, &means(&theirs), 0.95).unwrap();
        assert_eq!((difference.value, difference.n), (-0.25, 2), "x lost half, y nothing");
    }

    #[test]
    fn a_loss_says_from_how_much_server_time_it_shows() {
        let played = Play::new("").reference().other(|task, index| match task {
            "retrieval/niah_multikey_2" => Outcome::Scored(Score::of(0.0)),
            _ => testing::right(task, index),
        });
        let summary = summarise(&played.journal).unwrap();
        let row =
            |task: &str| summary.tasks.iter().find(|row| row.task == task && row.setting == OTHER).unwrap();
        let lost = row("retrieval/niah_multikey_2");
        close(lost.server_s, 0.5 * f64::from(ITEMS), 1e-9);
        let spent_s = 1.5 * f64::from(ITEMS);
        assert!(
            lost.shown_after_s.is_some_and(|shown_s| (3.0..spent_s / 2.0).contains(&shown_s)),
            "{lost:?}"
        );
        assert_eq!(row("retrieval/counting").shown_after_s, None, "nothing was lost");
    }

    #[test]
    fn time_on_cases_that_only_one_asked_does_not_count() {
        let ours = [(0, 1.0), (1, 2.0)];
        let theirs = [(0, 1.5), (1, 3.0), (2, 100.0)];
        close(spent_on_both(&ours, &theirs), 7.5, 1e-12);
        close(spent_on_both(&[], &theirs), 0.0, 1e-12);
    }

    #[test]
    fn cases_that_all_differ_alike_have_no_interval() {
        let theirs = [scored('a', 'a', 0.8), scored('b', 'b', 0.8)];
        let ours = [scored('a', 'a', 0.2), scored('b', 'b', 0.2)];
        let difference = difference(&ours, &means(&theirs), 0.95).unwrap();
        assert_eq!(
            (difference.n, difference.low, difference.high),
            (2, None, None),
            "two cases prove nothing"
        );
        let flags = [scored('a', 'a', 1.0), scored('b', 'b', 1.0)];
        let lost = [scored('a', 'a', 0.0), scored('b', 'b', 0.0)];
        assert!(
            super::difference(&lost, &means(&flags), 0.95).unwrap().high.is_some(),
            "flags have Tango's interval"
        );
    }

    #[test]
    fn repeats_of_a_case_are_averaged() {
        let theirs = [scored('a', 'a', 1.0), scored('a', 'a', 0.0)];
        let difference = difference(&[scored('a', 'a', 0.5)], &means(&theirs), 0.95).unwrap();
        assert_eq!((difference.value, difference.n), (0.0, 1));
        assert_eq!(super::difference(&[], &means(&theirs), 0.95), None);
    }

    #[test]
    fn the_places_of_several_replies_to_a_case_are_one_place() {
        let part = |depth, quality| Part { depth, quality };
        let mut places = Places::default();
        for (index, at, depth, quality) in
            [(3, 0, 0.2, 1.0), (3, 0, 0.2, 0.0), (1, 0, 0.9, 1.0), (3, 1, 0.7, 1.0)]
        {
            places.add((index, at), part(depth, quality));
        }
        assert_eq!(places.means(), [part(0.2, 0.5), part(0.9, 1.0), part(0.7, 1.0)]);
    }
}
