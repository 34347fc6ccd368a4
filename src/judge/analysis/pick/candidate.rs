//! A setting as a candidate: its figures at the context length asked for, and why it is refused.

use std::collections::BTreeMap;

use super::levels::{self, Basis};
use super::request::{Goal, MinQuality, PickRequest};
use super::weighted::{self, Endpoint};
use crate::error::Result;
use crate::judge::analysis::draws::Draw;
use crate::judge::analysis::measured::{Measured, Standing};
use crate::judge::analysis::memory_formula::MemoryFormula;
use crate::judge::analysis::pareto::value;
use crate::judge::analysis::run::Run;
use crate::judge::analysis::summary::{CellSummary, Estimate, MemoryKind, Verdict};
use crate::judge::analysis::words::{percent, points};
use crate::judge::analysis::{warnings, words};
use crate::record::Objective;
use crate::record::suite::Setting;

/// Differences within this are rounding, not a loss: 2 of 100 cases is exactly a margin of 0.02.
const ROUNDING: f64 = 1e-9;

/// A figure and its bootstrap draws; without draws it is the same in all of them.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Figure {
    pub(super) estimate: Estimate,
    pub(super) draws: Vec<Draw>,
    /// What candidates are ranked by where it is not the figure itself: time and energy are compared request by request.
    standing: Option<Standing>,
}

impl Figure {
    /// The figure in one draw.
    pub(super) fn draw(&self, number: usize) -> Option<f64> {
        if self.draws.is_empty() {
            return Some(self.estimate.value);
        }
        self.draws.get(number).copied().flatten()
    }

    /// What it is ranked by, in one draw or as the estimate.
    pub(super) fn ranked(&self, draw: Option<usize>) -> Option<f64> {
        match (&self.standing, draw) {
            (Some(standing), Some(number)) => standing.draws.get(number).copied().flatten(),
            (Some(standing), None) => Some(standing.estimate.value),
            (None, Some(number)) => self.draw(number),
            (None, None) => Some(self.estimate.value),
        }
    }

    /// `share` of the way from this to the other one.
    fn towards(&self, other: &Self, share: f64) -> Self {
        let mix = |a: &[Draw], b: &[Draw]| -> Vec<Draw> {
            let both = |a: Draw, b: Draw| Some(a? + (b? - a?) * share);
            a.iter().zip(b).map(|(a, b)| both(*a, *b)).collect()
        };
        let standing = self.standing.as_ref().zip(other.standing.as_ref()).map(|(a, b)| Standing {
            estimate: between(a.estimate, b.estimate, share),
            draws: mix(&a.draws, &b.draws),
        });
        Self {
            estimate: between(self.estimate, other.estimate, share),
            draws: mix(&self.draws, &other.draws),
            standing,
        }
    }

    fn scaled(mut self, factor: f64) -> Self {
        self.estimate.value *= factor;
        self.estimate.low = self.estimate.low.map(|low| low * factor);
        self.estimate.high = self.estimate.high.map(|high| high * factor);
        self.draws.iter_mut().flatten().for_each(|draw| *draw *= factor);
        self
    }
}

/// `share` of the way from `a` to `b`, the ends of the intervals likewise (as if both erred together: no
/// narrower than either allows).
fn between(a: Estimate, b: Estimate, share: f64) -> Estimate {
    let mix = |a: f64, b: f64| a + (b - a) * share;
    Estimate {
        value: mix(a.value, b.value),
        low: a.low.zip(b.low).map(|(a, b)| mix(a, b)),
        high: a.high.zip(b.high).map(|(a, b)| mix(a, b)),
        n: a.n.min(b.n),
    }
}

/// A setting's figures at one measured context length.
struct Level {
    void: Option<String>,
    failed: u32,
    trials: u32,
    difference: Option<Estimate>,
    credit: f64,
    verdict: Verdict,
    not_comparable: Vec<String>,
    memory_is_shared: bool,
    /// Its quality was read on the way of prompts.
    prefill_path: bool,
    /// So were its next-token distributions.
    kld_on_prefill_path: bool,
    figures: BTreeMap<Objective, Figure>,
    memory_kind: Option<MemoryKind>,
    /// Why its memory is not known.
    memory_absent: Option<String>,
}

/// A setting that could be picked.
pub(super) struct Candidate<'a> {
    pub(super) setting: &'a Setting,
    pub(super) is_reference: bool,
    /// It was measured on another machine.
    pub(super) is_elsewhere: bool,
    void: Option<String>,
    /// Trials that broke, of all.
    broken: (u32, u32),
    pub(super) difference: Option<Estimate>,
    /// What of the difference comes from cases that broke on the reference: no proof of anything.
    credit: f64,
    /// What the run says of its quality; of two context lengths the worse.
    pub(super) verdict: Verdict,
    /// Tasks that it cannot be compared on.
    not_comparable: Vec<String>,
    /// Its quality was read on the way of prompts, and its cache is of another type than the reference's.
    unread_cache: bool,
    /// Whether others mapped much of its memory, too.
    pub(super) memory_is_shared: bool,
    pub(super) figures: BTreeMap<Objective, Figure>,
    /// Which memory its figure is of.
    pub(super) memory_kind: Option<MemoryKind>,
    /// Why its memory is not known.
    memory_absent: Option<String>,
    /// Why it is refused; empty: it meets the requirements.
    pub(super) refused: Vec<String>,
}

impl Candidate<'_> {
    pub(super) fn label(&self) -> &str {
        &self.setting.label
    }

    /// Whether nothing of it was run at this context length.
    pub(super) fn is_untried(&self) -> bool {
        self.void.is_none() && self.broken.1 == 0 && self.figures.is_empty()
    }

    pub(super) fn estimate(&self, objective: Objective) -> Option<Estimate> {
        self.figures.get(&objective).map(|figure| figure.estimate)
    }

    pub(super) fn quality(&self) -> Option<Estimate> {
        self.estimate(Objective::Quality)
    }

    /// Peak memory (bytes).
    pub(super) fn memory(&self) -> Option<u64> {
        self.estimate(Objective::Memory).map(|bytes| bytes.value as u64)
    }

    /// What is not as it seems of its memory.
    pub(super) fn about_its_memory(&self) -> Option<String> {
        match (self.memory(), self.memory_kind) {
            (None, _) => {
                let why = self.memory_absent.as_deref()?;
                Some(format!("its memory is not known ({why})"))
            }
            (Some(_), Some(MemoryKind::Cards)) => Some(
                "its memory is what was in use on its cards, by whomever: the server's own part is not known"
                    .into(),
            ),
            _ => None,
        }
    }

    /// Draws that it has; 0 when nothing of it varies.
    pub(super) fn draws(&self) -> usize {
        let varying = self.figures.values().map(|figure| figure.draws.len());
        varying.filter(|&draws| draws > 0).min().unwrap_or_default()
    }

    /// Whether the requirements hold in one draw.
    pub(super) fn holds_in(
        &self,
        number: usize,
        reference: &Self,
        request: &PickRequest,
        margin: f64,
    ) -> bool {
        let figure = |candidate: &Self, objective| candidate.figures.get(&objective)?.draw(number);
        let quality = || figure(self, Objective::Quality);
        let proven = || Some(quality()? - self.credit);
        let of_reference = || figure(reference, Objective::Quality);
        let good = match request.min_quality {
            MinQuality::Score(score) if score <= 0.0 => true,
            MinQuality::Score(score) => quality().is_some_and(|quality| quality >= score - ROUNDING),
            _ if self.is_reference => quality().is_some(),
            MinQuality::WithinMargin => {
                proven().zip(of_reference()).is_some_and(|(ours, theirs)| ours - theirs >= -margin - ROUNDING)
            }
            MinQuality::OfReference(share) => {
                proven().zip(of_reference()).is_some_and(|(ours, theirs)| ours >= share * theirs - ROUNDING)
            }
        };
        let fast = request
            .min_decode
            .is_none_or(|least| figure(self, Objective::Decode).is_some_and(|rate| rate >= least));
        let reads = request
            .min_prefill
            .is_none_or(|least| figure(self, Objective::Prefill).is_some_and(|rate| rate >= least));
        let prompt = request
            .max_ttft
            .is_none_or(|most| figure(self, Objective::Ttft).is_some_and(|seconds| seconds <= most));
        let fast = fast && reads && prompt;
        let fits = request.memory.is_none_or(|limit| self.memory().is_some_and(|bytes| bytes <= limit));
        let counts =
            !self.unread_cache || matches!(request.min_quality, MinQuality::Score(score) if score <= 0.0);
        self.void.is_none() && !self.is_elsewhere && counts && good && fast && fits
    }

    /// Why the estimates do not meet the requirements.
    fn refusals(&self, reference: Option<Estimate>, request: &PickRequest, margin: f64) -> Vec<String> {
        let mut reasons: Vec<String> = Vec::new();
        if let Some(reason) = &self.void {
            reasons.push(format!("void: {reason}"));
            return reasons;
        }
        reasons.extend(self.low_quality(reference, request, margin));
        reasons.extend(self.too_slow(request));
        reasons.extend(self.reads_too_slowly(request));
        reasons.extend(self.too_late(request));
        reasons.extend(self.too_large(request));
        reasons.extend(self.without_figure(request.goal));
        reasons
    }

    /// That the figure to be the best in is missing; the knee makes do with what there is.
    fn without_figure(&self, goal: Goal) -> Option<String> {
        let (has, name) = match goal {
            Goal::Decode => (self.estimate(Objective::Decode).is_some(), "decode rate"),
            Goal::Ttft => (self.estimate(Objective::Ttft).is_some(), "time to the first token"),
            Goal::Memory => (self.memory().is_some(), "memory"),
            Goal::Energy => (self.estimate(Objective::Energy).is_some(), "energy"),
            Goal::Knee => (true, ""),
        };
        (!has).then(|| format!("its {name} was not measured"))
    }

    fn low_quality(&self, reference: Option<Estimate>, request: &PickRequest, margin: f64) -> Option<String> {
        if request.min_quality == MinQuality::Score(0.0) {
            return None;
        }
        if !self.not_comparable.is_empty() {
            let tasks = self.not_comparable.join(", ");
            return Some(format!(
                "it is not comparable on {tasks}: it has no result there that the reference has too"
            ));
        }
        let Some(quality) = self.quality() else { return Some("its quality was not measured".into()) };
        if self.unread_cache {
            return Some(
                "its quality was read on the prefill path, where damage of its KV types may not show".into(),
            );
        }
        if let MinQuality::Score(least) = request.min_quality {
            let shown = if request.strict { quality.low.unwrap_or_default() } else { quality.value };
            let also = self.shown_broken();
            return (shown < least - ROUNDING)
                .then(|| format!("its quality is {}{also}", shown_score(quality)));
        }
        if self.is_reference {
            return None;
        }
        let Some((difference, reference)) = self.difference.zip(reference) else {
            return Some("its quality could not be compared with the reference's".into());
        };
        let allowed = match request.min_quality {
            MinQuality::OfReference(share) => (1.0 - share) * reference.value,
            _ => margin,
        };
        let shown = if request.strict { difference.low.unwrap_or(-1.0) } else { difference.value };
        (shown - self.credit < -allowed - ROUNDING).then(|| {
            format!("its quality is {}{}", shown_difference(difference, reference), self.shown_broken())
        })
    }

    /// That trials of it broke.
    pub(super) fn broke(&self) -> Option<String> {
        let (broken, trials) = self.broken;
        (broken > 0).then(|| format!("{broken} of {trials} trials of this setting broke; they count as lost"))
    }

    /// Whether a figure has draws from so few trials that it has no interval: then they say nothing.
    pub(super) fn is_thin(&self, objective: Objective) -> bool {
        let figure = self.figures.get(&objective);
        figure.is_some_and(|figure| !figure.draws.is_empty() && figure.estimate.low.is_none())
    }

    fn shown_broken(&self) -> String {
        let (broken, trials) = self.broken;
        if broken > 0 {
            format!(", {broken} of {trials} trials that broke counted as lost")
        } else {
            String::new()
        }
    }

    fn too_slow(&self, request: &PickRequest) -> Option<String> {
        let least = request.min_decode?;
        let Some(rate) = self.estimate(Objective::Decode) else {
            return Some("its decode rate was not measured".into());
        };
        let shown = if request.strict { rate.low.unwrap_or_default() } else { rate.value };
        (shown < least).then(|| {
            let low = rate.low.map_or(String::new(), |low| format!(" (from {low:.1})"));
            format!("it decodes {:.1} tokens/s{low}", rate.value)
        })
    }

    fn reads_too_slowly(&self, request: &PickRequest) -> Option<String> {
        let least = request.min_prefill?;
        let Some(rate) = self.estimate(Objective::Prefill) else {
            return Some("its prefill rate was not measured".into());
        };
        let shown = if request.strict { rate.low.unwrap_or_default() } else { rate.value };
        (shown < least).then(|| {
            let low = rate.low.map_or(String::new(), |low| format!(" (from {low:.1})"));
            format!("it reads {:.1} tokens/s{low}", rate.value)
        })
    }

    fn too_late(&self, request: &PickRequest) -> Option<String> {
        let most = request.max_ttft?;
        let Some(seconds) = self.estimate(Objective::Ttft) else {
            return Some("its time to the first token was not measured".into());
        };
        let shown = if request.strict { seconds.high.unwrap_or(f64::INFINITY) } else { seconds.value };
        (shown > most).then(|| {
            let high = seconds.high.map_or(String::new(), |high| format!(" (up to {high:.2})"));
            format!("its first token comes after {:.2} s{high}", seconds.value)
        })
    }

    fn too_large(&self, request: &PickRequest) -> Option<String> {
        let limit = request.memory?;
        let Some(bytes) = self.memory() else {
            let why = self.memory_absent.as_ref().map_or(String::new(), |reason| format!(" ({reason})"));
            return Some(format!("its memory is not known{why}"));
        };
        let kind = self.memory_kind.map_or("memory", MemoryKind::words);
        (bytes > limit).then(|| format!("it needs {} of {kind}", words::bytes(bytes)))
    }
}

fn shown_score(quality: Estimate) -> String {
    match (quality.low, quality.high) {
        (Some(low), Some(high)) => format!("{:.2} [{low:.2}, {high:.2}]", quality.value),
        _ => format!("{:.2}", quality.value),
    }
}

fn shown_difference(difference: Estimate, reference: Estimate) -> String {
    let size = points(difference.value.abs());
    let direction = if difference.value < 0.0 { "below" } else { "above" };
    let share = match reference.value {
        of if of > 0.0 => format!(", {} of it", percent((of + difference.value).max(0.0) / of)),
        _ => String::new(),
    };
    let interval = match (difference.low, difference.high) {
        (Some(low), Some(high)) => {
            format!(", interval {:+.1} to {:+.1}", low * 100.0, high * 100.0)
        }
        _ => String::new(),
    };
    format!("{size} {direction} the reference's ({} cases{interval}{share})", difference.n)
}

/// Every setting at the context length asked for, with the reasons to refuse it.
pub(super) fn all<'a>(run: &Run<'a>, basis: &Basis, request: &PickRequest) -> Result<Vec<Candidate<'a>>> {
    let mut levels: Vec<Vec<Level>> = Vec::new();
    for context in basis.contexts() {
        levels.push(at(run, context, request)?);
    }
    let mut levels = levels.into_iter();
    let (Some(first), second) = (levels.next(), levels.next()) else { return Ok(Vec::new()) };
    let mut others = second.map(Vec::into_iter);
    let mut candidates = Vec::new();
    for (setting, level) in run.suite.settings.iter().zip(first) {
        let other = others.as_mut().and_then(Iterator::next);
        candidates.push(candidate(run, setting, (level, other), basis, request)?);
    }
    if matches!(request.goal, Goal::Memory | Goal::Knee) {
        leave_out_other_memory(&mut candidates);
    }
    let reference = candidates.iter().find(|c| c.is_reference).and_then(Candidate::quality);
    for candidate in &mut candidates {
        candidate.refused = candidate.refusals(reference, request, run.suite.margin);
        if candidate.is_elsewhere {
            candidate.refused = vec!["it comes from a pack and was not served here".to_owned()];
        }
    }
    Ok(candidates)
}

/// GPU memory and main memory are no more or less than each other: what is of another kind than the reference's has no
/// part in a choice by memory.
fn leave_out_other_memory(candidates: &mut [Candidate<'_>]) {
    let Some(kind) = candidates.iter().find(|c| c.is_reference).and_then(|c| c.memory_kind) else { return };
    for candidate in candidates.iter_mut().filter(|candidate| candidate.memory_kind != Some(kind)) {
        candidate.figures.remove(&Objective::Memory);
        let other = candidate.memory_kind.map_or("no memory known", MemoryKind::words);
        candidate.memory_absent = Some(format!("{other}, where the reference has {}", kind.words()));
    }
}

/// Every setting at one measured context length.
fn at(run: &Run<'_>, context: u32, request: &PickRequest) -> Result<Vec<Level>> {
    let endpoint = match request.task_weights.is_empty() {
        true => None,
        false => Some(Endpoint::new(run, context, &request.task_weights)),
    };
    let mut levels = Vec::new();
    for measured in levels::measure(run, context)? {
        let weighted = endpoint.as_ref().map(|endpoint| endpoint.of(&measured.summary.setting));
        levels.push(level(measured, weighted));
    }
    Ok(levels)
}

fn level(measured: Measured, weighted: Option<weighted::Quality>) -> Level {
    let Measured { summary, draws, mut standing, credit, .. } = measured;
    let mut figures = BTreeMap::new();
    let mut put = |objective, estimate: Option<Estimate>, draws, standing| {
        figures.extend(estimate.map(|estimate| (objective, Figure { estimate, draws, standing })));
    };
    let mut level = Level {
        failed: summary.failed,
        trials: summary.scored + summary.unscored + summary.failed,
        memory_kind: summary.memory.peak_kind,
        memory_absent: summary.memory.peak_absent.clone(),
        void: summary.void.clone(),
        difference: summary.difference,
        credit,
        verdict: summary.verdict,
        not_comparable: summary.not_comparable.clone(),
        memory_is_shared: warnings::is_shared(&summary.memory),
        prefill_path: summary.prefill_path,
        kld_on_prefill_path: summary.kld_on_prefill_path,
        figures: BTreeMap::new(),
    };
    match weighted {
        Some(own) => {
            put(Objective::Quality, own.quality, own.draws, None);
            (level.difference, level.credit) = (own.difference, own.credit);
            level.not_comparable = own.not_comparable;
        }
        None => put(Objective::Quality, summary.quality, draws.smoothed, None),
    }
    let energy = summary.energy.as_ref().map(|energy| energy.per_request_j);
    for (objective, estimate, draws) in [
        (Objective::Decode, summary.decode_tps, draws.decode),
        (Objective::Prefill, summary.prefill_tps, draws.prefill),
        (Objective::Ttft, summary.ttft_s, draws.ttft),
        (Objective::Energy, energy, draws.energy),
    ] {
        // Without a request in common with the reference nothing can be said of who is faster.
        if let Some(standing) = standing.remove(&objective) {
            put(objective, estimate, draws, Some(standing));
        }
    }
    put(Objective::Kld, summary.kld.as_ref().map(|kld| kld.mean), draws.kld, None);
    put(Objective::Memory, constant(&summary, Objective::Memory), Vec::new(), None);
    level.figures = figures;
    level
}

fn constant(summary: &CellSummary, objective: Objective) -> Option<Estimate> {
    value(summary, objective).map(|value| Estimate { value, low: None, high: None, n: 1 })
}

fn candidate<'a>(
    run: &Run<'a>,
    setting: &'a Setting,
    (level, other): (Level, Option<Level>),
    basis: &Basis,
    request: &PickRequest,
) -> Result<Candidate<'a>> {
    let other_cache = run.has_other_cache(setting);
    let unread = |of: fn(&Level) -> bool| other_cache && (of(&level) || other.as_ref().is_some_and(of));
    let unread_kld = unread(|level| level.kld_on_prefill_path);
    let mut candidate = Candidate {
        setting,
        unread_cache: unread(|level| level.prefill_path),
        is_reference: setting == run.suite.reference(),
        is_elsewhere: run.suite.is_packed(&setting.label),
        void: level.void,
        broken: (level.failed, level.trials),
        difference: level.difference,
        credit: level.credit,
        verdict: level.verdict,
        not_comparable: level.not_comparable,
        memory_is_shared: level.memory_is_shared,
        figures: level.figures,
        memory_kind: level.memory_kind,
        memory_absent: level.memory_absent,
        refused: Vec::new(),
    };
    if let (Some(other), Basis::Between { share, .. }) = (other, basis) {
        candidate.blend(other, *share);
    }
    if unread_kld {
        candidate.figures.remove(&Objective::Kld);
    }
    if basis.is_measured() {
        return Ok(candidate);
    }
    let scale = basis.scale(request.context);
    for objective in [Objective::Ttft, Objective::Energy] {
        if let Some(figure) = candidate.figures.remove(&objective) {
            candidate.figures.insert(objective, figure.scaled(scale));
        }
    }
    candidate.figures.remove(&Objective::Memory);
    // Without a measured peak the parts alone are too little to go by.
    let predicted = MemoryFormula::of(run, setting)?.at(request.context);
    candidate.memory_kind = predicted.kind;
    if predicted.kind.is_none() && candidate.memory_absent.is_none() {
        candidate.memory_absent = Some("no peak of it was measured".into());
    }
    if let Some(total) = predicted.total_bytes.filter(|_| predicted.kind.is_some()) {
        let estimate = Estimate { value: total as f64, low: None, high: None, n: 0 };
        candidate.figures.insert(Objective::Memory, Figure { estimate, draws: Vec::new(), standing: None });
    }
    Ok(candidate)
}

impl Candidate<'_> {
    /// Moves every figure `share` of the way to those of another context length; a figure that only one of
    /// them has is dropped.
    fn blend(&mut self, other: Level, share: f64) {
        self.void = self.void.take().or(other.void);
        self.broken = (self.broken.0 + other.failed, self.broken.1 + other.trials);
        self.difference = self.difference.zip(other.difference).map(|(a, b)| between(a, b, share));
        self.credit = self.credit.max(other.credit);
        if other.verdict == Verdict::Worse {
            self.verdict = Verdict::Worse;
        }
        self.not_comparable.extend(other.not_comparable);
        self.not_comparable.dedup();
        let figures = std::mem::take(&mut self.figures);
        for (objective, figure) in figures {
            if let Some(there) = other.figures.get(&objective) {
                self.figures.insert(objective, figure.towards(there, share));
            }
        }
    }
}
