//! What a case comes to, and what is said when no case does.

use super::card::Card;
use super::options::THINKING_TOKENS;
use crate::error::Error;

/// The largest number of units that fits, and what it comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fit {
    /// Units of haystack.
    pub(crate) units: usize,
    /// Tokens of the prompt with so many units.
    pub(crate) tokens: u32,
}

/// The error for a context that cannot hold a case; it names the options that would make the case smaller.
pub(crate) fn too_small(card: &Card, context: u32, max_tokens: u32, needed: u32) -> Error {
    let Card { name, options, .. } = card;
    let is_size = |name: &&str| name.ends_with("tokens") && *name != THINKING_TOKENS;
    let sizes = options.iter().map(|option| option.name).filter(is_size);
    let sizes: Vec<String> = sizes.map(|name| format!("`{name}`")).collect();
    let lower =
        if sizes.is_empty() { String::new() } else { format!(", or lower its {}", sizes.join(" or ")) };
    Error::usage(format!(
        "{name}: a context of {context} tokens is too small: the smallest prompt has {needed} tokens, and {max_tokens} \
         are kept for the reply"
    ))
    .hint(format!("give the task contexts of at least {} tokens{lower}", needed.saturating_add(max_tokens)))
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
    use crate::task::TaskOption;
    use crate::task::options::{THINKING, option, output_tokens};

    #[test]
    fn too_small_says_what_would_do() {
        static SIZED: &[TaskOption] = &[option("size_tokens", "", 1, 1, 9), THINKING];
        static BUDGETED: &[TaskOption] = &[output_tokens(8, ""), option("keys", "", 1, 1, 9)];
        let hint = |options| {
            let error = too_small(&Card { name: "a/b", options, ..Card::PRIMARY }, 128, 64, 100);
            assert_eq!(error.kind(), crate::error::Kind::Usage);
            error.hints()[0].clone()
        };
        let least = "give the task contexts of at least 164 tokens";
        assert_eq!(hint(BUDGETED), format!("{least}, or lower its `output_tokens`"));
        assert_eq!(hint(SIZED), format!("{least}, or lower its `size_tokens`"));
        assert_eq!(hint(&[]), least);
    }
}
