//! In which form a task asks: how tools reach the model, and how the reply begins.

use std::fmt;

#[cfg(test)]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How tools reach the model; always told apart in results.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, clap::ValueEnum,
)]
#[cfg_attr(test, derive(JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Arm {
    /// The `tools` field, tool choice `auto`.
    Native,
    /// Tools described in the prompt, no `tools` field: no grammar helps.
    Prompted,
    /// The server constrains the output.
    Constrained,
}

impl Arm {
    /// The name used in suites and reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Prompted => "prompted",
            Self::Constrained => "constrained",
        }
    }
}

impl fmt::Display for Arm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// How a reply begins.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// The model's turn is its own from the first token.
    #[default]
    Chat,
    /// The model's turn begins with the first words of an answer, which it goes on with.
    Prefill,
}

impl Mode {
    /// The name used in suites and reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Chat => "chat",
            Self::Prefill => "prefill",
        }
    }

    /// Whether it is [`Mode::Chat`]; what suites say nothing about is not written out.
    pub fn is_chat(&self) -> bool {
        *self == Self::Chat
    }
}
