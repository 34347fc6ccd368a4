//! The cases of one cell in both runs.

use std::collections::{BTreeMap, BTreeSet};

use super::pair::Pair;
use crate::judge::analysis::frame::VisitKey;
use crate::judge::analysis::run::Run;
use crate::record::{Arm, Outcome, Trial};
use crate::task::Weight;

/// What pairs a case: task, arm and the hash of the case's content.
type Key<'a> = (&'a str, Option<Arm>, &'a str);

/// A case in one run: its trials, more than one when it was repeated.
#[derive(Default)]
struct Seen<'a> {
    sum: f64,
    judged: u32,
    first: Option<&'a Trial>,
}

/// A case that both runs judged.
pub(super) struct PairedCase<'a> {
    pub(super) task: &'a str,
    pub(super) arm: Option<Arm>,
    pub(super) cluster: &'a str,
    /// Mean score in A (0..1).
    pub(super) a: f64,
    /// Mean score in B (0..1).
    pub(super) b: f64,
    /// Its first trials in A and B.
    pub(super) trials: (&'a Trial, &'a Trial),
    /// Whether it belongs to the primary endpoint.
    pub(super) primary: bool,
}

/// The cases of a cell.
pub(super) struct CellCases<'a> {
    /// Those that both runs judged, in a fixed order.
    pub(super) paired: Vec<PairedCase<'a>>,
    /// Primary cases that only one run judged.
    pub(super) unpaired: u32,
    /// Primary tasks (and arms) that both suites have and at least one run judged, without a single pair.
    pub(super) not_comparable: Vec<String>,
}

impl<'a> CellCases<'a> {
    pub(super) fn of(runs: &Pair<'a>, setting: &str, context: u32) -> Self {
        let ours = seen(&runs.a, setting, context);
        let mut theirs = seen(&runs.b, setting, context);
        let clusters: BTreeMap<&str, &str> =
            runs.a.journal.cases.iter().map(|case| (case.id.as_str(), case.cluster.as_str())).collect();
        let primary = |task: &str| runs.a.weight(task) == Weight::Primary;
        let mut cases = Self { paired: Vec::new(), unpaired: 0, not_comparable: Vec::new() };
        let mut alone: Vec<(&str, Option<Arm>)> = Vec::new();
        for (key, a) in ours {
            let (task, arm, case) = key;
            let b = theirs.remove(&key);
            let both = b.and_then(|b| Some(((a.mean(), a.first?), (b.mean(), b.first?))));
            match both {
                Some((a, b)) => cases.paired.push(PairedCase {
                    task,
                    arm,
                    cluster: clusters.get(case).copied().unwrap_or(case),
                    a: a.0,
                    b: b.0,
                    trials: (a.1, b.1),
                    primary: primary(task),
                }),
                None => alone.push((task, arm)),
            }
        }
        alone.extend(theirs.keys().map(|(task, arm, _)| (*task, *arm)));
        alone.retain(|(task, _)| primary(task));
        cases.unpaired = alone.len() as u32;
        cases.not_comparable = cases.missing(runs, context, alone);
        cases
    }

    /// Of the tasks with cases that only one run judged, those without any pair; a task that only one suite has is no
    /// part of the comparison.
    fn missing(&self, runs: &Pair<'a>, context: u32, alone: Vec<(&'a str, Option<Arm>)>) -> Vec<String> {
        let (ours, theirs) = (runs.a.task_arms(context), runs.b.task_arms(context));
        let alone: BTreeSet<(&str, Option<Arm>)> = alone.into_iter().collect();
        let in_both = alone.into_iter().filter(|task| ours.contains(task) && theirs.contains(task));
        let paired = |(task, arm): &(&str, Option<Arm>)| {
            self.paired.iter().any(|case| case.task == *task && case.arm == *arm)
        };
        let missing = in_both.filter(|task| !paired(task));
        missing.map(|(task, arm)| arm.map_or(task.to_owned(), |arm| format!("{task} ({arm})"))).collect()
    }
}

impl Seen<'_> {
    fn mean(&self) -> f64 {
        self.sum / f64::from(self.judged.max(1))
    }
}

/// The judged cases of a cell's first visits. A trial that broke counts as wrong; one to which the task does
/// not apply, and one without a score of its own, does not count.
fn seen<'a>(run: &Run<'a>, setting: &str, context: u32) -> BTreeMap<Key<'a>, Seen<'a>> {
    let mut cases: BTreeMap<Key<'a>, Seen<'a>> = BTreeMap::new();
    let here = |trial: &&Trial| {
        trial.key.setting == setting && trial.key.context == context && trial.key.replicate == 0
    };
    let journal: &'a crate::record::journal::Journal = run.journal;
    for trial in journal.trials.iter().filter(here) {
        let lost = matches!(trial.outcome, Outcome::Failed { .. });
        let counts = !(lost && run.weight(&trial.key.task) == Weight::Comparative);
        let case = run.case_of(trial);
        if let Some(score) = trial.outcome.judged().filter(|_| counts && !case.is_empty()) {
            let case = cases.entry((&trial.key.task, trial.key.arm, case)).or_default();
            case.sum += score;
            case.judged += 1;
            case.first = case.first.or(Some(trial));
        }
    }
    cases
}

/// The mean absolute difference of the reference's two visits, over the primary tasks (and arms) at which it
/// scores anything: what a report calls the A/A floor. `None` when it did not run twice.
pub(super) fn floor(run: &Run<'_>, context: u32) -> Option<f64> {
    let setting = run.suite.reference().label.as_str();
    let visit = |replicate| run.frame.cases(VisitKey { setting, context, replicate });
    let (mut first, mut again) = (visit(0), visit(1));
    // The noise floor is what answers differ by; a server that breaks is no noise.
    [&mut first, &mut again].into_iter().for_each(|cases| cases.retain(|case| !case.broke));
    let theirs: BTreeMap<_, f64> = first.iter().map(|case| (case.number, case.quality)).collect();
    // By task and arm: the sum of the differences, their number, and whether the reference scores anything.
    let mut tasks: BTreeMap<(&str, &str), (f64, f64, bool)> = BTreeMap::new();
    for case in &again {
        if let Some(reference) = theirs.get(&case.number) {
            let (request, _) = run.frame.request(case);
            let task = (request.task.as_str(), request.arm.as_str());
            let (sum, count, scores) = tasks.entry(task).or_default();
            *sum += (case.quality - reference).abs();
            *count += 1.0;
            *scores |= *reference > 0.0;
        }
    }
    let means: Vec<f64> =
        tasks.values().filter(|(.., scores)| *scores).map(|(sum, count, _)| sum / count).collect();
    (!means.is_empty()).then(|| means.iter().sum::<f64>() / means.len() as f64)
}
