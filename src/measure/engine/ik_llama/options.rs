//! Options of ik_llama.cpp's `llama-server` that suites set by name.
//!
//! Source: its `docs/parameters.md` and the help text in `common/common.cpp` (2026). Flags that mainline has under the
//! same name have the same name here.

use crate::measure::engine::llama_options as shared;
use crate::measure::engine::option::{Only, OptionKind, ServerOption, flag, parameter, switch};

const LAYERS: OptionKind = OptionKind::Int { min: 0, max: 9999 };

/// KV cache types of `--cache-type-k` and `--cache-type-v`.
pub(super) const CACHE_TYPES: &[&str] =
    &["f32", "f16", "bf16", "q8_0", "q8_KV", "q6_0", "q5_1", "q5_0", "q4_1", "q4_0", "iq4_nl"];

/// Types that look into the tokens so far.
pub(super) const NGRAM: &[&str] =
    &["ngram-cache", "ngram-simple", "ngram-map-k", "ngram-map-k4v", "ngram-mod"];
const DRAFTING: Only = Only::Types(&["draft", "mtp", "dflash"]);
const SUFFIX: Only = Only::Types(&["suffix"]);

const fn stage(
    name: &'static str,
    kind: OptionKind,
    key: &'static str,
    only: Only,
    summary: &'static str,
) -> ServerOption {
    parameter(name, kind, key, summary).only(only)
}

/// The table, in the order of the command line.
pub(super) static OPTIONS: &[ServerOption] = &[
    shared::BATCH,
    shared::UBATCH,
    shared::THREADS,
    shared::THREADS_BATCH,
    flag("gpu_layers", LAYERS, &["-ngl", "--gpu-layers"], "layers on the GPU"),
    flag(
        "split_mode",
        OptionKind::Words(&["none", "layer", "graph", "attn"]),
        &["-sm", "--split-mode"],
        "how several GPUs share the model",
    ),
    shared::TENSOR_SPLIT,
    shared::MAIN_GPU,
    flag(
        "max_gpu",
        OptionKind::Int { min: 1, max: 255 },
        &["--max-gpu"],
        "GPUs a layer may use with split mode graph",
    ),
    switch("cpu_moe", &["--cpu-moe"], &[], "experts of every layer stay in main memory"),
    flag(
        "n_cpu_moe",
        OptionKind::COUNT_OR_NONE,
        &["--n-cpu-moe"],
        "experts of the first N layers stay in main memory",
    ),
    flag("override_tensor", OptionKind::Text, &["-ot", "--override-tensor"], "where tensors go by name"),
    shared::KV_OFFLOAD,
    shared::MMAP,
    shared::MLOCK,
    shared::NUMA,
    switch(
        "rtr",
        &["-rtr", "--run-time-repack"],
        &[],
        "tensors are repacked into interleaved forms while loading",
    ),
    flag(
        "mla",
        OptionKind::Int { min: 0, max: 3 },
        &["-mla", "--mla-use"],
        "latent attention: which form of it (0 to 3)",
    ),
    flag(
        "amb",
        OptionKind::Int { min: 128, max: 1 << 20 },
        &["-amb", "--attention-max-batch"],
        "largest K*Q product of attention (MiB)",
    ),
    switch("fmoe", &[], &["-no-fmoe", "--no-fused-moe"], "fused experts (the default)"),
    switch("fused_up_gate", &[], &["-no-fug", "--no-fused-up-gate"], "fused up and gate (the default)"),
    switch(
        "fused_mmad",
        &[],
        &["-no-mmad", "--no-fused-mul-multiadd"],
        "fused multiply and add (the default)",
    ),
    switch("graph_reuse", &[], &["-no-gr", "--no-graph-reuse"], "graphs are used again (the default)"),
    switch("grouped_experts", &["-ger", "--grouped-expert-routing"], &[], "grouped routing to experts"),
    flag("ser", OptionKind::Text, &["-ser", "--smart-expert-reduction"], "fewer experts: K,t such as 6,1"),
    switch("merge_qkv", &["-mqkv", "--merge-qkv"], &[], "Q, K and V in one product"),
    switch(
        "merge_up_gate",
        &["-muge", "--merge-up-gate-experts"],
        &[],
        "experts' up and gate in one product",
    ),
    switch("khad", &["-khad", "--k-cache-hadamard"], &[], "Hadamard transform of the K cache"),
    switch("vhad", &["-vhad", "--v-cache-hadamard"], &[], "Hadamard transform of the V cache"),
    // The help of 2026 swaps the short names of `last`; the long ones are right.
    flag(
        "k_first",
        OptionKind::Text,
        &["--cache-type-k-first"],
        "type of the K cache in the first N layers, such as q8_0,4",
    ),
    flag("k_last", OptionKind::Text, &["--cache-type-k-last"], "type of the K cache in the last N layers"),
    flag("v_first", OptionKind::Text, &["--cache-type-v-first"], "type of the V cache in the first N layers"),
    flag("v_last", OptionKind::Text, &["--cache-type-v-last"], "type of the V cache in the last N layers"),
    flag(
        "graph_reduce_type",
        OptionKind::Words(&["f32", "f16", "bf16", "q8_0"]),
        &["-grt", "--graph-reduce-type"],
        "type in which GPUs exchange data",
    ),
    shared::ROPE_SCALING,
    shared::ROPE_SCALE,
    shared::ROPE_FREQ_BASE,
    shared::ROPE_FREQ_SCALE,
    shared::YARN_ORIG_CTX,
    shared::YARN_EXT_FACTOR,
    shared::YARN_ATTN_FACTOR,
    shared::YARN_BETA_SLOW,
    shared::YARN_BETA_FAST,
    shared::REASONING_FORMAT,
    flag(
        "draft_k",
        OptionKind::CacheType(CACHE_TYPES),
        &["-ctkd", "--cache-type-k-draft"],
        "type of the draft model's K cache",
    )
    .only(Only::Draft),
    flag(
        "draft_v",
        OptionKind::CacheType(CACHE_TYPES),
        &["-ctvd", "--cache-type-v-draft"],
        "type of the draft model's V cache",
    )
    .only(Only::Draft),
    flag("draft_ctx", OptionKind::COUNT, &["-cd", "--ctx-size-draft"], "context of the draft model (tokens)")
        .only(Only::Draft),
    flag(
        "draft_gpu_layers",
        LAYERS,
        &["-ngld", "--gpu-layers-draft"],
        "layers of the draft model on the GPU",
    )
    .only(Only::Draft),
    flag("draft_threads", OptionKind::THREADS, &["-td", "--threads-draft"], "threads of the draft model")
        .only(Only::Draft),
    switch("spec_autotune", &["--spec-autotune"], &[], "the server tunes speculation while it runs")
        .only(Only::Speculating),
    stage("draft_max", OptionKind::COUNT, "n_max", DRAFTING, "tokens drafted at most"),
    stage("draft_min", OptionKind::COUNT_OR_NONE, "n_min", DRAFTING, "tokens drafted at least"),
    stage("draft_p_min", OptionKind::SHARE, "p_min", DRAFTING, "probability below which drafting stops"),
    stage("ngram_max", OptionKind::COUNT, "n_max", Only::Types(NGRAM), "tokens drafted at most"),
    stage("ngram_min", OptionKind::COUNT_OR_NONE, "n_min", Only::Types(NGRAM), "tokens drafted at least"),
    stage("ngram_size_n", OptionKind::COUNT, "ngram_size_n", Only::Types(NGRAM), "tokens that are looked up"),
    stage(
        "ngram_size_m",
        OptionKind::COUNT,
        "ngram_size_m",
        Only::Types(NGRAM),
        "tokens drafted from a match",
    ),
    stage(
        "ngram_min_hits",
        OptionKind::COUNT,
        "ngram_min_hits",
        Only::Types(NGRAM),
        "times that it must have been seen",
    ),
    stage("suffix_max", OptionKind::COUNT, "n_max", SUFFIX, "tokens drafted at most"),
    stage("suffix_min", OptionKind::COUNT_OR_NONE, "n_min", SUFFIX, "tokens drafted at least"),
    stage(
        "suffix_min_match_len",
        OptionKind::COUNT,
        "suffix_min_match_len",
        SUFFIX,
        "tokens that must match",
    ),
    stage("suffix_max_depth", OptionKind::COUNT, "suffix_max_depth", SUFFIX, "depth of the tree of suffixes"),
    stage("suffix_corpus", OptionKind::Text, "suffix_corpus", SUFFIX, "a file with text to look into"),
];
