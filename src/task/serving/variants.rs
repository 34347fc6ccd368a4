//! What changes from a request to the next, and so what of its prompt a cache of prefixes can still give.

use serde::{Deserialize, Serialize};

use crate::record::Message;

/// A change that applications make between two requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Variant {
    /// None: the very same request again.
    Repeat,
    /// The same system prompt, byte by byte, and another question.
    SameSystem,
    /// The conversation goes on: the reply and another question behind it.
    Append,
    /// The time of day at the start of the system prompt.
    TimeFirst,
    /// The time of day behind everything, in front of the question.
    TimeLast,
    /// The schema of one of the tools.
    ToolSchema,
    /// A word in the middle of what was said.
    EditedHistory,
}

impl Variant {
    /// Every variant, in the order in which cases take them in turn.
    pub const ALL: [Self; 7] = [
        Self::Repeat,
        Self::SameSystem,
        Self::Append,
        Self::TimeFirst,
        Self::TimeLast,
        Self::ToolSchema,
        Self::EditedHistory,
    ];

    /// The variant of case `index`.
    pub fn of_case(index: u32) -> Self {
        Self::ALL[index as usize % Self::ALL.len()]
    }

    /// The name in results.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Repeat => "repeat",
            Self::SameSystem => "same_system",
            Self::Append => "append",
            Self::TimeFirst => "time_first",
            Self::TimeLast => "time_last",
            Self::ToolSchema => "tool_schema",
            Self::EditedHistory => "edited_history",
        }
    }

    /// The variant of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|variant| variant.name() == name)
    }

    /// What the second request is, in words.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Repeat => "the same request again",
            Self::SameSystem => "same system prompt, another question",
            Self::Append => "conversation goes on",
            Self::TimeFirst => "the time at the start of the system prompt",
            Self::TimeLast => "the time in front of the question",
            Self::ToolSchema => "a changed tool schema",
            Self::EditedHistory => "a word changed in the middle of the history",
        }
    }
}

/// A piece of a message that is another one in the second request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Edit {
    /// Which message, from 0.
    pub(super) message: usize,
    /// What it says at first; it says it once.
    pub(super) from: String,
    /// What it says then.
    pub(super) to: String,
}

impl Edit {
    /// Changes the message; nothing happens to messages that are not there.
    pub(super) fn apply(&self, messages: &mut [Message]) {
        if let Some(message) = messages.get_mut(self.message) {
            message.content = message.content.replacen(&self.from, &self.to, 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_journal() {
        for variant in Variant::ALL {
            assert_eq!(Variant::named(variant.name()), Some(variant));
            assert_eq!(serde_json::to_string(&variant).unwrap(), format!("\"{}\"", variant.name()));
        }
        assert_eq!((Variant::of_case(0), Variant::of_case(13)), (Variant::Repeat, Variant::EditedHistory));
    }
}
