//! Small made-up summaries for unit tests.

use super::summary::{CellSummary, Machine, Objective, SUMMARY_SCHEMA_VERSION, Summary};
use crate::journal::{FORMAT, Header};
use crate::suite::Suite;

/// A cell with nothing measured.
pub(crate) fn cell(setting: &str, context: u32) -> CellSummary {
    CellSummary::unmeasured(setting, context)
}

/// The header of a run of a suite.
pub(crate) fn header(suite: Suite) -> Header {
    Header {
        format: FORMAT,
        run: "20260101-000000-test-0123".into(),
        started: "2026-01-01T00:00:00Z".into(),
        tool_version: "0.1.0".into(),
        git_hash: None,
        fingerprint: suite.fingerprint(),
        suite,
        repeat: "kneepoint run suites/test.toml".into(),
        machine: Machine::default(),
        engines: Vec::new(),
        models: Vec::new(),
        filters: Vec::new(),
    }
}

/// A run in which nothing was measured.
pub(crate) fn summary() -> Summary {
    Summary {
        schema_version: SUMMARY_SCHEMA_VERSION,
        tool_version: "0.1.0".into(),
        suite: "test".into(),
        description: "made up".into(),
        fingerprint: "0123456789abcdef".into(),
        run: "20260101-000000-test-0123".into(),
        started: "2026-01-01T00:00:00Z".into(),
        duration_s: 60.0,
        repeat: "kneepoint run suites/test.toml".into(),
        planned: 0,
        done: 0,
        machine: Machine::default(),
        engines: Vec::new(),
        models: Vec::new(),
        reference: "F16 kv=f16".into(),
        margin: 0.02,
        seed: 1,
        confidence: 0.95,
        draws: 1000,
        objectives: vec![Objective::Quality, Objective::Decode, Objective::Memory],
        verdict: "Made up.".into(),
        cells: Vec::new(),
        aa: Vec::new(),
        tasks: Vec::new(),
        depths: Vec::new(),
        conversations: Vec::new(),
        kld_bands: Vec::new(),
        divergence: Vec::new(),
        speculation: Vec::new(),
        prefix_cache: Vec::new(),
        figures: Vec::new(),
        memory_fits: Vec::new(),
        effective: Vec::new(),
        triggers: Vec::new(),
        arms: Vec::new(),
        load: None,
        fronts: Vec::new(),
        interactions: Vec::new(),
        stopping: None,
        gates: Vec::new(),
        failures: Vec::new(),
        flags: Vec::new(),
        not_measured: Vec::new(),
    }
}
