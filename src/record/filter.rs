//! Which trials to run, as `--filter` says.

use super::Arm;
use super::suite::Setting;
use crate::error::{Error, Result};
use crate::quantity;

/// Which trials to run: `KEY=PATTERN` with `*` for anything. The same key again is 'or', another is 'and'.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    terms: Vec<(FilterKey, String)>,
}

impl Filter {
    /// Reads `KEY=PATTERN` terms.
    ///
    /// # Errors
    /// A usage error for an unknown key or a missing `=`.
    pub fn parse(terms: &[String]) -> Result<Self> {
        let terms = terms
            .iter()
            .map(|term| {
                let (key, pattern) = term.split_once('=').unwrap_or((term, ""));
                let known = FilterKey::ALL.iter().find(|(name, _)| *name == key);
                match (known, term.contains('=')) {
                    (Some((_, FilterKey::Context)), true) => Ok((FilterKey::Context, context(pattern))),
                    (Some((_, key)), true) => Ok((*key, pattern.to_owned())),
                    _ => Err(Error::usage(format!("--filter {term}: not a KEY=PATTERN"))
                        .hint("keys are task, setting, context and arm; `*` stands for anything")
                        .hint("such as --filter 'task=retrieval/*' or --filter 'setting=*kv=q4_0*'")),
                }
            })
            .collect::<Result<_>>()?;
        Ok(Self { terms })
    }

    /// Whether a value passes: no term for the key, or one of them matches.
    pub(super) fn passes(&self, key: FilterKey, value: &str) -> bool {
        let mut terms = self.terms.iter().filter(|(term, _)| *term == key).peekable();
        terms.peek().is_none() || terms.any(|(_, pattern)| glob(pattern, value))
    }

    /// Whether anything of a task at a context length passes.
    pub fn keeps(&self, task: &str, context: u32) -> bool {
        self.passes(FilterKey::Task, task) && self.passes(FilterKey::Context, &context.to_string())
    }

    /// Whether it only names settings and context lengths: what it says of cells.
    pub fn is_of_cells(&self) -> bool {
        self.terms.iter().all(|(key, _)| matches!(key, FilterKey::Setting | FilterKey::Context))
    }

    /// Whether a cell passes, by the setting's label and the context length (tokens); the reference is treated like
    /// any other.
    pub fn keeps_cell(&self, setting: &str, context: u32) -> bool {
        self.passes(FilterKey::Setting, setting) && self.passes(FilterKey::Context, &context.to_string())
    }

    /// Whether anything of an arm passes; `None`: a task without arms.
    pub fn keeps_arm(&self, arm: Option<Arm>) -> bool {
        self.passes(FilterKey::Arm, arm.map_or("", Arm::name))
    }

    /// Whether anything of a setting passes. The reference always does: without it nothing could be compared.
    pub fn passes_setting(&self, setting: &Setting, reference: &Setting) -> bool {
        setting == reference || self.passes(FilterKey::Setting, &setting.label)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FilterKey {
    Task,
    Setting,
    Context,
    Arm,
}

impl FilterKey {
    const ALL: [(&'static str, Self); 4] =
        [("task", Self::Task), ("setting", Self::Setting), ("context", Self::Context), ("arm", Self::Arm)];
}

/// `32k` is `32768`; patterns stay.
fn context(pattern: &str) -> String {
    quantity::tokens(pattern).map_or_else(|_| pattern.to_owned(), |tokens| tokens.to_string())
}

/// Whether `pattern` with `*` for any run of characters covers all of `text`.
pub(crate) fn glob(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = text.strip_prefix(parts.next().unwrap_or_default()) else {
        return false;
    };
    if !pattern.contains('*') {
        return rest.is_empty();
    }
    let parts: Vec<&str> = parts.collect();
    let Some((last, middle)) = parts.split_last() else {
        return true;
    };
    for part in middle {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs() {
        for (pattern, text, expected) in [
            ("retrieval/*", "retrieval/niah_single_1", true),
            ("*kv=q4_0*", "Q4_1 kv=q4_0 spec=ngram-simple", true),
            ("*q4_0", "Q4_1 kv=q4_0 spec=x", false),
            ("512", "512", true),
            ("512", "5120", false),
            ("*", "", true),
            ("a*b*c", "aXbYc", true),
            ("a*b*c", "acb", false),
            ("ab*ba", "aba", false),
        ] {
            assert_eq!(glob(pattern, text), expected, "{pattern} on {text}");
        }
    }
}
