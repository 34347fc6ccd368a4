//! Gates, stopping early and the store of runs, through the binary and the mock server.

use crate::common::MockBench;
use std::process::Output;

/// A bench whose suite goes on with these lines.
fn bench(more: &str) -> MockBench {
    let bench = MockBench::new("");
    let path = bench.dir.path().join("suite.toml");
    let suite = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, suite + more).unwrap();
    bench
}

fn output(bench: &MockBench, args: &[&str]) -> Output {
    bench.command(args).output().unwrap()
}

fn said(out: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr))
}

fn read(bench: &MockBench, name: &str) -> String {
    std::fs::read_to_string(bench.run_folder().join(name)).unwrap()
}

const GATES: &str = r#"
[[gate]]
metric = "failed"
max = 0.9

[[gate]]
metric = "memory"
cells = ["setting=*q8_0*"]
max = 1
"#;

#[test]
fn a_failed_gate_is_the_exit_code_of_run_and_report() {
    let bench = bench(GATES);
    let out = output(&bench, &["run", "suite.toml"]);
    assert_eq!(out.status.code(), Some(100), "{}", said(&out));
    assert!(said(&out).contains("gate failed: memory at most 1"), "{}", said(&out));
    let junit = read(&bench, "junit.xml");
    assert!(junit.contains(r#"tests="3" failures="1""#), "{junit}");
    assert!(read(&bench, "report.md").contains("**failed**"));
    assert!(read(&bench, "journal.jsonl").contains("memory_copy_bytes_per_s"), "a run measures its machine");
    assert!(read(&bench, "report.md").contains("GB/s"), "and the report says it");
    let again = output(&bench, &["report"]);
    assert_eq!(again.status.code(), Some(100), "{}", said(&again));
    let xml = output(&bench, &["report", "--format", "junit"]);
    assert_eq!(String::from_utf8_lossy(&xml.stdout), junit);
}

#[test]
fn gates_that_hold_say_nothing() {
    let bench = bench(&GATES.replace("max = 1\n", "max = 1e12\n"));
    let out = output(&bench, &["run", "suite.toml"]);
    assert_eq!(out.status.code(), Some(0), "{}", said(&out));
    assert!(!said(&out).contains("gate "), "{}", said(&out));
}

#[test]
fn a_run_that_stopped_early_is_complete() {
    let bench = bench("\n[stopping]\nbudget_tokens = 1\n");
    let out = output(&bench, &["run", "suite.toml"]);
    assert_eq!(out.status.code(), Some(0), "{}", said(&out));
    let journal = read(&bench, "journal.jsonl");
    assert_eq!(journal.matches("{\"trial\":").count(), 9, "one of two rounds");
    assert_eq!(journal.matches("{\"decision\":").count(), 2);
    let report = read(&bench, "report.md");
    assert!(report.contains("## Stopped early") && report.contains("9 of 18 planned trials"), "{report}");
    let resumed = output(&bench, &["resume"]);
    assert_eq!(resumed.status.code(), Some(0), "{}", said(&resumed));
    assert_eq!(read(&bench, "journal.jsonl"), journal, "there is nothing to resume");
}

/// Between rounds the analysis runs amid the runtime that drives the requests.
#[test]
fn verdicts_are_drawn_between_rounds() {
    let bench = bench("\n[stopping]\nrule = \"sequential\"\n");
    let out = output(&bench, &["run", "suite.toml"]);
    assert_eq!(out.status.code(), Some(0), "{}", said(&out));
    let report = read(&bench, "report.md");
    // The mock's answers are all wrong: nothing is settled, and both rounds run.
    assert!(report.contains("a cell stops when its verdict is settled"), "{report}");
    assert_eq!(read(&bench, "journal.jsonl").matches("{\"trial\":").count(), 18);
}

#[test]
fn runs_are_listed_and_deleted_only_when_told() {
    let bench = bench("");
    assert_eq!(output(&bench, &["history"]).status.code(), Some(4), "no runs yet");
    assert!(output(&bench, &["run", "suite.toml"]).status.success());
    let name = bench.run_folder().file_name().unwrap().to_str().unwrap().to_owned();

    let list = output(&bench, &["history"]);
    assert!(said(&list).contains(&name) && said(&list).contains("18 of 18"), "{}", said(&list));
    let json: serde_json::Value =
        serde_json::from_slice(&output(&bench, &["history", "--json"]).stdout).unwrap();
    assert_eq!(json["runs"][0]["run"], name.as_str());
    let shown = output(&bench, &["history", "show"]);
    assert!(said(&shown).contains("suite mock"), "{}", said(&shown));
    assert_eq!(output(&bench, &["history", "list", "--suite", "other"]).status.code(), Some(4));

    let trends: serde_json::Value =
        serde_json::from_slice(&output(&bench, &["history", "trend", "--json"]).stdout).unwrap();
    assert!(!trends["trends"].as_array().unwrap().is_empty());
    let csv = String::from_utf8(output(&bench, &["history", "export"]).stdout).unwrap();
    assert!(csv.starts_with("suite,run,started") && csv.contains("decode_tps"), "{csv}");

    let prune = |more: &[&str]| output(&bench, &[&["history", "prune", "--keep", "0"], more].concat());
    assert_eq!(prune(&[]).status.code(), Some(2), "nobody can be asked");
    assert_eq!(prune(&["--dry-run"]).status.code(), Some(0));
    assert!(said(&prune(&["--yes", "--before", "2000-01-01"])).contains("nothing to delete"));
    assert!(
        said(&output(&bench, &["history", "prune", "--keep", "1", "--yes"])).contains("nothing to delete")
    );
    assert!(bench.run_folder().join("journal.jsonl").exists());
    assert!(prune(&["--yes"]).status.success());
    assert_eq!(std::fs::read_dir(bench.dir.path().join("runs")).unwrap().count(), 0);
}

#[test]
fn a_dry_run_says_what_the_suite_can_see() {
    let bench = bench("\n[[task]]\nname = \"retrieval/niah_multikey_2\"\nsamples = 229\n");
    let out = output(&bench, &["run", "suite.toml", "--dry-run"]);
    assert!(out.status.success(), "{}", said(&out));
    assert!(said(&out).contains("power at 512: 229 pairs"), "{}", said(&out));
    let json = output(&bench, &["run", "suite.toml", "--dry-run", "--json"]);
    let json: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(json["power"][0]["pairs"], 229);
    assert!(json["power"][0]["chances"][0]["power"].as_f64().unwrap() > 0.8);
}
