//! Machines that take shares of a run, and runs that are merged.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::{lines, run, said, summary, trials};
use crate::common::MockBench;

/// A run that two workers would measure, begun and not measured.
fn begun(bench: &MockBench) -> PathBuf {
    let runs = bench.dir.path().join("runs");
    let name = "20260101T000000Z-mock-0a1b2c";
    let args = ["worker", name, "--index", "1", "--suite", "suite.toml", "--tasks", "2"];
    let out = bench.command(&args).env("KNEEPOINT_NODE", "a").output().unwrap();
    assert!(out.status.success(), "{}", said(&out));
    runs.join(name)
}

#[test]
fn machines_take_shares_and_one_that_is_moved_leaves_out_what_is_done() {
    let bench = MockBench::new("--decode-ms 3");
    let folder = begun(&bench);
    assert_eq!(trials(&folder).len(), 9);
    // The other share begins on one machine, is lost, and ends on another.
    let worker = |node: &str| {
        let mut command = bench.command(&["worker", folder.to_str().unwrap(), "--index", "0"]);
        command.env("KNEEPOINT_NODE", node);
        command
    };
    let mut child = worker("b").stderr(std::process::Stdio::null()).spawn().unwrap();
    let began = Instant::now();
    while trials(&folder).len() < 12 {
        assert!(began.elapsed() < Duration::from_secs(60));
        std::thread::sleep(Duration::from_millis(5));
    }
    // Meanwhile nobody else takes it: a requeued task waits for the lost one to end.
    child.kill().unwrap();
    let moved = worker("c").output().unwrap();
    child.wait().unwrap();
    assert!(moved.status.success(), "{}", said(&moved));
    let measured = trials(&folder);
    assert_eq!(measured.len(), 18);
    assert!(measured.values().all(|times| times.len() == 1), "a trial was measured twice");
    let places: BTreeSet<String> = lines(&folder, "trial").into_iter().map(|(part, _)| part).collect();
    assert_eq!(places.into_iter().collect::<Vec<_>>(), ["0000@b", "0000@c", "0001@a"]);
    let summary = summary(&bench, &folder);
    assert_eq!(summary["done"], 18);
    // What was measured here and the reference there is no pair for speed.
    let cells = summary["cells"].as_array().unwrap();
    let ratio = cells.iter().map(|cell| &cell["decode_ratio"]).find(|ratio| ratio.is_object()).unwrap();
    assert!(ratio["n"].as_u64().unwrap() < 4, "{ratio}");
}

#[test]
fn a_worker_with_another_engine_build_measures_nothing() {
    let bench = MockBench::new("");
    let folder = begun(&bench);
    let binary = bench.dir.path().join("llama-server");
    let script = std::fs::read_to_string(&binary).unwrap();
    std::fs::write(&binary, script.replace("version: 1 (mock)", "version: 2 (mock)")).unwrap();
    let out = run(&bench, &["worker", folder.to_str().unwrap(), "--index", "0"]);
    assert_eq!(out.status.code(), Some(2));
    let said = said(&out);
    assert!(said.contains("fingerprint") && said.contains("worker 0 measured nothing here"), "{said}");
    assert_eq!(trials(&folder).len(), 9, "what others measured stays");
    let out = run(&bench, &["worker", folder.to_str().unwrap(), "--index", "2"]);
    assert!(self::said(&out).contains("has no worker 2: they are 0 to 1"), "{}", self::said(&out));
}

/// Two settings beside the reference, measured on two machines by filters.
fn split() -> (MockBench, [String; 2]) {
    let bench = MockBench::new("");
    let suite = bench.dir.path().join("suite.toml");
    let text = std::fs::read_to_string(&suite).unwrap();
    std::fs::write(&suite, text.replace("[[setting]]", "[[setting]]\nkv = \"q4_0\"\n\n[[setting]]")).unwrap();
    let mut names = Vec::new();
    for setting in ["*q8_0", "*q4_0"] {
        let out = run(&bench, &["run", "suite.toml", "--filter", &format!("setting={setting}")]);
        assert!(out.status.success(), "{}", said(&out));
        let runs = std::fs::read_dir(bench.dir.path().join("runs")).unwrap();
        let all: Vec<String> = runs.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.extend(all.into_iter().filter(|name| !names.contains(name)).collect::<Vec<_>>());
    }
    (bench, names.try_into().unwrap())
}

#[test]
fn runs_that_filters_split_are_merged_and_nothing_is_lost() {
    let (bench, [a, b]) = split();
    let out = run(&bench, &["merge", &a, &b, "-o", "runs/whole", "--json"]);
    assert!(out.status.success(), "{}", said(&out));
    let merged: Value = serde_json::from_slice(&out.stdout).unwrap();
    // 3 settings and A/A of 6 trials; both runs have the reference's two visits.
    assert_eq!((&merged["planned"], &merged["done"]), (&24.into(), &24.into()), "{merged}");
    assert_eq!(merged["repeated"], 12);
    let whole = bench.dir.path().join("runs/whole");
    for (name, parts) in [(&a, 18), (&b, 18)] {
        let before = std::fs::read(bench.dir.path().join("runs").join(name).join("journal.jsonl")).unwrap();
        let copied = std::fs::read(whole.join("parts").join(name).join("journal.jsonl")).unwrap();
        assert_eq!(before, copied, "journals stay as they were written");
        let of_part = lines(&whole, "trial").into_iter().filter(|(part, _)| part == name).count();
        assert_eq!(of_part, parts);
    }
    let summary = summary(&bench, &whole);
    assert_eq!((&summary["done"], &summary["planned"]), (&24.into(), &24.into()));
    assert_eq!(summary["workers"].as_array().unwrap().len(), 2);
    // Each setting's speed lies beside the reference of its own run, unless that was slower than the other.
    let is_left_out = |run: &str| {
        let workers = summary["workers"].as_array().unwrap();
        workers.iter().any(|worker| worker["place"] == run && worker.get("left_out").is_some())
    };
    let settings = summary["cells"].as_array().unwrap();
    for cell in settings.iter().filter(|cell| cell["setting"] != summary["reference"]) {
        let own = if cell["setting"].as_str().unwrap().contains("q4_0") { &b } else { &a };
        let pairs = if is_left_out(own) { Value::Null } else { 4.into() };
        assert_eq!(cell["decode_ratio"]["n"], pairs, "{cell}");
        assert_eq!(cell["scored"], cell["planned"]);
    }
    let pick = run(&bench, &["pick", "runs/whole", "--context", "512", "--min-quality", "0", "--json"]);
    assert!(pick.status.success(), "{}", said(&pick));
    let compared = run(&bench, &["compare", "runs/whole", "runs/whole", "--json"]);
    assert!(compared.status.success(), "{}", said(&compared));
}

#[test]
fn half_of_a_suite_is_merged_and_the_rest_is_resumed() {
    let (bench, [a, b]) = split();
    let runs = bench.dir.path().join("runs");
    // The second run loses two trials that nobody else has.
    let journal = runs.join(&b).join("journal.jsonl");
    let text = std::fs::read_to_string(&journal).unwrap();
    let mut kept: Vec<&str> = text.split_inclusive('\n').collect();
    for _ in 0..2 {
        let is_lost = |line: &&str| line.starts_with("{\"trial\"") && line.contains("q4_0");
        let at = kept.iter().rposition(is_lost).unwrap();
        kept.remove(at);
    }
    std::fs::write(&journal, kept.concat()).unwrap();
    assert!(run(&bench, &["merge", &a, &b, "-o", "runs/whole"]).status.success());
    let whole = runs.join("whole");
    let before = summary(&bench, &whole);
    let out = run(&bench, &["resume", "runs/whole"]);
    assert!(out.status.success(), "{}", said(&out));
    let after = summary(&bench, &whole);
    assert!(
        before["done"].as_u64() <= Some(24) && after["done"] == 24,
        "{} {}",
        before["done"],
        after["done"]
    );
}

#[test]
fn what_does_not_belong_together_is_not_merged() {
    let (bench, [a, b]) = split();
    let merge = |runs: &[&str], out: &str| {
        let args: Vec<&str> = ["merge"].into_iter().chain(runs.iter().copied()).chain(["-o", out]).collect();
        let out = run(&bench, &args);
        (out.status.code(), said(&out))
    };
    let (code, text) = merge(&[&a, &a], "x");
    assert!(code == Some(2) && text.contains("is named twice"), "{text}");
    std::fs::create_dir(bench.dir.path().join("there")).unwrap();
    let (code, text) = merge(&[&a, &b], "there");
    assert!(code == Some(2) && text.contains("exists already") && text.contains("--out"), "{text}");

    // Another suite.
    let suite = bench.dir.path().join("suite.toml");
    let written = std::fs::read_to_string(&suite).unwrap();
    std::fs::write(&suite, written.replace("samples = 4", "samples = 5")).unwrap();
    assert!(run(&bench, &["run", "suite.toml"]).status.success());
    let (code, text) = merge(&[&a, "latest"], "x");
    assert!(
        code == Some(2) && text.contains("the suite is another one") && text.contains("its `tasks` differs"),
        "{text}"
    );

    // Another model file, another engine.
    std::fs::write(&suite, &written).unwrap();
    let model = bench.dir.path().join("model.gguf");
    let bytes = std::fs::read(&model).unwrap();
    std::fs::write(&model, [bytes.as_slice(), b"more"].concat()).unwrap();
    assert!(run(&bench, &["run", "suite.toml"]).status.success());
    let (code, text) = merge(&[&a, "latest"], "x");
    assert!(code == Some(2) && text.contains("the file of mock Q8_0 is another one"), "{text}");
    std::fs::write(&model, bytes).unwrap();
    let binary = bench.dir.path().join("llama-server");
    let script = std::fs::read_to_string(&binary).unwrap();
    std::fs::write(&binary, script.replace("version: 1 (mock)", "version: 2 (mock)")).unwrap();
    assert!(run(&bench, &["run", "suite.toml"]).status.success());
    let (code, text) = merge(&[&a, &b, "latest"], "x");
    assert!(code == Some(2) && text.contains("the engine is") && text.contains("compare"), "{text}");
    assert!(!bench.dir.path().join("x").exists());

    // A case that is another one under the same key.
    let journal = bench.dir.path().join("runs").join(&b).join("journal.jsonl");
    let text = crate::common::without_checksums(&std::fs::read_to_string(&journal).unwrap());
    let case = lines(&bench.dir.path().join("runs").join(&b), "case")[0].1["id"].as_str().unwrap().to_owned();
    std::fs::write(&journal, text.replace(&case, "0000000000000000")).unwrap();
    let (code, text) = merge(&[&a, &b], "x");
    assert!(
        code == Some(1)
            && text.contains("0000000000000000")
            && text.contains("the tokenizer or kneepoint is another one"),
        "{text}"
    );
    assert!(!bench.dir.path().join("x").exists());
}

#[test]
fn what_cannot_be_spread_is_refused() {
    let bench = MockBench::new("");
    let refused = |args: &[&str], said_so: &str| {
        let out = run(&bench, args);
        assert_eq!(out.status.code(), Some(2), "{args:?}: {}", said(&out));
        assert!(said(&out).contains(said_so), "{args:?}: {}", said(&out));
    };
    refused(&["run", "suite.toml", "--gpus", "0,0"], "card 0 is named twice");
    refused(&["run", "suite.toml", "--gpus", "one"], "not a list of cards");
    refused(&["run", "suite.toml", "--on", "kubernetes", "--dry-run"], "--image");
    refused(&["run", "suite.toml", "--on", "slurm", "--sbatch", "gres", "--dry-run"], "no option of sbatch");
    let budget = "stopping.budget_s=60";
    refused(
        &["run", "suite.toml", "--gpus", "0,1", "--set", budget],
        "no worker knows what the others have used",
    );
    assert!(!bench.dir.path().join("runs").exists());
    assert!(run(&bench, &["run", "suite.toml"]).status.success());
    refused(&["worker", "latest", "--index", "0"], "is not spread over workers");
}
