//! The two runs side by side.

use super::headers::{self, Difference};
use crate::error::{Error, Result};
use crate::judge::analysis::Resampling;
use crate::judge::analysis::run::Run;

/// The two runs.
pub(super) struct Pair<'a> {
    pub(super) a: Run<'a>,
    pub(super) b: Run<'a>,
}

impl<'a> Pair<'a> {
    /// The first run's seed, draws and confidence serve for both.
    pub(super) fn resampling(&self) -> Resampling {
        self.a.resampling
    }

    /// Setting and context of the cells that both suites have, by context.
    pub(super) fn shared_cells(&self) -> Result<Vec<(&'a str, u32)>> {
        let theirs = cells_of(&self.b);
        let shared: Vec<_> = cells_of(&self.a).into_iter().filter(|cell| theirs.contains(cell)).collect();
        if !shared.is_empty() {
            return Ok(shared);
        }
        let labels = |run: &Run<'_>| {
            run.suite.settings.iter().map(|setting| setting.label.clone()).collect::<Vec<_>>().join(", ")
        };
        Err(Error::usage("the runs have no setting at the same context length in common").hint(format!(
            "A has {}; B has {}",
            labels(&self.a),
            labels(&self.b)
        )))
    }

    pub(super) fn unpaired_cells(&self) -> Vec<String> {
        let (ours, theirs) = (cells_of(&self.a), cells_of(&self.b));
        let only = |these: &[(&str, u32)], those: &[(&str, u32)], name: &str| -> Vec<String> {
            let alone = these.iter().filter(|cell| !those.contains(cell));
            alone.map(|(setting, context)| format!("{setting} at {context} tokens: only in {name}")).collect()
        };
        let mut lines = only(&ours, &theirs, "A");
        lines.extend(only(&theirs, &ours, "B"));
        lines
    }

    /// Speed drifts from visit to visit and from night to night; few visits cannot show by how much.
    pub(super) fn few_visits(&self) -> Option<String> {
        const FEW: u32 = 4;
        let rounds = self.a.suite.rounds.min(self.b.suite.rounds);
        (rounds < FEW).then(|| {
            format!(
                "speed: with {rounds} visits of a cell its interval covers little of the drift between visits, and none of that between the runs; set thresholds wider than the machine's own"
            )
        })
    }

    /// Intervals of a fixed number of cases are too narrow where the data decided when to stop.
    /// Those of probabilities hold whenever one stops.
    pub(super) fn stopped_early(&self) -> Option<String> {
        if self.a.suite.scores_by_probability() && self.b.suite.scores_by_probability() {
            return None;
        }
        let stopped = |run: &Run<'_>| run.suite.stops_by_outcome() && !run.journal.decisions.is_empty();
        (stopped(&self.a) || stopped(&self.b)).then(|| {
            "a run stopped some cells early by their outcome: quality intervals here do not allow for that".into()
        })
    }

    /// Distributions that were read as part of a prompt say little of a KV type, and less than those read over the cache.
    pub(super) fn unread_kld(&self) -> Option<String> {
        let unread = |run: &Run<'_>| {
            let replies = run.journal.trials.iter().filter_map(|trial| trial.reply.as_ref());
            let mut lists = replies.filter_map(|reply| reply.distributions.as_ref());
            lists.any(|lists| lists.path.is_prefill())
        };
        let where_from = match (unread(&self.a), unread(&self.b)) {
            (false, false) => return None,
            (true, true) => "in both runs",
            (true, false) => "in A alone, so the two are no figures of one kind",
            (false, true) => "in B alone, so the two are no figures of one kind",
        };
        Some(format!(
            "KLD was read on the prefill path {where_from}: what a KV type does that is not read there does not show"
        ))
    }

    pub(super) fn nothing_in_common(&self) -> Error {
        let mut error = Error::usage("the runs have no case in common, so nothing can be paired");
        for difference in headers::differences(&self.a.journal.header, &self.b.journal.header) {
            if difference.changes_items {
                let Difference { what, a, b, .. } = difference;
                error = error.hint(format!("{what} differs: {a} in A, {b} in B"));
            }
        }
        error.hint("cases pair when suite, seed, task versions and tokenizer are the same")
    }
}

fn cells_of<'a>(run: &Run<'a>) -> Vec<(&'a str, u32)> {
    let contexts = run.suite.contexts.iter();
    contexts
        .flat_map(|&context| run.suite.settings.iter().map(move |setting| (setting.label.as_str(), context)))
        .collect()
}
