//! A suite over many nights: the course of its endpoints, and where their level changed beyond the noise.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::stats::{change_points, rng};
use super::summary::{CellSummary, Estimate, Summary};

/// A series without any change shows one with at most this probability. With so many series a night, 5% would cry
/// wolf; at 1% a change shows after five nights once ten came before it.
pub const LEVEL: f64 = 0.01;

/// Random orders that a series is compared with.
const PERMUTATIONS: u32 = 1999;

/// One endpoint over the runs of a suite, oldest first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Trend {
    /// Suite name.
    pub suite: String,
    /// Setting label; `None` for the front's volume.
    pub setting: Option<String>,
    /// Context length (tokens).
    pub context: u32,
    /// `quality` (0..1), `decode_tps`, `prefill_tps`, `ttft_s`, `energy_j`, `peak_bytes` or `front_volume`.
    pub metric: String,
    /// The runs that have it.
    pub points: Vec<TrendPoint>,
    /// Changes of level beyond the noise between and within runs.
    pub changes: Vec<TrendChange>,
}

/// An endpoint in one run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TrendPoint {
    /// Name of the run folder.
    pub run: String,
    /// Start of the run (UTC, RFC 3339).
    pub started: String,
    /// Fingerprint of the run: another one means another suite, engine, model or task version.
    pub fingerprint: String,
    /// The figure.
    pub figure: Estimate,
}

/// A change of level.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TrendChange {
    /// First run of the new level.
    pub run: String,
    /// Mean before.
    pub before: f64,
    /// Mean since.
    pub after: f64,
    /// How often a series without change looks as changed (0..1).
    pub p_value: f64,
    /// Whether the fingerprint changed with this run.
    pub new_set_up: bool,
}

/// The course of every endpoint of every suite; runs in order of their start.
pub fn trends(runs: &[Summary]) -> Vec<Trend> {
    let mut ordered: Vec<&Summary> = runs.iter().collect();
    ordered.sort_by(|a, b| (&a.started, &a.run).cmp(&(&b.started, &b.run)));
    type Key = (String, u32, Option<String>, &'static str);
    let mut series: BTreeMap<Key, Vec<TrendPoint>> = BTreeMap::new();
    for run in ordered {
        for (context, setting, metric, figure) in endpoints(run) {
            let point = TrendPoint {
                run: run.run.clone(),
                started: run.started.clone(),
                fingerprint: run.fingerprint.clone(),
                figure,
            };
            series.entry((run.suite.clone(), context, setting, metric)).or_default().push(point);
        }
    }
    let trend = |((suite, context, setting, metric), points): (Key, Vec<TrendPoint>)| {
        let changes = changes(&points);
        Trend { suite, setting, context, metric: metric.into(), points, changes }
    };
    series.into_iter().map(trend).collect()
}

fn endpoints(run: &Summary) -> Vec<(u32, Option<String>, &'static str, Estimate)> {
    let mut all = Vec::new();
    for cell in run.cells.iter().filter(|cell| cell.void.is_none()) {
        let figures = figures(cell).into_iter();
        let present = figures.filter_map(|(metric, figure)| Some((metric, figure?)));
        all.extend(
            present.map(|(metric, figure)| (cell.context, Some(cell.setting.clone()), metric, figure)),
        );
    }
    for front in &run.fronts {
        all.extend(front.hypervolume.map(|volume| (front.context, None, "front_volume", volume)));
    }
    all
}

fn figures(cell: &CellSummary) -> [(&'static str, Option<Estimate>); 6] {
    let exact = |bytes: u64| {
        let value = bytes as f64;
        Estimate { value, low: None, high: None, n: 1 }
    };
    [
        ("quality", cell.quality),
        ("decode_tps", cell.decode_tps),
        ("prefill_tps", cell.prefill_tps),
        ("ttft_s", cell.ttft_s),
        ("energy_j", cell.energy.as_ref().map(|energy| energy.per_request_j)),
        ("peak_bytes", cell.memory.peak_bytes.map(exact)),
    ]
}

/// Changes that random order does not explain, and that are larger than what the runs' own intervals leave open.
fn changes(points: &[TrendPoint]) -> Vec<TrendChange> {
    let values: Vec<f64> = points.iter().map(|point| point.figure.value).collect();
    let purpose = points.first().map_or("", |point| point.run.as_str());
    let found = change_points(&values, LEVEL, PERMUTATIONS, &mut rng(1, purpose));
    let starts: Vec<usize> = found.iter().map(|change| change.at).collect();
    let segment = |number: usize| {
        let start = number.checked_sub(1).map_or(0, |before| starts[before]);
        &points[start..starts.get(number).copied().unwrap_or(points.len())]
    };
    let beyond = |number: usize, step: f64| {
        let noise = half_width(segment(number)).hypot(half_width(segment(number + 1)));
        step.abs() > noise
    };
    found
        .iter()
        .enumerate()
        .filter(|(number, change)| beyond(*number, change.after - change.before))
        .map(|(_, change)| TrendChange {
            run: points[change.at].run.clone(),
            before: change.before,
            after: change.after,
            p_value: change.p_value,
            new_set_up: points[change.at].fingerprint != points[change.at - 1].fingerprint,
        })
        .collect()
}

/// Half the width of the interval of a segment's mean, from the runs' own intervals.
fn half_width(segment: &[TrendPoint]) -> f64 {
    let width =
        |point: &TrendPoint| point.figure.high.zip(point.figure.low).map_or(0.0, |(high, low)| high - low);
    let squares: f64 = segment.iter().map(|point| (width(point) / 2.0).powi(2)).sum();
    squares.sqrt() / segment.len().max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::super::testing;
    use super::*;

    fn nights(values: &[f64], half_width: f64) -> Vec<Summary> {
        let night = |(number, value): (usize, &f64)| {
            let mut summary = testing::summary();
            summary.run = format!("night-{number:02}");
            summary.started = format!("2026-01-{:02}T00:00:00Z", number + 1);
            summary.fingerprint = if number < 10 { "old".into() } else { "new".into() };
            let mut cell = testing::cell("quick", 512);
            let (low, high) = (Some(value - half_width), Some(value + half_width));
            cell.quality = Some(Estimate { value: *value, low, high, n: 100 });
            summary.cells = vec![cell];
            summary
        };
        values.iter().enumerate().map(night).collect()
    }

    const STEP: [f64; 16] =
        [0.80, 0.81, 0.79, 0.80, 0.82, 0.81, 0.80, 0.79, 0.81, 0.80, 0.70, 0.71, 0.69, 0.70, 0.72, 0.68];

    #[test]
    fn a_step_is_marked_with_what_changed() {
        let mut runs = nights(&STEP, 0.02);
        runs.reverse();
        let trends = trends(&runs);
        assert_eq!(trends.len(), 1);
        assert_eq!(trends[0].points.first().map(|point| point.run.as_str()), Some("night-00"));
        let [change] = trends[0].changes.as_slice() else { panic!("{:?}", trends[0].changes) };
        assert_eq!((change.run.as_str(), change.new_set_up), ("night-10", true));
        assert!(change.p_value <= LEVEL && change.after < change.before);
    }

    #[test]
    fn a_step_within_the_runs_own_intervals_is_not_marked() {
        assert!(trends(&nights(&STEP, 0.4))[0].changes.is_empty());
    }

    #[test]
    fn few_nights_show_no_change() {
        assert!(trends(&nights(&STEP[7..13], 0.0))[0].changes.is_empty());
        assert!(trends(&[]).is_empty());
    }
}
