//! A run that several workers measure: what its header says of them.

#[cfg(test)]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Most workers of a run.
pub const MOST_WORKERS: u32 = 100_000;

/// How the visits of a run are shared out among workers, each with a journal of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct Spread {
    /// Workers; each takes its share of the plan.
    pub workers: u32,
    /// Who starts them.
    pub on: SpreadOn,
}

/// Who starts the workers of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum SpreadOn {
    /// kneepoint itself, one for each of these groups of cards of this machine, by the driver's numbers.
    Cards(Vec<Vec<u32>>),
    /// Slurm, as the tasks of an array job with these options of `sbatch`.
    Slurm(Vec<String>),
    /// Kubernetes, as the pods of an Indexed Job.
    Kubernetes,
    /// Nobody any more: these runs were measured elsewhere and merged.
    Merged(Vec<String>),
}

impl SpreadOn {
    /// In words.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Cards(_) => "cards of one machine",
            Self::Slurm(_) => "Slurm",
            Self::Kubernetes => "Kubernetes",
            Self::Merged(_) => "a merge",
        }
    }
}

/// The worker that wrote a journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct Worker {
    /// Which share of the plan it takes, from 0.
    pub index: u32,
    /// Name of the machine, as its cluster calls it.
    pub place: String,
    /// Cards that its servers were told to use, by the driver's numbers; empty: all that they see.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cards: Vec<u32>,
}
