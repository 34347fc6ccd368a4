//! Options of `llama-server` that suites set by name.
//!
//! Flags as in the help of builds 4800 to 10434; a flag that was renamed has its newest name first.

use crate::measure::engine::llama_options as shared;
use crate::measure::engine::option::{Only, OptionKind, ServerOption, flag, switch};

/// KV cache types of `--cache-type-k` and `--cache-type-v`.
pub(super) const CACHE_TYPES: &[&str] =
    &["f32", "f16", "bf16", "q8_0", "q5_1", "q5_0", "q4_1", "q4_0", "iq4_nl"];

/// Speculation types that draft with a model or with heads of the model, and so share their parameters.
pub(super) const DRAFTING: &[&str] =
    &["draft-simple", "draft-eagle3", "draft-mtp", "draft-dflash", "draft-dspark"];

const LAYERS: OptionKind = OptionKind::IntOr { min: 0, max: 9999, words: &["auto", "all"] };

const fn draft(
    name: &'static str,
    kind: OptionKind,
    flags: &'static [&'static str],
    summary: &'static str,
) -> ServerOption {
    flag(name, kind, flags, summary).only(Only::Types(DRAFTING))
}

const fn ngram(
    name: &'static str,
    types: &'static [&'static str],
    flags: &'static [&'static str],
    summary: &'static str,
) -> ServerOption {
    flag(name, OptionKind::COUNT, flags, summary).only(Only::Types(types))
}

/// The table, in the order of the command line.
pub(super) static OPTIONS: &[ServerOption] = &[
    shared::BATCH,
    shared::UBATCH,
    shared::THREADS,
    shared::THREADS_BATCH,
    flag("gpu_layers", LAYERS, &["-ngl", "--n-gpu-layers"], "layers on the GPU"),
    flag(
        "split_mode",
        OptionKind::Words(&["none", "layer", "row", "tensor"]),
        &["-sm", "--split-mode"],
        "how several GPUs share the model",
    ),
    shared::TENSOR_SPLIT,
    shared::MAIN_GPU,
    switch("cpu_moe", &["-cmoe", "--cpu-moe"], &[], "experts of every layer stay in main memory"),
    flag(
        "n_cpu_moe",
        OptionKind::COUNT_OR_NONE,
        &["-ncmoe", "--n-cpu-moe"],
        "experts of the first N layers stay in main memory",
    ),
    flag(
        "override_tensor",
        OptionKind::Text,
        &["-ot", "--override-tensor"],
        "where tensors go by name, such as exps=CPU",
    ),
    shared::KV_OFFLOAD,
    switch(
        "op_offload",
        &[],
        &["--no-op-offload"],
        "work on tensors of the host goes to the GPU (the default)",
    ),
    shared::MMAP,
    shared::MLOCK,
    switch("repack", &[], &["-nr", "--no-repack"], "weights are repacked for the CPU (the default)"),
    shared::NUMA,
    switch(
        "kv_unified",
        &["-kvu", "--kv-unified"],
        &["-no-kvu", "--no-kv-unified"],
        "slots share one KV cache",
    ),
    switch("swa_full", &["--swa-full"], &[], "a sliding window's cache has full size"),
    shared::OVERRIDE_KV,
    shared::ROPE_SCALING,
    shared::ROPE_SCALE,
    shared::ROPE_FREQ_BASE,
    shared::ROPE_FREQ_SCALE,
    shared::YARN_ORIG_CTX,
    shared::YARN_EXT_FACTOR,
    shared::YARN_ATTN_FACTOR,
    shared::YARN_BETA_SLOW,
    shared::YARN_BETA_FAST,
    flag(
        "chat_template_kwargs",
        OptionKind::Text,
        &["--chat-template-kwargs"],
        "JSON for the chat template, such as {\"enable_thinking\":false} or {\"reasoning_effort\":\"high\"}; the same for all settings of a model",
    ),
    flag(
        "reasoning",
        OptionKind::Words(&["on", "off", "auto"]),
        &["--reasoning"],
        "whether the chat template lets the model think; the same for all settings of a model",
    ),
    flag(
        "reasoning_budget",
        OptionKind::Int { min: -1, max: 1 << 30 },
        &["--reasoning-budget"],
        "tokens that it may think (-1: any number)",
    ),
    shared::REASONING_FORMAT,
    draft("draft_max", OptionKind::COUNT, &["--spec-draft-n-max", "--draft-max"], "tokens drafted at most"),
    draft(
        "draft_min",
        OptionKind::COUNT_OR_NONE,
        &["--spec-draft-n-min", "--draft-min"],
        "tokens drafted at least",
    ),
    draft(
        "draft_p_min",
        OptionKind::SHARE,
        &["--spec-draft-p-min", "--draft-p-min"],
        "probability below which drafting stops",
    ),
    draft(
        "draft_p_split",
        OptionKind::SHARE,
        &["--spec-draft-p-split", "--draft-p-split"],
        "probability at which a draft branches",
    ),
    draft(
        "draft_k",
        OptionKind::CacheType(CACHE_TYPES),
        &["--spec-draft-type-k", "-ctkd", "--cache-type-k-draft"],
        "type of the draft model's K cache",
    ),
    draft(
        "draft_v",
        OptionKind::CacheType(CACHE_TYPES),
        &["--spec-draft-type-v", "-ctvd", "--cache-type-v-draft"],
        "type of the draft model's V cache",
    ),
    draft(
        "draft_gpu_layers",
        LAYERS,
        &["--spec-draft-ngl", "-ngld", "--gpu-layers-draft"],
        "layers of the draft model on the GPU",
    ),
    draft(
        "draft_threads",
        OptionKind::THREADS,
        &["--spec-draft-threads", "-td", "--threads-draft"],
        "threads of the draft model",
    ),
    ngram("ngram_mod_min", &["ngram-mod"], &["--spec-ngram-mod-n-min"], "tokens drafted at least"),
    ngram("ngram_mod_max", &["ngram-mod"], &["--spec-ngram-mod-n-max"], "tokens drafted at most"),
    ngram(
        "ngram_mod_match",
        &["ngram-mod"],
        &["--spec-ngram-mod-n-match", "--spec-ngram-size-n"],
        "tokens that must match",
    ),
    ngram(
        "ngram_simple_size_n",
        &["ngram-simple"],
        &["--spec-ngram-simple-size-n", "--spec-ngram-size-n"],
        "tokens that are looked up",
    ),
    ngram(
        "ngram_simple_size_m",
        &["ngram-simple"],
        &["--spec-ngram-simple-size-m", "--spec-ngram-size-m"],
        "tokens drafted",
    ),
    ngram(
        "ngram_simple_min_hits",
        &["ngram-simple"],
        &["--spec-ngram-simple-min-hits", "--spec-ngram-min-hits"],
        "times that it must have been seen",
    ),
    ngram(
        "ngram_map_k_size_n",
        &["ngram-map-k"],
        &["--spec-ngram-map-k-size-n", "--spec-ngram-size-n"],
        "tokens that are looked up",
    ),
    ngram(
        "ngram_map_k_size_m",
        &["ngram-map-k"],
        &["--spec-ngram-map-k-size-m", "--spec-ngram-size-m"],
        "tokens drafted",
    ),
    ngram(
        "ngram_map_k_min_hits",
        &["ngram-map-k"],
        &["--spec-ngram-map-k-min-hits", "--spec-ngram-min-hits"],
        "times that it must have been seen",
    ),
    ngram(
        "ngram_map_k4v_size_n",
        &["ngram-map-k4v"],
        &["--spec-ngram-map-k4v-size-n", "--spec-ngram-size-n"],
        "tokens that are looked up",
    ),
    ngram(
        "ngram_map_k4v_size_m",
        &["ngram-map-k4v"],
        &["--spec-ngram-map-k4v-size-m", "--spec-ngram-size-m"],
        "tokens drafted",
    ),
    ngram(
        "ngram_map_k4v_min_hits",
        &["ngram-map-k4v"],
        &["--spec-ngram-map-k4v-min-hits", "--spec-ngram-min-hits"],
        "times that it must have been seen",
    ),
];
