//! Tasks: generators of cases with a pure scorer.
//!
//! A new task is one file and one line in [`TASKS`]; a conformance test walks the table.

use crate::error::Result;
use crate::record::{Arm, Case, Outcome, Reply};
use crate::task::tools::held::check::Constraint;

mod approximate;
mod card;
pub mod code;
pub mod coherence;
mod comparison;
#[cfg(test)]
mod conformance;
mod emit;
mod fitting;
pub mod longform;
pub(crate) mod options;
mod params;
pub mod probability;
pub(crate) mod prose;
pub(crate) mod random;
pub mod reasoning;
pub mod retrieval;
pub mod serving;
pub(crate) mod sizing;
mod step;
mod table;
#[cfg(test)]
pub(crate) mod testing;
pub mod text;
mod tokens;
pub mod tools;
mod words;

pub use approximate::Approximate;
pub use card::{Card, Harder, Needs, STREAM_CHECK, TaskOption, Weight};
pub use comparison::{Comparison, Divergence, Figures, PositionKld, WarmAndCold};
pub use emit::Emit;
pub(crate) use emit::collected;
pub use params::Params;
pub use step::{Ask, Step};
pub use table::{TASKS, find, version_of, weight_of};
pub use tokens::TokenCounter;

/// A generator of cases with a pure scorer.
pub trait Task: Sync {
    /// What it says of itself.
    fn card(&self) -> Card;

    /// What is compared of a reply and another: the reference's to the same case, or its own.
    fn comparison(&self) -> Comparison {
        Comparison::None
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

    /// The same cases in the same order, one at a time: only the current one has to be in memory. Tasks with
    /// long cases make them here, and collect them in [`Task::cases`].
    ///
    /// # Errors
    /// As [`Task::cases`], and what `emit` returns.
    fn each_case(&self, params: &Params, seed: u64, tokens: &dyn TokenCounter, emit: Emit<'_>) -> Result<()> {
        self.cases(params, seed, tokens)?.into_iter().try_for_each(emit)
    }

    /// How the conversation of a case goes on after the replies so far (at least one). Pure; what was said
    /// before is never changed, only appended to, unless a [new request](Step::Ask) is made. Tasks of one turn are
    /// done after the first.
    fn step(&self, _case: &Case, _replies: &[Reply]) -> Step {
        Step::Done
    }

    /// Judges a reply; that of a conversation holds its [earlier ones](Reply::earlier). Pure: no I/O, no clock;
    /// never panics whatever the reply holds.
    fn score(&self, case: &Case, reply: &Reply) -> Outcome;

    /// What it says about the case that the server refused its request with these words (`HTTP 400: ..`) and is
    /// well otherwise; `None`: nothing, the trial failed. Pure.
    fn refused(&self, _case: &Case, _words: &str) -> Option<Outcome> {
        None
    }

    /// The schemas that a server which constrains the output has to hold the reply to, with what is known of their values: they are
    /// tried on it before the first trial. Pure.
    fn constraints(&self, case: &Case) -> Vec<Constraint> {
        if case.arm == Some(Arm::Constrained) { Constraint::of_prompt(&case.prompt) } else { Vec::new() }
    }

    /// Whether cases have [constraints](Self::constraints) in other arms than the constrained one, too.
    fn constrains_every_arm(&self) -> bool {
        false
    }

    /// A reply that scores 1, for the conformance test; `None` for comparative tasks.
    fn perfect(&self, _case: &Case) -> Option<Reply> {
        None
    }
}

impl dyn Task + '_ {
    /// Name in suites: `family/name`.
    pub fn name(&self) -> &'static str {
        self.card().name
    }

    /// Judges a reply as [`Task::score`] does, or by the probability of the answer where the case asks for that.
    pub fn judge(&self, case: &Case, reply: &Reply) -> Outcome {
        if case.forced.is_empty() { self.score(case, reply) } else { probability::score(case, reply) }
    }

    /// Version of its cases and scoring.
    pub fn version(&self) -> u32 {
        self.card().version
    }
}
