//! What llama.cpp's `llama-server` and its fork ik_llama.cpp have alike, beside their options (`llama_options`).

use serde_json::Value;

use super::deviation::Deviations;
use super::figures;
use super::types::allowed_values;
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
    let mut found = Deviations::of(cell, effective);
    found.cache_sides();
    match (cell.setting.flash_attention, effective.flash_attention) {
        (FlashAttention::On, Some(false)) => found.differs("flash attention", "on", "off"),
        (FlashAttention::Off, Some(true)) => found.differs("flash attention", "off", "on"),
        _ => {}
    }
    found.context("context per slot");
    found.speculation(same_types);
    let mut running = effective.options.clone();
    // A batch larger than the context is cut to it, which changes nothing.
    if running.get("batch").is_some_and(|batch| *batch == cell.context.to_string()) {
        running.remove("batch");
    }
    found.options(&running, &effective.renamed)
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
    let named = |device: &str| device.trim_end_matches(|c: char| c.is_ascii_digit()).to_owned();
    devices.filter(|device| !is_main_memory(device)).map(named).next()
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

/// The type and the bytes of one side of a cache: `K (q8_0): 11.95 MiB` behind a marker such as ` K (`.
pub(super) fn cache_side(line: &str, marker: &str) -> Option<(String, u64)> {
    let (_, rest) = line.split_once(marker)?;
    let (name, rest) = rest.split_once("):")?;
    Some((name.trim().to_owned(), mebibytes(rest)?))
}

/// `  14.42 MiB ..` -> bytes.
pub(super) fn mebibytes(text: &str) -> Option<u64> {
    let mut words = text.split_whitespace();
    let value: f64 = words.next()?.parse().ok()?;
    let unit = words.next()?;
    let plausible = value.is_finite() && value >= 0.0 && unit.starts_with("MiB");
    plausible.then(|| (value * 1024.0 * 1024.0).round() as u64)
}

/// Whether a buffer's device is main memory: `CPU`, `CPU_Mapped`, .. and `Vulkan_Host`, `CUDA_Host`, .., which a card can read.
pub(super) fn is_main_memory(device: &str) -> bool {
    device.starts_with("CPU") || device.ends_with("_Host") || device == "AMX"
}
