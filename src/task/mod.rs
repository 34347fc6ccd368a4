//! Tasks: generators of cases with a pure scorer.
//!
//! A new task is one file and one line in [`TASKS`]; a conformance test walks the table.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::import;
use crate::record::suite::{TaskSpec, TextSource};
use crate::record::{Arm, Case, Message, Mode, Outcome, Reply, Tool};

mod approximate;
pub mod coherence;
#[cfg(test)]
pub(crate) mod conformance;
mod fitting;
pub(crate) mod options;
pub(crate) mod prose;
pub(crate) mod random;
pub mod retrieval;
pub mod serving;
pub(crate) mod sizing;
pub mod text;
pub mod tools;
mod words;

pub use approximate::Approximate;

/// Every task that kneepoint knows.
pub static TASKS: &[&dyn Task] = &[
    &retrieval::niah::SINGLE_1,
    &retrieval::niah::SINGLE_2,
    &retrieval::niah::SINGLE_3,
    &retrieval::niah::MULTIKEY_1,
    &retrieval::niah::MULTIKEY_2,
    &retrieval::niah::MULTIKEY_3,
    &retrieval::niah::MULTIVALUE,
    &retrieval::niah::MULTIQUERY,
    &retrieval::variable_tracking::VariableTracking,
    &retrieval::common_words::CommonWords,
    &retrieval::frequent_words::FrequentWords,
    &retrieval::confusable_keys::ConfusableKeys,
    &retrieval::graph_walks::GraphWalks,
    &retrieval::counting::Counting,
    &retrieval::ordinal_recall::OrdinalRecall,
    &coherence::kld::Kld,
    &coherence::greedy_divergence::GreedyDivergence,
    &coherence::degeneration::Degeneration,
    &coherence::block_plan::BlockPlan,
    &coherence::repeated_words::RepeatedWords,
    &coherence::running_sum::RunningSum,
    &coherence::state_ledger::StateLedger,
    &coherence::instruction_retention::InstructionRetention,
    &coherence::self_consistency::SelfConsistency,
    &tools::arguments::Arguments,
    &tools::selection::Selection,
    &tools::parallel::Parallel,
    &tools::abstention::Abstain,
    &tools::context_pressure::ContextPressure,
    &tools::json_schema::JsonSchema,
    &tools::multi_turn::MultiTurn,
    &serving::prefix_cache::PrefixCache,
    &import::ruler::Ruler,
    &import::qa::Qa,
    &import::bfcl::Bfcl,
    &import::requests::Requests,
];

/// The task of that name.
pub fn find(name: &str) -> Option<&'static dyn Task> {
    TASKS.iter().copied().find(|task| task.name() == name)
}

/// Version of a task in this build; 0 for a task that it does not know.
pub fn version_of(name: &str) -> u32 {
    find(name).map_or(0, Task::version)
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
    /// How the reply begins; one of [`Task::modes`].
    #[serde(default)]
    pub mode: Mode,
    /// The user's own text to hide things in, for tasks that [take one](Task::takes_text).
    #[serde(default)]
    pub text: Option<TextSource>,
    /// Options of the task by name, as the suite gave them; see [`Task::options`].
    pub options: BTreeMap<String, u32>,
    /// The user's file, for tasks that read one; see [`Task::reads_file`].
    pub file: Option<PathBuf>,
}

impl Params {
    /// What a suite asks of a task at a context length (and arm).
    pub fn of(spec: &TaskSpec, context: u32, arm: Option<Arm>) -> Self {
        Self {
            context,
            samples: spec.samples,
            arm,
            mode: spec.mode,
            text: spec.text.clone(),
            options: spec.options.clone(),
            file: spec.file.clone(),
        }
    }

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
    /// Which values make the task harder, if it is an option that the pilot may tune.
    pub difficulty: Option<Harder>,
}

/// An option of tasks with tools: what is streamed is asked for a second time in one piece, and a difference
/// between the calls is a finding about the server (see [`metric::STREAM_DIFFERS`](crate::record::metric)).
pub const STREAM_CHECK: TaskOption = TaskOption {
    name: "stream_check",
    help: "1: ask a second time without streaming, and report where the calls differ (one more request a case)",
    default: 0,
    min: 0,
    max: 1,
    difficulty: None,
};

/// Which values of an option make a task harder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Harder {
    /// Larger ones.
    Larger,
    /// Smaller ones.
    Smaller,
}

/// The served model's own tokenizer and chat template.
pub trait TokenCounter {
    /// Tokens of the prompt as the server renders it with the model's chat template, a last message of the
    /// assistant as the beginning of its reply (see [`prefill`](crate::record::prefill)).
    ///
    /// # Errors
    /// When the server does not answer.
    fn count_chat(&self, messages: &[Message], tools: &[Tool]) -> Result<u32>;

    /// Token ids of a text without any template (no special tokens added).
    ///
    /// # Errors
    /// When the server does not answer.
    fn tokenize(&self, text: &str) -> Result<Vec<u32>>;

    /// Tokens of a text without any template, where the ids do not matter: a server that gives no ids may still count.
    ///
    /// # Errors
    /// When the server does not answer.
    fn count_text(&self, text: &str) -> Result<u32> {
        Ok(u32::try_from(self.tokenize(text)?.len()).unwrap_or(u32::MAX))
    }
}

/// Takes cases one by one.
pub type Emit<'a> = &'a mut dyn FnMut(Case) -> Result<()>;

/// The cases that `make` emits, all at once.
///
/// # Errors
/// As `make`.
pub(crate) fn collected(make: impl FnOnce(Emit<'_>) -> Result<()>) -> Result<Vec<Case>> {
    let mut cases = Vec::new();
    make(&mut |case| {
        cases.push(case);
        Ok(())
    })?;
    Ok(cases)
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

/// How a conversation goes on after a reply.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// It is over.
    Done,
    /// These messages are appended, and the model is asked again: its own turn first (as it wrote it, or as it
    /// should have been where the history is gold), then what is said or returned to it next.
    Say(Vec<Message>),
    /// A request of its own follows, whatever was said before.
    Ask(Ask),
}

/// A whole request within a case.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Ask {
    /// The conversation.
    pub messages: Vec<Message>,
    /// Tools for the `tools` field; empty: the field is not sent.
    pub tools: Vec<Tool>,
    /// Whether the server may take from its cache what it holds of it.
    pub reuse_cache: bool,
}

/// What a task says of itself.
#[derive(Debug, Clone, Copy)]
pub struct Card {
    /// Name in suites: `family/name`.
    pub name: &'static str,
    /// One line for `kneepoint list tasks`: what damage it detects.
    pub summary: &'static str,
    /// Bumped when cases or scoring change.
    pub version: u32,
    /// How the result enters the report.
    pub weight: Weight,
    /// Arms that the task has; empty: it is not a tool task.
    pub arms: &'static [Arm],
    /// Options that suites may set.
    pub options: &'static [TaskOption],
    /// Names of those figures (of [`Score`](crate::record::Score) and of [`Task::compare`]) that the report shows a mean
    /// of for each setting, beside the reference's on the same cases.
    pub figures: &'static [&'static str],
}

impl Card {
    /// The first version of a task that counts in full and has nothing special; name and summary are for the task to say.
    pub const PRIMARY: Self = Self {
        name: "",
        summary: "",
        version: 1,
        weight: Weight::Primary,
        arms: &[],
        options: &[],
        figures: &[],
    };
}

/// A generator of cases with a pure scorer.
pub trait Task: Sync {
    /// What it says of itself.
    fn card(&self) -> Card;

    /// Name in suites: `family/name`.
    fn name(&self) -> &'static str {
        self.card().name
    }

    /// One line for `kneepoint list tasks`: what damage it detects.
    fn summary(&self) -> &'static str {
        self.card().summary
    }

    /// Bumped when cases or scoring change.
    fn version(&self) -> u32 {
        self.card().version
    }

    /// How the result enters the report.
    fn weight(&self) -> Weight {
        self.card().weight
    }

    /// Arms that the task has; empty: it is not a tool task.
    fn arms(&self) -> &'static [Arm] {
        self.card().arms
    }

    /// Options that suites may set.
    fn options(&self) -> &'static [TaskOption] {
        self.card().options
    }

    /// Names of those figures that the report shows; see [`Card::figures`].
    fn figures(&self) -> &'static [&'static str] {
        self.card().figures
    }

    /// How a reply may begin.
    fn modes(&self) -> &'static [Mode] {
        &[Mode::Chat]
    }

    /// Whether suites may name a text of their own for it to hide things in.
    fn takes_text(&self) -> bool {
        false
    }

    /// Whether the cases are read from a file of the user (`file` in the suite).
    fn reads_file(&self) -> bool {
        false
    }

    /// Whether a case's prompt fills its context. Where it does not, more context changes only the room.
    fn fills_context(&self) -> bool {
        self.arms().is_empty()
    }

    /// Whether it needs the [token ids](Reply::tokens) of a reply.
    fn reads_tokens(&self) -> bool {
        false
    }

    /// Whether it is about the server's cache: already the first request of a case may use it, and each reply of a
    /// case says [how it was served](Reply::served).
    fn watches_cache(&self) -> bool {
        false
    }

    /// Whether `file` may name a second file behind a comma: `QUESTIONS,ANSWERS`.
    fn reads_answers(&self) -> bool {
        false
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

    /// For comparative tasks: figures of a reply against the reference's reply to the same case (pure).
    fn compare(&self, _case: &Case, _reply: &Reply, _reference: &Reply) -> Option<BTreeMap<String, f64>> {
        None
    }

    /// A reply that scores 1, for the conformance test; `None` for comparative tasks.
    fn perfect(&self, case: &Case) -> Option<Reply>;
}
