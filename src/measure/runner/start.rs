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

/// As [`start`], and the server is warm then.
///
/// # Errors
/// As [`start`], and when a server cannot be ended.
pub(super) async fn start_warm(
    suite: &Suite,
    prepared: &Prepared,
    visit: &Visit,
    id: u32,
    folder: &Path,
    interrupt: &Interrupt,
) -> Result<(LaunchRecord, LaunchOutcome)> {
    let (record, up) = start(suite, prepared, visit, id, folder, interrupt).await?;
    let LaunchOutcome::Ready(live) = up else { return Ok((record, up)) };
    tokio::select! {
        () = live.warm_up(&suite.sampling, prepared.gpu, visit.served().context) => {}
        () = interrupt.asked(1) => {
            live.stop().await?;
            return Ok((record, LaunchOutcome::Interrupted));
        }
    }
    Ok((record, LaunchOutcome::Ready(live)))
}

/// Starts a server for a visit, or attaches to the one that runs; it is read back then, and not warm yet.
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
