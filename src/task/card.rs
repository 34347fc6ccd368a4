//! What a task says of itself: everything about it that never changes.

use serde_json::Value;

use crate::record::{Arm, Case, Mode, Prompt, Scoring};

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
    /// Names of those figures (of [`Score`](crate::record::Score) and of the task's [`Comparison`](super::Comparison)) that the report shows a mean
    /// of for each setting, beside the reference's on the same cases.
    pub figures: &'static [&'static str],
    /// What it needs of the suite, the runner and the server.
    pub needs: Needs,
}

/// What a task needs of the suite, the runner and the server.
#[derive(Debug, Clone, Copy)]
pub struct Needs {
    /// How a reply may begin.
    pub modes: &'static [Mode],
    /// Suites may name a text of their own for it to hide things in.
    pub takes_text: bool,
    /// The cases are read from a file of the user (`file` in the suite).
    pub reads_file: bool,
    /// `file` may name a second file behind a comma: `QUESTIONS,ANSWERS`.
    pub reads_answers: bool,
    /// A case's prompt fills its context. Where it does not, more context changes only the room.
    pub fills_context: bool,
    /// The [token ids](crate::record::Reply::tokens) of a reply are needed.
    pub reads_tokens: bool,
    /// Its right answer is one text, or a few: it can be scored by its probability.
    pub closed_answer: bool,
    /// Most questions that it can ask of one text.
    pub questions: u32,
    /// Most questions to one text where answers are scored by probability, if that is more.
    pub forced_questions: u32,
    /// It is about the server's cache: already the first request of a case may use it, and each reply of a case says
    /// [how it was served](crate::record::Reply::served).
    pub watches_cache: bool,
}

impl Needs {
    /// Returns the most questions to one text where answers are scored so.
    pub fn most_questions(&self, score: Scoring) -> u32 {
        match score {
            Scoring::Match => self.questions,
            Scoring::Probability => self.questions.max(self.forced_questions),
        }
    }

    /// A conversation that is asked about at several of its turns, the replies in front being the right ones.
    pub const DIALOGUE: Self = Self { closed_answer: true, forced_questions: 32, ..Self::LONG };
    /// A prompt that fills its context, and nothing else.
    pub const LONG: Self = Self {
        modes: &[Mode::Chat],
        takes_text: false,
        reads_file: false,
        reads_answers: false,
        fills_context: true,
        reads_tokens: false,
        closed_answer: false,
        questions: 1,
        forced_questions: 1,
        watches_cache: false,
    };

    /// A prompt that is as long as it has to be, and nothing else.
    pub const SHORT: Self = Self { fills_context: false, ..Self::LONG };
}

impl Card {
    /// Returns a case of this task with a cluster of its own; its size and its [seal](Case::seal) are still to come.
    pub fn case(&self, context: u32, index: u32, prompt: Prompt, target: Value) -> Case {
        let cluster = format!("{}/{context}/{index}", self.name);
        Case::new(self.name, self.version, index, prompt, target).in_context(context).in_cluster(cluster)
    }

    /// The first version of a task that counts in full and has nothing special; name and summary are for the task to say.
    pub const PRIMARY: Self = Self {
        name: "",
        summary: "",
        version: 1,
        weight: Weight::Primary,
        arms: &[],
        options: &[],
        figures: &[],
        needs: Needs::LONG,
    };
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

impl Weight {
    /// The same in a suite that says whether the task counts for the quality; what has none of its own never does.
    #[must_use]
    pub fn told(self, primary: Option<bool>) -> Self {
        match (self, primary) {
            (Self::Comparative, _) | (_, None) => self,
            (_, Some(true)) => Self::Primary,
            (_, Some(false)) => Self::Sanity,
        }
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
