//! What other servers than llama-server have: a list of models, a key, vLLM's tokenizer and its probabilities.

use axum::body::Bytes;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::script::{Likeness, Script};
use super::tokens;
use super::wire::{ChatMessage, Refused, Shared, json_response, parse, render};

/// The only model.
const MODEL: &str = "mock";

/// Lets a request pass that brings the script's key, or any if there is none.
pub(super) async fn want_key(State(server): Shared, request: Request, next: Next) -> Response {
    let Some(key) = &server.script.api_key else { return next.run(request).await };
    let given = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    if given.and_then(|given| given.strip_prefix("Bearer ")) == Some(key) {
        return next.run(request).await;
    }
    // As some do, it repeats what it was given.
    let message = format!("incorrect key provided: {}", given.unwrap_or("none"));
    let error = json!({ "message": message, "type": "invalid_request_error", "code": "invalid_api_key" });
    Refused(StatusCode::UNAUTHORIZED, error).into_response()
}

/// llama-server answers whatever model is named; the others want the right one.
pub(super) fn check_model(script: &Script, named: Option<&str>) -> Result<(), Refused> {
    match (script.like, named) {
        (Likeness::LlamaServer | Likeness::IkLlama, _) | (_, Some(MODEL)) | (Likeness::Vllm, None) => Ok(()),
        (_, Some(other)) => {
            let message = format!("the model `{other}` does not exist");
            Err(Refused(StatusCode::NOT_FOUND, json!({ "message": message, "type": "NotFoundError" })))
        }
        (Likeness::Openai, None) => Err(Refused::invalid("you must provide a model parameter")),
    }
}

pub(super) async fn models(State(server): Shared) -> Response {
    let mut model = json!({ "id": MODEL, "object": "model", "created": 0, "owned_by": "mock" });
    if server.script.like == Likeness::Vllm {
        model["max_model_len"] = json!(server.script.context);
    }
    json_response(&json!({ "object": "list", "data": [model] }))
}

#[derive(Deserialize)]
struct TokenizeRequest {
    model: Option<String>,
    prompt: Option<String>,
    #[serde(default)]
    messages: Vec<ChatMessage>,
    #[serde(default)]
    tools: Vec<Value>,
}

/// vLLM's: of a text, or of a whole chat.
pub(super) async fn tokenize(State(server): Shared, body: Bytes) -> Result<Response, Refused> {
    let request: TokenizeRequest = parse(&body)?;
    check_model(&server.script, request.model.as_deref())?;
    let text = request.prompt.unwrap_or_else(|| render(&request.messages, &request.tools));
    let ids = tokens::ids(&text);
    Ok(json_response(&json!({ "count": ids.len(), "max_model_len": server.script.context, "tokens": ids })))
}

#[derive(Deserialize)]
struct CompletionsRequest {
    model: Option<String>,
    prompt: Vec<u32>,
    #[serde(default)]
    prompt_logprobs: usize,
    #[serde(default)]
    logprobs: usize,
    #[serde(default)]
    allowed_token_ids: Vec<u32>,
}

/// One token, and the probabilities of the prompt's own tokens.
pub(super) async fn completions(State(server): Shared, body: Bytes) -> Result<Response, Refused> {
    let request: CompletionsRequest = parse(&body)?;
    check_model(&server.script, request.model.as_deref())?;
    server.check_context(request.prompt.len() as u64)?;
    if let [said] = request.allowed_token_ids[..] {
        return Ok(json_response(&said_twice(&request, said)));
    }
    let listed = |at: usize| match at {
        0 => Value::Null,
        _ => alternatives(&request.prompt[..at], request.prompt[at], request.prompt_logprobs),
    };
    let lists: Vec<Value> = (0..request.prompt.len()).map(listed).collect();
    Ok(json_response(&json!({
        "object": "text_completion",
        "model": MODEL,
        "choices": [{ "index": 0, "text": " the", "finish_reason": "length", "prompt_logprobs": lists }],
        "usage": {
            "prompt_tokens": request.prompt.len(),
            "completion_tokens": 1,
            "total_tokens": request.prompt.len() + 1,
        },
    })))
}

/// Two tokens of which only one is allowed, each with the most probable ones of its place and itself.
fn said_twice(request: &CompletionsRequest, said: u32) -> Value {
    let longer = [&request.prompt[..], &[said]].concat();
    let named = |prefix: &[u32]| -> Map<String, Value> {
        let listed = alternatives(prefix, said, request.logprobs);
        let entries = listed.as_object().into_iter().flatten();
        entries.map(|(id, entry)| (format!("token_id:{id}"), entry["logprob"].clone())).collect()
    };
    json!({
        "object": "text_completion",
        "model": MODEL,
        "choices": [{
            "index": 0,
            "finish_reason": "length",
            "token_ids": [said, said],
            "logprobs": { "top_logprobs": [named(&request.prompt), named(&longer)] },
        }],
        "usage": { "prompt_tokens": request.prompt.len(), "completion_tokens": 2 },
    })
}

/// The most probable tokens after a prefix, by id, and the actual one, whatever its rank.
fn alternatives(prefix: &[u32], actual: u32, count: usize) -> Value {
    let top = tokens::distribution(prefix, count);
    let entry = |rank: usize, logprob: f64| json!({ "logprob": logprob, "rank": rank });
    let mut listed: Map<String, Value> =
        top.iter().enumerate().map(|(at, (id, logprob))| (id.to_string(), entry(at + 1, *logprob))).collect();
    let least = top.last().map_or(-1.0, |(_, logprob)| *logprob - 1.0);
    listed.entry(actual.to_string()).or_insert_with(|| entry(count + 1, least));
    Value::Object(listed)
}
