//! Conversations from the suite to the report, on a server whose every reply is scripted.

use crate::common::{MOCK_SUITE, MockBench};
use serde_json::Value;

/// Runs a suite of conversations; exit code, summary, and the trials of the journal.
fn run(mock_args: &str, task: &str) -> (i32, Value, Vec<Value>, MockBench) {
    let bench = MockBench::new(&format!("--decode-ms 0.1 --prefill-ms 0 {mock_args}"));
    let (head, _) = MOCK_SUITE.split_once("[[task]]").unwrap();
    let binary = bench.dir.path().join("llama-server");
    let suite = format!("{head}[[task]]\nname = \"{task}\"\nsamples = 4\n")
        .replace("BINARY", binary.to_str().unwrap())
        .replace("contexts = [512]", "contexts = [1024]");
    std::fs::write(bench.dir.path().join("suite.toml"), suite).unwrap();
    let out = bench.command(&["run", "suite.toml", "--json"]).output().unwrap();
    let summary: Value = serde_json::from_slice(&out.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&out.stderr)));
    let journal = std::fs::read_to_string(bench.run_folder().join("journal.jsonl")).unwrap();
    let lines = journal.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let trials = lines.filter(|line| line.pointer("/trial/key").or(line.get("key")).is_some()).collect();
    (out.status.code().unwrap(), summary, trials, bench)
}

fn field<'a>(trial: &'a Value, name: &str) -> &'a Value {
    trial.get("trial").unwrap_or(trial).get(name).unwrap_or(&Value::Null)
}

#[test]
fn conversations_run_to_their_end_and_are_reported_by_quarter() {
    let (code, summary, trials, bench) = run("--reply 7", "coherence/running_sum");
    assert_eq!(code, 0, "{summary}");
    assert_eq!(summary["done"], summary["planned"]);
    // 2 settings and the reference's second visit, 4 cases each.
    assert_eq!(trials.len(), 12);
    let rows = summary["conversations"].as_array().unwrap();
    assert_eq!(rows.len(), 4, "{rows:?}");
    let turns = rows[0]["turns"].as_f64().unwrap();
    for trial in &trials {
        let reply = field(trial, "reply");
        assert_eq!(reply["content"], "7");
        assert!(reply["earlier"].as_array().unwrap().len() > 10);
        let measured = field(trial, "measurements").as_array().unwrap();
        let figure = |name: &str, source: &str| {
            let found = measured.iter().find(|m| m["n"] == name && m["s"] == source).unwrap();
            found["v"].as_f64()
        };
        // One token a turn; the first turn is cold, and the prompt of the last one nearly fills the context.
        let replies = reply["earlier"].as_array().unwrap().len() + 1;
        assert_eq!(figure("output_tokens", "engine"), Some(replies as f64));
        assert_eq!(figure("cached_tokens", "engine"), Some(0.0));
        assert!(figure("prompt_tokens", "engine").unwrap() > 500.0);
    }
    // Always the same number: the sum is wrong at the latest in the turn after the one that it fits.
    assert!(rows.iter().all(|row| row["first_wrong_turn"].as_f64().unwrap() <= 3.0), "{rows:?}");
    assert!(turns > 10.0 && rows.iter().all(|row| row["quarters"][3] == 0.0));
    let report = std::fs::read_to_string(bench.run_folder().join("report.md")).unwrap();
    assert!(report.contains("## Conversations by turn"), "{report}");
    assert!(report.contains("coherence/running&#95;sum") || report.contains("coherence/running_sum"));
}

#[test]
fn a_broken_turn_fails_its_conversation_and_is_named() {
    // Number 1 is the warm-up, so number 4 is the third turn of the first conversation of every visit.
    let (code, summary, trials, _bench) = run("--reply 7 --fault close@4", "coherence/running_sum");
    assert_eq!(code, 106);
    let failures = summary["failures"].as_array().unwrap();
    assert!(!failures.is_empty());
    for failure in failures {
        assert_eq!(failure["stage"], "stream", "{failure}");
        assert!(failure["error"].as_str().unwrap().starts_with("turn 3: "), "{failure}");
    }
    // What was said until then is kept, and the conversations after it are whole.
    let said =
        |trial: &&Value| field(trial, "reply")["earlier"].as_array().map_or(1, |earlier| earlier.len() + 1);
    assert_eq!(trials.iter().filter(|trial| said(trial) == 2).count(), failures.len());
    assert!(trials.iter().filter(|trial| said(trial) > 10).count() > 0);
}

#[test]
fn every_task_of_conversations_runs() {
    for task in ["coherence/state_ledger", "coherence/instruction_retention"] {
        let (code, summary, trials, _bench) = run("--reply 'owl, and 1'", task);
        assert_eq!(code, 0, "{summary}");
        assert!(
            trials.iter().all(|trial| field(trial, "outcome")["scored"]["quality"].is_number()),
            "{task}"
        );
        assert_eq!(summary["conversations"].as_array().unwrap().len(), 4);
    }
}
