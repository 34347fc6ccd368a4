//! Requests to an inference server, and what they cost on the client's clock.
//!
//! A request is sent, its chunks are stamped and stored as they come ([`timeline::Recording`]), and only
//! when the stream has ended are they decoded ([`sse`], [`reply`]) and measured ([`timeline`]).

use std::time::Duration;

use reqwest::Method;
use serde_json::Value;
use thiserror::Error;

use crate::error::{Error, Kind, Result};
use crate::measure::engine::{Dialect, Endpoints};
use crate::record::suite::Sampling;
use crate::record::{Measurement, Message, Prompt, Reply, Stage, Tool};

pub mod abilities;
mod budget;
pub mod chat;
mod counting;
pub mod dialect;
pub mod distributions;
mod drafts;
mod http;
mod key;
pub mod prompt_logprobs;
pub mod reply;
pub mod sse;
pub mod timeline;

pub use chat::Conversation;
pub use key::ApiKey;

pub(crate) use counting::is_unsupported;

use counting::Counts;
use dialect::Manner;
use http::{Answer, Http};

/// How long to wait and how much to take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// From sending a request to the end of its reply.
    pub request_timeout: Duration,
    /// Longest silence within a reply, once its first bytes are there. Before them only
    /// `request_timeout` holds: a long prompt is silent while it is processed.
    pub idle_timeout: Duration,
    /// Largest reply (bytes).
    pub max_reply_bytes: usize,
    /// Longest line of an event stream (bytes).
    pub max_line_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            request_timeout: Duration::from_secs(600),
            idle_timeout: Duration::from_secs(60),
            max_reply_bytes: 64 << 20,
            max_line_bytes: 1 << 20,
        }
    }
}

/// A request that was answered.
#[derive(Debug, Clone, PartialEq)]
pub struct Exchange {
    /// What came back.
    pub reply: Reply,
    /// The client's figures; for distributions also the engine's.
    pub measurements: Vec<Measurement>,
    /// The last event that carries `usage` or `timings` (or the whole reply of a server that did not
    /// stream), for [`Engine::measurements`](crate::measure::engine::Engine::measurements). Null for distributions,
    /// where the last of many requests says nothing about the whole.
    pub last: Value,
    /// When what arrived, for figures over several turns; `None` where nothing was streamed.
    pub timeline: Option<timeline::Timeline>,
}

/// Why there is no exchange. The message is safe to show.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{message}")]
pub struct Failure {
    /// Where it broke: [`Stage::Request`], [`Stage::Stream`] or [`Stage::Integrity`].
    pub stage: Stage,
    /// What happened, with the HTTP status and the server's own words where there are any.
    pub message: String,
    /// The engine cannot do what was asked, whatever the case: the trial does not apply to it.
    pub unsupported: bool,
}

impl Failure {
    fn new(stage: Stage, message: impl Into<String>) -> Self {
        Self { stage, message: message.into(), unsupported: false }
    }

    fn unsupported(message: impl Into<String>) -> Self {
        Self { unsupported: true, ..Self::request(message) }
    }

    fn request(message: impl Into<String>) -> Self {
        Self::new(Stage::Request, message)
    }

    /// Whether the server refused this very request, and may well answer another: not a key, a path or a limit of
    /// requests is what it is about.
    fn refuses_the_request(&self) -> bool {
        let statuses = ["HTTP 400", "HTTP 422", "HTTP 500"];
        self.stage == Stage::Request && statuses.iter().any(|status| self.message.starts_with(status))
    }

    fn stream(message: impl Into<String>) -> Self {
        Self::new(Stage::Stream, message)
    }

    pub(crate) fn integrity(message: impl Into<String>) -> Self {
        Self::new(Stage::Integrity, message)
    }
}

/// Talks to one server.
#[derive(Debug, Clone)]
pub struct Client {
    http: Http,
    endpoints: Endpoints,
    manner: Manner,
    /// What was counted before; clones share it.
    counts: Counts,
}

impl Client {
    /// A client of the server at `base_url`, such as `http://127.0.0.1:8080`, that speaks llama.cpp's dialect. Nothing
    /// is sent yet.
    ///
    /// # Errors
    /// A usage error when `base_url` is not an http or https address.
    pub fn new(base_url: &str, endpoints: Endpoints, limits: Limits) -> Result<Self> {
        let http = Http::new(base_url, limits)?;
        Ok(Self { http, endpoints, manner: Manner::new(Dialect::LlamaCpp), counts: Counts::default() })
    }

    /// The same in another dialect.
    #[must_use]
    pub fn speaking(self, dialect: Dialect) -> Self {
        Self { manner: Manner { dialect, ..self.manner }, ..self }
    }

    /// The same for one of several models that the server knows, by its name for it.
    #[must_use]
    pub fn of_model(self, name: &str) -> Self {
        Self { manner: Manner { model: Some(name.into()), ..self.manner }, ..self }
    }

    /// The same with a key sent along with every request.
    #[must_use]
    pub fn with_key(self, key: ApiKey) -> Self {
        Self { http: self.http.with_key(key), ..self }
    }

    /// The same for one conversation: where the server takes a salt for its prefix cache, all requests of this client
    /// have the same one, which no other request has. Without it every cold request has its own.
    #[must_use]
    pub fn conversation(&self) -> Self {
        Self { manner: self.manner.of_conversation(), ..self.clone() }
    }

    /// Sends what a case asks for. `max_tokens` and `sampling` do not apply to distributions.
    ///
    /// # Errors
    /// As [`Client::chat`] and [`Client::distributions`].
    pub async fn send(
        &self,
        prompt: &Prompt,
        sampling: &Sampling,
        max_tokens: u32,
    ) -> Result<Exchange, Failure> {
        match prompt {
            Prompt::Chat { messages, tools, tool_choice, response_schema } => {
                let conversation = Conversation {
                    messages,
                    tools,
                    tool_choice: *tool_choice,
                    response_schema: response_schema.as_ref(),
                    reuse_cache: false,
                };
                self.chat(&conversation, sampling, max_tokens).await
            }
            Prompt::Distributions { tokens, top_k, .. } => {
                self.distributions(tokens, &prompt.positions(), *top_k).await
            }
        }
    }

    /// A streamed chat completion of at most `max_tokens` tokens. Its clock starts on an open connection: the time
    /// to the first token is the server's, not the network's handshake.
    ///
    /// # Errors
    /// When the request is refused, or the reply breaks off, falls silent, is over a limit or cannot be read.
    pub async fn chat(
        &self,
        conversation: &Conversation<'_>,
        sampling: &Sampling,
        max_tokens: u32,
    ) -> Result<Exchange, Failure> {
        let body = self.manner.chat(conversation, sampling, max_tokens)?;
        self.hello().await;
        let answer = self.http.post(self.endpoints.chat, &body).await?;
        exchange(&self.http, &answer, max_tokens)
    }

    /// As [`Client::chat`] for one of many requests at the same time. Opening the connection is in its time, as it is
    /// for every user; the reply is decoded on another thread, so that other streams are stamped when they arrive.
    /// `to_the_end`: the model must not stop before `max_tokens` (`ignore_eos`), where the engine knows that.
    ///
    /// # Errors
    /// As [`Client::chat`].
    pub async fn chat_under_load(
        &self,
        conversation: &Conversation<'_>,
        sampling: &Sampling,
        max_tokens: u32,
        to_the_end: bool,
    ) -> Result<Exchange, Failure> {
        let mut body = self.manner.chat(conversation, sampling, max_tokens)?;
        if to_the_end {
            chat::ignore_end(&mut body);
        }
        let answer = self.http.post(self.endpoints.chat, &body).await?;
        let http = self.http.clone();
        let decoded = tokio::task::spawn_blocking(move || exchange(&http, &answer, max_tokens)).await;
        decoded.unwrap_or_else(|_| Err(Failure::stream("decoding the reply panicked")))
    }

    /// As [`Client::chat`], with the reply in one piece: nothing is timed but its end.
    ///
    /// # Errors
    /// As [`Client::chat`].
    pub async fn chat_whole(
        &self,
        conversation: &Conversation<'_>,
        sampling: &Sampling,
        max_tokens: u32,
    ) -> Result<Exchange, Failure> {
        let body = self.manner.whole(conversation, sampling, max_tokens)?;
        let answer = self.http.post(self.endpoints.chat, &body).await?;
        exchange(&self.http, &answer, max_tokens)
    }

    /// The `top_k` most probable next tokens after each `tokens[..t]`, for every `t` of `positions` (ascending).
    ///
    /// # Errors
    /// As [`Client::chat`]; also when a position was not computed from exactly the tokens sent, and an
    /// [unsupported](Failure::unsupported) one when the engine lists no token probabilities.
    pub async fn distributions(
        &self,
        tokens: &[u32],
        positions: &[usize],
        top_k: usize,
    ) -> Result<Exchange, Failure> {
        distributions::check(tokens, positions, top_k)?;
        match (self.endpoints.completion, self.endpoints.prompt_logprobs) {
            (Some(path), _) => {
                distributions::collect(&self.http, &self.manner, path, tokens, positions, top_k).await
            }
            (None, Some(path)) => {
                prompt_logprobs::collect(&self.http, &self.manner, path, tokens, positions, top_k).await
            }
            (None, None) => Err(Failure::unsupported("this engine lists no token probabilities")),
        }
    }

    /// Token ids of a text, special tokens in the text recognised. `add_special` puts those in front (and
    /// behind) that the model's tokenizer adds to every prompt.
    ///
    /// # Errors
    /// When the engine has no tokenizer endpoint or the server does not answer with token ids.
    pub async fn tokenize(&self, text: &str, add_special: bool) -> Result<Vec<u32>> {
        let path = endpoint(self.endpoints.tokenize, "tokenizer")?;
        let body = self.manner.tokenize(text, add_special);
        let value = self.post_json(path, &body).await?;
        reply::token_ids(&value).ok_or_else(|| unexpected(path, "a list of token ids"))
    }

    /// The prompt that the server makes of a conversation with the model's chat template.
    ///
    /// # Errors
    /// When the engine has no such endpoint or the server does not answer with a prompt.
    pub async fn apply_template(&self, messages: &[Message], tools: &[Tool]) -> Result<String> {
        let path = endpoint(self.endpoints.apply_template, "chat template")?;
        let body = self.manner.template(messages, tools);
        let value = self.post_json(path, &body).await?;
        let prompt = value.get("prompt").and_then(Value::as_str);
        prompt.map(str::to_owned).ok_or_else(|| unexpected(path, "a prompt"))
    }

    /// The tokens of the prompt that the server makes of a conversation.
    ///
    /// # Errors
    /// As [`Client::apply_template`] and [`Client::tokenize`].
    pub async fn prompt_tokens(&self, messages: &[Message], tools: &[Tool]) -> Result<Vec<u32>> {
        let prompt = self.apply_template(messages, tools).await?;
        self.tokenize(&prompt, true).await
    }

    /// The JSON document at a path such as `/props`, of the client's model where the server has several.
    ///
    /// # Errors
    /// When the server does not answer with JSON.
    pub async fn get_json(&self, path: &str) -> Result<Value> {
        let answer =
            self.http.get(&self.manner.of_model(path)).await.map_err(|failure| wrap(path, failure))?;
        serde_json::from_slice(answer.recording.bytes())
            .map_err(|source| unexpected(path, "JSON").with_source(source))
    }

    /// The text at a path such as `/metrics`, as [`Client::get_json`]; bytes that are not UTF-8 become U+FFFD.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn get_text(&self, path: &str) -> Result<String> {
        let answer =
            self.http.get(&self.manner.of_model(path)).await.map_err(|failure| wrap(path, failure))?;
        Ok(String::from_utf8_lossy(answer.recording.bytes()).into_owned())
    }

    /// Opens the connection of the timed request that follows. Where the path for it is a list of models, which may be
    /// long, only its head is asked for.
    async fn hello(&self) {
        let method = match self.manner.dialect {
            Dialect::OpenAi => Method::HEAD,
            Dialect::LlamaCpp | Dialect::Vllm | Dialect::Sglang => Method::GET,
        };
        self.http.connect(method, self.endpoints.health).await;
    }

    /// Whether the server says that it is ready; a server that takes longer than two seconds is not.
    pub async fn healthy(&self) -> bool {
        let ready = self.http.get(self.endpoints.health);
        let ready = tokio::time::timeout(Duration::from_secs(2), ready).await;
        matches!(ready, Ok(Ok(_)))
    }

    async fn post_json(&self, path: &str, body: &Value) -> Result<Value> {
        let answer = self.http.post(path, body).await;
        let answer = answer.map_err(|failure| wrap(path, failure))?;
        serde_json::from_slice(answer.recording.bytes())
            .map_err(|source| unexpected(path, "JSON").with_source(source))
    }
}

/// What an answer to a chat amounts to, without the key, and no longer than its budget could have made it.
fn exchange(http: &Http, answer: &Answer, max_tokens: u32) -> Result<Exchange, Failure> {
    let mut exchange = chat::exchange(answer, http.limits()).map_err(|failure| http.without_key(failure))?;
    http.hide_key_in(&mut exchange.reply);
    budget::keep_within(&mut exchange.reply, max_tokens);
    Ok(exchange)
}

/// `http://host:8080/v1/` -> `http://host:8080`: the paths that are asked bring `/v1` along.
pub fn base_of(url: &str) -> &str {
    let url = url.trim_end_matches('/');
    url.strip_suffix("/v1").unwrap_or(url).trim_end_matches('/')
}

/// Whether this can be the address of a server.
///
/// # Errors
/// A usage error that says what is wrong with it; a password in it is not repeated.
pub fn check_address(url: &str) -> Result<()> {
    http::check_address(url)
}

/// The port of a server on this machine's loopback interface; `None` for any other address.
pub fn loopback_port(url: &str) -> Option<u16> {
    http::loopback_port(url)
}

/// One JSON object with the keys of both; those of `more` come last, and win.
fn merged(mut body: Value, more: Value) -> Value {
    if let (Value::Object(body), Value::Object(more)) = (&mut body, more) {
        body.extend(more);
    }
    body
}

fn endpoint(path: Option<&'static str>, what: &str) -> Result<&'static str> {
    path.ok_or_else(|| {
        Error::new(Kind::Unsupported, format!("this server has no {what} that can be asked"))
            .hint("choose tasks that need none, or another engine")
    })
}

fn wrap(path: &str, failure: Failure) -> Error {
    if failure.unsupported {
        return Error::new(Kind::Unsupported, failure.message);
    }
    let kind = if failure.refuses_the_request() { Kind::Refused } else { Kind::Runtime };
    Error::new(kind, format!("request to {path} failed: {failure}"))
        .hint("look at the server's log; is the address that of the right server?")
}

fn unexpected(path: &str, wanted: &str) -> Error {
    Error::runtime(format!("the server did not answer {path} with {wanted}"))
        .hint("is this engine the one that the suite names?")
}
