//! `validate`.

#[cfg(test)]
use schemars::JsonSchema;
use serde::Serialize;

use super::output::{print, print_json};
use super::setup::runtime;
use crate::cli::ValidateArgs;
use crate::error::{Error, Kind, Result, chain};
use crate::judge::analysis::gates;
use crate::judge::analysis::gates::UndecidableGate;
use crate::measure::model::{Silent, Store};
use crate::measure::runner;
use crate::record::Warning;
use crate::record::filter::Filter;
use crate::record::plan::plan;
use crate::record::secrets::Secrets;
use crate::record::suite::Suite;
use crate::suite;

/// What `validate --json` prints.
#[derive(Debug, Default, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
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
    /// Gates that cannot pass with the planned cases, however well a run goes; `warnings` says so, too.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub undecidable_gates: Vec<UndecidableGate>,
    /// The suite with every default filled in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub suite: Option<Suite>,
}

/// Something that is wrong with a suite.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
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
        Ok((suite, trials, warnings, undecidable_gates)) if args.json => print_json(&Validated {
            schema_version: 1,
            valid: true,
            errors: Vec::new(),
            fingerprint: Some(suite.fingerprint()),
            trials: Some(trials),
            warnings,
            undecidable_gates,
            suite: Some(Secrets::of(&suite).masked_suite(&suite)?),
        }),
        Ok((suite, trials, warnings, _)) => {
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

/// What a valid suite is: itself, how many trials a run of it plans, what that would be sorry for, and the gates among it.
type Checked = (Suite, usize, Vec<Warning>, Vec<UndecidableGate>);

fn checked(args: &ValidateArgs) -> Result<Checked> {
    let suite = suite::load(&args.suite, &args.overrides())?;
    let plan = plan(&suite, &Filter::default())?;
    let store = Store::open(&Silent)?;
    let (version, warning) = ask_server(&suite, &store)?;
    let mut warnings = runner::foreseen(&suite, &store, version.as_deref());
    warnings.extend(warning);
    let undecidable = gates::undecidable(&suite, &plan);
    warnings.extend(gate_warnings(&undecidable));
    Ok((suite, plan.trials(), warnings, undecidable))
}

/// Holds types and flags against the server's binary, where that is here, and gives its version; one that does not run is no fault of the
/// suite.
fn ask_server(suite: &Suite, store: &Store<'_>) -> Result<(Option<String>, Option<Warning>)> {
    if !runner::is_server_here(suite, store) {
        return Ok((None, None));
    }
    match runtime()?.block_on(runner::check_engine(suite, store)) {
        Err(error) if error.kind() == Kind::EngineStart => {
            let text = format!("types and flags were not checked: {}", chain(&error));
            let warning = Warning::new("server-not-asked", text)
                .hint("`kneepoint doctor` says what was found on this machine");
            Ok((None, Some(warning)))
        }
        asked => asked.map(|build| (build.map(|build| build.version), None)),
    }
}

/// What is to be said of gates that cannot pass.
pub(super) fn gate_warnings(gates: &[UndecidableGate]) -> impl Iterator<Item = Warning> {
    gates.iter().map(|gate| {
        Warning::new("undecidable-gate", gate.because.clone())
            .hint("give its tasks more samples, or the gate a wider limit")
    })
}
