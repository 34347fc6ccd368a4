//! How many bytes the KV cache of a llama.cpp server takes, from the model's GGUF metadata.
//!
//! Every layer keeps `K heads x head width` values a token for K and the same for V, in blocks of the cache
//! type. A layer with a sliding window keeps only the window and one batch. The rules are llama.cpp's (builds
//! of 2026: `llama-context.cpp` pads the context to 256 cells, `llama-kv-cache-iswa.cpp` sizes the cache of
//! windowed layers; what each architecture keeps: `layers.rs`); other engines allocate in pages and are not described here. `tests/it/real_kv.rs` compares with
//! what the pinned server reports: to the byte wherever its log of two decimals of a MiB is exact.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// llama.cpp allocates cells in multiples of this.
pub const CELL_PADDING: u64 = 256;

/// llama.cpp's default for `--ubatch-size`: tokens that are computed at once.
pub const DEFAULT_UBATCH: u64 = 512;

/// What a model's KV cache holds for each token, and beside that.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct KvShape {
    /// Layers that are alike, together; layers that use the cache of others are left out.
    pub groups: Vec<KvGroup>,
    /// State of recurrent layers, the same at any context length (bytes a slot).
    #[serde(default, skip_serializing_if = "is_zero")]
    pub state_bytes: u64,
}

fn is_zero(bytes: &u64) -> bool {
    *bytes == 0
}

/// Layers that are alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct KvGroup {
    /// How many.
    pub layers: u32,
    /// Values of K for each token and layer: KV heads x width of a K head.
    pub k_values: u32,
    /// Values of V for each token and layer; 0 where K and V are kept as one (multi-head latent attention).
    pub v_values: u32,
    /// Tokens that the layers look back; `None`: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<u32>,
}

/// What a server's command line says about its cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KvUse<'a> {
    /// Context length (tokens), of one slot.
    pub context: u32,
    /// Type of the K cache, such as `q8_0`.
    pub k: &'a str,
    /// Type of the V cache.
    pub v: &'a str,
    /// Tokens that are computed at once (`--ubatch-size`).
    pub ubatch: u64,
    /// Whether windowed layers keep the whole context (`--swa-full`).
    pub full_window: bool,
}

impl<'a> KvUse<'a> {
    /// One slot of the context length with llama.cpp's defaults.
    pub const fn new(context: u32, k: &'a str, v: &'a str) -> Self {
        Self { context, k, v, ubatch: DEFAULT_UBATCH, full_window: false }
    }
}

/// Bytes of a KV cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct KvBytes {
    /// K of all layers.
    pub k: u64,
    /// V of all layers.
    pub v: u64,
    /// State of recurrent layers.
    pub state: u64,
}

impl KvBytes {
    /// All together.
    pub const fn total(self) -> u64 {
        self.k.saturating_add(self.v).saturating_add(self.state)
    }
}

/// Why the bytes cannot be told.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KvError {
    /// The metadata lack what the formula needs.
    #[error("the file does not say {0}")]
    Missing(&'static str),
    /// The metadata contradict themselves.
    #[error("the file's {0} makes no sense")]
    Senseless(&'static str),
    /// The model keeps something else than K and V of each token.
    #[error("{0}, which the formula does not cover")]
    NotCovered(&'static str),
    /// A sliding window, but no rule which layers have it.
    #[error("which layers of a `{0}` have the sliding window is not known")]
    Pattern(String),
    /// A cache type with an unknown block.
    #[error("the block size of the cache type `{0}` is not known")]
    Type(String),
    /// A row that is no whole number of blocks.
    #[error("rows of {values} values are no whole number of blocks of `{name}`")]
    Row {
        /// Values in a row.
        values: u32,
        /// The cache type.
        name: String,
    },
}

/// Values in a block and its bytes, by cache type (ggml's block layouts: scales and packed values together).
const BLOCKS: &[(&str, u64, u64)] = &[
    ("f32", 1, 4),
    ("f16", 1, 2),
    ("bf16", 1, 2),
    ("q8_0", 32, 34),
    ("q5_1", 32, 24),
    ("q5_0", 32, 22),
    ("q4_1", 32, 20),
    ("q4_0", 32, 18),
    ("iq4_nl", 32, 18),
];

/// Bytes of `values` values in a cache type.
///
/// # Errors
/// For an unknown type, or when the values do not fill whole blocks.
pub fn row_bytes(values: u32, name: &str) -> Result<u64, KvError> {
    let block = BLOCKS.iter().find(|(known, ..)| *known == name);
    let &(_, size, bytes) = block.ok_or_else(|| KvError::Type(name.to_owned()))?;
    if !u64::from(values).is_multiple_of(size) {
        return Err(KvError::Row { values, name: name.to_owned() });
    }
    Ok(u64::from(values) / size * bytes)
}

impl KvShape {
    /// Whether K and V are kept as one: how engines store that differs.
    pub fn is_latent(&self) -> bool {
        self.groups.iter().any(|group| group.v_values == 0)
    }

    /// Bytes of the cache of one slot.
    ///
    /// Formula: for each layer cells x row, cells = context padded to 256; with a window
    /// pad256(min(cells, window + ubatch)). Recurrent layers add their state.
    ///
    /// # Errors
    /// For a cache type whose blocks are not known, or that the rows do not fill.
    pub fn bytes(&self, usage: KvUse<'_>) -> Result<KvBytes, KvError> {
        let cells = u64::from(usage.context).next_multiple_of(CELL_PADDING);
        let mut bytes = KvBytes { k: 0, v: 0, state: self.state_bytes };
        for group in &self.groups {
            let cells = match group.window.filter(|_| !usage.full_window) {
                Some(window) => {
                    cells.min(u64::from(window).saturating_add(usage.ubatch)).next_multiple_of(CELL_PADDING)
                }
                None => cells,
            };
            // Saturating: a damaged file must not make the sum wrap.
            let rows = u64::from(group.layers).saturating_mul(cells);
            let add = |sum: u64, row: u64| sum.saturating_add(rows.saturating_mul(row));
            bytes.k = add(bytes.k, row_bytes(group.k_values, usage.k)?);
            bytes.v = add(bytes.v, row_bytes(group.v_values, usage.v)?);
        }
        Ok(bytes)
    }
}
