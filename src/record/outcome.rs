//! What became of a trial: a judged reply, or why there is none.

use std::collections::BTreeMap;

#[cfg(test)]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::name::Name;
use super::rare::Rare;

/// A judged reply.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct Score {
    /// 0 (wrong) to 1 (right); `None` for a task that only compares with the reference (`coherence/kld`).
    pub quality: Option<f64>,
    /// Further figures of the task by name.
    #[serde(default, skip_serializing_if = "Rare::is_empty")]
    pub metrics: Rare<BTreeMap<String, f64>>,
    /// What kind of error it was, in the task's own terms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<Name>,
    /// For an answer of several parts that lie in several places of the context: each part.
    #[serde(default, skip_serializing_if = "Rare::is_empty")]
    pub parts: Rare<Vec<Part>>,
}

/// A part of an answer, such as one of several needles.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct Part {
    /// Where in the context it lies, 0 (start) to 1 (end).
    pub depth: f64,
    /// 0 (wrong) to 1 (right).
    pub quality: f64,
}

impl Score {
    /// A score with nothing but its quality (0..1).
    pub fn of(quality: f64) -> Self {
        Self { quality: Some(quality), ..Self::default() }
    }

    /// Names the kind of error.
    #[must_use]
    pub fn labelled(mut self, label: impl Into<Name>) -> Self {
        self.label = Some(label.into());
        self
    }

    /// Adds a figure.
    #[must_use]
    pub fn with(mut self, name: &str, value: f64) -> Self {
        self.metrics.insert(name.into(), value);
        self
    }
}

/// Where a trial failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// The server did not come up.
    Launch,
    /// The request could not be sent or was refused.
    Request,
    /// The reply broke off, hung or could not be read.
    Stream,
    /// The server died or hung during the trial.
    Server,
    /// The reply came, but not from what was asked (truncated prompt, context shift).
    Integrity,
}

impl Stage {
    /// The name used in journals and in `trials.parquet`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Launch => "launch",
            Self::Request => "request",
            Self::Stream => "stream",
            Self::Server => "server",
            Self::Integrity => "integrity",
        }
    }
}

/// What became of a trial. Never a sentinel number, never NaN.
///
/// Not internally tagged: with `serde_json`'s arbitrary precision such an enum cannot read back its floats.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// The reply was judged.
    Scored(Score),
    /// The case does not apply here, and why.
    Unscored {
        /// Why it was not scored.
        reason: String,
    },
    /// Something broke.
    Failed {
        /// Where it broke.
        stage: Stage,
        /// What happened.
        error: String,
    },
}

impl Outcome {
    /// The score, when there is one.
    pub fn score(&self) -> Option<&Score> {
        match self {
            Self::Scored(score) => Some(score),
            _ => None,
        }
    }

    /// The score (0..1) as settings are compared by it: what broke is lost, for a server that dies on the hard cases
    /// must not look the better for it. `None` for what does not apply and for what has no score of its own.
    pub fn judged(&self) -> Option<f64> {
        match self {
            Self::Scored(score) => score.quality,
            Self::Unscored { .. } => None,
            Self::Failed { .. } => Some(0.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::record::{Band, Message, Prompt, Tool, ToolChoice};

    /// Every line of the journal must come back as it went in, numbers inside tagged enums included.
    #[test]
    fn tagged_enums_with_numbers_survive_the_journal() {
        let prompt = Prompt::Distributions {
            tokens: vec![1, 2, 3],
            first: 1,
            top_k: 64,
            bands: vec![Band { first: 1, end: 2 }],
            by_decode: true,
        };
        let text = serde_json::to_string(&prompt).unwrap();
        assert_eq!(serde_json::from_str::<Prompt>(&text).unwrap(), prompt);

        let outcome = Outcome::Scored(Score::of(0.5).with("fields", 0.25).labelled("value"));
        let text = serde_json::to_string(&outcome).unwrap();
        assert_eq!(serde_json::from_str::<Outcome>(&text).unwrap(), outcome);

        let parameters: Value =
            serde_json::from_str(r#"{"minimum":1.50,"maximum":12345678901234567890}"#).unwrap();
        let prompt = Prompt::Chat {
            messages: vec![Message::user("hello")],
            tools: vec![Tool { name: "f".into(), description: String::new(), parameters }],
            tool_choice: Some(ToolChoice::Auto),
            response_schema: None,
        };
        let text = serde_json::to_string(&prompt).unwrap();
        assert_eq!(serde_json::from_str::<Prompt>(&text).unwrap(), prompt);
    }
}
