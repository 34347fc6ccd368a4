//! What is known of a request before it is answered.

#[cfg(test)]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::record::{Case, Message, Prompt, Role};

/// A number that is known of a request before it is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Feature {
    /// Tokens of the rendered prompt.
    PromptTokens,
    /// Tools that the request offers.
    Tools,
    /// Messages of the conversation.
    Messages,
    /// Characters of the person's last message.
    LastMessage,
    /// Share of digits among the characters of the person's last message (0..1).
    Digits,
}

impl Feature {
    /// Every one.
    pub const ALL: &[Self] =
        &[Self::PromptTokens, Self::Tools, Self::Messages, Self::LastMessage, Self::Digits];

    /// In words.
    pub const fn words(self) -> &'static str {
        match self {
            Self::PromptTokens => "prompt tokens",
            Self::Tools => "number of tools",
            Self::Messages => "number of messages",
            Self::LastMessage => "characters of the last message",
            Self::Digits => "share of digits in the last message",
        }
    }

    /// The feature of a case.
    pub(super) fn of(self, case: &Case) -> f64 {
        let Prompt::Chat { messages, tools, .. } = &case.prompt else {
            return if self == Self::PromptTokens { f64::from(case.prompt_tokens) } else { 0.0 };
        };
        match self {
            Self::PromptTokens => f64::from(case.prompt_tokens),
            Self::Tools => tools.len() as f64,
            Self::Messages => messages.len() as f64,
            Self::LastMessage => last(messages).chars().count() as f64,
            Self::Digits => {
                let text = last(messages);
                let digits = text.chars().filter(char::is_ascii_digit).count();
                digits as f64 / text.chars().count().max(1) as f64
            }
        }
    }
}

/// What the person said last.
fn last(messages: &[Message]) -> &str {
    let person = messages.iter().rfind(|message| message.role == Role::User);
    person.map_or("", |message| message.content.as_str())
}

/// The family of a case's task: what stands before the first slash.
pub(super) fn family(case: &Case) -> &str {
    case.task.split('/').next().unwrap_or(&case.task)
}
