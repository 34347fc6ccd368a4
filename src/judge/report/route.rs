//! What routing would bring, as Markdown.

use super::blocks::{list, section, table};
use super::text;
use crate::judge::analysis::route::{Point, Policy, PolicyRow, Route};

/// Policies against each setting alone and the oracle.
pub fn route(route: &Route) -> String {
    let mut out = format!(
        "# Routing between {} and {}\n\n{}\n\n",
        text::code(&route.fast),
        text::code(&route.smart),
        text::markdown_whole(&route.verdict)
    );
    let memory = route.memory_bytes.map_or("an unknown amount of memory".into(), text::bytes);
    out.push_str(&format!(
        "{} items, each answered by every setting below; both servers together take {memory}.\n",
        text::thousands(u64::from(route.items)),
    ));
    let alone: Vec<Vec<String>> = route.settings.iter().chain([&route.oracle]).map(point).collect();
    let header = ["setting", "quality", "mean latency", "mean energy (J)"];
    out.push_str(&section("Alone", &table(&header, &alone)));
    out.push_str(&section("Policies", &policies(route)));
    out.push_str(&section("Notes", &list(&route.notes)));
    out
}

fn point(point: &Point) -> Vec<String> {
    let name = if point.name == "oracle" { "oracle (not a policy)".into() } else { text::code(&point.name) };
    let mut row = vec![name];
    row.extend(figures(point));
    row
}

fn figures(point: &Point) -> [String; 3] {
    [
        text::estimate(Some(point.quality), text::score),
        text::estimate(Some(point.latency_s), text::seconds),
        text::estimate(point.energy_j, text::significant),
    ]
}

fn policies(route: &Route) -> String {
    let rows: Vec<Vec<String>> = route.policies.iter().map(policy).collect();
    if rows.is_empty() {
        return "The items do not differ in anything that is known before the answer.\n".into();
    }
    let header = [
        "by",
        "to the smart one when (chosen on one half, scored on the other)",
        "share",
        "quality",
        "mean latency",
        "mean energy (J)",
        "gain over the front (points)",
        "beats it",
    ];
    table(&header, &rows)
}

fn policy(row: &PolicyRow) -> Vec<String> {
    let chosen: Vec<String> = row.chosen.iter().map(Policy::words).collect();
    let chosen = match chosen.as_slice() {
        [a, b] if a == b => a.clone(),
        all => all.join("; "),
    };
    let mut cells = vec![
        text::markdown(row.kind.words()),
        text::markdown(&chosen),
        format!("{:.0}%", row.to_smart * 100.0),
    ];
    cells.extend(figures(&row.point));
    cells.push(text::estimate(Some(row.gain), text::signed_points));
    cells.push(if row.beats_front { "yes".into() } else { "no".into() });
    cells
}
