//! From a [`Summary`] to bytes that people and programs read. Nothing here touches a file, a clock or the
//! environment: the same summary gives the same bytes.

use crate::error::Result;
use crate::judge::analysis::summary::{Estimate, Summary};

mod beside;
mod card;
mod columns;
mod compare;
mod csv;
mod effective;
mod exports;
mod files;
mod filters;
mod html;
mod junit;
mod markdown;
mod names;
mod pick;
mod route;
mod share;
mod svg;
mod terminal;
mod text;
mod view;

pub use beside::beside;
pub use card::card;
pub use compare::comparison;
pub use exports::{cells_csv, effective_csv, json, load_csv, tasks_csv, trends_csv};
pub use files::{
    CELLS_FILE, FRONT_FILE, HEATMAP_FILE, JUNIT_FILE, PAGE_FILE, REPORT_FILE, SUMMARY_FILE, TRIALS_FILE,
};
pub use html::{SiteRun, history_page, page_of, report_page, site_page};
pub use junit::junit;
pub use markdown::render_markdown;
pub use pick::pick;
pub use route::route;
pub use share::{Asked, Board, Destination, Document, Shared, document, shared};
pub use svg::{front, heatmap, load_curve};
pub use terminal::{Look, night_before, table};
pub(crate) use text::{about, bytes, plain, plain_whole, significant};

/// A figure with its interval, three digits each; a dash without one.
pub(crate) fn estimate(estimate: Option<Estimate>) -> String {
    text::estimate(estimate, text::significant)
}

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
    let shown = names::shortened(summary)?;
    let report = markdown::markdown(&shown, template)?.into_bytes();
    let picture = |name, picture: Option<String>| picture.map(|picture| (name, picture.into_bytes()));
    let effective = (!summary.effective.is_empty()).then(|| (files::EFFECTIVE_FILE, effective_csv(summary)));
    let written = [
        Some((REPORT_FILE, report)),
        picture(FRONT_FILE, front(&shown.summary)),
        picture(HEATMAP_FILE, heatmap(&shown.summary)),
        Some((SUMMARY_FILE, json(summary)?)),
        Some((CELLS_FILE, cells_csv(summary))),
        Some((files::TASKS_FILE, tasks_csv(summary))),
        effective,
        picture(files::LOAD_FILE, load_curve(&shown.summary)),
        load_csv(summary).map(|rows| (files::STEPS_FILE, rows)),
        picture(JUNIT_FILE, junit(summary)),
    ];
    Ok(written.into_iter().flatten().map(|(name, content)| (name.to_owned(), content)).collect())
}
