//! The nouns of a measurement: case, trial key, reply, measurement, outcome, trial.
//!
//! These are what the journal holds and what the analysis reads; nothing here does I/O.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

mod distributions;
mod measurement;
mod served;
pub mod thinking;

pub use measurement::{Measurement, Source, metric};
pub use served::{DraftPoint, DraftPosition, DraftTrace, Overlong, Served};

/// Who speaks a chat message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Instructions in front of the conversation.
    System,
    /// The person.
    User,
    /// The model.
    Assistant,
    /// The result of a tool call.
    Tool,
}

/// One chat message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Message {
    /// Who speaks.
    pub role: Role,
    /// The text.
    pub content: String,
    /// Calls made in this (assistant) message.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tool_calls: Vec<ToolCall>,
    /// For a tool message: the id of the call it answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool_call_id: Option<String>,
}

impl Message {
    /// A message of plain text.
    pub fn new(role: Role, content: impl Into<String>) -> Self {
        Self { role, content: content.into(), tool_calls: Vec::new(), tool_call_id: None }
    }

    /// A message of the person.
    pub fn user(content: impl Into<String>) -> Self {
        Self::new(Role::User, content)
    }

    /// The beginning of the model's reply.
    pub fn prefill(content: impl Into<String>) -> Self {
        Self::new(Role::Assistant, content)
    }

    /// Instructions in front of the conversation.
    pub fn system(content: impl Into<String>) -> Self {
        Self::new(Role::System, content)
    }
}

/// The beginning of the reply that a conversation gives away: the text of a last message of the assistant.
pub fn prefill(messages: &[Message]) -> Option<&str> {
    let last = messages.last()?;
    (last.role == Role::Assistant && last.tool_calls.is_empty()).then_some(last.content.as_str())
}

/// A function that the model may call.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Tool {
    /// Function name.
    pub name: String,
    /// What it does, for the model.
    pub description: String,
    /// JSON Schema of the arguments.
    pub parameters: Value,
}

/// A call that the model made, arguments as the text it wrote.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ToolCall {
    /// The server's id of the call, if it gave one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Function name.
    pub name: String,
    /// The arguments, JSON text as it came (maybe malformed).
    pub arguments: String,
}

/// Whether and how the server is told to make the model call a tool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ToolChoice {
    /// The model decides.
    Auto,
    /// The server forces a call.
    Required,
}

/// How tools reach the model; always told apart in results.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    JsonSchema,
    clap::ValueEnum,
)]
#[serde(rename_all = "lowercase")]
pub enum Arm {
    /// The `tools` field, tool choice `auto`.
    Native,
    /// Tools described in the prompt, no `tools` field: no grammar helps.
    Prompted,
    /// The server constrains the output.
    Constrained,
}

impl Arm {
    /// The name used in suites and reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Prompted => "prompted",
            Self::Constrained => "constrained",
        }
    }
}

impl fmt::Display for Arm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// How a reply begins.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// The model's turn is its own from the first token.
    #[default]
    Chat,
    /// The model's turn begins with the first words of an answer, which it goes on with.
    Prefill,
}

impl Mode {
    /// The name used in suites and reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Chat => "chat",
            Self::Prefill => "prefill",
        }
    }

    /// Whether it is [`Mode::Chat`]; what suites say nothing about is not written out.
    pub fn is_chat(&self) -> bool {
        *self == Self::Chat
    }
}

/// As a schema for the reply: any JSON object, which servers have a word of their own for.
pub const ANY_OBJECT: Value = Value::Bool(true);

/// What is sent to the server for one case.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Prompt {
    /// A chat completion, rendered by the server with the model's template.
    Chat {
        /// The conversation. A last message of the assistant is the beginning of the reply, which the model
        /// goes on with (see [`prefill`]).
        messages: Vec<Message>,
        /// Tools for the `tools` field; empty: the field is not sent.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        tools: Vec<Tool>,
        /// Sent only with tools.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        tool_choice: Option<ToolChoice>,
        /// JSON Schema that the server has to hold the reply to (`response_format`); [`ANY_OBJECT`] is its
        /// `json_object`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        response_schema: Option<Value>,
    },
    /// The next-token distributions of a token sequence, one for each position in `first..tokens.len()`:
    /// position `t` is the distribution of the token that follows `tokens[..t]`.
    Distributions {
        /// The token ids, in the served model's vocabulary.
        tokens: Vec<u32>,
        /// First position asked for; the prefix `tokens[..first]` is prefilled in one go.
        first: usize,
        /// How many most probable tokens to list a position.
        top_k: usize,
        /// Where only some positions are asked for: those of each band, in the order of the text. Empty: all.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        bands: Vec<Band>,
    },
}

/// Consecutive positions, `first..end`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct Band {
    /// The first position.
    pub first: usize,
    /// One behind the last position.
    pub end: usize,
}

impl Band {
    /// Whether a position lies in it.
    pub fn holds(&self, position: usize) -> bool {
        (self.first..self.end).contains(&position)
    }
}

impl Prompt {
    /// A conversation without tools, the reply unconstrained.
    pub fn chat(messages: Vec<Message>) -> Self {
        Self::Chat { messages, tools: Vec::new(), tool_choice: None, response_schema: None }
    }

    /// The bands of positions that distributions are asked for, each within the tokens and none empty; no band
    /// for a conversation.
    pub fn bands(&self) -> Vec<Band> {
        let Self::Distributions { tokens, first, bands, .. } = self else {
            return Vec::new();
        };
        let all = Band { first: *first, end: tokens.len() };
        let asked = if bands.is_empty() { std::slice::from_ref(&all) } else { bands };
        let within = |band: &Band| Band { first: band.first, end: band.end.min(tokens.len()) };
        asked.iter().map(within).filter(|band| band.first < band.end).collect()
    }

    /// The positions that distributions are asked for, in the order of the replies' lists.
    pub fn positions(&self) -> Vec<usize> {
        self.bands().into_iter().flat_map(|band| band.first..band.end).collect()
    }
}

/// One item: what is sent, and what a right answer is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Case {
    /// Content hash of everything else in the case (hex, 16 digits); see [`Case::seal`].
    pub id: String,
    /// Task name, such as `retrieval/niah_multikey_2`.
    pub task: String,
    /// [`Task::version`](crate::task::Task::version) that made it.
    pub task_version: u32,
    /// For tool tasks: how the tools reach the model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arm: Option<Arm>,
    /// Context length in tokens that the case was sized for (prompt and reply together).
    pub context: u32,
    /// Position in the task's list of cases, from 0.
    pub index: u32,
    /// Where in the context the answer is, 0 (start) to 1 (end), if the task has such a place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub depth: Option<f64>,
    /// Cases that share a text (one haystack, one conversation, one template) share a cluster.
    pub cluster: String,
    /// What is sent.
    pub prompt: Prompt,
    /// Output budget in tokens.
    pub max_tokens: u32,
    /// Tokens of the rendered prompt, counted by the served model's tokenizer.
    pub prompt_tokens: u32,
    /// What a right answer is, in the task's own form.
    pub target: Value,
}

impl Case {
    /// Sets the id to the hash of the content.
    #[must_use]
    pub fn seal(mut self) -> Self {
        self.id.clear();
        let bytes = serde_json::to_vec(&self).unwrap_or_default();
        self.id = short_hash(&bytes);
        self
    }
}

/// The first 16 hex digits of the SHA-256 of `bytes`.
pub fn short_hash(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes)[..8])
}

/// Lower-case hex digits of `bytes`.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Names one planned trial; unique within a run.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub struct TrialKey {
    /// Setting label, unique in the suite (see [`Setting`](crate::suite::Setting)).
    pub setting: String,
    /// Context length of the cell in tokens.
    pub context: u32,
    /// Round that it belongs to, from 0.
    pub round: u32,
    /// 0, or 1 for the reference's second visit (the A/A pair).
    pub replicate: u32,
    /// Task name.
    pub task: String,
    /// For tool tasks: the arm.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arm: Option<Arm>,
    /// Index of the case in its task's list.
    pub index: u32,
}

/// Why the server stopped writing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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

/// The most probable next tokens at one position.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Distribution {
    /// Token ids and natural-log probabilities, most probable first.
    pub top: Vec<(u32, f32)>,
    /// The natural-log probability of the actual next token when it is listed.
    pub actual: Option<f32>,
}

/// What came back, before any judgement. Model text is hostile: escape it wherever it is shown.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
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
    /// that [read them](crate::task::Task::reads_tokens).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tokens: Vec<u32>,
    /// How its tokens were drafted, where the engine says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drafts: Option<DraftTrace>,
    /// What of the prompt came from the server's cache: only for tasks that
    /// [watch it](crate::task::Task::watches_cache).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub served: Option<Served>,
    /// Where the server ignored the output budget so far that only the beginning is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overlong: Option<Overlong>,
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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PackedDistributions {
    /// How many tokens are listed a position.
    pub top_k: usize,
    /// Base64 of the lists, in the form that `packing` says.
    pub data: String,
    /// The form of `data`.
    #[serde(default, skip_serializing_if = "Packing::is_records")]
    pub packing: Packing,
}

/// How distributions are written as bytes. Lists are most probable first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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

/// A judged reply.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Score {
    /// 0 (wrong) to 1 (right); `None` for a task that only compares with the reference (`coherence/kld`).
    pub quality: Option<f64>,
    /// Further figures of the task by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metrics: BTreeMap<String, f64>,
    /// What kind of error it was, in the task's own terms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// For an answer of several parts that lie in several places of the context: each part.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<Part>,
}

/// A part of an answer, such as one of several needles.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Part {
    /// Where in the context it lies, 0 (start) to 1 (end).
    pub depth: f64,
    /// 0 (wrong) to 1 (right).
    pub quality: f64,
}

impl Score {
    /// A score with nothing but its quality (0..1).
    pub fn of(quality: f64) -> Self {
        Self { quality: Some(quality), ..Self::default() }
    }

    /// Names the kind of error.
    #[must_use]
    pub fn labelled(mut self, label: impl Into<String>) -> Self {
        self.label = Some(label.into());
        self
    }

    /// Adds a figure.
    #[must_use]
    pub fn with(mut self, name: &str, value: f64) -> Self {
        self.metrics.insert(name.into(), value);
        self
    }
}

/// Where a trial failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// The server did not come up.
    Launch,
    /// The request could not be sent or was refused.
    Request,
    /// The reply broke off, hung or could not be read.
    Stream,
    /// The server died or hung during the trial.
    Server,
    /// The reply came, but not from what was asked (truncated prompt, context shift).
    Integrity,
}

/// What became of a trial. Never a sentinel number, never NaN.
///
/// Not internally tagged: with `serde_json`'s arbitrary precision such an enum cannot read back its floats.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// The reply was judged.
    Scored(Score),
    /// The case does not apply here, and why.
    Unscored {
        /// Why it was not scored.
        reason: String,
    },
    /// Something broke.
    Failed {
        /// Where it broke.
        stage: Stage,
        /// What happened.
        error: String,
    },
}

impl Outcome {
    /// The score, when there is one.
    pub fn score(&self) -> Option<&Score> {
        match self {
            Self::Scored(score) => Some(score),
            _ => None,
        }
    }

    /// The score (0..1) as settings are compared by it: what broke is lost, for a server that dies on the hard items
    /// must not look the better for it. `None` for what does not apply and for what has no score of its own.
    pub fn judged(&self) -> Option<f64> {
        match self {
            Self::Scored(score) => score.quality,
            Self::Unscored { .. } => None,
            Self::Failed { .. } => Some(0.0),
        }
    }
}

/// A moment by the monotonic clock, which nobody sets. It stands still while the machine sleeps.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Tick {
    /// Which sitting at the run, from 0: `run` is the first, every `resume` another.
    pub sitting: u32,
    /// Time since the sitting began (s).
    pub at_s: f64,
}

/// One case run once on one cell.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Trial {
    /// Which planned trial this is.
    pub key: TrialKey,
    /// Content hash of the case; empty when it failed before cases could be made.
    pub case: String,
    /// Which server process answered: number of the launch record in the journal, from 0.
    pub launch: u32,
    /// Start of the request, UTC, RFC 3339.
    pub started: String,
    /// Start of the request by the monotonic clock; journals before it was kept have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tick: Option<Tick>,
    /// What came back; `None` when nothing did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply: Option<Box<Reply>>,
    /// What was measured, each with its source.
    pub measurements: Vec<Measurement>,
    /// The judgement.
    pub outcome: Outcome,
}

impl Trial {
    /// The number that `source` measured as `name`, if there is one.
    pub fn measured(&self, name: &str, source: Source) -> Option<f64> {
        self.measurements.iter().find(|m| m.name == name && m.source == source).and_then(|m| m.value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bands_stay_within_the_tokens() {
        let ask = |first, bands: &[(usize, usize)]| {
            let bands = bands.iter().map(|&(first, end)| Band { first, end }).collect();
            Prompt::Distributions { tokens: vec![0; 9], first, top_k: 4, bands }.positions()
        };
        assert_eq!(ask(6, &[]), [6, 7, 8]);
        assert_eq!(ask(2, &[(2, 4), (7, 9)]), [2, 3, 7, 8]);
        assert_eq!(ask(2, &[(8, usize::MAX), (5, 3), (usize::MAX, 0)]), [8]);
        assert!(ask(9, &[]).is_empty() && Prompt::chat(Vec::new()).positions().is_empty());
    }

    /// Every line of the journal must come back as it went in, numbers inside tagged enums included.
    #[test]
    fn tagged_enums_with_numbers_survive_the_journal() {
        let prompt = Prompt::Distributions {
            tokens: vec![1, 2, 3],
            first: 1,
            top_k: 64,
            bands: vec![Band { first: 1, end: 2 }],
        };
        let text = serde_json::to_string(&prompt).unwrap();
        assert_eq!(serde_json::from_str::<Prompt>(&text).unwrap(), prompt);

        let outcome = Outcome::Scored(Score::of(0.5).with("fields", 0.25).labelled("value"));
        let text = serde_json::to_string(&outcome).unwrap();
        assert_eq!(serde_json::from_str::<Outcome>(&text).unwrap(), outcome);

        let parameters: Value =
            serde_json::from_str(r#"{"minimum":1.50,"maximum":12345678901234567890}"#).unwrap();
        let prompt = Prompt::Chat {
            messages: vec![Message::user("hello")],
            tools: vec![Tool { name: "f".into(), description: String::new(), parameters }],
            tool_choice: Some(ToolChoice::Auto),
            response_schema: None,
        };
        let text = serde_json::to_string(&prompt).unwrap();
        assert_eq!(serde_json::from_str::<Prompt>(&text).unwrap(), prompt);
    }
}
