//! llama.cpp's llama-server, and its forks.

use std::borrow::Cow;

use serde_json::{Value, json};

use super::body::{in_one_piece, merged, said};
use super::conversation::Conversation;
use super::format::{ChatRequest, ForcedText, WireFormat};
use crate::measure::client::exchange::Failure;
use crate::measure::client::http::query;
use crate::measure::client::listed::FORCED_TOP;
use crate::record::suite::Sampling;

/// llama-server's names.
#[derive(Debug, Clone, Copy)]
pub struct LlamaCpp;

impl WireFormat for LlamaCpp {
    fn chat(&self, request: &ChatRequest<'_>) -> Result<Value, Failure> {
        Ok(body(request.conversation, request.sampling, request.max_tokens))
    }

    /// The grammar is applied to the candidates; the probabilities listed are those of the model itself.
    fn force(&self, request: &ChatRequest<'_>, answer: ForcedText<'_>) -> Result<Value, Failure> {
        let mut body = in_one_piece(self.chat(request)?);
        body["grammar"] = json!(answer.tokens.map_or_else(|| literal(answer.text), token_by_token));
        body["logprobs"] = json!(true);
        body["top_logprobs"] = json!(FORCED_TOP);
        Ok(body)
    }

    /// `/completion` takes a schema and lists what it made of it among the settings of the reply.
    fn grammar_of(&self, schema: &Value) -> Option<(&'static str, Value)> {
        let body = json!({
            "prompt": "x",
            "n_predict": 0,
            "json_schema": schema,
            "stream": false,
            "cache_prompt": false,
            "temperature": 0.0,
        });
        Some(("/completion", body))
    }

    fn read_grammar(&self, answer: &Value) -> Option<String> {
        let grammar = answer.pointer("/generation_settings/grammar")?;
        let text = grammar.as_str().or_else(|| grammar.get("value")?.as_str())?;
        (!text.is_empty()).then(|| text.to_owned())
    }

    /// `cache_prompt`.
    fn forbids_cache(&self) -> bool {
        true
    }

    /// A llama-server that is a router of several models (and llama-swap in its place) wants the model's name in a query,
    /// others do not look at it.
    fn path_of_model<'p>(&self, path: &'p str, model: &str) -> Cow<'p, str> {
        Cow::Owned(format!("{path}?{}", query("model", model)))
    }
}

/// A grammar (GBNF) that allows these tokens alone, and then the end. Of a text alone a damaged model takes the tokens that it
/// likes best, which often are others: its case could not be scored, just where the damage is.
pub(in crate::measure::client) fn token_by_token(tokens: &[u32]) -> String {
    let tokens: Vec<String> = tokens.iter().map(|id| format!("<[{id}]>")).collect();
    format!("root ::= {}", tokens.join(" "))
}

/// A grammar (GBNF) that allows one text alone, its end included.
fn literal(text: &str) -> String {
    let mut grammar = String::from("root ::= \"");
    for c in text.chars() {
        match c {
            '"' | '\\' => grammar.extend(['\\', c]),
            '\n' => grammar.push_str("\\n"),
            '\r' => grammar.push_str("\\r"),
            '\t' => grammar.push_str("\\t"),
            other => grammar.push(other),
        }
    }
    grammar.push('"');
    grammar
}

/// The body of a streamed chat completion. Every sampling parameter is there: a server's own defaults (for
/// llama-server temperature 0.8, top-k 40, ..) never apply. Names are llama.cpp's.
fn body(conversation: &Conversation<'_>, sampling: &Sampling, max_tokens: u32) -> Value {
    let rest = json!({
        "max_tokens": max_tokens,
        "stream": true,
        "stream_options": { "include_usage": true },
        "timings_per_token": true,
        "cache_prompt": conversation.reuse_cache,
        "temperature": sampling.temperature,
        "dynatemp_range": 0.0,
        "top_k": sampling.top_k,
        "top_p": sampling.top_p,
        "min_p": sampling.min_p,
        "typical_p": 1.0,
        "top_n_sigma": -1.0,
        "xtc_probability": 0.0,
        "mirostat": 0,
        "repeat_penalty": sampling.repeat_penalty,
        "presence_penalty": sampling.presence_penalty,
        "frequency_penalty": 0.0,
        "dry_multiplier": 0.0,
        "seed": sampling.seed,
    });
    merged(said(conversation), rest)
}

#[cfg(test)]
mod tests {
    use super::super::body::template_body;
    use super::super::format::Quirks;
    use super::*;
    use crate::record::{Message, Role, Tool, ToolCall, ToolChoice};

    #[test]
    fn body_names_every_parameter() {
        let messages = [Message::system("Be brief."), Message::user("Hello 🦀")];
        let body = body(
            &Conversation { tool_choice: Some(ToolChoice::Auto), ..Conversation::of(&messages) },
            &Sampling::default(),
            32,
        );
        insta::assert_snapshot!(serde_json::to_string_pretty(&body).unwrap());
    }

    #[test]
    fn body_with_tools_and_a_conversation() {
        let tool = Tool {
            name: "get_weather".into(),
            description: "Weather of a city".into(),
            parameters: json!({ "type": "object", "properties": { "city": { "type": "string" } } }),
        };
        let call = ToolCall {
            id: Some("call-1".into()),
            name: "get_weather".into(),
            arguments: "{\"city\":\"Paris\"}".into(),
        };
        let messages = [
            Message { tool_calls: vec![call], ..Message::new(Role::Assistant, "") },
            Message { tool_call_id: Some("call-1".into()), ..Message::new(Role::Tool, "22 °C") },
        ];
        let sampling = Sampling { temperature: 0.7, top_k: 40, ..Sampling::default() };
        let body = body(
            &Conversation {
                tools: &[tool],
                tool_choice: Some(ToolChoice::Required),
                ..Conversation::of(&messages)
            },
            &sampling,
            8,
        );
        insta::assert_snapshot!(serde_json::to_string_pretty(&body).unwrap());
    }

    #[test]
    fn a_reply_that_began_already_is_continued_without_thinking() {
        let began = [Message::user("What is the number?"), Message::prefill("The number is")];
        let template = template_body(&began, &[]);
        assert_eq!(template["messages"][1], json!({ "role": "assistant", "content": "The number is" }));
        assert_eq!(template["chat_template_kwargs"], json!({ "enable_thinking": false }));
        // What is counted and what is answered must be rendered from the same fields.
        let chat = body(&Conversation::of(&began), &Sampling::default(), 8);
        for (key, value) in template.as_object().unwrap() {
            assert_eq!(chat.get(key), Some(value), "{key}");
        }
        assert_eq!(template_body(&began[..1], &[]).get("chat_template_kwargs"), None);
    }

    #[test]
    fn a_forced_answer_is_a_grammar_of_one_text() {
        assert_eq!(literal(" say \"a\\b\"\n"), r#"root ::= " say \"a\\b\"\n""#);
        let began = [Message::user("What is the number?"), Message::prefill("The number is")];
        let request = ChatRequest {
            conversation: &Conversation { reuse_cache: true, ..Conversation::of(&began) },
            sampling: &Sampling::default(),
            max_tokens: 9,
            salt: None,
            quirks: Quirks::default(),
        };
        let forced = |tokens| LlamaCpp.force(&request, ForcedText { text: " 12", tokens }).unwrap();
        assert_eq!(forced(Some(&[220, 16, 17]))["grammar"], "root ::= <[220]> <[16]> <[17]>");
        let body = forced(None);
        assert_eq!((&body["grammar"], &body["logprobs"]), (&json!("root ::= \" 12\""), &json!(true)));
        assert_eq!(
            (&body["stream"], &body["cache_prompt"], &body["temperature"]),
            (&json!(false), &json!(true), &json!(0.0))
        );
    }

    #[test]
    fn a_body_for_one_piece_differs_in_nothing_but_streaming() {
        let messages = [Message::user("Hello")];
        let streamed = body(&Conversation::of(&messages), &Sampling::default(), 8);
        let bodies = [streamed.clone(), in_one_piece(streamed)];
        let [streamed, whole] = bodies.map(|body| body.as_object().unwrap().clone());
        for (key, value) in &streamed {
            let expected = match key.as_str() {
                "stream" => Some(json!(false)),
                "stream_options" => None,
                _ => Some(value.clone()),
            };
            assert_eq!(whole.get(key), expected.as_ref(), "{key}");
        }
        assert_eq!(whole.len(), streamed.len() - 1);
    }
}
