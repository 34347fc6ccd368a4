//! A run that is killed at any moment and resumed ends with the planned trials: none twice, none lost.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::common::MockBench;

/// Trial lines of a journal: key -> (case, outcome), and how often each key occurs.
fn outcomes(folder: &Path) -> BTreeMap<String, Vec<String>> {
    let text = std::fs::read_to_string(folder.join("journal.jsonl")).unwrap();
    let mut outcomes = BTreeMap::<String, Vec<String>>::new();
    for line in text.lines() {
        let value: serde_json::Value = serde_json::from_str(line).unwrap();
        let trial = &value["trial"];
        if trial.is_object() {
            let outcome = format!("{} {}", trial["case"], trial["outcome"]);
            outcomes.entry(trial["key"].to_string()).or_default().push(outcome);
        }
    }
    outcomes
}

/// Waits until the journal holds at least `lines` lines.
fn wait_for_lines(bench: &MockBench, lines: usize) {
    let begin = Instant::now();
    loop {
        let journals = std::fs::read_dir(bench.dir.path().join("runs")).into_iter().flatten().flatten();
        let seen: usize = journals
            .filter_map(|run| std::fs::read_to_string(run.path().join("journal.jsonl")).ok())
            .map(|text| text.lines().count())
            .sum();
        if seen >= lines {
            return;
        }
        assert!(begin.elapsed() < Duration::from_secs(60), "only {seen} of {lines} lines after a minute");
        std::thread::yield_now();
    }
}

fn send(child: &std::process::Child, signal: &str) {
    let status = std::process::Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap();
    assert!(status.success());
}

/// Pids of mock servers that a bench started (its folder is in no argument, its port is: ask by parent).
fn servers_of(bench: &MockBench) -> Vec<String> {
    let marker = bench.dir.path().to_str().unwrap().to_owned();
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    processes
        .filter(|entry| {
            let environ = std::fs::read(entry.path().join("environ")).unwrap_or_default();
            let cmdline = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
            let has = |bytes: &[u8], text: &str| String::from_utf8_lossy(bytes).contains(text);
            has(&environ, &format!("KNEEPOINT_TEST={marker}")) && has(&cmdline, "mock-server")
        })
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect()
}

fn wait_until_no_servers(bench: &MockBench) {
    let begin = Instant::now();
    while !servers_of(bench).is_empty() {
        assert!(
            begin.elapsed() < Duration::from_secs(20),
            "servers outlived kneepoint: {:?}",
            servers_of(bench)
        );
        std::thread::yield_now();
    }
}

/// A whole run without interruption, for comparison.
fn undisturbed() -> BTreeMap<String, Vec<String>> {
    let bench = MockBench::new("");
    let out = bench.command(&["run", "suite.toml"]).output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    outcomes(&bench.run_folder())
}

#[test]
fn killed_at_any_moment_and_resumed_a_run_is_whole() {
    let whole = undisturbed();
    // 2 settings and A/A, 4 + 2 cases
    assert_eq!(whole.len(), 18);
    for lines in [1, 2, 4, 9, 15] {
        let bench = MockBench::new("--prefill-ms 0.05 --decode-ms 2");
        let marker = bench.dir.path().to_str().unwrap().to_owned();
        let mut child = bench.command(&["run", "suite.toml"]).env("KNEEPOINT_TEST", &marker).spawn().unwrap();
        wait_for_lines(&bench, lines);
        child.kill().unwrap();
        child.wait().unwrap();
        wait_until_no_servers(&bench);
        let out = bench.command(&["resume"]).output().unwrap();
        assert!(out.status.success(), "after {lines}: {}", String::from_utf8_lossy(&out.stderr));
        let resumed = outcomes(&bench.run_folder());
        assert!(resumed.values().all(|trials| trials.len() == 1), "after {lines}: a trial ran twice");
        assert_eq!(resumed, whole, "after {lines}");
        assert!(!bench.run_folder().join("cases.tmp").exists(), "the cases on disk are gone at the end");
    }
}

#[test]
fn an_interrupted_run_stops_its_server_and_says_how_to_go_on() {
    let bench = MockBench::new("--decode-ms 20");
    let marker = bench.dir.path().to_str().unwrap().to_owned();
    for (signal, code) in [("-INT", 130), ("-TERM", 130)] {
        let child = bench
            .command(&["run", "suite.toml"])
            .env("KNEEPOINT_TEST", &marker)
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        wait_for_lines(&bench, 4);
        send(&child, signal);
        let out = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&out.stderr).into_owned();
        assert_eq!(out.status.code(), Some(code), "{signal}: {said}");
        assert!(said.contains("kneepoint resume"), "{signal}: {said}");
        wait_until_no_servers(&bench);
        std::fs::remove_dir_all(bench.dir.path().join("runs")).unwrap();
    }
}

/// A cluster that takes a task back, and a terminal that hangs up, signal the server as well; it may be gone first.
#[test]
fn a_server_that_is_ended_together_with_its_kneepoint_breaks_no_trial() {
    let whole = undisturbed();
    let bench = MockBench::new("--decode-ms 20");
    let marker = bench.dir.path().to_str().unwrap().to_owned();
    let child = bench
        .command(&["run", "suite.toml"])
        .env("KNEEPOINT_TEST", &marker)
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    wait_for_lines(&bench, 4);
    let servers = servers_of(&bench);
    assert_eq!(servers.len(), 1, "a trial is on its way");
    assert!(std::process::Command::new("kill").args(["-TERM", &servers[0]]).status().unwrap().success());
    send(&child, "-TERM");
    let out = child.wait_with_output().unwrap();
    assert_eq!(out.status.code(), Some(130), "{}", String::from_utf8_lossy(&out.stderr));
    let so_far = outcomes(&bench.run_folder());
    assert!(
        so_far.len() < whole.len() && so_far.values().flatten().all(|outcome| !outcome.contains("failed")),
        "{so_far:?}"
    );
    let out = bench.command(&["resume"]).output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    assert_eq!(outcomes(&bench.run_folder()), whole);
}

#[test]
fn a_run_of_another_set_up_is_not_resumed() {
    let bench = MockBench::new("");
    let out = bench.command(&["run", "suite.toml"]).output().unwrap();
    assert!(out.status.success());
    let model = bench.dir.path().join("model.gguf");
    let mut bytes = std::fs::read(&model).unwrap();
    bytes.extend(b"another file");
    std::fs::write(&model, bytes).unwrap();
    let out = bench.command(&["resume"]).output().unwrap();
    let said = String::from_utf8_lossy(&out.stderr);
    assert_eq!(out.status.code(), Some(2), "{said}");
    assert!(said.contains("fingerprint") && said.contains("the file of mock Q8_0 is another one"), "{said}");
}

#[test]
fn two_kneepoints_do_not_write_to_one_run() {
    let bench = MockBench::new("--decode-ms 20");
    let mut child = bench.command(&["run", "suite.toml"]).spawn().unwrap();
    wait_for_lines(&bench, 2);
    let out = bench.command(&["resume"]).output().unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(out.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&out.stderr).contains("another kneepoint is writing"));
}

#[test]
fn the_report_is_made_again_byte_for_byte() {
    let bench = MockBench::new("");
    let out = bench.command(&["run", "suite.toml"]).output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let folder = bench.run_folder();
    for name in ["report.md", "front.svg", "summary.json", "cells.csv"] {
        let first = std::fs::read(folder.join(name)).unwrap();
        std::fs::remove_file(folder.join(name)).unwrap();
        assert!(bench.command(&["report"]).status().unwrap().success());
        assert_eq!(std::fs::read(folder.join(name)).unwrap(), first, "{name}");
    }
}

/// Runs kneepoint in a bench; exit code and stderr.
fn said(bench: &MockBench, args: &[&str]) -> (Option<i32>, String) {
    let out = bench.command(args).output().unwrap();
    (out.status.code(), String::from_utf8_lossy(&out.stderr).into_owned())
}

/// Every entry of the runs folder, by name.
fn in_runs(bench: &MockBench) -> Vec<String> {
    let entries = std::fs::read_dir(bench.dir.path().join("runs")).into_iter().flatten().flatten();
    let mut names: Vec<String> =
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// A server whose version takes a minute to be told: the run is being prepared until then.
fn slow_to_prepare(bench: &MockBench) {
    let binary = bench.dir.path().join("llama-server");
    let script = std::fs::read_to_string(&binary).unwrap();
    let slow =
        script.replacen("\nfor arg", "\n[ -e slow ] && [ \"$1\" = --version ] && exec sleep 60\nfor arg", 1);
    assert_ne!(slow, script);
    std::fs::write(&binary, slow).unwrap();
}

#[test]
fn resume_after_a_kill_in_the_first_second_does_not_go_on_with_an_older_run() {
    let bench = MockBench::new("");
    slow_to_prepare(&bench);
    assert_eq!(said(&bench, &["run", "suite.toml"]).0, Some(0));
    let [older] = in_runs(&bench).try_into().unwrap();
    std::fs::write(bench.dir.path().join("slow"), "").unwrap();
    for _ in 0..3 {
        let before = in_runs(&bench);
        let mut child = bench.command(&["run", "suite.toml"]).spawn().unwrap();
        let begin = Instant::now();
        // Asked before the new folder is there, `resume` would take up the older run, and wait for its slow server.
        while in_runs(&bench).iter().all(|name| before.contains(name)) {
            assert!(begin.elapsed() < Duration::from_secs(60), "no new folder");
            std::thread::sleep(Duration::from_millis(5));
        }
        loop {
            let (_, text) = said(&bench, &["resume"]);
            if text.contains("being prepared") {
                break;
            }
            assert!(begin.elapsed() < Duration::from_secs(60), "{text}");
        }
        child.kill().unwrap();
        child.wait().unwrap();
        for command in ["resume", "report"] {
            let (code, text) = said(&bench, &[command, "latest"]);
            assert_eq!(code, Some(2), "{command}: {text}");
            assert!(text.contains("ended before it began") && text.contains(&older), "{command}: {text}");
        }
    }
    assert_eq!(in_runs(&bench).len(), 2, "leftovers do not pile up: {:?}", in_runs(&bench));
    let (code, text) = said(&bench, &["history", "prune", "--keep", "1", "--yes"]);
    assert_eq!(code, Some(0), "{text}");
    assert_eq!(in_runs(&bench), std::slice::from_ref(&older));
    std::fs::remove_file(bench.dir.path().join("slow")).unwrap();
    assert_eq!(said(&bench, &["resume"]).0, Some(0), "now the older one is the latest");
}

#[test]
fn a_run_that_cannot_be_prepared_leaves_no_folder() {
    let bench = MockBench::new("");
    let model = bench.dir.path().join("model.gguf");
    let bytes = std::fs::read(&model).unwrap();
    std::fs::write(&model, "no model").unwrap();
    assert_ne!(said(&bench, &["run", "suite.toml"]).0, Some(0));
    assert!(!bench.dir.path().join("runs").exists(), "{:?}", in_runs(&bench));
    std::fs::write(&model, bytes).unwrap();
    assert_eq!(said(&bench, &["run", "suite.toml"]).0, Some(0));
    std::fs::write(&model, "no model").unwrap();
    assert_ne!(said(&bench, &["run", "suite.toml"]).0, Some(0));
    assert_eq!(in_runs(&bench).len(), 1, "{:?}", in_runs(&bench));
}

#[test]
fn empty_folders_of_earlier_versions_are_named_and_pruned() {
    let bench = MockBench::new("");
    assert_eq!(said(&bench, &["run", "suite.toml"]).0, Some(0));
    let [whole] = in_runs(&bench).try_into().unwrap();
    for (name, journal) in
        [("29990101T000000Z-mock-000001", None), ("29990102T000000Z-mock-000002", Some(""))]
    {
        let folder = bench.dir.path().join("runs").join(name);
        std::fs::create_dir_all(folder.join("engine")).unwrap();
        if let Some(text) = journal {
            std::fs::write(folder.join("journal.jsonl"), text).unwrap();
        }
        let (code, text) = said(&bench, &["resume"]);
        assert_eq!(code, Some(2), "{text}");
        assert!(text.contains(name) && text.contains(&whole), "{text}");
    }
    let out = bench.command(&["history", "prune", "--keep", "9", "--dry-run"]).output().unwrap();
    let shown = String::from_utf8_lossy(&out.stdout).into_owned();
    assert!(
        shown.contains("000001 (ended before it began)") && shown.contains("delete")
            || shown.contains("nothing was deleted"),
        "{shown}"
    );
    assert_eq!(in_runs(&bench).len(), 3);
    assert_eq!(said(&bench, &["history", "prune", "--keep", "9", "--suite", "other", "--yes"]).0, Some(4));
    assert_eq!(in_runs(&bench).len(), 3);
    assert_eq!(said(&bench, &["history", "prune", "--keep", "9", "--yes"]).0, Some(0));
    assert_eq!(in_runs(&bench), [whole]);
}

#[test]
fn latest_is_the_newest_run_also_after_a_run_with_a_clock_that_was_years_ahead() {
    let bench = MockBench::new("");
    assert_eq!(said(&bench, &["run", "suite.toml"]).0, Some(0));
    let [name] = in_runs(&bench).try_into().unwrap();
    let runs = bench.dir.path().join("runs");
    std::fs::rename(runs.join(&name), runs.join("29990101T000000Z-mock-000001")).unwrap();
    assert_eq!(said(&bench, &["run", "suite.toml"]).0, Some(0));
    let newest = in_runs(&bench).into_iter().find(|name| !name.starts_with("2999")).unwrap();
    let out = bench.command(&["history", "show", "latest"]).output().unwrap();
    let shown = String::from_utf8_lossy(&out.stdout).into_owned();
    assert!(shown.starts_with(&newest), "{shown}");
    assert_eq!(said(&bench, &["run", "suite.toml"]).0, Some(0));
    let third =
        in_runs(&bench).into_iter().find(|name| !name.starts_with("2999") && *name != newest).unwrap();
    let out = bench.command(&["history", "show", "latest"]).output().unwrap();
    assert!(String::from_utf8_lossy(&out.stdout).starts_with(&third));
}

/// Puts other bytes of the same length under a file's name, with its times.
fn swap(file: &Path, how: &str) {
    let mut bytes = std::fs::read(file).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    let kept = file.with_extension("kept");
    let run = |program: &str, args: &[&std::ffi::OsStr]| {
        assert!(std::process::Command::new(program).args(args).status().unwrap().success());
    };
    run("cp", &["-p".as_ref(), file.as_os_str(), kept.as_os_str()]);
    match how {
        "moved over it" => {
            let new = file.with_extension("new");
            std::fs::write(&new, &bytes).unwrap();
            run("touch", &["-r".as_ref(), file.as_os_str(), new.as_os_str()]);
            std::fs::rename(&new, file).unwrap();
        }
        _ => {
            std::fs::write(file, &bytes).unwrap();
            run("touch", &["-r".as_ref(), kept.as_os_str(), file.as_os_str()]);
        }
    }
    let stat = |file: &Path| {
        let found = std::fs::metadata(file).unwrap();
        (found.len(), found.modified().unwrap())
    };
    assert_eq!(stat(file), stat(&kept), "same size, same time");
}

#[test]
fn a_model_swapped_with_the_same_size_and_time_is_not_taken_for_the_old_one() {
    for how in ["moved over it", "written over"] {
        let bench = MockBench::new("");
        std::thread::sleep(Duration::from_millis(50));
        assert_eq!(said(&bench, &["run", "suite.toml"]).0, Some(0));
        swap(&bench.dir.path().join("model.gguf"), how);
        let (code, text) = said(&bench, &["resume"]);
        assert_eq!(code, Some(2), "{how}: {text}");
        assert!(text.contains("the file of mock Q8_0 is another one now (SHA-256"), "{how}: {text}");
    }
}

#[test]
fn a_server_or_a_named_file_that_was_swapped_is_not_resumed_with() {
    for file in ["llama-server", "template.jinja"] {
        let bench = MockBench::new("");
        let template = bench.dir.path().join("template.jinja");
        std::fs::write(&template, "{{ messages }}").unwrap();
        let set = "engine.args=[\"--chat-template-file\", \"template.jinja\"]";
        let (code, text) = said(&bench, &["run", "suite.toml", "--set", set]);
        assert_eq!(code, Some(0), "{text}");
        let path = bench.dir.path().join(file);
        let mut text = std::fs::read_to_string(&path).unwrap();
        text.push_str("\n# changed\n");
        std::fs::write(&path, text).unwrap();
        let (code, text) = said(&bench, &["resume"]);
        assert_eq!(code, Some(2), "{file}: {text}");
        assert!(
            text.contains("is another one now")
                && text.contains(if file == "llama-server" { "the server of" } else { file }),
            "{text}"
        );
    }
}

#[test]
fn a_model_swapped_in_the_middle_ends_the_run_and_voids_what_it_measured() {
    let whole = undisturbed();
    let bench = MockBench::new("--prefill-ms 0.05 --decode-ms 40");
    let model = bench.dir.path().join("model.gguf");
    let child = bench.command(&["run", "suite.toml"]).stderr(std::process::Stdio::piped()).spawn().unwrap();
    wait_for_lines(&bench, 8);
    // Held while the file is swapped: on a busy machine that may take longer than what is left of a visit.
    send(&child, "-STOP");
    swap(&model, "written over");
    send(&child, "-CONT");
    let out = child.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&out.stderr).into_owned();
    assert_eq!(out.status.code(), Some(1), "{text}");
    assert!(text.contains("the file of mock Q8_0 was swapped while the run went on"), "{text}");
    let journal = std::fs::read_to_string(bench.run_folder().join("journal.jsonl")).unwrap();
    assert!(journal.contains("void trial: the file of mock Q8_0 was swapped"), "{text}");
    let (code, text) = said(&bench, &["resume"]);
    assert_eq!(code, Some(2), "another model is not gone on with: {text}");
    // The old one is put back: what was void is measured again.
    std::fs::rename(model.with_extension("kept"), &model).unwrap();
    let (code, text) = said(&bench, &["resume"]);
    assert_eq!(code, Some(0), "{text}");
    let last: BTreeMap<String, String> =
        outcomes(&bench.run_folder()).into_iter().map(|(key, mut all)| (key, all.pop().unwrap())).collect();
    let expected: BTreeMap<String, String> =
        whole.into_iter().map(|(key, mut all)| (key, all.pop().unwrap())).collect();
    assert_eq!(last, expected);
}

#[test]
fn a_run_folder_that_is_deleted_or_moved_is_noticed_at_once() {
    for moved in [false, true] {
        let bench = MockBench::new("--decode-ms 2000");
        let mut child =
            bench.command(&["run", "suite.toml"]).stderr(std::process::Stdio::piped()).spawn().unwrap();
        wait_for_lines(&bench, 2);
        let folder = bench.run_folder();
        let began = Instant::now();
        if moved {
            std::fs::rename(&folder, bench.dir.path().join("elsewhere")).unwrap();
        } else {
            std::fs::remove_dir_all(&folder).unwrap();
        }
        while child.try_wait().unwrap().is_none() && began.elapsed() < Duration::from_secs(20) {
            std::thread::sleep(Duration::from_millis(10));
        }
        let took = began.elapsed();
        let out = child.wait_with_output().unwrap();
        let text = String::from_utf8_lossy(&out.stderr).into_owned();
        assert_eq!(out.status.code(), Some(1), "{text}");
        assert!(text.contains("was deleted or moved"), "{text}");
        assert!(!text.contains("goes on where this run stopped"), "{text}");
        assert!(took < Duration::from_secs(15), "noticed after {took:?}");
    }
}

/// Ticks of a journal's trials: session and seconds.
fn ticks(folder: &Path) -> Vec<(u64, f64)> {
    let text = std::fs::read_to_string(folder.join("journal.jsonl")).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let ticks = lines.filter_map(|line| {
        let tick = line.pointer("/trial/tick")?;
        Some((tick["sitting"].as_u64().unwrap(), tick["at_s"].as_f64().unwrap()))
    });
    ticks.collect()
}

#[test]
fn a_run_took_what_its_sessions_took_without_the_pause_between_them() {
    let bench = MockBench::new("--decode-ms 20");
    let begun = Instant::now();
    let mut child = bench.command(&["run", "suite.toml"]).spawn().unwrap();
    wait_for_lines(&bench, 8);
    child.kill().unwrap();
    child.wait().unwrap();
    let pause = Duration::from_secs(3);
    std::thread::sleep(pause);
    let (code, text) = said(&bench, &["resume"]);
    assert_eq!(code, Some(0), "{text}");
    let sessions: std::collections::BTreeSet<u64> =
        ticks(&bench.run_folder()).into_iter().map(|(session, _)| session).collect();
    assert_eq!(sessions.into_iter().collect::<Vec<_>>(), [0, 1]);
    let summary = std::fs::read(bench.run_folder().join("summary.json")).unwrap();
    let summary: serde_json::Value = serde_json::from_slice(&summary).unwrap();
    let took = summary["duration_s"].as_f64().unwrap();
    let most = (begun.elapsed() - pause).as_secs_f64();
    assert!(took > 0.05 && took < most, "{took} s, {most} s without the pause");
}
