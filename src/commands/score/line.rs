//! What `score` prints.

#[cfg(test)]
use schemars::JsonSchema;
use serde::Serialize;

use crate::commands::output::print_json_line;
use crate::error::Result;
use crate::record::{Outcome, TrialKey};

/// A line that `score` prints: an outcome, or why there is none.
#[derive(Debug, Default, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub(crate) struct ScoreLine {
    /// Version of this form.
    pub schema_version: u32,
    /// The case, as its file names it; for a run its content hash.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub case: Option<String>,
    /// The task whose rule was used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub task: Option<String>,
    /// For a run: the trial.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trial: Option<TrialKey>,
    /// The judgement of today.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Outcome>,
    /// For a run: the judgement in the journal, where it was another one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<Outcome>,
    /// For a run: whether the judgement changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub changed: Option<bool>,
    /// For cases whose format has a published checker (BFCL): whether the reply passes it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub valid: Option<bool>,
    /// Why the reply does not pass that checker or the schema, or why there is no judgement: a line that cannot be read (file and line are named), a reply to no case, a
    /// case without a reply.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

impl ScoreLine {
    pub(super) fn print(self) -> Result<()> {
        print_json_line(&Self { schema_version: 1, ..self })
    }
}
