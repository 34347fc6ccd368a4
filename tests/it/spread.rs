//! Runs that several workers measure, on the mock server: cards of one machine, machines, merging.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::{Duration, Instant};

use kneepoint::record::{Source, Trial, metric};
use serde_json::Value;

use crate::common::{KNEEPOINT, MockBench};

/// Lines of a kind in the journals of a run folder: the part that each is of, and its value.
pub(crate) fn lines(run: &Path, kind: &str) -> Vec<(String, Value)> {
    let parts =
        std::fs::read_dir(run.join("parts")).into_iter().flatten().flatten().map(|entry| entry.path());
    let folders: Vec<PathBuf> = parts.chain([run.to_path_buf()]).collect();
    let mut found = Vec::new();
    for folder in folders {
        let text = std::fs::read_to_string(folder.join("journal.jsonl")).unwrap_or_default();
        for line in text.split_inclusive('\n').filter(|line| line.ends_with('\n')) {
            let value: Value = serde_json::from_str(line).unwrap();
            if value[kind].is_object() {
                let name = folder.file_name().unwrap().to_string_lossy().into_owned();
                found.push((name, value[kind].clone()));
            }
        }
    }
    found
}

/// Trials by key, with what came of each.
pub(crate) fn trials(run: &Path) -> BTreeMap<String, Vec<String>> {
    let mut found = BTreeMap::<String, Vec<String>>::new();
    for (_, trial) in lines(run, "trial") {
        let outcome = format!("{} {}", trial["case"], trial["outcome"]);
        found.entry(trial["key"].to_string()).or_default().push(outcome);
    }
    found
}

fn said(out: &Output) -> String {
    String::from_utf8_lossy(&out.stderr).into_owned()
}

fn run(bench: &MockBench, args: &[&str]) -> Output {
    bench.command(args).env("KNEEPOINT_NODE", "here").output().unwrap()
}

fn summary(bench: &MockBench, folder: &Path) -> Value {
    let out = run(bench, &["report", folder.to_str().unwrap(), "--json"]);
    assert!(out.status.success(), "{}", said(&out));
    serde_json::from_slice(&out.stdout).unwrap()
}

/// A bench whose servers behave as a line of shell says before they start.
fn bench_with(line: &str, mock: &str) -> MockBench {
    let bench = MockBench::new(mock);
    let binary = bench.dir.path().join("llama-server");
    let script = std::fs::read_to_string(&binary).unwrap();
    let changed = script.replacen("\nexec ", &format!("\n{line}\nexec "), 1);
    assert_ne!(changed, script);
    std::fs::write(&binary, changed).unwrap();
    bench
}

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

/// A run that two workers would measure, begun and not measured.
fn begun(bench: &MockBench) -> PathBuf {
    let runs = bench.dir.path().join("runs");
    let name = "20260101T000000Z-mock-0a1b2c";
    let args = ["worker", name, "--index", "1", "--suite", "suite.toml", "--tasks", "2"];
    let out = bench.command(&args).env("KNEEPOINT_NODE", "a").output().unwrap();
    assert!(out.status.success(), "{}", said(&out));
    runs.join(name)
}

#[test]
fn machines_take_shares_and_one_that_is_moved_leaves_out_what_is_done() {
    let bench = MockBench::new("--decode-ms 3");
    let folder = begun(&bench);
    assert_eq!(trials(&folder).len(), 9);
    // The other share begins on one machine, is lost, and ends on another.
    let worker = |node: &str| {
        let mut command = bench.command(&["worker", folder.to_str().unwrap(), "--index", "0"]);
        command.env("KNEEPOINT_NODE", node);
        command
    };
    let mut child = worker("b").stderr(std::process::Stdio::null()).spawn().unwrap();
    let began = Instant::now();
    while trials(&folder).len() < 12 {
        assert!(began.elapsed() < Duration::from_secs(60));
        std::thread::sleep(Duration::from_millis(5));
    }
    // Meanwhile nobody else takes it: a requeued task waits for the lost one to end.
    child.kill().unwrap();
    let moved = worker("c").output().unwrap();
    child.wait().unwrap();
    assert!(moved.status.success(), "{}", said(&moved));
    let measured = trials(&folder);
    assert_eq!(measured.len(), 18);
    assert!(measured.values().all(|times| times.len() == 1), "a trial was measured twice");
    let places: BTreeSet<String> = lines(&folder, "trial").into_iter().map(|(part, _)| part).collect();
    assert_eq!(places.into_iter().collect::<Vec<_>>(), ["0000@b", "0000@c", "0001@a"]);
    let summary = summary(&bench, &folder);
    assert_eq!(summary["done"], 18);
    // What was measured here and the reference there is no pair for speed.
    let cells = summary["cells"].as_array().unwrap();
    let ratio = cells.iter().map(|cell| &cell["decode_ratio"]).find(|ratio| ratio.is_object()).unwrap();
    assert!(ratio["n"].as_u64().unwrap() < 4, "{ratio}");
}

#[test]
fn a_worker_with_another_engine_build_measures_nothing() {
    let bench = MockBench::new("");
    let folder = begun(&bench);
    let binary = bench.dir.path().join("llama-server");
    let script = std::fs::read_to_string(&binary).unwrap();
    std::fs::write(&binary, script.replace("version: 1 (mock)", "version: 2 (mock)")).unwrap();
    let out = run(&bench, &["worker", folder.to_str().unwrap(), "--index", "0"]);
    assert_eq!(out.status.code(), Some(2));
    let said = said(&out);
    assert!(said.contains("fingerprint") && said.contains("worker 0 measured nothing here"), "{said}");
    assert_eq!(trials(&folder).len(), 9, "what others measured stays");
    let out = run(&bench, &["worker", folder.to_str().unwrap(), "--index", "2"]);
    assert!(self::said(&out).contains("has no worker 2: they are 0 to 1"), "{}", self::said(&out));
}

/// Two settings beside the reference, measured on two machines by filters.
fn split() -> (MockBench, [String; 2]) {
    let bench = MockBench::new("");
    let suite = bench.dir.path().join("suite.toml");
    let text = std::fs::read_to_string(&suite).unwrap();
    std::fs::write(&suite, text.replace("[[setting]]", "[[setting]]\nkv = \"q4_0\"\n\n[[setting]]")).unwrap();
    let mut names = Vec::new();
    for setting in ["*q8_0", "*q4_0"] {
        let out = run(&bench, &["run", "suite.toml", "--filter", &format!("setting={setting}")]);
        assert!(out.status.success(), "{}", said(&out));
        let runs = std::fs::read_dir(bench.dir.path().join("runs")).unwrap();
        let all: Vec<String> = runs.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.extend(all.into_iter().filter(|name| !names.contains(name)).collect::<Vec<_>>());
    }
    (bench, names.try_into().unwrap())
}

#[test]
fn runs_that_filters_split_are_merged_and_nothing_is_lost() {
    let (bench, [a, b]) = split();
    let out = run(&bench, &["merge", &a, &b, "-o", "runs/whole", "--json"]);
    assert!(out.status.success(), "{}", said(&out));
    let merged: Value = serde_json::from_slice(&out.stdout).unwrap();
    // 3 settings and A/A of 6 trials; both runs have the reference's two visits.
    assert_eq!((&merged["planned"], &merged["done"]), (&24.into(), &24.into()), "{merged}");
    assert_eq!(merged["repeated"], 12);
    let whole = bench.dir.path().join("runs/whole");
    for (name, parts) in [(&a, 18), (&b, 18)] {
        let before = std::fs::read(bench.dir.path().join("runs").join(name).join("journal.jsonl")).unwrap();
        let copied = std::fs::read(whole.join("parts").join(name).join("journal.jsonl")).unwrap();
        assert_eq!(before, copied, "journals stay as they were written");
        let of_part = lines(&whole, "trial").into_iter().filter(|(part, _)| part == name).count();
        assert_eq!(of_part, parts);
    }
    let summary = summary(&bench, &whole);
    assert_eq!((&summary["done"], &summary["planned"]), (&24.into(), &24.into()));
    assert_eq!(summary["workers"].as_array().unwrap().len(), 2);
    // Each setting's speed lies beside the reference of its own run, unless that was slower than the other.
    let is_left_out = |run: &str| {
        let workers = summary["workers"].as_array().unwrap();
        workers.iter().any(|worker| worker["place"] == run && worker.get("left_out").is_some())
    };
    let settings = summary["cells"].as_array().unwrap();
    for cell in settings.iter().filter(|cell| cell["setting"] != summary["reference"]) {
        let own = if cell["setting"].as_str().unwrap().contains("q4_0") { &b } else { &a };
        let pairs = if is_left_out(own) { Value::Null } else { 4.into() };
        assert_eq!(cell["decode_ratio"]["n"], pairs, "{cell}");
        assert_eq!(cell["scored"], cell["planned"]);
    }
    let pick = run(&bench, &["pick", "runs/whole", "--context", "512", "--min-quality", "0", "--json"]);
    assert!(pick.status.success(), "{}", said(&pick));
    let compared = run(&bench, &["compare", "runs/whole", "runs/whole", "--json"]);
    assert!(compared.status.success(), "{}", said(&compared));
}

#[test]
fn half_of_a_suite_is_merged_and_the_rest_is_resumed() {
    let (bench, [a, b]) = split();
    let runs = bench.dir.path().join("runs");
    // The second run loses two trials that nobody else has.
    let journal = runs.join(&b).join("journal.jsonl");
    let text = std::fs::read_to_string(&journal).unwrap();
    let mut kept: Vec<&str> = text.split_inclusive('\n').collect();
    for _ in 0..2 {
        let is_lost = |line: &&str| line.starts_with("{\"trial\"") && line.contains("q4_0");
        let at = kept.iter().rposition(is_lost).unwrap();
        kept.remove(at);
    }
    std::fs::write(&journal, kept.concat()).unwrap();
    assert!(run(&bench, &["merge", &a, &b, "-o", "runs/whole"]).status.success());
    let whole = runs.join("whole");
    let before = summary(&bench, &whole);
    let out = run(&bench, &["resume", "runs/whole"]);
    assert!(out.status.success(), "{}", said(&out));
    let after = summary(&bench, &whole);
    assert!(
        before["done"].as_u64() <= Some(24) && after["done"] == 24,
        "{} {}",
        before["done"],
        after["done"]
    );
}

#[test]
fn what_does_not_belong_together_is_not_merged() {
    let (bench, [a, b]) = split();
    let merge = |runs: &[&str], out: &str| {
        let args: Vec<&str> = ["merge"].into_iter().chain(runs.iter().copied()).chain(["-o", out]).collect();
        let out = run(&bench, &args);
        (out.status.code(), said(&out))
    };
    let (code, text) = merge(&[&a, &a], "x");
    assert!(code == Some(2) && text.contains("is named twice"), "{text}");
    std::fs::create_dir(bench.dir.path().join("there")).unwrap();
    let (code, text) = merge(&[&a, &b], "there");
    assert!(code == Some(2) && text.contains("exists already") && text.contains("--out"), "{text}");

    // Another suite.
    let suite = bench.dir.path().join("suite.toml");
    let written = std::fs::read_to_string(&suite).unwrap();
    std::fs::write(&suite, written.replace("samples = 4", "samples = 5")).unwrap();
    assert!(run(&bench, &["run", "suite.toml"]).status.success());
    let (code, text) = merge(&[&a, "latest"], "x");
    assert!(
        code == Some(2) && text.contains("the suite is another one") && text.contains("its `tasks` differs"),
        "{text}"
    );

    // Another model file, another engine.
    std::fs::write(&suite, &written).unwrap();
    let model = bench.dir.path().join("model.gguf");
    let bytes = std::fs::read(&model).unwrap();
    std::fs::write(&model, [bytes.as_slice(), b"more"].concat()).unwrap();
    assert!(run(&bench, &["run", "suite.toml"]).status.success());
    let (code, text) = merge(&[&a, "latest"], "x");
    assert!(code == Some(2) && text.contains("the file of mock Q8_0 is another one"), "{text}");
    std::fs::write(&model, bytes).unwrap();
    let binary = bench.dir.path().join("llama-server");
    let script = std::fs::read_to_string(&binary).unwrap();
    std::fs::write(&binary, script.replace("version: 1 (mock)", "version: 2 (mock)")).unwrap();
    assert!(run(&bench, &["run", "suite.toml"]).status.success());
    let (code, text) = merge(&[&a, &b, "latest"], "x");
    assert!(code == Some(2) && text.contains("the engine is") && text.contains("compare"), "{text}");
    assert!(!bench.dir.path().join("x").exists());

    // A case that is another one under the same key.
    let journal = bench.dir.path().join("runs").join(&b).join("journal.jsonl");
    let text = crate::common::without_checksums(&std::fs::read_to_string(&journal).unwrap());
    let case = lines(&bench.dir.path().join("runs").join(&b), "case")[0].1["id"].as_str().unwrap().to_owned();
    std::fs::write(&journal, text.replace(&case, "0000000000000000")).unwrap();
    let (code, text) = merge(&[&a, &b], "x");
    assert!(
        code == Some(1)
            && text.contains("0000000000000000")
            && text.contains("the tokenizer or kneepoint is another one"),
        "{text}"
    );
    assert!(!bench.dir.path().join("x").exists());
}

#[test]
fn what_cannot_be_spread_is_refused() {
    let bench = MockBench::new("");
    let refused = |args: &[&str], said_so: &str| {
        let out = run(&bench, args);
        assert_eq!(out.status.code(), Some(2), "{args:?}: {}", said(&out));
        assert!(said(&out).contains(said_so), "{args:?}: {}", said(&out));
    };
    refused(&["run", "suite.toml", "--gpus", "0,0"], "card 0 is named twice");
    refused(&["run", "suite.toml", "--gpus", "one"], "not a list of cards");
    refused(&["run", "suite.toml", "--on", "kubernetes", "--dry-run"], "--image");
    refused(&["run", "suite.toml", "--on", "slurm", "--sbatch", "gres", "--dry-run"], "no option of sbatch");
    let budget = "stopping.budget_s=60";
    refused(
        &["run", "suite.toml", "--gpus", "0,1", "--set", budget],
        "no worker knows what the others have used",
    );
    assert!(!bench.dir.path().join("runs").exists());
    assert!(run(&bench, &["run", "suite.toml"]).status.success());
    refused(&["worker", "latest", "--index", "0"], "is not spread over workers");
}

#[test]
fn without_slurm_nothing_is_begun_and_a_refusal_is_in_slurm_s_words() {
    let bench = MockBench::new("");
    let tools = bench.dir.path().join("tools");
    std::fs::create_dir(&tools).unwrap();
    let path = |with_tools: bool| {
        let usual = "/usr/local/sbin:/bin";
        if with_tools { format!("{}:{usual}", tools.display()) } else { String::from("/nowhere") }
    };
    let submit = |with_tools: bool| {
        let mut command = bench.command(&["run", "suite.toml", "--on", "slurm", "--partition", "gpu"]);
        let out = command
            .env("PATH", path(with_tools))
            .env("KNEEPOINT_PYTHON", "/usr/bin/python3")
            .output()
            .unwrap();
        (out.status.code(), said(&out))
    };
    let (code, text) = submit(false);
    assert!(
        code == Some(2) && text.contains("`sbatch` cannot be run here") && text.contains("--dry-run"),
        "{text}"
    );
    let sbatch = tools.join("sbatch");
    let script = "#!/bin/sh\n[ \"$1\" = --version ] && exit 0\necho 'sbatch: error: invalid partition specified: gpu' >&2\nexit 1\n";
    std::fs::write(&sbatch, script).unwrap();
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(&sbatch, std::fs::Permissions::from_mode(0o755)).unwrap();
    let (code, text) = submit(true);
    assert!(
        code == Some(1) && text.contains("invalid partition specified: gpu") && text.contains("--partition"),
        "{text}"
    );
    let runs = std::fs::read_dir(bench.dir.path().join("runs"));
    assert_eq!(runs.map_or(0, Iterator::count), 0, "no run is left that nobody measures");
}

#[test]
fn the_batch_script_is_printed_and_nothing_begins() {
    let bench = MockBench::new("");
    let args = [
        "run",
        "suite.toml",
        "--on",
        "slurm",
        "--partition",
        "gpu",
        "--tasks",
        "2",
        "--sbatch=--gres=gpu:1",
        "--dry-run",
    ];
    let out = run(&bench, &args);
    assert!(out.status.success(), "{}", said(&out));
    let script = String::from_utf8(out.stdout.clone()).unwrap();
    for line in
        ["#SBATCH --array=0-1", "#SBATCH --requeue", "#SBATCH --partition=gpu", "#SBATCH --gres=gpu:1"]
    {
        assert!(script.lines().any(|known| known == line), "{line}\n{script}");
    }
    assert!(script.contains(&format!("exec {KNEEPOINT} worker ")), "{script}");
    assert!(said(&out).contains("worker 1: 9 trials"), "{}", said(&out));
    assert!(!bench.dir.path().join("runs").exists());
}

/// The manifests of a run with everything that can be asked for.
pub(crate) fn manifests(bench: &MockBench) -> String {
    let words = "run suite.toml --on kubernetes --dry-run --tasks 2 --image registry.example/kneepoint:0.2.0 --runs-claim runs \
                 --models-claim models --gpu-resource amd.com/gpu --gpus-per-task 2 --cpus-per-task 8 --node-selector gpu.model=h200 \
                 --namespace bench --set seed=7 --filter task=retrieval/*";
    let out = run(bench, &words.split_whitespace().collect::<Vec<_>>());
    assert!(out.status.success(), "{}", said(&out));
    String::from_utf8(out.stdout).unwrap()
}

#[test]
fn the_manifests_are_an_indexed_job_and_its_suite() {
    let bench = MockBench::new("");
    let text = manifests(&bench);
    let documents: Vec<Value> =
        text.split("\n---\n").map(|text| serde_norway::from_str(text).unwrap()).collect();
    let [suite, job] = documents.as_slice() else { panic!("{text}") };
    assert_eq!(suite["kind"], "ConfigMap");
    let written = std::fs::read_to_string(bench.dir.path().join("suite.toml")).unwrap();
    assert_eq!(suite["data"]["suite.toml"], written);
    let spec = &job["spec"];
    assert_eq!((&spec["completionMode"], &spec["completions"]), (&"Indexed".into(), &2.into()));
    let pod = &spec["template"]["spec"];
    assert_eq!(pod["nodeSelector"]["gpu.model"], "h200");
    let container = &pod["containers"][0];
    assert_eq!(container["resources"]["limits"]["amd.com/gpu"], "2");
    let claims: Vec<&Value> = pod["volumes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|volume| &volume["persistentVolumeClaim"]["claimName"])
        .collect();
    assert_eq!(claims, [&Value::Null, &"runs".into(), &"models".into()]);
    let words: Vec<&str> = container["args"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    let words = words.join(" ");
    assert!(words.contains("--index $(JOB_COMPLETION_INDEX) --suite /suite/suite.toml --tasks 2"), "{words}");
    assert!(words.ends_with("--set seed=7 --filter task=retrieval/*"), "{words}");
    assert!(!bench.dir.path().join("runs").exists());
}

/// What a pod runs, as the job says: the run is begun once, whoever comes first.
#[test]
fn pods_that_start_at_once_begin_one_run() {
    let bench = MockBench::new("");
    let name = "20260101T000000Z-mock-0a1b2c";
    let pod = |index: &str| {
        let mut command =
            bench.command(&["worker", name, "--index", index, "--suite", "suite.toml", "--tasks", "2"]);
        command.env("KNEEPOINT_NODE", format!("node-{index}")).stderr(std::process::Stdio::piped());
        command.spawn().unwrap()
    };
    let pods = [pod("0"), pod("1")];
    for pod in pods {
        let out = pod.wait_with_output().unwrap();
        assert!(out.status.success(), "{}", said(&out));
    }
    let folder = bench.dir.path().join("runs").join(name);
    let measured = trials(&folder);
    assert_eq!((measured.len(), measured.values().all(|times| times.len() == 1)), (18, true));
    assert_eq!(std::fs::read_dir(bench.dir.path().join("runs/.begin")).unwrap().count(), 0);
    let out = bench.command(&["report", name]).output().unwrap();
    assert!(out.status.success(), "{}", said(&out));
}

/// The manifests against the schemas of the Kubernetes API: `KNEEPOINT_KUBERNETES_VALIDATE` names the folder that the Python package
/// kubernetes-validate lies in (.ci/run installs it).
#[test]
#[ignore = "needs the Python package kubernetes-validate; .ci/run has it"]
fn kubernetes_schemas_hold() {
    let folder = std::env::var("KNEEPOINT_KUBERNETES_VALIDATE").unwrap();
    let bench = MockBench::new("");
    let file = bench.dir.path().join("job.yaml");
    let check = |text: &str| {
        std::fs::write(&file, text).unwrap();
        let program = "import sys, yaml, kubernetes_validate as v\n\
                       docs = list(yaml.safe_load_all(open(sys.argv[1])))\n\
                       assert len(docs) == 2\n\
                       [v.validate(d, sys.argv[2], strict=True) for d in docs]";
        let mut failed = Vec::new();
        for version in ["1.24", "1.31"] {
            let out = std::process::Command::new("python3")
                .args(["-c", program])
                .arg(&file)
                .arg(version)
                .env("PYTHONPATH", &folder)
                .output()
                .unwrap();
            if !out.status.success() {
                failed.push(said(&out));
            }
        }
        failed
    };
    let text = manifests(&bench);
    assert_eq!(check(&text), Vec::<String>::new(), "{text}");
    // The check can fail.
    for (right, wrong) in [("completions: 2", "completions: \"two\""), ("nodeSelector", "nodeSelectors")] {
        let broken = text.replace(right, wrong);
        assert!(broken != text && !check(&broken).is_empty(), "{wrong}");
    }
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
