//! Journals that disks or people have changed, as a user meets them.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use kneepoint::record::journal;
use kneepoint::record::journal::{Journal, JournalWriter, Record};
use kneepoint::task::version_of;
use serde_json::{Value, json};

fn published(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("reports").join(name)
}

fn a_run() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/runs/quickstart")
}

fn kneepoint(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_kneepoint")).args(args).env("NO_COLOR", "1").output().unwrap()
}

fn said(out: &Output) -> String {
    String::from_utf8_lossy(&out.stderr).into_owned()
}

/// The commands that make figures of a journal.
fn readers(run: &str) -> Vec<Vec<&str>> {
    vec![
        vec!["report", run, "--format", "json"],
        vec!["pick", run, "--context", "1k", "--min-quality", "0"],
        vec!["compare", run, run],
        vec!["route", run],
        vec!["score", run],
        vec!["history", "show", run],
    ]
}

/// The version that a task had when the run was made.
fn version_then(task: &str) -> u32 {
    if task == "coherence/kld" { 1 } else { version_of(task) }
}

/// A published run with few draws, written as kneepoint writes today: a line a record, with checksums.
fn sealed(folder: &Path) -> String {
    let Journal { header, cases, launches, trials, .. } = journal::load(&a_run()).unwrap();
    let mut header = header;
    header.suite.draws = 200;
    let engines = &header.engines;
    header.fingerprint = journal::fingerprint(
        &header.suite,
        &header.filters,
        version_then,
        engines,
        &header.models,
        &header.files,
    );
    let mut writer = JournalWriter::create(folder, &header).unwrap();
    let cases = cases.into_iter().map(|case| Record::Case(Box::new(case)));
    let launches = launches.into_iter().map(|launch| Record::Launch(Box::new(launch)));
    let trials = trials.into_iter().map(|trial| Record::Trial(Box::new(trial)));
    cases.chain(launches).chain(trials).for_each(|record| writer.append(&record).unwrap());
    std::fs::read_to_string(folder.join(journal::FILE_NAME)).unwrap()
}

/// The published quickstart as a kneepoint before checksums wrote it.
fn without_checksums() -> String {
    let text = std::fs::read_to_string(a_run().join(journal::FILE_NAME)).unwrap();
    let bare = |line: &str| {
        line.rsplit_once(",\"crc32\"").map_or(line.to_owned(), |(record, _)| format!("{record}}}"))
    };
    text.lines().map(|line| bare(line) + "\n").collect()
}

/// A published run of before checksums, its header changed.
fn unsealed(folder: &Path, change: impl Fn(&mut Value)) {
    let text = without_checksums();
    let (header, rest) = text.split_once('\n').unwrap();
    let mut header: Value = serde_json::from_str(header).unwrap();
    change(&mut header["header"]);
    std::fs::write(folder.join(journal::FILE_NAME), format!("{header}\n{rest}")).unwrap();
}

#[test]
fn a_changed_score_is_damage_for_every_command_and_is_counted() {
    let folder = tempfile::tempdir().unwrap();
    let text = sealed(folder.path());
    let run = folder.path().to_str().unwrap();
    for args in readers(run) {
        let out = kneepoint(&args);
        assert!(
            !said(&out).contains("damaged") && !said(&out).contains("warning"),
            "{args:?}: {}",
            said(&out)
        );
    }
    let changed = text.replacen(r#""quality":1.0"#, r#""quality":0.0"#, 2);
    assert_ne!(changed, text);
    let lines: Vec<usize> = text
        .lines()
        .zip(changed.lines())
        .enumerate()
        .filter(|(_, (a, b))| a != b)
        .map(|(at, _)| at + 1)
        .collect();
    std::fs::write(folder.path().join(journal::FILE_NAME), &changed).unwrap();
    for args in readers(run) {
        let out = kneepoint(&args);
        assert_eq!(out.status.code(), Some(1), "{args:?}: {}", said(&out));
        assert!(out.stdout.is_empty(), "{args:?} makes figures of it");
        let named = format!("line {} is damaged: its checksum is", lines[0]);
        assert!(said(&out).contains(&named), "{args:?}: {}", said(&out));
        assert!(said(&out).contains(&format!("2 damaged lines in all; also {}", lines[1])), "{}", said(&out));
        assert!(said(&out).contains("hint: "), "{}", said(&out));
    }
    let out = kneepoint(&["resume", run]);
    assert_eq!(out.status.code(), Some(1), "{}", said(&out));
    assert!(said(&out).contains("is damaged: its checksum is"), "{}", said(&out));
}

#[test]
fn a_rewritten_line_or_one_without_its_checksum_says_what_happened() {
    let folder = tempfile::tempdir().unwrap();
    let text = sealed(folder.path());
    let (header, rest) = text.split_once('\n').unwrap();
    let (last, digits) =
        rest.trim_end().rsplit_once('\n').map(|(_, last)| last.rsplit_once(",\"crc32\"").unwrap()).unwrap();
    let digits = digits.trim_start_matches(':').trim_end_matches('}');
    let run = folder.path().to_str().unwrap();
    let sorted = format!("{{\"crc32\": {digits}, {}}}", &last[1..last.len()]);
    for (line, named) in [
        (format!("{last}}}"), "it has no checksum, while the header has one"),
        (sorted, "another tool has rewritten it"),
    ] {
        std::fs::write(folder.path().join(journal::FILE_NAME), format!("{header}\n{line}\n")).unwrap();
        let out = kneepoint(&["report", run]);
        assert_eq!(out.status.code(), Some(1));
        assert!(said(&out).contains("line 2 is damaged: ") && said(&out).contains(named), "{}", said(&out));
    }
}

#[test]
fn trials_of_unknown_cases_and_settings_are_damage_in_a_journal_without_checksums_too() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().to_str().unwrap();
    let text = without_checksums();
    let line = text.lines().position(|line| line.starts_with("{\"trial\":")).unwrap();
    for (place, value, named) in [
        ("/trial/case", json!("0000000000000000"), "there is no case `0000000000000000` in front of it"),
        ("/trial/key/setting", json!("Q9_9 kv=f16"), "the suite has no setting `Q9_9 kv=f16`"),
        ("/trial/key/task", json!("retrieval/other"), "the suite has no task `retrieval/other`"),
        ("/trial/key/context", json!(77), "does not run at 77 tokens"),
        ("/trial/key/index", json!(999_999), "has no case 999999"),
        ("/trial/outcome", json!({"scored": {"quality": 9.0}}), "the quality is 9, it must be 0 to 1"),
        ("/trial/outcome", json!({"scored": {"quality": -1.0}}), "the quality is -1"),
        ("/trial/measurements/0/v", serde_json::from_str("1e999").unwrap(), "number out of range"),
    ] {
        let lines = text.lines().enumerate().map(|(at, text)| {
            let mut record: Value = serde_json::from_str(text).unwrap();
            if at == line {
                *record.pointer_mut(place).unwrap_or_else(|| panic!("{place}: {text}")) = value.clone();
            }
            record.to_string() + "\n"
        });
        std::fs::write(folder.path().join(journal::FILE_NAME), lines.collect::<String>()).unwrap();
        let out = kneepoint(&["report", run]);
        assert_eq!(out.status.code(), Some(1), "{place}: {}", said(&out));
        let number = format!("line {} is damaged: ", line + 1);
        assert!(said(&out).contains(&number) && said(&out).contains(named), "{place}: {}", said(&out));
    }
}

#[test]
fn a_header_whose_numbers_cannot_be_is_an_error_and_no_panic_or_hang() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().to_str().unwrap();
    let huge = || serde_json::from_str::<Value>("1e999").unwrap();
    let numbers = [
        ("/suite/confidence", vec![json!(0), json!(1.0), json!(1.5), json!(-3.0), huge()], "confidence is"),
        ("/suite/draws", vec![json!(0), json!(4_294_967_295_u32)], "draws is"),
        ("/suite/rounds", vec![json!(0), json!(4_294_967_295_u32)], "rounds is"),
        ("/suite/margin", vec![json!(-0.1), json!(0.9), huge()], "margin is"),
        ("/suite/settings", vec![json!([])], "the number of settings is 0"),
        ("/suite/contexts", vec![json!([]), json!([0]), json!([4_294_967_295_u32])], "context length"),
        ("/suite/tasks", vec![json!([])], "the number of tasks is 0"),
        ("/suite/tasks/0/samples", vec![json!(0), json!(4_294_967_295_u32)], "samples of"),
        ("/suite/tasks/0/contexts", vec![json!([12_345])], "12345"),
        ("/suite/sampling/temperature", vec![json!(-1), huge()], "temperature is"),
        ("/suite/engine/idle_timeout_s", vec![json!(-1), json!(1e300)], "idle_timeout_s is"),
        ("/suite/gates", vec![json!([gate(json!(1e300))]), json!([gate(huge())])], "a gate's limit is"),
        (
            "/suite/load",
            vec![json!({"context": 512, "slots": 0, "concurrency": [2], "prompt_tokens": [64],
            "output_tokens": [8], "shared_prefix_tokens": 0, "max_in_flight": 4, "warm_up_s": 1.0,
            "requests": 4, "duration_s": null})],
            "slots is 0",
        ),
        (
            "/suite/stopping",
            vec![json!({"rule": null, "budget_tokens": 0, "budget_s": null})],
            "budget_tokens is",
        ),
        ("/machine/idle_gpu_w", vec![json!(-1e300), huge()], "idle_gpu_w is"),
        ("/filters", vec![json!(["nothing"])], "not a KEY=PATTERN"),
    ];
    for (place, values, named) in numbers {
        for value in values {
            unsealed(folder.path(), |header| {
                let (parent, key) = place.rsplit_once('/').unwrap();
                let parent = if parent.is_empty() { header } else { header.pointer_mut(parent).unwrap() };
                match parent {
                    Value::Array(all) => all[key.parse::<usize>().unwrap()] = value.clone(),
                    other => other[key] = value.clone(),
                }
            });
            let begin = Instant::now();
            let out = kneepoint(&["report", run]);
            assert_eq!(out.status.code(), Some(1), "{place} = {value}: {}", said(&out));
            let refused = "number out of range";
            let words = match value.to_string().contains("999") {
                true => ["line 1 is damaged: ", refused],
                false => ["line 1 is damaged: the header cannot be right: ", named],
            };
            assert!(
                words.iter().all(|words| said(&out).contains(words)),
                "{place} = {value}: {}",
                said(&out)
            );
            assert!(begin.elapsed() < Duration::from_secs(20), "{place} = {value} takes its time");
        }
    }
}

fn gate(max: Value) -> Value {
    json!({"metric": "quality", "cells": [], "min": null, "max": max, "no_worse_than_reference": false,
        "strict": false})
}

#[test]
fn a_header_that_is_not_that_of_its_fingerprint_is_said_with_every_figure() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().to_str().unwrap();
    unsealed(folder.path(), |header| header["suite"]["margin"] = json!(0.5));
    for args in readers(run) {
        let out = kneepoint(&args);
        let words = "the journal's header was changed after the run or is damaged: its fingerprint";
        assert!(said(&out).contains(words), "{args:?}: {}", said(&out));
    }
    let report = kneepoint(&["report", run, "--format", "json", "--quiet"]);
    let summary: Value = serde_json::from_slice(&report.stdout).unwrap();
    let warning = &summary["warnings"][0];
    assert_eq!(
        (&warning["code"], &warning["severity"]),
        (&"header-changed".into(), &"invalid".into()),
        "{warning}"
    );
    assert!(warning["sentence"].as_str().unwrap().contains("fingerprint"), "{warning}");
    let out = kneepoint(&["resume", run]);
    assert_eq!(out.status.code(), Some(2), "{}", said(&out));
    assert!(said(&out).contains("cannot be resumed: the journal's header was changed"), "{}", said(&out));
}

/// Paths in the headers of these were shortened by hand when they were published: nobody can tell any more what their
/// fingerprints were made of. That is said, and their figures are the same.
const SHORTENED: &[&str] = &[
    "coherence-qwen2.5-coder",
    "engines-vllm",
    "engines-vllm-dtype",
    "hardware-cpu",
    "hardware-h200",
    "hardware-h200-shared-card",
];

#[test]
fn every_published_journal_is_still_read() {
    for folder in std::fs::read_dir(published("")).unwrap().map(|entry| entry.unwrap().path()) {
        let name = folder.file_name().unwrap().to_str().unwrap();
        if journal::is_in(&folder) {
            let journal = journal::load(&folder).unwrap();
            let measured = !journal.trials.is_empty() || !journal.load.is_empty();
            assert!(measured, "{name}");
            assert_eq!(!journal.doubts.is_empty(), SHORTENED.contains(&name), "{name}: {:?}", journal.doubts);
        }
    }
}
