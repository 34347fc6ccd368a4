//! Which setting to use: the best by one objective among those that meet the requirements, and how sure that
//! is.
//!
//! Requirements are judged by the estimates (by the whole interval when asked to be strict). How sure the
//! choice is comes from the joint bootstrap: in every draw the requirements are judged and the best is chosen
//! anew; the pick's frequency is its share of draws. Quality draws are the smoothed ones of
//! [`CellDraws`](crate::judge::stats::CellDraws), so that settings which agree on a handful of items are not
//! taken to be equal for certain.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::memory_formula::{MemoryFormula, MemoryPrediction};
use super::summary::{Estimate, MemoryKind};
use super::{Registry, Run, Tasks};
use crate::error::{Error, Kind, Result};
use crate::record::Objective;
use crate::record::journal::Journal;

mod candidate;
mod choose;
mod command;
mod levels;
mod warning;
mod weighted;

use candidate::Candidate;
pub use command::ToServe;
pub use warning::{Warning, WarningCode};

/// Version of the JSON form of [`Pick`].
pub const PICK_SCHEMA_VERSION: u32 = 1;

/// What the pick is the best in.
#[derive(
    Debug,
    Clone,
    Copy,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    JsonSchema,
    clap::ValueEnum,
)]
#[serde(rename_all = "lowercase")]
pub enum Goal {
    /// The highest decode rate
    #[default]
    Decode,
    /// The shortest time to the first token
    Ttft,
    /// The least memory
    Memory,
    /// The least energy for a request
    Energy,
    /// The best compromise of the suite's objectives
    Knee,
}

/// The least quality that will do.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum MinQuality {
    /// Within the suite's margin of the reference.
    WithinMargin,
    /// This share of the reference's score (0..1).
    OfReference(f64),
    /// This score (0..1); 0 asks for no quality at all, not even a measured one.
    Score(f64),
}

/// What is asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// Context length (tokens).
    pub context: u32,
    /// Memory that there is (bytes).
    pub memory: Option<u64>,
    /// The least quality that will do.
    pub min_quality: MinQuality,
    /// The least decode rate that will do (tokens/s).
    pub min_decode: Option<f64>,
    /// What to be the best in.
    pub goal: Goal,
    /// Weights of tasks in the quality, by name; others have 1.
    pub task_weights: BTreeMap<String, f64>,
    /// Whether a context length that was not measured may be answered from others.
    pub extrapolate: bool,
    /// Whether requirements must hold for the whole interval.
    pub strict: bool,
}

impl Request {
    /// The fastest setting within the suite's margin at a measured context length (tokens).
    pub fn new(context: u32) -> Self {
        Self {
            context,
            memory: None,
            min_quality: MinQuality::WithinMargin,
            min_decode: None,
            goal: Goal::default(),
            task_weights: BTreeMap::new(),
            extrapolate: false,
            strict: false,
        }
    }
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Pick {
    /// [`PICK_SCHEMA_VERSION`].
    pub schema_version: u32,
    /// Name of the run folder.
    pub run: String,
    /// Suite name.
    pub suite: String,
    /// Label of the reference setting.
    pub reference: String,
    /// Context length asked for (tokens).
    pub context: u32,
    /// Measured context lengths that the answer rests on (tokens): `context` itself, or its neighbours.
    pub based_on: Vec<u32>,
    /// What to be the best in.
    pub goal: Goal,
    /// What was required, in words.
    pub requirements: Vec<String>,
    /// What must be read before the answer, the gravest first: on what weak ground it stands. Empty: nothing was seen.
    #[serde(default)]
    pub warnings: Vec<Warning>,
    /// Label of the setting to use.
    pub setting: String,
    /// The command line to serve it with, for a shell: an ordinary port, and nothing that is there only to measure.
    #[serde(default)]
    pub serve_command: Option<String>,
    /// The command line of its server as it was measured, for a shell.
    pub command: Option<String>,
    /// Share of bootstrap draws in which it is the best that meets the requirements (0..1); `None` without
    /// draws, and on so few trials that their draws say nothing.
    pub frequency: Option<f64>,
    /// The second best.
    pub runner_up: Option<RunnerUp>,
    /// Every setting, the pick first, then those that meet the requirements from best to worst, then the
    /// refused ones.
    pub candidates: Vec<CandidateRow>,
    /// Memory of the pick by formula, checked against the measured cells.
    pub memory: MemoryPrediction,
    /// What the reader must know.
    pub notes: Vec<String>,
}

/// The second best, and by how much.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RunnerUp {
    /// Setting label.
    pub setting: String,
    /// By how much the pick is better in the goal: a share of the runner-up's figure (0.1 is 10%), for `knee`
    /// the difference of the compromise scores (0..1).
    pub margin: Estimate,
    /// Share of draws in which it would have been picked (0..1).
    pub frequency: Option<f64>,
}

/// A setting that could be picked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CandidateRow {
    /// Setting label.
    pub setting: String,
    /// Quality (0..1).
    pub quality: Option<Estimate>,
    /// Paired difference to the reference (points of the 0..1 scale).
    pub difference: Option<Estimate>,
    /// Decode rate (tokens/s).
    pub decode_tps: Option<Estimate>,
    /// Time to first token (s).
    pub ttft_s: Option<Estimate>,
    /// Energy of a request (J).
    pub energy_j: Option<Estimate>,
    /// Peak memory (bytes): measured, or by formula at a context length that was not.
    pub memory_bytes: Option<u64>,
    /// Which memory that is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_kind: Option<MemoryKind>,
    /// Share of draws in which it is picked (0..1).
    pub frequency: Option<f64>,
    /// Why it is refused; empty: it meets the requirements.
    pub refused: Vec<String>,
    /// Whether it is refused although it looks better in the goal than the pick.
    pub better_looking: bool,
}

/// Answers from a run's journal.
///
/// # Errors
/// A usage error for a context length that was not measured (without `extrapolate`) or an unknown task; an
/// error of kind [`Kind::NothingSelected`] when no setting meets the requirements.
pub fn pick(journal: &Journal, request: &Request, to_serve: ToServe<'_>) -> Result<Pick> {
    pick_with(journal, &Registry, request, to_serve)
}

/// As [`pick`], with another table of tasks.
///
/// # Errors
/// As [`pick`].
pub fn pick_with(
    journal: &Journal,
    tasks: &dyn Tasks,
    request: &Request,
    to_serve: ToServe<'_>,
) -> Result<Pick> {
    let run = Run::new(journal, tasks)?;
    weighted::check_names(&run, &request.task_weights)?;
    let basis = levels::Basis::of(&run, request)?;
    quality_can_be_judged(&run, &basis, request)?;
    let candidates = candidate::all(&run, &basis, request)?;
    let choice = choose::choose(&candidates, &run, request).ok_or_else(|| nothing(&candidates, request))?;
    let best = &candidates[choice.best];
    let mut notes = choice.notes.clone();
    let commands = command::of(journal, best.setting, &basis, request.context, to_serve, &mut notes);
    let (serve_command, command) = commands.unzip();
    Ok(Pick {
        schema_version: PICK_SCHEMA_VERSION,
        run: journal.header.run.clone(),
        suite: run.suite.name.clone(),
        reference: run.suite.reference().label.clone(),
        context: request.context,
        based_on: basis.contexts(),
        goal: request.goal,
        requirements: requirements(request, run.suite.margin),
        warnings: warning::all(&run, &basis, request, best)?,
        setting: best.label().to_owned(),
        serve_command,
        command,
        frequency: choice.frequency(choice.best),
        runner_up: choice.runner_up(&candidates),
        candidates: choice.rows(&candidates),
        memory: MemoryFormula::of(&run, best.setting)?.at(request.context),
        notes,
    })
}

/// Refuses to weigh qualities where there are none: beside a reference that gets nothing right everything is as good.
fn quality_can_be_judged(run: &Run<'_>, basis: &levels::Basis, request: &Request) -> Result<()> {
    let tasks = warning::Tasks::of(run, basis, request)?;
    if !warning::asks_for_quality(request) || !tasks.all_score_zero() {
        return Ok(());
    }
    let message = format!("no quality can be compared at {} tokens", request.context);
    Err(Error::new(Kind::NothingSelected, message)
        .hint(tasks.nothing_right())
        .hint("use tasks that the reference can do (`kneepoint run SUITE --pilot` finds them)")
        .hint("or pick without regard to quality: --min-quality 0"))
}

/// What is required, in words.
fn requirements(request: &Request, margin: f64) -> Vec<String> {
    use super::words::{bytes, percent, points};
    let mut lines = vec![match request.min_quality {
        MinQuality::WithinMargin => format!("quality within {} of the reference", points(margin)),
        MinQuality::OfReference(share) => format!("at least {} of the reference's quality", percent(share)),
        MinQuality::Score(score) if score <= 0.0 => "any quality".to_owned(),
        MinQuality::Score(score) => format!("quality of at least {score}"),
    }];
    if let Some(limit) = request.memory {
        lines.push(format!("at most {} of memory", bytes(limit)));
    }
    if let Some(rate) = request.min_decode {
        lines.push(format!("at least {rate} tokens/s of decoding"));
    }
    let weights: Vec<String> =
        request.task_weights.iter().map(|(task, weight)| format!("{task} weighing {weight}")).collect();
    if !weights.is_empty() {
        lines.push(format!("{} in the quality", weights.join(", ")));
    }
    if request.strict {
        lines.push("each for the whole interval".to_owned());
    }
    lines
}

/// Why there is nothing to pick, setting by setting.
fn nothing(candidates: &[Candidate<'_>], request: &Request) -> Error {
    const SHOWN: usize = 8;
    let message = format!("no setting meets the requirements at {} tokens", request.context);
    let mut error = Error::new(Kind::NothingSelected, message);
    for candidate in candidates.iter().take(SHOWN) {
        error = error.hint(format!("{}: {}", candidate.label(), candidate.refused.join("; ")));
    }
    if candidates.len() > SHOWN {
        error = error.hint(format!("and {} more settings", candidates.len() - SHOWN));
    }
    let unmeasured = candidates.iter().all(|candidate| candidate.quality().is_none());
    if unmeasured && request.min_quality != MinQuality::Score(0.0) {
        error = error.hint("no quality was measured here: --min-quality 0 picks without regard to it");
    }
    let unmetered = candidates.iter().all(|candidate| candidate.estimate(Objective::Energy).is_none());
    if request.goal == Goal::Energy && unmetered {
        error = error.hint("no energy was measured in this run: choose another --objective");
    }
    error
}
