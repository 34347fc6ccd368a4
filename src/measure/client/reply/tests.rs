use proptest::prelude::*;

use super::*;
use crate::measure::client::sse::{Bounds, decode};
use crate::record::token_lengths;

macro_rules! fixture {
    ($name:literal) => {
        include_bytes!(concat!("../../../../tests/fixtures/", $name)).as_slice()
    };
}

fn stream(bytes: &[u8]) -> Result<Decoded, NoReply> {
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

/// What servers really sent: with counts on every event, and with one at the end.
#[test]
fn events_say_where_tokens_lie() {
    for (capture, first, count) in [
        (fixture!("llama-server/chat_ngram_spec.sse"), ["Sure", ",", " here", " are"], 120),
        (fixture!("vllm/chat_continuous_usage.sse"), ["1", ".", " ", "1"], 60),
        (fixture!("ik_llama/chat.sse"), ["1", ",", " ", "2"], 60),
    ] {
        let reply = stream(capture).unwrap().reply;
        let text = reply.text();
        let pieces = token_lengths::read(&reply.token_lengths, &text);
        let said: Vec<&str> = pieces.iter().map(|piece| &text[piece.bytes.clone()]).collect();
        assert!(said.starts_with(&first) && said.len() == count, "{said:?}");
        assert!(said.concat() == text && pieces.iter().all(|piece| piece.tokens == 1));
    }
    // 11 tokens in 10 events: the one that ended the reply, or two in one of them.
    assert_eq!(stream(fixture!("sglang/chat_cold.sse")).unwrap().reply.token_lengths, "");
    let choices = br#"data: {"choices":[{"delta":{"content":"a"}},{"index":1,"delta":{"content":"b"}}],"usage":{"completion_tokens":1}}"#;
    let several = [choices.as_slice(), b"\n\ndata: [DONE]\n\n"].concat();
    assert_eq!(stream(&several).unwrap().reply.token_lengths, "");
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
    assert_eq!((calls.len(), calls[0].name.as_str(), calls[0].arguments.as_str()), (1, "get_weather", "{}"));
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
    let call = serde_json::json!({ "id": "call_a", "index": 0, "type": "function", "function": function });
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

fn named(decoded: &Decoded) -> Vec<(&str, &str)> {
    decoded.reply.tool_calls.iter().map(|call| (call.name.as_str(), call.arguments.as_str())).collect()
}

/// Ollama 0.20, LiteLLM's `ollama_chat`, older vLLM: all calls have index 0, and ids of their own.
#[test]
fn calls_that_all_have_index_0_go_by_their_ids() {
    let whole_each = deltas(&[
        r#"{"tool_calls":[{"index":0,"id":"a","function":{"name":"f","arguments":"{\"x\":1}"}}]}"#,
        r#"{"tool_calls":[{"index":0,"id":"b","function":{"name":"f","arguments":"{\"x\":2}"}}]}"#,
        r#"{"tool_calls":[{"index":0,"id":"c","function":{"name":"g","arguments":""}},{"index":0,"id":"d","function":{"name":"g","arguments":"{}"}}]}"#,
    ]);
    assert_eq!(named(&whole_each), [("f", "{\"x\":1}"), ("f", "{\"x\":2}"), ("g", ""), ("g", "{}")]);
    let in_pieces = deltas(&[
        r#"{"tool_calls":[{"index":0,"id":"a","function":{"name":"f","arguments":""}}]}"#,
        r#"{"tool_calls":[{"index":0,"id":"","function":{"name":null,"arguments":"{\"x\""}}]}"#,
        r#"{"tool_calls":[{"index":0,"function":{"arguments":":1}"}}]}"#,
        r#"{"tool_calls":[{"index":0,"id":"b","function":{"name":"f","arguments":""}}]}"#,
        r#"{"tool_calls":[{"index":0,"id":"","function":{"name":null,"arguments":"{\"x\":2}"}}]}"#,
        r#"{"tool_calls":[{"index":0,"id":"a","function":{"arguments":" "}}]}"#,
    ]);
    assert_eq!(named(&in_pieces), [("f", "{\"x\":1} "), ("f", "{\"x\":2}")]);
}

#[test]
fn a_new_id_without_a_name_stays_a_fragment() {
    for index in [r#""index":0,"#, ""] {
        let pieces = [
            format!(r#"{{"tool_calls":[{{{index}"id":"a","function":{{"name":"f","arguments":"{{"}}}}]}}"#),
            format!(
                r#"{{"tool_calls":[{{{index}"id":"b","function":{{"name":"","arguments":"\"x\":1"}}}}]}}"#
            ),
            format!(r#"{{"tool_calls":[{{{index}"id":"c","function":{{"arguments":"}}"}}}}]}}"#),
        ];
        let decoded = deltas(&pieces.each_ref().map(String::as_str));
        assert_eq!(named(&decoded), [("f", "{\"x\":1}")]);
        assert_eq!(decoded.reply.tool_calls[0].id.as_deref(), Some("a"));
    }
}

#[test]
fn calls_of_one_index_without_ids_are_told_apart_where_one_is_complete() {
    for index in [r#""index":0,"#, ""] {
        let piece = |name: &str, arguments: &str| {
            format!(
                r#"{{"tool_calls":[{{{index}"function":{{"name":"{name}","arguments":"{arguments}"}}}}]}}"#
            )
        };
        // The name is repeated with every piece, as some servers do.
        let pieces = [
            piece("f", "{"),
            piece("f", "}"),
            piece("f", ""),
            piece("f", "{}"),
            piece("g", ""),
            piece("", "{}"),
        ];
        let decoded = deltas(&pieces.each_ref().map(String::as_str));
        assert_eq!(named(&decoded), [("f", "{}"), ("f", "{}"), ("g", "{}")]);
    }
}

#[test]
fn calls_of_a_whole_message_go_by_position() {
    let call = |id: &str, city: &str| {
        let arguments = format!("{{\"city\":\"{city}\"}}");
        serde_json::json!({ "id": id, "index": 0, "function": { "name": "f", "arguments": arguments } })
    };
    let calls = [call("a", "Lima"), call("a", "Oslo"), call("", "Rome")];
    let whole = serde_json::json!({ "choices": [{ "message": { "tool_calls": calls } }] });
    let decoded = from_whole(whole.to_string().as_bytes()).unwrap();
    let cities: Vec<_> = named(&decoded).iter().map(|(_, arguments)| arguments.to_string()).collect();
    assert_eq!(cities, [r#"{"city":"Lima"}"#, r#"{"city":"Oslo"}"#, r#"{"city":"Rome"}"#]);
}

#[test]
fn the_choice_of_index_0_counts_wherever_it_stands() {
    let event = |first: &str, zeroth: &str| {
        serde_json::json!({ "choices": [
            { "index": 1, "delta": { "content": first } }, { "index": 0, "delta": { "content": zeroth } },
        ] })
    };
    let only_other = serde_json::json!({ "choices": [
        { "index": 1, "delta": { "content": "!" }, "finish_reason": "length" },
    ] });
    let end = serde_json::json!({ "choices": [{ "index": 0, "delta": {}, "finish_reason": "stop" }] });
    let decoded = streamed(&[event("no", "yes"), event("pe", " sir"), only_other, end]);
    assert_eq!(decoded.reply.content, "yes sir");
    assert_eq!((decoded.reply.finish_reason, decoded.other_choices), (Some(FinishReason::Stop), true));
    assert_eq!(decoded.token_events.len(), 2);
    let whole =
        r#"{"choices":[{"index":1,"message":{"content":"no"}},{"index":0,"message":{"content":"yes"}}]}"#;
    assert_eq!(from_whole(whole.as_bytes()).unwrap().reply.content, "yes");
}

#[test]
fn an_empty_reason_is_no_end() {
    for empty in [r#""""#, r#"" ""#, r#""null""#, r#""None""#, "null"] {
        let event = format!(
            "data: {{\"choices\":[{{\"delta\":{{\"content\":\"a\"}},\"finish_reason\":{empty}}}]}}\n\n"
        );
        let cut = stream(event.as_bytes()).unwrap_err().message;
        assert!(cut.contains("ended unfinished after 1 events"), "{empty}: {cut}");
        let ended = stream(format!("{event}data: [DONE]\n\n").as_bytes()).unwrap();
        assert_eq!((ended.reply.finish_reason, ended.reply.content.as_str()), (None, "a"), "{empty}");
        let reason = event.replace(empty, "\"stop\"");
        let both = stream(format!("{reason}{event}").as_bytes()).unwrap();
        assert_eq!(both.reply.finish_reason, Some(FinishReason::Stop), "{empty}");
    }
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
    assert!(stream(cut).unwrap_err().message.contains("ended unfinished after 1 events"));
    assert!(stream(b"").unwrap_err().message.contains("after 0 events"));
    let malformed = stream(b"data: {\"choices\":[\x1b\n\n").unwrap_err().message;
    assert!(malformed.starts_with("event 1 of the stream is not JSON"), "{malformed}");
    assert!(malformed.ends_with("{\"choices\":[\\u{1b}"), "{malformed}");
    let error = stream(b"data: {\"error\":{\"message\":\"slot lost\",\"type\":\"server_error\"}}\n\n");
    assert_eq!(error.unwrap_err().message, "the server broke off with an error: slot lost (server_error)");
    let refused = stream(
        b"data: {\"error\":{\"message\":\"Grammar error: Unimplemented keys\",\"type\":\"BadRequestError\",\"code\":400}}\n\n",
    );
    assert_eq!(
        refused.unwrap_err(),
        NoReply {
            message: "HTTP 400 (within HTTP 200): Grammar error: Unimplemented keys (BadRequestError)".into(),
            refused: true
        }
    );
    let late = b"data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\ndata: {\"error\":{\"message\":\"m\",\"code\":400}}\n\n";
    assert!(!stream(late).unwrap_err().refused, "something was generated");
    let named = stream(b"event: error\ndata: {\"code\":1}\n\n").unwrap_err().message;
    assert!(named.contains("broke off with an error"), "{named}");
    assert!(from_whole(b"<html>").unwrap_err().message.contains("not JSON"));
    assert!(from_whole(b"{}").unwrap_err().message.contains("no message"));
    assert!(from_whole(b"{\"error\":\"x\"}").unwrap_err().message.ends_with("an error: x"));
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

    #[test]
    fn events_read_without_a_document_come_to_the_same(
        events in prop::collection::vec(prop_oneof![4 => event_text(), 1 => any_json().prop_map(|v| v.to_string())], 0..8),
    ) {
        let events: Vec<Event> =
            events.into_iter().map(|data| Event { name: None, data, end: 0 }).collect();
        prop_assert_eq!(from_events(&events), assembled(&events, Assembly::see_document));
    }
}

/// The text of an event as servers write it, with a field or two out of the ordinary.
fn event_text() -> impl Strategy<Value = String> {
    let value = || {
        prop::sample::select(vec![
            "null",
            "0",
            "1",
            "7",
            "-1",
            "1.5",
            "1e999",
            "\"\"",
            "\"a\"",
            "\"\\u00e4\"",
            "\"\\ud83e\\udd80\"",
            "\"\\ud83e\"",
            "\"stop\"",
            "\"length\"",
            "[]",
            "[1]",
            "[\"a\"]",
            "[{\"type\":\"text\",\"text\":\"b\"}]",
            "{}",
            "{\"a\":1}",
            "[{\"index\":0,\"id\":\"c\",\"function\":{\"name\":\"f\",\"arguments\":\"{\"}}]",
            "true",
            "nonsense",
            "{\"$serde_json::private::Number\":\"x\"}",
        ])
    };
    let fields = |names: &'static [&'static str], most: usize| {
        prop::collection::vec((prop::sample::select(names), value()), 0..most).prop_map(|fields| {
            fields.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect::<Vec<_>>()
        })
    };
    let object = |mut fields: Vec<String>, more: Option<String>| {
        fields.extend(more);
        format!("{{{}}}", fields.join(","))
    };
    let delta = fields(
        &[
            "content",
            "content",
            "reasoning_content",
            "reasoning",
            "thinking",
            "role",
            "tool_calls",
            "function_call",
        ],
        3,
    );
    let choice =
        (fields(&["index", "finish_reason", "logprobs", "message", "delta"], 2), delta, any::<bool>())
            .prop_map(move |(outer, delta, has)| {
                object(outer, has.then(|| format!("\"delta\":{}", object(delta, None))))
            });
    let counts =
        fields(&["completion_tokens", "prompt_tokens", "predicted_n", "draft_n", "draft_n_accepted"], 4);
    (
        fields(&["id", "error", "choices", "usage", "timings"], 2),
        prop::collection::vec(choice, 0..3),
        counts,
        prop::sample::select(vec!["usage", "timings", "other"]),
    )
        .prop_map(move |(outer, choices, counts, holder)| {
            let mut all = outer;
            all.push(format!("\"choices\":[{}]", choices.join(",")));
            object(all, Some(format!("\"{holder}\":{}", object(counts, None))))
        })
}

#[test]
fn what_servers_send_is_read_without_a_document() {
    for (bytes, least) in [
        (fixture!("llama-server/chat_ngram_spec.sse"), 0.9),
        (fixture!("vllm-0.23/chat_cold.sse"), 0.9),
        (fixture!("sglang/chat_cold.sse"), 0.9),
    ] {
        let bounds = Bounds { line: 1 << 20, event: 1 << 20 };
        let events = decode(bytes, bounds).unwrap();
        let plain = events.iter().filter(|event| plain::read(event).is_some()).count();
        assert!(plain as f64 >= least * (events.len() - 1) as f64, "{plain} of {}", events.len());
        assert_eq!(from_events(&events), assembled(&events, Assembly::see_document));
    }
}
