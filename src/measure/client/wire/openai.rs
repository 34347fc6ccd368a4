//! Nothing but what OpenAI's interface has, and of that only what local servers share.

use serde_json::{Value, json};

use super::body::{merged, said};
use super::format::{ChatRequest, WireFormat};
use crate::measure::client::exchange::Failure;
use crate::record::prefill;

/// OpenAI's chat completions.
#[derive(Debug, Clone, Copy)]
pub struct OpenAi;

impl WireFormat for OpenAi {
    fn chat(&self, request: &ChatRequest<'_>) -> Result<Value, Failure> {
        if prefill(request.conversation.messages).is_some() {
            let reason = "OpenAI's interface has no way to begin the reply (mode prefill)";
            return Err(Failure::unsupported(reason));
        }
        let sampling = request.sampling;
        let limit = if request.quirks.completion_limit { "max_completion_tokens" } else { "max_tokens" };
        let rest = json!({
            limit: request.max_tokens,
            "stream": true,
            "stream_options": { "include_usage": true },
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "presence_penalty": sampling.presence_penalty,
            "frequency_penalty": 0.0,
            "seed": sampling.seed,
        });
        let mut body = merged(said(request.conversation), rest);
        if let (true, Value::Object(body)) = (request.quirks.no_stream_options, &mut body) {
            body.shift_remove("stream_options");
        }
        Ok(body)
    }

    fn not_sent(&self) -> &'static [&'static str] {
        &["top_k", "min_p", "repeat_penalty"]
    }

    fn opens_with_head(&self) -> bool {
        true
    }
}
