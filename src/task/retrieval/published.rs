//! Cases that runs were made with must not change unnoticed: the runs could not be resumed or compared any more.

use super::*;
use crate::record::short_hash;
use crate::task::TASKS;
use crate::task::testing::{WordCounter, params};

/// A hash over cases of many lengths and both modes. Ids and versions are left out, so that it tells whether
/// anything but the version changed.
fn content(task: &dyn Task) -> String {
    let mut all = Vec::new();
    for seed in [1, 42] {
        for mode in task.card().needs.modes {
            for (context, samples) in [(1024, 6), (4096, 5), (32_768, 2)] {
                let params = Params { mode: *mode, ..params(context, samples, None) };
                for mut case in task.cases(&params, seed, &WordCounter::default()).unwrap() {
                    case.id = "".into();
                    case.task_version = 0;
                    all.extend(serde_json::to_vec(&case).unwrap());
                }
            }
        }
    }
    short_hash(&all)
}

#[test]
fn cases_change_only_with_the_version_of_their_task() {
    let own =
        TASKS.iter().filter(|task| task.name().starts_with("retrieval/") && !task.card().needs.reads_file);
    let found: Vec<String> =
        own.map(|task| format!("{} {} {}", task.name(), task.version(), content(*task))).collect();
    for published in PUBLISHED {
        let why = "bump the version of the task's card, and write it down here";
        assert!(
            found.iter().any(|found| found == published),
            "{published} is now another: {why}\n{found:#?}"
        );
    }
}

/// Name, version, content. A new task is written down with its first release: before that no run depends on it.
const PUBLISHED: &[&str] = &[
    "retrieval/niah_single_1 2 0e1b5e56cf27d466",
    "retrieval/niah_single_2 2 5d2ceceee78788d9",
    "retrieval/niah_single_3 2 bb5cf22704240890",
    "retrieval/niah_multikey_1 2 65fe17ed74603da1",
    "retrieval/niah_multikey_2 2 31ebb203b7783656",
    "retrieval/niah_multikey_3 2 0fc3e81da53d262b",
    "retrieval/niah_multivalue 2 35428ea807ddf225",
    "retrieval/niah_multiquery 2 77c8193a682a2b35",
    "retrieval/variable_tracking 1 bce7e509955d7081",
    "retrieval/common_words 2 29da582f9c62e8e2",
    "retrieval/frequent_words 1 ab31f5d856ec11c5",
    "retrieval/confusable_keys 1 8c943a89631cb146",
    "retrieval/graph_walks 1 8fedce79e9fb5b25",
    "retrieval/counting 1 a0d0aea719e2ea8c",
    "retrieval/ordinal_recall 1 4ed21136699b588d",
];
