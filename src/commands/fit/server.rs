//! The server that `fit` may ask: one that is on this machine already.

use std::path::Path;

use crate::cli::FitEngine;
use crate::commands::setup::runtime;
use crate::error::{Error, Result};
use crate::measure::engine::Engine;
use crate::measure::model::{EngineFiles, Location, Store};
use crate::measure::{engine, model};
use crate::record::Build;

/// The server of an engine, wherever it may be.
pub(in crate::commands) struct Server<'a> {
    /// The engine.
    pub engine: &'static dyn Engine,
    is_llama: bool,
    binary: Option<&'a Path>,
    store: &'a Store<'a>,
}

/// A server that is here.
pub(in crate::commands) struct Here {
    pub files: EngineFiles,
    pub build: Build,
}

impl<'a> Server<'a> {
    /// `binary`: the one that was named.
    ///
    /// # Errors
    /// When there is no such engine.
    pub(in crate::commands) fn of(
        engine: FitEngine,
        binary: Option<&'a Path>,
        store: &'a Store<'a>,
    ) -> Result<Self> {
        let (name, is_llama) = (engine.suite_name(), engine.is_llama());
        let engine = engine::find(name).ok_or_else(|| Error::usage(format!("unknown engine {name}")))?;
        Ok(Self { engine, is_llama, binary, store })
    }

    /// Types of the cache that its help lists; none where it is not here, lists none, or takes long to answer (vLLM, SGLang).
    ///
    /// # Errors
    /// When the binary that was named cannot be asked.
    pub(super) fn cache_types(&self) -> Result<Vec<String>> {
        if !self.is_llama {
            return Ok(Vec::new());
        }
        match self.ask() {
            Err(error) if self.binary.is_some() => Err(error),
            // One that happens to be on PATH and does not run is no reason to say nothing of sizes.
            asked => Ok(asked.ok().flatten().map(|here| here.build.cache_types).unwrap_or_default()),
        }
    }

    /// Asks it what it can do; `None` where it would have to be fetched first: nobody asked for that.
    ///
    /// # Errors
    /// When the binary that was named is not there, or one does not run or is another engine's.
    pub(in crate::commands) fn ask(&self) -> Result<Option<Here>> {
        let located = model::locate_server(self.engine, self.binary, self.store);
        match (located, self.binary) {
            (Ok(Location::Present(_)), _) => {}
            (Err(error), Some(_)) => return Err(error),
            _ => return Ok(None),
        }
        let files = model::server(self.engine, self.binary, self.store)?;
        let asked = engine::supervise::ask(self.engine, &files.binary, files.library_path.as_deref());
        let build = runtime()?.block_on(asked)?;
        Ok(Some(Here { files, build }))
    }
}
