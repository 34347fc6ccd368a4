//! Base files of `llama-perplexity --kl-divergence-base`: the distributions of a text by the model that others are compared
//! with.
//!
//! Format (llama.cpp `tools/perplexity/perplexity.cpp`, the same in ik_llama.cpp; little-endian): `_logits_`, then as u32 or i32
//! tokens of a chunk, tokens of the vocabulary, chunks; the token ids of all chunks; and for every chunk a row for each position of
//! its second half but the last. A row is a scale and a least log-probability (f32), and for each token of the vocabulary (one more
//! where their number is odd) its log-probability as so many steps of the scale above the least (u16).
//!
//! Files are many GB: one row is in memory at a time. They are hostile: sizes are checked against the file's length before
//! anything is allocated.

mod compare;

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

pub use compare::Compared;

use crate::error::{Context, Error, Result};

/// What a file begins with.
const MAGIC: &[u8; 8] = b"_logits_";
/// Bytes of the magic and the three numbers.
const HEAD_BYTES: u64 = 20;
/// Tokens of a chunk.
const CHUNK: std::ops::RangeInclusive<u32> = 4..=1 << 22;
/// Tokens of a vocabulary.
const VOCABULARY: std::ops::RangeInclusive<u32> = 2..=1 << 24;
/// Values of a row in front of its steps: two numbers of 32 bits.
const ROW_HEAD: u64 = 4;

/// A base file that is being read.
#[derive(Debug)]
pub struct BaseFile<R> {
    reader: R,
    shape: Shape,
    /// The token ids of every whole chunk of the file.
    tokens: Vec<u32>,
    /// Rows that were read.
    rows: u64,
    /// Bytes of a row.
    row: Vec<u8>,
}

/// How much a base file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Tokens of a chunk.
    pub chunk: u32,
    /// Tokens of the vocabulary.
    pub vocabulary: u32,
    /// Chunks that were planned when it was begun.
    pub chunks: u32,
    /// Chunks that are there as a whole.
    pub whole: u32,
}

impl Shape {
    /// The first position of a chunk that has a row: position `t` is the distribution of the token behind `tokens[..t]`.
    pub const fn first(self) -> u32 {
        self.chunk / 2 + 1
    }

    /// Rows of a chunk.
    pub const fn rows(self) -> u32 {
        self.chunk - self.first()
    }

    fn row_bytes(self) -> u64 {
        (u64::from(self.vocabulary).next_multiple_of(2) + ROW_HEAD) * 2
    }

    fn token_bytes(self) -> u64 {
        u64::from(self.chunks) * u64::from(self.chunk) * 4
    }

    fn chunk_bytes(self) -> u64 {
        u64::from(self.rows()) * self.row_bytes()
    }
}

/// Opens a base file.
///
/// # Errors
/// When it cannot be read, is no such file, or ends before its first whole chunk.
pub fn open(path: &Path) -> Result<BaseFile<BufReader<File>>> {
    let reading = || format!("cannot read {}", path.display());
    let file = File::open(path).context(reading)?;
    let length = file.metadata().context(reading)?.len();
    BaseFile::read(BufReader::with_capacity(1 << 20, file), length).map_err(|reason| {
        Error::usage(format!("{}: {reason}", path.display()))
            .hint("such files are made by `llama-perplexity -m MODEL -f TEXT --kl-divergence-base FILE`")
    })
}

impl<R: Read> BaseFile<R> {
    /// Reads what stands in front of the rows; `length`: of the whole file (bytes).
    ///
    /// # Errors
    /// As [`open`], in words.
    pub fn read(mut reader: R, length: u64) -> Result<Self, String> {
        let mut head = [0; HEAD_BYTES as usize];
        reader
            .read_exact(&mut head)
            .map_err(|_| format!("it has {length} bytes: no base file is so short"))?;
        let (magic, numbers) = head.split_at(MAGIC.len());
        if magic != MAGIC {
            return Err("it is no base file: it does not begin with `_logits_`".into());
        }
        let [chunk, vocabulary, chunks] = [0, 1, 2].map(|at| u32_at(numbers, at * 4));
        let shape = Shape { chunk, vocabulary, chunks, whole: 0 };
        let whole = whole_chunks(shape, length)?;
        let mut tokens = Vec::new();
        let mut id = [0; 4];
        // No more than the file holds: its length was checked.
        for _ in 0..u64::from(chunks) * u64::from(chunk) {
            reader.read_exact(&mut id).map_err(|error| format!("it ends within its tokens ({error})"))?;
            let token = u32::from_le_bytes(id);
            if token >= vocabulary {
                let at = tokens.len();
                return Err(format!("token {at} is {token}, beyond its vocabulary of {vocabulary}"));
            }
            tokens.push(token);
        }
        let row = vec![0; shape.row_bytes() as usize];
        Ok(Self { reader, shape: Shape { whole, ..shape }, tokens, rows: 0, row })
    }

    /// How much it holds.
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// The tokens of a chunk; empty beyond the last.
    pub fn tokens(&self, chunk: u32) -> &[u32] {
        let (from, length) = (chunk as usize * self.shape.chunk as usize, self.shape.chunk as usize);
        self.tokens.get(from..from + length).unwrap_or_default()
    }

    /// Reads the next row: those of the first chunk come first, in the order of their positions.
    ///
    /// # Errors
    /// When the file ends or the row is none, in words.
    pub fn next_row(&mut self) -> Result<Row<'_>, String> {
        let number = self.rows;
        let place = || format!("row {number} (chunk {})", number / u64::from(self.shape.rows()));
        self.reader.read_exact(&mut self.row).map_err(|error| format!("{}: {error}", place()))?;
        self.rows += 1;
        let (scale, least) = (f32_at(&self.row, 0), f32_at(&self.row, 4));
        let possible = scale.is_finite() && (0.0..=1.0).contains(&scale) && least.is_finite() && least <= 0.0;
        if !possible {
            return Err(format!("{}: scale {scale} and least log-probability {least} cannot be", place()));
        }
        let steps = &self.row[ROW_HEAD as usize * 2..][..self.shape.vocabulary as usize * 2];
        Ok(Row { scale: scale.into(), least: least.into(), steps })
    }
}

/// How many chunks there are as a whole in so many bytes.
fn whole_chunks(shape: Shape, length: u64) -> Result<u32, String> {
    let Shape { chunk, vocabulary, chunks, .. } = shape;
    for (what, value, bounds) in
        [("tokens of a chunk", chunk, CHUNK), ("tokens of the vocabulary", vocabulary, VOCABULARY)]
    {
        if !bounds.contains(&value) {
            return Err(format!("its number of {what} is {value}, which cannot be"));
        }
    }
    if i32::try_from(chunks).is_err() || chunks == 0 {
        return Err(format!("its number of chunks is {chunks}, which cannot be"));
    }
    let Some(rows) = length.checked_sub(HEAD_BYTES + shape.token_bytes()) else {
        return Err(format!("it ends within the tokens of its {chunks} chunks: it has {length} bytes"));
    };
    let whole = rows / shape.chunk_bytes();
    if whole > u64::from(chunks) || rows > u64::from(chunks) * shape.chunk_bytes() {
        return Err(format!(
            "it is longer than its {chunks} chunks of {chunk} tokens with a vocabulary of {vocabulary}: it is damaged"
        ));
    }
    if whole == 0 {
        return Err("it ends before the end of its first chunk".into());
    }
    Ok(whole as u32)
}

/// The distribution of one position by the base.
#[derive(Debug, Clone, Copy)]
pub struct Row<'a> {
    scale: f64,
    least: f64,
    steps: &'a [u8],
}

impl Row<'_> {
    /// The natural-log probability of a token; `None` beyond the vocabulary. Those that are less probable than the most probable
    /// one by 16 nats or more are said to have that little.
    pub fn log_probability(&self, token: u32) -> Option<f64> {
        let at = token as usize * 2;
        let step = self.steps.get(at..at + 2)?;
        let step = u16::from_le_bytes([step[0], step[1]]);
        Some((self.scale * f64::from(step) + self.least).min(0.0))
    }

    /// The most probable token; the first of equal ones.
    pub fn top(&self) -> u32 {
        let mut best = (0, 0);
        for (token, step) in (0..).zip(self.steps.chunks_exact(2)) {
            let step = u16::from_le_bytes([step[0], step[1]]);
            if token == 0 || step > best.1 {
                best = (token, step);
            }
        }
        best.0
    }
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes[at..at + 4].iter().rev().fold(0, |bits, byte| bits << 8 | u32::from(*byte))
}

fn f32_at(bytes: &[u8], at: usize) -> f32 {
    f32::from_bits(u32_at(bytes, at))
}

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
