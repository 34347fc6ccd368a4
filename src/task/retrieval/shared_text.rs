//! A text as long as its budget allows, and the cases that ask about it.

use super::closed::Closed;
use super::draft::{CaseDraft, Draw, check_answer};
use crate::error::{Error, Result};
use crate::record::{Case, Message, Prompt, Scoring, prefill};
use crate::task::TokenCounter;
use crate::task::fitting::{Draft, Fitter, Piece};
use crate::task::sizing::{Fit, too_large, too_small};

/// A text that was made as long as the context allows, with one question or several to it.
pub(super) struct SharedText<'d, 'a> {
    draw: &'d Draw<'a>,
    draft: Asked<'d>,
    tokens: &'d dyn TokenCounter,
    fit: Fit,
    /// Tokens that the prompt may have.
    budget: u32,
}

impl<'d, 'a> SharedText<'d, 'a> {
    /// # Errors
    /// When the context is too small or too large for the task, or the server cannot count.
    pub(super) fn fitted(
        draw: &'d Draw<'a>,
        draft: &'d mut dyn CaseDraft,
        fitter: &mut Fitter,
        tokens: &'d dyn TokenCounter,
    ) -> Result<Self> {
        let (name, context, max_tokens) =
            (draw.task.name(), draw.params.context, draw.task.max_tokens(draw.params));
        let mut draft = Asked { draft, score: draw.params.score };
        let Some(fit) = fitter.fit(&mut draft, tokens)? else {
            let needed = tokens.count_chat(&draft.messages(fitter.min()), &[])?;
            // Further questions may be longer than the first.
            let needed = needed + context.saturating_sub(max_tokens).saturating_sub(fitter.budget());
            return Err(too_small(&draw.task.card(), context, max_tokens, needed));
        };
        // A draft of one length has just that.
        if fit.units >= fitter.max() && fitter.min() < fitter.max() {
            return Err(too_large(name, context, fit.tokens));
        }
        Ok(Self { draw, draft, tokens, fit, budget: context.saturating_sub(max_tokens) })
    }

    /// Emits a case for each question, as many as the suite asks for.
    ///
    /// # Errors
    /// As [`SharedText::fitted`], and what `emit` returns.
    pub(super) fn each_question(&mut self, emit: &mut dyn FnMut(Case) -> Result<()>) -> Result<()> {
        let params = self.draw.params;
        let questions = params.questions.max(1);
        let first = self.draw.index * questions;
        let mut sizes = Sizes { first: self.fit.tokens, question: String::new(), adds_up: None };
        for question in 0..questions.min(params.samples - first) {
            self.draft.draft.ask(question);
            let messages = self.draft.messages(self.fit.units);
            let size = sizes.of(question, &messages, &self.draft.tail(), self.tokens)?;
            if size > self.budget {
                return Err(too_long(self.draw.task.name(), size, self.budget));
            }
            emit(self.case(first + question, messages, size)?)?;
        }
        Ok(())
    }

    fn case(&self, index: u32, messages: Vec<Message>, prompt_tokens: u32) -> Result<Case> {
        let Draw { task, params, index: text, .. } = *self.draw;
        let draft = &*self.draft.draft;
        let target = draft.target(self.fit.units);
        let mut case = task.card().case(params.context, index, Prompt::chat(messages), target);
        case = case.at_depth(draft.depth(self.fit.units)).sized(prompt_tokens, task.max_tokens(params));
        if params.questions > 1 {
            let tail = self.tokens.count_text(&self.draft.tail())?;
            let shared = prompt_tokens.saturating_sub(tail + TEMPLATE_END).max(1);
            case = case.in_cluster(format!("{}/{}/text {text}", task.name(), params.context)).sharing(shared);
        }
        match (params.score, draft.closed(self.fit.units)) {
            (Scoring::Match, _) => {
                let case = case.seal();
                check_answer(self.draw, &case, self.tokens)?;
                Ok(case)
            }
            (Scoring::Probability, Some(closed)) => Ok(case.forcing(closed.forced(self.tokens)?).seal()),
            (Scoring::Probability, None) => Err(Error::usage(format!(
                "{} has no answer that could be scored by probability",
                task.name()
            ))),
        }
    }
}

/// Tokens of a chat template behind the question, at most: they may be no part of the shared beginning.
const TEMPLATE_END: u32 = 24;

fn too_long(task: &str, tokens: u32, budget: u32) -> Error {
    Error::runtime(format!("{task}: a question makes a prompt of {tokens} tokens, {budget} have room"))
        .hint("fewer questions to one text, or a larger context, leave more room")
}

/// The sizes of the prompts with one text: the first is known, the second is counted; where the difference is that of their
/// questions, the others are not counted as a whole.
struct Sizes {
    first: u32,
    /// What stands behind the text with the first question.
    question: String,
    adds_up: Option<bool>,
}

impl Sizes {
    fn of(
        &mut self,
        question: u32,
        messages: &[Message],
        tail: &str,
        tokens: &dyn TokenCounter,
    ) -> Result<u32> {
        if question == 0 {
            tail.clone_into(&mut self.question);
            return Ok(self.first);
        }
        let expected =
            (self.first + tokens.count_text(tail)?).saturating_sub(tokens.count_text(&self.question)?);
        if self.adds_up == Some(true) {
            return Ok(expected);
        }
        let counted = tokens.count_chat(messages, &[])?;
        self.adds_up = Some(self.adds_up.unwrap_or(true) && counted == expected);
        Ok(counted)
    }
}

/// A draft with the beginning of its reply, where that is scored by probability.
struct Asked<'d> {
    draft: &'d mut dyn CaseDraft,
    score: Scoring,
}

impl Asked<'_> {
    fn begun(&self, units: usize) -> Option<String> {
        let closed = (self.score == Scoring::Probability).then(|| self.draft.closed(units)).flatten();
        closed.as_ref().map(Closed::begun).map(str::to_owned)
    }

    /// What stands behind the text: the question, and the beginning of the reply.
    fn tail(&self) -> String {
        [Some(self.draft.question()), self.begun(1)].into_iter().flatten().collect::<Vec<_>>().join("\n")
    }
}

impl Draft for Asked<'_> {
    fn messages(&mut self, units: usize) -> Vec<Message> {
        let mut messages = self.draft.messages(units);
        if let Some(begun) = self.begun(units).filter(|_| prefill(&messages).is_none()) {
            messages.push(Message::prefill(begun));
        }
        messages
    }

    fn piece(&mut self, from: usize, to: usize) -> Piece {
        self.draft.piece(from, to)
    }
}
