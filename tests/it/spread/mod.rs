//! Runs that several workers measure, on the mock server.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Output;

use serde_json::Value;

use crate::common::MockBench;

mod cards;
mod cluster;
mod machines;

/// Lines of a kind in the journals of a run folder: the part that each is of, and its value.
pub(crate) fn lines(run: &Path, kind: &str) -> Vec<(String, Value)> {
    let parts =
        std::fs::read_dir(run.join("parts")).into_iter().flatten().flatten().map(|entry| entry.path());
    let folders: Vec<PathBuf> = parts.chain([run.to_path_buf()]).collect();
    let mut found = Vec::new();
    for folder in folders {
        let text = std::fs::read_to_string(folder.join("journal.jsonl")).unwrap_or_default();
        for line in text.split_inclusive('\n').filter(|line| line.ends_with('\n')) {
            let value: Value = serde_json::from_str(line).unwrap();
            if value[kind].is_object() {
                let name = folder.file_name().unwrap().to_string_lossy().into_owned();
                found.push((name, value[kind].clone()));
            }
        }
    }
    found
}

/// Trials by key, with what came of each.
pub(crate) fn trials(run: &Path) -> BTreeMap<String, Vec<String>> {
    let mut found = BTreeMap::<String, Vec<String>>::new();
    for (_, trial) in lines(run, "trial") {
        let outcome = format!("{} {}", trial["case"], trial["outcome"]);
        found.entry(trial["key"].to_string()).or_default().push(outcome);
    }
    found
}

fn said(out: &Output) -> String {
    String::from_utf8_lossy(&out.stderr).into_owned()
}

fn run(bench: &MockBench, args: &[&str]) -> Output {
    bench.command(args).env("KNEEPOINT_NODE", "here").output().unwrap()
}

fn summary(bench: &MockBench, folder: &Path) -> Value {
    let out = run(bench, &["report", folder.to_str().unwrap(), "--json"]);
    assert!(out.status.success(), "{}", said(&out));
    serde_json::from_slice(&out.stdout).unwrap()
}

/// A bench whose servers behave as a line of shell says before they start.
fn bench_with(line: &str, mock: &str) -> MockBench {
    bench_with_before("\nexec ", line, mock)
}

/// A bench whose server's script has this line before that part.
fn bench_with_before(part: &str, line: &str, mock: &str) -> MockBench {
    let bench = MockBench::new(mock);
    let binary = bench.dir.path().join("llama-server");
    let script = std::fs::read_to_string(&binary).unwrap();
    let changed = script.replacen(part, &format!("\n{line}{part}"), 1);
    assert_ne!(changed, script);
    std::fs::write(&binary, changed).unwrap();
    bench
}
