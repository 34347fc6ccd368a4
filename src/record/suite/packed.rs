//! A reference that was measured elsewhere, as a suite knows it.

use std::path::PathBuf;

#[cfg(test)]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::record::engine_info::EngineInfo;
use crate::record::machine::Machine;
use crate::record::model::ModelInfo;

/// Where the trials of a suite's reference come from, when they come from a pack.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct PackedReference {
    /// The pack.
    pub path: PathBuf,
    /// SHA-256 of the journal in it.
    pub sha256: String,
    /// The run that it was made of.
    pub run: String,
    /// When that run started (UTC, RFC 3339).
    pub started: String,
    /// What the reference is called there.
    pub setting: String,
    /// The machine that it was measured on.
    pub machine: Machine,
    /// The engine builds that served it.
    pub engines: Vec<EngineInfo>,
    /// Its model file, where that run knows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<ModelInfo>,
    /// SHA-256 of the chat template that served it (16 hex digits), where its engine says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template_hash: Option<String>,
    /// Trials that a run takes from the pack.
    pub trials: u32,
}

impl PackedReference {
    /// The machine in words: its cards, else its processor.
    pub fn machine_words(&self) -> String {
        let cards = &self.machine.gpus;
        match cards.is_empty() {
            true => self.machine.cpu.clone(),
            false => cards.join(", "),
        }
    }

    /// The engine builds in words.
    pub fn engine_words(&self) -> String {
        let named = |engine: &EngineInfo| format!("{} {}", engine.name, engine.version);
        self.engines.iter().map(named).collect::<Vec<_>>().join(", ")
    }
}
