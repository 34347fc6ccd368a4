//! `publish`: runs as a static site, without the names of people and machines.

use std::path::Path;

use super::output::print;
use super::runs;
use crate::cli::{Global, PublishArgs};
use crate::error::{Context, EXIT_OK, Error, Result};
use crate::files;
use crate::judge::analysis;
use crate::judge::analysis::compare::{CompareRequest, compare};
use crate::judge::analysis::history::trends;
use crate::judge::analysis::summary::Summary;
use crate::judge::report;
use crate::judge::report::SiteRun;
use crate::record::journal::Journal;

mod scrub;

pub(super) use scrub::Scrubber;

/// A run as it is published.
struct Published {
    name: String,
    journal: Journal,
    summary: Summary,
}

pub(super) fn publish(args: &PublishArgs, global: &Global) -> Result<u8> {
    let mut scrubber = Scrubber::of_this_machine();
    let mut all = Vec::new();
    for run in &args.runs {
        all.push(read(run, global, &mut scrubber)?);
    }
    all.sort_by(|a, b| (&a.summary.started, &a.name).cmp(&(&b.summary.started, &b.name)));
    if let Some(pair) = all.windows(2).find(|pair| pair[0].name == pair[1].name) {
        return Err(Error::usage(format!("two of the runs are called {}", pair[0].name))
            .hint("a page's folder is named after its run: rename one of the folders"));
    }
    for run in &all {
        write_run(run, &args.to.join(&run.name))?;
    }
    let compared = compared(&all, &args.to)?;
    write_index(&all, &compared, &args.to)?;
    print(&format!("{}\n", args.to.join("index.html").display()))?;
    print("taken out of what is published:\n")?;
    let removed = scrubber.removed();
    if removed.is_empty() {
        print("  nothing: no name of this user or machine and no folder was in it\n")?;
    }
    for line in removed {
        print(&format!("  {line}\n"))?;
    }
    Ok(EXIT_OK)
}

fn read(run: &str, global: &Global, scrubber: &mut Scrubber) -> Result<Published> {
    let folder = runs::find(&global.runs_dir, run)?;
    let name = folder.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let journal = super::output::open(&folder)?;
    // Settings that differ by a folder alone are still told apart here.
    let summary = scrubber.scrubbed(&analysis::summarise(&journal)?, true)?;
    Ok(Published { name, journal: scrubber.all(&journal)?, summary })
}

fn write_run(run: &Published, folder: &Path) -> Result<()> {
    std::fs::create_dir_all(folder).context(|| format!("cannot create {}", folder.display()))?;
    let mut written = report::render(&run.summary)?;
    written.push((report::PAGE_FILE.into(), report::report_page(&run.summary, &run.journal)?.into_bytes()));
    files::write_all(folder, &written).map(drop)
}

/// A page for each two neighbouring runs of a suite that can be compared; the names of both and of the page.
fn compared(all: &[Published], to: &Path) -> Result<Vec<(String, String, String)>> {
    let mut pages = Vec::new();
    for (at, run) in all.iter().enumerate() {
        let before = all[..at].iter().rfind(|other| other.summary.suite == run.summary.suite);
        let Some(before) = before else { continue };
        let request = CompareRequest { thresholds: Vec::new(), flips: 20, prices: Default::default() };
        let Ok(comparison) = compare(&before.journal, &run.journal, &request) else { continue };
        let name = format!("{}--{}.html", before.name, run.name);
        let title = format!("{} beside {}", run.name, before.name);
        let page = report::page_of(&title, &report::comparison(&comparison)?)?;
        files::write(&to.join(&name), page.as_bytes())?;
        pages.push((before.name.clone(), run.name.clone(), name));
    }
    Ok(pages)
}

fn write_index(all: &[Published], compared: &[(String, String, String)], to: &Path) -> Result<()> {
    let summaries: Vec<Summary> = all.iter().map(|run| run.summary.clone()).collect();
    files::write(&to.join("history.html"), report::history_page(&trends(&summaries))?.as_bytes())?;
    let row = |run: &Published| SiteRun {
        name: run.name.clone(),
        suite: run.summary.suite.clone(),
        started: run.summary.started.clone(),
        verdict: run.summary.verdict.clone(),
        page: format!("{}/{}", run.name, report::PAGE_FILE),
        compared: compared
            .iter()
            .find(|(_, own, _)| *own == run.name)
            .map(|(before, _, page)| (before.clone(), page.clone())),
    };
    let rows: Vec<SiteRun> = all.iter().rev().map(row).collect();
    files::write(&to.join("index.html"), report::site_page(&rows)?.as_bytes())?;
    // GitHub Pages would leave out what begins with an underscore.
    files::write(&to.join(".nojekyll"), b"")
}
