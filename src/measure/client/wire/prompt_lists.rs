//! How servers list the probabilities of a prompt's own tokens.

use std::fmt::Debug;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::console::shown;
use crate::measure::client::exchange::Failure;
use crate::measure::client::listed::{log_probability, sort};

/// A prompt whose tokens' probabilities are asked for.
#[derive(Debug, Clone)]
pub struct ListedPrompt<'a> {
    /// The server's name for the model.
    pub model: Option<&'a str>,
    /// The prompt.
    pub tokens: &'a [u32],
    /// The first place that is wanted (at least 1).
    pub first: usize,
    /// Most probable tokens that are wanted of each place.
    pub top_k: usize,
    /// Keeps the prompt from being found in a prefix cache.
    pub salt: Option<String>,
}

/// The most probable tokens of a place with their natural-log probabilities, most probable first.
pub type Place = Vec<(u32, f32)>;

/// A server's interface for that.
pub trait PromptLists: Debug + Sync {
    /// Returns the body of the request.
    fn body(&self, asked: &ListedPrompt<'_>) -> Value;

    /// Reads the lists of these places (ascending, none before [`ListedPrompt::first`]).
    ///
    /// # Errors
    /// When something is missing or malformed, or was not computed from exactly the tokens sent; an
    /// [unsupported](Failure::unsupported) one when nothing is listed.
    fn read(&self, body: &[u8], asked: &ListedPrompt<'_>, positions: &[usize])
    -> Result<Vec<Place>, Failure>;
}

/// vLLM's completions: of every token of the prompt but the first the most probable ones of its place, and itself.
#[derive(Debug)]
pub(super) struct PromptLogprobs;

#[derive(Debug, Deserialize)]
struct Completion {
    #[serde(default)]
    choices: Vec<Choice>,
    #[serde(default)]
    usage: Value,
}

#[derive(Debug, Deserialize)]
struct Choice {
    #[serde(default)]
    index: u64,
    /// For each token of the prompt its alternatives by id; null for the first.
    prompt_logprobs: Option<Vec<Option<Map<String, Value>>>>,
}

impl PromptLists for PromptLogprobs {
    fn body(&self, asked: &ListedPrompt<'_>) -> Value {
        let mut body = json!({
            "prompt": asked.tokens,
            // The fewest that a completion may have; what it generates is thrown away.
            "max_tokens": 1,
            "temperature": 0.0,
            "prompt_logprobs": asked.top_k,
            "stream": false,
        });
        if let Some(model) = asked.model {
            body["model"] = json!(model);
        }
        if let Some(salt) = &asked.salt {
            body["cache_salt"] = json!(salt);
        }
        body
    }

    fn read(
        &self,
        body: &[u8],
        asked: &ListedPrompt<'_>,
        positions: &[usize],
    ) -> Result<Vec<Place>, Failure> {
        let reply: Completion = parse(body)?;
        let cached = reply.usage.pointer("/prompt_tokens_details/cached_tokens").and_then(Value::as_u64);
        let seen = reply.usage.get("prompt_tokens").and_then(Value::as_u64);
        check_prompt(seen, cached, asked, "--no-enable-prefix-caching")?;
        let choice = reply.choices.iter().find(|choice| choice.index == 0);
        let Some(listed) = choice.and_then(|choice| choice.prompt_logprobs.as_ref()) else {
            return Err(Failure::unsupported("this server does not list the prompt's `prompt_logprobs`"));
        };
        let sent = asked.tokens.len();
        if listed.len() != sent {
            return Err(Failure::integrity(format!(
                "{} places are listed of {sent} tokens sent",
                listed.len()
            )));
        }
        places(positions, |position| {
            let entries = listed.get(position).and_then(Option::as_ref).ok_or(NOTHING)?;
            ranked(entries, asked.top_k)
        })
    }
}

const NOTHING: &str = "nothing is listed";

pub(super) fn parse<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, Failure> {
    serde_json::from_slice(body).map_err(|error| {
        let body = shown(&String::from_utf8_lossy(body));
        Failure::stream(format!("the reply is not a completion ({error}): {body}"))
    })
}

fn places(positions: &[usize], list: impl Fn(usize) -> Result<Place, String>) -> Result<Vec<Place>, Failure> {
    let place = |&position: &usize| {
        list(position).map_err(|reason| Failure::stream(format!("position {position}: {reason}")))
    };
    positions.iter().map(place).collect()
}

/// Whether the server computed from exactly the tokens sent, and took none that is listed from a cache; `flag` makes it take
/// none.
fn check_prompt(
    seen: Option<u64>,
    cached: Option<u64>,
    asked: &ListedPrompt<'_>,
    flag: &str,
) -> Result<(), Failure> {
    let sent = asked.tokens.len() as u64;
    let wrong = match (seen, cached) {
        (Some(seen), _) if seen != sent => format!("the server saw {seen} tokens of {sent} sent"),
        (None, _) => "the server does not say how many tokens it saw".to_owned(),
        (_, Some(cached)) if cached > 0 => {
            format!("{cached} tokens came from the prefix cache: start the server with `{flag}`")
        }
        _ => return Ok(()),
    };
    Err(Failure::integrity(wrong))
}

/// The tokens of one place. The actual one is listed whatever its rank: outside the first `top_k` it is left out,
/// so that no token that is not listed can be more probable than the last.
fn ranked(entries: &Map<String, Value>, top_k: usize) -> Result<Place, String> {
    let mut top = Vec::with_capacity(entries.len());
    for (id, entry) in entries {
        let token: u32 = id.parse().map_err(|_| format!("`{}` is not a token id", shown(id)))?;
        let log_probability =
            log_probability(entry).ok_or_else(|| format!("token {token} has no log probability"))?;
        let rank = entry.get("rank").and_then(Value::as_u64);
        if rank.is_none_or(|rank| rank <= top_k as u64) {
            top.push((token, log_probability));
        }
    }
    first_of(top, top_k)
}

/// The tokens of one place, as `[log-probability, id, text]`.
pub(super) fn in_order(entries: &[Value], top_k: usize) -> Result<Place, String> {
    let entry = |entry: &Value| {
        let token = entry.get(1).and_then(Value::as_u64).and_then(|id| u32::try_from(id).ok());
        let token = token.ok_or_else(|| format!("`{}` has no token id", shown(&entry.to_string())))?;
        let log_probability = log_probability(&json!({ "logprob": entry.get(0) }));
        Ok((token, log_probability.ok_or_else(|| format!("token {token} has no log probability"))?))
    };
    first_of(entries.iter().map(entry).collect::<Result<Place, String>>()?, top_k)
}

pub(super) fn first_of(mut top: Place, top_k: usize) -> Result<Place, String> {
    if top.is_empty() {
        return Err(NOTHING.to_owned());
    }
    sort(&mut top);
    top.truncate(top_k);
    Ok(top)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::record::Stage;

    const VLLM: &[u8] = include_bytes!("../../../../tests/fixtures/vllm/completions_prompt_logprobs.json");
    const TOKENS: [u32; 12] = [1; 12];

    fn asked(sent: usize, first: usize, top_k: usize) -> ListedPrompt<'static> {
        ListedPrompt { model: Some("m"), tokens: &TOKENS[..sent], first, top_k, salt: Some("s".into()) }
    }

    fn vllm(body: &[u8], sent: usize, positions: &[usize], top_k: usize) -> Result<Vec<Place>, Failure> {
        PromptLogprobs.read(body, &asked(sent, 1, top_k), positions)
    }

    #[test]
    fn vllm_reply() {
        let lists = vllm(VLLM, 12, &[1, 3, 11], 5).unwrap();
        assert_eq!(lists.len(), 3);
        // The actual token, 3575, has rank 3177: left out.
        assert_eq!(lists[0].len(), 5);
        assert_eq!(lists[0][0], (29, -0.834_092_6));
        assert!(lists[0].iter().all(|(token, _)| *token != 3575));
        // The actual token, 4649, has rank 2.
        assert_eq!(lists[1][1].0, 4649);
        assert!(lists.iter().all(|list| list.is_sorted_by(|a, b| a.1 >= b.1)));
        assert_eq!(vllm(VLLM, 12, &[2], 2).unwrap()[0].len(), 2);
    }

    #[test]
    fn what_was_not_computed_from_the_tokens_sent_is_refused() {
        let wrong = vllm(VLLM, 11, &[1], 5).unwrap_err();
        assert_eq!(
            (wrong.stage, wrong.message.as_str()),
            (Stage::Integrity, "the server saw 12 tokens of 11 sent")
        );
        let mut cached: Value = serde_json::from_slice(VLLM).unwrap();
        cached["usage"]["prompt_tokens_details"] = json!({ "cached_tokens": 8 });
        let cached = vllm(cached.to_string().as_bytes(), 12, &[1], 5).unwrap_err();
        assert!(cached.message.contains("--no-enable-prefix-caching") && !cached.unsupported, "{cached}");
        assert_eq!(vllm(VLLM, 12, &[0], 5).unwrap_err().message, "position 0: nothing is listed");
    }

    #[test]
    fn a_server_that_lists_nothing_is_unsupported() {
        let mut bare: Value = serde_json::from_slice(VLLM).unwrap();
        bare["choices"][0]["prompt_logprobs"] = Value::Null;
        assert!(vllm(bare.to_string().as_bytes(), 12, &[1], 5).unwrap_err().unsupported);
        assert!(!vllm(b"<html>", 12, &[1], 5).unwrap_err().unsupported);
    }

    #[test]
    fn entries_must_hold_probabilities() {
        let list = |entries: Value| ranked(entries.as_object().unwrap(), 4);
        assert_eq!(list(json!({ "3": { "logprob": -1.0 } })), Ok(vec![(3, -1.0)]));
        for wrong in [
            json!({}),
            json!({ "x": { "logprob": -1.0 } }),
            json!({ "-3": { "logprob": -1.0 } }),
            json!({ "3": { "logprob": 2.0 } }),
            json!({ "3": {} }),
            json!({ "3": { "logprob": -1.0, "rank": 9 } }),
        ] {
            assert!(list(wrong.clone()).is_err(), "{wrong}");
        }
        let list = |entries: Value| in_order(entries.as_array().unwrap(), 4);
        assert_eq!(list(json!([[-1.0, 3, null]])), Ok(vec![(3, -1.0)]));
        for wrong in [json!([]), json!([[]]), json!([[-1.0, -3]]), json!([[2.0, 3]]), json!([null, "x"])] {
            assert!(list(wrong.clone()).is_err(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn odd_bodies_never_panic(body in ".{0,80}", sent in 0_usize..4, places in proptest::collection::vec(0_usize..9, 0..4)) {
            let _ = vllm(body.as_bytes(), sent, &places, 3);
            let wrapped = format!(r#"{{"usage":{{"prompt_tokens":{sent}}},"choices":[{{"prompt_logprobs":[{body}]}}]}}"#);
            let _ = vllm(wrapped.as_bytes(), sent, &places, 3);
        }
    }
}
