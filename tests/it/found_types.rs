//! Types of KV caches are found, not listed: a fork is played by a script around the real llama-server, whose help lists one
//! type more, and which is another type by that name.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use kneepoint::measure::model::packages::SERVER;
use kneepoint::measure::model::{Silent, Store};
use serde_json::Value;

/// A server that has `tbq3_0`: `q8_0` by another name, in its arguments as in its log. As ik_llama.cpp's, it prints its help
/// and ends with 1.
pub(crate) fn fork(folder: &Path) -> PathBuf {
    let server = Store::open(&Silent).unwrap().fetch(&SERVER).unwrap();
    let path = folder.join("llama-server");
    let script = format!(
        r#"#!/bin/bash
real='{}'
export LD_LIBRARY_PATH='{}'
case "$1" in
  --version) exec "$real" --version ;;
  --help) "$real" --help | sed 's/allowed values: f32,/allowed values: tbq3_0,\n                                        f32,/'; exit 1 ;;
esac
args=()
for arg in "$@"; do
  [ "$arg" = tbq3_0 ] && arg=q8_0
  args+=("$arg")
done
exec "$real" "${{args[@]}}" > >(exec sed -u 's/(q8_0)/(tbq3_0)/g') 2>&1
"#,
        server.display(),
        server.parent().unwrap().display()
    );
    fs::write(&path, script).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

fn run(folder: &Path, binary: &Path, kv: &str, more: &[(&str, &Path)]) -> Output {
    let suite = format!(
        "name = \"fork\"\ncontexts = [512, 1024]\nrounds = 1\ndraws = 200\nobjectives = [\"decode\", \"memory\"]\n\
         [engine]\nbinary = \"{}\"\n[[model]]\nname = \"SmolLM2\"\npackage = \"smollm2-135m-instruct\"\n[reference]\n\
         [[setting]]\nkv = \"{kv}\"\n[[task]]\nname = \"serving/speed\"\nsamples = 1\noptions.output_tokens = 16\n",
        binary.display()
    );
    fs::write(folder.join("suite.toml"), suite).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_kneepoint"));
    command
        .current_dir(folder)
        .args(["run", "suite.toml", "--json"])
        .env("NO_COLOR", "1")
        .env_remove("KNEEPOINT_RUNS_DIR");
    command.envs(more.iter().map(|(name, value)| (*name, *value)));
    command.output().unwrap()
}

#[test]
fn a_type_that_only_the_binary_knows_is_measured() {
    let folder = tempfile::tempdir().unwrap();
    let out = run(folder.path(), &fork(folder.path()), "tbq3_0", &[]);
    let said = String::from_utf8_lossy(&out.stderr);
    assert_eq!(out.status.code(), Some(0), "{said}");
    let summary: Value = serde_json::from_slice(&out.stdout).unwrap();
    let cells = summary["cells"].as_array().unwrap();
    let of = |setting: &str, context: u64| {
        cells.iter().find(|cell| cell["setting"] == setting && cell["context"] == context).unwrap()
    };
    let cell = of("Q4_1 kv=tbq3_0", 512);
    assert_eq!(cell["void"], Value::Null, "{cell}");
    // 30 layers of 3 heads of 64 values for K and V: 34 bytes for 32 of them, whatever it is called.
    let kv = cell["memory"]["kv_bytes"].as_f64().unwrap();
    let expected = (30 * 2 * 512 * 192 / 32 * 34) as f64;
    assert!((kv / expected - 1.0).abs() < 0.01, "{kv} beside {expected}");

    // Nobody guesses its bits: at another length its memory is what its own log says, drawn out.
    let mut command = Command::new(env!("CARGO_BIN_EXE_kneepoint"));
    command.current_dir(folder.path()).env_remove("KNEEPOINT_RUNS_DIR");
    command.args([
        "pick",
        "--context",
        "4k",
        "--extrapolate",
        "--min-quality",
        "0",
        "--objective",
        "memory",
        "--json",
    ]);
    let pick: Value = serde_json::from_slice(&command.output().unwrap().stdout).unwrap();
    assert_eq!(pick["setting"], "Q4_1 kv=tbq3_0");
    assert!(
        pick["memory"]["notes"].to_string().contains("block size of the cache type `tbq3_0` is not known"),
        "{pick}"
    );
    let drawn = pick["memory"]["kv_bytes"].as_f64().unwrap();
    assert!((drawn / (expected * 8.0) - 1.0).abs() < 0.01, "{drawn}");
    let words = pick["serve_command"].as_str().unwrap();
    assert!(words.contains("-ctk tbq3_0"), "{words}");
}

#[test]
fn a_type_that_the_binary_does_not_list_is_refused_before_anything_is_fetched() {
    let folder = tempfile::tempdir().unwrap();
    let cache = folder.path().join("cache");
    let out = run(folder.path(), &fork(folder.path()), "tbq4_0", &[("KNEEPOINT_CACHE_DIR", &cache)]);
    let said = String::from_utf8_lossy(&out.stderr);
    assert_eq!(out.status.code(), Some(2), "{said}");
    assert!(
        said.contains("has no type of K cache `tbq4_0`") && said.contains("did you mean `tbq3_0`?"),
        "{said}"
    );
    assert!(said.contains("its help lists tbq3_0, f32, f16"), "{said}");
    for kept in ["packages", "downloads"] {
        let entries = fs::read_dir(cache.join(kept)).map(Iterator::count).unwrap_or_default();
        assert_eq!(entries, 0, "{kept}");
    }
    let runs = fs::read_dir(folder.path().join("runs")).map(Iterator::count).unwrap_or_default();
    assert_eq!(runs, 0);
}

/// A suite for the packaged server, or another one, with this setting.
fn suite(folder: &Path, engine: &str, setting: &str) -> PathBuf {
    let path = folder.join("flags.toml");
    let text = format!(
        "name = \"flags\"\ncontexts = [512]\n{engine}[[model]]\nname = \"SmolLM2\"\npackage = \"smollm2-135m-instruct\"\n\
         [reference]\n[[setting]]\n{setting}\n[[task]]\nname = \"serving/speed\"\nsamples = 1\n"
    );
    fs::write(&path, text).unwrap();
    path
}

fn kneepoint(folder: &Path, args: &[&str]) -> (Option<i32>, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kneepoint"));
    let out = command.current_dir(folder).args(args).env("NO_COLOR", "1").env_remove("KNEEPOINT_RUNS_DIR");
    let out = out.output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (out.status.code(), text(&out.stdout), text(&out.stderr))
}

#[test]
fn a_flag_that_the_real_server_has_not_is_refused_before_anything_starts() {
    Store::open(&Silent).unwrap().fetch(&SERVER).unwrap();
    let folder = tempfile::tempdir().unwrap();
    suite(folder.path(), "", "extra_args = [\"--no-mmpa\"]");
    for command in
        [&["validate", "flags.toml"][..], &["run", "flags.toml"], &["run", "flags.toml", "--dry-run"]]
    {
        let (code, _, said) = kneepoint(folder.path(), command);
        assert_eq!(code, Some(2), "{command:?}: {said}");
        assert!(
            said.contains("has no flag `--no-mmpa`") && said.contains("did you mean `--no-mmap`?"),
            "{said}"
        );
        assert!(said.contains("it stands in extra_args of the setting Q4_1"), "{said}");
    }
    assert_eq!(fs::read_dir(folder.path().join("runs")).map(Iterator::count).unwrap_or_default(), 0);
    let fine = "extra_args = [\"--no-mmap\", \"--rope_freq_scale\", \"-1.5\", \"-ub\", \"128\", \"--no-warmup\", \"-r\", \"--x\"]";
    suite(folder.path(), "[engine]\nargs = [\"-t\", \"2\", \"--no-perf\"]\n", fine);
    let (code, _, said) = kneepoint(folder.path(), &["validate", "flags.toml"]);
    assert_eq!(code, Some(0), "{said}");
    suite(folder.path(), "", "extra_args = [\"--ctx-size=512\"]");
    let (code, _, said) = kneepoint(folder.path(), &["validate", "flags.toml"]);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("write it as two: \"--ctx-size\", \"VALUE\""), "{said}");
}

#[test]
fn validate_asks_a_binary_that_is_here_for_its_types() {
    let folder = tempfile::tempdir().unwrap();
    let engine = format!("[engine]\nbinary = \"{}\"\n", fork(folder.path()).display());
    suite(folder.path(), &engine, "kv = \"tbq3_0\"");
    assert_eq!(kneepoint(folder.path(), &["validate", "flags.toml"]).0, Some(0));
    suite(folder.path(), &engine, "kv = \"tbq4_0\"");
    let (code, _, said) = kneepoint(folder.path(), &["validate", "flags.toml"]);
    assert!(code == Some(2) && said.contains("did you mean `tbq3_0`?"), "{said}");
    suite(folder.path(), &engine, "speculation = \"ngram-sample\"");
    let (code, _, said) = kneepoint(folder.path(), &["validate", "flags.toml"]);
    assert!(code == Some(2) && said.contains("did you mean `ngram-simple`?"), "{said}");
    // One that is not here, or does not run, is no fault of the suite.
    suite(folder.path(), "[engine]\nbinary = \"nowhere/llama-server\"\n", "kv = \"tbq4_0\"");
    assert_eq!(kneepoint(folder.path(), &["validate", "flags.toml"]).0, Some(0));
    fs::write(folder.path().join("broken"), "#!/bin/sh\nexit 3\n").unwrap();
    fs::set_permissions(folder.path().join("broken"), fs::Permissions::from_mode(0o755)).unwrap();
    suite(folder.path(), "[engine]\nbinary = \"broken\"\n", "kv = \"q8_0\"");
    let (code, text, said) = kneepoint(folder.path(), &["validate", "flags.toml"]);
    assert!(code == Some(0) && text.contains("types and flags were not checked"), "{text}{said}");
}
