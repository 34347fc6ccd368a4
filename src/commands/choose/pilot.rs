//! The reference alone tries the questions: which of them tell anything, and how long a text takes.
//!
//! Its cases are others than the run's (another seed): a margin that is set by the run's own would depend on what is judged.

use std::time::Instant;

use super::questions::{Ladder, Question};
use crate::error::{Error, Kind, Result};
use crate::judge::analysis::words::percent;
use crate::measure::runner::{CaseServer, Interrupt, Prepared};
use crate::record::suite::{Suite, TaskSpec};
use crate::record::{Case, Outcome};

/// Makes the pilot's seed from the suite's.
const OTHER_CASES: u64 = 0x6368_6f6f_7365_0001;
/// Texts of a task.
const TEXTS: u32 = 2;
/// A question that the reference finds less probable than this tells nothing: there is nothing to lose.
pub(super) const LOST: f64 = 0.05;
/// A task of which it can answer a smaller share is not asked.
const ENOUGH: f64 = 0.15;
/// Above this score a harder task is asked, where there is one.
const TOO_EASY: f64 = 0.98;

/// What the pilot found.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Found {
    /// What is asked.
    pub questions: Vec<Question>,
    /// Mean score of the reference over those that it can answer (0..1).
    pub score: f64,
    /// Time of a visit with these, loading included (s).
    pub visit_s: f64,
    /// Time that the pilot's server was up (s).
    pub took_s: f64,
    /// What is not asked, and why.
    pub notes: Vec<String>,
}

/// A question and what came of it.
struct Tried {
    question: Question,
    /// Mean over those that it can answer (0..1).
    score: f64,
    /// The share that it can answer (0..1).
    share: f64,
    text_s: f64,
    why: Option<String>,
}

/// Tries the ladders on the suite's reference. `suite` holds every question once.
///
/// # Errors
/// When the server does not come up, or the model gets nothing right.
pub(super) async fn pilot(suite: &Suite, prepared: &Prepared, ladders: &[Ladder]) -> Result<Found> {
    let interrupt = Interrupt::listen()?;
    let context = suite.contexts.first().copied().unwrap_or_default();
    let began = Instant::now();
    let mut server = CaseServer::open(suite, prepared, context, &interrupt).await?;
    let load_s = began.elapsed().as_secs_f64();
    let tried = tokio::select! {
        tried = every(&mut server, suite, ladders) => tried,
        () = interrupt.asked(1) => Err(Error::new(Kind::Interrupted, "stopped before anything was decided")),
    };
    let speed_s = speed_s(&server, context).await;
    server.close().await?;
    found(tried?, load_s + speed_s, began.elapsed().as_secs_f64(), context)
}

async fn every(server: &mut CaseServer, suite: &Suite, ladders: &[Ladder]) -> Result<Vec<Tried>> {
    let mut tried = Vec::new();
    for ladder in ladders {
        tried.push(climb(server, suite, ladder).await?);
    }
    Ok(tried)
}

/// Asks what is harder while it is too easy; of two that are too hard or too easy the one nearer to the middle.
async fn climb(server: &mut CaseServer, suite: &Suite, ladder: Ladder) -> Result<Tried> {
    let mut best: Option<Tried> = None;
    for question in ladder {
        let tried = attempt(server, suite, question).await?;
        let usable = tried.share >= ENOUGH && tried.score <= TOO_EASY;
        let nearer = best.as_ref().is_none_or(|best| (tried.score - 0.5).abs() < (best.score - 0.5).abs());
        if nearer {
            best = Some(tried);
        }
        if usable {
            break;
        }
    }
    best.ok_or_else(|| Error::runtime("a ladder without a question"))
}

async fn attempt(server: &mut CaseServer, suite: &Suite, question: &Question) -> Result<Tried> {
    let spec = suite.tasks.iter().find(|spec| spec.name == question.task);
    let spec = spec.ok_or_else(|| Error::runtime(format!("{} is not asked", question.task)))?;
    let spec = TaskSpec { samples: TEXTS * spec.questions.max(4), ..spec.clone() };
    let context = suite.contexts.first().copied().unwrap_or_default();
    let mut cases: Vec<Case> = Vec::new();
    let mut keep = |case| {
        cases.push(case);
        Ok(())
    };
    let arm = spec.arms.first().copied();
    let made = server.each_case(&spec, suite.seed ^ OTHER_CASES, context, arm, &mut keep).await;
    if let Err(error) = made {
        // A text that does not fit is no reason to ask nothing.
        return if error.kind() == Kind::Usage {
            Ok(Tried {
                question: *question,
                score: 0.0,
                share: 0.0,
                text_s: 0.0,
                why: Some(error.to_string()),
            })
        } else {
            Err(error)
        };
    }
    let began = Instant::now();
    let (mut scores, mut why) = (Vec::new(), None);
    for case in &cases {
        match server.ask(case).await.outcome {
            Outcome::Scored(score) => scores.extend(score.quality),
            Outcome::Unscored { reason } => why = Some(reason),
            Outcome::Failed { error, .. } => why = Some(error.lines().next().unwrap_or_default().to_owned()),
        }
    }
    let answered: Vec<f64> = scores.iter().copied().filter(|score| *score >= LOST).collect();
    let texts = cases.len() as f64 / f64::from(spec.questions.max(1));
    Ok(Tried {
        question: *question,
        score: answered.iter().sum::<f64>() / answered.len().max(1) as f64,
        share: answered.len() as f64 / cases.len().max(1) as f64,
        text_s: began.elapsed().as_secs_f64() / texts.max(1.0),
        why: why.filter(|_| scores.is_empty()),
    })
}

/// Time of the cold prompts of a visit, about (s); what cannot be timed is left out.
async fn speed_s(server: &CaseServer, context: u32) -> f64 {
    const PROBED: usize = 200;
    match server.time(PROBED, 16).await {
        Ok(timing) => {
            2.0 * (f64::from(context) / timing.prefill_tps.max(1.0) + 64.0 / timing.decode_tps.max(0.1))
        }
        Err(_) => 0.0,
    }
}

fn found(tried: Vec<Tried>, other_s: f64, took_s: f64, context: u32) -> Result<Found> {
    let (kept, dropped): (Vec<Tried>, Vec<Tried>) =
        tried.into_iter().partition(|tried| tried.share >= ENOUGH);
    let notes: Vec<String> = dropped.iter().map(Tried::why_not).collect();
    if kept.is_empty() {
        let message =
            format!("the reference gets nothing right at {context} tokens: no quality can be compared");
        let error = Error::new(Kind::NothingSelected, message);
        let error = notes.into_iter().fold(error, Error::hint);
        return Err(error.hint("try another --context, or another --for"));
    }
    let texts_s = kept.iter().map(|tried| tried.text_s * f64::from(tried.question.texts)).sum::<f64>();
    Ok(Found {
        score: kept.iter().map(|tried| tried.score).sum::<f64>() / kept.len() as f64,
        questions: kept.iter().map(|tried| tried.question).collect(),
        visit_s: other_s + texts_s,
        took_s,
        notes,
    })
}

impl Tried {
    fn why_not(&self) -> String {
        let task = self.question.task;
        match &self.why {
            Some(why) => format!("{task} is not asked: {why}"),
            None => format!("{task} is not asked: the reference can answer {} of it", percent(self.share)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::questions;
    use super::*;
    use crate::cli::Purpose;

    fn tried(place: usize, score: f64) -> Tried {
        let question = questions::of(Purpose::Chat)[place][0];
        Tried { question, score, share: score, text_s: 2.0, why: None }
    }

    #[test]
    fn what_nobody_gets_right_is_not_asked_and_the_rest_is_timed() {
        let all = found(vec![tried(0, 0.4), tried(1, 0.01)], 3.0, 20.0, 512).unwrap();
        assert_eq!(all.questions.len(), 1);
        assert!((all.score - 0.4).abs() < 1e-12 && (all.visit_s - 13.0).abs() < 1e-12);
        assert_eq!(all.notes, ["coherence/state_ledger is not asked: the reference can answer 1% of it"]);
        let error = found(vec![tried(0, 0.0)], 0.0, 1.0, 512).unwrap_err();
        assert_eq!(error.kind(), Kind::NothingSelected);
        assert!(error.to_string().contains("nothing right at 512 tokens"));
    }
}
