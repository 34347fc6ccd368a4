//! Retrieval: find what was said somewhere in a long context.
//!
//! A task of this family is a [`Retrieval`]: what it says of itself, how it draws a [`CaseDraft`] of any length, and
//! how it judges a reply. Sizing to the token budget and making the case are the same for all of them.

use super::fitting::Fitter;
use super::options::{
    OUTPUT_HELP, OUTPUT_TOKENS, THINKING, THINKING_TOKENS, option, output_tokens, read_target, tuned,
};
use super::{Card, Emit, Params, Task, TokenCounter, collected};
use crate::error::Result;
use crate::record::{Case, Message, Mode, Outcome, Reply, Score};

pub(crate) mod closed;
pub mod common_words;
pub mod confusable_keys;
pub mod counting;
pub(crate) mod draft;
mod essay;
pub mod frequent_words;
pub mod graph_walks;
mod haystack;
pub(crate) mod listing;
mod matching;
mod needles;
pub mod niah;
pub mod ordinal_recall;
#[cfg(test)]
mod published;
pub mod same_asks;
mod shared_text;
#[cfg(test)]
mod testing;
pub mod variable_tracking;

use closed::Closed;
use draft::{CaseDraft, Draw};
pub(crate) use matching::{all_answers, answers, ran_out};
pub use matching::{match_all, match_part};
use shared_text::SharedText;

/// Tokens that stay free where a text is asked several questions: one may be longer than the one it was sized with.
const QUESTION_ROOM: u32 = 32;

/// What a task of this family says of itself.
#[derive(Debug, Clone, Copy)]
pub(crate) struct About {
    /// The card; its options name [`output_tokens`] and [`THINKING`] among them.
    pub(crate) card: Card,
    /// RULER's output budget (tokens), where the answer is begun for the model; none: it never is.
    pub(crate) prefill: Option<u32>,
}

/// A task that asks about a context that is filled.
pub(crate) trait Retrieval: Sync {
    /// What it says of itself.
    fn about(&self) -> About;

    /// Tokens kept for an answer of which the suite says nothing.
    fn answer_tokens(&self, params: &Params) -> u32 {
        self.about().answer_tokens(params.mode)
    }

    /// Draws a case whose length is not decided yet.
    fn draft<'a>(&self, draw: &Draw<'a>) -> Box<dyn CaseDraft + 'a>;

    /// Judges a reply.
    ///
    /// # Errors
    /// The outcome of a case that this task cannot have made.
    fn judge(&self, case: &Case, reply: &Reply) -> Result<Score, Outcome>;

    /// A text that scores 1; none for a case that this task cannot have made.
    fn right_answer(&self, case: &Case) -> Option<String>;
}

impl<T: Retrieval> Task for T {
    fn card(&self) -> Card {
        let About { mut card, prefill } = self.about();
        if prefill.is_some() {
            card.needs.modes = &[Mode::Chat, Mode::Prefill];
        }
        card
    }

    fn max_tokens(&self, params: &Params) -> u32 {
        let answer = params.options.get(OUTPUT_TOKENS).copied();
        let thinking = params.option(&self.card(), THINKING_TOKENS);
        answer.unwrap_or_else(|| self.answer_tokens(params)).saturating_add(thinking)
    }

    fn cases(&self, params: &Params, seed: u64, tokens: &dyn TokenCounter) -> Result<Vec<Case>> {
        collected(|emit| self.each_case(params, seed, tokens, emit))
    }

    fn each_case(&self, params: &Params, seed: u64, tokens: &dyn TokenCounter, emit: Emit<'_>) -> Result<()> {
        let text = params.text.as_ref().map(|source| source.sentences()).transpose()?;
        let questions = params.questions.max(1);
        let room = if questions > 1 { QUESTION_ROOM } else { 0 };
        let budget = params.context.saturating_sub(self.max_tokens(params)).saturating_sub(room);
        let mut fitter = None;
        (0..params.samples.div_ceil(questions)).try_for_each(|index| {
            let draw = Draw { task: self, params, seed, index, text: text.as_deref() };
            let mut draft = self.draft(&draw);
            let (min, max) = draft.units().into_inner();
            let fitter = fitter.get_or_insert_with(|| Fitter::new(budget, min, max));
            SharedText::fitted(&draw, draft.as_mut(), fitter, tokens)?.each_question(emit)
        })
    }

    fn score(&self, case: &Case, reply: &Reply) -> Outcome {
        self.judge(case, reply).map_or_else(|outcome| outcome, Outcome::Scored)
    }

    fn perfect(&self, case: &Case) -> Option<Reply> {
        Some(Reply { content: self.right_answer(case)?, ..Reply::default() })
    }
}

/// A question, and in prefill mode the first words of an answer to it.
fn conversation(question: String, mode: Mode, answer: impl FnOnce() -> String) -> Vec<Message> {
    let mut messages = vec![Message::user(question)];
    if mode == Mode::Prefill {
        messages.push(Message::prefill(answer()));
    }
    messages
}

impl About {
    fn answer_tokens(&self, mode: Mode) -> u32 {
        let declared = self.card.options.iter().find(|option| option.name == OUTPUT_TOKENS);
        let chat = declared.map(|option| option.default).unwrap_or_default();
        self.prefill.filter(|_| mode == Mode::Prefill).unwrap_or(chat)
    }
}
