//! How a request is written for the server that gets it: the same wishes, under the names that it knows.
//!
//! Sources: vLLM 0.32 (`ChatCompletionRequest`, `TokenizeChatRequest`), SGLang (`srt/entrypoints/openai/protocol.py`), and
//! OpenAI's reference of chat completions, of which only what local servers share is sent.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use serde_json::{Value, json};

use super::chat::{self, Conversation};
use super::{Failure, http, merged};
use crate::measure::engine::Dialect;
use crate::record::suite::Sampling;
use crate::record::{Message, Tool, prefill, short_hash};

/// Sampling parameters of a suite that a server of this dialect cannot be sent: its own values hold.
pub fn not_sent(dialect: Dialect) -> &'static [&'static str] {
    match dialect {
        Dialect::LlamaCpp | Dialect::Vllm | Dialect::Sglang => &[],
        Dialect::OpenAi => &["top_k", "min_p", "repeat_penalty"],
    }
}

/// What a server was found to want otherwise than most of its kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Quirks {
    /// It refuses `max_tokens` and wants `max_completion_tokens`.
    pub(super) completion_limit: bool,
    /// It refuses `stream_options`.
    pub(super) no_stream_options: bool,
    /// Its own way to count a prompt is missing or wrong: a request for one token counts it.
    pub(super) count_by_usage: bool,
}

/// How one server is talked to.
#[derive(Debug, Clone)]
pub(super) struct Manner {
    pub(super) dialect: Dialect,
    /// What it calls the model; `None`: it serves one, and is not told which.
    pub(super) model: Option<Arc<str>>,
    /// Requests with the same salt share a prefix cache, all others do not.
    pub(super) salt: Option<Arc<str>>,
    pub(super) quirks: Quirks,
}

impl Manner {
    pub(super) fn new(dialect: Dialect) -> Self {
        Self { dialect, model: None, salt: None, quirks: Quirks::default() }
    }

    /// The same for one conversation: its turns share a prefix cache with each other, and with nothing else.
    pub(super) fn of_conversation(&self) -> Self {
        Self { salt: self.takes_salt().then(|| fresh_salt().into()), ..self.clone() }
    }

    const fn takes_salt(&self) -> bool {
        matches!(self.dialect, Dialect::Vllm | Dialect::Sglang)
    }

    /// The salt of a request: one of its own for a cold request outside of a conversation.
    pub(super) fn salt(&self, reuse_cache: bool) -> Option<String> {
        match (&self.salt, reuse_cache) {
            (Some(salt), _) => Some(salt.to_string()),
            (None, false) if self.takes_salt() => Some(fresh_salt()),
            (None, _) => None,
        }
    }

    /// The body of a streamed chat completion.
    ///
    /// # Errors
    /// When the server has no way to be asked this.
    pub(super) fn chat(
        &self,
        conversation: &Conversation<'_>,
        sampling: &Sampling,
        max_tokens: u32,
    ) -> Result<Value, Failure> {
        let body = match self.dialect {
            Dialect::LlamaCpp => chat::body(conversation, sampling, max_tokens),
            Dialect::Vllm | Dialect::Sglang => self.of_vllm(conversation, sampling, max_tokens),
            Dialect::OpenAi => self.of_openai(conversation, sampling, max_tokens)?,
        };
        Ok(self.named(body))
    }

    /// As [`Manner::chat`], for a reply in one piece.
    ///
    /// # Errors
    /// As [`Manner::chat`].
    pub(super) fn whole(
        &self,
        conversation: &Conversation<'_>,
        sampling: &Sampling,
        max_tokens: u32,
    ) -> Result<Value, Failure> {
        Ok(chat::in_one_piece(self.chat(conversation, sampling, max_tokens)?))
    }

    /// vLLM's names, which SGLang took over.
    fn of_vllm(&self, conversation: &Conversation<'_>, sampling: &Sampling, max_tokens: u32) -> Value {
        let mut body = merged(chat::said(conversation), self.beginning(conversation.messages));
        // Whatever else there is, a token count on every event: speculation puts several tokens into one.
        let rest = json!({
            "max_tokens": max_tokens,
            "stream": true,
            "stream_options": { "include_usage": true, "continuous_usage_stats": true },
            "temperature": sampling.temperature,
            "top_k": if sampling.top_k == 0 { -1 } else { i64::from(sampling.top_k) },
            "top_p": sampling.top_p,
            "min_p": sampling.min_p,
            "repetition_penalty": sampling.repeat_penalty,
            "presence_penalty": 0.0,
            "frequency_penalty": 0.0,
            "seed": sampling.seed,
        });
        body = merged(body, rest);
        if let Some(salt) = self.salt(conversation.reuse_cache) {
            body["cache_salt"] = json!(salt);
        }
        body
    }

    /// Nothing but what OpenAI's interface has.
    fn of_openai(
        &self,
        conversation: &Conversation<'_>,
        sampling: &Sampling,
        max_tokens: u32,
    ) -> Result<Value, Failure> {
        if prefill(conversation.messages).is_some() {
            let reason = "OpenAI's interface has no way to begin the reply (mode prefill)";
            return Err(Failure::unsupported(reason));
        }
        let limit = if self.quirks.completion_limit { "max_completion_tokens" } else { "max_tokens" };
        let rest = json!({
            limit: max_tokens,
            "stream": true,
            "stream_options": { "include_usage": true },
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "presence_penalty": 0.0,
            "frequency_penalty": 0.0,
            "seed": sampling.seed,
        });
        let mut body = merged(chat::said(conversation), rest);
        if let (true, Value::Object(body)) = (self.quirks.no_stream_options, &mut body) {
            body.shift_remove("stream_options");
        }
        Ok(body)
    }

    /// How a last message of the assistant is made the beginning of the reply.
    fn beginning(&self, messages: &[Message]) -> Value {
        match (prefill(messages), self.dialect) {
            (Some(_), Dialect::Vllm) => {
                json!({ "add_generation_prompt": false, "continue_final_message": true })
            }
            (Some(_), Dialect::Sglang) => json!({ "continue_final_message": true }),
            _ => json!({}),
        }
    }

    /// The body of a request that counts a whole chat, for servers whose tokenizer takes one. What is counted and what
    /// is answered are rendered from the same fields.
    pub(super) fn count_chat(&self, messages: &[Message], tools: &[Tool]) -> Value {
        let mut body = chat::template_body(messages, tools);
        if let Value::Object(body) = &mut body {
            body.shift_remove("parallel_tool_calls");
        }
        // A chat template writes the special tokens itself.
        let rest = merged(self.beginning(messages), json!({ "add_special_tokens": false }));
        self.named(merged(body, rest))
    }

    /// The body of a request for the rendered prompt.
    pub(super) fn template(&self, messages: &[Message], tools: &[Tool]) -> Value {
        self.named(chat::template_body(messages, tools))
    }

    /// The path that tells of the model: a llama-server that is a router of several (and llama-swap in its place) wants
    /// its name in a query, others do not look at it.
    pub(super) fn of_model<'p>(&self, path: &'p str) -> Cow<'p, str> {
        match (self.dialect, &self.model) {
            (Dialect::LlamaCpp, Some(model)) => Cow::Owned(format!("{path}?{}", http::query("model", model))),
            _ => Cow::Borrowed(path),
        }
    }

    /// The body of a request for token ids.
    pub(super) fn tokenize(&self, text: &str, add_special: bool) -> Value {
        match self.dialect {
            Dialect::Vllm | Dialect::Sglang => {
                self.named(json!({ "prompt": text, "add_special_tokens": add_special }))
            }
            Dialect::LlamaCpp | Dialect::OpenAi => self.named(chat::tokenize_body(text, add_special)),
        }
    }

    fn named(&self, mut body: Value) -> Value {
        if let Some(model) = &self.model {
            body["model"] = json!(model.as_ref());
        }
        body
    }
}

/// Of this process, this moment and this request: no other request has it.
fn fresh_salt() -> String {
    static REQUESTS: AtomicU64 = AtomicU64::new(0);
    let request = REQUESTS.fetch_add(1, Ordering::Relaxed);
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_nanos();
    short_hash(format!("{} {now} {request}", std::process::id()).as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::ToolChoice;

    fn manner(dialect: Dialect) -> Manner {
        Manner { model: Some("m".into()), salt: Some("salt".into()), ..Manner::new(dialect) }
    }

    fn tool() -> Tool {
        Tool {
            name: "get_weather".into(),
            description: "Weather of a city".into(),
            parameters: json!({ "type": "object", "properties": { "city": { "type": "string" } } }),
        }
    }

    fn pretty(value: &Value) -> String {
        serde_json::to_string_pretty(value).unwrap()
    }

    #[test]
    fn every_dialect_names_what_it_knows() {
        let messages = [Message::system("Be brief."), Message::user("Weather in Paris?")];
        let tools = [tool()];
        let schema = json!({ "type": "object" });
        let conversation = Conversation {
            tools: &tools,
            tool_choice: Some(ToolChoice::Required),
            response_schema: Some(&schema),
            ..Conversation::of(&messages)
        };
        let sampling = Sampling { temperature: 0.7, top_k: 40, repeat_penalty: 1.1, ..Sampling::default() };
        for (name, dialect) in
            [("vllm", Dialect::Vllm), ("sglang", Dialect::Sglang), ("openai", Dialect::OpenAi)]
        {
            let body = manner(dialect).chat(&conversation, &sampling, 32).unwrap();
            insta::assert_snapshot!(name, pretty(&body));
        }
    }

    #[test]
    fn llama_cpp_gets_what_it_always_got() {
        let messages = [Message::user("Hello")];
        let conversation = Conversation::of(&messages);
        let plain = Manner::new(Dialect::LlamaCpp).chat(&conversation, &Sampling::default(), 8).unwrap();
        assert_eq!(plain.to_string(), chat::body(&conversation, &Sampling::default(), 8).to_string());
        let named = Manner { model: Some("m".into()), ..Manner::new(Dialect::LlamaCpp) };
        let named = named.chat(&conversation, &Sampling::default(), 8).unwrap();
        assert_eq!(named["model"], "m");
        assert_eq!(named.get("cache_salt"), None);
    }

    #[test]
    fn all_candidates_have_a_name_of_their_own() {
        let messages = [Message::user("Hello")];
        let conversation = Conversation::of(&messages);
        let of =
            |dialect| manner(dialect).chat(&conversation, &Sampling::default(), 8).unwrap()["top_k"].clone();
        assert_eq!([of(Dialect::Vllm), of(Dialect::Sglang)], [json!(-1), json!(-1)]);
        assert_eq!(of(Dialect::LlamaCpp), 0);
        assert_eq!(of(Dialect::OpenAi), Value::Null);
        // What is not sent is said, and the other way round.
        for dialect in [Dialect::LlamaCpp, Dialect::Vllm, Dialect::Sglang, Dialect::OpenAi] {
            let body = manner(dialect).chat(&conversation, &Sampling::default(), 8).unwrap();
            for name in ["temperature", "top_k", "top_p", "min_p", "repeat_penalty", "seed"] {
                let other = if name == "repeat_penalty" { "repetition_penalty" } else { name };
                let sent = body.get(name).or(body.get(other)).is_some();
                assert_eq!(sent, !not_sent(dialect).contains(&name), "{dialect:?} {name}");
            }
        }
    }

    #[test]
    fn a_reply_that_began_is_gone_on_with_where_that_can_be_asked() {
        let began = [Message::user("The number?"), Message::prefill("It is")];
        let conversation = Conversation::of(&began);
        let body = |dialect| manner(dialect).chat(&conversation, &Sampling::default(), 8);
        let vllm = body(Dialect::Vllm).unwrap();
        assert_eq!(
            (&vllm["add_generation_prompt"], &vllm["continue_final_message"]),
            (&json!(false), &json!(true))
        );
        assert_eq!(vllm["chat_template_kwargs"], json!({ "enable_thinking": false }));
        let sglang = body(Dialect::Sglang).unwrap();
        assert_eq!(
            (sglang.get("add_generation_prompt"), &sglang["continue_final_message"]),
            (None, &json!(true))
        );
        assert!(body(Dialect::OpenAi).unwrap_err().unsupported);
        // Counted as it is answered.
        for dialect in [Dialect::Vllm, Dialect::Sglang] {
            let (counted, asked) = (manner(dialect).count_chat(&began, &[tool()]), body(dialect).unwrap());
            for key in [
                "messages",
                "chat_template_kwargs",
                "continue_final_message",
                "add_generation_prompt",
                "model",
            ] {
                assert_eq!(counted.get(key), asked.get(key), "{dialect:?} {key}");
            }
            assert_eq!(counted["tools"].as_array().unwrap().len(), 1);
            assert_eq!(counted.get("parallel_tool_calls"), None);
        }
    }

    #[test]
    fn requests_are_cold_unless_they_are_of_one_conversation() {
        let messages = [Message::user("Hello")];
        let manner = Manner::new(Dialect::Vllm);
        let salt = |manner: &Manner, reuse_cache| {
            let conversation = Conversation { reuse_cache, ..Conversation::of(&messages) };
            manner.chat(&conversation, &Sampling::default(), 8).unwrap()["cache_salt"].clone()
        };
        assert_ne!(salt(&manner, false), salt(&manner, false));
        assert_eq!(salt(&manner, true), Value::Null);
        let talk = manner.of_conversation();
        assert_eq!(salt(&talk, false), salt(&talk, true));
        assert_ne!(salt(&talk, false), salt(&manner.of_conversation(), false));
        for other in [Dialect::LlamaCpp, Dialect::OpenAi] {
            assert_eq!(salt(&Manner::new(other).of_conversation(), false), Value::Null);
        }
    }

    #[test]
    fn found_quirks_change_the_names() {
        let messages = [Message::user("Hello")];
        let quirks = Quirks { completion_limit: true, no_stream_options: true, ..Quirks::default() };
        let odd = Manner { quirks, ..manner(Dialect::OpenAi) };
        let body = odd.chat(&Conversation::of(&messages), &Sampling::default(), 8).unwrap();
        assert_eq!((body.get("max_tokens"), &body["max_completion_tokens"]), (None, &json!(8)));
        assert_eq!((body.get("stream_options"), &body["stream"]), (None, &json!(true)));
    }

    #[test]
    fn text_is_tokenised_under_the_names_of_the_server() {
        let of = |dialect| manner(dialect).tokenize("a b", false);
        assert_eq!(of(Dialect::Vllm), json!({ "prompt": "a b", "add_special_tokens": false, "model": "m" }));
        assert_eq!(
            of(Dialect::LlamaCpp),
            json!({ "content": "a b", "add_special": false, "parse_special": true, "model": "m" })
        );
    }
}
