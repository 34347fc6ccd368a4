//! The vocabulary of a model's folder: `tokenizer.json`, as Hugging Face's tokenizers write it.
//!
//! Only what [`BytePairs`](super::BytePairs) does exactly is taken: bytes as GPT-2 writes them, texts cut in one of the ways
//! known here, nothing dropped or filled in.

use std::collections::HashMap;
use std::path::Path;

use serde::Deserialize;

use super::gguf::Vocabulary;

/// Ids beyond which a file is not believed.
const MOST_TOKENS: u32 = 4_000_000;
/// Bytes beyond which a file is not read.
const LARGEST_FILE: u64 = 256 << 20;
/// Kinds of tokens, as GGUF files number them.
const NORMAL: u64 = 1;
const UNUSED: u64 = 5;
const CONTROL: u64 = 3;
const OF_THE_USER: u64 = 4;

/// The expression of Qwen 2's tokenizer.
const ONE_DIGIT: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
/// That of Llama 3's.
const THREE_DIGITS: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

#[derive(Deserialize)]
struct File {
    #[serde(default)]
    added_tokens: Vec<Added>,
    normalizer: Option<Named>,
    pre_tokenizer: Option<PreTokenizer>,
    model: Model,
}

#[derive(Deserialize)]
struct Named {
    r#type: String,
}

#[derive(Deserialize)]
struct Added {
    id: u32,
    content: String,
    #[serde(default)]
    single_word: bool,
    #[serde(default)]
    lstrip: bool,
    #[serde(default)]
    rstrip: bool,
    #[serde(default)]
    normalized: bool,
    #[serde(default)]
    special: bool,
}

#[derive(Deserialize)]
#[serde(tag = "type")]
enum PreTokenizer {
    Sequence {
        pretokenizers: Vec<PreTokenizer>,
    },
    Split {
        pattern: Pattern,
        behavior: String,
        invert: bool,
    },
    Digits {
        individual_digits: bool,
    },
    ByteLevel {
        add_prefix_space: bool,
        #[serde(default = "yes")]
        use_regex: bool,
    },
    #[serde(other)]
    Other,
}

#[derive(Deserialize)]
struct Pattern {
    #[serde(rename = "Regex")]
    regex: Option<String>,
}

#[derive(Deserialize)]
struct Model {
    #[serde(default)]
    r#type: Option<String>,
    dropout: Option<f64>,
    continuing_subword_prefix: Option<String>,
    end_of_word_suffix: Option<String>,
    #[serde(default)]
    byte_fallback: bool,
    #[serde(default)]
    ignore_merges: bool,
    vocab: HashMap<String, u32>,
    merges: Vec<Merge>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Merge {
    Spaced(String),
    Pair(String, String),
}

fn yes() -> bool {
    true
}

/// The vocabulary of a folder's `tokenizer.json`; `None` where there is none, or where it does what is not done here.
pub(super) fn of_folder(folder: &Path) -> Option<Vocabulary> {
    let path = folder.join("tokenizer.json");
    // Not to know it is no reason not to run it: the server counts.
    let size = std::fs::metadata(&path).ok()?.len();
    let text = (size <= LARGEST_FILE).then(|| std::fs::read(&path).ok())??;
    vocabulary(&text)
}

/// As [`of_folder`], of a file's bytes.
fn vocabulary(text: &[u8]) -> Option<Vocabulary> {
    let file: File = serde_json::from_slice(text).ok()?;
    let pre = file.pre_tokenizer.as_ref().and_then(pre)?;
    let normalizes = match file.normalizer.as_ref().map(|of| of.r#type.as_str()) {
        None => false,
        Some("NFC") => true,
        Some(_) => return None,
    };
    let has = |text: &Option<String>| text.as_ref().is_some_and(|text| !text.is_empty());
    let Model { continuing_subword_prefix: prefix, end_of_word_suffix: suffix, .. } = &file.model;
    let plain = file.model.r#type.as_deref().is_none_or(|of| of == "BPE")
        && !(has(prefix) || has(suffix) || file.model.byte_fallback)
        && file.model.dropout.is_none_or(|share| share == 0.0)
        // Llama 3 takes words whole that are tokens; the other ways of cutting never do.
        && file.model.ignore_merges == (pre == "llama-bpe");
    let stripped = |added: &Added| added.single_word || added.lstrip || added.rstrip;
    if !plain || file.added_tokens.iter().any(|added| stripped(added) || (normalizes && added.normalized)) {
        return None;
    }
    let (tokens, kinds) = listed(&file)?;
    let spaced = |merge: Merge| match merge {
        Merge::Spaced(merge) => merge,
        Merge::Pair(left, right) => format!("{left} {right}"),
    };
    Some(Vocabulary {
        kind: "gpt2".into(),
        pre: pre.into(),
        tokens,
        kinds,
        merges: file.model.merges.into_iter().map(spaced).collect(),
        // Where a chat is counted, its template writes what it begins with.
        begins: Some(false),
        first_token: None,
        normalizes,
    })
}

/// The way of cutting, by its name in GGUF files.
fn pre(of: &PreTokenizer) -> Option<&'static str> {
    use PreTokenizer::{ByteLevel, Digits, Sequence, Split};
    let parts = match of {
        Sequence { pretokenizers } => pretokenizers.as_slice(),
        alone => std::slice::from_ref(alone),
    };
    match parts {
        [ByteLevel { add_prefix_space: false, use_regex: true }] => Some("gpt-2"),
        [Digits { individual_digits: true }, ByteLevel { add_prefix_space: false, use_regex: true }] => {
            Some("smollm")
        }
        [
            Split { pattern: Pattern { regex: Some(regex) }, behavior, invert: false },
            ByteLevel { add_prefix_space: false, use_regex: false },
        ] if behavior == "Isolated" => match regex.as_str() {
            ONE_DIGIT => Some("qwen2"),
            THREE_DIGITS => Some("llama-bpe"),
            _ => None,
        },
        _ => None,
    }
}

/// Tokens and their kinds by their ids.
fn listed(file: &File) -> Option<(Vec<String>, Vec<u64>)> {
    let ids = file.model.vocab.values().copied().chain(file.added_tokens.iter().map(|added| added.id));
    let most = ids.max().filter(|most| *most < MOST_TOKENS)?;
    let mut tokens = vec![String::new(); most as usize + 1];
    let mut kinds = vec![UNUSED; tokens.len()];
    for (token, id) in &file.model.vocab {
        tokens[*id as usize].clone_from(token);
        kinds[*id as usize] = NORMAL;
    }
    for added in &file.added_tokens {
        tokens[added.id as usize].clone_from(&added.content);
        kinds[added.id as usize] = if added.special { CONTROL } else { OF_THE_USER };
    }
    Some((tokens, kinds))
}

#[cfg(test)]
mod tests {
    use super::super::BytePairs;
    use super::*;
    use serde_json::{Value, json};

    /// A small one as Qwen 2's is built, with every letter of the ASCII bytes that the tests write.
    fn file() -> Value {
        let mut vocab: serde_json::Map<String, Value> = serde_json::Map::new();
        let letters = "!'0123456789<>|abcdefghijklmnopqrstuvwxyzĠĊ";
        let tokens = letters.chars().map(String::from).chain(["th".into(), "the".into(), "Ġthe".into()]);
        for (id, token) in tokens.enumerate() {
            vocab.insert(token, json!(id));
        }
        let end = vocab.len();
        json!({
            "version": "1.0", "truncation": null, "padding": null,
            "added_tokens": [
                { "id": end, "content": "<|end|>", "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true },
                { "id": end + 3, "content": "<call>", "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": false },
            ],
            "normalizer": { "type": "NFC" },
            "pre_tokenizer": { "type": "Sequence", "pretokenizers": [
                { "type": "Split", "pattern": { "Regex": ONE_DIGIT }, "behavior": "Isolated", "invert": false },
                { "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": false, "use_regex": false },
            ] },
            "post_processor": null, "decoder": null,
            "model": { "type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": "", "end_of_word_suffix": "",
                "fuse_unk": false, "byte_fallback": false, "vocab": vocab, "merges": [["t", "h"], ["th", "e"], ["Ġ", "the"]] },
        })
    }

    fn read(file: &Value) -> Option<Vocabulary> {
        vocabulary(file.to_string().as_bytes())
    }

    #[test]
    fn a_folders_vocabulary_makes_its_tokens() {
        let vocabulary = read(&file()).unwrap();
        let pairs = BytePairs::new(&vocabulary).unwrap();
        let names = |text: &str| -> Vec<String> {
            let tokens = pairs.tokens(text, true).unwrap();
            tokens.iter().map(|id| vocabulary.tokens[*id as usize].clone()).collect()
        };
        assert_eq!(
            names("the the 12<|end|>the<call>"),
            ["the", "Ġthe", "Ġ", "1", "2", "<|end|>", "the", "<call>"]
        );
        assert_eq!(pairs.count("e\u{301}", false), None, "it would be composed first");
    }

    #[test]
    fn the_ways_of_cutting_are_told_by_what_the_file_says() {
        let of = |parts: Value| {
            read(&{
                let mut other = file();
                other["pre_tokenizer"] = parts;
                other
            })
            .map(|found| found.pre)
        };
        let level = json!({ "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true });
        let digits = json!({ "type": "Digits", "individual_digits": true });
        assert_eq!(of(level.clone()).as_deref(), Some("gpt-2"));
        assert_eq!(
            of(json!({ "type": "Sequence", "pretokenizers": [digits, level] })).as_deref(),
            Some("smollm")
        );
        assert_eq!(read(&file()).unwrap().pre, "qwen2");
    }

    #[test]
    fn merges_may_be_written_as_one_text() {
        let mut old = file();
        old["model"]["merges"] = json!(["t h", "th e", "Ġ the"]);
        assert_eq!(read(&old), read(&file()));
    }

    #[test]
    fn what_is_done_otherwise_is_left_to_the_server() {
        assert!(read(&file()).is_some());
        let changes: [(&str, Value); 12] = [
            ("/pre_tokenizer", json!(null)),
            ("/pre_tokenizer/pretokenizers/0/pattern", json!({ "String": " " })),
            ("/pre_tokenizer/pretokenizers/0/pattern/Regex", json!(r"\s+")),
            ("/pre_tokenizer/pretokenizers/0", json!({ "type": "Metaspace" })),
            ("/pre_tokenizer/pretokenizers/1/add_prefix_space", json!(true)),
            ("/normalizer", json!({ "type": "Lowercase" })),
            ("/added_tokens/0/rstrip", json!(true)),
            ("/added_tokens/0/id", json!(u32::MAX)),
            ("/model/type", json!("Unigram")),
            ("/model/byte_fallback", json!(true)),
            ("/model/dropout", json!(0.1)),
            ("/model/ignore_merges", json!(true)),
        ];
        for (place, value) in changes {
            let mut other = file();
            match other.pointer_mut(place) {
                Some(old) => *old = value,
                None => other["model"]["ignore_merges"] = value,
            }
            assert!(read(&other).is_none(), "{place}");
        }
        for broken in ["", "[]", "{}", "{\"model\":{}}"] {
            assert!(vocabulary(broken.as_bytes()).is_none(), "{broken}");
        }
        assert!(of_folder(Path::new("no/such/folder")).is_none());
    }
}
