//! Metadata of a GGUF file: header and key-value pairs, never tensors.
//!
//! Format: <https://github.com/ggml-org/ggml/blob/master/docs/gguf.md>, versions 2 and 3, little-endian.
//! A file may be hostile: every count and length is bounded before anything is read for it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

use super::rope;
use crate::error::{Context, Error, Result};

/// Key-value pairs that a file may have.
const MAX_PAIRS: u64 = 65_536;
/// Bytes of a key (the format's own limit).
const MAX_KEY: u64 = 65_535;
/// Bytes of a text that is kept (chat templates are tens of kilobytes).
const MAX_TEXT: u64 = 4 << 20;
/// Elements of an array.
const MAX_ELEMENTS: u64 = 1 << 24;
/// Elements of an array that is kept (figures of each layer).
const MAX_KEPT: u64 = 4096;
/// Arrays within arrays.
const MAX_DEPTH: u8 = 4;
/// Bytes of all metadata together (large vocabularies take tens of megabytes).
const MAX_BYTES: u64 = 512 << 20;

/// Why a file's metadata could not be read.
#[derive(Debug, thiserror::Error)]
pub enum GgufError {
    /// It does not start with `GGUF`.
    #[error("it does not start with `GGUF`")]
    NotGguf,
    /// A version of the format that is not read here.
    #[error("its format version is {0}; versions 2 and 3 are read")]
    Version(u32),
    /// A count or length beyond any real file's.
    #[error("{what} is {value}, more than {limit}: the file is damaged")]
    TooLarge {
        /// What is counted.
        what: &'static str,
        /// What the file says.
        value: u64,
        /// What is allowed.
        limit: u64,
    },
    /// A value type that the format does not have.
    #[error("it has a value of the unknown type {0}: the file is damaged")]
    Type(u32),
    /// Arrays too deep in arrays.
    #[error("its arrays are nested too deeply: the file is damaged")]
    Nested,
    /// It could not be read to the end of the metadata.
    #[error("it ends within its metadata or cannot be read")]
    Io(#[from] io::Error),
}

/// What a GGUF file says of its model; `None` or empty where it says nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Metadata {
    /// `general.name`.
    pub name: Option<String>,
    /// `general.architecture`, such as `llama`.
    pub architecture: Option<String>,
    /// Context length that it was trained for (tokens).
    pub context_length: Option<u64>,
    /// Context length that the file's rope scaling stretches it to (tokens).
    pub scaled_context: Option<u64>,
    /// Layers.
    pub block_count: Option<u64>,
    /// Width of the embedding.
    pub embedding_length: Option<u64>,
    /// Attention heads: one number for all layers, or one a layer.
    pub head_count: Vec<u64>,
    /// Attention heads of K and V: one number for all layers, or one a layer.
    pub head_count_kv: Vec<u64>,
    /// Width of a K head, when it is not `embedding_length / head_count`.
    pub key_length: Option<u64>,
    /// Width of a V head.
    pub value_length: Option<u64>,
    /// Width of a K head in layers with a sliding window, when it is another one.
    pub key_length_swa: Option<u64>,
    /// Width of a V head in layers with a sliding window.
    pub value_length_swa: Option<u64>,
    /// Tokens that a layer with a sliding window looks back.
    pub sliding_window: Option<u64>,
    /// Which layers have a sliding window: a period (the last layer of each looks at everything), or one
    /// truth value a layer.
    pub sliding_window_pattern: Vec<u64>,
    /// Last layers that use the cache of earlier ones.
    pub shared_kv_layers: Option<u64>,
    /// Rank of a compressed K and V (multi-head latent attention).
    pub kv_lora_rank: Option<u64>,
    /// Width of a K head as the attention sees it, where the cache holds a compressed K and V alone.
    pub key_length_mla: Option<u64>,
    /// Width of a V head as the attention sees it, where the cache holds a compressed K and V alone.
    pub value_length_mla: Option<u64>,
    /// Last layers that predict further tokens (multi-token prediction); `block_count` counts them.
    pub nextn_layers: Option<u64>,
    /// Which layers keep a state in place of K and V: one truth value a layer.
    pub recurrent_layers: Vec<u64>,
    /// Every how manyth layer attends to all tokens, where the others keep a state.
    pub full_attention_interval: Option<u64>,
    /// Width of the keys of an indexer that chooses the tokens to attend to.
    pub indexer_key_length: Option<u64>,
    /// Which layers have an indexer of their own: one truth value a layer.
    pub indexer_types: Vec<u64>,
    /// First layers without experts.
    pub leading_dense: Option<u64>,
    /// Width of the feed-forward network: one number for all layers, or one a layer.
    pub feed_forward: Vec<u64>,
    /// Whether it has recurrent layers of whose state nothing more is known (`config.json` alone).
    pub has_unknown_state: bool,
    /// Width of the state of recurrent layers.
    pub state_size: Option<u64>,
    /// Width of recurrent layers inside.
    pub state_inner_size: Option<u64>,
    /// Groups of the state of recurrent layers.
    pub state_groups: Option<u64>,
    /// Tokens under the convolution of recurrent layers.
    pub conv_kernel: Option<u64>,
    /// Tokens under a short convolution (LFM2).
    pub short_conv: Option<u64>,
    /// Width of a head of the state of RWKV.
    pub wkv_head_size: Option<u64>,
    /// Shifted tokens that RWKV keeps.
    pub token_shift_count: Option<u64>,
    /// Width of a head of delta attention (Kimi).
    pub kda_head_dim: Option<u64>,
    /// `general.file_type`; see [`quant_name`].
    pub file_type: Option<u64>,
    /// Which part of a split model this file is, from 0.
    pub split_no: Option<u64>,
    /// Files that the model is split into.
    pub split_count: Option<u64>,
    /// The chat template.
    pub chat_template: Option<String>,
}

impl Metadata {
    /// The weight quant that most tensors have, such as `Q4_1`, if the number is a known one.
    pub fn weights(&self) -> Option<&'static str> {
        quant_name(self.file_type?)
    }

    fn from_pairs(mut pairs: BTreeMap<String, Kept>) -> Self {
        let mut text = |key: &str| match pairs.remove(key) {
            Some(Kept::Text(text)) => Some(text),
            _ => None,
        };
        let architecture = text("general.architecture");
        let name = text("general.name");
        let chat_template = text("tokenizer.chat_template");
        let prefix = architecture.clone().unwrap_or_default();
        let scaling = text(&format!("{prefix}.rope.scaling.type"));
        let factor = match pairs.get(&format!("{prefix}.rope.scaling.factor")) {
            Some(&Kept::Real(factor)) => Some(factor),
            _ => None,
        };
        let all = |key: &str| match pairs.get(&format!("{prefix}.{key}")) {
            Some(Kept::Numbers(numbers)) => numbers.clone(),
            _ => Vec::new(),
        };
        let one = |key: &str| all(key).first().copied();
        let whole = |key: &str| match pairs.get(key) {
            Some(Kept::Numbers(numbers)) => numbers.first().copied(),
            _ => None,
        };
        Self {
            name,
            context_length: one("context_length"),
            scaled_context: rope::scaled(
                one("context_length"),
                scaling.as_deref(),
                factor,
                one("rope.scaling.original_context_length"),
            ),
            block_count: one("block_count"),
            embedding_length: one("embedding_length"),
            head_count: all("attention.head_count"),
            head_count_kv: all("attention.head_count_kv"),
            key_length: one("attention.key_length"),
            value_length: one("attention.value_length"),
            key_length_swa: one("attention.key_length_swa"),
            value_length_swa: one("attention.value_length_swa"),
            sliding_window: one("attention.sliding_window"),
            sliding_window_pattern: all("attention.sliding_window_pattern"),
            shared_kv_layers: one("attention.shared_kv_layers"),
            kv_lora_rank: one("attention.kv_lora_rank"),
            key_length_mla: one("attention.key_length_mla"),
            value_length_mla: one("attention.value_length_mla"),
            nextn_layers: one("nextn_predict_layers"),
            recurrent_layers: all("attention.recurrent_layers"),
            full_attention_interval: one("full_attention_interval"),
            indexer_key_length: one("attention.indexer.key_length"),
            indexer_types: all("attention.indexer.types"),
            leading_dense: one("leading_dense_block_count"),
            feed_forward: all("feed_forward_length"),
            has_unknown_state: false,
            state_size: one("ssm.state_size"),
            state_inner_size: one("ssm.inner_size"),
            state_groups: one("ssm.group_count"),
            conv_kernel: one("ssm.conv_kernel"),
            short_conv: one("shortconv.l_cache"),
            wkv_head_size: one("wkv.head_size"),
            token_shift_count: one("token_shift_count"),
            kda_head_dim: one("kda.head_dim"),
            file_type: whole("general.file_type"),
            split_no: whole("split.no"),
            split_count: whole("split.count"),
            architecture,
            chat_template,
        }
    }
}

/// `general.file_type` by number (llama.cpp's `llama_ftype`).
const FILE_TYPES: &[(u64, &str)] = &[
    (0, "F32"),
    (1, "F16"),
    (2, "Q4_0"),
    (3, "Q4_1"),
    (7, "Q8_0"),
    (8, "Q5_0"),
    (9, "Q5_1"),
    (10, "Q2_K"),
    (11, "Q3_K_S"),
    (12, "Q3_K_M"),
    (13, "Q3_K_L"),
    (14, "Q4_K_S"),
    (15, "Q4_K_M"),
    (16, "Q5_K_S"),
    (17, "Q5_K_M"),
    (18, "Q6_K"),
    (19, "IQ2_XXS"),
    (20, "IQ2_XS"),
    (21, "Q2_K_S"),
    (22, "IQ3_XS"),
    (23, "IQ3_XXS"),
    (24, "IQ1_S"),
    (25, "IQ4_NL"),
    (26, "IQ3_S"),
    (27, "IQ3_M"),
    (28, "IQ2_S"),
    (29, "IQ2_M"),
    (30, "IQ4_XS"),
    (31, "IQ1_M"),
    (32, "BF16"),
    (36, "TQ1_0"),
    (37, "TQ2_0"),
    (38, "MXFP4"),
];

/// The name of a `general.file_type`.
pub fn quant_name(file_type: u64) -> Option<&'static str> {
    FILE_TYPES.iter().find(|(number, _)| *number == file_type).map(|&(_, name)| name)
}

/// Whether a name is one of a standard quant, in any case of letters.
pub fn is_standard_quant(name: &str) -> bool {
    FILE_TYPES.iter().any(|(_, known)| known.eq_ignore_ascii_case(name))
}

/// Reads a file's metadata.
///
/// # Errors
/// When the file cannot be opened or is no readable GGUF file; the source is a [`GgufError`].
pub fn read(path: &Path) -> Result<Metadata> {
    let file = File::open(path).context(|| format!("cannot open {}", path.display()))?;
    parse(BufReader::with_capacity(1 << 16, file)).map_err(|source| {
        Error::runtime(format!("{} is no readable GGUF file", path.display()))
            .hint("a download may have been cut off: compare its size and SHA-256 with the publisher's")
            .with_source(source)
    })
}

/// Checks that the suite's name for the weights is what the file says.
///
/// Names that are no standard quant (a publisher's own mix) and files that do not say cannot be checked.
///
/// # Errors
/// A usage error with a hint when they differ.
pub fn check_weights(metadata: &Metadata, named: &str, path: &Path) -> Result<()> {
    match metadata.weights() {
        Some(real) if is_standard_quant(named) && !real.eq_ignore_ascii_case(named) => Err(Error::usage(
            format!("the suite calls the weights `{named}`, but {} holds {real}", path.display()),
        )
        .hint(format!("write `weights = \"{real}\"`, or name another file"))),
        _ => Ok(()),
    }
}

/// Reads metadata from the start of a GGUF file.
///
/// # Errors
/// When it is no GGUF file, is damaged, or ends too early.
pub fn parse(reader: impl Read) -> Result<Metadata, GgufError> {
    let mut reader = Reader(reader.take(MAX_BYTES));
    if reader.bytes::<4>()? != *b"GGUF" {
        return Err(GgufError::NotGguf);
    }
    let version = reader.u32()?;
    if !(2..=3).contains(&version) {
        return Err(GgufError::Version(version));
    }
    let _tensors = reader.u64()?;
    let pairs = reader.count("the number of keys", MAX_PAIRS)?;
    let mut kept = BTreeMap::new();
    for _ in 0..pairs {
        let length = reader.count("the length of a key", MAX_KEY)?;
        let key = reader.text(length)?;
        let kind = reader.u32()?;
        let value = reader.value(kind, is_wanted(&key), 0)?;
        if let Some(value) = value {
            kept.insert(key, value);
        }
    }
    Ok(Metadata::from_pairs(kept))
}

/// Keys that [`Metadata`] holds; the architecture in front of some is not known yet.
fn is_wanted(key: &str) -> bool {
    const WHOLE: &[&str] = &[
        "general.name",
        "general.architecture",
        "general.file_type",
        "tokenizer.chat_template",
        "split.no",
        "split.count",
    ];
    const ENDS: &[&str] = &[
        ".context_length",
        ".rope.scaling.type",
        ".rope.scaling.factor",
        ".rope.scaling.original_context_length",
        ".block_count",
        ".embedding_length",
        ".attention.head_count",
        ".attention.head_count_kv",
        ".attention.key_length",
        ".attention.value_length",
        ".attention.key_length_swa",
        ".attention.value_length_swa",
        ".attention.sliding_window",
        ".attention.sliding_window_pattern",
        ".attention.shared_kv_layers",
        ".attention.kv_lora_rank",
        ".attention.key_length_mla",
        ".attention.value_length_mla",
        ".attention.recurrent_layers",
        ".attention.indexer.key_length",
        ".attention.indexer.types",
        ".nextn_predict_layers",
        ".full_attention_interval",
        ".leading_dense_block_count",
        ".feed_forward_length",
        ".ssm.state_size",
        ".ssm.inner_size",
        ".ssm.group_count",
        ".ssm.conv_kernel",
        ".shortconv.l_cache",
        ".wkv.head_size",
        ".token_shift_count",
        ".kda.head_dim",
    ];
    WHOLE.contains(&key) || ENDS.iter().any(|end| key.ends_with(end))
}

/// A value that is kept: a text, whole numbers (one, or an array's), or a real number.
#[derive(Debug, Clone, PartialEq)]
enum Kept {
    Text(String),
    Numbers(Vec<u64>),
    Real(f64),
}

struct Reader<R>(io::Take<R>);

impl<R: Read> Reader<R> {
    fn bytes<const N: usize>(&mut self) -> Result<[u8; N], GgufError> {
        let mut bytes = [0; N];
        self.0.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    fn u32(&mut self) -> Result<u32, GgufError> {
        Ok(u32::from_le_bytes(self.bytes()?))
    }

    fn u64(&mut self) -> Result<u64, GgufError> {
        Ok(u64::from_le_bytes(self.bytes()?))
    }

    fn count(&mut self, what: &'static str, limit: u64) -> Result<u64, GgufError> {
        let value = self.u64()?;
        if value > limit {
            return Err(GgufError::TooLarge { what, value, limit });
        }
        Ok(value)
    }

    /// Memory grows with what is really there, not with what the file promises.
    fn text(&mut self, length: u64) -> Result<String, GgufError> {
        let mut bytes = Vec::new();
        let read = (&mut self.0).take(length).read_to_end(&mut bytes)?;
        if read as u64 != length {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    fn skip(&mut self, length: u64) -> Result<(), GgufError> {
        let skipped = io::copy(&mut (&mut self.0).take(length), &mut io::sink())?;
        if skipped != length {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        Ok(())
    }

    /// Reads a value; keeps it when it is wanted and of a kind that can be kept.
    fn value(&mut self, kind: u32, wanted: bool, depth: u8) -> Result<Option<Kept>, GgufError> {
        match kind {
            STRING => self.string(wanted),
            ARRAY => self.array(wanted, depth),
            FLOAT32 => Ok(Some(Kept::Real(f32::from_le_bytes(self.bytes()?).into())).filter(|_| wanted)),
            FLOAT64 => Ok(Some(Kept::Real(f64::from_le_bytes(self.bytes()?))).filter(|_| wanted)),
            _ => Ok(self.number(kind)?.filter(|_| wanted).map(|n| Kept::Numbers(vec![n]))),
        }
    }

    fn string(&mut self, wanted: bool) -> Result<Option<Kept>, GgufError> {
        if wanted {
            let length = self.count("the length of a text", MAX_TEXT)?;
            return Ok(Some(Kept::Text(self.text(length)?)));
        }
        let length = self.count("the length of a text", MAX_BYTES)?;
        self.skip(length)?;
        Ok(None)
    }

    fn array(&mut self, wanted: bool, depth: u8) -> Result<Option<Kept>, GgufError> {
        if depth >= MAX_DEPTH {
            return Err(GgufError::Nested);
        }
        let kind = self.u32()?;
        let length = self.count("the length of an array", MAX_ELEMENTS)?;
        let mut numbers = Vec::new();
        for _ in 0..length {
            match kind {
                STRING | ARRAY => {
                    self.value(kind, false, depth + 1)?;
                }
                _ => {
                    let number = self.number(kind)?;
                    if wanted && length <= MAX_KEPT {
                        numbers.extend(number);
                    }
                }
            }
        }
        Ok((!numbers.is_empty()).then_some(Kept::Numbers(numbers)))
    }

    /// A number or truth value; `None` for one that is no natural number.
    fn number(&mut self, kind: u32) -> Result<Option<u64>, GgufError> {
        Ok(match kind {
            0 | 7 => Some(u64::from(self.bytes::<1>()?[0])),
            1 => u64::try_from(i8::from_le_bytes(self.bytes()?)).ok(),
            2 => Some(u64::from(u16::from_le_bytes(self.bytes()?))),
            3 => u64::try_from(i16::from_le_bytes(self.bytes()?)).ok(),
            4 => Some(u64::from(self.u32()?)),
            5 => u64::try_from(i32::from_le_bytes(self.bytes()?)).ok(),
            FLOAT32 => {
                self.bytes::<4>()?;
                None
            }
            10 => Some(self.u64()?),
            11 => u64::try_from(i64::from_le_bytes(self.bytes()?)).ok(),
            FLOAT64 => {
                self.bytes::<8>()?;
                None
            }
            unknown => return Err(GgufError::Type(unknown)),
        })
    }
}

/// The format's number for a text.
const STRING: u32 = 8;
/// The format's number for an array.
const ARRAY: u32 = 9;
/// The format's number for a real number of 32 bits.
const FLOAT32: u32 = 6;
/// The format's number for a real number of 64 bits.
const FLOAT64: u32 = 12;

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Adds keys to a GGUF file without tensors.
    pub(in crate::measure::model) struct Builder(Vec<u8>);

    impl Default for Builder {
        fn default() -> Self {
            let mut out = b"GGUF\x03\0\0\0".to_vec();
            out.extend([0; 16]);
            Self(out)
        }
    }

    impl Builder {
        /// Goes on with a file that has no tensors.
        pub(in crate::measure::model) fn of(bytes: Vec<u8>) -> Self {
            Self(bytes)
        }

        pub(in crate::measure::model) fn u16(mut self, key: &str, value: u16) -> Self {
            text(&mut self.0, key);
            self.0.extend(2_u32.to_le_bytes());
            self.0.extend(value.to_le_bytes());
            let pairs = u64::from_le_bytes(self.0[16..24].try_into().unwrap()) + 1;
            self.0[16..24].copy_from_slice(&pairs.to_le_bytes());
            self
        }

        pub(in crate::measure::model) fn bytes(self) -> Vec<u8> {
            self.0
        }
    }

    fn text(out: &mut Vec<u8>, text: &str) {
        out.extend((text.len() as u64).to_le_bytes());
        out.extend(text.as_bytes());
    }

    /// A small GGUF file without tensors.
    pub(in crate::measure::model) fn small(file_type: u32) -> Vec<u8> {
        let mut out = b"GGUF".to_vec();
        out.extend(3_u32.to_le_bytes());
        out.extend(0_u64.to_le_bytes());
        out.extend(8_u64.to_le_bytes());
        for (key, value) in [
            ("general.architecture", "llama"),
            ("general.name", "Tiny"),
            ("tokenizer.chat_template", "{{ messages }}"),
        ] {
            text(&mut out, key);
            out.extend(STRING.to_le_bytes());
            text(&mut out, value);
        }
        for (key, value) in [
            ("llama.context_length", 8192),
            ("llama.attention.head_count", 9),
            ("general.file_type", file_type),
        ] {
            text(&mut out, key);
            out.extend(4_u32.to_le_bytes());
            out.extend(value.to_le_bytes());
        }
        text(&mut out, "llama.attention.head_count_kv");
        out.extend(ARRAY.to_le_bytes());
        out.extend(5_u32.to_le_bytes());
        out.extend(2_u64.to_le_bytes());
        out.extend(3_i32.to_le_bytes());
        out.extend(1_i32.to_le_bytes());
        text(&mut out, "tokenizer.ggml.tokens");
        out.extend(ARRAY.to_le_bytes());
        out.extend(STRING.to_le_bytes());
        out.extend(2_u64.to_le_bytes());
        text(&mut out, "a");
        text(&mut out, "b");
        out
    }

    #[test]
    fn a_small_file_is_read() {
        let metadata = parse(&small(3)[..]).unwrap();
        assert_eq!(metadata.name.as_deref(), Some("Tiny"));
        assert_eq!(metadata.context_length, Some(8192));
        assert_eq!(metadata.head_count, [9]);
        assert_eq!(metadata.head_count_kv, [3, 1]);
        assert_eq!(metadata.weights(), Some("Q4_1"));
        assert_eq!(metadata.chat_template.as_deref(), Some("{{ messages }}"));
    }

    /// A made-up file in the form of one with sliding windows: one number each, and a truth value a layer.
    #[test]
    fn sliding_windows_are_read() {
        let mut out = b"GGUF\x03\0\0\0".to_vec();
        out.extend(0_u64.to_le_bytes());
        out.extend(8_u64.to_le_bytes());
        text(&mut out, "general.architecture");
        out.extend(STRING.to_le_bytes());
        text(&mut out, "windowed");
        for (key, value) in [
            ("windowed.block_count", 4_u32),
            ("windowed.attention.head_count", 8),
            ("windowed.attention.head_count_kv", 2),
            ("windowed.attention.key_length", 128),
            ("windowed.attention.value_length", 64),
            ("windowed.attention.sliding_window", 1024),
        ] {
            text(&mut out, key);
            out.extend(4_u32.to_le_bytes());
            out.extend(value.to_le_bytes());
        }
        text(&mut out, "windowed.attention.sliding_window_pattern");
        out.extend(ARRAY.to_le_bytes());
        out.extend(7_u32.to_le_bytes());
        out.extend(4_u64.to_le_bytes());
        out.extend([1, 1, 1, 0]);
        let metadata = parse(&out[..]).unwrap();
        assert_eq!(metadata.sliding_window_pattern, [1, 1, 1, 0]);
        let shape = crate::record::kv::KvShape::of(&metadata).unwrap();
        let layers: Vec<(u32, u32, u32, Option<u32>)> =
            shape.groups.iter().map(|g| (g.layers, g.k_values, g.v_values, g.window)).collect();
        assert_eq!(layers, [(3, 256, 128, Some(1024)), (1, 256, 128, None)]);
    }

    #[test]
    fn every_truncation_is_an_error() {
        let whole = small(3);
        for length in 0..whole.len() {
            assert!(parse(&whole[..length]).is_err(), "{length}");
        }
    }

    #[test]
    fn promises_of_huge_data_are_refused_before_reading() {
        let with = |pairs: u64, rest: &[u8]| {
            let mut out = b"GGUF\x03\0\0\0".to_vec();
            out.extend(0_u64.to_le_bytes());
            out.extend(pairs.to_le_bytes());
            out.extend(rest);
            out
        };
        assert!(matches!(parse(&with(u64::MAX, &[])[..]), Err(GgufError::TooLarge { .. })));
        assert!(matches!(parse(&with(1, &[0xff; 8])[..]), Err(GgufError::TooLarge { .. })));
        let mut array = Vec::new();
        text(&mut array, "x");
        for _ in 0..8 {
            array.extend(ARRAY.to_le_bytes());
            if array.len() > 13 {
                array.extend(1_u64.to_le_bytes());
            }
        }
        assert!(matches!(parse(&with(1, &array)[..]), Err(GgufError::Nested)));
        assert!(matches!(parse(&b"GGUF\0\0\0\x03"[..]), Err(GgufError::Version(_))));
        assert!(matches!(parse(&b"PK\x03\x04...."[..]), Err(GgufError::NotGguf)));
    }

    #[test]
    fn a_wrong_name_for_the_weights_is_an_error_with_a_hint() {
        let metadata = parse(&small(3)[..]).unwrap();
        let check = |named| check_weights(&metadata, named, Path::new("m.gguf"));
        assert!(check("Q4_1").is_ok() && check("q4_1").is_ok());
        assert!(check("UD-Q4_K_XL").is_ok(), "a publisher's own name cannot be checked");
        let error = check("Q8_0").unwrap_err();
        assert!(error.to_string().contains("holds Q4_1"), "{error}");
        assert!(error.hints()[0].contains("weights = \"Q4_1\""));
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = parse(&bytes[..]);
            let mut framed = b"GGUF\x03\0\0\0".to_vec();
            framed.extend(&bytes);
            let _ = parse(&framed[..]);
        }

        #[test]
        fn a_changed_byte_never_panics(at in 0_usize..300, byte: u8) {
            let mut bytes = small(3);
            let at = at % bytes.len();
            bytes[at] = byte;
            let _ = parse(&bytes[..]);
        }
    }
}
