//! The data set of scenarios, and the target of a case.

use std::sync::LazyLock;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::environment::KINDS;
use crate::error::{Error, Result};
use crate::record::Tool;

static DATA: LazyLock<std::result::Result<Vec<Collection>, String>> = LazyLock::new(|| {
    let read = |kind: &super::environment::EnvironmentKind| {
        serde_json::from_str(kind.data)
            .map_err(|error| format!("datasets/tools/scenarios-{}.json: {error}", kind.name))
    };
    KINDS.iter().map(read).collect()
});

/// The scenarios of an environment.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Collection {
    pub(super) environment: String,
    pub(super) tools: Vec<Tool>,
    pub(super) scenarios: Vec<Scenario>,
}

/// A conversation whose outcome is known.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Scenario {
    /// Name in the data set.
    pub(super) id: String,
    /// What it is hard about.
    pub(super) tags: Vec<String>,
    /// State of the environment at the beginning.
    pub(super) state: Value,
    /// What the person says, in order.
    pub(super) turns: Vec<Turn>,
    /// State at the end.
    #[serde(rename = "final")]
    pub(super) end: Value,
}

/// What the person says, and what has to come of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Turn {
    /// What the person says.
    pub(super) user: String,
    /// One right way: calls by name and arguments, in order.
    pub(super) calls: Vec<(String, Value)>,
    /// What the model has to tell at the end of the turn; every one of them is in an answer to a call of the
    /// right way and in nothing that the person said, so that it cannot be known without the call.
    pub(super) results: Vec<String>,
}

/// What a right conversation is: the target of a case.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Target {
    /// Name of the environment.
    pub(super) environment: String,
    /// What may be called.
    pub(super) tools: Vec<Tool>,
    /// Most calls that a turn of the person may take.
    pub(super) calls_per_turn: u32,
    /// The scenario.
    pub(super) scenario: Scenario,
}

impl Target {
    /// The target of a case.
    ///
    /// # Errors
    /// When the case is not one of this task.
    pub(super) fn of(value: &Value) -> std::result::Result<Self, String> {
        serde_json::from_value(value.clone())
            .map_err(|error| format!("the case has no target of this task: {error}"))
    }
}

/// All scenarios, by environment.
///
/// # Errors
/// When the data set is broken.
pub(super) fn data() -> Result<&'static [Collection]> {
    match &*DATA {
        Ok(data) => Ok(data),
        Err(error) => Err(Error::runtime(format!("the data set cannot be read: {error}"))),
    }
}
