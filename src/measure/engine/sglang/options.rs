//! Options of SGLang's server that suites set by name.
//!
//! Source: `docs/advanced_features/server_arguments.md` of its repository (2026).

use crate::measure::engine::option::{Only, OptionKind, ServerOption, flag, switch};

const STEPS: Only = Only::Types(&["EAGLE", "EAGLE3", "NEXTN", "STANDALONE"]);
const NGRAM: Only = Only::Types(&["NGRAM"]);

/// The table, in the order of the command line.
pub(super) static OPTIONS: &[ServerOption] = &[
    flag(
        "dtype",
        OptionKind::Words(&["auto", "half", "float16", "bfloat16", "float", "float32"]),
        &["--dtype"],
        "type of weights and activations",
    ),
    flag(
        "quantization",
        OptionKind::Text,
        &["--quantization"],
        "how the weights are quantised, such as fp8 or awq",
    ),
    flag(
        "quantization_param_path",
        OptionKind::Text,
        &["--quantization-param-path"],
        "scales of an fp8 KV cache (JSON)",
    ),
    flag("load_format", OptionKind::Text, &["--load-format"], "form of the weights on disk"),
    flag(
        "tokenizer",
        OptionKind::Text,
        &["--tokenizer-path"],
        "folder of the tokenizer, for weights without one",
    ),
    flag(
        "model_override_args",
        OptionKind::Text,
        &["--json-model-override-args"],
        "JSON over the model's config, such as rope scaling",
    ),
    flag(
        "attention_backend",
        OptionKind::Text,
        &["--attention-backend"],
        "kernels of attention, such as fa3 or triton",
    ),
    flag(
        "prefill_attention_backend",
        OptionKind::Text,
        &["--prefill-attention-backend"],
        "kernels of prefill",
    ),
    flag("decode_attention_backend", OptionKind::Text, &["--decode-attention-backend"], "kernels of decode"),
    flag("sampling_backend", OptionKind::Text, &["--sampling-backend"], "kernels of sampling"),
    flag(
        "grammar_backend",
        OptionKind::Words(&["xgrammar", "outlines", "llguidance", "none"]),
        &["--grammar-backend"],
        "what keeps replies within a grammar",
    ),
    switch(
        "radix_cache",
        &[],
        &["--disable-radix-cache"],
        "the prefix cache; on, since kneepoint keeps cold requests apart by a salt",
    ),
    switch("cuda_graph", &[], &["--disable-cuda-graph"], "captured graphs (the default)"),
    switch("torch_compile", &["--enable-torch-compile"], &[], "compiled graphs"),
    switch(
        "overlap_schedule",
        &[],
        &["--disable-overlap-schedule"],
        "the next step is planned while one runs (the default)",
    ),
    switch("mixed_chunk", &["--enable-mixed-chunk"], &[], "prefill and decode in one step"),
    switch(
        "deterministic",
        &["--enable-deterministic-inference"],
        &[],
        "results that do not depend on the batch",
    ),
    flag(
        "mem_fraction_static",
        OptionKind::SHARE,
        &["--mem-fraction-static"],
        "share of the GPU's memory for weights and KV cache",
    ),
    flag("max_total_tokens", OptionKind::COUNT, &["--max-total-tokens"], "tokens of the KV cache's pool"),
    flag("max_running_requests", OptionKind::COUNT, &["--max-running-requests"], "requests at a time"),
    flag(
        "chunked_prefill_size",
        OptionKind::Int { min: -1, max: 1 << 30 },
        &["--chunked-prefill-size"],
        "tokens of a piece of a prompt; -1: in one",
    ),
    flag("max_prefill_tokens", OptionKind::COUNT, &["--max-prefill-tokens"], "tokens of a prefill step"),
    flag("page_size", OptionKind::COUNT, &["--page-size"], "tokens of a page of the KV cache"),
    flag(
        "schedule_policy",
        OptionKind::Words(&["fcfs", "lpm", "random", "dfs-weight", "lof", "priority"]),
        &["--schedule-policy"],
        "which request comes first",
    ),
    flag(
        "swa_full_tokens_ratio",
        OptionKind::SHARE,
        &["--swa-full-tokens-ratio"],
        "a sliding window's cache against the full one's",
    ),
    flag(
        "tensor_parallel",
        OptionKind::COUNT,
        &["--tensor-parallel-size", "--tp-size"],
        "GPUs that share each layer",
    ),
    flag(
        "pipeline_parallel",
        OptionKind::COUNT,
        &["--pipeline-parallel-size", "--pp-size"],
        "GPUs that share the layers",
    ),
    flag(
        "expert_parallel",
        OptionKind::COUNT,
        &["--expert-parallel-size", "--ep-size"],
        "GPUs that share the experts",
    ),
    flag("data_parallel", OptionKind::COUNT, &["--data-parallel-size", "--dp-size"], "copies of the model"),
    flag("cpu_offload_gb", OptionKind::COUNT, &["--cpu-offload-gb"], "weights kept in main memory (GB)"),
    flag("chat_template", OptionKind::Text, &["--chat-template"], "a chat template of your own"),
    flag(
        "tool_call_parser",
        OptionKind::Text,
        &["--tool-call-parser"],
        "how the model writes calls, such as qwen25",
    ),
    flag(
        "reasoning_parser",
        OptionKind::Text,
        &["--reasoning-parser"],
        "how reasoning is parted from the answer",
    ),
    flag("spec_steps", OptionKind::COUNT, &["--speculative-num-steps"], "steps drafted at a time")
        .only(STEPS),
    flag("spec_topk", OptionKind::COUNT, &["--speculative-eagle-topk"], "branches of a step").only(STEPS),
    flag("spec_tokens", OptionKind::COUNT, &["--speculative-num-draft-tokens"], "tokens verified at a time")
        .only(Only::Speculating),
    flag(
        "spec_accept_single",
        OptionKind::SHARE,
        &["--speculative-accept-threshold-single"],
        "probability above which a draft is taken (1: lossless)",
    )
    .only(Only::Speculating),
    flag(
        "spec_accept_acc",
        OptionKind::SHARE,
        &["--speculative-accept-threshold-acc"],
        "how far acceptance is raised (1: lossless)",
    )
    .only(Only::Speculating),
    flag(
        "spec_attention_mode",
        OptionKind::Words(&["prefill", "decode"]),
        &["--speculative-attention-mode"],
        "kernels of verification",
    )
    .only(Only::Speculating),
    flag(
        "draft_quantization",
        OptionKind::Text,
        &["--speculative-draft-model-quantization"],
        "how the draft model is quantised",
    )
    .only(Only::Draft),
    flag(
        "ngram_min_breadth",
        OptionKind::COUNT,
        &["--speculative-ngram-min-bfs-breadth"],
        "narrowest tree of drafts",
    )
    .only(NGRAM),
    flag(
        "ngram_max_breadth",
        OptionKind::COUNT,
        &["--speculative-ngram-max-bfs-breadth"],
        "widest tree of drafts",
    )
    .only(NGRAM),
    flag(
        "ngram_match_type",
        OptionKind::Words(&["BFS", "PROB"]),
        &["--speculative-ngram-match-type"],
        "by recency or by frequency",
    )
    .only(NGRAM),
    flag(
        "ngram_max_depth",
        OptionKind::COUNT,
        &["--speculative-ngram-max-trie-depth"],
        "longest n-gram that is kept",
    )
    .only(NGRAM),
    flag("ngram_capacity", OptionKind::COUNT, &["--speculative-ngram-capacity"], "n-grams that are kept")
        .only(NGRAM),
];
