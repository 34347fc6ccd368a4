//! Tasks: generators of cases with a pure scorer.
//!
//! A new task is one file and one line in [`TASKS`]; a conformance test walks the table.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::trial::{Arm, Case, Message, Outcome, Reply, Tool};

pub mod coherence;
#[cfg(test)]
mod conformance;
mod prose;
mod random;
pub mod retrieval;
mod sizing;
pub mod tools;
mod words;

/// Every task that kneepoint knows.
pub static TASKS: &[&dyn Task] = &[
    &retrieval::niah::SINGLE_1,
    &retrieval::niah::MULTIKEY_2,
    &coherence::kld::Kld,
    &tools::arguments::Arguments,
];

/// The task of that name.
pub fn find(name: &str) -> Option<&'static dyn Task> {
    TASKS.iter().copied().find(|task| task.name() == name)
}

/// What a suite asks of a task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Params {
    /// Context length in tokens: prompt and reply together stay within it.
    pub context: u32,
    /// How many cases.
    pub samples: u32,
    /// For tool tasks: how the tools reach the model.
    pub arm: Option<Arm>,
    /// Options of the task by name, as the suite gave them; see [`Task::options`].
    pub options: BTreeMap<String, u32>,
}

impl Params {
    /// The option's value, or the default that the task declares.
    pub fn option(&self, task: &dyn Task, name: &str) -> u32 {
        let declared = task.options().iter().find(|option| option.name == name);
        self.options.get(name).copied().or(declared.map(|option| option.default)).unwrap_or_default()
    }
}

/// A whole-number option of a task that suites may set.
#[derive(Debug, Clone, Copy)]
pub struct TaskOption {
    /// Name in the suite.
    pub name: &'static str,
    /// What it does and its unit.
    pub help: &'static str,
    /// Used when the suite says nothing.
    pub default: u32,
    /// Smallest value allowed.
    pub min: u32,
    /// Largest value allowed.
    pub max: u32,
}

/// The served model's own tokenizer and chat template.
pub trait TokenCounter {
    /// Tokens of the prompt as the server renders it with the model's chat template.
    ///
    /// # Errors
    /// When the server does not answer.
    fn count_chat(&self, messages: &[Message], tools: &[Tool]) -> Result<u32>;

    /// Token ids of a text without any template (no special tokens added).
    ///
    /// # Errors
    /// When the server does not answer.
    fn tokenize(&self, text: &str) -> Result<Vec<u32>>;
}

/// How a task's result enters the report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weight {
    /// Part of the suite's primary quality endpoint.
    Primary,
    /// A sanity check: reported apart.
    Sanity,
    /// No quality of its own: compared with the reference's reply.
    Comparative,
}

/// A generator of cases with a pure scorer.
pub trait Task: Sync {
    /// Name in suites: `family/name`.
    fn name(&self) -> &'static str;

    /// One line for `kneepoint list tasks`: what damage it detects.
    fn summary(&self) -> &'static str;

    /// Bumped when cases or scoring change.
    fn version(&self) -> u32;

    /// How the result enters the report.
    fn weight(&self) -> Weight;

    /// Arms that the task has; empty: it is not a tool task.
    fn arms(&self) -> &'static [Arm] {
        &[]
    }

    /// Options that suites may set.
    fn options(&self) -> &'static [TaskOption] {
        &[]
    }

    /// Output budget of a case in tokens.
    fn max_tokens(&self, params: &Params) -> u32;

    /// Makes `params.samples` cases. The same seed, tokenizer and parameters give byte-identical cases.
    /// Token budget: rendered prompt + output budget is at most `params.context`, within one unit of it
    /// (tasks that do not fill the context stay below).
    ///
    /// # Errors
    /// When the context is too small for the task (a usage error with a hint), or the server cannot count.
    fn cases(&self, params: &Params, seed: u64, tokens: &dyn TokenCounter) -> Result<Vec<Case>>;

    /// Judges a reply. Pure: no I/O, no clock; never panics whatever the reply holds.
    fn score(&self, case: &Case, reply: &Reply) -> Outcome;

    /// For comparative tasks: figures of a reply against the reference's reply to the same case (pure).
    fn compare(&self, _case: &Case, _reply: &Reply, _reference: &Reply) -> Option<BTreeMap<String, f64>> {
        None
    }

    /// A reply that scores 1, for the conformance test; `None` for comparative tasks.
    fn perfect(&self, case: &Case) -> Option<Reply>;
}
