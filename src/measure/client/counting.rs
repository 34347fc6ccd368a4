//! How many tokens a prompt has, by whatever way the server offers.
//!
//! llama-server renders a prompt and tokenises it; vLLM and SGLang tokenise a whole chat. A server that can do neither
//! is asked for one token, and its `usage.prompt_tokens` is the count: exact, but it costs a prefill of the prompt, so
//! every count is kept.

use serde_json::Value;

use super::connection::Client;
use super::exchange::Failure;
use super::refusals::{endpoint, unexpected, wrap};
use super::wire::body::template_body;
use super::wire::conversation::Conversation;
use crate::error::{Error, Kind, Result, chain};
use crate::record::suite::Sampling;
use crate::record::{Message, Tool, short_hash};

/// What stands in front of a text that is counted within a chat: templates trim what a message begins with.
const LEAD: &str = "Text:";
/// Pieces that a prompt is cut into when it is too long to be counted in one request (characters).
const PIECE: usize = 2000;

impl Client {
    /// Tokens of the prompt that the server makes of a conversation with the model's chat template.
    ///
    /// # Errors
    /// When the server does not answer; of kind [`Kind::Unsupported`] when it has no way to count.
    pub async fn count_chat(&self, messages: &[Message], tools: &[Tool]) -> Result<u32> {
        if self.counts_by_usage() {
            return self.count_or_estimate(messages, tools).await;
        }
        Ok(length(self.chat_tokens(messages, tools).await?.len()))
    }

    /// The tokens of a prompt, told without asking the server; `None` where that cannot be done.
    pub(super) fn own_tokens(&self, messages: &[Message], tools: &[Tool]) -> Option<Vec<u32>> {
        self.own.as_ref()?.of_chat(messages, tools)
    }

    /// The tokens themselves, as the server has them.
    pub(super) async fn chat_tokens(&self, messages: &[Message], tools: &[Tool]) -> Result<Vec<u32>> {
        let Some(body) = self.writer.count_chat(messages, tools) else {
            let rendered = self.apply_template(messages, tools).await?;
            return self.tokenize(&rendered, true).await;
        };
        let path = endpoint(self.endpoints.tokenize, "tokenizer")?;
        let value = self.post_json(path, &body).await?;
        self.writer.token_ids(&value).ok_or_else(|| unexpected(path, "a list of token ids"))
    }

    /// As [`Client::count_chat`], for making a case. A prompt that the server refuses (for a tool's schema, for the roles
    /// of its messages) has no count; about what its parts have is good enough there, since the case itself will be
    /// refused, and the other cases are not to be lost for it.
    ///
    /// # Errors
    /// As [`Client::count_chat`].
    pub async fn size_chat(&self, messages: &[Message], tools: &[Tool]) -> Result<u32> {
        match self.count_chat(messages, tools).await {
            Err(error) if error.kind() == Kind::Refused => {
                tracing::debug!("a prompt is refused where it is counted: {}", chain(&error));
                self.counts.known().refused.insert(hash_of(messages, tools));
                self.size_of_parts(messages, tools).await
            }
            counted => counted,
        }
    }

    /// Whether [`Client::size_chat`] could only estimate this prompt.
    pub fn could_not_count(&self, messages: &[Message], tools: &[Tool]) -> bool {
        let known = self.counts.known();
        !known.refused.is_empty() && known.refused.contains(&hash_of(messages, tools))
    }

    async fn size_of_parts(&self, messages: &[Message], tools: &[Tool]) -> Result<u32> {
        let without_tools = match self.count_chat(messages, &[]).await {
            Err(error) if error.kind() == Kind::Refused => {
                let said: Vec<&str> = messages.iter().map(|message| message.content.as_str()).collect();
                self.count_text(&said.join("\n")).await
            }
            counted => counted,
        };
        let offered = serde_json::to_string(tools).unwrap_or_default();
        let of_tools = if tools.is_empty() { 0 } else { self.count_text(&offered).await? };
        Ok(without_tools?.saturating_add(of_tools))
    }

    /// Tokens of a text without any template; within a token or two where the server has no tokenizer to ask: there it
    /// is what the text adds to a chat.
    ///
    /// # Errors
    /// As [`Client::count_chat`].
    pub async fn count_text(&self, text: &str) -> Result<u32> {
        if self.endpoints.tokenize.is_some() {
            return Ok(length(self.tokenize(text, false).await?.len()));
        }
        let mut total = 0;
        for piece in pieces(text) {
            total += self.added_by(piece).await?;
        }
        Ok(total)
    }

    /// Whether the prompt is the same with and without these tools: then the model cannot know of them. Where the
    /// server does not render a prompt, equal counts stand for equal prompts; `None` when it does not answer.
    pub async fn drops_tools(&self, messages: &[Message], tools: &[Tool]) -> Option<bool> {
        if self.endpoints.apply_template.is_some() && !self.counts_by_usage() {
            let with = self.apply_template(messages, tools).await.ok()?;
            return Some(with == self.apply_template(messages, &[]).await.ok()?);
        }
        let with = self.count_chat(messages, tools).await.ok()?;
        Some(with == self.count_chat(messages, &[]).await.ok()?)
    }

    /// Whether a chat is counted by asking for a token of its reply.
    pub(super) fn counts_by_usage(&self) -> bool {
        let asked_for_a_prompt = !self.writer.counts_chats();
        self.writer.quirks.count_by_usage
            || self.endpoints.tokenize.is_none()
            || (asked_for_a_prompt && self.endpoints.apply_template.is_none())
    }

    async fn added_by(&self, piece: &str) -> Result<u32> {
        let alone = self.usage_of(&[Message::user(LEAD)], &[]).await?;
        let with = self.usage_of(&[Message::user(format!("{LEAD}{piece}"))], &[]).await?;
        Ok(with.saturating_sub(alone))
    }

    /// A prompt that is too long for the server has no exact count, and needs none: it is too long for any budget.
    async fn count_or_estimate(&self, messages: &[Message], tools: &[Tool]) -> Result<u32> {
        let asked = self.ask_usage(messages, tools).await;
        match asked {
            Ok(count) => Ok(count),
            Err(failure) if is_too_long(&failure) => {
                let mut total = self.usage_of(&[Message::user(LEAD)], tools).await?;
                for message in messages {
                    for piece in pieces(&message.content) {
                        total += self.added_by(piece).await?;
                    }
                }
                Ok(total)
            }
            Err(failure) => Err(self.not_counted(failure)),
        }
    }

    async fn usage_of(&self, messages: &[Message], tools: &[Tool]) -> Result<u32> {
        self.ask_usage(messages, tools).await.map_err(|failure| self.not_counted(failure))
    }

    fn not_counted(&self, failure: Failure) -> Error {
        wrap(self.endpoints.chat, failure)
    }

    /// What the server says that the prompt of a request for one token has.
    async fn ask_usage(&self, messages: &[Message], tools: &[Tool]) -> Result<u32, Failure> {
        let key = hash_of(messages, tools);
        if let Some(known) = self.counts.get(&key) {
            return Ok(known);
        }
        let conversation = Conversation { tools, ..Conversation::of(messages) };
        let body = self.writer.whole(&conversation, &Sampling::default(), 1)?;
        let answer = self.http.post(self.endpoints.chat, &body).await?;
        let value: Value = serde_json::from_slice(answer.recording.bytes()).unwrap_or_default();
        let count = value.pointer("/usage/prompt_tokens").and_then(Value::as_u64);
        let count = count.and_then(|count| u32::try_from(count).ok()).filter(|count| *count > 0).ok_or_else(
            || {
                Failure::unsupported(
                    "this server does not say how many tokens a prompt has (`usage.prompt_tokens`)",
                )
            },
        )?;
        self.counts.keep(key, count);
        Ok(count)
    }
}

fn hash_of(messages: &[Message], tools: &[Tool]) -> String {
    short_hash(template_body(messages, tools).to_string().as_bytes())
}

/// Whether a request was refused because its prompt does not fit.
fn is_too_long(failure: &Failure) -> bool {
    let message = failure.message.to_lowercase();
    let refused =
        ["http 400", "http 413", "http 422", "http 500"].iter().any(|status| message.starts_with(status));
    refused
        && ["context", "too long", "too many tokens", "maximum length"]
            .iter()
            .any(|words| message.contains(words))
}

/// A text in pieces of at most [`PIECE`] characters.
fn pieces(text: &str) -> Vec<&str> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest.char_indices().nth(PIECE).map_or(rest.len(), |(at, _)| at);
        let (piece, after) = rest.split_at(end);
        pieces.push(piece);
        rest = after;
    }
    pieces
}

fn length(tokens: usize) -> u32 {
    u32::try_from(tokens).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_the_text() {
        let text = "größer ".repeat(2000);
        let cut = pieces(&text);
        assert_eq!((cut.len(), cut.concat()), (7, text));
        assert!(pieces("").is_empty());
    }

    #[test]
    fn a_prompt_that_does_not_fit_is_told_from_other_refusals() {
        for long in [
            "HTTP 400: This model's maximum context length is 4096 tokens. However, ..",
            "HTTP 400: the prompt of 9030 tokens does not fit into the server's context of 8192 tokens",
            "HTTP 413: prompt is too long",
        ] {
            assert!(is_too_long(&Failure::request(long)), "{long}");
        }
        for other in ["HTTP 401: no key", "HTTP 400: bad tool", "no connection to the context"] {
            assert!(!is_too_long(&Failure::request(other)), "{other}");
        }
    }
}
