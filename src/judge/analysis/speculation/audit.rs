//! A speculating cell, and what its parts look up.

use std::collections::HashMap;

use super::twin;
use crate::judge::analysis::frame::VisitKey;
use crate::judge::analysis::run::Run;
use crate::judge::analysis::summary::Estimate;
use crate::judge::stats::{Part, nested_mean_draws, percentile_interval, rng};
use crate::record::suite::Setting;
use crate::record::{Outcome, Trial};

/// Fewer cases than this have no interval.
const MIN_CASES: usize = 3;

/// Draws of intervals of acceptance; they change little beyond these.
const MOST_DRAWS: u32 = 2000;

/// A speculating cell with what its parts look up.
pub(super) struct Audit<'r, 'a> {
    pub(super) run: &'r Run<'a>,
    /// The cell's first visit.
    pub(super) ours: VisitKey<'r>,
    /// That of its twin.
    pub(super) twin: Option<VisitKey<'r>>,
    /// Clusters of the cases, by id.
    pub(super) clusters: &'r HashMap<&'a str, &'a str>,
}

impl<'r, 'a> Audit<'r, 'a> {
    pub(super) fn new(
        run: &'r Run<'a>,
        setting: &'r Setting,
        context: u32,
        clusters: &'r HashMap<&'a str, &'a str>,
    ) -> Self {
        let visit = |setting: &'r Setting| VisitKey { setting: &setting.label, context, replicate: 0 };
        let twin = twin::of(setting, &run.suite.settings).map(visit);
        Self { run, ours: visit(setting), twin, clusters }
    }

    /// The answered chats of a visit; none of a void cell.
    pub(super) fn trials(&self, visit: VisitKey<'r>) -> Vec<&'a Trial> {
        if self.run.void.contains_key(&(visit.setting, visit.context)) {
            return Vec::new();
        }
        let answered = |trial: &&'a Trial| {
            let failed = matches!(trial.outcome, Outcome::Failed { .. });
            !failed && trial.reply.as_ref().is_some_and(|reply| reply.distributions.is_none())
        };
        self.run.trials(visit).filter(answered).collect()
    }

    pub(super) fn cluster(&self, trial: &'a Trial) -> &'a str {
        self.clusters.get(trial.case.as_str()).copied().unwrap_or(&trial.case)
    }

    /// A ratio of sums, with a bootstrap interval over clusters: how many of so many, of each trial.
    pub(super) fn ratio<'c>(
        &self,
        what: &str,
        counts: impl Iterator<Item = (&'c str, f64, f64)>,
    ) -> Option<Estimate> {
        let mut sums: Vec<(f64, f64)> = Vec::new();
        let mut places: HashMap<&str, usize> = HashMap::new();
        for (cluster, part, whole) in counts {
            let place = *places.entry(cluster).or_insert_with(|| {
                sums.push((0.0, 0.0));
                sums.len() - 1
            });
            sums[place].0 += part;
            sums[place].1 += whole;
        }
        sums.retain(|(_, whole)| *whole > 0.0);
        let whole: f64 = sums.iter().map(|(_, whole)| whole).sum();
        if whole <= 0.0 {
            return None;
        }
        let value = sums.iter().map(|(part, _)| part).sum::<f64>() / whole;
        let parts: Vec<Part> = sums.iter().map(|&(part, of)| Part { mean: part / of, count: of }).collect();
        let n = parts.len();
        let mut stream = rng(self.run.resampling.seed, &self.purpose(what));
        let draws = nested_mean_draws(&[parts], self.run.resampling.draws.min(MOST_DRAWS), &mut stream);
        let interval = percentile_interval(draws, self.run.resampling.confidence).filter(|_| n >= MIN_CASES);
        Some(Estimate {
            value,
            low: interval.map(|(low, _)| low),
            high: interval.map(|(_, high)| high),
            n: n as u32,
        })
    }

    pub(super) fn purpose(&self, what: &str) -> String {
        format!("speculation {what} {} {}", self.ours.context, self.ours.setting)
    }
}
