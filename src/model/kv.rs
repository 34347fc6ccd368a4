//! How many bytes the KV cache of a llama.cpp server takes, from the model's GGUF metadata.
//!
//! Every layer keeps `K heads x head width` values a token for K and the same for V, in blocks of the cache
//! type. A layer with a sliding window keeps only the window and one batch. The rules are llama.cpp's (builds
//! of 2026: `llama-context.cpp` pads the context to 256 cells, `llama-kv-cache-iswa.cpp` sizes the cache of
//! windowed layers); other engines allocate in pages and are not described here. `tests/real_kv.rs` compares with
//! what the pinned server reports: to the byte wherever its log of two decimals of a MiB is exact.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::gguf::Metadata;

/// llama.cpp allocates cells in multiples of this.
pub const CELL_PADDING: u64 = 256;

/// llama.cpp's default for `--ubatch-size`: tokens that are computed at once.
pub const DEFAULT_UBATCH: u64 = 512;

/// Layers that a file may claim; real models have fewer than 200.
const MAX_LAYERS: u64 = 4096;

/// What a model's KV cache holds for each token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct KvShape {
    /// Layers that are alike, together; layers that use the cache of others are left out.
    pub groups: Vec<KvGroup>,
}

/// Layers that are alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct KvGroup {
    /// How many.
    pub layers: u32,
    /// Values of K for each token and layer: KV heads x width of a K head.
    pub k_values: u32,
    /// Values of V for each token and layer.
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
}

impl KvBytes {
    /// Both together.
    pub const fn total(self) -> u64 {
        self.k.saturating_add(self.v)
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

/// Architectures whose pattern llama.cpp knows by itself: layers a period, the last of which sees everything.
const PERIODS: &[(&str, u64)] =
    &[("gemma2", 2), ("gemma3", 6), ("gemma3n", 5), ("gpt-oss", 2), ("cohere2", 4), ("afmoe", 4)];

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
    /// The shape that a file's metadata describe.
    ///
    /// # Errors
    /// When they lack something, or when the model keeps more than K and V of each token.
    pub fn of(metadata: &Metadata) -> Result<Self, KvError> {
        if metadata.state_size.is_some() {
            return Err(KvError::NotCovered("it has recurrent layers with a state of their own"));
        }
        if metadata.kv_lora_rank.is_some() {
            return Err(KvError::NotCovered("it caches a compressed K and V"));
        }
        let layers = metadata.block_count.ok_or(KvError::Missing("how many layers it has"))?;
        if layers == 0 || layers > MAX_LAYERS {
            return Err(KvError::Senseless("number of layers"));
        }
        let own = layers.saturating_sub(metadata.shared_kv_layers.unwrap_or_default());
        let windowed = windowed(metadata, layers)?;
        let mut shape = Self { groups: Vec::new() };
        for (layer, window) in windowed.into_iter().take(own as usize).enumerate() {
            if let Some(group) = one_layer(metadata, layer, window)? {
                shape.add(group);
            }
        }
        Ok(shape)
    }

    fn add(&mut self, layer: KvGroup) {
        let alike = |group: &&mut KvGroup| KvGroup { layers: 1, ..**group } == layer;
        match self.groups.iter_mut().find(alike) {
            Some(group) => group.layers += 1,
            None => self.groups.push(layer),
        }
    }

    /// Bytes of the cache of one slot.
    ///
    /// Formula: for each layer cells x row, cells = context padded to 256; with a window
    /// pad256(min(cells, window + ubatch)).
    ///
    /// # Errors
    /// For a cache type whose blocks are not known, or that the rows do not fill.
    pub fn bytes(&self, usage: KvUse<'_>) -> Result<KvBytes, KvError> {
        let cells = u64::from(usage.context).next_multiple_of(CELL_PADDING);
        let mut bytes = KvBytes { k: 0, v: 0 };
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

/// The cache of one layer; `None` when it has no K heads.
fn one_layer(metadata: &Metadata, layer: usize, window: Option<u32>) -> Result<Option<KvGroup>, KvError> {
    let heads = at(&metadata.head_count, layer).ok_or(KvError::Missing("how many heads it has"))?;
    let kv_heads = at(&metadata.head_count_kv, layer).unwrap_or(heads);
    if kv_heads == 0 {
        return Ok(None);
    }
    let width = |length: Option<u64>, windowed: Option<u64>| {
        let own = windowed.filter(|_| window.is_some()).or(length);
        let shared =
            || Some(metadata.embedding_length? / at(&metadata.head_count, layer).filter(|n| *n > 0)?);
        own.or_else(shared).ok_or(KvError::Missing("how wide its heads are"))
    };
    let values = |width: u64| {
        let product = kv_heads.checked_mul(width).and_then(|values| u32::try_from(values).ok());
        product.filter(|values| *values > 0).ok_or(KvError::Senseless("width of the heads"))
    };
    Ok(Some(KvGroup {
        layers: 1,
        k_values: values(width(metadata.key_length, metadata.key_length_swa)?)?,
        v_values: values(width(metadata.value_length, metadata.value_length_swa)?)?,
        window,
    }))
}

/// A figure of a layer: one for all, or one each.
fn at(figures: &[u64], layer: usize) -> Option<u64> {
    if figures.len() == 1 { figures.first().copied() } else { figures.get(layer).copied() }
}

/// The window of each layer; `None` for a layer that sees everything.
fn windowed(metadata: &Metadata, layers: u64) -> Result<Vec<Option<u32>>, KvError> {
    let Some(window) = metadata.sliding_window.filter(|window| *window > 0) else {
        return Ok(vec![None; layers as usize]);
    };
    let window = u32::try_from(window).map_err(|_| KvError::Senseless("sliding window"))?;
    let architecture = metadata.architecture.as_deref().unwrap_or_default();
    let known = || PERIODS.iter().find(|(name, _)| *name == architecture).map(|&(_, period)| period);
    let slides: Vec<bool> = match metadata.sliding_window_pattern.as_slice() {
        [] => periodic(known().ok_or_else(|| KvError::Pattern(architecture.to_owned()))?, layers),
        [period] => periodic(*period, layers),
        each if each.len() as u64 >= layers => each.iter().map(|slides| *slides != 0).collect(),
        _ => return Err(KvError::Senseless("pattern of sliding windows")),
    };
    Ok(slides.into_iter().map(|slides| slides.then_some(window)).collect())
}

/// The last layer of each period sees everything; a period of 0 means that none does.
fn periodic(period: u64, layers: u64) -> Vec<bool> {
    (0..layers).map(|layer| period == 0 || layer % period < period - 1).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MIB: f64 = 1024.0 * 1024.0;

    /// The metadata of SmolLM2-135M-Instruct's GGUF file.
    fn smollm2() -> Metadata {
        Metadata {
            architecture: Some("llama".into()),
            block_count: Some(30),
            embedding_length: Some(576),
            head_count: vec![9],
            head_count_kv: vec![3],
            ..Metadata::default()
        }
    }

    /// The metadata of Qwen2.5-Coder-0.5B-Instruct's GGUF file.
    fn qwen() -> Metadata {
        Metadata {
            architecture: Some("qwen2".into()),
            block_count: Some(24),
            embedding_length: Some(896),
            head_count: vec![14],
            head_count_kv: vec![2],
            ..Metadata::default()
        }
    }

    /// Made-up metadata in the form of a Gemma 3 file with 26 layers.
    fn gemma_like() -> Metadata {
        Metadata {
            architecture: Some("gemma3".into()),
            block_count: Some(26),
            embedding_length: Some(1152),
            head_count: vec![4],
            head_count_kv: vec![1],
            key_length: Some(256),
            value_length: Some(256),
            sliding_window: Some(512),
            ..Metadata::default()
        }
    }

    fn bytes(metadata: &Metadata, context: u32, k: &str, v: &str) -> KvBytes {
        KvShape::of(metadata).unwrap().bytes(KvUse::new(context, k, v)).unwrap()
    }

    /// The log has two decimals of a MiB: the true figure lies within half of the last one.
    fn assert_logged(bytes: u64, logged_mib: f64) {
        let off = (bytes as f64 / MIB - logged_mib).abs();
        assert!(off <= 0.005 + 1e-9, "{bytes} bytes are not the {logged_mib} MiB of the log");
    }

    #[test]
    fn smollm2_takes_what_llama_server_logs() {
        // `llama_kv_cache: size = ..` of build 10068; 2048 tokens: tests/fixtures/llama-server-b10068, the
        // others: the journal of reports/quickstart.
        for (context, k, v, k_mib, v_mib) in [
            (512, "f16", "f16", 5.62, 5.62),
            (1024, "f16", "f16", 11.25, 11.25),
            (2048, "f16", "f16", 22.50, 22.50),
            (512, "q8_0", "q8_0", 2.99, 2.99),
            (1024, "q8_0", "q8_0", 5.98, 5.98),
            (512, "q4_0", "q4_0", 1.58, 1.58),
            (1024, "q4_0", "q4_0", 3.16, 3.16),
            (2048, "q8_0", "q4_0", 11.95, 6.33),
        ] {
            let bytes = bytes(&smollm2(), context, k, v);
            assert_logged(bytes.k, k_mib);
            assert_logged(bytes.v, v_mib);
        }
        // To the byte where the MiB are whole quarters.
        assert_eq!(bytes(&smollm2(), 2048, "f16", "f16"), KvBytes { k: 23_592_960, v: 23_592_960 });
    }

    #[test]
    fn qwen_coder_takes_what_its_metadata_say() {
        // V in q8_0 at 8192 tokens: 25.50 MiB in a log of ik_llama.cpp; the others are by formula alone.
        assert_logged(bytes(&qwen(), 8192, "f16", "q8_0").v, 25.50);
        assert_eq!(bytes(&qwen(), 8192, "f16", "q8_0").v, 26_738_688);
        assert_eq!(bytes(&qwen(), 2048, "f16", "f16").total(), 2 * 24 * 128 * 2048 * 2);
        assert_eq!(bytes(&qwen(), 2048, "q4_0", "q4_0").total(), 2 * 24 * 2048 * (128 / 32 * 18));
    }

    #[test]
    fn windowed_layers_keep_the_window_and_one_batch() {
        // 26 layers, every sixth sees everything: 4 do. The real server does the same (tests/real_kv.rs).
        let shape = KvShape::of(&gemma_like()).unwrap();
        let layers = |window| shape.groups.iter().find(|g| g.window == window).map(|g| g.layers);
        assert_eq!((layers(None), layers(Some(512))), (Some(4), Some(22)));
        let row = 256 * 2;
        let f16 = |context| shape.bytes(KvUse::new(context, "f16", "f16")).unwrap().k;
        assert_eq!(f16(32_768), 4 * 32_768 * row + 22 * 1024 * row);
        assert_eq!(f16(512), 26 * 512 * row, "a context shorter than the window is no larger for it");
        let full = KvUse { full_window: true, ..KvUse::new(32_768, "f16", "f16") };
        assert_eq!(shape.bytes(full).unwrap().k, 26 * 32_768 * row);
        let odd = KvUse { ubatch: 100, ..KvUse::new(32_768, "q8_0", "q8_0") };
        let q8 = 256 / 32 * 34;
        assert_eq!(shape.bytes(odd).unwrap().k, 4 * 32_768 * q8 + 22 * 768 * q8, "512 + 100, padded");
    }

    #[test]
    fn cells_are_padded() {
        let at = |context| bytes(&qwen(), context, "f16", "f16").k;
        assert_eq!(at(1000), at(1024));
        assert_eq!(at(1), at(256));
        assert!(at(1025) > at(1024));
    }

    #[test]
    fn a_pattern_in_the_file_comes_before_what_is_known_of_the_architecture() {
        let mut metadata = gemma_like();
        metadata.sliding_window_pattern = vec![2];
        let windows = |metadata: &Metadata| {
            let shape = KvShape::of(metadata).unwrap();
            shape.groups.iter().filter(|g| g.window.is_some()).map(|g| g.layers).sum::<u32>()
        };
        assert_eq!(windows(&metadata), 13);
        metadata.sliding_window_pattern = (0..26).map(|layer| u64::from(layer != 0)).collect();
        assert_eq!(windows(&metadata), 25);
        metadata.shared_kv_layers = Some(10);
        assert_eq!(windows(&metadata), 15, "the last ten use the cache of others");
    }

    #[test]
    fn what_is_not_known_is_said() {
        let mut unknown = gemma_like();
        unknown.architecture = Some("newmodel".into());
        assert_eq!(KvShape::of(&unknown), Err(KvError::Pattern("newmodel".into())));
        let recurrent = Metadata { state_size: Some(128), ..smollm2() };
        assert!(matches!(KvShape::of(&recurrent), Err(KvError::NotCovered(_))));
        let latent = Metadata { kv_lora_rank: Some(512), ..smollm2() };
        assert!(matches!(KvShape::of(&latent), Err(KvError::NotCovered(_))));
        assert!(matches!(KvShape::of(&Metadata::default()), Err(KvError::Missing(_))));
        assert_eq!(row_bytes(64, "q9_9"), Err(KvError::Type("q9_9".into())));
        assert!(matches!(row_bytes(40, "q8_0"), Err(KvError::Row { .. })));
    }

    #[test]
    fn layers_without_kv_heads_take_nothing() {
        let mut hybrid = qwen();
        hybrid.head_count_kv = (0..24).map(|layer| if layer % 4 == 3 { 2 } else { 0 }).collect();
        let shape = KvShape::of(&hybrid).unwrap();
        assert_eq!(shape.groups, [KvGroup { layers: 6, k_values: 128, v_values: 128, window: None }]);
    }

    proptest! {
        #[test]
        fn no_metadata_make_it_panic(
            layers in any::<u64>(), heads in proptest::collection::vec(any::<u64>(), 0..4),
            kv in proptest::collection::vec(any::<u64>(), 0..4), width in any::<Option<u64>>(),
            embedding in any::<Option<u64>>(), window in any::<Option<u64>>(),
            pattern in proptest::collection::vec(any::<u64>(), 0..3), shared in any::<Option<u64>>(),
            context: u32,
        ) {
            let metadata = Metadata {
                block_count: Some(layers % 5000),
                head_count: heads,
                head_count_kv: kv,
                key_length: width,
                embedding_length: embedding,
                sliding_window: window,
                sliding_window_pattern: pattern,
                shared_kv_layers: shared,
                ..Metadata::default()
            };
            if let Ok(shape) = KvShape::of(&metadata) {
                let _ = shape.bytes(KvUse::new(context, "f16", "q8_0"));
            }
        }

        #[test]
        fn more_context_never_takes_less(context in 1_u32..200_000, more in 0_u32..50_000) {
            let shape = KvShape::of(&gemma_like()).unwrap();
            let at = |context| shape.bytes(KvUse::new(context, "q8_0", "q4_0")).unwrap().total();
            prop_assert!(at(context) <= at(context + more));
        }
    }
}
