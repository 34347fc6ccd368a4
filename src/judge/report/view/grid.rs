//! Tables with a row a setting.

use serde::Serialize;

use crate::judge::analysis::summary::Summary;

/// What every setting has in every column, at one context length.
#[derive(Serialize)]
pub(super) struct Grid<'a, C, V> {
    context: u32,
    columns: Vec<C>,
    rows: Vec<GridRow<'a, V>>,
}

#[derive(Serialize)]
struct GridRow<'a, V> {
    setting: &'a str,
    /// 0, or 1 for the second visit.
    replicate: u32,
    values: Vec<Option<V>>,
}

impl<'a, C, V> Grid<'a, C, V> {
    /// Asks for the value of every row, which is a setting and its visit, in every column.
    pub(super) fn new(
        context: u32,
        columns: Vec<C>,
        rows: impl IntoIterator<Item = (&'a str, u32)>,
        value: impl Fn(&str, u32, &C) -> Option<V>,
    ) -> Self {
        let row = |(setting, replicate)| {
            let values = columns.iter().map(|column| value(setting, replicate, column)).collect();
            GridRow { setting, replicate, values }
        };
        let rows = rows.into_iter().map(row).collect();
        Self { context, columns, rows }
    }

    /// Leaves out the rows without any value.
    pub(super) fn without_empty_rows(mut self) -> Self {
        self.rows.retain(|row| row.values.iter().any(Option::is_some));
        self
    }

    pub(super) const fn columns(&self) -> usize {
        self.columns.len()
    }
}

/// Returns the settings of a context length, in the order of the cells.
pub(super) fn settings(summary: &Summary, context: u32) -> impl Iterator<Item = (&str, u32)> {
    let here = summary.cells.iter().filter(move |cell| cell.context == context);
    here.map(|cell| (cell.setting.as_str(), 0))
}
