//! Settings by tasks, by depths and by the tasks' own figures.

use std::collections::BTreeSet;

use serde::Serialize;

use super::grid::{Grid, settings};
use crate::judge::analysis::summary::{DepthRow, Estimate, FigureRow, Summary, TaskRow};
use crate::record::Arm;

/// A task, as a column.
#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
pub(super) struct TaskColumn<'a> {
    task: &'a str,
    arm: Option<Arm>,
    sanity: bool,
}

impl<'a> TaskColumn<'a> {
    fn of(row: &'a TaskRow) -> Self {
        Self { task: &row.task, arm: row.arm, sanity: row.sanity }
    }
}

/// Settings by tasks.
pub(super) type TaskGrid<'a, T = Estimate> = Grid<'a, TaskColumn<'a>, T>;

/// Returns the scores; `None` where the context length has none.
pub(super) fn scores(summary: &Summary, context: u32) -> Option<TaskGrid<'_>> {
    by_task(summary, context, |row| row.quality)
}

/// Returns what each setting loses on each task; `None` where one task says no more than the whole.
pub(super) fn differences(summary: &Summary, context: u32) -> Option<TaskGrid<'_>> {
    let grid = by_task(summary, context, |row| row.difference)?;
    (grid.columns() > 1).then(|| grid.without_empty_rows())
}

/// Returns from how much server time (s) what settings lose on each task would show; `None` where nothing was shown.
pub(super) fn shown_after(summary: &Summary, context: u32) -> Option<TaskGrid<'_, f64>> {
    let losses =
        |row: &TaskRow| row.shown_after_s.filter(|_| row.difference.is_some_and(|lost| lost.value < 0.0));
    let grid = by_task(summary, context, losses)?;
    Some(grid.without_empty_rows())
}

/// Returns a figure that rows have or have not, by setting and task.
fn by_task<T: Copy>(
    summary: &Summary,
    context: u32,
    figure: fn(&TaskRow) -> Option<T>,
) -> Option<TaskGrid<'_, T>> {
    let has_figure = |row: &&TaskRow| row.context == context && figure(row).is_some();
    let shown: Vec<&TaskRow> = summary.tasks.iter().filter(has_figure).collect();
    let mut columns: Vec<TaskColumn<'_>> = Vec::new();
    for row in &shown {
        let column = TaskColumn::of(row);
        if !columns.contains(&column) {
            columns.push(column);
        }
    }
    let value = |setting: &str, _, column: &TaskColumn<'_>| {
        let row = shown.iter().find(|row| row.setting == setting && TaskColumn::of(row) == *column);
        row.and_then(|row| figure(row))
    };
    (!columns.is_empty()).then(|| Grid::new(context, columns, settings(summary, context), value))
}

/// One task's figures by depth of the answer.
#[derive(Serialize)]
pub(super) struct DepthTable<'a> {
    task: &'a str,
    /// They are mean KLD (nat) and not scores.
    is_kld: bool,
    grid: Grid<'a, Bin, &'a DepthRow>,
}

/// A stretch of the context (0..1).
#[derive(Clone, Copy, PartialEq, Serialize)]
struct Bin {
    from: f64,
    to: f64,
}

/// Returns a table for every task and context length that has depths.
pub(super) fn depths(summary: &Summary) -> Vec<DepthTable<'_>> {
    let mut seen = BTreeSet::new();
    let keys = summary.depths.iter().map(|row| (row.task.as_str(), row.context));
    keys.filter(|key| seen.insert(*key)).map(|(task, context)| depth_table(summary, task, context)).collect()
}

fn depth_table<'a>(summary: &'a Summary, task: &'a str, context: u32) -> DepthTable<'a> {
    let is_here = |row: &&DepthRow| row.task == task && row.context == context;
    let here: Vec<&DepthRow> = summary.depths.iter().filter(is_here).collect();
    let bin = |row: &DepthRow| Bin { from: row.from, to: row.to };
    let mut bins: Vec<Bin> = here.iter().map(|row| bin(row)).collect();
    bins.sort_by(|a, b| a.from.total_cmp(&b.from));
    bins.dedup();
    let value = |setting: &str, _, column: &Bin| {
        here.iter().find(|row| row.setting == setting && bin(row) == *column).copied()
    };
    let is_kld = !summary.tasks.iter().any(|row| row.task == task && row.quality.is_some());
    let rows =
        settings(summary, context).filter(|(setting, _)| here.iter().any(|row| row.setting == *setting));
    DepthTable { task, is_kld, grid: Grid::new(context, bins, rows, value) }
}

/// One task's own figures.
#[derive(Serialize)]
pub(super) struct FiguresTable<'a> {
    task: &'a str,
    arm: Option<Arm>,
    grid: Grid<'a, &'a str, &'a FigureRow>,
}

/// Returns a table for every task with figures, arm and context length.
pub(super) fn figures(summary: &Summary) -> Vec<FiguresTable<'_>> {
    let alike = |a: &FigureRow, b: &FigureRow| a.task == b.task && a.arm == b.arm && a.context == b.context;
    summary.figures.chunk_by(alike).filter_map(figures_table).collect()
}

fn figures_table(rows: &[FigureRow]) -> Option<FiguresTable<'_>> {
    let first = rows.first()?;
    let mut columns: Vec<&str> = Vec::new();
    let mut settings: Vec<(&str, u32)> = Vec::new();
    for row in rows {
        if !columns.contains(&row.figure.as_str()) {
            columns.push(&row.figure);
        }
        if !settings.contains(&(row.setting.as_str(), row.replicate)) {
            settings.push((&row.setting, row.replicate));
        }
    }
    let value = |setting: &str, replicate, column: &&str| {
        let is_it =
            |row: &&FigureRow| row.setting == setting && row.replicate == replicate && row.figure == *column;
        rows.iter().find(is_it)
    };
    let grid = Grid::new(first.context, columns, settings, value);
    Some(FiguresTable { task: &first.task, arm: first.arm, grid })
}
