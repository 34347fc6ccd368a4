//! A server that is started for nothing but the grammars that it makes of schemas.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::constraints::{EACH, Patience, Reach, look_at};
use super::interrupt::Interrupt;
use super::server::refusal;
use super::short_launch::setting;
use crate::error::{Context, Error, Kind, Result};
use crate::measure::client::{Client, Limits};
use crate::measure::engine::supervise::{Launcher, Server};
use crate::measure::engine::{Engine, Launch, supervise};
use crate::measure::model::EngineFiles;
use crate::record::suite::Cell;
use crate::record::{Build, HeldSchema};
use crate::task::tools::held::check::Constraint;

/// Context length (tokens): nothing is generated.
const CONTEXT: u32 = 512;
/// How long it may take to load (s).
const LOAD_S: u64 = 600;

/// A server that tells its grammars.
#[expect(missing_debug_implementations, reason = "a server has none")]
pub struct GrammarServer {
    server: Server,
    client: Client,
    folder: PathBuf,
}

impl GrammarServer {
    /// Starts an engine's server with a model, whichever: grammars do not depend on it.
    ///
    /// # Errors
    /// When it does not come up.
    pub async fn start(
        engine: &'static dyn Engine,
        files: &EngineFiles,
        build: &Build,
        model: &Path,
    ) -> Result<Self> {
        let folder = std::env::temp_dir().join(format!("kneepoint-schemas-{}", std::process::id()));
        std::fs::create_dir_all(&folder).context(|| format!("cannot create {}", folder.display()))?;
        let port = supervise::free_port()?;
        let cell = Cell { setting: setting(engine.name(), "f16", "f16"), context: CONTEXT };
        let extra: Vec<String> = vec!["--no-warmup".to_owned()];
        let launch = Launch {
            binary: &files.binary,
            library_path: files.library_path.as_deref(),
            model,
            draft: None,
            port,
            slots: 1,
            threads: None,
            gpu: false,
            extra_args: extra.get(..usize::from(build.has("--no-warmup"))).unwrap_or_default(),
            build,
            config: None,
        };
        let log = folder.join("server.log");
        let argv = engine.argv(&cell, &launch)?;
        let launcher = Launcher::new(Duration::from_secs(LOAD_S));
        let started = launcher.start(&argv, port, engine.endpoints().health, &log).await;
        let server = started.map_err(|error| match refusal(engine, &log) {
            Some(said) => Error::new(Kind::EngineStart, format!("the server says: {said}")),
            None => error,
        })?;
        let client = Client::new(&format!("http://127.0.0.1:{port}"), engine.endpoints(), Limits::default())?;
        Ok(Self { server, client: client.speaking(engine.card().wire), folder })
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
        let stopped = self.server.stop().await;
        // A leftover log in the temporary folder is no reason to fail.
        let _ = std::fs::remove_dir_all(&self.folder);
        stopped
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
