//! What templates of every format show: the summary, and groupings of it as data. Nothing here is worded, formatted or
//! escaped.

use serde::Serialize;

use super::columns::{ColumnValue, Head, Shape};
use super::effective::Reach;
use super::files::{FRONT_FILE, HEATMAP_FILE, LOAD_FILE};
use super::svg::{front, heatmap, load_curve};
use crate::judge::analysis::RULER_LINE;
use crate::judge::analysis::summary::{
    CellSummary, ConversationRow, EffectiveLength, KldBand, PrefixCacheRow, Summary,
};
use crate::record::Objective;

mod answer;
mod drafts;
mod grid;
mod held;
mod memory;
mod tasks;

pub(super) use answer::{Answer, answers};
use drafts::DraftPositions;
pub(super) use memory::CheckRow;
use memory::MemoryRow;
use tasks::{DepthTable, FiguresTable, TaskGrid};

/// Failures that are listed one by one.
const LISTED_FAILURES: usize = 50;
/// Cases that are named by their index in a cell of a table.
const LISTED_INDEXES: usize = 12;

/// Everything that a template shows.
#[derive(Serialize)]
pub(super) struct View<'a> {
    summary: &'a Summary,
    /// Options of every setting, which the names leave out.
    shared: &'a [String],
    suite: &'a str,
    answers: Vec<Answer<'a>>,
    /// Names of the pictures that the run has.
    figure: Option<&'static str>,
    heatmap: Option<&'static str>,
    load_curve: Option<&'static str>,
    columns: Vec<Head>,
    levels: Vec<Level<'a>>,
    tasks: Vec<TaskGrid<'a>>,
    task_differences: Vec<TaskGrid<'a>>,
    /// Server time (s) from which losses on tasks would show.
    shown_after: Vec<TaskGrid<'a, f64>>,
    sanity_note: bool,
    /// What the fronts trade off, of what the suite wants.
    traded: Vec<Objective>,
    depths: Vec<DepthTable<'a>>,
    conversations: Vec<&'a [ConversationRow]>,
    effective: Vec<EffectiveRow<'a>>,
    /// RULER's fixed line (0..1).
    ruler_line: f64,
    kld: Vec<Vec<&'a CellSummary>>,
    /// Cells with energy or GPU memory.
    energy: Vec<&'a CellSummary>,
    memory: Vec<MemoryRow<'a>>,
    kld_bands: Vec<&'a [KldBand]>,
    draft_positions: DraftPositions<'a>,
    prefix_cache: Vec<&'a [PrefixCacheRow]>,
    figures: Vec<FiguresTable<'a>>,
    held_schemas: Vec<held::HeldRow<'a>>,
    held_failures: Vec<held::FailuresRow<'a>>,
    /// Whether anything is known of any schema.
    held_tried: bool,
    /// Whether the table says what is held of any.
    held_by_table: bool,
    listed_indexes: usize,
    listed_failures: usize,
}

/// The cells of a context length.
#[derive(Serialize)]
struct Level<'a> {
    context: u32,
    rows: Vec<CellRow<'a>>,
}

#[derive(Serialize)]
struct CellRow<'a> {
    cell: &'a CellSummary,
    values: Vec<ColumnValue>,
}

#[derive(Serialize)]
struct EffectiveRow<'a> {
    setting: &'a str,
    reach: Reach,
}

impl<'a> View<'a> {
    /// `shared` are the options that the names of the summary leave out.
    pub(super) fn new(summary: &'a Summary, shared: &'a [String]) -> Self {
        let contexts = contexts(summary);
        let shape = Shape::wide(&summary.cells);
        let has_energy =
            |cell: &&CellSummary| cell.energy.is_some() || cell.memory.peak_vram_device_bytes.is_some();
        Self {
            summary,
            shared,
            suite: &summary.suite,
            answers: answers(summary),
            figure: front(summary).is_some().then_some(FRONT_FILE),
            heatmap: heatmap(summary).is_some().then_some(HEATMAP_FILE),
            load_curve: load_curve(summary).is_some().then_some(LOAD_FILE),
            columns: shape.columns().into_iter().map(|column| shape.head(column)).collect(),
            levels: contexts.iter().map(|&context| level(summary, &shape, context)).collect(),
            tasks: contexts.iter().filter_map(|&context| tasks::scores(summary, context)).collect(),
            task_differences: contexts
                .iter()
                .filter_map(|&context| tasks::differences(summary, context))
                .collect(),
            shown_after: contexts
                .iter()
                .filter_map(|&context| tasks::shown_after(summary, context))
                .collect(),
            sanity_note: summary.tasks.iter().any(|row| row.sanity && row.quality.is_some()),
            traded: traded(summary),
            depths: tasks::depths(summary),
            conversations: grouped(&summary.conversations, |a, b| {
                (&a.task, a.context) == (&b.task, b.context)
            }),
            effective: effective_lengths(summary),
            ruler_line: RULER_LINE,
            kld: kld_levels(summary, &contexts),
            energy: summary.cells.iter().filter(has_energy).collect(),
            memory: memory::rows(summary),
            kld_bands: grouped(&summary.kld_bands, |a, b| a.context == b.context),
            draft_positions: drafts::positions(summary),
            prefix_cache: grouped(&summary.prefix_cache, |a, b| {
                (&a.setting, a.context) == (&b.setting, b.context)
            }),
            figures: tasks::figures(summary),
            held_schemas: held::rows(summary),
            held_failures: held::failures(summary),
            held_tried: held::is_any_tried(summary),
            held_by_table: summary.held.iter().any(|task| !task.held.by_table.is_empty()),
            listed_indexes: LISTED_INDEXES,
            listed_failures: LISTED_FAILURES,
        }
    }
}

/// Neighbouring rows that are alike: the tables of a section.
fn grouped<T>(rows: &[T], alike: impl FnMut(&T, &T) -> bool) -> Vec<&[T]> {
    rows.chunk_by(alike).collect()
}

/// The suite's objectives that a front trades off; all of them where there is no front.
fn traded(summary: &Summary) -> Vec<Objective> {
    let traded = |objective: &&Objective| {
        summary.fronts.is_empty() || summary.fronts.iter().any(|front| front.objectives.contains(objective))
    };
    summary.objectives.iter().filter(traded).copied().collect()
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

fn level<'a>(summary: &'a Summary, shape: &Shape, context: u32) -> Level<'a> {
    let row = |cell| {
        let values = shape.columns().into_iter().map(|column| shape.value(column, cell)).collect();
        CellRow { cell, values }
    };
    let here = summary.cells.iter().filter(|cell| cell.context == context);
    Level { context, rows: here.map(row).collect() }
}

fn effective_lengths(summary: &Summary) -> Vec<EffectiveRow<'_>> {
    let reach = |length: &EffectiveLength| Reach::new(length, &summary.reference);
    let lengths = summary.effective.iter();
    lengths.map(|length| EffectiveRow { setting: &length.setting, reach: reach(length) }).collect()
}
