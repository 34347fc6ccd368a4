//! What of the load test is done already.

use std::collections::HashSet;

use super::super::swapped::SWAPPED;
use crate::record::journal::Journal;
use crate::record::journal::loadtest::LoadtestStep;
use crate::record::suite::Arrivals;
use crate::record::{Outcome, Trial, TrialKey};

/// What an earlier session did of the load test.
pub(in crate::measure::runner) struct LoadtestDone {
    steps: Vec<(String, Arrivals)>,
    pub(super) items: HashSet<(u32, TrialKey)>,
}

impl LoadtestDone {
    pub(in crate::measure::runner) fn of(journal: &Journal, retry_failed: bool) -> Self {
        // What a swapped file made void is done again in any case.
        let void = |reason: &str| reason.starts_with(SWAPPED);
        let kept =
            |step: &&LoadtestStep| step.broke.as_deref().is_none_or(|reason| !retry_failed && !void(reason));
        let failed = |trial: &Trial| match &trial.outcome {
            Outcome::Failed { error, .. } => retry_failed || void(error),
            _ => false,
        };
        let steps = journal.load.steps.iter().filter(kept);
        let items = journal.load.trials.iter().filter(|asked| !failed(&asked.trial));
        Self {
            steps: steps.map(|step| (step.setting.clone(), step.arrivals)).collect(),
            items: items.map(|asked| (asked.streams, asked.trial.key.clone())).collect(),
        }
    }

    pub(super) fn has_step(&self, setting: &str, arrivals: Arrivals) -> bool {
        self.steps.iter().any(|(known, of)| known == setting && *of == arrivals)
    }
}
