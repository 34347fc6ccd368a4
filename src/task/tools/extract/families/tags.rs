//! Calls as a name with pairs of keys and values in tags: `<tool_call>f<arg_key>a</arg_key><arg_value>1</arg_value>`.
//!
//! GLM 4.5 to 4.7, and Hunyuan 3 with a suffix at every tag and `<tool_sep>` behind the name.

use super::source::{Source, object, typed};
use super::written::{Sign, Written};

/// A dialect's suffix at its tags.
static SUFFIXES: &[(&str, &str)] = &[("tag_pairs", ""), ("tag_pairs", ":opensource")];

pub(super) fn read(source: &Source<'_>, found: &mut Vec<Written>) {
    for (syntax, suffix) in SUFFIXES {
        let tag = |name: &str| format!("{name}{suffix}>");
        let (key, key_end) = (tag("<arg_key"), tag("</arg_key"));
        let (value, value_end) = (tag("<arg_value"), tag("</arg_value"));
        let mut at = 0;
        while let Some(start) = source.text[at..].find(&key).map(|offset| at + offset) {
            let (name_start, name) = name_before(source.text, start);
            let Some(tool) = source.tool(name) else {
                at = start + key.len();
                continue;
            };
            let mut pairs = Vec::new();
            let mut end = start;
            while let Some(pair) = pair_at(&source.text[end..], [&key, &key_end, &value, &value_end]) {
                pairs.push((pair.0.to_owned(), typed(pair.1, tool, pair.0)));
                end += pair.2;
            }
            let arguments = (!pairs.is_empty()).then(|| object(pairs));
            at = end.max(start + key.len());
            let span = name_start..at;
            found.push(Written { syntax, name: tool.name.clone(), arguments, span, sign: Sign::Marks });
        }
    }
    without_arguments(source, found);
}

/// The name in front of the first key, behind any tag.
fn name_before(text: &str, at: usize) -> (usize, &str) {
    let mut before = text[..at].trim_end();
    // `f<tool_sep>` of Hunyuan's.
    for separator in ["<tool_sep>", "<tool_sep:opensource>"] {
        before = before.strip_suffix(separator).unwrap_or(before).trim_end();
    }
    let boundary = |c: char| c.is_whitespace() || matches!(c, '>' | '|' | ']');
    let start =
        before.rfind(boundary).map_or(0, |at| at + before[at..].chars().next().map_or(1, char::len_utf8));
    (start, &before[start..])
}

/// The key and value that a text begins with, and the bytes that they take.
fn pair_at<'a>(
    text: &'a str,
    [key, key_end, value, value_end]: [&str; 4],
) -> Option<(&'a str, &'a str, usize)> {
    let inside = text.trim_start().strip_prefix(key)?;
    let (name, rest) = inside.split_once(key_end)?;
    let inside = rest.trim_start().strip_prefix(value)?;
    let end = inside.find(value_end);
    let written = &inside[..end.unwrap_or(inside.len())];
    let used = text.len() - inside.len() + end.map_or(inside.len(), |end| end + value_end.len());
    Some((name.trim(), written, used))
}

/// `<tool_call>f</tool_call>`: a call without arguments.
fn without_arguments(source: &Source<'_>, found: &mut Vec<Written>) {
    for mark in source.behind(&["<tool_call>", "<tool_call:opensource>"]) {
        let Some(name) = source.name_at(mark.end) else { continue };
        let rest = source.text[name.end..].trim_start();
        let rest = rest.strip_prefix("<tool_sep>").unwrap_or(rest).trim_start();
        if let Some(tool) =
            source.tool(&source.text[name.clone()]).filter(|_| rest.starts_with("</tool_call"))
        {
            let (name, arguments) = (tool.name.clone(), Some(object([])));
            let span = mark.start..source.text.len() - rest.len();
            found.push(Written { syntax: "tag_pairs", name, arguments, span, sign: Sign::Marks });
        }
    }
}
