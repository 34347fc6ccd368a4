//! Engines that tell no grammar: what the table says that they hold of a suite's schemas, before anything is started.

use std::collections::{BTreeMap, HashSet};

use super::constraints::{HeldBook, by_table};
use super::server::properties;
use crate::measure::client::Client;
use crate::measure::engine::Engine;
use crate::record::suite::{Setting, Suite, TaskSpec};
use crate::record::{Arm, Case, HeldSchema, Hold, Warning};
use crate::task::tools::held::by_table::{Column, is_in_table};
use crate::task::{self, Approximate, Params};

/// Most reasons that a warning gives.
const LISTED: usize = 8;

/// The column of the table for a setting; `None` where the table knows nothing of the engine, else a column or why there is none.
pub(super) fn column(suite: &Suite, setting: &str, version: Option<&str>) -> Option<Result<Column, String>> {
    let setting = suite.measured().find(|measured| measured.label == setting);
    let args: Vec<String> =
        suite.engine.args.iter().cloned().chain(setting.into_iter().flat_map(own_args)).collect();
    Column::of(&suite.engine.name, version, &args)
}

/// The arguments of a setting that say which library makes grammars.
fn own_args(setting: &Setting) -> Vec<String> {
    let option = setting.options.get("grammar_backend");
    let words = option.into_iter().flat_map(|library| ["--grammar-backend".to_owned(), library.clone()]);
    words.chain(setting.extra_args.iter().cloned()).collect()
}

/// What a server says that its version is, among its properties or by a path of its own.
pub async fn told_version(engine: &dyn Engine, client: &Client) -> Option<String> {
    if let Some(build) = engine.effective("", &properties(engine, client).await).build {
        return Some(build);
    }
    let answer = client.get_json(engine.card().version?).await.ok()?;
    answer.get("version")?.as_str().map(crate::console::shown)
}

/// A warning for every task whose schemas the engine does not hold in full, by the table: nothing is started. The version is that of the
/// server's binary, where it is known.
pub(super) fn not_held(suite: &Suite, version: Option<&str>) -> Vec<Warning> {
    if !is_in_table(&suite.engine.name) {
        return Vec::new();
    }
    let Some(column) = column(suite, &suite.reference().label, version) else { return Vec::new() };
    suite.tasks.iter().filter_map(|spec| warning(suite, spec, &column)).collect()
}

fn warning(suite: &Suite, spec: &TaskSpec, column: &Result<Column, String>) -> Option<Warning> {
    let schemas = schemas(suite, spec, column);
    let full = count(&schemas, |held| held.in_full() == Some(true));
    if full == schemas.len() {
        return None;
    }
    let by = match column {
        Ok(column) => format!("by table for {}, no server was asked", column.words()),
        Err(reason) => reason.clone(),
    };
    let mut text = format!("{}: {full} of {} schemas are held in full ({by})", spec.name, schemas.len());
    for (hold, lead) in [
        (Hold::Dropped, "not enforced"),
        (Hold::OverRestricted, "right values barred by"),
        (Hold::Refused, "refused for"),
    ] {
        text.push_str(&listed(lead, &by_keyword(&schemas, hold)));
    }
    let unknown = count(&schemas, |held| held.in_full().is_none());
    if unknown > 0 {
        text.push_str(&format!("; not known: {}", counted(unknown)));
    }
    let hint =
        format!("`kneepoint schema-check FILE --engine {}` says it of every schema", suite.engine.name);
    Some(Warning::new("schemas-not-held", text).hint(hint))
}

/// What the table says of the schemas of a task's cases, each once. Cases are made with a guess at their tokens: their schemas do not
/// depend on those.
fn schemas(suite: &Suite, spec: &TaskSpec, column: &Result<Column, String>) -> Vec<HeldSchema> {
    let (mut seen, mut found) = (HashSet::new(), Vec::new());
    let (Some(task), Some(&context)) = (task::find(&spec.name), spec.contexts.iter().max()) else {
        return found;
    };
    let arms: Vec<Option<Arm>> = match spec.arms.as_slice() {
        [] => vec![None],
        arms => arms.iter().copied().map(Some).collect(),
    };
    for arm in arms.into_iter().filter(|arm| HeldBook::concerns(task, *arm == Some(Arm::Constrained))) {
        let mut look = |case: Case| {
            for constraint in task.constraints(&case) {
                if seen.insert(constraint.hash()) {
                    found.push(by_table(column, &case, &constraint));
                }
            }
            Ok(())
        };
        // What is wrong with a case is for the run to say, or was said of the suite.
        let _ = task.each_case(&Params::of(spec, context, arm), suite.seed, &Approximate, &mut look);
    }
    found
}

fn count(schemas: &[HeldSchema], fits: impl Fn(&HeldSchema) -> bool) -> usize {
    schemas.iter().filter(|held| fits(held)).count()
}

/// In how many schemas this is held of each keyword.
fn by_keyword(schemas: &[HeldSchema], hold: Hold) -> BTreeMap<&str, usize> {
    let mut counts = BTreeMap::new();
    for name in schemas.iter().flat_map(|held| held.keywords_of(hold)) {
        *counts.entry(name).or_insert(0) += 1;
    }
    counts
}

fn listed(lead: &str, counts: &BTreeMap<&str, usize>) -> String {
    let mut names: Vec<(&&str, &usize)> = counts.iter().collect();
    names.sort_by_key(|(name, count)| (std::cmp::Reverse(**count), **name));
    let mut words: Vec<String> =
        names.iter().take(LISTED).map(|(name, count)| format!("{name} ({})", counted(**count))).collect();
    if names.len() > LISTED {
        words.push(format!("{} more", names.len() - LISTED));
    }
    if words.is_empty() { String::new() } else { format!("; {lead}: {}", words.join(", ")) }
}

fn counted(schemas: usize) -> String {
    format!("{schemas} schema{}", if schemas == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn suite(engine: &str, task: &str) -> Suite {
        let text = format!(
            "name = \"t\"\ncontexts = [4096]\n[engine]\n{engine}\n[[model]]\nname = \"m\"\npath = \"m\"\nweights = \"BF16\"\n\
             [reference]\n[[task]]\n{task}\n"
        );
        crate::suite::parse(&text, Path::new("t.toml"), &[]).unwrap()
    }

    const TASK: &str = "name = \"tools/json_schema\"\nsamples = 120\narms = [\"prompted\", \"constrained\"]";

    #[test]
    fn what_an_engine_does_not_hold_is_told_before_a_run() {
        let warnings = not_held(&suite("name = \"sglang\"", TASK), Some("0.5.23"));
        let [warning] = warnings.as_slice() else { panic!("{warnings:?}") };
        assert_eq!(warning.code, "schemas-not-held");
        insta::assert_snapshot!(warning.to_string());
    }

    #[test]
    fn nothing_is_told_where_nothing_is_constrained_or_the_server_can_be_asked() {
        let prompted = "name = \"tools/json_schema\"\nsamples = 4\narms = [\"prompted\"]";
        assert_eq!(not_held(&suite("name = \"vllm\"", prompted), None), []);
        assert_eq!(
            not_held(&suite("name = \"vllm\"", "name = \"retrieval/niah_single_1\"\nsamples = 1"), None),
            []
        );
        assert_eq!(not_held(&suite("name = \"llama.cpp\"", TASK), None), []);
    }

    #[test]
    fn the_library_that_a_suite_names_is_the_one_that_is_looked_up() {
        let named = suite(
            "name = \"vllm\"\nargs = [\"--structured-outputs-config.backend\", \"lm-format-enforcer\"]",
            TASK,
        );
        let [warning] = &not_held(&named, Some("0.33.0"))[..] else { panic!("one warning") };
        assert!(
            warning.text.starts_with(
                "tools/json_schema: 0 of 120 schemas are held in full (the table has no column of vllm with lm-format-enforcer)"
            ),
            "{warning}"
        );
    }
}
