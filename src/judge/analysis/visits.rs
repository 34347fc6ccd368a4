//! Where trials and cases stand: trials by visit, cases by their place in the plan.

use std::collections::{BTreeMap, HashMap};

use crate::record::{Arm, Case, Trial, TrialKey};

/// Cases by their place in the plan (context, task, arm, index): what broke before its case was made says only that.
#[derive(Default)]
pub(crate) struct Places<'a>(HashMap<(u32, &'a str, Option<Arm>, u32), &'a Case>);

impl<'a> Places<'a> {
    /// Settings whose tokenizers differ have cases of their own: those of the first setting, the reference, count.
    pub(super) fn new(cases: &'a [Case]) -> Self {
        let mut places = HashMap::new();
        for case in cases {
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

/// Trials by visit.
pub(crate) type Visits<'a> = BTreeMap<Visit<'a>, Vec<&'a Trial>>;

/// Trials by visit, in the order they ended.
pub(super) fn by_visit<'a>(trials: impl Iterator<Item = &'a Trial>) -> Visits<'a> {
    let mut numbers: HashMap<Visit<'_>, u32> = HashMap::new();
    let mut visits: Vec<(Visit<'_>, Vec<&Trial>)> = Vec::new();
    let mut habit = Habit::default();
    for trial in trials {
        let visit = (trial.key.setting.as_str(), trial.key.context, trial.key.replicate);
        let guess = habit.next().filter(|&number| visits[number as usize].0 == visit);
        let number = guess.unwrap_or_else(|| {
            *numbers.entry(visit).or_insert_with(|| {
                visits.push((visit, Vec::new()));
                visits.len() as u32 - 1
            })
        });
        habit.learn(number);
        visits[number as usize].1.push(trial);
    }
    visits.iter_mut().for_each(|(_, trials)| trials.shrink_to_fit());
    visits.into_iter().collect()
}

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
