//! A case in the making: what it is drawn from, and what is asked of it.

use std::ops::RangeInclusive;

use serde_json::Value;

use super::closed::Closed;
use crate::error::{Error, Result};
use crate::record::{Case, Mode};
use crate::task::fitting::Draft;
use crate::task::options::{OUTPUT_TOKENS, THINKING_TOKENS};
use crate::task::random::{Random, stratified_depth};
use crate::task::{Params, Task, TokenCounter};

/// A case in the making: a draft that knows what is asked of it.
pub(crate) trait CaseDraft: Draft {
    /// Fewest and most units, the same for all cases of a context length.
    fn units(&self) -> RangeInclusive<usize>;

    /// Where the answer lies with so many units (0..1); `None` when it lies in several places, or everywhere.
    fn depth(&self, _units: usize) -> Option<f64> {
        None
    }

    /// What a right answer is, with so many units.
    fn target(&self, units: usize) -> Value;

    /// Asks another question (from 0, below [`Needs::questions`](super::Needs::questions)) of the same text.
    fn ask(&mut self, _question: u32) {}

    /// The question, as it ends the prompt; empty for tasks that ask one.
    fn question(&self) -> String {
        String::new()
    }

    /// The right answer as one text, with so many units; `None` where no one text is right.
    fn closed(&self, _units: usize) -> Option<Closed> {
        None
    }
}

/// What a case is drawn from.
pub(crate) struct Draw<'a> {
    pub(crate) task: &'a dyn Task,
    pub(crate) params: &'a Params,
    pub(crate) seed: u64,
    pub(crate) index: u32,
    /// The sentences of the user's own text.
    pub(crate) text: Option<&'a [String]>,
}

impl Draw<'_> {
    pub(crate) fn option(&self, name: &str) -> u32 {
        self.params.option(&self.task.card(), name)
    }

    /// The random stream of this case for a purpose (`#purpose`, or empty for the first).
    pub(crate) fn random(&self, purpose: &str) -> Random {
        Random::of_case(self.seed, &self.stream(purpose), self.params.context, self.index)
    }

    /// The place of this case in a sequence that is spread over the context.
    pub(crate) fn depth(&self, purpose: &str) -> f64 {
        stratified_depth(self.seed, &self.stream(purpose), self.params.context, self.index)
    }

    pub(crate) fn stream(&self, purpose: &str) -> String {
        format!("{}{purpose}", self.task.name())
    }
}

/// A right answer must fit into its budget: else every reply would be cut off, whatever the setting. In prefill
/// mode the budgets are RULER's, for better or worse.
pub(crate) fn check_answer(draw: &Draw<'_>, case: &Case, tokens: &dyn TokenCounter) -> Result<()> {
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
