//! `pick`, `compare` and `route` as a user meets them, on a published journal.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use kneepoint::record::journal::{Journal, Record};
use kneepoint::record::kv::{KvGroup, KvShape, KvUse};
use kneepoint::record::{Outcome, ReadPath, Score, Trial, journal, metric};

fn published() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/runs/quickstart")
}

fn kneepoint(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_kneepoint")).args(args).env("NO_COLOR", "1").output().unwrap()
}

fn code(args: &[&str]) -> i32 {
    let out = kneepoint(args);
    let code = out.status.code().unwrap();
    assert!(code == 0 || code == 100 || !out.stderr.is_empty(), "{args:?} fails without a word");
    code
}

/// Writes a journal into a folder of its own.
fn write(journal: &Journal, folder: &Path) {
    let records = std::iter::once(Record::Header(Box::new(journal.header.clone())))
        .chain(journal.cases.iter().map(|case| Record::Case(Box::new(case.clone()))))
        .chain(journal.launches.iter().map(|launch| Record::Launch(Box::new(launch.clone()))))
        .chain(journal.trials.iter().map(|trial| Record::Trial(Box::new(trial.clone()))));
    let lines: String = records.map(|record| serde_json::to_string(&record).unwrap() + "\n").collect();
    std::fs::write(folder.join(journal::FILE_NAME), lines).unwrap();
}

/// The published journal with fewer draws than a report needs: a debug build takes its time over them.
fn quick() -> Journal {
    let mut journal = journal::load(&published()).unwrap();
    journal.header.suite.draws = 500;
    journal
}

#[test]
fn the_exit_code_says_how_it_went() {
    let folder = tempfile::tempdir().unwrap();
    write(&quick(), folder.path());
    let run = folder.path().to_str().unwrap();
    assert_eq!(code(&["pick", run, "--context", "1k", "--min-quality", "0"]), 0);
    assert_eq!(code(&["pick", run, "--context", "4k", "--min-quality", "0"]), 2, "not measured");
    assert_eq!(code(&["pick", run, "--context", "4k", "--min-quality", "0", "--extrapolate"]), 0);
    assert_eq!(code(&["pick", run, "--context", "1k", "--min-quality", "0", "--memory", "1MiB"]), 4);
    assert_eq!(code(&["pick", run, "--context", "many"]), 2);
    assert_eq!(code(&["compare", run, run, "--fail-on", "quality=2pp,decode=10%,memory=5%"]), 0);
    assert_eq!(code(&["compare", run, run, "--fail-on", "speed=2pp"]), 2);
    assert_eq!(code(&["route", run]), 2, "too few cases");
}

#[test]
fn more_than_two_runs_stand_in_one_table() {
    let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut journal = quick();
    write(&journal, folder.path());
    let [run, slower] = [&folder, &other].map(|folder| folder.path().to_str().unwrap());
    journal.header.machine.cpu = "another processor".into();
    for trial in &mut journal.trials {
        slow_down(trial, 2.0);
    }
    write(&journal, other.path());
    let said = stdout(&["compare", run, run, slower]);
    let cells =
        |letter: &str| said.lines().filter(|line| line.starts_with(&format!("| {letter} | `Q8_0"))).count();
    assert!(cells("A") > 0 && cells("A") == cells("B") && cells("B") == cells("C"), "{said}");
    assert!(
        said.contains("C was measured on another machine than A") && !said.contains("B was measured"),
        "{said}"
    );
    let json: serde_json::Value =
        serde_json::from_str(&stdout(&["compare", run, run, slower, "--json"])).unwrap();
    let rate = |at: usize| json["runs"][at]["cells"][0]["decode_tps"]["value"].as_f64().unwrap();
    assert!((rate(0) / rate(2) - 2.0).abs() < 1e-9, "{} {}", rate(0), rate(2));
    assert_eq!(json["runs"][2]["same_cases"], 1.0);
    let out = kneepoint(&["compare", run, run, slower, "--fail-on", "quality=2pp"]);
    assert_eq!(out.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&out.stderr).contains("--fail-on and prices are for two runs"));
}

/// The text of a command's answer, whatever its exit code.
fn stdout(args: &[&str]) -> String {
    String::from_utf8(kneepoint(args).stdout).unwrap()
}

#[test]
fn an_amount_of_memory_without_a_unit_is_refused() {
    let run = published();
    let run = run.to_str().unwrap();
    for amount in ["24", "0.5", "25769803776"] {
        let out = kneepoint(&["pick", run, "--context", "1k", "--memory", amount]);
        let said = String::from_utf8_lossy(&out.stderr).into_owned();
        assert_eq!(out.status.code(), Some(2), "{said}");
        assert!(said.contains("has no unit") && said.contains(&format!("{amount}GiB")), "{said}");
    }
    let out = kneepoint(&["compare", run, run, "--fail-on", "quality=2"]);
    assert_eq!(out.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&out.stderr).contains("write 2% or 2pp"));
}

#[test]
fn an_unfinished_run_says_so_before_its_pick_and_fails_no_gate() {
    let folder = tempfile::tempdir().unwrap();
    let mut running = quick();
    running.trials.truncate(2);
    let gate = r#"{"metric":"quality","cells":[],"min":0.99,"max":null,"no_worse_than_reference":false,"strict":true}"#;
    running.header.suite.gates.push(serde_json::from_str(gate).unwrap());
    write(&running, folder.path());
    let run = folder.path().to_str().unwrap();
    let context = running.trials[0].key.context.to_string();
    let pick = ["pick", run, "--context", &context, "--min-quality", "0"];
    let text = stdout(&pick);
    assert!(
        text.starts_with("**Before you rely on this:**\n\n- the run is not finished: 2 of 147"),
        "{text}"
    );
    assert!(!text.contains("100% of the bootstrap draws"), "{text}");
    let json: serde_json::Value = serde_json::from_str(&stdout(&[&pick[..], &["--json"]].concat())).unwrap();
    assert_eq!(json["warnings"][0]["code"], "run_incomplete");
    assert_eq!(json["frequency"], serde_json::Value::Null);

    let out = kneepoint(&["report", run, "--format", "md"]);
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    assert_eq!(out.status.code(), Some(106), "{said}");
    assert!(said.contains("gate undecided: quality at least 0.99"), "{said}");
    assert!(String::from_utf8_lossy(&out.stdout).contains("| undecided |"));
}

#[test]
fn the_command_to_serve_with_is_none_to_measure_with() {
    let run = published();
    let args = ["pick", run.to_str().unwrap(), "--context", "1k", "--min-quality", "0"];
    let json: serde_json::Value = serde_json::from_str(&stdout(&[&args[..], &["--json"]].concat())).unwrap();
    let served = json["serve_command"].as_str().unwrap();
    let measured = json["command"].as_str().unwrap();
    assert!(served.contains("--port 8080") && !measured.contains("--port 8080"), "{served}");
    for word in ["--cache-ram", "--log-verbosity", "--no-ui", "-np", "--slots"] {
        assert!(!served.contains(word) && measured.contains(word), "{word}: {served}");
    }
    for word in ["-c 1024", "-ctk", "-fa on", "--jinja"] {
        assert!(served.contains(word), "{word}: {served}");
    }
    let text = stdout(&args);
    let (serve, measure) = (text.find("To serve it:").unwrap(), text.find("As it was measured:").unwrap());
    assert!(serve < measure, "{text}");
}

#[test]
fn questions_are_asked_the_other_way_round_in_the_words_of_users() {
    let run = published();
    let asked = |more: &[&str]| -> Output {
        let always = ["pick", run.to_str().unwrap(), "--min-quality", "0"];
        kneepoint(&[&always[..], more].concat())
    };
    let json = |more: &[&str]| -> serde_json::Value {
        serde_json::from_slice(&asked(&[more, &["--json"]].concat()).stdout).unwrap()
    };
    let longest = json(&["--longest", "--at-least", "1 tok/s", "--ttft-under", "10min"]);
    assert_eq!(
        (longest["context"].as_u64(), longest["longest"]["measured"].as_u64()),
        (Some(1024), Some(1024))
    );
    assert!(longest["requirements"].to_string().contains("at least 1 tokens/s"), "{longest}");
    let text = String::from_utf8(asked(&["--context", "1k", "--bytes"]).stdout).unwrap();
    assert!(text.contains("## What a byte buys") && text.contains("| weights | `Q2_K kv=f16` |"), "{text}");
    for (bad, said) in [
        (vec!["--at-least", "fast", "--context", "1k"], "30t/s"),
        (vec!["--ttft-under", "2", "--context", "1k"], "2s or 2ms"),
        (vec!["--longest", "--context", "1k"], "cannot be used with"),
        (vec![], "--context <TOKENS>"),
    ] {
        let out = asked(&bad);
        assert_eq!(out.status.code(), Some(2), "{bad:?}");
        assert!(
            String::from_utf8_lossy(&out.stderr).contains(said),
            "{bad:?}: {}",
            String::from_utf8_lossy(&out.stderr)
        );
    }
}

fn slow_down(trial: &mut Trial, times: f64) {
    trial.measurements.change(|figure| {
        if figure.name == metric::DECODE_TPS {
            figure.value = figure.value.map(|rate| rate / times);
        }
    });
}

#[test]
fn a_slower_run_fails_only_when_asked_to() {
    let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut slower = quick();
    write(&slower, other.path());
    slower.trials.iter_mut().for_each(|trial| slow_down(trial, 10.0));
    write(&slower, folder.path());
    let (run, slow) = (other.path().to_str().unwrap(), folder.path().to_str().unwrap());
    assert_eq!(code(&["compare", run, slow]), 0);
    assert_eq!(code(&["compare", run, slow, "--fail-on", "decode=10%"]), 100);
    assert_eq!(code(&["compare", slow, run, "--fail-on", "decode=10%"]), 0, "faster is no regression");
    let out = kneepoint(&["compare", run, slow, "--fail-on", "decode=10%"]);
    assert!(String::from_utf8_lossy(&out.stdout).contains("## Regressions"));
}

#[test]
fn the_kv_formula_gives_what_the_published_servers_logged() {
    // SmolLM2-135M: 30 layers, 3 KV heads of 64 values. The log rounds to hundredths of a MiB.
    let shape = KvShape {
        groups: vec![KvGroup { layers: 30, k_values: 192, v_values: 192, ..KvGroup::default() }],
        ..KvShape::default()
    };
    let rounding = (0.005 * 1024.0 * 1024.0_f64).ceil() as u64;
    let journal = journal::load(&published()).unwrap();
    assert!(journal.launches.len() > 20);
    for launch in &journal.launches {
        let logged = &launch.effective;
        let (k, v) = (logged.k.as_deref().unwrap(), logged.v.as_deref().unwrap());
        let bytes = shape.bytes(KvUse::new(launch.context, k, v)).unwrap();
        for (formula, logged) in [(bytes.k, logged.k_bytes.unwrap()), (bytes.v, logged.v_bytes.unwrap())] {
            assert!(formula.abs_diff(logged) <= rounding, "{formula} against {logged} of {}", launch.setting);
        }
    }
}

/// Both halves of a cache lose points; behind a prompt that was computed with the answer nobody would know.
#[test]
fn quality_from_the_prefill_path_picks_no_other_cache_and_over_the_cache_it_is_judged() {
    let published = Path::new(env!("CARGO_MANIFEST_DIR")).join("reports/sglang-probability");
    let mut journal = journal::load(&published).unwrap();
    journal.header.suite.draws = 500;
    let said = |journal: &Journal| {
        let folder = tempfile::tempdir().unwrap();
        write(journal, folder.path());
        let run = folder.path().to_str().unwrap();
        let words = |args: &[&str]| String::from_utf8(kneepoint(args).stdout).unwrap();
        let picked = words(&["pick", run, "--context", "8192"]);
        assert_eq!(code(&["report", run, "-q"]), 0);
        (picked, std::fs::read_to_string(folder.path().join("report.md")).unwrap())
    };
    let unread = "its quality was read on the prefill path, where damage of its KV types may not show";
    let (picked, report) = said(&journal);
    assert_eq!(picked.matches(unread).count(), 2, "{picked}");
    assert!(report.contains("probabilities were read on the prefill path"), "{report}");
    assert_eq!(report.matches("96 in 2 texts, prefill path").count(), 3, "{report}");

    for trial in &mut journal.trials {
        let forced = trial.reply.iter_mut().flat_map(|reply| &mut reply.forced);
        forced.for_each(|forced| forced.path = ReadPath::Cached);
    }
    let (picked, report) = said(&journal);
    assert!(!picked.contains(unread) && picked.contains("−23.2"), "{picked}");
    assert!(report.contains("next-token distributions were read on the prefill path"), "{report}");
}

/// A probability differs in its third digit wherever it was read: what moved is listed, by how much it moved.
#[test]
fn of_probabilities_only_what_moved_is_a_flip() {
    let published = Path::new(env!("CARGO_MANIFEST_DIR")).join("reports/kv-apart-5-points");
    let journal = journal::load(&published).unwrap();
    let mut moved = journal.clone();
    let changes = [0.02, 0.3, -0.1, 0.004, -0.4, 0.049, 0.07];
    let own = |trial: &Trial, change: f64| {
        let score = trial.outcome.score().and_then(|score| score.quality)?;
        ((0.45..0.55).contains(&score) && trial.key.replicate == 0).then_some(score + change)
    };
    let mut left = changes.iter();
    for trial in &mut moved.trials {
        let Some(&change) = left.as_slice().first() else { break };
        if let Some(quality) = own(trial, change) {
            trial.outcome = Outcome::Scored(Score::of(quality));
            left.next();
        }
    }
    assert_eq!(left.len(), 0, "too few answers of about one half");

    let (a, b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    write(&journal, a.path());
    write(&moved, b.path());
    let out = kneepoint(&["compare", a.path().to_str().unwrap(), b.path().to_str().unwrap(), "--json"]);
    let comparison: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
    let flips = comparison["flips"].as_array().unwrap();
    let listed = |flip: &serde_json::Value| {
        let change = flip["score_b"].as_f64().unwrap() - flip["score_a"].as_f64().unwrap();
        assert_eq!(flip["reply_a"], "(the answer was forced)");
        (change * 1e6).round() / 1e6
    };
    assert_eq!(flips.iter().map(listed).collect::<Vec<_>>(), [-0.4, -0.1, 0.3, 0.07]);
    assert_eq!((&comparison["flips_in_all"], &comparison["least_flip"]), (&4.into(), &0.05.into()));
}

/// Two runs of one server gave the same probabilities, on five texts and more: that they are equal within a few points is known.
#[test]
fn equal_probabilities_are_known_to_be_equal() {
    let report = |name: &str| format!("{}/reports/{name}", env!("CARGO_MANIFEST_DIR"));
    let out = kneepoint(&["compare", &report("kv-apart-5-points"), &report("kv-apart-3-points"), "--json"]);
    let comparison: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
    let cells = comparison["cells"].as_array().unwrap();
    let reach = |cell: &serde_json::Value| {
        let number = |name: &str| cell["quality"][name].as_f64().unwrap();
        number("high").max(-number("low"))
    };
    let reaches: Vec<f64> = cells.iter().map(reach).collect();
    assert_eq!(reaches.len(), 10);
    assert!(reaches.iter().all(|reach| (0.0..0.04).contains(reach)), "{reaches:?}");
}

/// A KLD that was read with the prompt, beside one over the cache, is no change of the setting.
#[test]
fn a_kld_on_the_prefill_path_is_named_where_runs_are_compared() {
    let published = Path::new(env!("CARGO_MANIFEST_DIR")).join("reports/sglang-probability");
    let mut journal = journal::load(&published).unwrap();
    journal.header.suite.draws = 500;
    let mut over_the_cache = journal.clone();
    for trial in &mut over_the_cache.trials {
        let lists = trial.reply.iter_mut().filter_map(|reply| reply.distributions.as_mut());
        lists.for_each(|lists| lists.path = ReadPath::Cached);
    }
    let notes = |a: &Journal, b: &Journal| {
        let (of_a, of_b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        write(a, of_a.path());
        write(b, of_b.path());
        let paths = [of_a.path(), of_b.path()].map(|path| path.to_str().unwrap().to_owned());
        String::from_utf8(kneepoint(&["compare", &paths[0], &paths[1]]).stdout).unwrap()
    };
    assert!(notes(&journal, &journal).contains("KLD was read on the prefill path in both runs"));
    assert!(notes(&journal, &over_the_cache).contains("in A alone, so the two are no figures of one kind"));
    assert!(!notes(&over_the_cache, &over_the_cache).contains("prefill path"));
}
