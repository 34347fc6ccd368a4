//! How many bytes the KV cache of a llama.cpp server takes, from the model's GGUF metadata.
//!
//! Every layer keeps `K heads x head width` values a token for K and the same for V, in blocks of the cache
//! type. A layer with a sliding window keeps only the window and one batch. The rules are llama.cpp's (builds
//! of 2026: `llama-context.cpp` pads the context to 256 cells, `llama-kv-cache-iswa.cpp` sizes the cache of
//! windowed layers; what each architecture keeps: `layers.rs`); other engines allocate in pages and are not described here. `tests/it/real_kv.rs` compares with
//! what the pinned server reports: to the byte wherever its log of two decimals of a MiB is exact.

#[cfg(test)]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::blocks::BlockType;

/// llama.cpp allocates cells in multiples of this.
pub const CELL_PADDING: u64 = 256;

/// llama.cpp's default for `--ubatch-size`: tokens that are computed at once.
pub const DEFAULT_UBATCH: u64 = 512;

/// The types of a cache in a word: `q8_0`, or `q8_0/q4_0` where V has another one than K.
#[must_use]
pub fn kv_types(k: &str, v: &str) -> String {
    if k == v { k.to_owned() } else { format!("{k}/{v}") }
}

/// What a model's KV cache holds for each token, and beside that.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
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

fn is_none(heads: &u32) -> bool {
    *heads == 0
}

/// Layers that are alike.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct KvGroup {
    /// How many.
    pub layers: u32,
    /// Values of K for each token and layer: KV heads x width of a K head.
    pub k_values: u32,
    /// Values of V for each token and layer; 0 where K and V are kept as one (multi-head latent attention).
    pub v_values: u32,
    /// Heads of K; 0 where that was not written down. Only cache types with bytes before each row need it.
    #[serde(default, skip_serializing_if = "is_none")]
    pub k_heads: u32,
    /// Tokens that the layers look back; `None`: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<u32>,
}

impl KvGroup {
    /// K of one layer: a row for each cell and head.
    fn k_bytes(&self, cells: u64, name: &str) -> Result<u64, KvError> {
        if !has_row_head(name) {
            return Ok(cells.saturating_mul(row_bytes(self.k_values, name)?));
        }
        if self.k_heads == 0 || !self.k_values.is_multiple_of(self.k_heads) {
            return Err(KvError::Missing("how many heads of K it has"));
        }
        let rows = cells.saturating_mul(u64::from(self.k_heads));
        rows_bytes(rows, self.k_values / self.k_heads, name)
    }

    /// V of one layer. ik_llama.cpp allocates it as one row.
    fn v_bytes(&self, cells: u64, name: &str) -> Result<u64, KvError> {
        if self.v_values == 0 {
            return Ok(0);
        }
        let head = BlockType::named(name).map_or(0, |kind| kind.row);
        let row = row_bytes(self.v_values, name)? - head;
        Ok(cells.saturating_mul(row).saturating_add(head))
    }
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

    /// Cells of a layer that looks back over a window, or over everything.
    pub fn cells(&self, window: Option<u32>) -> u64 {
        let cells = u64::from(self.context).next_multiple_of(CELL_PADDING);
        match window.filter(|_| !self.full_window) {
            Some(window) => {
                cells.min(u64::from(window).saturating_add(self.ubatch)).next_multiple_of(CELL_PADDING)
            }
            None => cells,
        }
    }
}

/// A pool of pages that requests share, as vLLM and SGLang have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pool {
    /// Tokens of a page.
    pub page: u64,
    /// Bytes of a value.
    pub value_bytes: u64,
    /// Tokens that are computed at once, where layers with a window keep no more than they need.
    pub batch: Option<u64>,
}

/// Bytes of a KV cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
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

/// Bytes of `values` values in a cache type.
///
/// # Errors
/// For an unknown type, or when the values do not fill whole blocks.
pub fn row_bytes(values: u32, name: &str) -> Result<u64, KvError> {
    rows_bytes(1, values, name)
}

/// Bytes of so many rows of `values` values each.
fn rows_bytes(rows: u64, values: u32, name: &str) -> Result<u64, KvError> {
    let kind = BlockType::named(name).ok_or_else(|| KvError::Type(name.to_owned()))?;
    if !u64::from(values).is_multiple_of(kind.values) {
        return Err(KvError::Row { values, name: name.to_owned() });
    }
    // Saturating: a damaged file must not make the sum wrap.
    Ok(kind.rows(rows, u64::from(values)).unwrap_or(u64::MAX))
}

/// Whether the type puts bytes of its own before each row, so that rows must be known one by one.
fn has_row_head(name: &str) -> bool {
    BlockType::named(name).is_some_and(|kind| kind.row > 0)
}

impl KvShape {
    /// Whether K and V are kept as one: how engines store that differs.
    pub fn is_latent(&self) -> bool {
        self.groups.iter().any(|group| group.v_values == 0)
    }

    /// Bytes that a request of this length takes of a pool of pages.
    ///
    /// Formula: for each layer whole pages x (K + V) x bytes of a value. vLLM's manager of several kinds of layers keeps
    /// for a window at most window - 1 + one batch tokens, and one page more (`SlidingWindowSpec`); a pool without one
    /// (`batch` `None`) keeps everything.
    pub fn paged_bytes(&self, context: u32, pool: Pool) -> u64 {
        let pages = |tokens: u64| tokens.div_ceil(pool.page.max(1));
        let layer = |group: &KvGroup| {
            let all = pages(context.into());
            let pages = match (group.window, pool.batch) {
                (Some(window), Some(batch)) => {
                    all.min(pages(u64::from(window).saturating_sub(1).saturating_add(batch)) + 1)
                }
                _ => all,
            };
            let values = u64::from(group.k_values).saturating_add(group.v_values.into());
            let token = values.saturating_mul(pool.value_bytes).saturating_mul(group.layers.into());
            pages.saturating_mul(pool.page).saturating_mul(token)
        };
        self.groups.iter().fold(self.state_bytes, |sum, group| sum.saturating_add(layer(group)))
    }

    /// Bytes of the cache of one slot.
    ///
    /// Formula: for each layer cells x row, cells = context padded to 256; with a window
    /// pad256(min(cells, window + ubatch)). Recurrent layers add their state.
    ///
    /// # Errors
    /// For a cache type whose blocks are not known, or that the rows do not fill.
    pub fn bytes(&self, usage: KvUse<'_>) -> Result<KvBytes, KvError> {
        let mut bytes = KvBytes { k: 0, v: 0, state: self.state_bytes };
        for group in &self.groups {
            let cells = usage.cells(group.window);
            let layers = u64::from(group.layers);
            bytes.k = bytes.k.saturating_add(layers.saturating_mul(group.k_bytes(cells, usage.k)?));
            bytes.v = bytes.v.saturating_add(layers.saturating_mul(group.v_bytes(cells, usage.v)?));
        }
        Ok(bytes)
    }
}
