//! A run that is killed at any moment and resumed ends with the planned trials: none twice, none lost.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use common::MockBench;

/// Trial lines of a journal: key -> (case, outcome), and how often each key occurs.
fn outcomes(folder: &Path) -> BTreeMap<String, Vec<String>> {
    let text = std::fs::read_to_string(folder.join("journal.jsonl")).unwrap();
    let mut outcomes = BTreeMap::<String, Vec<String>>::new();
    for line in text.lines() {
        let value: serde_json::Value = serde_json::from_str(line).unwrap();
        let trial = &value["trial"];
        if trial.is_object() {
            let outcome = format!("{} {}", trial["case"], trial["outcome"]);
            outcomes.entry(trial["key"].to_string()).or_default().push(outcome);
        }
    }
    outcomes
}

/// Waits until the journal holds at least `lines` lines.
fn wait_for_lines(bench: &MockBench, lines: usize) {
    let begin = Instant::now();
    loop {
        let journals = std::fs::read_dir(bench.dir.path().join("runs")).into_iter().flatten().flatten();
        let seen: usize = journals
            .filter_map(|run| std::fs::read_to_string(run.path().join("journal.jsonl")).ok())
            .map(|text| text.lines().count())
            .sum();
        if seen >= lines {
            return;
        }
        assert!(begin.elapsed() < Duration::from_secs(60), "only {seen} of {lines} lines after a minute");
        std::thread::yield_now();
    }
}

/// Pids of mock servers that a bench started (its folder is in no argument, its port is: ask by parent).
fn servers_of(bench: &MockBench) -> Vec<String> {
    let marker = bench.dir.path().to_str().unwrap().to_owned();
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    processes
        .filter(|entry| {
            let environ = std::fs::read(entry.path().join("environ")).unwrap_or_default();
            let cmdline = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
            let has = |bytes: &[u8], text: &str| String::from_utf8_lossy(bytes).contains(text);
            has(&environ, &format!("KNEEPOINT_TEST={marker}")) && has(&cmdline, "mock-server")
        })
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect()
}

fn wait_until_no_servers(bench: &MockBench) {
    let begin = Instant::now();
    while !servers_of(bench).is_empty() {
        assert!(
            begin.elapsed() < Duration::from_secs(20),
            "servers outlived kneepoint: {:?}",
            servers_of(bench)
        );
        std::thread::yield_now();
    }
}

/// A whole run without interruption, for comparison.
fn undisturbed() -> BTreeMap<String, Vec<String>> {
    let bench = MockBench::new("");
    let out = bench.command(&["run", "suite.toml"]).output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    outcomes(&bench.run_folder())
}

#[test]
fn killed_at_any_moment_and_resumed_a_run_is_whole() {
    let whole = undisturbed();
    // 2 settings and A/A, 4 + 2 items
    assert_eq!(whole.len(), 18);
    for lines in [1, 2, 4, 9, 15] {
        let bench = MockBench::new("--prefill-ms 0.05 --decode-ms 2");
        let marker = bench.dir.path().to_str().unwrap().to_owned();
        let mut child = bench.command(&["run", "suite.toml"]).env("KNEEPOINT_TEST", &marker).spawn().unwrap();
        wait_for_lines(&bench, lines);
        child.kill().unwrap();
        child.wait().unwrap();
        wait_until_no_servers(&bench);
        let out = bench.command(&["resume"]).output().unwrap();
        assert!(out.status.success(), "after {lines}: {}", String::from_utf8_lossy(&out.stderr));
        let resumed = outcomes(&bench.run_folder());
        assert!(resumed.values().all(|trials| trials.len() == 1), "after {lines}: a trial ran twice");
        assert_eq!(resumed, whole, "after {lines}");
        assert!(!bench.run_folder().join("cases.tmp").exists(), "the cases on disk are gone at the end");
    }
}

#[test]
fn an_interrupted_run_stops_its_server_and_says_how_to_go_on() {
    let bench = MockBench::new("--decode-ms 5");
    let marker = bench.dir.path().to_str().unwrap().to_owned();
    for (signal, code) in [("-INT", 130), ("-TERM", 130)] {
        let child = bench
            .command(&["run", "suite.toml"])
            .env("KNEEPOINT_TEST", &marker)
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        wait_for_lines(&bench, 4);
        std::process::Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap();
        let out = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&out.stderr).into_owned();
        assert_eq!(out.status.code(), Some(code), "{signal}: {said}");
        assert!(said.contains("kneepoint resume"), "{signal}: {said}");
        wait_until_no_servers(&bench);
        std::fs::remove_dir_all(bench.dir.path().join("runs")).unwrap();
    }
}

#[test]
fn a_run_of_another_set_up_is_not_resumed() {
    let bench = MockBench::new("");
    let out = bench.command(&["run", "suite.toml"]).output().unwrap();
    assert!(out.status.success());
    let model = bench.dir.path().join("model.gguf");
    let mut bytes = std::fs::read(&model).unwrap();
    bytes.extend(b"another file");
    std::fs::write(&model, bytes).unwrap();
    let out = bench.command(&["resume"]).output().unwrap();
    let said = String::from_utf8_lossy(&out.stderr);
    assert_eq!(out.status.code(), Some(2), "{said}");
    assert!(said.contains("fingerprint") && said.contains("the file of mock Q8_0 is another one"), "{said}");
}

#[test]
fn two_kneepoints_do_not_write_to_one_run() {
    let bench = MockBench::new("--decode-ms 20");
    let mut child = bench.command(&["run", "suite.toml"]).spawn().unwrap();
    wait_for_lines(&bench, 2);
    let out = bench.command(&["resume"]).output().unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(out.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&out.stderr).contains("another kneepoint is writing"));
}

#[test]
fn the_report_is_made_again_byte_for_byte() {
    let bench = MockBench::new("");
    let out = bench.command(&["run", "suite.toml"]).output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let folder = bench.run_folder();
    for name in ["report.md", "front.svg", "summary.json", "cells.csv"] {
        let first = std::fs::read(folder.join(name)).unwrap();
        std::fs::remove_file(folder.join(name)).unwrap();
        assert!(bench.command(&["report"]).status().unwrap().success());
        assert_eq!(std::fs::read(folder.join(name)).unwrap(), first, "{name}");
    }
}
