//! `history prune`: deletes runs, and only after a yes.

use std::fs::File;
use std::io::{BufRead, IsTerminal};
use std::path::Path;

use super::store::Run;
use super::{print, stored};
use crate::cli::{Global, PruneArgs};
use crate::console;
use crate::error::{Context, EXIT_OK, Error, Result};
use crate::journal::FILE_NAME;
use crate::report;

pub(super) fn prune(args: &PruneArgs, global: &Global) -> Result<u8> {
    let runs = stored(args.suite.as_deref(), &global.runs_dir)?;
    let doomed = chosen(&runs, args);
    if doomed.is_empty() {
        return print("nothing to delete\n");
    }
    let bytes: u64 = doomed.iter().map(|run| super::store::size(&run.folder).unwrap_or(0)).sum();
    for run in &doomed {
        print(&format!("{}\n", report::plain(&run.name())))?;
    }
    let question = format!("delete these {} runs ({})?", doomed.len(), report::bytes(bytes));
    if args.dry_run || !agreed(&question, args.yes)? {
        return print("nothing was deleted\n");
    }
    for run in doomed {
        delete(&run.folder)?;
    }
    Ok(EXIT_OK)
}

/// The oldest runs of each suite beyond those that are kept, and of them those that started before the date.
fn chosen<'r>(runs: &'r [Run], args: &PruneArgs) -> Vec<&'r Run> {
    let newer_of_suite = |at: usize| {
        let suite = &runs[at].summary.suite;
        runs[at + 1..].iter().filter(|run| run.summary.suite == *suite).count()
    };
    let beyond = |at: &usize| newer_of_suite(*at) >= args.keep as usize;
    // RFC 3339 times in UTC sort as texts.
    let before =
        |at: &usize| args.before.as_deref().is_none_or(|date| runs[*at].summary.started.as_str() < date);
    (0..runs.len()).filter(beyond).filter(before).map(|at| &runs[at]).collect()
}

/// Asks on the terminal; without one, only `--yes` is a yes.
fn agreed(question: &str, yes: bool) -> Result<bool> {
    if yes {
        return Ok(true);
    }
    let stdin = std::io::stdin();
    if !stdin.is_terminal() {
        return Err(Error::usage(format!("{question} nobody can be asked here"))
            .hint("--yes deletes without asking, --dry-run only shows"));
    }
    console::ask(&format!("{question} [y/N] "));
    let mut answer = String::new();
    stdin.lock().read_line(&mut answer).context(|| "cannot read the answer".into())?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

/// Deletes a run folder, but not a link to one, nor one that is being written to.
fn delete(folder: &Path) -> Result<()> {
    let linked = std::fs::symlink_metadata(folder).is_ok_and(|metadata| metadata.is_symlink());
    if linked {
        tracing::warn!("{} is a link and was left alone", folder.display());
        return Ok(());
    }
    let journal =
        File::open(folder.join(FILE_NAME)).context(|| format!("cannot open {}", folder.display()))?;
    if journal.try_lock().is_err() {
        tracing::warn!("{} is being written to and was left alone", folder.display());
        return Ok(());
    }
    std::fs::remove_dir_all(folder).context(|| format!("cannot delete {}", folder.display()))
}
