//! vLLM's names, which SGLang took over.
//!
//! Sources: vLLM 0.32 (`ChatCompletionRequest`, `TokenizeChatRequest`), SGLang
//! (`srt/entrypoints/openai/protocol.py`).

use serde_json::{Value, json};

use super::body::{merged, said, template_body};
use super::decode_list::{DecodeLists, NextToken, SecondToken};
use super::format::{ChatRequest, WireFormat};
use super::prompt_lists::PromptLists;
use super::step::{Completions, Generate, StepFormat};
use crate::measure::client::exchange::Failure;
use crate::record::{Message, Tool, prefill};

/// vLLM.
#[derive(Debug, Clone, Copy)]
pub struct Vllm;

/// SGLang.
#[derive(Debug, Clone, Copy)]
pub struct Sglang;

impl WireFormat for Vllm {
    fn chat(&self, request: &ChatRequest<'_>) -> Result<Value, Failure> {
        Ok(body(request, Self::beginning(request.conversation.messages)))
    }

    fn takes_salt(&self) -> bool {
        true
    }

    fn tokenize(&self, text: &str, add_special: bool) -> Value {
        tokenize(text, add_special)
    }

    fn counts_chats(&self) -> bool {
        true
    }

    fn count_chat(&self, messages: &[Message], tools: &[Tool]) -> Option<Value> {
        Some(count_chat(messages, tools, Self::beginning(messages)))
    }

    fn steps(&self) -> Option<&'static dyn StepFormat> {
        Some(&Completions)
    }

    fn decode_lists(&self) -> Option<&'static dyn DecodeLists> {
        Some(&SecondToken)
    }
}

impl WireFormat for Sglang {
    fn chat(&self, request: &ChatRequest<'_>) -> Result<Value, Failure> {
        Ok(body(request, Self::beginning(request.conversation.messages)))
    }

    fn takes_salt(&self) -> bool {
        true
    }

    fn tokenize(&self, text: &str, add_special: bool) -> Value {
        tokenize(text, add_special)
    }

    fn counts_chats(&self) -> bool {
        true
    }

    fn count_chat(&self, messages: &[Message], tools: &[Tool]) -> Option<Value> {
        Some(count_chat(messages, tools, Self::beginning(messages)))
    }

    fn steps(&self) -> Option<&'static dyn StepFormat> {
        Some(&Generate)
    }

    fn decode_lists(&self) -> Option<&'static dyn DecodeLists> {
        Some(&NextToken)
    }

    fn prompt_lists(&self) -> Option<&'static dyn PromptLists> {
        None
    }
}

impl Vllm {
    /// How a last message of the assistant is made the beginning of the reply.
    fn beginning(messages: &[Message]) -> Value {
        match prefill(messages) {
            Some(_) => json!({ "add_generation_prompt": false, "continue_final_message": true }),
            None => json!({}),
        }
    }
}

impl Sglang {
    /// How a last message of the assistant is made the beginning of the reply.
    fn beginning(messages: &[Message]) -> Value {
        match prefill(messages) {
            Some(_) => json!({ "continue_final_message": true }),
            None => json!({}),
        }
    }
}

/// The body of a streamed chat completion.
fn body(request: &ChatRequest<'_>, beginning: Value) -> Value {
    let sampling = request.sampling;
    let mut body = merged(said(request.conversation), beginning);
    // Whatever else there is, a token count on every event: speculation puts several tokens into one.
    let rest = json!({
        "max_tokens": request.max_tokens,
        "stream": true,
        "stream_options": { "include_usage": true, "continuous_usage_stats": true },
        "temperature": sampling.temperature,
        "top_k": if sampling.top_k == 0 { -1 } else { i64::from(sampling.top_k) },
        "top_p": sampling.top_p,
        "min_p": sampling.min_p,
        "repetition_penalty": sampling.repeat_penalty,
        "presence_penalty": sampling.presence_penalty,
        "frequency_penalty": 0.0,
        "seed": sampling.seed,
    });
    body = merged(body, rest);
    if let Some(salt) = &request.salt {
        body["cache_salt"] = json!(salt);
    }
    body
}

fn tokenize(text: &str, add_special: bool) -> Value {
    json!({ "prompt": text, "add_special_tokens": add_special })
}

fn count_chat(messages: &[Message], tools: &[Tool], beginning: Value) -> Value {
    let mut body = template_body(messages, tools);
    if let Value::Object(body) = &mut body {
        body.shift_remove("parallel_tool_calls");
    }
    // A chat template writes the special tokens itself.
    let rest = merged(beginning, json!({ "add_special_tokens": false }));
    merged(body, rest)
}
