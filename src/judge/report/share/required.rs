//! Fields that a board requires: all that are missing are named at once.

use crate::error::{Error, Result};

/// Required fields that were not there.
#[derive(Debug, Default)]
pub(super) struct Required {
    missing: Vec<(&'static str, String)>,
}

impl Required {
    /// Takes a field's value, or notes why there is none.
    pub(super) fn take<T>(&mut self, field: &'static str, value: Option<T>, why: &str) -> Option<T> {
        if value.is_none() {
            self.missing.push((field, why.to_owned()));
        }
        value
    }

    /// Notes that a field is missing, and why.
    pub(super) fn miss(&mut self, field: &'static str, why: impl Into<String>) {
        self.missing.push((field, why.into()));
    }

    /// What was made, if nothing was missing.
    ///
    /// # Errors
    /// A usage error that names what is missing, with why.
    pub(super) fn complete<T>(self, board: &str, made: Option<T>) -> Result<T> {
        match made {
            Some(made) if self.missing.is_empty() => Ok(made),
            _ => {
                let fields: Vec<&str> = self.missing.iter().map(|(field, _)| *field).collect();
                let error =
                    Error::usage(format!("{board} requires what is not known: {}", fields.join(", ")));
                let hints = self.missing.iter().map(|(field, why)| format!("{field}: {why}"));
                Err(hints.fold(error, |error, hint| error.hint(hint)))
            }
        }
    }
}
