//! How texts are counted in tokens of the served model.

use crate::error::Result;
use crate::record::{Message, Tool};

/// The served model's own tokenizer and chat template.
pub trait TokenCounter {
    /// Tokens of the prompt as the server renders it with the model's chat template, a last message of the
    /// assistant as the beginning of its reply (see [`prefill`](crate::record::prefill)).
    ///
    /// # Errors
    /// When the server does not answer.
    fn count_chat(&self, messages: &[Message], tools: &[Tool]) -> Result<u32>;

    /// Token ids of a text without any template (no special tokens added).
    ///
    /// # Errors
    /// When the server does not answer.
    fn tokenize(&self, text: &str) -> Result<Vec<u32>>;

    /// Tokens of a text without any template, where the ids do not matter: a server that gives no ids may still count.
    ///
    /// # Errors
    /// When the server does not answer.
    fn count_text(&self, text: &str) -> Result<u32> {
        Ok(u32::try_from(self.tokenize(text)?.len()).unwrap_or(u32::MAX))
    }
}
