//! A server that repeats the key in whatever it says: nothing that is kept shows it.

use std::path::Path;

use serde_json::json;

use crate::common::scripted::{Answer, Request, Scripted, chunk, models, words};
use crate::real_servers::{KEY, call, hello, requests, run, weather};

/// The text as a server may write it: with escapes, maybe for a second time.
fn escaped(text: &str, depth: usize) -> String {
    let slash = "\\".repeat(depth);
    text.chars()
        .enumerate()
        .map(|(i, c)| match (i % 3, c) {
            (0, c) => format!("{slash}u{:04x}", u32::from(c)),
            (_, '/') => format!("{slash}/"),
            (_, c) => c.to_string(),
        })
        .collect()
}

fn repeats_the_key(request: &Request) -> Answer {
    let (head, tail) = KEY.split_at(11);
    let arguments = |text: &str| json!({ "city": text }).to_string();
    match (request.path.as_str(), request.asks()) {
        ("/health", _) => Answer::ok(json!({ "status": "ok", "key": KEY })),
        ("/v1/models", _) => models(&["served"]),
        ("/props", _) => Answer::ok(json!({
            "default_generation_settings": { "n_ctx": 4096 }, "total_slots": 1,
            "build_info": format!("build {KEY}"),
        })),
        ("/tokenize", _) => {
            let count = words(request.body["content"].as_str().unwrap());
            Answer::ok(json!({ "tokens": (0..count).collect::<Vec<_>>() }))
        }
        ("/apply-template", _) => Answer::ok(json!({
            "prompt": format!("{}{}", request.body["messages"], request.body["tools"]),
        })),
        ("/v1/chat/completions", asks) if request.body["stream"] == true && asks.starts_with("split") => {
            let piece = |text: &str| {
                let function = json!({ "arguments": text });
                json!({ "tool_calls": [{ "index": 0, "function": function }] })
            };
            let end = json!({ "choices": [], "usage": request.usage(9) });
            Answer::at_once([
                chunk(&json!({ "content": format!("it is {head}") }), None),
                chunk(&json!({ "content": tail }), None),
                chunk(&json!({ "reasoning_content": head }), None),
                chunk(&json!({ "reasoning_content": tail }), None),
                chunk(&json!({ "tool_calls": [call(0, KEY, "")] }), None),
                chunk(&piece("{\"city\":\""), None),
                chunk(&piece(&escaped(head, 1)), None),
                chunk(&piece(&escaped(tail, 1)), None),
                chunk(&piece("\"}"), None),
                chunk(&json!({}), Some("stop")),
                end,
            ])
        }
        ("/v1/chat/completions", asks) if request.body["stream"] == true && asks.starts_with("escaped") => {
            // As bytes of the stream: `\u0073k-..` for the client to decode.
            let text = json!({ "content": "KEY", "tool_calls": [call(0, "1", &arguments("KEY2"))] });
            let event = chunk(&text, Some(&format!("odd {KEY}"))).to_string();
            let event = event.replace("KEY2", &escaped(KEY, 2)).replace("KEY", &escaped(KEY, 1));
            let end = json!({ "choices": [], "usage": request.usage(9) }).to_string();
            Answer::Events(vec![(0, event), (0, end), (0, "[DONE]".to_owned())])
        }
        ("/v1/chat/completions", asks) if request.body["stream"] == true && asks.starts_with("refused") => {
            Answer::Json(403, json!({ "error": { "message": format!("no: {KEY} {}", escaped(KEY, 1)) } }))
        }
        ("/v1/chat/completions", asks) if request.body["stream"] == true && asks.starts_with("error") => {
            let error = json!({ "error": { "message": "KEY" } }).to_string().replace("KEY", &escaped(KEY, 1));
            Answer::Events(vec![(0, chunk(&json!({ "content": "a" }), None).to_string()), (0, error)])
        }
        ("/v1/chat/completions", _) => hello(request),
        _ => Answer::not_found(),
    }
}

/// Whether a text holds the key, however often it has to be decoded to show it.
fn shows_the_key(text: &str) -> bool {
    let mut text = text.to_owned();
    for _ in 0..4 {
        if text.contains(KEY) {
            return true;
        }
        let mut decoded = String::new();
        let mut rest = text.as_str();
        while let Some(at) = rest.find('\\') {
            decoded.push_str(&rest[..at]);
            let code = rest.get(at + 2..at + 6).and_then(|digits| u32::from_str_radix(digits, 16).ok());
            let code = code.and_then(char::from_u32).filter(|_| rest[at + 1..].starts_with('u'));
            decoded.extend(code);
            rest = &rest[at + if code.is_some() { 6 } else { 1 }..];
        }
        decoded.push_str(rest);
        text = decoded;
    }
    false
}

#[test]
fn the_key_is_in_nothing_that_is_kept_however_a_server_repeats_it() {
    assert!(shows_the_key(&escaped(KEY, 1)) && shows_the_key(&escaped(KEY, 3)) && !shows_the_key("sk-"));
    let server = Scripted::start(repeats_the_key);
    let traffic =
        ["split", "escaped", "refused", "error"].map(|word| weather(word, &format!("{word}: Lima")));
    let traffic = traffic.map(|line| line.to_string()).join("\n");
    let ran = run("llama.cpp", &server, &requests(4, ""), &[("traffic.jsonl", &traffic)]);
    assert_eq!(ran.summary["done"], 8, "{}", ran.stderr);
    // What was said around it is there.
    let trials = ran.trials();
    assert_eq!(trials[0]["reply"]["content"], format!("it is {}", "*".repeat(KEY.len())));
    assert!(
        trials[0]["reply"]["tool_calls"][0]["arguments"].as_str().unwrap().starts_with("{\"city\":\"****")
    );
    assert!(trials[1]["reply"]["content"].as_str().unwrap().starts_with("****"), "{}", trials[1]);
    assert!(ran.summary["failures"].to_string().contains("no: ****"), "{}", ran.summary["failures"]);
    assert!(ran.journal.contains("build ****"));
    for (path, text) in files(ran.dir.path()) {
        assert!(!shows_the_key(&text), "{path}");
    }
    assert!(!shows_the_key(&ran.stderr) && !shows_the_key(&ran.summary.to_string()));
}

/// Every file below a folder, as text.
fn files(folder: &Path) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            let text = String::from_utf8_lossy(&std::fs::read(&path).unwrap()).into_owned();
            found.push((path.display().to_string(), text));
        }
    }
    found
}
