//! Any server with OpenAI's interface: Ollama, LM Studio, TabbyAPI, mlx-lm, a cloud. Attached by its address.
//!
//! Nothing is known of it but what it says: the list of its models, and what comes with a reply.

use serde_json::Value;

use super::capability::{Capability, Support};
use super::card::EngineCard;
use super::definition::Engine;
use super::launch::Launch;
use super::llama_family;
use crate::error::{Error, Result};
use crate::record::suite::{Cell, Setting, UNKNOWN};
use crate::record::{Argv, Build, Effective, Measurement};

/// The engine `openai`.
#[derive(Debug, Clone, Copy)]
pub struct OpenAi;

/// Names under which the user may say what the server's caches hold; nothing is set by them.
const CACHE_TYPES: &[&str] = &[
    UNKNOWN, "f32", "f16", "bf16", "q8_0", "q5_1", "q5_0", "q4_1", "q4_0", "iq4_nl", "fp8", "fp8_e4m3",
    "fp8_e5m2",
];

/// Keys under which servers say how much a model may read: vLLM and SGLang, LM Studio, TabbyAPI and clouds.
const CONTEXT_KEYS: &[&str] = &[
    "/max_model_len",
    "/loaded_context_length",
    "/max_context_length",
    "/context_length",
    "/context_window",
    "/parameters/max_seq_len",
];

/// What kneepoint knows of it without asking.
static CARD: EngineCard = EngineCard {
    name: "openai",
    summary: "any server with OpenAI's interface, attached by `engine.url`: Ollama, LM Studio, TabbyAPI, mlx-lm, a cloud",
    cache_types: CACHE_TYPES,
    speculation_types: &["off", UNKNOWN],
    properties: &["/v1/models"],
    limits: &[
        (Capability::Launch, Support::No("attach to a running server by URL")),
        (Capability::Tokenise, Support::No("its interface has no tokeniser")),
        (Capability::TokenLogprobs, Support::No("kneepoint reads none from it")),
        (Capability::PromptLogprobs, Support::No("its interface lists none")),
        (Capability::Timings, Support::Partly("where the server sends `timings` as llama.cpp does")),
        (Capability::Tools, Support::Partly("as far as the server parses calls")),
        (Capability::CacheState, Support::Partly("where `usage` counts cached tokens")),
        (Capability::Effective, Support::Partly("the context, where the list of models names it")),
        (Capability::Memory, Support::No("the server does not say")),
        (Capability::QuantisedKv, Support::Partly("what the server was started with, as the suite says")),
        (
            Capability::Speculation,
            Support::Partly("what the server was started with; counts where it sends them"),
        ),
    ],
    ..EngineCard::PLAIN
};

impl Engine for OpenAi {
    fn card(&self) -> &'static EngineCard {
        &CARD
    }

    fn validate(&self, _: &Setting) -> Result<(), String> {
        Ok(())
    }

    fn build(&self, _: &str, _: &str) -> Build {
        Build::default()
    }

    fn argv(&self, _: &Cell, _: &Launch<'_>) -> Result<Argv> {
        Err(Error::usage("the engine openai starts no server")
            .hint("name a running one: engine.url = \"http://..\""))
    }

    /// Some of these servers are llama.cpp inside and send its `timings`; `usage` is read the same way everywhere.
    fn measurements(&self, last: &Value) -> Vec<Measurement> {
        llama_family::measurements(last)
    }

    /// `props` is the list of models, cut down to the one that is used.
    fn effective(&self, _: &str, props: &Value) -> Effective {
        let models = props.get("data").and_then(Value::as_array).map(Vec::as_slice);
        let Some([model]) = models else { return Effective::default() };
        let context = CONTEXT_KEYS.iter().find_map(|key| model.pointer(key)?.as_u64());
        Effective { context: context.and_then(|tokens| u32::try_from(tokens).ok()), ..Effective::default() }
    }

    fn deviations(&self, cell: &Cell, effective: &Effective) -> Vec<String> {
        let short = effective.context.filter(|context| *context < cell.context);
        let line = short.map(|context| {
            format!("context: asked for {} tokens, the server has {context} tokens", cell.context)
        });
        line.into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::record::metric;

    #[test]
    fn the_context_is_read_where_a_server_says_it() {
        let context = |props: &Value| OpenAi.effective("", props).context;
        assert_eq!(context(&json!({ "data": [{ "id": "a", "max_model_len": 4096 }] })), Some(4096));
        assert_eq!(context(&json!({ "data": [{ "id": "a", "loaded_context_length": 8192 }] })), Some(8192));
        assert_eq!(context(&json!({ "data": [{ "id": "a" }] })), None);
        assert_eq!(context(&json!({ "data": [{ "max_model_len": 1 }, { "max_model_len": 2 }] })), None);
        assert_eq!(context(&Value::Null), None);
        let vllm = include_str!("../../../tests/fixtures/vllm/models.json");
        assert_eq!(context(&serde_json::from_str(vllm).unwrap()), Some(4096));
    }

    #[test]
    fn usage_alone_gives_counts_and_no_rates() {
        let last = json!({ "usage": {
            "prompt_tokens": 37, "completion_tokens": 48, "prompt_tokens_details": { "cached_tokens": 16 },
        } });
        let all = OpenAi.measurements(&last);
        let value = |name: &str| all.iter().find(|m| m.name == name).unwrap().value;
        assert_eq!(value(metric::PROMPT_TOKENS), Some(37.0));
        assert_eq!(value(metric::OUTPUT_TOKENS), Some(48.0));
        assert_eq!(value(metric::CACHED_TOKENS), Some(16.0));
        assert_eq!([value(metric::DECODE_TPS), value(metric::PREFILL_TPS)], [None, None]);
    }
}
