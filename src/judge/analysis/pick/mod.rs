//! Which setting to use: the best by one objective among those that meet the requirements, and how sure that
//! is.
//!
//! Requirements are judged by the estimates (by the whole interval when asked to be strict). How sure the
//! choice is comes from the joint bootstrap: in every draw the requirements are judged and the best is chosen
//! anew; the pick's frequency is its share of draws. Quality draws are the smoothed ones of
//! [`CellDraws`](crate::judge::stats::CellDraws), so that settings which agree on a handful of cases are not
//! taken to be equal for certain.

use super::memory_formula::MemoryFormula;
use super::run::Run;
use super::{Registry, Tasks};
use crate::error::{Error, Kind, Result};
use crate::judge::serving;
use crate::record::Objective;
use crate::record::journal::Journal;

mod answer;
mod bytes;
mod candidate;
mod choose;
mod command;
mod levels;
mod longest;
mod request;
mod warning;
mod weighted;

pub use answer::{CandidateRow, PICK_SCHEMA_VERSION, Pick, RunnerUp};
pub use bytes::{ByteStep, Bytes, EqualPair, Part};
use candidate::Candidate;
pub use command::ToServe;
pub use longest::Longest;
pub use request::{Goal, MinQuality, PickRequest};
pub use warning::{Warning, WarningCode};

/// Answers from a run's journal.
///
/// # Errors
/// A usage error for a context length that was not measured (without `extrapolate`) or an unknown task; an
/// error of kind [`Kind::NothingSelected`] when no setting meets the requirements.
pub fn pick(journal: &Journal, request: &PickRequest, to_serve: ToServe<'_>) -> Result<Pick> {
    pick_with(journal, &Registry, request, to_serve)
}

/// As [`pick`], with another table of tasks.
///
/// # Errors
/// As [`pick`].
pub fn pick_with(
    journal: &Journal,
    tasks: &dyn Tasks,
    request: &PickRequest,
    to_serve: ToServe<'_>,
) -> Result<Pick> {
    let run = Run::new(journal, tasks)?;
    weighted::check_names(&run, &request.task_weights)?;
    let (found, longest) = match request.longest {
        true => longest::find(&run, request).map(|(found, longest)| (found, Some(longest)))?,
        false => (request.clone(), None),
    };
    let request = &found;
    let basis = levels::Basis::of(&run, request)?;
    warning::quality_can_be_judged(&run, &basis, request)?;
    let candidates = candidate::all(&run, &basis, request)?;
    let choice = choose::choose(&candidates, &run, request).ok_or_else(|| nothing(&candidates, request))?;
    let best = &candidates[choice.best];
    let mut notes = choice.notes.clone();
    let commands = command::of(journal, best.setting, &basis, request.context, to_serve, &mut notes);
    Ok(Pick {
        schema_version: PICK_SCHEMA_VERSION,
        run: journal.header.run.clone(),
        suite: run.suite.name.clone(),
        reference: run.suite.reference().label.clone(),
        context: request.context,
        longest,
        bytes: request.bytes.then(|| bytes::compare(&run, &candidates, request.context)).transpose()?,
        based_on: basis.contexts(),
        goal: request.goal,
        requirements: requirements(request, run.suite.margin),
        warnings: warning::all(&run, &basis, request, best)?,
        setting: best.label().to_owned(),
        serve_command: commands.as_ref().map(|commands| commands.serving.argv.shell()),
        serve: commands.as_ref().map(|commands| serving::forms(&commands.serving)).unwrap_or_default(),
        command: commands.map(|commands| commands.measured),
        frequency: choice.frequency(choice.best),
        runner_up: choice.runner_up(&candidates),
        candidates: choice.rows(&candidates),
        memory: MemoryFormula::of(&run, best.setting)?.at(request.context),
        notes,
    })
}

/// What is required, in words.
fn requirements(request: &PickRequest, margin: f64) -> Vec<String> {
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
    if let Some(rate) = request.min_prefill {
        lines.push(format!("at least {rate} tokens/s of reading prompts"));
    }
    if let Some(seconds) = request.max_ttft {
        lines.push(format!("a first token within {seconds} s"));
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
fn nothing(candidates: &[Candidate<'_>], request: &PickRequest) -> Error {
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
