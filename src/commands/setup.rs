//! What every command sets up that touches a server: the runtime, and what its suite needs.

use crate::error::{Context, Result};
use crate::measure::client::{ApiKey, Client, Limits, base_of, gather};
use crate::measure::engine::Engine;
use crate::measure::model::{Progress, Store};
use crate::measure::runner;
use crate::measure::runner::Prepared;
use crate::record::Build;
use crate::record::suite::Suite;

/// The one runtime: on this thread, which lives as long as the process (a server's parent-death signal
/// follows the thread that started it).
pub(super) fn runtime() -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .on_thread_park(gather)
        .build()
        .context(|| "cannot start the async runtime".into())
}

/// A client of a server that runs already, in the engine's words; with a model's name and the key of a variable where they are given.
pub(super) fn attached_client(
    engine: &dyn Engine,
    url: &str,
    served_model: Option<&str>,
    key_env: Option<&str>,
) -> Result<Client> {
    let mut client =
        Client::new(base_of(url), engine.endpoints(), Limits::default())?.speaking(engine.card().wire);
    if let Some(model) = served_model {
        client = client.of_model(model);
    }
    match key_env {
        Some(variable) => Ok(client.with_key(ApiKey::from_env(variable)?)),
        None => Ok(client),
    }
}

/// Everything that a suite needs before its first server starts.
pub(super) fn prepare(suite: &Suite, progress: &dyn Progress) -> Result<Prepared> {
    prepare_asked(suite, None, progress)
}

/// As [`prepare`], of a server whose binary was `asked` about itself a moment ago.
pub(super) fn prepare_asked(
    suite: &Suite,
    asked: Option<Build>,
    progress: &dyn Progress,
) -> Result<Prepared> {
    let store = Store::open(progress)?;
    runtime()?.block_on(runner::prepare(suite, asked, &store))
}
