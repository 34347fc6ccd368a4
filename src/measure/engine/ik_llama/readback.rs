//! What a running ik_llama.cpp server says of itself: its log and `/props`.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::measure::engine::arguments::{count_after, word_after};
use crate::measure::engine::llama_family::{self, cache_side, is_main_memory, mebibytes};
use crate::record::{Effective, short_hash};

/// Reads the log and the properties; whatever is not found stays `None`.
pub(super) fn effective(log: &str, props: &Value) -> Effective {
    // A draft model is loaded after the model.
    let second = log.match_indices("loaded meta data with").nth(1).map_or(log.len(), |(at, _)| at);
    let (main, draft) = log.split_at_checked(second).unwrap_or((log, ""));
    let cache = main.lines().find_map(cache);
    let draft_cache = draft.lines().find_map(self::cache);
    Effective {
        build: build(log),
        k: cache.as_ref().map(|cache| cache.k.0.clone()),
        v: cache.as_ref().and_then(|cache| Some(cache.v.as_ref()?.0.clone())),
        flash_attention: setting(main, "flash_attn").map(|value| value == "1"),
        context: count(props, "/default_generation_settings/n_ctx")
            .filter(|tokens| *tokens > 0)
            .or_else(|| u32::try_from(count_after(log, "n_ctx_slot=")?).ok()),
        slots: count(props, "/total_slots").filter(|slots| *slots > 0),
        threads: count_after(log, " n_threads=").and_then(|threads| u32::try_from(threads).ok()),
        // Its log says nothing of it.
        speculation: None,
        weights: log
            .lines()
            .find_map(|line| Some(line.split_once("model ftype")?.1.trim_start_matches([' ', '='])))
            .map(|name| name.trim().to_owned()),
        template_hash: props
            .pointer("/chat_template")
            .and_then(Value::as_str)
            .map(|template| short_hash(template.as_bytes())),
        k_bytes: cache.as_ref().map(|cache| cache.k.1),
        v_bytes: cache.as_ref().map(|cache| cache.v.as_ref().map_or(0, |v| v.1)),
        compute_bytes: total(main, "compute buffer size ="),
        model_bytes: total_of(main, "llm_load_tensors:", "buffer size ="),
        compute_gpu_bytes: on_cards(main, "compute buffer size ="),
        model_gpu_bytes: on_cards(main, " buffer size ="),
        kv_gpu_bytes: on_cards(main, "KV buffer size ="),
        gpu_backend: llama_family::gpu_backend(main),
        options: options(main),
        draft_model_bytes: total_of(draft, "llm_load_tensors:", "buffer size ="),
        draft_kv_bytes: draft_cache.map(|cache| cache.k.1 + cache.v.map_or(0, |v| v.1)),
        ..Effective::default()
    }
}

/// `build=4840 commit="8337e4cd3"` -> `4840 (8337e4cd3)`.
fn build(log: &str) -> Option<String> {
    let number = count_after(log, " build=")?;
    let commit = word_after(log, " commit=")?;
    Some(format!("{number} ({commit})"))
}

/// Types and bytes of a cache; with latent attention (MLA) there is no V.
struct Cache {
    k: (String, u64),
    v: Option<(String, u64)>,
}

/// `KV self size = 52.50 MiB, K (q8_KV): 27.00 MiB, V (q8_0): 25.50 MiB`, or `.., c^KV (q8_0): 76.25 MiB, kv^T: not used`.
fn cache(line: &str) -> Option<Cache> {
    let (_, sizes) = line.split_once("KV self size")?;
    let k = cache_side(sizes, " c^KV (").or_else(|| cache_side(sizes, " K ("))?;
    Some(Cache { k, v: cache_side(sizes, " V (").or_else(|| cache_side(sizes, " kv^T (")) })
}

fn total(log: &str, marker: &str) -> Option<u64> {
    total_of(log, "", marker)
}

/// The sum over lines that hold both; `None` when there is none.
fn total_of(log: &str, first: &str, marker: &str) -> Option<u64> {
    let sizes = log.lines().filter(|line| line.contains(first)).filter_map(|line| line.split_once(marker));
    let bytes: Vec<u64> = sizes.filter_map(|(_, rest)| mebibytes(rest)).collect();
    (!bytes.is_empty()).then(|| bytes.iter().fold(0, |sum, bytes| u64::saturating_add(sum, *bytes)))
}

/// The sum over the buffers of a kind on graphics cards: `llm_load_tensors: CUDA0 buffer size = ..`,
/// `llama_kv_cache_init: CUDA0 KV buffer size = ..`. `CPU` and `CUDA_Host` are main memory.
fn on_cards(log: &str, marker: &str) -> Option<u64> {
    let of_model = marker.starts_with(" buffer");
    let sizes =
        log.lines().filter(|line| line.contains("llm_load_tensors:") == of_model).filter_map(|line| {
            let (before, after) = line.split_once(marker)?;
            let device = before.split_whitespace().next_back()?;
            if is_main_memory(device) { None } else { mebibytes(after) }
        });
    sizes.reduce(u64::saturating_add)
}

/// The value of `llama_init_from_model: NAME    = VALUE` (older builds: `llama_new_context_with_model`).
fn setting<'a>(log: &'a str, name: &str) -> Option<&'a str> {
    let line = log.lines().find_map(|line| {
        let rest = line
            .strip_prefix("llama_init_from_model: ")
            .or_else(|| line.strip_prefix("llama_new_context_with_model: "))?;
        rest.trim_start().strip_prefix(name)?.trim_start().strip_prefix('=')
    })?;
    Some(line.trim())
}

/// What the log says of options, by their names in suites; its switches are 0 and 1.
fn options(log: &str) -> BTreeMap<String, String> {
    let number = |name: &'static str, key| Some((name, setting(log, key)?.to_owned()));
    let switch = |name: &'static str, key| {
        let value = setting(log, key)?;
        Some((name, (value == "1").to_string()))
    };
    [
        number("batch", "n_batch"),
        number("ubatch", "n_ubatch"),
        number("rope_freq_base", "freq_base"),
        number("rope_freq_scale", "freq_scale"),
        number("amb", "attn_max_b"),
        number("mla", "mla_attn"),
        switch("fmoe", "fused_moe"),
        switch("grouped_experts", "grouped er"),
        switch("fused_up_gate", "fused_up_gate"),
        switch("fused_mmad", "fused_mmad"),
        switch("graph_reuse", "graph_reuse"),
        switch("khad", "k_cache_hadam"),
        switch("vhad", "v_cache_hadam"),
        number("graph_reduce_type", "reduce_type"),
    ]
    .into_iter()
    .flatten()
    .map(|(name, value)| (name.to_owned(), value))
    .collect()
}

fn count(props: &Value, pointer: &str) -> Option<u32> {
    u32::try_from(props.pointer(pointer)?.as_u64()?).ok()
}
