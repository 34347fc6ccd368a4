//! How a conversation goes on.

use crate::record::{Message, Tool};

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
