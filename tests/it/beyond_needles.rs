//! The tasks that see what needles do not, from the suite to the report, on a server whose every reply is the same.

use crate::common::{MOCK_SUITE, MockBench};
use kneepoint::record::{Outcome, journal};

const TASKS: &str = r#"
[[task]]
name = "retrieval/same_asks"
samples = 4
contexts = [2048]
questions = 4

[[task]]
name = "reasoning/arithmetic_story"
samples = 2
contexts = [2048]
options.steps = 3

[[task]]
name = "reasoning/deduction"
samples = 2
contexts = [2048]
options.fill_context = 0

[[task]]
name = "longform/merge"
samples = 1
contexts = [2048]

[[task]]
name = "longform/table"
samples = 1
contexts = [2048]

[[task]]
name = "longform/rename"
samples = 1
contexts = [2048]

[[task]]
name = "longform/route"
samples = 1
contexts = [2048]

[[task]]
name = "longform/patch"
samples = 1
contexts = [2048]

[[task]]
name = "code/patch"
samples = 1
contexts = [2048]

[[task]]
name = "tools/long_chain"
samples = 1
contexts = [8192]
arms = ["prompted"]
"#;

#[test]
fn every_task_is_asked_scored_and_reported() {
    let bench = MockBench::new("--decode-ms 0 --prefill-ms 0 --reply 'Answer: 7'");
    let (head, _) = MOCK_SUITE.split_once("[[task]]").unwrap();
    let binary = bench.dir.path().join("llama-server");
    let suite = format!("{head}{TASKS}")
        .replace("BINARY", binary.to_str().unwrap())
        .replace("contexts = [512]", "contexts = [2048, 8192]");
    std::fs::write(bench.dir.path().join("suite.toml"), suite).unwrap();
    let run = bench.command(&["run", "suite.toml"]).output().unwrap();
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));

    let journal = journal::load(&bench.run_folder()).unwrap();
    let mut tasks = std::collections::BTreeSet::new();
    for trial in &journal.trials {
        let Outcome::Scored(score) = &trial.outcome else { panic!("{:?}", trial.outcome) };
        assert!(score.quality.is_some_and(|quality| quality < 1.0), "{}: {score:?}", trial.key.task);
        tasks.insert(trial.key.task.as_str());
        let reply = trial.reply.as_ref().unwrap();
        match trial.key.task.as_str() {
            // Five steps, each asked for behind the right ones in front of it.
            "tools/long_chain" => assert_eq!(reply.turns().count(), 5),
            // Their figures are of tokens.
            task if task.starts_with("reasoning/") => {
                assert!(!reply.tokens.is_empty() && score.metrics["ran_out"] == 0.0, "{score:?}");
            }
            _ => {}
        }
    }
    assert_eq!(tasks.len(), 10);
    let report = std::fs::read_to_string(bench.run_folder().join("report.md")).unwrap();
    for figures in
        ["ran_out | looped | changed", "first_error | exact", "unbroken | plain | recovery", "passed | runs"]
    {
        assert!(report.contains(figures), "{figures}\n{report}");
    }
}
