//! Weight quants in file names, as publishers write them: `Model-Q4_K_M.gguf`, `model.q8_0.gguf`,
//! `Model-UD-Q4_K_XL-00001-of-00002.gguf`, `IQ4_XS/Model.gguf`.

use std::path::Path;

use super::split_name::split_name;

/// Names of floating-point weights in file names, and how they are called here.
const FLOATS: &[(&str, &str)] = &[
    ("F32", "F32"),
    ("F16", "F16"),
    ("BF16", "BF16"),
    ("FP32", "F32"),
    ("FP16", "F16"),
    ("MXFP4", "MXFP4"),
    ("NVFP4", "NVFP4"),
];

/// The quant that a file's name tells, in capitals, such as `Q4_K_M` or `UD-Q4_K_XL`; else its folder's name.
pub(super) fn in_path(path: &str) -> Option<String> {
    let path = Path::new(path);
    let name = path.file_name()?.to_str()?;
    in_name(name).or_else(|| in_words(path.parent()?.file_name()?.to_str()?))
}

/// The quant that a file's name tells. The last word that looks like one counts: those before it are the model's.
pub(super) fn in_name(name: &str) -> Option<String> {
    let stem = split_name(name).map_or(name, |split| split.prefix);
    let stem = match stem.len().checked_sub(5).and_then(|at| stem.split_at_checked(at)) {
        Some((stem, end)) if end.eq_ignore_ascii_case(".gguf") => stem,
        _ => stem,
    };
    in_words(stem)
}

fn in_words(text: &str) -> Option<String> {
    let words: Vec<&str> = text.split(['-', '.', ' ']).collect();
    let (at, quant) =
        words.iter().enumerate().rev().find_map(|(at, word)| Some((at, quant_at_end(word)?)))?;
    // Dynamic quants of one publisher: other mixes than the plain ones of the same name.
    let dynamic = at > 0 && words[at - 1].eq_ignore_ascii_case("UD");
    Some(if dynamic { format!("UD-{quant}") } else { quant })
}

/// The quant that a word is or ends with, as in `model_Q4_K_M`.
fn quant_at_end(word: &str) -> Option<String> {
    let word = word.to_ascii_uppercase();
    let starts = std::iter::once(0).chain(word.match_indices('_').map(|(at, _)| at + 1));
    starts.filter_map(|start| word.get(start..)).find_map(quant)
}

/// `Q4_K_M`, `IQ4_XS`, `TQ1_0` and the like, or floating point.
fn quant(word: &str) -> Option<String> {
    if let Some((_, name)) = FLOATS.iter().find(|(written, _)| *written == word) {
        return Some((*name).to_owned());
    }
    let rest = ["IQ", "TQ", "Q"].iter().find_map(|start| word.strip_prefix(start))?;
    let (bits, kind) = rest.split_once('_')?;
    let number = bits.len() == 1 && bits.bytes().all(|byte| byte.is_ascii_digit());
    let plain = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric());
    (number && kind.split('_').all(plain)).then(|| word.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_as_publishers_write_them_are_read() {
        for (name, expected) in [
            ("Qwen2.5-Coder-0.5B-Instruct-q4_k_m.gguf", Some("Q4_K_M")),
            ("SmolLM2-135M-Instruct.Q4_1.gguf", Some("Q4_1")),
            ("Model-UD-Q4_K_XL-00001-of-00002.gguf", Some("UD-Q4_K_XL")),
            ("model_IQ4_NL.GGUF", Some("IQ4_NL")),
            ("Phi-3-mini-4k-instruct-fp16.gguf", Some("F16")),
            ("gpt-oss-20b-mxfp4.gguf", Some("MXFP4")),
            ("Model-NVFP4.gguf", Some("NVFP4")),
            ("Model-IQ4_KSS.gguf", Some("IQ4_KSS")),
            ("Model-Q8_0-imatrix.gguf", Some("Q8_0")),
            ("Q3-Model-BF16.gguf", Some("BF16")),
            ("Model.gguf", None),
            ("Q4.gguf", None),
            ("", None),
        ] {
            assert_eq!(in_name(name).as_deref(), expected, "{name}");
        }
        assert_eq!(in_path("Q6_K/Model-00001-of-00003.gguf").as_deref(), Some("Q6_K"));
        assert_eq!(
            in_path("Q6_K/Model-Q4_0.gguf").as_deref(),
            Some("Q4_0"),
            "the file's own name comes first"
        );
        assert_eq!(in_path("Model.gguf"), None);
    }
}
