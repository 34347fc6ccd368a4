//! What servers bear, for the terminal: the highest loads where they were searched for, else every step.

use super::look::{Look, blank, drawn};
use crate::judge::analysis::summary::{
    CapacityEnd, CapacityQuality, CapacityRow, CapacityStep, LoadCapacity, LoadQualityRow, LoadRow,
    LoadSummary,
};
use crate::judge::report::text;
use crate::record::suite::Arrivals;

/// A table of the load phase.
pub(super) fn under_load(load: &LoadSummary, look: Look) -> String {
    let mut table = blank(look);
    match &load.capacity {
        Some(capacity) => {
            table.set_header(heads_of_search(capacity));
            table.add_rows(capacity.rows.iter().map(|row| found(row, capacity)));
        }
        None => {
            table.set_header(heads_of_steps(load));
            table.add_rows(load.steps.iter().map(|row| step(row, load)));
        }
    }
    drawn(&table)
}

fn heads_of_search(capacity: &LoadCapacity) -> Vec<&'static str> {
    let mut heads = vec!["setting", "highest load that held", "lowest that did not"];
    if has_quality(capacity) {
        heads.push("answers not worse up to");
    }
    heads
}

fn has_quality(capacity: &LoadCapacity) -> bool {
    capacity.rows.iter().any(|row| row.quality.is_some())
}

fn found(row: &CapacityRow, capacity: &LoadCapacity) -> Vec<String> {
    let held = match row.end {
        CapacityEnd::NotMeasured => "no server came up".to_owned(),
        CapacityEnd::Open => format!("{} so far", loaded(row.held.as_ref())),
        CapacityEnd::Top => format!("≥ {}", loaded(row.held.as_ref())),
        CapacityEnd::Unsettled => format!("{}, not settled", loaded(row.held.as_ref())),
        CapacityEnd::Found | CapacityEnd::Bottom => loaded(row.held.as_ref()),
    };
    let mut words = vec![text::plain(&row.setting), held, loaded(row.failed.as_ref())];
    if has_quality(capacity) {
        words.push(row.quality.as_ref().map_or_else(|| text::NONE.to_owned(), answers));
    }
    words
}

/// A load and the share of its requests that kept the limits: `6 streams (95%)`.
fn loaded(step: Option<&CapacityStep>) -> String {
    step.map_or_else(
        || "none".to_owned(),
        |step| format!("{} ({})", step.arrivals.words(), text::percent(step.share)),
    )
}

fn answers(quality: &CapacityQuality) -> String {
    let held = quality.held.as_ref().map_or_else(|| "none".to_owned(), |crowd| crowd.arrivals.words());
    match &quality.failed {
        Some(crowd) => format!("{held}, worse at {}", crowd.arrivals.words()),
        None => held,
    }
}

fn heads_of_steps(load: &LoadSummary) -> Vec<&'static str> {
    let mut heads = vec!["setting", "load", "output (tokens/s)", "TTFT, 50 / 95%"];
    if load.limits.is_some() {
        heads.push("within the limits");
    }
    if !load.quality.is_empty() {
        heads.push("answers beside alone");
    }
    heads
}

fn step(row: &LoadRow, load: &LoadSummary) -> Vec<String> {
    let or_none = |value: Option<String>| value.unwrap_or_else(|| text::NONE.to_owned());
    let mut words = vec![
        text::plain(&row.setting),
        if row.falls_behind {
            format!("{} (falls behind)", row.arrivals.words())
        } else {
            row.arrivals.words()
        },
    ];
    if row.broke.is_some() {
        // Why stands in the warnings and in the report.
        words.push("broken off".to_owned());
        return words;
    }
    words.push(or_none(row.output_tps.map(text::significant)));
    words.push([row.ttft_s.p50, row.ttft_s.p95].map(|time| or_none(time.map(text::seconds))).join(" / "));
    if load.limits.is_some() {
        words.push(or_none(row.within_limits.map(|share| text::percent(share.value))));
    }
    if !load.quality.is_empty() {
        words.push(or_none(in_the_crowd(row, load)));
    }
    words
}

/// What became of the answers with as many requests under way; one stream is alone.
fn in_the_crowd(row: &LoadRow, load: &LoadSummary) -> Option<String> {
    let Arrivals::Closed(streams) = row.arrivals else { return None };
    let is_its =
        |other: &&LoadQualityRow| other.setting == row.setting && other.streams == streams && streams > 1;
    let quality = load.quality.iter().find(is_its)?;
    let points = text::estimate(quality.difference, text::signed_points);
    Some(format!("{points}, {}", quality.verdict.words()))
}
