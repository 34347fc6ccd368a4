//! Stopping early: what was measured so far, and the decisions that come from it between rounds and between texts.

use std::collections::HashMap;

use super::event::Event;
use crate::error::Result;
use crate::record::journal::Journal;
use crate::record::plan::Visit;
use crate::record::{Decision, Look, Selection, StopRule, Trial, TrialKey};

/// Remembers a run as far as its decisions need it: nothing when its suite does not stop early.
pub(super) struct EarlyStopping<'a> {
    rule: &'a dyn StopRule,
    so_far: Journal,
    /// Cases that the reference has chosen for the others.
    selection: Selection,
    /// Where the trials of `so_far` are.
    places: HashMap<TrialKey, usize>,
    round: u32,
}

impl<'a> EarlyStopping<'a> {
    /// `journal` is what an earlier session left.
    pub(super) fn new(journal: &Journal, rule: &'a dyn StopRule) -> Self {
        let mut so_far = Journal::new(journal.header.clone());
        so_far.decisions.clone_from(&journal.decisions);
        if so_far.header.suite.stopping.is_some() {
            so_far.cases.clone_from(&journal.cases);
            so_far.launches.clone_from(&journal.launches);
        }
        let selection = Selection::new(&so_far.header.suite);
        let mut pace = Self { rule, so_far, selection, places: HashMap::new(), round: 0 };
        journal.trials.iter().for_each(|trial| pace.note(&Event::Trial(trial)));
        pace
    }

    pub(super) fn is_stopped(&self, key: &TrialKey) -> bool {
        self.so_far.is_stopped(key)
    }

    /// Whether a trial is not asked, because the reference did not choose its case.
    pub(super) fn skips(&self, key: &TrialKey) -> bool {
        self.selection.skips(key)
    }

    /// Whether the reference chooses cases at all.
    pub(super) fn selects(&self) -> bool {
        self.selection.selects()
    }

    pub(super) fn note(&mut self, event: &Event<'_>) {
        if let Event::Trial(trial) = event {
            self.selection.note(trial);
        }
        if self.so_far.header.suite.stopping.is_none() {
            return;
        }
        match event {
            Event::Case(case) => self.so_far.cases.push((*case).clone()),
            Event::Launched(launch) => self.so_far.launches.push((*launch).clone()),
            Event::Trial(trial) => self.note_trial(trial),
            _ => {}
        }
    }

    /// A trial that is tried again comes a second time; the later one counts.
    fn note_trial(&mut self, trial: &Trial) {
        let trial = without_reply(trial);
        match self.places.get(&trial.key) {
            Some(&place) => self.so_far.trials[place] = trial,
            None => {
                self.places.insert(trial.key, self.so_far.trials.len());
                self.so_far.trials.push(trial);
            }
        }
    }

    /// What the end of the round before `round` shows, once. A session that goes on decides again about
    /// rounds that an earlier one has ended, from the same trials, and so the same.
    pub(super) fn decide_before(&mut self, round: u32) -> Result<Look> {
        let mut all = Look::default();
        while self.round < round {
            if self.so_far.header.suite.stopping.is_some() {
                let decided = on_its_own_thread(|| self.rule.decide(&self.so_far, self.round))?;
                self.so_far.decisions.extend(decided.stopped.iter().cloned());
                all.stopped.extend(decided.stopped);
                all.open = decided.open;
            }
            self.round += 1;
        }
        Ok(all)
    }

    /// Whether the texts that a visit has answered settle its cell, looked at in front of the first trial of another text. A session
    /// that goes on looks there again, from the same texts.
    pub(super) fn decide_within(&mut self, visit: &Visit, next: &TrialKey) -> Result<Option<Decision>> {
        if !self.looks_in_front_of(visit, next) {
            return Ok(None);
        }
        let (setting, context) = (visit.cell.setting.label.as_str(), visit.cell.context);
        let look = || self.rule.decide_within(&self.so_far, setting, context, visit.round);
        let decided = on_its_own_thread(look)?;
        self.so_far.decisions.extend(decided.clone());
        Ok(decided)
    }

    /// Whether the visit has answered some texts, and nothing was asked from this one on: where what broke is tried again, later
    /// ones are there already, and the time to stop is past.
    fn looks_in_front_of(&self, visit: &Visit, next: &TrialKey) -> bool {
        let suite = &self.so_far.header.suite;
        if !suite.stops_within_visits() || visit.cell.setting == *suite.reference() {
            return false;
        }
        let text = suite.text_of(next);
        let asked = |key: &&TrialKey| self.places.contains_key(*key);
        let (before, from): (Vec<&TrialKey>, Vec<&TrialKey>) =
            visit.trials.iter().filter(asked).partition(|key| suite.text_of(key) < text);
        let in_a_later_round = |trial: &Trial| {
            let key = &trial.key;
            key.round > visit.round && (key.setting, key.context) == (next.setting, next.context)
        };
        !before.is_empty() && from.is_empty() && !self.so_far.trials.iter().any(in_a_later_round)
    }
}

/// The frames of the analysis refuse to block a thread that drives requests, as the runner's does.
pub(super) fn on_its_own_thread<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    let outcome = std::thread::scope(|scope| scope.spawn(work).join());
    outcome.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// Replies are large, and no decision reads them.
fn without_reply(trial: &Trial) -> Trial {
    Trial { reply: None, ..trial.clone() }
}
