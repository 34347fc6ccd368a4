//! Options that `llama-server` of llama.cpp and of its fork ik_llama.cpp have alike.

use super::option::{OptionKind, ServerOption, flag, switch};

pub(super) const BATCH: ServerOption =
    flag("batch", OptionKind::COUNT, &["-b", "--batch-size"], "tokens of a logical batch");
pub(super) const UBATCH: ServerOption =
    flag("ubatch", OptionKind::COUNT, &["-ub", "--ubatch-size"], "tokens of a physical batch (micro-batch)");
pub(super) const THREADS: ServerOption = flag(
    "threads",
    OptionKind::THREADS,
    &["-t", "--threads"],
    "threads that generate; wins over engine.threads",
);
pub(super) const THREADS_BATCH: ServerOption =
    flag("threads_batch", OptionKind::THREADS, &["-tb", "--threads-batch"], "threads that read prompts");
pub(super) const TENSOR_SPLIT: ServerOption =
    flag("tensor_split", OptionKind::Text, &["-ts", "--tensor-split"], "share of each GPU, such as 3,1");
pub(super) const MAIN_GPU: ServerOption = flag(
    "main_gpu",
    OptionKind::Int { min: 0, max: 255 },
    &["-mg", "--main-gpu"],
    "the GPU that does the rest",
);
pub(super) const KV_OFFLOAD: ServerOption =
    switch("kv_offload", &[], &["-nkvo", "--no-kv-offload"], "the KV cache goes to the GPU (the default)");
pub(super) const MMAP: ServerOption =
    switch("mmap", &[], &["--no-mmap"], "the file is mapped into memory (the default)");
pub(super) const MLOCK: ServerOption = switch("mlock", &["--mlock"], &[], "the model is kept in main memory");
pub(super) const NUMA: ServerOption = flag(
    "numa",
    OptionKind::Words(&["distribute", "isolate", "numactl"]),
    &["--numa"],
    "memory of several sockets",
);
pub(super) const ROPE_SCALING: ServerOption = flag(
    "rope_scaling",
    OptionKind::Words(&["none", "linear", "yarn"]),
    &["--rope-scaling"],
    "how positions are scaled beyond the trained context",
);
pub(super) const ROPE_SCALE: ServerOption =
    flag("rope_scale", OptionKind::FACTOR, &["--rope-scale"], "factor by which the context grows");
pub(super) const ROPE_FREQ_BASE: ServerOption =
    flag("rope_freq_base", OptionKind::FACTOR, &["--rope-freq-base"], "base frequency");
pub(super) const ROPE_FREQ_SCALE: ServerOption =
    flag("rope_freq_scale", OptionKind::FACTOR, &["--rope-freq-scale"], "frequencies times this");
pub(super) const YARN_ORIG_CTX: ServerOption =
    flag("yarn_orig_ctx", OptionKind::COUNT_OR_NONE, &["--yarn-orig-ctx"], "YaRN: trained context (tokens)");
pub(super) const YARN_EXT_FACTOR: ServerOption = flag(
    "yarn_ext_factor",
    OptionKind::Number { min: -1.0, max: 1e6 },
    &["--yarn-ext-factor"],
    "YaRN: extrapolation mix",
);
pub(super) const YARN_ATTN_FACTOR: ServerOption = flag(
    "yarn_attn_factor",
    OptionKind::Number { min: -1.0, max: 1e6 },
    &["--yarn-attn-factor"],
    "YaRN: scale of attention",
);
pub(super) const YARN_BETA_SLOW: ServerOption = flag(
    "yarn_beta_slow",
    OptionKind::Number { min: -1.0, max: 1e6 },
    &["--yarn-beta-slow"],
    "YaRN: high correction",
);
pub(super) const YARN_BETA_FAST: ServerOption = flag(
    "yarn_beta_fast",
    OptionKind::Number { min: -1.0, max: 1e6 },
    &["--yarn-beta-fast"],
    "YaRN: low correction",
);
pub(super) const OVERRIDE_KV: ServerOption = flag(
    "override_kv",
    OptionKind::Text,
    &["--override-kv"],
    "metadata of the model file, such as llama.context_length=int:32768",
);
pub(super) const REASONING_FORMAT: ServerOption = flag(
    "reasoning_format",
    OptionKind::Text,
    &["--reasoning-format"],
    "whether thinking is told apart (auto, deepseek) or left in the text (none)",
);
