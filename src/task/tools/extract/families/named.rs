//! Calls as a name and JSON arguments behind it: `[TOOL_CALLS]f[ARGS]{"a": 1}`.

use std::ops::Range;

use serde_json::Value;

use super::source::{Source, json_at};
use super::written::{Sign, Written};
use crate::record::Tool;
use crate::task::tools::extract::MAX_CALLS;
use crate::task::tools::extract::places::starts_line;

/// What stands in front of the name, and what may stand between it and the arguments, blanks aside.
struct Dialect {
    syntax: &'static str,
    opens: &'static [&'static str],
    between: &'static [&'static str],
    /// Whether the opening alone shows that a call is meant.
    opening_is_enough: bool,
}

/// Written between name and arguments by models of several families.
const FENCE: &str = "```json";

static DIALECTS: &[Dialect] = &[
    // Mistral since the tokenizer's version 11.
    Dialect { syntax: "mistral", opens: &["[TOOL_CALLS]"], between: &["[ARGS]"], opening_is_enough: true },
    // Kimi K2; the name has a namespace and an index.
    Dialect {
        syntax: "kimi",
        opens: &["<|tool_call_begin|>"],
        between: &["<|tool_call_argument_begin|>", "<|tool_sep|>"],
        opening_is_enough: true,
    },
    // DeepSeek V3 and R1 (`function` in front, JSON in a fence) and V3.1.
    Dialect {
        syntax: "deepseek",
        opens: &[
            "<｜tool▁call▁begin｜>function<｜tool▁sep｜>",
            "<｜tool▁call▁begin｜>",
            "<｜tool_call_begin｜>function<｜tool_sep｜>",
            "<｜tool_call_begin｜>",
            "<|tool_call_begin|>function<|tool_sep|>",
            "<|tool▁call▁begin|>function<|tool▁sep|>",
            "<|tool▁call▁begin|>",
        ],
        between: &["<｜tool▁sep｜>", "<｜tool_sep｜>", "<|tool▁sep|>", "<|tool_sep|>", FENCE],
        opening_is_enough: true,
    },
    // Harmony (gpt-oss): the recipient of a message, in the role or behind the channel; also without the special
    // tokens, which some servers leave out.
    Dialect {
        syntax: "harmony",
        opens: &["to=functions.", "to="],
        between: &["<|channel|>", "commentary", "analysis", "<|constrain|>", "json", "code", "<|message|>"],
        opening_is_enough: false,
    },
    // Solar Open.
    Dialect {
        syntax: "solar",
        opens: &["<|tool_call:name|>"],
        between: &["<|tool_call:args|>"],
        opening_is_enough: true,
    },
    // Functionary 3.2.
    Dialect { syntax: "functionary", opens: &[">>>"], between: &[], opening_is_enough: false },
    // Qwen 2 as an agent.
    Dialect {
        syntax: "qwen_agent", opens: &["✿FUNCTION✿:"], between: &["✿ARGS✿:"], opening_is_enough: true
    },
    // ReAct.
    Dialect { syntax: "react", opens: &["Action:"], between: &["Action Input:"], opening_is_enough: false },
    // A tag of another dialect around a name.
    Dialect {
        syntax: "tag_and_name",
        opens: &[
            "<tool_call>",
            "<tool_call:opensource>",
            "<|tool_call|>",
            "<|tool_call_start|>",
            "<|tool_call>",
            "<function_call>",
            "<|python_tag|>",
            "<|action_start|><|plugin|>",
        ],
        between: &["<tool_sep>", "<tool_sep:opensource>", "(", FENCE],
        opening_is_enough: true,
    },
];

/// Between a name at the start of a line and its arguments: what is left where a server leaves special tokens out,
/// and GLM 4's and ChatGLM's own manner.
const BARE_BETWEEN: &[&str] = &["[ARGS]", "<｜tool▁sep｜>", "(", FENCE, "json"];
/// Those of them that nothing else has.
const BARE_MARKS: &[&str] = &["[ARGS]", "<｜tool▁sep｜>"];

pub(super) fn read(source: &Source<'_>, found: &mut Vec<Written>) {
    for dialect in DIALECTS {
        found.extend(
            source.behind(dialect.opens).filter_map(|mark| dialect.call(source, mark)).take(MAX_CALLS),
        );
    }
    for tool in source.tools.iter().filter(|tool| !tool.name.is_empty()) {
        let places = source.text.match_indices(tool.name.as_str());
        found.extend(places.filter_map(|(start, _)| bare(source, tool, start)).take(MAX_CALLS));
    }
}

impl Dialect {
    fn call(&self, source: &Source<'_>, mark: Range<usize>) -> Option<Written> {
        let name = source.name_at(mark.end)?;
        let tool = source.tool(&source.text[name.clone()])?;
        let (body, marks) = between(source, name.end, self.between);
        let (arguments, end) = match json_at(&source.text[body..]) {
            Some((value @ Value::Object(_), length)) => (Some(value), body + length),
            _ => (None, body),
        };
        // What was begun and cannot be read is still a call where its marks say so.
        let is_meant = arguments.is_some() || self.opening_is_enough || marks.contains(&"<|message|>");
        let (name, span) = (tool.name.clone(), mark.start..end);
        is_meant.then_some(Written { syntax: self.syntax, name, arguments, span, sign: Sign::Marks })
    }
}

/// A tool's name at the start of a line with an object behind it.
fn bare(source: &Source<'_>, tool: &Tool, start: usize) -> Option<Written> {
    let text = source.text;
    let space = ["functions.", "function "].into_iter().find(|space| text[..start].ends_with(space));
    let begin = start - space.map_or(0, str::len);
    if !starts_line(text, begin) {
        return None;
    }
    let end = start + tool.name.len();
    let index = text[end..]
        .strip_prefix(':')
        .map_or(0, |digits| 1 + digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len()));
    let (body, marks) = between(source, end + index, BARE_BETWEEN);
    let (Value::Object(arguments), length) = json_at(&text[body..])? else { return None };
    let is_marked = marks.iter().any(|mark| BARE_MARKS.contains(mark));
    Some(Written {
        syntax: "name_and_json",
        name: tool.name.clone(),
        arguments: Some(Value::Object(arguments)),
        span: begin..body + length,
        sign: if is_marked { Sign::Marks } else { Sign::Form },
    })
}

/// Skips what may stand between a name and its arguments: where these begin, and the marks that were there.
fn between<'m>(source: &Source<'_>, at: usize, marks: &[&'m str]) -> (usize, Vec<&'m str>) {
    let mut at = at;
    let mut seen = Vec::new();
    loop {
        at = source.skip_blanks(at);
        let rest = &source.text[at..];
        if let Some(mark) = marks.iter().find(|mark| rest.starts_with(**mark)) {
            seen.push(*mark);
            at += mark.len();
        } else if let Some(id) = rest.strip_prefix("[CALL_ID]") {
            // Mistral's id of a call: letters and digits.
            let end = id.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(id.len());
            at += rest.len() - id.len() + end;
        } else {
            return (at, seen);
        }
        if seen.len() > 16 {
            return (at, seen);
        }
    }
}
