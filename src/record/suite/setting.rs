//! What is compared: settings, and cells (a setting at a context length).

use std::collections::BTreeMap;
use std::fmt;

#[cfg(test)]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::sampling::Sampling;

/// What stands for a part of a setting that nobody named and kneepoint did not set: that of an attached server.
pub const UNKNOWN: &str = "unknown";

/// How the names of options begin that mean nothing without speculation, whatever the engine.
const OF_SPECULATION: &[&str] = &["draft_", "ngram_", "prompt_lookup_", "spec_", "suffix_", "rejection_"];

/// Whether an option (by its name in suites) means nothing without speculation.
pub fn is_of_speculation_alone(option: &str) -> bool {
    OF_SPECULATION.iter().any(|beginning| option.starts_with(beginning))
}

/// Whether the server uses flash attention.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum FlashAttention {
    /// Always.
    #[default]
    On,
    /// Never.
    Off,
    /// The server decides.
    Auto,
}

impl FlashAttention {
    /// The name used in suites, reports and llama.cpp's flags.
    pub const fn name(self) -> &'static str {
        match self {
            Self::On => "on",
            Self::Off => "off",
            Self::Auto => "auto",
        }
    }
}

/// The second model of a setting, which drafts for the first.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct DraftModel {
    /// Model name, a `[[model]]` of the suite.
    pub model: String,
    /// Weight quant of that model.
    pub weights: String,
}

impl fmt::Display for DraftModel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.model, self.weights)
    }
}

/// One way to run a model. Everything in it belongs to what is compared.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct Setting {
    /// Unique in the suite and short, such as `Q4_1 kv=q8_0 spec=ngram-simple`; see [`Setting::label_of`].
    pub label: String,
    /// Engine name, such as `llama.cpp`.
    pub engine: String,
    /// Model name, a `[[model]]` of the suite.
    pub model: String,
    /// Weight quant of that model, such as `Q4_1`.
    pub weights: String,
    /// Type of the K cache, such as `f16`.
    pub k: String,
    /// Type of the V cache.
    pub v: String,
    /// Speculative decoding: `off` or an engine's type, such as `ngram-simple`.
    pub speculation: String,
    /// Flash attention.
    pub flash_attention: FlashAttention,
    /// The model that drafts, for types of speculation that take one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub draft: Option<DraftModel>,
    /// Options of the engine by name, such as `ubatch` = `128`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub options: BTreeMap<String, String>,
    /// Further arguments of the server, as they are.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub extra_args: Vec<String>,
    /// How it samples, where that is not as the suite says for all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sampling: Option<Sampling>,
}

impl Setting {
    /// Whether tokens are drafted in front of the model.
    pub fn speculates(&self) -> bool {
        self.speculation != "off" && self.speculation != UNKNOWN
    }
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.label)
    }
}

/// A setting at a context length: one server process.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct Cell {
    /// The setting.
    pub setting: Setting,
    /// Context length in tokens that the server is started with.
    pub context: u32,
}
