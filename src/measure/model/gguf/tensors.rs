//! The tensors of a GGUF file: names, shapes and types, without their values.

use crate::record::blocks::BlockType;

/// A tensor, as the header describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tensor {
    /// Name, such as `blk.0.attn_q.weight`.
    pub name: String,
    /// Values in each dimension; the first is the length of a row.
    pub shape: Vec<u64>,
    /// Number of the type.
    pub number: u32,
    /// Where its values begin, counted from the first tensor's (bytes).
    pub offset: u64,
}

impl Tensor {
    /// Name of the type; one that is not known here is named by its number.
    pub fn kind(&self) -> String {
        BlockType::numbered(self.number)
            .map_or_else(|| format!("type {}", self.number), |kind| kind.name.to_owned())
    }

    /// Values in it.
    pub fn values(&self) -> u64 {
        self.shape.iter().fold(1, |product, size| product.saturating_mul(*size))
    }

    /// Bytes of its values; `None` for a type that is not known here, or a shape that it cannot have.
    pub fn bytes(&self) -> Option<u64> {
        let row = self.shape.first().copied().unwrap_or(1);
        let rows = self.shape.iter().skip(1).fold(1_u64, |product, size| product.saturating_mul(*size));
        BlockType::numbered(self.number)?.rows(rows, row)
    }
}

/// All tensors of a file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tensors {
    /// Where the values of the first begin in the file (bytes).
    pub start: u64,
    /// Each of them.
    pub all: Vec<Tensor>,
}

impl Tensors {
    pub(super) const fn new(start: u64, all: Vec<Tensor>) -> Self {
        Self { start, all }
    }

    /// Bytes of each tensor; of an unknown type, those up to the next one or to the end of a file of `file` bytes.
    pub fn sizes(&self, file: u64) -> Vec<u64> {
        let mut offsets: Vec<u64> = self.all.iter().map(|tensor| tensor.offset).collect();
        offsets.push(file.saturating_sub(self.start));
        offsets.sort_unstable();
        let up_to_next = |tensor: &Tensor| {
            let next = offsets.partition_point(|offset| *offset <= tensor.offset);
            offsets.get(next).map_or(0, |next| next - tensor.offset)
        };
        self.all.iter().map(|tensor| tensor.bytes().unwrap_or_else(|| up_to_next(tensor))).collect()
    }

    /// Where the last value ends in the file (bytes), as far as types are known.
    pub fn end(&self) -> u64 {
        let ends =
            self.all.iter().map(|tensor| tensor.offset.saturating_add(tensor.bytes().unwrap_or_default()));
        self.start.saturating_add(ends.max().unwrap_or_default())
    }

    /// Whether a file of so many bytes ends where the last value does, but for padding.
    pub fn ends_at(&self, file: u64) -> bool {
        const PADDING: u64 = 4096;
        !self.all.is_empty() && file.checked_sub(self.end()).is_some_and(|rest| rest <= PADDING)
    }
}
