//! The mock's HTTP interface.

use std::future::pending;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Router, middleware};
use futures_util::stream;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep, sleep_until};

use super::document::Speech;
use super::plan::{self, End, Plan, Wanted, Write};
use super::script::{FaultKind, Likeness, Script};
use super::sent::{Sent, SentLog};
use super::wire::{ChatMessage, Refused, Server, Shared, json_response, parse, render};
use super::{forced, others, tokens};

/// Largest request (bytes).
const REQUEST_BYTES: usize = 64 << 20;

/// How long the last piece before a cut connection has for leaving.
const FLUSH: Duration = Duration::from_millis(5);

/// A ChatML-like template, as `/props` shows it; [`render`] does the same.
const TEMPLATE: &str = "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n\
                        {% endfor %}<|im_start|>assistant\n";

pub(super) fn router(script: Script, log: Option<SentLog>) -> Router {
    let room = match script.slots as usize {
        0 => Semaphore::MAX_PERMITS,
        slots => slots,
    };
    let state = Arc::new(Server {
        script,
        log,
        requests: AtomicU64::new(0),
        prompt_tokens: AtomicU64::new(0),
        output_tokens: AtomicU64::new(0),
        slot: Mutex::new(Vec::new()),
        salt: Mutex::new(None),
        free: Arc::new(Semaphore::new(room)),
    });
    let health = get(async || json_response(&json!({ "status": "ok" })));
    let shared =
        Router::new().route("/v1/chat/completions", post(chat)).route("/v1/models", get(others::models));
    let routes = match state.script.like {
        Likeness::LlamaServer | Likeness::IkLlama => shared
            .route("/health", health)
            .route("/completion", post(completion))
            .route("/v1/completions", post(openai_completion))
            .route("/tokenize", post(tokenize))
            .route("/apply-template", post(apply_template))
            .route("/props", get(props))
            .route("/slots", get(slots))
            .route("/metrics", get(metrics)),
        Likeness::Openai => shared,
        Likeness::Vllm => shared
            .route("/health", health)
            .route("/version", get(async || json_response(&json!({ "version": "0.32.0+mock" }))))
            .route("/tokenize", post(others::tokenize))
            .route("/v1/completions", post(others::completions)),
    };
    routes
        .layer(middleware::from_fn_with_state(Arc::clone(&state), others::want_key))
        .layer(DefaultBodyLimit::max(REQUEST_BYTES))
        .with_state(state)
}

#[derive(Deserialize)]
struct ChatRequest {
    model: Option<String>,
    messages: Vec<ChatMessage>,
    #[serde(default)]
    tools: Vec<Value>,
    #[serde(default)]
    stream: bool,
    #[serde(default)]
    stream_options: StreamOptions,
    #[serde(default)]
    timings_per_token: bool,
    #[serde(alias = "max_completion_tokens")]
    max_tokens: Option<u32>,
    #[serde(default = "yes")]
    cache_prompt: bool,
    cache_salt: Option<String>,
    #[serde(default)]
    response_format: Value,
    #[serde(default)]
    ignore_eos: bool,
    grammar: Option<String>,
}

#[derive(Default, Deserialize)]
struct StreamOptions {
    #[serde(default)]
    include_usage: bool,
    #[serde(default)]
    continuous_usage_stats: bool,
}

async fn chat(State(server): Shared, body: Bytes) -> Result<Response, Refused> {
    let slot = server.take_slot().await?;
    let start = Instant::now();
    let (number, fault) = server.next_request();
    let request: ChatRequest = parse(&body)?;
    others::check_model(&server.script, request.model.as_deref())?;
    let mut prompt = tokens::ids(&render(&request.messages, &request.tools));
    if server.script.cut_prompts {
        prompt.truncate(server.script.context as usize);
    }
    server.check_context(prompt.len() as u64)?;
    check_schema(&request.response_format)?;
    let seen = seen(prompt.len() as u64, fault);
    prompt.truncate(seen as usize);
    let script = &server.script;
    let reused = server.reuse(&prompt, server.may_reuse(&request));
    let cached = u64::from(script.cached_tokens).max(reused).min(seen.saturating_sub(1));
    let grammar = request.grammar.as_deref().filter(|_| script.like.is_llama());
    let forced = grammar.map(forced::text).transpose()?;
    let (tokens, complete) = match (&forced, request.max_tokens.filter(|_| request.ignore_eos)) {
        (Some(text), _) => (tokens::pieces(text), true),
        (None, Some(budget)) => (tokens::filler(budget), false),
        (None, None) => server.say(number, request.max_tokens),
    };
    let speech = Speech { request: number, tokens, complete, processed: seen - cached, cached };
    server.count(&speech);
    let plan = if request.stream {
        let wanted = Wanted {
            usage: request.stream_options.include_usage,
            continuous_usage: script.like == Likeness::Vllm && request.stream_options.continuous_usage_stats,
            timings_per_token: script.like.is_llama() && request.timings_per_token,
        };
        plan::streamed(&speech, script, wanted)
    } else if forced.is_some() {
        forced::plan(&prompt, &speech, script)
    } else {
        plan::whole(&speech, script)
    };
    let log = server.log.clone().filter(|_| request.stream);
    let sent = Sent::of(log, number, seen, start);
    respond(start, plan, fault, script, (slot, sent)).await
}

/// Like a server whose grammars know no dynamic references.
fn check_schema(response_format: &Value) -> Result<(), Refused> {
    if response_format.to_string().contains("\"$dynamicRef\"") {
        return Err(Refused::invalid("JSON schema conversion failed: unrecognized schema"));
    }
    Ok(())
}

#[derive(Deserialize)]
struct CompletionRequest {
    prompt: PromptField,
    #[serde(default = "one")]
    n_predict: u32,
    #[serde(default)]
    n_probs: usize,
    #[serde(default = "yes")]
    cache_prompt: bool,
    #[serde(default)]
    stream: bool,
    #[serde(default)]
    grammar: Option<String>,
    #[serde(default)]
    json_schema: Option<Value>,
}

/// Of every schema the same grammar, which takes any JSON: the mock enforces nothing. It is no request that a script counts.
fn grammar_of(schema: &Value) -> Result<Response, Refused> {
    const ANY: &str = r#"root ::= value
value ::= "{" ( string ":" value ("," string ":" value)* )? "}" | "[" ( value ("," value)* )? "]" | string | number | "true" | "false" | "null"
string ::= "\"" ( [^"\\\x00-\x1f] | "\\" ( ["\\/bfnrt] | "u" [0-9a-fA-F]{4} ) )* "\""
number ::= "-"? [0-9]+ ("." [0-9]+)? ([eE] [-+]? [0-9]+)?"#;
    check_schema(schema)?;
    Ok(json_response(&json!({ "content": "", "generation_settings": { "grammar": ANY } })))
}

impl CompletionRequest {
    /// The tokens that a grammar of nothing but tokens allows, `<[1]> <[2]>`.
    fn allowed(&self) -> Option<Vec<u32>> {
        let tokens = self.grammar.as_deref()?.strip_prefix("root ::= ")?;
        tokens.split(' ').map(|token| token.strip_prefix("<[")?.strip_suffix("]>")?.parse().ok()).collect()
    }
}

fn one() -> u32 {
    1
}

fn yes() -> bool {
    true
}

#[derive(Deserialize)]
#[serde(untagged)]
enum PromptField {
    Text(String),
    Tokens(Vec<u32>),
}

async fn completion(State(server): Shared, body: Bytes) -> Result<Response, Refused> {
    let in_words = if server.script.like == Likeness::IkLlama { in_texts } else { |document| document };
    complete(&server, &body, in_words).await
}

/// Probabilities of texts alone, as ik_llama.cpp lists them.
fn in_texts(mut document: Value) -> Value {
    let positions = document["completion_probabilities"].as_array_mut();
    for position in positions.into_iter().flatten() {
        let listed = position["top_logprobs"].as_array().into_iter().flatten();
        let texts = listed.map(
            |entry| json!({ "tok_str": entry["token"], "prob": entry["logprob"].as_f64().map(f64::exp) }),
        );
        *position = json!({ "content": position["token"], "probs": texts.collect::<Vec<_>>() });
    }
    document
}

/// The same in OpenAI's words, as ik_llama.cpp answers there.
async fn openai_completion(State(server): Shared, body: Bytes) -> Result<Response, Refused> {
    complete(&server, &body, |mut document| {
        json!({
            "object": "text_completion",
            "model": document["model"],
            "choices": [{
                "index": 0,
                "text": document["content"],
                "finish_reason": "length",
                "logprobs": { "content": document["completion_probabilities"].take() },
            }],
            "usage": {
                "prompt_tokens": document["tokens_evaluated"],
                "completion_tokens": document["tokens_predicted"],
                "prompt_tokens_details": { "cached_tokens": document["timings"]["cache_n"] },
            },
            "timings": document["timings"],
        })
    })
    .await
}

async fn complete(
    server: &Arc<Server>,
    body: &Bytes,
    in_words: fn(Value) -> Value,
) -> Result<Response, Refused> {
    let request: CompletionRequest = parse(body)?;
    if let Some(schema) = &request.json_schema {
        return grammar_of(schema);
    }
    let slot = server.take_slot().await?;
    let start = Instant::now();
    let (number, fault) = server.next_request();
    if request.stream {
        return Err(Refused::invalid("the mock does not stream /completion"));
    }
    let allowed = request.allowed().filter(|_| server.script.token_grammars).unwrap_or_default();
    let mut prompt = match request.prompt {
        PromptField::Text(text) => tokens::ids(&text),
        PromptField::Tokens(ids) => ids,
    };
    server.check_context(prompt.len() as u64)?;
    prompt.truncate(seen(prompt.len() as u64, fault) as usize);
    let cached = server.reuse(&prompt, request.cache_prompt);
    server.keep(&allowed);
    let speech = Speech {
        request: number,
        tokens: tokens::filler(request.n_predict.min(server.script.context)),
        complete: false,
        processed: prompt.len() as u64 - cached,
        cached,
    };
    server.count(&speech);
    let mut document = json!({
        "index": 0,
        "content": speech.tokens.concat(),
        "id_slot": 0,
        "stop": true,
        "model": "mock",
        "tokens_predicted": speech.count(),
        "tokens_evaluated": prompt.len(),
        "truncated": false,
        "stop_type": "limit",
        "timings": speech.timings(&server.script, speech.count()),
    });
    if request.n_probs > 0 {
        document["completion_probabilities"] =
            probabilities(&prompt, request.n_probs, &speech.tokens, &allowed);
    }
    let document = in_words(document);
    let at = server.script.ready(speech.processed, speech.count());
    let sent = Sent::of(None, number, prompt.len() as u64, start);
    respond(start, plan::single(at, &document), fault, &server.script, (slot, sent)).await
}

/// One entry a generated token; generated tokens join the prefix of the next. The most probable is said, or what a grammar
/// allows.
fn probabilities(prompt: &[u32], count: usize, generated: &[&str], allowed: &[u32]) -> Value {
    let mut prefix = prompt.to_vec();
    let mut entries = Vec::new();
    for place in 0..generated.len() {
        let top = tokens::distribution(&prefix, count);
        let listed = top
            .iter()
            .map(|(id, logprob)| json!({ "id": id, "token": format!("t{id}"), "logprob": logprob }));
        let listed: Vec<Value> = listed.collect();
        let Some((likeliest, logprob)) = top.first() else { break };
        let id = allowed.get(place).unwrap_or(likeliest);
        entries.push(json!({
            "id": id, "token": format!("t{id}"), "logprob": logprob, "top_logprobs": listed,
        }));
        prefix.push(*id);
    }
    Value::Array(entries)
}

#[derive(Deserialize)]
struct TokenizeRequest {
    content: String,
}

async fn tokenize(body: Bytes) -> Result<Response, Refused> {
    let request: TokenizeRequest = parse(&body)?;
    Ok(json_response(&json!({ "tokens": tokens::ids(&request.content) })))
}

#[derive(Deserialize)]
struct TemplateRequest {
    messages: Vec<ChatMessage>,
    #[serde(default)]
    tools: Vec<Value>,
}

async fn apply_template(body: Bytes) -> Result<Response, Refused> {
    let request: TemplateRequest = parse(&body)?;
    Ok(json_response(&json!({ "prompt": render(&request.messages, &request.tools) })))
}

async fn props(State(server): Shared) -> Response {
    json_response(&json!({
        "default_generation_settings": {
            "n_ctx": server.script.context,
            "params": { "speculative.types": "none" },
        },
        "total_slots": server.script.slots.max(1),
        "model_alias": "mock",
        "model_path": "mock.gguf",
        "model_ftype": "F16",
        "chat_template": TEMPLATE,
        "build_info": concat!("kneepoint mock ", env!("CARGO_PKG_VERSION")),
    }))
}

async fn slots(State(server): Shared) -> Response {
    let held = server.slot().len();
    json_response(&json!([{
        "id": 0,
        "n_ctx": server.script.context,
        "speculative": false,
        "is_processing": false,
        "n_prompt_tokens": held,
    }]))
}

async fn metrics(State(server): Shared) -> Response {
    let mut text = String::new();
    for (name, help, value) in [
        ("prompt_tokens_total", "Prompt tokens processed.", &server.prompt_tokens),
        ("tokens_predicted_total", "Tokens generated.", &server.output_tokens),
    ] {
        let value = value.load(Ordering::Relaxed);
        text.push_str(&format!(
            "# HELP llamacpp:{name} {help}\n# TYPE llamacpp:{name} counter\nllamacpp:{name} {value}\n"
        ));
    }
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response()
}

/// How much of a prompt the server looks at.
fn seen(sent: u64, fault: Option<FaultKind>) -> u64 {
    match fault {
        Some(FaultKind::TruncatedPrompt) => sent.div_ceil(2),
        _ => sent,
    }
}

impl Server {
    /// Waits for a slot, which is free again when what is returned is dropped.
    async fn take_slot(&self) -> Result<OwnedSemaphorePermit, Refused> {
        Arc::clone(&self.free).acquire_owned().await.map_err(Refused::invalid)
    }

    fn next_request(&self) -> (u64, Option<FaultKind>) {
        let number = self.requests.fetch_add(1, Ordering::Relaxed) + 1;
        (number, self.script.fault(number))
    }

    /// Whether a chat may go on from what the cache holds: as llama-server is told, or for the same salt as before.
    fn may_reuse(&self, request: &ChatRequest) -> bool {
        if self.script.like != Likeness::Vllm {
            return request.cache_prompt;
        }
        let mut salt = self.salt.lock().unwrap_or_else(PoisonError::into_inner);
        let same = *salt == request.cache_salt;
        salt.clone_from(&request.cache_salt);
        same
    }

    /// Tokens of the n-th reply, and whether it is complete.
    fn say(&self, request: u64, max_tokens: Option<u32>) -> (Vec<&str>, bool) {
        let script = &self.script;
        let limit = max_tokens.unwrap_or(u32::MAX);
        if script.replies.is_empty() {
            let count = script.output_tokens.min(limit);
            return (tokens::filler(count), count == script.output_tokens);
        }
        let turn = (request as usize - 1) % script.replies.len();
        let mut pieces = tokens::pieces(&script.replies[turn]);
        let complete = pieces.len() <= limit as usize;
        pieces.truncate(limit as usize);
        (pieces, complete)
    }

    fn count(&self, speech: &Speech<'_>) {
        self.prompt_tokens.fetch_add(speech.processed, Ordering::Relaxed);
        self.output_tokens.fetch_add(speech.count(), Ordering::Relaxed);
    }

    fn slot(&self) -> std::sync::MutexGuard<'_, Vec<u32>> {
        self.slot.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many tokens in front of `prompt` the cache holds; it holds `prompt` afterwards. The last token is
    /// always processed: its logits are wanted.
    fn reuse(&self, prompt: &[u32], allowed: bool) -> u64 {
        let mut slot = self.slot();
        let pairs = slot.iter().zip(prompt);
        let common = pairs.take_while(|(a, b)| a == b).count() as u64;
        *slot = prompt.to_vec();
        match allowed {
            true => common.min((prompt.len() as u64).saturating_sub(1)),
            false => 0,
        }
    }

    /// What was said stands in the cache behind the prompt.
    fn keep(&self, said: &[u32]) {
        self.slot().extend(said);
    }
}

/// Waits until a moment to within some microseconds: the runtime's timers are up to a millisecond late, which
/// would count against the client's time to first token.
async fn punctual(moment: Instant) {
    const EARLY: Duration = Duration::from_millis(2);
    sleep_until(moment.checked_sub(EARLY).unwrap_or(moment)).await;
    while Instant::now() < moment {
        tokio::task::yield_now().await;
    }
}

async fn respond(
    start: Instant,
    plan: Plan,
    fault: Option<FaultKind>,
    script: &Script,
    held: (OwnedSemaphorePermit, Sent),
) -> Result<Response, Refused> {
    let plan = match fault {
        Some(FaultKind::Http500) => {
            let error = json!({ "code": 500, "message": "scripted failure", "type": "server_error" });
            return Err(Refused(StatusCode::INTERNAL_SERVER_ERROR, error));
        }
        Some(FaultKind::Unwritable) => {
            let message = "[json.exception.type_error.316] invalid UTF-8 byte at index 0: 0x9C";
            let error = json!({ "code": 500, "message": message, "type": "server_error" });
            return Err(Refused(StatusCode::INTERNAL_SERVER_ERROR, error));
        }
        Some(FaultKind::Hang) => pending().await,
        Some(FaultKind::Exit) => {
            crate::console::note("scripted end of the mock server");
            std::process::exit(9);
        }
        Some(FaultKind::Freeze) => {
            // What cannot be stopped hangs at least.
            let _ = nix::sys::signal::raise(nix::sys::signal::Signal::SIGSTOP);
            pending().await
        }
        Some(fault) => plan.with(fault, script),
        None => plan,
    };
    // Like llama-server, the status line waits for the first piece.
    if let Some(first) = plan.writes.first() {
        punctual(start + first.at).await;
    }
    let media_type = [(header::CONTENT_TYPE, plan.media_type)];
    Ok((media_type, body(start, plan, held)).into_response())
}

/// The slot is held as long as there is something to write.
fn body(start: Instant, plan: Plan, held: (OwnedSemaphorePermit, Sent)) -> Body {
    let writes = plan.writes.into_iter();
    Body::from_stream(stream::unfold(
        (writes, plan.end, held),
        move |(mut writes, end, mut held)| async move {
            if let Some(Write { at, bytes }) = writes.next() {
                sleep_until(start + at).await;
                held.1.piece();
                return Some((Ok(bytes), (writes, end, held)));
            }
            match end {
                End::Complete => None,
                End::Abort => {
                    sleep(FLUSH).await;
                    Some((Err(io::Error::other("scripted end")), (writes, End::Complete, held)))
                }
                End::Hang => pending().await,
            }
        },
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_that_began_is_gone_on_with() {
        let messages = |text: &str| serde_json::from_str::<TemplateRequest>(text).unwrap().messages;
        let asked = render(&messages(r#"{"messages": [{"role": "user", "content": "7?"}]}"#), &[]);
        let began =
            r#"{"messages": [{"role": "user", "content": "7?"}, {"role": "assistant", "content": "It is"}]}"#;
        assert_eq!(render(&messages(began), &[]), asked.clone() + "It is");
        assert!(asked.ends_with("<|im_start|>assistant\n"));
    }
}
