//! What every command sets up that touches a server: the runtime, and what its suite needs.

use crate::error::{Context, Result};
use crate::measure::model::{Progress, Store};
use crate::measure::runner;
use crate::measure::runner::Prepared;
use crate::record::suite::Suite;

/// The one runtime: on this thread, which lives as long as the process (a server's parent-death signal
/// follows the thread that started it).
pub(super) fn runtime() -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context(|| "cannot start the async runtime".into())
}

/// Everything that a suite needs before its first server starts.
pub(super) fn prepare(suite: &Suite, progress: &dyn Progress) -> Result<Prepared> {
    let store = Store::open(progress)?;
    runtime()?.block_on(runner::prepare(suite, &store))
}
