//! Nights side by side, gates that cannot be decided, and how long it takes: through the binary, as a user meets them.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::common::{KNEEPOINT, MockBench};
use kneepoint::judge::analysis::summarise;
use kneepoint::judge::analysis::summary::{Estimate, GateStatus, Summary};
use kneepoint::record::journal::{Journal, Record};
use kneepoint::record::suite::{Gate, GateMetric};
use kneepoint::record::{EngineInfo, Measurement, Source, journal, metric};
use serde_json::Value;

fn output(bench: &MockBench, args: &[&str]) -> Output {
    bench.command(args).output().unwrap()
}

fn said(out: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr))
}

fn published() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/runs/quickstart")
}

/// A folder of runs of which only the summary counts.
fn store(nights: &[Summary]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let header = journal::load(&published()).unwrap().header;
    for summary in nights {
        let folder = dir.path().join("runs").join(&summary.run);
        std::fs::create_dir_all(&folder).unwrap();
        let line = serde_json::to_string(&Record::Header(Box::new(header.clone()))).unwrap() + "\n";
        std::fs::write(folder.join(journal::FILE_NAME), line).unwrap();
        std::fs::write(folder.join("summary.json"), serde_json::to_vec(summary).unwrap()).unwrap();
    }
    dir
}

fn history(dir: &Path, args: &[&str]) -> String {
    let out = Command::new(KNEEPOINT).current_dir(dir).arg("history").args(args).output().unwrap();
    assert!(out.status.success(), "{}", said(&out));
    String::from_utf8(out.stdout).unwrap()
}

/// Fourteen nights of the published quickstart: the KLD of a setting rises with the tenth, with another engine build.
/// Another machine ran a suite of the same name in between.
fn fourteen_nights() -> Vec<Summary> {
    let text = std::fs::read(published().join("summary.json")).unwrap();
    let published: Summary = serde_json::from_slice(&text).unwrap();
    let noise = [0.0, 0.03, -0.02, 0.01, -0.03, 0.02, 0.0, -0.01, 0.02, -0.02, 0.03, 0.0, -0.01, 0.01];
    let mut nights = Vec::new();
    for (number, noise) in noise.iter().enumerate() {
        let mut night = published.clone();
        night.run = format!("202601{:02}T020000Z-nightly-abcdef", number + 1);
        night.started = format!("2026-01-{:02}T02:00:00Z", number + 1);
        let build = if number < 9 { "b1" } else { "b2" };
        night.engines = vec![EngineInfo {
            name: "llama.cpp".into(),
            version: build.into(),
            origin: "PATH".into(),
            sha256: None,
            placement: None,
        }];
        let step = if number < 9 { 1.0 } else { 3.0 };
        for kld in night.cells.iter_mut().filter_map(|cell| cell.kld.as_mut()) {
            let value = 0.01 * step * (1.0 + noise);
            kld.mean = Estimate { value, low: Some(0.8 * value), high: Some(1.2 * value), n: 8 };
        }
        let mut other = night.clone();
        other.run = format!("202601{:02}T030000Z-nightly-abcdef", number + 1);
        other.started = format!("2026-01-{:02}T03:00:00Z", number + 1);
        other.machine.gpus = vec!["another card".into()];
        for cell in &mut other.cells {
            cell.decode_tps = Some(Estimate { value: 1e4, low: Some(9e3), high: Some(1.1e4), n: 8 });
        }
        nights.extend([night, other]);
    }
    nights
}

#[test]
fn trend_dates_a_step_of_the_kld_and_blames_what_changed_that_night() {
    let dir = store(&fourteen_nights());
    let trends: Value = serde_json::from_str(&history(dir.path(), &["trend", "--json"])).unwrap();
    let all = trends["trends"].as_array().unwrap();
    let klds: Vec<&Value> =
        all.iter().filter(|trend| trend["metric"] == "kld" && !trend["changes"][0].is_null()).collect();
    assert!(!klds.is_empty(), "no change of the KLD");
    for trend in klds {
        let change = &trend["changes"][0];
        let night = change["run"].as_str().unwrap();
        assert!(night.starts_with("20260110"), "{change}");
        assert_eq!(change["candidates"].as_array().unwrap().len(), 1, "{change}");
        assert!(change["previous"].as_str().unwrap().starts_with("20260109"), "{change}");
        assert_eq!(change["changed"][0], "engine llama.cpp: b1 -> b2");
    }
    let text = history(dir.path(), &["trend"]);
    assert!(text.contains("and so did engine llama.cpp: b1 -> b2"), "{text}");
    let csv = history(dir.path(), &["export"]);
    assert!(csv.contains(",kld,") && csv.contains(",failed,"), "{}", &csv[..600]);
}

#[test]
fn machines_are_not_mixed_under_one_name() {
    let dir = store(&fourteen_nights());
    let trends: Value = serde_json::from_str(&history(dir.path(), &["trend", "--json"])).unwrap();
    for trend in trends["trends"].as_array().unwrap() {
        assert_eq!(trend["points"].as_array().unwrap().len(), 14, "{}", trend["metric"]);
        let changes = trend["changes"].as_array().unwrap().len();
        assert!(trend["metric"] == "kld" || trend["metric"] == "front_volume" || changes == 0, "{trend}");
    }
    let text = history(dir.path(), &["trend"]);
    assert!(text.contains("another card: quickstart (machines are not mixed)"), "{text}");
}

#[test]
fn the_mornings_report_begins_with_the_run_before() {
    let bench = MockBench::new("");
    let first = output(&bench, &["run", "suite.toml"]);
    assert!(first.status.success(), "{}", said(&first));
    let name = bench.run_folder().file_name().unwrap().to_str().unwrap().to_owned();
    assert!(!said(&first).contains("Since "), "there is nothing before the first run");
    // Folder names hold whole seconds.
    std::thread::sleep(std::time::Duration::from_millis(1100));
    let second = output(&bench, &["run", "suite.toml"]);
    let stdout = String::from_utf8_lossy(&second.stdout).into_owned();
    assert!(stdout.starts_with(&format!("Since {name}")), "{stdout}");
    // Nothing but how fast the machine copies memory, which others on it change from minute to minute.
    let words = stdout.split_whitespace().collect::<Vec<_>>().join(" ");
    let sentence = words.split(" context setting ").next().unwrap();
    let only_memory = sentence
        .split_once("what else changed: ")
        .is_some_and(|(_, what)| what.starts_with("memory copied by all processors") && !what.contains(';'));
    assert!(sentence.contains("the set-up is the same") || only_memory, "{stdout}");

    // The same by every name of a run.
    let of = |run: &str| -> Value {
        serde_json::from_slice(&output(&bench, &["report", run, "--json"]).stdout).unwrap()
    };
    assert_eq!(of("latest~1")["run"], name.as_str());
    assert_eq!(of("latest")["night_before"]["run"], name.as_str());
    assert!(of("latest~1")["night_before"].is_null());
    let markdown = output(&bench, &["report", "latest", "--format", "md"]);
    let markdown = String::from_utf8_lossy(&markdown.stdout).into_owned();
    let place = |text: &str| markdown.find(text).unwrap();
    assert!(place("## Since the run before") < place("## Verdict"), "{markdown}");
    let compared = output(&bench, &["compare", "latest~1", "latest", "--fail-on", "kld=0.01,failed=1pp"]);
    assert_eq!(compared.status.code(), Some(0), "{}", said(&compared));
    let beyond = output(&bench, &["report", "latest~7"]);
    assert_eq!(beyond.status.code(), Some(2), "{}", said(&beyond));
    assert!(said(&beyond).contains("beyond the 2 runs"), "{}", said(&beyond));
    let list = said(&output(&bench, &["history"]));
    assert!(list.contains("since the run before"), "{list}");
    assert!(said(&output(&bench, &["history", "show"])).contains(&format!("Since {name}")));
}

/// The published journal, quick to judge, with this share of the processor used by others in every trial.
fn disturbed(share: f64) -> Journal {
    let mut journal = journal::load(&published()).unwrap();
    journal.header.suite.draws = 200;
    for trial in &mut journal.trials {
        // Client and engine do not contradict each other.
        trial.measurements.retain(|m| m.name != metric::DECODE_TPS || m.source == Source::Client);
        trial.measurements.retain(|m| m.name != metric::OTHER_CPU && m.name != metric::STEAL);
        trial.measurements.push(Measurement::new(metric::OTHER_CPU, Source::Procfs, share));
    }
    journal
}

fn decode_gate(strict: bool) -> Gate {
    Gate {
        metric: GateMetric::Decode,
        task: None,
        cells: Vec::new(),
        min: Some(1e9),
        max: None,
        no_worse_than_reference: false,
        strict,
    }
}

#[test]
fn a_speed_gate_is_undecided_where_the_run_calls_its_speed_doubtful() {
    let judged = |share: f64, strict: bool| {
        let mut journal = disturbed(share);
        journal.header.suite.gates = vec![decode_gate(strict)];
        summarise(&journal).unwrap()
    };
    let statuses = |summary: &Summary| summary.gates.iter().map(|gate| gate.status).collect::<Vec<_>>();
    let quiet = judged(0.0, false);
    assert!(statuses(&quiet).iter().all(|status| *status == GateStatus::Failed), "{:?}", quiet.gates);
    let noisy = judged(0.5, false);
    assert!(statuses(&noisy).iter().all(|status| *status == GateStatus::Open), "{:?}", noisy.gates);
    let because = &noisy.gates[0].because;
    assert!(
        because.starts_with("undecided") && because.contains("other processes used more than 20%"),
        "{because}"
    );
    assert!(
        noisy.warnings.iter().any(|warning| warning.sentence.contains("speed is doubtful")),
        "the run says so itself"
    );
    let strict = judged(0.5, true);
    assert!(
        statuses(&strict).iter().all(|status| *status == GateStatus::Failed),
        "strict: what cannot be told fails"
    );
}

/// A suite with gates that its 6 trials cannot decide.
fn undecidable() -> MockBench {
    let bench = MockBench::new("");
    let path = bench.dir.path().join("suite.toml");
    let suite = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, suite + "\n[[gate]]\nmetric = \"failed\"\nmax = 0.02\n").unwrap();
    bench
}

#[test]
fn gates_that_cannot_pass_are_named_before_the_run() {
    let bench = undecidable();
    let wanted = "a perfect run of its 6 trials gives 0 [0, 0.4593]; it takes 183 trials";
    for args in [vec!["validate", "suite.toml"], vec!["run", "suite.toml", "--dry-run", "--no-probe"]] {
        let out = output(&bench, &args);
        assert_eq!(out.status.code(), Some(0), "a warning is no error: {}", said(&out));
        assert!(said(&out).contains("warning: gate `failed at most 0.02` cannot pass"), "{}", said(&out));
        assert!(said(&out).contains(wanted), "{}", said(&out));
        let json = output(&bench, &[args, vec!["--json"]].concat());
        let json: Value = serde_json::from_slice(&json.stdout).unwrap();
        assert_eq!(json["undecidable_gates"][0]["needed"], 183, "{json}");
    }
}

fn dry_run(bench: &MockBench, more: &[&str]) -> Value {
    let out = output(bench, &[&["run", "suite.toml", "--dry-run", "--json"], more].concat());
    serde_json::from_slice(&out.stdout).unwrap_or_else(|_| panic!("{}", said(&out)))
}

#[test]
fn a_dry_run_estimates_from_a_probe_then_from_earlier_runs() {
    let bench = MockBench::new("");
    let basis = |dry: &Value| dry["estimate_basis"].as_str().unwrap().to_owned();
    let ruled = dry_run(&bench, &["--no-probe"]);
    assert!(basis(&ruled).starts_with("a rule of thumb for"), "{ruled}");
    assert!(ruled["estimate_factor"].as_f64().unwrap() >= 3.0, "a rule says how rough it is");
    let probed = dry_run(&bench, &[]);
    assert!(basis(&probed).starts_with("measured now"), "{probed}");
    assert!(!bench.dir.path().join("runs").exists(), "a dry run leaves nothing");
    assert!(output(&bench, &["run", "suite.toml"]).status.success());
    let known = dry_run(&bench, &[]);
    assert_eq!(basis(&known), "measured in an earlier run on this machine");
    let seconds = known["estimate_s"].as_f64().unwrap();
    assert!((0.01..120.0).contains(&seconds), "{seconds}");
}

#[test]
fn long_runs_are_estimated_in_hours_and_days() {
    let bench = MockBench::new("");
    // 200 MB of weights, all of them holes.
    let model = std::fs::OpenOptions::new().write(true).open(bench.dir.path().join("model.gguf")).unwrap();
    model.set_len(200_000_000).unwrap();
    let long = ["run", "suite.toml", "--dry-run", "--no-probe", "--set", "contexts=[131072]"];
    let out = output(&bench, &long);
    let time = said(&out)
        .lines()
        .find(|line| line.trim_start().starts_with("time ") && line.contains("about"))
        .unwrap()
        .to_owned();
    assert!(time.contains("hours") || time.contains("days"), "{time}");
    assert!(time.contains("between") && time.contains("rule of thumb"), "{time}");
    // Twice the context takes more than twice the time.
    let at = |context: &str| {
        let set = format!("contexts=[{context}]");
        dry_run(&bench, &["--no-probe", "--set", &set])["estimate_s"].as_f64().unwrap()
    };
    assert!(at("131072") > 2.0 * at("65536"));
}

#[test]
fn a_run_that_nobody_watches_says_how_it_goes_from_time_to_time() {
    let bench = MockBench::new("--decode-ms 40");
    let run = |more: &[&str]| {
        let mut command = bench.command(&[&["run", "suite.toml"], more].concat());
        String::from_utf8(command.env("KNEEPOINT_STATUS_SECONDS", "0.3").output().unwrap().stderr).unwrap()
    };
    let stderr = run(&[]);
    let lines: Vec<&str> = stderr.lines().filter(|line| line.contains(" of 18 trials after ")).collect();
    assert!(!lines.is_empty(), "{stderr}");
    assert!(lines.iter().any(|line| line.contains(" left (round ")), "{stderr}");
    assert!(!stderr.contains("year"), "{stderr}");
    let quiet = run(&["--quiet"]);
    assert!(!quiet.contains("trials after"), "{quiet}");
}
