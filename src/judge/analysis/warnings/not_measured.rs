//! What has no figure, and why.

use std::collections::{BTreeMap, BTreeSet};

use super::quality::task_name;
use crate::judge::analysis::pareto;
use crate::judge::analysis::run::Run;
use crate::judge::analysis::summary::{CellSummary, Summary};
use crate::record::{Measurement, Source, Trial, metric};

/// What has no figure, and why.
pub(crate) fn not_measured(run: &Run<'_>, summary: &Summary) -> Vec<String> {
    let mut lines = Vec::new();
    if !run.journal.trials.iter().any(knows_energy) {
        lines
            .push("energy and GPU memory: the kneepoint that measured this had no probe for them".to_owned());
    }
    for &objective in &summary.objectives {
        let has = |cell: &CellSummary| pareto::value(cell, objective).is_some();
        if !summary.cells.is_empty() && !summary.cells.iter().any(has) {
            lines.push(format!("{}: no cell has it, so the front leaves it out", objective.name()));
        }
    }
    lines.extend(absent(run));
    lines.extend(unscored(summary));
    lines
}

/// Whether energy was looked for, found or not.
fn knows_energy(trial: &Trial) -> bool {
    trial.measurements.iter().any(|m| m.name == metric::CPU_ENERGY_J || m.name == metric::GPU_ENERGY_J)
}

/// Measurements that no source of a trial had, by name and reason.
fn absent(run: &Run<'_>) -> Vec<String> {
    let mut reasons: BTreeMap<(&str, &str), u32> = BTreeMap::new();
    for trial in &run.journal.trials {
        // Several figures of one source have one name in words: a trial counts once.
        let of_trial: BTreeSet<_> =
            absent_of(trial).into_iter().map(|(name, reason)| (words(name), reason)).collect();
        for missing in of_trial {
            *reasons.entry(missing).or_default() += 1;
        }
    }
    let line = |((name, reason), trials): ((&str, &str), u32)| {
        let count = if trials == 1 { "1 trial".into() } else { format!("{trials} trials") };
        format!("{name}: {reason} ({count})")
    };
    reasons.into_iter().map(line).collect()
}

fn absent_of(trial: &Trial) -> BTreeMap<&str, &str> {
    let counts = |m: &&Measurement| m.source == Source::Client || !only_the_clients(&m.name);
    let figures = || trial.measurements.iter().filter(counts);
    let known = |name: &str| figures().any(|m| m.name == name && m.value.is_some());
    let (clients, others): (Vec<_>, Vec<_>) =
        figures().filter(|m| m.value.is_none() && !known(&m.name)).partition(|m| m.source == Source::Client);
    // Where several sources have none, the client's reason is the one that is kept.
    let without = others.into_iter().chain(clients);
    without.map(|m| (m.name.as_ref(), m.absent.as_deref().unwrap_or("no reason given"))).collect()
}

/// Figures that are the client's alone in every table: that an engine names its own is no reason to leave out why they
/// are not there.
fn only_the_clients(name: &str) -> bool {
    [metric::TTFT_S, metric::DECODE_TPS, metric::ITL_P50_S, metric::ITL_P95_S, metric::ITL_MAX_S]
        .contains(&name)
}

fn words(name: &str) -> &str {
    match name {
        metric::TTFT_S => "time to first token",
        metric::TOTAL_S => "time of the whole reply",
        metric::PREFILL_TPS => "prefill rate",
        metric::DECODE_TPS => "decode rate",
        metric::ITL_P50_S | metric::ITL_P95_S | metric::ITL_MAX_S => "time between tokens",
        metric::PROMPT_TOKENS => "prompt tokens",
        metric::OUTPUT_TOKENS => "output tokens",
        metric::CACHED_TOKENS => "cached tokens",
        metric::DRAFT_TOKENS | metric::DRAFT_ACCEPTED => "draft tokens",
        metric::POSITION_S => "time per position",
        metric::PEAK_RSS_BYTES => "resident memory",
        metric::PEAK_PSS_BYTES => "proportional memory",
        metric::PEAK_ANON_BYTES => "anonymous memory",
        metric::PEAK_FILE_BYTES => "file-mapped memory",
        metric::PEAK_VRAM_BYTES => "GPU memory of the server",
        metric::ON_GPU => "whether the server is on a graphics card",
        metric::PEAK_VRAM_DEVICE_BYTES
        | metric::GPU_CARDS
        | metric::GPU_ENERGY_J
        | metric::GPU_THROTTLED
        | metric::GPU_OTHERS => "the graphics cards",
        metric::CPU_ENERGY_J => "energy of the processor",
        metric::STEAL => "stolen CPU time",
        metric::OTHER_CPU => "CPU time of other processes",
        metric::LOAD1 => "load average",
        metric::CPU_HZ => "CPU clock",
        other => declared(other).unwrap_or(other),
    }
}

/// What a figure without words of its own is called in its column.
fn declared(name: &str) -> Option<&'static str> {
    let shown = metric::FIGURES.iter().filter(|figure| figure.metric == name).find_map(|figure| figure.shown);
    shown.map(|shown| shown.head)
}

fn unscored(summary: &Summary) -> Vec<String> {
    let mut reasons: BTreeMap<(String, &str), u32> = BTreeMap::new();
    for row in &summary.tasks {
        for (reason, count) in &row.unscored {
            *reasons.entry((task_name(row), reason)).or_default() += count;
        }
    }
    let line = |((task, reason), count)| format!("{task}: {reason} ({count} trials not scored)");
    reasons.into_iter().map(line).collect()
}
