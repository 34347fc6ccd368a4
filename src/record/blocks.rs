//! How many bytes values take in the types of ggml: of a file's tensors and of a cache.
//!
//! ggml packs values in blocks with their scales; some types of ik_llama.cpp also put a few bytes before each row. The
//! numbers and layouts are those of `ggml.h` and `ggml-common.h` of both projects (2026).

/// A type of ggml.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockType {
    /// The number in a GGUF file.
    pub number: u32,
    /// The name, as command lines write it for caches.
    pub name: &'static str,
    /// Values in a block.
    pub values: u64,
    /// Bytes of a block.
    pub bytes: u64,
    /// Bytes in front of each row.
    pub row: u64,
}

impl BlockType {
    /// The type of that number in a GGUF file.
    pub fn numbered(number: u32) -> Option<&'static Self> {
        TYPES.iter().find(|kind| kind.number == number)
    }

    /// The type of that name.
    pub fn named(name: &str) -> Option<&'static Self> {
        TYPES.iter().find(|kind| kind.name == name)
    }

    /// Bytes of rows of so many values each; `None` where a row is no whole number of blocks, or beyond any size.
    pub fn rows(&self, rows: u64, values: u64) -> Option<u64> {
        if !values.is_multiple_of(self.values) {
            return None;
        }
        (values / self.values).checked_mul(self.bytes)?.checked_add(self.row)?.checked_mul(rows)
    }
}

const fn plain(number: u32, name: &'static str, bytes: u64) -> BlockType {
    BlockType { number, name, values: 1, bytes, row: 0 }
}

const fn block(number: u32, name: &'static str, values: u64, bytes: u64) -> BlockType {
    BlockType { number, name, values, bytes, row: 0 }
}

const fn with_row(number: u32, name: &'static str, values: u64, bytes: u64, row: u64) -> BlockType {
    BlockType { number, name, values, bytes, row }
}

/// llama.cpp's, then those that only ik_llama.cpp has.
const TYPES: &[BlockType] = &[
    plain(0, "f32", 4),
    plain(1, "f16", 2),
    block(2, "q4_0", 32, 18),
    block(3, "q4_1", 32, 20),
    block(6, "q5_0", 32, 22),
    block(7, "q5_1", 32, 24),
    block(8, "q8_0", 32, 34),
    block(9, "q8_1", 32, 36),
    block(10, "q2_K", 256, 84),
    block(11, "q3_K", 256, 110),
    block(12, "q4_K", 256, 144),
    block(13, "q5_K", 256, 176),
    block(14, "q6_K", 256, 210),
    block(15, "q8_K", 256, 292),
    block(16, "iq2_xxs", 256, 66),
    block(17, "iq2_xs", 256, 74),
    block(18, "iq3_xxs", 256, 98),
    block(19, "iq1_s", 256, 50),
    block(20, "iq4_nl", 32, 18),
    block(21, "iq3_s", 256, 110),
    block(22, "iq2_s", 256, 82),
    block(23, "iq4_xs", 256, 136),
    plain(24, "i8", 1),
    plain(25, "i16", 2),
    plain(26, "i32", 4),
    plain(27, "i64", 8),
    plain(28, "f64", 8),
    block(29, "iq1_m", 256, 56),
    plain(30, "bf16", 2),
    block(34, "tq1_0", 256, 54),
    block(35, "tq2_0", 256, 66),
    block(39, "mxfp4", 32, 17),
    block(40, "nvfp4", 64, 36),
    block(41, "q1_0", 128, 18),
    block(133, "q6_0", 32, 26),
    block(137, "iq2_k", 256, 76),
    block(138, "iq3_k", 256, 110),
    block(139, "iq4_k", 256, 144),
    block(140, "iq5_k", 256, 176),
    block(141, "iq6_k", 256, 212),
    with_row(144, "iq4_ks", 256, 136, 4),
    with_row(145, "iq2_ks", 256, 70, 2),
    with_row(146, "iq4_kss", 256, 128, 4),
    with_row(151, "q8_KV", 32, 32, 8),
    with_row(152, "iq5_ks", 256, 168, 4),
    with_row(153, "iq2_kt", 256, 68, 4),
    with_row(154, "iq3_kt", 256, 100, 4),
    with_row(155, "iq4_kt", 256, 128, 4),
    with_row(156, "iq3_ks", 256, 102, 2),
    with_row(157, "iq2_kl", 256, 86, 2),
    with_row(158, "iq1_kt", 256, 56, 4),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_names_are_of_one_type_each() {
        for kind in TYPES {
            assert_eq!(BlockType::numbered(kind.number), Some(kind));
            assert_eq!(BlockType::named(kind.name), Some(kind));
        }
    }

    #[test]
    fn rows_fill_whole_blocks() {
        let rows = |name: &str, rows, values| BlockType::named(name).unwrap().rows(rows, values);
        assert_eq!(rows("q4_K", 2, 512), Some(2 * 288));
        assert_eq!(rows("q2_K", 1, 576), None, "576 is no multiple of 256");
        assert_eq!(rows("iq4_ks", 3, 256), Some(3 * 140), "a scale before each row");
        assert_eq!(rows("f32", u64::MAX, 4), None);
    }
}
