//! Calls as Python: `[f(a=1), g()]`, bare or within a dialect's marks.

use std::ops::Range;

use serde_json::Value;

use super::source::{Source, object};
use super::written::{Sign, Written};
use crate::task::tools::extract::MAX_CALLS;
use crate::task::tools::extract::places::starts_line;
use crate::task::tools::python::calls::{Call, one};

/// What stands in front of the calls of a dialect.
static MARKS: &[&str] = &[
    // Llama 4.
    "<|python_start|>",
    // Llama 3.1 and later, for the tools that it was trained with.
    "<|python_tag|>",
    // LFM 2; MiniCPM 3 and 4 with a fence within.
    "<|tool_call_start|>",
    // Olmo 3.
    "<function_calls>",
    // Gemma 3.
    "```tool_code",
    "<tool_code>",
    // Tags of other dialects around a call.
    "<tool_call>",
    "<|tool_call|>",
    "<|tool_call>",
    "<TOOLCALL>",
    "[TOOL_CALLS]",
];

/// What may stand in front of a call, between calls and behind them, blanks aside.
const AROUND: [&str; 9] = ["print(", "```python", "```", "[", "]", ",", ")", ";", "</tool_call><tool_call>"];

pub(super) fn read(source: &Source<'_>, found: &mut Vec<Written>) {
    for mark in source.behind(MARKS).take(MAX_CALLS) {
        row(source, mark, Sign::Marks, found);
    }
    for tool in source.tools.iter().filter(|tool| !tool.name.is_empty()) {
        let places = source.text.match_indices(tool.name.as_str());
        let begins = places.filter_map(|(at, name)| begins_row(source.text, at, at + name.len()));
        for start in begins.take(MAX_CALLS) {
            row(source, start..start, Sign::Form, found);
        }
    }
}

/// Where a row of calls begins whose first name is this one: at the start of a line, with brackets in front.
fn begins_row(text: &str, name: usize, end: usize) -> Option<usize> {
    if !text[end..].starts_with(['(', '.']) {
        return None;
    }
    let before = &text[..name];
    let before =
        ["default_api.", "functions."].iter().find_map(|space| before.strip_suffix(space)).unwrap_or(before);
    let before = before.strip_suffix("print(").unwrap_or(before);
    let before = before.trim_end_matches(['[', ' ']);
    starts_line(text, before.len()).then_some(before.len())
}

/// Reads calls, one after another, as far as they go.
fn row(source: &Source<'_>, mark: Range<usize>, sign: Sign, found: &mut Vec<Written>) {
    let text = source.text;
    let first = found.len();
    let mut start = mark.start;
    let mut at = skip(text, mark.end);
    while found.len() - first < MAX_CALLS {
        let Some(name) = source.name_at(at) else { break };
        let tool = source.tool(&text[name.clone()]);
        let (arguments, end) = match (one(&text[at..]), tool) {
            (Ok((call, length)), _) => (Some(arguments(call)), at + length),
            // A call that cannot be read is one where its marks say so.
            (Err(_), Some(_)) if sign == Sign::Marks && text[name.end..].starts_with('(') => (None, name.end),
            (Err(_), _) => break,
        };
        let is_read = arguments.is_some();
        let behind = skip(text, end);
        if let Some(tool) = tool {
            let (name, span) = (tool.name.clone(), start..behind);
            found.push(Written { syntax: "pythonic", name, arguments, span, sign });
        }
        if !is_read {
            break;
        }
        (start, at) = (behind, behind);
    }
}

/// Behind what may stand around calls.
fn skip(text: &str, mut at: usize) -> usize {
    loop {
        let rest = &text[at..];
        let blanks = rest.len() - rest.trim_start().len();
        let around = AROUND.iter().find(|around| rest[blanks..].starts_with(**around));
        match around {
            Some(around) => at += blanks + around.len(),
            None => return at + blanks,
        }
    }
}

fn arguments(call: Call) -> Value {
    object(call.arguments.into_iter().map(|(key, value)| (key, value.to_json())))
}
