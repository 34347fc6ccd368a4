//! A tokenizer and parameters for tests.

use std::collections::BTreeMap;

use super::{Params, TokenCounter};
use crate::error::Result;
use crate::record::{Arm, Message, Mode, Scoring, Tool};

/// A tokenizer for tests: a token is a run of at most four letters or digits, or any other character;
/// a blank belongs to the word behind it. Every message and the template's end cost some tokens more.
#[derive(Debug, Default)]
pub(crate) struct WordCounter {
    /// How often something was counted.
    pub(crate) counts: std::cell::Cell<u32>,
}

impl TokenCounter for WordCounter {
    fn count_chat(&self, messages: &[Message], tools: &[Tool]) -> Result<u32> {
        self.counts.set(self.counts.get() + 1);
        let texts = messages.iter().map(|message| message.content.clone());
        let tools =
            tools.iter().map(|tool| format!("{} {} {}", tool.name, tool.description, tool.parameters));
        let pieces: usize = texts.chain(tools).map(|text| pieces(&text).len() + 5).sum();
        Ok(pieces as u32 + 3)
    }

    fn tokenize(&self, text: &str) -> Result<Vec<u32>> {
        let hash =
            |piece: &str| piece.bytes().fold(7_u32, |hash, byte| hash.wrapping_mul(31) + u32::from(byte));
        Ok(pieces(text).into_iter().map(|piece| hash(piece) % 50_000).collect())
    }
}

fn pieces(text: &str) -> Vec<&str> {
    let mut pieces = Vec::new();
    let mut start = 0;
    let mut letters = 0;
    for (at, c) in text.char_indices() {
        letters = if c.is_alphanumeric() { letters + 1 } else { 0 };
        let goes_on = letters > 1 && letters <= 4 || letters == 1 && text[start..at] == *" ";
        if at > start && !goes_on {
            pieces.push(&text[start..at]);
            start = at;
            letters = letters.min(1);
        }
    }
    pieces.push(&text[start..]);
    pieces
}

pub(crate) fn params(context: u32, samples: u32, arm: Option<Arm>) -> Params {
    Params {
        context,
        samples,
        arm,
        mode: Mode::Chat,
        score: Scoring::Match,
        questions: 1,
        text: None,
        options: BTreeMap::new(),
        file: None,
    }
}
