//! The JSON documents of a reply. Typed, so that many replies can be planned at the same moment.

use serde::Serialize;
use serde_json::Value;

use super::script::{Likeness, Script};

/// What is said in reply to one request.
#[derive(Debug, Clone)]
pub(super) struct Speech<'a> {
    /// Number of the request, from 1.
    pub request: u64,
    /// The tokens of the reply.
    pub tokens: Vec<&'a str>,
    /// Whether the model stopped by itself.
    pub complete: bool,
    /// Prompt tokens that are processed.
    pub processed: u64,
    /// Prompt tokens that count as cached.
    pub cached: u64,
}

/// llama-server's figures of a request.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Timings {
    pub cache_n: u64,
    pub prompt_n: u64,
    pub prompt_ms: f64,
    pub prompt_per_second: Option<f64>,
    pub predicted_n: u64,
    pub predicted_ms: f64,
    pub predicted_per_second: Option<f64>,
}

/// OpenAI's figures of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Usage {
    pub completion_tokens: u64,
    pub prompt_tokens: u64,
    pub total_tokens: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompt_tokens_details: Option<PromptDetails>,
}

/// The part of [`Usage`] about caching.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct PromptDetails {
    pub cached_tokens: u64,
}

/// A chunk of a stream, or a whole reply.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Document {
    pub choices: Vec<Choice>,
    created: u64,
    id: String,
    model: &'static str,
    object: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timings: Option<Timings>,
}

#[derive(Debug, Clone, Serialize)]
pub(super) struct Choice {
    finish_reason: Option<&'static str>,
    index: u32,
    #[serde(flatten)]
    said: Said,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "lowercase")]
enum Said {
    Delta(Message),
    Message(Message),
}

/// What a choice says; the fields that a delta does not touch are left out.
#[derive(Debug, Clone, Default, Serialize)]
struct Message {
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<Value>,
}

impl Speech<'_> {
    /// Tokens of the reply.
    pub(super) fn count(&self) -> u64 {
        self.tokens.len() as u64
    }

    /// `timings` after `count` tokens, from the timetable. As with llama-server the clock starts when the
    /// first token is there, and the rate counts that token all the same.
    pub(super) fn timings(&self, script: &Script, count: u64) -> Timings {
        let prompt_ms = script.prefill_ms(self.processed);
        let predicted_ms = script.decode_ms_per_token * count.saturating_sub(1) as f64;
        let rate = |tokens: u64, ms: f64| (ms > 0.0).then(|| tokens as f64 / (ms / 1e3));
        Timings {
            cache_n: self.cached,
            prompt_n: self.processed,
            prompt_ms,
            prompt_per_second: rate(self.processed, prompt_ms),
            predicted_n: count,
            predicted_ms,
            predicted_per_second: rate(count, predicted_ms),
        }
    }

    /// `usage` after `count` tokens. A server with nothing but OpenAI's interface keeps its cache to itself,
    /// and vLLM does not count what is zero.
    pub(super) fn usage(&self, script: &Script, count: u64) -> Usage {
        let prompt = self.cached + self.processed;
        let tells_cache = match script.like {
            Likeness::LlamaServer | Likeness::IkLlama => true,
            Likeness::Vllm => self.cached > 0,
            Likeness::Openai => false,
        };
        Usage {
            completion_tokens: count,
            prompt_tokens: prompt,
            total_tokens: prompt + count,
            prompt_tokens_details: tells_cache.then_some(PromptDetails { cached_tokens: self.cached }),
        }
    }

    /// The chunk that opens a stream.
    pub(super) fn role(&self) -> Document {
        let delta = Message { role: Some("assistant"), content: Some(Value::Null) };
        self.chunk(delta, None)
    }

    /// A chunk of text.
    pub(super) fn text(&self, text: String) -> Document {
        let delta = Message { content: Some(Value::String(text)), ..Message::default() };
        self.chunk(delta, None)
    }

    /// The chunk that says why the reply ended.
    pub(super) fn finish(&self) -> Document {
        self.chunk(Message::default(), Some(self.finish_reason()))
    }

    /// A chunk without any choice.
    pub(super) fn bare(&self) -> Document {
        self.document("chat.completion.chunk", Vec::new())
    }

    /// The reply in one piece.
    pub(super) fn whole(&self) -> Document {
        let message = Message { role: Some("assistant"), content: Some(Value::String(self.tokens.concat())) };
        let choice =
            Choice { finish_reason: Some(self.finish_reason()), index: 0, said: Said::Message(message) };
        self.document("chat.completion", vec![choice])
    }

    fn finish_reason(&self) -> &'static str {
        if self.complete { "stop" } else { "length" }
    }

    fn chunk(&self, delta: Message, finish_reason: Option<&'static str>) -> Document {
        let choice = Choice { finish_reason, index: 0, said: Said::Delta(delta) };
        self.document("chat.completion.chunk", vec![choice])
    }

    fn document(&self, object: &'static str, choices: Vec<Choice>) -> Document {
        Document {
            choices,
            created: 0,
            id: format!("chatcmpl-mock-{}", self.request),
            model: "mock",
            object,
            usage: None,
            timings: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn speech() -> Speech<'static> {
        Speech { request: 7, tokens: vec!["Hi", " you"], complete: true, processed: 100, cached: 20 }
    }

    fn text(document: &Document) -> String {
        serde_json::to_string(document).unwrap()
    }

    #[test]
    fn documents_are_llama_servers() {
        let tail = r#""created":0,"id":"chatcmpl-mock-7","model":"mock","object":"chat.completion"#;
        let speech = speech();
        for (document, choices, kind) in [
            (
                speech.role(),
                r#"[{"finish_reason":null,"index":0,"delta":{"role":"assistant","content":null}}]"#,
                ".chunk",
            ),
            (
                speech.text("ö".into()),
                r#"[{"finish_reason":null,"index":0,"delta":{"content":"ö"}}]"#,
                ".chunk",
            ),
            (speech.finish(), r#"[{"finish_reason":"stop","index":0,"delta":{}}]"#, ".chunk"),
            (speech.bare(), "[]", ".chunk"),
            (
                speech.whole(),
                r#"[{"finish_reason":"stop","index":0,"message":{"role":"assistant","content":"Hi you"}}]"#,
                "",
            ),
        ] {
            assert_eq!(text(&document), format!(r#"{{"choices":{choices},{tail}{kind}"}}"#));
        }
    }

    #[test]
    fn figures_are_the_timetables() {
        let script = Script { prefill_ms_per_token: 1.0, ..Script::default() };
        let timings = speech().timings(&script, 10);
        assert_eq!(timings.prompt_per_second, Some(1000.0));
        assert_eq!(timings.predicted_ms, 180.0);
        assert_eq!(speech().usage(&script, 2).prompt_tokens, 120);
        let instant = Script { decode_ms_per_token: 0.0, ..script };
        assert_eq!(speech().timings(&instant, 10).predicted_per_second, None);
    }
}
