//! What a server answered.

use std::borrow::Cow;

#[cfg(test)]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::forced::{Forced, ReadPath};
use super::message::ToolCall;
use super::served::{DraftTrace, Overlong, Served};
use super::thinking;

/// Most characters of a reason for the end that is none of the usual ones.
const REASON_CHARS: usize = 64;

/// Why the server stopped writing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum FinishReason {
    /// The model ended its turn.
    Stop,
    /// The output budget ran out.
    Length,
    /// The model called tools.
    ToolCalls,
    /// Anything else, as the server wrote it.
    Other(String),
}

impl FinishReason {
    /// What a server says of the end of a reply; `None` for the words with which some say that it has not ended.
    pub fn of(reason: &str) -> Option<Self> {
        let reason = reason.trim();
        if ["", "null", "none"].iter().any(|word| reason.eq_ignore_ascii_case(word)) {
            return None;
        }
        Some(match reason {
            "stop" => Self::Stop,
            "length" => Self::Length,
            "tool_calls" | "function_call" => Self::ToolCalls,
            other => Self::Other(other.chars().take(REASON_CHARS).collect()),
        })
    }
}

/// The most probable next tokens at one position.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct Distribution {
    /// Token ids and natural-log probabilities, most probable first.
    pub top: Vec<(u32, f32)>,
    /// The natural-log probability of the actual next token when it is listed.
    pub actual: Option<f32>,
}

/// What came back, before any judgement. Model text is hostile: escape it wherever it is shown.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct Reply {
    /// Text after the reasoning.
    pub content: String,
    /// Reasoning text, told apart by the server.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reasoning: String,
    /// Calls that the server parsed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tool_calls: Vec<ToolCall>,
    /// Why it stopped, if the server said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finish_reason: Option<FinishReason>,
    /// For [`Prompt::Distributions`]: one entry a position (see [`PackedDistributions::pack`]).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub distributions: Option<PackedDistributions>,
    /// Token ids of reasoning and content together, as the served model's tokenizer has the text: only for tasks
    /// that read them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tokens: Vec<u32>,
    /// How many bytes each of the first tokens added to reasoning and content together, a digit of base 36 a token (see
    /// [`token_lengths`](super::token_lengths)); empty where the server's counts do not say.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub token_lengths: String,
    /// How its tokens were drafted, where the engine says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drafts: Option<DraftTrace>,
    /// What of the prompt came from the server's cache: only for tasks that
    /// watch it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub served: Option<Served>,
    /// Where the server ignored the output budget so far that only the beginning is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overlong: Option<Overlong>,
    /// For answers that were forced: how probable each was.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub forced: Vec<Forced>,
    /// For a conversation of several turns: the replies before this one, in order (with no earlier ones
    /// of their own).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub earlier: Vec<Reply>,
}

impl Reply {
    /// Everything that the model wrote: the reasoning, then what came after it.
    pub fn text(&self) -> Cow<'_, str> {
        if self.reasoning.is_empty() {
            return Cow::Borrowed(&self.content);
        }
        Cow::Owned(format!("{}{}", self.reasoning, self.content))
    }

    /// Whether the reason for its end denies the calls that it made, or names calls that are not there. The calls are
    /// what counts.
    pub fn end_denies_calls(&self) -> bool {
        match self.finish_reason {
            Some(FinishReason::Stop) => !self.tool_calls.is_empty(),
            Some(FinishReason::ToolCalls) => self.tool_calls.is_empty(),
            _ => false,
        }
    }

    /// The text after the reasoning, also where the server left the reasoning in the text; see [`thinking`].
    /// Reasoning that does not end is no answer.
    pub fn answer(&self) -> Cow<'_, str> {
        thinking::part(&self.content).answer
    }

    /// The replies of a conversation in order, this one (the last) among them.
    pub fn turns(&self) -> impl Iterator<Item = &Self> {
        self.earlier.iter().chain([self])
    }

    /// The reply of a conversation: the last of its replies, with the earlier ones in it; `None` without any.
    pub fn of_conversation(mut replies: Vec<Self>) -> Option<Self> {
        let last = replies.pop()?;
        Some(Self { earlier: replies, ..last })
    }
}

/// Distributions of many positions in a compact form for the journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct PackedDistributions {
    /// How many tokens are listed a position.
    pub top_k: usize,
    /// Base64 of the lists, in the form that `packing` says.
    pub data: String,
    /// The form of `data`.
    #[serde(default, skip_serializing_if = "Packing::is_records")]
    pub packing: Packing,
    /// The path that they were computed on.
    #[serde(default, skip_serializing_if = "ReadPath::is_decode")]
    pub path: ReadPath,
}

/// How distributions are written as bytes. Lists are most probable first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Packing {
    /// For each position `top_k` little-endian pairs of token id (u32) and natural-log probability (f32),
    /// padded with id `u32::MAX` and negative infinity. What journals held at first; only read.
    #[default]
    Records,
    /// For each position the number of tokens, then for each token its id and by how many steps of 2^-16 nat
    /// its natural-log probability lies below that of the token before (the first: below 0); every number is
    /// a LEB128 varint. About 5 bytes a token; log probabilities are within 2^-17 nat (8e-6) of the server's.
    Steps,
}

impl Packing {
    fn is_records(&self) -> bool {
        *self == Self::Records
    }
}
