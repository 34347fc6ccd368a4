//! Reading the kernel's files in `/sys` and `/proc`.

use std::fs;
use std::path::{Path, PathBuf};

/// Returns whether a folder is a card, such as `card0`, and not one of its connectors (`card0-HDMI-A-1`).
pub(super) fn is_card(folder: &Path) -> bool {
    folder
        .file_name()
        .and_then(|name| name.to_str()?.strip_prefix("card"))
        .is_some_and(|number| !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()))
}

/// Returns the entries of a folder, sorted; none where it cannot be read.
pub(super) fn folders(path: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> =
        fs::read_dir(path).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    found.sort();
    found
}

/// Returns the first line of a file, trimmed; `None` where there is none.
pub(super) fn first_line(path: &Path) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let line = text.lines().next()?.trim();
    (!line.is_empty()).then(|| line.to_owned())
}
