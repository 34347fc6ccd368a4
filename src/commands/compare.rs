//! `compare`: two runs, from their journals alone.

use super::output::{print, print_json};
use super::runs;
use crate::cli::{CompareArgs, Global};
use crate::error::{EXIT_GATE_FAILED, Result};
use crate::files;
use crate::judge::analysis::compare;
use crate::judge::analysis::compare::{CompareRequest, Prices};
use crate::judge::report;

pub(super) fn compare(args: &CompareArgs, global: &Global) -> Result<u8> {
    let load = |name: &str| super::output::open(&runs::find(&global.runs_dir, name)?);
    let prices = Prices { a: args.price_a, b: args.price_b };
    let request = CompareRequest { thresholds: args.fail_on.clone(), flips: args.flips, prices };
    let comparison = compare::compare(&load(&args.a)?, &load(&args.b)?, &request)?;
    if let Some(path) = &args.html {
        let title = format!("{} beside {}", args.b, args.a);
        files::write(path, report::page_of(&title, &report::comparison(&comparison)?)?.as_bytes())?;
    }
    let code = if args.json { print_json(&comparison)? } else { print(&report::comparison(&comparison)?)? };
    Ok(if comparison.regressions.is_empty() { code } else { EXIT_GATE_FAILED })
}
