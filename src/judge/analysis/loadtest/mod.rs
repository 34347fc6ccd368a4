//! The load phase: throughput, latency, goodput, and whether answers are as good under load.

use super::memory;
use super::run::Run;
use super::warnings::finding::Finding;
use crate::error::Result;
use crate::record::capacity::CrowdAnswer;
use crate::record::journal::Journal;
use crate::record::journal::loadtest::{LoadtestServer, LoadtestStep};
use crate::record::suite::{Arrivals, LoadSearch, LoadSpec};
use crate::record::{Measurement, metric};

mod capacity;
mod quality;
mod steps;

use super::Registry;
use super::summary::{LoadRow, LoadServerRow, LoadSummary, Unit, WarningCode};

/// A client that sends requests later than this (s) takes part in the latencies.
const LATE_S: f64 = 0.01;
/// Above this share of cached prompt tokens, prompts that should be all different were not cold.
const CACHED: f64 = 0.02;

/// What a load shows that is more than a server bears. A search goes there on purpose and says what stopped it.
const TOO_MUCH: [WarningCode; 4] =
    [WarningCode::LoadBroke, WarningCode::LoadFailed, WarningCode::LoadNotSent, WarningCode::LoadFallsBehind];

/// What the load phase shows; `None` when there was none.
///
/// # Errors
/// When what a search made of its cases cannot be told again.
pub(crate) fn summary(run: &Run<'_>) -> Result<Option<LoadSummary>> {
    let Some(spec) = run.suite.load.as_ref().filter(|_| !run.journal.load.is_empty()) else {
        return Ok(None);
    };
    let confidence = run.suite.confidence;
    let steps = in_order(run, spec).map(|step| steps::row(step, spec, confidence));
    let quality = spec.quality.as_ref().map(|asked| quality::rows(run, asked)).unwrap_or_default();
    let searched = spec.search.as_ref().map(|search| capacity::summary(run, spec, search, &quality));
    Ok(Some(LoadSummary {
        context: spec.context,
        slots: spec.slots,
        prompt_tokens: spec.prompt_tokens.clone(),
        output_tokens: spec.output_tokens.clone(),
        shared_prefix_tokens: spec.shared_prefix_tokens,
        limits: spec.limits,
        servers: servers(run),
        steps: steps.collect(),
        capacity: searched.transpose()?,
        quality,
    }))
}

/// What a search for the highest load made of the cases of a setting with so many under way.
///
/// # Errors
/// When the journal does not hold together.
pub(crate) fn crowd(journal: &Journal, setting: &str, streams: u32) -> Result<CrowdAnswer> {
    let load = journal.header.suite.load.as_ref();
    let Some(asked) = load.and_then(|load| load.quality.as_ref()) else { return Ok(CrowdAnswer::Open) };
    let run = Run::new(journal, &Registry)?;
    Ok(quality::crowd(&run, asked, setting, streams))
}

/// Steps by setting, then as the suite names them, or by load where they were searched for.
fn in_order<'r>(run: &'r Run<'_>, spec: &'r LoadSpec) -> impl Iterator<Item = &'r LoadtestStep> {
    let all = &run.journal.load;
    run.suite.settings.iter().flat_map(move |setting| match &spec.search {
        Some(search) => by_load(search, all.steps_of(&setting.label)),
        None => {
            let of = |arrivals: Arrivals| all.steps_of(&setting.label).find(|step| step.arrivals == arrivals);
            spec.steps().into_iter().filter_map(of).collect::<Vec<_>>()
        }
    })
}

fn by_load<'r>(search: &LoadSearch, steps: impl Iterator<Item = &'r LoadtestStep>) -> Vec<&'r LoadtestStep> {
    let load = |step: &LoadtestStep| search.load_of(step.arrivals).unwrap_or_default();
    let mut steps: Vec<&LoadtestStep> = steps.collect();
    steps.sort_by(|a, b| load(a).total_cmp(&load(b)).then(a.visit.cmp(&b.visit)));
    steps
}

/// The last server of each setting that came up, else the last that did not.
fn servers(run: &Run<'_>) -> Vec<LoadServerRow> {
    let all = &run.journal.load.servers;
    let of = |label: &str| -> Option<&LoadtestServer> {
        let mine = || all.iter().rev().filter(|server| server.launch.setting == label);
        mine().find(|server| void(server).is_none()).or_else(|| mine().next())
    };
    let settings = run.suite.settings.iter().map(|setting| setting.label.as_str());
    settings.filter_map(|label| Some(server_row(run, of(label)?))).collect()
}

fn void(server: &LoadtestServer) -> Option<String> {
    let launch = &server.launch;
    let changed = (!launch.deviations.is_empty())
        .then(|| format!("the server changed {}", launch.deviations.join("; ")));
    launch.failure.clone().or(changed)
}

fn server_row(run: &Run<'_>, server: &LoadtestServer) -> LoadServerRow {
    let launch = &server.launch;
    let steps = run.journal.load.steps.iter().filter(|step| step.setting == launch.setting);
    let peaks = steps.filter_map(|step| peak_bytes(&step.measurements));
    LoadServerRow {
        setting: launch.setting.clone(),
        void: void(server),
        warm_up: server.warm_up,
        peak_bytes: peaks.max(),
        kv_bytes: launch.effective.kv_of_all_bytes(),
        command: launch.argv.shell(),
    }
}

/// Of the memory that a server's cells live in; where it has none, as for a run whose probes say nothing of that.
fn peak_bytes(measurements: &[Measurement]) -> Option<u64> {
    let of = |name: &str| {
        measurements.iter().filter(|m| m.name == name).find_map(|m| m.value).filter(|bytes| *bytes > 0.0)
    };
    let main = || of(metric::PEAK_PSS_BYTES).or_else(|| of(metric::PEAK_RSS_BYTES));
    let may_be_on_a_card = memory::may_be_on_a_card(measurements.iter().copied());
    let peak = of(metric::PEAK_VRAM_BYTES).or_else(|| if may_be_on_a_card { None } else { main() });
    peak.map(|bytes| bytes as u64)
}

/// Returns what the reader must know beside the figures.
pub(crate) fn findings(load: &LoadSummary) -> Vec<Finding> {
    // A server that is void says why once, not at every step.
    let is_void = |row: &LoadRow| load.servers.iter().any(|s| s.setting == row.setting && s.void.is_some());
    let steps = load.steps.iter().filter(|row| !is_void(row));
    let steps = steps.flat_map(|row| {
        let found = step_findings(row, load.shared_prefix_tokens == 0);
        let expected = |code| is_beyond(load, row) && TOO_MUCH.contains(&code);
        found.into_iter().filter(move |found| !expected(found.code)).collect::<Vec<_>>()
    });
    let unsteady = load.servers.iter().filter_map(|server| {
        let warm_up = server.warm_up.filter(|warm_up| !warm_up.steady)?;
        let finding = Finding::of_setting(WarningCode::LoadNotSteady, &server.setting);
        Some(finding.figure("rounds", warm_up.rounds, Unit::Rounds))
    });
    let voids = load.servers.iter().filter_map(|server| {
        let reason = server.void.as_ref()?.lines().next().unwrap_or_default();
        Some(Finding::of_setting(WarningCode::LoadVoid, &server.setting).detail(reason))
    });
    steps.chain(unsteady).chain(voids).collect()
}

/// Whether a search measured a step at or above the lowest load that did not hold.
fn is_beyond(load: &LoadSummary, row: &LoadRow) -> bool {
    let Some(capacity) = &load.capacity else { return false };
    let of = |arrivals| capacity.search.load_of(arrivals);
    let found = capacity.rows.iter().find(|found| found.setting == row.setting);
    let failed = found.and_then(|found| of(found.failed.as_ref()?.arrivals));
    failed.zip(of(row.arrivals)).is_some_and(|(failed, load)| load >= failed)
}

fn step_findings(row: &LoadRow, all_different: bool) -> Vec<Finding> {
    let again = if row.visit > 0 { ", again" } else { "" };
    let of = |code| Finding::of_setting(code, &row.setting).about(format!("{}{again}", row.arrivals.words()));
    let requests = |code| of(code).figure("requests", row.requests, Unit::Requests);
    let broke = row
        .broke
        .as_ref()
        .map(|reason| of(WarningCode::LoadBroke).detail(reason.lines().next().unwrap_or_default()));
    let failed = (row.failed > 0).then(|| {
        requests(WarningCode::LoadFailed)
            .figure("failed", row.failed, Unit::Requests)
            .detail(row.error.as_deref().unwrap_or("no reason given"))
    });
    let not_sent = (row.not_sent > 0)
        .then(|| requests(WarningCode::LoadNotSent).figure("not_sent", row.not_sent, Unit::Requests));
    let behind = row.falls_behind.then(|| of(WarningCode::LoadFallsBehind));
    let late = row.late_s.p95.filter(|late| *late > LATE_S);
    let late = late.map(|late| of(WarningCode::LoadSentLate).figure("late_p95", late, Unit::Seconds));
    let cached = row.cached.filter(|cached| all_different && *cached > CACHED);
    let cached = cached.map(|cached| of(WarningCode::LoadCached).figure("cached", cached, Unit::Share));
    let short = (row.short > 0).then(|| of(WarningCode::LoadShort).figure("short", row.short, Unit::Replies));
    let reason = row.untimed_reason.as_ref().filter(|_| row.untimed > 0);
    let untimed = reason.map(|reason| {
        of(WarningCode::LoadUntimed).figure("untimed", row.untimed, Unit::Replies).detail(reason)
    });
    [broke, failed, not_sent, behind, late, cached, short, untimed].into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::analysis::summary::Percentiles;
    use crate::judge::analysis::warnings::sentence;

    #[test]
    fn warnings_name_the_step_and_what_is_wrong_with_it() {
        let mut step = steps::tests::step(5);
        let spec = steps::tests::spec();
        assert_eq!(step_findings(&steps::row(&step, &spec, 0.95), true), Vec::<Finding>::new());
        step.requests[1].failed = Some(crate::record::Stage::Request);
        step.requests[1].error = Some("HTTP 500: no".into());
        step.requests[2].cached_tokens = Some(90);
        step.requests[3].output_tokens = Some(3);
        let mut row = steps::row(&step, &spec, 0.95);
        row.late_s = Percentiles { p95: Some(0.025), ..row.late_s };
        row.falls_behind = true;
        row.not_sent = 2;
        (row.untimed, row.untimed_reason) = (4, Some("kept back".into()));
        let found = step_findings(&row, true);
        let expected = [
            "1 of 5 requests failed, most with: HTTP 500: no",
            "2 of 5 requests were not sent",
            "falls behind",
            "25.0 ms late",
            "came from a cache",
            "1 replies are shorter",
            "4 replies have no time to the first token and no times between tokens: kept back",
        ];
        for (finding, words) in found.iter().zip(expected) {
            let said = sentence(finding);
            assert!(said.starts_with("a under load (1 stream)") && said.contains(words), "{said}");
        }
        assert_eq!(found.len(), expected.len());
        assert!(!step_findings(&row, false).iter().any(|found| found.code == WarningCode::LoadCached));
    }

    #[test]
    fn what_a_search_went_beyond_is_no_warning() {
        let row = |streams, visit| LoadRow {
            arrivals: Arrivals::Closed(streams),
            visit,
            failed: 3,
            error: Some("HTTP 500: no".into()),
            ..steps::row(&steps::tests::step(5), &steps::tests::spec(), 0.95)
        };
        let mut load = capacity::tests::of_a_run();
        load.servers.clear();
        load.steps = vec![row(5, 1), row(6, 0), row(8, 0)];
        load.steps
            .iter_mut()
            .for_each(|row| row.setting.clone_from(&load.capacity.as_ref().unwrap().rows[0].setting));
        let said: Vec<String> = findings(&load).iter().map(sentence).collect();
        assert_eq!(said.len(), 1, "{said:?}");
        assert!(said[0].contains("(5 streams, again)"), "{said:?}");
    }
}
