//! Pieces of Markdown that several documents have.

use super::text;

/// A table; cells must already be safe for Markdown.
pub(super) fn table(header: &[&str], rows: &[Vec<String>]) -> String {
    let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
    let header: Vec<String> = header.iter().map(|&name| name.to_owned()).collect();
    let rule: Vec<String> = header.iter().map(|_| "---".to_owned()).collect();
    let body: String = rows.iter().map(|row| line(row)).collect();
    format!("{}{}{body}", line(&header), line(&rule))
}

/// A list; entries are escaped.
pub(super) fn list<'a>(entries: impl IntoIterator<Item = &'a String>) -> String {
    entries.into_iter().map(|entry| format!("- {}\n", text::markdown_whole(entry))).collect()
}

/// A heading and a body, or nothing when the body is empty.
pub(super) fn section(heading: &str, body: &str) -> String {
    if body.is_empty() { String::new() } else { format!("\n## {heading}\n\n{body}") }
}

/// A share of draws.
pub(super) fn frequency(share: Option<f64>) -> String {
    share.map_or(text::NONE.into(), |share| format!("{:.0}%", share * 100.0))
}
