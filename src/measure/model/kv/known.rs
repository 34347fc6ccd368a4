//! Architectures that the rules name. Of any other, what its layers keep is not known, however plain its file looks.

use super::layers;

/// Architectures of llama.cpp all of whose layers keep K and V of every token.
const PLAIN: &[&str] = &[
    "apertus",
    "arcee",
    "arctic",
    "baichuan",
    "bailingmoe",
    "bailingmoe2",
    "bitnet",
    "bloom",
    "chameleon",
    "chatglm",
    "codeshell",
    "command-r",
    "dbrx",
    "deci",
    "deepseek",
    "dots1",
    "ernie4_5",
    "ernie4_5-moe",
    "exaone",
    "falcon",
    "gemma",
    "glm4moe",
    "gpt2",
    "gptj",
    "gptneox",
    "granitemoe",
    "grok",
    "hunyuan-dense",
    "hunyuan-moe",
    "internlm2",
    "jais",
    "minicpm",
    "mimo",
    "mpt",
    "nemotron",
    "olmo",
    "olmoe",
    "openelm",
    "orion",
    "phi2",
    "plamo",
    "qwen",
    "qwen2vl",
    "qwen3vl",
    "qwen3vlmoe",
    "refact",
    "seed_oss",
    "stablelm",
    "starcoder",
    "xverse",
];

/// Architectures with rules of their own for compressed K and V, indexers, or layers that share a cache.
const SPECIAL: &[&str] = &["deepseek2", "deepseek32", "gemma4", "glm-dsa", "minicpm3", "minimax-m3", "plm"];

/// Whether the rules name an architecture, as GGUF files write it.
pub fn is_known(architecture: &str) -> bool {
    PLAIN.contains(&architecture) || SPECIAL.contains(&architecture) || layers::names(architecture)
}
