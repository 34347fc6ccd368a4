//! Cases that are asked several times, from the suite to the report: each reply with a seed of its own, across a kill, and the
//! figures by hand.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::common::scripted::{Answer, Request, Scripted, chunk, models, reply};
use crate::common::{KNEEPOINT, MOCK_SUITE, MockBench};

const SUITE: &str = r#"
name = "repeats"
contexts = [2048]
rounds = 2
draws = 200
repeats = 3
objectives = ["quality"]

[engine]
name = "openai"
url = "URL"
start_timeout_s = 20
request_timeout_s = 20
idle_timeout_s = 5

[sampling]
temperature = 0.8

[[model]]
name = "m"
weights = "Q4_K_M"
sampling = { top_p = 0.9 }

[reference]

[[task]]
name = "retrieval/niah_multikey_2"
samples = 4

[[task]]
name = "serving/speed"
samples = 1
"#;

/// Whether the replies to a case are right: those of the visit that asks first, then those of the other.
type Replies = [bool; 6];

/// In the order in which cases are first asked: 0 and 2 in the first round, 1 and 3 in the second, in which the reference's second
/// visit comes first. Of the first visit 3, 1, 2 and 3 of 3 are right, of the second 3, 2, 2 and 3.
const RIGHT: [Replies; 4] = [
    [true, true, true, true, true, true],
    [false, true, false, true, false, true],
    [true, false, true, true, true, false],
    [true, true, true, true, true, true],
];

/// The answer to a prompt with one question about its needles.
fn needle(asked: &str) -> Option<&str> {
    let key = asked.rsplit_once("What is the secret number for ")?.1.split('?').next()?;
    let value = asked.split_once(&format!("The secret number for {key} is "))?.1;
    value.split('.').next()
}

/// Answers as the table says: the n-th seed of a prompt has the n-th reply, however often it is asked.
fn server(pause_ms: u64) -> Scripted {
    let seen: Mutex<Vec<(String, Vec<u64>)>> = Mutex::default();
    Scripted::start(move |request: &Request| {
        if !request.is_chat() {
            return if request.path == "/v1/models" { models(&["m"]) } else { Answer::not_found() };
        }
        let asked = request.asks();
        // What is not streamed counts the tokens of a prompt that is being made.
        let Some(value) = needle(asked).filter(|_| request.body["stream"] == true) else {
            return reply(request, json!({ "role": "assistant", "content": "Hello" }), "stop", 1);
        };
        let seed = request.body["seed"].as_u64().unwrap();
        let mut seen = seen.lock().unwrap();
        let case = seen.iter().position(|(prompt, _)| prompt == asked).unwrap_or_else(|| {
            seen.push((asked.to_owned(), Vec::new()));
            seen.len() - 1
        });
        let seeds = &mut seen[case].1;
        let nth = seeds.iter().position(|known| *known == seed).unwrap_or_else(|| {
            seeds.push(seed);
            seeds.len() - 1
        });
        let said = if RIGHT[case][nth] { value } else { "I do not know" };
        let events = [
            (pause_ms, chunk(&json!({ "content": said }), None).to_string()),
            (0, chunk(&json!({}), Some("stop")).to_string()),
            (0, json!({ "choices": [], "usage": request.usage(3) }).to_string()),
            (0, "[DONE]".to_owned()),
        ];
        Answer::Events(events.to_vec())
    })
}

struct Bench {
    dir: tempfile::TempDir,
}

impl Bench {
    fn new(server: &Scripted) -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("suite.toml"), SUITE.replace("URL", &server.url)).unwrap();
        Self { dir }
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(KNEEPOINT);
        command.current_dir(self.dir.path()).args(args).env("NO_COLOR", "1").env_remove("KNEEPOINT_RUNS_DIR");
        command.stdin(Stdio::null());
        command
    }

    fn done(&self, args: &[&str]) -> String {
        let out = self.command(args).output().unwrap();
        assert!(out.status.success(), "{args:?}: {}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8(out.stdout).unwrap()
    }

    fn folder(&self) -> PathBuf {
        self.begun().expect("a run")
    }

    fn begun(&self) -> Option<PathBuf> {
        Some(std::fs::read_dir(self.dir.path().join("runs")).ok()?.next()?.ok()?.path())
    }

    /// The trials of the journal as far as it is written.
    fn trials(&self) -> Vec<Value> {
        let journal = self.begun().map(|folder| folder.join("journal.jsonl"));
        let text = journal.and_then(|journal| std::fs::read_to_string(journal).ok()).unwrap_or_default();
        let lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines.filter_map(|line| line.get("trial").cloned()).collect()
    }

    fn summary(&self) -> Value {
        serde_json::from_str(&std::fs::read_to_string(self.folder().join("summary.json")).unwrap()).unwrap()
    }
}

fn wait_for_trials(bench: &Bench, child: &mut Child, trials: usize) {
    let begin = Instant::now();
    while bench.trials().len() < trials {
        assert!(child.try_wait().unwrap().is_none(), "it ended before it could be killed");
        assert!(begin.elapsed() < Duration::from_secs(60));
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn close(value: &Value, by_hand: f64) {
    let value = value.as_f64().unwrap_or_else(|| panic!("{value} is no number"));
    assert!((value - by_hand).abs() < 1e-9, "{value} is not {by_hand}");
}

/// What the table comes to.
fn is_by_hand(bench: &Bench) {
    let trials = bench.trials();
    let needles = trials.iter().filter(|trial| trial["key"]["task"] == "retrieval/niah_multikey_2");
    let keys: BTreeMap<String, usize> = needles.fold(BTreeMap::new(), |mut keys, trial| {
        *keys.entry(trial["key"].to_string()).or_default() += 1;
        keys
    });
    assert_eq!(keys.len(), 4 * 3 * 2, "four cases, three replies, two visits");
    assert!(keys.values().all(|times| *times == 1), "{keys:?}");

    let summary = bench.summary();
    assert_eq!((summary["done"].as_u64(), summary["planned"].as_u64()), (Some(26), Some(26)));
    let row = &summary["repeats"][0];
    assert_eq!((&row["repeats"], &row["cases"], &row["replies"]), (&json!(3), &json!(4), &json!(12)));
    // Right: 3, 1, 2 and 3 of 3. C(c, 2) / C(3, 2) is 1, 0, 1/3 and 1.
    let by_hand = [9.0 / 12.0, (2.0 + 1.0 / 3.0) / 4.0, 2.0 / 4.0];
    for (k, by_hand) in (1..).zip(by_hand) {
        let pass = &row["pass"][k - 1];
        assert_eq!((&pass["k"], &pass["share"]["n"]), (&json!(k), &json!(4)));
        close(&pass["share"]["value"], by_hand);
    }
    // Two cases with a sum of squares of 2/3, over four times two degrees of freedom.
    close(&row["spread"], (2.0 * (2.0 / 3.0) / 8.0_f64).sqrt());
    // The case is what counts.
    let task = &summary["tasks"][0];
    assert_eq!((&task["scored"], &task["quality"]["n"]), (&json!(12), &json!(4)));
    close(&task["quality"]["value"], 0.75);
    close(&summary["cells"][0]["quality"]["value"], 0.75);
    // The second visit has 3, 2, 2 and 3: one case differs, by a third.
    let aa = &summary["aa"][0];
    assert_eq!(aa["pairs"], 4);
    close(&aa["floor"], 1.0 / 12.0);
    assert_eq!(summary["sampling"][0]["sampling"]["top_p"], 0.9);

    let report = std::fs::read_to_string(bench.folder().join("report.md")).unwrap();
    assert!(report.contains("## Several replies to a case"), "{report}");
    assert!(report.contains("pass^3 0.50 ["), "{report}");
    assert!(report.contains("| sampling | temperature 0.8, top_k 0, top_p 0.9"), "{report}");
}

#[test]
fn each_case_is_asked_three_times_and_the_figures_are_those_by_hand() {
    let server = server(0);
    let bench = Bench::new(&server);
    bench.done(&["run", "suite.toml"]);
    is_by_hand(&bench);

    // Every reply was drawn with a seed of its own, and with the model's sampling.
    let chats: Vec<Request> = server.seen().into_iter().filter(Request::is_chat).collect();
    // What is only counted is no stream.
    let asked = chats.iter().filter(|request| request.body["stream"] == true);
    let needles: Vec<&Request> = asked.filter(|request| needle(request.asks()).is_some()).collect();
    let seeds: BTreeSet<u64> = needles.iter().map(|request| request.body["seed"].as_u64().unwrap()).collect();
    assert_eq!(seeds.len(), 24, "{seeds:?}");
    assert!(needles.iter().all(|request| request.body["temperature"] == 0.8 && request.body["top_p"] == 0.9));
    let once = chats.iter().filter(|request| needle(request.asks()).is_none());
    assert!(
        once.clone().any(|request| request.body["seed"] == 1),
        "what is asked once keeps the suite's seed"
    );

    // The page is made of the same view.
    let page = std::fs::read_to_string(bench.folder().join("report.html")).unwrap();
    assert!(page.contains("Several replies to a case") && page.contains("pass^3 0.50"));
}

#[test]
fn killed_among_the_replies_to_a_case_and_resumed_none_is_lost_and_none_asked_for_twice() {
    for trials in [1, 2, 5, 14] {
        let server = server(15);
        let bench = Bench::new(&server);
        let mut child = bench.command(&["run", "suite.toml"]).stderr(Stdio::null()).spawn().unwrap();
        wait_for_trials(&bench, &mut child, trials);
        child.kill().unwrap();
        child.wait().unwrap();
        bench.done(&["resume"]);
        is_by_hand(&bench);
    }
}

#[test]
fn a_dry_run_says_how_often_and_how_it_samples() {
    let bench = MockBench::new("");
    let suite = std::fs::read_to_string(bench.dir.path().join("suite.toml")).unwrap();
    let with = |keys: &str, setting: &str| {
        let suite = suite.replace("rounds = 2", &format!("rounds = 2\n{keys}"));
        let suite = suite.replace("kv = \"q8_0\"", &format!("kv = \"q8_0\"\n{setting}"));
        std::fs::write(bench.dir.path().join("suite.toml"), suite).unwrap();
    };
    let run = |args: &[&str]| {
        let out = bench.command(args).output().unwrap();
        (out.status.code(), String::from_utf8(out.stdout).unwrap(), String::from_utf8(out.stderr).unwrap())
    };
    assert!(MOCK_SUITE.contains("samples = 4"));
    with("repeats = 3\nsampling = { temperature = 0.7 }", "sampling = { temperature = 0.6, top_k = 20 }");
    let (code, said, errors) = run(&["run", "suite.toml", "--dry-run", "--no-probe"]);
    assert_eq!(code, Some(0), "{errors}");
    assert!(said.contains("mock: 42 trials of 2 cells"), "{said}");
    assert!(said.contains("3 of each case, each with a seed of its own"), "{said}");
    assert!(said.contains("temperature 0.6 top_k 20") && said.contains("temperature=0.6 top_k=20"), "{said}");
    let (_, json, _) = run(&["run", "suite.toml", "--dry-run", "--no-probe", "--json"]);
    let dry: Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&dry["repeats"], dry["sampling"].as_array().unwrap().len()), (&json!(3), 2));
    assert_eq!(dry["sampling"][1]["differs"][0], "temperature 0.6 instead of 0.7");
    let (code, said, _) = run(&["validate", "suite.toml"]);
    assert!(code == Some(0) && said.contains("42 trials"), "{said}");

    // A whole run of it, and what the report says of the setting that is sampled otherwise.
    let (code, _, errors) = run(&["run", "suite.toml"]);
    assert_eq!(code, Some(0), "{errors}");
    let report = std::fs::read_to_string(bench.run_folder().join("report.md")).unwrap();
    assert!(
        report.contains("is sampled otherwise than the reference (temperature 0.6 instead of 0.7"),
        "{report}"
    );

    with("repeats = 3", "");
    let (code, _, errors) = run(&["validate", "suite.toml"]);
    assert_eq!(code, Some(2));
    assert!(
        errors.contains("repeats = 3 at temperature 0") && errors.contains("temperature = 0.7"),
        "{errors}"
    );
}
