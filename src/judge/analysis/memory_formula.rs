//! The memory of a setting at any context length: weights + KV cache + compute buffers + the rest of the
//! server, checked against the cells that were measured.

use super::frame::VisitKey;
use super::run::Run;
use super::summary::{
    CellSummary, MemoryCheck, MemoryFit, MemoryKind, MemoryPrediction, MemorySummary, agree,
};
use super::{memory, warnings, words};
use crate::error::Result;
use crate::record::ModelInfo;
use crate::record::journal::LaunchRecord;
use crate::record::kv::{DEFAULT_UBATCH, KvUse};
use crate::record::suite::Setting;

/// Engines whose cache the formula describes.
const LLAMA_FAMILY: &[&str] = &["llama.cpp", "ik_llama", "ik_llama.cpp"];

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
            let visit = VisitKey { setting: &setting.label, context, replicate: 0 };
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
        // Peaks of one kind of memory say nothing of another.
        let kind = points.iter().rev().find_map(|point| point.measured.peak_kind);
        for point in points.iter_mut().filter(|point| point.measured.peak_kind != kind) {
            point.measured.peak_bytes = None;
        }
        let launch = run.journal.launches.iter().find(|launch| launch.setting == setting.label);
        let has = |flag: &str| launch.is_some_and(|launch| launch.argv.args.iter().any(|arg| arg == flag));
        let ubatch = launch.and_then(|launch| number_after(launch, &["-ub", "--ubatch-size"]));
        Self {
            setting,
            model: run.model_of(setting),
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
        let excess = |point: &Point| Some(difference(alone(&point.measured)?, parts(point.context)?));
        let largest = self.points.iter().filter_map(excess).max();
        if largest.is_none() {
            notes.push("no cell of this setting has a measured peak: what the server takes beside its buffers is left out".into());
        }
        if self.points.iter().any(|point| warnings::is_shared(&point.measured)) {
            notes.push("other processes shared memory with it (another server of the same model file?), and its measured peaks are charged a part of that: the rest is by its resident size, as if it were alone".into());
        }
        let other_bytes = largest.map(|largest| largest.max(0));
        let overlap_bytes = largest.filter(|largest| *largest < 0).map(i64::unsigned_abs);
        if let Some(overlap) = overlap_bytes {
            notes.push(self.overlap(overlap));
        }
        let total = |context| parts(context)?.checked_add_signed(other_bytes.unwrap_or_default());
        let checks = self.points.iter().map(|point| self.check(point, total(point.context))).collect();
        MemoryPrediction {
            context,
            kind: self.kind(),
            weights_bytes,
            kv_bytes,
            compute_bytes,
            other_bytes,
            overlap_bytes,
            total_bytes: total(context),
            checks,
            notes,
        }
    }

    /// Which memory the measured peaks are of.
    fn kind(&self) -> Option<MemoryKind> {
        self.points.iter().find_map(|point| point.measured.peak_kind)
    }

    /// Why the parts are more than the peak.
    fn overlap(&self, bytes: u64) -> String {
        let shown = words::bytes(bytes);
        let least = self.points.iter().max_by_key(|point| point.context).map(|point| &point.measured);
        let why = match (self.kind(), least) {
            (Some(MemoryKind::Main), Some(measured)) => why_not_resident(measured, bytes),
            _ => "not in the memory that was measured".into(),
        };
        format!(
            "{shown} of the buffers were in no measured peak: {why}; the total is the most that it can be"
        )
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
        let is_ik = self.setting.engine != "llama.cpp";
        let model = self.model.ok_or("the journal does not hold the model file")?;
        let unknown = || model.kv_unknown.clone().unwrap_or("the journal holds no metadata of it".into());
        let shape = model.kv.as_ref().ok_or_else(unknown)?;
        let (k, v) = (self.setting.k.as_str(), self.setting.v.as_str());
        if is_ik && shape.is_latent() {
            return Err("how ik_llama.cpp keeps a compressed K and V depends on its options".into());
        }
        // ik_llama.cpp keeps the whole context in layers with a window, too.
        let full_window = self.full_window || is_ik;
        let usage = KvUse { ubatch: self.ubatch, full_window, ..KvUse::new(context, k, v) };
        shape.bytes(usage).map(|bytes| bytes.total()).map_err(|error| error.to_string())
    }

    /// KV cache in the memory of the peaks. What the engine reports is the rule where it was measured; elsewhere the
    /// formula, as far as it agrees with that.
    fn kv(&self, context: u32, notes: &mut Vec<String>) -> Option<u64> {
        let all = self.kv_all(context, notes)?;
        Some((all as f64 * self.kv_share()).round() as u64)
    }

    /// Share of the cache that is in the memory of the peaks (0..1): layers may be on a card or not.
    fn kv_share(&self) -> f64 {
        let told = self.points.iter().rev().find_map(|point| {
            let measured = &point.measured;
            Some((measured.kv_gpu_bytes? as f64) / (measured.kv_bytes.filter(|kv| *kv > 0)? as f64))
        });
        match (self.kind(), told.map(|share| share.clamp(0.0, 1.0))) {
            (Some(MemoryKind::Main), Some(on_cards)) => 1.0 - on_cards,
            (Some(MemoryKind::Gpu | MemoryKind::Cards), Some(on_cards)) => on_cards,
            _ => 1.0,
        }
    }

    fn kv_all(&self, context: u32, notes: &mut Vec<String>) -> Option<u64> {
        let here = self.points.iter().find(|point| point.context == context);
        if let Some(reported) = here.and_then(|point| point.measured.kv_bytes) {
            // A log rounds; a formula that agrees with it does not.
            let exact = self.kv_formula(context).ok().filter(|formula| agree(reported, *formula));
            return Some(exact.unwrap_or(reported));
        }
        if let Some(pool) = self.points.iter().find_map(|point| point.measured.pool) {
            notes.push("KV cache: what a token takes of the server's pool, times the tokens; what the server computes in is not counted".into());
            return Some(pool.at(context));
        }
        match self.kv_formula(context) {
            Ok(formula) => self.kv_corrected(context, formula, notes),
            Err(reason) => self.kv_line(context, &format!("not by the model's metadata ({reason})"), notes),
        }
    }

    /// The formula; where it disagrees with what the engine reports, in the proportion of the nearest cell, if that is
    /// the same in all cells.
    fn kv_corrected(&self, context: u32, formula: u64, notes: &mut Vec<String>) -> Option<u64> {
        let ratio = |point: &Point| {
            let formula = self.kv_formula(point.context).ok().filter(|formula| *formula > 0)?;
            Some((point.context, point.measured.kv_bytes?, formula))
        };
        let compared: Vec<(u32, u64, u64)> = self.points.iter().filter_map(ratio).collect();
        if compared.iter().all(|&(_, engine, formula)| agree(engine, formula)) {
            return Some(formula);
        }
        let &(at, engine, by_formula) = compared.iter().min_by_key(|(at, ..)| at.abs_diff(context))?;
        let factor = engine as f64 / by_formula as f64;
        let holds =
            |&(_, engine, formula): &(u32, u64, u64)| agree(engine, (formula as f64 * factor).round() as u64);
        if !compared.iter().all(holds) {
            return self.kv_line(
                context,
                "for the formula disagrees with the engine, and not in one proportion",
                notes,
            );
        }
        notes.push(format!(
            "KV cache: the formula's, times {factor:.2}, for at {at} tokens the engine reports {} where the formula has {}",
            words::bytes(engine),
            words::bytes(by_formula)
        ));
        Some((formula as f64 * factor).round() as u64)
    }

    /// By the straight line through what the engine reports.
    fn kv_line(&self, context: u32, why: &str, notes: &mut Vec<String>) -> Option<u64> {
        let reported = self.series(|measured| measured.kv_bytes);
        let Some(line) = Line::through(&reported, true) else {
            notes.push(format!("KV cache: not known, for the engine reports none; {why}"));
            return None;
        };
        notes.push(format!(
            "KV cache: along the {} that the engine reports, {why}",
            count(reported.len(), "figure")
        ));
        line.at(context)
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
    run.suite.measured().filter_map(|setting| fit(run, setting, cells)).collect()
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

/// The peak, as if the server were alone: of memory that others map, too, the proportional size counts a part. Three
/// servers of one model file are each charged a third of it.
fn alone(measured: &MemorySummary) -> Option<u64> {
    if warnings::is_shared(measured) { measured.peak_rss_bytes } else { measured.peak_bytes }
}

/// Why part of a server's buffers is not in its peak of main memory.
fn why_not_resident(measured: &MemorySummary, bytes: u64) -> String {
    let (mapped, read) = (measured.model_mapped_bytes, measured.peak_file_bytes);
    if let Some((mapped, read)) = mapped.zip(read).filter(|(mapped, read)| read < mapped) {
        return format!(
            "the weights are mapped from their file ({}), of which at most {} were read into memory",
            words::bytes(mapped),
            words::bytes(read)
        );
    }
    let shared =
        measured.peak_rss_bytes.zip(measured.peak_pss_bytes).map(|(all, own)| all.saturating_sub(own));
    match shared {
        Some(shared) if shared >= bytes / 2 => {
            "other processes share it (another server of the same model file?), and each is charged a part"
                .into()
        }
        _ => "the engine sets its buffers aside before it uses them, and these were never touched".into(),
    }
}

fn sum(points: &[(f64, f64)], of: impl Fn(&(f64, f64)) -> f64) -> f64 {
    points.iter().map(of).sum()
}

fn difference(a: u64, b: u64) -> i64 {
    i64::try_from(i128::from(a) - i128::from(b)).unwrap_or(i64::MAX)
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
    use crate::judge::analysis::testing;
    use crate::record::kv::{KvGroup, KvShape};
    use crate::record::suite::FlashAttention;

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

    const MIB: u64 = 1 << 20;

    fn setting() -> Setting {
        Setting {
            label: "Q4_K_M kv=f16".into(),
            engine: "llama.cpp".into(),
            model: "m".into(),
            weights: "Q4_K_M".into(),
            k: "f16".into(),
            v: "f16".into(),
            speculation: "off".into(),
            flash_attention: FlashAttention::On,
            draft: None,
            options: Default::default(),
            extra_args: Vec::new(),
            sampling: None,
        }
    }

    /// A model of 47 layers whose cache takes 2 KiB a token, layer and side in f16.
    fn model(layers: u32) -> ModelInfo {
        let group = KvGroup { layers, k_values: 1024, v_values: 1024, ..KvGroup::default() };
        ModelInfo {
            weights: "Q4_K_M".into(),
            kv: Some(KvShape { groups: vec![group], state_bytes: 0 }),
            ..testing::model(100 * MIB)
        }
    }

    fn point(context: u32, peak: u64, kv: u64) -> Point {
        let measured = MemorySummary {
            peak_bytes: Some(peak * MIB),
            peak_kind: Some(MemoryKind::Main),
            kv_bytes: Some(kv * MIB),
            model_bytes: Some(100 * MIB),
            ..MemorySummary::default()
        };
        Point { context, measured }
    }

    fn formula<'a>(setting: &'a Setting, model: &'a ModelInfo, points: Vec<Point>) -> MemoryFormula<'a> {
        MemoryFormula { setting, model: Some(model), points, ubatch: DEFAULT_UBATCH, full_window: false }
    }

    #[test]
    fn where_the_engine_reports_another_cache_its_figure_rules() {
        let (setting, model) = (setting(), model(47));
        // 46 layers in the engine: 184 MiB at 1K, where the formula of the file has 188.
        let formula = formula(&setting, &model, vec![point(1024, 300, 184)]);
        let here = formula.at(1024);
        assert_eq!(here.kv_bytes, Some(184 * MIB), "not the formula's 188 MiB");
        assert_eq!(here.other_bytes, Some(16 * MIB as i64), "the difference does not hide in the rest");
        assert!(here.checks[0].kv_disagrees());
        let far = formula.at(131_072);
        assert_eq!(far.kv_bytes, Some(128 * 184 * MIB), "in the engine's proportion");
        assert!(
            far.notes.iter().any(|note| note.contains("184 MiB") && note.contains("188 MiB")),
            "{:?}",
            far.notes
        );
    }

    #[test]
    fn a_formula_that_is_wrong_in_no_proportion_is_not_scaled() {
        let (setting, model) = (setting(), model(46));
        // A window that the formula knows nothing of: the cache hardly grows.
        let formula = formula(&setting, &model, vec![point(1024, 300, 184), point(2048, 310, 190)]);
        let far = formula.at(4096);
        assert_eq!(far.kv_bytes, Some(202 * MIB), "along the engine's figures");
        assert!(far.notes.iter().any(|note| note.contains("not in one proportion")), "{:?}", far.notes);
    }

    #[test]
    fn a_formula_that_agrees_is_used_as_it_is() {
        let (setting, model) = (setting(), model(46));
        let formula = formula(&setting, &model, vec![point(1024, 300, 184)]);
        assert_eq!(formula.at(2048).kv_bytes, Some(368 * MIB));
        assert!(!formula.at(1024).checks[0].kv_disagrees());
    }

    #[test]
    fn the_rest_is_never_negative_and_the_overlap_is_named() {
        let (setting, model) = (setting(), model(46));
        let with = |change: &dyn Fn(&mut MemorySummary)| {
            let mut point = point(1024, 250, 184);
            change(&mut point.measured);
            formula(&setting, &model, vec![point]).at(1024)
        };
        let mapped = with(&|measured| {
            measured.model_mapped_bytes = Some(100 * MIB);
            measured.peak_file_bytes = Some(60 * MIB);
        });
        assert_eq!((mapped.other_bytes, mapped.overlap_bytes), (Some(0), Some(34 * MIB)));
        assert_eq!(mapped.total_bytes, Some(284 * MIB), "the parts add up to the total");
        assert_eq!(mapped.checks[0].residual_bytes, Some(-34 * MIB as i64));
        let said = |prediction: &MemoryPrediction| prediction.notes.join("; ");
        assert!(said(&mapped).contains("34.0 MiB") && said(&mapped).contains("mapped"), "{}", said(&mapped));
        let shared = with(&|measured| {
            measured.peak_rss_bytes = Some(290 * MIB);
            measured.peak_pss_bytes = Some(250 * MIB);
        });
        assert!(said(&shared).contains("other processes share it"), "{}", said(&shared));
        assert!(said(&with(&|_| {})).contains("never touched"));
        // Three servers of one file: each is charged a third of its weights, and would take all of them alone.
        let of_three = with(&|measured| {
            measured.peak_bytes = Some(253 * MIB);
            measured.peak_pss_bytes = Some(253 * MIB);
            measured.peak_rss_bytes = Some(320 * MIB);
        });
        assert_eq!((of_three.other_bytes, of_three.overlap_bytes), (Some(36 * MIB as i64), None));
        assert_eq!(of_three.total_bytes, Some(320 * MIB));
        assert!(said(&of_three).contains("as if it were alone"), "{}", said(&of_three));
        let fits = formula(&setting, &model, vec![point(1024, 300, 184)]).at(1024);
        assert_eq!((fits.other_bytes, fits.overlap_bytes), (Some(16 * MIB as i64), None));
    }

    #[test]
    fn of_a_cache_on_two_sides_only_that_in_the_measured_memory_counts() {
        let (setting, model) = (setting(), model(46));
        let mut on_card = point(1024, 160, 184);
        on_card.measured.peak_kind = Some(MemoryKind::Gpu);
        on_card.measured.model_bytes = Some(50 * MIB);
        on_card.measured.kv_gpu_bytes = Some(92 * MIB);
        let card = formula(&setting, &model, vec![on_card]);
        assert_eq!(card.at(1024).kv_bytes, Some(92 * MIB));
        assert_eq!(card.at(1024).other_bytes, Some(18 * MIB as i64), "not 74 MiB too few");
        assert_eq!(card.at(2048).kv_bytes, Some(184 * MIB), "half of 368");
    }
}
