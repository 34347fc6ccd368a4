//! What the template shows: every text escaped, every number with its unit.

use std::collections::BTreeSet;

use serde::Serialize;

use super::super::columns::{Column, Shape};
use super::super::effective::Reach;
use super::super::files::{FRONT_FILE, HEATMAP_FILE};
use super::super::svg::{front, heatmap};
use super::super::text::{self, joined, or_none};
use super::coherence::{self, DivergenceView, FiguresView};
use super::judging::{self, FrontView, StoppingView};
use super::load::{self, LoadView};
use super::machine;
use super::memory::MemoryView;
use super::speculation::{self, SpeculationView};
use crate::judge::analysis::summary::{
    CellSummary, ConversationRow, DepthRow, Estimate, KldBand, NightBefore, PrefixCacheRow, Summary, TaskRow,
};

/// Failures that are listed one by one.
const LISTED_FAILURES: usize = 50;

/// Everything that the template shows: the summary, and what of it is grouped or worded.
#[derive(Serialize)]
pub(super) struct View<'a> {
    summary: &'a Summary,
    suite: &'a str,
    night_before: Option<String>,
    figure: Option<&'static str>,
    heatmap: Option<&'static str>,
    columns: Vec<ColumnView>,
    levels: Vec<LevelView<'a>>,
    tasks: Vec<TableView>,
    task_differences: Vec<TableView>,
    sanity_note: bool,
    labels: Vec<LabelView>,
    depths: Vec<TableView>,
    conversations: Vec<&'a [ConversationRow]>,
    effective: Vec<EffectiveView>,
    ruler_line: String,
    kld: Vec<Vec<&'a CellSummary>>,
    energy: Vec<&'a CellSummary>,
    energy_words: Option<String>,
    memory: Vec<MemoryView<'a>>,
    kld_bands: Vec<&'a [KldBand]>,
    divergence: Option<DivergenceView>,
    speculation: Option<SpeculationView>,
    prefix_cache: Vec<&'a [PrefixCacheRow]>,
    figures: Vec<FiguresView>,
    load: Option<LoadView>,
    fronts: Vec<FrontView>,
    stopping: Option<StoppingView>,
    listed_failures: usize,
    machine: String,
}

#[derive(Serialize)]
struct LevelView<'a> {
    context: u32,
    cells: Vec<CellView<'a>>,
}

#[derive(Serialize)]
struct CellView<'a> {
    setting: &'a str,
    values: Vec<String>,
    command: Option<&'a str>,
    effective: String,
}

/// The head of a column.
#[derive(Serialize)]
struct ColumnView {
    head: String,
    is_words: bool,
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

impl<'a> View<'a> {
    pub(super) fn new(summary: &'a Summary) -> Self {
        let contexts = contexts(summary);
        let shape = Shape::wide(&summary.cells);
        Self {
            summary,
            suite: &summary.suite,
            night_before: summary.night_before.as_ref().map(NightBefore::sentence),
            figure: front(summary).is_some().then_some(FRONT_FILE),
            heatmap: heatmap(summary).is_some().then_some(HEATMAP_FILE),
            columns: columns(&shape),
            levels: contexts.iter().map(|&context| level(summary, &shape, context)).collect(),
            tasks: contexts.iter().filter_map(|&context| task_table(summary, context)).collect(),
            task_differences: contexts
                .iter()
                .filter_map(|&context| difference_table(summary, context))
                .collect(),
            sanity_note: summary.tasks.iter().any(|row| row.sanity && row.quality.is_some()),
            labels: labels(summary),
            depths: depth_tables(summary),
            conversations: grouped(&summary.conversations, |a, b| {
                (&a.task, a.context) == (&b.task, b.context)
            }),
            effective: effective_lengths(summary),
            ruler_line: text::ruler_line(),
            kld: kld_levels(summary, &contexts),
            energy: summary.cells.iter().filter(|cell| super::energy::is_known(cell)).collect(),
            energy_words: super::energy::words(summary),
            memory: super::memory::rows(summary),
            kld_bands: grouped(&summary.kld_bands, |a, b| a.context == b.context),
            divergence: coherence::divergence(summary),
            speculation: speculation::tables(summary),
            prefix_cache: grouped(&summary.prefix_cache, |a, b| {
                (&a.setting, a.context) == (&b.setting, b.context)
            }),
            figures: coherence::figures(summary),
            load: load::view(summary),
            fronts: judging::fronts(summary),
            stopping: judging::stopping(summary),
            listed_failures: LISTED_FAILURES,
            machine: machine::words(&summary.machine),
        }
    }
}

/// Neighbouring rows that are alike: the tables of a section.
fn grouped<T>(rows: &[T], alike: impl FnMut(&T, &T) -> bool) -> Vec<&[T]> {
    rows.chunk_by(alike).collect()
}

/// The cells with a KLD, by context length.
fn kld_levels<'a>(summary: &'a Summary, contexts: &[u32]) -> Vec<Vec<&'a CellSummary>> {
    let level = |&context: &u32| {
        let here = summary.cells.iter().filter(|cell| cell.context == context && cell.kld.is_some());
        here.collect::<Vec<_>>()
    };
    contexts.iter().map(level).filter(|cells| !cells.is_empty()).collect()
}

/// Context lengths in the order of the cells.
fn contexts(summary: &Summary) -> Vec<u32> {
    let mut contexts: Vec<u32> = summary.cells.iter().map(|cell| cell.context).collect();
    contexts.dedup();
    contexts
}

fn columns(shape: &Shape) -> Vec<ColumnView> {
    let view = |column: &Column| ColumnView { head: shape.head(column), is_words: column.is_words() };
    shape.columns().into_iter().map(view).collect()
}

fn level<'a>(summary: &'a Summary, shape: &Shape, context: u32) -> LevelView<'a> {
    let here = summary.cells.iter().filter(|cell| cell.context == context);
    LevelView { context, cells: here.map(|of| cell(of, shape)).collect() }
}

fn cell<'a>(cell: &'a CellSummary, shape: &Shape) -> CellView<'a> {
    let value = |column: &Column| {
        let value = shape.value(column, cell);
        // Names of tasks are in the words; brackets of intervals are ours.
        if column.is_words() { text::markdown(&value) } else { value }
    };
    CellView {
        setting: &cell.setting,
        values: shape.columns().into_iter().map(value).collect(),
        command: cell.command.as_deref(),
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
