//! A suite over many nights: the course of its endpoints, and where their level changed beyond the noise.
//!
//! A series is one endpoint of one setting on one machine: machines are never mixed, whatever their runs are called.

use std::collections::BTreeMap;

#[cfg(test)]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::LEAKED;
use super::summary::{CellSummary, Estimate, START_NOISE, Summary};
use crate::judge::stats::{Change, Course, Night, change_points, clopper_pearson, evidence_of_change, rng};

mod set_up;

pub use set_up::machine_name;

/// A suite whose levels all stay shows any change with at most this probability (0..1), however many series it has; where
/// some change, at most this share of those that are marked did not (Benjamini and Hochberg 1995).
pub const LEVEL: f64 = 0.05;

/// One endpoint over the runs of a suite on one machine, oldest first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct Trend {
    /// Suite name.
    pub suite: String,
    /// The machine, in words.
    #[serde(default)]
    pub machine: String,
    /// Setting label; `None` for the front's volume.
    pub setting: Option<String>,
    /// Context length (tokens).
    pub context: u32,
    /// `quality` (0..1), `kld` (nat), `decode_tps`, `prefill_tps`, `ttft_s`, `energy_j`, `peak_bytes`, `leaked` (share
    /// of the replies of tool tasks, 0..1), `failed` (share of the trials, 0..1) or `front_volume`.
    pub metric: String,
    /// The runs that have it.
    pub points: Vec<TrendPoint>,
    /// Changes of level beyond the noise between and within runs.
    pub changes: Vec<TrendChange>,
    /// It moves along a straight line rather than from level to level: no night is to blame.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drift: Option<TrendDrift>,
}

/// An endpoint in one run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
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
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct TrendChange {
    /// First run of the new level: the most likely one.
    pub run: String,
    /// The run before it.
    #[serde(default)]
    pub previous: String,
    /// Every run that may be the first of the new level (95%); more than one: the date is not clear.
    #[serde(default)]
    pub candidates: Vec<String>,
    /// Mean before.
    pub before: f64,
    /// Mean since.
    pub after: f64,
    /// How often a series without change looks as changed (0..1).
    pub p_value: f64,
    /// Whether anything else changed between `previous` and `run`; never where the date is not clear.
    pub new_set_up: bool,
    /// What: engine, model file, suite, kneepoint, operating system, driver.
    #[serde(default)]
    pub changed: Vec<String>,
}

/// A series that moves along a line.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct TrendDrift {
    /// The line at the first run.
    pub first: f64,
    /// The line at the last run.
    pub last: f64,
}

/// What makes runs one series: suite, machine, context length, setting, metric.
type Key = (String, String, u32, Option<String>, &'static str);

/// The course of every endpoint of every suite on every machine; runs in order of their start.
pub fn trends(runs: &[Summary]) -> Vec<Trend> {
    let mut ordered: Vec<&Summary> = runs.iter().collect();
    ordered.sort_by(|a, b| (&a.started, &a.run).cmp(&(&b.started, &b.run)));
    let mut series: BTreeMap<Key, Vec<(&Summary, Estimate)>> = BTreeMap::new();
    for run in ordered {
        let machine = machine_name(&run.machine, &run.engines);
        for (context, setting, metric, figure) in endpoints(run) {
            let key = (run.suite.clone(), machine.clone(), context, setting, metric);
            series.entry(key).or_default().push((run, figure));
        }
    }
    let series: Vec<Series<'_>> = series.into_iter().map(|(key, points)| Series::new(key, points)).collect();
    series.iter().map(|one| one.trend(level_for(one, &series))).collect()
}

/// At which level a series is looked at: the largest at which so many series of its suite and machine are expected to be
/// marked that at most a share of [`LEVEL`] of them are false.
fn level_for(one: &Series<'_>, all: &[Series<'_>]) -> f64 {
    let family = all.iter().filter(|other| (&other.key.0, &other.key.1) == (&one.key.0, &one.key.1));
    let mut evidence: Vec<f64> = family.filter_map(|other| other.evidence).collect();
    evidence.sort_by(f64::total_cmp);
    let count = evidence.len().max(1) as f64;
    let at = |number: usize| LEVEL * (number + 1) as f64 / count;
    let last = (0..evidence.len()).rev().find(|number| evidence[*number] <= at(*number));
    at(last.unwrap_or(0))
}

/// The nights of one endpoint.
struct Series<'r> {
    key: Key,
    points: Vec<(&'r Summary, Estimate)>,
    nights: Vec<Night>,
    /// How often a series without change looks as changed (0..1).
    evidence: Option<f64>,
}

impl<'r> Series<'r> {
    fn new(key: Key, points: Vec<(&'r Summary, Estimate)>) -> Self {
        let nights: Vec<Night> = points.iter().map(|(_, figure)| night(key.4, figure)).collect();
        let evidence = evidence_of_change(&nights, &mut rng(1, &purpose(&key)));
        Self { key, points, nights, evidence }
    }

    fn trend(&self, level: f64) -> Trend {
        let (suite, machine, context, setting, metric) = self.key.clone();
        let changed = self.evidence.is_some_and(|evidence| evidence <= level);
        let course = match changed {
            true => change_points(&self.nights, level, &mut rng(2, &purpose(&self.key))),
            false => Course::default(),
        };
        let point = |(run, figure): &(&Summary, Estimate)| TrendPoint {
            run: run.run.clone(),
            started: run.started.clone(),
            fingerprint: run.fingerprint.clone(),
            figure: *figure,
        };
        Trend {
            suite,
            machine,
            setting,
            context,
            metric: metric.into(),
            points: self.points.iter().map(point).collect(),
            changes: course.changes.iter().map(|change| described(change, &self.points)).collect(),
            drift: course.drift.map(|(first, last)| TrendDrift { first, last }),
        }
    }
}

/// Its own random orders for every series.
fn purpose((suite, machine, context, setting, metric): &Key) -> String {
    format!("trend {suite} {machine} {context} {} {metric}", setting.as_deref().unwrap_or_default())
}

/// Only what changed between the two nights around a clear date can be to blame.
fn described(change: &Change, points: &[(&Summary, Estimate)]) -> TrendChange {
    let (run, previous) = (points[change.at].0, points[change.at - 1].0);
    let clear = change.candidates.len() == 1;
    let changed = if clear { set_up::changed(previous, run) } else { Vec::new() };
    TrendChange {
        run: run.run.clone(),
        previous: previous.run.clone(),
        candidates: change.candidates.iter().map(|&at| points[at].0.run.clone()).collect(),
        before: change.before,
        after: change.after,
        p_value: change.p_value,
        new_set_up: !changed.is_empty(),
        changed,
    }
}

fn night(metric: &str, figure: &Estimate) -> Night {
    let own = figure.high.zip(figure.low).map_or(0.0, |(high, low)| (high - low) / 2.0);
    let half_width = if metric == "peak_bytes" { figure.value.abs() * START_NOISE } else { own };
    Night { value: figure.value, half_width }
}

fn endpoints(run: &Summary) -> Vec<(u32, Option<String>, &'static str, Estimate)> {
    let mut all = Vec::new();
    for cell in run.cells.iter().filter(|cell| cell.void.is_none()) {
        let figures = figures(run, cell).into_iter();
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

fn figures(run: &Summary, cell: &CellSummary) -> [(&'static str, Option<Estimate>); 9] {
    let exact = |bytes: u64| {
        let value = bytes as f64;
        Estimate { value, low: None, high: None, n: 1 }
    };
    // The reference's distance from itself is no figure.
    let compared = cell.kld.as_ref().filter(|_| cell.setting != run.reference);
    [
        ("quality", cell.quality),
        ("kld", compared.map(|kld| kld.mean)),
        ("decode_tps", cell.decode_tps),
        ("prefill_tps", cell.prefill_tps),
        ("ttft_s", cell.ttft_s),
        ("energy_j", cell.energy.as_ref().map(|energy| energy.per_request_j)),
        ("peak_bytes", cell.memory.peak_bytes.map(exact)),
        ("leaked", leaked(run, cell)),
        ("failed", share(cell.failed, cell.scored + cell.unscored + cell.failed, run.confidence)),
    ]
}

/// The share of a cell's scored replies to tool tasks whose calls stand in the text; `None` without tool tasks.
fn leaked(run: &Summary, cell: &CellSummary) -> Option<Estimate> {
    let here = |row: &&super::summary::TaskRow| {
        row.setting == cell.setting
            && row.context == cell.context
            && (row.arm.is_some() || row.labels.contains_key(LEAKED))
    };
    let rows = run.tasks.iter().filter(here);
    let (hits, all) = rows.fold((0, 0), |(hits, all), row| {
        (hits + row.labels.get(LEAKED).copied().unwrap_or_default(), all + row.scored)
    });
    share(hits, all, run.confidence)
}

/// A share with Clopper and Pearson's interval.
fn share(hits: u32, all: u32, confidence: f64) -> Option<Estimate> {
    let (low, high) = clopper_pearson(hits, all, confidence)?;
    Some(Estimate { value: f64::from(hits) / f64::from(all), low: Some(low), high: Some(high), n: all })
}

#[cfg(test)]
mod tests {
    use super::super::summary::{KldSummary, TaskRow};
    use super::super::testing;
    use super::*;
    use crate::record::{Arm, EngineInfo};

    fn nights(values: &[f64], half_width: f64) -> Vec<Summary> {
        let night = |(number, value): (usize, &f64)| {
            let mut summary = testing::summary();
            summary.run = format!("night-{number:02}");
            summary.started = format!("2026-01-{:02}T00:00:00Z", number + 1);
            summary.fingerprint = if number < 10 { "old".into() } else { "new".into() };
            let version = if number < 10 { "b1" } else { "b2" };
            summary.engines = vec![EngineInfo {
                name: "llama.cpp".into(),
                version: version.into(),
                origin: "PATH".into(),
                sha256: None,
                placement: None,
            }];
            let mut cell = testing::cell("quick", 512);
            let (low, high) = (Some(value - half_width), Some(value + half_width));
            cell.quality = Some(Estimate { value: *value, low, high, n: 100 });
            summary.cells = vec![cell];
            summary
        };
        values.iter().enumerate().map(night).collect()
    }

    fn of<'t>(trends: &'t [Trend], metric: &str) -> &'t Trend {
        trends.iter().find(|trend| trend.metric == metric).unwrap()
    }

    const STEP: [f64; 16] =
        [0.80, 0.81, 0.79, 0.80, 0.82, 0.81, 0.80, 0.79, 0.81, 0.80, 0.70, 0.71, 0.69, 0.70, 0.72, 0.68];

    #[test]
    fn a_step_is_marked_with_what_changed_between_its_two_nights() {
        let mut runs = nights(&STEP, 0.02);
        // Other changes on other nights are not to blame.
        runs[4].machine.os = "Linux 6.1".into();
        runs[13].tool_version = "0.2.0".into();
        runs.reverse();
        let trends = trends(&runs);
        let quality = of(&trends, "quality");
        assert_eq!(quality.points.first().map(|point| point.run.as_str()), Some("night-00"));
        let [change] = quality.changes.as_slice() else { panic!("{:?}", quality.changes) };
        assert_eq!((change.previous.as_str(), change.run.as_str()), ("night-09", "night-10"));
        assert_eq!(change.candidates, ["night-10"]);
        assert_eq!(
            (change.new_set_up, &*change.changed),
            (true, ["engine llama.cpp: b1 -> b2".to_owned()].as_slice())
        );
        assert!(change.p_value <= LEVEL && change.after < change.before);
    }

    #[test]
    fn a_step_two_nights_after_another_set_up_does_not_blame_it() {
        let mut late = STEP;
        (late[10], late[11]) = (0.80, 0.79);
        let trends = trends(&nights(&late, 0.02));
        let [change] = of(&trends, "quality").changes.as_slice() else { panic!("{trends:?}") };
        assert_eq!((change.run.as_str(), change.new_set_up), ("night-12", false));
    }

    #[test]
    fn an_unclear_date_is_a_set_of_nights_and_blames_nothing() {
        let unclear = [
            0.81, 0.79, 0.80, 0.82, 0.785, 0.81, 0.80, 0.79, 0.815, 0.79, 0.785, 0.77, 0.765, 0.77, 0.775,
            0.76,
        ];
        let trends = trends(&nights(&unclear, 0.02));
        let [change] = of(&trends, "quality").changes.as_slice() else { panic!("{trends:?}") };
        assert!(change.candidates.len() > 1, "{change:?}");
        assert!(!change.new_set_up && change.changed.is_empty(), "{change:?}");
    }

    #[test]
    fn a_step_within_the_runs_own_intervals_is_not_marked() {
        assert!(of(&trends(&nights(&STEP, 0.4)), "quality").changes.is_empty());
    }

    #[test]
    fn few_nights_show_no_change() {
        assert!(of(&trends(&nights(&STEP[7..13], 0.0)), "quality").changes.is_empty());
        assert!(trends(&[]).is_empty());
    }

    #[test]
    fn machines_are_never_mixed_under_one_suite_name() {
        let mut runs = nights(&STEP, 0.02);
        for run in &mut runs[10..] {
            run.machine.cpu = "another".into();
        }
        let trends = trends(&runs);
        let machines: Vec<(&str, usize)> = trends
            .iter()
            .filter(|trend| trend.metric == "quality")
            .map(|trend| (trend.machine.as_str(), trend.points.len()))
            .collect();
        assert_eq!(machines, [("another", 6), ("unknown processor", 10)]);
        assert!(trends.iter().all(|trend| trend.changes.is_empty()), "another machine is no change of level");
    }

    #[test]
    fn kld_leaks_and_failures_have_a_trend() {
        let mut runs = nights(&STEP, 0.02);
        for (number, run) in runs.iter_mut().enumerate() {
            let value = if number < 10 { 0.002 } else { 0.02 };
            let mean = Estimate { value, low: Some(value * 0.8), high: Some(value * 1.2), n: 4 };
            run.cells[0].kld = Some(KldSummary {
                mean,
                median: value,
                p99: value,
                p999: value,
                rms_delta_p: 0.0,
                top1_agreement: 1.0,
                perplexity: 10.0,
                positions: 200,
                outside: 0,
                unlisted: None,
            });
            (run.cells[0].scored, run.cells[0].failed) = (97, 3);
            run.tasks = vec![TaskRow {
                task: "tools/arguments".into(),
                arm: Some(Arm::Prompted),
                setting: "quick".into(),
                context: 512,
                sanity: false,
                quality: None,
                difference: None,
                server_s: 0.0,
                shown_after_s: None,
                uninformative: false,
                labels: BTreeMap::from([(LEAKED.to_owned(), 5)]),
                scored: 20,
                unscored: BTreeMap::new(),
                failed: 0,
            }];
        }
        let trends = trends(&runs);
        let dates: Vec<&str> = of(&trends, "kld").changes.iter().map(|change| change.run.as_str()).collect();
        assert_eq!(dates, ["night-10"]);
        assert_eq!(of(&trends, "leaked").points[0].figure.value, 0.25);
        assert_eq!(of(&trends, "failed").points[0].figure.value, 0.03);
    }

    #[test]
    fn memory_within_a_hundredth_is_no_change() {
        let peaks = |step: f64| -> Vec<Summary> {
            let mut runs = nights(&[0.8; 16], 0.02);
            for (number, run) in runs.iter_mut().enumerate() {
                let bytes = if number < 10 { 1e9 } else { 1e9 * step };
                run.cells[0].memory.peak_bytes = Some(bytes as u64 + number as u64);
            }
            runs
        };
        assert!(of(&trends(&peaks(1.002)), "peak_bytes").changes.is_empty());
        assert_eq!(of(&trends(&peaks(1.05)), "peak_bytes").changes.len(), 1);
    }
}
