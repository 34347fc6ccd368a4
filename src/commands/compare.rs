//! `compare`: two runs or more, from their journals alone.

use serde::Serialize;

use super::output::{print, print_json};
use super::runs;
use crate::cli::{CompareArgs, Global};
use crate::error::{EXIT_GATE_FAILED, Error, Result};
use crate::files;
use crate::judge::analysis::compare;
use crate::judge::analysis::compare::{CompareRequest, Prices};
use crate::judge::report;
use crate::record::journal::Journal;

pub(super) fn compare(args: &CompareArgs, global: &Global) -> Result<u8> {
    let load = |name: &String| super::output::open(&runs::find(&global.runs_dir, name)?);
    let [b] = args.b.as_slice() else { return beside(args, load) };
    let prices = Prices { a: args.price_a, b: args.price_b };
    let request = CompareRequest { thresholds: args.fail_on.clone(), flips: args.flips, prices };
    let comparison = compare::compare(&load(&args.a)?, &load(b)?, &request)?;
    let code = show(args, &format!("{b} beside {}", args.a), &comparison, &report::comparison(&comparison)?)?;
    Ok(if comparison.regressions.is_empty() { code } else { EXIT_GATE_FAILED })
}

/// More than two runs in one table.
fn beside(args: &CompareArgs, load: impl Fn(&String) -> Result<Journal>) -> Result<u8> {
    if !args.fail_on.is_empty() || args.price_a.is_some() || args.price_b.is_some() {
        return Err(Error::usage("--fail-on and prices are for two runs")
            .hint("name two of them, or leave these options out: a table of several runs pairs nothing"));
    }
    let journals: Vec<Journal> = std::iter::once(&args.a).chain(&args.b).map(load).collect::<Result<_>>()?;
    let beside = compare::beside(&journals)?;
    show(args, "Runs side by side", &beside, &report::beside(&beside)?)
}

/// Prints what was found, and writes the page that was asked for.
fn show(args: &CompareArgs, title: &str, found: &impl Serialize, markdown: &str) -> Result<u8> {
    if let Some(path) = &args.html {
        files::write(path, report::page_of(title, markdown)?.as_bytes())?;
    }
    if args.json { print_json(found) } else { print(markdown) }
}
