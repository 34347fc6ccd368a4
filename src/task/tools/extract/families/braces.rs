//! Calls of Gemma 4 and FunctionGemma: `<|tool_call>call:f{a:<|"|>x<|"|>,n:1}<tool_call|>`.

use serde_json::Value;

use super::source::{Source, json_at, object};
use super::written::{Sign, Written};
use crate::task::tools::extract::MAX_CALLS;
use crate::task::tools::extract::places::starts_line;

/// Levels of objects and lists that are read.
const MAX_DEPTH: usize = 64;
/// Entries of an object or a list that are read.
const MAX_ENTRIES: usize = 1024;

/// What stands in front of the name. Without its token it must begin a line.
static OPENS: &[(&str, Sign)] =
    &[("<|tool_call>call:", Sign::Marks), ("<start_function_call>call:", Sign::Marks), ("call:", Sign::Form)];

/// What stands around a text.
const QUOTES: [&str; 2] = ["<|\"|>", "<escape>"];

pub(super) fn read(source: &Source<'_>, found: &mut Vec<Written>) {
    for (open, sign) in OPENS {
        let marks = source.text.match_indices(open);
        let marks = marks.filter(|(at, _)| *sign == Sign::Marks || starts_line(source.text, *at));
        found.extend(marks.filter_map(|(at, open)| call(source, at, open, *sign)).take(MAX_CALLS));
    }
}

fn call(source: &Source<'_>, start: usize, open: &str, sign: Sign) -> Option<Written> {
    let text = source.text;
    let name = source.name_at(start + open.len())?;
    let tool = source.tool(&text[name.clone()])?;
    let close = match text[name.end..].chars().next()? {
        '{' => '}',
        '(' => ')',
        _ => return None,
    };
    let mut reader = Reader { text, at: name.end + 1, depth: 0 };
    let arguments = reader.entries(close);
    if arguments.is_none() && sign == Sign::Form {
        return None;
    }
    let span = start..reader.at;
    Some(Written { syntax: "braces", name: tool.name.clone(), arguments, span, sign })
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
}

impl<'a> Reader<'a> {
    fn entries(&mut self, close: char) -> Option<Value> {
        let mut entries = Vec::new();
        while !self.take(close) {
            let key = self.quoted().or_else(|| self.word(&[':']))?;
            let entry = self.take(':').then(|| self.value()).flatten()?;
            entries.push((key, entry));
            if entries.len() > MAX_ENTRIES || !(self.take(',') || self.rest().starts_with(close)) {
                return None;
            }
        }
        Some(object(entries))
    }

    fn value(&mut self) -> Option<Value> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return None;
        }
        let value = if let Some(text) = self.quoted() {
            Value::String(text)
        } else if self.take('{') {
            self.entries('}')?
        } else if self.take('[') {
            self.list()?
        } else {
            let word = self.word(&[',', '}', ']', ')'])?;
            serde_json::from_str(&word).unwrap_or(Value::String(word))
        };
        self.depth -= 1;
        Some(value)
    }

    fn list(&mut self) -> Option<Value> {
        let mut values = Vec::new();
        while !self.take(']') {
            values.push(self.value()?);
            if values.len() > MAX_ENTRIES || !(self.take(',') || self.rest().starts_with(']')) {
                return None;
            }
        }
        Some(Value::Array(values))
    }

    /// A text between quotes of a kind.
    fn quoted(&mut self) -> Option<String> {
        self.blanks();
        let rest = self.rest();
        if rest.starts_with('"') {
            let (value, length) = json_at(rest)?;
            self.at += length;
            self.blanks();
            return value.as_str().map(str::to_owned);
        }
        let quote = QUOTES.iter().find(|quote| rest.starts_with(**quote))?;
        let inside = &rest[quote.len()..];
        let length = inside.find(quote)?;
        self.at += 2 * quote.len() + length;
        let text = inside[..length].to_owned();
        self.blanks();
        Some(text)
    }

    /// What stands in front of one of these signs.
    fn word(&mut self, ends: &[char]) -> Option<String> {
        let rest = self.rest();
        let length = rest.find(ends)?;
        self.at += length;
        let word = rest[..length].trim();
        (!word.is_empty()).then(|| word.to_owned())
    }

    fn take(&mut self, c: char) -> bool {
        self.blanks();
        let is_there = self.rest().starts_with(c);
        self.at += if is_there { c.len_utf8() } else { 0 };
        is_there
    }

    fn blanks(&mut self) {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start().len();
    }

    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }
}
