//! What a front trades off.

#[cfg(test)]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Which way an objective improves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// More is better.
    Up,
    /// Less is better.
    Down,
}

/// Something that a front trades off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Objective {
    /// Mean score of the primary tasks (0..1).
    Quality,
    /// Decode rate (tokens/s).
    Decode,
    /// Cold prefill rate (tokens/s).
    Prefill,
    /// Time to first token (s).
    Ttft,
    /// Peak memory of the server (bytes).
    Memory,
    /// Mean KLD from the reference (nat); the reference itself is 0.
    Kld,
    /// Energy of a request (J), beyond the idle machine where that is known.
    Energy,
}

impl Objective {
    /// Which way it improves.
    pub const fn direction(self) -> Direction {
        match self {
            Self::Quality | Self::Decode | Self::Prefill => Direction::Up,
            Self::Ttft | Self::Memory | Self::Kld | Self::Energy => Direction::Down,
        }
    }

    /// The name used in suites and reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Quality => "quality",
            Self::Decode => "decode",
            Self::Prefill => "prefill",
            Self::Ttft => "ttft",
            Self::Memory => "memory",
            Self::Kld => "kld",
            Self::Energy => "energy",
        }
    }
}
