//! Cases on disk: written once, read back one at a time, so that memory does not grow with their number.

use std::fs::{File, OpenOptions};
use std::io::{BufReader, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use crate::error::{Context, Result};
use crate::record::Case;

/// Name of the file in a run folder; it is there only while the run goes on.
const FILE_NAME: &str = "cases.tmp";

/// Where a case lies in a [`CaseFile`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    start: u64,
    /// Bytes without the line feed.
    length: u64,
}

/// A file of cases, one JSON a line. Removed when dropped; one that a crash left is written over.
#[derive(Debug)]
pub(super) struct CaseFile {
    file: File,
    path: PathBuf,
    end: u64,
}

impl CaseFile {
    /// An empty one in a run folder, which no other run may use.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub(super) fn create(folder: &Path) -> Result<Self> {
        let path = folder.join(FILE_NAME);
        let file = OpenOptions::new()
            .create(true)
            .truncate(true)
            .read(true)
            .write(true)
            .open(&path)
            .context(|| format!("cannot create {}", path.display()))?;
        Ok(Self { file, path, end: 0 })
    }

    /// Appends a case.
    ///
    /// # Errors
    /// When the disk is full or gone.
    pub(super) fn push(&mut self, case: &Case) -> Result<Place> {
        let mut line = serde_json::to_vec(case).context(|| "cannot write a case as JSON".into())?;
        let place = Place { start: self.end, length: line.len() as u64 };
        line.push(b'\n');
        self.file
            .seek(SeekFrom::Start(self.end))
            .and_then(|_| self.file.write_all(&line))
            .context(|| format!("cannot write to {}", self.path.display()))
            .map_err(|error| {
                error.hint("free disk space, then `kneepoint resume` goes on where it stopped")
            })?;
        self.end += line.len() as u64;
        Ok(place)
    }

    /// The case at a place.
    ///
    /// # Errors
    /// When the file was changed or cannot be read.
    pub(super) fn read(&mut self, place: Place) -> Result<Case> {
        let broken = || format!("cannot read a case back from {}", self.path.display());
        (&self.file).seek(SeekFrom::Start(place.start)).context(broken)?;
        let line = BufReader::new((&self.file).take(place.length));
        serde_json::from_reader(line).context(broken)
    }
}

impl Drop for CaseFile {
    fn drop(&mut self) {
        // A leftover is harmless: the next session writes over it.
        let _ = std::fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::find;
    use crate::task::testing::{WordCounter, params};

    fn cases() -> Vec<Case> {
        let task = find("retrieval/niah_multiquery").unwrap();
        task.cases(&params(1024, 5, None), 3, &WordCounter::default()).unwrap()
    }

    #[test]
    fn cases_come_back_in_any_order_also_between_writes() {
        let dir = tempfile::tempdir().unwrap();
        let mut spool = CaseFile::create(dir.path()).unwrap();
        let cases = cases();
        let mut places = Vec::new();
        for case in &cases {
            places.push(spool.push(case).unwrap());
            assert_eq!(spool.read(places[0]).unwrap(), cases[0]);
        }
        for (place, case) in places.iter().zip(&cases).rev() {
            assert_eq!(&spool.read(*place).unwrap(), case);
        }
    }

    #[test]
    fn the_file_is_gone_at_the_end_and_a_leftover_is_no_hindrance() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(FILE_NAME), "left by a crash\n".repeat(9_000)).unwrap();
        let mut spool = CaseFile::create(dir.path()).unwrap();
        let case = &cases()[0];
        let place = spool.push(case).unwrap();
        assert_eq!(&spool.read(place).unwrap(), case);
        drop(spool);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_file_that_somebody_cut_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let mut spool = CaseFile::create(dir.path()).unwrap();
        let place = spool.push(&cases()[0]).unwrap();
        std::fs::write(dir.path().join(FILE_NAME), "{").unwrap();
        assert!(spool.read(place).unwrap_err().to_string().contains(FILE_NAME));
    }
}
