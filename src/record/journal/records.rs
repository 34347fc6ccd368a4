//! What a line of a journal holds.

#[cfg(test)]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::header::Header;
use super::launch::LaunchRecord;
use super::loadtest::{LoadtestServer, LoadtestStep, LoadtestTrial};
use crate::record::{Case, Decision, HeldCase, HeldSchema, Trial};

/// One line of a journal: a record and its checksum. `kneepoint schema journal` describes it.
#[cfg(test)]
#[derive(Debug, JsonSchema)]
#[expect(dead_code, reason = "lines are written and read by hand: their checksum is of their bytes")]
pub(crate) struct Line {
    /// The record.
    #[serde(flatten)]
    pub(crate) record: Record,
    /// CRC-32 of the record's bytes, from the first brace to the last, as 8 hex digits; journals of before 2026-11
    /// have none. Always the last key.
    #[serde(default)]
    pub(crate) crc32: Option<String>,
}

/// What a line of a journal holds.
///
/// Not internally tagged: with `serde_json`'s arbitrary precision such an enum cannot read back its floats.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Record {
    /// Always the first line.
    Header(Box<Header>),
    /// A case, once, before the first trial that runs it.
    Case(Box<Case>),
    /// A server was started for a cell.
    Launch(Box<LaunchRecord>),
    /// A trial ended.
    Trial(Box<Trial>),
    /// A cell was stopped between two rounds, or between two texts of a visit.
    Decision(Box<Decision>),
    /// A server of the load phase was started and warmed up.
    #[serde(rename = "loadserver")]
    LoadtestServer(Box<LoadtestServer>),
    /// What the server holds of a schema, once, before the first trial that is constrained by it.
    HeldSchema(Box<HeldSchema>),
    /// What the server's grammars allow of a case, behind the schemas that it names.
    HeldCase(Box<HeldCase>),
    /// A step of the load phase ended.
    #[serde(rename = "loadstep")]
    LoadtestStep(Box<LoadtestStep>),
    /// A case that was asked under load, or alone on the same server, ended.
    #[serde(rename = "loadtrial")]
    LoadtestTrial(Box<LoadtestTrial>),
}
