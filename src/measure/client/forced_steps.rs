//! A forced answer where a server takes no grammar of tokens whose probabilities stay the model's own: one request for each
//! token, over the server's prefix cache, and one for what could follow.
//!
//! Each token is the first one behind a prompt, so what is read is the way of prompts: a KV type that is not read there shows
//! no damage. That is written down ([`ReadPath::Prefill`]). Where what was said is next to impossible already, the
//! rest is not asked for.

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
            forced: Forced { path: ReadPath::Prefill, ..Forced::default() },
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

    async fn next(
        &self,
        format: &'static dyn StepFormat,
        tokens: &[u32],
        token: Option<u32>,
        exchange: &mut ForcedExchange,
    ) -> Result<Next, Failure> {
        let step = Step { model: self.writer.model.as_deref(), tokens, token, salt: self.writer.salt(true) };
        let answer = self.http.post(format.path(), &format.body(&step)).await.map_err(refused)?;
        let mut last: Value = serde_json::from_slice(answer.recording.bytes())
            .map_err(|error| Failure::stream(format!("the reply is no completion ({error})")))?;
        self.cache_report.complete(&mut last);
        let next = format.read(&last, token).map_err(Failure::unsupported)?;
        let total = Measurement::new(metric::TOTAL_S, Source::Client, answer.total.as_secs_f64());
        exchange.measurements.push(vec![total]);
        exchange.last.push(last);
        Ok(next)
    }
}
