//! What the page of a large run costs: its size, and the time that judging and writing it take.
//!
//!     cargo bench --bench page              # the table
//!     cargo bench --bench page -- DIR       # the runs themselves, DIR/trials and DIR/cells, for `kneepoint report`

#![allow(clippy::print_stdout, reason = "its results")]

use std::path::{Path, PathBuf};
use std::time::Instant;

use kneepoint::error::{Context, Result};
use kneepoint::judge::analysis::summarise;
use kneepoint::judge::report;
use kneepoint::record::journal::{Journal, JournalWriter, Record};
use made_up::{CELLS, Size, TRIALS, journal};

mod made_up;

fn main() -> Result<()> {
    // Cargo adds its own `--bench`.
    let folder = std::env::args().skip(1).find(|arg| arg != "--bench").map(PathBuf::from);
    if let Some(folder) = folder {
        return write(&folder.join("trials"), TRIALS).and_then(|()| write(&folder.join("cells"), CELLS));
    }
    println!("| run | trials | cells | judged in | page written in | page | Markdown |");
    println!("|---|--:|--:|--:|--:|--:|--:|");
    for (name, size) in [("trials", TRIALS), ("cells", CELLS)] {
        let journal = journal(size)?;
        let started = Instant::now();
        let summary = summarise(&journal)?;
        let judged = started.elapsed().as_secs_f64();
        let page = report::report_page(&summary, &journal)?;
        let written = started.elapsed().as_secs_f64() - judged;
        let markdown = report::render_markdown(&summary, None)?;
        println!(
            "| {name} | {} | {} | {judged:.2} s | {written:.2} s | {} kB | {} kB |",
            journal.trials.len(),
            summary.cells.len(),
            page.len() / 1000,
            markdown.len() / 1000
        );
    }
    Ok(())
}

fn write(folder: &Path, size: Size) -> Result<()> {
    std::fs::create_dir_all(folder).context(|| format!("cannot create {}", folder.display()))?;
    let Journal { header, cases, trials, .. } = journal(size)?;
    let mut writer = JournalWriter::create(folder, &header)?;
    for case in cases {
        writer.append(&Record::Case(Box::new(case)))?;
    }
    for trial in trials {
        writer.append(&Record::Trial(Box::new(trial)))?;
    }
    Ok(())
}
