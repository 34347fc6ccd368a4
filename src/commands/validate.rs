//! `validate`.

use schemars::JsonSchema;
use serde::Serialize;

use super::{print, print_json};
use crate::cli::ValidateArgs;
use crate::error::Result;
use crate::plan::{Filter, plan};
use crate::suite::{self, Suite};

/// What `validate --json` prints.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Validated {
    /// Version of this form.
    pub schema_version: u32,
    /// Hash of the resolved suite.
    pub fingerprint: String,
    /// Trials that a run plans, the reference's second visits included.
    pub trials: usize,
    /// The suite with every default filled in.
    pub suite: Suite,
}

pub(super) fn validate(args: &ValidateArgs) -> Result<u8> {
    let suite = suite::load(&args.suite, &args.overrides)?;
    let plan = plan(&suite, &Filter::default())?;
    let trials = plan.trials();
    if args.json {
        return print_json(&Validated { schema_version: 1, fingerprint: suite.fingerprint(), trials, suite });
    }
    print(&format!(
        "{} is valid: {} settings x {} context lengths, {} tasks, {trials} trials\n",
        args.suite.display(),
        suite.settings.len(),
        suite.contexts.len(),
        suite.tasks.len(),
    ))
}
