//! Throughput against latency, a line a setting along its ladder of concurrency.

use std::fmt::Write as _;

use super::axis::Axis;
use super::labels::{self, Rect};
use super::{FAINT, FRONT, INK, MUTED, OPEN, WIDTH, label, line, shorten, text};
use crate::judge::analysis::summary::{LoadRow, Summary};
use crate::record::suite::Arrivals;

const HEAD: f64 = 64.0;
const HEIGHT: f64 = 470.0;
const PLOT: Rect = Rect { x: 78.0, y: 74.0, width: 790.0, height: 336.0 };

/// Colours of the lines, in turn; told apart by dashes, too.
const COLOURS: [&str; 6] = [INK, FRONT, OPEN, "#7a1f5c", "#1f7a4d", "#b3261e"];
const DASHES: [&str; 3] = ["none", "6 3", "2 3"];

/// A setting's ladder: streams, output tokens/s, median time to the end of a reply (s).
struct Ladder<'a> {
    setting: &'a str,
    points: Vec<(u32, f64, f64)>,
}

/// The picture of all ladders; `None` when no setting has two steps with both figures.
pub fn load_curve(summary: &Summary) -> Option<String> {
    let ladders = ladders(&summary.load.as_ref()?.steps);
    if ladders.is_empty() {
        return None;
    }
    let all = || ladders.iter().flat_map(|ladder| &ladder.points);
    let rates: Vec<f64> = all().map(|(_, rate, _)| *rate).chain([0.0]).collect();
    let times: Vec<f64> = all().map(|(_, _, time)| *time).chain([0.0]).collect();
    let possible = (0.0, f64::INFINITY);
    let x = Axis::linear(&rates, possible, (PLOT.x, PLOT.x + PLOT.width));
    let y = Axis::linear(&times, possible, (PLOT.y + PLOT.height, PLOT.y));
    let mut svg = head(summary);
    grid(&mut svg, &x, &y);
    let (mut places, mut names) = (Vec::new(), Vec::new());
    for (at, ladder) in ladders.iter().enumerate() {
        let corners: Vec<(f64, f64)> =
            ladder.points.iter().map(|(_, rate, time)| (x.at(*rate), y.at(*time))).collect();
        draw(&mut svg, at, &corners);
        for ((streams, ..), place) in ladder.points.iter().zip(&corners) {
            let is_last = Some(place) == corners.last();
            let setting =
                if is_last { format!("{}: ", shorten(&text::plain(ladder.setting))) } else { String::new() };
            places.push(*place);
            names.push(format!("{setting}{streams}"));
        }
    }
    for (name, rect) in names.iter().zip(labels::place(&places, &names, &[], PLOT)) {
        let at = (rect.x + rect.width / 2.0, rect.y + rect.height - 3.0);
        let rim = r##" stroke="#ffffff" stroke-width="3" stroke-linejoin="round""##;
        label(&mut svg, at, "middle", "#ffffff", rim, &text::xml(name));
        label(&mut svg, at, "middle", INK, "", &text::xml(name));
    }
    svg.push_str("</svg>\n");
    Some(svg)
}

fn ladders(steps: &[LoadRow]) -> Vec<Ladder<'_>> {
    let settings = steps.chunk_by(|a, b| a.setting == b.setting);
    let ladders = settings.filter_map(|rows| {
        let point = |row: &LoadRow| match row.arrivals {
            Arrivals::Closed(streams) => Some((streams, row.output_tps?, row.e2e_s.p50?)),
            Arrivals::Poisson(_) => None,
        };
        let mut points: Vec<(u32, f64, f64)> = rows.iter().filter_map(point).collect();
        points.sort_by_key(|(streams, ..)| *streams);
        (points.len() > 1).then(|| Ladder { setting: &rows[0].setting, points })
    });
    ladders.collect()
}

fn head(summary: &Summary) -> String {
    let mut svg = String::new();
    let _ = writeln!(
        svg,
        r#"<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" font-family="system-ui, -apple-system, 'Segoe UI', Helvetica, Arial, sans-serif" font-size="11">"#
    );
    let title = format!("{}: throughput against latency", text::xml(&summary.suite));
    let _ = writeln!(svg, "<title>{title}</title>");
    let _ = writeln!(
        svg,
        r##"<rect x="0.5" y="0.5" width="{}" height="{}" rx="6" fill="#ffffff" stroke="#d5dbe1"/>"##,
        WIDTH - 1.0,
        HEIGHT - 1.0
    );
    label(&mut svg, (20.0, 28.0), "start", INK, r#" font-size="16" font-weight="600""#, &title);
    let subtitle = "Numbers are streams. Better is down and to the right.";
    label(&mut svg, (20.0, HEAD - 16.0), "start", FAINT, r#" font-size="12""#, subtitle);
    svg
}

fn grid(svg: &mut String, x: &Axis, y: &Axis) {
    let (left, right) = (PLOT.x, PLOT.x + PLOT.width);
    let (top, bottom) = (PLOT.y, PLOT.y + PLOT.height);
    for &tick in &x.ticks {
        let at = x.at(tick);
        line(svg, (at, top), (at, bottom), "#e6eaee", 1.0);
        label(svg, (at, bottom + 17.0), "middle", FAINT, "", &x.label(tick));
    }
    for &tick in &y.ticks {
        let at = y.at(tick);
        line(svg, (left, at), (right, at), "#e6eaee", 1.0);
        label(svg, (left - 8.0, at + 4.0), "end", FAINT, "", &y.label(tick));
    }
    line(svg, (left, bottom), (right, bottom), MUTED, 1.0);
    line(svg, (left, top), (left, bottom), MUTED, 1.0);
    let middle = f64::midpoint(left, right);
    let size = r#" font-size="12""#;
    label(svg, (middle, bottom + 38.0), "middle", INK, size, "output (tokens/s, all streams)");
    let middle = f64::midpoint(top, bottom);
    let turned = format!(r#" font-size="12" transform="rotate(-90 20 {middle:.1})""#);
    label(svg, (20.0, middle), "middle", INK, &turned, "median time to the end of a reply (s)");
}

fn draw(svg: &mut String, at: usize, corners: &[(f64, f64)]) {
    let colour = COLOURS[at % COLOURS.len()];
    let dashes = DASHES[at / COLOURS.len() % DASHES.len()];
    let places: Vec<String> = corners.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
    let _ = writeln!(
        svg,
        r#"<polyline points="{}" fill="none" stroke="{colour}" stroke-width="1.8" stroke-dasharray="{dashes}"/>"#,
        places.join(" ")
    );
    for (x, y) in corners {
        let _ = writeln!(svg, r#"<circle cx="{x:.1}" cy="{y:.1}" r="4" fill="{colour}"/>"#);
    }
}
