//! `[load]` as written.

#[cfg(test)]
use std::borrow::Cow;
use std::fmt;

#[cfg(test)]
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde::de::{self, Deserializer, IntoDeserializer, SeqAccess, Visitor};
use toml::Spanned;

use super::super::scalar::Tokens;
use super::place::unplaced;
use crate::record::Arm;
use crate::record::suite::SearchOver;

/// `[load]`: how every setting serves many requests at once, on servers of their own after the trials.
#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct RawLoad {
    /// Closed loop: so many requests at the same time, the next one when one has ended (1..=1024), a step each.
    #[cfg_attr(test, schemars(with = "Vec<u32>"))]
    pub concurrency: Vec<Spanned<u32>>,
    /// Open loop: Poisson arrivals of so many requests a second (0.001..=1000), a step each.
    #[cfg_attr(test, schemars(with = "Vec<f64>"))]
    pub rates: Vec<Spanned<f64>>,
    /// The highest load within the limits, in place of a list of steps.
    #[cfg_attr(test, schemars(with = "Option<RawLoadSearch>"))]
    pub search: Option<Spanned<RawLoadSearch>>,
    /// Measured requests of a step (2..=100,000); those of its beginning and end come on top.
    #[cfg_attr(test, schemars(with = "Option<u32>"))]
    pub requests: Option<Spanned<u32>>,
    /// How long requests of a step are begun that are measured (1..=86,400 s). With `requests`: whichever is first.
    #[cfg_attr(test, schemars(with = "Option<f64>"))]
    pub duration_s: Option<Spanned<f64>>,
    /// Tokens of a prompt; several are taken in turn (32..=4,194,304).
    #[cfg_attr(test, schemars(with = "OneOrMany"))]
    pub prompt_tokens: Spanned<OneOrMany>,
    /// Tokens of a reply, where the engine can be told not to end before; several are taken in turn (1..=65,536).
    #[cfg_attr(test, schemars(with = "OneOrMany"))]
    pub output_tokens: Spanned<OneOrMany>,
    /// Tokens that all prompts begin with, for servers that keep a prefix; default: no two begin alike.
    #[cfg_attr(test, schemars(with = "Option<Tokens>"))]
    pub shared_prefix_tokens: Option<Spanned<Tokens>>,
    /// Context length of a slot (tokens), one of the suite's; default: the smallest that holds a request.
    #[cfg_attr(test, schemars(with = "Option<Tokens>"))]
    pub context: Option<Spanned<Tokens>>,
    /// Requests that the server works on at the same time (1..=1024); default: the largest number of streams, or 4.
    #[cfg_attr(test, schemars(with = "Option<u32>"))]
    pub slots: Option<Spanned<u32>>,
    /// Open loop: arrivals beyond so many requests under way are not sent, and counted (1..=4096).
    #[cfg_attr(test, schemars(with = "u32"))]
    pub max_in_flight: Spanned<u32>,
    /// How long a server is warmed up at most (0..=3600 s); less when its time is steady before.
    #[cfg_attr(test, schemars(with = "f64"))]
    pub warm_up_s: Spanned<f64>,
    /// What a request has to keep to count for the goodput.
    #[cfg_attr(test, schemars(with = "Option<RawLoadLimits>"))]
    pub limits: Option<Spanned<RawLoadLimits>>,
    /// Whether answers are as good under load as alone.
    #[cfg_attr(test, schemars(with = "Option<RawLoadQuality>"))]
    pub quality: Option<Spanned<RawLoadQuality>>,
}

impl Default for RawLoad {
    fn default() -> Self {
        Self {
            concurrency: Vec::new(),
            rates: Vec::new(),
            search: None,
            requests: None,
            duration_s: None,
            prompt_tokens: unplaced(OneOrMany(vec![256])),
            output_tokens: unplaced(OneOrMany(vec![128])),
            shared_prefix_tokens: None,
            context: None,
            slots: None,
            max_in_flight: unplaced(256),
            warm_up_s: unplaced(60.0),
            limits: None,
            quality: None,
        }
    }
}

/// A number of tokens, or several.
#[derive(Debug, Clone)]
pub struct OneOrMany(Vec<u32>);

impl OneOrMany {
    /// The numbers.
    pub fn all(&self) -> &[u32] {
        &self.0
    }
}

impl<'de> Deserialize<'de> for OneOrMany {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(OneOrManyVisitor)
    }
}

struct OneOrManyVisitor;

impl<'de> Visitor<'de> for OneOrManyVisitor {
    type Value = OneOrMany;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number of tokens such as 256 or \"2k\", or a list of them")
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<OneOrMany, E> {
        one(value.into_deserializer())
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<OneOrMany, E> {
        one(value.into_deserializer())
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<OneOrMany, E> {
        one(value.into_deserializer())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<OneOrMany, A::Error> {
        let mut all = Vec::new();
        while let Some(Tokens(tokens)) = list.next_element()? {
            all.push(tokens);
        }
        Ok(OneOrMany(all))
    }
}

fn one<'de, E: de::Error>(value: impl Deserializer<'de, Error = E>) -> Result<OneOrMany, E> {
    Tokens::deserialize(value).map(|tokens| OneOrMany(vec![tokens.0]))
}

#[cfg(test)]
impl JsonSchema for OneOrMany {
    fn schema_name() -> Cow<'static, str> {
        "OneOrMany".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let tokens = generator.subschema_for::<Tokens>();
        json_schema!({
            "description": "A number of tokens, or several.",
            "anyOf": [tokens, { "type": "array", "items": tokens }],
        })
    }
}

/// `[load.search]`: doubles the load until a step does not hold, then bisects, and visits both ends once more.
#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct RawLoadSearch {
    /// What is raised: `streams` (closed loop) or `rate` (open loop, requests a second).
    #[cfg_attr(test, schemars(with = "SearchOver"))]
    pub over: Spanned<SearchOver>,
    /// The lowest load: streams (1..=1024; default: 1), or requests/s (0.001..=1000).
    #[cfg_attr(test, schemars(with = "Option<f64>"))]
    pub from: Option<Spanned<f64>>,
    /// The highest load, above `from`; default of `slots` for streams.
    #[cfg_attr(test, schemars(with = "f64"))]
    pub to: Spanned<f64>,
    /// How close both ends come: a share of the highest load that holds (0.01..=1; 1: doubling alone). Streams are never
    /// closer than one.
    #[serde(default = "tenth")]
    #[cfg_attr(test, schemars(with = "f64"))]
    pub within: Spanned<f64>,
    /// Share of a step's requests that must be answered and keep the limits (0.5..=1).
    #[serde(default = "most")]
    #[cfg_attr(test, schemars(with = "f64"))]
    pub goal: Spanned<f64>,
}

fn tenth() -> Spanned<f64> {
    unplaced(0.1)
}

fn most() -> Spanned<f64> {
    unplaced(0.95)
}

/// `[load.limits]`: at least one.
#[derive(Debug, Default, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct RawLoadLimits {
    /// Time to the first token (s), from the moment that the request was due.
    #[cfg_attr(test, schemars(with = "Option<f64>"))]
    pub ttft_s: Option<Spanned<f64>>,
    /// Mean time of a token after the first (s).
    #[cfg_attr(test, schemars(with = "Option<f64>"))]
    pub itl_s: Option<Spanned<f64>>,
    /// Time to the end of the reply (s), from the moment that the request was due.
    #[cfg_attr(test, schemars(with = "Option<f64>"))]
    pub e2e_s: Option<Spanned<f64>>,
}

/// `[load.quality]`: cases of a task, asked alone and then at every concurrency, or where a search needs them.
#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct RawLoadQuality {
    /// A task of the suite that has scores of its own.
    #[cfg_attr(test, schemars(with = "String"))]
    pub task: Spanned<String>,
    /// How many of its cases; default: all.
    #[cfg_attr(test, schemars(with = "Option<u32>"))]
    pub samples: Option<Spanned<u32>>,
    /// Context length of the cases (tokens), one of the task's; default: its smallest.
    #[cfg_attr(test, schemars(with = "Option<Tokens>"))]
    pub context: Option<Spanned<Tokens>>,
    /// Arm of a tool task; default: its first.
    #[cfg_attr(test, schemars(with = "Option<Arm>"))]
    pub arm: Option<Spanned<Arm>>,
}
