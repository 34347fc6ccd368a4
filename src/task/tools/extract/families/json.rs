//! Calls as JSON objects, in whatever they are wrapped: `<tool_call>{"name": "f", "arguments": {..}}</tool_call>`.
//!
//! Bare, in a list, in a code fence; in the tags of Hermes and Qwen, Granite (`<|tool_call|>`), Llama
//! (`<|python_tag|>`), Mistral (`[TOOL_CALLS]`), Jamba and Hunyuan (`<tool_calls>`), Nemotron (`<TOOLCALL>`), InternLM
//! (`<|action_start|>`), Cohere (`<|START_ACTION|>`), Phi 4 (`functools`), xLAM, ERNIE, LongCat, Apertus and others: the
//! object is what shows the call, the wrapping does not matter.

use std::ops::Range;

use serde_json::{Map, Value};

use super::source::{Source, object};
use super::written::{Sign, Written};
use crate::task::tools::extract::{MAX_CALLS, MAX_FAILURES};

/// Keys under which dialects name the function.
const NAMES: [&str; 7] =
    ["name", "function", "tool_name", "tool", "function_name", "action", "recipient_name"];
/// Keys under which they give its arguments.
const ARGUMENTS: [&str; 9] = [
    "arguments",
    "parameters",
    "args",
    "tool_input",
    "action_input",
    "input",
    "params",
    "kwargs",
    "tool_args",
];
/// Keys under which calls lie deeper.
const WRAPPERS: [&str; 6] = ["tool_calls", "function", "function_call", "tool_call", "tool_uses", "calls"];
/// Levels of lists and wrappers that are gone into.
const MAX_DEPTH: usize = 8;

pub(super) fn read(source: &Source<'_>, found: &mut Vec<Written>) {
    let text = source.text;
    let mut failures = 0;
    let mut at = 0;
    while let Some(offset) = text[at..].find(['{', '[']) {
        at += offset;
        let mut values = serde_json::Deserializer::from_str(&text[at..]).into_iter::<Value>();
        if let Some(Ok(value)) = values.next() {
            let end = at + values.byte_offset();
            collect(source, &value, at..end, MAX_DEPTH, found);
            at = end;
        } else {
            found.extend(begun(source, at));
            failures += 1;
            at += 1;
        }
        if failures > MAX_FAILURES || found.len() >= MAX_CALLS {
            return;
        }
    }
}

fn collect(source: &Source<'_>, value: &Value, span: Range<usize>, depth: usize, found: &mut Vec<Written>) {
    let Some(depth) = depth.checked_sub(1) else { return };
    match value {
        Value::Array(values) => {
            values
                .iter()
                .take(MAX_CALLS)
                .for_each(|value| collect(source, value, span.clone(), depth, found));
        }
        Value::Object(entries) => {
            if let Some(call) = call(source, entries, &span) {
                found.push(call);
                return;
            }
            let inner = WRAPPERS.iter().filter_map(|key| entries.get(*key));
            inner.for_each(|inner| collect(source, inner, span.clone(), depth, found));
        }
        _ => {}
    }
}

fn call(source: &Source<'_>, entries: &Map<String, Value>, span: &Range<usize>) -> Option<Written> {
    let named = NAMES.iter().find_map(|key| source.tool(entries.get(*key)?.as_str()?));
    let written = |name: &str, arguments: Option<Value>, sign| {
        Some(Written { syntax: "json", name: name.to_owned(), arguments, span: span.clone(), sign })
    };
    let Some(tool) = named else {
        // Apertus: the name is the only key.
        let mut all = entries.iter();
        let (Some((name, arguments @ Value::Object(_))), None) = (all.next(), all.next()) else {
            return None;
        };
        let sign = if is_wrapped(source.text, span.start) { Sign::Marks } else { Sign::Form };
        return written(&source.tool(name)?.name, Some(arguments.clone()), sign);
    };
    match ARGUMENTS.iter().find_map(|key| entries.get(*key)) {
        // The tool itself, as it was offered: what talks about tools repeats that.
        Some(arguments) if is_schema(arguments) || entries.contains_key("description") => None,
        Some(Value::String(text)) if text.trim().is_empty() => {
            written(&tool.name, Some(object([])), Sign::Json)
        }
        Some(Value::String(text)) => written(&tool.name, serde_json::from_str(text).ok(), Sign::Json),
        Some(arguments) => written(&tool.name, Some(arguments.clone()), Sign::Json),
        None if entries.len() == 1 && is_wrapped(source.text, span.start) => {
            written(&tool.name, Some(object([])), Sign::Marks)
        }
        None => None,
    }
}

fn is_schema(arguments: &Value) -> bool {
    arguments.get("properties").is_some_and(Value::is_object)
        && arguments.get("type").and_then(Value::as_str) == Some("object")
}

/// Returns whether a tag stands in front, also where a list opens in between.
fn is_wrapped(text: &str, at: usize) -> bool {
    text[..at].trim_end_matches(|c: char| c.is_whitespace() || c == '[').ends_with(['>', ']'])
}

/// An object that begins as a call of an offered tool and is not JSON: `{"name": "f", ..` or `{'name': 'f', ..`.
fn begun(source: &Source<'_>, at: usize) -> Option<Written> {
    let blank = |c: char| c.is_whitespace();
    let quote = |text: &str| text.chars().next().filter(|c| matches!(c, '"' | '\''));
    let mut rest = source.text[at..].strip_prefix('{')?.trim_start_matches(blank);
    let mark = quote(rest)?;
    let (key, behind) = rest[1..].split_once(mark)?;
    if !NAMES.contains(&key) {
        return None;
    }
    rest = behind.trim_start_matches(blank).strip_prefix(':')?.trim_start_matches(blank);
    let mark = quote(rest)?;
    let (name, behind) = rest[1..].split_once(mark)?;
    let tool = source.tool(name)?;
    let span = at..source.text.len() - behind.len();
    Some(Written { syntax: "json", name: tool.name.clone(), arguments: None, span, sign: Sign::Json })
}
