//! Calls as elements: `<function=f><parameter=a>1</parameter></function>`, `<invoke name="f">..</invoke>`.

use serde_json::Value;

use super::source::{Source, json_at, object, typed};
use super::written::{Sign, Written};
use crate::record::Tool;
use crate::task::tools::extract::MAX_CALLS;

/// Parameters of a call that are read.
const MAX_PARAMETERS: usize = 256;

/// How a dialect writes an element of a call and those of its parameters: what stands in front of the name, and what
/// behind it. An element ends with its own closing tag, or where the next one begins.
struct Dialect {
    syntax: &'static str,
    call: &'static str,
    /// Behind the names of calls and parameters.
    after_name: char,
    parameter: &'static [&'static str],
    call_ends: &'static [&'static str],
    parameter_ends: &'static [&'static str],
}

static DIALECTS: &[Dialect] = &[
    // Qwen3-Coder, Nemotron 3, Step 3.5, MiMo 2, Seed-OSS (within <seed:tool_call>); with JSON inside: Llama 3.1 and
    // Functionary 3.1.
    Dialect {
        syntax: "function_equals",
        call: "<function=",
        after_name: '>',
        parameter: &["<parameter="],
        call_ends: &["</function>", "</tool_call>", "</seed:tool_call>", "<function="],
        parameter_ends: &["</parameter>", "<parameter=", "</function>"],
    },
    // MiniMax M2 (within <minimax:tool_call>), Step 3 (steptml:), DeepSeek V3.2 and V4 (｜DSML｜), Claude's manner.
    Dialect {
        syntax: "invoke",
        call: "invoke name=\"",
        after_name: '"',
        parameter: &["parameter name=\""],
        call_ends: &["invoke>", "tool_call>", "function_calls>", "tool_calls>", "invoke name=\""],
        parameter_ends: &["parameter>", "parameter name=\"", "invoke>"],
    },
    // Grok.
    Dialect {
        syntax: "function_call_name",
        call: "function_call name=\"",
        after_name: '"',
        parameter: &["parameter name=\""],
        call_ends: &["function_call>", "function_call name=\""],
        parameter_ends: &["parameter>", "parameter name=\"", "function_call>"],
    },
    // MiniCPM 5 and other models that follow it.
    Dialect {
        syntax: "function_name",
        call: "<function name=\"",
        after_name: '"',
        parameter: &["<param name=\"", "<parameter name=\""],
        call_ends: &["</function>", "</tool_call>", "<function name=\""],
        parameter_ends: &["</param>", "</parameter>", "<param name=\"", "<parameter name=\"", "</function>"],
    },
];

pub(super) fn read(source: &Source<'_>, found: &mut Vec<Written>) {
    for dialect in DIALECTS {
        let mark = [dialect.call];
        let marks = source.behind(&mark);
        found.extend(marks.filter_map(|mark| dialect.call(source, mark.start, mark.end)).take(MAX_CALLS));
    }
    for tool in source.tools.iter().filter(|tool| !tool.name.is_empty()) {
        let mark = format!("<{}>", tool.name);
        let places = source.text.match_indices(&mark).take(MAX_CALLS);
        found.extend(places.filter_map(|(at, _)| by_name(source, tool, at)));
    }
}

/// `<f><a>1</a></f>`, as agents' prompts teach it: tags that are named as the tool and its parameters, and nothing
/// else between them.
fn by_name(source: &Source<'_>, tool: &Tool, start: usize) -> Option<Written> {
    let (open, close) = (format!("<{}>", tool.name), format!("</{}>", tool.name));
    let body = start + open.len();
    let length = source.text[body..].find(&close)?;
    let inside = source.text[body..body + length].trim();
    let arguments = match json_at(inside) {
        Some((value @ Value::Object(_), read)) if read == inside.len() => value,
        _ => object(children(inside, tool)?),
    };
    let span = start..body + length + close.len();
    let (name, arguments) = (tool.name.clone(), Some(arguments));
    Some(Written { syntax: "tags_by_name", name, arguments, span, sign: Sign::Marks })
}

/// The elements that a text consists of, each a parameter of the tool.
fn children(inside: &str, tool: &Tool) -> Option<Vec<(String, Value)>> {
    let properties = tool.parameters.get("properties").and_then(Value::as_object);
    let mut read = Vec::new();
    let mut rest = inside.trim();
    while !rest.is_empty() && read.len() < MAX_PARAMETERS {
        let (key, behind) = rest.strip_prefix('<')?.split_once('>')?;
        properties.filter(|all| all.contains_key(key))?;
        let (raw, behind) = behind.split_once(&format!("</{key}>"))?;
        read.push((key.to_owned(), typed(without_tag(raw), tool, key)));
        rest = behind.trim_start();
    }
    Some(read)
}

impl Dialect {
    fn call(&self, source: &Source<'_>, mark: usize, at: usize) -> Option<Written> {
        let text = source.text;
        let name = text[at..].split(self.after_name).next().filter(|name| name.len() < 256)?;
        let tool = source.tool(name)?;
        let name_end = at + name.len();
        let body = match self.after_name {
            '"' => name_end + text[name_end..].find('>')? + 1,
            _ => text.len().min(name_end + 1),
        };
        let close = first(text, body, self.call_ends).map(|(at, _)| at);
        let end = close.unwrap_or(text.len());
        let inside = &text[body..end];
        let arguments = match json_at(inside) {
            Some((value @ Value::Object(_), _)) => value,
            _ => object(self.parameters(inside, tool)),
        };
        // A tag in a sentence, with nothing of a call behind it.
        let is_empty = arguments.as_object().is_some_and(serde_json::Map::is_empty);
        if close.is_none() && is_empty && !inside.trim().is_empty() {
            return None;
        }
        let arguments = Some(arguments);
        // A tag begins further to the left than the name's mark where it has a namespace.
        let start = text[..mark].rfind('<').filter(|open| mark - open < 24).unwrap_or(mark);
        let start = if self.call.starts_with('<') { mark } else { start };
        Some(Written {
            syntax: self.syntax,
            name: tool.name.clone(),
            arguments,
            span: start..end,
            sign: Sign::Marks,
        })
    }

    fn parameters(&self, inside: &str, tool: &Tool) -> Vec<(String, Value)> {
        let mut read = Vec::new();
        let mut at = 0;
        while let Some((_, mark_end)) =
            first(inside, at, self.parameter).filter(|_| read.len() < MAX_PARAMETERS)
        {
            let Some(key) = inside[mark_end..].split(self.after_name).next() else { break };
            let key_end = mark_end + key.len();
            let Some(tag_end) = inside[key_end..].find('>').map(|offset| key_end + offset) else { break };
            let attributes = &inside[key_end..tag_end];
            let value = tag_end + 1;
            let end = first(inside, value, self.parameter_ends).map_or(inside.len(), |(at, _)| at);
            let raw = without_tag(&inside[value..end]);
            let value = match attributes {
                _ if attributes.contains("string=\"true\"") => Value::String(raw.to_owned()),
                _ if attributes.contains("string=\"false\"") => {
                    serde_json::from_str(raw).unwrap_or_else(|_| Value::String(raw.to_owned()))
                }
                _ => typed(raw, tool, key.trim()),
            };
            read.push((key.trim().to_owned(), value));
            at = end;
        }
        read
    }
}

/// The first of these marks at or behind `at`: where it begins and ends.
fn first(text: &str, at: usize, marks: &[&str]) -> Option<(usize, usize)> {
    let found = marks.iter().filter_map(|mark| text[at..].find(mark).map(|offset| (at + offset, mark.len())));
    found.min().map(|(start, length)| (start, start + length))
}

/// A value without the line ends around it and the beginning of the tag that ends it.
fn without_tag(raw: &str) -> &str {
    let raw = match raw.rfind('<') {
        Some(open) if raw.len() - open < 24 && !raw[open..].contains(['>', ' ', '\n']) => &raw[..open],
        _ => raw,
    };
    let raw = raw.strip_prefix("\r\n").or_else(|| raw.strip_prefix('\n')).unwrap_or(raw);
    raw.strip_suffix("\r\n").or_else(|| raw.strip_suffix('\n')).unwrap_or(raw)
}
