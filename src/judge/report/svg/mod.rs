//! The Pareto front as a self-contained SVG: no scripts, no fonts from elsewhere, an own background in light and in
//! dark. One panel a context length, one below the other.

use std::fmt::Write as _;

mod axis;
mod heatmap;
mod labels;
mod load;
mod tone;

use axis::Axis;
pub use heatmap::heatmap;
use labels::Rect;
pub use load::load_curve;
use tone::{Tone, WIDTH};

use super::text;
use crate::judge::analysis::summary::{CellSummary, Estimate, FrontStatus, Summary, Verdict};
use crate::record::{Direction, Objective};

/// Where the first row of the legend stands, and room for each row.
const LEGEND: f64 = 88.0;
const LEGEND_ROW: f64 = 20.0;
const PANEL: f64 = 424.0;
/// Points of a panel that have a name.
const MOST_NAMES: usize = 16;
/// Left edge of a head's lines.
const EDGE: f64 = 16.0;
const PLOT: Rect = Rect { x: 76.0, y: 36.0, width: 464.0, height: 330.0 };

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
    let legend = legend(summary);
    let head_height =
        LEGEND + LEGEND_ROW * legend.iter().map(|entry| entry.row + 1).max().unwrap_or(1) as f64;
    let title = format!(
        "{}: {} against {}",
        text::xml(&shorten(&text::plain(&summary.suite))),
        words(axes.y),
        words(axes.x)
    );
    let mut svg = tone::begin(head_height + PANEL * panels.len() as f64 + 4.0, &title);
    head(&mut svg, summary, &title, &legend);
    for (at, (context, points)) in panels.iter().enumerate() {
        let top = head_height + PANEL * at as f64;
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

/// A line of the legend.
struct Entry {
    mark: Mark,
    tone: Tone,
    words: &'static str,
    x: f64,
    row: usize,
}

/// What the marks mean, in as many rows as they need.
fn legend(summary: &Summary) -> Vec<Entry> {
    let entries = [
        (Mark::Diamond, Tone::Ink, "reference"),
        (Mark::Disc, Tone::Front, "on the front"),
        (Mark::Ring, Tone::Open, "front not separable"),
        (Mark::Cross, Tone::Muted, "dominated"),
    ];
    let worse = summary.cells.iter().any(|cell| cell.front == FrontStatus::OnlyByCost);
    let entries = entries.into_iter().chain(worse.then_some((
        Mark::Triangle,
        Tone::Worse,
        "worse, there only by its cost",
    )));
    let (mut x, mut row) = (EDGE, 0);
    let place = |(mark, tone, words): (Mark, Tone, &'static str)| {
        let width = 22.0 + labels::width(words);
        if x + width > WIDTH {
            (x, row) = (EDGE, row + 1);
        }
        let entry = Entry { mark, tone, words, x, row };
        x += width;
        entry
    };
    entries.map(place).collect()
}

fn head(svg: &mut String, summary: &Summary, title: &str, legend: &[Entry]) {
    label(svg, (EDGE, 26.0), "start", &Tone::Ink.fill(), r#" font-size="15" font-weight="600""#, title);
    let bars = format!(
        "Bars are {:.0}% intervals; the line joins the best point estimates.",
        summary.confidence * 100.0
    );
    for (line, words) in ["Better is up and to the right.", &bars].into_iter().enumerate() {
        label(svg, (EDGE, 46.0 + 18.0 * line as f64), "start", &Tone::Faint.fill(), "", words);
    }
    for Entry { mark, tone, words, x, row } in legend {
        let y = LEGEND + LEGEND_ROW * *row as f64;
        marker(svg, (x + 6.0, y - 4.5), *mark, *tone);
        label(svg, (x + 17.0, y), "start", &Tone::Faint.fill(), "", words);
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
    let mut heading = format!("context {} tokens", text::thousands(u64::from(context)));
    if points.len() > MOST_NAMES {
        heading.push_str(&format!("; {} of {} points are named", MOST_NAMES, points.len()));
    }
    label(svg, (left, top - 14.0), "start", &Tone::Ink.fill(), r#" font-weight="600""#, &heading);
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
    let texts = names(points);
    for ((point, place), (text, rect)) in
        points.iter().zip(&places).zip(texts.iter().zip(labels::place(&places, &texts, &lines, PLOT)))
    {
        if !text.is_empty() {
            name(svg, *place, text, rect, point.cell);
        }
    }
    for (point, place) in points.iter().zip(&places) {
        let (mark, tone) = look(point.cell);
        marker(svg, *place, mark, tone);
    }
}

/// The names of points, empty for those that there is no room for: the reference and the front come first.
fn names(points: &[Point<'_>]) -> Vec<String> {
    let rank = |at: &usize| match points[*at].cell.front {
        _ if points[*at].cell.verdict == Verdict::Reference => 0,
        FrontStatus::OnFront => 1,
        FrontStatus::NotSeparable | FrontStatus::NotMeasured => 2,
        FrontStatus::OnlyByCost => 3,
        FrontStatus::Dominated => 4,
    };
    let mut order: Vec<usize> = (0..points.len()).collect();
    order.sort_by_key(rank);
    let mut names = vec![String::new(); points.len()];
    for at in order.into_iter().take(MOST_NAMES) {
        names[at] = shorten(&text::plain(&points[at].cell.setting));
    }
    names
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
        line(svg, (at, top), (at, bottom), Tone::Grid, 1.0);
        label(svg, (at, bottom + 18.0), "middle", &Tone::Faint.fill(), "", &x.label(tick));
    }
    for &tick in &y.ticks {
        let at = y.at(tick);
        line(svg, (left, at), (right, at), Tone::Grid, 1.0);
        label(svg, (left - 8.0, at + 4.5), "end", &Tone::Faint.fill(), "", &y.label(tick));
    }
    if axes.y == Objective::Kld {
        // Zero has no place on a logarithmic axis: what is there equals the reference.
        label(svg, (right, top - 14.0), "end", &Tone::Faint.fill(), "", "0 lies on the upper edge");
    }
    line(svg, (left, bottom), (right, bottom), Tone::Muted, 1.0);
    line(svg, (left, top), (left, bottom), Tone::Muted, 1.0);
    let ink = Tone::Ink.fill();
    label(svg, (f64::midpoint(left, right), bottom + 40.0), "middle", &ink, "", text::axis(axes.x));
    let middle = f64::midpoint(top, bottom);
    let turned = format!(r#" transform="rotate(-90 18 {middle:.1})""#);
    label(svg, (18.0, middle), "middle", &ink, &turned, text::axis(axes.y));
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
        r#"<polyline points="{}" fill="none" {} stroke-width="1.5" stroke-dasharray="5 4" opacity="0.7"/>"#,
        places.join(" "),
        Tone::Front.stroke()
    );
}

/// A label, with a line to its point when it lies farther off.
fn name(svg: &mut String, point: (f64, f64), text: &str, rect: Rect, cell: &CellSummary) {
    let near = rect.nearest(point);
    if (near.0 - point.0).hypot(near.1 - point.1) > 14.0 {
        line(svg, point, near, Tone::Muted, 0.8);
    }
    let (tone, weight) = match cell.front {
        _ if cell.verdict == Verdict::Reference => (Tone::Ink, r#" font-weight="600""#),
        FrontStatus::Dominated => (Tone::Faint, ""),
        _ => (Tone::Ink, ""),
    };
    named(svg, rect, tone, weight, &text::xml(text));
}

/// A name (XML) over the bottom edge of its rectangle; a rim under it keeps it readable across lines.
fn named(svg: &mut String, rect: Rect, tone: Tone, weight: &str, xml: &str) {
    let at = (rect.x + rect.width / 2.0, rect.y + rect.height - 3.5);
    let rim = format!(r#"{weight} stroke-width="3" stroke-linejoin="round""#);
    label(svg, at, "middle", &Tone::Paper.rimmed(Tone::Paper), &rim, xml);
    label(svg, at, "middle", &tone.fill(), weight, xml);
}

fn shorten(text: &str) -> String {
    const LONGEST: usize = 38;
    if text.chars().count() <= LONGEST {
        return text.to_owned();
    }
    text.chars().take(LONGEST - 1).chain(['…']).collect()
}

/// Forms of points: each status has its own, so that nothing is told by colour alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mark {
    Diamond,
    Disc,
    Ring,
    Cross,
    Triangle,
}

fn look(cell: &CellSummary) -> (Mark, Tone) {
    let (mark, tone) = match cell.front {
        FrontStatus::OnFront => (Mark::Disc, Tone::Front),
        FrontStatus::OnlyByCost => (Mark::Triangle, Tone::Worse),
        FrontStatus::Dominated => (Mark::Cross, Tone::Muted),
        FrontStatus::NotSeparable | FrontStatus::NotMeasured => (Mark::Ring, Tone::Open),
    };
    if cell.verdict == Verdict::Reference { (Mark::Diamond, tone) } else { (mark, tone) }
}

fn marker(svg: &mut String, (x, y): (f64, f64), mark: Mark, tone: Tone) {
    let rimmed = tone.rimmed(Tone::Paper);
    let _ = match mark {
        Mark::Diamond => {
            writeln!(svg, r#"<path d="M{x:.1} {:.1} l6.5 6.5 l-6.5 6.5 l-6.5 -6.5 z" {rimmed}/>"#, y - 6.5)
        }
        Mark::Disc => writeln!(svg, r#"<circle cx="{x:.1}" cy="{y:.1}" r="5" {rimmed}/>"#),
        Mark::Ring => {
            let attributes = Tone::Paper.rimmed(tone);
            writeln!(svg, r#"<circle cx="{x:.1}" cy="{y:.1}" r="4.5" {attributes} stroke-width="2"/>"#)
        }
        Mark::Cross => {
            let (left, top) = (x - 4.5, y - 4.5);
            let stroke = tone.stroke();
            writeln!(svg, r#"<path d="M{left:.1} {top:.1} l9 9 m0 -9 l-9 9" {stroke} stroke-width="2.5"/>"#)
        }
        Mark::Triangle => {
            let (left, top) = (x - 6.0, y - 5.0);
            writeln!(svg, r#"<path d="M{left:.1} {top:.1} l12 0 l-6 11 z" {rimmed}/>"#)
        }
    };
}

fn draw_bar(svg: &mut String, from: (f64, f64), to: (f64, f64), tone: Tone) {
    let _ = writeln!(
        svg,
        r#"<line x1="{:.1}" y1="{:.1}" x2="{:.1}" y2="{:.1}" {} stroke-width="1.4" opacity="0.45"/>"#,
        from.0,
        from.1,
        to.0,
        to.1,
        tone.stroke()
    );
}

fn line(svg: &mut String, from: (f64, f64), to: (f64, f64), tone: Tone, width: f64) {
    let _ = writeln!(
        svg,
        r#"<line x1="{:.1}" y1="{:.1}" x2="{:.1}" y2="{:.1}" {} stroke-width="{width}"/>"#,
        from.0,
        from.1,
        to.0,
        to.1,
        tone.stroke()
    );
}

/// Text that is XML already, in a paint (an attribute), with further attributes.
fn label(svg: &mut String, (x, y): (f64, f64), anchor: &str, paint: &str, more: &str, xml: &str) {
    let _ = writeln!(svg, r#"<text x="{x:.1}" y="{y:.1}" text-anchor="{anchor}" {paint}{more}>{xml}</text>"#);
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
    fn every_status_has_a_form_of_its_own() {
        let statuses = [
            FrontStatus::OnFront,
            FrontStatus::OnlyByCost,
            FrontStatus::Dominated,
            FrontStatus::NotSeparable,
        ];
        let mut forms: Vec<Mark> = Vec::new();
        for status in statuses {
            let mut cell = cell("a", 0.8, 50.0);
            cell.front = status;
            let (mark, _) = look(&cell);
            assert!(!forms.contains(&mark) && mark != Mark::Diamond, "{status:?}");
            forms.push(mark);
        }
    }

    #[test]
    fn the_legend_stays_within_the_picture() {
        let mut summary = testing::summary();
        summary.cells = vec![cell("a", 0.8, 50.0)];
        summary.cells[0].front = FrontStatus::OnlyByCost;
        let legend = legend(&summary);
        assert_eq!(legend.len(), 5);
        assert!(legend.iter().all(|entry| entry.x + 22.0 + labels::width(entry.words) <= WIDTH));
        assert!(legend.windows(2).all(|pair| pair[1].row > pair[0].row || pair[1].x > pair[0].x));
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
