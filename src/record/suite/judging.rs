//! How a run is judged while and after it runs: stopping early, and gates.

#[cfg(test)]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::record::Objective;

/// When cells are stopped before they have seen all cases; decided between rounds, and between texts where each is evidence of
/// its own.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct Stopping {
    /// What stops a single cell; `None`: only the budget does.
    pub rule: Option<StoppingRule>,
    /// Prompt and output tokens of all trials together.
    pub budget_tokens: Option<u64>,
    /// Time that servers are up, loading included (s).
    pub budget_s: Option<f64>,
    /// For [`StoppingRule::Best`]: what to be the best in; `None`: decoding.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub goal: Option<Objective>,
    /// For [`StoppingRule::Best`]: memory that a setting may take (bytes).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
}

/// What stops a single cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum StoppingRule {
    /// Its verdict is settled.
    Sequential,
    /// Its verdict is settled, or another setting is better and no worse on speed and memory.
    Racing,
    /// Visit by visit, the most promising setting first, until the best one that is no worse than the reference is shown.
    Best,
}

/// What a gate looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum GateMetric {
    /// Mean score of the primary tasks, or of one task (0..1).
    Quality,
    /// Paired difference to the reference (-1..1).
    Difference,
    /// Mean KLD from the reference (nat).
    Kld,
    /// Decode rate (tokens/s).
    Decode,
    /// Cold prefill rate (tokens/s).
    Prefill,
    /// Time to first token (s).
    Ttft,
    /// Energy of a request (J).
    Energy,
    /// Peak memory (bytes).
    Memory,
    /// Share of trials that broke (0..1).
    Failed,
}

impl GateMetric {
    /// The name used in suites and reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Quality => "quality",
            Self::Difference => "difference",
            Self::Kld => "kld",
            Self::Decode => "decode",
            Self::Prefill => "prefill",
            Self::Ttft => "ttft",
            Self::Energy => "energy",
            Self::Memory => "memory",
            Self::Failed => "failed",
        }
    }
}

/// A limit that cells must keep; a run that does not has exit code 100.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct Gate {
    /// What it looks at.
    pub metric: GateMetric,
    /// For the metric `quality`: one task instead of all primary ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<String>,
    /// Which cells, as filter terms (`setting=*q8_0*`, `context=4096`); empty: all.
    pub cells: Vec<String>,
    /// Smallest value, in the metric's unit.
    pub min: Option<f64>,
    /// Largest value, in the metric's unit.
    pub max: Option<f64>,
    /// The verdict must not be worse than the reference.
    pub no_worse_than_reference: bool,
    /// What the data cannot tell counts as failed.
    pub strict: bool,
}

impl Gate {
    /// The gate in words, such as `quality of retrieval/qa at least 0.8 (setting=*q8_0*)`.
    pub fn words(&self) -> String {
        let mut text = self.metric.name().to_owned();
        if let Some(task) = &self.task {
            text.push_str(&format!(" of {task}"));
        }
        if let Some(min) = self.min {
            text.push_str(&format!(" at least {min}"));
        }
        if let Some(max) = self.max {
            text.push_str(&format!(" at most {max}"));
        }
        if self.no_worse_than_reference {
            text.push_str(" no worse than the reference");
        }
        if self.strict {
            text.push_str(", shown");
        }
        if !self.cells.is_empty() {
            text.push_str(&format!(" ({})", self.cells.join(", ")));
        }
        text
    }
}
