//! The longest context that a model was made for.

use std::path::Path;

use super::gguf::Metadata;
use super::{config, folder, gguf};
use crate::error::Result;
use crate::record::TrainedContext;

impl TrainedContext {
    pub(super) fn of(metadata: &Metadata) -> Option<Self> {
        let tokens = metadata.context_length.filter(|&tokens| tokens > 0)?;
        Some(Self { tokens, scaled: metadata.scaled_context.filter(|&scaled| scaled > tokens) })
    }
}

/// The length that rope scaling stretches a model to (tokens); `None` when it stretches nothing.
///
/// `linear`, `dynamic` and `yarn` multiply the original length, or the named one where no original is named (the
/// rule of Hugging Face's `rope_scaling` and of vLLM); `longrope` and `llama3` name the stretched length themselves.
pub(super) fn scaled(
    context: Option<u64>,
    kind: Option<&str>,
    factor: Option<f64>,
    original: Option<u64>,
) -> Option<u64> {
    let factor = factor.filter(|factor| factor.is_finite() && (1.0..=1e6).contains(factor))?;
    let base = original.filter(|&original| original > 0).or(context)?;
    matches!(kind?, "linear" | "dynamic" | "yarn").then(|| (base as f64 * factor) as u64)
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
    fn rope_scaling_stretches_as_its_kind_says() {
        let yarn = scaled(Some(32_768), Some("yarn"), Some(4.0), Some(32_768));
        assert_eq!(yarn, Some(131_072));
        assert_eq!(scaled(Some(131_072), Some("yarn"), Some(4.0), Some(32_768)), Some(131_072));
        assert_eq!(scaled(Some(4096), Some("linear"), Some(2.0), None), Some(8192));
        assert_eq!(scaled(Some(131_072), Some("llama3"), Some(8.0), Some(8192)), None, "stretched already");
        assert_eq!(scaled(Some(131_072), Some("longrope"), Some(32.0), Some(4096)), None);
        assert_eq!(scaled(Some(4096), Some("yarn"), None, None), None);
        assert_eq!(scaled(Some(4096), Some("yarn"), Some(f64::NAN), None), None);
    }

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
