//! The longest context that a model was made for.

use std::path::Path;

use super::gguf::Metadata;
use super::{config, folder, gguf};
use crate::error::Result;
use crate::record::TrainedContext;

impl TrainedContext {
    pub(crate) fn of(metadata: &Metadata) -> Option<Self> {
        let tokens = metadata.context_length.filter(|&tokens| tokens > 0)?;
        Some(Self { tokens, scaled: metadata.scaled_context.filter(|&scaled| scaled > tokens) })
    }
}

/// What the file or the folder of a model says of its context.
///
/// # Errors
/// When it cannot be read.
pub fn trained_context(path: &Path) -> Result<Option<TrainedContext>> {
    let metadata =
        if path.is_dir() { config::read(&path.join(folder::CONFIG))?.metadata } else { gguf::read(path)? };
    Ok(TrainedContext::of(&metadata))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_names_no_length_says_nothing() {
        assert_eq!(TrainedContext::of(&Metadata::default()), None);
        let zero = Metadata { context_length: Some(0), ..Metadata::default() };
        assert_eq!(TrainedContext::of(&zero), None);
        let plain = Metadata { context_length: Some(8192), ..Metadata::default() };
        assert_eq!(TrainedContext::of(&plain).map(TrainedContext::longest), Some(8192));
        let yarn = Metadata { scaled_context: Some(32_768), ..plain };
        assert_eq!(TrainedContext::of(&yarn).map(TrainedContext::longest), Some(32_768));
    }
}
