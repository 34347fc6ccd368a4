//! Reading the header: the key-value pairs, and what tensors there are.

use std::collections::BTreeMap;
use std::io::{self, Read};

use sha2::{Digest, Sha256};

use super::metadata::Metadata;
use super::source::{Source, Stream};
use super::tensors::{Tensor, Tensors};
use crate::measure::model::rope;
use crate::record::{Tokenizer, hex};

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
/// Texts in an array that is worth knowing the length of.
const LONG: u64 = 1024;
/// Tensors that a file may have.
const MAX_TENSORS: u64 = 1 << 20;
/// Dimensions of a tensor (ggml has four).
const MAX_DIMENSIONS: u32 = 8;
/// Where tensors begin, in multiples of bytes, when the file does not say.
const ALIGNMENT: u64 = 32;
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
    let known = Arrays::new();
    let mut reader = Reader::new(Stream(reader), &known);
    reader.start()?;
    reader.metadata()
}

/// What a file says before its tensors' values begin.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Header {
    /// The key-value pairs.
    pub metadata: Metadata,
    /// The tensors.
    pub tensors: Tensors,
    /// Long arrays of texts that were read or passed over.
    pub arrays: Arrays,
}

/// Long arrays of texts by their key: how many texts, and how many bytes they take.
///
/// Quants of one model have the same vocabulary. Where it is known from one file, it can be passed over in the next
/// instead of being fetched; whoever does so checks that the header ends where the file's size says.
pub type Arrays = BTreeMap<String, (u64, u64)>;

/// Reads metadata and tensors from the start of a GGUF file, passing over the arrays that are known.
///
/// # Errors
/// When it is no GGUF file, is damaged, or ends too early.
pub fn parse_header(source: impl Source, known: &Arrays) -> Result<Header, GgufError> {
    let mut reader = Reader::new(source, known);
    let count = reader.start()?;
    let metadata = reader.metadata()?;
    let infos = (0..count).map(|_| reader.tensor()).collect::<Result<Vec<_>, _>>()?;
    let alignment = metadata.alignment.unwrap_or(ALIGNMENT).max(1);
    let start = reader.at.checked_next_multiple_of(alignment).unwrap_or(u64::MAX);
    Ok(Header { metadata, tensors: Tensors::new(start, infos), arrays: reader.arrays })
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
        "general.alignment",
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
        ".expert_feed_forward_length",
        ".expert_used_count",
        ".embedding_length_per_layer_input",
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

pub(super) struct Reader<'a, S> {
    source: S,
    /// Bytes that were read or passed over.
    at: u64,
    known: &'a Arrays,
    arrays: Arrays,
    /// Takes the vocabulary in, where somebody wants to know it.
    tokenizer: Option<&'a mut Tokenizer>,
}

/// Arrays whose texts make a vocabulary.
const VOCABULARY: &[&str] = &["tokenizer.ggml.tokens", "tokenizer.ggml.merges"];
/// Names of the tokenizer's parts.
const TOKENIZER_NAMES: &[&str] = &["tokenizer.ggml.model", "tokenizer.ggml.pre"];

/// Reads the tokenizer from the start of a GGUF file; `None` where it has none.
///
/// # Errors
/// As [`parse`].
pub fn parse_tokenizer(reader: impl Read) -> Result<Option<Tokenizer>, GgufError> {
    let known = Arrays::new();
    let mut tokenizer = Tokenizer::default();
    let mut reader = Reader::new(Stream(reader), &known);
    reader.tokenizer = Some(&mut tokenizer);
    reader.start()?;
    reader.metadata()?;
    Ok(Some(tokenizer).filter(|tokenizer| tokenizer.tokens > 0))
}

impl<'a, S: Source> Reader<'a, S> {
    pub(super) fn new(source: S, known: &'a Arrays) -> Self {
        Self { source, at: 0, known, arrays: Arrays::new(), tokenizer: None }
    }

    /// Reads up to the first key; returns how many tensors there are.
    pub(super) fn start(&mut self) -> Result<u64, GgufError> {
        if self.bytes::<4>()? != *b"GGUF" {
            return Err(GgufError::NotGguf);
        }
        let version = self.u32()?;
        if !(2..=3).contains(&version) {
            return Err(GgufError::Version(version));
        }
        self.count("the number of tensors", MAX_TENSORS)
    }

    /// How many keys follow.
    pub(super) fn pairs(&mut self) -> Result<u64, GgufError> {
        self.count("the number of keys", MAX_PAIRS)
    }

    /// The next key, and the type of its value.
    pub(super) fn key(&mut self) -> Result<(String, u32), GgufError> {
        let length = self.count("the length of a key", MAX_KEY)?;
        Ok((self.text(length)?, self.u32()?))
    }

    /// A text as a whole.
    pub(super) fn whole_text(&mut self) -> Result<String, GgufError> {
        let length = self.count("the length of a text", MAX_TEXT)?;
        self.text(length)
    }

    /// All texts of an array.
    pub(super) fn whole_texts(&mut self) -> Result<Vec<String>, GgufError> {
        match self.elements()? {
            (STRING, length) => (0..length).map(|_| self.whole_text()).collect(),
            (other, _) => Err(GgufError::Type(other)),
        }
    }

    /// All numbers of an array.
    pub(super) fn whole_numbers(&mut self) -> Result<Vec<u64>, GgufError> {
        let (kind, length) = self.elements()?;
        Ok((0..length)
            .map(|_| self.number(kind))
            .collect::<Result<Vec<_>, _>>()?
            .into_iter()
            .flatten()
            .collect())
    }

    /// The type of an array's elements, and how many there are.
    fn elements(&mut self) -> Result<(u32, u64), GgufError> {
        let kind = self.u32()?;
        Ok((kind, self.count("the length of an array", MAX_ELEMENTS)?))
    }

    /// Passes over a value.
    pub(super) fn pass_over(&mut self, kind: u32) -> Result<(), GgufError> {
        self.value(kind, false, 0).map(drop)
    }

    fn metadata(&mut self) -> Result<Metadata, GgufError> {
        let pairs = self.pairs()?;
        let mut kept = BTreeMap::new();
        for _ in 0..pairs {
            let (key, kind) = self.key()?;
            if let (Some(_), STRING, true) = (&self.tokenizer, kind, TOKENIZER_NAMES.contains(&key.as_str()))
            {
                self.tokenizer_name(&key)?;
                continue;
            }
            let value = match kind {
                ARRAY => self.array(is_wanted(&key), 0, Some(&key))?,
                _ => self.value(kind, is_wanted(&key), 0)?,
            };
            if let Some(value) = value {
                kept.insert(key, value);
            }
        }
        Ok(from_pairs(kept))
    }

    fn tensor(&mut self) -> Result<Tensor, GgufError> {
        let length = self.count("the length of a tensor's name", MAX_KEY)?;
        let name = self.text(length)?;
        let dimensions = self.u32()?;
        if dimensions > MAX_DIMENSIONS {
            let (what, limit) = ("the number of a tensor's dimensions", MAX_DIMENSIONS.into());
            return Err(GgufError::TooLarge { what, value: dimensions.into(), limit });
        }
        let shape = (0..dimensions).map(|_| self.u64()).collect::<Result<Vec<_>, _>>()?;
        Ok(Tensor { name, shape, number: self.u32()?, offset: self.u64()? })
    }

    /// Notes that so many bytes more are wanted.
    fn advance(&mut self, length: u64) -> Result<(), GgufError> {
        self.at = self.at.saturating_add(length);
        if self.at > MAX_BYTES {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        Ok(())
    }

    fn bytes<const N: usize>(&mut self) -> Result<[u8; N], GgufError> {
        let mut bytes = [0; N];
        self.advance(N as u64)?;
        self.source.take(&mut bytes)?;
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

    fn text(&mut self, length: u64) -> Result<String, GgufError> {
        Ok(String::from_utf8_lossy(&self.raw(length)?).into_owned())
    }

    /// Memory grows with what is really there, not with what the file promises.
    fn raw(&mut self, length: u64) -> Result<Vec<u8>, GgufError> {
        const PIECE: u64 = 1 << 16;
        self.advance(length)?;
        let mut bytes = Vec::new();
        while (bytes.len() as u64) < length {
            let from = bytes.len();
            bytes.resize(from + (length - from as u64).min(PIECE) as usize, 0);
            self.source.take(&mut bytes[from..])?;
        }
        Ok(bytes)
    }

    fn skip(&mut self, length: u64) -> Result<(), GgufError> {
        self.advance(length)?;
        Ok(self.source.skip(length)?)
    }

    /// Reads a value; keeps it when it is wanted and of a kind that can be kept.
    fn value(&mut self, kind: u32, wanted: bool, depth: u8) -> Result<Option<Kept>, GgufError> {
        match kind {
            STRING => self.string(wanted),
            ARRAY => self.array(wanted, depth, None),
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

    /// `key` is that of an array that stands in no other.
    fn array(&mut self, wanted: bool, depth: u8, key: Option<&str>) -> Result<Option<Kept>, GgufError> {
        if depth >= MAX_DEPTH {
            return Err(GgufError::Nested);
        }
        let (kind, length) = self.elements()?;
        match (kind, key) {
            (STRING, Some(key)) => self.texts(key, length).map(|()| None),
            (STRING | ARRAY, _) => {
                (0..length).try_for_each(|_| self.value(kind, false, depth + 1).map(drop))?;
                Ok(None)
            }
            _ if wanted && length <= MAX_KEPT => self.numbers(kind, length),
            _ => {
                let size = size_of_number(kind).ok_or(GgufError::Type(kind))?;
                self.skip(length * size)?;
                Ok(None)
            }
        }
    }

    fn numbers(&mut self, kind: u32, length: u64) -> Result<Option<Kept>, GgufError> {
        let mut numbers = Vec::new();
        for _ in 0..length {
            numbers.extend(self.number(kind)?);
        }
        Ok((!numbers.is_empty()).then_some(Kept::Numbers(numbers)))
    }

    fn tokenizer_name(&mut self, key: &str) -> Result<(), GgufError> {
        let name = Some(self.whole_text()?);
        if let Some(tokenizer) = &mut self.tokenizer {
            match key.ends_with("pre") {
                true => tokenizer.pre = name,
                false => tokenizer.kind = name,
            }
        }
        Ok(())
    }

    /// Takes the texts of an array of the vocabulary in, each behind its length.
    fn vocabulary_texts(&mut self, key: &str, length: u64) -> Result<(), GgufError> {
        let mut hash = Sha256::new();
        if let Some(tokenizer) = &self.tokenizer {
            hash.update(tokenizer.sha256.as_bytes());
        }
        hash.update(key.as_bytes());
        hash.update(length.to_le_bytes());
        for _ in 0..length {
            let bytes = self.count("the length of a text", MAX_TEXT)?;
            let text = self.raw(bytes)?;
            hash.update(bytes.to_le_bytes());
            hash.update(&text);
        }
        if let Some(tokenizer) = &mut self.tokenizer {
            tokenizer.sha256 = hex(&hash.finalize());
            if key == VOCABULARY[0] {
                tokenizer.tokens = length;
            }
        }
        Ok(())
    }

    /// Passes over an array of texts, at once where its length is known.
    fn texts(&mut self, key: &str, length: u64) -> Result<(), GgufError> {
        if self.tokenizer.is_some() && VOCABULARY.contains(&key) {
            return self.vocabulary_texts(key, length);
        }
        let known = self.known.get(key).filter(|(count, _)| *count == length);
        let bytes = match known {
            Some(&(_, bytes)) => {
                self.skip(bytes)?;
                bytes
            }
            None => {
                let from = self.at;
                (0..length).try_for_each(|_| self.string(false).map(drop))?;
                self.at - from
            }
        };
        if length >= LONG {
            self.arrays.insert(key.to_owned(), (length, bytes));
        }
        Ok(())
    }

    /// A number or truth value; `None` for one that is no natural number.
    pub(super) fn number(&mut self, kind: u32) -> Result<Option<u64>, GgufError> {
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

/// Bytes of a number or truth value of the format.
const fn size_of_number(kind: u32) -> Option<u64> {
    match kind {
        0 | 1 | 7 => Some(1),
        2 | 3 => Some(2),
        4 | 5 | FLOAT32 => Some(4),
        10 | 11 | FLOAT64 => Some(8),
        _ => None,
    }
}

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
        expert_feed_forward: all("expert_feed_forward_length"),
        experts_used: one("expert_used_count"),
        per_layer_input: one("embedding_length_per_layer_input"),
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
        alignment: whole("general.alignment"),
        architecture,
        chat_template,
    }
}
