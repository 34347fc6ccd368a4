//! Routing between a fast and a smart setting: would sending each request to one of them, by what is known
//! before the answer, beat every single setting?
//!
//! The run's own trials answer: both settings saw the same requests, so what a policy would have scored and
//! taken is known. A policy is chosen on one half of the cases and scored on the other, and the other way
//! round. The rival is not only each setting alone but every mixture of two by the toss of a coin: a policy
//! that merely sends half of the requests to each must not look like an invention. A policy beats the front
//! when the interval of its quality above the best mixture at the same mean latency lies above 0, widened for
//! the number of policies (Bonferroni).

use std::collections::BTreeSet;

use super::run::Run;
use super::{Registry, Tasks};
use crate::error::Result;
use crate::record::journal::Journal;

mod answer;
mod data;
mod evaluate;
mod features;
mod policy;
mod request;

pub use answer::{Point, PolicyRow, ROUTE_SCHEMA_VERSION, Route};
pub use features::Feature;
pub use policy::{Policy, PolicyKind};
pub use request::RouteRequest;

/// Evaluates routing on a run's journal.
///
/// # Errors
/// A usage error for an unknown setting, or when fewer than two settings answered common cases.
pub fn route(journal: &Journal, request: &RouteRequest) -> Result<Route> {
    route_with(journal, &Registry, request)
}

/// As [`route`], with another table of tasks.
///
/// # Errors
/// As [`route`].
pub fn route_with(journal: &Journal, tasks: &dyn Tasks, request: &RouteRequest) -> Result<Route> {
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
        items: data.cases.len() as u32,
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
            let visit = super::frame::VisitKey { setting, context, replicate: 0 };
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
            "No policy beats the front; {} scores no better than {} on these cases, so there is nothing to route for.",
            smart.name, fast.name
        );
    }
    "No policy is shown to beat the front: a single setting, or a mixture of two by the toss of a coin, does as well as far as these cases can tell.".into()
}
