//! One server for all context lengths of a setting.

use serde_json::Value;

use crate::common::MockBench;

const SET: [&str; 6] =
    ["--set", "contexts=[512,1024]", "--set", "engine.relaunch=\"setting\"", "--filter", "task=retrieval/*"];

/// The records of a kind in the run's journal.
fn records(bench: &MockBench, kind: &str) -> Vec<Value> {
    let text = std::fs::read_to_string(bench.run_folder().join("journal.jsonl")).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines.filter_map(|line| line.get(kind).cloned()).collect()
}

#[test]
fn one_server_serves_the_context_lengths_of_a_setting_and_its_memory_is_that_of_the_longest() {
    let bench = MockBench::new("");
    let dry = bench.command(&["run", "suite.toml", "--dry-run", "--json"]).args(SET).output().unwrap();
    let dry: Value = serde_json::from_slice(&dry.stdout).unwrap();
    let visits = dry["visits"].as_array().unwrap();
    let goes_on = visits.iter().filter(|visit| visit["goes_on"] == true).count();
    assert_eq!(goes_on * 2, visits.len(), "{visits:?}");

    let out = bench.command(&["run", "suite.toml"]).args(SET).output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let launches = records(&bench, "launch");
    assert_eq!(launches.len(), visits.len());
    let started = launches.iter().filter(|launch| !launch["load_s"].is_null()).count();
    assert_eq!(started * 2, launches.len());
    for launch in &launches {
        let short = launch["context"] == 512;
        assert_eq!(launch["served_at"] == 1024, short, "{launch}");
        let args: Vec<&str> =
            launch["argv"]["args"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
        let at = args.iter().position(|arg| *arg == "-c").unwrap();
        assert_eq!(args[at + 1], "1024");
    }
    let of = |trial: &Value| launches.iter().find(|launch| launch["id"] == trial["launch"]).cloned().unwrap();
    let trials = records(&bench, "trial");
    for trial in &trials {
        assert_eq!(of(trial)["context"], trial["key"]["context"]);
        let memory =
            trial["measurements"].as_array().unwrap().iter().find(|m| m["n"] == "peak_rss_bytes").unwrap();
        let reason = memory["a"].as_str().unwrap_or_default();
        assert_eq!(
            reason.contains("started for a context of 1024"),
            trial["key"]["context"] == 512,
            "{memory}"
        );
    }
    assert!(trials.iter().any(|trial| trial["key"]["context"] == 512));
}

/// What it saves, by the same trials.
#[test]
fn a_server_for_each_length_stays_what_it_was() {
    let bench = MockBench::new("");
    let out = bench.command(&["run", "suite.toml", "--set", "contexts=[512,1024]"]).output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let launches = records(&bench, "launch");
    assert!(launches.iter().all(|launch| launch.get("served_at").is_none() && !launch["load_s"].is_null()));
}
