//! A journal with its indexes: what every part of the analysis looks things up in.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::frame::{Frame, VisitKey};
use super::visits::{Places, VisitTrials, Visits};
use super::workers::Workers;
use super::{InSuite, Resampling, Tasks};
use crate::error::Result;
use crate::record::filter::Filter;
use crate::record::journal::{Journal, LaunchRecord};
use crate::record::suite::{Setting, Suite, TaskSpec};
use crate::record::{Arm, Decision, KeyParts, ModelInfo, Selection, TrainedContext, Trial};
use crate::task::Weight;

/// A journal with what every part of the analysis looks up in it.
pub(crate) struct Run<'a> {
    pub(crate) journal: &'a Journal,
    pub(crate) suite: &'a Suite,
    pub(crate) tasks: &'a dyn Tasks,
    pub(crate) frame: Frame<'a>,
    /// Who measured what, where several workers did.
    pub(crate) workers: Arc<Workers>,
    pub(crate) resampling: Resampling,
    /// The cases that settings are compared on.
    pub(crate) selection: Arc<Selection>,
    /// What the run was to measure of its suite.
    filter: Filter,
    /// Why cells do not count, by setting and context.
    pub(crate) void: Arc<BTreeMap<(&'a str, u32), String>>,
    /// The trials of each visit (setting, context, replicate), in the order they ended.
    visits: Arc<Visits<'a>>,
    /// The cases by their place in the plan.
    places: Places<'a>,
}

impl<'a> Run<'a> {
    /// Reads the indexes from the journal.
    ///
    /// # Errors
    /// When the journal does not hold together (a frame cannot be built from it).
    pub(crate) fn new(journal: &'a Journal, tasks: &'a dyn Tasks) -> Result<Self> {
        let suite = &journal.header.suite;
        let void = Arc::new(void_cells(&journal.launches));
        let visits = Arc::new(Visits::of(journal));
        let workers = Arc::new(Workers::of(journal));
        let places = Places::new(journal);
        let selection = Arc::new(Selection::of(suite, &journal.trials));
        let in_suite = InSuite { tasks, suite };
        Ok(Self {
            journal,
            suite,
            tasks,
            frame: Frame::new((journal, &workers), &in_suite, &void, &visits, (&places, &selection))?,
            workers,
            selection,
            resampling: Resampling {
                seed: suite.seed,
                draws: suite.draws,
                confidence: suite.confidence,
                graded_from: if suite.scores_by_probability() { 2 } else { Resampling::GRADED_UNITS },
            },
            filter: Filter::parse(&journal.header.filters)?,
            void,
            visits,
            places,
        })
    }

    /// Hash of a trial's case; of one that broke before it was made, the case of its place in the plan, where another
    /// visit made it. Empty where nobody did.
    pub(crate) fn case_of(&self, trial: &'a Trial) -> &'a str {
        match trial.case.as_str() {
            "" => self.places.of(&trial.key).map_or("", |case| case.id.as_str()),
            id => id,
        }
    }

    /// The trials of a visit, in the order they ended.
    pub(crate) fn trials<'r>(&'r self, visit: VisitKey<'r>) -> VisitTrials<'r, 'a> {
        self.visits.trials((visit.setting, visit.context, visit.replicate))
    }

    /// The tasks and arms that run at a context length, in suite order.
    pub(crate) fn task_arms(&self, context: u32) -> Vec<(&'a str, Option<Arm>)> {
        let here = self.suite.tasks.iter().filter(|task| task.contexts.contains(&context));
        here.flat_map(|task| {
            let arms = task.every_arm();
            arms.into_iter().map(|arm| (task.name.as_str(), arm))
        })
        .collect()
    }

    /// Trials planned for one visit of every case of a cell, as far as the run's filters keep them.
    pub(crate) fn planned(&self, context: u32) -> u32 {
        let here = self.planned_tasks(context);
        here.map(|task| task.samples * task.repeats.max(1) * self.planned_arms(task).len() as u32).sum()
    }

    /// The tasks that the run's filters keep at a context length.
    fn planned_tasks(&self, context: u32) -> impl Iterator<Item = &'a TaskSpec> {
        let here = move |task: &&TaskSpec| {
            task.contexts.contains(&context) && self.filter.keeps(&task.name, context)
        };
        self.suite.tasks.iter().filter(here)
    }

    /// The arms of a task that the run's filters keep; `None` alone for a task without arms.
    fn planned_arms(&self, task: &TaskSpec) -> Vec<Option<Arm>> {
        task.every_arm().into_iter().filter(|arm| self.filter.keeps_arm(*arm)).collect()
    }

    pub(crate) fn planned_in_all(&self) -> u32 {
        let visits = self.visits_of_cells().len() as u32;
        let measured: u32 = self.suite.contexts.iter().map(|&context| visits * self.planned(context)).sum();
        measured + self.suite.pack.as_ref().map_or(0, |pack| pack.trials)
    }

    /// Settings and replicates that every context length is visited for, as far as the run's filters keep them.
    fn visits_of_cells(&self) -> Vec<(&'a str, u32)> {
        let reference = self.suite.reference();
        let again = self.suite.pack.is_none().then_some((reference.label.as_str(), 1));
        let kept = self.suite.measured().filter(|setting| self.filter.passes_setting(setting, reference));
        kept.map(|setting| (setting.label.as_str(), 0)).chain(again).collect()
    }

    /// Trials that stopping early made needless.
    pub(crate) fn saved(&self) -> u32 {
        let about = |setting: &str, context: u32, replicate: u32| -> Vec<&Decision> {
            let decisions = self.journal.decisions.iter();
            decisions.filter(|decision| decision.covers(setting, context, replicate)).collect()
        };
        let of = |(setting, replicate): (&str, u32)| -> u32 {
            let contexts = self.suite.contexts.iter();
            let saved = contexts.map(|&context| {
                let about = about(setting, context, replicate);
                let here = self.planned_tasks(context);
                here.map(|task| self.saved_of(task, (setting, context, replicate), &about)).sum::<u32>()
            });
            saved.sum()
        };
        self.visits_of_cells().into_iter().map(of).sum()
    }

    /// Trials of a task in a visit that were not asked: those that the decisions about it leave out, and those whose cases the
    /// reference did not choose.
    fn saved_of(&self, task: &TaskSpec, visit: (&str, u32, u32), about: &[&Decision]) -> u32 {
        if about.is_empty() && task.window.is_none() {
            return 0;
        }
        let (setting, context, replicate) = visit;
        let arms = self.planned_arms(task);
        let is_saved = |arm: Option<Arm>, index: u32| {
            let round = task.round_of(index, self.suite.rounds);
            let key = || {
                KeyParts {
                    setting: setting.into(),
                    context,
                    round,
                    replicate,
                    task: task.name.as_str().into(),
                    arm,
                    index,
                    repeat: 0,
                }
                .key()
            };
            about.iter().any(|decision| decision.leaves_out(round, &task.name, index))
                || (task.window.is_some() && self.selection.skips(&key()))
        };
        let saved =
            arms.into_iter().map(|arm| (0..task.samples).filter(|&index| is_saved(arm, index)).count());
        saved.sum::<usize>() as u32 * task.repeats.max(1)
    }

    /// The task's weight; one that this build does not know counts like any other.
    pub(crate) fn weight(&self, task: &str) -> Weight {
        InSuite { tasks: self.tasks, suite: self.suite }.weight(task).unwrap_or(Weight::Primary)
    }

    /// Scored trials of a visit by case, of one that was asked several times the first; none of a void cell.
    pub(crate) fn scored(&self, visit: VisitKey<'_>) -> BTreeMap<&'a str, &'a Trial> {
        let counts = !self.void.contains_key(&(visit.setting, visit.context));
        let here = |trial: &&Trial| counts && trial.key.repeat == 0 && trial.outcome.score().is_some();
        self.trials(visit).filter(here).map(|trial| (trial.case.as_str(), trial)).collect()
    }

    /// The setting of a label.
    pub(crate) fn setting(&self, label: &str) -> Option<&'a Setting> {
        self.suite.settings.iter().find(|setting| setting.label == label)
    }

    /// Whether a setting keeps its K or V in another type than the reference.
    pub(crate) fn has_other_cache(&self, setting: &Setting) -> bool {
        let reference = self.suite.reference();
        (&setting.k, &setting.v) != (&reference.k, &reference.v)
    }

    /// The file of a setting's weights, as the run knows it.
    pub(crate) fn model_of(&self, setting: &Setting) -> Option<&'a ModelInfo> {
        let mut models = self.journal.header.models.iter();
        models.find(|model| model.name == setting.model && model.weights == setting.weights)
    }

    /// The context length (tokens) that a setting's model was trained for, as its file says; `None` where it is not known,
    /// nor where the suite itself scales the positions.
    pub(crate) fn trained_context(&self, setting: &Setting) -> Option<u64> {
        self.model_of(setting)?
            .trained
            .map(TrainedContext::longest)
            .filter(|_| !self.suite.scales_positions(setting))
    }

    /// The server processes of a cell, in the order they were started.
    pub(crate) fn launches(&self, setting: &str, context: u32) -> impl Iterator<Item = &'a LaunchRecord> {
        let launches = &self.journal.launches;
        launches.iter().filter(move |launch| launch.setting == setting && launch.context == context)
    }
}

/// Cells whose server silently changed something, and what.
pub(super) fn void_cells(launches: &[LaunchRecord]) -> BTreeMap<(&str, u32), String> {
    let mut reasons: BTreeMap<(&str, u32), BTreeSet<&str>> = BTreeMap::new();
    for launch in launches.iter().filter(|launch| !launch.deviations.is_empty()) {
        let cell = reasons.entry((&launch.setting, launch.context)).or_default();
        cell.extend(launch.deviations.iter().map(String::as_str));
    }
    let joined = |reasons: BTreeSet<&str>| reasons.into_iter().collect::<Vec<_>>().join("; ");
    reasons.into_iter().map(|(cell, reasons)| (cell, joined(reasons))).collect()
}
