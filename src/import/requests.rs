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

use super::format::{Format, Imported, Matching};
use super::lines::{Line, lines};
use super::suite_file::{bad_line, file_at, size, too_few};
use super::values::{kind_of, name_of};
use crate::error::Result;
use crate::record::{
    ANY_OBJECT, Arm, Case, Message, Outcome, Prompt, Reply, Role, Score, Tool, ToolCall, ToolChoice,
};
use crate::task::retrieval::ran_out;
use crate::task::tools::extract::{Call, Extraction, Leak, leak, read_server};
use crate::task::tools::fault::Fault;
use crate::task::tools::held::check::Constraint;
use crate::task::tools::json_schema::{by_schema, is_about_a_schema};
use crate::task::tools::ladder::schema_check;
use crate::task::{
    Card, Comparison, Emit, Needs, Params, STREAM_CHECK, Task, TaskOption, TokenCounter, collected,
};

mod form;

use form::any_object;

/// Name of the task that imported requests belong to.
const TASK: &str = "tools/requests";

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
struct CapturedRequest {
    id: String,
    prompt: Prompt,
    max_tokens: Option<u32>,
}

impl CapturedRequest {
    /// Returns whether its reply can be right or wrong: it offers tools, or holds the reply to a schema.
    fn can_be_judged(&self) -> bool {
        let Prompt::Chat { tools, response_schema, .. } = &self.prompt else { return false };
        !tools.is_empty() || response_schema.is_some()
    }
}

/// Reads a line.
fn request(line: &Line<'_>) -> Result<CapturedRequest, String> {
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
    Ok(CapturedRequest { id, prompt: prompt(body, response_schema)?, max_tokens })
}

fn prompt(body: Body, response_schema: Option<Value>) -> Result<Prompt, String> {
    let tools: Vec<Tool> = body.tools.into_iter().flatten().map(tool).collect::<Result<_, _>>()?;
    Ok(Prompt::Chat {
        messages: body.messages.into_iter().map(message).collect::<Result<_, _>>()?,
        tools,
        tool_choice: Some(tool_choice(body.tool_choice.as_ref())?),
        response_schema: response_schema.map(Box::new),
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
    form::warn_of_schema(&format!("the schema of `{name}`"), &parameters);
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

fn case(request: CapturedRequest, arm: Option<Arm>, index: u32) -> Case {
    let cluster = format!("{TASK}/{}", request.id);
    let target = Value::Object(Map::from_iter([("source".into(), request.id.into())]));
    Case::new(TASK, Requests.card().version, index, request.prompt, target).in_arm(arm).in_cluster(cluster)
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
            needs: Needs { reads_file: true, ..Needs::SHORT },
            ..Card::PRIMARY
        }
    }

    fn max_tokens(&self, params: &Params) -> u32 {
        params.option(&self.card(), "output_tokens")
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
                match response_schema.as_deref().map(|schema| of_reply(schema, reply)) {
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

    /// Servers hold calls to their tools' schemas whatever the arm.
    fn constraints(&self, case: &Case) -> Vec<Constraint> {
        Constraint::of_prompt(&case.prompt)
    }

    fn constrains_every_arm(&self) -> bool {
        true
    }

    // A perfect reply is not known: there is no telling what the arguments should be.

    fn comparison(&self) -> Comparison {
        Comparison::Calls(triggered)
    }
}

/// Name of the figure for the calls that the server left in the text.
pub const LEAKED_CALLS: &str = "leaked_calls";

/// Returns whether a reply called tools: its calls say so, whatever reason the server gave for its end.
fn triggered(reply: &Reply) -> bool {
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

/// Returns whether the last call is not complete.
fn is_cut_off(leak: &Leak) -> bool {
    leak.calls.last().is_none_or(|call| call.arguments.is_none())
}

#[cfg(test)]
mod tests;
