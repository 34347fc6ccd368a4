//! `kld-base`: a served setting beside a base file of llama-perplexity.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use kneepoint::measure::client::{Client, Limits};
use kneepoint::measure::engine;
use kneepoint::measure::engine::supervise;
use kneepoint::record::Argv;

use crate::common::{KNEEPOINT, MockServer};

fn kld_base(file: &Path, url: &str, more: &[&str]) -> Output {
    let file = file.to_str().unwrap();
    Command::new(KNEEPOINT)
        .args(["kld-base", file, "--url", url])
        .args(more)
        .env("NO_COLOR", "1")
        .output()
        .unwrap()
}

fn said(out: &Output) -> String {
    String::from_utf8_lossy(&out.stderr).into_owned()
}

/// A base file as llama-perplexity writes it; `row` gives the log-probabilities after so many tokens of a chunk.
fn base(chunk: usize, vocabulary: usize, tokens: &[u32], row: impl Fn(usize, usize) -> Vec<f64>) -> Vec<u8> {
    let mut out = b"_logits_".to_vec();
    for number in [chunk, vocabulary, tokens.len() / chunk] {
        out.extend((number as u32).to_le_bytes());
    }
    tokens.iter().for_each(|token| out.extend(token.to_le_bytes()));
    for number in 0..tokens.len() / chunk {
        for position in chunk / 2 + 1..chunk {
            let logs = row(number, position);
            let most = logs.iter().copied().fold(f64::MIN, f64::max);
            let least = logs.iter().copied().fold(f64::MAX, f64::min).max(most - 16.0);
            let scale = ((most - least) / 65_535.0) as f32;
            out.extend(scale.to_le_bytes());
            out.extend((least as f32).to_le_bytes());
            for log in &logs {
                out.extend((((log - least).max(0.0) / f64::from(scale)).round() as u16).to_le_bytes());
            }
            out.extend(std::iter::repeat_n(0_u8, vocabulary % 2 * 2));
        }
    }
    out
}

/// More or less probable by the id of the token.
fn slope(vocabulary: usize) -> Vec<f64> {
    let weights: Vec<f64> = (0..vocabulary).map(|id| 1.0 / (id + 2) as f64).collect();
    let sum: f64 = weights.iter().sum();
    weights.iter().map(|weight| (weight / sum).ln()).collect()
}

fn write(dir: &Path, bytes: &[u8]) -> PathBuf {
    let path = dir.join("base.kld");
    std::fs::write(&path, bytes).unwrap();
    path
}

#[test]
fn a_base_is_read_and_what_cannot_be_compared_is_refused() {
    let mock = MockServer::start("--decode-ms 0");
    let url = mock.url.clone();
    let dir = tempfile::tempdir().unwrap();
    let tokens: Vec<u32> = (0..24).map(|id| id * 31 % 40).collect();
    let bytes = base(12, 32_768, &tokens, |_, _| slope(32_768));
    let out = kld_base(&write(dir.path(), &bytes), &url, &["--json", "--top-k", "32"]);
    assert_eq!(out.status.code(), Some(0), "{}", said(&out));
    let figures: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!((&figures["positions"], &figures["chunks"]), (&10.into(), &2.into()));
    assert!(
        figures["kld"].as_f64().unwrap() > 1.0 && figures["unlisted"].as_f64().unwrap() > 0.5,
        "{figures}"
    );
    assert!(said(&out).contains("chunk 2 of 2: at least"), "{}", said(&out));
    let schema = Command::new(KNEEPOINT).args(["schema", "kld-base"]).output().unwrap();
    let schema: serde_json::Value = serde_json::from_slice(&schema.stdout).unwrap();
    assert!(jsonschema::draft202012::is_valid(&schema, &figures), "{figures}");
    let text = kld_base(&dir.path().join("base.kld"), &url, &["--chunks", "1"]);
    let text = String::from_utf8_lossy(&text.stdout).into_owned();
    assert!(
        text.contains("1 chunks of 12 tokens, 5 positions, 256 tokens listed") && text.contains("at least"),
        "{text}"
    );

    let cut = &bytes[..bytes.len() - 1];
    for (bytes, more, code, words) in [
        (cut, &[][..], 2, "cut off: it holds 1 of its 2 chunks"),
        (cut, &["--chunks", "2"], 2, "holds 1 whole chunks"),
        (cut, &["--chunks", "1"], 0, ""),
        (b"_logits_ and more", &[], 2, "no base file is so short"),
        (b"GGUF\x03\0\0\0aaaabbbbccccdddd", &[], 2, "does not begin with `_logits_`"),
        (&base(12, 40, &tokens, |_, _| slope(40)), &[], 2, "beyond the base's vocabulary of 40"),
        (&base(16_384, 41, &[7; 16_384], |_, _| slope(41)), &[], 2, "the server's context has"),
    ] {
        let out = kld_base(&write(dir.path(), bytes), &url, more);
        assert_eq!(out.status.code(), Some(code), "{words}: {}", said(&out));
        assert!(said(&out).contains(words), "{words}: {}", said(&out));
    }
    let out = kld_base(&dir.path().join("base.kld"), "http://127.0.0.1:9", &[]);
    assert_eq!(out.status.code(), Some(101), "{}", said(&out));
}

/// ik_llama.cpp lists token ids at another address than llama.cpp, and fails on pieces of characters.
#[test]
fn a_server_in_ik_llamas_words_is_compared_and_what_it_cannot_write_is_left_out() {
    let dir = tempfile::tempdir().unwrap();
    let tokens: Vec<u32> = (0..24).map(|id| id * 31 % 40).collect();
    let file = write(dir.path(), &base(12, 32_768, &tokens, |_, _| slope(32_768)));
    let compared = |mock: &str| {
        let mock = MockServer::start(&format!("--decode-ms 0 {mock}"));
        let out = kld_base(&file, &mock.url, &["--json", "--top-k", "32"]);
        assert_eq!(out.status.code(), Some(0), "{}", said(&out));
        serde_json::from_slice::<serde_json::Value>(&out.stdout).unwrap()
    };
    let plain = compared("");
    let ik = compared("--like ik-llama");
    assert_eq!((&ik["kld"], &ik["unlistable"]), (&plain["kld"], &0.into()));
    // Each way is tried once; the third request is the first chunk's band, which is then asked for one by one.
    let band = compared("--like ik-llama --fault unwritable@3");
    assert_eq!((&band["kld"], &band["unlistable"]), (&plain["kld"], &0.into()));
    // One position is asked again for a whole character.
    let whole = compared("--like ik-llama --fault unwritable@3-4");
    assert_eq!((&whole["kld"], &whole["unlistable"]), (&plain["kld"], &0.into()));
    // The band and its first position twice, the same of its first half, and that position by itself, twice.
    let one = compared("--like ik-llama --fault unwritable@3-10");
    assert_eq!((&one["positions"], &one["unlistable"]), (&9.into(), &1.into()), "{one}");
    assert!(one["notes"].to_string().contains("a piece of a character: 1 of all positions"), "{one}");
    let mock = MockServer::start("--decode-ms 0 --like ik-llama --fault unwritable@3-999");
    let out = kld_base(&file, &mock.url, &[]);
    assert!(out.status.code() == Some(1) && said(&out).contains("could list no position"), "{}", said(&out));
    // One that lists no ids in either way.
    let openai = MockServer::start("--like openai");
    let out = kld_base(&file, &openai.url, &["--served-model", "mock"]);
    assert_ne!(out.status.code(), Some(0));
}

const SUITE: &str = r#"
name = "served"
contexts = [512]
rounds = 1
[engine]
threads = 1
[[model]]
name = "SmolLM2-135M-Instruct"
package = "smollm2-135m-instruct"
[reference]
[[task]]
name = "retrieval/niah_single_1"
samples = 1
"#;

/// A server that ends with the test.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The packaged server with SmolLM2, by the command that a dry run prints.
fn serve(dir: &Path) -> (Server, String) {
    std::fs::write(dir.join("suite.toml"), SUITE).unwrap();
    let plan = Command::new(KNEEPOINT)
        .current_dir(dir)
        .args(["run", "suite.toml", "--dry-run", "--no-probe", "--json"])
        .output();
    let plan: serde_json::Value = serde_json::from_slice(&plan.unwrap().stdout).unwrap();
    let argv: Argv = serde_json::from_value(plan["visits"][0]["argv"].clone()).unwrap();
    let port = supervise::free_port().unwrap();
    let mut args = argv.args.clone();
    let at = args.iter().position(|word| word == "--port").unwrap();
    args[at + 1] = port.to_string();
    let mut command = Command::new(&argv.program);
    command.args(args).envs(argv.env.iter().map(|(name, value)| (name, value)));
    let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    (Server(child), format!("http://127.0.0.1:{port}"))
}

/// The `K` most probable tokens behind each position of two chunks of a text, and the text's tokens.
fn listed(url: &str, chunk: usize, top_k: usize) -> (Vec<u32>, Vec<Vec<(u32, f32)>>) {
    let endpoints = engine::find("llama.cpp").unwrap().endpoints();
    let client = Client::new(url, endpoints, Limits::default()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        for _ in 0..240 {
            if client.healthy().await {
                break;
            }
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
        let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap();
        let mut tokens = client.tokenize(&text, false).await.unwrap();
        tokens.truncate(chunk * 2);
        let positions: Vec<usize> = (chunk / 2 + 1..chunk).collect();
        let mut lists = Vec::new();
        for part in tokens.chunks(chunk) {
            let answered = client.distributions(part, &positions, top_k).await.unwrap();
            lists.extend(answered.reply.distributions.unwrap().unpack().unwrap());
        }
        (tokens, lists)
    })
}

/// A whole distribution: what is not listed shares what is left.
fn whole(listed: &[(u32, f32)], vocabulary: usize) -> Vec<f64> {
    let named: f64 = listed.iter().map(|(_, log)| f64::from(*log).exp()).sum();
    let rest = ((1.0 - named).max(1e-9) / (vocabulary - listed.len()) as f64).ln();
    let mut logs = vec![rest; vocabulary];
    listed.iter().for_each(|(token, log)| logs[*token as usize] = f64::from(*log));
    logs
}

#[test]
fn a_real_server_is_at_no_distance_from_its_own_base_and_at_one_from_another() {
    const VOCABULARY: usize = 49_152;
    let dir = tempfile::tempdir().unwrap();
    let (_server, url) = serve(dir.path());
    let chunk = 32;
    let (tokens, lists) = listed(&url, chunk, 1000);
    let rows = chunk - chunk / 2 - 1;
    let own = base(chunk, VOCABULARY, &tokens, |number, position| {
        whole(&lists[number * rows + position - chunk / 2 - 1], VOCABULARY)
    });
    let figures = |bytes: &[u8]| -> serde_json::Value {
        let out = kld_base(&write(dir.path(), bytes), &url, &["--json"]);
        assert_eq!(out.status.code(), Some(0), "{}", said(&out));
        serde_json::from_slice(&out.stdout).unwrap()
    };
    let number = |figures: &serde_json::Value, name: &str| figures[name].as_f64().unwrap();
    let same = figures(&own);
    assert!(number(&same, "kld") < 1e-3 && number(&same, "unlisted") < 0.5, "{same}");
    assert_eq!(number(&same, "same_top"), 1.0);
    // What is not listed is the least that it can be.
    assert!(
        number(&same, "perplexity") <= number(&same, "base_perplexity") && number(&same, "outside") > 0.0
    );
    // The same rows one position late are those of other texts.
    let late = base(chunk, VOCABULARY, &tokens, |number, position| {
        let at = number * rows + position - chunk / 2 - 1;
        whole(&lists[(at + lists.len() - 1) % lists.len()], VOCABULARY)
    });
    assert!(number(&figures(&late), "kld") > 0.5);

    let other = base(chunk, 40, &[7; 32], |_, _| slope(40));
    let out = kld_base(&write(dir.path(), &other), &url, &[]);
    assert_eq!(out.status.code(), Some(2));
    assert!(
        said(&out).contains("another vocabulary: 40 tokens, the served model has 49152"),
        "{}",
        said(&out)
    );
}
