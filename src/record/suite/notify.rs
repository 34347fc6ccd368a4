//! Whom to tell when a run has ended.

#[cfg(test)]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// When to tell.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum NotifyWhen {
    /// When a gate failed, something got worse since the run before, or the run is not whole.
    #[default]
    Problem,
    /// Always.
    Always,
}

/// A command, a webhook, or both. What they answer never changes how the run ends.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct Notify {
    /// When.
    pub when: NotifyWhen,
    /// Program and arguments; it gets the lines on its standard input.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub command: Vec<String>,
    /// The environment variable that holds the webhook's address, which is a secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub webhook_env: Option<String>,
    /// Longest time for either (s).
    pub timeout_s: f64,
}
