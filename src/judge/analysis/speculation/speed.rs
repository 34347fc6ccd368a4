//! How much faster replies are than the twin's on the same requests.

use std::collections::BTreeMap;

use super::audit::Audit;
use crate::judge::analysis::speed;
use crate::judge::analysis::summary::{DraftFigures, Estimate};
use crate::record::{Source, Trial, metric};

/// Shorter replies have no decode rate worth comparing (tokens).
const MIN_TOKENS: f64 = 16.0;

/// Two trials of one request.
type Pair<'a> = (&'a Trial, &'a Trial);

impl<'a> Audit<'_, 'a> {
    /// Fills in what these trials show beside the twin's.
    pub(super) fn compare_speed(&self, what: &str, trials: &[&'a Trial], figures: &mut DraftFigures) {
        let Some(twin) = self.twin else { return };
        let asked = |trial: &'a Trial| (trial.case.as_str(), trial.key.repeat);
        let theirs: BTreeMap<(&str, u32), &'a Trial> =
            self.trials(twin).into_iter().map(|trial| (asked(trial), trial)).collect();
        let pair = |ours: &&'a Trial| Some((*ours, *theirs.get(&asked(ours))?));
        let pairs: Vec<Pair<'a>> = trials.iter().filter_map(pair).collect();
        figures.compared = pairs.len() as u32;
        figures.same_replies =
            pairs.iter().filter(|(ours, theirs)| said(ours) == said(theirs)).count() as u32;
        figures.decode = self.median_ratio(&format!("decode {what}"), &pairs, |(ours, theirs)| {
            Some(decode_rate(ours)? / decode_rate(theirs)?)
        });
        figures.total = self.median_ratio(&format!("total {what}"), &pairs, |(ours, theirs)| {
            Some(timed(theirs, metric::TOTAL_S)? / timed(ours, metric::TOTAL_S)?)
        });
    }

    /// Median over pairs; draws are nested in the server processes that answered here, blocks of neighbours within.
    fn median_ratio(
        &self,
        what: &str,
        pairs: &[Pair<'a>],
        of: impl Fn(&Pair<'a>) -> Option<f64>,
    ) -> Option<Estimate> {
        let mut by_launch: BTreeMap<u32, Vec<f64>> = BTreeMap::new();
        for pair in pairs {
            if let Some(ratio) = of(pair) {
                by_launch.entry(pair.0.launch).or_default().push(ratio);
            }
        }
        let visits: Vec<Vec<f64>> = by_launch.into_values().collect();
        speed::estimate(&visits, self.run.resampling, &self.purpose(what)).map(|(ratio, _)| ratio)
    }
}

fn timed(trial: &Trial, figure: &str) -> Option<f64> {
    trial.measured(figure, Source::Client).filter(|value| *value > 0.0)
}

fn decode_rate(trial: &Trial) -> Option<f64> {
    let tokens = [Source::Engine, Source::Client].into_iter();
    let tokens = tokens.filter_map(|source| trial.measured(metric::OUTPUT_TOKENS, source)).next()?;
    timed(trial, metric::DECODE_TPS).filter(|_| tokens >= MIN_TOKENS)
}

/// What was said in every turn.
fn said(trial: &Trial) -> Vec<(String, Vec<(&str, &str)>)> {
    let turns = trial.reply.iter().flat_map(|reply| reply.turns());
    turns
        .map(|turn| {
            let calls = turn.tool_calls.iter().map(|call| (call.name.as_str(), call.arguments.as_str()));
            (turn.text().into_owned(), calls.collect())
        })
        .collect()
}
