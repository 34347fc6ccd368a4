//! Sending a request and recording its reply: no redirects, no retries, no hidden waits.

use std::error::Error as _;
use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{AUTHORIZATION, CONNECTION, CONTENT_TYPE, HeaderMap};
use reqwest::{Method, RequestBuilder, Response, StatusCode, Url};
use serde::Serialize;
use serde_json::Value;
use tokio::time::{Instant, timeout, timeout_at};

use super::direct::{self, Broken, RefusalLimits, Target, after, is_loopback};
use super::exchange::{Failure, Limits};
use super::key::ApiKey;
use super::timeline::Recording;
use crate::console::shown;
use crate::error::{Context, Error, Result};
use crate::record::Reply;

/// Most that is read of a refusal's body (bytes).
const REFUSAL_BYTES: usize = 64 << 10;
/// How long a refusal's body may take.
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(5);

/// How long the request that opens a connection may take.
const OPENING_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a connection without a request counts as open.
const FRESH: Duration = Duration::from_secs(1);

/// A reply with status 2xx, as it came.
#[derive(Debug)]
pub(super) struct Answer {
    /// Media type in lower case, without parameters; empty when the server sent none.
    pub media_type: String,
    /// The body and when its chunks arrived.
    pub recording: Recording,
    /// From sending the request to the end of the reply.
    pub total: Duration,
}

#[derive(Debug, Clone)]
pub(super) struct Http {
    client: reqwest::Client,
    base: Arc<str>,
    /// Where its replies may be read without the library.
    direct: Option<Target>,
    limits: Limits,
    key: Option<ApiKey>,
}

impl Http {
    pub(super) fn new(base_url: &str, limits: Limits) -> Result<Self> {
        let url = parse_base(base_url)?;
        Ok(Self {
            client: build(&url).context(|| "the HTTP client could not be set up".to_owned())?,
            base: base_url.trim_end_matches('/').into(),
            direct: Target::of(&url),
            limits,
            key: None,
        })
    }

    /// The same, with a key sent along.
    pub(super) fn with_key(self, key: ApiKey) -> Self {
        Self { key: Some(key), ..self }
    }

    /// The same with room for replies of at least so many bytes.
    pub(super) fn with_room(&self, bytes: usize) -> Self {
        let mut http = self.clone();
        http.limits.max_reply_bytes = http.limits.max_reply_bytes.max(bytes);
        http
    }

    pub(super) fn limits(&self) -> &Limits {
        &self.limits
    }

    pub(super) async fn get(&self, path: &str) -> Result<Answer, Failure> {
        self.record(self.client.get(self.url(path))).await
    }

    pub(super) async fn post(&self, path: &str, body: &impl Serialize) -> Result<Answer, Failure> {
        let request = self.client.post(self.url(path)).body(written(body)?);
        self.record(request.header(CONTENT_TYPE, "application/json")).await
    }

    /// The same for one of many requests at the same time; where nothing stands between us and the server, without the
    /// library.
    pub(super) async fn post_under_load(&self, path: &str, body: &impl Serialize) -> Result<Answer, Failure> {
        let url = Url::parse(&self.url(path)).ok();
        let Some((target, url)) = self.direct.as_ref().zip(url) else { return self.post(path, body).await };
        let key = self.key.as_ref().map(ApiKey::header);
        let request = direct::post(&url, key.as_ref(), &written(body)?);
        self.redacted(self.answered(target, &request).await)
    }

    /// Opens a connection with a request that costs the server nothing, for the timed one that follows at once:
    /// whatever becomes of it, the timed one says so.
    pub(super) async fn connect(&self, method: Method, path: &str) {
        let request = self.signed(self.client.request(method, self.url(path)));
        let opening = async { request.send().await?.bytes().await };
        let _ = timeout(OPENING_TIMEOUT.min(self.limits.request_timeout), opening).await;
    }

    fn signed(&self, request: RequestBuilder) -> RequestBuilder {
        match &self.key {
            Some(key) => request.header(AUTHORIZATION, key.header()),
            None => request,
        }
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    /// What came back, without the key.
    async fn record(&self, request: RequestBuilder) -> Result<Answer, Failure> {
        self.redacted(self.recorded(request).await)
    }

    fn redacted(&self, answered: Result<Answer, Failure>) -> Result<Answer, Failure> {
        match answered {
            Ok(mut answer) => {
                if let Some(key) = &self.key {
                    key.redact(answer.recording.bytes_mut());
                    key.hide_in(&mut answer.media_type);
                }
                Ok(answer)
            }
            Err(failure) => Err(self.without_key(failure)),
        }
    }

    /// The failure with the key overwritten, should it hold it.
    pub(super) fn without_key(&self, mut failure: Failure) -> Failure {
        if let Some(key) = &self.key {
            key.hide_in(&mut failure.message);
        }
        failure
    }

    /// Overwrites the key in a reply, which may hold it in pieces from several events.
    pub(super) fn hide_key_in(&self, reply: &mut Reply) {
        if let Some(key) = &self.key {
            key.hide_in_reply(reply);
        }
    }

    /// The timed part. Nothing happens between a chunk's arrival and its stamp, and little before the next.
    async fn recorded(&self, request: RequestBuilder) -> Result<Answer, Failure> {
        let limits = &self.limits;
        let sent = Instant::now();
        let deadline = after(sent, limits.request_timeout);
        let request = self.signed(request);
        let response = timeout_at(deadline, request.header(CONNECTION, "close").send()).await;
        let mut response = response.map_err(|_| late(limits))?.map_err(|error| self.unsent(&error))?;
        if !response.status().is_success() {
            return Err(self.refusal(response.status(), refusal_body(response).await));
        }
        let mut recording = Recording::default();
        let mut next_by = deadline;
        loop {
            let chunk = timeout_at(next_by, response.chunk()).await;
            let now = Instant::now();
            let received = recording.bytes().len();
            match chunk {
                Ok(Ok(Some(chunk))) if chunk.len() > limits.max_reply_bytes - received => {
                    return Err(too_large(limits));
                }
                Ok(Ok(Some(chunk))) => recording.push(now - sent, &chunk),
                Ok(Ok(None)) => {
                    return Ok(Answer {
                        media_type: media_type(response.headers()),
                        recording,
                        total: now - sent,
                    });
                }
                Ok(Err(error)) => return Err(broken(received, &causes(&error))),
                Err(_) if next_by == deadline => return Err(late(limits)),
                Err(_) => return Err(silent(limits, received)),
            }
            next_by = deadline.min(after(now, limits.idle_timeout));
        }
    }

    /// As [`Http::recorded`], read from the socket.
    async fn answered(&self, target: &Target, request: &[u8]) -> Result<Answer, Failure> {
        let refusals = RefusalLimits { bytes: REFUSAL_BYTES, timeout: REFUSAL_TIMEOUT };
        match target.ask(request, &self.limits, refusals).await {
            Ok(reply) if !reply.status.is_success() => {
                Err(self.refusal(reply.status, reply.recording.bytes().to_vec()))
            }
            Ok(reply) => Ok(Answer {
                media_type: bare_type(&reply.content_type),
                recording: reply.recording,
                total: reply.total,
            }),
            Err(Broken::Connect(causes)) => Err(self.unconnected(&shown(&causes))),
            Err(Broken::Before(causes)) => Err(unanswered(&shown(&causes))),
            Err(Broken::Within(received, causes)) => Err(broken(received, &shown(&causes))),
            Err(Broken::Late) => Err(late(&self.limits)),
            Err(Broken::Silent(received)) => Err(silent(&self.limits, received)),
            Err(Broken::TooLarge) => Err(too_large(&self.limits)),
        }
    }

    fn unsent(&self, error: &reqwest::Error) -> Failure {
        let causes = causes(error);
        if error.is_connect() { self.unconnected(&causes) } else { unanswered(&causes) }
    }

    fn unconnected(&self, causes: &str) -> Failure {
        Failure::request(format!("no connection to {}: {causes}", self.base))
    }

    fn refusal(&self, status: StatusCode, mut body: Vec<u8>) -> Failure {
        // Before it is cut to a few words, which could leave a part of the key.
        if let Some(key) = &self.key {
            key.redact(&mut body);
        }
        let message = refusal_message(status, &body);
        match advice(status, self.key.as_ref()) {
            Some(advice) => Failure::request(format!("{message} ({advice})")),
            None => Failure::request(message),
        }
    }
}

/// What to do about refusals that say nothing about the request itself.
fn advice(status: StatusCode, key: Option<&ApiKey>) -> Option<String> {
    Some(match (status, key) {
        (StatusCode::UNAUTHORIZED, None) => {
            "it wants a key: name the variable that holds it with `engine.api_key_env`".to_owned()
        }
        (StatusCode::UNAUTHORIZED, Some(key)) => {
            format!("it does not accept the key in {}", key.variable())
        }
        (StatusCode::FORBIDDEN, Some(key)) => {
            format!("the key in {} does not allow this", key.variable())
        }
        (StatusCode::FORBIDDEN, None) => "it does not allow this without a key, or from here".to_owned(),
        (StatusCode::NOT_FOUND, _) => {
            "no such path or model here: check `engine.url` and `engine.served_model`".to_owned()
        }
        (StatusCode::TOO_MANY_REQUESTS, _) => {
            "it limits how much may be asked; nothing is tried again by itself".to_owned()
        }
        _ => return None,
    })
}

/// `name=value`, escaped as the query of an address.
pub(super) fn query(name: &str, value: &str) -> String {
    let url = Url::parse_with_params("http://localhost", [(name, value)]);
    url.ok().and_then(|url| url.query().map(str::to_owned)).unwrap_or_default()
}

/// Whether this is the address of a server.
pub(super) fn check_address(base_url: &str) -> Result<()> {
    parse_base(base_url).map(drop)
}

/// The port of a server on this machine's loopback interface; `None` for any other.
pub(super) fn loopback_port(base_url: &str) -> Option<u16> {
    let url = parse_base(base_url).ok()?;
    is_loopback(&url).then(|| url.port_or_known_default()).flatten()
}

fn parse_base(base_url: &str) -> Result<Url> {
    let wrong = |reason: String| {
        Error::usage(format!("not the address of a server: `{}`: {reason}", shown(base_url)))
            .hint("give one like http://127.0.0.1:8080")
    };
    let url = Url::parse(base_url).map_err(|error| wrong(error.to_string()))?;
    match url.scheme() {
        "http" | "https" => {}
        scheme => return Err(wrong(format!("`{scheme}` is neither http nor https"))),
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(Error::usage("the address of a server holds a user name or a password")
            .hint("leave them out: addresses are written into journals and reports"));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(wrong("it has a query or a fragment".to_owned()));
    }
    Ok(url)
}

pub(super) fn build(url: &Url) -> reqwest::Result<reqwest::Client> {
    // reqwest wants a provider even where no TLS is spoken; a second installation is refused, harmlessly.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut builder = reqwest::Client::builder()
        .http1_only()
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        // Only an opened connection is used again, and at once (see `connect`): one kept for longer may be
        // closed by the server when it is wanted (llama-server closes after 5 s, or 100 requests).
        .pool_idle_timeout(FRESH)
        .connect_timeout(Duration::from_secs(10))
        .tcp_nodelay(true);
    if url.scheme() == "http" {
        // Without this, the system's certificates are read and kept for nothing.
        builder = builder.tls_certs_only([]);
    }
    if is_loopback(url) {
        builder = builder.no_proxy();
    }
    builder.build()
}

fn media_type(headers: &HeaderMap) -> String {
    let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    value.map(bare_type).unwrap_or_default()
}

/// A media type in lower case, without its parameters.
fn bare_type(value: &str) -> String {
    value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// A request's body.
fn written(body: &impl Serialize) -> Result<Vec<u8>, Failure> {
    serde_json::to_vec(body)
        .map_err(|error| Failure::request(format!("request cannot be written as JSON: {error}")))
}

fn late(limits: &Limits) -> Failure {
    Failure::stream(format!(
        "no complete reply within {} s; a larger request_timeout_s gives it longer",
        limits.request_timeout.as_secs_f64()
    ))
}

fn silent(limits: &Limits, received: usize) -> Failure {
    Failure::stream(format!(
        "the stream fell silent for {} s after {received} bytes; a larger idle_timeout_s waits longer",
        limits.idle_timeout.as_secs_f64()
    ))
}

fn too_large(limits: &Limits) -> Failure {
    Failure::stream(format!(
        "the reply is larger than {} bytes, and the rest was not read",
        limits.max_reply_bytes
    ))
}

fn unanswered(causes: &str) -> Failure {
    Failure::stream(format!("the connection broke before a reply came: {causes}"))
}

fn broken(received: usize, causes: &str) -> Failure {
    Failure::stream(format!("the reply broke off after {received} bytes: {causes}"))
}

/// The innermost causes of an error; the outer ones only repeat the address.
fn causes(error: &reqwest::Error) -> String {
    shown(&error.source().map_or_else(|| error.to_string(), crate::error::chain))
}

async fn refusal_body(mut response: Response) -> Vec<u8> {
    let mut body = Vec::new();
    let read = async {
        while let Ok(Some(chunk)) = response.chunk().await {
            body.extend_from_slice(&chunk);
            if body.len() > REFUSAL_BYTES {
                break;
            }
        }
    };
    // Whatever came in time is enough for a message.
    let _ = timeout(REFUSAL_TIMEOUT, read).await;
    body
}

fn refusal_message(status: StatusCode, body: &[u8]) -> String {
    if status.is_redirection() {
        return format!("HTTP {}: redirects are not followed; name the final address", status.as_u16());
    }
    let words = match serde_json::from_slice::<Value>(body) {
        Ok(value) => {
            if let Some(message) = context_exceeded(&value) {
                return format!("HTTP {}: {message}", status.as_u16());
            }
            server_words(&value).unwrap_or_else(|| shown(&value.to_string()))
        }
        Err(_) => shown(&String::from_utf8_lossy(body)),
    };
    match words.as_str() {
        "" => format!("HTTP {}: {}", status.as_u16(), status.canonical_reason().unwrap_or("no reason given")),
        _ => format!("HTTP {}: {words}", status.as_u16()),
    }
}

fn context_exceeded(value: &Value) -> Option<String> {
    let error = value.get("error")?;
    if error.get("type")?.as_str()? != "exceed_context_size_error" {
        return None;
    }
    let prompt = error.get("n_prompt_tokens")?.as_u64()?;
    let context = error.get("n_ctx")?.as_u64()?;
    Some(format!("the prompt of {prompt} tokens does not fit into the server's context of {context} tokens"))
}

/// The message of an error document: `{"error": {"message", "type"}}`, `{"error": ".."}`, `{"message": ".."}`.
pub(super) fn server_words(value: &Value) -> Option<String> {
    let error = value.get("error").unwrap_or(value);
    let words = match error {
        Value::String(words) => words.clone(),
        _ => {
            let message = error.get("message")?.as_str()?;
            match error.get("type").and_then(Value::as_str) {
                Some(kind) => format!("{message} ({kind})"),
                None => message.to_owned(),
            }
        }
    };
    Some(shown(&words))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Status and body of a captured HTTP reply.
    fn capture(text: &str) -> (StatusCode, &[u8]) {
        let lf = text.find("\n\n").map(|at| at + 2);
        let crlf = text.find("\r\n\r\n").map(|at| at + 4);
        let code = text.split(' ').nth(1).unwrap().parse::<u16>().unwrap();
        let body = &text.as_bytes()[lf.or(crlf).unwrap()..];
        (StatusCode::from_u16(code).unwrap(), body)
    }

    macro_rules! fixture {
        ($name:literal) => {
            include_str!(concat!("../../../tests/fixtures/", $name))
        };
    }

    #[test]
    fn refusals_of_real_servers() {
        let message = |text| {
            let (status, body) = capture(text);
            refusal_message(status, body)
        };
        assert_eq!(
            message(fixture!("llama-server/error_context_exceeded.txt")),
            "HTTP 400: the prompt of 9030 tokens does not fit into the server's context of 8192 tokens"
        );
        assert_eq!(
            message(fixture!("llama-server/error_bad_request.txt")),
            "HTTP 400: Expected 'messages' to be an array (invalid_request_error)"
        );
        assert!(
            message(fixture!("vllm/error_context_exceeded.txt"))
                .starts_with("HTTP 400: This model's maximum context length is 4096 tokens.")
        );
        assert!(message(fixture!("vllm/error_bad_request.txt")).starts_with("HTTP 400: 1 validation error:"));
    }

    #[test]
    fn refusals_without_words_and_with_hostile_ones() {
        let status = StatusCode::BAD_GATEWAY;
        assert_eq!(refusal_message(status, b""), "HTTP 502: Bad Gateway");
        assert_eq!(refusal_message(status, b"<b>\x1b[2J</b>"), "HTTP 502: <b>\\u{1b}[2J</b>");
        assert_eq!(refusal_message(status, b"{\"error\":\"no\\nmore\"}"), "HTTP 502: no more");
        assert_eq!(refusal_message(status, b"{\"message\":\"m\"}"), "HTTP 502: m");
        assert_eq!(refusal_message(status, b"[1]"), "HTTP 502: [1]");
        assert!(refusal_message(StatusCode::FOUND, b"").contains("redirects are not followed"));
    }

    #[test]
    fn addresses_are_checked() {
        let limits = Limits::default();
        for wrong in ["", "127.0.0.1:80", "ftp://host", "http://", "http://h/?q=1", "http://h/#f"] {
            let error = Http::new(wrong, limits).map(|_| ()).unwrap_err();
            assert!(error.to_string().contains("not the address of a server"), "{wrong}: {error}");
        }
        let secret = Http::new("http://me:secret@h", limits).map(|_| ()).unwrap_err();
        assert!(!secret.to_string().contains("secret"), "{secret}");
        for right in ["http://127.0.0.1:80/", "http://[::1]:80", "https://example.org/prefix"] {
            assert!(Http::new(right, limits).is_ok(), "{right}");
        }
        assert_eq!(Http::new("http://h/p/", limits).unwrap().url("/props"), "http://h/p/props");
    }

    #[test]
    fn refusals_that_a_user_can_do_something_about_say_what() {
        let words = |status| advice(status, None).unwrap_or_default();
        assert!(words(StatusCode::UNAUTHORIZED).contains("api_key_env"));
        assert!(words(StatusCode::NOT_FOUND).contains("served_model"));
        assert!(words(StatusCode::TOO_MANY_REQUESTS).contains("limits"));
        assert!(words(StatusCode::FORBIDDEN).contains("without a key"));
        assert_eq!(words(StatusCode::BAD_REQUEST), "");
    }

    #[test]
    fn ports_of_this_machine_only() {
        assert_eq!(loopback_port("http://127.0.0.1:8080"), Some(8080));
        assert_eq!(loopback_port("http://localhost"), Some(80));
        assert_eq!(loopback_port("https://example.org:8080"), None);
        assert_eq!(loopback_port("nonsense"), None);
    }

    #[test]
    fn loopback_is_recognised() {
        for (address, expected) in [
            ("http://127.0.0.1:1", true),
            ("http://127.9.9.9", true),
            ("http://[::1]:1", true),
            ("http://localhost:1", true),
            ("http://10.0.0.1", false),
            ("http://localhost.example.org", false),
        ] {
            assert_eq!(is_loopback(&Url::parse(address).unwrap()), expected, "{address}");
        }
    }
}
