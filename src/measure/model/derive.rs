//! Makes another quant from weights with the packaged quantiser. Said so wherever it is reported: a
//! requantised file is worse than one made from the full-precision weights.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use super::gguf;
use super::located::{Location, ModelFile, location, model_file};
use super::packages::QUANTISER;
use super::store::{Step, Store, sync_dir};
use crate::error::{Context, Error, Result};
use crate::files;
use crate::measure::engine::supervise::log_tail;

/// Quants that can be derived: those that need no importance matrix.
pub const DERIVABLE: &[&str] = &[
    "Q8_0", "Q6_K", "Q5_K_M", "Q5_K_S", "Q5_1", "Q5_0", "Q4_K_M", "Q4_K_S", "Q4_1", "Q4_0", "IQ4_NL",
    "IQ4_XS", "Q3_K_L", "Q3_K_M", "Q3_K_S", "Q2_K",
];

/// How often the growing file is looked at.
const POLL: Duration = Duration::from_millis(100);

/// The file in that quant, made first when it is not in the cache.
pub(super) fn derive(source: &ModelFile, from: &str, quant: &str, store: &Store<'_>) -> Result<ModelFile> {
    let path = path_of(&source.sha256, quant, store);
    if !path.is_file() {
        let _lock = store.lock(&format!("derive-{}", file_stem(&source.sha256, quant)))?;
        if !path.is_file() {
            quantise(source, quant, &path, store)?;
        }
    }
    let origin = format!(
        "requantised from {from} by kneepoint with {} ({} {})",
        QUANTISER.name, QUANTISER.pip, QUANTISER.version
    );
    model_file(path, origin, true, store)
}

/// What [`derive`] would do. Whether the derived file is here can only be known when its source is here and was hashed
/// before: a file of many gigabytes is not read for an answer.
pub(super) fn locate(source: Location, from: &str, quant: &str, store: &Store<'_>) -> Result<Location> {
    let mut what = format!("requantise {from} to {quant}");
    let mut source_bytes = None;
    if let Location::Present(path) = &source {
        source_bytes = fs::metadata(path).ok().map(|metadata| metadata.len());
        match store.remembered_sha256(path)? {
            Some(hash) => {
                let derived = path_of(&hash, quant, store);
                if derived.is_file() {
                    return Ok(Location::Present(derived));
                }
            }
            None => what.push_str(" (unless an earlier run did: the file is not hashed yet)"),
        }
    }
    if let Location::WouldFetch { bytes, .. } = &source {
        source_bytes = Some(*bytes);
    }
    let needs: Vec<Location> = [source, location(&QUANTISER, store)]
        .into_iter()
        .filter(|needed| !matches!(needed, Location::Present(_)))
        .collect();
    let bytes = needs.iter().map(Location::download_bytes).sum();
    Ok(Location::WouldDerive { what, bytes, needs, makes: size_of_quant(source_bytes, from, quant) })
}

/// Bits a weight takes in whole files: of llama.cpp's `tools/quantize/README.md` (Llama 3.1 8B); of the types that it
/// does not list by the size of their blocks.
const BITS: &[(&str, f64)] = &[
    ("F32", 32.0),
    ("BF16", 16.0),
    ("F16", 16.0),
    ("Q8_0", 8.5),
    ("Q6_K", 6.56),
    ("Q5_K_M", 5.7),
    ("Q5_K_S", 5.57),
    ("Q5_1", 6.0),
    ("Q5_0", 5.5),
    ("Q4_K_M", 4.89),
    ("Q4_K_S", 4.67),
    ("Q4_1", 5.0),
    ("Q4_0", 4.5),
    ("IQ4_NL", 4.68),
    ("IQ4_XS", 4.46),
    ("Q3_K_L", 4.3),
    ("Q3_K_M", 4.0),
    ("Q3_K_S", 3.64),
    ("Q2_K", 3.16),
];

/// About how large a quant of a file is (bytes).
fn size_of_quant(source_bytes: Option<u64>, from: &str, quant: &str) -> Option<u64> {
    let bits = |name: &str| BITS.iter().find(|(known, _)| *known == name).map(|(_, bits)| *bits);
    Some((source_bytes? as f64 * bits(quant)? / bits(from)?) as u64)
}

/// Source, quant and quantiser decide the bytes, so they name the file.
fn path_of(source_sha256: &str, quant: &str, store: &Store<'_>) -> PathBuf {
    let name = format!("{}.gguf", file_stem(source_sha256, quant));
    store.root.join("derived").join(name)
}

fn file_stem(source_sha256: &str, quant: &str) -> String {
    let source = source_sha256.get(..16).unwrap_or(source_sha256);
    format!("{source}-{quant}-{}-{}", QUANTISER.pip, QUANTISER.version)
}

fn quantise(source: &ModelFile, quant: &str, path: &Path, store: &Store<'_>) -> Result<()> {
    let quantiser = store.fetch(&QUANTISER)?;
    let folder = store.folder("derived")?;
    remove_leftovers(&folder, &file_stem(&source.sha256, quant));
    let new = path.with_extension(format!("{}.part", files::unique()));
    let log = path.with_extension("log");
    let step = Step::begin(store.progress, &format!("requantising to {quant}"), None);
    run(&quantiser, &source.path, &new, quant, &log, &step)?;
    let metadata = gguf::read(&new)?;
    if metadata.weights() != Some(quant) {
        let _ = fs::remove_file(&new);
        return Err(Error::runtime(format!(
            "llama-quantize made {} where {quant} was asked for",
            metadata.weights().unwrap_or("an unknown quant")
        )));
    }
    File::open(&new)
        .and_then(|file| file.sync_all())
        .and_then(|()| fs::rename(&new, path))
        .context(|| format!("cannot write {}", path.display()))?;
    sync_dir(&folder);
    let _ = fs::remove_file(&log);
    Ok(())
}

/// Removes what a quantiser whose kneepoint was killed wrote, or is still writing.
fn remove_leftovers(folder: &Path, stem: &str) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with(stem) && name.ends_with(".part") {
            let _ = fs::remove_file(entry.path());
        }
    }
}

fn run(program: &Path, source: &Path, new: &Path, quant: &str, log: &Path, step: &Step<'_>) -> Result<()> {
    let failed = || format!("cannot run {}", program.display());
    let output = File::create(log).context(|| format!("cannot write {}", log.display()))?;
    let errors = output.try_clone().context(failed)?;
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let mut child = Command::new(program)
        .arg("--allow-requantize")
        .args([source, new])
        .args([quant, &threads.to_string()])
        .stdin(Stdio::null())
        .stdout(output)
        .stderr(errors)
        .spawn()
        .context(failed)?;
    let status = loop {
        if let Some(status) = child.try_wait().context(failed)? {
            break status;
        }
        step.at(fs::metadata(new).map_or(0, |metadata| metadata.len()));
        std::thread::sleep(POLL);
    };
    if status.success() {
        return Ok(());
    }
    let _ = fs::remove_file(new);
    let said = log_tail(log, 10);
    Err(Error::runtime(format!("llama-quantize failed ({status}):\n{said}"))
        .hint(format!("the whole log is {}", log.display()))
        .hint("or leave this quant out of `derive`"))
}
