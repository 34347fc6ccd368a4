//! Engines through the whole tool, on the mock server behind their command lines.

use std::process::Output;

use crate::common::MockBench;

const MAINLINE_HELP: &str = r#"echo "  -m, --model FNAME""#;

fn bench_with(find: &str, replace: &str) -> MockBench {
    let bench = MockBench::new("");
    let binary = bench.dir.path().join("llama-server");
    let script = std::fs::read_to_string(&binary).unwrap();
    assert!(script.contains(find));
    std::fs::write(&binary, script.replace(find, replace)).unwrap();
    bench
}

fn run(bench: &MockBench, args: &[&str]) -> Output {
    let all = [&["run", "suite.toml"], args].concat();
    bench.command(&all).output().unwrap()
}

fn said(out: &Output) -> String {
    String::from_utf8_lossy(&out.stderr).into_owned()
}

/// Setting and reason of every unscored trial in the journal.
fn unscored(bench: &MockBench) -> Vec<(String, String)> {
    let journal = std::fs::read_to_string(bench.run_folder().join("journal.jsonl")).unwrap();
    let records = journal.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let trials = records.filter_map(|record| record.get("trial").cloned());
    let reasons = trials.filter_map(|trial| {
        let reason = trial["outcome"]["unscored"]["reason"].as_str()?.to_owned();
        Some((trial["key"]["setting"].as_str().unwrap().to_owned(), reason))
    });
    reasons.collect()
}

#[test]
fn an_option_that_the_build_lacks_is_unsupported_and_the_run_goes_on() {
    let bench = MockBench::new("");
    let lacks = ["--set", "setting.0.options.mlock=true"];
    let dry = run(&bench, &[&["--dry-run"], lacks.as_slice()].concat());
    let text = String::from_utf8_lossy(&dry.stdout).into_owned();
    assert!(
        dry.status.success() && text.contains("unsupported: this server (1 (mock)) has no option `mlock`"),
        "{text}"
    );

    let out = run(&bench, &lacks);
    assert_eq!(out.status.code(), Some(0), "{}", said(&out));
    let unscored = unscored(&bench);
    // 4 needles and 2 texts of the one setting; the reference is scored.
    assert_eq!(unscored.len(), 6, "{unscored:?}");
    for (setting, reason) in unscored {
        assert_eq!(setting, "Q8_0 kv=q8_0 mlock=true");
        assert!(reason.starts_with("unsupported: ") && reason.contains("`--mlock`"), "{reason}");
    }
}

#[test]
fn a_reference_that_the_build_cannot_run_is_an_error() {
    let bench = MockBench::new("");
    let out = run(&bench, &["--set", "reference.options.mlock=true"]);
    assert_eq!(out.status.code(), Some(2), "{}", said(&out));
    assert!(said(&out).contains("no option `mlock`"), "{}", said(&out));
}

#[test]
fn a_server_that_refuses_a_setting_is_quoted() {
    let refuses = "case \"$*\" in *\"-ctk q8_0\"*) echo \"0.1 E llama_init: V cache quantization requires flash_attn\"; exit 1;; esac\nwhile [";
    let bench = bench_with("while [", refuses);
    let out = run(&bench, &[]);
    assert_eq!(out.status.code(), Some(0), "{}", said(&out));
    let unscored = unscored(&bench);
    assert_eq!(unscored.len(), 6);
    assert!(
        unscored.iter().all(|(_, reason)| reason.contains("the server says: ") && reason.contains("requires flash_attn")),
        "{unscored:?}"
    );
}

#[test]
fn two_servers_of_one_name_are_told_apart() {
    let own = r#"echo "  -m,    --model FNAME"; echo "         --run-time-repack"; echo "  -khad,  --k-cache-hadamard,""#;
    let bench = bench_with(MAINLINE_HELP, own);
    let out = run(&bench, &[]);
    assert_eq!(out.status.code(), Some(2), "{}", said(&out));
    assert!(said(&out).contains("is no server of llama.cpp"), "{}", said(&out));
    assert!(said(&out).contains("set engine.name = \"ik_llama.cpp\""), "{}", said(&out));

    let named = ["--set", "engine.name=\"ik_llama.cpp\"", "--set", "setting.0.options.khad=true"];
    let out = run(&bench, &named);
    assert_eq!(out.status.code(), Some(0), "{}", said(&out));
    let journal = std::fs::read_to_string(bench.run_folder().join("journal.jsonl")).unwrap();
    assert!(journal.contains("\"-khad\"") && journal.contains("Q8_0 kv=q8_0 khad=true"));
    assert_eq!(unscored(&bench), []);

    let mainline = MockBench::new("");
    let out = run(&mainline, &["--set", "engine.name=\"ik_llama.cpp\""]);
    assert_eq!(out.status.code(), Some(2), "{}", said(&out));
    assert!(said(&out).contains("set engine.name = \"llama.cpp\""), "{}", said(&out));
}
