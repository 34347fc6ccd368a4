//! `route`: what routing between two settings would bring, from a run's journal alone.

use super::output::{print, print_json};
use super::runs;
use crate::cli::{Global, RouteArgs};
use crate::error::Result;
use crate::judge::analysis::route;
use crate::judge::analysis::route::RouteRequest;
use crate::judge::report;

pub(super) fn route(args: &RouteArgs, global: &Global) -> Result<u8> {
    let folder = runs::find(&global.runs_dir, &args.run)?;
    let request = RouteRequest { fast: args.fast.clone(), smart: args.smart.clone() };
    let routed = route::route(&super::output::open(&folder)?, &request)?;
    if args.json { print_json(&routed) } else { print(&report::route(&routed)?) }
}
