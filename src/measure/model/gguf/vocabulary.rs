//! The vocabulary of a GGUF file: what a tokenizer of byte pairs is made of.

use std::io::Read;

use super::parse::{ARRAY, Arrays, GgufError, Reader, STRING};
use super::source::Stream;

/// What a file says of its tokenizer, as it stands there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Vocabulary {
    /// `tokenizer.ggml.model`, such as `gpt2`.
    pub kind: String,
    /// `tokenizer.ggml.pre`: how texts are cut.
    pub pre: String,
    /// The tokens by their ids.
    pub tokens: Vec<String>,
    /// Their kinds by their ids: 1 normal, 2 unknown, 3 control, 4 the user's, 5 unused, 6 a byte.
    pub kinds: Vec<u64>,
    /// Pairs that are merged, the first ones first; a space between the two.
    pub merges: Vec<String>,
    /// Whether a text begins with [`Vocabulary::first_token`]; `None` where the file does not say.
    pub begins: Option<bool>,
    /// `tokenizer.ggml.bos_token_id`.
    pub first_token: Option<u64>,
    /// Whether texts are composed (Unicode's NFC) before they are cut; GGUF files do not say, and llama.cpp does not.
    pub normalizes: bool,
}

/// Reads the vocabulary from the start of a GGUF file.
///
/// # Errors
/// When it is no GGUF file, is damaged, or ends too early.
pub fn parse_vocabulary(reader: impl Read) -> Result<Vocabulary, GgufError> {
    let known = Arrays::new();
    let mut reader = Reader::new(Stream(reader), &known);
    reader.start()?;
    let mut vocabulary = Vocabulary::default();
    for _ in 0..reader.pairs()? {
        let (key, kind) = reader.key()?;
        match (key.as_str(), kind) {
            ("tokenizer.ggml.model", STRING) => vocabulary.kind = reader.whole_text()?,
            ("tokenizer.ggml.pre", STRING) => vocabulary.pre = reader.whole_text()?,
            ("tokenizer.ggml.tokens", ARRAY) => vocabulary.tokens = reader.whole_texts()?,
            ("tokenizer.ggml.merges", ARRAY) => vocabulary.merges = reader.whole_texts()?,
            ("tokenizer.ggml.token_type", ARRAY) => vocabulary.kinds = reader.whole_numbers()?,
            ("tokenizer.ggml.add_bos_token", BOOL) => {
                vocabulary.begins = reader.number(BOOL)?.map(|value| value != 0);
            }
            ("tokenizer.ggml.bos_token_id", UINT32) => vocabulary.first_token = reader.number(UINT32)?,
            _ => reader.pass_over(kind)?,
        }
    }
    Ok(vocabulary)
}

/// The format's number for a truth value.
const BOOL: u32 = 7;
/// The format's number for a natural number of 32 bits.
const UINT32: u32 = 4;
