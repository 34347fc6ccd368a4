//! A user's own requests through a run: answered, checked for streaming, compared with the reference's.

use crate::common::MockBench;
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
    let text = crate::common::without_checksums(&std::fs::read_to_string(&path).unwrap());
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
    assert!(!summary["warnings"].to_string().contains("without streaming"));

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
    let warnings = summary["warnings"].to_string();
    assert!(warnings.contains("gave other tool calls without streaming in 3 of 4 cases"), "{warnings}");

    let out = bench.command(&["report", "latest", "--format", "md"]).output().unwrap();
    let markdown = String::from_utf8_lossy(&out.stdout).into_owned();
    let section = markdown.split("## Your own requests").nth(1).unwrap_or_else(|| panic!("{markdown}"));
    assert!(section.split("##").next().unwrap().contains("| 4 | 2 | 1 | 1 |"), "{section}");
}

/// A run of requests without tools that hold the reply to a schema, each in the words of another server.
#[test]
fn requests_without_tools_are_judged_by_the_schema_that_they_hold_the_reply_to() {
    let bench = MockBench::new("--reply 7");
    let path = bench.dir.path().join("suite.toml");
    let suite = std::fs::read_to_string(&path).unwrap();
    let own = suite.find("[[task]]").unwrap();
    let task = "[[task]]\nname = \"tools/requests\"\nfile = \"requests.jsonl\"\nsamples = 5\n\
                [task.options]\noutput_tokens = 16\n";
    std::fs::write(&path, suite[..own].to_owned() + task).unwrap();
    let held = |key: &str, schema: Value| {
        let mut body = json!({"messages": [{"role": "user", "content": "a number"}]});
        body[key] = schema;
        body.to_string()
    };
    let number = json!({"type": "integer"});
    let lines = [
        json!({"messages": [{"role": "user", "content": "passed over: there is nothing to judge"}]})
            .to_string(),
        held(
            "response_format",
            json!({"type": "json_schema", "json_schema": {"name": "n", "schema": number}}),
        ),
        held("guided_json", json!({"type": "integer", "maximum": 5})),
        held("structured_outputs", json!({"json": {"type": "string"}})),
        held("json_schema", json!({"$ref": "https://example.test/far.json"})),
        // The mock refuses this keyword: so it is seen that schemas are sent.
        held(
            "response_format",
            json!({"type": "json_schema", "json_schema": {"name": "n", "schema":
            {"$dynamicAnchor": "a", "items": {"$dynamicRef": "#a"}}}}),
        ),
    ];
    std::fs::write(bench.dir.path().join("requests.jsonl"), lines.join("\n")).unwrap();
    let out = bench.command(&["run", "suite.toml", "--json"]).output().unwrap();
    let said = String::from_utf8_lossy(&out.stderr);
    let journal = std::fs::read_to_string(bench.run_folder().join("journal.jsonl")).unwrap();
    let trials =
        journal.lines().filter_map(|line| serde_json::from_str::<Value>(line).unwrap().get("trial").cloned());
    let mut outcomes: Vec<Vec<Value>> = vec![Vec::new(); 5];
    trials.for_each(|trial| {
        outcomes[trial["key"]["index"].as_u64().unwrap() as usize].push(trial["outcome"].clone())
    });
    assert!(outcomes.iter().all(|all| all.len() == 3), "2 settings and A/A: {said}");
    for outcome in &outcomes[0] {
        assert_eq!(outcome["scored"]["quality"], 1.0, "{outcome}");
    }
    for (outcome, label) in outcomes[1].iter().zip(["bounds"; 3]).chain(outcomes[2].iter().zip(["type"; 3])) {
        assert_eq!(
            (&outcome["scored"]["quality"], &outcome["scored"]["label"]),
            (&json!(0.0), &json!(label))
        );
    }
    for outcome in &outcomes[3] {
        assert!(outcome["unscored"]["reason"].as_str().unwrap().contains("cannot be used here"), "{outcome}");
    }
    for outcome in &outcomes[4] {
        assert!(
            outcome.to_string().contains("schema conversion failed")
                || outcome.to_string().contains("not_compiled"),
            "{outcome}"
        );
    }
}
