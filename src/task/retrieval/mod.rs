//! Retrieval: find what was said somewhere in a long context.
//!
//! A task of this family is a [`Retrieval`]: what it says of itself, how it draws a [`CaseDraft`] of any length, and
//! how it judges a reply. Sizing to the token budget and making the case are the same for all of them.

use std::ops::RangeInclusive;

use serde_json::Value;

use super::fitting::{Draft, Fitter};
use super::options::{
    OUTPUT_HELP, OUTPUT_TOKENS, THINKING, THINKING_TOKENS, option, output_tokens, read_target, tuned,
};
use super::random::{Random, stratified_depth};
use super::sizing::{Fit, too_large, too_small};
use super::{Card, Emit, Params, Task, TokenCounter, collected};
use crate::error::{Error, Result};
use crate::record::{Case, Message, Mode, Outcome, Prompt, Reply, Score};

pub mod common_words;
pub mod confusable_keys;
pub mod counting;
mod essay;
pub mod frequent_words;
pub mod graph_walks;
mod haystack;
mod listing;
mod matching;
mod needles;
pub mod niah;
pub mod ordinal_recall;
#[cfg(test)]
mod published;
#[cfg(test)]
mod testing;
pub mod variable_tracking;

pub(crate) use matching::{all_answers, answers, ran_out};
pub use matching::{match_all, match_part};

/// What a task of this family says of itself.
#[derive(Debug, Clone, Copy)]
struct About {
    /// The card; its options name [`output_tokens`] and [`THINKING`] among them.
    card: Card,
    /// RULER's output budget (tokens), where the answer is begun for the model; none: it never is.
    prefill: Option<u32>,
}

/// A task that asks about a context that is filled.
trait Retrieval: Sync {
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

/// A case in the making: a draft that knows what is asked of it.
trait CaseDraft: Draft {
    /// Fewest and most units, the same for all cases of a context length.
    fn units(&self) -> RangeInclusive<usize>;

    /// Where the answer lies with so many units (0..1); `None` when it lies in several places, or everywhere.
    fn depth(&self, _units: usize) -> Option<f64> {
        None
    }

    /// What a right answer is, with so many units.
    fn target(&self, units: usize) -> Value;
}

/// What a case is drawn from.
struct Draw<'a> {
    task: &'a dyn Task,
    params: &'a Params,
    seed: u64,
    index: u32,
    /// The sentences of the user's own text.
    text: Option<&'a [String]>,
}

impl Draw<'_> {
    fn option(&self, name: &str) -> u32 {
        self.params.option(&self.task.card(), name)
    }

    /// The random stream of this case for a purpose (`#purpose`, or empty for the first).
    fn random(&self, purpose: &str) -> Random {
        Random::of_case(self.seed, &self.stream(purpose), self.params.context, self.index)
    }

    /// The place of this case in a sequence that is spread over the context.
    fn depth(&self, purpose: &str) -> f64 {
        stratified_depth(self.seed, &self.stream(purpose), self.params.context, self.index)
    }

    fn stream(&self, purpose: &str) -> String {
        format!("{}{purpose}", self.task.name())
    }
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
        let budget = params.context.saturating_sub(self.max_tokens(params));
        let mut fitter = None;
        (0..params.samples).try_for_each(|index| {
            let draw = Draw { task: self, params, seed, index, text: text.as_deref() };
            let mut draft = self.draft(&draw);
            let (min, max) = draft.units().into_inner();
            let fitter = fitter.get_or_insert_with(|| Fitter::new(budget, min, max));
            let case = filled(&draw, draft.as_mut(), fitter, tokens)?;
            check_answer(&draw, &case, tokens)?;
            emit(case)
        })
    }

    fn score(&self, case: &Case, reply: &Reply) -> Outcome {
        self.judge(case, reply).map_or_else(|outcome| outcome, Outcome::Scored)
    }

    fn perfect(&self, case: &Case) -> Option<Reply> {
        Some(Reply { content: self.right_answer(case)?, ..Reply::default() })
    }
}

/// The case, made as long as the context allows.
fn filled(
    draw: &Draw<'_>,
    draft: &mut dyn CaseDraft,
    fitter: &mut Fitter,
    tokens: &dyn TokenCounter,
) -> Result<Case> {
    let Draw { task, params, index, .. } = *draw;
    let (name, context, max_tokens) = (task.name(), params.context, task.max_tokens(params));
    let Some(Fit { units, tokens: prompt_tokens }) = fitter.fit(draft, tokens)? else {
        let needed = tokens.count_chat(&draft.messages(fitter.min()), &[])?;
        return Err(too_small(name, context, max_tokens, needed));
    };
    if units >= fitter.max() {
        return Err(too_large(name, context, prompt_tokens));
    }
    let (messages, target) = (draft.messages(units), draft.target(units));
    let case = task.card().case(context, index, Prompt::chat(messages), target);
    Ok(case.at_depth(draft.depth(units)).sized(prompt_tokens, max_tokens).seal())
}

/// A right answer must fit into its budget: else every reply would be cut off, whatever the setting. In prefill
/// mode the budgets are RULER's, for better or worse.
fn check_answer(draw: &Draw<'_>, case: &Case, tokens: &dyn TokenCounter) -> Result<()> {
    let right = draw.task.perfect(case).filter(|_| draw.params.mode == Mode::Chat);
    let Some(right) = right else { return Ok(()) };
    // One more ends the turn.
    let needed = tokens.count_text(&right.content)? as usize + 1;
    let kept = case.max_tokens.saturating_sub(draw.option(THINKING_TOKENS));
    if needed <= kept as usize {
        return Ok(());
    }
    Err(Error::usage(format!(
        "{}: the right answer of case {} has {needed} tokens, and {kept} are kept for it",
        case.task, case.index
    ))
    .hint(format!("set its `{OUTPUT_TOKENS}` to {needed} or more, or make the task easier with its options")))
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
