//! A user's own requests through a run: answered, checked for streaming, compared with the reference's.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use common::MockBench;
use serde_json::{Value, json};

const SAMPLES: usize = 4;

/// A run of requests with one tool on the mock, which calls nothing by itself.
fn bench() -> MockBench {
    let bench = MockBench::new("");
    let path = bench.dir.path().join("suite.toml");
    let suite = std::fs::read_to_string(&path).unwrap();
    let own = suite.find("[[task]]").unwrap();
    let task = format!(
        "[[task]]\nname = \"tools/requests\"\nfile = \"requests.jsonl\"\nsamples = {SAMPLES}\n\
         [task.options]\noutput_tokens = 16\nstream_check = 1\n"
    );
    std::fs::write(&path, suite[..own].to_owned() + &task).unwrap();
    let tool = json!({"type": "function", "function": {"name": "f", "description": "F.",
        "parameters": {"type": "object", "properties": {"n": {"type": "integer"}}}}});
    let lines: Vec<String> = (0..SAMPLES)
        .map(|n| {
            json!({"messages": [{"role": "user", "content": format!("call {n}")}], "tools": [tool]})
                .to_string()
        })
        .collect();
    std::fs::write(bench.dir.path().join("requests.jsonl"), lines.join("\n")).unwrap();
    bench
}

fn run(bench: &MockBench, args: &[&str]) -> Value {
    let out = bench.command(args).output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    serde_json::from_slice(&out.stdout).unwrap()
}

/// Lets the trials of the journal call tools where `calls` says so, and puts 1 for 0 where streaming was checked.
fn doctor(bench: &MockBench, calls: impl Fn(&Value) -> bool) {
    let path = bench.run_folder().join("journal.jsonl");
    let text = std::fs::read_to_string(&path).unwrap();
    let lines = text.lines().map(|line| {
        let mut record: Value = serde_json::from_str(line).unwrap();
        if let Some(trial) = record.get_mut("trial").filter(|trial| calls(&trial["key"])) {
            trial["reply"]["finish_reason"] = json!("tool_calls");
            trial["reply"]["tool_calls"] = json!([{"name": "f", "arguments": "{\"n\": 1}"}]);
            trial["outcome"]["scored"] =
                json!({"quality": 1.0, "metrics": {"calls": 1.0, "valid_calls": 1.0, "triggered": 1.0}});
            for measurement in trial["measurements"].as_array_mut().unwrap() {
                if measurement["n"] == "stream_differs" {
                    measurement["v"] = json!(1.0);
                }
            }
        }
        record.to_string() + "\n"
    });
    std::fs::write(&path, lines.collect::<String>()).unwrap();
}

#[test]
fn requests_are_compared_with_the_references_and_streams_with_whole_replies() {
    let bench = bench();
    let summary = run(&bench, &["run", "suite.toml", "--json"]);
    assert_eq!(summary["tasks"][0]["labels"], json!({"answered": SAMPLES}));
    let rows = summary["triggers"].as_array().unwrap();
    assert_eq!(rows.len(), 2);
    assert!(rows.iter().all(|row| row["cases"] == SAMPLES && row["both"] == 0 && row["f1"].is_null()));
    let journal = std::fs::read_to_string(bench.run_folder().join("journal.jsonl")).unwrap();
    let checked = r#"{"n":"stream_differs","s":"client","v":0.0}"#;
    assert_eq!(journal.matches(checked).count(), 3 * SAMPLES, "2 settings and A/A, streamed as whole");
    assert!(!summary["flags"].to_string().contains("without streaming"));

    // The reference calls on 0, 1, 2 both times, the other setting on 1, 2, 3.
    let reference = summary["reference"].clone();
    doctor(&bench, |key| {
        let index = key["index"].as_u64().unwrap();
        if key["setting"] == reference { index <= 2 } else { index >= 1 }
    });
    let summary = run(&bench, &["report", "latest", "--format", "json"]);
    let rows = summary["triggers"].as_array().unwrap();
    let figures = |row: &Value| {
        ["both", "only_setting", "only_reference", "calls", "valid_calls"]
            .map(|key| row[key].as_u64().unwrap())
    };
    assert_eq!(figures(&rows[0]), [3, 0, 0, 3, 3], "the reference's two visits");
    assert_eq!(figures(&rows[1]), [2, 1, 1, 3, 3]);
    let f1 = &rows[1]["f1"];
    assert!((f1["value"].as_f64().unwrap() - 4.0 / 6.0).abs() < 1e-12, "{f1}");
    assert!(f1["low"].as_f64().unwrap() < f1["value"].as_f64().unwrap());
    assert_eq!(rows[0]["f1"]["value"], 1.0);
    let flags = summary["flags"].to_string();
    assert!(flags.contains("gave other tool calls without streaming in 3 of 4 cases"), "{flags}");

    let out = bench.command(&["report", "latest", "--format", "md"]).output().unwrap();
    let markdown = String::from_utf8_lossy(&out.stdout).into_owned();
    let section = markdown.split("## Your own requests").nth(1).unwrap_or_else(|| panic!("{markdown}"));
    assert!(section.split("##").next().unwrap().contains("| 4 | 2 | 1 | 1 |"), "{section}");
}
