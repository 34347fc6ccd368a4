//! Where in a text something stands: alone, within prose, or within code.

use std::ops::Range;

use super::families::written::{Sign, Written};

/// Languages of fences that hold calls and nothing else.
const FENCES_OF_CALLS: [&str; 6] =
    ["tool_code", "tool_call", "tool_calls", "function_call", "function_calls", "tool"];

/// Returns whether only blanks stand in front on the same line.
pub(super) fn starts_line(text: &str, at: usize) -> bool {
    let before = text[..at].trim_end_matches([' ', '\t', '\r']);
    before.is_empty() || before.ends_with('\n')
}

/// A code fence.
#[derive(Debug)]
struct Fence<'a> {
    language: &'a str,
    /// With its own lines.
    outer: Range<usize>,
    /// What is within.
    inner: Range<usize>,
}

/// The calls that are meant as calls, of those that were found in a text.
pub(super) fn meant(text: &str, found: Vec<Written>) -> Vec<Written> {
    let fences = fences(text);
    let counts: Vec<bool> = found.iter().map(|call| is_meant(text, &fences, call, &found)).collect();
    found.into_iter().zip(counts).filter_map(|(call, counts)| counts.then_some(call)).collect()
}

fn is_meant(text: &str, fences: &[Fence<'_>], call: &Written, all: &[Written]) -> bool {
    let within =
        fences.iter().find(|fence| fence.inner.start <= call.span.start && call.span.start < fence.inner.end);
    if let Some(fence) = within {
        let alone = is_nothing(&text[..fence.outer.start]) && is_nothing(&text[fence.outer.end..]);
        let only_calls = covers(text, &fence.inner, all);
        return only_calls && (alone || call.sign == Sign::Json) || FENCES_OF_CALLS.contains(&fence.language);
    }
    if is_in_code_span(text, call.span.start) {
        return is_nothing(&text[..call.span.start]) && is_nothing(&text[call.span.end..]);
    }
    match call.sign {
        Sign::Marks => true,
        // Within a sentence it is an example.
        Sign::Json => {
            let line = line_of(text, call.span.start);
            let wrapped = text[..call.span.start].trim_end().ends_with(['>', ']']);
            wrapped
                || covers(text, &(line..call.span.start), all)
                || covers(text, &(call.span.start..text.len()), all)
        }
        Sign::Form => covers(text, &(line_of(text, call.span.start)..text.len()), all),
    }
}

/// Returns whether calls and what closes them take all of a stretch.
fn covers(text: &str, stretch: &Range<usize>, all: &[Written]) -> bool {
    let mut spans: Vec<&Range<usize>> = all.iter().map(|call| &call.span).collect();
    spans.sort_by_key(|span| span.start);
    let mut at = stretch.start;
    for span in spans.into_iter().filter(|span| stretch.start <= span.start && span.start < stretch.end) {
        if span.start > at && !is_nothing(&text[at..span.start]) {
            return false;
        }
        at = at.max(span.end);
    }
    at >= stretch.end || is_nothing(&text[at..stretch.end])
}

/// Returns whether a text is nothing but marks: tags, brackets, backquotes, separators.
pub(super) fn is_nothing(text: &str) -> bool {
    let mut rest = text.trim_start();
    while let Some(c) = rest.chars().next() {
        let tag = (c == '<').then(|| rest.find('>')).flatten().filter(|length| *length < 48);
        let length = match (c, tag) {
            (_, Some(length)) => length + 1,
            ('`' | '[' | ']' | '(' | ')' | '}' | ',' | ';', _) => 1,
            _ => return false,
        };
        rest = rest[length..].trim_start();
    }
    true
}

/// Where the line begins in which something stands.
fn line_of(text: &str, at: usize) -> usize {
    text[..at].rfind('\n').map_or(0, |end| end + 1)
}

fn is_in_code_span(text: &str, at: usize) -> bool {
    text[line_of(text, at)..at].bytes().filter(|byte| *byte == b'`').count() % 2 == 1
}

/// The code fences of a text in order; one that is not closed goes to the end.
fn fences(text: &str) -> Vec<Fence<'_>> {
    let mut fences: Vec<Fence<'_>> = Vec::new();
    let mut open: Option<(usize, usize, &str, &str)> = None;
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        let start = at;
        at += line.len();
        let trimmed = line.trim();
        let mark = ["```", "~~~"].into_iter().find(|mark| trimmed.starts_with(mark));
        match (open, mark) {
            (None, Some(mark)) => open = Some((start, at, mark, trimmed[mark.len()..].trim())),
            (Some((outer, inner, opened, language)), Some(mark)) if mark == opened => {
                fences.push(Fence { language, outer: outer..at, inner: inner..start });
                open = None;
            }
            _ => {}
        }
    }
    if let Some((outer, inner, _, language)) = open {
        fences.push(Fence { language, outer: outer..text.len(), inner: inner..text.len() });
    }
    fences
}
