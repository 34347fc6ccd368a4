//! What a model's file says of its tokenizer.

use std::path::Path;

use super::gguf;
use crate::record::Tokenizer;

/// The tokenizer of a model's file; `None` for folders, and where the file does not say or cannot be read.
pub fn tokenizer(path: &Path) -> Option<Tokenizer> {
    // Not to know is no reason not to run it.
    if path.is_dir() { None } else { gguf::read_tokenizer(path).ok().flatten() }
}
