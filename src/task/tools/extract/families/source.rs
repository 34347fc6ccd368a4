//! What families read, and how they read values.

use std::ops::Range;

use serde_json::{Map, Value};

use crate::record::Tool;

/// What a family reads: a text and the tools that count.
pub(in crate::task::tools::extract) struct Source<'a> {
    pub(in crate::task::tools::extract) text: &'a str,
    pub(in crate::task::tools::extract) tools: &'a [Tool],
}

/// Namespaces that models put in front of names, as their templates have them.
const NAMESPACES: [&str; 4] = ["functions.", "default_api.", "tools.", "tool."];

impl<'a> Source<'a> {
    /// The offered tool that a written name means: without a namespace in front, an index (`:0`) or a method
    /// (`.call`) behind.
    pub(super) fn tool(&self, written: &str) -> Option<&'a Tool> {
        let written = written.trim();
        let exact = |name: &str| self.tools.iter().find(|tool| tool.name == name);
        let plain = NAMESPACES.iter().find_map(|space| written.strip_prefix(space)).unwrap_or(written);
        let plain = plain.strip_suffix(".call").unwrap_or(plain);
        let unnumbered =
            plain.rsplit_once(':').filter(|(_, index)| index.bytes().all(|b| b.is_ascii_digit()));
        exact(written).or_else(|| exact(plain)).or_else(|| exact(unnumbered?.0))
    }

    /// The name at the beginning of what stands at `at`, behind blanks: where it begins and ends.
    pub(super) fn name_at(&self, at: usize) -> Option<Range<usize>> {
        let start = self.skip_blanks(at);
        let rest = &self.text[start..];
        let is_of_name = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | ':' | '/');
        let end = rest.find(|c: char| !is_of_name(c)).unwrap_or(rest.len());
        (end > 0).then(|| start..start + end)
    }

    pub(super) fn skip_blanks(&self, at: usize) -> usize {
        self.text.len() - self.text[at..].trim_start().len()
    }

    /// Every place behind one of these marks.
    pub(super) fn behind<'m>(&self, marks: &'m [&str]) -> impl Iterator<Item = Range<usize>> + use<'a, 'm> {
        let text = self.text;
        marks.iter().flat_map(move |mark| text.match_indices(*mark).map(|(at, mark)| at..at + mark.len()))
    }
}

/// The JSON value that a text begins with, and the bytes that it takes.
pub(super) fn json_at(text: &str) -> Option<(Value, usize)> {
    let mut values = serde_json::Deserializer::from_str(text).into_iter::<Value>();
    let value = values.next()?.ok()?;
    Some((value, values.byte_offset()))
}

/// A value that is written without quotes, by the type that the tool's schema gives it: what is no text is JSON, or
/// Python's word for it. Where it is neither, it stays text.
pub(super) fn typed(raw: &str, tool: &Tool, key: &str) -> Value {
    let schema = tool.parameters.get("properties").and_then(|all| all.get(key));
    let text = || Value::String(raw.to_owned());
    if schema.is_none_or(takes_text) {
        return text();
    }
    match (raw.trim(), serde_json::from_str(raw)) {
        (_, Ok(value)) => value,
        ("True", _) => Value::Bool(true),
        ("False", _) => Value::Bool(false),
        ("None", _) => Value::Null,
        _ => text(),
    }
}

fn takes_text(schema: &Value) -> bool {
    let is_text = |kind: &Value| kind.as_str() == Some("string");
    let of_type = schema.get("type").is_some_and(|kind| match kind {
        Value::Array(kinds) => kinds.iter().any(is_text),
        kind => is_text(kind),
    });
    let of_values =
        schema.get("enum").and_then(Value::as_array).is_some_and(|all| all.iter().any(Value::is_string));
    let mut alternatives = ["anyOf", "oneOf"].iter().filter_map(|key| schema.get(*key)?.as_array()).flatten();
    of_type || of_values || alternatives.any(|one| one.get("type").is_some_and(is_text))
}

/// Arguments as an object.
pub(super) fn object(entries: impl IntoIterator<Item = (String, Value)>) -> Value {
    Value::Object(Map::from_iter(entries))
}
