//! What a case comes to, and what is said when no case does.

use crate::error::Error;

/// The largest number of units that fits, and what it comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fit {
    /// Units of haystack.
    pub(crate) units: usize,
    /// Tokens of the prompt with so many units.
    pub(crate) tokens: u32,
}

/// The error for a context that cannot hold a case.
pub(crate) fn too_small(task: &str, context: u32, max_tokens: u32, needed: u32) -> Error {
    Error::usage(format!(
        "{task}: a context of {context} tokens is too small: the smallest prompt has {needed} tokens, and {max_tokens} \
         are kept for the reply"
    ))
    .hint(format!(
        "give the task contexts of at least {} tokens, or lower its `output_tokens`",
        needed.saturating_add(max_tokens)
    ))
}

/// The error for a context that the task has not enough material for.
pub(crate) fn too_large(task: &str, context: u32, most: u32) -> Error {
    Error::usage(format!(
        "{task}: a context of {context} tokens is too large: the longest prompt has {most} tokens"
    ))
    .hint("give the task smaller contexts")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_small_says_what_would_do() {
        let error = too_small("a/b", 128, 64, 100);
        assert_eq!(error.kind(), crate::error::Kind::Usage);
        assert!(error.hints()[0].contains("164"));
    }
}
