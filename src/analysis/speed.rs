//! Speed of a cell: medians over its chat trials.
//!
//! Intervals come from a nested bootstrap: visits (server processes) are drawn with replacement, then the
//! trials of each drawn visit. With one or two visits they cannot cover drift between visits, which the
//! report says.

use super::frame::{self, Visit};
use super::pareto::{Draw, Draws};
use super::stats::{median, nested_median_draws, percentile_interval, rng};
use super::summary::{CellSummary, Estimate};
use super::{Resampling, Run};
use crate::error::Result;

/// Fewer trials than this have no interval.
const MIN_TRIALS: usize = 3;

/// Fills in the speed of a cell and its draws.
pub(crate) fn measure(run: &Run<'_>, cell: &mut CellSummary, draws: &mut Draws) -> Result<()> {
    let setting = cell.setting.clone();
    let visit = Visit { setting: &setting, context: cell.context, replicate: 0 };
    let median_of = |column: &str| -> Result<Option<(Estimate, Vec<Draw>)>> {
        let purpose = format!("speed {column} {} {setting}", visit.context);
        Ok(estimate(&run.frame.by_launch(visit, column)?, run.resampling, &purpose))
    };
    let plain = |column: &str| -> Result<Option<f64>> {
        let mut values: Vec<f64> = run.frame.by_launch(visit, column)?.concat();
        Ok(median(&mut values))
    };
    (cell.ttft_s, draws.ttft) = split(median_of(frame::TTFT)?);
    (cell.prefill_tps, draws.prefill) = split(median_of(frame::PREFILL)?);
    (cell.decode_tps, draws.decode) = split(median_of(frame::DECODE)?);
    (cell.engine_decode_tps, _) = split(median_of(frame::ENGINE_DECODE)?);
    cell.itl_p50_s = plain(frame::ITL_P50)?;
    cell.itl_p95_s = plain(frame::ITL_P95)?;
    cell.itl_max_s = run.frame.largest(visit, frame::ITL_MAX)?;
    let drafted = run.frame.total(visit, frame::DRAFTED)?.filter(|tokens| *tokens > 0.0);
    let accepted = run.frame.total(visit, frame::ACCEPTED)?;
    cell.draft_acceptance = accepted.zip(drafted).map(|(accepted, drafted)| accepted / drafted);
    Ok(())
}

fn split(found: Option<(Estimate, Vec<Draw>)>) -> (Option<Estimate>, Vec<Draw>) {
    found.map_or((None, Vec::new()), |(estimate, draws)| (Some(estimate), draws))
}

/// Median over all trials, grouped by visit, with its interval and draws.
pub(crate) fn estimate(
    visits: &[Vec<f64>],
    resampling: Resampling,
    purpose: &str,
) -> Option<(Estimate, Vec<Draw>)> {
    let mut all = visits.concat();
    let value = median(&mut all)?;
    let draws = nested_median_draws(visits, resampling.draws, &mut rng(resampling.seed, purpose));
    let interval = percentile_interval(draws.iter().copied(), resampling.confidence);
    let interval = interval.filter(|_| all.len() >= MIN_TRIALS);
    let estimate = Estimate {
        value,
        low: interval.map(|(low, _)| low),
        high: interval.map(|(_, high)| high),
        n: all.len() as u32,
    };
    Some((estimate, draws.into_iter().map(Some).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const RESAMPLING: Resampling = Resampling { seed: 1, draws: 500, confidence: 0.95 };

    #[test]
    fn two_trials_have_no_interval() {
        let (estimate, draws) = estimate(&[vec![10.0, 12.0]], RESAMPLING, "t").unwrap();
        assert_eq!((estimate.value, estimate.low, estimate.n), (11.0, None, 2));
        assert_eq!(draws.len(), 500);
        assert!(super::estimate(&[], RESAMPLING, "t").is_none());
    }

    #[test]
    fn an_outlier_does_not_move_the_median() {
        let steady = vec![10.0, 10.1, 9.9, 10.0, 10.2, 9.8, 10.0, 10.1];
        let mut visits = [steady.clone(), steady.clone(), steady];
        visits[1][0] = 0.1;
        let (estimate, _) = estimate(&visits, RESAMPLING, "t").unwrap();
        assert_eq!(estimate.value, 10.0);
        assert!(estimate.low.unwrap() > 5.0 && estimate.high.unwrap() < 10.3, "{estimate:?}");
    }
}
