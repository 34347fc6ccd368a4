//! What a running vLLM says of itself: its log and `/v1/models`; a server that is attached to has no log, and is asked for
//! `/metrics` in its place.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::measure::engine::arguments::{count_after, gibibytes_after, renames, word_after};
use crate::measure::engine::deviation::{Deviations, or_none};
use crate::record::Effective;
use crate::record::suite::Cell;

/// Reads the log and the list of models; whatever is not found stays `None`.
pub(super) fn effective(log: &str, props: &Value) -> Effective {
    let config = log.lines().find(|line| line.contains("LLM engine (v")).unwrap_or_default();
    let told = |key: &str| word_after(config, key).filter(|word| *word != "None").map(str::to_owned);
    let cache = CacheConfig::of(log);
    let kv = told(" kv_cache_dtype=").or_else(|| cache.text("cache_dtype"));
    Effective {
        build: word_after(config, "LLM engine (v").map(str::to_owned),
        k: kv.clone(),
        v: kv,
        context: context(config, props),
        speculation: speculation(config),
        weights: told(" quantization=").or_else(|| told(" dtype=torch.")),
        model_bytes: gibibytes_after(log, "Model loading took "),
        options: options(log, config, &cache),
        renamed: renames(log),
        kv_pool_bytes: pool_bytes(log, &cache),
        kv_pool_tokens: count_after(log, "KV cache size: ").or_else(|| cache.tokens()),
        ..Effective::default()
    }
}

/// Bytes of the pool: to the byte where an option sets them, else as the log rounds them, else as the metrics say.
fn pool_bytes(log: &str, cache: &CacheConfig<'_>) -> Option<u64> {
    count_after(log, "'kv_cache_memory_bytes': ")
        .or_else(|| gibibytes_after(log, "Available KV cache memory: "))
        .or_else(|| gibibytes_after(log, "Explicitly set ("))
        // `Initial free memory 74.54 GiB, reserved 1.0 GiB memory for KV Cache as specified ..`
        .or_else(|| gibibytes_after(log, " GiB, reserved "))
        .or_else(|| cache.count("kv_cache_memory_bytes"))
}

/// The labels of the metric `vllm:cache_config_info`.
struct CacheConfig<'a>(&'a str);

impl<'a> CacheConfig<'a> {
    fn of(metrics: &'a str) -> Self {
        Self(metrics.lines().find(|line| line.starts_with("vllm:cache_config_info{")).unwrap_or_default())
    }

    fn text(&self, label: &str) -> Option<String> {
        let marker = format!("{label}=\"");
        // `block_size` is the end of other names, too.
        let begins = |(at, _): &(usize, &str)| self.0[..*at].ends_with(['{', ',']);
        let (at, found) = self.0.match_indices(&marker).find(begins)?;
        let value = self.0[at + found.len()..].split('"').next()?;
        (value != "None").then(|| value.to_owned())
    }

    fn count(&self, label: &str) -> Option<u64> {
        self.text(label)?.parse().ok()
    }

    fn tokens(&self) -> Option<u64> {
        self.count("num_gpu_blocks")?.checked_mul(self.count("block_size")?)
    }
}

fn context(config: &str, props: &Value) -> Option<u32> {
    let listed = props.pointer("/data/0/max_model_len").and_then(Value::as_u64);
    u32::try_from(listed.or_else(|| count_after(config, " max_seq_len="))?).ok()
}

/// `speculative_config=None`, or `SpeculativeConfig(method='ngram', ..)`.
fn speculation(config: &str) -> Option<String> {
    match word_after(config, " speculative_config=")? {
        "None" => Some("none".to_owned()),
        _ => word_after(config, "SpeculativeConfig(method=").map(str::to_owned),
    }
}

/// What the log says of options, by their names in suites.
fn options(log: &str, config: &str, cache: &CacheConfig<'_>) -> BTreeMap<String, String> {
    let word = |key: &str| word_after(config, key).filter(|word| *word != "None");
    let truth = |key: &str| word(key).map(str::to_ascii_lowercase);
    let text = |key: &str| word(key).map(str::to_owned);
    [
        ("dtype", text(" dtype=torch.")),
        ("quantization", text(" quantization=")),
        ("load_format", text(" load_format=")),
        ("tensor_parallel", text(" tensor_parallel_size=")),
        ("pipeline_parallel", text(" pipeline_parallel_size=")),
        ("enforce_eager", truth(" enforce_eager=")),
        (
            "prefix_caching",
            truth(" enable_prefix_caching=")
                .or_else(|| Some(cache.text("enable_prefix_caching")?.to_ascii_lowercase())),
        ),
        ("chunked_prefill", truth(" enable_chunked_prefill=")),
        ("seed", text(" seed=")),
        ("spec_tokens", text("num_spec_tokens=")),
        ("attention_backend", backend(log)),
    ]
    .into_iter()
    .filter_map(|(name, value)| Some((name.to_owned(), value?)))
    .collect()
}

/// `] Using FLASH_ATTN attention backend ..`; of several the last: TurboQuant names the one of its prefill first.
fn backend(log: &str) -> Option<String> {
    let line = log.lines().rfind(|line| line.contains("] Using ") && line.contains(" attention backend"))?;
    let (_, rest) = line.split_once("] Using ")?;
    let name = rest.split_whitespace().next()?.trim_start_matches("AttentionBackendEnum.");
    let plain =
        name.len() > 2 && name.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_');
    plain.then(|| name.to_owned())
}

/// One line a setting that the server runs otherwise than asked. What it does not say is no deviation.
pub(super) fn deviations(cell: &Cell, effective: &Effective) -> Vec<String> {
    let mut found = Deviations::of(cell, effective);
    found.cache(same_type);
    found.context("context");
    found.speculation(|asked, runs| or_none(asked) == runs);
    let mut running = effective.options.clone();
    // Two names of one type.
    for (short, long) in [("half", "float16"), ("float", "float32")] {
        if cell.setting.options.get("dtype").is_some_and(|dtype| dtype == short)
            && running.get("dtype").is_some_and(|dtype| dtype == long)
        {
            running.remove("dtype");
        }
    }
    found.options(&running, &effective.renamed)
}

/// `fp8` is `fp8_e4m3`.
fn same_type(asked: &str, running: &str) -> bool {
    let plain = |name| if name == "fp8_e4m3" { "fp8" } else { name };
    plain(asked) == plain(running)
}
