//! The command line of `choose`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::{FitEngine, ServeForms};
use crate::quantity;

/// What a model is chosen for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Purpose {
    /// Long conversations: recall, and what was said before
    #[default]
    Chat,
    /// Tool calls: recall, the choice of a tool, exact arguments
    Tools,
    /// Answers from documents: recall among many facts and among look-alikes
    Rag,
    /// Code: identifiers copied exactly, and not taken for others
    Code,
}

/// What a chosen setting is the best in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Best {
    /// The highest decode rate
    #[default]
    Decode,
    /// The shortest time to the first token
    Ttft,
    /// The least memory
    Memory,
    /// The least energy for a request
    Energy,
}

/// Arguments of `choose`.
#[derive(Debug, Args)]
pub struct ChooseArgs {
    /// hf:OWNER/REPO[@REVISION][:QUANT or FILE], a GGUF file, a folder, a pattern, or a package's name
    pub model: String,
    /// Context length that it is for, in tokens, such as 32k (k is 1024) [default: 32k, or what the model was made for if
    /// that is less]
    #[arg(long, value_name = "TOKENS", value_parser = quantity::tokens)]
    pub context: Option<u32>,
    /// Memory that there is, such as 24GiB or 24GB (decimal) [default: that of this machine's cards, else its main memory]
    #[arg(long, value_name = "BYTES", value_parser = quantity::bytes)]
    pub memory: Option<u64>,
    /// Time that servers may be up, such as 20min or 2h; downloads are not counted
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = quantity::budget)]
    pub budget: f64,
    /// The share of the reference's quality to be kept
    #[arg(long, value_name = "SHARE", default_value = "95%", value_parser = quantity::share)]
    pub keep: f64,
    /// What the model is for: which questions it is asked
    #[arg(long = "for", value_enum, default_value_t)]
    pub purpose: Purpose,
    /// What to be the best in
    #[arg(long, value_enum, default_value_t)]
    pub objective: Best,
    /// The weights that the others are compared with [default: the finest that fit, files of 16 bits apart]
    #[arg(long, value_name = "QUANT")]
    pub reference: Option<String>,
    /// Only these weights beside the reference's, such as Q4_K_M,Q3_K_M [default: up to three sizes]
    #[arg(long, value_name = "QUANT,..", value_delimiter = ',')]
    pub weights: Option<Vec<String>>,
    /// Only these types of the cache beside the reference's, such as q8_0,q8_0/q4_0 (K/V)
    #[arg(long, value_name = "K[/V],..", value_delimiter = ',')]
    pub kv: Option<Vec<String>>,
    /// Only these types of speculation beside none, of those that need no second model, such as ngram-simple; `off` for none
    /// [default: an n-gram type of the server's, if decoding is to be fast]
    #[arg(long, value_name = "TYPE,..", value_delimiter = ',')]
    pub speculation: Option<Vec<String>>,
    /// Compute on the processor: everything lies in main memory [default where this machine has no graphics card]
    #[arg(long)]
    pub cpu: bool,
    /// The engine [default: llama.cpp for GGUF files, vllm for folders]
    #[arg(long, value_enum)]
    pub engine: Option<FitEngine>,
    /// The server's binary [default: the one on PATH, else the pinned package]
    #[arg(long, value_name = "FILE")]
    pub binary: Option<PathBuf>,
    /// In which forms to print what serves it; `all` for every one. JSON holds all of them
    #[arg(long, value_name = "FORM,..", value_delimiter = ',', default_value = "shell", value_enum)]
    pub serve: Vec<ServeForms>,
    /// Show what would be compared and fetched, and stop
    #[arg(long)]
    pub dry_run: bool,
    /// Print as JSON on stdout
    #[arg(long)]
    pub json: bool,
}
