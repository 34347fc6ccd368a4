//! Routing between a fast and a smart setting: would sending each request to one of them, by what is known
//! before the answer, beat every single setting?
//!
//! The run's own trials answer: both settings saw the same requests, so what a policy would have scored and
//! taken is known. A policy is chosen on one half of the items and scored on the other, and the other way
//! round. The rival is not only each setting alone but every mixture of two by the toss of a coin: a policy
//! that merely sends half of the requests to each must not look like an invention. A policy beats the front
//! when the interval of its quality above the best mixture at the same mean latency lies above 0, widened for
//! the number of policies (Bonferroni).

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::summary::Estimate;
use super::{Registry, Run, Tasks};
use crate::error::Result;
use crate::record::journal::Journal;

mod data;
mod evaluate;
mod features;
mod policy;

pub use features::Feature;
pub use policy::{Policy, PolicyKind};

/// Version of the JSON form of [`Route`].
pub const ROUTE_SCHEMA_VERSION: u32 = 1;

/// What is asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Request {
    /// Label of the fast setting; `None`: the one with the lowest mean latency but the smart one.
    pub fast: Option<String>,
    /// Label of the smart setting; `None`: the reference.
    pub smart: Option<String>,
}

/// How policies do between two settings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Route {
    /// [`ROUTE_SCHEMA_VERSION`].
    pub schema_version: u32,
    /// Name of the run folder.
    pub run: String,
    /// Suite name.
    pub suite: String,
    /// Label of the fast setting.
    pub fast: String,
    /// Label of the smart setting.
    pub smart: String,
    /// Items that both settings (and all others listed) answered.
    pub items: u32,
    /// Peak memory of both servers together (bytes): routing needs both at hand.
    pub memory_bytes: Option<u64>,
    /// Each setting alone, in suite order.
    pub settings: Vec<Point>,
    /// Always the right one of the two, known only afterwards: no policy can do better.
    pub oracle: Point,
    /// Policies, each scored on items that it was not chosen on.
    pub policies: Vec<PolicyRow>,
    /// Confidence of intervals before they are widened (0..1).
    pub confidence: f64,
    /// Bootstrap draws.
    pub draws: u32,
    /// Whether any policy beats the front, in words.
    pub verdict: String,
    /// What the reader must know.
    pub notes: Vec<String>,
}

/// Means over the items; every task (and arm) at every context length weighs the same.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Point {
    /// Setting label, or what it is.
    pub name: String,
    /// Mean score (0..1).
    pub quality: Estimate,
    /// Mean time of a request (s).
    pub latency_s: Estimate,
    /// Mean energy of a request (J).
    pub energy_j: Option<Estimate>,
}

/// A policy, chosen on one half of the items and scored on the other.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PolicyRow {
    /// What it looks at.
    pub kind: PolicyKind,
    /// The policies that the two halves chose.
    pub chosen: Vec<Policy>,
    /// Share of requests that go to the smart setting (0..1), weighted as the means.
    pub to_smart: f64,
    /// What it comes to.
    pub point: Point,
    /// Quality above the best mixture of settings at the same mean latency (points of the 0..1 scale), the
    /// interval widened for the number of policies.
    pub gain: Estimate,
    /// Whether that interval lies above 0.
    pub beats_front: bool,
}

/// Evaluates routing on a run's journal.
///
/// # Errors
/// A usage error for an unknown setting, or when fewer than two settings answered common items.
pub fn route(journal: &Journal, request: &Request) -> Result<Route> {
    route_with(journal, &Registry, request)
}

/// As [`route`], with another table of tasks.
///
/// # Errors
/// As [`route`].
pub fn route_with(journal: &Journal, tasks: &dyn Tasks, request: &Request) -> Result<Route> {
    let run = Run::new(journal, tasks)?;
    let data = data::Data::of(&run, request)?;
    let evaluation = evaluate::Evaluation::new(&data, run.resampling);
    let settings: Vec<Point> = (0..data.settings.len()).map(|at| evaluation.setting(at)).collect();
    let policies: Vec<PolicyRow> = PolicyKind::ALL
        .iter()
        .filter_map(|&kind| policy::choose_on_halves(kind, &data).map(|chosen| (kind, chosen)))
        .map(|(kind, chosen)| evaluation.policy(kind, chosen, PolicyKind::ALL.len()))
        .collect();
    let label = |at: usize| data.settings[at].to_owned();
    let mut notes = data.notes.clone();
    notes.push(
        "latency is of one request at a time; both servers must be at hand, and switching is free here"
            .into(),
    );
    Ok(Route {
        schema_version: ROUTE_SCHEMA_VERSION,
        run: journal.header.run.clone(),
        suite: run.suite.name.clone(),
        fast: label(data.fast),
        smart: label(data.smart),
        items: data.items.len() as u32,
        memory_bytes: both_in_memory(&run, &label(data.fast), &label(data.smart))?,
        oracle: evaluation.oracle(),
        verdict: verdict(&settings, &policies, &data),
        settings,
        policies,
        confidence: run.resampling.confidence,
        draws: run.resampling.draws,
        notes,
    })
}

/// Peak memory of both servers at their largest; `None` where they live in two kinds of memory.
fn both_in_memory(run: &Run<'_>, fast: &str, smart: &str) -> Result<Option<u64>> {
    let mut sum = Some(0);
    let mut kinds = BTreeSet::new();
    for setting in [fast, smart] {
        let mut largest = None;
        for &context in &run.suite.contexts {
            let visit = super::frame::Visit { setting, context, replicate: 0 };
            let memory = super::memory::measure(run, visit)?;
            kinds.extend(memory.peak_kind);
            largest = largest.max(memory.peak_bytes);
        }
        sum = sum.zip(largest).map(|(sum, peak): (u64, u64)| sum + peak);
    }
    Ok(sum.filter(|_| kinds.len() <= 1))
}

fn verdict(settings: &[Point], policies: &[PolicyRow], data: &data::Data<'_>) -> String {
    let (fast, smart) = (&settings[data.fast], &settings[data.smart]);
    if smart.latency_s.value <= fast.latency_s.value {
        return format!("{} is not slower than {}: there is nothing to route for.", smart.name, fast.name);
    }
    let beating: Vec<&PolicyRow> = policies.iter().filter(|row| row.beats_front).collect();
    // The last of equals is taken: reversed, that is the simplest.
    let best = beating.iter().rev().max_by(|a, b| a.gain.value.total_cmp(&b.gain.value));
    if let Some(best) = best {
        return format!(
            "Routing by {} beats every setting and every mixture of two: {} of quality above them at the same mean latency.",
            best.kind.words(),
            super::words::points(best.gain.value)
        );
    }
    if smart.quality.value <= fast.quality.value {
        return format!(
            "No policy beats the front; {} scores no better than {} on these items, so there is nothing to route for.",
            smart.name, fast.name
        );
    }
    "No policy is shown to beat the front: a single setting, or a mixture of two by the toss of a coin, does as well as far as these items can tell.".into()
}
