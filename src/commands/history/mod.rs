//! `history`: the runs folder as a store.

use std::path::Path;

use super::output::{plain_table, print, print_json};
use super::{night_before, runs};
use crate::cli::{ExportFormat, Global, HistoryAction, HistoryArgs};
use crate::error::Result;
use crate::files;
use crate::judge::analysis::history::{LEVEL, Trend, TrendChange, trends};
use crate::judge::analysis::summary::{GateStatus, Summary};
use crate::judge::report;
use crate::record::journal;

mod entry;
mod prune;
mod store;

pub(super) use entry::{History, RunEntry, Trends};
use store::{Run, stored};

pub(super) fn history(args: &HistoryArgs, global: &Global) -> Result<u8> {
    match &args.action {
        None => list(None, args.json, global),
        Some(HistoryAction::List(of)) => list(of.suite.as_deref(), args.json || of.json, global),
        Some(HistoryAction::Show(show)) => {
            let folder = runs::find(&global.runs_dir, &show.run)?;
            let mut run = Run::open(&folder)?;
            if run.summary.night_before.is_none() {
                let journal = journal::load(&folder)?;
                run.summary.night_before = night_before::of(&journal, &folder, &global.runs_dir);
            }
            if args.json || show.json {
                return print_json(&History { schema_version: 1, runs: vec![run.entry()] });
            }
            print(&shown(&run))
        }
        Some(HistoryAction::Trend(of)) => {
            let trends = trends(&summaries(of.suite.as_deref(), &global.runs_dir)?);
            if args.json || of.json {
                return print_json(&Trends { schema_version: 1, level: LEVEL, trends });
            }
            print(&trend_table(&trends))
        }
        Some(HistoryAction::Export(export)) => {
            let trends = trends(&summaries(export.suite.as_deref(), &global.runs_dir)?);
            match export.format {
                ExportFormat::Csv => print(&String::from_utf8_lossy(&report::trends_csv(&trends))),
                ExportFormat::Json => print_json(&Trends { schema_version: 1, level: LEVEL, trends }),
            }
        }
        Some(HistoryAction::Page(page)) => {
            let trends = trends(&summaries(page.suite.as_deref(), &global.runs_dir)?);
            files::write(&page.to, report::history_page(&trends)?.as_bytes())?;
            print(&format!("{}\n", page.to.display()))
        }
        Some(HistoryAction::Prune(args)) => prune::prune(args, global),
    }
}

fn summaries(suite: Option<&str>, runs_dir: &Path) -> Result<Vec<Summary>> {
    Ok(stored(suite, runs_dir)?.into_iter().map(|run| run.summary).collect())
}

fn list(suite: Option<&str>, json: bool, global: &Global) -> Result<u8> {
    let runs: Vec<RunEntry> = stored(suite, &global.runs_dir)?.iter().map(Run::entry).collect();
    if json {
        return print_json(&History { schema_version: 1, runs });
    }
    let mut table = plain_table();
    table.set_header(["run", "trials", "gates", "size", "since the run before", "verdict"]);
    for run in &runs {
        let first = run.verdict.split("; ").next().unwrap_or_default();
        table.add_row([
            report::plain(&run.run),
            format!("{} of {}", run.done, run.planned),
            gates(run),
            report::bytes(run.bytes),
            run.changed.clone(),
            report::plain(first),
        ]);
    }
    print(&lines(&table))
}

fn lines(table: &comfy_table::Table) -> String {
    table.lines().map(|line| format!("{}\n", line.trim_end())).collect()
}

fn gates(run: &RunEntry) -> String {
    match (run.gates, run.gates_failed) {
        (0, _) => "none".into(),
        (_, 0) => "kept".into(),
        (all, failed) => format!("{failed} of {all} failed"),
    }
}

fn shown(run: &Run) -> String {
    let (entry, summary) = (run.entry(), &run.summary);
    let mut text = format!(
        "{}\nsuite {} (fingerprint {}), started {}\n{} of {} trials, {}\ngates: {}\n",
        report::plain(&entry.run),
        report::plain(&entry.suite),
        report::plain(&entry.fingerprint),
        report::plain(&entry.started),
        entry.done,
        entry.planned,
        report::bytes(entry.bytes),
        gates(&entry)
    );
    for engine in &summary.engines {
        text.push_str(&format!(
            "engine {} {}\n",
            report::plain(&engine.name),
            report::plain(&engine.version)
        ));
    }
    for result in summary.gates.iter().filter(|result| result.status == GateStatus::Failed) {
        let (gate, setting) = (report::plain(&result.gate), report::plain(&result.setting));
        text.push_str(&format!("failed: {gate}: {setting} at {}\n", result.context));
    }
    if let Some(before) = &summary.night_before {
        text.push_str(&format!("\n{}\n", report::night_before(before, super::output::look())));
    }
    text.push_str(&format!("\n{}\n", report::plain_whole(&entry.verdict)));
    text
}

/// One row a series: how many nights, the last figure, and the changes. Machines are told apart where there are several.
fn trend_table(trends: &[Trend]) -> String {
    let mut text = String::new();
    let machines = machines(trends);
    for (number, (machine, suites)) in machines.iter().enumerate() {
        if machines.len() > 1 {
            let gap = if number > 0 { "\n" } else { "" };
            let of = suites.join(", ");
            text.push_str(&format!(
                "{gap}{}: {} (machines are not mixed)\n",
                report::plain(machine),
                report::plain(&of)
            ));
        }
        text.push_str(&lines(&of_machine(trends, machine)));
    }
    text
}

/// Machines in the order of their names, each with its suites.
fn machines(trends: &[Trend]) -> Vec<(&str, Vec<&str>)> {
    let mut all: std::collections::BTreeMap<&str, Vec<&str>> = std::collections::BTreeMap::new();
    for trend in trends {
        let suites = all.entry(&trend.machine).or_default();
        if !suites.contains(&trend.suite.as_str()) {
            suites.push(&trend.suite);
        }
    }
    all.into_iter().collect()
}

fn of_machine(trends: &[Trend], machine: &str) -> comfy_table::Table {
    let mut table = plain_table();
    table.set_header(["suite", "context", "setting", "figure", "runs", "latest", "changes of level"]);
    for trend in trends.iter().filter(|trend| trend.machine == machine) {
        let latest = trend.points.last().map(|point| point.figure);
        table.add_row([
            report::plain(&trend.suite),
            trend.context.to_string(),
            trend.setting.as_deref().map_or("(front)".into(), report::plain),
            trend.metric.clone(),
            trend.points.len().to_string(),
            report::estimate(latest),
            course(trend),
        ]);
    }
    table
}

fn course(trend: &Trend) -> String {
    if let Some(drift) = &trend.drift {
        let (first, last) = (report::significant(drift.first), report::significant(drift.last));
        return format!("drifts from {first} to {last}: no single night");
    }
    let changes: Vec<String> = trend.changes.iter().map(change).collect();
    if changes.is_empty() { "none".into() } else { changes.join("; ") }
}

fn change(change: &TrendChange) -> String {
    let levels = format!("{} to {}", report::significant(change.before), report::significant(change.after));
    let run = report::plain(&change.run);
    match (change.candidates.as_slice(), change.changed.as_slice()) {
        ([first, .., last], _) => format!(
            "{levels} with a run from {} to {}, most likely {run}",
            report::plain(first),
            report::plain(last)
        ),
        (_, []) => format!("{levels} with {run}, nothing else known to have changed"),
        (_, changed) => format!("{levels} with {run}, and so did {}", report::plain(&changed.join("; "))),
    }
}
