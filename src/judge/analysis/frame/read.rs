//! Columns of a table as plain numbers.

use polars::prelude::{DataFrame, PolarsError};

use crate::error::{Error, Result};

fn broken(name: &str) -> String {
    format!("the table of trials has no usable column `{name}`")
}

fn missing(name: &str) -> impl FnOnce(PolarsError) -> Error {
    let said = broken(name);
    move |source| Error::runtime(said).with_source(source)
}

pub(super) fn present(rows: &DataFrame, name: &str) -> Result<Vec<f64>> {
    let column = rows.column(name).and_then(|column| column.f64()).map_err(missing(name))?;
    Ok(column.iter().flatten().collect())
}

pub(super) fn numbers(rows: &DataFrame, name: &str) -> Result<Vec<Option<f64>>> {
    let column = rows.column(name).and_then(|column| column.f64()).map_err(missing(name))?;
    Ok(column.iter().collect())
}

pub(super) fn wholes(rows: &DataFrame, name: &str) -> Result<Vec<u32>> {
    let column = rows.column(name).and_then(|column| column.u32()).map_err(missing(name))?;
    Ok(column.iter().flatten().collect())
}

pub(super) fn flags(rows: &DataFrame, name: &str) -> Result<Vec<bool>> {
    let column = rows.column(name).and_then(|column| column.bool()).map_err(missing(name))?;
    Ok(column.iter().flatten().collect())
}

/// A number of one row; `None` where it is absent, or the whole column is.
pub(super) fn number(rows: &DataFrame, name: &str, row: usize) -> Result<Option<f64>> {
    let Ok(column) = rows.column(name) else { return Ok(None) };
    Ok(column.f64().map_err(missing(name))?.get(row))
}

pub(super) fn whole(rows: &DataFrame, name: &str, row: usize) -> Result<u32> {
    let column = rows.column(name).and_then(|column| column.u32()).map_err(missing(name))?;
    Ok(column.get(row).unwrap_or_default())
}
