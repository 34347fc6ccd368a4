//! Tokens counted here instead of by the server: with the vocabulary of the model's file or folder, in the prompts that the server's
//! chat template makes. The server's own tokens of the first case of each list rule (see [`CaseBook`](super::cases)).

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::prepared::Prepared;
use crate::error::Result;
use crate::measure::client::{Client, Frame, PromptTokens, frame_name};
use crate::measure::model::BytePairs;
use crate::record::suite::Suite;
use crate::record::{Message, Tool};

/// The tokenizer of a model, and what its server's template writes around messages.
#[derive(Debug)]
pub(super) struct OwnTokens {
    pairs: BytePairs,
    /// By what is asked; `None` where the template changes what messages say.
    frames: Mutex<HashMap<String, Option<Frame>>>,
}

impl OwnTokens {
    pub(super) fn new(pairs: BytePairs) -> Self {
        Self { pairs, frames: Mutex::default() }
    }

    /// Whether the template was seen: without it nothing can be counted.
    pub(super) fn knows_a_frame(&self) -> bool {
        self.frames().values().any(Option::is_some)
    }

    /// Tokens of the prompt that the server makes of a conversation; `None` where they cannot be told here, also because the
    /// template was not seen yet.
    pub(super) fn count_chat(&self, messages: &[Message], tools: &[Tool]) -> Option<u32> {
        self.pairs.count(&self.prompt(messages, tools)?, true)
    }

    pub(super) fn count_text(&self, text: &str) -> Option<u32> {
        self.pairs.count(text, false)
    }

    pub(super) fn tokenize(&self, text: &str) -> Option<Vec<u32>> {
        self.pairs.tokens(text, false)
    }

    /// Asks the server for what its template writes around such messages, unless that is known.
    pub(super) async fn learn(&self, messages: &[Message], tools: &[Tool], client: &Client) -> Result<()> {
        let Some(name) = frame_name(messages, tools) else { return Ok(()) };
        if !self.frames().contains_key(&name) {
            let frame = client.frame(messages, tools, |tokens| self.pairs.text(tokens)).await?;
            self.frames().insert(name, frame);
        }
        Ok(())
    }

    fn prompt(&self, messages: &[Message], tools: &[Tool]) -> Option<String> {
        let name = frame_name(messages, tools)?;
        Some(self.frames().get(&name)?.as_ref()?.filled(messages))
    }

    fn frames(&self) -> MutexGuard<'_, HashMap<String, Option<Frame>>> {
        self.frames.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl PromptTokens for OwnTokens {
    fn of_chat(&self, messages: &[Message], tools: &[Tool]) -> Option<Vec<u32>> {
        self.pairs.tokens(&self.prompt(messages, tools)?, true)
    }
}

/// The file or folder of each model whose tokenizer may be taken from it: of servers that are started here, and render or
/// tokenise conversations.
pub(super) fn files(suite: &Suite, prepared: &Prepared) -> HashMap<String, PathBuf> {
    if prepared.attached.is_some() || prepared.engine.endpoints().tokenize.is_none() {
        return HashMap::new();
    }
    let mut files = HashMap::new();
    for setting in suite.measured() {
        if let Ok(file) = prepared.model(setting) {
            files.entry(setting.model.clone()).or_insert_with(|| file.clone());
        }
    }
    files
}
