//! Journals of earlier versions stay readable: one of each kind, cut down to a few cases.

use std::path::{Path, PathBuf};
use std::process::Command;

use kneepoint::judge::analysis::summarise;
use kneepoint::record::journal;

use crate::common::KNEEPOINT;

/// Kind, and what is in it: trials, launches, decisions.
const KINDS: &[(&str, usize, usize, usize)] = &[
    ("coherence-smollm2", 33, 9, 0),
    ("engines-vllm", 20, 3, 0),
    ("speculative", 60, 12, 0),
    ("stopping-early", 280, 34, 12),
    ("tools", 77, 14, 0),
];

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/journals").join(name)
}

#[test]
fn every_kind_is_read_and_judged() {
    for &(name, trials, launches, decisions) in KINDS {
        let journal = journal::load(&folder(name)).unwrap();
        let found = (journal.trials.len(), journal.launches.len(), journal.decisions.len());
        assert_eq!(found, (trials, launches, decisions), "{name}");
        let summary = summarise(&journal).unwrap();
        assert_eq!(summary.done as usize, trials, "{name}");
        assert!(summary.cells.iter().any(|cell| !cell.setting.is_empty()), "{name}");
    }
}

#[test]
fn a_report_is_made_of_an_old_journal() {
    let dir = tempfile::tempdir().unwrap();
    let copy = dir.path().join("old");
    std::fs::create_dir(&copy).unwrap();
    let packed = folder("engines-vllm").join(journal::PACKED_NAME);
    std::fs::copy(packed, copy.join(journal::PACKED_NAME)).unwrap();
    let out = Command::new(KNEEPOINT).args(["report", "--quiet"]).arg(&copy).output().unwrap();
    assert_eq!(out.status.code(), Some(0), "{}", String::from_utf8_lossy(&out.stderr));
    assert!(std::fs::read_to_string(copy.join("report.md")).unwrap().contains("vllm"));
}
