//! What all of the mock's likenesses share: its state, its refusals, messages and how a prompt is rendered.

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use super::script::Script;
use super::sent::SentLog;

/// The state of the server.
pub(super) struct Server {
    pub(super) script: Script,
    /// Where it is written down what left when.
    pub(super) log: Option<SentLog>,
    /// Generating requests so far.
    pub(super) requests: AtomicU64,
    pub(super) prompt_tokens: AtomicU64,
    pub(super) output_tokens: AtomicU64,
    /// Prompt of the last completion: what its cache holds.
    pub(super) slot: Mutex<Vec<u32>>,
    /// Salt of that completion.
    pub(super) salt: Mutex<Option<String>>,
    /// Slots without a request.
    pub(super) free: Arc<Semaphore>,
}

pub(super) type Shared = State<Arc<Server>>;

impl Server {
    /// Refuses a prompt of so many tokens when it does not fit.
    pub(super) fn check_context(&self, prompt: u64) -> Result<(), Refused> {
        let context = u64::from(self.script.context);
        if prompt <= context {
            return Ok(());
        }
        let message =
            format!("request ({prompt} tokens) exceeds the available context size ({context} tokens)");
        let error = json!({
            "code": 400,
            "message": message,
            "type": "exceed_context_size_error",
            "n_prompt_tokens": prompt,
            "n_ctx": context,
        });
        Err(Refused(StatusCode::BAD_REQUEST, error))
    }
}

/// A request that is answered with an error.
pub(super) struct Refused(pub(super) StatusCode, pub(super) Value);

impl Refused {
    pub(super) fn invalid(message: impl std::fmt::Display) -> Self {
        Self(
            StatusCode::BAD_REQUEST,
            json!({ "code": 400, "message": message.to_string(), "type": "invalid_request_error" }),
        )
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let mut response = json_response(&json!({ "error": self.1 }));
        *response.status_mut() = self.0;
        response
    }
}

pub(super) fn json_response(value: &Value) -> Response {
    let header = (header::CONTENT_TYPE, "application/json; charset=utf-8");
    ([header], value.to_string()).into_response()
}

pub(super) fn parse<T: DeserializeOwned>(body: &Bytes) -> Result<T, Refused> {
    serde_json::from_slice(body).map_err(Refused::invalid)
}

#[derive(Deserialize)]
pub(super) struct ChatMessage {
    role: String,
    #[serde(default)]
    content: Value,
}

/// Tools, one a line, in a system turn; then the conversation; then the start of the reply.
pub(super) fn render(messages: &[ChatMessage], tools: &[Value]) -> String {
    let turn = |role: &str, content: &str| format!("<|im_start|>{role}\n{content}<|im_end|>\n");
    let mut prompt = String::new();
    if !tools.is_empty() {
        let lines: Vec<String> = tools.iter().map(Value::to_string).collect();
        prompt.push_str(&turn("system", &lines.join("\n")));
    }
    // As llama-server: a last message of the assistant is the beginning of the reply.
    let began = messages.last().filter(|message| message.role == "assistant");
    for message in &messages[..messages.len() - usize::from(began.is_some())] {
        prompt.push_str(&turn(&message.role, message.content.as_str().unwrap_or_default()));
    }
    prompt.push_str("<|im_start|>assistant\n");
    prompt.push_str(began.and_then(|message| message.content.as_str()).unwrap_or_default());
    prompt
}
