//! A piece of work of any length, and the cases that ask for it.

use std::ops::Range;

use serde_json::Value;

use crate::error::{Error, Result};
use crate::record::{Case, ForcedPart, Message, Outcome, Prompt, Reply, Score, Scoring};
use crate::task::options::{THINKING_TOKENS, option};
use crate::task::random::Random;
use crate::task::retrieval::closed::MOST_PARTS;
use crate::task::sizing::too_small;
use crate::task::{Card, Needs, Params, Task, TaskOption, TokenCounter, probability};

/// Name of the option for the length of the right reply.
const SIZE: &str = "size_tokens";
/// Tokens that a reply may have beside those of the right one: fences, a word in front, another spelling.
const BESIDE: u32 = 64;
/// Most units of a job: more than the largest size has room for.
const MAX_UNITS: usize = 8192;

/// The option for the length of the right reply.
pub(super) const SIZE_TOKENS: TaskOption =
    option(SIZE, "tokens of the right reply, to within one line (512 to 8192 are usual)", 512, 128, 32_768);

/// What a card of this family needs where one text is right.
pub(super) const CLOSED: Needs = Needs { closed_answer: true, ..Needs::SHORT };

/// What is asked for, and the right reply.
#[derive(Debug, Clone, Default)]
pub(super) struct Job {
    pub(super) prompt: String,
    pub(super) answer: String,
    pub(super) target: Value,
    /// Stretches of the answer (bytes) that its probability is taken of; each begins with a blank.
    pub(super) stretches: Vec<Range<usize>>,
}

/// A task of this family.
pub(super) trait Work: Sync + std::fmt::Debug {
    /// What it says of itself; its options have [`SIZE_TOKENS`] and thinking among them.
    fn card(&self) -> Card;

    /// Fewest units that make a job.
    fn least(&self) -> usize {
        4
    }

    /// The job with so many units. One of more units has a longer answer.
    fn job(&self, params: &Params, random: Random, units: usize) -> Job;

    /// Judges a reply.
    ///
    /// # Errors
    /// The outcome of a case that this task cannot have made.
    fn judge(&self, case: &Case, reply: &Reply) -> std::result::Result<Score, Outcome>;

    /// The right reply; none for a case that this task cannot have made.
    fn right(&self, case: &Case) -> Option<String>;
}

/// A piece of work as a task.
#[derive(Debug)]
pub struct Longform(pub(super) &'static dyn Work);

impl Task for Longform {
    fn card(&self) -> Card {
        self.0.card()
    }

    fn max_tokens(&self, params: &Params) -> u32 {
        let size = params.option(&self.card(), SIZE);
        let thinking = params.option(&self.card(), THINKING_TOKENS);
        size.saturating_add(size / 4).saturating_add(BESIDE).saturating_add(thinking)
    }

    fn cases(&self, params: &Params, seed: u64, tokens: &dyn TokenCounter) -> Result<Vec<Case>> {
        let mut guess = self.0.least();
        let case = |index| {
            let random = Random::of_case(seed, self.card().name, params.context, index);
            let sized =
                Sized { work: self.0, params, random, size: params.option(&self.card(), SIZE), tokens };
            guess = sized.units(guess)?;
            self.case(params, index, self.0.job(params, sized.random.clone(), guess), tokens)
        };
        (0..params.samples).map(case).collect()
    }

    fn score(&self, case: &Case, reply: &Reply) -> Outcome {
        self.0.judge(case, reply).map_or_else(|outcome| outcome, Outcome::Scored)
    }

    fn perfect(&self, case: &Case) -> Option<Reply> {
        Some(Reply { content: self.0.right(case)?, ..Reply::default() })
    }
}

impl Longform {
    fn case(&self, params: &Params, index: u32, job: Job, tokens: &dyn TokenCounter) -> Result<Case> {
        let forced = match params.score {
            Scoring::Match => Vec::new(),
            Scoring::Probability => forced(&job, tokens)?,
        };
        let mut messages = vec![Message::user(job.prompt)];
        messages.extend(forced.first().map(|part| Message::prefill(&part.begun)));
        let (prompt_tokens, max_tokens) = (tokens.count_chat(&messages, &[])?, self.max_tokens(params));
        if prompt_tokens.saturating_add(max_tokens) > params.context {
            return Err(too_small(&self.card(), params.context, max_tokens, prompt_tokens));
        }
        let case = self.card().case(params.context, index, Prompt::chat(messages), job.target);
        Ok(case.sized(prompt_tokens, max_tokens).forcing(forced).seal())
    }
}

/// Up to six stretches of the right reply, spread over it, each behind all that stands in front of it.
fn forced(job: &Job, tokens: &dyn TokenCounter) -> Result<Vec<ForcedPart>> {
    let all = &job.stretches;
    let parts = MOST_PARTS.min(all.len());
    let places = (1..=parts).map(|part| part * all.len() / parts - 1);
    let part = |stretch: &Range<usize>| {
        let form = job.answer[stretch.clone()].to_owned();
        probability::part(&job.answer[..stretch.start], &[form], None, tokens)
    };
    places.map(|at| part(&all[at])).collect()
}

/// The search for the length of a job.
struct Sized<'a> {
    work: &'static dyn Work,
    params: &'a Params,
    random: Random,
    /// Tokens that the right reply may have.
    size: u32,
    tokens: &'a dyn TokenCounter,
}

impl Sized<'_> {
    /// The largest number of units whose right reply has at most so many tokens.
    fn units(&self, guess: usize) -> Result<usize> {
        let least = self.work.least();
        let (mut low, mut low_tokens) = (least, self.answer_tokens(least)?);
        if low_tokens > self.size {
            return Err(self.too_short(low_tokens));
        }
        let (mut high, mut next) = (MAX_UNITS, guess.max(least + 1));
        let mut unit = f64::from(low_tokens) / least as f64;
        while high - low > 1 {
            let found = self.answer_tokens(next)?;
            unit = f64::from(found.saturating_sub(low_tokens).max(1)) / (next.abs_diff(low).max(1)) as f64;
            if found <= self.size {
                (low, low_tokens) = (next, found);
            } else {
                high = next;
            }
            let more = (f64::from(self.size - low_tokens) / unit.max(0.5)) as usize;
            next = (low + more.max(1)).clamp(low + 1, (high - 1).max(low + 1));
        }
        if low + 1 >= MAX_UNITS {
            return Err(Error::usage(format!(
                "{}: no reply has {} tokens",
                self.work.card().name,
                self.size
            ))
            .hint(format!("lower its `{SIZE}`; the tokenizer counts {unit:.1} tokens a line")));
        }
        Ok(low)
    }

    fn answer_tokens(&self, units: usize) -> Result<u32> {
        self.tokens.count_text(&self.work.job(self.params, self.random.clone(), units).answer)
    }

    fn too_short(&self, needed: u32) -> Error {
        Error::usage(format!(
            "{}: the shortest right reply has {needed} tokens, not {}",
            self.work.card().name,
            self.size
        ))
        .hint(format!("set its `{SIZE}` to {needed} or more"))
    }
}
