//! A user's own traffic: a chat-completion body a line, as a client sends it (or wrapped in `{"custom_id",
//! "body"}`, as batch files have it). Messages, tools, `tool_choice` and the schema that the reply is held to are
//! sent as they are; sampling and the output budget are the suite's, the same for every setting.
//!
//! Nobody says what would be right, so three things are measured, in the manner of vendor verifiers: whether a
//! setting calls tools where the reference does (the trigger, compared in the analysis), whether the calls it
//! makes are valid against the schemas that the request itself offers, and whether a reply without calls is valid
//! against the schema that the request holds it to.

use serde::Deserialize;
use serde_json::{Map, Value};

use super::{Format, Imported, Line, Matching, bad_line, file_at, kind_of, lines, name_of, size, too_few};
use crate::error::Result;
use crate::record::{
    ANY_OBJECT, Arm, Case, Message, Outcome, Prompt, Reply, Role, Score, Tool, ToolCall, ToolChoice,
};
use crate::task::retrieval::ran_out;
use crate::task::tools::extract::{Call, Extraction, Leak, leak, read_server};
use crate::task::tools::json_schema::{by_schema, is_about_a_schema};
use crate::task::tools::ladder::{Fault, schema_check};
use crate::task::tools::schema::Schema;
use crate::task::{Card, Emit, Params, STREAM_CHECK, Task, TaskOption, TokenCounter, collected};

mod form;

use form::any_object;

/// Name of the task that imported requests belong to.
pub const TASK: &str = "tools/requests";

static OPTIONS: &[TaskOption] = &[
    TaskOption {
        name: "output_tokens",
        help: "output budget in tokens; a request's own is used where it is smaller",
        default: 512,
        min: 16,
        max: 65_536,
        difficulty: None,
    },
    STREAM_CHECK,
];

/// A user's requests, as a format for scoring and as the task `tools/requests`.
#[derive(Debug)]
pub struct Requests;

#[derive(Deserialize)]
struct Body {
    messages: Vec<Said>,
    #[serde(default)]
    tools: Option<Vec<Offered>>,
    #[serde(default)]
    tool_choice: Option<Value>,
    #[serde(default)]
    max_tokens: Option<u32>,
    #[serde(default)]
    max_completion_tokens: Option<u32>,
}

#[derive(Deserialize)]
struct Said {
    role: String,
    #[serde(default)]
    content: Value,
    #[serde(default)]
    tool_calls: Option<Vec<Called>>,
    #[serde(default)]
    tool_call_id: Option<String>,
}

#[derive(Deserialize)]
struct Called {
    #[serde(default)]
    id: Option<String>,
    function: Function,
}

#[derive(Deserialize)]
struct Function {
    name: String,
    #[serde(default)]
    arguments: Value,
}

#[derive(Deserialize)]
struct Offered {
    function: Documented,
}

#[derive(Deserialize)]
struct Documented {
    name: String,
    #[serde(default)]
    description: Option<String>,
    #[serde(default)]
    parameters: Value,
}

/// A request that can be sent.
#[derive(Debug, PartialEq)]
struct Request {
    id: String,
    prompt: Prompt,
    max_tokens: Option<u32>,
}

impl Request {
    /// Whether its reply can be right or wrong: it offers tools, or holds the reply to a schema.
    fn can_be_judged(&self) -> bool {
        let Prompt::Chat { tools, response_schema, .. } = &self.prompt else { return false };
        !tools.is_empty() || response_schema.is_some()
    }
}

/// Reads a line.
fn request(line: &Line<'_>) -> Result<Request, String> {
    let not = |error: serde_json::Error| format!("not a chat-completion request: {error}");
    let mut row: Value = serde_json::from_str(line.text).map_err(not)?;
    let id = match row.get("custom_id").or(row.get("id")) {
        Some(id) => name_of(id).map_err(|error| format!("`custom_id`: {error}"))?,
        None => line.number.to_string(),
    };
    let body = row.get_mut("body").map(Value::take).unwrap_or(row);
    let response_schema = form::schema(&body)?;
    let body: Body = serde_json::from_value(body).map_err(not)?;
    let max_tokens = body.max_completion_tokens.or(body.max_tokens);
    Ok(Request { id, prompt: prompt(body, response_schema)?, max_tokens })
}

fn prompt(body: Body, response_schema: Option<Value>) -> Result<Prompt, String> {
    let tools: Vec<Tool> = body.tools.into_iter().flatten().map(tool).collect::<Result<_, _>>()?;
    Ok(Prompt::Chat {
        messages: body.messages.into_iter().map(message).collect::<Result<_, _>>()?,
        tools,
        tool_choice: Some(tool_choice(body.tool_choice.as_ref())?),
        response_schema,
    })
}

fn message(said: Said) -> Result<Message, String> {
    let role = match said.role.as_str() {
        "system" | "developer" => Role::System,
        "user" => Role::User,
        "assistant" => Role::Assistant,
        "tool" => Role::Tool,
        other => return Err(format!("a message of the role `{other}` cannot be sent")),
    };
    let calls = said.tool_calls.into_iter().flatten().map(|call| ToolCall {
        id: call.id,
        name: call.function.name,
        arguments: match call.function.arguments {
            Value::String(text) => text,
            Value::Null => "{}".into(),
            object => object.to_string(),
        },
    });
    Ok(Message {
        role,
        content: text(said.content)?,
        tool_calls: calls.collect(),
        tool_call_id: said.tool_call_id,
    })
}

/// A message's text: a string, or parts that are all text.
fn text(content: Value) -> Result<String, String> {
    match content {
        Value::Null => Ok(String::new()),
        Value::String(text) => Ok(text),
        Value::Array(parts) => parts
            .iter()
            .map(|part| part.get("text").and_then(Value::as_str))
            .collect::<Option<String>>()
            .ok_or_else(|| "only parts of text can be sent, no pictures or sound".into()),
        other => Err(format!("`content` is {}", kind_of(&other))),
    }
}

fn tool(offered: Offered) -> Result<Tool, String> {
    let Documented { name, description, parameters } = offered.function;
    let parameters = match parameters {
        Value::Null => Value::Object(Map::from_iter([("type".into(), "object".into())])),
        parameters => parameters,
    };
    if !parameters.is_object() {
        return Err(format!("the schema of `{name}` is {}", kind_of(&parameters)));
    }
    tell_of(&format!("the schema of `{name}`"), &parameters);
    Ok(Tool { name, description: description.unwrap_or_default(), parameters })
}

fn tool_choice(choice: Option<&Value>) -> Result<ToolChoice, String> {
    match choice {
        None | Some(Value::Null) => Ok(ToolChoice::Auto),
        Some(Value::String(word)) if word == "auto" => Ok(ToolChoice::Auto),
        Some(Value::String(word)) if word == "required" => Ok(ToolChoice::Required),
        Some(other) => {
            Err(format!("`tool_choice` is {other}: only auto and required are sent, leave this request out"))
        }
    }
}

/// Says what cannot be judged here, or by another draft than it names. It is sent as it is: a client may send a schema
/// that makes no sense, and a server may take it all the same.
fn tell_of(what: &str, schema: &Value) {
    match Schema::compile(schema) {
        Ok(schema) => {
            if let Some(draft) = schema.unknown_draft() {
                tracing::warn!(
                    "{what}: `$schema` names no draft that is known here, `{draft}`: judged by 2020-12"
                );
            }
        }
        Err(error) => tracing::warn!("{what} cannot be used here, replies to it are unscored: {error}"),
    }
}

fn case(request: Request, arm: Option<Arm>, index: u32) -> Case {
    Case {
        id: String::new(),
        task: TASK.into(),
        task_version: Requests.version(),
        arm,
        context: 0,
        index,
        depth: None,
        cluster: format!("{TASK}/{}", request.id),
        prompt: request.prompt,
        max_tokens: 0,
        prompt_tokens: 0,
        target: Value::Object(Map::from_iter([("source".into(), request.id.into())])),
    }
}

impl Format for Requests {
    fn name(&self) -> &'static str {
        "requests"
    }

    fn summary(&self) -> &'static str {
        "chat-completion bodies: are calls and replies valid against the request's own schemas?"
    }

    fn case(&self, line: &Line<'_>, matching: Option<Matching>) -> Result<Imported, String> {
        if matching.is_some() {
            return Err("--match is not for requests: they name no answers".into());
        }
        let request = request(line)?;
        let id = request.id.clone();
        let index = u32::try_from(line.number - 1).unwrap_or(u32::MAX);
        Ok(Imported { id, case: case(request, None, index).seal() })
    }
}

impl Task for Requests {
    fn card(&self) -> Card {
        Card {
            name: TASK,
            summary: "your own requests: tools called where the reference calls them, arguments and replies valid by the request's schemas",
            version: 2,
            arms: &[Arm::Native],
            options: OPTIONS,
            ..Card::PRIMARY
        }
    }

    fn reads_file(&self) -> bool {
        true
    }

    fn max_tokens(&self, params: &Params) -> u32 {
        params.option(self, "output_tokens")
    }

    fn cases(&self, params: &Params, seed: u64, tokens: &dyn TokenCounter) -> Result<Vec<Case>> {
        collected(|emit| self.each_case(params, seed, tokens, emit))
    }

    /// The first requests with tools or a schema for the reply, as many as the suite asks for: nothing is drawn, the seed is not used.
    fn each_case(&self, params: &Params, _: u64, tokens: &dyn TokenCounter, emit: Emit<'_>) -> Result<()> {
        let path = file_at(TASK, params)?;
        let mut made = 0;
        lines(&path, |number, text| {
            if made == params.samples {
                return Ok(());
            }
            let bad = |reason: String| bad_line(&path, number, &reason);
            let request = text.and_then(|text| request(&Line { number, text })).map_err(bad)?;
            if !request.can_be_judged() {
                return Ok(());
            }
            let budget = self.max_tokens(params);
            let budget = request.max_tokens.map_or(budget, |own| own.clamp(1, budget));
            let mut case = case(request, params.arm, made);
            if let Some(reason) = size(&mut case, params.context, budget, tokens)? {
                return Err(bad(reason).hint("give the task a larger context, or leave this request out"));
            }
            made += 1;
            emit(case.seal())
        })?;
        if made < params.samples {
            return Err(too_few(TASK, &path, made as usize, params.samples));
        }
        Ok(())
    }

    /// The share of the calls that are valid, or whether a reply without calls is valid by the schema that it is held
    /// to; no quality for a reply that neither called nor had to, and is held to nothing.
    fn score(&self, case: &Case, reply: &Reply) -> Outcome {
        let Prompt::Chat { tools, tool_choice, response_schema, .. } = &case.prompt else {
            return Outcome::Unscored { reason: "the case is no conversation".into() };
        };
        let (found, odd) = read_server(&reply.tool_calls);
        let leak = leak(reply, tools);
        let score = match (found, &leak) {
            (Extraction::Calls(calls), leak) => match (of_calls(&calls, tools), leak) {
                (Err(reason), _) => return Outcome::Unscored { reason },
                (Ok(score), None) => score,
                (Ok(score), Some(leak)) => beside(&score, leak),
            },
            (Extraction::BadJson, _) if ran_out(reply) => failed(Fault::Truncated),
            (Extraction::BadJson, _) => failed(Fault::BadJson),
            (Extraction::NoCall, Some(leak)) if ran_out(reply) && is_cut_off(leak) => {
                failed(Fault::Truncated)
            }
            (Extraction::NoCall, Some(leak)) => leaked(leak, tools),
            (Extraction::NoCall, None) if *tool_choice == Some(ToolChoice::Required) => failed(Fault::NoCall),
            (Extraction::NoCall, None) => {
                match response_schema.as_ref().map(|schema| of_reply(schema, reply)) {
                    Some(Ok(score)) => score,
                    Some(Err(reason)) => return Outcome::Unscored { reason },
                    None => Score::default().labelled("answered"),
                }
            }
        };
        let triggered = f64::from(u8::from(triggered(reply)));
        let score = odd.names().fold(score, |score, name| score.with(name, 1.0));
        // Where both disagree, the calls are believed, and that is reported.
        let score = if reply.end_denies_calls() { score.with("finish_disagrees", 1.0) } else { score };
        Outcome::Scored(score.with("triggered", triggered))
    }

    /// A schema that the server cannot make a grammar of is its own limit, not the case's end.
    fn refused(&self, _: &Case, words: &str) -> Option<Outcome> {
        let score = || Score::of(0.0).with("compiled", 0.0).labelled("not_compiled");
        is_about_a_schema(words).then(|| Outcome::Scored(score()))
    }

    /// `same_trigger`: 1 where both called tools or neither did; `same_calls`: 1 where the calls are the same.
    fn compare(
        &self,
        _: &Case,
        reply: &Reply,
        reference: &Reply,
    ) -> Option<std::collections::BTreeMap<String, f64>> {
        let bit = |is: bool| f64::from(u8::from(is));
        let same_trigger = triggered(reply) == triggered(reference);
        let same_calls = crate::task::tools::same_calls(reply, reference);
        Some([("same_trigger".into(), bit(same_trigger)), ("same_calls".into(), bit(same_calls))].into())
    }

    /// There is no telling what the arguments should be.
    fn perfect(&self, _: &Case) -> Option<Reply> {
        None
    }
}

/// Name of the figure for the calls that the server left in the text.
pub const LEAKED_CALLS: &str = "leaked_calls";

/// Whether a reply called tools: its calls say so, whatever reason the server gave for its end.
pub fn triggered(reply: &Reply) -> bool {
    !reply.tool_calls.is_empty()
}

/// Judges calls.
///
/// # Errors
/// Why that cannot be told of one of them.
fn of_calls(calls: &[Call], tools: &[Tool]) -> Result<Score, String> {
    let faults: Vec<Option<Fault>> = calls.iter().map(|call| fault(call, tools)).collect::<Result<_, _>>()?;
    let faults: Vec<Fault> = faults.into_iter().flatten().collect();
    let valid = (calls.len() - faults.len()) as f64;
    let score =
        Score::of(valid / calls.len() as f64).with("calls", calls.len() as f64).with("valid_calls", valid);
    Ok(match faults.iter().min() {
        Some(fault) => score.labelled(fault.name()),
        None => score,
    })
}

fn fault(call: &Call, tools: &[Tool]) -> Result<Option<Fault>, String> {
    match tools.iter().find(|tool| tool.name == call.name) {
        Some(tool) => schema_check(&tool.parameters, &call.arguments).map_err(|reason| {
            format!("the request's own schema of `{}` cannot be read here: {reason}", tool.name)
        }),
        None => Ok(Some(Fault::UnknownTool)),
    }
}

/// Judges a reply by the schema that its request holds it to.
fn of_reply(schema: &Value, reply: &Reply) -> Result<Score, String> {
    let any = any_object();
    let schema = if *schema == ANY_OBJECT { &any } else { schema };
    by_schema(schema, reply).map(|(score, _)| score)
}

/// A call that cannot be used counts as one that is not valid.
fn failed(fault: Fault) -> Score {
    Score::of(0.0).with("calls", 1.0).with("valid_calls", 0.0).labelled(fault.name())
}

/// Calls that the server's parser left in the text: none of them counts, whoever reads it. How many they are, and how
/// many of them would have been valid, is said beside.
fn leaked(leak: &Leak, tools: &[Tool]) -> Score {
    let valid = leak.calls.iter().filter(|written| {
        let call = written.arguments.clone().map(|arguments| Call { name: written.name.clone(), arguments });
        call.is_some_and(|call| fault(&call, tools) == Ok(None))
    });
    let score = Score::of(0.0).labelled(Fault::LeakedToContent.name());
    let score = score.with("calls", leak.calls.len() as f64).with("valid_calls", 0.0);
    let score =
        score.with(LEAKED_CALLS, leak.calls.len() as f64).with("leaked_valid_calls", valid.count() as f64);
    if leak.in_thinking { score.with("leaked_in_thinking", 1.0) } else { score }
}

/// The score of the calls that the server parsed, and of those that it left in the text beside them.
fn beside(parsed: &Score, leak: &Leak) -> Score {
    let figure = |name: &str| parsed.metrics.get(name).copied().unwrap_or_default();
    let (leaked, valid) = (leak.calls.len() as f64, figure("valid_calls"));
    let calls = figure("calls") + leaked;
    let label = parsed.label.as_deref().unwrap_or(Fault::LeakedToContent.name());
    let score = Score::of(valid / calls).labelled(label);
    score.with("calls", calls).with("valid_calls", valid).with(LEAKED_CALLS, leaked)
}

/// Whether the last call is not complete.
fn is_cut_off(leak: &Leak) -> bool {
    leak.calls.last().is_none_or(|call| call.arguments.is_none())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::FinishReason;
    use crate::task::conformance::{WordCounter, params};

    const TOOLS: &str = r#"[{"type": "function", "function": {"name": "f", "description": "F.", "parameters":
        {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}}}]"#;

    fn body(more: &str) -> String {
        let text = format!(
            r#"{{"model": "m", "messages": [{{"role": "user", "content": "x"}}], "tools": {TOOLS}{more}}}"#
        );
        text.replace('\n', " ")
    }

    fn read(text: &str) -> Result<Request, String> {
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
        assert_eq!(
            (tool_choice, tools[0].name.as_str(), messages.len()),
            (Some(ToolChoice::Required), "f", 1)
        );
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
            (
                body("").replace("\"content\": \"x\"", "\"content\": [{\"type\": \"image_url\"}]"),
                "no pictures",
            ),
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
        assert_eq!(
            Requests.score(&case, &again).score().unwrap().quality,
            Some(1.0),
            "parsed, and left there"
        );
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
    fn replies_are_compared_with_the_references() {
        use FinishReason::{Stop, ToolCalls};
        let case = case_of("");
        let one = reply(&[r#"{"n": 1}"#], ToolCalls);
        for (other, trigger, calls) in [
            (reply(&[r#"{ "n" : 1 }"#], ToolCalls), 1.0, 1.0),
            (reply(&[r#"{"n": 2}"#], ToolCalls), 1.0, 0.0),
            (reply(&[], Stop), 0.0, 0.0),
        ] {
            let figures = Requests.compare(&case, &other, &one).unwrap();
            assert_eq!((figures["same_trigger"], figures["same_calls"]), (trigger, calls));
        }
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
}
