//! Tests of captured requests.

use super::*;
use crate::record::FinishReason;
use crate::task::testing::{WordCounter, params};

const TOOLS: &str = r#"[{"type": "function", "function": {"name": "f", "description": "F.", "parameters":
        {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}}}]"#;

fn body(more: &str) -> String {
    let text = format!(
        r#"{{"model": "m", "messages": [{{"role": "user", "content": "x"}}], "tools": {TOOLS}{more}}}"#
    );
    text.replace('\n', " ")
}

fn read(text: &str) -> Result<CapturedRequest, String> {
    request(&Line { number: 3, text })
}

#[test]
fn bodies_and_batches_are_read() {
    let bare = read(&body(r#", "temperature": 0.7, "max_tokens": 9"#)).unwrap();
    assert_eq!((bare.id.as_str(), bare.max_tokens), ("3", Some(9)));
    let batch = format!(
        r#"{{"custom_id": "a", "method": "POST", "body": {}}}"#,
        body(r#", "tool_choice": "required""#)
    );
    let batch = read(&batch).unwrap();
    assert_eq!(batch.id, "a");
    let Prompt::Chat { tool_choice, tools, messages, .. } = batch.prompt else { panic!("no chat") };
    assert_eq!((tool_choice, tools[0].name.as_str(), messages.len()), (Some(ToolChoice::Required), "f", 1));
    assert!(!read(r#"{"messages": [{"role": "user", "content": "x"}]}"#).unwrap().can_be_judged());
}

#[test]
fn conversations_keep_their_calls_and_number_lexemes() {
    let line = body("").replace(r#"{"role": "user", "content": "x"}"#, r#"
            {"role": "developer", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
            {"role": "assistant", "content": null, "tool_calls": [{"id": "1", "type": "function", "function": {"name": "f", "arguments": {"n": 5.0}}}]},
            {"role": "tool", "tool_call_id": "1", "content": "ok"}"#);
    let Prompt::Chat { messages, .. } = read(&line).unwrap().prompt else { panic!("no chat") };
    assert_eq!((messages[0].role, messages[0].content.as_str()), (Role::System, "ab"));
    assert_eq!(messages[1].tool_calls[0].arguments, r#"{"n":5.0}"#);
    assert_eq!(messages[2].tool_call_id.as_deref(), Some("1"));
}

#[test]
fn what_cannot_be_sent_is_named() {
    for (line, named) in [
        ("{}".into(), "missing field `messages`"),
        (body(r#", "tool_choice": "none""#), "only auto and required"),
        (body(r#", "response_format": {"type": "grammar"}"#), "`response_format`"),
        (body(r#", "grammar": "root ::= \"x\"""#), "`grammar`"),
        (body("").replace("\"content\": \"x\"", "\"content\": [{\"type\": \"image_url\"}]"), "no pictures"),
        (body("").replace("\"user\"", "\"function\""), "role `function`"),
        (
            r#"{"messages": [], "tools": [{"function": {"name": "f", "parameters": 7}}]}"#.into(),
            "the schema of `f` is a",
        ),
    ] {
        let error = read(&line).unwrap_err();
        assert!(error.contains(named), "{line}: {error}");
    }
}

fn case_of(more: &str) -> Case {
    Format::case(&Requests, &Line { number: 1, text: &body(more) }, None).unwrap().case
}

fn reply(arguments: &[&str], finish: FinishReason) -> Reply {
    let call = |text: &&str| ToolCall { id: None, name: "f".into(), arguments: (*text).into() };
    Reply {
        tool_calls: arguments.iter().map(call).collect(),
        finish_reason: Some(finish),
        ..Reply::default()
    }
}

#[test]
fn calls_are_valid_by_the_schema_of_the_request() {
    use FinishReason::{Length, Stop, ToolCalls};
    let case = case_of("");
    for (reply, quality, label) in [
        (reply(&[r#"{"n": 1}"#], ToolCalls), Some(1.0), None),
        (reply(&[r#"{"n": 1}"#, r#"{"n": "1"}"#], ToolCalls), Some(0.5), Some("type")),
        (reply(&["{}"], ToolCalls), Some(0.0), Some("missing")),
        (reply(&["{\"n\": "], Length), Some(0.0), Some("truncated")),
        (reply(&["{\"n\": "], ToolCalls), Some(0.0), Some("bad_json")),
        (
            Reply { content: "{\"name\": \"f\", \"arguments\": {}}".into(), ..reply(&[], Stop) },
            Some(0.0),
            Some("leaked_to_content"),
        ),
        (
            Reply { content: "{\"name\": \"g\", \"arguments\": {}}".into(), ..reply(&[], Stop) },
            None,
            Some("answered"),
        ),
        (reply(&[], Stop), None, Some("answered")),
    ] {
        let outcome = Requests.score(&case, &reply);
        let score = outcome.score().unwrap();
        assert_eq!((score.quality, score.label.as_deref()), (quality, label), "{reply:?}");
        let triggered = f64::from(u8::from(!reply.tool_calls.is_empty()));
        assert_eq!(score.metrics["triggered"], triggered);
    }
    let beside =
        Reply { content: "[TOOL_CALLS]f[ARGS]{\"n\": 2}".into(), ..reply(&[r#"{"n": 1}"#], ToolCalls) };
    let outcome = Requests.score(&case, &beside);
    let score = outcome.score().unwrap();
    assert_eq!((score.quality, score.label.as_deref()), (Some(0.5), Some("leaked_to_content")));
    let again = Reply { content: "[TOOL_CALLS]f[ARGS]{\"n\": 1.0}".into(), ..beside };
    assert_eq!(Requests.score(&case, &again).score().unwrap().quality, Some(1.0), "parsed, and left there");
    let cut = Reply { content: "[TOOL_CALLS]f[ARGS]{\"n\": ".into(), ..reply(&[], Length) };
    assert_eq!(Requests.score(&case, &cut).score().unwrap().label.as_deref(), Some("truncated"));
    let required = case_of(r#", "tool_choice": "required""#);
    let score = Requests.score(&required, &reply(&[], Stop));
    assert_eq!(score.score().unwrap().label.as_deref(), Some("no_call"));
    let twice = Requests.score(&case, &reply(&[r#"{"n": 1, "n": 2}"#], ToolCalls));
    assert_eq!(twice.score().unwrap().metrics["duplicate_keys"], 1.0);
}

#[test]
fn a_schema_that_cannot_be_read_loses_its_own_case_only() {
    let reference = body("").replace("\"integer\"", "\"integer\", \"$ref\": \"#/$defs/Gone\"");
    let case = Format::case(&Requests, &Line { number: 1, text: &reference }, None).unwrap().case;
    let called = Requests.score(&case, &reply(&[r#"{"n": 1}"#], FinishReason::ToolCalls));
    let Outcome::Unscored { reason } = called else { panic!("{called:?}") };
    assert!(reason.contains("schema of `f` cannot be read") && reason.contains("Gone"), "{reason}");
    let answered = Requests.score(&case, &reply(&[], FinishReason::Stop));
    assert_eq!(answered.score().unwrap().label.as_deref(), Some("answered"));
}

#[test]
fn replies_without_calls_are_judged_by_the_schema_that_they_are_held_to() {
    use FinishReason::{Length, Stop, ToolCalls};
    let schema = r#"{"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}"#;
    let format = format!(
        r#"{{"messages": [{{"role": "user", "content": "x"}}], "response_format": {{"type": "json_schema", "json_schema": {{"name": "n", "schema": {schema}}}}}}}"#
    );
    let of = |text: &str| Format::case(&Requests, &Line { number: 1, text }, None).unwrap().case;
    let says = |content: &str, finish| Reply { content: content.into(), ..reply(&[], finish) };
    for (content, finish, quality, label) in [
        (r#"{"a": 1}"#, Stop, Some(1.0), None),
        (r#"{"a": "1"}"#, Stop, Some(0.0), Some("type")),
        ("{}", Stop, Some(0.0), Some("missing")),
        (r#"{"a": 1"#, Length, Some(0.0), Some("truncated")),
        ("I would say 1.", Stop, Some(0.0), Some("no_json")),
    ] {
        let outcome = Requests.score(&of(&format), &says(content, finish));
        let score = outcome.score().unwrap();
        assert_eq!((score.quality, score.label.as_deref()), (quality, label), "{content}");
        assert_eq!(score.metrics["triggered"], 0.0);
    }
    // Beside tools the schema is for what is no call.
    let both = case_of(r#", "response_format": {"type": "json_object"}"#);
    let quality = |reply: &Reply| Requests.score(&both, reply).score().unwrap().quality;
    assert_eq!(quality(&reply(&[r#"{"n": 1}"#], ToolCalls)), Some(1.0));
    assert_eq!(quality(&says("{}", Stop)), Some(1.0));
    assert_eq!(quality(&says("[]", Stop)), Some(0.0), "an object was asked for");
    let plain = of(r#"{"messages": [{"role": "user", "content": "x"}]}"#);
    let outcome = Requests.score(&plain, &says("hello", Stop));
    assert_eq!(
        (outcome.score().unwrap().quality, outcome.score().unwrap().label.as_deref()),
        (None, Some("answered"))
    );
}

#[test]
fn what_only_we_cannot_judge_is_sent_and_unscored() {
    use FinishReason::{Stop, ToolCalls};
    let far = body("").replace(r#"{"type": "integer"}"#, r##"{"$ref": "#/$defs/absent"}"##);
    let case = Format::case(&Requests, &Line { number: 1, text: &far }, None).unwrap().case;
    let Outcome::Unscored { reason } = Requests.score(&case, &reply(&[r#"{"n": 1}"#], ToolCalls)) else {
        panic!("a judgement without a schema")
    };
    assert!(reason.contains("`f`") && reason.contains("absent"), "{reason}");
    let mut held = case_of(r#", "guided_json": {"$ref": "https://example.test/far.json"}"#);
    let says = Reply { content: "{}".into(), ..reply(&[], Stop) };
    assert!(matches!(Requests.score(&held, &says), Outcome::Unscored { .. }));
    if let Prompt::Chat { response_schema, .. } = &mut held.prompt {
        *response_schema = None;
    }
    assert!(matches!(Requests.score(&held, &says), Outcome::Scored(_)));
}

#[test]
fn a_suite_sends_the_first_requests_with_tools() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("r.jsonl");
    let plain = r#"{"messages": [{"role": "user", "content": "x"}]}"#;
    std::fs::write(&path, [plain.to_owned(), body(", \"max_tokens\": 20"), body("")].join("\n")).unwrap();
    let mut params = params(1024, 2, Some(Arm::Native));
    params.file = Some(path);
    let cases = Requests.cases(&params, 1, &WordCounter::default()).unwrap();
    assert_eq!(
        cases.iter().map(|case| (case.index, case.max_tokens)).collect::<Vec<_>>(),
        [(0, 20), (1, 512)]
    );
    params.samples = 3;
    assert!(
        Requests
            .cases(&params, 1, &WordCounter::default())
            .unwrap_err()
            .to_string()
            .contains("holds 2 cases")
    );
    params.context = 64;
    assert!(
        Requests
            .cases(&params, 1, &WordCounter::default())
            .unwrap_err()
            .to_string()
            .contains("r.jsonl:2: the prompt has")
    );
}
