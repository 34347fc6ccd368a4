//! Counting without a tokenizer.

use super::TokenCounter;
use crate::error::Result;
use crate::record::{Message, Tool};

/// Characters that count as one token.
const CHARACTERS: usize = 4;

/// Counts four characters a token and no template: for looking at cases without a server. A prompt sized with
/// it may be longer or shorter than its budget for any real tokenizer.
#[derive(Debug, Clone, Copy, Default)]
pub struct Approximate;

impl TokenCounter for Approximate {
    fn count_chat(&self, messages: &[Message], tools: &[Tool]) -> Result<u32> {
        let texts: usize = messages.iter().map(|message| tokens(&message.content)).sum();
        let tools: usize = tools
            .iter()
            .map(|tool| tokens(&tool.name) + tokens(&tool.description) + tokens(&tool.parameters.to_string()))
            .sum();
        Ok(u32::try_from(texts + tools).unwrap_or(u32::MAX))
    }

    fn tokenize(&self, text: &str) -> Result<Vec<u32>> {
        let characters: Vec<char> = text.chars().collect();
        let id = |chunk: &[char]| chunk.iter().fold(0_u32, |id, c| id.wrapping_mul(31) ^ u32::from(*c));
        Ok(characters.chunks(CHARACTERS).map(id).collect())
    }
}

fn tokens(text: &str) -> usize {
    text.chars().count().div_ceil(CHARACTERS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn four_characters_are_a_token() {
        let count = |text: &str| Approximate.count_chat(&[Message::user(text)], &[]).unwrap();
        assert_eq!([count(""), count("abcd"), count("abcde"), count("ééééé")], [0, 1, 2, 2]);
        assert_eq!(Approximate.tokenize("abcde").unwrap().len(), 2);
    }
}
