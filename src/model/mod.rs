//! Where models and engine binaries come from: paths, pinned packages, derived quants.

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use crate::engine::Engine;
use crate::error::{Context, Error, Result};
use crate::suite::ModelSpec;

mod derive;
mod fetch;
pub mod gguf;
pub mod kv;
pub mod packages;
mod store;

pub use derive::DERIVABLE;
pub use store::{Progress, Silent, Store};

/// A server's binary on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineFiles {
    /// The binary.
    pub binary: PathBuf,
    /// Folder of its shared libraries, when they lie beside it.
    pub library_path: Option<PathBuf>,
    /// Where it came from, in words.
    pub origin: String,
}

/// Weights on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelFile {
    /// The file.
    pub path: PathBuf,
    /// Its SHA-256 (hex).
    pub sha256: String,
    /// Its size (bytes).
    pub bytes: u64,
    /// Where it came from, in words.
    pub origin: String,
    /// Requantised by kneepoint from another quant: not the publisher's own.
    pub derived: bool,
}

/// Whether something is here, for `--dry-run` and `doctor`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Location {
    /// It is here.
    Present(PathBuf),
    /// It would be fetched.
    WouldFetch {
        /// Package name and version.
        what: String,
        /// Size of the download.
        bytes: u64,
    },
    /// It would be made from other weights.
    WouldDerive {
        /// What would be done.
        what: String,
        /// Size of what would be downloaded for it; 0 when all is here.
        bytes: u64,
    },
}

/// The server of an engine: the one that the suite names, else the one on `PATH`, else the pinned package.
///
/// # Errors
/// When the named file is not there, or when nothing is found and nothing can be fetched.
pub fn server(engine: &dyn Engine, named: Option<&Path>, store: &Store<'_>) -> Result<EngineFiles> {
    if let Some(found) = installed_server(engine, named)? {
        return Ok(found);
    }
    let package = packaged_server(engine)?;
    let binary = store.fetch(package)?;
    Ok(EngineFiles {
        library_path: sibling_libraries(&binary),
        binary,
        origin: format!("package {}", package.title()),
    })
}

/// What [`server`] would do, without doing it.
///
/// # Errors
/// When the named file is not there, or when nothing is found and no package is known.
pub fn locate_server(engine: &dyn Engine, named: Option<&Path>, store: &Store<'_>) -> Result<Location> {
    if let Some(found) = installed_server(engine, named)? {
        return Ok(Location::Present(found.binary));
    }
    Ok(location(packaged_server(engine)?, store))
}

/// The weights of a model in one quant: the model's own file, else derived from it.
///
/// # Errors
/// When the file is not there or is of another quant than the suite says, or when fetching or deriving fails.
pub fn weights(spec: &ModelSpec, quant: &str, store: &Store<'_>) -> Result<ModelFile> {
    let source = source(spec, store)?;
    if quant == spec.weights {
        return Ok(source);
    }
    check_derivable(spec, quant)?;
    derive::derive(&source, &spec.weights, quant, store)
}

/// What [`weights`] would do, without doing it.
///
/// # Errors
/// When the file is not there, or when the model has no such quant.
pub fn locate_weights(spec: &ModelSpec, quant: &str, store: &Store<'_>) -> Result<Location> {
    let source = match (&spec.path, &spec.package) {
        (Some(path), _) => Location::Present(existing(path, "model")?),
        (None, Some(name)) => location(packages::model(name).map_err(Error::usage)?, store),
        (None, None) => return Err(no_source(spec)),
    };
    if quant == spec.weights {
        return Ok(source);
    }
    check_derivable(spec, quant)?;
    derive::locate(&source, &spec.weights, quant, store)
}

fn source(spec: &ModelSpec, store: &Store<'_>) -> Result<ModelFile> {
    let (path, origin) = match (&spec.path, &spec.package) {
        (Some(path), _) => (existing(path, "model")?, "file named in the suite".to_owned()),
        (None, Some(name)) => {
            let package = packages::model(name).map_err(Error::usage)?;
            (store.fetch(package)?, format!("package {}", package.title()))
        }
        (None, None) => return Err(no_source(spec)),
    };
    gguf::check_weights(&gguf::read(&path)?, &spec.weights, &path)?;
    model_file(path, origin, false, store)
}

fn model_file(path: PathBuf, origin: String, derived: bool, store: &Store<'_>) -> Result<ModelFile> {
    let metadata = fs::metadata(&path).context(|| format!("cannot read {}", path.display()))?;
    Ok(ModelFile { sha256: store.sha256(&path)?, bytes: metadata.len(), path, origin, derived })
}

fn no_source(spec: &ModelSpec) -> Error {
    Error::usage(format!("model `{}` has neither a `path` nor a `package`", spec.name))
        .hint("give it `path = \"FILE.gguf\"` or `package = \"smollm2-135m-instruct\"`")
}

fn check_derivable(spec: &ModelSpec, quant: &str) -> Result<()> {
    if spec.derive.iter().any(|known| known == quant) && DERIVABLE.contains(&quant) {
        return Ok(());
    }
    Err(Error::usage(format!("model `{}` has no weights `{quant}`", spec.name)).hint(format!(
        "its file is {}; kneepoint can derive {} when `derive` lists them",
        spec.weights,
        DERIVABLE.join(", ")
    )))
}

fn location(package: &packages::Package, store: &Store<'_>) -> Location {
    match store.unpacked(package) {
        Some(path) => Location::Present(path),
        None => Location::WouldFetch { what: package.title(), bytes: package.bytes },
    }
}

fn packaged_server(engine: &dyn Engine) -> Result<&'static packages::Package> {
    packages::server(engine.name()).filter(|package| package.runs_here()).ok_or_else(|| {
        Error::usage(format!("no server of {} was found", engine.name())).hint(format!(
            "put {} on PATH, or name it in the suite: `engine.binary = \"PATH\"`",
            engine.binaries().join(" or ")
        ))
    })
}

fn installed_server(engine: &dyn Engine, named: Option<&Path>) -> Result<Option<EngineFiles>> {
    let path = env::var_os("PATH").unwrap_or_default();
    let (binary, origin) = match named {
        Some(named) if named.components().count() == 1 => match on_path(named, &path) {
            Some(found) => (found, "named in the suite, found on PATH"),
            None => (existing(named, "server")?, "named in the suite"),
        },
        Some(named) => (existing(named, "server")?, "named in the suite"),
        None => {
            let found = engine.binaries().iter().find_map(|name| on_path(Path::new(name), &path));
            match found {
                Some(found) => (found, "found on PATH"),
                None => return Ok(None),
            }
        }
    };
    Ok(Some(EngineFiles { library_path: sibling_libraries(&binary), binary, origin: origin.to_owned() }))
}

/// The absolute path of a file that must be there.
fn existing(path: &Path, what: &str) -> Result<PathBuf> {
    let absolute = std::path::absolute(path).context(|| format!("cannot find {}", path.display()))?;
    if absolute.is_file() {
        return Ok(absolute);
    }
    Err(Error::usage(format!("the suite's {what} {} is not there", absolute.display()))
        .hint("paths are taken from the folder in which kneepoint is started"))
}

/// The first file of that name on a `PATH` that may be run.
fn on_path(name: &Path, path: &OsStr) -> Option<PathBuf> {
    env::split_paths(path)
        .filter(|folder| folder.is_absolute())
        .map(|folder| folder.join(name))
        .find(|file| is_program(file))
}

#[cfg(unix)]
fn is_program(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    fs::metadata(file).is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

/// The binary's own folder, when llama.cpp's or ggml's libraries lie there: as in a release archive.
fn sibling_libraries(binary: &Path) -> Option<PathBuf> {
    let folder = fs::canonicalize(binary).ok()?.parent()?.to_owned();
    let is_library = |name: &str| name.starts_with("libllama") || name.starts_with("libggml");
    fs::read_dir(&folder)
        .ok()?
        .flatten()
        .any(|entry| is_library(&entry.file_name().to_string_lossy()))
        .then_some(folder)
}

#[cfg(test)]
mod tests;
