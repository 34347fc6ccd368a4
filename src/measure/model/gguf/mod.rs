//! The header of a GGUF file: key-value pairs and what tensors there are, never their values.
//!
//! Format: <https://github.com/ggml-org/ggml/blob/master/docs/gguf.md>, versions 2 and 3, little-endian.
//! A file may be hostile: every count and length is bounded before anything is read for it.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use crate::error::{Context, Error, Result};
use crate::record::Tokenizer;

mod metadata;
mod parse;
mod quants;
mod source;
mod tensors;
mod vocabulary;

pub use metadata::Metadata;
pub use parse::{Arrays, GgufError, Header, parse, parse_header, parse_tokenizer};
pub use quants::{is_standard_quant, quant_name};
pub use source::{Source, Spans, Stream};
pub use tensors::{Tensor, Tensors};
pub use vocabulary::{Vocabulary, parse_vocabulary};

/// Reads a file's metadata.
///
/// # Errors
/// When the file cannot be opened or is no readable GGUF file; the source is a [`GgufError`].
pub fn read(path: &Path) -> Result<Metadata> {
    parse(open(path)?).map_err(|source| unreadable(path, source))
}

/// Reads a file's metadata and what tensors it has.
///
/// # Errors
/// When the file cannot be opened or is no readable GGUF file; the source is a [`GgufError`].
pub fn read_header(path: &Path) -> Result<Header> {
    parse_header(Stream(open(path)?), &Arrays::new()).map_err(|source| unreadable(path, source))
}

/// Reads the tokenizer of a file; `None` where it has none.
///
/// # Errors
/// When the file cannot be opened or is no readable GGUF file; the source is a [`GgufError`].
pub fn read_tokenizer(path: &Path) -> Result<Option<Tokenizer>> {
    parse_tokenizer(open(path)?).map_err(|source| unreadable(path, source))
}

/// Reads the whole vocabulary of a file.
///
/// # Errors
/// When the file cannot be opened or is no readable GGUF file; the source is a [`GgufError`].
pub fn read_vocabulary(path: &Path) -> Result<Vocabulary> {
    parse_vocabulary(open(path)?).map_err(|source| unreadable(path, source))
}

fn open(path: &Path) -> Result<BufReader<File>> {
    let file = File::open(path).context(|| format!("cannot open {}", path.display()))?;
    Ok(BufReader::with_capacity(1 << 16, file))
}

fn unreadable(path: &Path, source: GgufError) -> Error {
    Error::runtime(format!("{} is no readable GGUF file", path.display()))
        .hint("a download may have been cut off: compare its size and SHA-256 with the publisher's")
        .with_source(source)
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

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::parse::{ARRAY, STRING};
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

    /// A file with a vocabulary of `texts` tokens and one tensor of 64 x 32 values in `q8_0`.
    fn with_vocabulary(texts: u64, file_type: u32) -> Vec<u8> {
        let mut out = b"GGUF\x03\0\0\0".to_vec();
        out.extend(1_u64.to_le_bytes());
        out.extend(2_u64.to_le_bytes());
        text(&mut out, "tokenizer.ggml.tokens");
        out.extend(ARRAY.to_le_bytes());
        out.extend(STRING.to_le_bytes());
        out.extend(texts.to_le_bytes());
        (0..texts).for_each(|number| text(&mut out, &number.to_string()));
        text(&mut out, "general.file_type");
        out.extend(4_u32.to_le_bytes());
        out.extend(file_type.to_le_bytes());
        text(&mut out, "blk.0.attn_q.weight");
        out.extend(2_u32.to_le_bytes());
        out.extend(64_u64.to_le_bytes());
        out.extend(32_u64.to_le_bytes());
        out.extend(8_u32.to_le_bytes());
        out.extend(0_u64.to_le_bytes());
        out.resize(out.len().next_multiple_of(32), 0);
        out.extend([7; 32 * 2 * 34]);
        out
    }

    #[test]
    fn a_vocabulary_that_is_known_is_passed_over() {
        let file = with_vocabulary(5000, 7);
        let whole = parse_header(Stream(&file[..]), &Arrays::new()).unwrap();
        assert_eq!(whole.tensors.all[0].bytes(), Some(32 * 2 * 34));
        assert!(whole.tensors.ends_at(file.len() as u64));
        assert_eq!(whole.arrays["tokenizer.ggml.tokens"].0, 5000);
        // Another file: its beginning and its end are enough.
        let other = with_vocabulary(5000, 2);
        let mut spans = Spans::default();
        spans.add(0, other[..200].to_vec());
        assert!(parse_header(&mut spans, &whole.arrays).is_err());
        let lacking = spans.lacking().unwrap();
        assert!(lacking > 40_000, "{lacking}");
        spans.add(lacking, other[lacking as usize..].to_vec());
        let passed = parse_header(&mut spans, &whole.arrays).unwrap();
        assert_eq!(passed.metadata.weights(), Some("Q4_0"));
        assert_eq!(passed.tensors, whole.tensors);
        // A vocabulary of another length of text is noticed by where the file ends, or not even read.
        let mut longer = whole.arrays.clone();
        longer.get_mut("tokenizer.ggml.tokens").unwrap().1 += 1;
        let wrong = parse_header(Stream(&file[..]), &longer);
        assert!(wrong.is_err() || !wrong.unwrap().tensors.ends_at(file.len() as u64));
    }

    #[test]
    fn tokenizers_are_told_apart_by_every_token() {
        let of = |bytes: &[u8]| parse_tokenizer(bytes).unwrap().unwrap();
        let whole = with_vocabulary(5000, 7);
        let own = of(&whole);
        assert_eq!((own.tokens, own.sha256.len()), (5000, 64));
        assert_eq!(of(&with_vocabulary(5000, 2)), own, "the quant does not matter");
        let at = whole.windows(4).position(|four| four == b"4321").unwrap();
        let mut other = whole.clone();
        other[at] = b'x';
        let said = of(&other).difference(&own, ["here", "there"]).unwrap();
        assert!(said.contains("5000 tokens, but not the same"), "{said}");
        let said = of(&with_vocabulary(4999, 7)).difference(&own, ["here", "there"]).unwrap();
        assert_eq!(said, "the vocabulary has 4999 tokens here and 5000 there");
        assert_eq!(parse_tokenizer(&Builder::default().bytes()[..]).unwrap(), None);
    }

    #[test]
    fn a_vocabulary_is_read_whole() {
        let vocabulary = parse_vocabulary(&with_vocabulary(5000, 7)[..]).unwrap();
        assert_eq!((vocabulary.tokens.len(), vocabulary.tokens[4321].as_str()), (5000, "4321"));
        assert_eq!((vocabulary.kind.as_str(), vocabulary.begins), ("", None));
        assert!(parse_vocabulary(&with_vocabulary(5000, 7)[..9000]).is_err());
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
            let _ = parse_vocabulary(&bytes[..]);
            let mut framed = b"GGUF\x03\0\0\0".to_vec();
            framed.extend(&bytes);
            let _ = parse(&framed[..]);
            let _ = parse_vocabulary(&framed[..]);
        }

        #[test]
        fn a_changed_byte_never_panics(at in 0_usize..300, byte: u8) {
            let mut bytes = small(3);
            let at = at % bytes.len();
            bytes[at] = byte;
            let _ = parse(&bytes[..]);
            let _ = parse_vocabulary(&bytes[..]);
        }
    }
}
