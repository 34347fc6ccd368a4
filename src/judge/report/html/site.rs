//! The first page of published runs.

use minijinja::value::Serde;
use serde::Serialize;

use super::{Page, environment, failed, rendered};
use crate::error::Result;

const TEMPLATE: &str = include_str!("../templates/site.html.j2");

/// A run of a site.
#[derive(Debug, Clone, Serialize)]
pub struct SiteRun {
    /// Name of its folder.
    pub name: String,
    /// Suite.
    pub suite: String,
    /// Start (UTC, RFC 3339).
    pub started: String,
    /// Its verdict.
    pub verdict: String,
    /// Its page, from the site's first one.
    pub page: String,
    /// The run before of its suite, and the page that lays both side by side.
    pub compared: Option<(String, String)>,
}

#[derive(Serialize)]
struct Site<'a> {
    runs: &'a [SiteRun],
}

/// Renders the first page: a line a run, the latest first.
///
/// # Errors
/// When a template fails.
pub fn site_page(runs: &[SiteRun]) -> Result<String> {
    let environment = environment()?;
    let template = environment.template_from_named_str("site.html", TEMPLATE).map_err(failed)?;
    let body = template.render(Serde(Site { runs })).map_err(failed)?;
    rendered(&Page { body: &body, ..Page::plain("Runs") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_harmless_in_links() {
        let run = SiteRun {
            name: "a\"><script>".into(),
            suite: "s".into(),
            started: "2026-11-29".into(),
            verdict: "<b>".into(),
            page: "a\" onclick=\"x/report.html".into(),
            compared: None,
        };
        let page = site_page(&[run]).unwrap();
        assert!(page.contains("href=\"a&quot; onclick=&quot;x/report.html\""), "{page}");
        assert!(page.contains("&lt;b&gt;") && !page.contains("\"><script>"));
    }
}
