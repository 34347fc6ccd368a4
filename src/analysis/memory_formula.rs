//! The memory of a setting at any context length: weights + KV cache + compute buffers + the rest of the
//! server, checked against the cells that were measured.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::frame::Visit;
use super::summary::{CellSummary, MemoryFit, MemorySummary, ModelInfo};
use super::{Run, memory};
use crate::error::Result;
use crate::journal::LaunchRecord;
use crate::model::kv::{DEFAULT_UBATCH, KvUse};
use crate::suite::Setting;

/// Engines whose cache the formula describes.
const LLAMA_FAMILY: &[&str] = &["llama.cpp", "ik_llama", "ik_llama.cpp"];

/// Memory by formula at one context length, and how well the formula does where memory was measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct MemoryPrediction {
    /// Context length (tokens).
    pub context: u32,
    /// Weights: the model buffers as the engine reports them, else the size of the file (bytes).
    pub weights_bytes: u64,
    /// KV cache (bytes); `None` when it is not known how it grows.
    pub kv_bytes: Option<u64>,
    /// Compute buffers (bytes), by the straight line through the measured ones; `None`: not reported.
    pub compute_bytes: Option<u64>,
    /// What else the server takes (bytes): the largest excess of a measured peak over the three parts above.
    pub other_bytes: Option<i64>,
    /// All together (bytes); `None` when a part is not known.
    pub total_bytes: Option<u64>,
    /// The measured cells.
    pub checks: Vec<MemoryCheck>,
    /// What the figures rest on, and what is not known.
    pub notes: Vec<String>,
}

/// The formula against one measured cell.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct MemoryCheck {
    /// Context length (tokens).
    pub context: u32,
    /// KV cache as the engine reports it (bytes, with the rounding of its log).
    pub kv_reported_bytes: Option<u64>,
    /// KV cache by formula (bytes).
    pub kv_formula_bytes: Option<u64>,
    /// Measured peak (bytes).
    pub peak_bytes: Option<u64>,
    /// Weights, KV cache, compute buffers and the rest, by formula (bytes).
    pub formula_bytes: Option<u64>,
    /// Measured peak minus formula (bytes).
    pub residual_bytes: Option<i64>,
}

/// One measured cell of the setting.
struct Point {
    context: u32,
    measured: MemorySummary,
}

/// What is known of a setting's memory.
pub(crate) struct MemoryFormula<'a> {
    setting: &'a Setting,
    model: Option<&'a ModelInfo>,
    points: Vec<Point>,
    /// Tokens computed at once, and whether windowed layers keep the whole context, as the servers were told.
    ubatch: u64,
    full_window: bool,
}

impl<'a> MemoryFormula<'a> {
    /// Gathers what the journal knows.
    pub(crate) fn of(run: &Run<'a>, setting: &'a Setting) -> Result<Self> {
        let mut points = Vec::new();
        for &context in &run.suite.contexts {
            let visit = Visit { setting: &setting.label, context, replicate: 0 };
            points.push(Point { context, measured: memory::measure(run, visit)? });
        }
        Ok(Self::through(run, setting, points))
    }

    /// From the memory of the setting's cells; those that do not count are left out.
    fn through(run: &Run<'a>, setting: &'a Setting, mut points: Vec<Point>) -> Self {
        points.retain(|Point { context, measured }| {
            let is_void = run.void.contains_key(&(setting.label.as_str(), *context));
            !is_void && (measured.peak_bytes.is_some() || measured.kv_bytes.is_some())
        });
        let models = &run.journal.header.models;
        let model = models.iter().find(|m| m.name == setting.model && m.weights == setting.weights);
        let launch = run.journal.launches.iter().find(|launch| launch.setting == setting.label);
        let has = |flag: &str| launch.is_some_and(|launch| launch.argv.args.iter().any(|arg| arg == flag));
        let ubatch = launch.and_then(|launch| number_after(launch, &["-ub", "--ubatch-size"]));
        Self {
            setting,
            model,
            points,
            ubatch: ubatch.unwrap_or(DEFAULT_UBATCH),
            full_window: has("--swa-full"),
        }
    }

    /// Memory at a context length (tokens).
    pub(crate) fn at(&self, context: u32) -> MemoryPrediction {
        let mut notes = Vec::new();
        let weights_bytes = self.weights(&mut notes);
        let kv_bytes = self.kv(context, &mut notes);
        let compute_bytes = self.compute(context, &mut notes);
        let parts = |context| self.parts(weights_bytes, context);
        let excess = |point: &Point| Some(difference(point.measured.peak_bytes?, parts(point.context)?));
        let other_bytes = self.points.iter().filter_map(excess).max();
        if other_bytes.is_none() {
            notes.push("no cell of this setting has a measured peak: what the server takes beside its buffers is left out".into());
        }
        let total = |context| add_signed(parts(context)?, other_bytes.unwrap_or_default());
        let checks = self.points.iter().map(|point| self.check(point, total(point.context))).collect();
        MemoryPrediction {
            context,
            weights_bytes,
            kv_bytes,
            compute_bytes,
            other_bytes,
            total_bytes: total(context),
            checks,
            notes,
        }
    }

    fn check(&self, point: &Point, formula_bytes: Option<u64>) -> MemoryCheck {
        let peak_bytes = point.measured.peak_bytes;
        MemoryCheck {
            context: point.context,
            kv_reported_bytes: point.measured.kv_bytes,
            kv_formula_bytes: self.kv_formula(point.context).ok(),
            peak_bytes,
            formula_bytes,
            residual_bytes: peak_bytes.zip(formula_bytes).map(|(peak, formula)| difference(peak, formula)),
        }
    }

    /// Weights, KV cache and compute buffers.
    fn parts(&self, weights: u64, context: u32) -> Option<u64> {
        let silent = &mut Vec::new();
        let kv = self.kv(context, silent)?;
        Some(weights.saturating_add(kv).saturating_add(self.compute(context, silent).unwrap_or_default()))
    }

    fn weights(&self, notes: &mut Vec<String>) -> u64 {
        let reported = self.points.iter().filter_map(|point| point.measured.model_bytes).max();
        let file = self.model.map(|model| model.bytes);
        if reported.is_none() {
            notes.push("weights: the size of the file; the engine does not report its buffers".into());
        }
        reported.or(file).unwrap_or_default()
    }

    fn kv_formula(&self, context: u32) -> Result<u64, String> {
        if !LLAMA_FAMILY.contains(&self.setting.engine.as_str()) {
            return Err(format!("{} does not allocate as llama.cpp does", self.setting.engine));
        }
        let model = self.model.ok_or("the journal does not hold the model file")?;
        let unknown = || model.kv_unknown.clone().unwrap_or("the journal holds no metadata of it".into());
        let shape = model.kv.as_ref().ok_or_else(unknown)?;
        let (k, v) = (self.setting.k.as_str(), self.setting.v.as_str());
        let usage = KvUse { ubatch: self.ubatch, full_window: self.full_window, ..KvUse::new(context, k, v) };
        shape.bytes(usage).map(|bytes| bytes.total()).map_err(|error| error.to_string())
    }

    /// By the metadata; without, by the straight line through what the engine reports.
    fn kv(&self, context: u32, notes: &mut Vec<String>) -> Option<u64> {
        match self.kv_formula(context) {
            Ok(bytes) => Some(bytes),
            Err(reason) => {
                let reported = self.series(|measured| measured.kv_bytes);
                let line = Line::through(&reported, true)?;
                notes.push(format!(
                    "KV cache: along the {} that the engine reports, not by the model's metadata ({reason})",
                    count(reported.len(), "figure")
                ));
                line.at(context)
            }
        }
    }

    fn compute(&self, context: u32, notes: &mut Vec<String>) -> Option<u64> {
        let reported = self.series(|measured| measured.compute_bytes);
        match reported.len() {
            0 => notes
                .push("compute buffers: the engine does not report them; they are within the rest".into()),
            1 => notes.push("compute buffers: as at the one context length measured; they may grow".into()),
            _ => {}
        }
        Line::through(&reported, false)?.at(context)
    }

    fn series(&self, of: impl Fn(&MemorySummary) -> Option<u64>) -> Vec<(f64, f64)> {
        let points = self.points.iter();
        points.filter_map(|point| Some((f64::from(point.context), of(&point.measured)? as f64))).collect()
    }
}

/// The formula against the measured cells, for every setting whose model's cache is known.
pub(crate) fn fits(run: &Run<'_>, cells: &[CellSummary]) -> Vec<MemoryFit> {
    run.suite.settings.iter().filter_map(|setting| fit(run, setting, cells)).collect()
}

fn fit(run: &Run<'_>, setting: &Setting, cells: &[CellSummary]) -> Option<MemoryFit> {
    let own = cells.iter().filter(|cell| cell.setting == setting.label);
    let points = own.map(|cell| Point { context: cell.context, measured: cell.memory.clone() }).collect();
    let formula = MemoryFormula::through(run, setting, points);
    let last = formula.points.last()?.context;
    formula.kv_formula(last).ok()?;
    let MemoryPrediction { other_bytes, checks, .. } = formula.at(last);
    Some(MemoryFit { setting: setting.label.clone(), other_bytes, checks })
}

/// A straight line by least squares.
struct Line {
    start: f64,
    slope: f64,
}

impl Line {
    /// Through the points; through the origin if there is but one and `from_zero`, else level.
    fn through(points: &[(f64, f64)], from_zero: bool) -> Option<Self> {
        let n = points.len() as f64;
        let &(first_x, first_y) = points.first()?;
        let (mean_x, mean_y) = (sum(points, |p| p.0) / n, sum(points, |p| p.1) / n);
        let spread = sum(points, |p| (p.0 - mean_x).powi(2));
        if spread == 0.0 {
            let slope = if from_zero { first_y / first_x } else { 0.0 };
            return Some(Self { start: if from_zero { 0.0 } else { mean_y }, slope });
        }
        let slope = sum(points, |p| (p.0 - mean_x) * (p.1 - mean_y)) / spread;
        Some(Self { start: mean_y - slope * mean_x, slope })
    }

    fn at(&self, context: u32) -> Option<u64> {
        let value = self.start + self.slope * f64::from(context);
        value.is_finite().then(|| value.max(0.0).round() as u64)
    }
}

fn sum(points: &[(f64, f64)], of: impl Fn(&(f64, f64)) -> f64) -> f64 {
    points.iter().map(of).sum()
}

fn difference(a: u64, b: u64) -> i64 {
    i64::try_from(i128::from(a) - i128::from(b)).unwrap_or(i64::MAX)
}

fn add_signed(bytes: u64, change: i64) -> Option<u64> {
    bytes.checked_add_signed(change)
}

fn count(n: usize, what: &str) -> String {
    if n == 1 { format!("1 {what}") } else { format!("{n} {what}s") }
}

/// The number behind one of the flags in a server's command line.
fn number_after(launch: &LaunchRecord, flags: &[&str]) -> Option<u64> {
    let mut args = launch.argv.args.iter();
    args.find(|arg| flags.contains(&arg.as_str()))?;
    args.next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_meet_their_points() {
        let line = Line::through(&[(512.0, 100.0), (1024.0, 200.0), (2048.0, 400.0)], false).unwrap();
        assert_eq!(line.at(4096), Some(800));
        assert_eq!(Line::through(&[(512.0, 100.0)], true).unwrap().at(1024), Some(200));
        assert_eq!(Line::through(&[(512.0, 100.0)], false).unwrap().at(1024), Some(100));
        assert!(Line::through(&[], true).is_none());
        assert_eq!(
            Line::through(&[(10.0, 100.0), (20.0, 10.0)], false).unwrap().at(100),
            Some(0),
            "not below 0"
        );
    }
}
