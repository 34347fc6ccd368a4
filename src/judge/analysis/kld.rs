//! Served KLD of every cell at one context length: positions pooled over windows, and by depth.

use std::collections::BTreeMap;

use super::draws::Draw;
use super::frame::VisitKey;
use super::run::Run;
use super::summary::{DepthRow, Estimate, KldBand, KldSummary};
use crate::judge::stats::{
    Part, blocked, nested_draws, nested_mean_draws, percentile_interval, quantile, rng,
};
use crate::record::{Band, Case, Prompt};
use crate::task::PositionKld;

/// Consecutive positions that are drawn together: neighbours share a context and are not independent.
const BLOCK: usize = 16;

/// Into how many parts of the compared positions the depth rows cut.
const DEPTH_BINS: usize = 4;

/// Draws for figures that need every position of a draw in order; intervals change little beyond these.
const BAND_DRAWS: u32 = 1000;

/// All cells of one context length against the reference.
#[derive(Debug, Default)]
pub(crate) struct Comparison {
    /// By setting, with the bootstrap draws of the mean.
    pub(crate) cells: BTreeMap<String, (KldSummary, Vec<Draw>)>,
    /// By setting and depth.
    pub(crate) depths: Vec<DepthRow>,
    /// By setting and band, where a window has several.
    pub(crate) bands: Vec<KldBand>,
    /// Largest KLD of a position between the reference's two visits.
    pub(crate) max_aa: Option<f64>,
}

/// One window of text with its positions.
struct Window<'a> {
    case: &'a Case,
    positions: Vec<PositionKld>,
}

pub(crate) fn compare(run: &Run<'_>, context: u32) -> Comparison {
    let mut comparison = Comparison::default();
    let reference = run.suite.reference().label.as_str();
    let compares =
        |case: &Case| case.context == context && run.tasks.comparison(&case.task).is_of_distributions();
    if run.void.contains_key(&(reference, context)) || !run.journal.cases.iter().any(compares) {
        return comparison;
    }
    for setting in &run.suite.settings {
        let label = setting.label.as_str();
        if run.void.contains_key(&(label, context)) {
            continue;
        }
        let windows = windows(run, context, (label, 0), reference);
        comparison.bands.extend(bands(run, label, context, &windows));
        if let Some((summary, draws)) = summarise(run, context, &windows) {
            comparison.cells.insert(label.into(), (summary, draws));
            comparison.depths.extend(depth_rows(label, context, &windows));
        }
    }
    let again = windows(run, context, (reference, 1), reference);
    let klds = again.iter().flat_map(|window| &window.positions).map(|position| position.kld);
    comparison.max_aa = klds.max_by(f64::total_cmp);
    comparison
}

/// The windows that this visit and the reference's first visit both have, in the order of the cases.
fn windows<'a>(run: &Run<'a>, context: u32, visit: (&str, u32), reference: &str) -> Vec<Window<'a>> {
    let (setting, replicate) = visit;
    let theirs = run.scored(VisitKey { setting: reference, context, replicate: 0 });
    let ours = run.scored(VisitKey { setting, context, replicate });
    let comparative =
        |case: &&Case| case.context == context && run.tasks.comparison(&case.task).is_of_distributions();
    let cases = run.journal.cases.iter().filter(comparative);
    let window = |case: &'a Case| {
        let (trial, reference) = (ours.get(case.id.as_str())?, theirs.get(case.id.as_str())?);
        let comparison = run.tasks.comparison(&case.task);
        let mut positions = comparison.positions(case, trial.reply.as_ref()?, reference.reply.as_ref()?);
        positions.retain(|position| position.kld.is_finite() && position.nll.is_finite());
        (!positions.is_empty()).then_some(Window { case, positions })
    };
    cases.filter_map(window).collect()
}

fn summarise(run: &Run<'_>, context: u32, windows: &[Window<'_>]) -> Option<(KldSummary, Vec<Draw>)> {
    let all: Vec<&PositionKld> = windows.iter().flat_map(|window| &window.positions).collect();
    if all.is_empty() {
        return None;
    }
    let mean = |of: &dyn Fn(&PositionKld) -> f64| all.iter().map(|p| of(p)).sum::<f64>() / all.len() as f64;
    let mut ascending: Vec<f64> = all.iter().map(|position| position.kld).collect();
    ascending.sort_unstable_by(f64::total_cmp);
    // The same stream for every cell: the draws of cells are paired.
    let mut stream = rng(run.resampling.seed, &format!("kld {context}"));
    let draws = nested_mean_draws(&groups(windows), run.resampling.draws, &mut stream);
    let enough = windows.len() > 1 || all.len() > BLOCK;
    let interval = percentile_interval(draws.iter().copied(), run.resampling.confidence).filter(|_| enough);
    let summary = KldSummary {
        mean: Estimate {
            value: mean(&|position| position.kld),
            low: interval.map(|(low, _)| low),
            high: interval.map(|(_, high)| high),
            n: windows.len() as u32,
        },
        median: quantile(&ascending, 0.5)?,
        p99: quantile(&ascending, 0.99)?,
        p999: quantile(&ascending, 0.999)?,
        rms_delta_p: mean(&|position| position.delta_p.powi(2)).sqrt(),
        top1_agreement: mean(&|position| f64::from(u8::from(position.same_top))),
        perplexity: mean(&|position| position.nll).exp(),
        positions: all.len() as u32,
        outside: all.iter().filter(|position| position.outside).count() as u32,
        unlisted: Some(mean(&|position| position.unlisted)),
    };
    Some((summary, draws.into_iter().map(Some).collect()))
}

/// Blocks of positions, grouped by cluster.
fn groups(windows: &[Window<'_>]) -> Vec<Vec<Part>> {
    let mut groups: BTreeMap<&str, Vec<Part>> = BTreeMap::new();
    for window in windows {
        let klds: Vec<f64> = window.positions.iter().map(|position| position.kld).collect();
        groups.entry(&window.case.cluster).or_default().extend(blocked(&klds, BLOCK));
    }
    groups.into_values().collect()
}

/// Mean KLD in equal parts of the span of the context that was compared.
fn depth_rows(setting: &str, context: u32, windows: &[Window<'_>]) -> Vec<DepthRow> {
    // Bands have rows of their own.
    let whole = windows.iter().filter(|window| window.case.prompt.bands().len() == 1);
    let placed: Vec<(&str, f64, f64)> = whole.flat_map(placed).collect();
    let start = placed.iter().map(|(_, depth, _)| *depth).fold(1.0, f64::min);
    let edge = |bin: usize| start + (1.0 - start) * bin as f64 / DEPTH_BINS as f64;
    let mut bins: BTreeMap<(&str, usize), Vec<f64>> = BTreeMap::new();
    for (task, depth, kld) in placed {
        let bin = (1..DEPTH_BINS).rev().find(|bin| depth >= edge(*bin)).unwrap_or(0);
        bins.entry((task, bin)).or_default().push(kld);
    }
    let row = |((task, bin), klds): ((&str, usize), Vec<f64>)| DepthRow {
        task: task.into(),
        setting: setting.into(),
        context,
        from: edge(bin),
        to: edge(bin + 1),
        value: klds.iter().sum::<f64>() / klds.len() as f64,
        n: klds.len() as u32,
    };
    bins.into_iter().map(row).collect()
}

/// Task, depth (0..1) and KLD of every position of a window.
fn placed<'w>(window: &'w Window<'_>) -> Vec<(&'w str, f64, f64)> {
    let Prompt::Distributions { tokens, .. } = &window.case.prompt else {
        return Vec::new();
    };
    let depth = |position: &PositionKld| position.position as f64 / tokens.len().max(1) as f64;
    let positions = window.positions.iter();
    positions.map(|position| (window.case.task.as_str(), depth(position), position.kld)).collect()
}

/// The figures of each band of the windows that have several.
fn bands(run: &Run<'_>, setting: &str, context: u32, windows: &[Window<'_>]) -> Vec<KldBand> {
    let mut places: BTreeMap<Band, Vec<&Window<'_>>> = BTreeMap::new();
    for window in windows {
        let bands = window.case.prompt.bands();
        for band in bands.iter().filter(|_| bands.len() > 1) {
            places.entry(*band).or_default().push(window);
        }
    }
    places.into_iter().filter_map(|(place, windows)| band(run, (setting, context), place, &windows)).collect()
}

fn band(
    run: &Run<'_>,
    (setting, context): (&str, u32),
    place: Band,
    windows: &[&Window<'_>],
) -> Option<KldBand> {
    let inside = |window: &&Window<'_>| -> Vec<PositionKld> {
        let positions = window.positions.iter().filter(|position| place.holds(position.position));
        positions.copied().collect()
    };
    let by_window: Vec<Vec<PositionKld>> = windows.iter().map(inside).filter(|all| !all.is_empty()).collect();
    let mut all: Vec<PositionKld> = by_window.concat();
    let positions = all.len() as u32;
    let blocks: Vec<Vec<&[PositionKld]>> =
        by_window.iter().map(|window| window.chunks(BLOCK).collect()).collect();
    // The same stream for every setting: their draws are paired.
    let mut stream = rng(run.resampling.seed, &format!("kld {context} band {}", place.first));
    let count = run.resampling.draws.min(BAND_DRAWS);
    let draws = nested_draws(&blocks, count, &mut stream, statistics);
    let enough = by_window.len() > 1 || all.len() > BLOCK;
    let values = statistics(&mut all)?;
    let estimate = |at: usize| {
        let drawn = draws.iter().map(|draw| draw[at]);
        let interval = percentile_interval(drawn, run.resampling.confidence).filter(|_| enough);
        Estimate {
            value: values[at],
            low: interval.map(|(low, _)| low),
            high: interval.map(|(_, high)| high),
            n: by_window.len() as u32,
        }
    };
    Some(KldBand {
        setting: setting.into(),
        context,
        from: place.first as u32,
        to: (place.end - 1) as u32,
        mean: estimate(0),
        median: estimate(1),
        p99: estimate(2),
        p999: estimate(3),
        rms_delta_p: estimate(4),
        top1_agreement: estimate(5),
        perplexity: estimate(6),
        positions,
    })
}

/// Mean, median, 99% and 99.9% of the divergence, RMS delta-p, top-1 agreement and perplexity; sorts them.
fn statistics(positions: &mut [PositionKld]) -> Option<[f64; 7]> {
    positions.sort_unstable_by(|a, b| a.kld.total_cmp(&b.kld));
    let klds: Vec<f64> = positions.iter().map(|position| position.kld).collect();
    let mean = |of: fn(&PositionKld) -> f64| positions.iter().map(of).sum::<f64>() / positions.len() as f64;
    Some([
        mean(|position| position.kld),
        quantile(&klds, 0.5)?,
        quantile(&klds, 0.99)?,
        quantile(&klds, 0.999)?,
        mean(|position| position.delta_p.powi(2)).sqrt(),
        mean(|position| f64::from(u8::from(position.same_top))),
        mean(|position| position.nll).exp(),
    ])
}
