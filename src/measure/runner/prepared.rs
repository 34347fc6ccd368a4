//! What a run is started with: the engine, the model files, or the server that runs already.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::measure::client::ApiKey;
use crate::measure::engine::Engine;
use crate::measure::model::{EngineFiles, Witness};
use crate::record::suite::Setting;
use crate::record::{Build, EngineInfo, FileInfo, ModelInfo};

/// The engine and the model files of a suite, ready to be started.
pub struct Prepared {
    /// The engine.
    pub engine: &'static dyn Engine,
    /// Its binary; `None` where the server runs already.
    pub files: Option<EngineFiles>,
    /// What the binary says of itself.
    pub build: Build,
    /// Weights by model name and quant.
    pub weights: HashMap<(String, String), PathBuf>,
    /// For the journal.
    pub engine_info: EngineInfo,
    /// For the journal.
    pub model_infos: Vec<ModelInfo>,
    /// For the journal.
    pub file_infos: Vec<FileInfo>,
    /// Everything that must stay as it is while the run goes on.
    pub witnesses: Vec<Witness>,
    /// Whether this machine has a GPU that an engine may use.
    pub gpu: bool,
    /// The server, where it runs already.
    pub attached: Option<Attachment>,
}

impl Prepared {
    /// The weights of a setting.
    ///
    /// # Errors
    /// When the setting is not of the suite that was prepared.
    pub fn model(&self, setting: &Setting) -> Result<&PathBuf> {
        self.file(&setting.model, &setting.weights)
    }

    /// The weights of a setting's draft model, if it has one.
    ///
    /// # Errors
    /// As [`Prepared::model`].
    pub fn draft(&self, setting: &Setting) -> Result<Option<&Path>> {
        let draft = setting.draft.as_ref();
        draft.map(|draft| self.file(&draft.model, &draft.weights).map(PathBuf::as_path)).transpose()
    }

    fn file(&self, model: &str, weights: &str) -> Result<&PathBuf> {
        self.weights
            .get(&(model.to_owned(), weights.to_owned()))
            .ok_or_else(|| Error::runtime(format!("weights {weights} of {model} were not prepared")))
    }
}

/// A server that runs already, as the suite names it.
#[derive(Debug, Clone)]
pub struct Attachment {
    /// Its address, without `/v1`.
    pub base: String,
    /// What it calls the model.
    pub model: String,
    /// Models that it passes requests on to, each with a server of its own; 0: it serves its model itself.
    pub(super) routes: usize,
    pub(super) key: Option<ApiKey>,
}
