//! The check of the prefix cache from the suite to the report, on a server that keeps the last prompt.

use crate::common::{MOCK_SUITE, MockBench};
use serde_json::Value;

/// Runs the check on the mock; its summary.
fn run(mock_args: &str) -> (Value, MockBench) {
    let bench = MockBench::new(&format!("--decode-ms 0.1 --prefill-ms 0.05 {mock_args}"));
    let (head, _) = MOCK_SUITE.split_once("[[task]]").unwrap();
    let binary = bench.dir.path().join("llama-server");
    let suite = format!("{head}[[task]]\nname = \"serving/prefix_cache\"\nsamples = 14\n")
        .replace("BINARY", binary.to_str().unwrap())
        .replace("contexts = [512]", "contexts = [2048]");
    std::fs::write(bench.dir.path().join("suite.toml"), suite).unwrap();
    let out = bench.command(&["run", "suite.toml", "--json"]).output().unwrap();
    let summary = serde_json::from_slice(&out.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&out.stderr)));
    (summary, bench)
}

fn row<'a>(summary: &'a Value, variant: &str) -> &'a Value {
    let rows = summary["prefix_cache"].as_array().unwrap();
    rows.iter().find(|row| row["variant"] == variant).unwrap()
}

fn value(row: &Value, figure: &str) -> f64 {
    row[figure]["value"].as_f64().unwrap_or_else(|| panic!("no {figure}: {row}"))
}

#[test]
fn what_a_server_keeps_is_measured_by_change() {
    let (summary, bench) = run("--reply 1234567");
    assert_eq!(summary["done"], summary["planned"], "{}", summary["failures"]);
    // 2 settings, 7 changes.
    assert_eq!(summary["prefix_cache"].as_array().unwrap().len(), 14);
    for kept in ["repeat", "same_system", "append", "time_last"] {
        let row = row(&summary, kept);
        assert!(value(row, "possible") > 0.9 && value(row, "reused") > 0.85, "{row}");
        // Most of the prompt's time is saved.
        assert!(value(row, "ttft_ratio") < 0.6, "{row}");
    }
    for broken in ["time_first", "tool_schema"] {
        let row = row(&summary, broken);
        assert!(value(row, "possible") < 0.25 && value(row, "reused") < 0.25, "{row}");
    }
    let edited = value(row(&summary, "edited_history"), "reused");
    assert!((0.3..0.7).contains(&edited), "{edited}");
    for row in summary["prefix_cache"].as_array().unwrap() {
        assert_eq!(
            (&row["cases"], &row["compared"], &row["same"]),
            (&2.into(), &2.into(), &2.into()),
            "{row}"
        );
    }
    // A sanity check of the server, no part of the model's quality.
    assert!(summary["cells"].as_array().unwrap().iter().all(|cell| cell["quality"].is_null()));
    let tasks = summary["tasks"].as_array().unwrap();
    assert!(tasks.iter().all(|row| row["sanity"] == true && row["quality"]["value"] == 1.0), "{tasks:?}");
    let report = std::fs::read_to_string(bench.run_folder().join("report.md")).unwrap();
    assert!(report.contains("## What keeps the prefix cache"), "{report}");
    // The journal alone gives the same report.
    let again = bench.dir.path().join("again");
    let run = bench.run_folder();
    let out =
        bench.command(&["report", run.to_str().unwrap(), "--out", again.to_str().unwrap()]).output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    assert_eq!(std::fs::read_to_string(again.join("report.md")).unwrap(), report);
}

#[test]
fn a_server_that_always_takes_from_its_cache_has_nothing_cold_to_compare() {
    let (summary, _bench) = run("--reply 1234567 --cached-tokens 40");
    let row = row(&summary, "repeat");
    assert_eq!(
        (&row["compared"], &row["cold_ttft_s"], &row["ttft_ratio"]),
        (&0.into(), &Value::Null, &Value::Null)
    );
    let reasons = summary["tasks"][0]["unscored"].as_object().unwrap();
    assert!(reasons.keys().any(|reason| reason.contains("nothing cold")), "{reasons:?}");
}

#[test]
fn other_answers_from_the_cache_are_seen() {
    // Number 1 is the warm-up; every third request of a case, the cold one, is answered otherwise.
    let (summary, _bench) = run("--reply cold --reply first --reply warm");
    for row in summary["prefix_cache"].as_array().unwrap() {
        assert_eq!((&row["compared"], &row["same"]), (&2.into(), &0.into()), "{row}");
    }
    let labels = summary["tasks"][0]["labels"].as_object().unwrap();
    assert!(labels.keys().any(|label| label == "repeat: other text"), "{labels:?}");
}
