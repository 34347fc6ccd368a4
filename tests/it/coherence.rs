//! The coherence tasks on a server: tokens, bands and distributions end up in the journal, and in the report.

use crate::common::MockBench;
use kneepoint::record::{Outcome, Prompt, journal};

const TASKS: &str = r#"
[[task]]
name = "coherence/kld"
samples = 1
options = { positions = 8, top_k = 8, bands = 2 }

[[task]]
name = "coherence/greedy_divergence"
samples = 2
options = { tokens = 64 }

[[task]]
name = "coherence/degeneration"
samples = 2
options = { tokens = 64 }

[[task]]
name = "coherence/block_plan"
samples = 2
options = { blocks = 6, block_tokens = 40 }

[[task]]
name = "coherence/repeated_words"
samples = 2
options = { words = 24 }
"#;

#[test]
fn every_coherence_task_runs_and_is_reported() {
    let bench = MockBench::new("--decode-ms 0");
    let path = bench.dir.path().join("suite.toml");
    let suite = std::fs::read_to_string(&path).unwrap();
    let (head, _) = suite.split_once("[[task]]").unwrap();
    std::fs::write(&path, head.to_owned() + TASKS).unwrap();
    let run = bench.command(&["run", "suite.toml"]).output().unwrap();
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));

    let journal = journal::load(&bench.run_folder()).unwrap();
    for trial in &journal.trials {
        assert!(matches!(trial.outcome, Outcome::Scored(_)), "{:?}", trial.outcome);
        let reply = trial.reply.as_ref().unwrap();
        let reads_tokens =
            ["coherence/greedy_divergence", "coherence/degeneration"].contains(&&*trial.key.task);
        assert_eq!(!reply.tokens.is_empty(), reads_tokens, "{}", trial.key.task);
    }
    let kld = journal.cases.iter().find(|case| case.task == "coherence/kld").unwrap();
    let Prompt::Distributions { bands, .. } = &kld.prompt else { panic!("not distributions") };
    assert_eq!(bands.iter().map(|band| band.end).collect::<Vec<_>>(), [126, 504]);
    let report = std::fs::read_to_string(bench.run_folder().join("report.md")).unwrap();
    for section in
        ["## Served KLD by depth", "## Greedy divergence", "coherence/degeneration, context 512 tokens"]
    {
        assert!(report.contains(section), "{section}\n{report}");
    }
}
