//! From a journal to a [`Summary`]: what can be claimed, and how sure it is.
//!
//! Pure: the same journal gives the same summary, whatever the machine, the clock or the number of threads.

use std::collections::BTreeMap;

use crate::record::{Arm, Case, Reply};
use crate::task::coherence::greedy_divergence::{self, GreedyDivergence};
use crate::task::{self, Task as _, Weight};

mod arms;
mod cells;
pub mod compare;
mod conversations;
mod divergence;
mod draws;
mod duration;
mod effective;
mod energy;
mod figures;
mod frame;
pub mod gates;
pub mod history;
mod interaction;
mod kld;
pub mod loadtest;
mod measured;
mod memory;
pub mod memory_formula;
mod pareto;
pub mod pick;
pub mod power;
mod prefix_cache;
mod quality;
mod replies;
pub mod route;
mod run;
mod speculation;
mod speed;
pub mod stopping;
mod summarise;
pub mod summary;
mod tasks;
mod triggers;
mod verdict;
mod visits;
mod warnings;
pub(crate) mod words;

#[cfg(test)]
mod comparable;
#[cfg(test)]
mod simulation;
#[cfg(test)]
pub(crate) mod testing;

pub use effective::RULER_LINE;
pub use summarise::{summarise, summarise_with};

/// What tasks call a reply whose tool call stands in the text instead of the calls.
pub(crate) const LEAKED: &str = "leaked_to_content";

pub use crate::task::coherence::greedy_divergence::Divergence;
pub use crate::task::coherence::kld::PositionKld;

/// What the analysis asks about tasks: the real table is [`Registry`], tests bring their own.
pub trait Tasks: Sync {
    /// How the task's result enters the report; `None` for a task that this build does not know.
    fn weight(&self, task: &str) -> Option<Weight>;

    /// For comparative tasks: the reply's distance from the reference's reply, position by position; empty
    /// when they cannot be compared.
    fn positions(&self, case: &Case, reply: &Reply, reference: &Reply) -> Vec<PositionKld>;

    /// For tasks that ask where a greedy reply parts from the reference's: the place; `None` for others.
    fn divergence(&self, _case: &Case, _reply: &Reply, _reference: &Reply) -> Option<Divergence> {
        None
    }

    /// Whether the task asks where greedy replies part.
    fn compares_greedy(&self, _task: &str) -> bool {
        false
    }

    /// The figures that the report shows, by name; see [`Task::figures`](crate::task::Task::figures).
    fn figures(&self, _task: &str) -> &'static [&'static str] {
        &[]
    }

    /// Figures of a reply against the reference's; see [`Task::compare`](crate::task::Task::compare).
    fn compare(&self, _case: &Case, _reply: &Reply, _reference: &Reply) -> BTreeMap<String, f64> {
        BTreeMap::new()
    }
}

/// The tasks that kneepoint knows.
#[derive(Debug, Clone, Copy)]
pub struct Registry;

impl Tasks for Registry {
    fn weight(&self, task: &str) -> Option<Weight> {
        task::find(task).map(task::Task::weight)
    }

    fn positions(&self, case: &Case, reply: &Reply, reference: &Reply) -> Vec<PositionKld> {
        task::coherence::kld::positions(case, reply, reference)
    }

    fn divergence(&self, case: &Case, reply: &Reply, reference: &Reply) -> Option<Divergence> {
        let asks = case.task == GreedyDivergence.name();
        asks.then(|| greedy_divergence::divergence(reply, reference)).flatten()
    }

    fn compares_greedy(&self, task: &str) -> bool {
        task == GreedyDivergence.name()
    }

    fn figures(&self, task: &str) -> &'static [&'static str] {
        task::find(task).map_or(&[], task::Task::figures)
    }

    fn compare(&self, case: &Case, reply: &Reply, reference: &Reply) -> BTreeMap<String, f64> {
        let figures = task::find(&case.task).and_then(|task| task.compare(case, reply, reference));
        figures.unwrap_or_default()
    }
}

/// ` (native)` behind a task's name; nothing for a task without arms.
pub(crate) fn arm_suffix(arm: Option<Arm>) -> String {
    arm.map_or(String::new(), |arm| format!(" ({arm})"))
}

/// How draws are made; from the suite.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Resampling {
    pub(crate) seed: u64,
    pub(crate) draws: u32,
    pub(crate) confidence: f64,
}
