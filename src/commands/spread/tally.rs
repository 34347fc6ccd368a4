//! How far a run is, from its workers' journals: only what was written since the last look is read.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use crate::record::journal;
use crate::record::journal::FILE_NAME;

/// How the line of a trial begins.
const TRIAL: &[u8] = b"{\"trial\":";

/// Counts the trials in the journals of a run's workers.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// Bytes that were read, and trials among them.
    seen: HashMap<PathBuf, (u64, usize)>,
}

impl Tally {
    /// Trials that are in the journals now; one that was tried again counts each time.
    pub(super) fn trials(&mut self, run: &Path) -> usize {
        for part in journal::parts(run) {
            let seen = self.seen.entry(part.join(FILE_NAME)).or_default();
            // What cannot be read now is read at the next look.
            let _ = look(&part.join(FILE_NAME), seen);
        }
        self.seen.values().map(|(_, trials)| trials).sum()
    }
}

fn look(path: &Path, (at, trials): &mut (u64, usize)) -> std::io::Result<()> {
    let mut file = File::open(path)?;
    if file.metadata()?.len() < *at {
        // A torn line was cut off and others followed.
        (*at, *trials) = (0, 0);
    }
    file.seek(SeekFrom::Start(*at))?;
    let mut reader = BufReader::new(file);
    let mut line = Vec::new();
    loop {
        line.clear();
        let length = reader.read_until(b'\n', &mut line)?;
        if !line.ends_with(b"\n") {
            return Ok(());
        }
        *at += length as u64;
        *trials += usize::from(line.starts_with(TRIAL));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_lines_of_trials_count_and_each_once() {
        let run = tempfile::tempdir().unwrap();
        let part = run.path().join("parts/0000@a");
        std::fs::create_dir_all(&part).unwrap();
        let write = |text: &str| std::fs::write(part.join(FILE_NAME), text).unwrap();
        write("{\"header\":{}}\n{\"trial\":{}}\n{\"tri");
        let mut tally = Tally::default();
        assert_eq!((tally.trials(run.path()), tally.trials(run.path())), (1, 1));
        write("{\"header\":{}}\n{\"trial\":{}}\n{\"trial\":{}}\n{\"case\":{}}\n");
        assert_eq!(tally.trials(run.path()), 2);
    }
}
