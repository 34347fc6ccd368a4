//! From a [`Summary`] to bytes that people and programs read. Nothing here touches a file, a clock or the
//! environment: the same summary gives the same bytes.

use crate::error::Result;
use crate::judge::analysis::summary::{Estimate, Summary};

mod blocks;
mod compare;
mod effective;
mod exports;
mod junit;
mod markdown;
mod pick;
mod route;
mod svg;
mod terminal;
mod text;

pub use compare::comparison;
pub use exports::{cells_csv, effective_csv, json, load_csv, schema, tasks_csv, trends_csv};
pub use junit::junit;
pub use markdown::render_markdown;
pub use pick::pick;
pub use route::route;
pub use svg::{front, heatmap, load_curve};
pub use terminal::{Look, night_before, table};
pub(crate) use text::{about, bytes, plain, plain_whole, significant};

/// A figure with its interval, three digits each; a dash without one.
pub(crate) fn estimate(estimate: Option<Estimate>) -> String {
    text::estimate(estimate, text::significant)
}

/// File name of the picture that the Markdown report shows.
pub const FRONT_FILE: &str = "front.svg";

/// File name of the picture of scores by depth and context length.
pub const HEATMAP_FILE: &str = "heatmap.svg";

/// File name of the picture of throughput against latency; there is none without a load phase.
pub const LOAD_FILE: &str = "load.svg";

/// File name of the gates as JUnit XML; there is none without gates.
pub const JUNIT_FILE: &str = "junit.xml";

/// Every file of a run's report: name and content.
///
/// # Errors
/// When the summary cannot be written as JSON, or the report's template fails.
pub fn render(summary: &Summary) -> Result<Vec<(String, Vec<u8>)>> {
    render_with(summary, None)
}

/// As [`render`], with a user's template for `report.md`.
///
/// # Errors
/// As [`render`]; a template's mistake is a usage error that names the line.
pub fn render_with(summary: &Summary, template: Option<&str>) -> Result<Vec<(String, Vec<u8>)>> {
    let report = render_markdown(summary, template)?;
    let mut files = vec![("report.md".to_owned(), report.into_bytes())];
    files.extend(front(summary).map(|picture| (FRONT_FILE.to_owned(), picture.into_bytes())));
    files.extend(heatmap(summary).map(|picture| (HEATMAP_FILE.to_owned(), picture.into_bytes())));
    files.push(("summary.json".into(), json(summary)?));
    files.push(("cells.csv".into(), cells_csv(summary)));
    files.push(("tasks.csv".into(), tasks_csv(summary)));
    if !summary.effective.is_empty() {
        files.push(("effective.csv".into(), effective_csv(summary)));
    }
    files.extend(load_curve(summary).map(|picture| (LOAD_FILE.to_owned(), picture.into_bytes())));
    files.extend(load_csv(summary).map(|rows| ("load.csv".to_owned(), rows)));
    files.extend(junit(summary).map(|gates| (JUNIT_FILE.to_owned(), gates.into_bytes())));
    Ok(files)
}
