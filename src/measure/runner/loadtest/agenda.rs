//! What the server of a setting does in the load phase, one thing after another: the steps that the suite lists, or those
//! that a search comes to.

use std::collections::VecDeque;

use super::done::LoadtestDone;
use crate::error::Result;
use crate::record::capacity::Next;
use crate::record::suite::{Arrivals, LoadQuality, LoadSpec};
use crate::record::{KeyParts, TrialKey};

/// Something that a server of the load phase does.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Work {
    /// A step; how often a search visited its load before.
    Step(Arrivals, u32),
    /// Cases with so many requests under way; their keys.
    Items(u32, Vec<TrialKey>),
}

impl Work {
    pub(super) fn words(&self) -> String {
        match self {
            Self::Step(arrivals, visit) => step_words(*arrivals, *visit),
            Self::Items(1, keys) => format!("{} cases alone", keys.len()),
            Self::Items(streams, keys) => format!("{} cases, {streams} at a time", keys.len()),
        }
    }
}

/// What a step is called: its prompts and its timetable follow from it, so a second visit has others.
pub(super) fn step_words(arrivals: Arrivals, visit: u32) -> String {
    match visit {
        0 => arrivals.words(),
        _ => format!("{}, again", arrivals.words()),
    }
}

/// What remains for a setting.
pub(super) struct Agenda<'a> {
    spec: &'a LoadSpec,
    setting: &'a str,
    ahead: VecDeque<Work>,
    /// What was begun, in order.
    begun: Vec<Work>,
}

impl<'a> Agenda<'a> {
    /// What an earlier session left: the steps, then the cases; of a search, what comes next.
    pub(super) fn of(spec: &'a LoadSpec, setting: &'a str, done: &mut LoadtestDone<'_>) -> Result<Self> {
        let mut agenda = Self { spec, setting, ahead: VecDeque::new(), begun: Vec::new() };
        agenda.ahead = match spec.search {
            Some(_) => agenda.searched(done)?.into_iter().collect(),
            None => agenda.listed(done),
        };
        Ok(agenda)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.ahead.is_empty()
    }

    /// Steps and rounds of cases that remain, at most.
    pub(super) fn at_most(&self) -> usize {
        match self.spec.search {
            Some(search) => search.most_steps(self.spec.quality.is_some()) as usize,
            None => self.ahead.len(),
        }
    }

    /// The next thing to do, after what was begun is done.
    pub(super) fn next(&mut self, done: &mut LoadtestDone<'_>) -> Result<Option<Work>> {
        let mut next = self.ahead.pop_front();
        if next.is_none() && self.spec.search.is_some() {
            // What left no record is done again when the run is resumed, and not at once.
            next = self.searched(done)?.filter(|work| self.begun.last() != Some(work));
        }
        self.begun.extend(next.clone());
        Ok(next)
    }

    /// All that was begun, and what is listed behind it.
    pub(super) fn all(self) -> impl Iterator<Item = Work> {
        self.begun.into_iter().chain(self.ahead)
    }

    /// The steps, then the cases: alone, at every concurrency, and alone again (the noise floor).
    fn listed(&self, done: &LoadtestDone<'_>) -> VecDeque<Work> {
        let steps = self.spec.steps().into_iter().filter(|step| !done.has_step(self.setting, *step));
        let steps = steps.map(|step| Work::Step(step, 0));
        let crowds = self.spec.concurrencies().map(|streams| (streams, 0));
        let rounds = std::iter::once((1, 0)).chain(crowds).chain([(1, 1)]);
        steps.chain(rounds.filter_map(|round| self.cases(done, round))).collect()
    }

    fn searched(&self, done: &mut LoadtestDone<'_>) -> Result<Option<Work>> {
        let Some(search) = &self.spec.search else { return Ok(None) };
        let open = |done: &LoadtestDone<'_>, streams| {
            [(1, 0), (streams, 0), (1, 1)].into_iter().find_map(|round| self.cases(done, round))
        };
        let all_asked = |done: &LoadtestDone<'_>, streams| open(done, streams).is_none();
        Ok(match done.next(self.spec, search, self.setting, all_asked)? {
            Next::Step(arrivals, visit) => Some(Work::Step(arrivals, visit)),
            Next::Cases(streams) => open(done, streams),
            Next::Over => None,
        })
    }

    /// The cases of a round (requests under way, replicate) that have no answer yet.
    fn cases(&self, done: &LoadtestDone<'_>, (streams, replicate): (u32, u32)) -> Option<Work> {
        let quality = self.spec.quality.as_ref()?;
        let keys = (0..quality.samples).map(|index| item_key(self.setting, quality, replicate, index));
        let keys: Vec<TrialKey> = keys.filter(|key| !done.items.contains(&(streams, *key))).collect();
        (!keys.is_empty()).then_some(Work::Items(streams, keys))
    }
}

fn item_key(setting: &str, quality: &LoadQuality, replicate: u32, index: u32) -> TrialKey {
    KeyParts {
        setting: setting.into(),
        context: quality.context,
        round: 0,
        replicate,
        task: quality.task.as_str().into(),
        arm: quality.arm,
        index,
        repeat: 0,
    }
    .key()
}
