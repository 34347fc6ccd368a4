//! The Pareto front as a self-contained SVG: no scripts, no fonts from elsewhere, an own background so that
//! it reads on light and dark pages alike. One panel a context length, one below the other.

use std::fmt::Write as _;

mod axis;
mod heatmap;
mod labels;
mod load;

use axis::Axis;
pub use heatmap::heatmap;
use labels::Rect;
pub use load::load_curve;

use super::text;
use crate::judge::analysis::summary::{CellSummary, Estimate, FrontStatus, Summary, Verdict};
use crate::record::{Direction, Objective};

const WIDTH: f64 = 900.0;
const HEAD: f64 = 92.0;
const PANEL: f64 = 430.0;
const PLOT: Rect = Rect { x: 78.0, y: 34.0, width: 790.0, height: 330.0 };

const FRONT: &str = "#0b5cad";
const OPEN: &str = "#8a5a00";
const WORSE: &str = "#b3261e";
const MUTED: &str = "#9aa3ad";
const INK: &str = "#1f2933";
const FAINT: &str = "#5f6b76";

/// A cell in the picture.
struct Point<'a> {
    cell: &'a CellSummary,
    x: Estimate,
    y: Estimate,
}

/// From one pixel to another.
type Segment = ((f64, f64), (f64, f64));

/// What the axes show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Axes {
    x: Objective,
    y: Objective,
}

/// The picture of all fronts; `None` when no cell has both figures.
///
/// The horizontal axis is the first objective that is neither quality nor KLD (the decode rate when none is).
/// The vertical one is quality where it tells settings apart or shows one to be no worse; else KLD, where it
/// was measured. Both run so that better is up and to the right.
pub fn front(summary: &Summary) -> Option<String> {
    let axes = axes(summary);
    let mut contexts: Vec<u32> = summary.cells.iter().map(|cell| cell.context).collect();
    contexts.dedup();
    let panels: Vec<(u32, Vec<Point<'_>>)> = contexts
        .into_iter()
        .map(|context| (context, points(summary, axes, context)))
        .filter(|(_, points)| !points.is_empty())
        .collect();
    if panels.is_empty() {
        return None;
    }
    let height = HEAD + PANEL * panels.len() as f64 + 8.0;
    let mut svg = String::new();
    let _ = writeln!(
        svg,
        r#"<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}" role="img" font-family="system-ui, -apple-system, 'Segoe UI', Helvetica, Arial, sans-serif" font-size="11">"#
    );
    head(&mut svg, summary, axes, height);
    for (at, (context, points)) in panels.iter().enumerate() {
        let top = HEAD + PANEL * at as f64;
        let _ = writeln!(svg, r#"<g transform="translate(0 {top})">"#);
        panel(&mut svg, axes, *context, points);
        svg.push_str("</g>\n");
    }
    svg.push_str("</svg>\n");
    Some(svg)
}

fn axes(summary: &Summary) -> Axes {
    let cost = |objective: &&Objective| !matches!(objective, Objective::Quality | Objective::Kld);
    let x = summary.objectives.iter().find(cost).copied().unwrap_or(Objective::Decode);
    let tells = |cell: &CellSummary| matches!(cell.verdict, Verdict::NoWorse | Verdict::Worse);
    let has_kld = summary.cells.iter().any(|c| c.kld.is_some() && c.verdict != Verdict::Reference);
    let quality = summary.cells.iter().any(tells) || !has_kld;
    Axes { x, y: if quality { Objective::Quality } else { Objective::Kld } }
}

fn points<'a>(summary: &'a Summary, axes: Axes, context: u32) -> Vec<Point<'a>> {
    let here = summary.cells.iter().filter(|cell| cell.context == context);
    here.filter_map(|cell| Some(Point { cell, x: figure(cell, axes.x)?, y: figure(cell, axes.y)? })).collect()
}

/// The cell's figure in the unit of its axis.
fn figure(cell: &CellSummary, objective: Objective) -> Option<Estimate> {
    let scaled = |estimate: Estimate, by: f64| Estimate {
        value: estimate.value * by,
        low: estimate.low.map(|low| low * by),
        high: estimate.high.map(|high| high * by),
        n: estimate.n,
    };
    match objective {
        Objective::Quality => cell.quality,
        Objective::Decode => cell.decode_tps,
        Objective::Prefill => cell.prefill_tps,
        Objective::Ttft => cell.ttft_s.map(|ttft| scaled(ttft, 1000.0)),
        Objective::Kld => cell.kld.as_ref().map(|kld| kld.mean),
        Objective::Energy => cell.energy.as_ref().map(|energy| energy.per_request_j),
        Objective::Memory => {
            let value = cell.memory.peak_bytes? as f64 / f64::from(1 << 20);
            Some(Estimate { value, low: None, high: None, n: 1 })
        }
    }
}

fn head(svg: &mut String, summary: &Summary, axes: Axes, height: f64) {
    let title = format!("{}: {} against {}", text::xml(&summary.suite), words(axes.y), words(axes.x));
    let subtitle = format!(
        "Better is up and to the right. Bars are {:.0}% intervals; the line joins the best point estimates.",
        summary.confidence * 100.0
    );
    let _ = writeln!(svg, "<title>{title}</title>");
    let _ = writeln!(
        svg,
        r##"<rect x="0.5" y="0.5" width="{}" height="{}" rx="6" fill="#ffffff" stroke="#d5dbe1"/>"##,
        WIDTH - 1.0,
        height - 1.0
    );
    label(svg, (20.0, 28.0), "start", INK, r#" font-size="16" font-weight="600""#, &title);
    label(svg, (20.0, 48.0), "start", FAINT, r#" font-size="12""#, &subtitle);
    let mut x = 20.0;
    let entries = [
        (Mark::Reference, INK, "reference"),
        (Mark::Full, FRONT, "on the front"),
        (Mark::Hollow, OPEN, "front not separable"),
        (Mark::Full, MUTED, "dominated"),
    ];
    let worse = summary.cells.iter().any(|cell| cell.front == FrontStatus::OnlyByCost);
    let entries =
        entries.into_iter().chain(worse.then_some((Mark::Full, WORSE, "worse, there only by its cost")));
    for (mark, colour, words) in entries {
        marker(svg, (x + 6.0, 70.0), mark, colour);
        label(svg, (x + 17.0, 74.0), "start", FAINT, r#" font-size="12""#, words);
        x += 32.0 + labels::width(words) * 1.05;
    }
}

const fn words(objective: Objective) -> &'static str {
    match objective {
        Objective::Quality => "quality",
        Objective::Decode => "decode rate",
        Objective::Prefill => "prefill rate",
        Objective::Ttft => "time to first token",
        Objective::Memory => "peak memory",
        Objective::Kld => "distance from the reference (KLD)",
        Objective::Energy => "energy of a request",
    }
}

fn panel(svg: &mut String, axes: Axes, context: u32, points: &[Point<'_>]) {
    let (left, right) = (PLOT.x, PLOT.x + PLOT.width);
    let (top, bottom) = (PLOT.y, PLOT.y + PLOT.height);
    let x = scale(axes.x, points.iter().map(|point| point.x), (left, right));
    let y = scale(axes.y, points.iter().map(|point| point.y), (bottom, top));
    let heading = format!("context {} tokens", text::thousands(u64::from(context)));
    label(svg, (left, top - 12.0), "start", INK, r#" font-size="13" font-weight="600""#, &heading);
    grid(svg, &x, &y, axes);
    let mut lines = Vec::new();
    for point in points {
        for (from, to) in bars(point, &x, &y, axes) {
            draw_bar(svg, from, to, look(point.cell).1);
            lines.push(Rect::along(from, to));
        }
    }
    let corners = front_line(points, &x, &y, axes);
    draw_front_line(svg, &corners);
    lines.extend(corners.windows(2).map(|pair| Rect::along(pair[0], pair[1])));
    let places: Vec<(f64, f64)> = points.iter().map(|p| (x.at(p.x.value), y.at(p.y.value))).collect();
    let texts: Vec<String> = points.iter().map(|point| shorten(&text::plain(&point.cell.setting))).collect();
    for ((point, place), (text, rect)) in
        points.iter().zip(&places).zip(texts.iter().zip(labels::place(&places, &texts, &lines, PLOT)))
    {
        name(svg, *place, text, rect, point.cell);
    }
    for (point, place) in points.iter().zip(&places) {
        let (mark, colour) = look(point.cell);
        marker(svg, *place, mark, colour);
    }
}

/// An axis that holds the figures and their bars; KLD is logarithmic, and what costs runs backwards.
fn scale(objective: Objective, figures: impl Iterator<Item = Estimate>, span: (f64, f64)) -> Axis {
    let mut all = Vec::new();
    for estimate in figures {
        all.push(estimate.value);
        all.extend(estimate.low);
        all.extend(estimate.high);
    }
    let span = match objective.direction() {
        Direction::Up => span,
        Direction::Down => (span.1, span.0),
    };
    if objective == Objective::Kld && all.iter().any(|figure| *figure > 0.0) {
        return Axis::log(&all, span);
    }
    let most = if objective == Objective::Quality { 1.0 } else { f64::INFINITY };
    Axis::linear(&all, (0.0, most), span)
}

fn grid(svg: &mut String, x: &Axis, y: &Axis, axes: Axes) {
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
    if axes.y == Objective::Kld {
        // Zero has no place on a logarithmic axis: what is there equals the reference.
        label(svg, (right, top - 8.0), "end", FAINT, "", "0 lies on the upper edge");
    }
    line(svg, (left, bottom), (right, bottom), MUTED, 1.0);
    line(svg, (left, top), (left, bottom), MUTED, 1.0);
    label(
        svg,
        (f64::midpoint(left, right), bottom + 38.0),
        "middle",
        INK,
        r#" font-size="12""#,
        text::axis(axes.x),
    );
    let middle = f64::midpoint(top, bottom);
    let turned = format!(r#" font-size="12" transform="rotate(-90 20 {middle:.1})""#);
    label(svg, (20.0, middle), "middle", INK, &turned, text::axis(axes.y));
}

/// The level and upright lines through a point that show its intervals.
fn bars(point: &Point<'_>, x: &Axis, y: &Axis, axes: Axes) -> Vec<Segment> {
    let (px, py) = (x.at(point.x.value), y.at(point.y.value));
    let mut bars = Vec::new();
    if let (Some(low), Some(high)) = (point.x.low, point.x.high) {
        bars.push(((x.at(low), py), (x.at(high), py)));
    }
    let no_place = axes.y == Objective::Kld && point.y.value <= 0.0;
    if let (Some(low), Some(high), false) = (point.y.low, point.y.high, no_place) {
        bars.push(((px, y.at(low)), (px, y.at(high))));
    }
    bars
}

/// The corners of a step line through the points that no other point beats on both axes.
fn front_line(points: &[Point<'_>], x: &Axis, y: &Axis, axes: Axes) -> Vec<(f64, f64)> {
    let good = |objective: Objective, value: f64| match objective.direction() {
        Direction::Up => value,
        Direction::Down => -value,
    };
    let place = |point: &Point<'_>| (good(axes.x, point.x.value), good(axes.y, point.y.value));
    let beaten = |point: &Point<'_>| {
        let (px, py) = place(point);
        points.iter().map(place).any(|(ox, oy)| ox >= px && oy >= py && (ox > px || oy > py))
    };
    let mut best: Vec<&Point<'_>> = points.iter().filter(|point| !beaten(point)).collect();
    best.sort_by(|a, b| place(a).0.total_cmp(&place(b).0));
    let mut corners: Vec<(f64, f64)> = Vec::new();
    for point in best {
        let at = (x.at(point.x.value), y.at(point.y.value));
        if let Some(&(_, last_y)) = corners.last() {
            corners.push((at.0, last_y));
        }
        corners.push(at);
    }
    corners
}

fn draw_front_line(svg: &mut String, corners: &[(f64, f64)]) {
    let places: Vec<String> = corners.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
    let _ = writeln!(
        svg,
        r#"<polyline points="{}" fill="none" stroke="{FRONT}" stroke-width="1.5" stroke-dasharray="5 4" opacity="0.7"/>"#,
        places.join(" ")
    );
}

/// A label, with a line to its point when it lies farther off.
fn name(svg: &mut String, point: (f64, f64), text: &str, rect: Rect, cell: &CellSummary) {
    let near = rect.nearest(point);
    if (near.0 - point.0).hypot(near.1 - point.1) > 14.0 {
        line(svg, point, near, MUTED, 0.8);
    }
    let (colour, weight) = match cell.front {
        _ if cell.verdict == Verdict::Reference => (INK, r#" font-weight="600""#),
        FrontStatus::Dominated => ("#6b7580", ""),
        _ => (INK, ""),
    };
    let at = (rect.x + rect.width / 2.0, rect.y + rect.height - 3.0);
    let text = text::xml(text);
    // A white rim under the name keeps it readable across lines.
    let rim = format!(r##"{weight} stroke="#ffffff" stroke-width="3" stroke-linejoin="round""##);
    label(svg, at, "middle", "#ffffff", &rim, &text);
    label(svg, at, "middle", colour, weight, &text);
}

fn shorten(text: &str) -> String {
    const LONGEST: usize = 44;
    if text.chars().count() <= LONGEST {
        return text.to_owned();
    }
    text.chars().take(LONGEST - 1).chain(['…']).collect()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mark {
    Reference,
    Full,
    Hollow,
}

fn look(cell: &CellSummary) -> (Mark, &'static str) {
    let colour = match cell.front {
        FrontStatus::OnFront => FRONT,
        FrontStatus::OnlyByCost => WORSE,
        FrontStatus::Dominated => MUTED,
        FrontStatus::NotSeparable | FrontStatus::NotMeasured => OPEN,
    };
    let mark = match cell.front {
        _ if cell.verdict == Verdict::Reference => Mark::Reference,
        FrontStatus::NotSeparable | FrontStatus::NotMeasured => Mark::Hollow,
        FrontStatus::OnFront | FrontStatus::OnlyByCost | FrontStatus::Dominated => Mark::Full,
    };
    (mark, colour)
}

fn marker(svg: &mut String, (x, y): (f64, f64), mark: Mark, colour: &str) {
    let _ = match mark {
        Mark::Reference => writeln!(
            svg,
            r##"<path d="M{:.1} {:.1} l6 6 l-6 6 l-6 -6 z" fill="{colour}" stroke="#ffffff"/>"##,
            x,
            y - 6.0
        ),
        Mark::Full => {
            writeln!(svg, r##"<circle cx="{x:.1}" cy="{y:.1}" r="4.5" fill="{colour}" stroke="#ffffff"/>"##)
        }
        Mark::Hollow => writeln!(
            svg,
            r##"<circle cx="{x:.1}" cy="{y:.1}" r="4" fill="#ffffff" stroke="{colour}" stroke-width="2"/>"##
        ),
    };
}

fn draw_bar(svg: &mut String, from: (f64, f64), to: (f64, f64), colour: &str) {
    let _ = writeln!(
        svg,
        r#"<line x1="{:.1}" y1="{:.1}" x2="{:.1}" y2="{:.1}" stroke="{colour}" stroke-width="1.2" opacity="0.35"/>"#,
        from.0, from.1, to.0, to.1
    );
}

fn line(svg: &mut String, from: (f64, f64), to: (f64, f64), colour: &str, width: f64) {
    let _ = writeln!(
        svg,
        r#"<line x1="{:.1}" y1="{:.1}" x2="{:.1}" y2="{:.1}" stroke="{colour}" stroke-width="{width}"/>"#,
        from.0, from.1, to.0, to.1
    );
}

/// Text that is XML already, with further attributes.
fn label(svg: &mut String, (x, y): (f64, f64), anchor: &str, colour: &str, more: &str, xml: &str) {
    let _ = writeln!(
        svg,
        r#"<text x="{x:.1}" y="{y:.1}" text-anchor="{anchor}" fill="{colour}"{more}>{xml}</text>"#
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::analysis::testing;

    fn cell(setting: &str, quality: f64, decode: f64) -> CellSummary {
        let estimate = |value: f64, spread: f64| {
            Some(Estimate { value, low: Some(value - spread), high: Some(value + spread), n: 60 })
        };
        let mut cell = testing::cell(setting, 1024);
        cell.quality = estimate(quality, 0.05);
        cell.decode_tps = estimate(decode, 2.0);
        cell.verdict = Verdict::NoWorse;
        cell.front = FrontStatus::OnFront;
        cell
    }

    #[test]
    fn nothing_to_show_is_no_picture() {
        let mut summary = testing::summary();
        assert_eq!(front(&summary), None);
        summary.cells = vec![testing::cell("empty", 512)];
        assert_eq!(front(&summary), None);
    }

    #[test]
    fn names_are_escaped_and_nothing_is_remote() {
        let mut summary = testing::summary();
        summary.suite = "a<b>&\"c\u{1b}".into();
        summary.cells = vec![cell("<script>x</script>", 0.8, 50.0), cell("b", 0.7, 60.0)];
        let svg = front(&summary).unwrap();
        assert!(!svg.contains("<script") && !svg.contains('\u{1b}') && svg.contains("&lt;script&gt;"));
        assert_eq!(svg.matches("http").count(), 1, "only the namespace");
        assert!(!svg.contains("NaN") && !svg.contains("inf"));
    }

    #[test]
    fn quality_that_tells_nothing_gives_way_to_kld() {
        let mut summary = testing::summary();
        summary.cells = vec![cell("a", 0.8, 50.0), cell("b", 0.7, 60.0)];
        assert_eq!(axes(&summary).y, Objective::Quality);
        for cell in &mut summary.cells {
            cell.verdict = Verdict::NotSeparable;
        }
        assert_eq!(axes(&summary).y, Objective::Quality, "no KLD to give way to");
        let mean = Estimate { value: 0.01, low: Some(0.005), high: Some(0.02), n: 4 };
        summary.cells[1].kld = Some(crate::judge::analysis::summary::KldSummary {
            mean,
            median: 0.005,
            p99: 0.1,
            p999: 0.2,
            rms_delta_p: 0.01,
            top1_agreement: 0.98,
            perplexity: 12.0,
            positions: 256,
            outside: 3,
            unlisted: Some(0.04),
        });
        assert_eq!(axes(&summary).y, Objective::Kld);
        assert!(front(&summary).is_some());
    }
}
