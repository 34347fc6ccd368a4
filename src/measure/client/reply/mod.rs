//! Putting a reply together from its events, or reading it whole. Servers differ and replies are hostile:
//! unknown fields are ignored, fields of a wrong type count as missing.

use serde_json::Value;
use thiserror::Error;

use self::calls::Calls;
use self::pieces::{Pieces, Written};
use self::plain::Plain;
use super::drafts::{DraftCounter, Drafted};
use super::http::server_words;
use super::sse::Event;
use super::timeline::Counts;
use crate::console::shown;
use crate::record::{FinishReason, Reply, Source, said};

mod calls;
mod pieces;
mod plain;
mod thinking;

/// A decoded reply.
#[derive(Debug, Clone, PartialEq)]
pub struct Decoded {
    /// What the model wrote.
    pub reply: Reply,
    /// What the engine counted.
    pub counts: Counts,
    /// Events that carry tokens, in order; empty for a whole reply.
    pub token_events: Vec<Tokens>,
    /// There were choices beside the one that was asked for: the engine's counts hold their tokens too.
    pub other_choices: bool,
    /// Tokens of the thinking and who counted them, where the reply thinks and somebody can tell.
    pub thinking: Option<(u64, Source)>,
    /// The last event with `usage` or `timings`, or the whole reply; null when there is none.
    pub last: Value,
}

/// Why there is no reply.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{message}")]
pub struct NoReply {
    /// What is wrong, safe to show.
    pub message: String,
    /// The server refused the request: nothing was generated.
    pub refused: bool,
}

impl NoReply {
    fn of(message: String) -> Self {
        Self { message, refused: false }
    }

    /// Behind so many tokens: what comes behind one is no refusal.
    fn after(self, tokens: usize) -> Self {
        Self { refused: self.refused && tokens == 0, ..self }
    }
}

/// An event that carries tokens: text of the reply, or a count of tokens that grew although their text is kept back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tokens {
    /// Position in the list of events.
    pub index: usize,
    /// Tokens generated up to and including it, if it says so.
    pub tokens: Option<u64>,
}

/// Puts a streamed chat completion together.
///
/// # Errors
/// Says what is wrong when an event is not JSON, the server reports an error in the stream, or the stream
/// ended before it was finished.
pub fn from_events(events: &[Event]) -> Result<Decoded, NoReply> {
    assembled(events, Assembly::see)
}

/// As [`from_events`]; `see` takes an event.
fn assembled(
    events: &[Event],
    see: impl Fn(&mut Assembly, usize, &Event) -> Result<Seen, NoReply>,
) -> Result<Decoded, NoReply> {
    let mut assembly = Assembly::default();
    let mut token_events = Vec::new();
    let mut drafts = DraftCounter::default();
    let mut running = RunningCount::default();
    let mut pieces = Pieces::default();
    let mut last = None;
    let mut done = false;
    for (index, event) in events.iter().enumerate() {
        if event.is_done() {
            done = true;
            break;
        }
        let seen = see(&mut assembly, index, event).map_err(|broken| broken.after(token_events.len()))?;
        pieces.see(assembly.written(), seen.tokens);
        let counted = running.grows(seen.tokens, seen.carries);
        if seen.carries || (counted && seen.goes_on && assembly.finish_reason.is_none()) {
            token_events.push(Tokens { index, tokens: seen.tokens });
        }
        drafts.see(seen.drafted);
        if seen.counts {
            last = Some((index, event));
        }
    }
    if !done && assembly.finish_reason.is_none() {
        return Err(NoReply::of(format!(
            "the stream ended unfinished after {} events (no finish_reason, no [DONE])",
            events.len()
        )));
    }
    if let Some((index, event)) = last {
        assembly.last = parse(index, event)?;
    }
    let mut decoded = assembly.decoded(token_events);
    decoded.reply.drafts = drafts.finish();
    let until = thinking::until(&decoded.reply).filter(|_| !decoded.other_choices);
    let counted = until.and_then(|until| pieces.tokens_until(until, decoded.counts.output));
    decoded.thinking = decoded.thinking.or(counted.map(|tokens| (tokens, Source::Client)));
    decoded.reply.token_lengths = match decoded.other_choices {
        true => String::new(),
        false => pieces.finish(decoded.counts.output),
    };
    Ok(decoded)
}

/// What an event that was taken says beside its text.
struct Seen {
    /// It carries at least one token.
    carries: bool,
    /// It is part of the reply: what is counted behind its end is the whole.
    goes_on: bool,
    /// Tokens generated up to and including it, if it says so.
    tokens: Option<u64>,
    /// What its `timings` count.
    drafted: Drafted,
    /// It has `usage` or `timings`.
    counts: bool,
}

/// Follows the count of generated tokens that servers put on every event (vLLM's `continuous_usage_stats`,
/// llama.cpp's `timings_per_token`): where it grows, tokens were made, even if a parser keeps their text back.
#[derive(Default)]
struct RunningCount {
    seen: u64,
    /// Text came without a count: what is counted later is the whole reply.
    left_out: bool,
}

impl RunningCount {
    /// Takes an event's count; `carries`: it holds text.
    fn grows(&mut self, count: Option<u64>, carries: bool) -> bool {
        self.left_out |= carries && count.is_none();
        let Some(count) = count.filter(|count| *count > self.seen) else { return false };
        self.seen = count;
        !self.left_out
    }
}

/// Reads a chat completion that came in one piece.
///
/// # Errors
/// Says what is wrong when the body is no chat completion.
pub fn from_whole(body: &[u8]) -> Result<Decoded, NoReply> {
    let value: Value = serde_json::from_slice(body).map_err(|error| {
        let text = shown(&String::from_utf8_lossy(body));
        NoReply::of(format!("the reply is not JSON ({error}): {text}"))
    })?;
    refuse_error(&value)?;
    if choice(&value).and_then(|choice| choice.get("message")).is_none() {
        return Err(NoReply::of(format!("the reply holds no message: {}", shown(&value.to_string()))));
    }
    let mut assembly = Assembly::default();
    assembly.add(&value);
    assembly.last = value;
    Ok(assembly.decoded(Vec::new()))
}

/// Token ids in an answer to a tokenise request: plain numbers, or objects with an `id`.
pub(super) fn token_ids(value: &Value) -> Option<Vec<u32>> {
    let tokens = value.get("tokens")?.as_array()?;
    tokens.iter().map(|token| token.get("id").unwrap_or(token).as_u64()?.try_into().ok()).collect()
}

fn parse(index: usize, event: &Event) -> Result<Value, NoReply> {
    let number = index + 1;
    let value: Value = serde_json::from_str(&event.data).map_err(|error| {
        NoReply::of(format!("event {number} of the stream is not JSON ({error}): {}", shown(&event.data)))
    })?;
    refuse_error(&value)?;
    if event.name.as_deref() == Some("error") {
        return Err(NoReply::of(format!("the server broke off with an error: {}", shown(&event.data))));
    }
    Ok(value)
}

fn refuse_error(value: &Value) -> Result<(), NoReply> {
    let Some(error) = value.get("error").filter(|error| !error.is_null()) else { return Ok(()) };
    let words = server_words(value).unwrap_or_else(|| shown(&error.to_string()));
    Err(match refusal(error) {
        Some(status) => {
            NoReply { message: format!("HTTP {status} (within HTTP 200): {words}"), refused: true }
        }
        None => NoReply::of(format!("the server broke off with an error: {words}")),
    })
}

/// The status of an error that blames the request. vLLM has answered 200 and begun its stream by the time that it makes the
/// grammar of a schema (0.23.0).
fn refusal(error: &Value) -> Option<u64> {
    let code = error.get("code").and_then(Value::as_u64);
    let kind = error.get("type").and_then(Value::as_str).unwrap_or_default();
    match code {
        Some(code) => (400..500).contains(&code).then_some(code),
        None => ["BadRequestError", "invalid_request_error"].contains(&kind).then_some(400),
    }
}

fn carries_counts(value: &Value) -> bool {
    let present = |key| value.get(key).is_some_and(Value::is_object);
    present("usage") || present("timings")
}

/// The choice that was asked for: the one of index 0, wherever it stands; one without an index counts as that.
pub(super) fn choice(value: &Value) -> Option<&Value> {
    value.get("choices")?.as_array()?.iter().find(|choice| is_first(choice))
}

fn is_first(choice: &Value) -> bool {
    choice.get("index").and_then(Value::as_u64).unwrap_or_default() == 0
}

fn has_other_choices(value: &Value) -> bool {
    let choices = value.get("choices").and_then(Value::as_array);
    choices.is_some_and(|choices| choices.iter().any(|choice| !is_first(choice)))
}

/// What one event (or a whole reply) counts, from OpenAI's `usage` or llama.cpp's `timings`.
pub(super) fn counts(value: &Value) -> Counts {
    let number = |path: &str| value.pointer(path).and_then(Value::as_u64);
    let cached = number("/usage/prompt_tokens_details/cached_tokens").or(number("/timings/cache_n"));
    let processed = number("/timings/prompt_n");
    Counts {
        prompt: number("/usage/prompt_tokens").or_else(|| Some(processed? + number("/timings/cache_n")?)),
        output: number("/usage/completion_tokens").or(number("/timings/predicted_n")),
        cached,
    }
}

#[derive(Default)]
struct Assembly {
    content: String,
    reasoning: String,
    calls: Calls,
    finish_reason: Option<FinishReason>,
    /// There were choices beside the one that was asked for.
    other_choices: bool,
    last: Value,
}

impl Assembly {
    /// Takes an event.
    fn see(&mut self, index: usize, event: &Event) -> Result<Seen, NoReply> {
        match plain::read(event) {
            Some(plain) => Ok(self.see_plain(&plain)),
            None => self.see_document(index, event),
        }
    }

    fn see_plain(&mut self, plain: &Plain<'_>) -> Seen {
        let mut carries = false;
        if let Some(choice) = &plain.choice {
            let reason = choice.finish_reason.as_deref().and_then(FinishReason::of);
            self.finish_reason = reason.or(self.finish_reason.take());
            self.content.push_str(&choice.content);
            self.reasoning.push_str(&choice.reasoning);
            carries = !choice.content.is_empty() || !choice.reasoning.is_empty();
        }
        Seen {
            carries,
            goes_on: plain.choice.is_some(),
            tokens: plain.generated.or(plain.drafted.generated),
            drafted: plain.drafted,
            counts: plain.counts,
        }
    }

    fn see_document(&mut self, index: usize, event: &Event) -> Result<Seen, NoReply> {
        let value = parse(index, event)?;
        Ok(Seen {
            carries: self.add(&value),
            goes_on: choice(&value).is_some_and(|choice| choice.get("delta").is_some()),
            tokens: counts(&value).output,
            drafted: Drafted::of(&value),
            counts: carries_counts(&value),
        })
    }

    /// Takes an event's delta or a whole message; says whether it carries at least one token.
    fn add(&mut self, value: &Value) -> bool {
        self.other_choices |= has_other_choices(value);
        let Some(choice) = choice(value) else { return false };
        let reason = choice.get("finish_reason").and_then(Value::as_str).and_then(FinishReason::of);
        self.finish_reason = reason.or(self.finish_reason.take());
        let (delta, message) = (choice.get("delta"), choice.get("message"));
        let whole = delta.is_none();
        let Some(delta) = delta.or(message) else {
            return false;
        };
        let (content, reasoning) = (said::content(delta), said::reasoning(delta));
        let calls = if whole { self.calls.add_message(delta) } else { self.calls.add_delta(delta) };
        self.content.push_str(&content);
        self.reasoning.push_str(&reasoning);
        calls || !content.is_empty() || !reasoning.is_empty()
    }

    /// How much was written until now.
    fn written(&self) -> Written {
        Written { reasoning: self.reasoning.len(), content: self.content.len(), has_calls: self.calls.any() }
    }

    fn decoded(self, token_events: Vec<Tokens>) -> Decoded {
        let reply = Reply {
            content: self.content,
            reasoning: self.reasoning,
            tool_calls: self.calls.finish(),
            finish_reason: self.finish_reason,
            ..Reply::default()
        };
        let counts = counts(&self.last);
        let thinking = thinking::counted(&self.last).map(|tokens| (tokens, Source::Engine));
        Decoded { reply, counts, token_events, thinking, other_choices: self.other_choices, last: self.last }
    }
}

#[cfg(test)]
mod tests;
