//! The runs of a store as a page: a line a series with its course, changes of level marked, and what shows the difference.

use std::fmt::Write as _;

use minijinja::value::Serde;
use serde::Serialize;

use super::body::inline;
use super::{Page, environment, failed, rendered};
use crate::error::Result;
use crate::judge::analysis::history::{Trend, TrendChange};
use crate::judge::analysis::summary::Estimate;

const TEMPLATE: &str = include_str!("../templates/history.html.j2");

/// Size of a course's picture (pixels).
const WIDTH: f64 = 220.0;
const HEIGHT: f64 = 44.0;
const EDGE: f64 = 4.0;

/// What the template shows. (Not `json!`: numbers of serde_json that keep every digit are maps to a template.)
#[derive(Serialize)]
struct Rows<'a> {
    rows: Vec<Row<'a>>,
}

#[derive(Serialize)]
struct Row<'a> {
    trend: &'a Trend,
    latest: Option<Estimate>,
    /// How the figure is written.
    figure: &'static str,
    runs: usize,
    course: String,
    changes: Vec<ChangeRow<'a>>,
}

#[derive(Serialize)]
struct ChangeRow<'a> {
    change: &'a TrendChange,
    is_worse: bool,
    command: String,
}

/// Renders the course of every endpoint of every suite, those whose level changed last first.
///
/// # Errors
/// When a template fails.
pub fn history_page(trends: &[Trend]) -> Result<String> {
    let mut rows: Vec<Row<'_>> = trends.iter().map(row).collect();
    let latest = |row: &Row<'_>| row.changes.last().map(|change| change.change.run.clone());
    rows.sort_by_key(|row| std::cmp::Reverse(latest(row)));
    let environment = environment()?;
    let template = environment.template_from_named_str("history.html", TEMPLATE).map_err(failed)?;
    let body = template.render(Serde(Rows { rows })).map_err(failed)?;
    rendered(&Page { body: &body, ..Page::plain("History") })
}

fn row(trend: &Trend) -> Row<'_> {
    let change = |change| ChangeRow {
        is_worse: is_worse(&trend.metric, change),
        command: format!("kneepoint compare {} {}", change.previous, change.run),
        change,
    };
    Row {
        latest: trend.points.last().map(|point| point.figure),
        figure: figure(&trend.metric),
        runs: trend.points.len(),
        course: inline(&course(trend)),
        changes: trend.changes.iter().map(change).collect(),
        trend,
    }
}

/// The filter that writes a metric.
fn figure(metric: &str) -> &'static str {
    match metric {
        "quality" => "score",
        "kld" => "nat",
        "ttft_s" => "seconds",
        "peak_bytes" => "bytes",
        "leaked" | "failed" => "share",
        _ => "rate",
    }
}

fn is_worse(metric: &str, change: &TrendChange) -> bool {
    let more_is_better = matches!(metric, "quality" | "decode_tps" | "prefill_tps" | "front_volume");
    (change.after < change.before) == more_is_better
}

/// The figures from run to run with their intervals, and a mark at each first run of a new level. Fit for light and dark.
fn course(trend: &Trend) -> String {
    let points = &trend.points;
    let ends = |figure: &Estimate| (figure.low.unwrap_or(figure.value), figure.high.unwrap_or(figure.value));
    let low = points.iter().map(|point| ends(&point.figure).0).fold(f64::INFINITY, f64::min);
    let high = points.iter().map(|point| ends(&point.figure).1).fold(f64::NEG_INFINITY, f64::max);
    let room = if high > low { high - low } else { 1.0 };
    let across = |at: usize| EDGE + (WIDTH - 2.0 * EDGE) * at as f64 / (points.len().max(2) - 1) as f64;
    let up = |value: f64| HEIGHT - EDGE - (HEIGHT - 2.0 * EDGE) * (value - low) / room;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{HEIGHT}\" viewBox=\"0 0 {WIDTH} {HEIGHT}\">\
         <style>.l{{stroke:#0b5cad;fill:none}}.d{{fill:#0b5cad}}.b{{stroke:#0b5cad;stroke-opacity:.35}}.c{{stroke:#b3261e}}\
         @media (prefers-color-scheme:dark){{.l{{stroke:#6db3ff}}.d{{fill:#6db3ff}}.b{{stroke:#6db3ff}}.c{{stroke:#ff8a80}}}}</style>"
    );
    let mut line = String::new();
    for (at, point) in points.iter().enumerate() {
        let (x, y) = (across(at), up(point.figure.value));
        let (from, to) = ends(&point.figure);
        if trend.changes.iter().any(|change| change.run == point.run) {
            let _ = write!(svg, "<path class=\"c\" d=\"M{x:.1} 0V{HEIGHT}\"/>");
        }
        if to > from {
            let _ = write!(svg, "<path class=\"b\" d=\"M{x:.1} {:.1}V{:.1}\"/>", up(from), up(to));
        }
        let _ = write!(svg, "<circle class=\"d\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"2\"/>");
        let _ = write!(line, "{}{x:.1} {y:.1}", if at == 0 { "M" } else { "L" });
    }
    let _ = write!(svg, "<path class=\"l\" d=\"{line}\"/></svg>");
    svg
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::analysis::history::TrendPoint;

    fn trend(values: &[f64], changes: Vec<TrendChange>) -> Trend {
        let point = |(at, value): (usize, &f64)| TrendPoint {
            run: format!("run-{at}"),
            started: format!("2026-11-{:02}T00:00:00Z", at + 1),
            fingerprint: "f".into(),
            figure: Estimate { value: *value, low: Some(value - 0.1), high: Some(value + 0.1), n: 9 },
        };
        Trend {
            suite: "nightly<b>".into(),
            machine: "box".into(),
            setting: Some("Q4 <i>".into()),
            context: 512,
            metric: "quality".into(),
            points: values.iter().enumerate().map(point).collect(),
            changes,
            drift: None,
        }
    }

    #[test]
    fn the_first_bad_night_is_named_with_the_command_that_shows_it() {
        let change = TrendChange {
            run: "run-2".into(),
            previous: "run-1".into(),
            candidates: vec!["run-2".into()],
            before: 0.8,
            after: 0.5,
            p_value: 0.001,
            new_set_up: true,
            changed: vec!["engine".into()],
        };
        let page = history_page(&[trend(&[0.8, 0.8, 0.5, 0.5], vec![change])]).unwrap();
        assert!(page.contains("<code>kneepoint compare run-1 run-2</code>"), "{page}");
        assert!(page.contains("worse") && page.contains("engine"));
        assert!(page.contains("<td>512</td>") && page.contains("<td>4</td>"), "{page}");
        assert!(page.contains("0.80 → 0.50") && page.contains("<td>0.50 [0.40, 0.60]</td>"), "{page}");
        assert!(!page.contains("private"), "numbers are numbers");
        assert!(page.contains("nightly&lt;b&gt;") && page.contains("Q4 &lt;i&gt;"));
        assert_eq!(page.matches("data:image/svg+xml").count(), 1);
    }

    #[test]
    fn one_run_and_equal_runs_have_a_course() {
        for values in [&[0.5][..], &[0.5, 0.5][..]] {
            let drawn = course(&trend(values, Vec::new()));
            assert!(drawn.ends_with("</svg>") && !drawn.contains("NaN") && !drawn.contains("inf"), "{drawn}");
        }
        assert!(history_page(&[]).unwrap().contains("no runs"));
    }
}
