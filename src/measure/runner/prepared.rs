//! What a run is started with: the engine, the model files, or the server that runs already.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::measure::client::ApiKey;
use crate::measure::engine::Engine;
use crate::measure::model::{EngineFiles, Witness};
use crate::record::suite::{Setting, UNKNOWN};
use crate::record::{Build, Effective, EngineInfo, FileInfo, ModelInfo};

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

    /// The engine's version, by its binary, or by the server that runs already.
    pub fn version(&self) -> Option<&str> {
        let built = Some(self.build.version.as_str()).filter(|version| !version.is_empty());
        built.or_else(|| self.attached.as_ref()?.effective.build.as_deref())
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
    /// What it said that it runs when it was asked first.
    pub(super) effective: Effective,
}

impl Attachment {
    /// Puts the types that the server runs where the suite left them open (`auto`, or nothing said).
    pub fn name_what_runs(&self, setting: &mut Setting) {
        let runs = &self.effective;
        for (named, running) in [
            (&mut setting.k, &runs.k),
            (&mut setting.v, &runs.v),
            (&mut setting.weights, &runs.weights),
            (&mut setting.speculation, &runs.speculation),
        ] {
            let open = *named == UNKNOWN || *named == AUTO;
            if let Some(running) = running.as_deref().filter(|running| open && *running != AUTO) {
                *named = if running == "none" { "off".to_owned() } else { in_one_word(running) };
            }
        }
    }
}

/// `Q4_K - Medium`, as llama-server names a file's type, as `Q4_K_M`.
fn in_one_word(name: &str) -> String {
    let sizes = [(" - Small", "_S"), (" - Medium", "_M"), (" - Large", "_L")];
    let short = sizes.iter().fold(name.to_owned(), |name, (long, short)| name.replace(long, short));
    short.split_whitespace().collect::<Vec<_>>().join("-")
}

/// What says that the server chooses.
const AUTO: &str = "auto";
