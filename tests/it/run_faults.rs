//! What a run makes of a server that misbehaves: the trial fails with what happened, and the run goes on.

use crate::common::MockBench;

/// Runs the mock suite; exit code, failures in the summary.
fn run(mock_args: &str) -> (i32, Vec<serde_json::Value>, serde_json::Value) {
    let bench = MockBench::new(mock_args);
    let out = bench.command(&["run", "suite.toml", "--json"]).output().unwrap();
    let summary: serde_json::Value = serde_json::from_slice(&out.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&out.stderr)));
    let failures = summary["failures"].as_array().unwrap().clone();
    (out.status.code().unwrap(), failures, summary)
}

#[test]
fn a_server_that_answers_errors_fails_that_trial_only() {
    // Every server process counts its own requests: number 2 is the first trial after the warm-up.
    let (code, failures, summary) = run("--fault http-500@2");
    assert_eq!(code, 106);
    assert!(!failures.is_empty());
    assert!(failures.iter().all(|failure| failure["stage"] == "request"), "{failures:?}");
    assert!(failures[0]["error"].as_str().unwrap().contains("500"), "{failures:?}");
    assert!(summary["done"] == summary["planned"]);
}

#[test]
fn a_broken_stream_is_a_failure_of_the_stream() {
    let (code, failures, _) = run("--fault close@2");
    assert_eq!(code, 106);
    assert!(!failures.is_empty());
    assert!(failures.iter().all(|failure| failure["stage"] == "stream"), "{failures:?}");
}

#[test]
fn a_binary_that_is_no_server_is_an_engine_error_with_its_words() {
    let bench = MockBench::new("");
    let binary = bench.dir.path().join("llama-server");
    std::fs::write(
        &binary,
        "#!/bin/sh\ncase \"$*\" in *--version*|*--help*) exit 0;; esac\necho no such GPU >&2; exit 7\n",
    )
    .unwrap();
    let out = bench.command(&["run", "suite.toml"]).output().unwrap();
    let said = String::from_utf8_lossy(&out.stderr);
    assert_eq!(out.status.code(), Some(101), "{said}");
    assert!(said.contains("no such GPU") && said.contains("hint:"), "{said}");
}

/// The mock suite with a server that finds its port taken so many times, and what it was started as.
fn with_a_taken_port(times: u32) -> (std::process::Output, Vec<String>) {
    let bench = MockBench::new("");
    let folder = bench.dir.path();
    let [binary, serve, starts] = ["llama-server", "serve", "starts"].map(|name| folder.join(name));
    std::fs::rename(&binary, &serve).unwrap();
    let script = format!(
        "#!/bin/sh\ncase \"$*\" in *--version*|*--help*) exec {serve} \"$@\" ;; esac\necho \"$*\" >>{starts}\n\
         if [ $(wc -l <{starts}) -le {times} ]; then echo \"couldn't bind HTTP server socket\" >&2; exit 1; fi\nexec {serve} \"$@\"\n",
        serve = serve.display(),
        starts = starts.display(),
    );
    std::fs::write(&binary, script).unwrap();
    std::fs::set_permissions(&binary, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let out = bench.command(&["run", "suite.toml"]).output().unwrap();
    let started = std::fs::read_to_string(starts).unwrap();
    (out, started.lines().map(str::to_owned).collect())
}

#[test]
fn a_port_that_another_process_took_is_given_up_for_another() {
    let port = |line: &str| line.split_once("--port ").unwrap().1.split(' ').next().unwrap().to_owned();
    let (out, starts) = with_a_taken_port(2);
    assert_eq!(out.status.code(), Some(0), "{}", String::from_utf8_lossy(&out.stderr));
    assert_ne!(port(&starts[0]), port(&starts[2]));
    let (out, starts) = with_a_taken_port(3);
    let said = String::from_utf8_lossy(&out.stderr);
    assert_eq!((out.status.code(), starts.len()), (Some(101), 3), "{said}");
    assert!(said.contains("couldn't bind") && said.contains("resume --retry-failed"), "{said}");
}

/// The trials of the run whose stage of failure is this.
fn of_stage<'a>(failures: &'a [serde_json::Value], stage: &str) -> Vec<&'a serde_json::Value> {
    failures.iter().filter(|failure| failure["stage"] == stage).collect()
}

#[test]
fn a_server_that_dies_fails_that_trial_with_its_log_and_is_restarted_once() {
    // The third request of every process: the second trial of a visit, then the second after the restart.
    let (code, failures, summary) = run("--fault exit@3");
    assert_eq!(code, 106);
    let broken = of_stage(&failures, "server");
    assert_eq!(broken.len(), failures.len(), "{failures:?}");
    let died = broken.iter().filter(|failure| failure["error"].as_str().unwrap().contains("died"));
    assert!(died.clone().count() > 0, "{failures:?}");
    for failure in died {
        assert!(failure["error"].as_str().unwrap().contains("scripted end of the mock server"), "{failure}");
    }
    // The run went on to its end, and trials before and after the broken ones were scored.
    assert_eq!(summary["done"], summary["planned"]);
    assert!(summary["cells"].as_array().unwrap().iter().all(|cell| cell["scored"].as_u64().unwrap() > 0));
}

#[test]
fn a_server_that_hangs_is_killed_and_restarted() {
    let bench = MockBench::new("--fault freeze@3");
    let args = ["run", "suite.toml", "--json", "--set", "engine.request_timeout_s=1", "--set", "rounds=1"];
    let out = bench.command(&args).output().unwrap();
    let summary: serde_json::Value = serde_json::from_slice(&out.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&out.stderr)));
    let failures = summary["failures"].as_array().unwrap();
    assert!(
        failures.iter().any(|failure| failure["error"].as_str().unwrap().contains("hangs")),
        "{failures:?}"
    );
    assert_eq!(summary["done"], summary["planned"]);
}

#[test]
fn a_silent_change_of_a_setting_voids_the_cell() {
    let bench = MockBench::new("");
    let binary = bench.dir.path().join("llama-server");
    let script = std::fs::read_to_string(&binary).unwrap();
    // Whatever is asked, the server says that it runs an f16 cache.
    let says = "llama_kv_cache: size =   90.00 MiB (  512 cells,  30 layers,  1/1 seqs), \
                K (f16):   45.00 MiB, V (f16):   45.00 MiB";
    let script = script.replace("while [", &format!("echo '0.00.1 I {says}'\nwhile ["));
    std::fs::write(&binary, script).unwrap();
    let out = bench.command(&["run", "suite.toml", "--json"]).output().unwrap();
    let summary: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
    let cells = summary["cells"].as_array().unwrap();
    assert_eq!(cells[0]["void"], serde_json::Value::Null);
    assert!(cells[1]["void"].as_str().unwrap().contains("q8_0"), "{}", cells[1]);
    let report = std::fs::read_to_string(bench.run_folder().join("report.md")).unwrap();
    assert!(report.contains("void"), "{report}");
}

/// Without a reference nothing can be compared: nobody waits an hour for that.
#[test]
fn a_reference_that_does_not_run_as_asked_ends_the_run() {
    let bench = MockBench::new("");
    let binary = bench.dir.path().join("llama-server");
    let script = std::fs::read_to_string(&binary).unwrap();
    let says = "llama_kv_cache: size =   90.00 MiB (  512 cells,  30 layers,  1/1 seqs), \
                K (q4_0):   45.00 MiB, V (q4_0):   45.00 MiB";
    std::fs::write(&binary, script.replace("while [", &format!("echo '0.00.1 I {says}'\nwhile ["))).unwrap();
    let out = bench.command(&["run", "suite.toml"]).output().unwrap();
    let said = String::from_utf8_lossy(&out.stderr);
    assert_eq!(out.status.code(), Some(101), "{said}");
    assert!(said.contains("the reference does not run at 512 tokens"), "{said}");
    assert!(said.contains("asked for f16, the server runs q4_0"), "{said}");
    let report = std::fs::read_to_string(bench.run_folder().join("report.md")).unwrap();
    assert!(report.contains("void") && report.contains("incomplete"), "{report}");
    // Nothing is tried again without need, and nothing else is measured.
    let journal = std::fs::read_to_string(bench.run_folder().join("journal.jsonl")).unwrap();
    assert_eq!(journal.lines().filter(|line| line.starts_with("{\"launch\"")).count(), 1, "{journal}");
    let run = bench.run_folder();
    let again = bench.command(&["resume", run.to_str().unwrap()]).output().unwrap();
    assert_eq!(again.status.code(), Some(101));
    let after = std::fs::read_to_string(run.join("journal.jsonl")).unwrap();
    assert_eq!(after.lines().filter(|line| line.starts_with("{\"launch\"")).count(), 1);
}

/// Coverage is a figure: what the server cannot compile is counted, and no trial fails for it.
#[test]
fn a_schema_that_the_server_refuses_is_a_score_of_its_own() {
    let bench = MockBench::new("--prefill-ms 0.01 --decode-ms 0.1");
    let suite = bench.dir.path().join("suite.toml");
    let text = std::fs::read_to_string(&suite).unwrap().replace("contexts = [512]", "contexts = [2048]");
    let (head, _) = text.split_once("[[task]]").unwrap();
    let task = "name = \"tools/json_schema\"\nsamples = 24\narms = [\"constrained\"]\noptions.from_level = 5";
    std::fs::write(&suite, format!("{head}[[task]]\n{task}\n")).unwrap();
    let out = bench.command(&["run", "suite.toml", "--json", "--set", "rounds=1"]).output().unwrap();
    let summary: serde_json::Value = serde_json::from_slice(&out.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&out.stderr)));
    assert_eq!(summary["failures"].as_array().unwrap().len(), 0, "{}", summary["failures"]);
    for row in summary["tasks"].as_array().unwrap() {
        assert_eq!((&row["scored"], &row["labels"]["not_compiled"]), (&24.into(), &1.into()), "{row}");
    }
}

#[test]
fn a_task_that_does_not_fit_is_found_before_the_first_trial() {
    let bench = MockBench::new("");
    let impossible = r#"task=[{name="retrieval/niah_single_1", samples=2}, {name="tools/arguments", samples=1, arms=["prompted"], options={output_tokens=1024}}]"#;
    let out = bench.command(&["run", "suite.toml", "--set", impossible]).output().unwrap();
    let said = String::from_utf8_lossy(&out.stderr);
    assert_eq!(out.status.code(), Some(2), "{said}");
    assert!(said.contains("tools/arguments") && said.contains("too small"), "{said}");
    let runs = std::fs::read_dir(bench.dir.path().join("runs")).unwrap();
    let journals =
        runs.map(|run| std::fs::read_to_string(run.unwrap().path().join("journal.jsonl")).unwrap());
    let journals: Vec<String> = journals.collect();
    assert!(
        !journals.is_empty() && journals.iter().all(|journal| !journal.contains("\"trial\"")),
        "{journals:?}"
    );
}
