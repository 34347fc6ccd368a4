//! What must be on the machine before the first server starts: the engine's binary and the model files.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use crate::analysis::summary::{EngineInfo, ModelInfo};
use crate::engine::{self, Build, Engine};
use crate::error::{Error, Result, chain};
use crate::model::kv::KvShape;
use crate::model::{self, EngineFiles, Location, Store};
use crate::suite::{ModelSpec, Setting, Suite};

/// The engine and the model files of a suite, ready to be started.
pub struct Prepared {
    /// The engine.
    pub engine: &'static dyn Engine,
    /// Its binary.
    pub files: EngineFiles,
    /// What the binary says of itself.
    pub build: Build,
    /// Weights by model name and quant.
    pub weights: HashMap<(String, String), PathBuf>,
    /// For the journal.
    pub engine_info: EngineInfo,
    /// For the journal.
    pub model_infos: Vec<ModelInfo>,
    /// Whether this machine has a GPU that an engine may use.
    pub gpu: bool,
}

impl Prepared {
    /// The weights of a setting.
    ///
    /// # Errors
    /// When the setting is not of the suite that was prepared.
    pub fn model(&self, setting: &Setting) -> Result<&PathBuf> {
        self.weights.get(&(setting.model.clone(), setting.weights.clone())).ok_or_else(|| {
            Error::runtime(format!("weights {} of {} were not prepared", setting.weights, setting.model))
        })
    }
}

/// Finds, fetches or derives everything that the suite names.
///
/// # Errors
/// When something cannot be found, fetched, checked or derived; hints say what to do by hand.
pub async fn prepare(suite: &Suite, store: &Store<'_>) -> Result<Prepared> {
    let engine = engine::find(&suite.engine.name)
        .ok_or_else(|| Error::usage(format!("unknown engine {}", suite.engine.name)))?;
    let files = model::server(engine, suite.engine.binary.as_deref(), store)?;
    let build = engine::supervise::ask(engine, &files.binary, files.library_path.as_deref()).await?;
    let mut weights = HashMap::new();
    let mut model_infos = Vec::new();
    for setting in &suite.settings {
        let key = (setting.model.clone(), setting.weights.clone());
        if weights.contains_key(&key) {
            continue;
        }
        let spec = spec_of(suite, setting)?;
        let file = model::weights(spec, &setting.weights, store)?;
        let kv = kv_shape(&file.path);
        model_infos.push(ModelInfo {
            name: setting.model.clone(),
            weights: setting.weights.clone(),
            origin: file.origin,
            derived: file.derived,
            sha256: file.sha256,
            bytes: file.bytes,
            kv_unknown: kv.as_ref().err().cloned(),
            kv: kv.ok(),
        });
        weights.insert(key, file.path);
    }
    let engine_info = EngineInfo {
        name: engine.name().to_owned(),
        version: build.version.clone(),
        origin: files.origin.clone(),
    };
    Ok(Prepared {
        engine,
        files,
        build,
        weights,
        engine_info,
        model_infos,
        gpu: crate::probe::machine::has_gpu(),
    })
}

/// What the KV cache of a model file holds, or why that is not known: no reason not to run it.
fn kv_shape(path: &Path) -> Result<KvShape, String> {
    let metadata = model::gguf::read(path).map_err(|error| chain(&error))?;
    KvShape::of(&metadata).map_err(|error| error.to_string())
}

fn spec_of<'a>(suite: &'a Suite, setting: &Setting) -> Result<&'a ModelSpec> {
    let spec = suite.models.iter().find(|model| model.name == setting.model);
    spec.ok_or_else(|| Error::usage(format!("the suite has no model {}", setting.model)))
}

/// What [`prepare`] would fetch or make first, one line each; empty when everything is here.
///
/// # Errors
/// When something that the suite names is not there and cannot be had.
pub fn preparations(suite: &Suite, store: &Store<'_>) -> Result<Vec<String>> {
    let engine = engine::find(&suite.engine.name)
        .ok_or_else(|| Error::usage(format!("unknown engine {}", suite.engine.name)))?;
    let mut lines = Vec::new();
    let mut note = |location: Location| {
        let line = match location {
            Location::Present(_) => return,
            Location::WouldFetch { what, bytes } => format!("fetch {what} ({} MB)", bytes / 1_000_000),
            Location::WouldDerive { what, .. } => what,
        };
        if !lines.contains(&line) {
            lines.push(line);
        }
    };
    note(model::locate_server(engine, suite.engine.binary.as_deref(), store)?);
    for setting in &suite.settings {
        note(model::locate_weights(spec_of(suite, setting)?, &setting.weights, store)?);
    }
    Ok(lines)
}
