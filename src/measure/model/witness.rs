//! Files that a run's figures depend on, as they were when they were hashed: looked at again while the run goes on.

use std::path::{Path, PathBuf};

use super::store::{Seen, Silent, Step, Store, sha256_of};
use super::{folder, parts};
use crate::error::{Error, Result, chain};

/// One model, binary or other file, and what it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Witness {
    /// What it is, in words: `the file of mock Q8_0`.
    pub what: String,
    /// SHA-256 (hex); of several files: that of the lines `HASH  NAME`, by name.
    pub sha256: String,
    source: Files,
    seen: Vec<Seen>,
}

/// Which files these are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Files {
    /// A single one.
    One(PathBuf),
    /// Several, named relative to a folder.
    Several(Vec<PathBuf>, PathBuf),
    /// Those that make a folder a model.
    Model(PathBuf),
}

impl Files {
    fn list(&self) -> Result<Vec<PathBuf>> {
        match self {
            Self::One(file) => Ok(vec![file.clone()]),
            Self::Several(files, _) => Ok(files.clone()),
            Self::Model(folder) => folder::files(folder),
        }
    }

    fn seen(&self) -> Result<Vec<Seen>> {
        self.list()?.iter().map(|file| Seen::of(file)).collect()
    }

    fn sha256(&self, hash: &dyn Fn(&Path) -> Result<String>) -> Result<String> {
        match self {
            Self::One(file) => hash(file),
            Self::Several(files, folder) => parts::joint_sha256(files, folder, hash),
            Self::Model(folder) => parts::joint_sha256(&folder::files(folder)?, folder, hash),
        }
    }
}

impl Witness {
    /// Hashes the files, or takes what the store remembers of them.
    ///
    /// # Errors
    /// When one cannot be read.
    pub(super) fn of(what: impl Into<String>, source: Files, store: &Store<'_>) -> Result<Self> {
        // Looked at first: what changes while it is hashed is in doubt at the next look.
        let seen = source.seen()?;
        let sha256 = source.sha256(&|file| store.sha256(file))?;
        Ok(Self { what: what.into(), sha256, source, seen })
    }

    /// The same under another name.
    #[must_use]
    pub fn called(self, what: impl Into<String>) -> Self {
        Self { what: what.into(), ..self }
    }

    /// Looks whether the files are what they were; hashes them again when they are not the same files in the same
    /// state any more.
    ///
    /// # Errors
    /// When they were swapped for others, or are gone.
    pub fn check(&mut self) -> Result<()> {
        let seen = self.source.seen();
        if seen.as_ref().is_ok_and(|seen| *seen == self.seen) {
            return Ok(());
        }
        let hashed = seen.and_then(|seen| {
            let sha256 = self.source.sha256(&|file| sha256_of(file, &Step::begin(&Silent, "", None)))?;
            Ok((seen, sha256))
        });
        match hashed {
            Ok((seen, sha256)) if sha256 == self.sha256 => {
                self.seen = seen;
                Ok(())
            }
            Ok((_, sha256)) => Err(self.swapped(&format!("its SHA-256 is {} now", short(&sha256)))),
            Err(error) => Err(self.swapped(&chain(&error))),
        }
    }

    fn swapped(&self, how: &str) -> Error {
        let (what, was) = (&self.what, short(&self.sha256));
        Error::runtime(format!(
            "{what} was swapped while the run went on: it began with SHA-256 {was}, {how}"
        ))
        .hint("put the old one back, and the run goes on; or start a new one with `kneepoint run`")
    }
}

fn short(sha256: &str) -> &str {
    sha256.get(..16).unwrap_or(sha256)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_swapped_file_is_named_and_one_that_was_only_touched_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::at(dir.path().join("cache"), "python3", &Silent);
        let [a, b] = ["a.gguf", "b.gguf"].map(|name| dir.path().join(name));
        fs::write(&a, "one").unwrap();
        fs::write(&b, "two").unwrap();
        let mut one = Witness::of("the file of m", Files::One(a.clone()), &store).unwrap();
        let both = Files::Several(vec![a.clone(), b.clone()], dir.path().into());
        let mut both = Witness::of("the parts of m", both, &store).unwrap();
        fs::write(&a, "one").unwrap();
        one.check().unwrap();
        both.check().unwrap();
        fs::write(&b, "TWO").unwrap();
        one.check().unwrap();
        let error = both.check().unwrap_err().to_string();
        assert!(error.contains("the parts of m was swapped"), "{error}");
        fs::remove_file(&a).unwrap();
        assert!(one.check().unwrap_err().to_string().contains("cannot find"));
    }

    #[test]
    fn a_folder_model_is_watched_whole() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::at(dir.path().join("cache"), "python3", &Silent);
        let model = dir.path().join("model");
        fs::create_dir_all(&model).unwrap();
        for name in ["config.json", "model.safetensors", "tokenizer.json", "chat_template.jinja"] {
            fs::write(model.join(name), "{}").unwrap();
        }
        let mut witness = Witness::of("m", Files::Model(model.clone()), &store).unwrap();
        witness.check().unwrap();
        for name in ["chat_template.jinja", "tokenizer.json", "model.safetensors"] {
            fs::write(model.join(name), "[]").unwrap();
            assert!(witness.check().is_err(), "{name}");
            fs::write(model.join(name), "{}").unwrap();
            witness.check().unwrap();
        }
        fs::write(model.join("model-2.safetensors"), "{}").unwrap();
        assert!(witness.check().is_err(), "one more file");
    }
}
