//! Where trials and cases stand: trials by visit, cases by their place in the plan.

use std::collections::{BTreeMap, HashMap};

use crate::record::journal::Journal;
use crate::record::{Arm, Case, Trial, TrialKey};

/// Cases by their place in the plan (context, task, arm, index): what broke before its case was made says only that.
#[derive(Default)]
pub(crate) struct Places<'a>(HashMap<(u32, &'a str, Option<Arm>, u32), &'a Case>);

impl<'a> Places<'a> {
    /// Settings whose tokenizers differ have cases of their own: those of the first setting, the reference, count. Where no
    /// trial broke before its case was made there are none: of a run of millions they would take memory for nothing.
    pub(super) fn new(journal: &'a Journal) -> Self {
        let mut places = HashMap::new();
        let under_load = journal.load.trials.iter().map(|asked| &asked.trial);
        let mut trials = journal.trials.iter().chain(&journal.repeated).chain(under_load);
        if trials.all(|trial| !trial.case.is_empty()) {
            return Self(places);
        }
        for case in &journal.cases {
            places.entry((case.context, case.task.as_str(), case.arm, case.index)).or_insert(case);
        }
        Self(places)
    }

    pub(super) fn of(&self, key: &TrialKey) -> Option<&'a Case> {
        self.0.get(&(key.context, key.task.as_str(), key.arm, key.index)).copied()
    }
}

/// A visit: setting, context and replicate.
type Visit<'a> = (&'a str, u32, u32);

/// The trials of a run by visit.
pub(crate) struct Visits<'a> {
    journal: &'a Journal,
    /// Where the trials of each visit stand, four bytes each, in the order they ended: in the journal's list, and those that were
    /// repeated behind it.
    places: BTreeMap<Visit<'a>, Vec<u32>>,
}

impl<'a> Visits<'a> {
    pub(super) fn of(journal: &'a Journal) -> Self {
        let mut numbers: HashMap<Visit<'_>, u32> = HashMap::new();
        let mut visits: Vec<(Visit<'_>, Vec<u32>)> = Vec::new();
        let mut habit = Habit::default();
        for (trial, place) in journal.trials.iter().chain(&journal.repeated).zip(0..) {
            let visit = (trial.key.setting.as_str(), trial.key.context, trial.key.replicate);
            let guess = habit.next().filter(|&number| visits[number as usize].0 == visit);
            let number = guess.unwrap_or_else(|| {
                *numbers.entry(visit).or_insert_with(|| {
                    // Most visits have as many trials as the one before.
                    let room = visits.last().map_or(0, |(_, places)| places.len());
                    visits.push((visit, Vec::with_capacity(room)));
                    visits.len() as u32 - 1
                })
            });
            habit.learn(number);
            visits[number as usize].1.push(place);
        }
        visits.iter_mut().for_each(|(_, places)| places.shrink_to_fit());
        Self { journal, places: visits.into_iter().collect() }
    }

    /// The visits, in the order of their names.
    pub(super) fn keys(&self) -> impl Iterator<Item = Visit<'a>> {
        self.places.keys().copied()
    }

    /// The trials of a visit, in the order they ended; none of one that did not happen.
    pub(super) fn trials<'v>(&'v self, visit: Visit<'v>) -> VisitTrials<'v, 'a> {
        let places: &'v BTreeMap<Visit<'v>, Vec<u32>> = &self.places;
        let places = places.get(&visit).map_or(&[][..], Vec::as_slice);
        VisitTrials { journal: self.journal, places: places.iter() }
    }
}

/// Goes through the trials of a visit.
#[derive(Clone)]
pub(crate) struct VisitTrials<'v, 'a> {
    journal: &'a Journal,
    places: std::slice::Iter<'v, u32>,
}

impl<'a> Iterator for VisitTrials<'_, 'a> {
    type Item = &'a Trial;

    fn next(&mut self) -> Option<&'a Trial> {
        let place = *self.places.next()? as usize;
        let Journal { trials, repeated, .. } = self.journal;
        Some(trials.get(place).unwrap_or_else(|| &repeated[place - trials.len()]))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.places.size_hint()
    }
}

impl ExactSizeIterator for VisitTrials<'_, '_> {}

/// What comes behind what, by numbers: trials come in the same order again and again, so that a guess is nearly always
/// right and nothing has to be looked up by name.
#[derive(Default)]
pub(super) struct Habit {
    behind: Vec<Option<u32>>,
    last: Option<u32>,
}

impl Habit {
    pub(super) fn next(&self) -> Option<u32> {
        *self.behind.get(self.last? as usize)?
    }

    pub(super) fn learn(&mut self, number: u32) {
        if let Some(last) = self.last.replace(number) {
            let last = last as usize;
            if self.behind.len() <= last {
                self.behind.resize(last + 1, None);
            }
            self.behind[last] = Some(number);
        }
    }
}
