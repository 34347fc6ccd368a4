//! Cases one by one.

use crate::error::Result;
use crate::record::Case;

/// Takes cases one by one.
pub type Emit<'a> = &'a mut dyn FnMut(Case) -> Result<()>;

/// The cases that `make` emits, all at once.
///
/// # Errors
/// As `make`.
pub(crate) fn collected(make: impl FnOnce(Emit<'_>) -> Result<()>) -> Result<Vec<Case>> {
    let mut cases = Vec::new();
    make(&mut |case| {
        cases.push(case);
        Ok(())
    })?;
    Ok(cases)
}
