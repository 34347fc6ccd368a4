//! Throughput against latency, a line a setting along its ladder of concurrency.

use std::fmt::Write as _;

use super::axis::Axis;
use super::labels::{self, Rect};
use super::tone::{self, Tone};
use super::{EDGE, label, line, named, shorten, text};
use crate::judge::analysis::summary::{LoadRow, Summary};
use crate::record::suite::Arrivals;

const HEIGHT: f64 = 470.0;
const PLOT: Rect = Rect { x: 76.0, y: 66.0, width: 464.0, height: 340.0 };

/// Tones of the lines, in turn, and their dashes: neighbours differ in both.
const TONES: [Tone; 6] = [Tone::Ink, Tone::Front, Tone::Open, Tone::Plum, Tone::Green, Tone::Worse];
const DASHES: [&str; 4] = ["none", "7 3", "2 3", "9 3 2 3"];

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
        named(&mut svg, rect, Tone::Ink, "", &text::xml(name));
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
        // A load that a search visited twice is a single point.
        let mut points: Vec<(u32, f64, f64)> =
            rows.iter().filter(|row| row.visit == 0).filter_map(point).collect();
        points.sort_by_key(|(streams, ..)| *streams);
        (points.len() > 1).then(|| Ladder { setting: &rows[0].setting, points })
    });
    ladders.collect()
}

fn head(summary: &Summary) -> String {
    let title = format!("{}: throughput against latency", text::xml(&shorten(&text::plain(&summary.suite))));
    let mut svg = tone::begin(HEIGHT, &title);
    let bold = r#" font-size="15" font-weight="600""#;
    label(&mut svg, (EDGE, 26.0), "start", &Tone::Ink.fill(), bold, &title);
    let subtitle = "Numbers are streams. Better is down and to the right.";
    label(&mut svg, (EDGE, 46.0), "start", &Tone::Faint.fill(), "", subtitle);
    svg
}

fn grid(svg: &mut String, x: &Axis, y: &Axis) {
    let (left, right) = (PLOT.x, PLOT.x + PLOT.width);
    let (top, bottom) = (PLOT.y, PLOT.y + PLOT.height);
    let (faint, ink) = (Tone::Faint.fill(), Tone::Ink.fill());
    for &tick in &x.ticks {
        let at = x.at(tick);
        line(svg, (at, top), (at, bottom), Tone::Grid, 1.0);
        label(svg, (at, bottom + 18.0), "middle", &faint, "", &x.label(tick));
    }
    for &tick in &y.ticks {
        let at = y.at(tick);
        line(svg, (left, at), (right, at), Tone::Grid, 1.0);
        label(svg, (left - 8.0, at + 4.5), "end", &faint, "", &y.label(tick));
    }
    line(svg, (left, bottom), (right, bottom), Tone::Muted, 1.0);
    line(svg, (left, top), (left, bottom), Tone::Muted, 1.0);
    let middle = f64::midpoint(left, right);
    label(svg, (middle, bottom + 40.0), "middle", &ink, "", "output (tokens/s, all streams)");
    let middle = f64::midpoint(top, bottom);
    let turned = format!(r#" transform="rotate(-90 18 {middle:.1})""#);
    label(svg, (18.0, middle), "middle", &ink, &turned, "median time to the end of a reply (s)");
}

fn draw(svg: &mut String, at: usize, corners: &[(f64, f64)]) {
    let tone = TONES[at % TONES.len()];
    let dashes = DASHES[at % DASHES.len()];
    let places: Vec<String> = corners.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
    let _ = writeln!(
        svg,
        r#"<polyline points="{}" fill="none" {} stroke-width="1.8" stroke-dasharray="{dashes}"/>"#,
        places.join(" "),
        tone.stroke()
    );
    for (x, y) in corners {
        let _ = writeln!(svg, r#"<circle cx="{x:.1}" cy="{y:.1}" r="4.5" {}/>"#, tone.fill());
    }
}
