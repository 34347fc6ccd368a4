//! How kneepoint behaves in a shell: closed pipes, signals, full disks, foreign text, keys.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::common::{KNEEPOINT, MockBench, tiny_gguf};

/// What a terminal would act on, in harmless forms: a colour, a title, C1 forms, a reading direction.
const ESCAPES: &str = "\u{1b}[31m\u{1b}]0;owned\u{7}\u{9b}32m\u{202e}";

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A pipe's end for writing whose reader is gone.
fn closed() -> Stdio {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    writer.into()
}

fn wait(child: &mut Child, limit: Duration) -> Option<i32> {
    let end = Instant::now() + limit;
    while Instant::now() < end {
        if let Some(status) = child.try_wait().unwrap() {
            use std::os::unix::process::ExitStatusExt;
            return Some(status.code().unwrap_or_else(|| 128 + status.signal().unwrap()));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    None
}

fn signal(child: &Child, signal: Signal) {
    kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), signal).unwrap();
}

// Closed pipes.

#[test]
fn no_command_panics_on_closed_pipes() {
    let bench = MockBench::new("");
    assert!(bench.command(&["run", "suite.toml", "-q"]).output().unwrap().status.success());
    let run = bench.run_folder();
    let run = run.to_str().unwrap();
    for (args, code) in [
        (vec!["list", "tasks"], 0),
        (vec!["list", "engines", "--json"], 0),
        (vec!["--help"], 0),
        (vec!["--version"], 0),
        (vec!["no-such-command"], 2),
        (vec!["validate", "suite.toml"], 0),
        (vec!["validate", "nowhere.toml", "--json"], 2),
        (vec!["run", "suite.toml", "--dry-run"], 0),
        (vec!["run", "suite.toml", "-v", "--runs-dir", "others"], 0),
        (vec!["report", run], 0),
        (vec!["report", run, "--format", "md"], 0),
        (vec!["compare", run, run], 0),
        (vec!["history", "list"], 0),
        (vec!["doctor"], 0),
        (vec!["man"], 0),
        (vec!["completions", "bash"], 0),
        (vec!["schema", "suite"], 0),
        // Many lines, of which nobody reads the first: as SIGPIPE would end it.
        (vec!["score", run], 141),
        (vec!["cases", "suite.toml", "--task", "retrieval/niah_single_1", "--approximate"], 141),
    ] {
        let status = bench.command(&args).stdout(closed()).stderr(closed()).status().unwrap();
        assert_eq!(status.code(), Some(code), "{args:?}");
    }
}

#[test]
fn a_closed_stderr_does_not_stop_a_run() {
    let bench = MockBench::new("--fault http-500@2");
    let out = bench.command(&["run", "suite.toml", "-v", "--json"]).stderr(closed()).output().unwrap();
    assert_eq!(out.status.code(), Some(106));
    let summary: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!(summary["done"], summary["planned"]);
}

/// Only `src/console` may touch the streams; clippy's `print_stdout` and `print_stderr` forbid the macros elsewhere.
#[test]
fn everything_is_printed_in_one_place() {
    fn files(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if entry.is_dir() { files(&entry, found) } else { found.push(entry) }
        }
    }
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    files(&source, &mut found);
    // The watcher's stdout is a pipe to kneepoint, which speaks a protocol.
    let own = [source.join("console"), source.join("measure/engine/supervise/watcher.rs")];
    let others = found.iter().filter(|file| !own.iter().any(|own| file.starts_with(own)));
    for file in others {
        let code = std::fs::read_to_string(file).unwrap();
        for stream in ["io::stdout", "io::stderr", "Term::stderr", "Term::stdout"] {
            assert!(!code.contains(stream), "{} uses {stream}: print through src/console", file.display());
        }
    }
}

// Foreign text.

fn assert_harmless(out: &Output, what: &str) {
    for bytes in [&out.stdout, &out.stderr] {
        let shown = text(bytes);
        let bad = shown.chars().find(|c| {
            (c.is_control() && !matches!(c, '\n' | '\t'))
                || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
        });
        assert_eq!(bad, None, "{what}: {shown:?}");
    }
}

#[test]
fn escapes_of_suites_and_journals_never_reach_the_terminal() {
    let bench = MockBench::new("");
    let dir = bench.dir.path();
    let in_toml = "\\u001b[31m\\u001b]0;owned\\u0007\\u009b32m\\u202e";
    let suite = std::fs::read_to_string(dir.join("suite.toml")).unwrap();
    let hostile = suite
        .replace("contexts = [512]", &format!("description = \"{in_toml}\"\ncontexts = [512]"))
        .replace("name = \"mock\"\npath", &format!("name = \"{in_toml}m\"\npath"))
        + "\n[[gate]]\nmetric = \"quality\"\nmin = 2.0\ncells = [\"setting=*\"]\n";
    std::fs::create_dir(dir.join("suites")).unwrap();
    let name = format!("suites/s{ESCAPES}.toml");
    std::fs::write(dir.join(&name), hostile.replace("path = \"model.gguf\"", "path = \"../model.gguf\""))
        .unwrap();
    let run = |args: &[&str]| {
        let out = bench.command(args).output().unwrap();
        assert_harmless(&out, &format!("{args:?}"));
        out
    };
    let out = run(&["run", &name, "-v"]);
    assert_eq!(out.status.code(), Some(100), "{}", text(&out.stderr));
    assert!(text(&out.stderr).contains("gate failed"), "{}", text(&out.stderr));
    for args in [
        vec!["run", &name, "--dry-run"],
        vec!["report", "latest", "--format", "md"],
        vec!["report", "latest", "--json"],
        vec!["report", "latest", "--format", "csv"],
        vec!["history", "list"],
        vec!["history", "list", "--json"],
        vec!["history", "show"],
        vec!["history", "trend"],
        vec!["history", "export"],
        vec!["compare", "latest", "latest"],
        vec!["compare", "latest", "latest", "--json"],
        vec!["pick", "--context", "512", "--min-quality", "0"],
        vec!["route"],
        vec!["score", "latest"],
        vec!["list", "suites"],
        vec!["list", "suites", "--json"],
        vec!["validate", &name],
        vec!["validate", &name, "--json"],
        vec!["doctor", &name],
        vec!["validate", &format!("no{ESCAPES}.toml")],
        vec!["validate", &name, "--set", &format!("reference.kv=x{ESCAPES}")],
        vec!["validate", &name, "--set", &format!("unknown{ESCAPES}=1")],
        vec!["validate", &name, "--model", &format!("/no{ESCAPES}.gguf")],
        vec!["run", &name, "--filter", &format!("x{ESCAPES}=1")],
        vec!["resume", &format!("none{ESCAPES}")],
        vec!["report", &format!("none{ESCAPES}")],
        vec![&format!("command{ESCAPES}")],
        vec!["list", &format!("thing{ESCAPES}")],
        vec!["man", &format!("page{ESCAPES}")],
    ] {
        run(&args);
    }
}

#[test]
fn a_mistake_beside_foreign_text_is_shown_at_its_place() {
    let dir = tempfile::tempdir().unwrap();
    let suite = "name = \"t\" # \u{202e}\u{9b}2J\nkw = \"\u{2066}\"\n";
    std::fs::write(dir.path().join("s.toml"), suite).unwrap();
    let out = Command::new(KNEEPOINT).current_dir(dir.path()).args(["validate", "s.toml"]).output().unwrap();
    assert_harmless(&out, "validate");
    let said = text(&out.stderr);
    assert!(said.contains("s.toml:2:1") && said.contains("\\u{2066}"), "{said}");
    let marks = said.lines().find(|line| line.contains('^')).unwrap();
    assert_eq!(marks.matches('^').count(), "kw".len(), "{said}");
}

/// Answers every request with a status and a body.
fn server(status: &'static str, body: String) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 65_536]);
            let head =
                format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
            let _ = stream.write_all((head + &body).as_bytes());
        }
    });
    url
}

const ATTACHED: &str = "name = \"a\"\ncontexts = [512]\n[[model]]\nname = \"m\"\n[reference]\n[engine]\nname = \"openai\"\n\
                        url = \"URL\"\n[[task]]\nname = \"retrieval/niah_single_1\"\nsamples = 2\n";

#[test]
fn escapes_of_a_server_never_reach_the_terminal() {
    let dir = tempfile::tempdir().unwrap();
    for (status, body) in [
        ("500 Broken", format!("{{\"error\":{{\"message\":\"{ESCAPES}\"}}}}")),
        ("200 OK", format!("{ESCAPES} no JSON")),
        ("200 OK", format!("{{\"data\":[{{\"id\":\"a{}\"}},{{\"id\":\"b\"}}]}}", "\\u001b[31m\\u202e")),
    ] {
        std::fs::write(dir.path().join("s.toml"), ATTACHED.replace("URL", &server(status, body))).unwrap();
        let out =
            Command::new(KNEEPOINT).current_dir(dir.path()).args(["run", "s.toml", "-vv"]).output().unwrap();
        assert!(!out.status.success());
        assert_harmless(&out, status);
    }
}

// Signals.

/// A server that takes connections and says nothing.
fn silent() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    (listener, url)
}

#[test]
fn every_signal_while_attaching_ends_with_130() {
    let dir = tempfile::tempdir().unwrap();
    for sent in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
        let (listener, url) = silent();
        std::fs::write(dir.path().join("s.toml"), ATTACHED.replace("URL", &url)).unwrap();
        let mut child = Command::new(KNEEPOINT)
            .current_dir(dir.path())
            .args(["run", "s.toml"])
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // It is attaching once it has connected.
        let _held = listener.accept().unwrap();
        signal(&child, sent);
        assert_eq!(wait(&mut child, Duration::from_secs(60)), Some(130), "{sent}");
    }
}

/// A model whose hash takes minutes: a hole of many gigabytes behind a good header.
pub(crate) fn huge_model(path: &Path) {
    std::fs::write(path, tiny_gguf()).unwrap();
    std::fs::File::options().write(true).open(path).unwrap().set_len(25 << 30).unwrap();
}

#[test]
fn sigterm_while_hashing_ends_with_130() {
    let bench = MockBench::new("");
    huge_model(&bench.dir.path().join("model.gguf"));
    let mut child = bench
        .command(&["run", "suite.toml"])
        .env("KNEEPOINT_CACHE_DIR", bench.dir.path().join("cache"))
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    std::thread::sleep(Duration::from_secs(2));
    assert!(child.try_wait().unwrap().is_none(), "it hashes");
    signal(&child, Signal::SIGTERM);
    assert_eq!(wait(&mut child, Duration::from_secs(60)), Some(130));
}

#[test]
fn a_run_under_nohup_survives_the_terminal() {
    let (listener, url) = silent();
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("s.toml"), ATTACHED.replace("URL", &url)).unwrap();
    let mut child = Command::new("sh")
        .current_dir(dir.path())
        .args(["-c", &format!("trap '' HUP; exec {KNEEPOINT} run s.toml")])
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let _held = listener.accept().unwrap();
    signal(&child, Signal::SIGHUP);
    std::thread::sleep(Duration::from_millis(500));
    assert!(child.try_wait().unwrap().is_none(), "SIGHUP was to be ignored");
    signal(&child, Signal::SIGTERM);
    assert_eq!(wait(&mut child, Duration::from_secs(60)), Some(130));
}

// Suites on the command line.

#[test]
fn lengths_may_be_written_as_32k() {
    let dir = tempfile::tempdir().unwrap();
    let suite = "name = \"t\"\ncontexts = [\"0.5k\", 2048, \"32k\"]\n[[model]]\nname = \"m\"\npath = \"m.gguf\"\n\
                 weights = \"Q8_0\"\n[reference]\n[[task]]\nname = \"retrieval/niah_single_1\"\nsamples = 2\n\
                 contexts = [\"2k\"]\n[[gate]]\nmetric = \"memory\"\nmax = \"24GiB\"\ncells = [\"context=32k\"]\n\
                 [load]\nconcurrency = [1]\nrequests = 4\nprompt_tokens = [\"1k\", 256]\ncontext = \"32k\"\n\
                 [stopping]\nbudget_tokens = \"1m\"\n";
    std::fs::write(dir.path().join("s.toml"), suite).unwrap();
    let validate = |more: &[&str]| {
        let args: Vec<&str> = ["validate", "s.toml", "--json"].iter().chain(more).copied().collect();
        let out = Command::new(KNEEPOINT).current_dir(dir.path()).args(args).output().unwrap();
        (out.status.code(), serde_json::from_slice::<serde_json::Value>(&out.stdout).unwrap())
    };
    let (code, said) = validate(&[]);
    assert_eq!(code, Some(0), "{said}");
    let suite = &said["suite"];
    assert_eq!(suite["contexts"], serde_json::json!([512, 2048, 32_768]));
    assert_eq!(suite["tasks"][0]["contexts"], serde_json::json!([2048]));
    assert_eq!(suite["gates"][0]["max"].as_f64(), Some(25_769_803_776.0));
    assert_eq!(suite["load"]["prompt_tokens"], serde_json::json!([1024, 256]));
    assert_eq!(
        (&suite["load"]["context"], &suite["stopping"]["budget_tokens"]),
        (&32_768.into(), &1_048_576.into())
    );
    assert_eq!(
        validate(&["--set", "contexts.2=16k", "--set", "load.context=2k", "--set", "gate=[]"]).0,
        Some(0)
    );
    for wrong in ["contexts=[\"32q\"]", "gate.0.metric=\"decode\"", "load.prompt_tokens=\"many\""] {
        let (code, said) = validate(&["--set", wrong]);
        assert_eq!(code, Some(2), "{wrong}");
        assert_eq!(said["valid"], false, "{wrong}");
    }
}

#[test]
fn validate_prints_json_of_what_is_wrong() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("s.toml"), "name = \"t\"\ncontexts = [512]\nsamlpes = 3\n").unwrap();
    for (file, line) in [("s.toml", Some(3)), ("nowhere.toml", None)] {
        let out = Command::new(KNEEPOINT)
            .current_dir(dir.path())
            .args(["validate", file, "--json"])
            .output()
            .unwrap();
        assert_eq!(out.status.code(), Some(2));
        let said: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
        let schema = Command::new(KNEEPOINT).args(["schema", "validate"]).output().unwrap().stdout;
        let schema: serde_json::Value = serde_json::from_slice(&schema).unwrap();
        assert!(jsonschema::is_valid(&schema, &said), "{said}");
        assert_eq!((&said["schema_version"], &said["valid"]), (&1.into(), &false.into()));
        let fault = &said["errors"][0];
        assert!(!fault["message"].as_str().unwrap().is_empty(), "{said}");
        assert_eq!(fault["line"].as_u64(), line, "{said}");
        assert!(!fault["hints"].as_array().unwrap().is_empty(), "{said}");
    }
}

#[test]
fn a_shipped_suite_runs_on_a_model_of_ones_own() {
    let dir = tempfile::tempdir().unwrap();
    let suite = Path::new(env!("CARGO_MANIFEST_DIR")).join("suites/tools.toml");
    let suite = suite.to_str().unwrap();
    // 7: Q8_0. 10: Q2_K, which the suite would derive.
    for (name, settings) in [("Mine-Q8_0.gguf", 6), ("Mine-Q2_K.gguf", 3), ("Mine-Q4_K_M.gguf", 6)] {
        let model = dir.path().join(name);
        std::fs::write(&model, "the name tells").unwrap();
        let path = format!("model.0.path={}", model.display());
        let whole = format!("model={}", model.display());
        for args in [vec!["--model", model.to_str().unwrap()], vec!["--set", &whole], vec!["--set", &path]] {
            if name.contains("Q2_K") && args[1] == path {
                continue; // Its own quant cannot be derived: told.
            }
            let out = Command::new(KNEEPOINT).args(["validate", suite]).args(&args).output().unwrap();
            let said = text(&out.stdout) + &text(&out.stderr);
            assert!(said.contains(&format!("is valid: {settings} settings")), "{args:?}: {said}");
        }
    }
}

#[test]
fn a_matrix_for_an_attached_server_is_named_in_the_error() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("s.toml"), ATTACHED.replace("URL", "http://127.0.0.1:9")).unwrap();
    let quickstart = Path::new(env!("CARGO_MANIFEST_DIR")).join("suites/kv-quant.toml");
    let quickstart = quickstart.to_str().unwrap();
    for args in [
        vec!["s.toml", "--set", "matrix.kv=[\"q8_0\"]"],
        vec!["s.toml", "--set", "matrix.kv=[\"no such type\"]"],
        vec!["s.toml", "--set", "matrix.weights=[\"all\"]"],
        vec![quickstart, "--set", "engine.url=http://127.0.0.1:9", "--set", "matrix.kv=[\"f16\", \"q8_0\"]"],
    ] {
        let out =
            Command::new(KNEEPOINT).current_dir(dir.path()).arg("validate").args(&args).output().unwrap();
        let said = text(&out.stderr);
        assert_eq!(out.status.code(), Some(2), "{said}");
        assert!(said.contains("`matrix.") && said.contains("exactly one setting"), "{args:?}: {said}");
    }
}

#[test]
fn every_page_that_a_manual_page_refers_to_can_be_printed() {
    let man = |args: &[&str]| {
        let out = Command::new(KNEEPOINT).arg("man").args(args).output().unwrap();
        assert!(out.status.success(), "{args:?}: {}", text(&out.stderr));
        text(&out.stdout)
    };
    let references = |page: &str| -> Vec<String> {
        let words = page.split_whitespace().map(|word| word.replace('\\', ""));
        words.filter(|word| word.starts_with("kneepoint-") && word.ends_with("(1)")).collect()
    };
    let mut pages = references(&man(&[]));
    assert!(pages.len() > 10, "{pages:?}");
    let mut seen = 0;
    while let Some(name) = pages.pop() {
        let page = man(&[&name]);
        let title = name.trim_end_matches("(1)");
        assert!(page.replace('\\', "").contains(&format!(".TH {title} 1")), "{name}: {}", &page[..200]);
        pages.extend(references(&page));
        seen += 1;
    }
    assert!(seen > 15);
    assert_eq!(man(&["run"]), man(&["kneepoint-run"]));
    assert_eq!(man(&["history", "trend"]), man(&["kneepoint-history-trend(1)"]));
    let dir = tempfile::tempdir().unwrap();
    man(&["--out", dir.path().to_str().unwrap()]);
    assert!(dir.path().join("kneepoint-run.1").exists());
    let out = Command::new(KNEEPOINT).args(["man", "reprot"]).output().unwrap();
    assert_eq!(out.status.code(), Some(2));
    assert!(text(&out.stderr).contains("kneepoint man report"), "{}", text(&out.stderr));
}

// Files.

#[test]
fn a_full_disk_leaves_no_half_written_report() {
    let bench = MockBench::new("");
    assert!(bench.command(&["run", "suite.toml", "-q"]).output().unwrap().status.success());
    let run = bench.run_folder();
    let out = bench.dir.path().join("out");
    std::fs::create_dir(&out).unwrap();
    std::fs::write(out.join("front.svg"), "the one before").unwrap();
    // As on a full disk, writing fails in the midst of a file; the limit counts 512 or 1024 bytes.
    let line = format!(
        "trap '' XFSZ; ulimit -f 4; exec {KNEEPOINT} report {} --out {}",
        run.display(),
        out.display()
    );
    let failed = Command::new("sh").args(["-c", &line]).output().unwrap();
    let said = text(&failed.stderr);
    assert_eq!(failed.status.code(), Some(1), "{said}");
    assert!(said.contains("cannot write") && said.contains("hint:"), "{said}");
    let left: Vec<_> = std::fs::read_dir(&out).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["front.svg"]);
    assert_eq!(std::fs::read_to_string(out.join("front.svg")).unwrap(), "the one before");
}

// Keys and home folders.

const KEY: &str = "hf-not-to-be-found-0123456789";

/// Files below a folder that hold a text.
fn holding(folder: &Path, words: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for path in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        if path.is_dir() {
            found.extend(holding(&path, words));
        } else if text(&std::fs::read(&path).unwrap()).contains(words) {
            found.push(path);
        }
    }
    found
}

#[test]
fn keys_in_arguments_and_home_folders_are_written_nowhere() {
    let bench = MockBench::new("");
    let home = bench.dir.path().canonicalize().unwrap();
    let suite = std::fs::read_to_string(home.join("suite.toml")).unwrap();
    let args = format!("[engine]\nargs = [\"--hf-token\", \"{KEY}\", \"--api-key={KEY}2\"]");
    std::fs::write(home.join("suite.toml"), suite.replace("[engine]", &args)).unwrap();
    // The server says its command line and dies in one setting, so that its log gets into errors.
    let server = std::fs::read_to_string(home.join("llama-server")).unwrap();
    let server = server.replace(
        "while [ $# -gt 0 ]",
        "echo \"I was given $* by $HOME/me\" >&2\ncase \"$*\" in *q8_0*) exit 3;; esac\nwhile [ $# -gt 0 ]",
    );
    std::fs::write(home.join("llama-server"), server).unwrap();
    let own = home.join("suite.toml");
    let model = format!("model.0.path={}", home.join("model.gguf").display());
    let with_key = format!("engine.args.1={KEY}3");
    let mut command = bench.command(&["run", own.to_str().unwrap(), "--set", &model, "--set", &with_key]);
    let out = command.env("HOME", &home).output().unwrap();
    assert_eq!(out.status.code(), Some(106), "{}", text(&out.stderr));
    assert!(text(&out.stderr).contains("cannot be resumed"), "{}", text(&out.stderr));
    let run = bench.run_folder();
    let journal = std::fs::read_to_string(run.join("journal.jsonl")).unwrap();
    assert!(journal.contains("I was given") && journal.contains("--hf-token"), "the log is quoted");
    assert_eq!(holding(&run, KEY), Vec::<PathBuf>::new());
    let named: Vec<PathBuf> = holding(&run, home.to_str().unwrap())
        .into_iter()
        .filter(|path| !path.starts_with(run.join("engine")))
        .collect();
    assert_eq!(named, Vec::<PathBuf>::new(), "servers' own logs aside, no file names the home folder");
    let report = std::fs::read_to_string(run.join("report.md")).unwrap();
    assert!(report.contains("~/suite.toml"), "{report}");
    let again = bench.command(&["resume"]).env("HOME", &home).output().unwrap();
    assert_eq!(again.status.code(), Some(2), "{}", text(&again.stderr));
    // Printed commands have no key either.
    let mut command = bench.command(&["run", own.to_str().unwrap(), "--dry-run"]);
    let out = command.env("HOME", &home).output().unwrap();
    assert!(text(&out.stdout).contains("--hf-token") && !text(&out.stdout).contains(KEY));
    let out = bench.command(&["validate", own.to_str().unwrap(), "--json"]).output().unwrap();
    assert!(!text(&out.stdout).contains(KEY));
}

#[test]
fn a_run_below_the_home_folder_can_be_resumed() {
    let bench = MockBench::new("--fault http-500@2");
    let home = bench.dir.path().canonicalize().unwrap();
    let own = home.join("suite.toml");
    let mut command = bench.command(&["run", own.to_str().unwrap()]);
    let out = command.env("HOME", &home).output().unwrap();
    assert_eq!(out.status.code(), Some(106), "{}", text(&out.stderr));
    let out = bench.command(&["resume", "--retry-failed"]).env("HOME", &home).output().unwrap();
    assert!(matches!(out.status.code(), Some(0 | 106)), "{}", text(&out.stderr));
}
