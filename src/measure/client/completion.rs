//! llama.cpp's `/completion` for a prompt of token ids: the request, and what the reply says of each token behind it.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::exchange::Failure;
use super::http::{Answer, Http};
use crate::console::shown;

/// Room for one listed token in a reply (bytes): id, text and bytes, escaped, and log-probability.
const ENTRY_BYTES: usize = 256;
/// Leaves out the echo of the prompt and of the settings.
const FIELDS: &[&str] =
    &["tokens_evaluated", "tokens_predicted", "truncated", "timings", "completion_probabilities"];

/// What is asked behind a prompt.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked<'a> {
    /// The server's name for the model.
    pub(super) model: Option<&'a str>,
    pub(super) prompt: &'a [u32],
    /// Tokens that are said behind it, at most.
    pub(super) steps: usize,
    /// How many of the most probable are listed beside each.
    pub(super) top: usize,
    /// What alone may be said (GBNF).
    pub(super) grammar: Option<&'a str>,
    /// Nothing may come from the cache.
    pub(super) cold: bool,
}

#[derive(Debug, Serialize)]
struct Request<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<&'a str>,
    prompt: &'a [u32],
    n_predict: u32,
    n_probs: usize,
    /// Negative: probabilities are those of the model itself, whatever the samplers.
    temperature: f64,
    cache_prompt: bool,
    /// One slot throughout: its cache holds the prefix.
    id_slot: u32,
    stream: bool,
    post_sampling_probs: bool,
    response_fields: &'static [&'static str],
    #[serde(skip_serializing_if = "Option::is_none")]
    grammar: Option<&'a str>,
}

/// A reply.
#[derive(Debug, Deserialize)]
pub(super) struct Completion {
    tokens_evaluated: Option<u64>,
    tokens_predicted: Option<u64>,
    truncated: Option<bool>,
    #[serde(default)]
    pub(super) timings: Timings,
    /// One entry for each token that was said.
    #[serde(default, rename = "completion_probabilities")]
    pub(super) said: Vec<Value>,
    /// The same in the words of OpenAI's completions: there ik_llama.cpp lists token ids, at `/completion` texts alone.
    #[serde(default)]
    choices: Vec<Choice>,
    usage: Option<Usage>,
}

#[derive(Debug, Deserialize)]
struct Choice {
    logprobs: Option<Listed>,
}

#[derive(Debug, Deserialize)]
struct Listed {
    #[serde(default)]
    content: Vec<Value>,
}

#[derive(Debug, Deserialize)]
struct Usage {
    prompt_tokens: Option<u64>,
    completion_tokens: Option<u64>,
    prompt_tokens_details: Option<Details>,
}

#[derive(Debug, Deserialize)]
struct Details {
    cached_tokens: Option<u64>,
}

/// What the server says of its work (times in ms).
#[derive(Debug, Default, Clone, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Timings {
    pub(super) cache_n: Option<u64>,
    pub(super) prompt_n: Option<u64>,
    pub(super) prompt_ms: Option<f64>,
    pub(super) predicted_n: Option<u64>,
    pub(super) predicted_ms: Option<f64>,
}

/// The entry's most probable tokens; none where the server computed none.
pub(super) fn top_of(entry: &Value) -> &[Value] {
    entry.get("top_logprobs").and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// The id of the token that was said.
pub(super) fn id_of(entry: &Value) -> Option<u64> {
    entry.get("id").and_then(Value::as_u64)
}

impl Completion {
    /// A reply in either words.
    pub(super) fn read(bytes: &[u8]) -> serde_json::Result<Self> {
        let mut completion: Self = serde_json::from_slice(bytes)?;
        if let Some(listed) = completion.choices.pop().and_then(|choice| choice.logprobs) {
            completion.said = listed.content;
        }
        if let Some(usage) = completion.usage.take() {
            let cached = usage.prompt_tokens_details.and_then(|details| details.cached_tokens);
            completion.tokens_evaluated = completion.tokens_evaluated.or(usage.prompt_tokens);
            completion.tokens_predicted = completion.tokens_predicted.or(usage.completion_tokens);
            completion.timings.cache_n = completion.timings.cache_n.or(cached);
        }
        Ok(completion)
    }

    /// Whether the server computed from exactly so many tokens, and from nothing older when `cold`.
    pub(super) fn check_prompt(&self, sent: u64, cold: bool) -> Result<(), String> {
        let Timings { cache_n, prompt_n, .. } = self.timings;
        if self.truncated == Some(true) {
            return Err("the server cut the prompt".to_owned());
        }
        match self.tokens_evaluated {
            Some(seen) if seen == sent => {}
            Some(seen) => return Err(format!("the server saw {seen} tokens of {sent} sent")),
            None => return Err("the server does not say how many tokens it saw".to_owned()),
        }
        match (cache_n, prompt_n) {
            (Some(cached), Some(processed)) if cached.checked_add(processed) != Some(sent) => {
                Err(format!("{cached} cached and {processed} processed tokens do not make the {sent} sent"))
            }
            (Some(cached), _) if cold && cached > 0 => {
                Err(format!("{cached} tokens came from earlier requests although the cache was switched off"))
            }
            (None, Some(processed)) if cold && processed != sent => Err(format!(
                "only {processed} of {sent} tokens were processed although the cache was switched off"
            )),
            _ => Ok(()),
        }
    }

    /// The counts and times as the reply to a chat has them, for
    /// [`Engine::measurements`](crate::measure::engine::Engine::measurements).
    pub(super) fn as_of_a_chat(&self) -> Value {
        json!({
            "usage": { "prompt_tokens": self.tokens_evaluated, "completion_tokens": self.tokens_predicted },
            "timings": self.timings,
        })
    }
}

/// Asks what follows a prompt of tokens.
///
/// # Errors
/// When the request is refused, the reply is none, or was computed from something else than the prompt.
pub(super) async fn ask(http: &Http, path: &str, asked: Asked<'_>) -> Result<(Answer, Completion), Failure> {
    let Asked { model, prompt, steps, top, grammar, cold } = asked;
    let request = Request {
        model,
        prompt,
        n_predict: u32::try_from(steps).unwrap_or(u32::MAX),
        n_probs: top,
        temperature: -1.0,
        cache_prompt: !cold,
        id_slot: 0,
        stream: false,
        post_sampling_probs: false,
        response_fields: FIELDS,
        grammar,
    };
    let room = steps.saturating_mul(top).saturating_mul(ENTRY_BYTES);
    let answer = http.with_room(room).post(path, &request).await?;
    let length = prompt.len();
    let completion = Completion::read(answer.recording.bytes()).map_err(|error| {
        let body = shown(&String::from_utf8_lossy(answer.recording.bytes()));
        Failure::stream(format!("position {length}: the reply is not a completion ({error}): {body}"))
    })?;
    completion
        .check_prompt(length as u64, cold)
        .map_err(|reason| Failure::integrity(format!("position {length}: {reason}")))?;
    Ok((answer, completion))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn completion(text: &str) -> Completion {
        Completion::read(text.as_bytes()).unwrap()
    }

    #[test]
    fn prompts_are_checked() {
        let check = |text: &str, cold| completion(text).check_prompt(9, cold);
        let timed = |cached, processed| {
            format!(r#"{{"tokens_evaluated":9,"timings":{{"cache_n":{cached},"prompt_n":{processed}}}}}"#)
        };
        assert_eq!(check(&timed(0, 9), true), Ok(()));
        assert_eq!(check(&timed(8, 1), false), Ok(()));
        assert_eq!(check(&timed(0, 9), false), Ok(()));
        assert!(check(&timed(8, 1), true).unwrap_err().contains("8 tokens came from earlier"));
        assert!(check(&timed(3, 3), false).unwrap_err().contains("do not make the 9"));
        assert!(check(&timed(u64::MAX, 1), false).is_err());
        assert!(check(r#"{"tokens_evaluated":4}"#, true).is_err());
        assert!(check("{}", true).is_err());
        assert!(check(r#"{"tokens_evaluated":9,"truncated":true}"#, true).is_err());
        let ik = r#"{"tokens_evaluated":9,"timings":{"prompt_n":1}}"#;
        assert!(check(ik, true).unwrap_err().contains("only 1 of 9"));
        assert_eq!(check(ik, false), Ok(()));
    }

    #[test]
    fn both_words_say_the_same() {
        let llama = completion(include_str!("../../../tests/fixtures/llama-server/completion_n_probs.json"));
        let ik = completion(include_str!("../../../tests/fixtures/ik_llama/v1_completions_n_probs.json"));
        for (completion, id, output) in [(&llama, 12095, 3), (&ik, 7042, 1)] {
            assert_eq!(id_of(&completion.said[0]), Some(id));
            assert_eq!(completion.check_prompt(5, true), Ok(()));
            assert!(completion.check_prompt(6, true).unwrap_err().contains("saw 5 tokens of 6"));
            let chat = completion.as_of_a_chat();
            assert_eq!(
                (&chat["usage"]["prompt_tokens"], &chat["timings"]["cache_n"]),
                (&json!(5), &json!(0)),
            );
            assert_eq!(chat["usage"]["completion_tokens"], output);
        }
        assert_eq!((top_of(&llama.said[0]).len(), top_of(&json!({})).len()), (5, 0));
    }
}
