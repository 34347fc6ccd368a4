//! The summary for programs: JSON with its schema, and CSV.

use super::columns::{self, Column};
use super::csv::{Csv, Field, with_interval};
use crate::error::{Context, Result};
use crate::judge::analysis::history::Trend;
use crate::judge::analysis::summary::{LoadRow, Summary, TaskRow};
use crate::record::suite::Arrivals;
use crate::tree;

/// The summary as indented JSON; `schema_version` says which form it has.
///
/// # Errors
/// When it cannot be written as JSON.
pub fn json(summary: &Summary) -> Result<Vec<u8>> {
    let text = tree::pretty(summary).context(|| "cannot write the summary as JSON".into())?;
    Ok((text + "\n").into_bytes())
}

/// One row a cell: figures in plain units (named in the header), absent ones empty.
pub fn cells_csv(summary: &Summary) -> Vec<u8> {
    let columns = columns::of(&summary.cells);
    let header: Vec<String> = columns.iter().flat_map(Column::csv_names).collect();
    let mut csv = Csv::new(&header);
    for cell in &summary.cells {
        csv.row(columns.iter().flat_map(|column| column.csv_fields(cell)).collect());
    }
    csv.bytes()
}

/// One row a task (and arm) on a cell; labels and reasons as `name=count` separated by `;`.
pub fn tasks_csv(summary: &Summary) -> Vec<u8> {
    const HEADER: &[&str] = &[
        "task",
        "arm",
        "setting",
        "context_tokens",
        "sanity",
        "uninformative",
        "quality",
        "quality_low",
        "quality_high",
        "quality_n",
        "difference",
        "difference_low",
        "difference_high",
        "difference_n",
        "server_s",
        "shown_after_s",
        "scored",
        "failed",
        "labels",
        "unscored",
    ];
    let mut csv = Csv::new(HEADER);
    for row in &summary.tasks {
        let (labels, unscored) = (counts(&row.labels), counts(&row.unscored));
        csv.row(task_fields(row, &labels, &unscored));
    }
    csv.bytes()
}

fn task_fields<'a>(row: &'a TaskRow, labels: &'a str, unscored: &'a str) -> Vec<Field<'a>> {
    let mut fields = vec![
        Field::Text(&row.task),
        Field::Text(row.arm.map_or("", crate::record::Arm::name)),
        Field::Text(&row.setting),
        Field::whole(row.context),
        yes_no(row.sanity),
        yes_no(row.uninformative),
    ];
    fields.extend(with_interval(row.quality));
    fields.push(Field::count(row.quality));
    fields.extend(with_interval(row.difference));
    fields.push(Field::count(row.difference));
    fields.extend([Field::Number(Some(row.server_s)), Field::Number(row.shown_after_s)]);
    fields.extend([Field::whole(row.scored), Field::whole(row.failed)]);
    fields.extend([Field::Text(labels), Field::Text(unscored)]);
    fields
}

/// One row a setting: how far it goes on the ladder of context lengths, in tokens. An empty length: not even at
/// the shortest; that of the longest measured: at least so far. Those that compare are empty for the reference.
pub fn effective_csv(summary: &Summary) -> Vec<u8> {
    const HEADER: &[&str] = &[
        "setting",
        "reference",
        "shortest_measured_tokens",
        "longest_measured_tokens",
        "within_margin_tokens",
        "shown_within_margin_tokens",
        "above_ruler_line_tokens",
    ];
    let mut csv = Csv::new(HEADER);
    for length in &summary.effective {
        let is_reference = length.setting == summary.reference;
        let mut measured = length.points.iter().filter(|point| point.quality.is_some());
        let (shortest, longest) = (measured.clone().next(), measured.next_back());
        let compared = |reached: Option<u32>| Field::length(reached.filter(|_| !is_reference));
        csv.row(vec![
            Field::Text(&length.setting),
            yes_no(is_reference),
            Field::length(shortest.map(|point| point.context)),
            Field::length(longest.map(|point| point.context)),
            compared(length.within_margin),
            compared(length.shown_within_margin),
            Field::length(length.above_line),
        ]);
    }
    csv.bytes()
}

fn yes_no(yes: bool) -> Field<'static> {
    Field::Text(if yes { "true" } else { "false" })
}

/// One row an endpoint and run, runs of a series in order; `change` is true for the first run of a new level,
/// `change_candidate` for every run that may be it.
pub fn trends_csv(trends: &[Trend]) -> Vec<u8> {
    const HEADER: &[&str] = &[
        "suite",
        "run",
        "started",
        "fingerprint",
        "setting",
        "context_tokens",
        "metric",
        "value",
        "low",
        "high",
        "n",
        "change",
        "change_candidate",
        "machine",
    ];
    let mut csv = Csv::new(HEADER);
    for trend in trends {
        for point in &trend.points {
            let changed = trend.changes.iter().any(|change| change.run == point.run);
            let mut fields = vec![
                Field::Text(&trend.suite),
                Field::Text(&point.run),
                Field::Text(&point.started),
                Field::Text(&point.fingerprint),
                Field::Text(trend.setting.as_deref().unwrap_or_default()),
                Field::whole(trend.context),
                Field::Text(&trend.metric),
            ];
            fields.extend(with_interval(Some(point.figure)));
            fields.push(Field::count(Some(point.figure)));
            fields.push(yes_no(changed));
            fields.push(yes_no(trend.changes.iter().any(|change| change.candidates.contains(&point.run))));
            fields.push(Field::Text(&trend.machine));
            csv.row(fields);
        }
    }
    csv.bytes()
}

fn counts(counts: &std::collections::BTreeMap<String, u32>) -> String {
    let parts: Vec<String> = counts.iter().map(|(name, count)| format!("{name}={count}")).collect();
    parts.join(";")
}

/// One row a setting and step under load; `None` without a load phase. Figures as in [`cells_csv`].
pub fn load_csv(summary: &Summary) -> Option<Vec<u8>> {
    const HEADER: &[&str] = &[
        "setting",
        "loop",
        "streams",
        "rate_per_s",
        "broke",
        "requests",
        "failed",
        "not_sent",
        "window_s",
        "output_tps",
        "prompt_tps",
        "requests_per_s",
        "within_limits",
        "within_limits_low",
        "within_limits_high",
        "goodput_per_s",
        "peak_in_flight",
        "cached",
        "ttft_n",
        "ttft_p50_s",
        "ttft_p90_s",
        "ttft_p95_s",
        "ttft_p99_s",
        "itl_n",
        "itl_p50_s",
        "itl_p90_s",
        "itl_p95_s",
        "itl_p99_s",
        "e2e_n",
        "e2e_p50_s",
        "e2e_p90_s",
        "e2e_p95_s",
        "e2e_p99_s",
        "late_p95_s",
        "visit",
    ];
    let load = summary.load.as_ref()?;
    let mut csv = Csv::new(HEADER);
    load.steps.iter().for_each(|row| csv.row(load_fields(row)));
    Some(csv.bytes())
}

fn load_fields(row: &LoadRow) -> Vec<Field<'_>> {
    let (kind, streams, rate) = match row.arrivals {
        Arrivals::Closed(streams) => ("closed", Some(u64::from(streams)), None),
        Arrivals::Poisson(rate) => ("poisson", None, Some(rate)),
    };
    let mut fields = vec![
        Field::Text(&row.setting),
        Field::Text(kind),
        Field::Whole(streams),
        Field::Number(rate),
        Field::Text(row.broke.as_deref().unwrap_or_default()),
        Field::whole(row.requests),
        Field::whole(row.failed),
        Field::whole(row.not_sent),
        Field::Number(row.window_s),
        Field::Number(row.output_tps),
        Field::Number(row.prompt_tps),
        Field::Number(row.requests_per_s),
    ];
    fields.extend(with_interval(row.within_limits));
    fields.extend([
        Field::Number(row.goodput_per_s),
        Field::whole(row.peak_in_flight),
        Field::Number(row.cached),
    ]);
    for percentiles in [&row.ttft_s, &row.itl_s, &row.e2e_s] {
        fields.push(Field::whole(percentiles.n));
        fields.extend(percentiles.all().map(Field::Number));
    }
    fields.push(Field::Number(row.late_s.p95));
    fields.push(Field::whole(row.visit));
    fields
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::analysis::testing;

    #[test]
    fn every_row_has_as_many_fields_as_the_header() {
        let mut summary = testing::summary();
        summary.cells = vec![testing::cell("plain", 512)];
        let csv = String::from_utf8(cells_csv(&summary)).unwrap();
        let widths: Vec<usize> = csv.lines().map(|line| line.split(',').count()).collect();
        assert_eq!(widths, [widths[0]; 2]);
    }

    #[test]
    fn json_keeps_its_schema() {
        let schema: serde_json::Value =
            serde_json::from_str(include_str!("../../../docs/schema/summary.schema.json")).unwrap();
        let mut summary = testing::summary();
        summary.cells = vec![testing::cell("plain", 512)];
        let value: serde_json::Value = serde_json::from_slice(&json(&summary).unwrap()).unwrap();
        let errors: Vec<String> = jsonschema::validator_for(&schema)
            .unwrap()
            .iter_errors(&value)
            .map(|error| error.to_string())
            .collect();
        assert!(errors.is_empty(), "{errors:?}");
        assert_eq!(value["schema_version"], 3);
    }
}
