//! What judging a large run costs: 1,000,000 trials (20 settings x 5 context lengths x 10,000 cases) with 10,000
//! paired bootstrap draws, and how time and memory grow with settings, cases and draws.
//!
//! Every measurement is a process of its own (this binary again), so that peak memory is its alone. The time is
//! that of `summarise`, from a journal in memory to the summary of a report: quality, differences, verdicts, speed,
//! memory, fronts, knees. What the journal itself takes in memory is given beside it.
//!
//!     cargo bench --bench analysis              # the table
//!     cargo bench --bench analysis -- small     # a tenth of the cases, for a first look

#![allow(clippy::print_stdout, reason = "its results")]

use std::process::Command;
use std::time::Instant;

use kneepoint::error::{Context, Error, Result};
use kneepoint::judge::analysis::summarise;
use made_up::{Size, journal};
use serde::{Deserialize, Serialize};

mod made_up;

const TASKS: &[&str] = &["retrieval/niah_multikey_2"];

const GOAL: Size =
    Size { settings: 20, contexts: 5, tasks: TASKS, items: 10_000, draws: 10_000, said: 0, rounds: 2 };

/// What a process found.
#[derive(Debug, Serialize, Deserialize)]
struct Found {
    trials: usize,
    /// Wall-clock time of the analysis (s).
    wall_s: f64,
    /// Processor time of the analysis (s).
    cpu_s: f64,
    /// Resident memory with the journal alone (bytes).
    journal_bytes: u64,
    /// Peak of resident memory, the journal included (bytes).
    peak_bytes: u64,
}

fn main() -> Result<()> {
    // Cargo adds its own `--bench`.
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args.as_slice() {
        ["judge", settings, contexts, items, draws] => {
            let number = |text: &str| text.parse::<u32>().context(|| format!("{text} is no number"));
            judge(Size {
                settings: number(settings)?,
                contexts: number(contexts)?,
                items: number(items)?,
                draws: number(draws)?,
                ..GOAL
            })
        }
        ["small"] => compare(Size { items: GOAL.items / 10, draws: GOAL.draws / 10, ..GOAL }),
        _ => compare(GOAL),
    }
}

fn compare(goal: Size) -> Result<()> {
    println!("| settings | contexts | cases | draws | trials | time | CPU | journal | peak memory |");
    println!("|--:|--:|--:|--:|--:|--:|--:|--:|--:|");
    let halves = [
        Size { settings: goal.settings / 2, ..goal },
        Size { items: goal.items / 2, ..goal },
        Size { draws: goal.draws / 2, ..goal },
    ];
    for size in std::iter::once(goal).chain(halves) {
        let found = in_a_process(size)?;
        println!(
            "| {} | {} | {} | {} | {} | {:.2} s | {:.2} s | {:.0} MiB | {:.0} MiB |",
            size.settings,
            size.contexts,
            size.items,
            size.draws,
            found.trials,
            found.wall_s,
            found.cpu_s,
            mib(found.journal_bytes),
            mib(found.peak_bytes),
        );
    }
    Ok(())
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

fn in_a_process(size: Size) -> Result<Found> {
    let this = std::env::current_exe().context(|| "cannot find this program".into())?;
    let numbers = [size.settings, size.contexts, size.items, size.draws].map(|number| number.to_string());
    let output = Command::new(this)
        .arg("judge")
        .args(numbers)
        .output()
        .context(|| "cannot start this program again".into())?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(Error::runtime(format!("{size:?}: {said}")));
    }
    serde_json::from_slice(&output.stdout).context(|| "the process printed no result".into())
}

fn judge(size: Size) -> Result<()> {
    let journal = journal(size)?;
    let journal_bytes = status(|status| status.vmrss)?;
    let (started, before) = (Instant::now(), cpu_s()?);
    let summary = summarise(&journal)?;
    let found = Found {
        trials: journal.trials.len(),
        wall_s: started.elapsed().as_secs_f64(),
        cpu_s: cpu_s()? - before,
        journal_bytes,
        peak_bytes: status(|status| status.vmhwm)?,
    };
    if summary.cells.iter().any(|cell| cell.quality.is_none() || cell.decode_tps.is_none()) {
        return Err(Error::runtime("a cell was not judged"));
    }
    println!("{}", serde_json::to_string(&found).context(|| "cannot write JSON".into())?);
    Ok(())
}

fn cpu_s() -> Result<f64> {
    let stat = procfs::process::Process::myself()
        .and_then(|process| process.stat())
        .context(|| "cannot read /proc/self/stat".into())?;
    Ok((stat.utime + stat.stime) as f64 / procfs::ticks_per_second() as f64)
}

fn status(of: impl Fn(&procfs::process::Status) -> Option<u64>) -> Result<u64> {
    let status = procfs::process::Process::myself()
        .and_then(|process| process.status())
        .context(|| "cannot read /proc/self/status".into())?;
    of(&status).map(|kib| kib * 1024).ok_or_else(|| Error::runtime("the kernel does not say how much memory"))
}
