//! What a search for the highest load found, as data.

#[cfg(test)]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Estimate, Verdict};
use crate::record::suite::{Arrivals, LoadSearch};

/// The highest load of every setting: within the limits, and at which nothing got worse.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct LoadCapacity {
    /// What was searched.
    pub search: LoadSearch,
    /// The settings, in suite order.
    pub rows: Vec<CapacityRow>,
}

/// What the search of a setting found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct CapacityRow {
    /// Setting label.
    pub setting: String,
    /// The highest load within the limits; `None`: there is none.
    pub held: Option<CapacityStep>,
    /// The lowest load that is not; `None`: there is none.
    pub failed: Option<CapacityStep>,
    /// How the search for them ended.
    pub end: CapacityEnd,
    /// The highest load at which nothing got worse; `None` where no cases were asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quality: Option<CapacityQuality>,
}

/// How a search ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum CapacityEnd {
    /// Between the highest load that held and the lowest that failed.
    Found,
    /// The upper end of the search was reached: the highest load is that or more.
    Top,
    /// Not even the lowest load held.
    Bottom,
    /// Loads answered differently when they were visited again, until there were too many visits.
    Unsettled,
    /// No server came up, or it could not be started again.
    NotMeasured,
    /// The run ended before the search did.
    Open,
}

/// A load, all of its visits together.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct CapacityStep {
    /// The load.
    pub arrivals: Arrivals,
    /// How often it was visited.
    pub visits: u32,
    /// Mean share of the requests that were answered and kept the limits (0..1); none of a visit that fell behind or broke
    /// off.
    pub share: f64,
    /// Requests that counted.
    pub requests: u32,
    /// Requests of these that failed or were not sent.
    pub failed: u32,
    /// Visits in which the server fell behind.
    pub behind: u32,
    /// Why a visit was broken off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub broke: Option<String>,
    /// The limits that fewer requests kept than asked.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missed: Vec<MissedLimit>,
}

/// A limit that was missed, and by how much.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct MissedLimit {
    /// Which.
    pub limit: LoadLimit,
    /// The limit (s).
    pub allowed_s: f64,
    /// The time within which as many requests were as the goal asks for (s); `None`: fewer were answered.
    pub reached_s: Option<f64>,
}

/// A limit of the load phase.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum LoadLimit {
    /// Time to the first token.
    Ttft,
    /// Mean time of a later token.
    Itl,
    /// Time to the end of the reply.
    E2e,
}

/// The highest load at which nothing got worse.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct CapacityQuality {
    /// The highest load within the limits at which cases are not shown to be worse than alone; `None`: there is none.
    pub held: Option<CapacityCrowd>,
    /// The lowest load at which they got worse; `None`: none is known.
    pub failed: Option<CapacityCrowd>,
    /// How the search for them ended; `top`: nothing got worse at the highest load within the limits.
    pub end: CapacityEnd,
}

/// Cases in the crowd of a load.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct CapacityCrowd {
    /// The load.
    pub arrivals: Arrivals,
    /// Requests under way while cases were asked; 1: alone, which is what crowds are compared with.
    pub streams: u32,
    /// Paired difference to the same cases alone (-1..1).
    pub difference: Option<Estimate>,
    /// What that comes to.
    pub verdict: Option<Verdict>,
}
