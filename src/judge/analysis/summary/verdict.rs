//! What the data says of a cell: its quality, and its place on the front.

#[cfg(test)]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Whether a setting keeps the reference's quality (docs/statistics.md, section 4: non-inferiority with a margin).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// This is the reference.
    Reference,
    /// The whole interval of the difference lies above minus the margin.
    NoWorse,
    /// The whole interval lies below zero and beyond the A/A floor.
    Worse,
    /// The data cannot tell.
    NotSeparable,
    /// A task of the reference's is missing: the means are of different tasks.
    NotComparable,
    /// Nothing was scored.
    NotMeasured,
}

impl Verdict {
    /// The verdict in words.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Reference => "reference",
            Self::NoWorse => "no worse",
            Self::Worse => "worse",
            Self::NotSeparable => "not separable",
            Self::NotComparable => "not comparable",
            Self::NotMeasured => "not measured",
        }
    }
}

/// Where a cell stands relative to the Pareto front of its context length.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum FrontStatus {
    /// On the front in nearly every bootstrap draw.
    OnFront,
    /// On the front in nearly every bootstrap draw, but only by what it costs: the verdict calls its quality worse.
    OnlyByCost,
    /// Dominated in nearly every bootstrap draw.
    Dominated,
    /// The data cannot tell.
    NotSeparable,
    /// An objective was not measured.
    NotMeasured,
}
