//! TabbyAPI's names for what is asked of it (`common/sampling.py`, `endpoints/core/types/token.py`).

use serde_json::{Value, json};

use crate::measure::client::Failure;
use crate::measure::client::wire::body::{merged, said};
use crate::measure::client::wire::{ChatRequest, WireFormat};
use crate::record::{ANY_OBJECT, prefill};

/// OpenAI's chat completions with more samplers, and a tokeniser of its own.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tabby;

impl WireFormat for Tabby {
    /// Every sampling parameter is there: the defaults of a preset never apply.
    fn chat(&self, request: &ChatRequest<'_>) -> Result<Value, Failure> {
        let sampling = request.sampling;
        let rest = json!({
            "max_tokens": request.max_tokens,
            "stream": true,
            "stream_options": { "include_usage": true },
            "temperature": sampling.temperature,
            "top_k": sampling.top_k,
            "top_p": sampling.top_p,
            "min_p": sampling.min_p,
            "typical": 1.0,
            "xtc_probability": 0.0,
            "repetition_penalty": sampling.repeat_penalty,
            "presence_penalty": sampling.presence_penalty,
            "frequency_penalty": 0.0,
            "dry_multiplier": 0.0,
        });
        let mut body = merged(said(request.conversation), rest);
        if let Some(schema) = request.conversation.response_schema {
            held_to(&mut body, schema);
        }
        if prefill(request.conversation.messages).is_some() {
            body = merged(body, json!({ "add_generation_prompt": false, "continue_final_message": true }));
        }
        Ok(body)
    }

    fn not_sent(&self) -> &'static [&'static str] {
        &["seed"]
    }

    fn tokenize(&self, text: &str, add_special: bool) -> Value {
        json!({ "text": text, "add_bos_token": add_special, "encode_special_tokens": true })
    }
}

/// Its `response_format` is another one than OpenAI's: the schema stands at the top of the request instead.
fn held_to(body: &mut Value, schema: &Value) {
    if let Value::Object(body) = body {
        body.shift_remove("response_format");
    }
    body["json_schema"] = if *schema == ANY_OBJECT { json!({ "type": "object" }) } else { schema.clone() };
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::client::Conversation;
    use crate::measure::client::wire::Quirks;
    use crate::record::Message;
    use crate::record::suite::Sampling;

    fn body(messages: &[Message]) -> Value {
        let sampling = Sampling { temperature: 0.7, top_k: 40, repeat_penalty: 1.1, ..Sampling::default() };
        let conversation = Conversation::of(messages);
        let request = ChatRequest {
            conversation: &conversation,
            sampling: &sampling,
            max_tokens: 8,
            salt: None,
            quirks: Quirks::default(),
        };
        Tabby.chat(&request).unwrap()
    }

    #[test]
    fn samplers_are_sent_by_its_names() {
        let sent = body(&[Message::user("Hello")]);
        assert_eq!((&sent["top_k"], &sent["repetition_penalty"]), (&json!(40), &json!(1.1)));
        for name in ["temperature", "top_k", "top_p", "min_p", "repeat_penalty", "seed"] {
            let other = if name == "repeat_penalty" { "repetition_penalty" } else { name };
            assert_eq!(sent.get(other).is_some(), !Tabby.not_sent().contains(&name), "{name}");
        }
        assert_eq!(sent.get("continue_final_message"), None);
    }

    #[test]
    fn a_reply_that_began_is_gone_on_with() {
        let sent = body(&[Message::user("The number?"), Message::prefill("It is")]);
        assert_eq!(
            (&sent["add_generation_prompt"], &sent["continue_final_message"]),
            (&json!(false), &json!(true))
        );
    }

    #[test]
    fn a_schema_stands_at_the_top() {
        let schema = json!({ "type": "object", "properties": { "n": { "type": "integer" } } });
        let mut body = json!({ "response_format": { "type": "json_schema" }, "stream": true });
        held_to(&mut body, &schema);
        assert_eq!(body, json!({ "stream": true, "json_schema": schema }));
        held_to(&mut body, &ANY_OBJECT);
        assert_eq!(body["json_schema"], json!({ "type": "object" }));
    }

    #[test]
    fn text_is_tokenised_by_its_names() {
        let asked = Tabby.tokenize("a b", false);
        assert_eq!(asked, json!({ "text": "a b", "add_bos_token": false, "encode_special_tokens": true }));
        assert_eq!(Tabby.token_ids(&json!({ "tokens": [1, 5, 9], "length": 3 })), Some(vec![1, 5, 9]));
    }
}
