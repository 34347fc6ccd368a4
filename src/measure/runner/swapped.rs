//! Trials that are void because a file they depend on was swapped while they ran.

use crate::error::Error;
use crate::record::Outcome;

/// What the reason of a trial begins with that a swapped file made void.
pub(super) const SWAPPED: &str = "void trial: ";

/// Returns the reason of a trial that such an error made void.
pub(super) fn swapped_reason(error: &Error) -> String {
    format!("{SWAPPED}{}", crate::error::chain(error))
}

/// Returns whether a trial is void for a swapped file.
pub(super) fn is_swapped(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Unscored { reason } if reason.starts_with(SWAPPED))
}
