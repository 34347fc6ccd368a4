//! A visit's server: started here, or one that runs already.

use std::path::Path;

use super::interrupt::Interrupt;
use super::prepared::Prepared;
use super::server::LaunchOutcome;
use super::{attach, server};
use crate::error::Result;
use crate::record::journal::LaunchRecord;
use crate::record::plan::Visit;
use crate::record::suite::Suite;

/// Starts a server for a visit, or attaches to the one that runs; it is read back and warm then.
///
/// # Errors
/// When the reference cannot run, or no thread for sampling can be started.
pub(super) async fn start(
    suite: &Suite,
    prepared: &Prepared,
    visit: &Visit,
    id: u32,
    folder: &Path,
    interrupt: &Interrupt,
) -> Result<(LaunchRecord, LaunchOutcome)> {
    match &prepared.attached {
        Some(attachment) => attach::visit(suite, prepared, attachment, visit, id, interrupt).await,
        None => server::launch(suite, prepared, visit, id, folder, interrupt).await,
    }
}
