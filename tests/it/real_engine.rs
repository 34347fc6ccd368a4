//! A two-cell suite on the real llama-server with the real model, both fetched by kneepoint itself.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use kneepoint::measure::client::{Client, Conversation, Limits};
use kneepoint::measure::engine;
use kneepoint::measure::engine::supervise;
use kneepoint::record::suite::Sampling;
use kneepoint::record::{Argv, ForcedForm, Message, token_lengths};

const SUITE: &str = r#"
name = "two-cells"
contexts = [512]
rounds = 1
objectives = ["kld", "decode", "memory"]

[[model]]
name = "SmolLM2-135M-Instruct"
package = "smollm2-135m-instruct"

[reference]
kv = "f16"

[[setting]]
kv = "q8_0"

[[setting]]
kv = "q4_0"

[[task]]
name = "retrieval/niah_single_1"
samples = 1
[task.options]
output_tokens = 16

[[task]]
name = "coherence/kld"
samples = 1
[task.options]
positions = 24
top_k = 32

[[task]]
name = "tools/arguments"
samples = 1
arms = ["native", "constrained"]
"#;

/// Runs a suite in a folder of its own.
fn run(suite: &str) -> (tempfile::TempDir, std::process::Output) {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("suite.toml"), suite).unwrap();
    let out = Command::new(env!("CARGO_BIN_EXE_kneepoint"))
        .current_dir(dir.path())
        .args(["run", "suite.toml", "--json"])
        .env_remove("KNEEPOINT_RUNS_DIR")
        .output()
        .unwrap();
    (dir, out)
}

/// The right answers are forced, four questions to a text, with and without speculation, whose accepted tokens have no
/// probability of their own.
#[test]
fn answers_are_scored_by_their_probability_over_a_kept_text() {
    const SUITE: &str = r#"
name = "by-probability"
contexts = [512]
rounds = 1
[[model]]
name = "SmolLM2-135M-Instruct"
package = "smollm2-135m-instruct"
[reference]
kv = "f16"
[[setting]]
kv = "q4_0"
[[setting]]
speculation = "ngram-simple"
[[task]]
name = "retrieval/niah_multikey_2"
samples = 4
questions = 4
score = "probability"
options.output_tokens = 16
[[task]]
name = "serving/speed"
samples = 1
options.output_tokens = 16
"#;
    let (dir, out) = run(SUITE);
    assert_eq!(out.status.code(), Some(0), "{}", String::from_utf8_lossy(&out.stderr));
    let run = std::fs::read_dir(dir.path().join("runs")).unwrap().next().unwrap().unwrap().path();
    let journal = kneepoint::record::journal::load(&run).unwrap();
    let of = |setting: &str, replicate: u32| -> Vec<&kneepoint::record::Trial> {
        let trials = journal.trials.iter().filter(|trial| trial.key.task == "retrieval/niah_multikey_2");
        trials.filter(|trial| trial.key.setting == setting && trial.key.replicate == replicate).collect()
    };
    let qualities = |trials: &[&kneepoint::record::Trial]| -> Vec<f64> {
        trials.iter().map(|trial| trial.outcome.score().unwrap().quality.unwrap()).collect()
    };
    let figure = |trial: &kneepoint::record::Trial, name: &str| {
        trial.measured(name, kneepoint::record::Source::Engine).unwrap()
    };
    let reference = of("Q4_1 kv=f16", 0);
    let scores = qualities(&reference);
    assert_eq!(scores.len(), 4);
    assert!(scores.iter().all(|score| *score > 0.0 && *score < 1.0), "{scores:?}");
    // One server, one order of requests, greedy or not: the second visit is the first to the last digit.
    assert_eq!(qualities(&of("Q4_1 kv=f16", 1)), scores);
    // Speculation changes which tokens are computed together, not the probabilities.
    let drafted = qualities(&of("Q4_1 kv=f16 spec=ngram-simple", 0));
    assert!(scores.iter().zip(&drafted).all(|(a, b)| (a - b).abs() < 0.02), "{scores:?} {drafted:?}");
    assert!(qualities(&of("Q4_1 kv=q4_0", 0)) != scores);
    // The first question to the text is cold, the others find all of it in the cache.
    assert_eq!(figure(reference[0], "cached_tokens"), 0.0);
    for trial in &reference[1..] {
        let case = journal.cases.iter().find(|case| case.id == trial.case).unwrap();
        assert!(figure(trial, "cached_tokens") >= f64::from(case.shared_tokens), "{case:?}");
        assert!(figure(trial, "computed_tokens") * 4.0 < figure(reference[0], "computed_tokens"));
    }
    // The journal alone gives the same scores again.
    let again = Command::new(env!("CARGO_BIN_EXE_kneepoint"))
        .current_dir(dir.path())
        .args(["score", "latest"])
        .env_remove("KNEEPOINT_RUNS_DIR")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&again.stderr);
    assert!(said.contains(" 0 with another judgement"), "{said}");
    // Speed comes from cases of its own.
    let speed = journal.trials.iter().find(|trial| trial.key.task == "serving/speed").unwrap();
    assert!(speed.measured("ttft_s", kneepoint::record::Source::Client).unwrap() > 0.0);
    assert_eq!(reference[0].measured("ttft_s", kneepoint::record::Source::Client), None);
}

/// The settings are asked what the reference's first visit chose, and nothing else counts.
#[test]
fn the_reference_chooses_the_cases_of_the_others() {
    const SUITE: &str = r#"
name = "chosen"
contexts = [512]
rounds = 2
[[model]]
name = "SmolLM2-135M-Instruct"
package = "smollm2-135m-instruct"
[reference]
kv = "f16"
[[setting]]
kv = "q8_0"
[[task]]
name = "retrieval/niah_multikey_2"
samples = 16
questions = 8
score = "probability"
window = [0.05, 0.5]
options.output_tokens = 16
"#;
    let (dir, out) = run(SUITE);
    let said = String::from_utf8_lossy(&out.stderr);
    assert_eq!(out.status.code(), Some(0), "{said}");
    let run = std::fs::read_dir(dir.path().join("runs")).unwrap().next().unwrap().unwrap().path();
    let journal = kneepoint::record::journal::load(&run).unwrap();
    let asked = |setting: &str, replicate: u32, within: Option<std::ops::RangeInclusive<f64>>| -> Vec<u32> {
        let visit = journal
            .trials
            .iter()
            .filter(|trial| trial.key.setting == setting && trial.key.replicate == replicate);
        let quality = |trial: &kneepoint::record::Trial| trial.outcome.score().unwrap().quality.unwrap();
        let wanted =
            visit.filter(|trial| within.as_ref().is_none_or(|range| range.contains(&quality(trial))));
        let mut indices: Vec<u32> = wanted.map(|trial| trial.key.index).collect();
        indices.sort_unstable();
        indices
    };
    assert_eq!(asked("Q4_1 kv=f16", 0, None).len(), 16, "the reference is asked everything");
    let chosen = asked("Q4_1 kv=f16", 0, Some(0.05..=0.5));
    assert!(!chosen.is_empty() && chosen.len() < 16, "{chosen:?}");
    assert_eq!(asked("Q4_1 kv=q8_0", 0, None), chosen);
    assert_eq!(asked("Q4_1 kv=f16", 1, None), chosen);
    let summary: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!(summary["planned"], summary["done"]);
    let row = &summary["selection"][0];
    assert_eq!((row["chosen"].as_u64(), row["of"].as_u64()), (Some(chosen.len() as u64), Some(16)));
    let cells = summary["cells"].as_array().unwrap();
    assert!(cells.iter().all(|cell| cell["quality"]["n"].as_u64() == Some(chosen.len() as u64)), "{cells:?}");
    assert!(cells.iter().all(|cell| (0.05..0.5).contains(&cell["quality"]["value"].as_f64().unwrap())));
    let report = std::fs::read_to_string(run.join("report.md")).unwrap();
    assert!(report.contains(&format!("compared on {} of 16 cases", chosen.len())), "{report}");
    counts_leave_out_what_is_not_asked(dir.path(), &run, chosen.len());
}

/// Goes on from the reference's first visit of a finished run: what it did not choose leaves the total once.
fn counts_leave_out_what_is_not_asked(dir: &Path, run: &Path, chosen: usize) {
    let path = run.join("journal.jsonl");
    let journal = std::fs::read_to_string(&path).unwrap();
    let later = |line: &&str| line.starts_with(r#"{"launch""#) && line.contains(r#""replicate":1"#);
    let first_visit: String =
        journal.lines().take_while(|line| !later(line)).map(|line| format!("{line}\n")).collect();
    assert!(first_visit.matches(r#"{"trial""#).count() >= 8, "{first_visit}");
    std::fs::write(&path, first_visit).unwrap();
    let out = Command::new(env!("CARGO_BIN_EXE_kneepoint"))
        .current_dir(dir)
        .args(["resume", run.to_str().unwrap()])
        .env("KNEEPOINT_STATUS_SECONDS", "0.2")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&out.stderr);
    assert_eq!(out.status.code(), Some(0), "{said}");
    let counts: Vec<(usize, usize)> = said
        .lines()
        .filter_map(|line| line.split_once(" trials after ")?.0.rsplit_once(" of "))
        .map(|(done, total)| (done.trim().parse().unwrap(), total.parse().unwrap()))
        .collect();
    assert!(counts.iter().all(|(done, total)| done <= total), "{counts:?}");
    assert_eq!(counts.last().map(|(_, total)| *total), Some(16 + 2 * chosen), "{counts:?}");
}

/// Answers of many tokens, which a damaged model would spell otherwise if it were left to choose: all have a score.
#[test]
fn conversations_walks_and_calls_are_scored_by_their_probability() {
    const SUITE: &str = r#"
name = "forced"
contexts = [1536]
rounds = 1
[[model]]
name = "SmolLM2-135M-Instruct"
package = "smollm2-135m-instruct"
[reference]
kv = "f16"
[[setting]]
kv = "q4_0"
[[task]]
name = "coherence/state_ledger"
samples = 3
questions = 3
score = "probability"
[[task]]
name = "retrieval/graph_walks"
samples = 1
score = "probability"
[[task]]
name = "tools/selection"
samples = 1
score = "probability"
options.tools = 2
[[task]]
name = "tools/abstention"
samples = 1
score = "probability"
"#;
    let (dir, out) = run(SUITE);
    let said = String::from_utf8_lossy(&out.stderr);
    assert_eq!(out.status.code(), Some(0), "{said}");
    let run = std::fs::read_dir(dir.path().join("runs")).unwrap().next().unwrap().unwrap().path();
    let journal = kneepoint::record::journal::load(&run).unwrap();
    assert_eq!(journal.trials.len(), 6 * 3);
    for trial in &journal.trials {
        let quality = trial.outcome.score().and_then(|score| score.quality);
        assert!(
            quality.is_some_and(|quality| quality > 0.0 && quality < 1.0),
            "{:?} {:?}",
            trial.key,
            trial.outcome
        );
    }
    // A longer part of one conversation finds the shorter one in the cache.
    let turns = journal.trials.iter().filter(|trial| trial.key.task == "coherence/state_ledger");
    let later = turns.filter(|trial| trial.key.index > 0);
    for trial in later {
        let case = journal.cases.iter().find(|case| case.id == trial.case).unwrap();
        let cached = trial.measured("cached_tokens", kneepoint::record::Source::Engine).unwrap();
        assert!(cached >= f64::from(case.shared_tokens), "{cached} of {case:?}");
    }
}

#[test]
fn the_main_job_runs_on_a_real_server() {
    let (dir, out) = run(SUITE);
    let said = String::from_utf8_lossy(&out.stderr);
    assert_eq!(out.status.code(), Some(0), "{said}");
    let summary: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
    let cell = |label: &str| -> serde_json::Value {
        let cells = summary["cells"].as_array().unwrap();
        cells
            .iter()
            .find(|cell| cell["setting"] == label)
            .unwrap_or_else(|| panic!("{label}: {cells:?}"))
            .clone()
    };
    let (f16, q8, q4) = (cell("Q4_1 kv=f16"), cell("Q4_1 kv=q8_0"), cell("Q4_1 kv=q4_0"));

    // The server runs what was asked, read back from its own words.
    for (cell, kind) in [(&f16, "f16"), (&q8, "q8_0"), (&q4, "q4_0")] {
        assert_eq!(cell["effective"]["k"], kind);
        assert_eq!(cell["effective"]["v"], kind);
        assert_eq!(cell["effective"]["flash_attention"], true);
        assert_eq!(cell["effective"]["context"], 512);
        assert!(cell["memory"]["peak_rss_bytes"].as_u64().unwrap() > 50_000_000);
        assert!(cell["decode_tps"]["value"].as_f64().unwrap() > 0.0);
        assert!(cell["prefill_tps"]["value"].as_f64().unwrap() > 0.0);
        // 98.5 MB of weights, all but the table of the input that it does not have apart; the cache beside them.
        let roofline = &cell["roofline"];
        assert!(roofline["weights_bytes"].as_u64().unwrap().abs_diff(96_000_000) < 4_000_000, "{roofline}");
        assert_eq!(roofline["kv_bytes"], cell["memory"]["kv_bytes"], "the context is the whole cache");
        // Not how large it is: a machine that others use may decode a hundred times slower than it reads.
        let (part, decode) =
            (|name: &str| roofline[name].as_f64().unwrap(), cell["decode_tps"]["value"].as_f64().unwrap());
        let share = (part("weights_bytes") + part("kv_bytes")) * decode / part("bandwidth");
        assert!(
            (part("share") / share - 1.0).abs() < 1e-9 && roofline["source"] == "measured",
            "{roofline} at {decode}"
        );
    }
    // 30 layers x 3 heads x 64 x 512 positions x 2 bytes, K and V; the log rounds each to 0.01 MiB.
    let kv_bytes = |cell: &serde_json::Value| cell["memory"]["kv_bytes"].as_u64().unwrap();
    assert!(kv_bytes(&f16).abs_diff(30 * 3 * 64 * 512 * 2 * 2) <= 2 * 5_300, "{}", kv_bytes(&f16));
    assert!(kv_bytes(&q4) < kv_bytes(&q8) && kv_bytes(&q8) < kv_bytes(&f16));

    // The same build on the same tokens is exactly itself; q8_0 is clearly nearer than q4_0.
    assert_eq!(summary["aa"][0]["max_kld"].as_f64(), Some(0.0));
    let kld = |cell: &serde_json::Value| cell["kld"]["mean"]["value"].as_f64().unwrap();
    assert!(kld(&q8) > 0.0 && kld(&q8) < kld(&q4) / 2.0, "q8_0 {} q4_0 {}", kld(&q8), kld(&q4));

    // SmolLM2's template drops the tools: said so, not scored 0.
    let tasks = summary["tasks"].as_array().unwrap();
    for arm in ["native", "constrained"] {
        let row = tasks.iter().find(|task| task["arm"] == arm).unwrap();
        assert_eq!(row["unscored"]["the chat template drops the tools"], 1, "{row}");
        assert_eq!(row["scored"], 0, "{row}");
    }

    // The commands that `pick` prints to serve with are taken by the real server's own parser, and serve.
    for objective in ["decode", "memory"] {
        let args = ["pick", "--context", "512", "--min-quality", "0", "--objective", objective, "--json"];
        let pick = kneepoint(dir.path(), &args);
        let command = pick["serve_command"].as_str().unwrap();
        assert!(command.contains("--port 8080") && !command.contains("--cache-ram"), "{command}");
        let port = supervise::free_port().unwrap();
        let child = Command::new("sh")
            .args(["-c", &executed(&command.replace("--port 8080", &format!("--port {port}")))])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut server = Server(child);
        assert!(comes_up(port), "{command}");
        assert!(server.0.try_wait().unwrap().is_none(), "{command}");
    }
}

/// A printed command that takes the shell's place: `exec` comes behind the variables that it is given.
fn executed(command: &str) -> String {
    let given = command.split(' ').take_while(|word| word.contains('=')).map(|word| word.len() + 1);
    let (variables, rest) = command.split_at(given.sum());
    format!("{variables}exec {rest}")
}

/// A llama-server that ends with the test.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn kneepoint(dir: &Path, args: &[&str]) -> serde_json::Value {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kneepoint"));
    let out = command.current_dir(dir).args(args).env_remove("KNEEPOINT_RUNS_DIR").output().unwrap();
    assert_eq!(out.status.code(), Some(0), "{}", String::from_utf8_lossy(&out.stderr));
    serde_json::from_slice(&out.stdout).unwrap()
}

/// The reference's server of [`SUITE`], by the command that a dry run prints, and with more arguments.
fn serve(dir: &Path, more: &[&str]) -> (Server, u16) {
    std::fs::write(dir.join("suite.toml"), SUITE).unwrap();
    let plan = kneepoint(dir, &["run", "suite.toml", "--dry-run", "--json"]);
    let argv: Argv = serde_json::from_value(plan["visits"][0]["argv"].clone()).unwrap();
    let port = supervise::free_port().unwrap();
    let mut args = argv.args.clone();
    let at = args.iter().position(|word| word == "--port").unwrap();
    args[at + 1] = port.to_string();
    let child = Command::new(&argv.program)
        .args(args)
        .args(more)
        .envs(argv.env.iter().map(|(name, value)| (name, value)))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let server = Server(child);
    comes_up(port);
    (server, port)
}

fn client_of(port: u16) -> Client {
    let endpoints = engine::find("llama.cpp").unwrap().endpoints();
    Client::new(&format!("http://127.0.0.1:{port}"), endpoints, Limits::default()).unwrap()
}

/// Whether a server answers on the port within a minute.
fn comes_up(port: u16) -> bool {
    let client = client_of(port);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        for _ in 0..240 {
            if client.healthy().await {
                return true;
            }
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
        false
    })
}

/// What an attached run makes of the server, under this name.
fn attached(dir: &Path, engine: &str, port: u16) -> serde_json::Value {
    let text = format!(
        r#"
name = "attached"
contexts = [512]
rounds = 1
draws = 200

[engine]
name = "{engine}"
url = "http://127.0.0.1:{port}/v1"

[[model]]
name = "SmolLM2"
weights = "Q4_1"

[reference]

[[task]]
name = "retrieval/niah_single_1"
samples = 1
options.output_tokens = 16

[[task]]
name = "coherence/kld"
samples = 1
options.positions = 8
options.top_k = 8

[[task]]
name = "tools/arguments"
samples = 1
arms = ["native"]
options.output_tokens = 64
"#
    );
    std::fs::write(dir.join("attached.toml"), text).unwrap();
    kneepoint(dir, &["run", "attached.toml", "--json"])
}

#[test]
fn a_real_server_is_attached_under_its_own_name_and_as_any() {
    let dir = tempfile::tempdir().unwrap();
    let (mut server, port) = serve(dir.path(), &[]);
    let known = attached(dir.path(), "llama.cpp", port);
    let any = attached(dir.path(), "openai", port);
    assert!(server.0.try_wait().unwrap().is_none(), "it is left running");
    let row = |summary: &serde_json::Value, task: &str| -> serde_json::Value {
        summary["tasks"].as_array().unwrap().iter().find(|row| row["task"] == task).unwrap().clone()
    };
    for summary in [&known, &any] {
        let cell = &summary["cells"][0];
        assert_eq!(row(summary, "retrieval/niah_single_1")["scored"], 1, "{summary}");
        assert!(cell["memory"]["peak_rss_bytes"].as_u64().unwrap() > 50_000_000, "{cell}");
        assert!(cell["decode_tps"]["value"].as_f64().unwrap() > 0.0);
        // The template drops the tools: seen in the prompt's text by the one, in its length by the other.
        let tools = row(summary, "tools/arguments");
        assert_eq!(tools["unscored"]["the chat template drops the tools"], 1, "{tools}");
    }
    assert_eq!(row(&known, "coherence/kld")["scored"], 1);
    assert_eq!(row(&any, "coherence/kld")["scored"], 0);
    assert_eq!(known["aa"][0]["max_kld"].as_f64(), Some(0.0));
    assert_eq!(known["cells"][0]["effective"]["context"], 512);
    assert!(any["warnings"].to_string().contains("not sent: top_k"), "{}", any["warnings"]);
}

/// What is noted of a reply's tokens is what the server's own tokenizer makes of the text, also where tokens were drafted and
/// where one holds a part of a character.
#[test]
fn a_real_server_sends_every_token_by_itself() {
    const DRAFTS: &[&str] = &[
        "--spec-type",
        "ngram-simple",
        "--spec-ngram-simple-size-n",
        "3",
        "--spec-ngram-simple-size-m",
        "8",
    ];
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    for more in [&[], DRAFTS] {
        let dir = tempfile::tempdir().unwrap();
        let (_server, port) = serve(dir.path(), more);
        let client = client_of(port);
        for (asked, has_split) in [
            ("Count from one to twenty, then again, and again.", false),
            ("Say hello in Japanese, Russian and with emoji.", true),
        ] {
            let messages = [Message::user(asked)];
            let (answered, counted) = runtime.block_on(async {
                let sampling = Sampling::default();
                let answered = client.chat(&Conversation::of(&messages), &sampling, 96).await.unwrap();
                let counted = client.tokenize(&answered.reply.text(), false).await.unwrap().len();
                (answered, counted)
            });
            let reply = answered.reply;
            let text = reply.text();
            let pieces = token_lengths::read(&reply.token_lengths, &text);
            let said: String = pieces.iter().map(|piece| &text[piece.bytes.clone()]).collect();
            assert_eq!(said, text);
            let tokens: usize = pieces.iter().map(|piece| piece.tokens as usize).sum();
            assert_eq!(tokens, counted, "{text}");
            assert!(tokens > 20 && reply.drafts.is_some() != more.is_empty(), "{more:?}: {reply:?}");
            let split: Vec<_> = pieces.iter().filter(|piece| piece.tokens > 1).collect();
            assert_eq!(!split.is_empty(), has_split, "{text}");
            for piece in split {
                assert_eq!(text[piece.bytes.clone()].trim().chars().count(), 1, "{piece:?} of {text}");
            }
        }
    }
}

/// A token that is a piece of a character has no list of its own (llama-server 10068 and 11549), and ends a grammar of tokens: the first is
/// asked for otherwise, and the second says nothing of other answers.
#[test]
fn a_real_server_lists_what_follows_pieces_of_characters() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let (_server, port) = serve(dir.path(), &[]);
    let client = client_of(port);
    runtime.block_on(async {
        let text = "Party time 🎉🎉 and food 🥕 日本語のテキスト with words";
        let tokens = client.tokenize(text, false).await.unwrap();
        assert!(
            tokens.len() > text.chars().filter(char::is_ascii).count() / 4 + 10,
            "emoji are several tokens each"
        );
        let positions: Vec<usize> = (2..tokens.len()).collect();
        let answered = client.distributions(&tokens, &positions, 8).await.unwrap();
        let lists = answered.reply.distributions.unwrap().unpack().unwrap();
        assert_eq!(lists.len(), positions.len());
        assert!(lists.iter().all(|list| list.len() == 8), "{lists:?}");

        let messages = [Message::user("What do you bring?"), Message::prefill("I bring")];
        for (said, by_tokens) in [(" 🥕🎉", false), (" Paris", true)] {
            let tokens = client.tokenize(said, false).await.unwrap();
            let form = ForcedForm { text: said.to_owned(), tokens: tokens.clone() };
            let forced = client.force(&Conversation::of(&messages), &form, 32).await;
            let ids: Option<Vec<_>> =
                forced.ok().map(|told| told.forced.tokens.iter().filter_map(|token| token.id).collect());
            assert_eq!(ids == Some(tokens), by_tokens, "{said}: {ids:?}");
        }
    });
}
