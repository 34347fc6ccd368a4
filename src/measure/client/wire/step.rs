//! How servers without a grammar of tokens are asked how probable a token is behind a prompt of tokens.
//!
//! Seen on vLLM 0.32: what its structured outputs allow is applied before it takes the "raw" log-probabilities, so a grammar
//! that forces an answer makes every token certain. `allowed_token_ids` is applied after it, and leaves them as they
//! were: equal to those of a free reply. SGLang (0.5.17) lists the log-probabilities of tokens that it is asked about.

use std::fmt::Debug;

use serde_json::{Value, json};

use crate::measure::client::listed::{FORCED_TOP, log_probability};

/// A question for what follows a prompt.
#[derive(Debug, Clone)]
pub struct Step<'a> {
    /// The server's name for the model.
    pub model: Option<&'a str>,
    /// The prompt.
    pub tokens: &'a [u32],
    /// The token whose probability is asked for; `None`: which are the most probable.
    pub token: Option<u32>,
    /// Requests with the same salt share a prefix cache.
    pub salt: Option<String>,
}

/// What follows a prompt.
#[derive(Debug, Clone, PartialEq)]
pub struct Next {
    /// Natural-log probability of the token that was asked for.
    pub logprob: Option<f32>,
    /// Texts of the most probable tokens with their natural-log probabilities, where those were asked for.
    pub top: Vec<(String, f32)>,
}

/// A server's interface for that.
pub trait StepFormat: Debug + Sync {
    /// Returns the path.
    fn path(&self) -> &'static str;

    /// Returns the body of a request for one token.
    fn body(&self, step: &Step<'_>) -> Value;

    /// Reads the answer.
    ///
    /// # Errors
    /// What is missing, in words.
    fn read(&self, answer: &Value, token: Option<u32>) -> Result<Next, String>;

    /// Reads how many tokens of the prompt came from a prefix cache, where the answer tells.
    fn cached(&self, answer: &Value) -> Option<u64>;
}

/// vLLM's completions.
#[derive(Debug)]
pub(super) struct Completions;

impl StepFormat for Completions {
    fn path(&self) -> &'static str {
        "/v1/completions"
    }

    fn body(&self, step: &Step<'_>) -> Value {
        let mut body = json!({
            "prompt": step.tokens,
            "max_tokens": 1,
            "temperature": 0.0,
            "logprobs": if step.token.is_some() { 0 } else { FORCED_TOP },
            "return_token_ids": true,
            "stream": false,
        });
        if let Some(model) = step.model {
            body["model"] = json!(model);
        }
        if let Some(token) = step.token {
            body["allowed_token_ids"] = json!([token]);
        }
        if let Some(salt) = &step.salt {
            body["cache_salt"] = json!(salt);
        }
        body
    }

    fn read(&self, answer: &Value, token: Option<u32>) -> Result<Next, String> {
        let choice = answer.pointer("/choices/0").ok_or("the answer has no choice")?;
        let logprobs = choice.get("logprobs").filter(|logprobs| !logprobs.is_null());
        let logprobs = logprobs.ok_or("the answer lists no log-probabilities (`logprobs`)")?;
        if let Some(token) = token {
            let said = choice.pointer("/token_ids/0").and_then(Value::as_u64);
            if said != Some(u64::from(token)) {
                return Err(format!("the server was to say token {token}, and said {said:?}"));
            }
        }
        let logprob = logprobs.pointer("/token_logprobs/0").cloned();
        let logprob = logprob.and_then(|logprob| log_probability(&json!({ "logprob": logprob })));
        let top = logprobs.pointer("/top_logprobs/0").and_then(Value::as_object);
        let listed = top.into_iter().flatten();
        let listed = listed.filter_map(|(text, logprob)| {
            Some((text.clone(), log_probability(&json!({ "logprob": logprob }))?))
        });
        let logprob = logprob.filter(|_| token.is_some());
        if token.is_some() && logprob.is_none() {
            return Err("the token has no log-probability".to_owned());
        }
        Ok(Next { logprob, top: if token.is_none() { listed.collect() } else { Vec::new() } })
    }

    fn cached(&self, answer: &Value) -> Option<u64> {
        answer.pointer("/usage/prompt_tokens_details/cached_tokens").and_then(Value::as_u64)
    }
}

/// SGLang's own interface.
#[derive(Debug)]
pub(super) struct Generate;

impl Generate {
    pub(super) const PATH: &'static str = "/generate";

    /// A request for what follows the tokens, but for what is to be listed of it.
    pub(super) fn what_follows(tokens: &[u32], salt: Option<&str>) -> Value {
        let mut body = json!({
            "input_ids": tokens,
            "sampling_params": { "max_new_tokens": 1, "temperature": 0.0 },
            "return_logprob": true,
            "stream": false,
        });
        if let Some(salt) = salt {
            body["extra_key"] = json!(salt);
        }
        body
    }
}

impl StepFormat for Generate {
    fn path(&self) -> &'static str {
        Self::PATH
    }

    fn body(&self, step: &Step<'_>) -> Value {
        let mut body = Self::what_follows(step.tokens, step.salt.as_deref());
        match step.token {
            Some(token) => body["token_ids_logprob"] = json!([token]),
            None => {
                body["top_logprobs_num"] = json!(FORCED_TOP);
                body["return_text_in_logprobs"] = json!(true);
            }
        }
        body
    }

    fn read(&self, answer: &Value, token: Option<u32>) -> Result<Next, String> {
        let places = match token {
            Some(_) => "/meta_info/output_token_ids_logprobs/0",
            None => "/meta_info/output_top_logprobs/0",
        };
        let listed = answer.pointer(places).and_then(Value::as_array);
        let listed = listed.ok_or("the answer lists no log-probabilities (`return_logprob`)")?;
        let entry = |entry: &Value| {
            let logprob = log_probability(&json!({ "logprob": entry.get(0)? }))?;
            Some((entry.get(1)?.as_u64()?, entry.get(2).and_then(Value::as_str).map(str::to_owned), logprob))
        };
        let entries: Option<Vec<_>> = listed.iter().map(entry).collect();
        let entries = entries.ok_or("an entry of the log-probabilities has no id or no probability")?;
        let Some(token) = token else {
            let top = entries.into_iter().filter_map(|(_, text, logprob)| Some((text?, logprob)));
            return Ok(Next { logprob: None, top: top.collect() });
        };
        let asked = entries.iter().find(|(id, ..)| *id == u64::from(token));
        let (.., logprob) = asked.ok_or_else(|| format!("token {token} is not among those listed"))?;
        Ok(Next { logprob: Some(*logprob), top: Vec::new() })
    }

    fn cached(&self, answer: &Value) -> Option<u64> {
        answer.pointer("/meta_info/cached_tokens").and_then(Value::as_u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vllm_tells_a_tokens_own_probability_and_what_could_follow() {
        let step = Step { model: Some("m"), tokens: &[1, 2], token: Some(216), salt: Some("s".into()) };
        let body = Completions.body(&step);
        assert_eq!((&body["allowed_token_ids"], &body["cache_salt"]), (&json!([216]), &json!("s")));
        // As vLLM 0.32 answers.
        let answer = json!({ "choices": [{ "text": " ", "token_ids": [216], "logprobs": {
            "tokens": [" "], "token_logprobs": [-0.727_403], "top_logprobs": [{ " ": -0.727_403 }] } }] });
        assert_eq!(Completions.read(&answer, Some(216)).unwrap().logprob, Some(-0.727_403));
        assert!(Completions.read(&answer, Some(7)).unwrap_err().contains("was to say token 7"));
        let top = Completions.read(&answer, None).unwrap();
        assert_eq!((top.logprob, top.top), (None, vec![(" ".to_owned(), -0.727_403)]));
        for wrong in [json!({}), json!({ "choices": [{ "token_ids": [216] }] })] {
            assert!(Completions.read(&wrong, Some(216)).is_err(), "{wrong}");
        }
        let bare = json!({ "choices": [{ "token_ids": [216], "logprobs": { "token_logprobs": [null] } }] });
        assert!(Completions.read(&bare, Some(216)).unwrap_err().contains("no log-probability"));
    }

    #[test]
    fn sglang_lists_the_tokens_that_it_is_asked_about() {
        let answer: Value = serde_json::from_str(include_str!(
            "../../../../tests/fixtures/sglang/generate_token_ids_logprob.json"
        ))
        .unwrap();
        assert_eq!(Generate.read(&answer, Some(2)).unwrap().logprob, Some(-17.184_526));
        assert!(Generate.read(&answer, Some(9)).unwrap_err().contains("not among those listed"));
        let told: Value = serde_json::from_str(include_str!(
            "../../../../tests/fixtures/sglang/generate_logprobs_input_ids.json"
        ))
        .unwrap();
        let top = Generate.read(&told, None).unwrap().top;
        assert_eq!(top[0], (" Paris".to_owned(), -0.098_288_596));
        assert!(Generate.read(&json!({}), None).is_err());
        let step = Step { model: None, tokens: &[1, 2], token: None, salt: Some("s".into()) };
        assert_eq!(Generate.body(&step)["extra_key"], "s");
    }
}
