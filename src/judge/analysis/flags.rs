//! What the reader must know beside the figures, and what has no figure.

use std::collections::{BTreeMap, BTreeSet};

use super::frame::{self, Visit};
use super::run::Run;
use super::summary::{CellSummary, DivergenceVerdict, MemoryKind, MemorySummary, Summary, TaskRow};
use super::words::percent;
use super::{pareto, replies};
use crate::error::Result;
use crate::quantile::median;
use crate::record::{Measurement, Objective, Source, TrainedContext, Trial, metric};
use crate::task::Weight;

/// Client and engine may differ in the decode rate by this share.
pub(super) const DECODE_TOLERANCE: f64 = 0.05;

/// Replies shorter than this have no decode rate worth comparing (tokens).
pub(super) const MIN_DECODED: f64 = 16.0;

/// Above this share of stolen CPU time a trial's speed is doubtful.
pub(super) const STEAL_LIMIT: f64 = 0.05;

/// Above this share of CPU time used by others a trial's speed is doubtful.
pub(super) const OTHER_CPU_LIMIT: f64 = 0.20;

/// Above this share of memory that others map too, the proportional set size says too little of a server.
const SHARED_LIMIT: f64 = 0.20;

/// Above this mean probability outside the lists a KLD may lie far below the true one (see docs/suites.md).
const UNLISTED_LIMIT: f64 = 0.10;

/// Fewer visits than this do not show drift.
const MIN_VISITS: u32 = 3;

/// Something that was seen in the run and makes figures doubtful.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Doubt {
    /// The figures that it is about; those of memory are GPU memory.
    pub(crate) about: &'static [Objective],
    /// What was seen, in words.
    pub(crate) text: String,
}

/// Every doubt about speed, energy and memory that the measurements raise.
pub(crate) fn doubts(run: &Run<'_>) -> Result<Vec<Doubt>> {
    let mut doubts = Vec::new();
    clocks(run, &mut doubts)?;
    noise(run, &mut doubts)?;
    cards(run, &mut doubts)?;
    Ok(doubts)
}

/// What depends on how fast the machine was.
const SPEED: &[Objective] = &[Objective::Decode, Objective::Prefill, Objective::Ttft, Objective::Energy];

/// Everything worth a warning.
pub(crate) fn flags(run: &Run<'_>, summary: &Summary) -> Result<Vec<String>> {
    let mut flags = Vec::new();
    incomplete(summary, &mut flags);
    void(summary, &mut flags);
    no_noise_floor(summary, &mut flags);
    uninformative(run, summary, &mut flags);
    launches(run, &mut flags);
    attached(run, &mut flags);
    broken(summary, &mut flags);
    not_comparable(summary, &mut flags);
    truncated(summary, &mut flags);
    beyond_trained(run, &mut flags);
    short_lists(summary, &mut flags);
    derived(summary, &mut flags);
    not_lossless(run, summary, &mut flags);
    streams(run, &mut flags);
    flags.extend(replies::flags(run));
    flags.extend(doubts(run)?.into_iter().map(|doubt| doubt.text));
    shared_memory(summary, &mut flags);
    other_memory(summary, &mut flags);
    other_caches(summary, &mut flags);
    few_visits(run, summary, &mut flags);
    Ok(flags)
}

/// What was measured ran already: nobody set it, and it may not take or tell everything.
fn attached(run: &Run<'_>, flags: &mut Vec<String>) {
    let servers = run.journal.launches.iter().filter_map(|launch| launch.attached.as_ref());
    let mut said = BTreeSet::new();
    for server in servers {
        let first = format!(
            "the server at {} was running already: its settings are not kneepoint's, and other requests may have met it",
            server.url
        );
        for line in std::iter::once(first).chain(server.notes.iter().map(|note| format!("server: {note}"))) {
            if said.insert(line.clone()) {
                flags.push(line);
            }
        }
    }
}

fn incomplete(summary: &Summary, flags: &mut Vec<String>) {
    if summary.done < summary.planned {
        flags.push(format!(
            "the run is incomplete: {} of {} planned trials are in the journal",
            summary.done, summary.planned
        ));
    }
}

fn void(summary: &Summary, flags: &mut Vec<String>) {
    for cell in &summary.cells {
        if let Some(reason) = &cell.void {
            flags.push(format!("{} at {} tokens does not count: {reason}", cell.setting, cell.context));
        }
    }
}

/// Served distributions of which the lists hold too little to say how far they moved.
fn short_lists(summary: &Summary, flags: &mut Vec<String>) {
    let worst = |context: u32| {
        let cells = summary.cells.iter().filter(|cell| cell.context == context);
        cells.filter_map(|cell| cell.kld.as_ref()?.unlisted).max_by(f64::total_cmp)
    };
    let contexts: BTreeSet<u32> = summary.cells.iter().map(|cell| cell.context).collect();
    for (context, unlisted) in contexts.into_iter().filter_map(|context| Some((context, worst(context)?))) {
        if unlisted > UNLISTED_LIMIT {
            flags.push(format!(
                "the lists behind the KLD at {context} tokens hold {} of the reference's probability: the true divergence is larger than shown; a larger top_k of coherence/kld shows more of it",
                percent(1.0 - unlisted)
            ));
        }
    }
}

/// Contexts beyond the one that the model was made for: nothing there speaks of a quant alone.
fn beyond_trained(run: &Run<'_>, flags: &mut Vec<String>) {
    let header = &run.journal.header;
    for model in &header.models {
        let Some(longest) = model.trained.map(TrainedContext::longest) else { continue };
        let used = header.suite.settings.iter().any(|setting| {
            setting.model == model.name
                && setting.weights == model.weights
                && !header.suite.scales_positions(setting)
        });
        let beyond = header.suite.contexts.iter().filter(|&&context| u64::from(context) > longest);
        let beyond: Vec<String> = beyond.map(u32::to_string).collect();
        let flag = format!(
            "{} was made for {longest} tokens: what is said of {} tokens is said of a model beyond its range",
            model.name,
            beyond.join(", ")
        );
        // One line a model, not one a quant.
        if used && !beyond.is_empty() && !flags.contains(&flag) {
            flags.push(flag);
        }
    }
}

fn no_noise_floor(summary: &Summary, flags: &mut Vec<String>) {
    let contexts: BTreeSet<u32> = summary.cells.iter().map(|cell| cell.context).collect();
    for context in contexts {
        match summary.aa.iter().find(|aa| aa.context == context) {
            None => flags.push(format!(
                "the reference did not run twice at {context} tokens: without its noise floor no setting is called worse there"
            )),
            Some(aa) if aa.floor > 0.0 => flags.push(format!(
                "the reference disagrees with itself on {} of items at {context} tokens: no setting is called worse for a smaller difference than {}",
                percent(aa.discordance),
                percent(aa.floor),
            )),
            Some(_) => {}
        }
    }
}

fn uninformative(run: &Run<'_>, summary: &Summary, flags: &mut Vec<String>) {
    let reference = summary.tasks.iter().filter(|row| row.setting == summary.reference && row.uninformative);
    for row in reference {
        let mean = row.quality.map_or(0.0, |quality| quality.value);
        let what = if mean > 0.0 {
            "so easy that little damage can show"
        } else if run.weight(&row.task) == Weight::Primary {
            "so hard that no damage can show; it is left out of the quality"
        } else {
            "so hard that no damage can show"
        };
        flags.push(format!(
            "{} at {} tokens is uninformative: the reference scores {}, {what}",
            task_name(row),
            row.context,
            percent(mean),
        ));
    }
}

/// Tool calls that a server sends otherwise when it streams: it, not the model, makes some of them wrong.
fn streams(run: &Run<'_>, flags: &mut Vec<String>) {
    let mut checked: BTreeMap<(&str, u32), (u32, u32)> = BTreeMap::new();
    for trial in &run.journal.trials {
        if let Some(differs) = trial.measured(metric::STREAM_DIFFERS, Source::Client) {
            let (different, all) = checked.entry((&trial.key.setting, trial.key.context)).or_default();
            *different += u32::from(differs > 0.0);
            *all += 1;
        }
    }
    for ((setting, context), (different, all)) in checked {
        if different > 0 {
            flags.push(format!(
                "the server of {setting} at {context} tokens gave other tool calls without streaming in {different} of {all} cases"
            ));
        }
    }
}

fn launches(run: &Run<'_>, flags: &mut Vec<String>) {
    for launch in &run.journal.launches {
        if let Some(failure) = &launch.failure {
            let first = failure.lines().next().unwrap_or_default();
            flags.push(format!(
                "the server of {} at {} tokens did not come up (round {}): {first}",
                launch.setting, launch.context, launch.round
            ));
        }
    }
}

fn broken(summary: &Summary, flags: &mut Vec<String>) {
    for cell in summary.cells.iter().filter(|cell| cell.failed > 0 && cell.void.is_none()) {
        let counted = if cell.quality.is_none() && cell.not_comparable.is_empty() {
            "nothing of it was scored, so it has no quality"
        } else if cell.setting == summary.reference {
            "they count as lost, and what others gain there shows nothing of them"
        } else {
            "on tasks of the quality they count as lost there, in its verdict and in its place on the front"
        };
        flags.push(format!(
            "{} of {} trials of {} at {} tokens broke; {counted}",
            cell.failed, cell.planned, cell.setting, cell.context
        ));
    }
    let broke_all = |row: &&TaskRow| row.setting == summary.reference && row.scored == 0 && row.failed > 0;
    for row in summary.tasks.iter().filter(|row| !row.sanity).filter(broke_all) {
        flags.push(format!(
            "the reference broke in every trial of {} at {} tokens: the task is left out of the quality",
            task_name(row),
            row.context
        ));
    }
}

/// Cells that were not asked, or did not take, a whole task.
fn not_comparable(summary: &Summary, flags: &mut Vec<String>) {
    for cell in summary.cells.iter().filter(|cell| !cell.not_comparable.is_empty()) {
        flags.push(format!(
            "{} at {} tokens is not comparable on {}: it has no result there that the reference has too, so it has no \
             quality, no verdict and no place on the front",
            cell.setting,
            cell.context,
            cell.not_comparable.join(", ")
        ));
    }
}

fn truncated(summary: &Summary, flags: &mut Vec<String>) {
    let cut: u32 = summary.cells.iter().map(|cell| cell.truncated).sum();
    let scored: u32 = summary.cells.iter().map(|cell| cell.scored).sum();
    if cut > 0 {
        flags.push(format!("{cut} replies ran out of their output budget (of {scored} scored trials)"));
    }
}

fn derived(summary: &Summary, flags: &mut Vec<String>) {
    for model in summary.models.iter().filter(|model| model.derived) {
        flags.push(format!(
            "the {} weights of {} are not the publisher's: {}",
            model.weights, model.name, model.origin
        ));
    }
}

/// Speculation promises the very same tokens: where greedy replies part beyond the noise, it does not keep that.
fn not_lossless(run: &Run<'_>, summary: &Summary, flags: &mut Vec<String>) {
    let reference = run.suite.reference();
    let only_speculates = |label: &str| {
        let found = run.suite.settings.iter().find(|setting| setting.label == label);
        found.is_some_and(|setting| {
            setting.speculation != reference.speculation
                && (&setting.weights, &setting.k, &setting.v)
                    == (&reference.weights, &reference.k, &reference.v)
        })
    };
    let beyond = summary.divergence.iter().filter(|row| row.verdict == DivergenceVerdict::BeyondNoise);
    for row in beyond.filter(|row| only_speculates(&row.setting)) {
        flags.push(format!(
            "the speculation of {} is not lossless at {} tokens: {} of {} greedy replies part from the reference's, \
             beyond its own noise",
            row.setting,
            row.context,
            percent(row.parted.value),
            row.parted.n
        ));
    }
}

fn clocks(run: &Run<'_>, doubts: &mut Vec<Doubt>) -> Result<()> {
    let mut apart = Vec::new();
    for (setting, context) in cells(run) {
        let visit = Visit { setting, context, replicate: 0 };
        let rates = run.frame.both(visit, [frame::DECODE, frame::ENGINE_DECODE], MIN_DECODED)?;
        let rates = rates.iter().filter(|(_, engine)| *engine > 0.0);
        let mut gaps: Vec<f64> = rates.map(|(client, engine)| client / engine - 1.0).collect();
        if let Some(gap) = median(&mut gaps).filter(|gap| gap.abs() > DECODE_TOLERANCE) {
            apart.push(format!("{setting} at {context} tokens ({:+.0}%)", gap * 100.0));
        }
    }
    if !apart.is_empty() {
        let text = format!(
            "the client's decode rate is more than {:.0}% off the engine's in the median reply of {}",
            DECODE_TOLERANCE * 100.0,
            apart.join(", "),
        );
        doubts.push(Doubt { about: &[Objective::Decode], text });
    }
    Ok(())
}

fn noise(run: &Run<'_>, doubts: &mut Vec<Doubt>) -> Result<()> {
    let (trials, stolen) = run.frame.above(frame::STEAL, STEAL_LIMIT)?;
    if stolen > 0 {
        let text = format!(
            "the machine's host took more than {} of its CPU time in {stolen} of {trials} trials: their speed is doubtful",
            percent(STEAL_LIMIT)
        );
        doubts.push(Doubt { about: SPEED, text });
    }
    let (trials, shared) = run.frame.above(frame::OTHER_CPU, OTHER_CPU_LIMIT)?;
    if shared > 0 {
        let text = format!(
            "other processes used more than {} of the machine's CPU time in {shared} of {trials} trials: their speed is doubtful",
            percent(OTHER_CPU_LIMIT)
        );
        doubts.push(Doubt { about: SPEED, text });
    }
    Ok(())
}

/// What was seen on the cards that makes figures doubtful.
fn cards(run: &Run<'_>, doubts: &mut Vec<Doubt>) -> Result<()> {
    let (trials, slowed) = run.frame.above(frame::THROTTLED, 0.0)?;
    if slowed > 0 {
        let text = format!(
            "a graphics card slowed down for power or heat in {slowed} of {trials} trials: their speed is not the card's best"
        );
        doubts.push(Doubt { about: SPEED, text });
    }
    let (trials, shared) = run.frame.above(frame::GPU_OTHERS, 0.0)?;
    if shared > 0 {
        let text = format!(
            "other processes were on the graphics cards in {shared} of {trials} trials: energy and memory in use hold theirs too"
        );
        doubts.push(Doubt { about: &[Objective::Energy, Objective::Memory], text });
    }
    Ok(())
}

/// Whether so much of a server's memory is mapped by others, too, that its proportional size says little.
pub(crate) fn is_shared(memory: &MemorySummary) -> bool {
    let sizes = memory.peak_pss_bytes.zip(memory.peak_rss_bytes);
    let counts = match memory.peak_kind {
        Some(kind) => kind == MemoryKind::Main,
        None => memory.peak_vram_bytes.is_none(),
    };
    counts && sizes.is_some_and(|(own, all)| (own as f64) < (1.0 - SHARED_LIMIT) * all as f64)
}

/// A second server of the same model file halves what each is charged for it.
fn shared_memory(summary: &Summary, flags: &mut Vec<String>) {
    let cells = summary.cells.iter().filter(|cell| is_shared(&cell.memory)).count();
    if cells > 0 {
        flags.push(format!(
            "processes shared more than {} of the memory of the servers in {cells} of {} cells (another server of the same model file?): memory counts only a part of that",
            percent(SHARED_LIMIT),
            summary.cells.len()
        ));
    }
}

/// Peaks that are not what the reader takes them for, and those that are missing.
fn other_memory(summary: &Summary, flags: &mut Vec<String>) {
    let cards = summary.cells.iter().filter(|cell| cell.memory.peak_kind == Some(MemoryKind::Cards)).count();
    if cards > 0 {
        flags.push(format!(
            "the memory of {cards} of {} cells is what was in use on the graphics cards, by whomever: the server's own part is not known",
            summary.cells.len()
        ));
    }
    let kinds: BTreeSet<MemoryKind> = summary.cells.iter().filter_map(|cell| cell.memory.peak_kind).collect();
    if kinds.len() > 1 {
        let named: Vec<&str> = kinds.iter().map(|kind| kind.words()).collect();
        flags.push(format!(
            "memory is not of one kind in all cells ({}): no front, ratio or difference is made of two kinds",
            named.join("; ")
        ));
    }
    let mut absent: BTreeMap<&str, u32> = BTreeMap::new();
    for reason in summary.cells.iter().filter_map(|cell| cell.memory.peak_absent.as_deref()) {
        *absent.entry(reason).or_default() += 1;
    }
    for (reason, cells) in absent {
        flags.push(format!("memory of {cells} of {} cells is not known ({reason})", summary.cells.len()));
    }
}

/// Where the formula of the KV cache is not the engine's.
fn other_caches(summary: &Summary, flags: &mut Vec<String>) {
    for fit in &summary.memory_fits {
        let apart: Vec<String> = fit
            .checks
            .iter()
            .filter(|check| check.kv_disagrees())
            .filter_map(|check| {
                let (engine, formula) = check.kv_reported_bytes.zip(check.kv_formula_bytes)?;
                Some(format!(
                    "{} at {} tokens, the formula {}",
                    super::words::bytes(engine),
                    check.context,
                    super::words::bytes(formula)
                ))
            })
            .collect();
        if !apart.is_empty() {
            flags.push(format!(
                "the KV cache of {} is not what the formula gives: the engine reports {}; the engine's figures are used",
                fit.setting,
                apart.join("; ")
            ));
        }
    }
}

fn few_visits(run: &Run<'_>, summary: &Summary, flags: &mut Vec<String>) {
    let rounds = run.suite.rounds;
    if rounds < MIN_VISITS && summary.cells.iter().any(|cell| cell.decode_tps.is_some()) {
        let visits = if rounds == 1 { "1 visit".into() } else { format!("{rounds} visits") };
        flags.push(format!(
            "speed comes from {visits} of each cell: its intervals do not cover drift of the machine between visits"
        ));
    }
}

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
        other => other,
    }
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

fn cells<'a>(run: &Run<'a>) -> Vec<(&'a str, u32)> {
    let settings = &run.suite.settings;
    let contexts = run.suite.contexts.iter();
    contexts
        .flat_map(|&context| settings.iter().map(move |setting| (setting.label.as_str(), context)))
        .filter(|cell| !run.void.contains_key(cell))
        .collect()
}

fn task_name(row: &TaskRow) -> String {
    row.arm.map_or(row.task.clone(), |arm| format!("{} ({arm})", row.task))
}

#[cfg(test)]
mod tests {
    use super::super::testing;
    use super::*;

    fn flagged(pss: u64, rss: u64, vram: Option<u64>) -> Vec<String> {
        let mut cell = testing::cell("q8_0", 512);
        cell.memory.peak_pss_bytes = Some(pss);
        cell.memory.peak_rss_bytes = Some(rss);
        cell.memory.peak_vram_bytes = vram;
        let summary = Summary { cells: vec![cell], ..testing::summary() };
        let mut flags = Vec::new();
        shared_memory(&summary, &mut flags);
        flags
    }

    #[test]
    fn memory_that_others_map_too_is_flagged() {
        // SmolLM2 with and without a second server of the same file (MiB).
        let both = flagged(104, 160, None);
        assert!(
            matches!(both.as_slice(), [flag] if flag.contains("20% of the memory") && flag.contains("1 of 1 cells")),
            "{both:?}"
        );
        assert!(flagged(159, 160, None).is_empty());
        assert!(flagged(104, 160, Some(500)).is_empty(), "the card's memory is the figure there");
    }
}
