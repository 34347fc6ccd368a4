//! From a journal to a [`Summary`]: what can be claimed, and how sure it is.
//!
//! Pure: the same journal gives the same summary, whatever the machine, the clock or the number of threads.

use crate::record::Arm;
use crate::record::suite::Suite;
use crate::task::{self, Comparison, Weight};

mod arms;
mod cells;
pub mod compare;
mod conversations;
mod declared;
mod divergence;
mod draws;
mod duration;
mod effective;
mod energy;
pub mod expected;
mod figures;
mod frame;
pub(crate) mod gain;
pub mod gates;
pub(crate) mod held;
pub mod history;
mod interaction;
mod kld;
pub mod loadtest;
mod measured;
mod memory;
pub mod memory_formula;
mod outlook;
mod pareto;
pub mod pick;
pub mod power;
mod prefix_cache;
mod quality;
mod repeats;
mod replies;
mod roofline;
pub mod route;
mod run;
pub mod search;
mod speculation;
mod speed;
pub mod stopping;
mod summarise;
pub mod summary;
mod tasks;
mod thinking;
mod triggers;
mod verdict;
mod visits;
mod warnings;
pub(crate) mod words;
mod workers;

#[cfg(test)]
mod comparable;
#[cfg(test)]
mod simulation;
#[cfg(test)]
pub(crate) mod testing;

pub use effective::RULER_LINE;
pub use frame::trials_parquet;
pub(crate) use outlook::{takes as verdict_takes, words as open_verdict};
pub use summarise::{summarise, summarise_with};

/// What tasks call a reply whose tool call stands in the text instead of the calls.
pub(crate) const LEAKED: &str = "leaked_to_content";

/// What the analysis asks about tasks: the real table is [`Registry`], tests bring their own.
pub trait Tasks: Sync {
    /// How the task's result enters the report; `None` for a task that this build does not know.
    fn weight(&self, task: &str) -> Option<Weight>;

    /// The figures that the report shows, by name; see [`Card::figures`](crate::task::Card::figures).
    fn figures(&self, _task: &str) -> &'static [&'static str] {
        &[]
    }

    /// What the task compares of a reply and the reference's; see [`Task::comparison`](crate::task::Task::comparison).
    fn comparison(&self, _task: &str) -> Comparison {
        Comparison::None
    }
}

/// The tasks that kneepoint knows.
#[derive(Debug, Clone, Copy)]
pub struct Registry;

impl Tasks for Registry {
    fn weight(&self, task: &str) -> Option<Weight> {
        task::find(task).map(|task| task.card().weight)
    }

    fn figures(&self, task: &str) -> &'static [&'static str] {
        task::find(task).map_or(&[], |task| task.card().figures)
    }

    fn comparison(&self, task: &str) -> Comparison {
        task::find(task).map_or(Comparison::None, |task| task.comparison())
    }
}

/// Tasks as a suite takes them: it may say which of them count for the quality.
#[derive(Clone, Copy)]
pub(crate) struct InSuite<'a> {
    pub(crate) tasks: &'a dyn Tasks,
    pub(crate) suite: &'a Suite,
}

impl Tasks for InSuite<'_> {
    fn weight(&self, task: &str) -> Option<Weight> {
        let spec = self.suite.tasks.iter().find(|spec| spec.name == task);
        Some(self.tasks.weight(task)?.told(spec.and_then(|spec| spec.primary)))
    }

    fn figures(&self, task: &str) -> &'static [&'static str] {
        self.tasks.figures(task)
    }

    fn comparison(&self, task: &str) -> Comparison {
        self.tasks.comparison(task)
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
    /// So many graded units have Student's interval for their small-sample one.
    pub(crate) graded_from: usize,
}

impl Resampling {
    /// How many graded units that takes; of scores by probability, which are all graded, any two will do.
    pub(crate) const GRADED_UNITS: usize = 10;
}
