//! The recipe: from a journal to its [`Summary`].

use std::collections::BTreeMap;

use super::run::Run;
use super::summary::{
    AaSummary, CellSummary, DepthRow, DivergenceRow, FailureRow, FigureRow, FrontSummary, Interaction,
    KldBand, RepeatRow, SUMMARY_SCHEMA_VERSION, SpeedRow, Summary, TaskRow, ThinkingRow,
};
use super::{
    Registry, Tasks, arms, cells, conversations, divergence, duration, effective, figures, gates, held,
    interaction, kld, loadtest, memory_formula, outlook, pareto, prefix_cache, quality, repeats, speculation,
    speed, stopping, tasks, thinking, triggers, verdict, warnings,
};
use crate::error::Result;
use crate::judge::stats::parallel;
use crate::record::Scoring;
use crate::record::journal::Journal;

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
    // Context lengths have nothing to do with each other, nor with what is said of the run as a whole.
    let (levels, whole) = parallel::beside(
        || parallel::map(&run.suite.contexts, |&context| ContextFindings::of(&run, context)),
        || RunFindings::of(journal),
    );
    let mut all = ContextFindings::default();
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
        duration_s: whole.duration_s,
        repeat: crate::record::secrets::Secrets::in_suite(&header.suite).text(&header.repeat),
        planned: run.planned_in_all().saturating_sub(run.saved()),
        done: journal.trials.len() as u32,
        machine: header.machine.clone(),
        workers: run.workers.rows(),
        engines: header.engines.clone(),
        models: header.models.clone(),
        reference: run.suite.reference().label.clone(),
        pack: run.suite.pack.clone(),
        margin: run.suite.margin,
        score: if run.suite.scores_by_probability() { Scoring::Probability } else { Scoring::Match },
        busy_s: whole.busy_s,
        selection: run.selection.rows(),
        seed: run.suite.seed,
        confidence: run.suite.confidence,
        draws: run.suite.draws,
        sampling: run.suite.sampled(),
        objectives: run.suite.objectives.clone(),
        verdict: String::new(),
        night_before: None,
        cells: all.cells,
        aa: all.aa,
        tasks: all.tasks,
        repeats: all.repeats,
        thinking: all.thinking,
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
        held: held::tasks(&run),
        load: loadtest::summary(&run)?,
        fronts: all.fronts,
        interactions: all.interactions,
        stopping: stopping::summary(run.suite, &journal.decisions, run.saved()),
        gates: Vec::new(),
        failures: whole.failures,
        warnings: Vec::new(),
        not_measured: Vec::new(),
    };
    summary.memory_fits = memory_formula::fits(&run, &summary.cells);
    summary.effective = effective::lengths(&summary);
    summary.speculation = speculation::rows(&run, &summary);
    summary.gates = gates::check(&run.suite.gates, &summary, &all.exact, &gates::Doubts::of(&run)?);
    summary.warnings = warnings::warnings(&run, &summary)?;
    summary.not_measured = warnings::not_measured(&run, &summary);
    summary.verdict = verdict::sentences(&summary);
    Ok(summary)
}

/// What is said of the run as a whole, from every trial.
struct RunFindings {
    duration_s: f64,
    busy_s: f64,
    failures: Vec<FailureRow>,
}

impl RunFindings {
    fn of(journal: &Journal) -> Self {
        Self {
            duration_s: duration::duration_s(journal),
            busy_s: duration::busy_s(journal),
            failures: tasks::failures(journal),
        }
    }
}

/// What is said of one context length, or of all together.
#[derive(Default)]
struct ContextFindings<'a> {
    cells: Vec<CellSummary>,
    aa: Vec<AaSummary>,
    tasks: Vec<TaskRow>,
    repeats: Vec<RepeatRow>,
    thinking: Vec<ThinkingRow>,
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

impl<'a> ContextFindings<'a> {
    fn of(run: &Run<'a>, context: u32) -> Result<Self> {
        let level = quality::Level::new(run, context);
        let kld = kld::compare(run, context);
        let mut measured = cells::of_level(run, &level, &kld)?;
        quality::judge(&mut measured, &level);
        outlook::fill_in(run, &level, &mut measured);
        let fronts = pareto::place(&mut measured, pareto::Rule::of(run.suite)).into_iter().collect();
        let interactions = interaction::interactions(run, &level, &measured);
        // An exact interval is one that is looked at once.
        let looked_at_once = !run.suite.gates.is_empty() && !run.suite.stops_by_outcome();
        let settings = run.suite.settings.iter().filter(|_| looked_at_once);
        let exact = settings
            .filter_map(|setting| Some(((&*setting.label, context), level.right_of(run, &setting.label)?)))
            .collect();
        let mut depths = tasks::depths(run, context);
        depths.extend(kld.depths);
        Ok(Self {
            cells: measured.into_iter().map(|cell| cell.summary).collect(),
            aa: level.aa(kld.max_aa).into_iter().collect(),
            tasks: tasks::rows(run, context)?,
            repeats: repeats::rows(run, context),
            thinking: thinking::rows(run, context)?,
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
        self.repeats.extend(more.repeats);
        self.thinking.extend(more.thinking);
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
