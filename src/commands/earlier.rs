//! Earlier runs beside a run: for the night before it, and for how fast this machine was.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use super::runs;
use crate::judge::analysis::history::machine_name;
use crate::record::journal;
use crate::record::journal::{FILE_NAME, Header};

/// A header is never this long (bytes); a file whose first line is longer is no journal.
const LONGEST_HEADER: u64 = 64 << 20;

/// A run that began earlier, without its trials.
pub(super) struct Earlier {
    pub(super) folder: PathBuf,
    pub(super) header: Header,
}

/// The machine of a run in words.
pub(super) fn machine_of(header: &Header) -> String {
    machine_name(&header.machine, &header.engines)
}

/// The runs of a folder that `wanted` takes, the latest start first. What cannot be read is left out.
pub(super) fn runs(runs_dir: &Path, wanted: impl Fn(&Header) -> bool) -> Vec<Earlier> {
    let folders = runs::names(runs_dir).into_iter().map(|name| runs_dir.join(name));
    let mut found: Vec<Earlier> = folders
        .filter_map(|folder| Some(Earlier { header: header(&folder)?, folder }))
        .filter(|earlier| wanted(&earlier.header))
        .collect();
    found.sort_by(|a, b| b.header.started.cmp(&a.header.started));
    found
}

/// The first line of a journal.
pub(super) fn header(folder: &Path) -> Option<Header> {
    let mut line = Vec::new();
    let file = File::open(folder.join(FILE_NAME)).ok()?;
    BufReader::new(file.take(LONGEST_HEADER)).read_until(b'\n', &mut line).ok()?;
    journal::parse(&line).ok().map(|(journal, _)| journal.header)
}
