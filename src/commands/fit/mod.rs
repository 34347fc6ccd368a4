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
mod measured;
mod memory;
mod rows;
mod server;
mod shape;
mod table;

use caches::Caches;
use measured::Measured;

pub(super) use caches::AskedTypes;
pub(super) use data::{FitTable, Fits, Quant, Row};
#[cfg(test)]
pub(super) use data::{Memory, TensorKind};
pub(super) use server::Server;

pub(super) fn fit(args: &FitArgs, global: &Global) -> Result<u8> {
    let asked = |_| AskedTypes { types: args.kv.clone(), named: !args.kv.is_empty() };
    let table = look(args, &Display::new(global), asked)?;
    match args.json {
        true => print_json(&table)?,
        false => print(&table::text(&table))?,
    };
    Ok(if table.rows.iter().all(|row| row.fits == data::Fits::No) { EXIT_NOTHING_SELECTED } else { EXIT_OK })
}

/// Every quant with every cache type (`kv` names those of the engine that reads such weights), and whether that fits.
///
/// # Errors
/// When there is no such model, or the engine does not read it.
pub(super) fn look(
    args: &FitArgs,
    display: &Display,
    kv: impl Fn(FitEngine) -> AskedTypes,
) -> Result<FitTable> {
    let store = Store::open(display)?;
    let offering = model::offering(&args.model, &store)?;
    let engine = caches::engine_of(args, &offering);
    let asked = kv(engine);
    let server = Server::of(engine, args.binary.as_deref(), &store)?;
    let listed = if asked.named { server.cache_types()? } else { Vec::new() };
    let caches = Caches::of(args, &offering, &asked, &listed)?;
    let measured = Measured::of(&offering, &caches, &server, display);
    Ok(rows::table(args, &offering, &caches, memory::memory(args, &caches), &measured))
}
