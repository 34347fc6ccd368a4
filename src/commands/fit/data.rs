//! What `fit --json` prints; the table is made of the same.

#[cfg(test)]
use schemars::JsonSchema;
use serde::Serialize;

use crate::cli::FitEngine;
use crate::judge::analysis::summary::MemoryKind;

/// What `fit --json` prints.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub(in crate::commands) struct FitTable {
    /// Version of this form.
    pub schema_version: u32,
    /// The model as it was named.
    pub model: String,
    /// Where its files are from.
    pub origin: String,
    /// Its architecture, as its files name it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub architecture: Option<String>,
    /// Layers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub layers: Option<u64>,
    /// The longest context that it was made for (tokens).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trained_context: Option<u64>,
    /// The context that it is for (tokens).
    pub context: u32,
    /// The engine.
    pub engine: FitEngine,
    /// The memory that there is.
    pub memory: Memory,
    /// Why the KV cache is not known; then totals lack it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kv_not_known: Option<String>,
    /// Where the KV cache comes from, where no rule covers it and a server was started shortly.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kv_measured: Option<KvMeasured>,
    /// Whether the rule for what the engine computes in was held against its log for this architecture.
    pub compute_checked: bool,
    /// Each quant.
    pub quants: Vec<Quant>,
    /// Each quant with each cache type.
    pub rows: Vec<Row>,
    /// Files that could not be read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unread: Vec<Unreadable>,
    /// What to mind, and what would make it fit.
    pub notes: Vec<String>,
}

/// A short launch: what the KV cache takes was read off its log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub(in crate::commands) struct KvMeasured {
    /// The file that it was started with.
    pub file: String,
    /// What the server's binary says of itself.
    pub server: String,
    /// Context lengths (tokens); other lengths are on the line through what it took at these.
    pub contexts: Vec<u32>,
    /// Types that it was started with; what others take follows from the bytes of their values.
    pub launched: Vec<LaunchedType>,
    /// What no rule covers.
    pub because: String,
}

/// Types of the cache that a server was started with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub(in crate::commands) struct LaunchedType {
    /// Type of K.
    pub k: String,
    /// Type of V.
    pub v: String,
}

/// The memory that there is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub(in crate::commands) struct Memory {
    /// Bytes.
    pub bytes: u64,
    /// Which memory.
    pub kind: MemoryKind,
    /// Who says so.
    pub source: String,
}

/// Weights in a quant.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub(in crate::commands) struct Quant {
    /// What it is called.
    pub weights: String,
    /// The file (the first of several parts), or the folder.
    pub file: String,
    /// Bytes to download.
    pub file_bytes: u64,
    /// Bytes of all tensors.
    pub weights_bytes: u64,
    /// Bits of a weight on average.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bits_per_weight: Option<f64>,
    /// The types of its tensors, the one that most weights have first.
    pub made_of: Vec<TensorKind>,
    /// The type that most weights have, where that is another one than the label promises.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mostly: Option<String>,
}

/// Tensors of a type.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub(in crate::commands) struct TensorKind {
    /// The type.
    pub name: String,
    /// Bytes.
    pub bytes: u64,
    /// Their share of the weights (0 to 1), by number.
    pub share: f64,
}

/// A quant with a cache type (bytes).
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub(in crate::commands) struct Row {
    /// The quant.
    pub weights: String,
    /// Its file.
    pub file: String,
    /// Type of K.
    pub k: String,
    /// Type of V.
    pub v: String,
    /// Weights in that memory.
    pub weights_bytes: u64,
    /// KV cache and states.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kv_bytes: Option<u64>,
    /// Why this cache type cannot be used, or its size is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kv_not_known: Option<String>,
    /// Whether cache and compute buffers are those of a short launch, not of a rule.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub measured: bool,
    /// What the engine computes in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compute_bytes: Option<u64>,
    /// All that is known together.
    pub total_bytes: u64,
    /// Whether that fits.
    pub fits: Fits,
    /// Layers that are in main memory, or whose experts are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub layers_in_main_memory: Option<u32>,
    /// Bytes of weights and cache in main memory for that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub main_memory_bytes: Option<u64>,
    /// Bytes that are lacking.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub short_bytes: Option<u64>,
    /// The longest context that fits as a whole (tokens), no longer than the model was made for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub longest_context: Option<u32>,
}

/// Whether it fits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
#[serde(rename_all = "snake_case")]
pub(in crate::commands) enum Fits {
    /// As a whole.
    Yes,
    /// With the experts of some layers in main memory.
    WithExpertsInMainMemory,
    /// With some layers in main memory.
    WithLayersInMainMemory,
    /// Not at all.
    No,
}

/// A file that could not be read.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub(in crate::commands) struct Unreadable {
    /// The file.
    pub file: String,
    /// Why.
    pub why: String,
}
