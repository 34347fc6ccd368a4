//! Options of `vllm serve` that suites set by name.
//!
//! Flags as in `vllm serve --help=all` of version 0.32; parameters of speculation as in its `SpeculativeConfig`.

use crate::measure::engine::option::{Only, OptionKind, Place, ServerOption, flag, parameter, switch};

const GIB: OptionKind = OptionKind::Number { min: 0.0, max: 100_000.0 };

/// Types of `--kv-cache-dtype` in version 0.32; a build says itself which ones it has, and most need a GPU.
pub(super) const CACHE_TYPES: &[&str] = &[
    "auto",
    "bfloat16",
    "float16",
    "fp8",
    "fp8_e4m3",
    "fp8_e5m2",
    "fp8_inc",
    "fp8_ds_mla",
    "fp8_per_token_head",
    "int8_per_token_head",
    "int4_per_token_head",
    "nvfp4",
    "nvfp4_4over6",
    "nvfp4_ds_mla",
    "turboquant_3bit_nc",
    "turboquant_4bit_nc",
    "turboquant_k3v4_nc",
    "turboquant_k8v4",
    "ultraquant_4bit",
];

/// The table, in the order of the command line.
pub(super) static OPTIONS: &[ServerOption] = &[
    flag(
        "dtype",
        OptionKind::Words(&["auto", "bfloat16", "float16", "half", "float32", "float"]),
        &["--dtype"],
        "type of weights and activations",
    ),
    flag(
        "quantization",
        OptionKind::Text,
        &["--quantization"],
        "how the weights are quantised, such as fp8 or awq",
    ),
    flag("load_format", OptionKind::Text, &["--load-format"], "form of the weights on disk"),
    flag("tokenizer", OptionKind::Text, &["--tokenizer"], "folder of the tokenizer, for weights without one"),
    flag(
        "hf_overrides",
        OptionKind::Text,
        &["--hf-overrides"],
        "JSON over the model's config, such as rope scaling",
    ),
    flag(
        "attention_backend",
        OptionKind::Text,
        &["--attention-backend"],
        "kernels of attention, such as FLASH_ATTN",
    ),
    switch(
        "prefix_caching",
        &[],
        &["--no-enable-prefix-caching"],
        "the prefix cache; on, since kneepoint keeps cold requests apart by a salt",
    ),
    switch(
        "chunked_prefill",
        &["--enable-chunked-prefill"],
        &["--no-enable-chunked-prefill"],
        "long prompts are read in pieces",
    ),
    switch("enforce_eager", &["--enforce-eager"], &["--no-enforce-eager"], "no compiled graphs"),
    switch(
        "async_scheduling",
        &["--async-scheduling"],
        &["--no-async-scheduling"],
        "the next step is planned while one runs",
    ),
    flag("block_size", OptionKind::COUNT, &["--block-size"], "tokens of a block of the KV cache"),
    flag(
        "kv_skip_layers",
        OptionKind::Text,
        &["--kv-cache-dtype-skip-layers"],
        "a layer whose KV cache is not quantised",
    ),
    flag(
        "mamba_cache_dtype",
        OptionKind::Words(&["auto", "float32", "float16", "bfloat16"]),
        &["--mamba-cache-dtype"],
        "type of the states of recurrent layers",
    ),
    flag(
        "mamba_ssm_cache_dtype",
        OptionKind::Words(&["auto", "float32", "float16", "bfloat16"]),
        &["--mamba-ssm-cache-dtype"],
        "the same for their SSM states alone",
    ),
    flag(
        "kv_cache_memory_bytes",
        OptionKind::BYTES,
        &["--kv-cache-memory-bytes"],
        "size of the KV cache (bytes), on a GPU",
    ),
    flag(
        "gpu_memory_utilization",
        OptionKind::SHARE,
        &["--gpu-memory-utilization"],
        "share of the GPU's memory that it takes",
    ),
    flag("cpu_offload_gb", GIB, &["--cpu-offload-gb"], "weights kept in main memory (GiB)"),
    flag("max_num_seqs", OptionKind::COUNT, &["--max-num-seqs"], "requests at a time"),
    flag("max_num_batched_tokens", OptionKind::COUNT, &["--max-num-batched-tokens"], "tokens of a step"),
    flag(
        "max_logprobs",
        OptionKind::COUNT,
        &["--max-logprobs"],
        "most probabilities of a position (kneepoint: 1024)",
    ),
    flag("tensor_parallel", OptionKind::COUNT, &["--tensor-parallel-size"], "GPUs that share each layer"),
    flag("pipeline_parallel", OptionKind::COUNT, &["--pipeline-parallel-size"], "GPUs that share the layers"),
    switch(
        "expert_parallel",
        &["--enable-expert-parallel"],
        &["--no-enable-expert-parallel"],
        "GPUs share the experts",
    ),
    flag(
        "optimization_level",
        OptionKind::Int { min: 0, max: 3 },
        &["--optimization-level"],
        "how much is compiled",
    ),
    flag(
        "compilation_config",
        OptionKind::Text,
        &["--compilation-config"],
        "JSON of what is compiled, and how",
    ),
    flag("seed", OptionKind::Int { min: 0, max: i64::MAX }, &["--seed"], "seed of the server"),
    flag("chat_template", OptionKind::Text, &["--chat-template"], "a chat template of your own"),
    flag(
        "chat_template_kwargs",
        OptionKind::Text,
        &["--default-chat-template-kwargs"],
        "JSON for the chat template, such as {\"enable_thinking\":false}; the same for all settings of a model",
    ),
    flag(
        "reasoning_parser",
        OptionKind::Text,
        &["--reasoning-parser"],
        "how reasoning is parted from the answer",
    ),
    flag(
        "tool_call_parser",
        OptionKind::Text,
        &["--tool-call-parser"],
        "how the model writes calls, such as hermes; without it the server refuses `auto` tools",
    ),
    ServerOption {
        name: "cpu_kv_cache_gib",
        kind: OptionKind::Int { min: 1, max: 100_000 },
        place: Place::Env("VLLM_CPU_KVCACHE_SPACE"),
        only: Only::Always,
        summary: "size of the KV cache on a CPU (GiB)",
    },
    parameter("spec_tokens", OptionKind::COUNT, "num_speculative_tokens", "tokens drafted at a time"),
    parameter(
        "prompt_lookup_max",
        OptionKind::COUNT,
        "prompt_lookup_max",
        "longest n-gram that is looked up",
    )
    .only(NGRAM),
    parameter(
        "prompt_lookup_min",
        OptionKind::COUNT,
        "prompt_lookup_min",
        "shortest n-gram that is looked up",
    )
    .only(NGRAM),
    parameter(
        "suffix_max_tree_depth",
        OptionKind::COUNT,
        "suffix_decoding_max_tree_depth",
        "depth of the tree of suffixes",
    )
    .only(SUFFIX),
    parameter(
        "suffix_max_spec_factor",
        OptionKind::Number { min: 0.0, max: 100.0 },
        "suffix_decoding_max_spec_factor",
        "tokens drafted for each that matched",
    )
    .only(SUFFIX),
    parameter(
        "draft_sample_method",
        OptionKind::Words(&["greedy", "probabilistic"]),
        "draft_sample_method",
        "how drafted tokens are chosen",
    ),
    parameter(
        "rejection_sample_method",
        OptionKind::Text,
        "rejection_sample_method",
        "how drafted tokens are accepted; `synthetic` measures speed alone, its text is not the model's",
    ),
    parameter("draft_quantization", OptionKind::Text, "quantization", "how the draft model is quantised")
        .only(Only::Draft),
    parameter(
        "draft_kv",
        OptionKind::CacheType(CACHE_TYPES),
        "kv_cache_dtype",
        "type of the draft model's KV cache",
    )
    .only(Only::Draft),
    parameter(
        "draft_tensor_parallel",
        OptionKind::COUNT,
        "draft_tensor_parallel_size",
        "GPUs that share the draft model",
    )
    .only(Only::Draft),
    parameter(
        "draft_max_model_len",
        OptionKind::COUNT,
        "max_model_len",
        "context of the draft model (tokens)",
    )
    .only(Only::Draft),
];

const NGRAM: Only = Only::Types(&["ngram", "ngram_gpu"]);
const SUFFIX: Only = Only::Types(&["suffix"]);
