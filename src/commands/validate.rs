//! `validate`.

use schemars::JsonSchema;
use serde::Serialize;

use super::{print, print_json};
use crate::cli::ValidateArgs;
use crate::error::Result;
use crate::model::{Silent, Store};
use crate::plan::{Filter, plan};
use crate::runner;
use crate::suite::{self, Suite, Warning};

/// What `validate --json` prints.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Validated {
    /// Version of this form.
    pub schema_version: u32,
    /// Hash of the resolved suite.
    pub fingerprint: String,
    /// Trials that a run plans, the reference's second visits included.
    pub trials: usize,
    /// What a run would be sorry for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<Warning>,
    /// The suite with every default filled in.
    pub suite: Suite,
}

pub(super) fn validate(args: &ValidateArgs) -> Result<u8> {
    let suite = suite::load(&args.suite, &args.overrides)?;
    let plan = plan(&suite, &Filter::default())?;
    let trials = plan.trials();
    let warnings = runner::beyond_trained(&suite, &Store::open(&Silent)?);
    if args.json {
        let fingerprint = suite.fingerprint();
        return print_json(&Validated { schema_version: 1, fingerprint, trials, warnings, suite });
    }
    print(&format!(
        "{} is valid: {} settings x {} context lengths, {} tasks, {trials} trials\n",
        args.suite.display(),
        suite.settings.len(),
        suite.contexts.len(),
        suite.tasks.len(),
    ))?;
    print(&warnings.iter().map(|warning| format!("{warning}\n")).collect::<String>())
}
