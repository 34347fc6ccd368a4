//! What is asked for.

use std::collections::BTreeMap;

#[cfg(test)]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What the pick is the best in.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, clap::ValueEnum,
)]
#[cfg_attr(test, derive(JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Goal {
    /// The highest decode rate
    #[default]
    Decode,
    /// The shortest time to the first token
    Ttft,
    /// The least memory
    Memory,
    /// The least energy for a request
    Energy,
    /// The best compromise of the suite's objectives
    Knee,
}

/// The least quality that will do.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum MinQuality {
    /// Within the suite's margin of the reference.
    WithinMargin,
    /// This share of the reference's score (0..1).
    OfReference(f64),
    /// This score (0..1); 0 asks for no quality at all, not even a measured one.
    Score(f64),
}

/// What is asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct PickRequest {
    /// Context length (tokens); of no account where the longest is asked for.
    pub context: u32,
    /// Whether the longest context is asked for at which a setting meets the requirements.
    pub longest: bool,
    /// Memory that there is (bytes).
    pub memory: Option<u64>,
    /// The least quality that will do.
    pub min_quality: MinQuality,
    /// The least decode rate that will do (tokens/s).
    pub min_decode: Option<f64>,
    /// The least prefill rate that will do (tokens/s).
    pub min_prefill: Option<f64>,
    /// The longest time to the first token that will do (s).
    pub max_ttft: Option<f64>,
    /// What to be the best in.
    pub goal: Goal,
    /// Whether to say what a byte buys in weights and in KV cache.
    pub bytes: bool,
    /// Weights of tasks in the quality, by name; others have 1.
    pub task_weights: BTreeMap<String, f64>,
    /// Whether a context length that was not measured may be answered from others.
    pub extrapolate: bool,
    /// Whether requirements must hold for the whole interval.
    pub strict: bool,
}

impl PickRequest {
    /// The fastest setting within the suite's margin at a measured context length (tokens).
    pub fn new(context: u32) -> Self {
        Self {
            context,
            longest: false,
            memory: None,
            min_quality: MinQuality::WithinMargin,
            min_decode: None,
            min_prefill: None,
            max_ttft: None,
            bytes: false,
            goal: Goal::default(),
            task_weights: BTreeMap::new(),
            extrapolate: false,
            strict: false,
        }
    }
}
