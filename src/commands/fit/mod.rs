//! `fit`: which quants and cache types of a model fit into a memory, from sizes and headers alone.

use crate::cli::{FitArgs, FitEngine, Global};
use crate::error::{EXIT_NOTHING_SELECTED, EXIT_OK, Result};
use crate::measure::model;
use crate::measure::model::Store;

use super::output::{print, print_json};
use super::progress::Display;

mod advice;
mod caches;
mod data;
mod memory;
mod rows;
mod table;

pub(super) use data::{FitTable, Fits, Quant, Row};
#[cfg(test)]
pub(super) use data::{Memory, TensorKind};

pub(super) fn fit(args: &FitArgs, global: &Global) -> Result<u8> {
    let table = look(args, &Display::new(global), |_| args.kv.clone())?;
    match args.json {
        true => print_json(&table)?,
        false => print(&table::text(&table))?,
    };
    Ok(if table.rows.iter().all(|row| row.fits == data::Fits::No) { EXIT_NOTHING_SELECTED } else { EXIT_OK })
}

/// Every quant with every cache type (`kv` names those of the engine that reads such weights; none: all), and whether that fits.
///
/// # Errors
/// When there is no such model, or the engine does not read it.
pub(super) fn look(
    args: &FitArgs,
    display: &Display,
    kv: impl Fn(FitEngine) -> Vec<String>,
) -> Result<FitTable> {
    let store = Store::open(display)?;
    let offering = model::offering(&args.model, &store)?;
    let args = FitArgs { kv: kv(caches::engine_of(args, &offering)), ..args.clone() };
    let caches = caches::Caches::of(&args, &offering)?;
    Ok(rows::table(&args, &offering, &caches, memory::memory(&args, &caches)))
}
