//! Tokens that are counted here are the server's; where they are not, the server counts.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use kneepoint::measure::client::{Client, Conversation, Limits, PromptTokens};
use kneepoint::measure::engine;
use kneepoint::measure::engine::supervise;
use kneepoint::measure::model::BytePairs;
use kneepoint::record::{Argv, ForcedForm, Message, Prompt, Tool, journal};
use serde_json::Value;

use crate::common::scripted::{Answer, Scripted};
use crate::common::{KNEEPOINT, MockBench};

const SUITE: &str = r#"
name = "own-tokens"
contexts = [512, 1024]
rounds = 1
[[model]]
name = "SmolLM2-135M-Instruct"
package = "smollm2-135m-instruct"
[reference]
kv = "f16"
[[task]]
name = "retrieval/niah_multikey_2"
samples = 4
questions = 2
score = "probability"
options.output_tokens = 16
[[task]]
name = "retrieval/counting"
samples = 2
score = "probability"
options.output_tokens = 16
"#;

/// How long a server may take to load.
const PATIENCE: Duration = Duration::from_secs(300);

/// A llama-server that ends with the test.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn kneepoint(dir: &Path, args: &[&str]) -> std::process::Output {
    let mut command = Command::new(KNEEPOINT);
    let out = command.current_dir(dir).args(args).env_remove("KNEEPOINT_RUNS_DIR").output().unwrap();
    assert_eq!(out.status.code(), Some(0), "{}", String::from_utf8_lossy(&out.stderr));
    out
}

/// The reference's server of a suite by the command that a dry run prints, and its model's file.
fn serve(dir: &Path, suite: &str) -> (Server, u16, PathBuf) {
    std::fs::write(dir.join("suite.toml"), suite).unwrap();
    let plan = kneepoint(dir, &["run", "suite.toml", "--dry-run", "--json"]).stdout;
    let plan: Value = serde_json::from_slice(&plan).unwrap();
    let argv: Argv = serde_json::from_value(plan["visits"][0]["argv"].clone()).unwrap();
    let port = supervise::free_port().unwrap();
    let mut args = argv.args.clone();
    let behind = |flag: &str| argv.args.iter().position(|word| word == flag).unwrap() + 1;
    args[behind("--port")] = port.to_string();
    let model = PathBuf::from(&args[behind("-m")]);
    let mut command = Command::new(&argv.program);
    command.args(args).envs(argv.env.iter().map(|(name, value)| (name, value)));
    let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    (Server(child), port, model)
}

/// What people and tasks write, and what cuts badly.
fn prompts() -> Vec<Vec<Message>> {
    let published = Path::new(env!("CARGO_MANIFEST_DIR")).join("reports/quickstart");
    let cases = journal::load(&published).unwrap().cases;
    let mut prompts: Vec<Vec<Message>> = Vec::new();
    for case in cases.iter().filter(|case| case.index < 3) {
        let Prompt::Chat { messages, tools, .. } = &case.prompt else { continue };
        if tools.is_empty() && messages.iter().all(|message| message.tool_calls.is_empty()) {
            prompts.push(messages.clone());
        }
    }
    assert!(prompts.len() > 5, "{}", prompts.len());
    for text in [
        "It's 1,234.5 km; isn't IT'S?  Two  spaces,\ttabs\t\tand\n\n\nlines \n of\r\nthem   ",
        "größer naïve Ελλάδα мир 日本語 한국어 عربى हिन्दी ไทย e\u{301} ﬁ ½ ² Ⅳ ٣ 🦀👩‍👩‍👧 \u{200b}|\u{a0}|\u{3000}|",
        "fn main() { println!(\"{:?}\", vec![1_000; 3]); } // <|im_end|> and <|endoftext|>, <|im_start|>x",
        "''s 'Twas y'all'd've 'LL <<>> ... !!! -- -x +1 a_b __init__ https://example.com/a?b=c&d=%20e#f",
        "x",
    ] {
        prompts.push(vec![Message::user(text)]);
        prompts.push(vec![Message::system("Be brief."), Message::user(text), Message::prefill("Well, ")]);
    }
    prompts
}

fn same_tokens(suite: &str) {
    let dir = tempfile::tempdir().unwrap();
    let (_server, port, model) = serve(dir.path(), suite);
    let pairs = BytePairs::of_model(&model).unwrap();
    let endpoints = engine::find("llama.cpp").unwrap().endpoints();
    let client = Client::new(&format!("http://127.0.0.1:{port}"), endpoints, Limits::default()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let up = async {
            while !client.healthy().await {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        let in_time = tokio::time::timeout(PATIENCE, up).await;
        assert!(in_time.is_ok(), "the server of {} did not come up within {PATIENCE:?}", model.display());
        for messages in prompts() {
            let rendered = client.apply_template(&messages, &[]).await.unwrap();
            let frame = client.frame(&messages, &[], |tokens| pairs.text(tokens)).await.unwrap().unwrap();
            assert_eq!(frame.filled(&messages), rendered);
            let theirs = client.tokenize(&rendered, true).await.unwrap();
            assert_eq!(pairs.tokens(&rendered, true), Some(theirs), "{rendered:?}");
            let text = &messages[0].content;
            let theirs = client.tokenize(text, false).await.unwrap();
            assert_eq!(pairs.count(text, false), Some(theirs.len() as u32), "{text:?}");
        }
    });
}

/// The tokens of one prompt.
#[derive(Debug)]
struct OfOne(Vec<u32>);

impl PromptTokens for OfOne {
    fn of_chat(&self, _messages: &[Message], _tools: &[Tool]) -> Option<Vec<u32>> {
        Some(self.0.clone())
    }
}

/// Behind a prompt of tokens the real server says of an answer what it says of it behind the same prompt in words; and one that is next
/// to impossible is not said to its end.
#[test]
fn an_answer_behind_a_prompt_of_tokens_has_the_probabilities_of_one_behind_the_words() {
    let dir = tempfile::tempdir().unwrap();
    let (_server, port, _) = serve(dir.path(), SUITE);
    let endpoints = engine::find("llama.cpp").unwrap().endpoints();
    let client = Client::new(&format!("http://127.0.0.1:{port}"), endpoints, Limits::default()).unwrap();
    let begun = "The number is";
    let asked = [Message::user("The number is 4718203. Which number is it?"), Message::prefill(begun)];
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let up = async {
            while !client.healthy().await {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        tokio::time::timeout(PATIENCE, up).await.unwrap();
        let prompt = client.prompt_tokens(&asked, &[]).await.unwrap();
        let by_tokens = client.clone().with_own_tokens(Some(Arc::new(OfOne(prompt))));
        let front = client.tokenize(begun, false).await.unwrap();
        for (text, is_right) in [(" 4718203", true), (" 9055566", false)] {
            let whole = client.tokenize(&format!("{begun}{text}"), false).await.unwrap();
            let tokens = whole.strip_prefix(front.as_slice()).unwrap().to_vec();
            assert!(tokens.len() > 6, "{tokens:?}: one short enough is one request");
            let form = ForcedForm { text: text.to_owned(), tokens };
            let conversation = Conversation { reuse_cache: true, ..Conversation::of(&asked) };
            let words = client.force(&conversation, &form, 40).await.unwrap().forced;
            let told = by_tokens.force(&conversation, &form, 40).await.unwrap().forced;
            assert_eq!((words.cut, told.cut), (false, !is_right), "{words:?}");
            assert_eq!(told.tokens.len(), if is_right { form.tokens.len() } else { 5 });
            for (told, words) in told.tokens.iter().zip(&words.tokens) {
                assert_eq!(told.id, words.id);
                assert!((told.logprob - words.logprob).abs() < 1e-3, "{told:?} and {words:?}");
            }
            if is_right {
                assert!((told.ends.unwrap() - words.ends.unwrap()).abs() < 1e-3, "{told:?} and {words:?}");
            }
        }
    });
}

#[test]
fn the_tokens_of_a_models_file_are_those_of_its_server() {
    same_tokens(SUITE);
}

#[test]
#[ignore = "needs a model: KNEEPOINT_GGUF names its file, KNEEPOINT_GGUF_WEIGHTS its quant"]
fn the_tokens_of_another_models_file_are_those_of_its_server() {
    let [path, weights] =
        ["KNEEPOINT_GGUF", "KNEEPOINT_GGUF_WEIGHTS"].map(|name| std::env::var(name).unwrap());
    let model = format!("path = \"{path}\"\nweights = \"{weights}\"");
    same_tokens(&SUITE.replace("package = \"smollm2-135m-instruct\"", &model));
}

/// The same cases, to their hashes, whoever counts; on four processors those of the second context length are made while its
/// server loads.
#[test]
fn cases_that_are_counted_here_are_those_that_the_server_counts() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("suite.toml"), SUITE).unwrap();
    kneepoint(dir.path(), &["run", "suite.toml", "--json"]);
    let run = std::fs::read_dir(dir.path().join("runs")).unwrap().next().unwrap().unwrap().path();
    let ran = journal::load(&run).unwrap().cases;
    let ran: BTreeSet<String> = ran.into_iter().map(|case| case.id.into()).collect();
    let mut counted = BTreeSet::new();
    for task in ["retrieval/niah_multikey_2", "retrieval/counting"] {
        let out = kneepoint(dir.path(), &["cases", "suite.toml", "--task", task]).stdout;
        for line in String::from_utf8(out).unwrap().lines() {
            let case: Value = serde_json::from_str(line).unwrap();
            counted.insert(case["id"].as_str().unwrap().to_owned());
        }
    }
    assert_eq!(ran.len(), 12);
    assert_eq!(ran, counted);
}

/// A server that makes other tokens than its model's file says is believed, and the user is told.
#[test]
fn a_server_with_another_tokenizer_counts_itself() {
    let plain = MockBench::new("");
    let other = MockBench::new("");
    std::fs::write(other.dir.path().join("model.gguf"), with_bytes()).unwrap();
    let ids = |bench: &MockBench| {
        let out = bench.command(&["run", "suite.toml"]).output().unwrap();
        let said = String::from_utf8(out.stderr).unwrap();
        assert!(out.status.success(), "{said}");
        let cases = journal::load(&bench.run_folder()).unwrap().cases;
        let ids: Vec<String> = cases.into_iter().map(|case| case.id.into()).collect();
        (ids, said)
    };
    let ((expected, quiet), (found, said)) = (ids(&plain), ids(&other));
    assert_eq!(found, expected);
    assert!(!quiet.contains("other tokens"), "{quiet}");
    let sentence =
        "the server makes other tokens of case 0 of retrieval/niah_single_1 at 512 tokens of context";
    assert_eq!(said.matches(sentence).count(), 1, "{said}");
}

/// The mock's model with a vocabulary of bytes, which is not how it counts.
fn with_bytes() -> Vec<u8> {
    let mut bytes = crate::common::tiny_gguf();
    let text = |text: &str| [&(text.len() as u64).to_le_bytes(), text.as_bytes()].concat();
    let mut pair = |key: &str, kind: u32, value: Vec<u8>| {
        bytes.extend([text(key), kind.to_le_bytes().to_vec(), value].concat());
    };
    pair("tokenizer.ggml.model", 8, text("gpt2"));
    pair("tokenizer.ggml.pre", 8, text("smollm"));
    // As GPT-2 writes bytes: those without a letter of their own from U+0100 on.
    let letters = (0..=255_u8).scan(0x100, |next, byte| match byte {
        b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff => Some(char::from(byte)),
        _ => {
            *next += 1;
            char::from_u32(*next - 1)
        }
    });
    let tokens: Vec<u8> = letters.flat_map(|letter| text(&letter.to_string())).collect();
    let list = |length: u64| [8_u32.to_le_bytes().to_vec(), length.to_le_bytes().to_vec()].concat();
    pair("tokenizer.ggml.tokens", 9, [list(256), tokens].concat());
    pair("tokenizer.ggml.merges", 9, list(0));
    bytes[16..24].copy_from_slice(&6_u64.to_le_bytes());
    bytes
}

/// A folder's `tokenizer.json` of bytes alone, and the ids of its special tokens.
fn bytes_alone(folder: &Path) {
    let mut next = 0x100;
    let letters = (0..=u8::MAX).map(|byte| match byte {
        b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff => char::from(byte),
        _ => {
            next += 1;
            char::from_u32(next - 1).unwrap()
        }
    });
    let vocab: serde_json::Map<String, Value> =
        letters.enumerate().map(|(id, letter)| (letter.to_string(), id.into())).collect();
    let added = [("<|begin|>", BEGIN), ("<|end|>", END)].map(|(content, id)| {
        serde_json::json!({ "id": id, "content": content, "single_word": false, "lstrip": false, "rstrip": false,
            "normalized": false, "special": true })
    });
    let file = serde_json::json!({
        "added_tokens": added, "normalizer": null,
        "pre_tokenizer": { "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true },
        "model": { "type": "BPE", "vocab": vocab, "merges": [] },
    });
    std::fs::write(folder.join("tokenizer.json"), file.to_string()).unwrap();
}

const BEGIN: u32 = 256;
const END: u32 = 257;

/// vLLM and SGLang render no prompt, but tokenise a conversation: what their template writes is spelled out from that.
#[test]
fn a_server_that_tokenises_conversations_is_asked_once_and_counted_for() {
    let folder = tempfile::tempdir().unwrap();
    bytes_alone(folder.path());
    let server = Scripted::start(|request| {
        let text = |text: &str| text.bytes().map(u32::from).collect::<Vec<u32>>();
        let mut tokens = Vec::new();
        for message in request.body["messages"].as_array().into_iter().flatten() {
            tokens.push(BEGIN);
            tokens.extend(text(message["role"].as_str().unwrap()));
            tokens.extend(text("\n"));
            tokens.extend(text(message["content"].as_str().unwrap()));
            tokens.push(END);
        }
        Answer::ok(serde_json::json!({ "count": tokens.len(), "max_model_len": 4096, "tokens": tokens }))
    });
    let pairs = BytePairs::of_model(folder.path()).unwrap();
    let engine = engine::find("vllm").unwrap();
    let client =
        Client::new(&server.url, engine.endpoints(), Limits::default()).unwrap().speaking(engine.card().wire);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let asked = [Message::system("Be brief."), Message::user("größer <|end|> than 12?")];
        let frame = client.frame(&asked, &[], |tokens| pairs.text(tokens)).await.unwrap().unwrap();
        let ours = frame.filled(&asked);
        assert_eq!(ours, "<|begin|>system\nBe brief.<|end|><|begin|>user\ngrößer <|end|> than 12?<|end|>");
        let plain = [Message::system("Be brief."), Message::user("größer than 12?")];
        let theirs = client.prompt_tokens(&plain, &[]).await.unwrap();
        assert_eq!(pairs.tokens(&frame.filled(&plain), true), Some(theirs));
    });
}
