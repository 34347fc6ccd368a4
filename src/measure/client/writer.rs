//! Requests to one server: its wire format, its model, what was found of its habits.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use serde_json::{Value, json};

use super::exchange::Failure;
use super::listed::FORCED_TOP;
use super::wire::body::{in_one_piece, template_body};
use super::wire::conversation::Conversation;
use super::wire::format::{ChatRequest, ForcedText, Quirks, WireFormat};
use crate::record::suite::Sampling;
use crate::record::{Message, Tool, short_hash};

/// How one server is talked to.
#[derive(Debug, Clone)]
pub(super) struct RequestWriter {
    pub(super) wire: &'static dyn WireFormat,
    /// What it calls the model; `None`: it serves one, and is not told which.
    pub(super) model: Option<Arc<str>>,
    /// Requests with the same salt share a prefix cache, all others do not.
    pub(super) salt: Option<Arc<str>>,
    pub(super) quirks: Quirks,
}

impl RequestWriter {
    pub(super) fn new(wire: &'static dyn WireFormat) -> Self {
        Self { wire, model: None, salt: None, quirks: Quirks::default() }
    }

    /// The same for one conversation: its turns share a prefix cache with each other, and with nothing else.
    pub(super) fn of_conversation(&self) -> Self {
        Self { salt: self.wire.takes_salt().then(|| fresh_salt().into()), ..self.clone() }
    }

    /// The salt of a request: one of its own for a cold request outside of a conversation.
    pub(super) fn salt(&self, reuse_cache: bool) -> Option<String> {
        match (&self.salt, reuse_cache) {
            (Some(salt), _) => Some(salt.to_string()),
            (None, false) if self.wire.takes_salt() => Some(fresh_salt()),
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
        let salt = self.salt(conversation.reuse_cache);
        let request = ChatRequest { conversation, sampling, max_tokens, salt, quirks: self.quirks };
        Ok(self.named(self.wire.chat(&request)?))
    }

    /// As [`RequestWriter::chat`], for a reply in one piece.
    ///
    /// # Errors
    /// As [`RequestWriter::chat`].
    pub(super) fn whole(
        &self,
        conversation: &Conversation<'_>,
        sampling: &Sampling,
        max_tokens: u32,
    ) -> Result<Value, Failure> {
        Ok(in_one_piece(self.chat(conversation, sampling, max_tokens)?))
    }

    /// The body of a chat completion that can say nothing but `answer`.
    ///
    /// # Errors
    /// When the server has no way to be asked this.
    pub(super) fn force(
        &self,
        conversation: &Conversation<'_>,
        sampling: &Sampling,
        max_tokens: u32,
        answer: ForcedText<'_>,
    ) -> Result<Value, Failure> {
        let salt = self.salt(conversation.reuse_cache);
        let request = ChatRequest { conversation, sampling, max_tokens, salt, quirks: self.quirks };
        Ok(self.named(self.wire.force(&request, answer)?))
    }

    /// The body of a chat completion in one piece that lists the most probable next tokens, and says one of them.
    ///
    /// # Errors
    /// When the server has no way to be asked this.
    pub(super) fn end(&self, conversation: &Conversation<'_>, sampling: &Sampling) -> Result<Value, Failure> {
        let mut body = self.whole(conversation, sampling, 1)?;
        body["logprobs"] = json!(true);
        body["top_logprobs"] = json!(FORCED_TOP);
        Ok(body)
    }

    /// Whether the tokeniser takes a whole chat.
    pub(super) fn counts_chats(&self) -> bool {
        self.wire.counts_chats()
    }

    /// The body of a request that counts a whole chat, for servers whose tokeniser takes one.
    pub(super) fn count_chat(&self, messages: &[Message], tools: &[Tool]) -> Option<Value> {
        self.wire.count_chat(messages, tools).map(|body| self.named(body))
    }

    /// The body of a request for the rendered prompt.
    pub(super) fn template(&self, messages: &[Message], tools: &[Tool]) -> Value {
        self.named(template_body(messages, tools))
    }

    /// The path that tells of the model.
    pub(super) fn of_model<'p>(&self, path: &'p str) -> Cow<'p, str> {
        match &self.model {
            Some(model) => self.wire.path_of_model(path, model),
            None => Cow::Borrowed(path),
        }
    }

    /// The body of a request for token ids.
    pub(super) fn tokenize(&self, text: &str, add_special: bool) -> Value {
        self.named(self.wire.tokenize(text, add_special))
    }

    /// The token ids in the answer to one.
    pub(super) fn token_ids(&self, answer: &Value) -> Option<Vec<u32>> {
        self.wire.token_ids(answer)
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
    use super::super::wire;
    use super::*;
    use crate::record::ToolChoice;

    fn writer(wire: &'static dyn WireFormat) -> RequestWriter {
        RequestWriter { model: Some("m".into()), salt: Some("salt".into()), ..RequestWriter::new(wire) }
    }

    fn formats() -> [(&'static str, &'static dyn WireFormat); 3] {
        [("vllm", &wire::Vllm), ("sglang", &wire::Sglang), ("openai", &wire::OpenAi)]
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
    fn every_format_names_what_it_knows() {
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
        for (name, wire) in formats() {
            let body = writer(wire).chat(&conversation, &sampling, 32).unwrap();
            insta::assert_snapshot!(name, pretty(&body));
        }
    }

    #[test]
    fn llama_cpp_gets_what_it_always_got() {
        let messages = [Message::user("Hello")];
        let conversation = Conversation::of(&messages);
        let plain = RequestWriter::new(&wire::LlamaCpp).chat(&conversation, &Sampling::default(), 8).unwrap();
        assert_eq!((plain.get("model"), &plain["timings_per_token"]), (None, &json!(true)));
        let named = RequestWriter { model: Some("m".into()), ..RequestWriter::new(&wire::LlamaCpp) };
        let named = named.chat(&conversation, &Sampling::default(), 8).unwrap();
        assert_eq!(named["model"], "m");
        assert_eq!(named.get("cache_salt"), None);
    }

    #[test]
    fn all_candidates_have_a_name_of_their_own() {
        let messages = [Message::user("Hello")];
        let conversation = Conversation::of(&messages);
        let of = |wire: &'static dyn WireFormat| {
            writer(wire).chat(&conversation, &Sampling::default(), 8).unwrap()["top_k"].clone()
        };
        assert_eq!([of(&wire::Vllm), of(&wire::Sglang)], [json!(-1), json!(-1)]);
        assert_eq!(of(&wire::LlamaCpp), 0);
        assert_eq!(of(&wire::OpenAi), Value::Null);
        // What is not sent is said, and the other way round.
        for wire in [&wire::LlamaCpp as &dyn WireFormat, &wire::Vllm, &wire::Sglang, &wire::OpenAi] {
            let body = writer(wire).chat(&conversation, &Sampling::default(), 8).unwrap();
            for name in ["temperature", "top_k", "top_p", "min_p", "repeat_penalty", "seed"] {
                let other = if name == "repeat_penalty" { "repetition_penalty" } else { name };
                let sent = body.get(name).or(body.get(other)).is_some();
                assert_eq!(sent, !wire.not_sent().contains(&name), "{wire:?} {name}");
            }
        }
    }

    #[test]
    fn a_reply_that_began_is_gone_on_with_where_that_can_be_asked() {
        let began = [Message::user("The number?"), Message::prefill("It is")];
        let conversation = Conversation::of(&began);
        let body = |wire: &'static dyn WireFormat| writer(wire).chat(&conversation, &Sampling::default(), 8);
        let vllm = body(&wire::Vllm).unwrap();
        assert_eq!(
            (&vllm["add_generation_prompt"], &vllm["continue_final_message"]),
            (&json!(false), &json!(true))
        );
        assert_eq!(vllm["chat_template_kwargs"], json!({ "enable_thinking": false }));
        let sglang = body(&wire::Sglang).unwrap();
        assert_eq!(
            (sglang.get("add_generation_prompt"), &sglang["continue_final_message"]),
            (None, &json!(true))
        );
        assert!(body(&wire::OpenAi).unwrap_err().unsupported);
        // Counted as it is answered.
        for wire in [&wire::Vllm as &dyn WireFormat, &wire::Sglang] {
            let (counted, asked) = (writer(wire).count_chat(&began, &[tool()]).unwrap(), body(wire).unwrap());
            for key in [
                "messages",
                "chat_template_kwargs",
                "continue_final_message",
                "add_generation_prompt",
                "model",
            ] {
                assert_eq!(counted.get(key), asked.get(key), "{wire:?} {key}");
            }
            assert_eq!(counted["tools"].as_array().unwrap().len(), 1);
            assert_eq!(counted.get("parallel_tool_calls"), None);
        }
    }

    #[test]
    fn requests_are_cold_unless_they_are_of_one_conversation() {
        let messages = [Message::user("Hello")];
        let writer = RequestWriter::new(&wire::Vllm);
        let salt = |writer: &RequestWriter, reuse_cache| {
            let conversation = Conversation { reuse_cache, ..Conversation::of(&messages) };
            writer.chat(&conversation, &Sampling::default(), 8).unwrap()["cache_salt"].clone()
        };
        assert_ne!(salt(&writer, false), salt(&writer, false));
        assert_eq!(salt(&writer, true), Value::Null);
        let talk = writer.of_conversation();
        assert_eq!(salt(&talk, false), salt(&talk, true));
        assert_ne!(salt(&talk, false), salt(&writer.of_conversation(), false));
        for other in [&wire::LlamaCpp as &dyn WireFormat, &wire::OpenAi] {
            assert_eq!(salt(&RequestWriter::new(other).of_conversation(), false), Value::Null);
        }
    }

    #[test]
    fn found_quirks_change_the_names() {
        let messages = [Message::user("Hello")];
        let quirks = Quirks { completion_limit: true, no_stream_options: true, ..Quirks::default() };
        let odd = RequestWriter { quirks, ..writer(&wire::OpenAi) };
        let body = odd.chat(&Conversation::of(&messages), &Sampling::default(), 8).unwrap();
        assert_eq!((body.get("max_tokens"), &body["max_completion_tokens"]), (None, &json!(8)));
        assert_eq!((body.get("stream_options"), &body["stream"]), (None, &json!(true)));
    }

    #[test]
    fn text_is_tokenised_under_the_names_of_the_server() {
        let of = |wire: &'static dyn WireFormat| writer(wire).tokenize("a b", false);
        assert_eq!(of(&wire::Vllm), json!({ "prompt": "a b", "add_special_tokens": false, "model": "m" }));
        assert_eq!(
            of(&wire::LlamaCpp),
            json!({ "content": "a b", "add_special": false, "parse_special": true, "model": "m" })
        );
    }
}
