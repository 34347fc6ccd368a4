//! What each layer of a model keeps, by llama.cpp's rules for its architecture.
//!
//! A file's metadata do not say everything: windows, periods and which layers are recurrent partly stand in llama.cpp's
//! code alone (`src/models/*.cpp`, `load_arch_hparams`; `llama_model::create_memory` chooses the kind of cache;
//! `llama_hparams::n_embd_r` and `n_embd_s` size a recurrent state). What is not listed here is not guessed at.

use super::super::gguf::Metadata;
use crate::record::kv::{KvError, KvGroup, KvShape};

/// Layers that a file may claim; real models have fewer than 200.
const MAX_LAYERS: u64 = 4096;
/// Bytes of a value of a recurrent state (f32).
const STATE_VALUE: u64 = 4;
/// Why a model of an architecture without rules is not covered.
const STATE: &str = "it has recurrent layers with a state of their own";

/// The shape that a file's metadata describe.
pub(super) fn shape(metadata: &Metadata) -> Result<KvShape, KvError> {
    let model = Model::of(metadata)?;
    let windows = model.windows()?;
    let recurrent = model.recurrent()?;
    let mut shape = KvShape::default();
    for (layer, window) in windows.into_iter().take(model.layers).enumerate() {
        if recurrent.attends(layer) {
            let group = model.attention(layer, window)?;
            group.into_iter().chain(model.indexer(layer)?).for_each(|group| shape.add(group));
        }
        if recurrent.has_state(layer) {
            shape.state_bytes = shape.state_bytes.saturating_add(model.state_bytes()?);
        }
    }
    Ok(shape)
}

/// The cache of the layers that only predict further tokens, when they draft; `None` for a model without any.
pub(super) fn prediction(metadata: &Metadata) -> Result<Option<KvShape>, KvError> {
    let model = Model::of(metadata)?;
    let all = metadata.block_count.unwrap_or_default();
    let Some(count) = metadata.nextn_layers.filter(|count| (1..all).contains(count)) else {
        return Ok(None);
    };
    let mut shape = KvShape::default();
    for layer in all - count..all {
        model.attention(layer as usize, None)?.into_iter().for_each(|group| shape.add(group));
    }
    Ok(Some(shape))
}

/// Whether an architecture has a rule here.
pub(super) fn names(architecture: &str) -> bool {
    let windowed = WINDOWED.iter().any(|family| family.name == architecture);
    let recurrent = RECURRENT.iter().any(|(name, _)| *name == architecture);
    windowed || recurrent || UNWINDOWED.contains(&architecture)
}

/// A model's metadata, and how many of its layers have a cache of their own.
struct Model<'a> {
    metadata: &'a Metadata,
    architecture: &'a str,
    layers: usize,
}

impl<'a> Model<'a> {
    fn of(metadata: &'a Metadata) -> Result<Self, KvError> {
        let all = metadata.block_count.ok_or(KvError::Missing("how many layers it has"))?;
        if all == 0 || all > MAX_LAYERS {
            return Err(KvError::Senseless("number of layers"));
        }
        let architecture = metadata.architecture.as_deref().unwrap_or_default();
        if metadata.has_unknown_state {
            return Err(KvError::NotCovered(STATE));
        }
        if architecture == "deepseek4" {
            return Err(KvError::NotCovered("it keeps caches of several degrees of compression"));
        }
        // Layers that predict further tokens have no cache but in a context of their own. A file of nothing but them
        // is a draft model.
        let trunk = all - metadata.nextn_layers.filter(|nextn| *nextn < all).unwrap_or_default();
        let own = match (metadata.shared_kv_layers, architecture) {
            // llama.cpp has this number in its code.
            (None, "gemma3n") => trunk.min(20),
            (shared, _) => trunk.saturating_sub(shared.unwrap_or_default()),
        };
        Ok(Self { metadata, architecture, layers: own as usize })
    }

    /// K and V of a layer that attends; `None` when it has no K heads.
    fn attention(&self, layer: usize, window: Option<u32>) -> Result<Option<KvGroup>, KvError> {
        let metadata = self.metadata;
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
        let k_values = values(kv_heads, width(metadata.key_length, metadata.key_length_swa)?)?;
        let v_values = if self.is_latent()? {
            0
        } else {
            values(kv_heads, width(metadata.value_length, metadata.value_length_swa)?)?
        };
        let k_heads = u32::try_from(kv_heads).map_err(|_| KvError::Senseless("number of heads"))?;
        Ok(Some(KvGroup { layers: 1, k_values, v_values, k_heads, window }))
    }

    /// Whether only the compressed K and V are kept, as one. Files from before that was possible hold the ranks, too,
    /// and are cached in full.
    fn is_latent(&self) -> Result<bool, KvError> {
        let widths = [self.metadata.key_length_mla, self.metadata.value_length_mla];
        if widths.iter().all(|width| width.is_some_and(|width| width > 0)) {
            return Ok(true);
        }
        match self.metadata.kv_lora_rank {
            Some(_) if !["deepseek2", "minicpm3", "plm"].contains(&self.architecture) => {
                Err(KvError::NotCovered("it caches a compressed K and V"))
            }
            _ => Ok(false),
        }
    }

    /// The keys of a layer's indexer (sparse attention); `None` without one.
    fn indexer(&self, layer: usize) -> Result<Option<KvGroup>, KvError> {
        let Some(width) = self.metadata.indexer_key_length.filter(|width| *width > 0) else {
            return Ok(None);
        };
        let group = |v_values| {
            Ok(Some(KvGroup { layers: 1, k_values: values(1, width)?, v_values, k_heads: 1, window: None }))
        };
        match self.architecture {
            "deepseek32" => group(0),
            "glm-dsa" if self.has_own_indexer(layer) => group(0),
            "glm-dsa" => Ok(None),
            // Its indexer's cache is an ordinary one of one head.
            "minimax-m3" if layer as u64 >= self.metadata.leading_dense.unwrap_or_default() => {
                group(values(1, self.metadata.value_length.unwrap_or(width))?)
            }
            "minimax-m3" => Ok(None),
            _ => Err(KvError::NotCovered("it caches the keys of an indexer")),
        }
    }

    /// Of GLM-5: as the file says; by itself every layer up to GLM-5.1, and after that (trained for a million tokens)
    /// the first two and every fourth.
    fn has_own_indexer(&self, layer: usize) -> bool {
        match at(&self.metadata.indexer_types, layer) {
            Some(own) => own != 0,
            None if self.metadata.context_length < Some(1 << 20) => true,
            None => layer < 2 || layer % 4 == 2,
        }
    }

    /// The window of each layer; `None` for a layer that sees everything.
    fn windows(&self) -> Result<Vec<Option<u32>>, KvError> {
        let family = WINDOWED.iter().find(|family| family.name == self.architecture);
        let named = self.metadata.sliding_window;
        let width = match family.map(|family| family.width) {
            Some(Width::Or(width)) => named.or(Some(width)),
            Some(Width::Always(width)) => named.filter(|named| *named > 0).and(Some(width)),
            Some(Width::UnlessZero(width)) => named.is_none_or(|named| named > 0).then_some(width),
            Some(Width::Named) | None => named,
        };
        let is_small_exaone = self.architecture == "exaone4" && self.layers != 64;
        let Some(width) = width.filter(|width| *width > 0 && !is_small_exaone) else {
            return Ok(vec![None; self.layers]);
        };
        let width = u32::try_from(width).map_err(|_| KvError::Senseless("sliding window"))?;
        let slides: Vec<bool> = match self.metadata.sliding_window_pattern.as_slice() {
            [] if UNWINDOWED.contains(&self.architecture) => vec![false; self.layers],
            [] => match family {
                Some(family) => family.slides(self.layers),
                None => return Err(KvError::Pattern(self.architecture.to_owned())),
            },
            [period] => periodic(*period, family.is_some_and(|family| family.full_first), self.layers),
            each if each.len() >= self.layers => each.iter().map(|slides| *slides != 0).collect(),
            _ => return Err(KvError::Senseless("pattern of sliding windows")),
        };
        Ok(slides.into_iter().map(|slides| slides.then_some(width)).collect())
    }

    /// Which layers keep a state, beside or in place of K and V.
    fn recurrent(&self) -> Result<Recurrent, KvError> {
        let metadata = self.metadata;
        let rule = RECURRENT.iter().find(|(name, _)| *name == self.architecture).map(|&(_, rule)| rule);
        let without_kv_heads = |layer: usize| at(&metadata.head_count_kv, layer) == Some(0);
        let by = |is_recurrent: &dyn Fn(usize) -> bool| {
            Recurrent::InPlace((0..self.layers).map(is_recurrent).collect())
        };
        Ok(match rule {
            Some(Rule::All) => by(&|_| true),
            Some(Rule::Beside) => Recurrent::Beside,
            Some(Rule::WithoutKvHeads) => by(&without_kv_heads),
            Some(Rule::WithoutKvHeadsAndNetwork) => by(&|layer| {
                without_kv_heads(layer) && at(&metadata.feed_forward, layer).unwrap_or_default() == 0
            }),
            Some(Rule::Interval(usual)) => match metadata.recurrent_layers.as_slice() {
                [] => {
                    let interval = metadata.full_attention_interval.unwrap_or(usual);
                    let interval = Some(interval)
                        .filter(|n| *n > 0)
                        .ok_or(KvError::Senseless("interval of full attention"))?;
                    by(&|layer| !(layer as u64 + 1).is_multiple_of(interval))
                }
                each => by(&|layer| at(each, layer).unwrap_or_default() != 0),
            },
            None if self.has_keys_of_a_state() => {
                return Err(KvError::NotCovered(STATE));
            }
            None => Recurrent::None,
        })
    }

    fn has_keys_of_a_state(&self) -> bool {
        let metadata = self.metadata;
        let keys = [metadata.state_size, metadata.wkv_head_size, metadata.kda_head_dim, metadata.short_conv];
        keys.iter().any(Option::is_some) || !metadata.recurrent_layers.is_empty()
    }

    /// State of one recurrent layer (bytes).
    ///
    /// Formula: `llama_hparams::n_embd_r` (what convolutions or token shifts look back at) and `n_embd_s` (the state).
    fn state_bytes(&self) -> Result<u64, KvError> {
        let metadata = self.metadata;
        let embedding = || metadata.embedding_length.ok_or(KvError::Missing("how wide its embedding is"));
        let heads = || at(&metadata.head_count, 0).ok_or(KvError::Missing("how many heads it has"));
        let product = |factors: &[u64]| factors.iter().fold(1_u64, |product, n| product.saturating_mul(*n));
        let values = if let Some(width) = metadata.wkv_head_size {
            let shifted = metadata.token_shift_count.unwrap_or(2);
            product(&[shifted, embedding()?]).saturating_add(product(&[embedding()?, width]))
        } else if let Some(tokens) = metadata.short_conv {
            product(&[embedding()?, tokens.saturating_sub(1)])
        } else if let Some(width) = metadata.kda_head_dim {
            let looked_back = metadata.conv_kernel.map_or(3, |kernel| kernel.saturating_sub(1));
            product(&[3, looked_back, heads()?, width]).saturating_add(product(&[width, width, heads()?]))
        } else if self.architecture == "minimax-01" {
            let width = metadata.key_length.ok_or(KvError::Missing("how wide its heads are"))?;
            product(&[width, width, heads()?])
        } else {
            let (Some(state), Some(inner)) = (metadata.state_size, metadata.state_inner_size) else {
                return Err(KvError::Missing("how wide the state of its recurrent layers is"));
            };
            let groups = metadata.state_groups.unwrap_or_default();
            let convolved = inner.saturating_add(product(&[2, groups, state]));
            let looked_back = metadata.conv_kernel.unwrap_or_default().saturating_sub(1);
            product(&[looked_back, convolved]).saturating_add(product(&[state, inner]))
        };
        Ok(values.saturating_mul(STATE_VALUE))
    }
}

/// A figure of a layer: one for all, or one each.
fn at(figures: &[u64], layer: usize) -> Option<u64> {
    if figures.len() == 1 { figures.first().copied() } else { figures.get(layer).copied() }
}

/// Values of so many heads of a width.
fn values(heads: u64, width: u64) -> Result<u32, KvError> {
    let product = heads.checked_mul(width).and_then(|values| u32::try_from(values).ok());
    product.filter(|values| *values > 0).ok_or(KvError::Senseless("width of the heads"))
}

/// Which layers keep a state.
enum Recurrent {
    None,
    /// Every layer attends and keeps a state.
    Beside,
    /// These keep a state in place of K and V.
    InPlace(Vec<bool>),
}

impl Recurrent {
    fn has_state(&self, layer: usize) -> bool {
        match self {
            Self::None => false,
            Self::Beside => true,
            Self::InPlace(layers) => layers[layer],
        }
    }

    fn attends(&self, layer: usize) -> bool {
        matches!(self, Self::Beside) || !self.has_state(layer)
    }
}

/// How llama.cpp tells which layers are recurrent.
#[derive(Debug, Clone, Copy)]
enum Rule {
    /// All of them.
    All,
    /// All of them, and they attend, too.
    Beside,
    /// Those without heads of K and V.
    WithoutKvHeads,
    /// Those without heads of K and V and without a feed-forward network.
    WithoutKvHeadsAndNetwork,
    /// All but every so manyth, unless the file says.
    Interval(u64),
}

const RECURRENT: &[(&str, Rule)] = &[
    ("mamba", Rule::All),
    ("mamba2", Rule::All),
    ("rwkv6", Rule::All),
    ("rwkv6qwen2", Rule::All),
    ("rwkv7", Rule::All),
    ("arwkv7", Rule::All),
    ("falcon-h1", Rule::Beside),
    ("jamba", Rule::WithoutKvHeads),
    ("granitehybrid", Rule::WithoutKvHeads),
    ("lfm2", Rule::WithoutKvHeads),
    ("lfm2moe", Rule::WithoutKvHeads),
    ("plamo2", Rule::WithoutKvHeads),
    ("kimi-linear", Rule::WithoutKvHeads),
    ("nemotron_h", Rule::WithoutKvHeadsAndNetwork),
    ("nemotron_h_moe", Rule::WithoutKvHeadsAndNetwork),
    ("qwen3next", Rule::Interval(4)),
    ("qwen35", Rule::Interval(4)),
    ("qwen35moe", Rule::Interval(4)),
    ("minimax-01", Rule::Interval(8)),
];

/// How wide a family's windows are (tokens).
#[derive(Debug, Clone, Copy)]
enum Width {
    /// As the file says; none without.
    Named,
    /// As the file says, else this.
    Or(u64),
    /// This where the file names any.
    Always(u64),
    /// This, also where the file says nothing; none where it says 0.
    UnlessZero(u64),
}

/// An architecture some of whose layers look back over a window.
struct Family {
    name: &'static str,
    /// One layer of so many sees everything; 0: none does.
    period: u64,
    /// It is the first of them, not the last.
    full_first: bool,
    width: Width,
}

impl Family {
    fn slides(&self, layers: usize) -> Vec<bool> {
        periodic(self.period, self.full_first, layers)
    }
}

const fn windowed(name: &'static str, period: u64, width: Width) -> Family {
    Family { name, period, full_first: false, width }
}

const fn full_first(name: &'static str, period: u64, width: Width) -> Family {
    Family { name, period, full_first: true, width }
}

/// Those whose pattern llama.cpp knows by itself. Llama 4's windows are chunks: a token sees back to the start of its
/// own, and the cache is as large as for any window.
const WINDOWED: &[Family] = &[
    windowed("afmoe", 4, Width::Named),
    windowed("cohere2", 4, Width::Named),
    full_first("cohere2moe", 4, Width::Named),
    windowed("exaone-moe", 4, Width::Or(128)),
    windowed("exaone4", 4, Width::Or(4096)),
    windowed("gemma2", 2, Width::Or(4096)),
    windowed("gemma3", 6, Width::Named),
    windowed("gemma3n", 5, Width::Named),
    windowed("gpt-oss", 2, Width::Named),
    full_first("laguna", 4, Width::Named),
    windowed("lfm2", 0, Width::Named),
    windowed("llama4", 4, Width::UnlessZero(8192)),
    windowed("mellum", 4, Width::Named),
    windowed("muse-glimmer", 4, Width::Named),
    windowed("olmo2", 4, Width::Named),
    windowed("plamo3", 8, Width::Named),
    full_first("smallthinker", 4, Width::Always(4096)),
];

/// Those whose files may name a window that llama.cpp does not use.
const UNWINDOWED: &[&str] = &[
    "deepseek2",
    "glm4",
    "granite",
    "llama",
    "mistral3",
    "mistral4",
    "phi3",
    "phimoe",
    "qwen2",
    "qwen2moe",
    "qwen3",
    "qwen3moe",
    "smollm3",
    "starcoder2",
];

/// The last layer of each period (or the first) sees everything; a period of 0 means that none does.
fn periodic(period: u64, full_first: bool, layers: usize) -> Vec<bool> {
    let full = if full_first { 0 } else { period.saturating_sub(1) };
    (0..layers as u64).map(|layer| period == 0 || layer % period != full).collect()
}
