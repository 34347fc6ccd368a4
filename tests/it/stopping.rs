//! Cells that stop in the middle of a visit, between two texts: through the binary and the mock server.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;

use crate::common::MockBench;

/// Two rounds of six texts with two questions each.
const SUITE: &str = r#"
name = "texts"
contexts = [512]
rounds = 2
draws = 200
margin = 0.05
objectives = ["quality"]

[engine]
binary = "BINARY"
start_timeout_s = 20
request_timeout_s = 20
idle_timeout_s = 5

[[model]]
name = "mock"
path = "model.gguf"
weights = "Q8_0"

[reference]

[matrix]
kv = ["f16", "q8_0", "q5_0", "q4_0"]

[[task]]
name = "retrieval/niah_multikey_2"
samples = 24
questions = 2
score = "probability"
options.output_tokens = 24

[stopping]
rule = "sequential"
"#;

/// Keeps every answer of the reference's.
const EQUAL: &str = "Q8_0 kv=q8_0";
/// Loses a few answers, here and there.
const UNCLEAR: &str = "Q8_0 kv=q5_0";
/// Loses most answers.
const BROKEN: &str = "Q8_0 kv=q4_0";

/// A bench whose servers answer worse the smaller the types of their cache are.
fn bench() -> MockBench {
    let bench = MockBench::new("--prefill-ms 0 --decode-ms 0");
    let binary = bench.dir.path().join("llama-server");
    let types = "-ctk) case $2 in q4_0) losses=0.7 ;; q5_0) losses=0.2 ;; esac ;;\n    -np)";
    let wrapper = std::fs::read_to_string(&binary).unwrap();
    let wrapper =
        wrapper.replace("-np)", types).replace(" mock-server ", " mock-server --forced-losses ${losses:-0} ");
    std::fs::write(&binary, wrapper).unwrap();
    let suite = SUITE.replace("BINARY", binary.to_str().unwrap());
    std::fs::write(bench.dir.path().join("suite.toml"), suite).unwrap();
    bench
}

/// A whole run.
fn run() -> MockBench {
    let bench = bench();
    let out = bench.command(&["run", "suite.toml"]).output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    bench
}

fn journal(folder: &Path) -> String {
    std::fs::read_to_string(folder.join("journal.jsonl")).unwrap()
}

fn records(journal: &str) -> Vec<Value> {
    journal.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The decision that stopped a whole cell, and where it stands.
fn decision(records: &[Value], setting: &str) -> Option<(usize, Value)> {
    let about = |record: &Value| {
        record["decision"]["setting"] == setting && record["decision"]["replicate"].is_null()
    };
    let at = records.iter().position(about)?;
    Some((at, records[at]["decision"].clone()))
}

/// Trials of a setting's first visits, by where they stand.
fn trials(records: &[Value], setting: &str) -> Vec<usize> {
    let own = |record: &Value| {
        record["trial"]["key"]["setting"] == setting && record["trial"]["key"]["replicate"] == 0
    };
    (0..records.len()).filter(|at| own(&records[*at])).collect()
}

#[test]
fn a_cell_stops_after_the_text_that_settles_it_and_an_open_one_goes_on() {
    let bench = run();
    let records = records(&journal(&bench.run_folder()));
    for (setting, verdict, round, texts) in [(EQUAL, "no worse: ", 0, 5), (BROKEN, "worse: ", 1, 7)] {
        let (at, decision) = decision(&records, setting).unwrap_or_else(|| panic!("{setting} did not stop"));
        assert!(decision["because"].as_str().unwrap().starts_with(verdict), "{decision}");
        assert_eq!((&decision["after_round"], &decision["within"]["texts"]), (&round.into(), &texts.into()));
        let own = trials(&records, setting);
        assert_eq!(own.len(), 2 * texts, "{setting}: whole texts and no more");
        assert!(own.iter().all(|trial| *trial < at), "{setting}: nothing comes behind the decision");
    }
    assert_eq!(decision(&records, UNCLEAR), None);
    assert_eq!(trials(&records, UNCLEAR).len(), 24);

    let report = std::fs::read_to_string(bench.run_folder().join("report.md")).unwrap();
    for row in [
        "| in 1, after 5 texts | `Q8_0 kv=q8_0` | 512 | settled |",
        "| in 2, after 7 texts | `Q8_0 kv=q4_0` |",
    ] {
        assert!(report.contains(row), "{report}");
    }
    // Of five visits with 24 trials each.
    let asked = records.iter().filter(|record| record["trial"].is_object()).count();
    assert!(report.contains(&format!("It saved {} of 120 planned trials", 120 - asked)), "{report}");
    let resumed = bench.command(&["resume"]).output().unwrap();
    assert!(resumed.status.success(), "{}", String::from_utf8_lossy(&resumed.stderr));
    assert_eq!(
        self::records(&journal(&bench.run_folder())).len(),
        records.len(),
        "there is nothing to resume"
    );
}

/// What does not differ between two runs of the same: of trials key, case and outcome, and the decisions.
fn essence(journal: &str) -> (BTreeSet<String>, BTreeSet<String>) {
    let all = records(journal);
    let trial = |record: &Value| {
        let trial = record.get("trial")?;
        Some(format!("{} {} {}", trial["key"], trial["case"], trial["outcome"]))
    };
    let decided = all.iter().filter_map(|record| Some(record.get("decision")?.to_string())).collect();
    (all.iter().filter_map(trial).collect(), decided)
}

/// A journal ends where its writer was killed.
#[test]
fn killed_before_or_behind_a_decision_and_resumed_a_run_ends_with_the_same() {
    let bench = run();
    let whole = journal(&bench.run_folder());
    let lines: Vec<&str> = whole.split_inclusive('\n').collect();
    let all = records(&whole);
    let decided = |setting| decision(&all, setting).unwrap().0;
    for (what, kept) in [
        ("within a text", decided(EQUAL) - 1),
        ("before a decision", decided(EQUAL)),
        ("before the other", decided(BROKEN)),
        ("behind it", decided(BROKEN) + 1),
    ] {
        std::fs::write(bench.run_folder().join("journal.jsonl"), lines[..kept].concat()).unwrap();
        let out = bench.command(&["resume"]).output().unwrap();
        assert!(out.status.success(), "killed {what}: {}", String::from_utf8_lossy(&out.stderr));
        let resumed = journal(&bench.run_folder());
        assert_eq!(essence(&resumed), essence(&whole), "killed {what}");
        let asked = records(&resumed).iter().filter(|record| record["trial"].is_object()).count();
        assert_eq!(asked, essence(&whole).0.len(), "killed {what}: nothing was asked twice");
    }
}
