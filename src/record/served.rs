//! How a reply was served: what came from the server's cache, and how its tokens were drafted.

#[cfg(test)]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What of a prompt came from the server's cache, and what could have. Kept for the turns of tasks that
/// watch the cache.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct Served {
    /// Tokens of the prompt, as the engine counted them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt_tokens: Option<u32>,
    /// Tokens of the prompt that the engine took from its cache; `None`: it does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cached_tokens: Option<u32>,
    /// Tokens at the beginning of the prompt that it has in common with the request before in the same case and its
    /// reply, by the server's own template and tokenizer: what a cache of prefixes could give. `None`: the server
    /// does not show its prompts as tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shared_tokens: Option<u32>,
    /// Time from sending the request to the first token (s).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttft_s: Option<f64>,
    /// Whether the server was told not to use its cache.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub cold: bool,
}

impl Served {
    /// Share of the prompt that came from the cache (0..1).
    pub fn reused(&self) -> Option<f64> {
        share(self.cached_tokens?, self.prompt_tokens?)
    }

    /// Tokens that a cache of prefixes could have given: the last one is computed in any case, for what follows it.
    pub fn possible_tokens(&self) -> Option<u32> {
        Some(self.shared_tokens?.min(self.prompt_tokens?.saturating_sub(1)))
    }

    /// Share of the prompt that a cache of prefixes could have given (0..1).
    pub fn possible(&self) -> Option<f64> {
        share(self.possible_tokens()?, self.prompt_tokens?)
    }
}

fn share(part: u32, whole: u32) -> Option<f64> {
    (whole > 0).then(|| (f64::from(part) / f64::from(whole)).min(1.0))
}

/// A reply of which only the beginning is kept, because the server wrote far more than it was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct Overlong {
    /// Length of the whole: reasoning, content, and name, arguments and id of each call (bytes).
    pub bytes: u64,
    /// SHA-256 of the whole, in that order (hex, 64 digits).
    pub sha256: String,
}

/// How the tokens of a reply were drafted, in a compact form.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct DraftTrace {
    /// Running counts after the first 16, 32, 64, .. tokens of the reply, and at its end. A draft counts where it
    /// begins. Empty where the engine counts only the whole reply.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub series: Vec<DraftPoint>,
    /// By position within a draft, from its first token.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub positions: Vec<DraftPosition>,
}

/// Counts of a reply so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct DraftPoint {
    /// Tokens of the reply.
    #[serde(rename = "t")]
    pub tokens: u32,
    /// Tokens that were drafted.
    #[serde(rename = "d")]
    pub drafted: u32,
    /// Drafted tokens that were accepted.
    #[serde(rename = "a")]
    pub accepted: u32,
}

/// What became of the tokens at one position of the drafts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct DraftPosition {
    /// Drafts that reach so far.
    #[serde(rename = "d")]
    pub drafted: u32,
    /// Those of them whose token at this position was accepted.
    #[serde(rename = "a")]
    pub accepted: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_need_both_counts_and_stay_below_one() {
        let served = Served {
            prompt_tokens: Some(100),
            cached_tokens: Some(40),
            shared_tokens: Some(100),
            ..Served::default()
        };
        assert_eq!((served.reused(), served.possible()), (Some(0.4), Some(0.99)));
        assert_eq!(Served { cached_tokens: None, ..served }.reused(), None);
        assert_eq!(Served { prompt_tokens: Some(0), ..served }.reused(), None);
        assert_eq!(Served { shared_tokens: None, ..served }.possible(), None);
    }
}
