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

/// Trials by setting, context and replicate.
pub(crate) type Visits<'a> = BTreeMap<(&'a str, u32, u32), Vec<&'a Trial>>;

/// Trials by visit, in the order they ended.
pub(super) fn by_visit<'a>(trials: impl Iterator<Item = &'a Trial>) -> Visits<'a> {
    // Hashed first: a million trials are found their place faster than by comparing long names.
    let mut visits: HashMap<(&str, u32, u32), Vec<&Trial>> = HashMap::new();
    for trial in trials {
        let key = &trial.key;
        visits.entry((key.setting.as_str(), key.context, key.replicate)).or_default().push(trial);
    }
    visits.into_iter().collect()
}
