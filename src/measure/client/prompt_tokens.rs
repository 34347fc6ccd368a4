//! Tokens of prompts that are told without the server.

use std::fmt::Debug;

use crate::record::{Message, Tool};

/// Tells tokens as the server has them, without asking it.
pub trait PromptTokens: Debug + Send + Sync {
    /// Returns the tokens of the prompt that the server makes of a conversation; `None` where they cannot be told.
    fn of_chat(&self, messages: &[Message], tools: &[Tool]) -> Option<Vec<u32>>;
}
