//! Who is told of a run, and what is published of it.

use std::io::{Read, Write};
use std::net::TcpListener;

use crate::common::MockBench;

/// A bench whose suite tells somebody; `more` goes into `[notify]`.
fn bench(more: &str) -> MockBench {
    let bench = MockBench::new("--decode-ms 0.1 --prefill-ms 0.01");
    let path = bench.dir.path().join("suite.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, format!("{text}\n[notify]\nwhen = \"always\"\n{more}")).unwrap();
    bench
}

#[test]
fn a_command_gets_five_lines_and_its_end_changes_nothing() {
    let bench = bench("command = [\"sh\", \"-c\", \"cat > told.txt; exit 3\"]\n");
    let out = bench.command(&["run", "suite.toml"]).output().unwrap();
    let said = String::from_utf8_lossy(&out.stderr);
    assert_eq!(out.status.code(), Some(0), "{said}");
    assert!(said.contains("nobody was told: `sh` ended with exit status: 3"), "{said}");
    let told = std::fs::read_to_string(bench.dir.path().join("told.txt")).unwrap();
    assert_eq!(told.lines().count(), 5, "{told}");
    assert!(told.starts_with("kneepoint: ") && told.contains("gates: none"), "{told}");
}

#[test]
fn a_command_that_does_not_end_is_ended() {
    let bench =
        bench("command = [\"sh\", \"-c\", \"sleep 600 & echo $! > started.txt; wait\"]\ntimeout_s = 1\n");
    let out = bench.command(&["run", "suite.toml"]).output().unwrap();
    let said = String::from_utf8_lossy(&out.stderr);
    assert_eq!(out.status.code(), Some(0), "{said}");
    assert!(said.contains("nobody was told: `sh` did not end within 1 s and was killed"), "{said}");
    let started = std::fs::read_to_string(bench.dir.path().join("started.txt")).unwrap();
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", started.trim())).unwrap_or_default();
    let is_over = stat.is_empty() || stat.contains(") Z ");
    assert!(is_over, "what the command started goes on: {stat}");
}

#[test]
fn a_webhook_gets_json_at_an_address_that_nobody_else_sees() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://127.0.0.1:{}/hook/s3cr3t-t0ken", listener.local_addr().unwrap().port());
    let heard = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut heard = Vec::new();
        let mut piece = [0; 4096];
        while !String::from_utf8_lossy(&heard).contains("\"gates_failed\"") {
            let read = stream.read(&mut piece).unwrap();
            heard.extend_from_slice(&piece[..read]);
        }
        stream.write_all(b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n").unwrap();
        String::from_utf8(heard).unwrap()
    });
    let bench = bench("webhook_env = \"TOLD_AT\"\n");
    let out = bench.command(&["run", "suite.toml"]).env("TOLD_AT", &address).output().unwrap();
    let said = String::from_utf8_lossy(&out.stderr);
    assert_eq!(out.status.code(), Some(0), "{said}");
    assert!(said.contains("the webhook answered HTTP 500") && !said.contains("s3cr3t"), "{said}");
    let heard = heard.join().unwrap();
    assert!(heard.starts_with("POST /hook/s3cr3t-t0ken HTTP/1.1"), "{heard}");
    let (_, body) = heard.split_once("\r\n\r\n").unwrap();
    let body: serde_json::Value = serde_json::from_str(body).unwrap();
    assert_eq!(body["lines"].as_array().unwrap().len(), 5);
    assert_eq!(body["text"], body["content"]);
    for file in std::fs::read_dir(bench.run_folder()).unwrap().map(|entry| entry.unwrap().path()) {
        let bytes = if file.is_file() { std::fs::read(&file).unwrap() } else { Vec::new() };
        assert!(!String::from_utf8_lossy(&bytes).contains("s3cr3t"), "{}", file.display());
    }
}

#[test]
fn a_table_that_tells_nobody_and_an_address_in_the_suite_are_refused() {
    for (more, expected) in [
        ("", "tells nobody"),
        ("webhook_env = \"https://chat/s3cr3t\"\n", "not the name of an environment variable"),
        ("command = [\"true\"]\ntimeout_s = 0\n", "timeout_s"),
        ("command = [\"send\", \"--token\", \"s3cr3t\"]\n", "holds a secret: the value of `--token`"),
        (
            "command = [\"curl\", \"https://me:s3cr3t@chat/x\"]\n",
            "holds a secret: the password in an address",
        ),
        ("command = [\"send\", \"--api-key=s3cr3t\"]\n", "put the secret into an environment variable"),
    ] {
        let out = bench(more).command(&["validate", "suite.toml"]).output().unwrap();
        let said = String::from_utf8_lossy(&out.stderr);
        assert_eq!(out.status.code(), Some(2), "{said}");
        assert!(said.contains(expected), "{expected}: {said}");
        assert!(!said.contains("s3cr3t"), "{said}");
    }
}

#[test]
fn a_workflow_sees_failed_gates_and_the_report() {
    let bench = MockBench::new("--decode-ms 0.1 --prefill-ms 0.01");
    let path = bench.dir.path().join("suite.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, format!("{text}\n[[gate]]\nmetric = \"decode\"\nmin = 1e9\n")).unwrap();
    let summary = bench.dir.path().join("step.md");
    let mut command = bench.command(&["run", "suite.toml"]);
    let out = command.env("GITHUB_ACTIONS", "true").env("GITHUB_STEP_SUMMARY", &summary).output().unwrap();
    let said = String::from_utf8_lossy(&out.stderr);
    assert_eq!(out.status.code(), Some(100), "{said}");
    assert!(said.lines().any(|line| line.starts_with("::error title=gate failed")), "{said}");
    let told = std::fs::read_to_string(&summary).unwrap();
    assert!(told.contains("## Verdict"));
    let mut command = bench.command(&["report", "latest"]);
    command.env("GITHUB_ACTIONS", "true").env("GITHUB_STEP_SUMMARY", &summary).output().unwrap();
    assert_eq!(std::fs::read_to_string(&summary).unwrap(), told, "the same report once more");
}

#[test]
fn published_runs_name_no_folder_of_this_machine() {
    let bench = MockBench::new("--decode-ms 0.1 --prefill-ms 0.01");
    // A template in somebody's folder: it stands in the label, the suite and the command lines.
    let template = bench.dir.path().join("people/jodoe/chat.jinja");
    std::fs::create_dir_all(template.parent().unwrap()).unwrap();
    std::fs::write(&template, "{{ messages }}").unwrap();
    let suite = bench.dir.path().join("suite.toml");
    let flag = format!("kv = \"q8_0\"\nextra_args = [\"--chat-template-file\", \"{}\"]", template.display());
    let text = std::fs::read_to_string(&suite).unwrap().replace("kv = \"q8_0\"", &flag);
    std::fs::write(&suite, text).unwrap();
    for _ in 0..2 {
        let ran = bench.command(&["run", "suite.toml"]).output().unwrap();
        assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    }
    let mut runs: Vec<String> = std::fs::read_dir(bench.dir.path().join("runs"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .filter(|name| !name.starts_with('.'))
        .collect();
    runs.sort();
    let to = bench.dir.path().join("site");
    let mut args = vec!["publish", "--to", to.to_str().unwrap()];
    args.extend(runs.iter().map(String::as_str));
    let out = bench.command(&args).env("USER", "jodoe").output().unwrap();
    let said = String::from_utf8_lossy(&out.stdout);
    assert_eq!(out.status.code(), Some(0), "{}", String::from_utf8_lossy(&out.stderr));
    assert!(said.contains("taken out of what is published") && said.contains("folder: "), "{said}");
    let index = std::fs::read_to_string(to.join("index.html")).unwrap();
    assert!(runs.iter().all(|run| index.contains(&format!("href=\"{run}/report.html\""))), "{index}");
    let compared = std::fs::read_to_string(to.join(format!("{}--{}.html", runs[0], runs[1]))).unwrap();
    assert!(compared.contains("--chat-template-file …/chat.jinja"), "{compared}");
    let folder = bench.dir.path().to_string_lossy().into_owned();
    let mut looked_at = 0;
    for run in runs.iter().map(|run| to.join(run)).chain([to.clone()]) {
        for file in
            std::fs::read_dir(run).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_file())
        {
            looked_at += 1;
            let bytes = std::fs::read(&file).unwrap();
            let text = String::from_utf8_lossy(&bytes);
            assert!(!text.contains(&folder) && !text.contains("jodoe"), "{}", file.display());
        }
    }
    assert!(looked_at > 12, "{looked_at}");
}
