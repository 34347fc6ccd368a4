//! The client of one server.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use reqwest::Method;
use serde_json::Value;
use tokio::sync::Semaphore;

use super::cache_report::CacheReport;
use super::counts::Counts;
use super::endpoints::Endpoints;
use super::exchange::{Exchange, Failure, Limits};
use super::forced::{ForcedExchange, Told, ToldToken};
use super::http::{Answer, Http};
use super::key::ApiKey;
use super::prompt_tokens::PromptTokens;
use super::refusals::{endpoint, unexpected, wrap};
use super::wire::body::ignore_end;
use super::wire::conversation::Conversation;
use super::wire::format::{ForcedText, WireFormat};
use super::writer::RequestWriter;
use super::{budget, chat, decode_lists, distributions, forced, prompt_logprobs, wire};
use crate::error::Result;
use crate::record::suite::Sampling;
use crate::record::{Forced, ForcedForm, Message, Prompt, Tool, prefill};

/// Talks to one server.
#[derive(Debug, Clone)]
pub struct Client {
    pub(super) http: Http,
    pub(super) endpoints: Endpoints,
    pub(super) writer: RequestWriter,
    /// What was counted before; clones share it.
    pub(super) counts: Counts,
    /// Whether it counts what comes from its cache; clones share it.
    pub(super) cache_report: CacheReport,
    /// Whether the server refused to be told an answer by its tokens; clones share it.
    refuses_tokens: Arc<AtomicBool>,
    /// What tells the tokens of a prompt without asking the server.
    pub(super) own: Option<Arc<dyn PromptTokens>>,
    /// Whose turn it is to decode a reply on another thread; clones share it.
    decoding: Arc<Semaphore>,
}

impl Client {
    /// A client of the server at `base_url`, such as `http://127.0.0.1:8080`, in llama.cpp's wire format. Nothing
    /// is sent yet.
    ///
    /// # Errors
    /// A usage error when `base_url` is not an http or https address.
    pub fn new(base_url: &str, endpoints: Endpoints, limits: Limits) -> Result<Self> {
        let http = Http::new(base_url, limits)?;
        Ok(Self {
            http,
            endpoints,
            writer: RequestWriter::new(&wire::LlamaCpp),
            counts: Counts::default(),
            cache_report: CacheReport::default(),
            refuses_tokens: Arc::default(),
            own: None,
            decoding: Arc::new(Semaphore::new(1)),
        })
    }

    /// The same in another wire format.
    #[must_use]
    pub fn speaking(self, wire: &'static dyn WireFormat) -> Self {
        Self { writer: RequestWriter { wire, ..self.writer }, ..self }
    }

    /// The same for one of several models that the server knows, by its name for it.
    #[must_use]
    pub fn of_model(self, name: &str) -> Self {
        Self { writer: RequestWriter { model: Some(name.into()), ..self.writer }, ..self }
    }

    /// The same with a key sent along with every request.
    #[must_use]
    pub fn with_key(self, key: ApiKey) -> Self {
        Self { http: self.http.with_key(key), ..self }
    }

    /// The same for a server that was told to count what comes from its cache: a reply without a count took nothing from it.
    #[must_use]
    pub fn expecting_cache_counts(self) -> Self {
        self.cache_report.expect();
        self
    }

    /// The same, with the tokens of prompts told here where that can be done: by what was checked against the server's.
    #[must_use]
    pub fn with_own_tokens(self, own: Option<Arc<dyn PromptTokens>>) -> Self {
        Self { own, ..self }
    }

    /// The same for one conversation: where the server takes a salt for its prefix cache, all requests of this client
    /// have the same one, which no other request has. Without it every cold request has its own.
    #[must_use]
    pub fn conversation(&self) -> Self {
        Self { writer: self.writer.of_conversation(), ..self.clone() }
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
                    response_schema: response_schema.as_deref(),
                    reuse_cache: false,
                };
                self.chat(&conversation, sampling, max_tokens).await
            }
            Prompt::Distributions { tokens, top_k, by_decode: false, .. } => {
                self.distributions(tokens, &prompt.positions(), *top_k).await
            }
            Prompt::Distributions { tokens, top_k, .. } => {
                self.decoded_distributions(tokens, &prompt.positions(), *top_k).await
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
        let body = self.writer.chat(conversation, sampling, max_tokens)?;
        self.open_connection().await;
        let answer = self.http.post(self.endpoints.chat, &body).await?;
        self.exchange(&answer, max_tokens)
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
        let mut body = self.writer.chat(conversation, sampling, max_tokens)?;
        if to_the_end {
            ignore_end(&mut body);
        }
        let answer = self.http.post_under_load(self.endpoints.chat, &body).await?;
        // One after another: the threads of all replies that end at the same moment would take the processor from the
        // streams that go on.
        let _turn = self.decoding.acquire().await;
        let client = self.clone();
        let decoded = tokio::task::spawn_blocking(move || client.exchange(&answer, max_tokens)).await;
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
        let body = self.writer.whole(conversation, sampling, max_tokens)?;
        let answer = self.http.post(self.endpoints.chat, &body).await?;
        self.exchange(&answer, max_tokens)
    }

    /// How probable the model finds `form` as what the reply says next: it is forced, in one request where the server tells
    /// the probability of every token, and one more for each that it does not (those of drafts that it accepted).
    /// `max_tokens` is more than its tokens. The temperature plays no part: probabilities are the model's own
    /// (temperature 1).
    ///
    /// # Errors
    /// As [`Client::chat`]; an [unsupported](Failure::unsupported) one when the engine cannot do that, refuses it, or says
    /// something else than what was forced.
    pub async fn force(
        &self,
        conversation: &Conversation<'_>,
        form: &ForcedForm,
        max_tokens: u32,
    ) -> Result<ForcedExchange, Failure> {
        if let Some(format) = self.writer.wire.steps() {
            return self.force_by_steps(format, conversation, form).await;
        }
        if let Some(behind) = self.prompt_to_force_behind(conversation) {
            match self.force_by_tokens(behind, form, conversation.reuse_cache).await {
                Err(failure) if failure.unsupported => {
                    tracing::debug!("an answer is forced in words instead of tokens: {}", failure.message);
                }
                told => return told,
            }
        }
        self.force_in_words(conversation, form, max_tokens).await
    }

    /// Where answers can be forced behind a prompt of tokens, and that prompt, if it is known here.
    fn prompt_to_force_behind(&self, conversation: &Conversation<'_>) -> Option<(&'static str, Vec<u32>)> {
        let path = self.endpoints.completion.filter(|_| !self.refuses_tokens.load(Ordering::Relaxed))?;
        Some((path, self.own_tokens(conversation.messages, conversation.tools)?))
    }

    /// As [`Client::force`], of a chat that the server renders.
    async fn force_in_words(
        &self,
        conversation: &Conversation<'_>,
        form: &ForcedForm,
        max_tokens: u32,
    ) -> Result<ForcedExchange, Failure> {
        let Told { tokens, mut ends, measurements, last } =
            self.told(conversation, (&form.text, &form.tokens), max_tokens, true).await?;
        let mut exchange =
            ForcedExchange { forced: Forced::default(), measurements: vec![measurements], last: vec![last] };
        let mut said = 0;
        for (at, token) in tokens.iter().enumerate() {
            let known = match token.known() {
                Some(known) => known,
                None => {
                    let (front, rest) = split(&form.text, said)?;
                    let rest = (rest, form.tokens.get(at..).unwrap_or_default());
                    let messages = grown(conversation, front);
                    let again = self.told(&went_on(conversation, &messages), rest, 1, false).await?;
                    let known = again.tokens.first().filter(|first| first.bytes == token.bytes);
                    let known = known.and_then(ToldToken::known).ok_or_else(|| {
                        Failure::unsupported(
                            "a token of the forced answer has no probability, asked alone neither",
                        )
                    })?;
                    exchange.measurements.push(again.measurements);
                    exchange.last.push(again.last);
                    known
                }
            };
            exchange.forced.tokens.push(known);
            said += token.bytes.len();
        }
        if ends.is_none() {
            let messages = grown(conversation, &form.text);
            let body = self.writer.end(&went_on(conversation, &messages), &Sampling::default())?;
            let answer = self.http.post(self.endpoints.chat, &body).await?;
            let end = forced::read_end(&answer, self.http.limits())
                .map_err(|failure| self.http.without_key(failure))?;
            ends = end.ends;
            exchange.measurements.push(end.measurements);
            exchange.last.push(end.last);
        }
        exchange.forced.ends = ends;
        Ok(exchange)
    }

    /// Forces a text by its tokens; a server that refuses that is told the text alone, also from then on.
    async fn told(
        &self,
        conversation: &Conversation<'_>,
        (text, tokens): (&str, &[u32]),
        max_tokens: u32,
        whole: bool,
    ) -> Result<Told, Failure> {
        let by_tokens = !tokens.is_empty() && !self.refuses_tokens.load(Ordering::Relaxed);
        let forced = ForcedText { text, tokens: by_tokens.then_some(tokens) };
        let refused = match self.told_once(conversation, forced, max_tokens, whole).await {
            Err(failure) if by_tokens && failure.unsupported => failure,
            told => return told,
        };
        let forced = ForcedText { text, tokens: None };
        let told = self.told_once(conversation, forced, max_tokens, whole).await?;
        if !refused.cannot_be_written() {
            self.refuses_tokens.store(true, Ordering::Relaxed);
        }
        Ok(told)
    }

    async fn told_once(
        &self,
        conversation: &Conversation<'_>,
        forced: ForcedText<'_>,
        max_tokens: u32,
        whole: bool,
    ) -> Result<Told, Failure> {
        let body = self.writer.force(conversation, &Sampling::default(), max_tokens, forced)?;
        let answer = self.http.post(self.endpoints.chat, &body).await.map_err(forced::refused)?;
        forced::read(&answer, forced.text, whole, self.http.limits())
            .map_err(|failure| self.http.without_key(failure))
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
                let (http, writer, refuses_tokens) = (&self.http, &self.writer, &*self.refuses_tokens);
                let walk = distributions::Walk { http, writer, path, tokens, top_k, refuses_tokens };
                walk.collect(positions).await
            }
            (None, Some(path)) => match self.writer.wire.prompt_lists() {
                Some(lists) => {
                    let asked = (path, lists);
                    prompt_logprobs::collect(&self.http, &self.writer, asked, tokens, positions, top_k).await
                }
                None => self.lists_over_the_cache(tokens, positions, top_k).await,
            },
            (None, None) => Err(Failure::unsupported("this engine lists no token probabilities")),
        }
    }

    /// As [`Client::distributions`], each read over the cache that the text is in.
    ///
    /// # Errors
    /// As there; an [unsupported](Failure::unsupported) one when the engine cannot be asked so.
    pub async fn decoded_distributions(
        &self,
        tokens: &[u32],
        positions: &[usize],
        top_k: usize,
    ) -> Result<Exchange, Failure> {
        if self.endpoints.completion.is_some() {
            return self.distributions(tokens, positions, top_k).await;
        }
        self.lists_over_the_cache(tokens, positions, top_k).await
    }

    async fn lists_over_the_cache(
        &self,
        tokens: &[u32],
        positions: &[usize],
        top_k: usize,
    ) -> Result<Exchange, Failure> {
        distributions::check(tokens, positions, top_k)?;
        if positions.first().is_some_and(|first| *first < 2) {
            return Err(Failure::unsupported("a decode step needs two tokens in front of it"));
        }
        let format = self.writer.wire.decode_lists();
        let format =
            format.ok_or_else(|| Failure::unsupported("this engine lists no tokens by decode steps"))?;
        decode_lists::collect(&self.http, &self.writer, format, tokens, (positions, top_k)).await
    }

    /// Token ids of a text, special tokens in the text recognised. `add_special` puts those in front (and
    /// behind) that the model's tokenizer adds to every prompt.
    ///
    /// # Errors
    /// When the engine has no tokenizer endpoint or the server does not answer with token ids.
    pub async fn tokenize(&self, text: &str, add_special: bool) -> Result<Vec<u32>> {
        let path = endpoint(self.endpoints.tokenize, "tokenizer")?;
        let body = self.writer.tokenize(text, add_special);
        let value = self.post_json(path, &body).await?;
        self.writer.token_ids(&value).ok_or_else(|| unexpected(path, "a list of token ids"))
    }

    /// The prompt that the server makes of a conversation with the model's chat template.
    ///
    /// # Errors
    /// When the engine has no such endpoint or the server does not answer with a prompt.
    pub async fn apply_template(&self, messages: &[Message], tools: &[Tool]) -> Result<String> {
        let path = endpoint(self.endpoints.apply_template, "chat template")?;
        let body = self.writer.template(messages, tools);
        let value = self.post_json(path, &body).await?;
        let prompt = value.get("prompt").and_then(Value::as_str);
        prompt.map(str::to_owned).ok_or_else(|| unexpected(path, "a prompt"))
    }

    /// The tokens of the prompt that the server makes of a conversation: from its tokenizer where that takes a whole chat,
    /// else from its template and its tokenizer.
    ///
    /// # Errors
    /// As [`Client::apply_template`] and [`Client::tokenize`].
    pub async fn prompt_tokens(&self, messages: &[Message], tools: &[Tool]) -> Result<Vec<u32>> {
        self.chat_tokens(messages, tools).await
    }

    /// The JSON document at a path such as `/props`, of the client's model where the server has several.
    ///
    /// # Errors
    /// When the server does not answer with JSON.
    pub async fn get_json(&self, path: &str) -> Result<Value> {
        let answer =
            self.http.get(&self.writer.of_model(path)).await.map_err(|failure| wrap(path, failure))?;
        serde_json::from_slice(answer.recording.bytes())
            .map_err(|source| unexpected(path, "JSON").with_source(source))
    }

    /// The text at a path such as `/metrics`, as [`Client::get_json`]; bytes that are not UTF-8 become U+FFFD.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn get_text(&self, path: &str) -> Result<String> {
        let answer =
            self.http.get(&self.writer.of_model(path)).await.map_err(|failure| wrap(path, failure))?;
        Ok(String::from_utf8_lossy(answer.recording.bytes()).into_owned())
    }

    /// The paths of the server's interface.
    pub fn endpoints(&self) -> &Endpoints {
        &self.endpoints
    }

    /// Whether a cold request is one that the server is told to answer without its cache.
    pub fn forbids_cache(&self) -> bool {
        self.writer.wire.forbids_cache()
    }

    /// Opens the connection of the timed request that follows. Where the path for it is a list of models, which may be
    /// long, only its head is asked for.
    async fn open_connection(&self) {
        let method = if self.writer.wire.opens_with_head() { Method::HEAD } else { Method::GET };
        self.http.connect(method, self.endpoints.health).await;
    }

    /// Whether the server says that it is ready; a server that takes longer than two seconds is not.
    pub async fn healthy(&self) -> bool {
        let ready = self.http.get(self.endpoints.health);
        let ready = tokio::time::timeout(Duration::from_secs(2), ready).await;
        matches!(ready, Ok(Ok(_)))
    }

    /// What an answer to a chat amounts to, without the key, and no longer than its budget could have made it.
    fn exchange(&self, answer: &Answer, max_tokens: u32) -> Result<Exchange, Failure> {
        let exchange = chat::exchange(answer, self.http.limits(), &self.cache_report);
        let mut exchange = exchange.map_err(|failure| self.http.without_key(failure))?;
        self.http.hide_key_in(&mut exchange.reply);
        budget::keep_within(&mut exchange.reply, max_tokens);
        Ok(exchange)
    }

    pub(super) async fn post_json(&self, path: &str, body: &Value) -> Result<Value> {
        let answer = self.http.post(path, body).await;
        let answer = answer.map_err(|failure| wrap(path, failure))?;
        serde_json::from_slice(answer.recording.bytes())
            .map_err(|source| unexpected(path, "JSON").with_source(source))
    }
}

/// An answer in two at a byte.
fn split(form: &str, at: usize) -> Result<(&str, &str), Failure> {
    form.split_at_checked(at).ok_or_else(|| {
        Failure::unsupported(
            "the probability of a part of a character is not known: the answer cannot be scored",
        )
    })
}

/// The messages with so much more said of the reply that they begin.
fn grown(conversation: &Conversation<'_>, said: &str) -> Vec<Message> {
    let mut messages = conversation.messages.to_vec();
    match prefill(conversation.messages).map(|begun| format!("{begun}{said}")) {
        Some(begun) => {
            messages.pop();
            messages.push(Message::prefill(begun));
        }
        None => messages.push(Message::prefill(said)),
    }
    messages
}

/// The same conversation with other messages, over the cache of the request before.
fn went_on<'a>(conversation: &Conversation<'a>, messages: &'a [Message]) -> Conversation<'a> {
    Conversation { messages, reuse_cache: true, ..*conversation }
}
