//! Files that are there whole or not at all: written beside their place, synced, then renamed.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::{Context, Error, Result};

/// A name that nobody else uses at the same time, here or on another machine: processes of two machines, or of two containers, often
/// have the same number.
pub(crate) fn unique() -> String {
    static NAMES: AtomicU64 = AtomicU64::new(0);
    let number = NAMES.fetch_add(1, Ordering::Relaxed);
    format!("{}-{}-{number}", processes(), std::process::id())
}

/// Where process numbers mean something: this run of the kernel, and its space of numbers; containers have spaces of their own.
pub(crate) fn processes() -> String {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let space = fs::read_link("/proc/self/ns/pid").unwrap_or_default();
    let space: String = space.to_string_lossy().chars().filter(char::is_ascii_digit).collect();
    format!("{}-{space}", boot.trim().get(..8).unwrap_or_default())
}

/// A file that is written and not yet in its place; dropping it removes it.
struct Staged {
    new: PathBuf,
    path: PathBuf,
}

impl Staged {
    fn write(path: PathBuf, bytes: &[u8]) -> Result<Self> {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let new = path.with_file_name(format!(".{name}.{}.part", unique()));
        let staged = Self { new, path };
        let written = File::create(&staged.new).and_then(|mut file| {
            file.write_all(bytes)?;
            // A full disk may tell only now.
            file.sync_all()
        });
        match written {
            Ok(()) => Ok(staged),
            Err(source) => Err(Error::runtime(format!("cannot write {}", staged.path.display()))
                .with_source(source)
                .hint("is the disk full? what was there before is as it was")),
        }
    }

    fn keep(self) -> Result<PathBuf> {
        fs::rename(&self.new, &self.path).context(|| format!("cannot write {}", self.path.display()))?;
        Ok(self.path.clone())
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        // After a rename there is nothing to remove.
        let _ = fs::remove_file(&self.new);
    }
}

/// Writes a file; when that fails, what was there before is untouched.
///
/// # Errors
/// When the disk is full, or the folder cannot be written to.
pub fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    Staged::write(path.to_path_buf(), bytes)?.keep().map(drop)
}

/// Writes files of a folder, none before all of them are on disk; their paths, in order.
///
/// # Errors
/// As [`write()`].
pub fn write_all(folder: &Path, files: &[(String, Vec<u8>)]) -> Result<Vec<PathBuf>> {
    let staged: Vec<Staged> =
        files.iter().map(|(name, bytes)| Staged::write(folder.join(name), bytes)).collect::<Result<_>>()?;
    staged.into_iter().map(Staged::keep).collect()
}

/// Copies a folder with all that lies in it; links are left out.
///
/// # Errors
/// When something cannot be read or written.
pub fn copy_folder(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to).context(|| format!("cannot create {}", to.display()))?;
    let entries = fs::read_dir(from).context(|| format!("cannot list {}", from.display()))?;
    for entry in entries {
        let entry = entry.context(|| format!("cannot list {}", from.display()))?;
        let kind = entry.file_type().context(|| format!("cannot read {}", entry.path().display()))?;
        let (path, target) = (entry.path(), to.join(entry.file_name()));
        if kind.is_dir() {
            copy_folder(&path, &target)?;
        } else if kind.is_file() {
            fs::copy(&path, &target).context(|| format!("cannot copy {}", path.display()))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn files_are_replaced_whole_and_leave_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| (name.to_owned(), text.as_bytes().to_vec());
        write_all(folder.path(), &[file("a", "1"), file("b", "2")]).unwrap();
        write(&folder.path().join("a"), b"3").unwrap();
        assert_eq!(names(folder.path()), ["a", "b"]);
        assert_eq!(fs::read_to_string(folder.path().join("a")).unwrap(), "3");
    }

    #[test]
    fn folders_are_copied_with_all_that_lies_in_them() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("from"), folder.path().join("to"));
        fs::create_dir_all(from.join("engine")).unwrap();
        fs::write(from.join("engine/000.log"), "1").unwrap();
        copy_folder(&from, &to).unwrap();
        assert_eq!(fs::read_to_string(to.join("engine/000.log")).unwrap(), "1");
    }

    #[test]
    fn what_fails_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str| (name.to_owned(), b"new".to_vec());
        write(&folder.path().join("a"), b"old").unwrap();
        // The second has no folder: the first is not put into its place either.
        let error = write_all(folder.path(), &[file("a"), file("no/b")]).unwrap_err();
        assert!(error.to_string().contains("no/b"), "{error}");
        assert_eq!(names(folder.path()), ["a"]);
        assert_eq!(fs::read_to_string(folder.path().join("a")).unwrap(), "old");
    }
}
