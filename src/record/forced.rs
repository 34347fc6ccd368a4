//! Answers whose probability is asked for: what the reply is made to say, and how probable the model found it.

#[cfg(test)]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How a task's answers are scored.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Scoring {
    /// The reply is the model's own, and right or wrong.
    #[default]
    Match,
    /// The right answer is forced, and its probability is the score.
    Probability,
}

impl Scoring {
    /// Returns the name used in suites and reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Match => "match",
            Self::Probability => "probability",
        }
    }

    /// Returns whether it is [`Scoring::Match`]; what suites say nothing about is not written out.
    pub fn is_match(&self) -> bool {
        *self == Self::Match
    }
}

/// A part of a right answer: what the reply has said before it, and what it may say.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct ForcedPart {
    /// The reply up to this part; the model goes on behind it.
    pub begun: String,
    /// What counts as right here. No form is the beginning of another one, so their probabilities add up.
    pub forms: Vec<ForcedForm>,
    /// Where in the context the part lies, 0 (start) to 1 (end), if it has such a place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub depth: Option<f64>,
}

/// A text that a reply is made to say.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct ForcedForm {
    /// The text, with the space in front of it that the reply needs.
    pub text: String,
    /// Its tokens behind what was begun, as the served model's tokenizer has the whole.
    pub tokens: Vec<u32>,
}

/// Probability of an answer's beginning below which the rest of it is not asked for: no score is off by more.
pub const IMPOSSIBLE: f64 = 0.001;

/// How a forced answer went through the model; later ones show less of what a KV type does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum ReadPath {
    /// Token by token, each read from the cache that holds the ones before: as a reply is written.
    #[default]
    Decode,
    /// Each as what follows a prompt whose K and V came from the server's prefix cache, but for the last of its tokens (at most
    /// [`BESIDE_THE_CACHE`]): as the cache keeps them.
    Cached,
    /// As part of a prompt. Some KV types are not read there: damage may not show.
    Prefill,
}

/// Most tokens of a prompt that may be computed beside what a prefix cache holds of it: the cache's last block and the end of a
/// question.
pub const BESIDE_THE_CACHE: u64 = 128;

impl ReadPath {
    /// Returns the path behind a prompt of so many tokens of which so many came from a prefix cache, where the server tells.
    pub fn behind(prompt: u64, cached: Option<u64>) -> Self {
        match cached {
            Some(cached) if cached > 0 && prompt.saturating_sub(cached) <= BESIDE_THE_CACHE => Self::Cached,
            _ => Self::Prefill,
        }
    }

    /// Returns whether it is [`ReadPath::Decode`].
    pub fn is_decode(&self) -> bool {
        *self == Self::Decode
    }

    /// Returns whether it is [`ReadPath::Prefill`].
    pub fn is_prefill(&self) -> bool {
        *self == Self::Prefill
    }
}

/// How probable a server found a text that it was made to say.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct Forced {
    /// Number of the part of the answer.
    pub part: u32,
    /// Number of the form among those of the part.
    pub form: u32,
    /// The path that it was computed on.
    pub path: ReadPath,
    /// The tokens that it was said with.
    pub tokens: Vec<ForcedToken>,
    /// Probability (0..1) that the reply does not go on with another letter or digit behind it; `None` where the server
    /// does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ends: Option<f64>,
    /// Whether it was not said to its end: the tokens are its beginning, which has a probability below [`IMPOSSIBLE`], and
    /// the whole no more than that.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub cut: bool,
}

/// A token that a reply was made to say.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct ForcedToken {
    /// Its id; `None` where the server names none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<u32>,
    /// Its natural-log probability, before anything was forced.
    pub logprob: f32,
}

impl Forced {
    /// Returns whether what was said so far is so improbable that the rest need not be asked for.
    pub fn is_impossible(&self) -> bool {
        self.log_probability() < IMPOSSIBLE.ln()
    }

    /// Returns the natural-log probability of what was said, with its end, where that is known.
    pub fn log_probability(&self) -> f64 {
        let tokens: f64 = self.tokens.iter().map(|token| f64::from(token.logprob)).sum();
        tokens + self.ends.map_or(0.0, |ends| ends.max(f64::MIN_POSITIVE).ln())
    }
}
