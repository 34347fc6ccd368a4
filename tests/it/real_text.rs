//! Can a needle be found by its style alone? The real model's own surprise at single sentences says: a needle in
//! prose is as likely as the sentences around it.

#![allow(clippy::print_stdout, reason = "what a person who runs it by hand reads")]
use std::collections::BTreeSet;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use kneepoint::measure::client::{Client, Limits};
use kneepoint::measure::engine;
use kneepoint::record::{Argv, Case, Prompt};

const SUITE: &str = r#"
name = "text"
contexts = [1024]

[[model]]
name = "SmolLM2-135M-Instruct"
package = "smollm2-135m-instruct"

[reference]

[[task]]
name = "retrieval/niah_single_1"
samples = 4

[[task]]
name = "retrieval/niah_single_2"
samples = 6
"#;

/// Listed tokens a position; one outside counts as likely as the last of them.
const TOP_K: usize = 64;
/// Sentences of prose that are measured.
const SENTENCES: usize = 18;
/// Slack for other processors' rounding (nat a token).
const SLACK: f64 = 0.25;

/// A llama-server that ends with the test.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn kneepoint(dir: &std::path::Path, args: &[&str]) -> Vec<u8> {
    let out = Command::new(env!("CARGO_BIN_EXE_kneepoint")).current_dir(dir).args(args).output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    out.stdout
}

/// The reference's server, by the command that a dry run prints.
fn serve(dir: &std::path::Path) -> (Server, u16) {
    let plan = kneepoint(dir, &["run", "suite.toml", "--dry-run", "--json"]);
    let plan: serde_json::Value = serde_json::from_slice(&plan).unwrap();
    let argv: Argv = serde_json::from_value(plan["visits"][0]["argv"].clone()).unwrap();
    let port = engine::supervise::free_port().unwrap();
    let mut args = argv.args.clone();
    let at = args.iter().position(|word| word == "--port").unwrap();
    args[at + 1] = port.to_string();
    let child = Command::new(&argv.program)
        .args(args)
        .envs(argv.env.iter().map(|(name, value)| (name, value)))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    (Server(child), port)
}

/// The haystack's different sentences and the needles of a task's cases.
fn sentences(dir: &std::path::Path, task: &str) -> (Vec<String>, Vec<String>) {
    let lines = kneepoint(dir, &["cases", "suite.toml", "--task", task, "--context", "1024"]);
    let (mut hay, mut needles) = (BTreeSet::new(), Vec::new());
    for line in String::from_utf8(lines).unwrap().lines() {
        let case: Case = serde_json::from_str(line).unwrap();
        let Prompt::Chat { messages, .. } = &case.prompt else { panic!("not a chat") };
        let answer = case.target["answers"][0].as_str().unwrap();
        // The text stands between the instruction and the question.
        let parts: Vec<&str> = messages[0].content.split("\n\n").collect();
        let text = parts[1..parts.len() - 1].join(" ");
        for sentence in text.split_inclusive(". ").map(str::trim).filter(|sentence| !sentence.is_empty()) {
            if sentence.contains(answer) {
                needles.push(sentence.to_owned());
            } else {
                hay.insert(sentence.to_owned());
            }
        }
    }
    (hay.into_iter().collect(), needles)
}

/// Mean negative log-likelihood of a sentence by itself (nat a token).
async fn surprise(client: &Client, sentence: &str) -> f64 {
    let tokens = client.tokenize(sentence, false).await.unwrap();
    let positions: Vec<usize> = (1..tokens.len()).collect();
    let exchange = client.distributions(&tokens, &positions, TOP_K).await.unwrap();
    let listed = exchange.reply.distributions.unwrap().unpack().unwrap();
    let nll = |(list, token): (&Vec<(u32, f32)>, &u32)| {
        let found = list.iter().find(|(id, _)| id == token).or(list.last()).unwrap();
        -f64::from(found.1)
    };
    let total: f64 = listed.iter().zip(&tokens[1..]).map(nll).sum();
    total / positions.len() as f64
}

#[test]
fn a_needle_in_prose_is_as_likely_as_the_sentences_around_it() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("suite.toml"), SUITE).unwrap();
    let (prose, needles) = sentences(dir.path(), "retrieval/niah_single_2");
    let (noise, _) = sentences(dir.path(), "retrieval/niah_single_1");
    assert!(noise.len() < 8 && prose.len() > 100, "{} of noise, {} of prose", noise.len(), prose.len());

    let (server, port) = serve(dir.path());
    let endpoints = engine::find("llama.cpp").unwrap().endpoints();
    let address = format!("http://127.0.0.1:{port}");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let client = Client::new(&address, endpoints, Limits::default()).unwrap();
        for _ in 0..240 {
            if client.healthy().await {
                break;
            }
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
        let step = prose.len() / SENTENCES;
        let mut of_prose = Vec::new();
        for sentence in prose.iter().step_by(step) {
            of_prose.push(surprise(&client, sentence).await);
        }
        let least = of_prose.iter().copied().fold(f64::INFINITY, f64::min) - SLACK;
        let most = of_prose.iter().copied().fold(0.0, f64::max) + SLACK;
        for needle in &needles {
            let value = surprise(&client, needle).await;
            println!("{value:.2} nat a token in {least:.2}..{most:.2}: {needle}");
            assert!((least..=most).contains(&value), "{needle}: {value:.2} not in {least:.2}..{most:.2}");
        }
    });
    drop(server);
}
