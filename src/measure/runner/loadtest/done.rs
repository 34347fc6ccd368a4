//! What of the load test is done already, and what a search makes of it.

use std::collections::{HashMap, HashSet};

use super::super::early_stopping::on_its_own_thread;
use super::super::event::Event;
use super::super::swapped::SWAPPED;
use crate::error::Result;
use crate::record::capacity::{Course, CrowdAnswer, Next};
use crate::record::journal::Journal;
use crate::record::journal::loadtest::{LoadtestJournal, LoadtestStep, LoadtestTrial};
use crate::record::suite::{Arrivals, LoadSearch, LoadSpec};
use crate::record::{Case, Measurements, Outcome, Prompt, StopRule, Trial, TrialKey};

/// What was done of the load test, by this session and those before.
pub(in crate::measure::runner) struct LoadtestDone<'a> {
    rule: &'a dyn StopRule,
    /// Of the steps; where a search goes on from them also the cases, and what this session adds.
    so_far: Journal,
    pub(super) items: HashSet<(u32, TrialKey)>,
    /// What crowds came to whose cases were all asked.
    answers: HashMap<(String, u32), CrowdAnswer>,
}

impl<'a> LoadtestDone<'a> {
    pub(in crate::measure::runner) fn of(
        journal: &Journal,
        rule: &'a dyn StopRule,
        retry_failed: bool,
    ) -> Self {
        // What a swapped file made void is done again in any case.
        let void = |reason: &str| reason.starts_with(SWAPPED);
        let kept =
            |step: &&LoadtestStep| step.broke.as_deref().is_none_or(|reason| !retry_failed && !void(reason));
        let failed = |trial: &Trial| match &trial.outcome {
            Outcome::Failed { error, .. } => retry_failed || void(error),
            _ => false,
        };
        let asked = || journal.load.trials.iter().filter(|asked| !failed(&asked.trial));
        let mut done = Self {
            rule,
            so_far: Journal::new(journal.header.clone()),
            items: asked().map(|asked| (asked.streams, asked.trial.key)).collect(),
            answers: HashMap::new(),
        };
        let steps = journal.load.steps.iter().filter(kept).cloned().collect();
        done.so_far.load = LoadtestJournal { steps, ..LoadtestJournal::default() };
        if done.searches() {
            done.so_far.load.trials = asked().cloned().collect();
            journal.cases.iter().for_each(|case| done.note(&Event::Case(case)));
        }
        done
    }

    fn searches(&self) -> bool {
        self.so_far.header.suite.load.as_ref().is_some_and(|load| load.search.is_some())
    }

    pub(super) fn has_step(&self, setting: &str, arrivals: Arrivals) -> bool {
        self.so_far.load.steps_of(setting).any(|step| step.arrivals == arrivals)
    }

    /// Remembers what a search goes on from.
    pub(in crate::measure::runner) fn note(&mut self, event: &Event<'_>) {
        if !self.searches() {
            return;
        }
        match event {
            Event::Case(case) => self.so_far.cases.extend(self.is_asked(case).then(|| bare(case))),
            Event::LoadtestStep(step) => self.so_far.load.add_step((*step).clone()),
            Event::LoadtestTrial(asked) => self.note_trial(asked),
            _ => {}
        }
    }

    /// Whether a case may be asked under load.
    fn is_asked(&self, case: &Case) -> bool {
        let load = self.so_far.header.suite.load.as_ref();
        load.and_then(|load| load.quality.as_ref()).is_some_and(|quality| case.task == quality.task)
    }

    /// One that is asked again comes a second time; the later one counts.
    fn note_trial(&mut self, asked: &LoadtestTrial) {
        let trial = Trial { reply: None, measurements: Measurements::default(), ..asked.trial.clone() };
        let asked = LoadtestTrial { trial, ..*asked };
        self.items.insert((asked.streams, asked.trial.key));
        let trials = &mut self.so_far.load.trials;
        match trials.iter_mut().find(|known| known.key() == asked.key()) {
            Some(known) => *known = asked,
            None => trials.push(asked),
        }
    }

    /// What a search on a setting does next; `all_asked` says whether the cases with so many under way have their answers.
    pub(super) fn next(
        &mut self,
        spec: &LoadSpec,
        search: &LoadSearch,
        setting: &str,
        all_asked: impl Fn(&Self, u32) -> bool,
    ) -> Result<Next> {
        let steps: Vec<LoadtestStep> = self.so_far.load.steps_of(setting).cloned().collect();
        let course = Course::of(spec, search, steps.iter(), |streams| {
            if all_asked(self, streams) { self.answer(setting, streams) } else { Ok(CrowdAnswer::Open) }
        })?;
        Ok(course.next)
    }

    fn answer(&mut self, setting: &str, streams: u32) -> Result<CrowdAnswer> {
        let of = (setting.to_owned(), streams);
        if let Some(known) = self.answers.get(&of) {
            return Ok(*known);
        }
        let answer = on_its_own_thread(|| self.rule.crowd(&self.so_far, setting, streams))?;
        self.answers.insert(of, answer);
        Ok(answer)
    }
}

/// No verdict reads what was asked.
fn bare(case: &Case) -> Case {
    Case { prompt: Prompt::chat(Vec::new()), target: serde_json::Value::Null, ..case.clone() }
}
