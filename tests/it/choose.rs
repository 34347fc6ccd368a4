//! `kneepoint choose`: from a model to a setting, in one command.

use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::common::{KNEEPOINT, tiny_gguf};

fn choose(folder: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(KNEEPOINT);
    command.arg("choose").args(args).current_dir(folder).env("NO_COLOR", "1").stdin(Stdio::null());
    command
}

fn stdout(out: &Output) -> String {
    String::from_utf8(out.stdout.clone()).unwrap()
}

fn stderr(out: &Output) -> String {
    String::from_utf8(out.stderr.clone()).unwrap()
}

/// Starts a search and interrupts it as by Ctrl-C, once a setting beside the reference has begun to answer.
fn interrupted(mut command: Command, folder: &Path, setting: &str) -> Output {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let of_setting = format!("{{\"trial\":{{\"key\":{{\"setting\":\"{setting}\"");
    let has_begun = || {
        let runs = std::fs::read_dir(folder.join("runs")).into_iter().flatten().flatten();
        let journals = runs.filter_map(|run| std::fs::read_to_string(run.path().join("journal.jsonl")).ok());
        journals.into_iter().any(|text| text.contains(&of_setting))
    };
    while !has_begun() && child.try_wait().unwrap().is_none() {
        std::thread::sleep(Duration::from_millis(200));
    }
    kill(Pid::from_raw(child.id() as i32), Signal::SIGINT).unwrap();
    child.wait_with_output().unwrap()
}

/// The whole way on the real server: one command, no file, an answer at any time, a verdict, and a run that the other commands read.
#[test]
fn a_model_alone_leads_to_a_setting_with_a_verdict() {
    const NOT_ASKED: &str = "coherence/state_ledger is not asked";
    let folder = tempfile::tempdir().unwrap();
    let model = ["smollm2-135m-instruct", "--context", "512", "--kv", "q8_0", "--objective", "memory"];
    let mut command = choose(folder.path(), &model);
    command.args(["--budget", "1h", "--keep", "90%", "--json"]);
    let out = interrupted(command, folder.path(), "Q4_1 kv=q8_0");
    let said = stderr(&out);
    assert_eq!(out.status.code(), Some(130), "{said}");
    assert!(said.contains(NOT_ASKED), "what the model cannot do is named: {said}");
    assert!(said.contains("`kneepoint resume"), "{said}");
    let choice: Value = serde_json::from_str(&stdout(&out)).unwrap();
    assert_eq!(choice["complete"], false, "{choice}");
    assert_eq!(choice["pick"]["setting"], "Q4_1 kv=f16", "the best so far is the reference: {choice}");
    assert_eq!(choice["open"], serde_json::json!(["Q4_1 kv=q8_0"]), "{choice}");
    assert!(choice["open_s"].as_f64().unwrap() > 0.0, "{choice}");
    let notes = choice["notes"].clone();
    assert!(notes.to_string().contains(NOT_ASKED), "{notes}");

    // It goes on where it stopped, and forgets nothing that it had said.
    let kneepoint = |args: &[&str]| {
        let out = Command::new(KNEEPOINT).args(args).current_dir(folder.path()).output().unwrap();
        assert!(out.status.success(), "{args:?}: {}", stderr(&out));
        (stdout(&out), stderr(&out))
    };
    let (text, said) = kneepoint(&["resume", "--json"]);
    let choice: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(choice["notes"], notes);
    assert_eq!(choice["open"], serde_json::json!([]), "{choice}");
    assert_eq!(choice["complete"], true, "{said}");
    assert_eq!(choice["shown"], true, "{said}");
    let pick = &choice["pick"];
    assert_eq!(pick["setting"], "Q4_1 kv=q8_0", "{said}");
    assert!(pick["serve_command"].as_str().unwrap().contains("-ctk q8_0 -ctv q8_0"));
    assert!(said.contains("Q4_1 kv=q8_0 ends: no worse"), "{said}");
    // An ordinary run with an ordinary suite.
    let run = std::fs::read_dir(folder.path().join("runs")).unwrap().next().unwrap().unwrap().path();
    for name in ["suite.toml", "report.md", "journal.jsonl", "trials.parquet"] {
        assert!(run.join(name).exists(), "{name}");
    }
    kneepoint(&["validate", run.join("suite.toml").to_str().unwrap()]);
    let (picked, _) = kneepoint(&["pick", "latest", "--context", "512", "--objective", "memory"]);
    assert!(picked.contains("# `Q4_1 kv=q8_0`"), "{picked}");
    let (again, _) = kneepoint(&["resume"]);
    assert!(again.contains("# `Q4_1 kv=q8_0`") && !again.contains("not finished"), "{again}");
    assert!(again.contains("## How it was chosen") && again.contains(NOT_ASKED), "{again}");
}

#[test]
fn a_plan_is_shown_without_a_server_and_names_what_it_would_fetch() {
    let folder = tempfile::tempdir().unwrap();
    let shape = |layers| tiny_gguf::Shape {
        architecture: "qwen2",
        layers,
        embedding: 128,
        heads: 2,
        kv_heads: 2,
        head_width: 64,
        window: None,
    };
    tiny_gguf::write(shape(4), &folder.path().join("tiny-F16.gguf"));
    let args = ["tiny-F16.gguf", "--context", "4096", "--memory", "1GiB", "--dry-run"];
    let out = choose(folder.path(), &args).output().unwrap();
    assert!(out.status.success(), "{}", stderr(&out));
    let plan = stdout(&out);
    assert!(plan.contains("reference: F16 with a cache in f16"), "{plan}");
    assert!(plan.contains("cache: q8_0, q8_0/q4_0, q4_0"), "{plan}");
    assert!(plan.contains("rule = \"best\"") && plan.contains("margin = 0.0500"), "{plan}");
    // Drafts from the text join where decoding is to be fast, alone and with every cache.
    let drafts = |plan: &str| plan.matches("speculation = \"ngram-simple\"").count();
    assert!(plan.contains("speculation: ngram-simple\n") && drafts(&plan) == 4, "{plan}");
    let other = |more: &[&str]| choose(folder.path(), &[&args[..], more].concat()).output().unwrap();
    assert_eq!(drafts(&stdout(&other(&["--objective", "memory"]))), 0);
    assert_eq!(drafts(&stdout(&other(&["--speculation", "off"]))), 0);
    let out = other(&["--speculation", "ngram-smpile"]);
    assert_eq!(out.status.code(), Some(2));
    assert!(stderr(&out).contains("did you mean `ngram-simple`?"), "{}", stderr(&out));
    let out = choose(folder.path(), &["tiny-F16.gguf", "--memory", "1MiB", "--dry-run"]).output().unwrap();
    assert_eq!(out.status.code(), Some(4));
    assert!(stderr(&out).contains("nothing fits as a whole into 1.00 MiB"), "{}", stderr(&out));
}

#[test]
fn what_makes_no_sense_is_refused_before_anything_is_fetched() {
    let folder = tempfile::tempdir().unwrap();
    for (args, expected) in [
        (vec!["nowhere.gguf"], "there is no model nowhere.gguf"),
        (vec!["nowhere.gguf", "--budget", "20"], "`20` has no unit"),
        (vec!["nowhere.gguf", "--keep", "30%"], "leaves nothing to choose"),
        (vec!["nowhere.gguf", "--for", "poems"], "possible values: chat, tools, rag, code"),
    ] {
        let out = choose(folder.path(), &args).output().unwrap();
        assert_eq!(out.status.code(), Some(2), "{args:?}: {}", stderr(&out));
        assert!(stderr(&out).contains(expected), "{args:?}: {}", stderr(&out));
    }
}
