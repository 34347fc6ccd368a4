//! Reading the header and the key-value pairs.

use std::collections::BTreeMap;
use std::io::{self, Read};

use super::metadata::Metadata;
use crate::measure::model::rope;

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
    Ok(from_pairs(kept))
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
pub(super) const STRING: u32 = 8;
/// The format's number for an array.
pub(super) const ARRAY: u32 = 9;
/// The format's number for a real number of 32 bits.
const FLOAT32: u32 = 6;
/// The format's number for a real number of 64 bits.
const FLOAT64: u32 = 12;

/// What the kept pairs say of the model.
fn from_pairs(mut pairs: BTreeMap<String, Kept>) -> Metadata {
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
    Metadata {
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
