//! `history prune`: deletes runs, and only after a yes.

use std::fs::File;
use std::io::{BufRead, IsTerminal};
use std::path::Path;

use super::store::{Run, stored};
use crate::cli::{Global, PruneArgs};
use crate::commands::output::print;
use crate::commands::runs;
use crate::commands::runs::Leftover;
use crate::console;
use crate::error::{Context, EXIT_OK, Error, Kind, Result};
use crate::judge::report;
use crate::record::journal;
use crate::record::journal::FILE_NAME;

pub(super) fn prune(args: &PruneArgs, global: &Global) -> Result<u8> {
    let leftovers = leftovers(args, &global.runs_dir);
    let runs = match stored(args.suite.as_deref(), &global.runs_dir) {
        Err(error) if error.kind() == Kind::NothingSelected && !leftovers.is_empty() => Vec::new(),
        runs => runs?,
    };
    let doomed = chosen(&runs, args);
    if doomed.is_empty() && leftovers.is_empty() {
        return print("nothing to delete\n");
    }
    let folders = doomed.iter().map(|run| &run.folder).chain(leftovers.iter().map(|left| &left.folder));
    let bytes: u64 = folders.map(|folder| super::store::size(folder).unwrap_or(0)).sum();
    for run in &doomed {
        print(&format!("{}\n", report::plain(&run.name())))?;
    }
    for left in &leftovers {
        print(&format!("{} (ended before it began)\n", report::plain(&left.name)))?;
    }
    let count = doomed.len() + leftovers.len();
    let question = format!("delete these {count} runs ({})?", report::bytes(bytes));
    if args.dry_run || !agreed(&question, args.yes)? {
        return print("nothing was deleted\n");
    }
    for run in doomed {
        delete(&run.folder)?;
    }
    for left in leftovers {
        std::fs::remove_dir_all(&left.folder)
            .context(|| format!("cannot delete {}", left.folder.display()))?;
    }
    Ok(EXIT_OK)
}

/// Runs in which nothing was measured, of the suite and from before the date that are asked for. None is kept.
fn leftovers(args: &PruneArgs, runs_dir: &Path) -> Vec<Leftover> {
    let of_suite = |left: &Leftover| args.suite.as_deref().is_none_or(|suite| left.suite == suite);
    let before = |left: &Leftover| args.before.as_deref().is_none_or(|date| left.started.as_str() < date);
    runs::leftovers(runs_dir).into_iter().filter(|left| of_suite(left) && before(left)).collect()
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
    // A worker's lock is found before ours, which would look like one.
    if journal::is_locked(folder) {
        tracing::warn!("{} is being written to and was left alone", folder.display());
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
