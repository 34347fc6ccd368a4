//! What llama.cpp's `llama-server` and its fork ik_llama.cpp have alike, beside their options (`llama_options`).

use serde_json::Value;

use super::types::allowed_values;
use super::{figures, option};
use crate::measure::client::Endpoints;
use crate::record::suite::{Cell, FlashAttention};
use crate::record::{Effective, Measurement, metric};

/// Paths of `llama-server`.
pub(super) const ENDPOINTS: Endpoints = Endpoints {
    health: "/health",
    chat: "/v1/chat/completions",
    completion: Some("/completion"),
    prompt_logprobs: None,
    tokenize: Some("/tokenize"),
    apply_template: Some("/apply-template"),
    props: Some("/props"),
    metrics: Some("/metrics"),
};

/// Cache types that are not quantised: the V cache may have them without flash attention.
pub(super) const PLAIN_CACHE_TYPES: &[&str] = &["f32", "f16", "bf16"];

/// What its log says of a combination that it refuses.
pub(super) const REFUSALS: &[&str] = &[
    "requires flash_attn",
    "requires flash attention",
    "does not support speculative",
    "vocabs are not compatible",
];

/// Flags that only ik_llama.cpp has.
const OWN_FLAGS: &[&str] =
    &["--run-time-repack", "--mla-use", "--k-cache-hadamard", "--smart-expert-reduction"];

/// Returns whether a help text is ik_llama.cpp's: the binaries of both have the same name.
pub(super) fn is_ik_llama_help(help: &str) -> bool {
    OWN_FLAGS.iter().any(|flag| help.contains(flag))
}

/// The engine's own figures from `timings` (llama.cpp) and `usage` (OpenAI-style).
pub(super) fn measurements(last: &Value) -> Vec<Measurement> {
    let number = |pointer: &str| last.pointer(pointer).and_then(Value::as_f64).filter(|n| *n >= 0.0);
    let read = number("/timings/prompt_n");
    let made = number("/timings/predicted_n");
    let cached = number("/timings/cache_n").or(number("/usage/prompt_tokens_details/cached_tokens"));
    // `prompt_n` alone leaves out what came from the cache.
    let prompt = number("/usage/prompt_tokens").or_else(|| Some(read? + cached?));
    let output = number("/usage/completion_tokens").or(made);
    vec![
        figures::count(metric::PROMPT_TOKENS, prompt, figures::NO_PROMPT_COUNT),
        figures::count(metric::CACHED_TOKENS, cached, figures::NO_CACHE_COUNT),
        figures::prefill(read, cached, number("/timings/prompt_ms")),
        // The server's clock starts when the first token is there, so its own `predicted_per_second` counts one token
        // too many: 5% at 20 tokens.
        figures::decode(made, number("/timings/predicted_ms")),
        figures::count(metric::OUTPUT_TOKENS, output, figures::NO_OUTPUT_COUNT),
        figures::count(metric::DRAFT_TOKENS, number("/timings/draft_n"), figures::NO_DRAFT_COUNT),
        figures::count(metric::DRAFT_ACCEPTED, number("/timings/draft_n_accepted"), figures::NO_DRAFT_COUNT),
    ]
}

/// One line a setting that the server runs otherwise than asked. What it does not say is no deviation.
pub(super) fn deviations(cell: &Cell, effective: &Effective) -> Vec<String> {
    let setting = &cell.setting;
    let mut lines = Vec::new();
    let mut differs = |what: &str, asked: &str, got: &str| {
        lines.push(format!("{what}: asked for {asked}, the server runs {got}"));
    };
    if let Some(k) = effective.k.as_deref().filter(|k| *k != setting.k) {
        differs("K cache type", &setting.k, k);
    }
    if let Some(v) = effective.v.as_deref().filter(|v| *v != setting.v) {
        differs("V cache type", &setting.v, v);
    }
    match (setting.flash_attention, effective.flash_attention) {
        (FlashAttention::On, Some(false)) => differs("flash attention", "on", "off"),
        (FlashAttention::Off, Some(true)) => differs("flash attention", "off", "on"),
        _ => {}
    }
    if let Some(context) = effective.context.filter(|context| *context < cell.context) {
        let asked = format!("{} tokens", cell.context);
        differs("context per slot", &asked, &format!("{context} tokens"));
    }
    let running = effective.speculation.as_deref();
    if let Some(running) = running.filter(|running| !same_types(&setting.speculation, running)) {
        differs("speculation", &setting.speculation, running);
    }
    let mut running = effective.options.clone();
    // A batch larger than the context is cut to it, which changes nothing.
    if running.get("batch").is_some_and(|batch| *batch == cell.context.to_string()) {
        running.remove("batch");
    }
    lines.extend(option::deviations(setting, &running, &effective.renamed));
    lines
}

/// Whether both lists name the same types; `off` and `none` are empty lists.
fn same_types(asked: &str, running: &str) -> bool {
    let sorted = |list: &str| {
        let mut names: Vec<String> =
            list.split(',').filter(|name| !["off", "none", ""].contains(name)).map(str::to_owned).collect();
        names.sort();
        names
    };
    sorted(asked) == sorted(running)
}

/// What computes on the cards: the name of the first buffer of weights that lies on one (`load_tensors: CUDA0 model buffer
/// size = ..`), without the card's number.
pub(super) fn gpu_backend(log: &str) -> Option<String> {
    let devices = log.lines().filter(|line| line.contains("buffer size =")).filter_map(|line| {
        let (_, rest) = line.split_once("load_tensors:")?;
        rest.split_whitespace().next()
    });
    let is_main = |device: &str| device.starts_with("CPU") || device.ends_with("_Host") || device == "AMX";
    let named = |device: &str| device.trim_end_matches(|c: char| c.is_ascii_digit()).to_owned();
    devices.filter(|device| !is_main(device)).map(named).next()
}

/// Types of the KV cache that the help lists for K or for V, each once; none where it lists none.
pub(super) fn cache_types_of(help: &str) -> Vec<String> {
    let mut types = allowed_values(help, "--cache-type-k");
    for name in allowed_values(help, "--cache-type-v") {
        if !types.contains(&name) {
            types.push(name);
        }
    }
    types
}
