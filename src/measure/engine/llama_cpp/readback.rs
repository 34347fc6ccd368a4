//! What a running `llama-server` says of itself: its log (at verbosity 4) and `/props`.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::measure::engine::llama_family::{self, cache_side, is_main_memory, mebibytes};
use crate::record::{Effective, short_hash};

/// Reads the log and the properties; whatever is not found stays `None`.
pub(super) fn effective(log: &str, props: &Value) -> Effective {
    // A router's own properties are those of no model.
    let of_a_model = without_router(props);
    let props = &of_a_model;
    let (main, draft) = contexts(log);
    let caches: Vec<Cache> = main.lines().filter_map(cache).collect();
    Effective {
        build: text(props, "/build_info").or_else(|| build_line(log)),
        k: one_name(caches.iter().map(|cache| cache.k.as_str())),
        v: one_name(caches.iter().map(|cache| cache.v.as_str())),
        flash_attention: flash_attention(main),
        context: number(props, "/default_generation_settings/n_ctx")
            .filter(|tokens| *tokens > 0)
            .or_else(|| main.lines().find_map(|line| number_after(line, "n_ctx_slot = "))),
        slots: number(props, "/total_slots").filter(|slots| *slots > 0),
        threads: log.lines().find_map(|line| number_after(line, "system_info: n_threads = ")),
        speculation: speculation(log, props),
        weights: text(props, "/model_ftype"),
        template_hash: text(props, "/chat_template").map(|template| short_hash(template.as_bytes())),
        k_bytes: total(caches.iter().map(|cache| cache.k_bytes)),
        v_bytes: total(caches.iter().map(|cache| cache.v_bytes)),
        state_bytes: total(main.lines().filter_map(state)),
        kv_gpu_bytes: cache_on_cards(main),
        compute_bytes: total(sizes(main, "compute buffer size =")),
        model_bytes: total(sizes(main, "model buffer size =")),
        compute_gpu_bytes: total(gpu_sizes(main, "compute buffer size =")),
        model_gpu_bytes: total(gpu_sizes(main, "model buffer size =")),
        gpu_backend: llama_family::gpu_backend(main),
        model_mapped_bytes: total(mapped_sizes(main)),
        k_rotated: rotated(main, "attn_rot_k"),
        v_rotated: rotated(main, "attn_rot_v"),
        graph_splits: main.lines().rev().find_map(|line| number_after(line, "graph splits = ")),
        compute_cpu_bytes: cpu_compute(main),
        options: options(log, main),
        draft_model_bytes: total(sizes(draft, "model buffer size =")),
        draft_kv_bytes: total(draft.lines().filter_map(cache).map(|cache| cache.k_bytes + cache.v_bytes)),
        ..Effective::default()
    }
}

/// The properties, of a router only its build: what stands beside is a stand-in (`n_ctx` 0, `model_path` "none").
fn without_router(props: &Value) -> Cow<'_, Value> {
    match is_router(props) {
        true => Cow::Owned(json!({ "build_info": props.get("build_info") })),
        false => Cow::Borrowed(props),
    }
}

/// Whether these are the properties of a llama-server that only passes requests on to servers of single models.
fn is_router(props: &Value) -> bool {
    props.get("role").and_then(Value::as_str) == Some("router")
}

/// What the log says of options, by their names in suites.
fn options(log: &str, main: &str) -> BTreeMap<String, String> {
    let word = |text: &str, marker: &str| {
        let (_, rest) = text.lines().find_map(|line| line.split_once(marker))?;
        let value = rest.trim_start().trim_start_matches('=').split_whitespace().next()?;
        Some(value.trim_end_matches([',', ')']).to_owned())
    };
    [
        ("batch", word(main, "llama_context: n_batch ")),
        ("ubatch", word(main, "llama_context: n_ubatch ")),
        ("rope_freq_base", word(main, "llama_context: freq_base ")),
        ("rope_freq_scale", word(main, "llama_context: freq_scale ")),
        ("threads_batch", word(log, "(n_threads_batch =")),
        ("draft_max", word(log, "common_specu: - n_max=")),
    ]
    .into_iter()
    .filter_map(|(name, value)| Some((name.to_owned(), value?)))
    .collect()
}

/// The log up to the point where a second model or context (of a draft model) is loaded, and the rest.
fn contexts(log: &str) -> (&str, &str) {
    let second = |marker| log.match_indices(marker).nth(1).map(|(at, _)| at);
    let ends = [second("loaded meta data with"), second("constructing llama_context")];
    let end = ends.into_iter().flatten().min().unwrap_or(log.len());
    log.split_at_checked(end).unwrap_or((log, ""))
}

/// Types and bytes of one KV cache.
struct Cache {
    k: String,
    v: String,
    k_bytes: u64,
    v_bytes: u64,
}

/// Reads `.. size = 18.28 MiB (..), K (q8_0): 11.95 MiB, V (q4_0): 6.33 MiB`. A model with a sliding
/// window has two such lines, one a cache.
fn cache(line: &str) -> Option<Cache> {
    let (k, k_bytes) = cache_side(line, " K (")?;
    let (v, v_bytes) = cache_side(line, " V (")?;
    Some(Cache { k, v, k_bytes, v_bytes })
}

/// Reads the state of recurrent layers: `.. size = 4.10 MiB (..), R (f32): 0.10 MiB, S (f32): 4.00 MiB`, in newer builds
/// with a third part (`P`). Before states had a cache of their own, they were named as K and V are.
fn state(line: &str) -> Option<u64> {
    let (_, looked_back) = cache_side(line, " R (")?;
    let (_, state) = cache_side(line, " S (")?;
    let third = cache_side(line, " P (").map_or(0, |(_, bytes)| bytes);
    Some(looked_back.saturating_add(state).saturating_add(third))
}

fn sizes<'a>(log: &'a str, marker: &'a str) -> impl Iterator<Item = u64> + 'a {
    log.lines().filter_map(move |line| line.split_once(marker)).filter_map(|(_, rest)| mebibytes(rest))
}

/// As [`sizes`], of the buffers on graphics cards: not `CPU`, `CPU_Mapped`, .. and not `Vulkan_Host`, `CUDA_Host`, ..,
/// which are main memory that a card can read.
fn gpu_sizes<'a>(log: &'a str, marker: &'a str) -> impl Iterator<Item = u64> + 'a {
    log.lines().filter_map(move |line| {
        let (before, after) = line.split_once(marker)?;
        let device = before.split_whitespace().next_back()?;
        if is_main_memory(device) { None } else { mebibytes(after) }
    })
}

/// Reads `llama_kv_cache: attn_rot_k = 1, n_embd_head_k_all = 64`; of several caches, whether any is rotated.
fn rotated(log: &str, name: &str) -> Option<bool> {
    let marker = format!("{name} = ");
    let mut said = log.lines().filter_map(|line| number_after(line, &marker)).peekable();
    said.peek()?;
    Some(said.any(|rotated| rotated > 0))
}

/// The buffers that the processor itself computes in beside a card: not those that a card reads (`CUDA_Host`).
fn cpu_compute(log: &str) -> Option<u64> {
    gpu_sizes(log, "compute buffer size =").next()?;
    let own = log.lines().filter_map(|line| {
        let (before, after) = line.split_once("compute buffer size =")?;
        let device = before.split_whitespace().next_back()?;
        (device == "CPU").then(|| mebibytes(after)).flatten()
    });
    total(own)
}

/// What of the caches is on graphics cards; 0 where weights are there and no cache is.
fn cache_on_cards(log: &str) -> Option<u64> {
    let caches = [" KV buffer size =", " RS buffer size ="];
    let found = total(caches.iter().flat_map(|marker| gpu_sizes(log, marker)));
    let are_told = caches.iter().any(|marker| log.contains(marker));
    found.or_else(|| gpu_sizes(log, "model buffer size =").next().filter(|_| are_told).map(|_| 0))
}

/// Sizes of model buffers that are the file itself, mapped: `CPU_Mapped`.
fn mapped_sizes(log: &str) -> impl Iterator<Item = u64> + '_ {
    log.lines().filter_map(|line| {
        let (before, after) = line.split_once("model buffer size =")?;
        before.trim_end().ends_with("_Mapped").then(|| mebibytes(after)).flatten()
    })
}

/// The sum; `None` when there is nothing to add.
fn total(mut bytes: impl Iterator<Item = u64>) -> Option<u64> {
    let first = bytes.next()?;
    Some(bytes.fold(first, u64::saturating_add))
}

/// The name when all agree, else all of them joined by `+` (which then differs from what was asked).
fn one_name<'a>(names: impl Iterator<Item = &'a str>) -> Option<String> {
    let mut distinct: Vec<&str> = Vec::new();
    for name in names {
        if !distinct.contains(&name) {
            distinct.push(name);
        }
    }
    (!distinct.is_empty()).then(|| distinct.join("+"))
}

/// `flash_attn = enabled|disabled|auto`; with `auto` a later line tells what was chosen.
fn flash_attention(log: &str) -> Option<bool> {
    let state = log
        .lines()
        .find_map(|line| line.split_once("flash_attn "))
        .and_then(|(_, rest)| rest.trim_start().strip_prefix('='))
        .and_then(|value| value.split_whitespace().next())?;
    match state {
        "enabled" | "1" => Some(true),
        "disabled" | "0" => Some(false),
        _ => log.lines().filter(|line| line.contains("Flash Attention")).find_map(|line| {
            match line.split_whitespace().last()? {
                "enabled" => Some(true),
                "disabled" => Some(false),
                _ => None,
            }
        }),
    }
}

/// Speculation types in force, joined by commas, or `none`.
///
/// Build 10068 writes `none` in `/props` even while it speculates, so `/props` only counts when it names a type.
fn speculation(log: &str, props: &Value) -> Option<String> {
    let running: Vec<&str> = log
        .lines()
        .filter_map(|line| line.split_once("adding speculative implementation '"))
        .filter_map(|(_, rest)| rest.split('\'').next())
        .collect();
    if !running.is_empty() {
        return Some(running.join(","));
    }
    if log.contains("no implementations specified for speculative decoding") {
        return Some("none".to_owned());
    }
    let pointer = "/default_generation_settings/params/speculative.types";
    text(props, pointer).filter(|types| types != "none")
}

fn build_line(log: &str) -> Option<String> {
    let (_, rest) = log.lines().find_map(|line| line.split_once("print_info: build "))?;
    Some(rest.split(" with ").next().unwrap_or(rest).trim().to_owned())
}

fn number_after(line: &str, marker: &str) -> Option<u32> {
    let (_, rest) = line.split_once(marker)?;
    let digits = rest.split(|c: char| !c.is_ascii_digit()).next()?;
    digits.parse().ok()
}

fn text(props: &Value, pointer: &str) -> Option<String> {
    props.pointer(pointer)?.as_str().map(str::to_owned)
}

fn number(props: &Value, pointer: &str) -> Option<u32> {
    u32::try_from(props.pointer(pointer)?.as_u64()?).ok()
}
