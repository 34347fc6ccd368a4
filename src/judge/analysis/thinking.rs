//! How much replies think. What a setting thinks longer for the same answers it is slower, whatever its tokens a second.

use super::frame::{self, VisitKey};
use super::run::Run;
use super::speed;
use super::summary::ThinkingRow;
use crate::error::Result;

/// A row for every cell of a context length whose replies think, in suite order.
pub(crate) fn rows(run: &Run<'_>, context: u32) -> Result<Vec<ThinkingRow>> {
    let mut rows = Vec::new();
    for setting in &run.suite.settings {
        let visit = VisitKey { setting: &setting.label, context, replicate: 0 };
        if run.frame.has(visit, frame::THINKING) {
            rows.extend(row(run, visit)?);
        }
    }
    Ok(rows)
}

fn row(run: &Run<'_>, visit: VisitKey<'_>) -> Result<Option<ThinkingRow>> {
    let purpose = format!("thinking {} {}", visit.context, visit.setting);
    let visits = run.frame.by_launch(visit, frame::THINKING)?;
    let Some((tokens, _)) = speed::estimate(&visits, run.resampling, &purpose) else { return Ok(None) };
    let counted = run.frame.both(visit, [frame::THINKING, frame::OUTPUT], 1.0)?;
    let (thought, all) = counted.iter().fold((0.0, 0.0), |sums, one| (sums.0 + one.0, sums.1 + one.1));
    let share = (all > 0.0).then(|| (thought / all).min(1.0));
    Ok(Some(ThinkingRow { setting: visit.setting.to_owned(), context: visit.context, tokens, share }))
}

#[cfg(test)]
mod tests {
    use super::super::summarise;
    use super::super::testing::{OTHER, Play, right};
    use crate::judge::stats::close;
    use crate::record::{Measurement, Source, metric};

    #[test]
    fn what_replies_think_is_told_of_the_cells_that_do() {
        let mut play = Play::new("").reference().other(right);
        for (number, trial) in
            play.journal.trials.iter_mut().filter(|trial| trial.key.setting == OTHER).enumerate()
        {
            let tokens = |name, tokens| Measurement::new(name, Source::Client, tokens);
            trial.measurements.push(tokens(metric::OUTPUT_TOKENS, 100.0));
            if number % 2 == 0 {
                trial.measurements.push(tokens(metric::THINKING_TOKENS, 80.0));
            }
        }
        let summary = summarise(&play.journal).unwrap();
        let [row] = summary.thinking.as_slice() else { panic!("{:?}", summary.thinking) };
        assert_eq!((row.setting.as_str(), row.tokens.value, row.tokens.n), (OTHER, 80.0, 29));
        close(row.share.unwrap(), 0.8, 1e-12);
        assert_eq!(summarise(&Play::new("").reference().journal).unwrap().thinking, []);
    }
}
