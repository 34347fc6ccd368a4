//! A run of workers that goes on.

use std::path::Path;

use crate::cli::{Global, ResumeArgs};
use crate::commands::run::suite_of;
use crate::commands::session::Session;
use crate::error::Result;
use crate::measure::runner::Ending;
use crate::record::Spread;
use crate::record::journal::{Journal, JournalWriter};
use crate::record::plan::Plan;
use crate::record::suite::Suite;

/// A run that goes on.
pub(super) struct Again<'a> {
    pub(super) folder: &'a Path,
    pub(super) run: &'a Journal,
    pub(super) suite: &'a Suite,
    pub(super) plan: &'a Plan,
    pub(super) spread: &'a Spread,
    pub(super) args: &'a ResumeArgs,
}

impl Again<'_> {
    /// Reports what there is.
    pub(super) fn report(&self, ending: Ending, global: &Global) -> Result<u8> {
        let session = self.session()?;
        session.report(self.plan, ending, global)
    }

    /// The run's own journal, held so that no other kneepoint starts its workers.
    pub(super) fn session(&self) -> Result<Session> {
        let (writer, journal) = JournalWriter::open(self.folder)?;
        let (suite, secrets) = suite_of(self.run)?;
        let (folder, json, retry_failed) =
            (self.folder.to_path_buf(), self.args.json, self.args.retry_failed);
        Ok(Session { folder, suite, secrets, journal, writer, retry_failed, json })
    }
}
