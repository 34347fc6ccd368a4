//! The one thing that crosses from judging to measuring while a run goes on: whether what was measured is enough.

use super::capacity::CrowdAnswer;
use super::decision::{Decision, OpenCell};
use super::journal::Journal;
use crate::error::Result;

/// What a look between two rounds shows.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Look {
    /// Cells that stop.
    pub stopped: Vec<Decision>,
    /// Cells that go on because their verdict is open, with what it would take.
    pub open: Vec<OpenCell>,
}

/// Decides between two rounds, and between two texts of a visit, which cells need not go on, and in a search for the highest load whether answers got worse.
/// Judging makes such rules, and measuring obeys them: the one thing that crosses from one to the other while a run goes on.
pub trait StopRule: Sync {
    /// Which cells stop after a round (from 0), given everything that was measured until its end. The same journal gives
    /// the same decisions; cells that the journal's own decisions stopped already are not named again.
    ///
    /// # Errors
    /// When the journal does not hold together.
    fn decide(&self, so_far: &Journal, after_round: u32) -> Result<Look>;

    /// Whether a cell is settled in the middle of its visit in a round (from 0), given everything that was measured so far. Only
    /// texts count whose questions both it and the reference have answered, so the same texts give the same decision. `None`: it goes on, or was
    /// stopped before.
    ///
    /// # Errors
    /// When the journal does not hold together.
    fn decide_within(
        &self,
        _so_far: &Journal,
        _setting: &str,
        _context: u32,
        _round: u32,
    ) -> Result<Option<Decision>> {
        Ok(None)
    }

    /// What the cases of a setting with so many requests under way (2 or more) came to beside the same cases alone, given
    /// the load phase of the journal. The same cases give the same answer, whatever else the journal holds.
    ///
    /// # Errors
    /// When the journal does not hold together.
    fn crowd(&self, so_far: &Journal, setting: &str, streams: u32) -> Result<CrowdAnswer>;
}
