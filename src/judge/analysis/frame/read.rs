//! Columns of a table as plain numbers.

use polars::prelude::{BooleanChunked, DataFrame, Float64Chunked, PolarsError};

use crate::error::{Error, Result};

fn missing(name: &str) -> impl FnOnce(PolarsError) -> Error {
    let said = format!("the table of trials has no usable column `{name}`");
    move |source| Error::runtime(said).with_source(source)
}

pub(super) fn figure<'t>(rows: &'t DataFrame, name: &str) -> Result<&'t Float64Chunked> {
    rows.column(name).and_then(|column| column.f64()).map_err(missing(name))
}

pub(super) fn flagged<'t>(rows: &'t DataFrame, name: &str) -> Result<&'t BooleanChunked> {
    rows.column(name).and_then(|column| column.bool()).map_err(missing(name))
}

pub(super) fn present(rows: &DataFrame, name: &str) -> Result<Vec<f64>> {
    Ok(figure(rows, name)?.iter().flatten().collect())
}

pub(super) fn numbers(rows: &DataFrame, name: &str) -> Result<Vec<Option<f64>>> {
    Ok(figure(rows, name)?.iter().collect())
}

pub(super) fn wholes(rows: &DataFrame, name: &str) -> Result<Vec<u32>> {
    let column = rows.column(name).and_then(|column| column.u32()).map_err(missing(name))?;
    Ok(column.iter().flatten().collect())
}

pub(super) fn flags(rows: &DataFrame, name: &str) -> Result<Vec<bool>> {
    Ok(flagged(rows, name)?.iter().flatten().collect())
}
