//! From a journal to a [`Summary`]: what can be claimed, and how sure it is.
//!
//! Pure: the same journal gives the same summary, whatever the machine, the clock or the number of threads.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::error::Result;
use crate::record::journal::{Journal, LaunchRecord};
use crate::record::suite::{Setting, Suite};
use crate::record::{Arm, Case, Reply, TrainedContext, Trial, TrialKey};
use crate::task::coherence::greedy_divergence::{self, GreedyDivergence};
use crate::task::{self, Task as _, Weight};

mod arms;
pub mod compare;
mod conversations;
mod divergence;
mod duration;
mod effective;
mod energy;
mod figures;
mod flags;
mod frame;
pub mod gates;
pub mod history;
mod interaction;
mod kld;
pub mod load;
mod memory;
pub mod memory_formula;
mod pareto;
pub mod pick;
pub mod power;
mod prefix_cache;
mod quality;
mod replies;
pub mod route;
mod speculation;
mod speed;
pub mod stopping;
pub mod summary;
mod tasks;
mod triggers;
mod verdict;
pub(crate) mod words;

#[cfg(test)]
mod comparable;
#[cfg(test)]
mod simulation;
#[cfg(test)]
pub(crate) mod testing;

pub use effective::RULER_LINE;

/// What tasks call a reply whose tool call stands in the text instead of the calls.
pub(crate) const LEAKED: &str = "leaked_to_content";

pub use crate::task::coherence::greedy_divergence::Divergence;
pub use crate::task::coherence::kld::PositionKld;

use crate::judge::stats::parallel;
use crate::record::Objective;
use frame::{Frame, Visit};
use summary::{
    AaSummary, CellSummary, DepthRow, DivergenceRow, FigureRow, FrontSummary, Interaction, KldBand,
    SUMMARY_SCHEMA_VERSION, SpeedRow, Summary, TaskRow,
};

/// What the analysis asks about tasks: the real table is [`Registry`], tests bring their own.
pub trait Tasks: Sync {
    /// How the task's result enters the report; `None` for a task that this build does not know.
    fn weight(&self, task: &str) -> Option<Weight>;

    /// For comparative tasks: the reply's distance from the reference's reply, position by position; empty
    /// when they cannot be compared.
    fn positions(&self, case: &Case, reply: &Reply, reference: &Reply) -> Vec<PositionKld>;

    /// For tasks that ask where a greedy reply parts from the reference's: the place; `None` for others.
    fn divergence(&self, _case: &Case, _reply: &Reply, _reference: &Reply) -> Option<Divergence> {
        None
    }

    /// Whether the task asks where greedy replies part.
    fn compares_greedy(&self, _task: &str) -> bool {
        false
    }

    /// The figures that the report shows, by name; see [`Task::figures`](crate::task::Task::figures).
    fn figures(&self, _task: &str) -> &'static [&'static str] {
        &[]
    }

    /// Figures of a reply against the reference's; see [`Task::compare`](crate::task::Task::compare).
    fn compare(&self, _case: &Case, _reply: &Reply, _reference: &Reply) -> BTreeMap<String, f64> {
        BTreeMap::new()
    }
}

/// The tasks that kneepoint knows.
#[derive(Debug, Clone, Copy)]
pub struct Registry;

impl Tasks for Registry {
    fn weight(&self, task: &str) -> Option<Weight> {
        task::find(task).map(task::Task::weight)
    }

    fn positions(&self, case: &Case, reply: &Reply, reference: &Reply) -> Vec<PositionKld> {
        task::coherence::kld::positions(case, reply, reference)
    }

    fn divergence(&self, case: &Case, reply: &Reply, reference: &Reply) -> Option<Divergence> {
        let asks = case.task == GreedyDivergence.name();
        asks.then(|| greedy_divergence::divergence(reply, reference)).flatten()
    }

    fn compares_greedy(&self, task: &str) -> bool {
        task == GreedyDivergence.name()
    }

    fn figures(&self, task: &str) -> &'static [&'static str] {
        task::find(task).map_or(&[], task::Task::figures)
    }

    fn compare(&self, case: &Case, reply: &Reply, reference: &Reply) -> BTreeMap<String, f64> {
        let figures = task::find(&case.task).and_then(|task| task.compare(case, reply, reference));
        figures.unwrap_or_default()
    }
}

/// ` (native)` behind a task's name; nothing for a task without arms.
pub(crate) fn arm_suffix(arm: Option<Arm>) -> String {
    arm.map_or(String::new(), |arm| format!(" ({arm})"))
}

/// How draws are made; from the suite.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Resampling {
    pub(crate) seed: u64,
    pub(crate) draws: u32,
    pub(crate) confidence: f64,
}

/// Judges a run.
///
/// # Errors
/// When the journal does not hold together (a frame cannot be built from it).
pub fn summarise(journal: &Journal) -> Result<Summary> {
    summarise_with(journal, &Registry)
}

/// As [`summarise`], with another table of tasks.
///
/// # Errors
/// As [`summarise`].
pub fn summarise_with(journal: &Journal, tasks: &dyn Tasks) -> Result<Summary> {
    let run = Run::new(journal, tasks)?;
    // Context lengths have nothing to do with each other.
    let levels = parallel::map(&run.suite.contexts, |&context| Judged::of(&run, context));
    let mut all = Judged::default();
    for level in levels {
        all.extend(level?);
    }
    let header = &journal.header;
    let mut summary = Summary {
        schema_version: SUMMARY_SCHEMA_VERSION,
        tool_version: header.tool_version.clone(),
        suite: run.suite.name.clone(),
        description: run.suite.description.clone(),
        fingerprint: header.fingerprint.clone(),
        run: header.run.clone(),
        started: header.started.clone(),
        duration_s: duration::duration_s(journal),
        repeat: crate::secrets::Secrets::in_suite(&header.suite).text(&header.repeat),
        planned: run.planned_in_all().saturating_sub(run.saved()),
        done: journal.trials.len() as u32,
        machine: header.machine.clone(),
        engines: header.engines.clone(),
        models: header.models.clone(),
        reference: run.suite.reference().label.clone(),
        margin: run.suite.margin,
        seed: run.suite.seed,
        confidence: run.suite.confidence,
        draws: run.suite.draws,
        objectives: run.suite.objectives.clone(),
        verdict: String::new(),
        night_before: None,
        cells: all.cells,
        aa: all.aa,
        tasks: all.tasks,
        speeds: all.speeds,
        depths: all.depths,
        conversations: conversations::rows(&run),
        kld_bands: all.kld_bands,
        divergence: all.divergence,
        speculation: Vec::new(),
        prefix_cache: prefix_cache::rows(&run),
        figures: all.figures,
        memory_fits: Vec::new(),
        effective: Vec::new(),
        triggers: triggers::rows(&run),
        arms: arms::rows(&run),
        load: load::summary(&run),
        fronts: all.fronts,
        interactions: all.interactions,
        stopping: stopping::summary(run.suite, &journal.decisions, run.saved()),
        gates: Vec::new(),
        failures: tasks::failures(journal),
        flags: journal.doubts.clone(),
        not_measured: Vec::new(),
    };
    summary.memory_fits = memory_formula::fits(&run, &summary.cells);
    summary.effective = effective::lengths(&summary);
    summary.speculation = speculation::rows(&run, &summary);
    summary.gates = gates::check(&run.suite.gates, &summary, &all.exact, &gates::Doubts::of(&run)?);
    let flags = flags::flags(&run, &summary)?;
    summary.flags.extend(flags);
    summary.flags.extend(summary.load.iter().flat_map(load::flags).collect::<Vec<_>>());
    summary.not_measured = flags::not_measured(&run, &summary);
    summary.verdict = verdict::sentences(&summary);
    Ok(summary)
}

/// What is said of one context length, or of all together.
#[derive(Default)]
struct Judged<'a> {
    cells: Vec<CellSummary>,
    aa: Vec<AaSummary>,
    tasks: Vec<TaskRow>,
    speeds: Vec<SpeedRow>,
    depths: Vec<DepthRow>,
    kld_bands: Vec<KldBand>,
    divergence: Vec<DivergenceRow>,
    figures: Vec<FigureRow>,
    fronts: Vec<FrontSummary>,
    interactions: Vec<Interaction>,
    /// Right answers and all, of cells whose gates may use an exact interval.
    exact: BTreeMap<(&'a str, u32), (u32, u32)>,
}

impl<'a> Judged<'a> {
    fn of(run: &Run<'a>, context: u32) -> Result<Self> {
        let level = quality::Level::new(run, context)?;
        let kld = kld::compare(run, context);
        let mut measured = run.level_cells(&level, &kld)?;
        quality::judge(&mut measured, &level, run.suite);
        let fronts = pareto::place(&mut measured, run.front_rule()).into_iter().collect();
        let interactions = interaction::interactions(run, &level, &measured);
        // An exact interval is one that is looked at once.
        let looked_at_once = !run.suite.gates.is_empty() && !run.suite.stops_by_outcome();
        let settings = run.suite.settings.iter().filter(|_| looked_at_once);
        let exact = settings
            .filter_map(|setting| Some(((&*setting.label, context), level.right_of(&setting.label)?)))
            .collect();
        let mut depths = tasks::depths(run, context);
        depths.extend(kld.depths);
        Ok(Self {
            cells: measured.into_iter().map(|cell| cell.summary).collect(),
            aa: level.aa(kld.max_aa).into_iter().collect(),
            tasks: tasks::rows(run, context)?,
            speeds: speed::by_length(run, context)?,
            depths,
            kld_bands: kld.bands,
            divergence: divergence::rows(run, context),
            figures: figures::rows(run, context),
            fronts,
            interactions,
            exact,
        })
    }

    fn extend(&mut self, more: Self) {
        self.cells.extend(more.cells);
        self.aa.extend(more.aa);
        self.tasks.extend(more.tasks);
        self.speeds.extend(more.speeds);
        self.depths.extend(more.depths);
        self.kld_bands.extend(more.kld_bands);
        self.divergence.extend(more.divergence);
        self.figures.extend(more.figures);
        self.fronts.extend(more.fronts);
        self.interactions.extend(more.interactions);
        self.exact.extend(more.exact);
    }
}

/// A journal with what every part of the analysis looks up in it.
pub(crate) struct Run<'a> {
    pub(crate) journal: &'a Journal,
    pub(crate) suite: &'a Suite,
    pub(crate) tasks: &'a dyn Tasks,
    pub(crate) frame: Frame,
    pub(crate) resampling: Resampling,
    /// Why cells do not count, by setting and context.
    pub(crate) void: BTreeMap<(&'a str, u32), String>,
    /// The trials of each visit (setting, context, replicate), in the order they ended.
    visits: Visits<'a>,
    /// The cases by their place in the plan.
    places: Places<'a>,
}

/// Cases by their place in the plan (context, task, arm, index): what broke before its case was made says only that.
#[derive(Default)]
pub(crate) struct Places<'a>(HashMap<(u32, &'a str, Option<Arm>, u32), &'a Case>);

impl<'a> Places<'a> {
    /// Settings whose tokenizers differ have cases of their own: those of the first setting, the reference, count.
    fn new(cases: &'a [Case]) -> Self {
        let mut places = HashMap::new();
        for case in cases {
            places.entry((case.context, case.task.as_str(), case.arm, case.index)).or_insert(case);
        }
        Self(places)
    }

    fn of(&self, key: &TrialKey) -> Option<&'a Case> {
        self.0.get(&(key.context, key.task.as_str(), key.arm, key.index)).copied()
    }
}

/// Trials by setting, context and replicate.
pub(crate) type Visits<'a> = BTreeMap<(&'a str, u32, u32), Vec<&'a Trial>>;

/// A cell while it is being judged: what is published, and the draws that its place on the front needs.
pub(crate) struct Measured {
    pub(crate) summary: CellSummary,
    pub(crate) difference: Option<quality::Difference>,
    /// What of the difference comes from items that broke on the reference.
    pub(crate) credit: f64,
    pub(crate) draws: pareto::Draws,
    /// By what it is laid beside the other cells in time and energy.
    pub(crate) standing: BTreeMap<Objective, speed::Standing>,
}

impl Measured {
    /// A cell of which nothing more is known.
    pub(crate) fn new(summary: CellSummary) -> Self {
        Self {
            summary,
            difference: None,
            credit: 0.0,
            draws: pareto::Draws::default(),
            standing: BTreeMap::new(),
        }
    }
}

impl<'a> Run<'a> {
    fn new(journal: &'a Journal, tasks: &'a dyn Tasks) -> Result<Self> {
        let suite = &journal.header.suite;
        let void = void_cells(&journal.launches);
        let visits = by_visit(&journal.trials);
        let places = Places::new(&journal.cases);
        Ok(Self {
            journal,
            suite,
            tasks,
            frame: Frame::new(journal, tasks, &void, &visits, &places)?,
            resampling: Resampling { seed: suite.seed, draws: suite.draws, confidence: suite.confidence },
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
    pub(crate) fn trials<'r>(&'r self, visit: Visit<'r>) -> &'r [&'a Trial] {
        let visits: &'r BTreeMap<(&'r str, u32, u32), Vec<&'a Trial>> = &self.visits;
        visits.get(&(visit.setting, visit.context, visit.replicate)).map_or(&[], Vec::as_slice)
    }

    /// The tasks and arms that run at a context length, in suite order.
    pub(crate) fn task_arms(&self, context: u32) -> Vec<(&'a str, Option<Arm>)> {
        let here = self.suite.tasks.iter().filter(|task| task.contexts.contains(&context));
        here.flat_map(|task| {
            let arms: Vec<Option<Arm>> = match task.arms.as_slice() {
                [] => vec![None],
                arms => arms.iter().copied().map(Some).collect(),
            };
            arms.into_iter().map(|arm| (task.name.as_str(), arm))
        })
        .collect()
    }

    /// Trials planned for one visit of every item of a cell.
    pub(crate) fn planned(&self, context: u32) -> u32 {
        let here = self.suite.tasks.iter().filter(|task| task.contexts.contains(&context));
        here.map(|task| task.samples * task.arms.len().max(1) as u32).sum()
    }

    pub(crate) fn planned_in_all(&self) -> u32 {
        let visits = self.suite.settings.len() as u32 + 1;
        self.suite.contexts.iter().map(|&context| visits * self.planned(context)).sum()
    }

    /// Trials that stopping early made needless.
    pub(crate) fn saved(&self) -> u32 {
        let rounds = self.suite.rounds;
        let slice =
            |samples: u32, after: u32| (0..samples).filter(|index| index % rounds > after).count() as u32;
        let after = |setting: &str, context: u32, replicate: u32| {
            let decisions = self.journal.decisions.iter();
            let about = decisions.filter(|decision| decision.covers(setting, context, replicate));
            about.map(|decision| decision.after_round).min()
        };
        let labels = self.suite.settings.iter().map(|setting| (setting.label.as_str(), 0));
        let visits = labels.chain([(self.suite.reference().label.as_str(), 1)]);
        let of = |(setting, replicate): (&str, u32)| -> u32 {
            let stopped =
                self.suite.contexts.iter().filter_map(|&c| Some((c, after(setting, c, replicate)?)));
            let trials = stopped.map(|(context, after)| {
                let here = self.suite.tasks.iter().filter(|task| task.contexts.contains(&context));
                here.map(|t| slice(t.samples, after) * t.arms.len().max(1) as u32).sum::<u32>()
            });
            trials.sum()
        };
        visits.map(of).sum()
    }

    pub(crate) fn front_rule(&self) -> pareto::Rule<'a> {
        pareto::Rule {
            objectives: &self.suite.objectives,
            margin: self.suite.margin,
            confidence: self.suite.confidence,
        }
    }

    /// Every cell of a context length, measured but not judged.
    pub(crate) fn level_cells(
        &self,
        level: &quality::Level<'_>,
        kld: &kld::Comparison,
    ) -> Result<Vec<Measured>> {
        if self.planned(level.context) == 0 {
            return Ok(Vec::new());
        }
        let settings = self.suite.settings.iter();
        let mut cells: Vec<Measured> =
            settings.map(|setting| self.cell(level, kld, &setting.label)).collect::<Result<_>>()?;
        speed::relate(self, level.context, &mut cells)?;
        Ok(cells)
    }

    /// The task's weight; one that this build does not know counts like any other.
    pub(crate) fn weight(&self, task: &str) -> Weight {
        self.tasks.weight(task).unwrap_or(Weight::Primary)
    }

    fn cell(&self, level: &quality::Level<'_>, kld: &kld::Comparison, setting: &str) -> Result<Measured> {
        let context = level.context;
        let visit = Visit { setting, context, replicate: 0 };
        let counts = self.frame.counts(visit)?;
        let mut summary = self.blank(setting, context);
        summary.scored = counts.scored;
        summary.unscored = counts.unscored;
        summary.failed = counts.failed;
        summary.truncated = counts.truncated;
        let mut cell = Measured::new(summary);
        if cell.summary.void.is_some() {
            return Ok(cell);
        }
        level.measure(&mut cell);
        speed::measure(self, &mut cell.summary, &mut cell.draws)?;
        energy::measure(self, &mut cell.summary, &mut cell.draws)?;
        if let Some((kld, kld_draws)) = kld.cells.get(setting) {
            cell.summary.kld = Some(kld.clone());
            cell.draws.kld.clone_from(kld_draws);
        }
        cell.summary.memory = memory::measure(self, visit)?;
        Ok(cell)
    }

    fn blank(&self, setting: &str, context: u32) -> CellSummary {
        let mut launches = self.launches(setting, context);
        let first = launches.next();
        let ready = first
            .filter(|launch| launch.failure.is_none())
            .or_else(|| launches.find(|l| l.failure.is_none()));
        CellSummary {
            void: self.void.get(&(setting, context)).cloned(),
            planned: self.planned(context),
            command: first.and_then(LaunchRecord::command),
            effective: ready.map(|launch| launch.effective.clone()),
            ..CellSummary::unmeasured(setting, context)
        }
    }

    /// Scored trials of a visit by case; none of a void cell.
    pub(crate) fn scored(&self, visit: Visit<'_>) -> BTreeMap<&'a str, &'a Trial> {
        let counts = !self.void.contains_key(&(visit.setting, visit.context));
        let here = |trial: &&Trial| counts && trial.outcome.score().is_some();
        let trials = self.trials(visit).iter().copied();
        trials.filter(here).map(|trial| (trial.case.as_str(), trial)).collect()
    }

    /// The context length (tokens) that a setting's model was trained for, as its file says; `None` where it is not known,
    /// nor where the suite itself scales the positions.
    pub(crate) fn trained_context(&self, setting: &Setting) -> Option<u64> {
        let mut models = self.journal.header.models.iter();
        let model = models.find(|model| model.name == setting.model && model.weights == setting.weights)?;
        model.trained.map(TrainedContext::longest).filter(|_| !self.suite.scales_positions(setting))
    }

    /// The server processes of a cell, in the order they were started.
    pub(crate) fn launches(&self, setting: &str, context: u32) -> impl Iterator<Item = &'a LaunchRecord> {
        let launches = &self.journal.launches;
        launches.iter().filter(move |launch| launch.setting == setting && launch.context == context)
    }
}

fn by_visit(trials: &[Trial]) -> Visits<'_> {
    // Hashed first: a million trials are found their place faster than by comparing long names.
    let mut visits: HashMap<(&str, u32, u32), Vec<&Trial>> = HashMap::new();
    for trial in trials {
        let key = &trial.key;
        visits.entry((key.setting.as_str(), key.context, key.replicate)).or_default().push(trial);
    }
    visits.into_iter().collect()
}

/// Cells whose server silently changed something, and what.
fn void_cells(launches: &[LaunchRecord]) -> BTreeMap<(&str, u32), String> {
    let mut reasons: BTreeMap<(&str, u32), BTreeSet<&str>> = BTreeMap::new();
    for launch in launches.iter().filter(|launch| !launch.deviations.is_empty()) {
        let cell = reasons.entry((&launch.setting, launch.context)).or_default();
        cell.extend(launch.deviations.iter().map(String::as_str));
    }
    let joined = |reasons: BTreeSet<&str>| reasons.into_iter().collect::<Vec<_>>().join("; ");
    reasons.into_iter().map(|(cell, reasons)| (cell, joined(reasons))).collect()
}
