//! How many workers a run has, and what each of them does.

use crate::cli::RunArgs;
use crate::console;
use crate::record::plan::Plan;
use crate::record::share::{most_workers, share};
use crate::record::suite::Suite;

/// Workers on a cluster, where the user names no number.
const USUAL_TASKS: u32 = 8;

/// How many tasks a cluster is asked for: no more than have something to do.
pub(super) fn tasks(suite: &Suite, plan: &Plan, args: &RunArgs) -> u32 {
    let most = most_workers(suite, plan);
    match args.spread.tasks {
        Some(tasks) if tasks > most => {
            console::note(&format!(
                "{most} of {tasks} tasks have something to do: what is compared is measured by one task; more `rounds` in the \
                 suite make more shares"
            ));
            most
        }
        Some(tasks) => tasks,
        None => most.min(USUAL_TASKS),
    }
}

/// Who would measure what, a line for each worker.
pub(super) fn shares_in_words(
    suite: &Suite,
    plan: &Plan,
    workers: u32,
    name: impl Fn(u32) -> String,
) -> String {
    let line = |index: u32| {
        let share = share(suite, plan, index, workers);
        let mut rounds: Vec<u32> = share.visits.iter().map(|visit| visit.round + 1).collect();
        rounds.sort_unstable();
        rounds.dedup();
        let rounds: Vec<String> = rounds.iter().map(u32::to_string).collect();
        let load = if share.load.is_empty() { "" } else { ", the load phase" };
        format!(
            "worker {index}{}: {} trials in {} server starts, rounds {}{load}\n",
            name(index),
            share.trials(),
            share.visits.len(),
            rounds.join(", ")
        )
    };
    (0..workers).map(line).collect()
}
