//! `fit`: which quants and cache types of a model fit into a memory, from sizes and headers alone.

use crate::cli::{FitArgs, Global};
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

pub(super) use data::FitTable;

pub(super) fn fit(args: &FitArgs, global: &Global) -> Result<u8> {
    let display = Display::new(global);
    let store = Store::open(&display)?;
    let offering = model::offering(&args.model, &store)?;
    drop(display);
    let caches = caches::Caches::of(args, &offering)?;
    let table = rows::table(args, &offering, &caches, memory::memory(args, &caches));
    match args.json {
        true => print_json(&table)?,
        false => print(&table::text(&table))?,
    };
    Ok(if table.rows.iter().all(|row| row.fits == data::Fits::No) { EXIT_NOTHING_SELECTED } else { EXIT_OK })
}
