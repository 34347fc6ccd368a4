//! A run as it lies in the store.

use std::path::{Path, PathBuf};

use super::entry::RunEntry;
use crate::commands::runs;
use crate::error::{Context, Error, Kind, Result};
use crate::judge::analysis;
use crate::judge::analysis::summary::{
    GateStatus, NightBefore, OLDEST_SUMMARY_SCHEMA_VERSION, SUMMARY_SCHEMA_VERSION, Summary,
};
use crate::record::journal;

/// One run folder and what it says.
pub(super) struct Run {
    pub(super) folder: PathBuf,
    pub(super) summary: Summary,
}

impl Run {
    /// Reads the summary that lies beside the journal; where there is none of today's form, or the journal is
    /// newer, it is made from the journal.
    pub(super) fn open(folder: &Path) -> Result<Self> {
        let summary = match written(folder) {
            Some(summary) => summary,
            None => analysis::summarise(&crate::commands::output::open(folder)?).map_err(|error| {
                Error::runtime(format!("cannot judge {}", folder.display())).with_source(error)
            })?,
        };
        Ok(Self { folder: folder.to_path_buf(), summary })
    }

    pub(super) fn name(&self) -> String {
        self.folder.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
    }

    pub(super) fn entry(&self) -> RunEntry {
        let summary = &self.summary;
        let failed = summary.gates.iter().filter(|result| result.status == GateStatus::Failed);
        RunEntry {
            run: self.name(),
            suite: summary.suite.clone(),
            started: summary.started.clone(),
            fingerprint: summary.fingerprint.clone(),
            done: summary.done,
            planned: summary.planned,
            gates_failed: failed.count() as u32,
            gates: summary.gates.len() as u32,
            bytes: size(&self.folder).unwrap_or(0),
            verdict: summary.verdict.clone(),
            changed: summary.night_before.as_ref().map_or("–".to_owned(), changed),
            since: summary.night_before.as_ref().map(NightBefore::sentence),
        }
    }
}

/// The runs of a suite, or all; an error when there are none.
pub(super) fn stored(suite: Option<&str>, runs_dir: &Path) -> Result<Vec<Run>> {
    let folders: Vec<PathBuf> = runs::names(runs_dir).iter().map(|name| runs_dir.join(name)).collect();
    let mut found = Vec::new();
    for folder in folders {
        match Run::open(&folder) {
            Ok(run) if suite.is_none_or(|suite| run.summary.suite == suite) => found.push(run),
            Ok(_) => {}
            // One damaged run must not hide the others.
            Err(error) => tracing::warn!("{}", crate::error::chain(&error)),
        }
    }
    if found.is_empty() {
        let of = suite.map_or(String::new(), |suite| format!(" of suite {suite}"));
        return Err(Error::new(Kind::NothingSelected, format!("no run{of} in {}", runs_dir.display()))
            .hint("`kneepoint run SUITE` makes one; --runs-dir names another folder"));
    }
    Ok(found)
}

/// Such as `2 worse, 1 better`.
fn changed(before: &NightBefore) -> String {
    match (before.worse.len(), before.better.len()) {
        (0, 0) => "no change shown".to_owned(),
        (worse, better) => format!("{worse} worse, {better} better"),
    }
}

fn written(folder: &Path) -> Option<Summary> {
    let path = folder.join("summary.json");
    let changed = |path: &Path| std::fs::metadata(path).and_then(|data| data.modified()).ok();
    if changed(&path)? < journal::changed(folder)? {
        return None;
    }
    let summary: Summary = serde_json::from_slice(&std::fs::read(&path).ok()?).ok()?;
    let readable = OLDEST_SUMMARY_SCHEMA_VERSION..=SUMMARY_SCHEMA_VERSION;
    readable.contains(&summary.schema_version).then_some(summary)
}

/// Bytes of everything in a folder; links are not followed.
pub(super) fn size(folder: &Path) -> Result<u64> {
    let entries = std::fs::read_dir(folder).context(|| format!("cannot list {}", folder.display()))?;
    let mut bytes = 0;
    for entry in entries {
        let entry = entry.context(|| format!("cannot list {}", folder.display()))?;
        let kind = entry.file_type().context(|| format!("cannot read {}", entry.path().display()))?;
        bytes += if kind.is_dir() {
            size(&entry.path())?
        } else {
            entry.metadata().map_or(0, |metadata| metadata.len())
        };
    }
    Ok(bytes)
}
