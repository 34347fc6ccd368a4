//! More than two runs side by side as Markdown: the columns of the report, a table for each context length.

use serde::Serialize;

use super::columns::{ColumnValue, Head, Shape};
use super::markdown::built_in;
use crate::error::Result;
use crate::judge::analysis::compare::{Beside, BesideRun};
use crate::judge::analysis::summary::CellSummary;

const TEMPLATE: &str = include_str!("templates/beside.md.j2");

/// What the template shows.
#[derive(Serialize)]
struct View<'a> {
    beside: &'a Beside,
    columns: Vec<Head>,
    levels: Vec<Level<'a>>,
}

/// The cells of a context length, run after run.
#[derive(Serialize)]
struct Level<'a> {
    context: u32,
    rows: Vec<Row<'a>>,
}

#[derive(Serialize)]
struct Row<'a> {
    letter: char,
    setting: &'a str,
    values: Vec<ColumnValue>,
}

/// Returns the table of several runs.
///
/// # Errors
/// When the template fails.
pub fn beside(beside: &Beside) -> Result<String> {
    let all: Vec<CellSummary> = beside.runs.iter().flat_map(|run| run.cells.clone()).collect();
    let shape = Shape::wide(&all);
    let mut contexts: Vec<u32> = all.iter().map(|cell| cell.context).collect();
    contexts.sort_unstable();
    contexts.dedup();
    let view = View {
        beside,
        columns: shape.columns().into_iter().map(|column| shape.head(column)).collect(),
        levels: contexts.into_iter().map(|context| level(beside, &shape, context)).collect(),
    };
    built_in("beside.md", TEMPLATE, view)
}

fn level<'a>(beside: &'a Beside, shape: &Shape, context: u32) -> Level<'a> {
    let rows = |run: &'a BesideRun| {
        let here = run.cells.iter().filter(move |cell| cell.context == context);
        here.map(|cell| row(run.letter, shape, cell)).collect::<Vec<_>>()
    };
    Level { context, rows: beside.runs.iter().flat_map(rows).collect() }
}

fn row<'a>(letter: char, shape: &Shape, cell: &'a CellSummary) -> Row<'a> {
    let values = shape.columns().into_iter().map(|column| shape.value(column, cell)).collect();
    Row { letter, setting: &cell.setting, values }
}
