//! A folder for what is thrown away: nobody else's, under a name that nobody can foresee, and gone with its value.

use tempfile::TempDir;

use crate::error::{Context, Result};

/// Makes a folder within the system's temporary one.
///
/// # Errors
/// When that cannot be written to.
pub(super) fn scratch() -> Result<TempDir> {
    let temporary = std::env::temp_dir();
    let made = tempfile::Builder::new().prefix("kneepoint-").tempdir_in(&temporary);
    made.context(|| format!("cannot create a folder in {}", temporary.display()))
}
