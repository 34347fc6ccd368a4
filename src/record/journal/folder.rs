//! The journal as a file of a run folder.

/// Name of the journal in a run folder.
pub const FILE_NAME: &str = "journal.jsonl";
/// Name of a journal that was packed with gzip to be published; it is only read.
pub const PACKED_NAME: &str = "journal.jsonl.gz";

/// Whether a folder holds a journal, packed or not.
pub fn is_in(folder: &std::path::Path) -> bool {
    [FILE_NAME, PACKED_NAME].iter().any(|name| folder.join(name).is_file())
}

/// Whether the journal of a folder has its header, as far as that can be seen without reading it.
pub fn has_header(folder: &std::path::Path) -> bool {
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

/// Whether somebody is writing to the journal of a folder.
pub fn is_locked(folder: &std::path::Path) -> bool {
    let file = std::fs::File::open(folder.join(FILE_NAME));
    file.is_ok_and(|file| matches!(file.try_lock_shared(), Err(std::fs::TryLockError::WouldBlock)))
}
