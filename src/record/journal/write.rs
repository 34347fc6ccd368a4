//! Writing a journal: one writer, one line a record, on disk before anything goes on.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{BufReader, Seek, SeekFrom, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::folder::FILE_NAME;
use super::header::Header;
use super::line;
use super::read::{self, Keep};
use super::records::Record;
use super::whole::Journal;
use crate::error::{Context, Error, Result};

/// Appends records to a journal that it has locked.
#[derive(Debug)]
pub struct JournalWriter {
    file: File,
    path: PathBuf,
}

impl JournalWriter {
    /// Creates the journal of a new run folder, with its header.
    ///
    /// # Errors
    /// When the file exists or cannot be written.
    pub fn create(folder: &Path, header: &Header) -> Result<Self> {
        let mut writer = Self::reserve(folder)?;
        writer.begin(header)?;
        Ok(writer)
    }

    /// Creates the journal of a run that is being prepared: locked, and empty until [`JournalWriter::begin`].
    ///
    /// # Errors
    /// When the file exists or cannot be written.
    pub fn reserve(folder: &Path) -> Result<Self> {
        let path = folder.join(FILE_NAME);
        let file = OpenOptions::new()
            .create_new(true)
            .append(true)
            .open(&path)
            .context(|| format!("cannot create {}", path.display()))?;
        lock(&file, folder)?;
        Ok(Self { file, path })
    }

    /// Writes the header.
    ///
    /// # Errors
    /// As [`JournalWriter::append`].
    pub fn begin(&mut self, header: &Header) -> Result<()> {
        self.append(&Record::Header(Box::new(header.clone())))?;
        // The folder's entry must survive a crash too.
        let folder = self.path.parent().unwrap_or(Path::new("."));
        File::open(folder)
            .and_then(|folder| folder.sync_all())
            .context(|| "cannot sync the run folder".into())
    }

    /// The run folder has another name now.
    pub fn moved_to(&mut self, folder: &Path) {
        self.path = folder.join(FILE_NAME);
    }

    /// Where the journal lies.
    ///
    /// # Errors
    /// When its file cannot be looked at.
    pub fn place(&self) -> Result<Place> {
        let metadata = self.file.metadata().context(|| format!("cannot read {}", self.path.display()))?;
        let path = std::path::absolute(&self.path).unwrap_or_else(|_| self.path.clone());
        Ok(Place { path, device: metadata.dev(), inode: metadata.ino() })
    }

    /// Opens the journal of a run to go on with it; a torn last line is cut off. What comes back is the progress:
    /// replies, measurements and prompts are left out.
    ///
    /// # Errors
    /// When another process writes to it, or it is damaged before its last line.
    pub fn open(folder: &Path) -> Result<(Self, Journal)> {
        let path = folder.join(FILE_NAME);
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(&path)
            .context(|| format!("cannot open {}", path.display()))?;
        lock(&file, folder)?;
        let (journal, whole) = read::read(BufReader::new(&file), Keep::Progress)
            .map_err(|reason| read::unreadable(&path, &reason))?;
        let length = file.metadata().context(|| format!("cannot read {}", path.display()))?.len();
        let whole = whole as u64;
        if whole < length {
            file.set_len(whole).context(|| format!("cannot cut the torn end of {}", path.display()))?;
            file.sync_all().context(|| format!("cannot sync {}", path.display()))?;
        }
        file.seek(SeekFrom::End(0)).context(|| format!("cannot seek in {}", path.display()))?;
        Ok((Self { file, path }, journal))
    }

    /// Writes records that belong together, and waits until all of them are on disk.
    ///
    /// # Errors
    /// As [`JournalWriter::append`].
    pub fn append_all(&mut self, records: impl IntoIterator<Item = Record>) -> Result<()> {
        let mut lines = Vec::new();
        for record in records {
            lines.extend(line::seal(&record).context(|| "cannot write a record as JSON".into())?);
        }
        self.write(&lines)
    }

    /// Writes one record with its checksum and waits until it is on disk.
    ///
    /// # Errors
    /// When the disk is full or gone.
    pub fn append(&mut self, record: &Record) -> Result<()> {
        self.write(&line::seal(record).context(|| "cannot write a record as JSON".into())?)
    }

    fn write(&mut self, lines: &[u8]) -> Result<()> {
        self.file
            .write_all(lines)
            .and_then(|()| self.file.sync_data())
            .context(|| "cannot append to the journal".into())
            .map_err(|error| {
                error.hint("free disk space, then `kneepoint resume` goes on where it stopped")
            })?;
        self.place()?.check()
    }
}

/// A journal's place on disk: writing to a file that was deleted or moved goes well, and helps nobody.
#[derive(Debug, Clone)]
pub struct Place {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl Place {
    /// Looks whether the journal still lies there.
    ///
    /// # Errors
    /// When it does not.
    pub fn check(&self) -> Result<()> {
        let found = std::fs::metadata(&self.path);
        if found.is_ok_and(|found| (found.dev(), found.ino()) == (self.device, self.inode)) {
            return Ok(());
        }
        let folder = self.path.parent().unwrap_or(&self.path);
        Err(Error::runtime(format!("the run folder {} was deleted or moved", folder.display()))
            .hint("if it was moved: `kneepoint resume PATH` goes on with it where it is now")
            .hint("if it was deleted, what was measured is lost: `kneepoint run` starts again"))
    }
}

fn lock(file: &File, folder: &Path) -> Result<()> {
    match file.try_lock() {
        Ok(()) => Ok(()),
        Err(TryLockError::WouldBlock) => {
            Err(Error::runtime(format!("another kneepoint is writing to {}", folder.display()))
                .hint("wait until it has ended, or stop it"))
        }
        Err(TryLockError::Error(source)) => {
            Err(Error::runtime("cannot lock the journal").with_source(source))
        }
    }
}
