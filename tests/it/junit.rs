//! JUnit files in the hands of a reader that others wrote: Python's junitparser. `.ci/run` installs it and runs these; its folder is
//! named by `KNEEPOINT_JUNITPARSER`, where it is not among Python's own packages.

use std::path::Path;
use std::process::Command;

use kneepoint::judge::analysis::summary::{GateResult, GateStatus, Summary};
use kneepoint::judge::report;
use serde_json::{Value, json};

use crate::common::MockBench;

/// What the reader found in a file.
fn read(file: &Path) -> Value {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/junit_reader.py");
    let mut python = Command::new("python3");
    if let Some(folder) = std::env::var_os("KNEEPOINT_JUNITPARSER") {
        python.env("PYTHONPATH", folder);
    }
    let out = python.arg(script).arg(file).output().expect("python3 is needed");
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    serde_json::from_slice(&out.stdout).unwrap()
}

fn gated() -> MockBench {
    let bench = MockBench::new("--decode-ms 0.1 --prefill-ms 0.01");
    let path = bench.dir.path().join("suite.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    // Of speed nothing is decided on a machine that does other things, too.
    let gates = "[[gate]]\nmetric = \"memory\"\nmax = 1\n[[gate]]\nmetric = \"failed\"\nmax = 0.5\n";
    std::fs::write(&path, format!("{text}\n{gates}")).unwrap();
    bench
}

#[test]
#[ignore = "needs the Python package junitparser; .ci/run runs it"]
fn a_reader_of_others_finds_every_gate() {
    let bench = gated();
    let out = bench.command(&["run", "suite.toml"]).output().unwrap();
    assert_eq!(out.status.code(), Some(100), "{}", String::from_utf8_lossy(&out.stderr));
    let found = read(&bench.run_folder().join("junit.xml"));
    let summary = std::fs::read_to_string(bench.run_folder().join("summary.json")).unwrap();
    let summary: Value = serde_json::from_str(&summary).unwrap();
    let gates = summary["gates"].as_array().unwrap();
    assert_eq!(gates.len(), 4, "two gates on two settings");
    let failed = gates.iter().filter(|gate| gate["status"] == "failed").count();
    assert!(failed >= 2, "{gates:?}");
    assert_eq!(found["counts"]["tests"], 4);
    assert_eq!(found["counts"]["failures"], failed);
    assert_eq!(found["counts"]["errors"], 0);
    let cases = found["cases"].as_array().unwrap();
    assert_eq!(cases.len(), gates.len());
    for (case, gate) in cases.iter().zip(gates) {
        assert_eq!(case["suite"], "mock");
        assert_eq!(case["name"], gate["gate"]);
        assert_eq!(case["class"], format!("{} at 512", gate["setting"].as_str().unwrap()));
        match gate["status"].as_str().unwrap() {
            "passed" => assert_eq!(case["results"], json!([])),
            "failed" => {
                assert_eq!(case["results"], json!([{ "kind": "failure", "message": gate["because"] }]))
            }
            _ => assert_eq!(case["results"], json!([{ "kind": "skipped", "message": gate["because"] }])),
        }
    }
}

#[test]
#[ignore = "needs the Python package junitparser; .ci/run runs it"]
fn hostile_names_come_through_as_text() {
    let bench = gated();
    bench.command(&["run", "suite.toml"]).output().unwrap();
    let text = std::fs::read_to_string(bench.run_folder().join("summary.json")).unwrap();
    let mut summary: Summary = serde_json::from_str(&text).unwrap();
    let hostile = "Q4 <b a='1'>\"&amp; ]]></failure><!-- \u{1b}[31m\u{0}\u{fffe} 😀 --><?x?>";
    let of = |status| GateResult {
        gate: format!("quality of {hostile}"),
        setting: hostile.into(),
        context: 512,
        value: None,
        status,
        because: format!("{hostile} is no number\nand this is another line"),
    };
    summary.suite = hostile.into();
    summary.gates = vec![of(GateStatus::Passed), of(GateStatus::Failed), of(GateStatus::Undecided)];
    let file = bench.dir.path().join("hostile.xml");
    std::fs::write(&file, report::junit(&summary).unwrap()).unwrap();
    let found = read(&file);
    assert_eq!(found["counts"], json!({ "tests": 3, "failures": 1, "errors": 0, "skipped": 1 }));
    let cases = found["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 3);
    for case in cases {
        for name in ["suite", "class", "name"] {
            let text = case[name].as_str().unwrap();
            assert!(text.contains("Q4 <b a='1'>\"&amp; ]]></failure><!-- "), "{text}");
            assert!(text.contains("😀 --><?x?>") && !text.contains('\u{1b}'), "{text}");
        }
    }
    let message = cases[1]["results"][0]["message"].as_str().unwrap();
    assert!(message.contains("is no number") && message.contains("another line"), "{message}");
    assert_eq!(cases[1]["results"][0]["kind"], "failure");
    assert_eq!(cases[2]["results"][0]["kind"], "skipped");
}
