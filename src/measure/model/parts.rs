//! GGUF files in several parts (`NAME-00001-of-00003.gguf`): the suite names the first, all must be there.
//!
//! The first part holds the model's metadata; each says in `split.no` (from 0) and `split.count` which of how many
//! it is (llama.cpp's `gguf-split`).

use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::gguf::{self, Metadata};
use super::split_name::split_name;
use super::store::file_name;
use crate::error::{Error, Result};
use crate::record::hex;

/// Parts that a file may have; the names have five digits.
const MAX_PARTS: u32 = 99_999;

/// Every part of the model in a GGUF file, in order: the file alone when it is not split.
///
/// # Errors
/// A usage error when it is not the first part or when parts are missing; a runtime error when a part is not the
/// one that its name says.
pub(super) fn parts(path: &Path, metadata: &Metadata) -> Result<Vec<PathBuf>> {
    let count = metadata.split_count.unwrap_or(1).max(1);
    if count == 1 {
        return Ok(vec![path.to_owned()]);
    }
    let name = file_name(path);
    let split = split_name(&name).filter(|split| u64::from(split.of) == count).ok_or_else(|| {
        Error::usage(format!("{} is one of {count} parts, but its name does not say which", path.display()))
            .hint(format!("parts are found by name: give them back theirs, NAME-00001-of-{count:05}.gguf"))
    })?;
    if split.part != 1 || metadata.split_no.unwrap_or(0) != 0 {
        return Err(Error::usage(format!("{} is not the first part of its model", path.display()))
            .hint(format!("name {}", split.name_of(1))));
    }
    let paths: Vec<PathBuf> =
        (1..=split.of.min(MAX_PARTS)).map(|part| path.with_file_name(split.name_of(part))).collect();
    let missing: Vec<String> =
        paths.iter().filter(|path| !path.is_file()).map(|path| file_name(path)).collect();
    if !missing.is_empty() {
        return Err(Error::usage(format!(
            "of the {count} parts of {} {} not there: {}",
            path.display(),
            if missing.len() == 1 { "one is" } else { "these are" },
            missing.join(", ")
        ))
        .hint("all parts lie in one folder"));
    }
    for (number, path) in (0_u64..).zip(&paths).skip(1) {
        check_part(path, number, count)?;
    }
    Ok(paths)
}

fn check_part(path: &Path, number: u64, count: u64) -> Result<()> {
    let metadata = gguf::read(path)?;
    if (metadata.split_no, metadata.split_count) == (Some(number), Some(count)) {
        return Ok(());
    }
    let says = |figure: Option<u64>| figure.map_or("nothing".to_owned(), |figure| figure.to_string());
    Err(Error::runtime(format!(
        "{} should be part {number} of {count} (counted from 0), but says {} of {}",
        path.display(),
        says(metadata.split_no),
        says(metadata.split_count)
    ))
    .hint("a part of another model, or a renamed file: fetch the parts again"))
}

/// One SHA-256 for several files: of the lines `HASH  NAME` by name, as `sha256sum NAMES | sha256sum` has it.
/// Names are relative to `folder`.
///
/// # Errors
/// When a file cannot be read.
pub(super) fn joint_sha256(
    files: &[PathBuf],
    folder: &Path,
    hash: &dyn Fn(&Path) -> Result<String>,
) -> Result<String> {
    let mut lines = Vec::with_capacity(files.len());
    for file in files {
        let name = file.strip_prefix(folder).unwrap_or(file).to_string_lossy().into_owned();
        lines.push((name, hash(file)?));
    }
    lines.sort();
    let text: String = lines.iter().map(|(name, hash)| format!("{hash}  {name}\n")).collect();
    Ok(hex(&Sha256::digest(text)))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::measure::model::gguf::tests::{Builder, small};
    use crate::measure::model::store::{Silent, Store};

    fn part(number: u16, count: u16) -> Vec<u8> {
        Builder::default().u16("split.no", number).u16("split.count", count).bytes()
    }

    /// Three parts in a folder; the first has the model's metadata.
    fn three(folder: &Path) -> PathBuf {
        let first = folder.join("m-Q4_1-00001-of-00003.gguf");
        let whole = Builder::of(small(3)).u16("split.no", 0).u16("split.count", 3).bytes();
        fs::write(&first, whole).unwrap();
        for number in 1..3 {
            let name = format!("m-Q4_1-0000{}-of-00003.gguf", number + 1);
            fs::write(folder.join(name), part(number, 3)).unwrap();
        }
        first
    }

    fn read(path: &Path) -> Result<Vec<PathBuf>> {
        parts(path, &gguf::read(path)?)
    }

    #[test]
    fn names_of_parts_are_told_from_others() {
        let split = split_name("a/b-Q4_0-00002-of-00003.gguf").unwrap();
        assert_eq!((split.prefix, split.part, split.of), ("a/b-Q4_0", 2, 3));
        assert_eq!(split.name_of(1), "a/b-Q4_0-00001-of-00003.gguf");
        for other in
            ["b.gguf", "b-00004-of-00003.gguf", "b-00000-of-00003.gguf", "b-1-of-3.gguf", "00001-of-00002"]
        {
            assert_eq!(split_name(other), None, "{other}");
        }
    }

    #[test]
    fn all_parts_are_found_and_hashed_together() {
        let folder = tempfile::tempdir().unwrap();
        let first = three(folder.path());
        let found = read(&first).unwrap();
        assert_eq!(found.len(), 3);
        let store = Store::at(folder.path().join("cache"), "python3", &Silent);
        let before = joint_sha256(&found, folder.path(), &|file| store.sha256(file)).unwrap();
        let mut reversed = found.clone();
        reversed.reverse();
        assert_eq!(
            joint_sha256(&reversed, folder.path(), &|file| store.sha256(file)).unwrap(),
            before,
            "by name, not by order"
        );
        fs::write(&found[2], [part(2, 3), vec![0]].concat()).unwrap();
        assert_ne!(
            joint_sha256(&found, folder.path(), &|file| store.sha256(file)).unwrap(),
            before,
            "the last part counts, too"
        );
    }

    #[test]
    fn what_is_missing_or_mixed_up_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let first = three(folder.path());
        let second = folder.path().join("m-Q4_1-00002-of-00003.gguf");
        let error = read(&second).unwrap_err();
        assert!(error.hints()[0].contains("m-Q4_1-00001-of-00003.gguf"), "{error}");
        fs::write(&second, part(2, 3)).unwrap();
        let error = read(&first).unwrap_err();
        assert!(error.to_string().contains("should be part 1 of 3"), "{error}");
        fs::remove_file(&second).unwrap();
        let error = read(&first).unwrap_err();
        assert!(error.to_string().contains("m-Q4_1-00002-of-00003.gguf"), "{error}");
        let renamed = folder.path().join("m.gguf");
        fs::rename(&first, &renamed).unwrap();
        assert!(read(&renamed).unwrap_err().to_string().contains("name does not say which"));
        fs::write(&renamed, small(3)).unwrap();
        assert_eq!(read(&renamed).unwrap(), [renamed], "a file that is not split");
    }
}
