//! Calls that the server left in the text, in whatever syntax the model writes them.
//!
//! A call has leaked where it names a tool that was offered, stands outside of the thinking, and is meant as a call:
//! talk about a syntax, examples in code and the tools' own descriptions are none. A call within the thinking is one
//! only where the reply ends with it and says nothing: then the model called, and nobody got the call. Anything else
//! in the thinking is a thought about a call.

use super::families::{FAMILIES, Sign, Source, Written};
use super::places::{is_nothing, meant};
use super::{Call, Extraction, MAX_BYTES, MAX_CALLS, from_text, head};
use crate::record::{Reply, Tool, thinking};
use crate::task::tools::numbers::same_json;

/// Calls that a server should have taken out of a reply.
#[derive(Debug, Clone, PartialEq)]
pub struct Leak {
    /// The calls in the order of the text, at least one.
    pub calls: Vec<Written>,
    /// They stand at the end of the thinking, with nothing behind it.
    pub in_thinking: bool,
}

impl Leak {
    /// Returns whether marks of a model's own syntax show that a call is meant, not just JSON or Python.
    pub fn has_marks(&self) -> bool {
        self.calls.iter().any(|call| call.sign == Sign::Marks)
    }
}

/// The calls of offered tools that a reply holds beside those that the server parsed. Some servers leave the text of
/// what they parsed in the reply: that has not leaked.
pub fn leak(reply: &Reply, offered: &[Tool]) -> Option<Leak> {
    if offered.is_empty() {
        return None;
    }
    let parted = thinking::part(&reply.content);
    let mut calls = meant(head(&parted.rest, MAX_BYTES), read(&parted.rest, offered));
    calls.retain(|call| !is_parsed(call, reply));
    if !calls.is_empty() {
        return Some(Leak { calls, in_thinking: false });
    }
    let is_silent = reply.tool_calls.is_empty() && parted.answer.trim().is_empty();
    let thought = if parted.thinking.trim().is_empty() { &reply.reasoning } else { parted.thinking.as_ref() };
    let calls = if is_silent { at_the_end(thought, offered) } else { Vec::new() };
    (!calls.is_empty()).then_some(Leak { calls, in_thinking: true })
}

fn is_parsed(written: &Written, reply: &Reply) -> bool {
    let same = |arguments: &str| match (serde_json::from_str(arguments), &written.arguments) {
        (Ok(parsed), Some(written)) => same_json(&parsed, written),
        _ => false,
    };
    reply.tool_calls.iter().take(MAX_CALLS).any(|call| call.name == written.name && same(&call.arguments))
}

/// The calls of a reply to a prompt that describes the tools: JSON as the prompt asks for it, else the model's own
/// syntax.
pub fn from_prompted(reply: &Reply, offered: &[Tool]) -> Extraction {
    let parted = thinking::part(&reply.content);
    let asked_for = from_text(&parted.answer);
    if matches!(asked_for, Extraction::Calls(_)) {
        return asked_for;
    }
    let own = meant(head(&parted.rest, MAX_BYTES), read(&parted.rest, offered));
    let calls: Option<Vec<Call>> = own
        .into_iter()
        .map(|written| written.arguments.map(|arguments| Call { name: written.name, arguments }))
        .collect();
    calls.filter(|calls| !calls.is_empty()).map_or(asked_for, Extraction::Calls)
}

/// Every call of an offered tool that some family sees, each once, in the order of the text.
fn read(text: &str, offered: &[Tool]) -> Vec<Written> {
    let source = Source { text: head(text, MAX_BYTES), tools: offered };
    let mut seen: Vec<Written> = Vec::new();
    for family in FAMILIES {
        let mut found = Vec::new();
        family(&source, &mut found);
        for call in found {
            // Several calls of one JSON value share its place.
            let clashes = |other: &Written| {
                let same_value = other.span == call.span && call.syntax == "json" && other.syntax == "json";
                other.span.start < call.span.end && call.span.start < other.span.end && !same_value
            };
            // Who reads the arguments knows better than who just sees a call.
            if call.arguments.is_some() {
                seen.retain(|other| other.arguments.is_some() || !clashes(other));
            }
            if seen.len() < MAX_CALLS && !seen.iter().any(clashes) {
                seen.push(call);
            }
        }
    }
    seen.sort_by_key(|call| call.span.start);
    seen
}

/// The marked calls that a text ends with.
fn at_the_end(text: &str, offered: &[Tool]) -> Vec<Written> {
    let text = tail(text, MAX_BYTES);
    let mut calls = read(text, offered);
    let mut end = text.len();
    let mut kept = calls.len();
    for call in calls.iter().rev() {
        let wrapped = call.sign == Sign::Marks || text[..call.span.start].trim_end().ends_with(['>', ']']);
        if !wrapped || !(call.span.end >= end || is_nothing(&text[call.span.end..end])) {
            break;
        }
        kept -= 1;
        end = call.span.start;
    }
    calls.drain(..kept);
    calls
}

/// At most `max` bytes of the end of a text.
fn tail(text: &str, max: usize) -> &str {
    &text[text.ceil_char_boundary(text.len().saturating_sub(max))..]
}

#[cfg(test)]
mod tests;
