//! A server that is started for nothing but the grammars that it makes of schemas.

use std::time::Instant;

use tempfile::TempDir;

use super::constraints::{EACH, Patience, Reach, look_at};
use super::interrupt::Interrupt;
use super::scratch::scratch;
use super::short_launch::{ShortLaunch, setting};
use crate::error::Result;
use crate::measure::client::{Client, Limits};
use crate::measure::engine::supervise::Server;
use crate::record::HeldSchema;
use crate::record::suite::Cell;
use crate::task::tools::held::check::Constraint;

/// Context length (tokens): nothing is generated.
const CONTEXT: u32 = 512;

/// A server that tells its grammars.
#[expect(missing_debug_implementations, reason = "a server has none")]
pub struct GrammarServer {
    server: Server,
    client: Client,
    /// Of its log.
    _folder: TempDir,
}

impl GrammarServer {
    /// Starts a server with its model, whichever: grammars do not depend on it.
    ///
    /// # Errors
    /// When it does not come up.
    pub async fn start(launch: ShortLaunch<'_>) -> Result<Self> {
        let folder = scratch()?;
        let cell = Cell { setting: setting(launch.engine.name(), "f16", "f16"), context: CONTEXT };
        let (server, port) = launch.start(&cell, &["--no-warmup"], &folder.path().join("server.log")).await?;
        let endpoints = launch.engine.endpoints();
        let client = Client::new(&format!("http://127.0.0.1:{port}"), endpoints, Limits::default())?;
        Ok(Self { server, client: client.speaking(launch.engine.card().wire), _folder: folder })
    }

    /// What asks it.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Ends it and removes its log.
    ///
    /// # Errors
    /// When it cannot be ended.
    pub async fn stop(self) -> Result<()> {
        self.server.stop().await
    }
}

/// What a server holds of a schema, and of the values that are known to be right; half a minute is spent on it at most.
///
/// # Errors
/// When a thread panics.
pub async fn held(
    constraint: Constraint,
    client: &Client,
    interrupt: &Interrupt,
) -> Result<(HeldSchema, Reach)> {
    let patience = Patience { until: Instant::now() + EACH, interrupt: interrupt.clone() };
    look_at(constraint, client, patience).await
}
