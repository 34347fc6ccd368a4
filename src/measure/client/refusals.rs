//! What is said where a server lacks something, or answers with something else.

use super::exchange::Failure;
use crate::error::{Error, Kind, Result};

/// Returns the path, or says what the server does not have.
pub(super) fn endpoint(path: Option<&'static str>, what: &str) -> Result<&'static str> {
    path.ok_or_else(|| {
        Error::new(Kind::Unsupported, format!("this server has no {what} that can be asked"))
            .hint("choose tasks that need none, or another engine")
    })
}

/// Makes an error of a failure at a path.
pub(super) fn wrap(path: &str, failure: Failure) -> Error {
    if failure.unsupported {
        return Error::new(Kind::Unsupported, failure.message);
    }
    let kind = if failure.refuses_the_request() { Kind::Refused } else { Kind::Runtime };
    Error::new(kind, format!("request to {path} failed: {failure}"))
        .hint("look at the server's log; is the address that of the right server?")
}

/// Returns an error about an answer of the wrong kind.
pub(super) fn unexpected(path: &str, wanted: &str) -> Error {
    Error::runtime(format!("the server did not answer {path} with {wanted}"))
        .hint("is this engine the one that the suite names?")
}

/// Returns whether an error says that a server cannot do what was asked.
pub(crate) fn is_unsupported(error: &Error) -> bool {
    error.kind() == Kind::Unsupported
}
