//! What a model is asked, by what it is for.

use crate::cli::Purpose;

/// A task as `choose` asks it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Question {
    /// Task name.
    pub task: &'static str,
    /// Questions to one text.
    pub questions: u32,
    /// Texts in every round.
    pub texts: u32,
    /// The arm of a tool task in which answers can be forced.
    pub arm: Option<&'static str>,
    /// Options that differ from the task's own.
    pub options: &'static [(&'static str, u32)],
}

/// Fewer texts decide nothing (docs/statistics.md, section 6).
const TEXTS: u32 = 5;
/// Calls of tools are short, and one request each.
const CALLS: u32 = 12;

const fn recall(task: &'static str, options: &'static [(&'static str, u32)]) -> Question {
    Question { task, questions: 12, texts: TEXTS, arm: None, options }
}

const fn call(task: &'static str) -> Question {
    Question { task, questions: 1, texts: CALLS, arm: Some("prompted"), options: &[] }
}

const KEYS: Question = recall("retrieval/niah_multikey_2", &[("output_tokens", 24)]);
const UUIDS: Question = recall("retrieval/niah_multikey_3", &[("output_tokens", 48)]);
const SELECTION: Question = call("tools/selection");
const ARGUMENTS: Question = call("tools/arguments");
const LOOK_ALIKES: Question =
    Question { task: "retrieval/confusable_keys", questions: 9, texts: TEXTS, arm: None, options: &[] };
const LEDGER: Question =
    Question { task: "coherence/state_ledger", questions: 12, texts: TEXTS, arm: None, options: &[] };

/// Each is a ladder, from what is asked first to what is asked where that is too easy.
pub(super) type Ladder = &'static [Question];

/// A turn of a conversation takes about so many tokens.
const TURN: u32 = 100;

impl Question {
    /// Questions to a text of so many tokens: a short conversation has no turn for each.
    pub(super) fn questions_at(&self, context: u32) -> u32 {
        match self.task == LEDGER.task {
            true => self.questions.min(context / TURN).max(1),
            false => self.questions,
        }
    }
}

/// The ladders of a purpose.
pub(super) const fn of(purpose: Purpose) -> &'static [Ladder] {
    match purpose {
        Purpose::Chat => &[&[KEYS, UUIDS], &[LEDGER]],
        Purpose::Tools => &[&[KEYS, UUIDS], &[SELECTION], &[ARGUMENTS]],
        Purpose::Rag => &[&[KEYS, UUIDS], &[LOOK_ALIKES]],
        Purpose::Code => &[&[UUIDS, KEYS], &[LOOK_ALIKES]],
    }
}
