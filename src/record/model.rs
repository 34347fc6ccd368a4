//! Model files: what was served, and what it was made for.

#[cfg(test)]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::kv::KvShape;

/// A model file that was used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct ModelInfo {
    /// Name in the suite.
    pub name: String,
    /// Weight quant.
    pub weights: String,
    /// Where it came from, in words.
    pub origin: String,
    /// Requantised by kneepoint from another quant (not the publisher's own).
    pub derived: bool,
    /// SHA-256 of the file.
    pub sha256: String,
    /// Size of the file (bytes).
    pub bytes: u64,
    /// What its KV cache holds for each token, from the file's metadata; runs before it was kept have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kv: Option<KvShape>,
    /// Why `kv` is absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kv_unknown: Option<String>,
    /// The longest context that it was made for, where its file says so; runs before it was kept have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trained: Option<TrainedContext>,
    /// The type that most of its weights have, where `weights` promises another one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mostly: Option<Mostly>,
    /// Values in all of its tensors; runs before it was kept, and files that do not say, have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parameters: Option<u64>,
    /// Bytes of its weights that each generated token reads: not the table of the input, unless the output uses it, too, nor
    /// the experts that a token does not go through. Runs before it was kept, and files that do not say, have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read_bytes: Option<u64>,
    /// Its tokenizer, as its file describes it; runs before it was kept, and files that do not say, have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokenizer: Option<Tokenizer>,
}

/// A model's tokenizer, as its file describes it: two that are equal make the same tokens of a text.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct Tokenizer {
    /// The kind, such as `gpt2`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// How texts are cut before they are tokenised, such as `smollm`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pre: Option<String>,
    /// Tokens in the vocabulary.
    pub tokens: u64,
    /// SHA-256 of the vocabulary and its merges.
    pub sha256: String,
}

impl Tokenizer {
    /// What two tokenizers differ in, in words; `None` where they are the same. `whose`: whom this one and the other belong
    /// to.
    pub fn difference(&self, other: &Self, whose: [&str; 2]) -> Option<String> {
        let [own, others] = whose;
        let shown = |name: &Option<String>| name.clone().unwrap_or_else(|| "none".to_owned());
        let named = [("kind", &self.kind, &other.kind), ("pre-tokenizer", &self.pre, &other.pre)];
        if let Some((what, a, b)) = named.into_iter().find(|(_, a, b)| a != b) {
            return Some(format!("the {what} is `{}` {own} and `{}` {others}", shown(a), shown(b)));
        }
        if self.tokens != other.tokens {
            return Some(format!(
                "the vocabulary has {} tokens {own} and {} {others}",
                self.tokens, other.tokens
            ));
        }
        (self.sha256 != other.sha256).then(|| {
            format!("both have {} tokens, but not the same ones or not the same merges", self.tokens)
        })
    }
}

/// What weights are, where their label says otherwise: a quant's own type needs rows of whole blocks, and quantisers take
/// another type where a model has none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct Mostly {
    /// The type that most have, such as `iq4_nl`.
    pub kind: String,
    /// How many have it.
    pub weights: u64,
    /// How many there are.
    pub of: u64,
}

impl Mostly {
    /// Share of the weights that have the type (0 to 1).
    pub fn share(&self) -> f64 {
        self.weights as f64 / self.of.max(1) as f64
    }
}

/// The longest context that a model was made for, as its file or `config.json` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct TrainedContext {
    /// The length that the file names as the model's (tokens).
    pub tokens: u64,
    /// The length that the file's own rope scaling stretches it to (tokens); `None` where it names none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scaled: Option<u64>,
}

impl TrainedContext {
    /// The longest context at which the model is used as it was made (tokens).
    pub fn longest(self) -> u64 {
        self.scaled.unwrap_or(self.tokens).max(self.tokens)
    }
}
