//! What a server says of an answer that it was made to give: the tokens, and how probable each was before.
//!
//! Read from the `logprobs` of a chat completion in one piece. Nothing is guessed: an answer that is not the one that was
//! forced, or whose tokens do not all have a probability, has no score: the case does not apply to such a server, and is
//! not lost.

use std::collections::BTreeMap;

use serde_json::Value;

use super::cache_report::CacheReport;
use super::chat;
use super::exchange::{Failure, Limits};
use super::http::Answer;
use super::listed::log_probability;
use crate::console::shown;
use crate::record::{Forced, ForcedToken, Measurement};

/// A forced answer that came back.
#[derive(Debug, Clone, PartialEq)]
pub struct ForcedExchange {
    /// What was forced; which part and form it is, is for the caller to say.
    pub forced: Forced,
    /// The client's figures of each request: one, and one for each token whose probability the first did not tell.
    pub measurements: Vec<Vec<Measurement>>,
    /// The whole replies, for [`Engine::measurements`](crate::measure::engine::Engine::measurements).
    pub last: Vec<Value>,
}

/// What one request says: the tokens from some place of the answer on.
pub(super) struct Told {
    pub(super) tokens: Vec<ToldToken>,
    /// Probability that the answer ends behind the last one, where that is known.
    pub(super) ends: Option<f64>,
    pub(super) measurements: Vec<Measurement>,
    pub(super) last: Value,
}

/// A token of a forced answer.
#[derive(Debug)]
pub(super) struct ToldToken {
    pub(super) bytes: Vec<u8>,
    pub(super) id: Option<u32>,
    /// `None` where the server did not compute it: of a draft that was accepted, llama-server says 0 and lists nothing.
    logprob: Option<f32>,
}

impl ToldToken {
    /// The token, once its probability is known.
    pub(super) fn known(&self) -> Option<ForcedToken> {
        self.logprob.map(|logprob| ForcedToken { id: self.id, logprob })
    }
}

/// Reads the answer to a request that could be answered with `form` alone. `whole`: all of it must be there, else one token
/// is enough.
pub(super) fn read(answer: &Answer, form: &str, whole: bool, limits: &Limits) -> Result<Told, Failure> {
    let exchange = chat::exchange(answer, limits, &CacheReport::default())?;
    let listed = exchange.last.pointer("/choices/0/logprobs/content").and_then(Value::as_array);
    let listed = listed.filter(|listed| !listed.is_empty()).ok_or_else(|| {
        Failure::unsupported("this server lists no probabilities beside a forced answer (`logprobs`)")
    })?;
    let (tokens, ends) = tokens_of(listed, form, whole).map_err(Failure::unsupported)?;
    Ok(Told { tokens, ends, measurements: exchange.measurements, last: exchange.last })
}

/// What a refusal of a forced answer means: the server takes no such grammar. That says nothing about the setting's answers.
pub(super) fn refused(failure: Failure) -> Failure {
    if failure.refuses_the_request() {
        return Failure::unsupported(format!("the server refuses to be made to answer: {}", failure.message));
    }
    failure
}

/// Reads how probable it is that a reply ends where it is: from the list of its next token.
pub(super) fn read_end(answer: &Answer, limits: &Limits) -> Result<Told, Failure> {
    let exchange = chat::exchange(answer, limits, &CacheReport::default())?;
    let next = exchange.last.pointer("/choices/0/logprobs/content/0");
    Ok(Told {
        tokens: Vec::new(),
        ends: next.and_then(ends),
        measurements: exchange.measurements,
        last: exchange.last,
    })
}

/// The tokens that make up the text, and what may follow them.
fn tokens_of(listed: &[Value], form: &str, whole: bool) -> Result<(Vec<ToldToken>, Option<f64>), String> {
    let mut said: Vec<u8> = Vec::new();
    let mut tokens = Vec::new();
    let mut rest = listed.iter();
    while said.len() < form.len() {
        let Some(entry) = rest.next() else {
            return if whole || tokens.is_empty() { Err(unlike(&said, form)) } else { Ok((tokens, None)) };
        };
        let token = token(entry)?;
        said.extend(&token.bytes);
        if !form.as_bytes().starts_with(&said) {
            return Err(unlike(&said, form));
        }
        tokens.push(token);
    }
    Ok((tokens, rest.next().and_then(ends)))
}

fn unlike(said: &[u8], form: &str) -> String {
    format!("the forced answer is {}, not {}", shown(&String::from_utf8_lossy(said)), shown(form))
}

/// The token of an entry of a list, with its probability where the server computed that.
pub(super) fn token(entry: &Value) -> Result<ToldToken, String> {
    let id = entry.get("id").and_then(Value::as_u64).and_then(|id| id.try_into().ok());
    let bytes = bytes(entry).ok_or("a token of the forced answer has no text")?;
    let logprob = log_probability(entry).ok_or("a token of the forced answer has no log-probability")?;
    // A probability that was computed stands in a list of the most probable tokens.
    let computed = entry.get("top_logprobs").and_then(Value::as_array).is_some_and(|top| !top.is_empty());
    Ok(ToldToken { bytes, id, logprob: computed.then_some(logprob) })
}

/// The bytes of a token: its text may be a part of a character.
fn bytes(entry: &Value) -> Option<Vec<u8>> {
    let bytes = entry.get("bytes").and_then(Value::as_array);
    let all = bytes.map(|bytes| bytes.iter().map(|byte| u8::try_from(byte.as_u64()?).ok()).collect());
    match all {
        Some(bytes) => bytes,
        None => Some(entry.get("token")?.as_str()?.as_bytes().to_vec()),
    }
}

/// The probability that the answer ends here: what is left when the listed tokens that go on with a letter or a digit are
/// taken away. Tokens that are not listed are taken for ends, so it is an upper bound.
pub(super) fn ends(entry: &Value) -> Option<f64> {
    let top = entry.get("top_logprobs")?.as_array()?;
    let mut by_token: BTreeMap<Vec<u8>, f32> = BTreeMap::new();
    for listed in top {
        by_token.insert(bytes(listed)?, log_probability(listed)?);
    }
    let text = |(bytes, logprob): (&Vec<u8>, &f32)| (String::from_utf8_lossy(bytes).into_owned(), *logprob);
    ends_here(&by_token.iter().map(text).collect::<Vec<_>>())
}

/// The same of the texts of the most probable tokens; `None` where none is listed.
pub(super) fn ends_here(top: &[(String, f32)]) -> Option<f64> {
    let goes_on = |text: &str| text.chars().next().is_some_and(char::is_alphanumeric);
    let further = top.iter().filter(|(text, _)| goes_on(text)).map(|(_, logprob)| f64::from(*logprob).exp());
    (!top.is_empty()).then(|| (1.0 - further.sum::<f64>()).clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn entry(text: &str, logprob: f64) -> Value {
        json!({ "id": text.len(), "token": text, "bytes": text.as_bytes(), "logprob": logprob,
                "top_logprobs": [{ "id": text.len(), "token": text, "bytes": text.as_bytes(), "logprob": logprob }] })
    }

    fn forced(listed: &[Value], form: &str) -> Result<Forced, String> {
        let (tokens, ends) = tokens_of(listed, form, true)?;
        Ok(Forced { tokens: tokens.iter().filter_map(ToldToken::known).collect(), ends, ..Forced::default() })
    }

    #[test]
    fn the_tokens_of_the_answer_are_summed_and_its_end_is_looked_at() {
        let mut end = entry("", -4.0);
        end["top_logprobs"] = json!([
            { "id": 1, "token": ".", "bytes": [46], "logprob": -0.5 },
            { "id": 2, "token": "7", "bytes": [55], "logprob": -2.0 },
            { "id": 3, "token": "a", "bytes": [97], "logprob": -3.0 },
        ]);
        let found = forced(&[entry(" ", -0.25), entry("12", -0.5), end], " 12").unwrap();
        assert_eq!(found.tokens.len(), 2);
        let ends = 1.0 - (-2.0_f64).exp() - (-3.0_f64).exp();
        assert!((found.ends.unwrap() - ends).abs() < 1e-6);
        assert!((found.log_probability() - (-0.75 + ends.ln())).abs() < 1e-6);
        let bare = forced(&[entry(" ", -0.25), entry("12", -0.5)], " 12").unwrap();
        assert_eq!((bare.ends, bare.log_probability()), (None, -0.75));
    }

    #[test]
    fn another_answer_and_tokens_without_a_probability_are_failures() {
        let fails = |listed: &[Value]| forced(listed, " 12").unwrap_err();
        assert!(fails(&[entry(" ", -0.2), entry("3", -0.2)]).contains("not"));
        assert!(fails(&[entry(" ", -0.2)]).contains("not"));
        assert!(fails(&[entry(" 12x", -0.2)]).contains("not"));
        assert!(fails(&[json!({ "token": " 12" })]).contains("no log-probability"));
        assert!(fails(&[json!({ "logprob": -1.0 })]).contains("no text"));
        assert!(fails(&[json!({ "token": " 12", "logprob": 2.0 })]).contains("no log-probability"));
        assert!(fails(&[json!({ "bytes": [32, 300], "token": " 1", "logprob": -1.0 })]).contains("no text"));
    }

    #[test]
    fn a_character_in_two_tokens_is_one() {
        let part = |byte: &u8| {
            let mut part = entry("?", -1.0);
            part["bytes"] = json!([byte]);
            part
        };
        let parts: Vec<Value> = "é".as_bytes().iter().map(part).collect();
        assert_eq!(forced(&parts, "é").unwrap().tokens.len(), 2);
    }

    #[test]
    fn a_server_that_refuses_the_grammar_has_no_score_and_one_that_is_gone_has_failed() {
        let refused_with = |message: &str| refused(Failure::request(message)).unsupported;
        assert!(refused_with("HTTP 400: failed to parse grammar"));
        assert!(!refused_with("HTTP 503: loading model") && !refused_with("connection refused"));
    }

    /// As llama-server has it for tokens of a draft that it accepted.
    #[test]
    fn a_probability_that_was_not_computed_is_not_taken_for_certainty() {
        let mut drafted = entry("2", 0.0);
        drafted["top_logprobs"] = json!([]);
        let listed = [entry(" ", -0.2), entry("1", -0.3), drafted.clone(), drafted];
        let (tokens, ends) = tokens_of(&listed, " 12", true).unwrap();
        let known: Vec<bool> = tokens.iter().map(|token| token.known().is_some()).collect();
        assert_eq!((known, ends), (vec![true, true, false], None));
        let (first, _) = tokens_of(&listed[..1], " 12", false).unwrap();
        assert_eq!(first.len(), 1);
    }
}
