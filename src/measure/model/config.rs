//! A model's `config.json` (the form of the `transformers` library): the same facts that a GGUF file's metadata
//! hold, and how the weights are stored.
//!
//! A file may be hostile: it is bounded, nested no deeper than the JSON reader allows, and no figure in it is
//! believed beyond what [`KvShape`](crate::record::kv::KvShape) checks.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use serde_json::Value;

use super::gguf::Metadata;
use super::rope;
use crate::error::{Context, Error, Result, chain};

/// Bytes that the file may have: some list every module that is not quantised.
const MAX_BYTES: u64 = 16 << 20;

/// Why a file could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// It is not JSON.
    #[error("it is not JSON")]
    Json(#[from] serde_json::Error),
    /// It is JSON, but no object.
    #[error("it is no JSON object")]
    NotObject,
}

/// What a `config.json` says of its model.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Config {
    /// Layers, heads, windows and context, in the form of a GGUF file's metadata.
    pub metadata: Metadata,
    /// How the weights are stored, such as `BF16`, `fp8` or `awq-4bit`.
    pub weights: Option<String>,
}

/// Reads the file.
///
/// # Errors
/// When it cannot be read, is too large, or holds no JSON object.
pub fn read(path: &Path) -> Result<Config> {
    let failed = || format!("cannot read {}", path.display());
    let mut bytes = Vec::new();
    File::open(path).context(failed)?.take(MAX_BYTES + 1).read_to_end(&mut bytes).context(failed)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(Error::runtime(format!("{} is larger than {MAX_BYTES} bytes", path.display())));
    }
    parse(&bytes).map_err(|source| {
        Error::runtime(format!("{} does not describe a model: {}", path.display(), chain(&source)))
    })
}

/// [`read`] from bytes.
///
/// # Errors
/// When they hold no JSON object.
pub fn parse(bytes: &[u8]) -> Result<Config, ConfigError> {
    let whole: Value = serde_json::from_slice(bytes)?;
    if !whole.is_object() {
        return Err(ConfigError::NotObject);
    }
    // Models that also see or hear keep the language model's figures apart.
    let nested = ["text_config", "llm_config", "language_config", "thinker_config"]
        .iter()
        .find_map(|key| whole.get(key).filter(|value| value.is_object()));
    let text = Keys(nested.unwrap_or(&whole));
    Ok(Config { metadata: metadata(&text), weights: weights(&Keys(&whole), &text) })
}

fn metadata(config: &Keys<'_>) -> Metadata {
    let layers = config.number(&["num_hidden_layers", "n_layer", "num_layers"]);
    let heads = config.number(&["num_attention_heads", "n_head"]);
    let width = config.number(&["head_dim"]);
    let kinds = config.texts("layer_types");
    // Compressed K and V: one row for all heads, and beside it what carries the position.
    let rank = config.number(&["kv_lora_rank"]);
    let latent = rank.and_then(|rank| rank.checked_add(config.number(&["qk_rope_head_dim"])?));
    let kv_heads = config.number(&["num_key_value_heads", "num_kv_heads"]);
    let context = config.number(&["max_position_embeddings", "n_positions", "max_seq_len", "n_ctx"]);
    Metadata {
        name: config.text("_name_or_path"),
        architecture: config.text("model_type"),
        context_length: context,
        scaled_context: scaled_context(config, context),
        block_count: layers,
        embedding_length: config.number(&["hidden_size", "n_embd", "d_model"]),
        head_count: heads.into_iter().collect(),
        head_count_kv: latent.map(|_| 1).or(kv_heads).into_iter().collect(),
        key_length: latent.or(width),
        value_length: config.number(&["v_head_dim"]).or(width),
        // Llama 4's windows are chunks, and cached as windows are.
        sliding_window: config
            .number(&["sliding_window", "attention_chunk_size"])
            .filter(|_| config.slides()),
        sliding_window_pattern: slides(config, layers, &kinds),
        shared_kv_layers: config.number(&["num_kv_shared_layers"]),
        kv_lora_rank: rank,
        key_length_mla: latent.and(config.number(&["qk_nope_head_dim"])),
        value_length_mla: latent.and(config.number(&["v_head_dim"])),
        indexer_key_length: config.number(&["index_head_dim"]),
        has_unknown_state: is_recurrent(config, &kinds),
        ..Metadata::default()
    }
}

/// The length that `rope_scaling` (`rope_parameters` since transformers 5) stretches the model to.
fn scaled_context(config: &Keys<'_>, context: Option<u64>) -> Option<u64> {
    let names = ["rope_scaling", "rope_parameters"];
    let scaling = Keys(names.iter().find_map(|name| config.0.get(name).filter(|found| found.is_object()))?);
    let kind = scaling.text("rope_type").or_else(|| scaling.text("type"));
    let factor = scaling.0.get("factor").and_then(Value::as_f64);
    rope::scaled(context, kind.as_deref(), factor, scaling.number(&["original_max_position_embeddings"]))
}

/// Which layers slide, as [`Metadata::sliding_window_pattern`] has it; empty where only the architecture tells.
fn slides(config: &Keys<'_>, layers: Option<u64>, kinds: &[&str]) -> Vec<u64> {
    if !kinds.is_empty() {
        let each: Vec<u64> = kinds.iter().map(|kind| u64::from(is_window(kind))).collect();
        // One figure alone would be a period: 0 slides everywhere, 1 nowhere.
        return if let [slides] = each.as_slice() { vec![1 - slides] } else { each };
    }
    if let Some(period) = config.number(&["sliding_window_pattern"]) {
        return vec![period];
    }
    // Llama 4: layers with a rotary position (1) are those with chunks.
    let rotary = config.numbers("no_rope_layers");
    if rotary.len() > 1 && config.number(&["attention_chunk_size"]).is_some() {
        return rotary;
    }
    match (config.number(&["max_window_layers"]), layers) {
        // Qwen: the first `max_window_layers` layers see everything.
        (Some(full), Some(layers)) if (2..=4096).contains(&layers) => {
            (0..layers).map(|layer| u64::from(layer >= full)).collect()
        }
        // Mistral and Phi: every layer.
        _ if config.says("model_type", &["llama4", "llama4_text"]) => vec![4],
        _ if config.says("model_type", &["mistral", "mixtral", "phi3", "starcoder2"]) => vec![0],
        _ => Vec::new(),
    }
}

fn is_window(kind: &str) -> bool {
    kind.contains("sliding") || kind.contains("chunked")
}

/// Whether some layers keep a state in place of K and V.
fn is_recurrent(config: &Keys<'_>, kinds: &[&str]) -> bool {
    let state =
        ["mamba_d_state", "ssm_state_size", "state_size", "linear_key_head_dim", "linear_attn_config"];
    let by_kind = |kind: &&str| kind.contains("linear") || kind.contains("mamba") || *kind == "conv";
    // MiniMax-01: 0 is lightning attention, 1 the usual one.
    let by_number = config.numbers("attn_type_list").contains(&0);
    state.iter().any(|key| config.0.get(key).is_some_and(|value| !value.is_null()))
        || kinds.iter().any(by_kind)
        || by_number
}

/// How the weights are stored: the quantisation, else the type of the numbers.
fn weights(whole: &Keys<'_>, text: &Keys<'_>) -> Option<String> {
    let quantised = whole.0.get("quantization_config").or_else(|| text.0.get("quantization_config"));
    if let Some(method) = quantised.map(Keys).and_then(|config| quantisation(&config)) {
        return Some(method);
    }
    let stored = ["dtype", "torch_dtype"];
    let kind = stored.iter().find_map(|key| whole.text(key).or_else(|| text.text(key)))?;
    Some(match kind.trim_start_matches("torch.") {
        "bfloat16" => "BF16".to_owned(),
        "float16" | "half" => "F16".to_owned(),
        "float32" | "float" => "F32".to_owned(),
        other => other.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '_').take(32).collect(),
    })
}

/// `awq-4bit`, `gptq-8bit`, `bitsandbytes-4bit`, `compressed-tensors-4bit`, `fp8`, `mxfp4`, ...
fn quantisation(config: &Keys<'_>) -> Option<String> {
    let method: String = config
        .text("quant_method")?
        .chars()
        .filter(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'))
        .take(32)
        .collect();
    let flag = |key: &str| config.0.get(key).and_then(Value::as_bool).unwrap_or(false);
    let bits = config
        .number(&["bits", "w_bit", "weight_bits"])
        .or_else(|| flag("load_in_4bit").then_some(4))
        .or_else(|| flag("load_in_8bit").then_some(8))
        .or_else(|| group_bits(config));
    match bits.filter(|bits| (1..=32).contains(bits)) {
        Some(bits) => Some(format!("{method}-{bits}bit")),
        None => (!method.is_empty()).then_some(method),
    }
}

/// Bits of the weights of the first group of `compressed-tensors`.
fn group_bits(config: &Keys<'_>) -> Option<u64> {
    let groups = config.0.get("config_groups")?.as_object()?;
    groups.values().find_map(|group| Keys(group.get("weights")?).number(&["num_bits"]))
}

/// Keys of a JSON object; what is of another kind counts as absent.
struct Keys<'a>(&'a Value);

impl Keys<'_> {
    fn number(&self, names: &[&str]) -> Option<u64> {
        names.iter().find_map(|name| self.0.get(name)?.as_u64())
    }

    fn text(&self, name: &str) -> Option<String> {
        self.0.get(name)?.as_str().filter(|text| !text.is_empty()).map(str::to_owned)
    }

    fn texts(&self, name: &str) -> Vec<&str> {
        let list = self.0.get(name).and_then(Value::as_array);
        list.into_iter().flatten().filter_map(Value::as_str).take(4096).collect()
    }

    fn numbers(&self, name: &str) -> Vec<u64> {
        let list = self.0.get(name).and_then(Value::as_array);
        list.into_iter().flatten().filter_map(Value::as_u64).take(4096).collect()
    }

    fn says(&self, name: &str, words: &[&str]) -> bool {
        self.0.get(name).and_then(Value::as_str).is_some_and(|text| words.contains(&text))
    }

    /// Qwen's files name a window that is switched off.
    fn slides(&self) -> bool {
        self.0.get("use_sliding_window").and_then(Value::as_bool) != Some(false)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::record::kv::{KvError, KvGroup, KvShape, KvUse};

    fn group(layers: u32, values: u32, window: Option<u32>) -> KvGroup {
        KvGroup { layers, k_values: values, v_values: values, k_heads: values / 64, window }
    }

    fn shape(text: &str) -> Result<KvShape, KvError> {
        KvShape::of(&parse(text.as_bytes()).unwrap().metadata)
    }

    /// In the form of Qwen2.5-0.5B's file.
    const QWEN: &str = r#"{"model_type": "qwen2", "hidden_size": 896, "num_attention_heads": 14,
        "num_hidden_layers": 24, "num_key_value_heads": 2, "max_position_embeddings": 32768,
        "sliding_window": 32768, "max_window_layers": 21, "use_sliding_window": false, "torch_dtype": "bfloat16"}"#;

    #[test]
    fn a_plain_model_is_read_as_its_gguf_file_is() {
        let config = parse(QWEN.as_bytes()).unwrap();
        assert_eq!(config.weights.as_deref(), Some("BF16"));
        assert_eq!(config.metadata.context_length, Some(32_768));
        let shape = KvShape::of(&config.metadata).unwrap();
        assert_eq!(shape.groups, [group(24, 128, None)]);
        // As the GGUF file of this model takes it in llama-server (see `kv`): 24 MiB at 2K.
        assert_eq!(shape.bytes(KvUse::new(2048, "f16", "f16")).unwrap().total(), 24 << 20);
        let slides = QWEN.replace("\"use_sliding_window\": false", "\"use_sliding_window\": true");
        assert_eq!(self::shape(&slides).unwrap().groups, [group(21, 128, None), group(3, 128, Some(32_768))]);
    }

    #[test]
    fn windows_are_read_in_every_form() {
        let with = |more: &str| {
            shape(&format!(
                r#"{{"num_hidden_layers": 4, "num_attention_heads": 8, "num_key_value_heads": 2, "head_dim": 64,
                 "sliding_window": 512{more}}}"#
            ))
        };
        let half = [group(2, 128, Some(512)), group(2, 128, None)];
        let types = r#"["sliding_attention", "full_attention", "sliding_attention", "full_attention"]"#;
        assert_eq!(with(&format!(r#", "layer_types": {types}"#)).unwrap().groups, half);
        assert_eq!(with(r#", "sliding_window_pattern": 2"#).unwrap().groups, half);
        assert_eq!(with(r#", "model_type": "gemma2""#).unwrap().groups, half, "the architecture is known");
        assert_eq!(with(r#", "model_type": "mistral""#).unwrap().groups, [group(4, 128, Some(512))]);
        assert_eq!(with(r#", "model_type": "newmodel""#), Err(KvError::Pattern("newmodel".into())));
        let chunked = r#"["chunked_attention", "full_attention", "chunked_attention", "full_attention"]"#;
        assert_eq!(with(&format!(r#", "layer_types": {chunked}"#)).unwrap().groups, half, "Llama 4's chunks");
        let chunks = shape(
            r#"{"num_hidden_layers": 4, "num_attention_heads": 8, "num_key_value_heads": 2, "head_dim": 64,
             "model_type": "llama4_text", "attention_chunk_size": 512, "no_rope_layers": [1, 1, 1, 0]}"#,
        );
        assert_eq!(chunks.unwrap().groups, [group(3, 128, Some(512)), group(1, 128, None)]);
        let one = |kind: &str| {
            shape(&format!(
                r#"{{"num_hidden_layers": 1, "num_attention_heads": 2, "head_dim": 64, "sliding_window": 512,
                 "layer_types": ["{kind}"]}}"#
            ))
        };
        assert_eq!(one("sliding_attention").unwrap().groups, [group(1, 128, Some(512))]);
        assert_eq!(one("full_attention").unwrap().groups, [group(1, 128, None)]);
    }

    #[test]
    fn the_language_model_of_a_larger_one_counts() {
        let nested =
            format!(r#"{{"model_type": "vision", "torch_dtype": "float16", "text_config": {QWEN}}}"#);
        let config = parse(nested.as_bytes()).unwrap();
        assert_eq!(config.metadata.architecture.as_deref(), Some("qwen2"));
        assert_eq!(KvShape::of(&config.metadata).unwrap().groups.len(), 1);
        assert_eq!(config.weights.as_deref(), Some("F16"));
    }

    #[test]
    fn how_the_weights_are_stored_is_named() {
        let weights = |text: &str| parse(text.as_bytes()).unwrap().weights;
        for (quantisation, expected) in [
            (r#"{"quant_method": "awq", "bits": 4, "group_size": 128}"#, "awq-4bit"),
            (r#"{"quant_method": "gptq", "bits": 8}"#, "gptq-8bit"),
            (r#"{"quant_method": "bitsandbytes", "load_in_4bit": true}"#, "bitsandbytes-4bit"),
            (r#"{"quant_method": "fp8", "activation_scheme": "dynamic"}"#, "fp8"),
            (
                r#"{"quant_method": "compressed-tensors", "config_groups": {"group_0": {"weights": {"num_bits": 4}}}}"#,
                "compressed-tensors-4bit",
            ),
        ] {
            let text = format!(r#"{{"torch_dtype": "bfloat16", "quantization_config": {quantisation}}}"#);
            assert_eq!(weights(&text).as_deref(), Some(expected));
        }
        assert_eq!(weights(r#"{"dtype": "float32"}"#).as_deref(), Some("F32"));
        assert_eq!(weights("{}"), None);
    }

    #[test]
    fn what_keeps_something_else_than_k_and_v_is_not_covered() {
        let latent = QWEN.replacen('{', r#"{"kv_lora_rank": 512, "#, 1);
        assert!(matches!(shape(&latent), Err(KvError::NotCovered(_))));
        let linear = QWEN.replacen('{', r#"{"layer_types": ["linear_attention", "full_attention"], "#, 1);
        assert!(matches!(shape(&linear), Err(KvError::NotCovered(_))));
        let lightning = QWEN.replacen('{', r#"{"attn_type_list": [0, 0, 0, 1], "#, 1);
        assert!(matches!(shape(&lightning), Err(KvError::NotCovered(_))), "MiniMax-01");
        let jamba = QWEN.replace("qwen2", "jamba").replacen('{', r#"{"mamba_d_state": 16, "#, 1);
        assert!(matches!(shape(&jamba), Err(KvError::NotCovered(_))), "a name that GGUF files have, too");
    }

    #[test]
    fn what_is_no_object_is_an_error() {
        for text in ["", "[]", "3", "{", &"[".repeat(100_000)] {
            assert!(parse(text.as_bytes()).is_err(), "{:.20}", text);
        }
        assert!(matches!(parse(b"null"), Err(ConfigError::NotObject)));
    }

    /// A value for any key: of the right kind, of another, or absurd.
    fn any_value() -> impl Strategy<Value = String> {
        prop_oneof![
            any::<u64>().prop_map(|number| number.to_string()),
            (0_u64..6000).prop_map(|number| number.to_string()),
            Just("-1".to_owned()),
            Just("1e400".to_owned()),
            Just("null".to_owned()),
            Just("true".to_owned()),
            Just(r#"["sliding_attention", 3, "linear"]"#.to_owned()),
            "[a-z]{0,8}".prop_map(|word| format!("\"{word}\"")),
            Just(r#"{"quant_method": "x", "bits": 1e9, "config_groups": {"a": []}}"#.to_owned()),
        ]
    }

    const KEYS: &[&str] = &[
        "model_type",
        "hidden_size",
        "num_attention_heads",
        "num_hidden_layers",
        "num_key_value_heads",
        "head_dim",
        "v_head_dim",
        "sliding_window",
        "sliding_window_pattern",
        "max_window_layers",
        "use_sliding_window",
        "layer_types",
        "num_kv_shared_layers",
        "quantization_config",
        "torch_dtype",
        "text_config",
    ];

    proptest! {
        #[test]
        fn no_file_makes_it_panic(values in proptest::collection::vec((any::<prop::sample::Index>(), any_value()), 0..12)) {
            let pairs: Vec<String> =
                values.iter().map(|(key, value)| format!("\"{}\": {value}", key.get(KEYS))).collect();
            if let Ok(config) = parse(format!("{{{}}}", pairs.join(", ")).as_bytes())
                && let Ok(shape) = KvShape::of(&config.metadata)
            {
                let _ = shape.bytes(KvUse::new(u32::MAX, "q8_0", "f16"));
            }
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), at in 0_usize..200) {
            let _ = parse(&bytes);
            let mut changed = QWEN.as_bytes().to_vec();
            let at = at.min(changed.len());
            changed.splice(at..at, bytes);
            let _ = parse(&changed);
        }
    }
}
