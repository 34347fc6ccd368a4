//! Options of TabbyAPI's configuration file that suites set by name.
//!
//! Source: `config_sample.yml` and `common/config_models.py` of its repository (August 2026).

use crate::measure::engine::option::{Only, OptionKind, ServerOption, config};

/// The table, in the order of the file.
pub(super) static OPTIONS: &[ServerOption] = &[
    config(
        "cache_size",
        OptionKind::COUNT,
        "model",
        "cache_size",
        "tokens that the KV cache holds, a multiple of 256",
    ),
    config(
        "max_batch_size",
        OptionKind::COUNT,
        "model",
        "max_batch_size",
        "requests that are worked on at the same time",
    ),
    config(
        "chunk_size",
        OptionKind::COUNT,
        "model",
        "chunk_size",
        "tokens of a prompt that are read at a time",
    ),
    config("output_chunking", OptionKind::Switch, "model", "output_chunking", "the cache grows with a reply"),
    config(
        "tensor_parallel",
        OptionKind::Switch,
        "model",
        "tensor_parallel",
        "every layer is split over the GPUs",
    ),
    config(
        "tensor_parallel_backend",
        OptionKind::Words(&["native", "nccl"]),
        "model",
        "tensor_parallel_backend",
        "how the parts talk to each other",
    ),
    config(
        "gpu_split_auto",
        OptionKind::Switch,
        "model",
        "gpu_split_auto",
        "layers are spread over the GPUs by themselves",
    ),
    config("gpu_split", OptionKind::Text, "model", "gpu_split", "share of each GPU (GB), such as 20,24"),
    config(
        "autosplit_reserve",
        OptionKind::Text,
        "model",
        "autosplit_reserve",
        "memory kept free on each GPU (MB), such as 96",
    ),
    config(
        "cpu_moe_offload_layers",
        OptionKind::COUNT_OR_NONE,
        "model",
        "cpu_moe_offload_layers",
        "layers whose experts are computed on the CPU",
    ),
    config(
        "rope_scale",
        OptionKind::FACTOR,
        "model",
        "rope_scale",
        "factor by which positions are compressed",
    ),
    config("rope_alpha", OptionKind::FACTOR, "model", "rope_alpha", "factor of the base frequency (NTK)"),
    config("prompt_template", OptionKind::Text, "model", "prompt_template", "name of the chat template"),
    config(
        "tool_format",
        OptionKind::Text,
        "model",
        "tool_format",
        "form of the model's tool calls, such as qwen3_coder",
    ),
    config("reasoning", OptionKind::Switch, "model", "reasoning", "reasoning is told from the reply"),
    config(
        "draft_num_tokens",
        OptionKind::COUNT,
        "draft_model",
        "draft_num_tokens",
        "tokens that are drafted at a time",
    )
    .only(Only::Speculating),
    config(
        "draft_dynamic",
        OptionKind::Switch,
        "draft_model",
        "dynamic_draft",
        "drafts are as long as the acceptance allows",
    )
    .only(Only::Speculating),
    config(
        "draft_cache_mode",
        OptionKind::Words(&["FP16", "Q8", "Q6", "Q4"]),
        "draft_model",
        "draft_cache_mode",
        "KV cache of the draft model",
    )
    .only(Only::Draft),
    config(
        "draft_gpu_split",
        OptionKind::Text,
        "draft_model",
        "draft_gpu_split",
        "share of each GPU of the draft model (GB)",
    )
    .only(Only::Draft),
    config(
        "ngram_match_min",
        OptionKind::COUNT,
        "draft_model",
        "ngram_match_min",
        "tokens that an n-gram must match",
    )
    .only(Only::Types(&["ngram"])),
    config(
        "sysmem_kv_cache",
        OptionKind::COUNT_OR_NONE,
        "memory",
        "sysmem_kv_cache",
        "main memory for a second tier of the KV cache (MB)",
    ),
    config(
        "cuda_malloc_async",
        OptionKind::Switch,
        "memory",
        "cuda_malloc_async",
        "memory comes from CUDA's own pool",
    ),
];

/// Options that are lists of numbers, with commas between.
pub(super) const LISTS: &[&str] = &["gpu_split", "autosplit_reserve", "draft_gpu_split"];
