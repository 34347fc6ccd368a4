//! How servers without a grammar of tokens list what follows a text, read over the cache that holds it.
//!
//! What is listed behind a prompt was computed as part of the prompt; vLLM's TurboQuant attends to uncompressed keys and values
//! there. So the prompt is the text without its last token, two tokens are asked for of which only that last one is allowed, and
//! the list of the second is read: it was decoded, over the cache that the text is in. The list is the model's own: vLLM takes
//! its "raw" log-probabilities before it applies `allowed_token_ids`. Seen on vLLM 0.32 (CPU, float32, SmolLM2): equal to the
//! prompt's own lists within 3.2e-5 at 18 positions.
//!
//! SGLang cannot be made to say a token; it is asked for what follows the text, of which all but the last token is in its radix
//! cache. Its lists of a whole prompt (`logprob_start_len`) are of no use for KV types: SGLang 0.5.17 (H200, `triton`) computed them
//! without reading the cache, so that `fp8_e5m2` was equal to bf16 to the last digit while its answers lost 23 points.

use std::fmt::Debug;

use serde_json::{Value, json};

use super::prompt_lists::{Place, first_of, in_order, parse};
use super::step::{Generate, StepFormat as _};
use crate::measure::client::exchange::Failure;
use crate::measure::client::listed::log_probability;
use crate::record::ReadPath;

/// A text, and what is wanted of the token behind it.
#[derive(Debug, Clone)]
pub struct DecodedList<'a> {
    /// The server's name for the model.
    pub model: Option<&'a str>,
    /// The text, of at least two tokens.
    pub tokens: &'a [u32],
    /// Most probable tokens that are wanted.
    pub top_k: usize,
    /// Requests with the same salt share a prefix cache.
    pub salt: Option<String>,
}

/// A server's interface for that.
pub trait DecodeLists: Debug + Sync {
    /// Returns the path.
    fn path(&self) -> &'static str;

    /// Returns the body of the request.
    fn body(&self, asked: &DecodedList<'_>) -> Value;

    /// Reads the list.
    ///
    /// # Errors
    /// When something is missing or malformed, or was not computed from exactly the tokens sent.
    fn read(&self, body: &[u8], asked: &DecodedList<'_>) -> Result<(Place, ReadPath), Failure>;
}

/// vLLM's completions.
#[derive(Debug)]
pub(super) struct SecondToken;

impl DecodeLists for SecondToken {
    fn path(&self) -> &'static str {
        "/v1/completions"
    }

    fn body(&self, asked: &DecodedList<'_>) -> Value {
        let (last, prompt) = asked.tokens.split_last().map_or((&0, &[][..]), |(last, prompt)| (last, prompt));
        let mut body = json!({
            "prompt": prompt,
            "max_tokens": 2,
            "temperature": 0.0,
            "allowed_token_ids": [last],
            // The text may have a token that ends replies.
            "ignore_eos": true,
            "logprobs": asked.top_k,
            "return_token_ids": true,
            // Texts of pieces of characters are alike: by them tokens would be lost.
            "return_tokens_as_token_ids": true,
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

    fn read(&self, body: &[u8], asked: &DecodedList<'_>) -> Result<(Place, ReadPath), Failure> {
        let reply: Value = parse(body)?;
        let sent = asked.tokens.len().saturating_sub(1) as u64;
        check_seen(reply.pointer("/usage/prompt_tokens"), sent)?;
        let said = |at: usize| reply.pointer(&format!("/choices/0/token_ids/{at}")).and_then(Value::as_u64);
        let last = asked.tokens.last().map(|token| u64::from(*token));
        if said(0) != last {
            return Err(Failure::integrity(format!(
                "the server was to say token {last:?}, and said {:?}",
                said(0)
            )));
        }
        let listed = reply.pointer("/choices/0/logprobs/top_logprobs/1").and_then(Value::as_object);
        let Some(listed) = listed else {
            return Err(Failure::unsupported("this server lists no `top_logprobs` of a second token"));
        };
        let entry = |(name, logprob): (&String, &Value)| {
            let id = name.strip_prefix("token_id:")?.parse().ok()?;
            Some((id, log_probability(&json!({ "logprob": logprob }))?))
        };
        let top: Option<Place> = listed.iter().map(entry).collect();
        let top = top.ok_or_else(|| Failure::unsupported("this server lists tokens without their ids"))?;
        // What it said is listed whatever its rank.
        Ok((first_of(top, asked.top_k).map_err(Failure::stream)?, ReadPath::Decode))
    }
}

/// SGLang's own interface: lists of `[log-probability, id, text]`.
#[derive(Debug)]
pub(super) struct NextToken;

impl DecodeLists for NextToken {
    fn path(&self) -> &'static str {
        Generate::PATH
    }

    fn body(&self, asked: &DecodedList<'_>) -> Value {
        let mut body = Generate::what_follows(asked.tokens, asked.salt.as_deref());
        body["top_logprobs_num"] = json!(asked.top_k);
        body["return_text_in_logprobs"] = json!(false);
        body
    }

    fn read(&self, body: &[u8], asked: &DecodedList<'_>) -> Result<(Place, ReadPath), Failure> {
        let reply: Value = parse(body)?;
        let sent = asked.tokens.len() as u64;
        check_seen(reply.pointer("/meta_info/prompt_tokens"), sent)?;
        let listed = reply.pointer("/meta_info/output_top_logprobs/0").and_then(Value::as_array);
        let Some(listed) = listed else {
            return Err(Failure::unsupported("this server lists no `output_top_logprobs`"));
        };
        let top = in_order(listed, asked.top_k).map_err(Failure::stream)?;
        Ok((top, ReadPath::behind(sent, Generate.cached(&reply))))
    }
}

/// Whether the server computed from exactly the tokens sent.
fn check_seen(seen: Option<&Value>, sent: u64) -> Result<(), Failure> {
    match seen.and_then(Value::as_u64) {
        Some(seen) if seen == sent => Ok(()),
        seen => {
            let seen = seen.map_or("an unknown number of".to_owned(), |seen| seen.to_string());
            Err(Failure::integrity(format!("the server saw {seen} tokens of {sent} sent")))
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn asked(tokens: &[u32]) -> DecodedList<'_> {
        DecodedList { model: Some("m"), tokens, top_k: 2, salt: Some("s".into()) }
    }

    #[test]
    fn the_last_token_is_said_and_the_next_is_listed() {
        let body = SecondToken.body(&asked(&[5, 6, 7]));
        assert_eq!((&body["prompt"], &body["allowed_token_ids"]), (&json!([5, 6]), &json!([7])));
        assert_eq!(
            (&body["max_tokens"], &body["cache_salt"], &body["model"]),
            (&json!(2), &json!("s"), &json!("m"))
        );
    }

    fn reply() -> Value {
        json!({
            "choices": [{ "token_ids": [7, 7], "logprobs": { "top_logprobs": [
                { "token_id:7": -0.1, "token_id:1": -9.0 },
                { "token_id:3": -0.25, "token_id:1": -2.0, "token_id:7": -14.5 },
            ] } }],
            "usage": { "prompt_tokens": 2 },
        })
    }

    fn read(reply: &Value) -> Result<Place, Failure> {
        let (list, path) = SecondToken.read(reply.to_string().as_bytes(), &asked(&[5, 6, 7]))?;
        assert_eq!(path, ReadPath::Decode);
        Ok(list)
    }

    #[test]
    fn the_second_list_is_read_without_what_was_said() {
        assert_eq!(read(&reply()).unwrap(), [(3, -0.25), (1, -2.0)]);
    }

    #[test]
    fn what_was_not_computed_from_the_text_is_no_list() {
        for (place, value, said) in [
            ("/usage/prompt_tokens", json!(3), "saw 3 tokens of 2 sent"),
            ("/usage/prompt_tokens", json!(null), "an unknown number of tokens"),
            ("/choices/0/token_ids/0", json!(8), "was to say token Some(7)"),
            ("/choices/0/logprobs/top_logprobs/1", json!(null), "lists no `top_logprobs`"),
            ("/choices/0/logprobs/top_logprobs/1", json!({ "seven": -1.0 }), "without their ids"),
            ("/choices/0/logprobs/top_logprobs/1", json!({ "token_id:3": null }), "without their ids"),
            ("/choices/0/logprobs/top_logprobs/1", json!({}), "nothing is listed"),
        ] {
            let mut reply = reply();
            *reply.pointer_mut(place).unwrap() = value;
            let failure = read(&reply).unwrap_err();
            assert!(failure.message.contains(said), "{place}: {}", failure.message);
        }
        assert!(SecondToken.read(b"<html>", &asked(&[5, 6])).is_err());
    }

    fn sglang(reply: &Value, tokens: &[u32]) -> Result<(Place, ReadPath), Failure> {
        NextToken.read(reply.to_string().as_bytes(), &asked(tokens))
    }

    /// `The capital of France is`, of which two tokens came from the radix cache.
    #[test]
    fn sglang_lists_what_follows_a_text_that_is_in_its_cache() {
        const REPLY: &[u8] =
            include_bytes!("../../../../tests/fixtures/sglang/generate_logprobs_input_ids.json");
        let mut reply: Value = serde_json::from_slice(REPLY).unwrap();
        let (list, path) = sglang(&reply, &[1; 5]).unwrap();
        assert_eq!(list, [(12095, -0.098_288_596), (7148, -4.223_288_5)]);
        assert_eq!(path, ReadPath::Cached);
        assert!(sglang(&reply, &[1; 6]).unwrap_err().message.contains("saw 5 tokens of 6 sent"));
        for cold in [json!(0), Value::Null] {
            reply["meta_info"]["cached_tokens"] = cold;
            assert_eq!(sglang(&reply, &[1; 5]).unwrap().1, ReadPath::Prefill);
        }
        reply["meta_info"]["output_top_logprobs"] = json!([[[0.5, 3, null]]]);
        assert!(sglang(&reply, &[1; 5]).unwrap_err().message.contains("no log probability"));
        reply["meta_info"]["output_top_logprobs"] = Value::Null;
        assert!(sglang(&reply, &[1; 5]).unwrap_err().unsupported);
        let body = NextToken.body(&asked(&[5, 6, 7]));
        assert_eq!((&body["input_ids"], &body["extra_key"]), (&json!([5, 6, 7]), &json!("s")));
        assert_eq!(body.get("logprob_start_len"), None, "it would be computed without the cache");
    }

    proptest! {
        #[test]
        fn odd_bodies_never_panic(body in ".{0,80}", tokens in proptest::collection::vec(0_u32..9, 0..4)) {
            let asked = asked(&tokens);
            let of_vllm = format!(r#"{{"usage":{{"prompt_tokens":{}}},"choices":[{{"logprobs":{body}}}]}}"#, tokens.len());
            let of_sglang =
                format!(r#"{{"meta_info":{{"prompt_tokens":{},"output_top_logprobs":[{body}]}}}}"#, tokens.len());
            for text in [&body, &of_vllm, &of_sglang] {
                let _ = SecondToken.read(text.as_bytes(), &asked);
                let _ = NextToken.read(text.as_bytes(), &asked);
            }
        }
    }
}
