//! How answers are scored, and how many questions share a text.

use super::super::checker::Checker;
use super::super::raw::{RawSuite, RawTask};
use crate::error::Result;
use crate::measure::engine::Engine;
use crate::record::Scoring;
use crate::record::suite::{TaskSpec, Window};
use crate::task::{self, Weight};

impl Checker {
    pub(super) fn score(&self, raw: &RawTask, task: &dyn task::Task) -> Result<Scoring> {
        let Some(score) = raw.score.as_ref().filter(|score| *score.get_ref() == Scoring::Probability) else {
            return Ok(Scoring::Match);
        };
        if !task.card().needs.closed_answer {
            let message = format!("{} has no answer that could be scored by probability", task.name());
            return Err(self.error(score.span(), message, "leave this out"));
        }
        let thinks = raw
            .options
            .iter()
            .find(|(name, value)| name.get_ref() == task::options::THINKING_TOKENS && value.get_ref().0 > 0);
        match thinks {
            Some((name, _)) => {
                let message = "a budget for thinking beside a score by probability: a forced answer is not thought about";
                Err(self.error(name.span(), message, "leave this out, or choose score = \"match\""))
            }
            None => Ok(Scoring::Probability),
        }
    }

    pub(super) fn questions(&self, raw: &RawTask, task: &dyn task::Task) -> Result<u32> {
        let Some(questions) = &raw.questions else { return Ok(1) };
        let score = raw.score.as_ref().map_or(Scoring::Match, |score| *score.get_ref());
        let most = task.card().needs.most_questions(score);
        self.within(questions, 1, most, "questions to one text (the task's most with this score)")
    }

    pub(super) fn window(&self, raw: &RawTask) -> Result<Option<Window>> {
        let Some(window) = &raw.window else { return Ok(None) };
        let score = raw.score.as_ref().map_or(Scoring::Match, |score| *score.get_ref());
        if score != Scoring::Probability {
            let message = "a window of probabilities beside scores that are right or wrong";
            return Err(self.error(
                window.span(),
                message,
                "leave this out, or choose score = \"probability\"",
            ));
        }
        let [low, high] = *window.get_ref();
        Window::new(low, high).map(Some).ok_or_else(|| {
            self.error(window.span(), "the window is no part of 0 to 1", "such as [0.05, 0.98]")
        })
    }

    pub(super) fn primary(&self, raw: &RawTask, task: &dyn task::Task) -> Result<Option<bool>> {
        let Some(primary) = &raw.primary else { return Ok(None) };
        let card = task.card();
        let why_not = match card.weight {
            Weight::Comparative => "is compared with the reference and has no quality of its own",
            _ if card.needs.watches_cache => "says what the server's cache keeps, not how good answers are",
            Weight::Primary | Weight::Sanity => return Ok(Some(*primary.get_ref())),
        };
        Err(self.error(primary.span(), format!("{} {why_not}", task.name()), "leave this out"))
    }

    /// Checks what no task can say alone: that all are scored alike, and that the engine can do it.
    pub(super) fn check_scores(&self, raw: &RawSuite, tasks: &[TaskSpec], engine: &dyn Engine) -> Result<()> {
        self.one_score(raw, tasks)?;
        let forced = raw.tasks.iter().filter_map(|task| task.score.as_ref());
        let Some(score) = forced.into_iter().find(|score| *score.get_ref() == Scoring::Probability) else {
            return Ok(());
        };
        if engine.card().wire.forces_answers() {
            return Ok(());
        }
        let message =
            format!("{} does not tell how probable an answer is that it is made to give", engine.name());
        Err(self
            .error(score.span(), message, "this score")
            .hint("llama.cpp, ik_llama.cpp, vllm and sglang do; elsewhere choose score = \"match\""))
    }

    /// Means over tasks are of one kind of score: a share of right answers and a probability are not pooled. A sum of both
    /// would move with the mixture.
    fn one_score(&self, raw: &RawSuite, tasks: &[TaskSpec]) -> Result<()> {
        let counts = |spec: &&TaskSpec| {
            task::find(&spec.name).is_some_and(|task| task.card().weight != Weight::Comparative)
        };
        let mut scored = tasks.iter().filter(counts);
        let Some(first) = scored.next() else { return Ok(()) };
        let Some(other) = scored.find(|spec| spec.score != first.score) else { return Ok(()) };
        let place = raw.tasks.iter().find(|raw| *raw.name.get_ref() == other.name);
        let span = place.map_or(0..0, |raw| raw.name.span());
        let message = format!(
            "{} is scored by {}, {} by {}: all tasks of a suite must have the same score",
            other.name,
            other.score.name(),
            first.name,
            first.score.name()
        );
        Err(self.error(span, message, "this task").hint("put them into two suites"))
    }
}
