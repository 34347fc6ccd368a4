//! Servers that run already: found by their address, measured, and left as they are.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use kneepoint::measure::client::wire;
use kneepoint::measure::client::{Client, Conversation, Limits, abilities};
use kneepoint::measure::engine::Endpoints;
use kneepoint::record::suite::Sampling;
use kneepoint::record::{Message, ReadPath, Source, Tool, metric};

use crate::common::{KNEEPOINT, MockServer};

const KEY: &str = "sk-not-to-be-found-0123456789";
const KEY_NAME: &str = "KNEEPOINT_TEST_KEY";

const TASKS: &str = r#"
[[task]]
name = "retrieval/niah_single_1"
samples = 2
[task.options]
output_tokens = 16

[[task]]
name = "coherence/kld"
samples = 1
[task.options]
positions = 8
top_k = 8

[[task]]
name = "tools/arguments"
samples = 1
arms = ["native"]
"#;

fn suite(engine: &str) -> String {
    format!(
        "name = \"attached\"\ncontexts = [1024]\nrounds = 1\ndraws = 200\nobjectives = [\"quality\", \"decode\", \"memory\"]\n\
         [engine]\n{engine}\nrequest_timeout_s = 20\nidle_timeout_s = 5\nstart_timeout_s = 5\n\
         [[model]]\nname = \"mock\"\nweights = \"Q8_0\"\n[reference]\n{TASKS}"
    )
}

fn kneepoint(dir: &Path, text: &str, key: Option<&str>) -> Output {
    std::fs::write(dir.join("suite.toml"), text).unwrap();
    let mut command = Command::new(KNEEPOINT);
    command
        .current_dir(dir)
        .args(["run", "suite.toml", "--json"])
        .env("NO_COLOR", "1")
        .env_remove("KNEEPOINT_RUNS_DIR")
        .env_remove(KEY_NAME)
        .stdin(Stdio::null());
    if let Some(key) = key {
        command.env(KEY_NAME, key);
    }
    command.output().unwrap()
}

fn summary(out: &Output) -> serde_json::Value {
    serde_json::from_slice(&out.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&out.stderr)))
}

fn said(out: &Output) -> String {
    String::from_utf8_lossy(&out.stderr).into_owned()
}

/// Every file below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push(path);
        }
    }
    found
}

fn row<'a>(summary: &'a serde_json::Value, task: &str) -> &'a serde_json::Value {
    summary["tasks"].as_array().unwrap().iter().find(|row| row["task"] == task).unwrap()
}

fn warnings(summary: &serde_json::Value) -> String {
    let warnings = summary["warnings"].as_array().unwrap().iter();
    warnings.map(|warning| warning["sentence"].as_str().unwrap()).collect::<Vec<_>>().join("\n")
}

#[test]
fn a_server_with_nothing_but_openais_interface_is_measured_and_left_running() {
    let mut server =
        MockServer::start(&format!("--like openai --api-key {KEY} --decode-ms 10 --prefill-ms 0.01"));
    let dir = tempfile::tempdir().unwrap();
    let engine = format!("name = \"openai\"\nurl = \"{}/v1/\"\napi_key_env = \"{KEY_NAME}\"", server.url);
    let out = kneepoint(dir.path(), &suite(&engine), Some(KEY));
    assert_eq!(out.status.code(), Some(0), "{}", said(&out));
    assert!(server.alive());

    let summary = summary(&out);
    assert_eq!(row(&summary, "retrieval/niah_single_1")["scored"], 2);
    // No tokenizer that gives ids: said so, never a crash.
    let kld = row(&summary, "coherence/kld");
    assert_eq!(kld["scored"], 0);
    assert!(kld["unscored"].to_string().contains("no tokenizer"), "{kld}");
    let cell = &summary["cells"][0];
    assert_eq!(cell["setting"], "Q8_0");
    assert_eq!(cell["command"], serde_json::Value::Null);
    assert!(cell["decode_tps"]["value"].as_f64().unwrap() > 0.0);
    // It says nothing of its cache, so nothing counts as cold.
    assert_eq!(cell["prefill_tps"], serde_json::Value::Null);
    assert_eq!(summary["aa"].as_array().unwrap().len(), 1);
    let warnings = warnings(&summary);
    for words in [
        "was running already",
        "not sent: top_k, min_p, repeat_penalty",
        "counted by a request for one token",
        "not available: token probabilities",
    ] {
        assert!(warnings.contains(words), "{words}: {warnings}");
    }
    if cfg!(target_os = "linux") {
        assert!(cell["memory"]["peak_rss_bytes"].as_u64().unwrap() > 1_000_000, "{cell}");
    }

    // The key is nowhere: not in the run's folder, not in what was printed.
    let runs = files(&dir.path().join("runs"));
    assert!(runs.iter().any(|path| path.ends_with("journal.jsonl")), "{runs:?}");
    for path in runs {
        let bytes = std::fs::read(&path).unwrap();
        assert!(!bytes.windows(KEY.len()).any(|part| part == KEY.as_bytes()), "{}", path.display());
    }
    assert!(!said(&out).contains(KEY) && !String::from_utf8_lossy(&out.stdout).contains(KEY));
}

#[test]
fn a_wrong_key_and_a_missing_one_are_told_apart() {
    let server = MockServer::start("--like openai --api-key sk-another-0123456789");
    let dir = tempfile::tempdir().unwrap();
    let with_key =
        suite(&format!("name = \"openai\"\nurl = \"{}\"\napi_key_env = \"{KEY_NAME}\"", server.url));
    let wrong = kneepoint(dir.path(), &with_key, Some(KEY));
    assert_eq!(wrong.status.code(), Some(101), "{}", said(&wrong));
    assert!(said(&wrong).contains(&format!("does not accept the key in {KEY_NAME}")), "{}", said(&wrong));
    // The mock repeats the key in its refusal.
    assert!(
        said(&wrong).contains("incorrect key provided") && !said(&wrong).contains(KEY),
        "{}",
        said(&wrong)
    );
    let unset = kneepoint(dir.path(), &with_key, None);
    assert_eq!(unset.status.code(), Some(2), "{}", said(&unset));
    assert!(said(&unset).contains(&format!("{KEY_NAME} is not set")), "{}", said(&unset));
    let without = suite(&format!("name = \"openai\"\nurl = \"{}\"", server.url));
    let none = kneepoint(dir.path(), &without, None);
    assert_eq!(none.status.code(), Some(101), "{}", said(&none));
    assert!(said(&none).contains("api_key_env"), "{}", said(&none));
    assert!(!dir.path().join("runs").exists(), "no run was begun");
}

#[test]
fn a_known_engine_is_attached_with_all_it_can_do() {
    let mut server = MockServer::start("--decode-ms 1 --prefill-ms 0.01");
    let dir = tempfile::tempdir().unwrap();
    let out = kneepoint(dir.path(), &suite(&format!("name = \"llama.cpp\"\nurl = \"{}\"", server.url)), None);
    assert_eq!(out.status.code(), Some(0), "{}", said(&out));
    assert!(server.alive());
    let summary = summary(&out);
    assert_eq!(row(&summary, "coherence/kld")["scored"], 1);
    assert!(summary["cells"][0]["prefill_tps"]["value"].as_f64().unwrap() > 0.0);
    assert_eq!(summary["cells"][0]["effective"]["context"], 8192);
    assert!(!warnings(&summary).contains("not sent"), "{}", warnings(&summary));
    assert!(summary["engines"][0]["version"].as_str().unwrap().starts_with("kneepoint mock"));
}

#[test]
fn a_server_that_cuts_prompts_silently_voids_the_cell() {
    let server =
        MockServer::start("--like openai --context 300 --cut-prompts --decode-ms 1 --prefill-ms 0.01");
    let dir = tempfile::tempdir().unwrap();
    let out = kneepoint(dir.path(), &suite(&format!("name = \"openai\"\nurl = \"{}\"", server.url)), None);
    assert_eq!(out.status.code(), Some(101), "{}", said(&out));
    assert!(said(&out).contains("the reference does not run at 1024 tokens"), "{}", said(&out));
    let written = files(&dir.path().join("runs")).into_iter().find(|path| path.ends_with("summary.json"));
    let summary: serde_json::Value =
        serde_json::from_slice(&std::fs::read(written.expect("a report all the same")).unwrap()).unwrap();
    let void = summary["cells"][0]["void"].as_str().unwrap_or_else(|| panic!("{}", summary["cells"][0]));
    assert!(void.contains("the server read 300"), "{void}");
}

#[test]
fn a_server_that_goes_away_fails_what_it_was_asked_and_is_not_waited_for_for_ever() {
    // Ten requests and more go into finding out what it can do.
    let server = MockServer::start("--like openai --decode-ms 1 --prefill-ms 0.01 --fault exit@30");
    let dir = tempfile::tempdir().unwrap();
    let engine = format!("name = \"openai\"\nurl = \"{}\"\n", server.url);
    let text = suite(&engine).replace("start_timeout_s = 5", "start_timeout_s = 1");
    let out = kneepoint(dir.path(), &text, None);
    assert_eq!(out.status.code(), Some(106), "{}", said(&out));
    let summary = summary(&out);
    let failures = summary["failures"].to_string();
    let ways = ["did not answer", "does not answer any more", "went away"];
    assert!(ways.iter().any(|way| failures.contains(way)), "{failures}");
    assert_eq!(summary["done"], summary["planned"]);
}

const VLLM: Endpoints = Endpoints {
    health: "/health",
    chat: "/v1/chat/completions",
    completion: None,
    prompt_logprobs: Some("/v1/completions"),
    tokenize: Some("/tokenize"),
    apply_template: None,
    props: Some("/v1/models"),
    metrics: None,
};

fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

fn figure(exchange: &kneepoint::measure::client::Exchange, name: &str) -> Option<f64> {
    exchange.measurements.iter().find(|m| m.name == name && m.source == Source::Client).unwrap().value
}

#[test]
fn vllms_interface_is_spoken() {
    // Tokens far enough apart that no two arrive together on a busy machine.
    let server = MockServer::start("--like vllm --decode-ms 20 --prefill-ms 0.01");
    let client = Client::new(&server.url, VLLM, Limits::default()).unwrap();
    let client = client.speaking(&wire::Vllm).of_model("mock");
    block_on(async {
        let messages = [Message::user("How many stones are in the river?")];
        let tool = Tool {
            name: "count".into(),
            description: "Counts stones".into(),
            parameters: serde_json::json!({ "type": "object" }),
        };
        let (client, abilities) = abilities::probe(client).await.unwrap();
        assert_eq!(abilities.notes(), Vec::<String>::new());
        // What is counted is what the server reads.
        for tools in [&[][..], &[tool]] {
            let counted = client.count_chat(&messages, tools).await.unwrap();
            let conversation = Conversation { tools, ..Conversation::of(&messages) };
            let exchange = client.chat(&conversation, &Sampling::default(), 8).await.unwrap();
            assert_eq!(exchange.last["usage"]["prompt_tokens"], counted);
            assert!(figure(&exchange, metric::DECODE_TPS).is_some());
            // Cold, although the same was asked before.
            assert_eq!(exchange.last["usage"]["prompt_tokens_details"]["cached_tokens"], 0);
        }
        let talk = client.conversation();
        let cold = Conversation::of(&messages);
        let warm = Conversation { reuse_cache: true, ..cold };
        let cached = async |conversation| {
            let exchange = talk.chat(conversation, &Sampling::default(), 8).await.unwrap();
            exchange.last["usage"]["prompt_tokens_details"]["cached_tokens"].as_u64().unwrap()
        };
        assert_eq!(cached(&cold).await, 0);
        assert!(cached(&warm).await > 0);

        let ids = client.tokenize("one two three four five", false).await.unwrap();
        let exchange = client.distributions(&ids, &[1, 3], 4).await.unwrap();
        let lists = exchange.reply.distributions.unwrap().unpack().unwrap();
        assert_eq!(lists.iter().map(Vec::len).collect::<Vec<_>>(), [4, 4]);
        // By decode steps it is the same, and said to be read so.
        let at_once = client.distributions(&ids, &[2, 3], 4).await.unwrap().reply.distributions.unwrap();
        let steps =
            client.decoded_distributions(&ids, &[2, 3], 4).await.unwrap().reply.distributions.unwrap();
        assert_eq!(steps.unpack().unwrap(), at_once.unpack().unwrap());
        assert_eq!([at_once.path, steps.path], [ReadPath::Prefill, ReadPath::Decode]);
        let failure = client.decoded_distributions(&ids, &[1, 3], 4).await.unwrap_err();
        assert!(failure.unsupported && failure.message.contains("two tokens"), "{}", failure.message);
    });
}

/// Each request that forbids the cache has a salt of its own, whatever was asked before in its case; the count of a cold one is
/// left out, as vLLM does; and its tokenizer takes the whole chat.
#[test]
fn what_vllm_keeps_in_its_prefix_cache_is_measured() {
    let server = MockServer::start("--like vllm --reply 1234567 --decode-ms 1 --prefill-ms 0.02");
    let dir = tempfile::tempdir().unwrap();
    let text = suite(&format!("name = \"vllm\"\nurl = \"{}\"", server.url));
    let (head, _) = text.split_once("[[task]]").unwrap();
    let text =
        format!("{head}[[task]]\nname = \"serving/prefix_cache\"\nsamples = 7\n").replace("[1024]", "[2048]");
    let out = kneepoint(dir.path(), &text, None);
    assert_eq!(out.status.code(), Some(0), "{}", said(&out));
    let summary = summary(&out);
    let rows = summary["prefix_cache"].as_array().unwrap();
    assert_eq!(rows.len(), 7);
    for row in rows {
        assert_eq!((&row["cases"], &row["compared"]), (&1.into(), &1.into()), "{row}");
        let share = |name: &str| row[name]["value"].as_f64().unwrap_or_else(|| panic!("{name}: {row}"));
        assert!((share("possible") - share("reused")).abs() < 0.1, "{row}");
    }
    assert_eq!(row(&summary, "serving/prefix_cache")["quality"]["value"], 1.0);
    assert!(summary["cells"][0]["prefill_tps"]["value"].as_f64().unwrap() > 0.0, "{}", summary["cells"][0]);
}

#[test]
fn a_server_without_a_tokenizer_counts_by_its_usage() {
    let server = MockServer::start("--like openai --context 600 --decode-ms 1 --prefill-ms 0.01");
    let endpoints = Endpoints { tokenize: None, prompt_logprobs: None, props: None, ..VLLM };
    let client = Client::new(&server.url, endpoints, Limits::default()).unwrap();
    let client = client.speaking(&wire::OpenAi).of_model("mock");
    block_on(async {
        let messages = [Message::user("How many stones are in the river?")];
        let counted = client.count_chat(&messages, &[]).await.unwrap();
        let exchange = client.chat(&Conversation::of(&messages), &Sampling::default(), 8).await.unwrap();
        assert_eq!(exchange.last["usage"]["prompt_tokens"], counted);
        // 500 words of one token each, the first of them after `Text:`.
        let words = " stone".repeat(500);
        let counted = client.count_text(&words).await.unwrap();
        assert!(counted.abs_diff(500) <= 4, "{counted}");
        // What does not fit is still more than what does.
        let long = [Message::user(" stone".repeat(5000))];
        let counted = client.count_chat(&long, &[]).await.unwrap();
        assert!(counted.abs_diff(5000) <= 60, "{counted}");
        assert!(client.tokenize("a", false).await.is_err());
    });
}

#[test]
fn a_model_that_is_not_there_is_named_with_those_that_are() {
    let server = MockServer::start("--like openai");
    let dir = tempfile::tempdir().unwrap();
    let engine = format!("name = \"openai\"\nurl = \"{}\"\nserved_model = \"mok\"", server.url);
    let out = kneepoint(dir.path(), &suite(&engine), None);
    assert_eq!(out.status.code(), Some(2), "{}", said(&out));
    assert!(
        said(&out).contains("no model mok") && said(&out).contains("did you mean `mock`"),
        "{}",
        said(&out)
    );
}
