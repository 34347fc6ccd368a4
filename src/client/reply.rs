//! Putting a reply together from its events, or reading it whole. Servers differ and replies are hostile:
//! unknown fields are ignored, fields of a wrong type count as missing.

use std::collections::BTreeMap;

use serde_json::Value;

use super::drafts::DraftCounter;
use super::http::server_words;
use super::sse::Event;
use super::text::shown;
use super::timeline::Counts;
use crate::trial::{FinishReason, Reply, ToolCall};

/// A decoded reply.
#[derive(Debug, Clone, PartialEq)]
pub struct Decoded {
    /// What the model wrote.
    pub reply: Reply,
    /// What the engine counted.
    pub counts: Counts,
    /// Events that carry tokens, in order; empty for a whole reply.
    pub token_events: Vec<Tokens>,
    /// The last event with `usage` or `timings`, or the whole reply; null when there is none.
    pub last: Value,
}

/// An event that carries tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tokens {
    /// Position in the list of events.
    pub index: usize,
    /// Tokens generated up to and including it, if it says so.
    pub tokens: Option<u64>,
}

/// Puts a streamed chat completion together.
///
/// # Errors
/// Says what is wrong when an event is not JSON, the server reports an error in the stream, or the stream
/// ended before it was finished.
pub fn from_events(events: &[Event]) -> Result<Decoded, String> {
    let mut assembly = Assembly::default();
    let mut token_events = Vec::new();
    let mut drafts = DraftCounter::default();
    let mut done = false;
    for (index, event) in events.iter().enumerate() {
        if event.is_done() {
            done = true;
            break;
        }
        let value = parse(index, event)?;
        if assembly.add(&value) {
            let tokens = counts(&value).output;
            token_events.push(Tokens { index, tokens });
        }
        drafts.see(&value);
        if carries_counts(&value) {
            assembly.last = value;
        }
    }
    if !done && assembly.finish_reason.is_none() {
        return Err(format!(
            "the stream ended unfinished after {} events (no finish_reason, no [DONE])",
            events.len()
        ));
    }
    let mut decoded = assembly.decoded(token_events);
    decoded.reply.drafts = drafts.finish();
    Ok(decoded)
}

/// Reads a chat completion that came in one piece.
///
/// # Errors
/// Says what is wrong when the body is no chat completion.
pub fn from_whole(body: &[u8]) -> Result<Decoded, String> {
    let value: Value = serde_json::from_slice(body).map_err(|error| {
        let text = shown(&String::from_utf8_lossy(body));
        format!("the reply is not JSON ({error}): {text}")
    })?;
    refuse_error(&value)?;
    if choice(&value).and_then(|choice| choice.get("message")).is_none() {
        return Err(format!("the reply holds no message: {}", shown(&value.to_string())));
    }
    let mut assembly = Assembly::default();
    assembly.add(&value);
    assembly.last = value;
    Ok(assembly.decoded(Vec::new()))
}

/// Token ids in an answer to a tokenise request: plain numbers, or objects with an `id`.
pub(super) fn token_ids(value: &Value) -> Option<Vec<u32>> {
    let tokens = value.get("tokens")?.as_array()?;
    tokens.iter().map(|token| token.get("id").unwrap_or(token).as_u64()?.try_into().ok()).collect()
}

fn parse(index: usize, event: &Event) -> Result<Value, String> {
    let number = index + 1;
    let value: Value = serde_json::from_str(&event.data).map_err(|error| {
        format!("event {number} of the stream is not JSON ({error}): {}", shown(&event.data))
    })?;
    refuse_error(&value)?;
    if event.name.as_deref() == Some("error") {
        return Err(format!("the server broke off with an error: {}", shown(&event.data)));
    }
    Ok(value)
}

fn refuse_error(value: &Value) -> Result<(), String> {
    match value.get("error") {
        None | Some(Value::Null) => Ok(()),
        Some(error) => {
            let words = server_words(value).unwrap_or_else(|| shown(&error.to_string()));
            Err(format!("the server broke off with an error: {words}"))
        }
    }
}

fn carries_counts(value: &Value) -> bool {
    let present = |key| value.get(key).is_some_and(Value::is_object);
    present("usage") || present("timings")
}

fn choice(value: &Value) -> Option<&Value> {
    value.get("choices")?.as_array()?.first()
}

/// What one event (or a whole reply) counts, from OpenAI's `usage` or llama.cpp's `timings`.
fn counts(value: &Value) -> Counts {
    let number = |path: &str| value.pointer(path).and_then(Value::as_u64);
    let cached = number("/usage/prompt_tokens_details/cached_tokens").or(number("/timings/cache_n"));
    let processed = number("/timings/prompt_n");
    Counts {
        prompt: number("/usage/prompt_tokens").or_else(|| Some(processed? + number("/timings/cache_n")?)),
        output: number("/usage/completion_tokens").or(number("/timings/predicted_n")),
        cached,
    }
}

#[derive(Default)]
struct Assembly {
    content: String,
    reasoning: String,
    /// Calls by the index that the server gives them.
    calls: BTreeMap<u64, Call>,
    /// The older `function_call` field.
    legacy: Option<Call>,
    finish_reason: Option<FinishReason>,
    last: Value,
}

#[derive(Default)]
struct Call {
    id: Option<String>,
    name: String,
    arguments: String,
}

impl Assembly {
    /// Takes an event's delta or a whole message; says whether it carries at least one token.
    fn add(&mut self, value: &Value) -> bool {
        let Some(choice) = choice(value) else { return false };
        if let Some(reason) = choice.get("finish_reason").and_then(Value::as_str) {
            self.finish_reason = Some(finish_reason(reason));
        }
        let (delta, message) = (choice.get("delta"), choice.get("message"));
        let whole = delta.is_none();
        let Some(delta) = delta.or(message) else {
            return false;
        };
        let content = text_of(delta.get("content"));
        let reasoning = [delta.get("reasoning_content"), delta.get("reasoning")]
            .map(text_of)
            .into_iter()
            .find(|text| !text.is_empty())
            .unwrap_or_default();
        let calls = self.add_calls(delta, whole);
        self.content.push_str(&content);
        self.reasoning.push_str(&reasoning);
        calls || !content.is_empty() || !reasoning.is_empty()
    }

    /// In a whole message every entry of the list is a call, even where a server gives two of them one id.
    fn add_calls(&mut self, delta: &Value, whole: bool) -> bool {
        let mut any = false;
        let pieces = delta.get("tool_calls").and_then(Value::as_array);
        for (position, piece) in pieces.into_iter().flatten().enumerate() {
            let index = piece.get("index").and_then(Value::as_u64);
            let index = index.unwrap_or_else(|| match whole {
                true => position as u64,
                false => self.unnumbered(piece, position),
            });
            let function = piece.get("function").unwrap_or(&Value::Null);
            any |= self.calls.entry(index).or_default().add(piece, function);
        }
        if let Some(function) = delta.get("function_call").filter(|call| call.is_object()) {
            any |= self.legacy.get_or_insert_default().add(&Value::Null, function);
        }
        any
    }

    /// Where a piece without an index belongs: an id that was not seen opens a call, none continues the last.
    fn unnumbered(&self, piece: &Value, position: usize) -> u64 {
        let id = piece.get("id").and_then(Value::as_str);
        let known = self.calls.iter().find(|(_, call)| id.is_some() && call.id.as_deref() == id);
        let next = self.calls.keys().next_back().map_or(0, |last| last.saturating_add(1));
        match (known, id) {
            (Some((index, _)), _) => *index,
            (None, Some(_)) => next,
            (None, None) => next.saturating_sub(1).max(position as u64),
        }
    }

    fn decoded(self, token_events: Vec<Tokens>) -> Decoded {
        let calls = self.calls.into_values().chain(self.legacy);
        let reply = Reply {
            content: self.content,
            reasoning: self.reasoning,
            tool_calls: calls.map(Call::finish).collect(),
            finish_reason: self.finish_reason,
            ..Reply::default()
        };
        Decoded { reply, counts: counts(&self.last), token_events, last: self.last }
    }
}

impl Call {
    /// Arguments come in fragments; id and name come once, or are repeated.
    fn add(&mut self, piece: &Value, function: &Value) -> bool {
        let id = piece.get("id").and_then(Value::as_str).filter(|id| !id.is_empty());
        if let (None, Some(id)) = (&self.id, id) {
            self.id = Some(id.to_owned());
        }
        let name = function.get("name").and_then(Value::as_str).unwrap_or_default();
        if self.name.is_empty() {
            self.name.push_str(name);
        }
        // Some servers send the arguments as the object itself.
        let arguments = match function.get("arguments") {
            Some(Value::String(text)) => text.clone(),
            Some(object @ (Value::Object(_) | Value::Array(_))) => object.to_string(),
            _ => String::new(),
        };
        self.arguments.push_str(&arguments);
        !name.is_empty() || !arguments.is_empty()
    }

    fn finish(self) -> ToolCall {
        ToolCall { id: self.id, name: self.name, arguments: self.arguments }
    }
}

/// Text given as a string, or as a list of parts with a `text` each.
fn text_of(value: Option<&Value>) -> String {
    match value {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(parts)) => {
            let texts = parts.iter().filter_map(|part| part.get("text")?.as_str());
            texts.collect()
        }
        _ => String::new(),
    }
}

pub(crate) fn finish_reason(reason: &str) -> FinishReason {
    match reason {
        "stop" => FinishReason::Stop,
        "length" => FinishReason::Length,
        "tool_calls" | "function_call" => FinishReason::ToolCalls,
        other => FinishReason::Other(other.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::client::sse::{Bounds, decode};

    macro_rules! fixture {
        ($name:literal) => {
            include_bytes!(concat!("../../tests/fixtures/", $name)).as_slice()
        };
    }

    fn stream(bytes: &[u8]) -> Result<Decoded, String> {
        let bounds = Bounds { line: 1 << 20, event: 1 << 20 };
        from_events(&decode(bytes, bounds).unwrap())
    }

    fn deltas(deltas: &[&str]) -> Decoded {
        let mut text = String::new();
        for delta in deltas {
            text.push_str(&format!("data: {{\"choices\":[{{\"delta\":{delta}}}]}}\n\n"));
        }
        text.push_str("data: [DONE]\n\n");
        stream(text.as_bytes()).unwrap()
    }

    #[test]
    fn llama_server_with_speculation() {
        let decoded = stream(fixture!("llama-server/chat_ngram_spec.sse")).unwrap();
        assert!(decoded.reply.content.starts_with("Sure, here are the counts from"));
        assert_eq!(decoded.reply.finish_reason, Some(FinishReason::Length));
        assert_eq!(decoded.counts, Counts { prompt: Some(49), output: Some(120), cached: Some(18) });
        assert_eq!(decoded.last.pointer("/timings/draft_n").and_then(Value::as_u64), Some(40));
    }

    #[test]
    fn llama_server_leaves_calls_in_the_text() {
        for capture in [
            fixture!("llama-server/chat_tools_required.sse"),
            fixture!("llama-server/chat_tools_auto_leaked_to_content.sse"),
        ] {
            let decoded = stream(capture).unwrap();
            assert!(decoded.reply.content.starts_with("{\"name\": \"get_weather\""));
            assert!(decoded.reply.tool_calls.is_empty());
        }
    }

    #[test]
    fn ik_llama_gives_no_cache_count_in_its_timings() {
        let decoded = stream(fixture!("ik_llama/chat.sse")).unwrap();
        assert_eq!(decoded.reply.finish_reason, Some(FinishReason::Stop));
        assert_eq!(decoded.counts.cached, Some(0));
        assert_eq!(decoded.counts.output, Some(60));
        assert_eq!(decoded.token_events.len(), 60);
    }

    #[test]
    fn vllm_counts_on_every_event() {
        let decoded = stream(fixture!("vllm/chat_continuous_usage.sse")).unwrap();
        let first = decoded.token_events.first().copied();
        assert_eq!(first, Some(Tokens { index: 1, tokens: Some(1) }));
        assert_eq!(decoded.token_events.last().and_then(|event| event.tokens), Some(60));
        assert_eq!(decoded.counts.prompt, Some(39));
        assert_eq!(decoded.counts.cached, None);
    }

    #[test]
    fn vllm_tool_calls_streamed_and_whole() {
        let streamed = stream(fixture!("vllm/chat_tools_required.sse")).unwrap();
        let whole = from_whole(fixture!("vllm/chat_tools_required.json")).unwrap();
        for decoded in [&streamed, &whole] {
            let call = &decoded.reply.tool_calls[0];
            assert_eq!((call.name.as_str(), call.arguments.as_str()), ("get_weather", "\"Paris\""));
            assert!(call.id.is_some());
            assert_eq!(decoded.reply.finish_reason, Some(FinishReason::ToolCalls));
            assert_eq!(decoded.counts.output, Some(48));
        }
        assert_eq!(streamed.token_events.len(), 4);
        assert!(whole.token_events.is_empty());
    }

    /// As SGLang's documentation has it: counts on every event, fields that are null, calls in pieces without an id.
    #[test]
    fn sglangs_streams_are_read() {
        let event = |delta: Value, finish: Option<&str>, output: u32| {
            serde_json::json!({
                "id": "7", "object": "chat.completion.chunk",
                "choices": [{
                    "index": 0, "delta": delta, "logprobs": null, "finish_reason": finish, "matched_stop": null,
                }],
                "usage": {
                    "prompt_tokens": 11, "total_tokens": 11 + output, "completion_tokens": output,
                    "prompt_tokens_details": { "cached_tokens": 4 }, "reasoning_tokens": 0,
                },
            })
        };
        let call = |id: Option<&str>, name: Option<&str>, arguments: &str| {
            let function = serde_json::json!({ "name": name, "arguments": arguments });
            let call = serde_json::json!({ "id": id, "index": 0, "type": "function", "function": function });
            serde_json::json!({ "role": null, "content": null, "reasoning_content": null, "tool_calls": [call] })
        };
        let nothing = serde_json::json!({ "content": null, "reasoning_content": null, "tool_calls": null });
        let decoded = streamed(&[
            event(serde_json::json!({ "role": "assistant", "content": "" }), None, 0),
            event(serde_json::json!({ "role": null, "content": null, "reasoning_content": "Hm" }), None, 1),
            event(call(Some("call_1"), Some("get_weather"), ""), None, 4),
            event(call(None, None, "{}"), None, 6),
            event(nothing, Some("tool_calls"), 7),
        ]);
        assert_eq!(decoded.reply.reasoning, "Hm");
        let calls = &decoded.reply.tool_calls;
        assert_eq!(
            (calls.len(), calls[0].name.as_str(), calls[0].arguments.as_str()),
            (1, "get_weather", "{}")
        );
        assert_eq!(decoded.reply.finish_reason, Some(FinishReason::ToolCalls));
        assert_eq!(decoded.counts, Counts { prompt: Some(11), output: Some(7), cached: Some(4) });
        let counted: Vec<_> = decoded.token_events.iter().map(|event| event.tokens).collect();
        assert_eq!(counted, [Some(1), Some(4), Some(6)]);
    }

    /// As Ollama and LM Studio document it: a role with every event, reasoning under either name, a whole call in one
    /// event, usage in an event without choices.
    #[test]
    fn streams_of_desktop_servers_are_read() {
        let event = |delta: Value, finish: Option<&str>| {
            let choice = serde_json::json!({ "index": 0, "delta": delta, "finish_reason": finish });
            serde_json::json!({ "id": "chatcmpl-1", "created": 1, "model": "m", "choices": [choice], "usage": null })
        };
        let function = serde_json::json!({ "name": "f", "arguments": "{\"x\":1}" });
        let call =
            serde_json::json!({ "id": "call_a", "index": 0, "type": "function", "function": function });
        let decoded = streamed(&[
            event(serde_json::json!({ "role": "assistant", "content": "", "reasoning": "Well" }), None),
            event(serde_json::json!({ "role": "assistant", "reasoning_content": ", " }), None),
            event(serde_json::json!({ "role": "assistant", "content": "Hi" }), None),
            event(serde_json::json!({ "role": "assistant", "content": "", "tool_calls": [call] }), None),
            event(serde_json::json!({ "role": "assistant", "content": "" }), Some("stop")),
            serde_json::json!({
                "choices": [], "usage": { "prompt_tokens": 30, "completion_tokens": 5, "total_tokens": 35 },
            }),
        ]);
        let reply = &decoded.reply;
        assert_eq!((reply.reasoning.as_str(), reply.content.as_str()), ("Well, ", "Hi"));
        assert_eq!(reply.tool_calls[0].arguments, "{\"x\":1}");
        assert_eq!(reply.finish_reason, Some(FinishReason::Stop));
        assert_eq!(decoded.counts, Counts { prompt: Some(30), output: Some(5), cached: None });
        assert_eq!(decoded.token_events.len(), 4);
    }

    /// The stream of these events, with a comment in front.
    fn streamed(events: &[Value]) -> Decoded {
        let lines: Vec<String> = events.iter().map(|event| format!("data: {event}\n\n")).collect();
        stream(format!(": keep-alive\n\n{}data: [DONE]\n\n", lines.concat()).as_bytes()).unwrap()
    }

    #[test]
    fn parallel_calls_are_told_apart() {
        let decoded = deltas(&[
            r#"{"tool_calls":[{"index":0,"id":"a","function":{"name":"f","arguments":""}}]}"#,
            r#"{"tool_calls":[{"index":1,"id":"b","function":{"name":"g"}}]}"#,
            r#"{"tool_calls":[{"index":0,"function":{"arguments":"{\"x\":"}},{"index":1,"function":{"arguments":"{}"}}]}"#,
            r#"{"tool_calls":[{"index":0,"id":"a","function":{"name":"f","arguments":"1}"}}]}"#,
        ]);
        let calls: Vec<_> = decoded.reply.tool_calls.iter().map(|c| (&*c.name, &*c.arguments)).collect();
        assert_eq!(calls, [("f", "{\"x\":1}"), ("g", "{}")]);
    }

    #[test]
    fn calls_without_an_index_go_by_id() {
        let decoded = deltas(&[
            r#"{"tool_calls":[{"id":"a","function":{"name":"f","arguments":"1"}}]}"#,
            r#"{"tool_calls":[{"function":{"arguments":"2"}}]}"#,
            r#"{"tool_calls":[{"id":"b","function":{"name":"g","arguments":{"k":[1.50]}}}]}"#,
            r#"{"tool_calls":[{"id":"a","function":{"arguments":"3"}}]}"#,
        ]);
        let calls: Vec<_> = decoded.reply.tool_calls.iter().map(|c| (&*c.name, &*c.arguments)).collect();
        assert_eq!(calls, [("f", "123"), ("g", "{\"k\":[1.50]}")]);
    }

    #[test]
    fn older_and_newer_field_names() {
        let decoded = deltas(&[
            r#"{"reasoning_content":"think "}"#,
            r#"{"reasoning":"more","reasoning_content":""}"#,
            r#"{"content":[{"type":"text","text":"hi"}]}"#,
            r#"{"function_call":{"name":"f","arguments":"{"}}"#,
            r#"{"function_call":{"arguments":"}"}}"#,
        ]);
        assert_eq!(decoded.reply.reasoning, "think more");
        assert_eq!(decoded.reply.content, "hi");
        assert_eq!(decoded.reply.tool_calls[0].arguments, "{}");
        assert_eq!(decoded.token_events.len(), 5);
    }

    #[test]
    fn a_usage_chunk_without_choices_is_no_token() {
        let decoded = deltas(&[r#"{"role":"assistant","content":""}"#, r#"{"content":null}"#, "{}", "7"]);
        assert_eq!(decoded.token_events, []);
    }

    #[test]
    fn broken_streams_say_why() {
        let cut = b"data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n";
        assert!(stream(cut).unwrap_err().contains("ended unfinished after 1 events"));
        assert!(stream(b"").unwrap_err().contains("after 0 events"));
        let malformed = stream(b"data: {\"choices\":[\x1b\n\n").unwrap_err();
        assert!(malformed.starts_with("event 1 of the stream is not JSON"), "{malformed}");
        assert!(malformed.ends_with("{\"choices\":[\\u{1b}"), "{malformed}");
        let error = stream(b"data: {\"error\":{\"message\":\"slot lost\",\"type\":\"server_error\"}}\n\n");
        assert_eq!(error.unwrap_err(), "the server broke off with an error: slot lost (server_error)");
        let named = stream(b"event: error\ndata: {\"code\":1}\n\n").unwrap_err();
        assert!(named.contains("broke off with an error"), "{named}");
        assert!(from_whole(b"<html>").unwrap_err().contains("not JSON"));
        assert!(from_whole(b"{}").unwrap_err().contains("no message"));
        assert!(from_whole(b"{\"error\":\"x\"}").unwrap_err().ends_with("an error: x"));
    }

    #[test]
    fn token_ids_in_every_dialect() {
        for capture in [
            fixture!("llama-server/tokenize.json"),
            fixture!("ik_llama/tokenize.json"),
            fixture!("vllm/tokenize.json"),
        ] {
            let value: Value = serde_json::from_slice(capture).unwrap();
            assert!(token_ids(&value).unwrap().len() >= 2);
        }
        for wrong in [r#"{"tokens":[-1]}"#, r#"{"tokens":[1.5]}"#, r#"{"tokens":["a"]}"#, "[]", "{}"] {
            assert_eq!(token_ids(&serde_json::from_str(wrong).unwrap()), None, "{wrong}");
        }
    }

    /// JSON of any shape, with the keys that the decoder looks at made likely.
    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            ".{0,6}".prop_map(Value::from),
        ];
        let key = prop_oneof![
            Just("choices"),
            Just("delta"),
            Just("message"),
            Just("content"),
            Just("reasoning"),
            Just("tool_calls"),
            Just("function"),
            Just("function_call"),
            Just("index"),
            Just("id"),
            Just("arguments"),
            Just("name"),
            Just("usage"),
            Just("timings"),
            Just("finish_reason"),
            Just("completion_tokens"),
            Just("predicted_n"),
            Just("prompt_n"),
            Just("cache_n"),
            Just("text"),
        ];
        leaf.prop_recursive(6, 60, 6, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::vec((key.clone(), inner), 0..5).prop_map(|pairs| {
                    Value::Object(pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
                }),
            ]
        })
    }

    /// Captured from the servers, the same request in both forms.
    #[test]
    fn streamed_and_whole_replies_make_the_same_calls() {
        let streamed = stream(fixture!("vllm/chat_tools_required.sse")).unwrap().reply;
        let whole = from_whole(fixture!("vllm/chat_tools_required.json")).unwrap().reply;
        assert!(!whole.tool_calls.is_empty());
        assert!(crate::task::tools::same_calls(&streamed, &whole));
        assert_eq!(streamed.finish_reason, whole.finish_reason);
        // SmolLM2's template drops the tools: neither form holds a call.
        for reply in [
            stream(fixture!("llama-server/chat_tools_required.sse")).unwrap().reply,
            from_whole(fixture!("llama-server/chat_tools_required.json")).unwrap().reply,
        ] {
            assert!(reply.tool_calls.is_empty());
        }
    }

    /// Calls as a whole message, and as deltas with the arguments cut into pieces of `size` characters.
    fn both_forms(calls: &[(String, String)], size: usize) -> (Reply, Reply) {
        let whole = calls.iter().map(|(name, arguments)| {
            serde_json::json!({"type": "function", "id": name, "function": {"name": name, "arguments": arguments}})
        });
        let whole = serde_json::json!({"choices": [{"message": {"tool_calls": whole.collect::<Vec<_>>()}}]});
        let mut pieces = Vec::new();
        for (index, (name, arguments)) in calls.iter().enumerate() {
            let opening =
                serde_json::json!({"index": index, "id": name, "function": {"name": name, "arguments": ""}});
            pieces.push(serde_json::json!({"tool_calls": [opening]}).to_string());
            let characters: Vec<char> = arguments.chars().collect();
            for piece in characters.chunks(size) {
                let function = serde_json::json!({"arguments": piece.iter().collect::<String>()});
                let delta = serde_json::json!({"tool_calls": [{"index": index, "function": function}]});
                pieces.push(delta.to_string());
            }
        }
        let pieces: Vec<&str> = pieces.iter().map(String::as_str).collect();
        (deltas(&pieces).reply, from_whole(whole.to_string().as_bytes()).unwrap().reply)
    }

    #[test]
    fn two_calls_of_one_id_are_two_in_both_forms() {
        let call = || ("f".to_owned(), "{}".to_owned());
        let (streamed, whole) = both_forms(&[call(), call()], 1);
        assert_eq!((streamed.tool_calls.len(), whole.tool_calls.len()), (2, 2));
    }

    proptest! {
        #[test]
        fn calls_are_the_same_however_their_arguments_are_cut(
            calls in prop::collection::vec(("[a-z]{1,6}", any::<String>()), 0..4),
            size in 1_usize..9,
        ) {
            let (streamed, whole) = both_forms(&calls, size);
            prop_assert_eq!(streamed.tool_calls, whole.tool_calls);
        }

        #[test]
        fn odd_json_never_panics(values in prop::collection::vec(any_json(), 0..5)) {
            let events: Vec<Event> = values
                .iter()
                .map(|value| Event { name: None, data: value.to_string(), end: 0 })
                .collect();
            let _ = from_events(&events);
            for event in &events {
                let _ = from_whole(event.data.as_bytes());
            }
        }
    }
}
