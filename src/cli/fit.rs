//! Arguments of `fit`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
#[cfg(test)]
use schemars::JsonSchema;
use serde::Serialize;

use crate::quantity;

/// Engines whose memory can be told beforehand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub enum FitEngine {
    /// llama.cpp's server
    #[value(name = "llama.cpp")]
    #[serde(rename = "llama.cpp")]
    LlamaCpp,
    /// ik_llama.cpp's server
    #[value(name = "ik_llama.cpp")]
    #[serde(rename = "ik_llama.cpp")]
    IkLlama,
    /// vLLM
    #[value(name = "vllm")]
    #[serde(rename = "vLLM")]
    Vllm,
    /// SGLang
    #[value(name = "sglang")]
    #[serde(rename = "SGLang")]
    Sglang,
}

impl FitEngine {
    /// Its name for people, which is the one in JSON.
    pub const fn title(self) -> &'static str {
        match self {
            Self::LlamaCpp => "llama.cpp",
            Self::IkLlama => "ik_llama.cpp",
            Self::Vllm => "vLLM",
            Self::Sglang => "SGLang",
        }
    }

    /// Its name in suites.
    pub const fn suite_name(self) -> &'static str {
        match self {
            Self::LlamaCpp => "llama.cpp",
            Self::IkLlama => "ik_llama.cpp",
            Self::Vllm => "vllm",
            Self::Sglang => "sglang",
        }
    }

    /// Whether it is llama.cpp's server or a fork of it: it reads GGUF files, and gives every request a cache of its own. The others
    /// read folders, and their requests share a pool of pages.
    pub const fn is_llama(self) -> bool {
        matches!(self, Self::LlamaCpp | Self::IkLlama)
    }
}

/// Arguments of `fit`.
#[derive(Debug, Clone, Args)]
pub struct FitArgs {
    /// hf:OWNER/REPO[@REVISION][:QUANT or FILE], a GGUF file, a folder, a pattern, or a package's name
    pub model: String,
    /// Context length that it is for, in tokens, such as 32k (k is 1024) [default: 32k, or what the model was made for if
    /// that is less]
    #[arg(long, value_name = "TOKENS", value_parser = quantity::tokens)]
    pub context: Option<u32>,
    /// Memory of the cards, such as 24GiB or 24GB (decimal) [default: that of this machine's cards, else its main memory]
    #[arg(long, value_name = "BYTES", value_parser = quantity::bytes)]
    pub memory: Option<u64>,
    /// Compute on the processor: everything lies in main memory
    #[arg(long)]
    pub cpu: bool,
    /// Only these types of the cache, such as f16,q8_0,q8_0/q4_0 (K/V) [default: all that the engine has, K and V alike]
    #[arg(long, value_name = "K[/V],..", value_delimiter = ',')]
    pub kv: Vec<String>,
    /// The engine [default: llama.cpp for GGUF files, vllm for folders]
    #[arg(long, value_enum)]
    pub engine: Option<FitEngine>,
    /// The server's binary, for what no rule covers [default: the one on PATH, else the pinned package if it is here]
    #[arg(long, value_name = "FILE")]
    pub binary: Option<PathBuf>,
    /// Print as JSON on stdout
    #[arg(long)]
    pub json: bool,
}
