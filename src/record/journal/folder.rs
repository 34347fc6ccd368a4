//! The journal as a file of a run folder, and those of workers in folders of their own below it.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Name of the journal in a run folder.
pub const FILE_NAME: &str = "journal.jsonl";
/// Name of a journal that was packed with gzip to be published; it is only read.
pub const PACKED_NAME: &str = "journal.jsonl.gz";

/// Name of the folder that holds the workers' folders, each with a journal, where several measured a run.
pub const PARTS: &str = "parts";

/// The folders of workers whose journals have a header, by name. One that was killed before it had written its header has
/// measured nothing.
pub fn parts(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder.join(PARTS)).into_iter().flatten().flatten();
    let mut found: Vec<PathBuf> = entries.map(|entry| entry.path()).filter(|part| has_header(part)).collect();
    found.sort();
    found
}

/// When anything was last written to the journals of a folder; `None` where there is none.
pub fn changed(folder: &Path) -> Option<SystemTime> {
    let files =
        std::iter::once(folder.to_path_buf()).chain(parts(folder)).map(|folder| folder.join(FILE_NAME));
    files.filter_map(|file| std::fs::metadata(file).and_then(|data| data.modified()).ok()).max()
}

/// Whether a folder holds a journal, packed or not.
pub fn is_in(folder: &Path) -> bool {
    [FILE_NAME, PACKED_NAME].iter().any(|name| folder.join(name).is_file())
}

/// Whether the journal of a folder has its header, as far as that can be seen without reading it.
pub fn has_header(folder: &Path) -> bool {
    use std::io::BufRead;
    match std::fs::File::open(folder.join(FILE_NAME)) {
        Ok(file) => {
            let mut line = Vec::new();
            let read = std::io::BufReader::new(file).read_until(b'\n', &mut line);
            read.is_ok() && line.ends_with(b"\n")
        }
        Err(_) => folder.join(PACKED_NAME).is_file(),
    }
}

/// Whether somebody is writing to the journal of a folder, or a worker to its own.
pub fn is_locked(folder: &Path) -> bool {
    is_held(&folder.join(FILE_NAME)) || parts(folder).iter().any(|part| is_held(&part.join(FILE_NAME)))
}

/// Whether somebody holds the lock of a file.
fn is_held(file: &Path) -> bool {
    let file = std::fs::File::open(file);
    file.is_ok_and(|file| matches!(file.try_lock_shared(), Err(std::fs::TryLockError::WouldBlock)))
}
