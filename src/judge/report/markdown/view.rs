//! What the template shows: every text escaped, every number with its unit.

use std::collections::BTreeSet;

use serde::Serialize;

use super::super::effective::Reach;
use super::super::files::{FRONT_FILE, HEATMAP_FILE};
use super::super::svg::{front, heatmap};
use super::super::text::{self, joined, or_none};
use super::arms::{self, ArmsView};
use super::coherence::{self, BandLevelView, DivergenceView, FiguresView};
use super::conversations::{self, ConversationsView};
use super::energy::EnergyView;
use super::judging::{self, FrontView, GateView, InteractionView, NightBeforeView, StoppingView};
use super::load::{self, LoadView};
use super::machine;
use super::memory::MemoryView;
use super::serving::{self, PrefixCacheView};
use super::speculation::{self, SpeculationView};
use super::speed::SpeedView;
use crate::judge::analysis::summary::{CellSummary, DepthRow, Estimate, KldSummary, Summary, TaskRow};

/// Failures that are listed one by one.
const LISTED_FAILURES: usize = 50;

/// Everything that the template shows.
#[derive(Serialize)]
pub(super) struct View<'a> {
    suite: String,
    description: String,
    verdict: String,
    night_before: Option<NightBeforeView>,
    reference: String,
    margin: String,
    confidence: String,
    one_sided: String,
    objectives: String,
    figure: Option<&'static str>,
    figure_words: String,
    levels: Vec<LevelView>,
    speeds: Vec<SpeedView>,
    tasks: Vec<TableView>,
    task_differences: Vec<TableView>,
    sanity_note: bool,
    labels: Vec<LabelView>,
    depths: Vec<TableView>,
    heatmap: Option<&'static str>,
    conversations: Vec<ConversationsView>,
    effective: Vec<EffectiveView>,
    ruler_line: String,
    kld: Vec<KldLevelView>,
    energy: Vec<EnergyView>,
    energy_words: Option<String>,
    memory: Vec<MemoryView>,
    kld_bands: Vec<BandLevelView>,
    divergence: Option<DivergenceView>,
    speculation: Option<SpeculationView>,
    prefix_cache: Vec<PrefixCacheView>,
    figures: Vec<FiguresView>,
    triggers: Vec<TriggerView>,
    arms: Option<ArmsView>,
    load: Option<LoadView>,
    aa: Vec<AaView>,
    gates: Vec<GateView>,
    fronts: Vec<FrontView>,
    interactions: Vec<InteractionView>,
    stopping: Option<StoppingView>,
    power: Vec<PowerView>,
    warnings: Vec<String>,
    voids: Vec<String>,
    failures: Vec<FailureView>,
    failure_words: String,
    not_measured: Vec<String>,
    run: String,
    started: String,
    duration: String,
    trials: String,
    machine: String,
    engines: Vec<String>,
    models: Vec<String>,
    fingerprint: String,
    seed: u64,
    statistics: String,
    tool_version: String,
    repeat: String,
    summary: &'a Summary,
}

#[derive(Serialize)]
struct LevelView {
    context: String,
    memory: &'static str,
    cells: Vec<CellView>,
}

#[derive(Serialize)]
struct CellView {
    setting: String,
    quality: String,
    difference: String,
    verdict: String,
    kld: String,
    ttft: String,
    prefill: String,
    decode: String,
    memory: String,
    front: String,
    command: Option<String>,
    effective: String,
}

/// A table with a row a setting.
#[derive(Serialize)]
struct TableView {
    task: String,
    context: String,
    columns: Vec<String>,
    rows: Vec<RowView>,
}

#[derive(Serialize)]
struct RowView {
    setting: String,
    cells: Vec<String>,
}

#[derive(Serialize)]
struct LabelView {
    context: String,
    task: String,
    setting: String,
    errors: String,
}

#[derive(Serialize)]
struct EffectiveView {
    setting: String,
    within: String,
    shown: String,
    above: String,
}

#[derive(Serialize)]
struct KldLevelView {
    context: String,
    rows: Vec<KldView>,
}

#[derive(Serialize)]
struct KldView {
    setting: String,
    mean: String,
    median: String,
    p99: String,
    p999: String,
    rms: String,
    top1: String,
    perplexity: String,
    listed: String,
    positions: String,
}

#[derive(Serialize)]
struct TriggerView {
    context: String,
    setting: String,
    cases: u32,
    both: u32,
    only_setting: u32,
    only_reference: u32,
    f1: String,
    leaked: u32,
    valid: String,
}

#[derive(Serialize)]
struct AaView {
    context: String,
    pairs: u32,
    discordance: String,
    identical: String,
    difference: String,
    kld: String,
}

#[derive(Serialize)]
struct PowerView {
    context: String,
    setting: String,
    pairs: String,
    mde: String,
    p: String,
}

#[derive(Serialize)]
struct FailureView {
    setting: String,
    context: String,
    task: String,
    index: u32,
    stage: String,
    error: String,
}

impl<'a> View<'a> {
    pub(super) fn new(summary: &'a Summary) -> Self {
        let contexts = contexts(summary);
        Self {
            suite: text::markdown(&summary.suite),
            description: text::markdown_whole(&summary.description),
            verdict: text::markdown_whole(&summary.verdict),
            night_before: judging::night_before(summary),
            reference: text::code(&summary.reference),
            margin: text::points(summary.margin),
            confidence: text::percent(summary.confidence),
            one_sided: text::percent((1.0 - summary.confidence) / 2.0),
            objectives: joined(summary.objectives.iter().map(|objective| objective.name().to_owned())),
            figure: front(summary).is_some().then_some(FRONT_FILE),
            figure_words: format!("Pareto front of {}", text::markdown(&summary.suite)),
            levels: contexts.iter().map(|&context| level(summary, context)).collect(),
            speeds: super::speed::rows(summary),
            tasks: contexts.iter().filter_map(|&context| task_table(summary, context)).collect(),
            task_differences: contexts
                .iter()
                .filter_map(|&context| difference_table(summary, context))
                .collect(),
            sanity_note: summary.tasks.iter().any(|row| row.sanity && row.quality.is_some()),
            labels: labels(summary),
            depths: depth_tables(summary),
            conversations: conversations::tables(summary),
            heatmap: heatmap(summary).is_some().then_some(HEATMAP_FILE),
            effective: effective_lengths(summary),
            ruler_line: text::ruler_line(),
            energy: super::energy::rows(summary),
            energy_words: super::energy::words(summary),
            memory: super::memory::rows(summary),
            kld: contexts.iter().filter_map(|&context| kld_level(summary, context)).collect(),
            kld_bands: contexts.iter().filter_map(|&context| coherence::bands(summary, context)).collect(),
            divergence: coherence::divergence(summary),
            speculation: speculation::tables(summary),
            prefix_cache: serving::tables(summary),
            figures: coherence::figures(summary),
            triggers: triggers(summary),
            arms: arms::tables(summary),
            load: load::view(summary),
            aa: aa(summary),
            gates: judging::gates(summary),
            fronts: judging::fronts(summary),
            interactions: judging::interactions(summary),
            stopping: judging::stopping(summary),
            power: power(summary),
            warnings: summary.warnings.iter().map(|warning| text::markdown(&warning.sentence)).collect(),
            voids: voids(summary),
            failures: failures(summary),
            failure_words: failure_words(summary),
            not_measured: summary.not_measured.iter().map(|line| text::markdown(line)).collect(),
            run: text::code(&summary.run),
            started: text::markdown(&summary.started),
            duration: text::duration(summary.duration_s),
            trials: format!("{} of {} planned", summary.done, summary.planned),
            machine: machine::words(&summary.machine),
            engines: engines(summary),
            models: models(summary),
            fingerprint: text::code(&summary.fingerprint),
            seed: summary.seed,
            statistics: format!(
                "{} intervals, {} bootstrap draws, margin {}",
                text::percent(summary.confidence),
                text::thousands(u64::from(summary.draws)),
                text::points(summary.margin)
            ),
            tool_version: text::markdown(&summary.tool_version),
            repeat: text::fenced(&summary.repeat, "sh"),
            summary,
        }
    }
}

/// Context lengths in the order of the cells.
fn contexts(summary: &Summary) -> Vec<u32> {
    let mut contexts: Vec<u32> = summary.cells.iter().map(|cell| cell.context).collect();
    contexts.dedup();
    contexts
}

fn level(summary: &Summary, context: u32) -> LevelView {
    let here = summary.cells.iter().filter(|cell| cell.context == context);
    let memory = text::memory_head(summary.cells.iter());
    LevelView { context: text::tokens(context), memory, cells: here.map(|of| cell(of, memory)).collect() }
}

fn cell(cell: &CellSummary, memory: &str) -> CellView {
    let verdict = if cell.void.is_some() { "void".into() } else { text::markdown(&text::judgement(cell)) };
    CellView {
        setting: text::code(&cell.setting),
        quality: text::estimate(cell.quality, text::score) + &text::broke(cell),
        difference: text::estimate(cell.difference, text::signed_points),
        verdict,
        kld: cell.kld.as_ref().map_or(text::NONE.into(), |kld| text::estimate(Some(kld.mean), text::nat)),
        ttft: text::estimate(cell.ttft_s, text::seconds),
        prefill: text::estimate(cell.prefill_tps, text::significant),
        decode: text::estimate(cell.decode_tps, text::significant),
        memory: text::peak(cell, memory),
        front: text::front(cell),
        command: cell.command.as_ref().map(|command| text::fenced(command, "sh")),
        effective: effective(cell),
    }
}

/// What the server said that it runs, in brackets.
fn effective(cell: &CellSummary) -> String {
    let Some(effective) = &cell.effective else {
        return String::new();
    };
    let flash = effective.flash_attention.map(|on| if on { "on" } else { "off" }.to_owned());
    let parts = [
        ("build", effective.build.clone()),
        ("K", effective.k.clone()),
        ("V", effective.v.clone()),
        ("flash attention", flash),
        ("context per slot", effective.context.map(|context| context.to_string())),
        ("slots", effective.slots.map(|slots| slots.to_string())),
        ("threads", effective.threads.map(|threads| threads.to_string())),
        ("speculation", effective.speculation.clone()),
        ("weights", effective.weights.clone()),
        ("template", effective.template_hash.clone()),
        ("KV cache", cell.memory.kv_bytes.map(text::bytes)),
        ("compute buffers", cell.memory.compute_bytes.map(text::bytes)),
        ("model buffers", cell.memory.model_bytes.map(text::bytes)),
    ];
    let said =
        parts.into_iter().filter_map(|(name, value)| Some(format!("{name} {}", text::markdown(&value?))));
    let said = joined(said);
    if said.is_empty() { said } else { format!(" (it said: {said})") }
}

/// A task's name with its arm, for a table's head.
fn column_name(row: &TaskRow) -> String {
    let arm = row.arm.map_or(String::new(), |arm| format!(" ({arm})"));
    let sanity = if row.sanity { " †" } else { "" };
    format!("{}{arm}{sanity}", text::markdown(&row.task))
}

fn task_table(summary: &Summary, context: u32) -> Option<TableView> {
    table_by_task(summary, context, |row| row.quality, |quality| text::estimate(Some(quality), text::score))
}

/// What each setting loses on each task; none where the tables above say it already.
fn difference_table(summary: &Summary, context: u32) -> Option<TableView> {
    let loss = |difference: Estimate| {
        let words = format!("{} (n {})", text::estimate(Some(difference), text::signed_points), difference.n);
        if difference.high.is_some_and(|high| high < 0.0) { format!("**{words}**") } else { words }
    };
    let mut table = table_by_task(summary, context, |row| row.difference, loss)?;
    table.rows.retain(|row| row.cells.iter().any(|cell| cell != text::NONE));
    (table.columns.len() > 1).then_some(table)
}

/// Settings by tasks, with a figure that rows have or have not.
fn table_by_task(
    summary: &Summary,
    context: u32,
    figure: impl Fn(&TaskRow) -> Option<Estimate>,
    show: impl Fn(Estimate) -> String,
) -> Option<TableView> {
    let shown: Vec<&TaskRow> =
        summary.tasks.iter().filter(|row| row.context == context && figure(row).is_some()).collect();
    let mut columns: Vec<String> = Vec::new();
    for row in &shown {
        let name = column_name(row);
        if !columns.contains(&name) {
            columns.push(name);
        }
    }
    let value = |setting: &str, column: &String| {
        let row = shown.iter().find(|row| row.setting == setting && column_name(row) == *column);
        or_none(row.and_then(|row| figure(row)).map(&show))
    };
    let settings = summary.cells.iter().filter(|cell| cell.context == context).map(|cell| &cell.setting);
    let rows = settings
        .map(|setting| RowView {
            setting: text::code(setting),
            cells: columns.iter().map(|column| value(setting, column)).collect(),
        })
        .collect();
    let context = text::tokens(context);
    (!columns.is_empty()).then_some(TableView { task: String::new(), context, columns, rows })
}

fn labels(summary: &Summary) -> Vec<LabelView> {
    let labelled = summary.tasks.iter().filter(|row| !row.labels.is_empty());
    labelled
        .map(|row| LabelView {
            context: text::tokens(row.context),
            task: column_name(row),
            setting: text::code(&row.setting),
            errors: joined(
                row.labels.iter().map(|(label, count)| format!("{} {count}", text::markdown(label))),
            ),
        })
        .collect()
}

/// A table for every task and context length that has depths.
fn depth_tables(summary: &Summary) -> Vec<TableView> {
    let mut seen = BTreeSet::new();
    let keys: Vec<(&str, u32)> = summary
        .depths
        .iter()
        .map(|row| (row.task.as_str(), row.context))
        .filter(|key| seen.insert(*key))
        .collect();
    keys.into_iter().map(|(task, context)| depth_table(summary, task, context)).collect()
}

fn depth_table(summary: &Summary, task: &str, context: u32) -> TableView {
    let here: Vec<&DepthRow> =
        summary.depths.iter().filter(|row| row.task == task && row.context == context).collect();
    let mut bins: Vec<(f64, f64)> = here.iter().map(|row| (row.from, row.to)).collect();
    bins.sort_by(|a, b| a.0.total_cmp(&b.0));
    bins.dedup();
    let settings = summary.cells.iter().filter(|cell| cell.context == context).map(|cell| &cell.setting);
    let is_kld = !summary.tasks.iter().any(|row| row.task == task && row.quality.is_some());
    let show = if is_kld { text::nat } else { text::score };
    let value = |setting: &str, bin: &(f64, f64)| {
        let row = here.iter().find(|row| row.setting == setting && (row.from, row.to) == *bin);
        or_none(row.map(|row| format!("{} (n {})", show(row.value), row.n)))
    };
    TableView {
        task: text::markdown(task) + if is_kld { " (mean KLD, nat)" } else { "" },
        context: text::tokens(context),
        columns: bins.iter().map(|(from, to)| bin_name(*from, *to)).collect(),
        rows: settings
            .filter(|setting| here.iter().any(|row| row.setting == **setting))
            .map(|setting| RowView {
                setting: text::code(setting),
                cells: bins.iter().map(|bin| value(setting, bin)).collect(),
            })
            .collect(),
    }
}

fn bin_name(from: f64, to: f64) -> String {
    let edge = |share: f64| {
        let percent = (share * 1000.0).round() / 10.0;
        format!("{percent}")
    };
    format!("{}–{}%", edge(from), edge(to))
}

fn effective_lengths(summary: &Summary) -> Vec<EffectiveView> {
    let row = |length| {
        let Reach { within, shown, above } = Reach::new(length, &summary.reference);
        EffectiveView { setting: text::code(&length.setting), within, shown, above }
    };
    summary.effective.iter().map(row).collect()
}

fn kld_level(summary: &Summary, context: u32) -> Option<KldLevelView> {
    let here = summary.cells.iter().filter(|cell| cell.context == context);
    let rows: Vec<KldView> =
        here.filter_map(|cell| Some(kld_row(&cell.setting, cell.kld.as_ref()?))).collect();
    (!rows.is_empty()).then_some(KldLevelView { context: text::tokens(context), rows })
}

fn kld_row(setting: &str, kld: &KldSummary) -> KldView {
    KldView {
        setting: text::code(setting),
        mean: text::estimate(Some(kld.mean), text::nat),
        median: text::nat(kld.median),
        p99: text::nat(kld.p99),
        p999: text::nat(kld.p999),
        rms: text::percent(kld.rms_delta_p),
        top1: text::percent(kld.top1_agreement),
        perplexity: text::significant(kld.perplexity),
        listed: kld.unlisted.map_or(String::new(), |unlisted| text::percent(1.0 - unlisted)),
        positions: format!(
            "{} in {} {}{}",
            kld.positions,
            kld.mean.n,
            if kld.mean.n == 1 { "text" } else { "texts" },
            if kld.outside > 0 { format!(", {} outside the lists", kld.outside) } else { String::new() }
        ),
    }
}

fn aa(summary: &Summary) -> Vec<AaView> {
    summary
        .aa
        .iter()
        .map(|row| AaView {
            context: text::tokens(row.context),
            pairs: row.pairs,
            discordance: text::percent(row.discordance),
            identical: text::percent(row.identical_replies),
            difference: text::estimate(row.difference, text::signed_points),
            kld: or_none(row.max_kld.map(text::nat)),
        })
        .collect()
}

fn triggers(summary: &Summary) -> Vec<TriggerView> {
    summary
        .triggers
        .iter()
        .map(|row| TriggerView {
            context: text::tokens(row.context),
            setting: text::code(&row.setting),
            cases: row.cases,
            both: row.both,
            only_setting: row.only_setting,
            only_reference: row.only_reference,
            f1: text::estimate(row.f1, text::score),
            leaked: row.leaked,
            valid: format!("{} of {}", row.valid_calls, row.calls),
        })
        .collect()
}

fn power(summary: &Summary) -> Vec<PowerView> {
    let compared =
        summary.cells.iter().filter(|cell| cell.setting != summary.reference && cell.void.is_none());
    compared
        .map(|cell| PowerView {
            context: text::tokens(cell.context),
            setting: text::code(&cell.setting),
            pairs: or_none(cell.difference.map(|difference| difference.n.to_string())),
            mde: or_none(cell.mde.map(smallest_shown)),
            p: or_none(cell.p_holm.map(|p| if p < 0.001 { "< 0.001".into() } else { format!("{p:.3}") })),
        })
        .collect()
}

/// Scores differ by 100 points at most: so few items that only more could be shown show nothing.
fn smallest_shown(difference: f64) -> String {
    if difference < 1.0 { text::points(difference) } else { "none".into() }
}

fn voids(summary: &Summary) -> Vec<String> {
    let void = summary.cells.iter().filter_map(|cell| Some((cell, cell.void.as_ref()?)));
    void.map(|(cell, reason)| {
        format!(
            "{} at {} tokens: {}",
            text::code(&cell.setting),
            text::tokens(cell.context),
            text::markdown(reason)
        )
    })
    .collect()
}

fn failures(summary: &Summary) -> Vec<FailureView> {
    let listed = summary.failures.iter().take(LISTED_FAILURES);
    listed
        .map(|failure| FailureView {
            setting: text::code(&failure.setting),
            context: text::tokens(failure.context),
            task: text::markdown(&failure.task),
            index: failure.index,
            stage: format!("{:?}", failure.stage).to_lowercase(),
            error: text::markdown(&failure.error),
        })
        .collect()
}

fn failure_words(summary: &Summary) -> String {
    match summary.failures.len() {
        1 => "1 trial broke.".into(),
        n if n > LISTED_FAILURES => format!("{n} trials broke; the first {LISTED_FAILURES}:"),
        n => format!("{n} trials broke."),
    }
}

fn engines(summary: &Summary) -> Vec<String> {
    let engines = summary.engines.iter();
    engines
        .map(|engine| {
            let parts = [&engine.name, &engine.version, &engine.origin].map(|part| text::markdown(part));
            joined(parts.into_iter().filter(|part| !part.is_empty()))
        })
        .collect()
}

fn models(summary: &Summary) -> Vec<String> {
    let models = summary.models.iter();
    models
        .map(|model| {
            let derived = if model.derived { "**derived**, " } else { "" };
            format!(
                "{} {}, {derived}{}, {}, SHA-256 {}",
                text::markdown(&model.name),
                text::code(&model.weights),
                text::markdown(&model.origin),
                text::bytes(model.bytes),
                text::code(&model.sha256)
            )
        })
        .collect()
}
