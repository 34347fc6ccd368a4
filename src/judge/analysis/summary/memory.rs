//! Peak memory, and the formula for it.

#[cfg(test)]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Peak memory of two starts of one server differs by about as much (share): what differs by less is the same.
pub(crate) const START_NOISE: f64 = 0.01;

/// Which memory a peak is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum MemoryKind {
    /// The server's part of the memory of graphics cards.
    Gpu,
    /// What was in use on the server's cards, by whomever: the most that the server's part can be.
    Cards,
    /// Main memory.
    Main,
    /// Weights and the KV cache of one request at the context length: the server takes a pool for all requests at its start,
    /// so what it holds says nothing of what a setting needs.
    Pooled,
}

impl MemoryKind {
    /// Name in tables and files.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Gpu => "gpu",
            Self::Cards => "cards",
            Self::Main => "main",
            Self::Pooled => "pooled",
        }
    }

    /// What it is, in words.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Gpu => "GPU memory of the server",
            Self::Cards => "memory in use on its cards, by whomever",
            Self::Main => "main memory",
            Self::Pooled => {
                "weights and cache of one request at the context length (the server's pool is larger)"
            }
        }
    }
}

/// The pool of a server that takes the KV caches of all requests at its start.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct PoolSummary {
    /// Its size (bytes).
    pub bytes: u64,
    /// Tokens that fit into it.
    pub tokens: u64,
    /// What a token takes of it (bytes), K and V and all layers together.
    pub token_bytes: f64,
}

impl PoolSummary {
    /// What a request of this length (tokens) takes of it (bytes).
    pub(crate) fn at(&self, context: u32) -> u64 {
        (self.token_bytes * f64::from(context)).round() as u64
    }
}

/// Peak memory of a cell (bytes), each `None` with a line in [`Summary::not_measured`].
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct MemorySummary {
    /// The objective `memory`: where the server works on a GPU, its peak GPU memory, or what was in use on its cards
    /// where its part is not known; else its peak proportional set size, else its peak resident set size. One kind
    /// never stands in for another. Of a server with a [pool](Self::pool) it is its weights and what a request of the context
    /// length takes of the pool.
    pub peak_bytes: Option<u64>,
    /// Which memory `peak_bytes` is of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peak_kind: Option<MemoryKind>,
    /// Why there is no `peak_bytes`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peak_absent: Option<String>,
    /// Peak resident set size of the process tree.
    pub peak_rss_bytes: Option<u64>,
    /// Peak proportional set size.
    pub peak_pss_bytes: Option<u64>,
    /// Peak anonymous memory.
    pub peak_anon_bytes: Option<u64>,
    /// Peak file-mapped memory.
    pub peak_file_bytes: Option<u64>,
    /// Peak GPU memory of the server's processes, over all cards.
    #[serde(default)]
    pub peak_vram_bytes: Option<u64>,
    /// Peak GPU memory in use on the server's cards, by whomever.
    #[serde(default)]
    pub peak_vram_device_bytes: Option<u64>,
    /// KV cache with the states of recurrent layers, as the engine reports it, wherever it is; of a pool what a request of the
    /// context length takes.
    pub kv_bytes: Option<u64>,
    /// Compute buffers, as the engine reports them: those in the memory that `peak_bytes` is of.
    pub compute_bytes: Option<u64>,
    /// Model buffers, as the engine reports them: those in the memory that `peak_bytes` is of.
    pub model_bytes: Option<u64>,
    /// The pool of KV caches that the server took at its start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool: Option<PoolSummary>,
    /// Of `kv_bytes`, what is on graphics cards.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kv_gpu_bytes: Option<u64>,
    /// Of the model buffers, the file itself as it is mapped into main memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model_mapped_bytes: Option<u64>,
}

/// How well the memory formula of `pick` meets what was measured on the cells of a setting.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct MemoryFit {
    /// Setting label.
    pub setting: String,
    /// What the server takes beside weights, KV cache and compute buffers (bytes): the largest excess.
    pub other_bytes: Option<i64>,
    /// Its cells by context length.
    pub checks: Vec<MemoryCheck>,
}

/// Memory by formula at one context length, and how well the formula does where memory was measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct MemoryPrediction {
    /// Context length (tokens).
    pub context: u32,
    /// Which memory it is; `None` where no peak was measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<MemoryKind>,
    /// Weights: the model buffers as the engine reports them, else the size of the file (bytes).
    pub weights_bytes: u64,
    /// KV cache (bytes); `None` when it is not known how it grows.
    pub kv_bytes: Option<u64>,
    /// Compute buffers (bytes), by the straight line through the measured ones; `None`: not reported.
    pub compute_bytes: Option<u64>,
    /// What else the server takes (bytes): the largest excess of a measured peak over the three parts above, never
    /// below 0.
    pub other_bytes: Option<i64>,
    /// What is in the three parts above but in no measured peak (bytes): mapped, shared or set aside, not used; `notes`
    /// say which. `None`: nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overlap_bytes: Option<u64>,
    /// All together (bytes); `None` when a part is not known.
    pub total_bytes: Option<u64>,
    /// The measured cells.
    pub checks: Vec<MemoryCheck>,
    /// What the figures rest on, and what is not known.
    pub notes: Vec<String>,
}

/// The formula against one measured cell.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct MemoryCheck {
    /// Context length (tokens).
    pub context: u32,
    /// KV cache as the engine reports it (bytes, with the rounding of its log).
    pub kv_reported_bytes: Option<u64>,
    /// KV cache by formula (bytes).
    pub kv_formula_bytes: Option<u64>,
    /// Measured peak (bytes).
    pub peak_bytes: Option<u64>,
    /// Weights, KV cache, compute buffers and the rest, by formula (bytes).
    pub formula_bytes: Option<u64>,
    /// Measured peak minus formula (bytes).
    pub residual_bytes: Option<i64>,
}

impl MemoryCheck {
    /// Whether the engine's figure of its KV cache is another one than the formula's, beyond the rounding of its log.
    pub fn kv_disagrees(&self) -> bool {
        self.kv_reported_bytes
            .zip(self.kv_formula_bytes)
            .is_some_and(|(engine, formula)| !agree(engine, formula))
    }
}

/// Whether two sizes of a KV cache are the same: a log has two decimals of a MiB for each of its caches.
pub(crate) fn agree(engine: u64, formula: u64) -> bool {
    const ROUNDING: u64 = 64 << 10;
    engine.abs_diff(formula) <= ROUNDING.max(engine.max(formula) / 100)
}
