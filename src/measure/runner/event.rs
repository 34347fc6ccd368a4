//! What happens in a run, and who is told of it.

use crate::error::Result;
use crate::record::journal::LaunchRecord;
use crate::record::journal::loadtest::{LoadtestServer, LoadtestStep, LoadtestTrial};
use crate::record::plan::Visit;
use crate::record::{Case, Decision, HeldCase, HeldSchema, OpenCell, Trial, TrialKey};

/// Something that happened in a run.
#[derive(Debug)]
pub enum Event<'a> {
    /// The run starts or goes on.
    Started {
        /// Planned trials, without those that an earlier session stopped or skipped.
        total: usize,
        /// Trials of the plan that have an outcome already.
        done: usize,
    },
    /// A cell is visited.
    Visit {
        /// The visit.
        visit: &'a Visit,
        /// Trials of it that remain.
        remaining: usize,
    },
    /// A server came up, or did not.
    Launched(&'a LaunchRecord),
    /// A case is about to be used for the first time.
    Case(&'a Case),
    /// The server of a setting is asked what it makes of schemas, this one among them; trials wait for it.
    Schemas {
        /// The setting's label.
        setting: &'a str,
        /// How many were asked about before.
        asked: usize,
    },
    /// What the server holds of a schema was found out.
    HeldSchema(&'a HeldSchema),
    /// What the server's grammars allow of a case is known.
    HeldCase(&'a HeldCase),
    /// A trial starts.
    TrialStarted(&'a TrialKey),
    /// A trial ended.
    Trial(&'a Trial),
    /// A cell was stopped between two rounds, or between two texts; `saved` trials of it are not run.
    Stopped {
        /// Why, and after which round.
        decision: &'a Decision,
        /// Planned trials that are not run because of it.
        saved: usize,
    },
    /// Trials that are not asked, because the reference did not choose their cases.
    Skipped(&'a [TrialKey]),
    /// Cells whose verdict is open between two rounds, with what it would take.
    Open(&'a [OpenCell]),
    /// A setting enters the load test.
    LoadtestVisit {
        /// Its server.
        visit: &'a Visit,
        /// Steps and rounds of cases that remain.
        steps: usize,
        /// Whether these are the most that a search comes to.
        at_most: bool,
    },
    /// A server of the load test came up and is warm, or did not come up.
    LoadtestServer(&'a LoadtestServer),
    /// A step, or a round of cases, starts under load.
    LoadtestWork {
        /// Setting label.
        setting: &'a str,
        /// Which, in words.
        what: &'a str,
    },
    /// A step of the load test ended.
    LoadtestStep(&'a LoadtestStep),
    /// A case that was asked in the load test ended.
    LoadtestTrial(&'a LoadtestTrial),
    /// Something that the user should know.
    Note(&'a str),
}

/// Sees every event, in order. The journal comes first in the list of subscribers.
pub trait Subscriber {
    /// Takes note of an event.
    ///
    /// # Errors
    /// An error ends the run (a journal that cannot be written).
    fn on(&mut self, event: &Event<'_>) -> Result<()>;
}
