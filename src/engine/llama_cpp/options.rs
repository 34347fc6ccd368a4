//! Options of `llama-server` that suites set by name.
//!
//! Flags as in the help of builds 4800 to 10434; a flag that was renamed has its newest name first.

use super::CACHE_TYPES;
use crate::engine::option::{Only, OptionKind, ServerOption};

/// Speculation types that draft with a model or with heads of the model, and so share their parameters.
pub(super) const DRAFTING: &[&str] =
    &["draft-simple", "draft-eagle3", "draft-mtp", "draft-dflash", "draft-dspark"];

const COUNT: OptionKind = OptionKind::Int { min: 1, max: 1 << 20 };
const COUNT_OR_NONE: OptionKind = OptionKind::Int { min: 0, max: 1 << 20 };
const THREADS: OptionKind = OptionKind::Int { min: 1, max: 4096 };
const LAYERS: OptionKind = OptionKind::IntOr { min: 0, max: 9999, words: &["auto", "all"] };
const SHARE: OptionKind = OptionKind::Number { min: 0.0, max: 1.0 };
const FACTOR: OptionKind = OptionKind::Number { min: 0.0, max: 1e9 };

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
    flag(name, COUNT, flags, summary).only(Only::Types(types))
}

const fn flag(
    name: &'static str,
    kind: OptionKind,
    flags: &'static [&'static str],
    summary: &'static str,
) -> ServerOption {
    ServerOption::flag(name, kind, flags, summary)
}

const fn switch(
    name: &'static str,
    on: &'static [&'static str],
    off: &'static [&'static str],
    summary: &'static str,
) -> ServerOption {
    ServerOption::switch(name, on, off, summary)
}

/// The table, in the order of the command line.
pub(super) static OPTIONS: &[ServerOption] = &[
    flag("batch", COUNT, &["-b", "--batch-size"], "tokens of a logical batch"),
    flag("ubatch", COUNT, &["-ub", "--ubatch-size"], "tokens of a physical batch (micro-batch)"),
    flag("threads", THREADS, &["-t", "--threads"], "threads that generate; wins over engine.threads"),
    flag("threads_batch", THREADS, &["-tb", "--threads-batch"], "threads that read prompts"),
    flag("gpu_layers", LAYERS, &["-ngl", "--n-gpu-layers"], "layers on the GPU"),
    flag(
        "split_mode",
        OptionKind::Words(&["none", "layer", "row", "tensor"]),
        &["-sm", "--split-mode"],
        "how several GPUs share the model",
    ),
    flag("tensor_split", OptionKind::Text, &["-ts", "--tensor-split"], "share of each GPU, such as 3,1"),
    flag(
        "main_gpu",
        OptionKind::Int { min: 0, max: 255 },
        &["-mg", "--main-gpu"],
        "the GPU that does the rest",
    ),
    switch("cpu_moe", &["-cmoe", "--cpu-moe"], &[], "experts of every layer stay in main memory"),
    flag(
        "n_cpu_moe",
        COUNT_OR_NONE,
        &["-ncmoe", "--n-cpu-moe"],
        "experts of the first N layers stay in main memory",
    ),
    flag(
        "override_tensor",
        OptionKind::Text,
        &["-ot", "--override-tensor"],
        "where tensors go by name, such as exps=CPU",
    ),
    switch("kv_offload", &[], &["-nkvo", "--no-kv-offload"], "the KV cache goes to the GPU (the default)"),
    switch(
        "op_offload",
        &[],
        &["--no-op-offload"],
        "work on tensors of the host goes to the GPU (the default)",
    ),
    switch("mmap", &[], &["--no-mmap"], "the file is mapped into memory (the default)"),
    switch("mlock", &["--mlock"], &[], "the model is kept in main memory"),
    switch("repack", &[], &["-nr", "--no-repack"], "weights are repacked for the CPU (the default)"),
    flag(
        "numa",
        OptionKind::Words(&["distribute", "isolate", "numactl"]),
        &["--numa"],
        "memory of several sockets",
    ),
    switch(
        "kv_unified",
        &["-kvu", "--kv-unified"],
        &["-no-kvu", "--no-kv-unified"],
        "slots share one KV cache",
    ),
    switch("swa_full", &["--swa-full"], &[], "a sliding window's cache has full size"),
    flag(
        "rope_scaling",
        OptionKind::Words(&["none", "linear", "yarn"]),
        &["--rope-scaling"],
        "how positions are scaled beyond the trained context",
    ),
    flag("rope_scale", FACTOR, &["--rope-scale"], "factor by which the context grows"),
    flag("rope_freq_base", FACTOR, &["--rope-freq-base"], "base frequency"),
    flag("rope_freq_scale", FACTOR, &["--rope-freq-scale"], "frequencies times this"),
    flag("yarn_orig_ctx", COUNT_OR_NONE, &["--yarn-orig-ctx"], "YaRN: trained context (tokens)"),
    flag(
        "yarn_ext_factor",
        OptionKind::Number { min: -1.0, max: 1e6 },
        &["--yarn-ext-factor"],
        "YaRN: extrapolation mix",
    ),
    flag(
        "yarn_attn_factor",
        OptionKind::Number { min: -1.0, max: 1e6 },
        &["--yarn-attn-factor"],
        "YaRN: scale of attention",
    ),
    flag(
        "yarn_beta_slow",
        OptionKind::Number { min: -1.0, max: 1e6 },
        &["--yarn-beta-slow"],
        "YaRN: high correction",
    ),
    flag(
        "yarn_beta_fast",
        OptionKind::Number { min: -1.0, max: 1e6 },
        &["--yarn-beta-fast"],
        "YaRN: low correction",
    ),
    draft("draft_max", COUNT, &["--spec-draft-n-max", "--draft-max"], "tokens drafted at most"),
    draft("draft_min", COUNT_OR_NONE, &["--spec-draft-n-min", "--draft-min"], "tokens drafted at least"),
    draft(
        "draft_p_min",
        SHARE,
        &["--spec-draft-p-min", "--draft-p-min"],
        "probability below which drafting stops",
    ),
    draft(
        "draft_p_split",
        SHARE,
        &["--spec-draft-p-split", "--draft-p-split"],
        "probability at which a draft branches",
    ),
    draft(
        "draft_k",
        OptionKind::Words(CACHE_TYPES),
        &["--spec-draft-type-k", "-ctkd", "--cache-type-k-draft"],
        "type of the draft model's K cache",
    ),
    draft(
        "draft_v",
        OptionKind::Words(CACHE_TYPES),
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
        THREADS,
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
