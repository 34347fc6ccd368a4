//! Taking turns with other workers of this machine: a trial that measures speed has the machine to itself.
//!
//! Everybody else's work shares a lock, a speed trial holds it alone. Both come through a gate, which a speed trial keeps closed
//! while it waits: work that is under way ends, and none begins. Locks are let go when their process ends, however it ends.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::interrupt::Interrupt;
use crate::error::{Context, Error, Kind, Result};

/// Between two looks at a lock that others hold.
const LOOK: Duration = Duration::from_millis(5);

/// The locks that the workers of a run on one machine share.
#[derive(Debug, Clone)]
pub struct Turns {
    gate: PathBuf,
    work: PathBuf,
}

/// Work that goes on until this is dropped.
#[derive(Debug, Default)]
pub(super) struct Turn {
    _work: Option<File>,
}

/// Whether others may work meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Company {
    /// They may.
    Beside,
    /// They may not.
    Alone,
}

impl Turns {
    /// The locks in a folder, of the machine of this name.
    pub fn new(folder: &Path, machine: &str) -> Self {
        let named = |what: &str| folder.join(format!(".{what}@{machine}.lock"));
        Self { gate: named("gate"), work: named("work") }
    }

    /// Waits for a turn.
    ///
    /// # Errors
    /// When the user asks to stop meanwhile, or files cannot be locked.
    pub(super) async fn take(&self, company: Company, interrupt: &Interrupt) -> Result<Turn> {
        let gate = open(&self.gate)?;
        wait(|| gate.try_lock(), interrupt).await?;
        let work = open(&self.work)?;
        match company {
            Company::Alone => wait(|| work.try_lock(), interrupt).await?,
            Company::Beside => wait(|| work.try_lock_shared(), interrupt).await?,
        }
        Ok(Turn { _work: Some(work) })
    }
}

fn open(path: &Path) -> Result<File> {
    let file = OpenOptions::new().create(true).truncate(false).read(true).write(true).open(path);
    file.context(|| format!("cannot open {}", path.display()))
}

async fn wait(lock: impl Fn() -> std::result::Result<(), TryLockError>, interrupt: &Interrupt) -> Result<()> {
    loop {
        match lock() {
            Ok(()) => return Ok(()),
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(source)) => {
                return Err(
                    Error::runtime("cannot wait for the other workers of this machine").with_source(source)
                );
            }
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK) => {}
            () = interrupt.asked(1) => return Err(Error::new(Kind::Interrupted, "interrupted")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn speed_is_measured_alone_and_other_work_side_by_side() {
        let folder = tempfile::tempdir().unwrap();
        let (turns, never) = (Turns::new(folder.path(), "here"), Interrupt::never());
        let soon = Duration::from_millis(100);
        let first = turns.take(Company::Beside, &never).await.unwrap();
        let second = turns.take(Company::Beside, &never).await.unwrap();
        let alone = turns.take(Company::Alone, &never);
        tokio::pin!(alone);
        assert!(tokio::time::timeout(soon, &mut alone).await.is_err(), "others are at work");
        // Who comes later waits behind it.
        let late = turns.take(Company::Beside, &never);
        tokio::pin!(late);
        assert!(tokio::time::timeout(soon, &mut late).await.is_err());
        drop((first, second));
        let alone = alone.await.unwrap();
        assert!(tokio::time::timeout(soon, &mut late).await.is_err());
        drop(alone);
        late.await.unwrap();
        let elsewhere = Turns::new(folder.path(), "there");
        let _held = turns.take(Company::Alone, &never).await.unwrap();
        elsewhere.take(Company::Alone, &never).await.unwrap();
    }
}
