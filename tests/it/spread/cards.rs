//! Cards of one machine, a worker each.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::{Duration, Instant};

use kneepoint::record::{Source, Trial, metric};
use serde_json::Value;

use super::{bench_with, bench_with_before, lines, run, said, summary, trials};
use crate::common::MockBench;

#[test]
fn two_cards_measure_what_one_process_does() {
    let alone = MockBench::new("");
    assert!(run(&alone, &["run", "suite.toml"]).status.success());
    let whole = trials(&alone.run_folder());
    let bench = MockBench::new("");
    let out = run(&bench, &["run", "suite.toml", "--gpus", "0,1"]);
    assert!(out.status.success(), "{}", said(&out));
    let folder = bench.run_folder();
    assert_eq!(trials(&folder), whole, "the same trials once each, with the same scores");
    // A block each, and the other's reference again.
    let by_part = |kind: &str| -> BTreeMap<String, usize> {
        lines(&folder, kind).into_iter().fold(BTreeMap::new(), |mut counts, (part, _)| {
            *counts.entry(part).or_default() += 1;
            counts
        })
    };
    let expected: BTreeMap<String, usize> =
        [("0000@here-gpu0".into(), 9), ("0001@here-gpu1".into(), 9)].into();
    assert_eq!(by_part("trial"), expected);
    for (part, header) in lines(&folder, "header").into_iter().filter(|(part, _)| part.contains("gpu")) {
        let card = &part[part.len() - 1..];
        assert_eq!(header["environment"]["CUDA_VISIBLE_DEVICES"], card, "{part}");
        assert_eq!(header["environment"]["GGML_VK_VISIBLE_DEVICES"], card, "{part}");
        assert_eq!(header["worker"]["cards"][0].to_string(), card);
    }
    let summary = summary(&bench, &folder);
    assert_eq!((&summary["done"], &summary["planned"]), (&18.into(), &18.into()));
    let workers = summary["workers"].as_array().unwrap();
    assert_eq!(workers.len(), 2);
    assert!(workers.iter().all(|worker| worker["trials"] == 9), "{workers:?}");
    let report = std::fs::read_to_string(folder.join("report.md")).unwrap();
    assert!(report.contains("## Who measured what") && report.contains("| here, card 1 |"), "{report}");
    // Nothing is left for a second time.
    let out = run(&bench, &["resume"]);
    assert!(out.status.success(), "{}", said(&out));
    assert_eq!(trials(&folder), whole);
}

#[test]
fn workers_do_not_ask_the_server_again_what_it_can_do() {
    let bench = bench_with_before("\nfor arg", "echo \"$1\" >> \"$(dirname \"$0\")/asked\"", "");
    let asked = || std::fs::read_to_string(bench.dir.path().join("asked")).unwrap();
    let times = |word: &str| asked().lines().filter(|line| *line == word).count();
    let out = run(&bench, &["run", "suite.toml", "--gpus", "0,1"]);
    assert!(out.status.success(), "{}", said(&out));
    assert_eq!((times("--version"), times("--help")), (1, 1), "{}", asked());
    // A worker that finds nothing that it can read asks itself.
    let folder = bench.run_folder();
    std::fs::write(folder.join("parts/build.json"), "{").unwrap();
    let (run_name, file) =
        (folder.display().to_string(), folder.join("parts/build.json").display().to_string());
    let out = run(&bench, &["worker", &run_name, "--index", "0", "--cards", "0", "--build", &file]);
    assert!(out.status.success(), "{}", said(&out));
    assert_eq!((times("--version"), times("--help")), (2, 2), "{}", asked());
}

#[test]
fn a_card_that_is_slower_is_named_and_its_speeds_are_left_out() {
    let slow =
        "if [ \"$CUDA_VISIBLE_DEVICES\" = 1 ]; then more=\"--decode-ms 12\"; else more=\"--decode-ms 3\"; fi";
    let bench = bench_with(slow, "$more");
    let suite = bench.dir.path().join("suite.toml");
    let text = std::fs::read_to_string(&suite).unwrap().replace("samples = 4", "samples = 12");
    std::fs::write(&suite, text).unwrap();
    let out = run(&bench, &["run", "suite.toml", "--gpus", "0,1"]);
    assert!(out.status.success(), "{}", said(&out));
    let summary = summary(&bench, &bench.run_folder());
    let workers = summary["workers"].as_array().unwrap();
    let of = |card: u64| workers.iter().find(|worker| worker["cards"][0] == card).unwrap();
    assert!(of(0).get("left_out").is_none(), "{workers:?}");
    let why = of(1)["left_out"].as_str().unwrap();
    assert!(why.contains("on the same requests: slower"), "{why}");
    assert!(of(1)["speed"].as_f64().unwrap() < 0.5, "{workers:?}");
    let warnings = summary["warnings"].as_array().unwrap();
    let warned = warnings.iter().find(|warning| warning["code"] == "speed-left-out").unwrap();
    assert_eq!(warned["subject"], "here, card 1");
    // Only the requests of the fast card have speeds; all have scores.
    for cell in summary["cells"].as_array().unwrap() {
        assert_eq!(cell["decode_tps"]["n"], 6, "{}", cell["setting"]);
        assert_eq!(cell["scored"], cell["planned"], "{}", cell["setting"]);
        assert!(cell["decode_tps"]["value"].as_f64().unwrap() > 100.0);
    }
}

#[test]
fn a_worker_that_is_killed_goes_on_in_its_own_journal() {
    let alone = MockBench::new("");
    assert!(run(&alone, &["run", "suite.toml"]).status.success());
    let whole = trials(&alone.run_folder());
    let bench = MockBench::new("--decode-ms 4");
    let mut child = bench
        .command(&["run", "suite.toml", "--gpus", "0,1"])
        .env("KNEEPOINT_NODE", "here")
        .stderr(std::process::Stdio::null())
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let began = Instant::now();
    let worker = loop {
        let found = workers_of(&bench);
        let measured = std::fs::read_dir(bench.dir.path().join("runs")).into_iter().flatten().flatten();
        let measured: usize = measured.map(|run| trials(&run.path()).len()).sum();
        if measured >= 3
            && let Some(worker) = found.first()
        {
            break *worker;
        }
        assert!(began.elapsed() < Duration::from_secs(60), "no worker measured anything in a minute");
        std::thread::sleep(Duration::from_millis(5));
    };
    assert!(std::process::Command::new("kill").args(["-9", &worker.to_string()]).status().unwrap().success());
    child.wait().unwrap();
    let out = run(&bench, &["resume"]);
    assert!(out.status.success(), "{}", said(&out));
    assert_eq!(trials(&bench.run_folder()), whole);
}

#[test]
fn a_card_that_vanishes_is_named_and_its_share_is_measured_when_it_is_back() {
    let alone = MockBench::new("");
    assert!(run(&alone, &["run", "suite.toml"]).status.success());
    let whole = trials(&alone.run_folder());
    // The second card answers one server's worth of requests, and is gone; `back` brings it back.
    let gone = "here=$(dirname \"$0\"); if [ \"$CUDA_VISIBLE_DEVICES\" = 1 ] && [ ! -e \"$here/back\" ]; then \
                if [ -e \"$here/gone\" ]; then echo 'no such device' >&2; exit 1; fi; touch \"$here/gone\"; fi";
    let bench = bench_with(gone, "");
    let out = run(&bench, &["run", "suite.toml", "--gpus", "0,1"]);
    assert_eq!(out.status.code(), Some(106), "{}", said(&out));
    let folder = bench.run_folder();
    let failed: Vec<Value> = lines(&folder, "trial")
        .into_iter()
        .filter(|(part, trial)| part.ends_with("gpu1") && trial["outcome"]["failed"].is_object())
        .map(|(_, trial)| trial["outcome"]["failed"]["error"].clone())
        .collect();
    assert_eq!(failed.len(), 6);
    assert!(failed.iter().all(|error| error.as_str().unwrap().contains("no such device")), "{failed:?}");
    let summary = summary(&bench, &folder);
    let warnings = summary["warnings"].as_array().unwrap();
    let named = warnings.iter().find(|warning| warning["code"] == "place-broke").unwrap();
    assert_eq!(named["subject"], "here, card 1");
    assert_eq!(summary["workers"][1]["broke"], 6);
    std::fs::write(bench.dir.path().join("back"), "").unwrap();
    let out = run(&bench, &["resume", "--retry-failed"]);
    assert!(out.status.success(), "{}", said(&out));
    let good = |run: &Path| -> BTreeSet<String> {
        let scored =
            lines(run, "trial").into_iter().filter(|(_, trial)| !trial["outcome"]["failed"].is_object());
        scored.map(|(_, trial)| trial["key"].to_string()).collect()
    };
    assert_eq!(good(&folder), whole.keys().cloned().collect());
}

/// Process ids of the workers of a bench.
fn workers_of(bench: &MockBench) -> Vec<u32> {
    let folder = bench.dir.path().to_string_lossy().into_owned();
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let is_worker = |pid: &u32| {
        let words = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let words = String::from_utf8_lossy(&words).into_owned();
        words.contains("\0worker\0") && words.contains(&folder)
    };
    processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).filter(is_worker).collect()
}

/// When a trial began and ended (s); `None` where it was several requests.
fn span(trial: &Value) -> Option<(f64, f64)> {
    let trial: Trial = serde_json::from_value(trial.clone()).unwrap();
    let began = trial.started.millis().unwrap() as f64 / 1e3;
    Some((began, began + trial.measured(metric::TOTAL_S, Source::Client)?))
}

#[test]
fn speed_is_measured_while_no_other_worker_s_server_works() {
    // Each worker spends most of its time with its speed trials: where they may, they meet.
    let bench = MockBench::new("--decode-ms 10");
    let suite = bench.dir.path().join("suite.toml");
    let text = std::fs::read_to_string(&suite).unwrap();
    let speed = "[[task]]\nname = \"serving/speed\"\nsamples = 6\n[task.options]\noutput_tokens = 64\n";
    std::fs::write(&suite, text + speed).unwrap();
    let overlaps = |run: &Path| {
        let trials = lines(run, "trial");
        let is_speed = |trial: &Value| trial["key"]["task"] == "serving/speed";
        let of_speed: Vec<_> = trials.iter().filter(|(_, trial)| is_speed(trial)).collect();
        assert_eq!(of_speed.len(), 18);
        assert!(of_speed.iter().all(|(_, trial)| span(trial).is_some()));
        let overlap = |a: &(String, Value), b: &(String, Value)| {
            let (Some((from, to)), Some((other_from, other_to))) = (span(&a.1), span(&b.1)) else {
                return false;
            };
            // Times are written to the millisecond.
            a.0 != b.0 && from + 0.002 < other_to && other_from + 0.002 < to
        };
        of_speed.iter().map(|one| trials.iter().filter(|other| overlap(one, other)).count()).sum::<usize>()
    };
    let out = run(&bench, &["run", "suite.toml", "--gpus", "0,1"]);
    assert!(out.status.success(), "{}", said(&out));
    assert_eq!(overlaps(&bench.run_folder()), 0);
    std::fs::remove_dir_all(bench.dir.path().join("runs")).unwrap();
    let out = run(&bench, &["run", "suite.toml", "--gpus", "0,1", "--set", "engine.speed_overlaps=true"]);
    assert!(out.status.success(), "{}", said(&out));
    assert!(overlaps(&bench.run_folder()) > 0, "where the suite allows it, they do");
}
