//! What the reader must know beside the figures, and what has no figure.

use super::loadtest;
use crate::error::Result;
use crate::judge::analysis::replies;
use crate::judge::analysis::run::Run;
use crate::judge::analysis::summary::{Summary, Unit, Warning, WarningCode};

mod doubts;
pub(crate) mod finding;
mod limits;
mod memory;
mod not_measured;
mod quality;
mod servers;
mod words;

pub(crate) use doubts::{Doubt, doubts};
pub(crate) use finding::Finding;
pub(crate) use limits::{DECODE_TOLERANCE, MIN_DECODED, OTHER_CPU_LIMIT, STEAL_LIMIT};
pub(crate) use memory::is_shared;
pub(crate) use not_measured::not_measured;
pub(crate) use words::sentence;

/// Returns everything worth a warning, worded.
pub(crate) fn warnings(run: &Run<'_>, summary: &Summary) -> Result<Vec<Warning>> {
    Ok(findings(run, summary)?.into_iter().map(words::warning).collect())
}

fn findings(run: &Run<'_>, summary: &Summary) -> Result<Vec<Finding>> {
    let mut findings = header(run);
    findings.extend(incomplete(summary));
    findings.extend(quality::void(summary));
    findings.extend(quality::noise_floor(summary));
    findings.extend(quality::uninformative(run, summary));
    findings.extend(quality::nothing_to_lose(summary));
    findings.extend(quality::prefill_path(summary));
    findings.extend(servers::launches(run));
    findings.extend(servers::attached(run));
    findings.extend(servers::from_a_pack(run));
    findings.extend(quality::sampled_otherwise(summary));
    findings.extend(quality::broken(summary));
    findings.extend(quality::not_comparable(summary));
    findings.extend(quality::truncated(summary));
    findings.extend(servers::caches_on_the_processor(run));
    findings.extend(servers::beyond_trained(run));
    findings.extend(quality::short_lists(summary));
    findings.extend(servers::derived(summary));
    findings.extend(servers::misleading_labels(summary));
    findings.extend(quality::not_lossless(run, summary));
    findings.extend(servers::streams(run));
    findings.extend(replies::findings(run));
    findings.extend(doubts(run)?.into_iter().map(|doubt| doubt.finding));
    findings.extend(memory::findings(summary));
    findings.extend(run.workers.findings());
    findings.extend(few_visits(run, summary));
    findings.extend(summary.load.iter().flat_map(loadtest::findings));
    Ok(findings)
}

/// That the journal is not as it was written.
fn header(run: &Run<'_>) -> Vec<Finding> {
    let doubts = run.journal.doubts.iter();
    doubts.map(|doubt| Finding::new(WarningCode::HeaderChanged).detail(doubt)).collect()
}

fn incomplete(summary: &Summary) -> Option<Finding> {
    (summary.done < summary.planned).then(|| {
        Finding::new(WarningCode::RunIncomplete).figure("done", summary.done, Unit::Trials).figure(
            "planned",
            summary.planned,
            Unit::Trials,
        )
    })
}

fn few_visits(run: &Run<'_>, summary: &Summary) -> Option<Finding> {
    let visits = run.suite.rounds;
    let has_speed = summary.cells.iter().any(|cell| cell.decode_tps.is_some());
    (visits < limits::MIN_VISITS && has_speed)
        .then(|| Finding::new(WarningCode::FewVisits).figure("visits", visits, Unit::Rounds))
}
