//! What must be on the machine before the first server starts: the engine's binary and the model files.

use std::collections::HashMap;
use std::path::PathBuf;

use super::attach;
use super::prepared::Prepared;
use crate::error::{Error, Result};
use crate::measure::engine::Engine;
use crate::measure::model::{Location, Store};
use crate::measure::{engine, model};
use crate::record::suite::{ModelSpec, Suite};
use crate::record::{Build, EngineInfo, FileInfo, ModelInfo};

/// Model and quant of every file that the suite's settings need, drafts among them, each once.
fn needed(suite: &Suite) -> Vec<(&str, &str)> {
    let mut needed = Vec::new();
    for setting in suite.measured() {
        let draft = setting.draft.as_ref().map(|draft| (draft.model.as_str(), draft.weights.as_str()));
        for file in std::iter::once((setting.model.as_str(), setting.weights.as_str())).chain(draft) {
            if !needed.contains(&file) {
                needed.push(file);
            }
        }
    }
    needed
}

/// Finds, fetches or derives everything that the suite names; for a server that runs already, only looks for it. `asked` is
/// what the binary said of itself a moment ago, where somebody asked it then.
///
/// # Errors
/// When something cannot be found, fetched, checked or derived; hints say what to do by hand.
pub async fn prepare(suite: &Suite, asked: Option<Build>, store: &Store<'_>) -> Result<Prepared> {
    let engine = engine_of(suite)?;
    if let Some(url) = &suite.engine.url {
        return attach::prepare(suite, engine, url).await;
    }
    let files = model::server(engine, suite.engine.binary.as_deref(), store)?;
    let build = match asked {
        Some(build) => build,
        None => engine::supervise::ask(engine, &files.binary, files.library_path.as_deref()).await?,
    };
    check_build(engine, &build, suite)?;
    let binary = model::server_witness(&files, store)?;
    let binary_sha256 = Some(binary.sha256.clone());
    let mut witnesses = vec![binary];
    let mut file_infos = Vec::new();
    for file in other_files(suite) {
        let witness = model::file_witness(&file, store)?;
        let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        file_infos.push(FileInfo { name, sha256: witness.sha256.clone() });
        witnesses.push(witness);
    }
    let mut weights = HashMap::new();
    let mut model_infos = Vec::new();
    for (name, quant) in needed(suite) {
        let file = model::weights(spec_of(suite, name)?, quant, store)?;
        // Not to know is no reason not to run it.
        let kv = model::kv_shape(&file.path);
        model_infos.push(ModelInfo {
            name: name.to_owned(),
            weights: quant.to_owned(),
            origin: file.origin,
            derived: file.derived,
            sha256: file.sha256,
            bytes: file.bytes,
            kv_unknown: kv.as_ref().err().cloned(),
            kv: kv.ok(),
            // Not to know is no reason not to run it.
            trained: model::trained_context(&file.path).ok().flatten(),
            mostly: model::mostly(&file.path, quant),
            parameters: model::parameters(&file.path),
            read_bytes: model::read_bytes(&file.path),
            tokenizer: model::tokenizer(&file.path),
        });
        witnesses.push(file.witness.called(format!("the file of {name} {quant}")));
        weights.insert((name.to_owned(), quant.to_owned()), file.path);
    }
    let engine_info = EngineInfo {
        name: engine.name().to_owned(),
        version: build.version.clone(),
        origin: files.origin.clone(),
        sha256: binary_sha256,
        placement: Some(engine.card().placement),
    };
    Ok(Prepared {
        engine,
        files: Some(files),
        build,
        weights,
        engine_info,
        model_infos,
        file_infos,
        witnesses,
        gpu: crate::measure::probe::machine::has_gpu(),
        attached: None,
    })
}

/// Files beside models that the suite names and that are there: cases of the user's, and whatever the arguments of the
/// server name (chat templates, adapters, control vectors), each once.
fn other_files(suite: &Suite) -> Vec<PathBuf> {
    let of_tasks = suite.tasks.iter().filter_map(|task| task.file.as_ref()).flat_map(|file| {
        let text = file.to_string_lossy();
        // Two files, with a comma between, where the first is no file's name.
        let names: Vec<&str> = if file.is_file() { vec![&*text] } else { text.split(',').collect() };
        let of_context = |context: &u32| {
            let filled = |name: &&str| PathBuf::from(name.replace("{context}", &context.to_string()));
            names.iter().map(filled).collect::<Vec<_>>()
        };
        suite.contexts.iter().flat_map(of_context).collect::<Vec<_>>()
    });
    let arguments = suite.measured().flat_map(|setting| &setting.extra_args).chain(&suite.engine.args);
    let mut flag = "";
    let of_arguments = arguments.filter_map(|argument| {
        let value = match argument.split_once('=') {
            Some((before, value)) if argument.starts_with('-') => {
                flag = before;
                value
            }
            _ if argument.starts_with('-') => {
                flag = argument;
                return None;
            }
            _ => argument,
        };
        // The hash of a short secret gives it away.
        let is_secret = ["key", "token", "password", "ssl"].iter().any(|word| flag.contains(word));
        (!is_secret).then(|| PathBuf::from(value))
    });
    let mut files = Vec::new();
    for file in of_tasks.chain(of_arguments) {
        if file.is_file() && !files.contains(&file) {
            files.push(file);
        }
    }
    files
}

fn spec_of<'a>(suite: &'a Suite, name: &str) -> Result<&'a ModelSpec> {
    let spec = suite.models.iter().find(|model| model.name == name);
    spec.ok_or_else(|| Error::usage(format!("the suite has no model {name}")))
}

/// What [`prepare`] would do before the first server starts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Preparations {
    /// What would be fetched or made, one line each, in order; empty when everything is here.
    pub lines: Vec<String>,
    /// What would be downloaded (bytes).
    pub download_bytes: u64,
    /// What that and derived quants would take on disk (bytes), about.
    pub disk_bytes: u64,
    /// Model files that would be hashed (bytes).
    pub unhashed_bytes: u64,
}

impl Preparations {
    fn add(&mut self, location: &Location, store: &Store<'_>) {
        match location {
            Location::Present(path) => self.unhashed_bytes += model::unhashed_bytes(path, store),
            Location::WouldFetch { what, bytes } => {
                if self.line(format!("fetch {what} ({})", megabytes(*bytes))) {
                    self.download_bytes += bytes;
                    self.disk_bytes += bytes;
                }
            }
            Location::WouldDerive { what, needs, makes, .. } => {
                needs.iter().for_each(|needed| self.add(needed, store));
                let size = makes.map_or(String::new(), |bytes| format!(" (about {})", megabytes(bytes)));
                if self.line(format!("{what}{size}")) {
                    self.disk_bytes += makes.unwrap_or(0);
                }
            }
        }
    }

    /// Whether the line is a new one.
    fn line(&mut self, line: String) -> bool {
        let new = !self.lines.contains(&line);
        if new {
            self.lines.push(line);
        }
        new
    }
}

/// What [`prepare`] would fetch or make first; nothing is hashed for it.
///
/// # Errors
/// When something that the suite names is not there and cannot be had.
pub fn preparations(suite: &Suite, store: &Store<'_>) -> Result<Preparations> {
    let engine = engine_of(suite)?;
    let mut needed = Preparations::default();
    if suite.engine.url.is_some() {
        return Ok(needed);
    }
    if let server @ (Location::WouldFetch { .. } | Location::WouldDerive { .. }) =
        model::locate_server(engine, suite.engine.binary.as_deref(), store)?
    {
        needed.add(&server, store);
    }
    for (name, quant) in self::needed(suite) {
        needed.add(&model::locate_weights(spec_of(suite, name)?, quant, store)?, store);
    }
    Ok(needed)
}

/// Asks the server's binary, where it is here already, whether it is one of the suite's engine and has its types
/// and flags.
///
/// # Errors
/// When it is not or has not, or does not run.
pub async fn check_engine(suite: &Suite, store: &Store<'_>) -> Result<Option<Build>> {
    let engine = engine_of(suite)?;
    let binary = suite.engine.binary.as_deref();
    let started = suite.engine.url.is_none();
    if started && matches!(model::locate_server(engine, binary, store)?, Location::Present(_)) {
        let files = model::server(engine, binary, store)?;
        let build = engine::supervise::ask(engine, &files.binary, files.library_path.as_deref()).await?;
        check_build(engine, &build, suite)?;
        return Ok(Some(build));
    }
    Ok(None)
}

/// Whether a server's binary is here already, so that it can be asked.
pub fn is_server_here(suite: &Suite, store: &Store<'_>) -> bool {
    let located = engine_of(suite)
        .and_then(|engine| model::locate_server(engine, suite.engine.binary.as_deref(), store));
    suite.engine.url.is_none() && matches!(located, Ok(Location::Present(_)))
}

/// Types and flags that a suite names, against those of the build.
fn check_build(engine: &dyn Engine, build: &Build, suite: &Suite) -> Result<()> {
    engine::check_types(engine, build, &suite.settings)?;
    engine::check_flags(engine, build, suite)
}

fn engine_of(suite: &Suite) -> Result<&'static dyn Engine> {
    engine::find(&suite.engine.name)
        .ok_or_else(|| Error::usage(format!("unknown engine {}", suite.engine.name)))
}

/// The size of a download as people read it (decimal): `93 MB`, `18.3 GB`, `2 kB`.
pub fn megabytes(bytes: u64) -> String {
    match bytes {
        0..1_000_000 => format!("{} kB", bytes.div_ceil(1000)),
        1_000_000..10_000_000_000 => format!("{} MB", bytes / 1_000_000),
        _ => format!("{:.1} GB", bytes as f64 / 1e9),
    }
}
