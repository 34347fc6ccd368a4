//! What routing would bring, as Markdown.

use serde::Serialize;

use super::markdown::built_in;
use crate::error::Result;
use crate::judge::analysis::route::{Policy, PolicyRow, Route};

const TEMPLATE: &str = include_str!("templates/route.md.j2");

/// What the template shows: the answer, and its policies in words.
#[derive(Serialize)]
struct View<'a> {
    route: &'a Route,
    policies: Vec<PolicyView<'a>>,
}

#[derive(Serialize)]
struct PolicyView<'a> {
    row: &'a PolicyRow,
    /// What the policy looks at.
    by: &'static str,
    /// When a request goes to the smart setting; one text where both halves chose the same.
    chosen: String,
}

/// Returns the policies beside each setting alone and the oracle.
///
/// # Errors
/// When the template fails.
pub fn route(route: &Route) -> Result<String> {
    built_in("route.md", TEMPLATE, View { route, policies: route.policies.iter().map(policy).collect() })
}

fn policy(row: &PolicyRow) -> PolicyView<'_> {
    let mut chosen: Vec<String> = row.chosen.iter().map(Policy::words).collect();
    chosen.dedup();
    PolicyView { row, by: row.kind.words(), chosen: chosen.join("; ") }
}
