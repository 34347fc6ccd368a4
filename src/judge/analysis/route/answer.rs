//! What is answered, as it is published.

#[cfg(test)]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::policy::{Policy, PolicyKind};
use crate::judge::analysis::summary::Estimate;

/// Version of the JSON form of [`Route`].
pub const ROUTE_SCHEMA_VERSION: u32 = 1;

/// How policies do between two settings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct Route {
    /// [`ROUTE_SCHEMA_VERSION`].
    pub schema_version: u32,
    /// Name of the run folder.
    pub run: String,
    /// Suite name.
    pub suite: String,
    /// Label of the fast setting.
    pub fast: String,
    /// Label of the smart setting.
    pub smart: String,
    /// Cases that both settings (and all others listed) answered.
    pub items: u32,
    /// Peak memory of both servers together (bytes): routing needs both at hand.
    pub memory_bytes: Option<u64>,
    /// Each setting alone, in suite order.
    pub settings: Vec<Point>,
    /// Always the right one of the two, known only afterwards: no policy can do better.
    pub oracle: Point,
    /// Policies, each scored on cases that it was not chosen on.
    pub policies: Vec<PolicyRow>,
    /// Confidence of intervals before they are widened (0..1).
    pub confidence: f64,
    /// Bootstrap draws.
    pub draws: u32,
    /// Whether any policy beats the front, in words.
    pub verdict: String,
    /// What the reader must know.
    pub notes: Vec<String>,
}

/// Means over the cases; every task (and arm) at every context length weighs the same.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct Point {
    /// Setting label, or what it is.
    pub name: String,
    /// Mean score (0..1).
    pub quality: Estimate,
    /// Mean time of a request (s).
    pub latency_s: Estimate,
    /// Mean energy of a request (J).
    pub energy_j: Option<Estimate>,
}

/// A policy, chosen on one half of the cases and scored on the other.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct PolicyRow {
    /// What it looks at.
    pub kind: PolicyKind,
    /// The policies that the two halves chose.
    pub chosen: Vec<Policy>,
    /// Share of requests that go to the smart setting (0..1), weighted as the means.
    pub to_smart: f64,
    /// What it comes to.
    pub point: Point,
    /// Quality above the best mixture of settings at the same mean latency (points of the 0..1 scale), the
    /// interval widened for the number of policies.
    pub gain: Estimate,
    /// Whether that interval lies above 0.
    pub beats_front: bool,
}
