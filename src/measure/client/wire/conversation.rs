//! What is asked of a model.

use serde_json::Value;

use crate::record::{Message, Tool, ToolChoice};

/// What is asked of the model in one turn.
#[derive(Debug, Clone, Copy, Default)]
pub struct Conversation<'a> {
    /// What was said so far; a last message of the assistant is the beginning of the reply.
    pub messages: &'a [Message],
    /// Tools for the `tools` field; empty: the field is not sent.
    pub tools: &'a [Tool],
    /// Sent only with tools.
    pub tool_choice: Option<ToolChoice>,
    /// JSON Schema that the server has to hold the reply to.
    pub response_schema: Option<&'a Value>,
    /// Whether the server may go on from what its cache holds: for the later turns of a conversation. A
    /// request without it is cold.
    pub reuse_cache: bool,
}

impl<'a> Conversation<'a> {
    /// Messages alone, cold.
    pub fn of(messages: &'a [Message]) -> Self {
        Self { messages, ..Self::default() }
    }
}
