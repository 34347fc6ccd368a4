//! What the fuzzers run: each function takes any bytes, must not panic, and asserts what holds of any bytes.

use std::path::Path;

use kneepoint::measure::client::reply;
use kneepoint::measure::client::sse;
use kneepoint::measure::model::gguf;
use kneepoint::record::ToolCall;
use kneepoint::record::suite::Suite;
use kneepoint::task::tools::effort::Effort;
use kneepoint::task::tools::extract::Extraction;
use kneepoint::task::tools::extract::MAX_CALLS;
use kneepoint::task::tools::extract::read_server;
use kneepoint::task::tools::extract::read_text;
use kneepoint::task::tools::grammar::Grammar;
use kneepoint::task::tools::ladder::schema_fault;

/// The call extractor: a reply's text, and the same text as the arguments of a server's call.
pub fn calls(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let (found, _) = read_text(&text);
    if let Extraction::Calls(calls) = &found {
        assert!(!calls.is_empty());
        let schema = serde_json::json!({"type": "object", "properties": {"a": {"type": "integer"}}});
        for call in calls.iter().take(MAX_CALLS) {
            schema_fault(&schema, &call.arguments);
            // What was read is JSON again, and reads the same.
            let again = serde_json::from_str::<serde_json::Value>(&call.arguments.to_string());
            assert_eq!(again.ok().as_ref(), Some(&call.arguments));
        }
    }
    let call = ToolCall { id: None, name: "f".into(), arguments: text.into_owned() };
    read_server(&[call]);
}

/// The decoder of event streams, whole and cut: what a prefix of a stream holds, the stream holds too.
pub fn events(bytes: &[u8]) {
    let bounds = sse::Bounds { line: 1 << 12, event: 1 << 13 };
    if let Ok(events) = sse::decode(bytes, bounds) {
        assert!(events.iter().all(|event| event.end <= bytes.len()));
        assert!(events.windows(2).all(|pair| pair[0].end <= pair[1].end));
        let _ = reply::from_events(&events);
        if let Ok(first) = sse::decode(&bytes[..bytes.len() / 2], bounds) {
            assert!(first.len() <= events.len());
        }
    }
    let _ = reply::from_whole(bytes);
}

/// Grammars that servers make of schemas, and a text in front of which they stand (a zero byte between): what a grammar can write as
/// JSON it also accepts as a text.
pub fn grammar(bytes: &[u8]) {
    let at = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    let (grammar, text) = bytes.split_at(at);
    let (grammar, text) =
        (String::from_utf8_lossy(grammar), String::from_utf8_lossy(text.get(1..).unwrap_or_default()));
    let Ok(grammar) = Grammar::read(&grammar) else { return };
    let accepted = grammar.accepts(&text, 20_000);
    let Ok(value) = serde_json::from_str::<serde_json::Value>(&text) else { return };
    let compact = value.to_string();
    if text == compact && compact.len() < 200 && accepted == Ok(true) {
        assert_ne!(grammar.can_write(&value, &Effort::new(200_000, &|| false)), Ok(false));
    }
}

/// The reader of model files.
pub fn gguf(bytes: &[u8]) {
    let _ = gguf::parse(bytes);
}

/// The reader of journals: what it takes as whole lines reads the same again.
pub fn journal(bytes: &[u8]) {
    if let Ok((journal, whole)) = kneepoint::record::journal::parse(bytes) {
        assert!(whole <= bytes.len());
        let (again, rest) =
            kneepoint::record::journal::parse(&bytes[..whole]).expect("whole lines were read before");
        assert_eq!((again.trials.len(), rest), (journal.trials.len(), whole));
    }
}

/// The reader of suites: what it takes is a suite that the journal keeps as it is.
pub fn suite(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    if let Ok(suite) = kneepoint::suite::parse(&text, Path::new("suite.toml"), &[]) {
        let kept = serde_json::to_vec(&suite).expect("a suite is JSON");
        let again: Suite = serde_json::from_slice(&kept).expect("what was written is read");
        assert_eq!(again.fingerprint(), suite.fingerprint());
    }
}
