//! A forced answer where a server takes no grammar of tokens whose probabilities stay the model's own: one request for each
//! token, over the server's prefix cache, and one for what could follow.
//!
//! Each token is the first one behind a prompt. A prompt that a server has just computed is not read from its cache everywhere
//! (vLLM's TurboQuant attends to the prompt's own, uncompressed K and V), so a question whose prompt did not come from
//! the cache is asked again: then it does, and what the cache does to it shows ([`ReadPath::Cached`]). Without a prefix cache
//! that is written down ([`ReadPath::Prefill`]). Where what was said is next to impossible already, the rest is not asked for.

use serde_json::Value;

use super::connection::Client;
use super::exchange::Failure;
use super::forced::{ForcedExchange, ends_here, refused};
use super::wire::conversation::Conversation;
use super::wire::step::{Next, Step, StepFormat};
use crate::error::chain;
use crate::record::{Forced, ForcedForm, ForcedToken, Measurement, ReadPath, Source, metric};

impl Client {
    /// How probable the model finds `form` as what the reply says next.
    ///
    /// # Errors
    /// As [`Client::force`].
    pub(super) async fn force_by_steps(
        &self,
        format: &'static dyn StepFormat,
        conversation: &Conversation<'_>,
        form: &ForcedForm,
    ) -> Result<ForcedExchange, Failure> {
        if form.tokens.is_empty() {
            return Err(Failure::unsupported("the answer's tokens are not known: it cannot be forced"));
        }
        let mut tokens = match self.own_tokens(conversation.messages, conversation.tools) {
            Some(tokens) => tokens,
            None => {
                let tokens = self.chat_tokens(conversation.messages, conversation.tools).await;
                tokens.map_err(|error| Failure::unsupported(chain(&error)))?
            }
        };
        let mut exchange = ForcedExchange {
            forced: Forced { path: ReadPath::Cached, ..Forced::default() },
            measurements: Vec::new(),
            last: Vec::new(),
        };
        for &token in &form.tokens {
            let next = self.next(format, &tokens, Some(token), &mut exchange).await?;
            let logprob = next.logprob.unwrap_or(f32::MIN);
            exchange.forced.tokens.push(ForcedToken { id: Some(token), logprob });
            tokens.push(token);
            if exchange.forced.is_impossible() && exchange.forced.tokens.len() < form.tokens.len() {
                exchange.forced.cut = true;
                return Ok(exchange);
            }
        }
        let next = self.next(format, &tokens, None, &mut exchange).await?;
        exchange.forced.ends = ends_here(&next.top);
        Ok(exchange)
    }

    /// What follows the tokens, read from the cache that holds them, if there is one.
    async fn next(
        &self,
        format: &'static dyn StepFormat,
        tokens: &[u32],
        token: Option<u32>,
        exchange: &mut ForcedExchange,
    ) -> Result<Next, Failure> {
        let (next, path) = self.step(format, tokens, token, exchange).await?;
        if !path.is_prefill() || exchange.forced.path.is_prefill() {
            return Ok(next);
        }
        let (next, path) = self.step(format, tokens, token, exchange).await?;
        exchange.forced.path = path;
        Ok(next)
    }

    async fn step(
        &self,
        format: &'static dyn StepFormat,
        tokens: &[u32],
        token: Option<u32>,
        exchange: &mut ForcedExchange,
    ) -> Result<(Next, ReadPath), Failure> {
        let step = Step { model: self.writer.model.as_deref(), tokens, token, salt: self.writer.salt(true) };
        let answer = self.http.post(format.path(), &format.body(&step)).await.map_err(refused)?;
        let mut last: Value = serde_json::from_slice(answer.recording.bytes())
            .map_err(|error| Failure::stream(format!("the reply is no completion ({error})")))?;
        self.cache_report.complete(&mut last);
        let next = format.read(&last, token).map_err(Failure::unsupported)?;
        let total = Measurement::new(metric::TOTAL_S, Source::Client, answer.total.as_secs_f64());
        let path = ReadPath::behind(tokens.len() as u64, format.cached(&last));
        exchange.measurements.push(vec![total]);
        exchange.last.push(last);
        Ok((next, path))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use axum::routing::post;
    use axum::{Json, Router};
    use serde_json::json;
    use tokio::net::TcpListener;

    use super::super::{Conversation, Limits, PromptTokens};
    use super::*;
    use crate::measure::client::wire;
    use crate::record::{Message, Tool};

    /// Prompts are longer than what may be computed beside the cache.
    const PROMPT: usize = 300;

    #[derive(Debug)]
    struct Numbers;

    impl PromptTokens for Numbers {
        fn of_chat(&self, _messages: &[Message], _tools: &[Tool]) -> Option<Vec<u32>> {
            Some((0..PROMPT as u32).collect())
        }
    }

    /// As vLLM answers: what of a prompt came from its cache is counted, unless that is nothing. A prompt of which nothing is
    /// in the cache is read another way, so that its token is twice as probable.
    fn answer(asked: &Value, keeps: bool, held: &Mutex<Vec<usize>>) -> Value {
        let prompt = asked["prompt"].as_array().unwrap().len();
        let mut held = held.lock().unwrap();
        let cached = held.iter().copied().filter(|length| *length <= prompt && keeps).max().unwrap_or(0);
        let cached = cached.min(prompt - 1);
        held.push(prompt);
        let logprob = if cached == 0 { -0.5 } else { -0.5 - std::f64::consts::LN_2 };
        let said = asked["allowed_token_ids"].get(0).cloned().unwrap_or(json!(13));
        let mut usage = json!({ "prompt_tokens": prompt });
        if cached > 0 {
            usage["prompt_tokens_details"] = json!({ "cached_tokens": cached });
        }
        json!({
            "choices": [{ "token_ids": [said], "logprobs": {
                "token_logprobs": [logprob], "top_logprobs": [{ ".": logprob, "7": -3.0 }] } }],
            "usage": usage,
        })
    }

    fn force(keeps: bool) -> ForcedExchange {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let url = format!("http://{}", listener.local_addr().unwrap());
            let held = Arc::new(Mutex::new(Vec::new()));
            let answered = move |Json(asked): Json<Value>| async move { Json(answer(&asked, keeps, &held)) };
            let router = Router::new().route("/v1/completions", post(answered));
            tokio::spawn(async { axum::serve(listener, router).await });
            let endpoints = crate::measure::mock::ENDPOINTS;
            let client = Client::new(&url, endpoints, Limits::default()).unwrap().speaking(&wire::Vllm);
            let client = client.with_own_tokens(Some(Arc::new(Numbers)));
            let form = ForcedForm { text: " 34".into(), tokens: vec![3, 4] };
            client.force(&Conversation::of(&[Message::user("?")]), &form, 40).await.unwrap()
        })
    }

    #[test]
    fn a_prompt_that_was_not_in_the_cache_is_asked_for_again() {
        let ForcedExchange { forced, measurements, last } = force(true);
        assert_eq!(forced.path, ReadPath::Cached);
        let logprobs: Vec<f32> = forced.tokens.iter().map(|token| token.logprob).collect();
        assert!(logprobs.iter().all(|logprob| (logprob + 1.193_147).abs() < 1e-5), "{logprobs:?}");
        // Two tokens and the end, and the first again.
        assert_eq!((last.len(), measurements.len()), (4, 4));
    }

    #[test]
    fn without_a_prefix_cache_it_is_asked_twice_once_and_said() {
        let ForcedExchange { forced, last, .. } = force(false);
        assert_eq!((forced.path, forced.tokens.len()), (ReadPath::Prefill, 2));
        assert_eq!(last.len(), 4);
    }
}
