//! The header of a safetensors file: 8 bytes of its length, then JSON that names each tensor's type, shape and place
//! (<https://github.com/huggingface/safetensors#format>).

use std::fs::File;
use std::io::Read;
use std::path::Path;

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::error::{Context, Error, Result, chain};

/// Bytes that a header may have: the format's own limit.
const MAX_HEADER: u64 = 100 << 20;

/// A tensor's type, values and bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stored {
    /// The type, such as `BF16`.
    pub kind: String,
    /// Values of that type.
    pub values: u64,
    /// Bytes.
    pub bytes: u64,
}

#[derive(Deserialize)]
struct Entry {
    dtype: String,
    shape: Vec<u64>,
    data_offsets: (u64, u64),
}

/// Why a file's header is of no use.
#[derive(Debug, thiserror::Error)]
pub(super) enum HeaderError {
    /// There is no room for a header.
    #[error("its header is longer than the file")]
    Long,
    /// The header is no JSON of that form.
    #[error("its header is no JSON")]
    Json(#[from] serde_json::Error),
    /// Values are missing.
    #[error("it ends at {size} of {end} bytes")]
    Cut {
        /// Bytes that are there.
        size: u64,
        /// Bytes that there should be.
        end: u64,
    },
}

/// Bytes of the header behind the first eight, which are given, of a file of a size (bytes).
///
/// # Errors
/// When the file is too short for it.
pub(super) fn header_length(start: [u8; 8], size: u64) -> Result<u64, HeaderError> {
    let length = u64::from_le_bytes(start);
    let fits = length <= MAX_HEADER && length.saturating_add(8) <= size;
    if fits { Ok(length) } else { Err(HeaderError::Long) }
}

/// The tensors that a header names, in a file of a size (bytes).
///
/// # Errors
/// When it is no JSON of that form, or the file ends before its last tensor does.
pub(super) fn tensors(header: &[u8], size: u64) -> Result<Vec<Stored>, HeaderError> {
    let entries: Map<String, Value> = serde_json::from_slice(header)?;
    let mut end = 0;
    let mut tensors = Vec::new();
    for (_, entry) in entries.into_iter().filter(|(name, _)| *name != "__metadata__") {
        let entry: Entry = serde_json::from_value(entry)?;
        let (from, to) = entry.data_offsets;
        end = end.max(to);
        let values = entry.shape.iter().fold(1_u64, |product, size| product.saturating_mul(*size));
        tensors.push(Stored { kind: entry.dtype, values, bytes: to.saturating_sub(from) });
    }
    let end = end.saturating_add(header.len() as u64).saturating_add(8);
    if end > size { Err(HeaderError::Cut { size, end }) } else { Ok(tensors) }
}

/// Reads which tensors a file holds.
///
/// # Errors
/// When it cannot be read, is no such file, or ends before its last tensor does.
pub(super) fn read(path: &Path) -> Result<Vec<Stored>> {
    let failed = || format!("cannot read {}", path.display());
    let mut file = File::open(path).context(failed)?;
    let size = file.metadata().context(failed)?.len();
    let mut start = [0; 8];
    file.read_exact(&mut start).map_err(|_| damaged(path, HeaderError::Long))?;
    let length = header_length(start, size).map_err(|error| damaged(path, error))?;
    let mut header = vec![0; length as usize];
    file.read_exact(&mut header).context(failed)?;
    tensors(&header, size).map_err(|error| damaged(path, error))
}

fn damaged(path: &Path, why: HeaderError) -> Error {
    Error::runtime(format!("{} is no whole safetensors file: {}", path.display(), chain(&why)))
        .hint("a download may have been cut off: fetch it again")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(header: &str, data: usize) -> Vec<u8> {
        [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &vec![0; data]].concat()
    }

    #[test]
    fn tensors_are_listed_and_a_cut_file_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.safetensors");
        let header = r#"{"__metadata__": {"format": "pt"}, "w": {"dtype": "BF16", "shape": [4, 8], "data_offsets": [0, 64]}}"#;
        std::fs::write(&path, file(header, 64)).unwrap();
        assert_eq!(read(&path).unwrap(), [Stored { kind: "BF16".into(), values: 32, bytes: 64 }]);
        std::fs::write(&path, file(header, 63)).unwrap();
        assert!(read(&path).unwrap_err().to_string().contains("it ends at"));
        for damaged in [&b"abc"[..], &[255; 9], &file("[]", 0)] {
            std::fs::write(&path, damaged).unwrap();
            assert!(read(&path).is_err());
        }
    }
}
