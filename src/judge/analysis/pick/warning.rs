//! What must be read before the answer: on what weak ground it stands.

#[cfg(test)]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::candidate::Candidate;
use super::levels::Basis;
use super::request::{Goal, MinQuality, PickRequest};
use super::weighted;
use crate::error::{Error, Kind, Result};
use crate::judge::analysis::arm_suffix;
use crate::judge::analysis::frame::VisitKey;
use crate::judge::analysis::run::Run;
use crate::judge::analysis::summary::Verdict;
use crate::judge::analysis::tasks::is_uninformative;
use crate::judge::analysis::warnings::{self, Doubt};
use crate::judge::analysis::words::{percent, points, thousands};
use crate::record::Objective;
use crate::task::Weight;

/// Something that weakens the answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct Warning {
    /// What kind of thing it is.
    pub code: WarningCode,
    /// It in words.
    pub text: String,
}

/// Kinds of warnings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum WarningCode {
    /// Planned trials have no outcome yet.
    RunIncomplete,
    /// The reference scores 0 on every task that counts: no loss can show.
    ReferenceScoresZero,
    /// Every task that counts is too easy or too hard for the reference to show a loss.
    UninformativeTasks,
    /// The run shows the pick to be worse than the reference.
    WorseThanReference,
    /// Trials of the pick broke.
    TrialsBroke,
    /// The context length was not measured.
    ContextNotMeasured,
    /// The context length is beyond the one that the model was trained for.
    BeyondTrainedContext,
    /// The pick is sampled otherwise than the reference.
    SampledOtherwise,
    /// The run itself doubts a figure of speed that the answer rests on.
    DoubtfulSpeed,
    /// The run itself doubts a figure of energy that the answer rests on.
    DoubtfulEnergy,
    /// The run itself doubts a figure of memory that the answer rests on.
    DoubtfulMemory,
}

/// Refuses to weigh qualities where there are none: beside a reference that gets nothing right everything is as good.
pub(super) fn quality_can_be_judged(run: &Run<'_>, basis: &Basis, request: &PickRequest) -> Result<()> {
    let tasks = Tasks::of(run, basis, request)?;
    if !asks_for_quality(request) || !tasks.all_score_zero() {
        return Ok(());
    }
    let message = format!("no quality can be compared at {} tokens", request.context);
    Err(Error::new(Kind::NothingSelected, message)
        .hint(tasks.nothing_right())
        .hint("use tasks that the reference can do (`kneepoint run SUITE --pilot` finds them)")
        .hint("or pick without regard to quality: --min-quality 0"))
}

/// Everything that weakens the pick, the gravest first.
pub(super) fn all(
    run: &Run<'_>,
    basis: &Basis,
    request: &PickRequest,
    pick: &Candidate<'_>,
) -> Result<Vec<Warning>> {
    let mut found = Vec::new();
    let mut warn = |code, text: Option<String>| found.extend(text.map(|text| Warning { code, text }));
    warn(WarningCode::RunIncomplete, incomplete(run, basis));
    warn(WarningCode::WorseThanReference, worse(pick));
    warn(WarningCode::TrialsBroke, pick.broke());
    let tasks = Tasks::of(run, basis, request)?;
    match tasks.all_score_zero() {
        true => warn(WarningCode::ReferenceScoresZero, Some(tasks.nothing_right())),
        false => warn(WarningCode::UninformativeTasks, tasks.uninformative()),
    }
    warn(WarningCode::ContextNotMeasured, basis.note(request));
    warn(WarningCode::BeyondTrainedContext, beyond_trained(run, request, pick));
    warn(WarningCode::SampledOtherwise, sampled_otherwise(run, pick));
    let needs = needs(run, request);
    let doubts = warnings::doubts(run)?;
    for (code, objectives) in [
        (WarningCode::DoubtfulSpeed, &[Objective::Decode, Objective::Prefill, Objective::Ttft][..]),
        (WarningCode::DoubtfulEnergy, &[Objective::Energy]),
        (WarningCode::DoubtfulMemory, &[Objective::Memory]),
    ] {
        let about = |doubt: &&Doubt| {
            doubt.about.iter().any(|about| objectives.contains(about) && needs.contains(about))
        };
        for doubt in doubts.iter().filter(about) {
            warn(code, Some(warnings::sentence(&doubt.finding)));
        }
    }
    if needs.contains(&Objective::Memory) && pick.memory_is_shared {
        let text =
            "its server shared much of its memory with other processes: only a part of that is counted";
        warn(WarningCode::DoubtfulMemory, Some(text.into()));
    }
    Ok(found)
}

/// What the answer is chosen or required by.
fn needs(run: &Run<'_>, request: &PickRequest) -> Vec<Objective> {
    let mut needs = match request.goal {
        Goal::Decode => vec![Objective::Decode],
        Goal::Ttft => vec![Objective::Ttft],
        Goal::Memory => vec![Objective::Memory],
        Goal::Energy => vec![Objective::Energy],
        Goal::Knee => run.suite.objectives.clone(),
    };
    needs.extend(request.min_decode.map(|_| Objective::Decode));
    needs.extend(request.memory.map(|_| Objective::Memory));
    needs
}

/// How many trials are missing, in all and where the answer rests.
fn incomplete(run: &Run<'_>, basis: &Basis) -> Option<String> {
    let planned = run.planned_in_all().saturating_sub(run.saved());
    let done = run.journal.trials.len() as u32;
    if done >= planned {
        return None;
    }
    let contexts = basis.contexts();
    let here = run.journal.trials.iter().filter(|trial| contexts.contains(&trial.key.context)).count();
    Some(format!(
        "the run is not finished: {} of {} planned trials are in its journal, {} of them at the context length of this \
         answer; the rest may change it",
        thousands(u64::from(done)),
        thousands(u64::from(planned)),
        thousands(here as u64),
    ))
}

fn worse(pick: &Candidate<'_>) -> Option<String> {
    let loss = pick.difference.map_or(String::new(), |difference| {
        format!(": {} below it on {} cases", points(difference.value.abs()), difference.n)
    });
    (pick.verdict == Verdict::Worse)
        .then(|| format!("the run shows this setting to be worse than the reference{loss}"))
}

fn beyond_trained(run: &Run<'_>, request: &PickRequest, pick: &Candidate<'_>) -> Option<String> {
    let trained = run.trained_context(pick.setting)?;
    (u64::from(request.context) > trained).then(|| {
        format!(
            "{} was trained for {} tokens: at {} its answers may be worthless, whatever fits into memory",
            pick.setting.model,
            thousands(trained),
            thousands(u64::from(request.context)),
        )
    })
}

/// What the pick's quality rests on beside its types: another sampling, which whoever serves it has to ask for, too.
fn sampled_otherwise(run: &Run<'_>, pick: &Candidate<'_>) -> Option<String> {
    let alike = run.suite.sampled();
    let own = alike.iter().find(|alike| alike.settings.contains(&pick.setting.label))?;
    let differs = own.differs.join(", ");
    (!differs.is_empty()).then(|| format!("it was sampled otherwise than the reference: {differs}"))
}

/// The reference on the tasks that count.
pub(super) struct Tasks {
    /// Name, context length (tokens) and mean score.
    means: Vec<(String, u32, f64)>,
}

impl Tasks {
    /// Tasks of the quality that the request asks for, at the context lengths that the answer rests on.
    pub(super) fn of(run: &Run<'_>, basis: &Basis, request: &PickRequest) -> Result<Self> {
        let reference = run.suite.reference().label.as_str();
        let mut means = Vec::new();
        for context in basis.contexts() {
            let visit = VisitKey { setting: reference, context, replicate: 0 };
            for (task, arm) in run.task_arms(context) {
                let counts =
                    run.weight(task) == Weight::Primary && weighted::counts(&request.task_weights, task);
                let judged = if counts { run.frame.judged(visit, task, arm)? } else { Vec::new() };
                if !judged.is_empty() {
                    let sum: f64 = judged.iter().map(|trial| trial.quality).sum();
                    means.push((format!("{task}{}", arm_suffix(arm)), context, sum / judged.len() as f64));
                }
            }
        }
        Ok(Self { means })
    }

    /// Whether there are such tasks and the reference gets nothing right in any.
    pub(super) fn all_score_zero(&self) -> bool {
        !self.means.is_empty() && self.means.iter().all(|(.., mean)| *mean <= 0.0)
    }

    /// That nothing can be said of quality.
    pub(super) fn nothing_right(&self) -> String {
        format!("the reference scores 0 on {}: no loss of quality can show", self.names())
    }

    fn uninformative(&self) -> Option<String> {
        let blind = !self.means.is_empty() && self.means.iter().all(|(.., mean)| is_uninformative(*mean));
        blind.then(|| {
            let scores: Vec<String> = self.means.iter().map(|(.., mean)| percent(*mean)).collect();
            format!(
                "every task that counts is uninformative: the reference scores {} on {}, so little or no damage can show",
                scores.join(", "),
                self.names()
            )
        })
    }

    fn names(&self) -> String {
        let names: Vec<String> = self
            .means
            .iter()
            .map(|(task, context, _)| format!("{task} at {} tokens", thousands(u64::from(*context))))
            .collect();
        names.join(", ")
    }
}

/// Whether the quality that is asked for is one beside the reference's, or above zero.
pub(super) fn asks_for_quality(request: &PickRequest) -> bool {
    !matches!(request.min_quality, MinQuality::Score(score) if score <= 0.0)
}
