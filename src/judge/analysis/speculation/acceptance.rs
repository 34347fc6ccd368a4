//! How much of what was drafted is accepted: over all, by position in the draft, by position in the reply.

use super::audit::Audit;
use crate::judge::analysis::summary::{DraftFigures, DraftPositionRate, DraftStretch, SpeculationTask};
use crate::record::{DraftPoint, DraftTrace, Source, Trial, metric};

/// Ends of the stretches of a reply (tokens); the last one goes on to the end. They are among the points of
/// [`DraftTrace::series`].
const STRETCHES: [u32; 4] = [32, 128, 512, 2048];

impl<'a> Audit<'_, 'a> {
    /// The figures of the requests that `of` picks.
    pub(super) fn figures(&self, what: &str, of: impl Fn(&Trial) -> bool) -> DraftFigures {
        let everything = self.trials(self.ours);
        let told = everything.iter().any(|trial| counts(trial).is_some());
        let trials: Vec<&'a Trial> = everything.into_iter().filter(|trial| of(trial)).collect();
        let drafts: Vec<(&str, f64, f64)> = trials
            .iter()
            .filter_map(|trial| {
                let (accepted, drafted) = counts(trial)?;
                Some((self.cluster(trial), accepted, drafted))
            })
            .collect();
        let drafting = drafts.iter().filter(|(_, _, drafted)| *drafted > 0.0).count();
        let sum = |of: fn(&(&str, f64, f64)) -> f64| drafts.iter().map(of).sum::<f64>() as u64;
        let mut figures = DraftFigures {
            // An engine that counts drafts leaves the counts out where there was none.
            requests: if told { trials.len() as u32 } else { 0 },
            undrafted: if told { (trials.len() - drafting) as u32 } else { 0 },
            drafted: sum(|(_, _, drafted)| *drafted),
            accepted: sum(|(_, accepted, _)| *accepted),
            acceptance: self.ratio(&format!("acceptance {what}"), drafts.iter().copied()),
            ..DraftFigures::default()
        };
        self.compare_speed(what, &trials, &mut figures);
        figures
    }

    /// By task and arm, in suite order; those without an answer are left out.
    pub(super) fn by_task(&self) -> Vec<SpeculationTask> {
        let tasks = self.run.task_arms(self.ours.context).into_iter().map(|(task, arm)| SpeculationTask {
            task: task.into(),
            arm,
            figures: self
                .figures(&format!("{task} {arm:?}"), |trial| trial.key.task == task && trial.key.arm == arm),
        });
        tasks.filter(|row| row.figures.requests > 0 || row.figures.compared > 0).collect()
    }

    /// By position within the drafts.
    pub(super) fn positions(&self) -> Vec<DraftPositionRate> {
        let traces = self.traces();
        let longest = traces.iter().map(|(_, trace)| trace.positions.len()).max().unwrap_or_default();
        let rate = |place: usize| {
            let at =
                traces.iter().filter_map(|(cluster, trace)| Some((*cluster, *trace.positions.get(place)?)));
            let counts: Vec<_> =
                at.map(|(cluster, at)| (cluster, f64::from(at.accepted), f64::from(at.drafted))).collect();
            Some(DraftPositionRate {
                position: place as u32 + 1,
                drafted: counts.iter().map(|(_, _, drafted)| drafted).sum::<f64>() as u64,
                acceptance: self.ratio(&format!("position {place}"), counts.into_iter())?,
            })
        };
        (0..longest).filter_map(rate).collect()
    }

    /// By position in the reply.
    pub(super) fn stretches(&self) -> Vec<DraftStretch> {
        let traces = self.traces();
        let longest = traces.iter().filter_map(|(_, trace)| Some(trace.series.last()?.tokens)).max();
        let Some(longest) = longest else { return Vec::new() };
        let starts = std::iter::once(0).chain(STRETCHES);
        let ends = STRETCHES.into_iter().chain([u32::MAX]);
        let stretch = |(from, to): (u32, u32)| {
            let counts: Vec<(&str, f64, f64)> = traces
                .iter()
                .map(|(cluster, trace)| {
                    let (drafted, accepted) = within(&trace.series, from, to);
                    (*cluster, f64::from(accepted), f64::from(drafted))
                })
                .collect();
            DraftStretch {
                from,
                to: to.min(longest),
                drafted: counts.iter().map(|(_, _, drafted)| drafted).sum::<f64>() as u64,
                acceptance: self.ratio(&format!("stretch {from}"), counts.into_iter()),
            }
        };
        starts.zip(ends).filter(|(from, _)| *from < longest).map(stretch).collect()
    }

    /// What every reply says of its drafts, with the cluster of its case.
    fn traces(&self) -> Vec<(&'a str, &'a DraftTrace)> {
        let turns = |trial: &'a Trial| {
            let turns = trial.reply.iter().flat_map(|reply| reply.turns());
            turns
                .filter_map(|turn| turn.drafts.as_ref())
                .map(|trace| (self.cluster(trial), trace))
                .collect::<Vec<_>>()
        };
        self.trials(self.ours).into_iter().flat_map(turns).collect()
    }
}

/// Accepted and drafted tokens of a trial; `None` where nobody counted.
fn counts(trial: &Trial) -> Option<(f64, f64)> {
    let count = |name: &str| {
        let sources = [Source::Engine, Source::Client].into_iter();
        sources.filter_map(|source| trial.measured(name, source)).next()
    };
    count(metric::DRAFT_ACCEPTED).zip(count(metric::DRAFT_TOKENS))
}

/// Drafted and accepted tokens of the drafts that begin behind `from` tokens and not behind `to`.
fn within(series: &[DraftPoint], from: u32, to: u32) -> (u32, u32) {
    let until = |tokens: u32| {
        let reached = series.iter().rev().find(|point| point.tokens <= tokens);
        reached.copied().unwrap_or_default()
    };
    let (before, after) = (until(from), until(to));
    (after.drafted.saturating_sub(before.drafted), after.accepted.saturating_sub(before.accepted))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stretches_add_up_to_the_whole() {
        let point = |tokens, drafted, accepted| DraftPoint { tokens, drafted, accepted };
        let series = [point(16, 8, 8), point(31, 16, 9), point(64, 30, 15), point(100, 40, 20)];
        assert_eq!(within(&series, 0, 32), (16, 9));
        assert_eq!(within(&series, 32, 128), (24, 11));
        assert_eq!(within(&series, 128, u32::MAX), (0, 0));
        assert_eq!(within(&[], 0, 32), (0, 0));
    }
}
