//! The command line as a user meets it: errors, exit codes, what goes to stdout.

use std::path::Path;
use std::process::{Command, Output};

fn kneepoint(dir: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_kneepoint"))
        .current_dir(dir)
        .args(args)
        .env("NO_COLOR", "1")
        .env_remove("KNEEPOINT_RUNS_DIR")
        .output()
        .unwrap()
}

const GOOD: &str = r#"name = "t"
contexts = [512]

[[model]]
name = "m"
path = "m.gguf"
weights = "Q8_0"

[reference]
kv = "f16"

[matrix]
kv = ["f16", "q8_0"]

[[task]]
name = "retrieval/niah_multikey_2"
samples = 2
"#;

/// What `validate` says of a suite, and its exit code.
fn validate(text: &str, more: &[&str]) -> (i32, String) {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("suite.toml"), text).unwrap();
    let args: Vec<&str> = ["validate", "suite.toml"].into_iter().chain(more.iter().copied()).collect();
    let out = kneepoint(dir.path(), &args);
    let shown = if out.status.success() { &out.stdout } else { &out.stderr };
    (out.status.code().unwrap(), String::from_utf8_lossy(shown).into_owned())
}

#[test]
fn a_good_suite_is_valid() {
    let (code, text) = validate(GOOD, &[]);
    assert_eq!(
        (code, text.as_str()),
        (0, "suite.toml is valid: 2 settings x 1 context lengths, 1 tasks, 6 trials\n")
    );
}

#[test]
fn mistakes_in_a_suite_say_what_where_and_what_to_try() {
    let mut shown = String::new();
    for (what, from, to) in [
        ("unknown key", "samples = 2", "samlpes = 2"),
        ("wrong type", "samples = 2", "samples = \"two\""),
        ("out of range", "samples = 2", "samples = 0"),
        ("unknown cache type", "\"q8_0\"]", "\"q3_0\"]"),
        ("unknown task", "niah_multikey_2", "niah_multikee_2"),
        ("unknown setting key", "kv = \"f16\"\n\n[matrix]", "kw = \"f16\"\n\n[matrix]"),
        ("unknown weights", "[reference]", "[reference]\nweights = \"Q4_0\""),
        (
            "impossible combination",
            "[reference]",
            "[[setting]]\nkv = \"q4_0\"\nflash_attention = \"off\"\n[reference]",
        ),
        (
            "impossible in the matrix",
            "kv = [\"f16\", \"q8_0\"]",
            "kv = [\"f16\", \"q8_0\"]\nflash_attention = [\"on\", \"off\"]",
        ),
        ("no source of the model", "path = \"m.gguf\"\n", ""),
        ("kv beside k", "kv = \"f16\"\n\n[matrix]", "kv = \"f16\"\nk = \"f16\"\n\n[matrix]"),
        ("context of a task", "samples = 2", "samples = 2\ncontexts = [4096]"),
        ("unknown option", "samples = 2", "samples = 2\noptions = { budget = 3 }"),
        ("syntax", "contexts = [512]", "contexts = [512"),
    ] {
        assert!(GOOD.contains(from), "{what}");
        let (code, text) = validate(&GOOD.replacen(from, to, 1), &[]);
        assert_eq!(code, 2, "{what}: {text}");
        shown.push_str(&format!("# {what}\n{text}\n"));
    }
    insta::assert_snapshot!(shown);
}

#[test]
fn an_excluded_combination_is_not_an_error() {
    let text = GOOD.replace(
        "kv = [\"f16\", \"q8_0\"]",
        "kv = [\"f16\", \"q8_0\"]\nflash_attention = [\"on\", \"off\"]\nexclude = [{ kv = \"q8_0\", flash_attention = \"off\" }]",
    );
    let (code, text) = validate(&text, &[]);
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("3 settings"), "{text}");
}

#[test]
fn any_key_can_be_overridden() {
    let (code, text) = validate(GOOD, &["--set", "matrix.kv=[\"f16\"]", "--set", "task.0.samples=5"]);
    assert_eq!((code, text.contains("1 settings"), text.contains("10 trials")), (0, true, true), "{text}");
    let (code, text) = validate(GOOD, &["--set", "matrix.kv=[\"q3_0\"]"]);
    assert_eq!(code, 2);
    assert!(text.contains("suite.toml with --set:"), "{text}");
}

#[test]
fn exit_codes_are_those_of_the_reference() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("suite.toml"), GOOD).unwrap();
    let code = |args: &[&str]| kneepoint(dir.path(), args).status.code().unwrap();
    assert_eq!(code(&["validate", "suite.toml"]), 0);
    assert_eq!(code(&["validate", "nowhere.toml"]), 2);
    assert_eq!(code(&["report"]), 2);
    assert_eq!(code(&["no-such-command"]), 2);
    assert_eq!(code(&["run", "suite.toml", "--dry-run", "--filter", "task=nothing"]), 4);
    assert_eq!(code(&["run", "suite.toml", "--dry-run", "--filter", "colour=red"]), 2);
}

#[test]
fn help_is_as_recorded() {
    let dir = tempfile::tempdir().unwrap();
    let out = kneepoint(dir.path(), &["run", "--help"]);
    insta::assert_snapshot!(String::from_utf8_lossy(&out.stdout));
}
