//! One case: what is sent, and what a right answer is.

#[cfg(test)]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::arm::Arm;
use super::forced::ForcedPart;
use super::hash::short_hash;
use super::message::{Message, Tool, ToolChoice};
use super::name::Name;

/// As a schema for the reply: any JSON object, which servers have a word of their own for.
pub const ANY_OBJECT: Value = Value::Bool(true);

/// What is sent to the server for one case.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
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
        response_schema: Option<Box<Value>>,
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
        /// Whether each must be read by a decode step, also where the server lists those of a prompt in one go.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        by_decode: bool,
    },
}

/// Consecutive positions, `first..end`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
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

/// One case: what is sent, and what a right answer is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct Case {
    /// Content hash of everything else in the case (hex, 16 digits); see [`Case::seal`].
    pub id: Name,
    /// Task name, such as `retrieval/niah_multikey_2`.
    pub task: Name,
    /// Version of the task that made it.
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
    pub cluster: Name,
    /// What is sent.
    pub prompt: Prompt,
    /// Output budget in tokens.
    pub max_tokens: u32,
    /// Tokens of the rendered prompt, counted by the served model's tokenizer.
    pub prompt_tokens: u32,
    /// What a right answer is, in the task's own form.
    pub target: Value,
    /// Scored by probability: the parts of the right answer. Empty: the reply is the model's own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub forced: Vec<ForcedPart>,
    /// Tokens at the start of the prompt that all cases of the cluster share; 0: the prompt is its own.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub shared_tokens: u32,
}

fn is_zero(number: &u32) -> bool {
    *number == 0
}

impl Case {
    /// Returns a case that is known by what is asked and what is right. Its context length and token counts are 0, and
    /// it is a cluster of its own: what else is known is added by the methods below, the [seal](Case::seal) last.
    pub fn new(task: &str, task_version: u32, index: u32, prompt: Prompt, target: Value) -> Self {
        Self {
            id: Name::default(),
            task: task.into(),
            task_version,
            arm: None,
            context: 0,
            index,
            depth: None,
            cluster: format!("{task}/{index}").into(),
            prompt,
            max_tokens: 0,
            prompt_tokens: 0,
            target,
            forced: Vec::new(),
            shared_tokens: 0,
        }
    }

    /// Sets the context length (tokens) that it is made for.
    #[must_use]
    pub fn in_context(self, context: u32) -> Self {
        Self { context, ..self }
    }

    /// Sets how the tools reach the model.
    #[must_use]
    pub fn in_arm(self, arm: Option<Arm>) -> Self {
        Self { arm, ..self }
    }

    /// Sets where in the context the answer is (0..1).
    #[must_use]
    pub fn at_depth(self, depth: Option<f64>) -> Self {
        Self { depth, ..self }
    }

    /// Sets what it shares with other cases: one text, one conversation, one template.
    #[must_use]
    pub fn in_cluster(self, cluster: impl Into<Name>) -> Self {
        Self { cluster: cluster.into(), ..self }
    }

    /// Sets the tokens of the rendered prompt and the output budget (tokens).
    #[must_use]
    pub fn sized(self, prompt_tokens: u32, max_tokens: u32) -> Self {
        Self { prompt_tokens, max_tokens, ..self }
    }

    /// Sets the parts of the answer that is scored by its probability.
    #[must_use]
    pub fn forcing(self, forced: Vec<ForcedPart>) -> Self {
        Self { forced, ..self }
    }

    /// Sets how many tokens at its start the prompt shares with the other cases of its cluster.
    #[must_use]
    pub fn sharing(self, shared_tokens: u32) -> Self {
        Self { shared_tokens, ..self }
    }

    /// Sets the id to the hash of the content.
    #[must_use]
    pub fn seal(mut self) -> Self {
        self.id = Name::default();
        let bytes = serde_json::to_vec(&self).unwrap_or_default();
        self.id = short_hash(&bytes).into();
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_added_to_a_case_is_in_its_id() {
        let case = || Case::new("a/b", 3, 7, Prompt::chat(Vec::new()), Value::Null);
        assert_eq!((case().task_version, case().index, case().cluster), (3, 7, "a/b/7".into()));
        let others = [
            case().in_context(512),
            case().in_arm(Some(Arm::Native)),
            case().at_depth(Some(0.5)),
            case().in_cluster("text"),
            case().sized(1, 0),
            case().sized(0, 1),
            case().forcing(vec![ForcedPart { begun: String::new(), forms: Vec::new(), depth: None }]),
            case().sharing(1),
        ];
        let ids: std::collections::BTreeSet<Name> = others.into_iter().map(|case| case.seal().id).collect();
        assert!(ids.len() == 8 && !ids.contains(&case().seal().id));
        let all = case().in_context(512).in_arm(Some(Arm::Native)).sized(100, 12);
        assert_eq!(
            (all.context, all.arm, all.prompt_tokens, all.max_tokens),
            (512, Some(Arm::Native), 100, 12)
        );
    }

    #[test]
    fn bands_stay_within_the_tokens() {
        let ask = |first, bands: &[(usize, usize)]| {
            let bands = bands.iter().map(|&(first, end)| Band { first, end }).collect();
            Prompt::Distributions { tokens: vec![0; 9], first, top_k: 4, bands, by_decode: false }.positions()
        };
        assert_eq!(ask(6, &[]), [6, 7, 8]);
        assert_eq!(ask(2, &[(2, 4), (7, 9)]), [2, 3, 7, 8]);
        assert_eq!(ask(2, &[(8, usize::MAX), (5, 3), (usize::MAX, 0)]), [8]);
        assert!(ask(9, &[]).is_empty() && Prompt::chat(Vec::new()).positions().is_empty());
    }
}
