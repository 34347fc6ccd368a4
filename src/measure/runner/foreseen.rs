//! What a suite will be sorry for, before anything is started.

use super::by_table::not_held;
use super::trained::beyond_trained;
use crate::measure::model::Store;
use crate::record::Warning;
use crate::record::suite::{Suite, TaskSpec};
use crate::task::{self, Weight, weight_of};

/// Every warning that the suite, the files that are here and the version of the server's binary, where that is known, give rise
/// to.
pub fn foreseen(suite: &Suite, store: &Store<'_>, version: Option<&str>) -> Vec<Warning> {
    let mut warnings = beyond_trained(suite, store);
    warnings.extend(without_verdict(suite));
    warnings.extend(not_held(suite, version));
    warnings
}

/// A warning for each context length at which settings are asked for answers of which none counts for the quality.
fn without_verdict(suite: &Suite) -> impl Iterator<Item = Warning> {
    suite.contexts.iter().filter_map(|context| {
        let here = suite.tasks.iter().filter(|spec| spec.contexts.contains(context));
        let (mut primary, mut others) = (0, Vec::new());
        for spec in here {
            match weight_of(spec) {
                Some(Weight::Primary) => primary += 1,
                // What a cache keeps is no answer, and cannot be made to count.
                Some(Weight::Sanity) if !watches_cache(spec) => others.push(spec.name.as_str()),
                Some(Weight::Sanity | Weight::Comparative) | None => {}
            }
        }
        (primary == 0 && !others.is_empty()).then(|| {
            let text = format!(
                "no task at {context} tokens counts for the quality (asked: {}), so no setting gets a verdict there",
                others.join(", ")
            );
            Warning::new("no-verdict", text).hint("`primary = true` in its [[task]] makes a sanity check count")
        })
    })
}

fn watches_cache(spec: &TaskSpec) -> bool {
    task::find(&spec.name).is_some_and(|task| task.card().needs.watches_cache)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::suite;

    fn warned(tasks: &str) -> Vec<Warning> {
        let text = format!(
            "name = \"t\"\ncontexts = [1024, 2048]\n[engine]\nname = \"llama.cpp\"\n[[model]]\nname = \"m\"\npath = \"m.gguf\"\nweights = \"Q4_1\"\n[reference]\nkv = \"f16\"\n{tasks}"
        );
        let suite = suite::parse(&text, Path::new("t.toml"), &[]).unwrap();
        without_verdict(&suite).collect()
    }

    const PRIMARY: &str = "[[task]]\nname = \"retrieval/niah_multikey_2\"\nsamples = 4\ncontexts = [1024]\n";
    const SANITY: &str = "[[task]]\nname = \"retrieval/niah_multikey_1\"\nsamples = 4\n";

    #[test]
    fn a_context_at_which_nothing_counts_is_named() {
        let [warning] = warned(&[PRIMARY, SANITY].concat()).try_into().unwrap();
        assert_eq!(
            warning.text,
            "no task at 2048 tokens counts for the quality (asked: retrieval/niah_multikey_1), so no setting gets a verdict there"
        );
        assert_eq!(warned(&[PRIMARY, SANITY, "primary = true\n"].concat()), []);
    }

    #[test]
    fn a_suite_that_asks_for_no_answer_has_no_verdict_to_miss() {
        for name in ["serving/speed", "serving/prefix_cache"] {
            assert_eq!(warned(&format!("[[task]]\nname = \"{name}\"\nsamples = 4\n")), []);
        }
    }

    #[test]
    fn a_task_can_be_left_out_of_the_quality() {
        let left_out = [PRIMARY, "primary = false\n"].concat();
        assert_eq!(warned(&left_out).len(), 1);
    }
}
