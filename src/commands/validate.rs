//! `validate`.

use schemars::JsonSchema;
use serde::Serialize;

use super::{print, print_json};
use crate::cli::ValidateArgs;
use crate::error::{Error, Result, chain};
use crate::model::{Silent, Store};
use crate::plan::{Filter, plan};
use crate::runner;
use crate::secrets::Secrets;
use crate::suite::{self, Suite, Warning};

/// What `validate --json` prints.
#[derive(Debug, Default, Serialize, JsonSchema)]
pub(super) struct Validated {
    /// Version of this form.
    pub schema_version: u32,
    /// Whether the suite can be run; else `errors` says why not, and nothing else is given.
    pub valid: bool,
    /// What is wrong.
    pub errors: Vec<Fault>,
    /// Hash of the resolved suite.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<String>,
    /// Trials that a run plans, the reference's second visits included.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trials: Option<usize>,
    /// What a run would be sorry for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<Warning>,
    /// The suite with every default filled in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub suite: Option<Suite>,
}

/// Something that is wrong with a suite.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Fault {
    /// What.
    pub message: String,
    /// The file, as it was named; with `--set` the merged text is meant where the message says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// Line in the file, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<usize>,
    /// Column in the line, from 1, in characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub column: Option<usize>,
    /// A few words on the marked place.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// What to try.
    pub hints: Vec<String>,
}

impl Fault {
    fn of(error: &Error) -> Self {
        let place = error.location();
        let at = place.map(|place| place.line_column());
        Self {
            message: chain(error),
            file: place.map(|place| place.file.display().to_string()),
            line: at.map(|(line, _)| line),
            column: at.map(|(_, column)| column),
            label: place.map(|place| place.label.clone()).filter(|label| !label.is_empty()),
            hints: error.hints().to_vec(),
        }
    }
}

pub(super) fn validate(args: &ValidateArgs) -> Result<u8> {
    match checked(args) {
        Ok((suite, trials, warnings)) if args.json => print_json(&Validated {
            schema_version: 1,
            valid: true,
            errors: Vec::new(),
            fingerprint: Some(suite.fingerprint()),
            trials: Some(trials),
            warnings,
            suite: Some(Secrets::of(&suite).masked_suite(&suite)?),
        }),
        Ok((suite, trials, warnings)) => {
            let warnings: String = warnings.iter().map(|warning| format!("{warning}\n")).collect();
            print(&format!(
                "{} is valid: {} settings x {} context lengths, {} tasks, {trials} trials\n{warnings}",
                args.suite.display(),
                suite.settings.len(),
                suite.contexts.len(),
                suite.tasks.len(),
            ))
        }
        Err(error) => {
            if args.json {
                let errors = vec![Fault::of(&error)];
                print_json(&Validated { schema_version: 1, errors, ..Validated::default() })?;
            }
            Err(error)
        }
    }
}

/// The suite, how many trials a run of it plans, and what it would be sorry for.
fn checked(args: &ValidateArgs) -> Result<(Suite, usize, Vec<Warning>)> {
    let suite = suite::load(&args.suite, &args.overrides())?;
    let trials = plan(&suite, &Filter::default())?.trials();
    let warnings = runner::beyond_trained(&suite, &Store::open(&Silent)?);
    Ok((suite, trials, warnings))
}
