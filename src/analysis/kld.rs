//! Served KLD of every cell at one context length: positions pooled over windows, and by depth.

use std::collections::BTreeMap;

use super::Run;
use super::pareto::Draw;
use super::stats::{Part, blocked, nested_mean_draws, percentile_interval, quantile, rng};
use super::summary::{DepthRow, Estimate, KldSummary};
use crate::task::Weight;
use crate::task::coherence::kld::PositionKld;
use crate::trial::{Case, Prompt, Reply};

/// Consecutive positions that are drawn together: neighbours share a context and are not independent.
const BLOCK: usize = 16;

/// Into how many parts of the compared positions the depth rows cut.
const DEPTH_BINS: usize = 4;

/// All cells of one context length against the reference.
#[derive(Debug, Default)]
pub(crate) struct Comparison {
    /// By setting, with the bootstrap draws of the mean.
    pub(crate) cells: BTreeMap<String, (KldSummary, Vec<Draw>)>,
    /// By setting and depth.
    pub(crate) depths: Vec<DepthRow>,
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
    if run.void.contains_key(&(reference, context)) {
        return comparison;
    }
    for setting in &run.suite.settings {
        let label = setting.label.as_str();
        if run.void.contains_key(&(label, context)) {
            continue;
        }
        let windows = windows(run, context, (label, 0), reference);
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
    let theirs = replies(run, context, (reference, 0));
    let ours = replies(run, context, visit);
    let comparative = |case: &&Case| case.context == context && run.weight(&case.task) == Weight::Comparative;
    let cases = run.journal.cases.iter().filter(comparative);
    let window = |case: &'a Case| {
        let (reply, reference) = (ours.get(case.id.as_str())?, theirs.get(case.id.as_str())?);
        let mut positions = run.tasks.positions(case, reply, reference);
        positions.retain(|position| position.kld.is_finite() && position.nll.is_finite());
        (!positions.is_empty()).then_some(Window { case, positions })
    };
    cases.filter_map(window).collect()
}

/// Scored replies of a visit by case.
fn replies<'a>(
    run: &Run<'a>,
    context: u32,
    (setting, replicate): (&str, u32),
) -> BTreeMap<&'a str, &'a Reply> {
    let trials = run.journal.trials.iter().filter(|trial| {
        trial.key.setting == setting
            && trial.key.context == context
            && trial.key.replicate == replicate
            && trial.outcome.score().is_some()
    });
    trials.filter_map(|trial| Some((trial.case.as_str(), trial.reply.as_ref()?))).collect()
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
    let placed: Vec<(&str, f64, f64)> = windows.iter().flat_map(placed).collect();
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
