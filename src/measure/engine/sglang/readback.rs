//! What a running SGLang says of itself: `/server_info` (formerly `/get_server_info`), and its log.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::measure::engine::arguments::{self, gibibytes, gibibytes_after, word_after};
use crate::measure::engine::deviation::{Deviations, or_none};
use crate::record::Effective;
use crate::record::suite::Cell;

/// Reads the arguments in force and the memory of the first worker; whatever is not found stays `None`.
pub(super) fn effective(log: &str, info: &Value) -> Effective {
    let text = |key: &str| info.get(key)?.as_str().map(str::to_owned);
    let count = |key: &str| info.get(key)?.as_u64();
    let state = info.pointer("/internal_states/0/memory_usage");
    let memory = |key: &str| gibibytes(state?.get(key)?.as_f64()?);
    let kv = allocated(log).map(str::to_owned).or_else(|| text("kv_cache_dtype"));
    Effective {
        build: text("version"),
        k: kv.clone(),
        v: kv,
        // Without an own limit the model's holds, of which this says nothing.
        context: count("context_length").and_then(|tokens| u32::try_from(tokens).ok()),
        speculation: info.get("speculative_algorithm").and_then(|algorithm| match algorithm {
            Value::Null => Some("none".to_owned()),
            algorithm => algorithm.as_str().map(str::to_owned),
        }),
        weights: text("quantization").or_else(|| text("dtype")),
        model_bytes: memory("weight"),
        options: options(info),
        renamed: arguments::renames(log),
        kv_pool_bytes: memory("kvcache").or_else(|| pool(log)),
        kv_pool_tokens: count("max_total_num_tokens"),
        ..Effective::default()
    }
}

/// The type that a cache was allocated with, where that is one of those that suites name: `auto` says nothing.
fn allocated(log: &str) -> Option<&'static str> {
    match word_after(log, "KV Cache is allocated. dtype: torch.")? {
        "bfloat16" => Some("bfloat16"),
        "float16" => Some("float16"),
        "float8_e4m3fn" => Some("fp8_e4m3"),
        "float8_e5m2" => Some("fp8_e5m2"),
        _ => None,
    }
}

/// `KV Cache is allocated. dtype: torch.bfloat16, #tokens: 65536, K size: 0.70 GB, V size: 0.70 GB`, in GiB.
fn pool(log: &str) -> Option<u64> {
    let (_, line) = log.split_once("KV Cache is allocated.")?;
    Some(gibibytes_after(line, "K size: ")?.saturating_add(gibibytes_after(line, "V size: ")?))
}

/// Options whose name among the server's arguments is another one than in suites.
const RENAMED: &[(&str, &str)] = &[
    ("tokenizer", "tokenizer_path"),
    ("tensor_parallel", "tp_size"),
    ("pipeline_parallel", "pp_size"),
    ("expert_parallel", "ep_size"),
    ("data_parallel", "dp_size"),
    ("torch_compile", "enable_torch_compile"),
    ("mixed_chunk", "enable_mixed_chunk"),
    ("deterministic", "enable_deterministic_inference"),
    ("spec_steps", "speculative_num_steps"),
    ("spec_topk", "speculative_eagle_topk"),
    ("spec_tokens", "speculative_num_draft_tokens"),
    ("spec_accept_single", "speculative_accept_threshold_single"),
    ("spec_accept_acc", "speculative_accept_threshold_acc"),
    ("spec_attention_mode", "speculative_attention_mode"),
    ("draft_quantization", "speculative_draft_model_quantization"),
    ("ngram_min_breadth", "speculative_ngram_min_bfs_breadth"),
    ("ngram_max_breadth", "speculative_ngram_max_bfs_breadth"),
    ("ngram_match_type", "speculative_ngram_match_type"),
    ("ngram_max_depth", "speculative_ngram_max_trie_depth"),
    ("ngram_capacity", "speculative_ngram_capacity"),
];

/// Options that the server names by their opposite.
const REVERSED: &[(&str, &str)] = &[
    ("radix_cache", "disable_radix_cache"),
    ("cuda_graph", "disable_cuda_graph"),
    ("overlap_schedule", "disable_overlap_schedule"),
];

/// What the server says of options, by their names in suites; what is null was not set.
fn options(info: &Value) -> BTreeMap<String, String> {
    let named = super::options::OPTIONS.iter().filter_map(|option| {
        let renamed = RENAMED.iter().find(|(name, _)| *name == option.name).map(|(_, key)| *key);
        let value = match REVERSED.iter().find(|(name, _)| *name == option.name) {
            Some((_, key)) => (!info.get(key)?.as_bool()?).to_string(),
            None => plain(info.get(renamed.unwrap_or(option.name))?)?,
        };
        Some((option.name.to_owned(), value))
    });
    named.collect()
}

fn plain(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(truth) => Some(truth.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// One line a setting that the server runs otherwise than asked. What it does not say is no deviation.
pub(super) fn deviations(cell: &Cell, effective: &Effective) -> Vec<String> {
    let mut found = Deviations::of(cell, effective);
    found.cache(same_type);
    found.context("context");
    found.speculation(|asked, runs| same_algorithm(or_none(asked), runs));
    // Seen with 0.5.17; a server that is attached to has no log to say so.
    let mut renamed = effective.renamed.clone();
    renamed.entry("qwen25".to_owned()).or_insert_with(|| "qwen".to_owned());
    found.options(&effective.options, &renamed)
}

fn same_type(asked: &str, running: &str) -> bool {
    let plain = |name| if name == "bf16" { "bfloat16" } else { name };
    plain(asked) == plain(running)
}

/// NEXTN is run by the machinery of EAGLE, and some versions say so.
fn same_algorithm(asked: &str, running: &str) -> bool {
    asked == running || (asked == "NEXTN" && running == "EAGLE")
}
