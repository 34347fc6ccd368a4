//! Scores by depth of the answer and context length as a self-contained SVG: one panel a setting.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::tone::{self, Tone, WIDTH};
use super::{EDGE, line, shorten, text};
use crate::judge::analysis::summary::{DepthRow, Summary};

const HEAD: f64 = 108.0;
/// Room at the left of a panel for the names of its depths.
const LEFT: f64 = 76.0;
const CELL: (f64, f64) = (60.0, 38.0);
/// Room above a panel's cells (for the contexts, and for each line of the setting's name) and below.
const ABOVE: f64 = 28.0;
const NAME_LINE: f64 = 17.0;
const BELOW: f64 = 20.0;
/// Room between panels, and the least width of one: names need it.
const GAP: f64 = 16.0;
const LEAST_PANEL: f64 = 186.0;
/// Context lengths of a panel; a setting with more has several.
const MOST_CONTEXTS: usize = ((WIDTH - LEFT - GAP) / CELL.0) as usize;
/// Width of a character of a setting's name (user units), on the safe side.
const NAME_CHARACTER: f64 = 8.0;
/// Lines that a setting's name may have.
const NAME_LINES: usize = 3;

/// Colours of scores; between them each channel runs straight. They get lighter all the way, so that the picture
/// also reads in grey, and change most where scores are good: there the settings differ that anybody would use.
const COLOURS: [(f64, [f64; 3]); 5] = [
    (0.0, [110.0, 16.0, 40.0]),
    (0.4, [196.0, 78.0, 62.0]),
    (0.7, [240.0, 172.0, 106.0]),
    (0.9, [250.0, 232.0, 186.0]),
    (1.0, [222.0, 242.0, 250.0]),
];

/// Below this luminance white reads better than [`INK`] (luminance 0.023): sqrt(1.05 * 0.073) - 0.05.
const DARK: f64 = 0.227;
/// Numbers on light colours of scores, which are the same in light and in dark.
const INK: &str = "#1f2933";

/// The mean over tasks of one setting at one depth and context.
struct Spot {
    score: f64,
    n: u32,
}

/// The picture; `None` without scores by depth. Tasks of the quality count where there are any, else the sanity
/// checks; each task counts alike.
pub fn heatmap(summary: &Summary) -> Option<String> {
    let rows = rows(summary);
    let contexts: Vec<u32> =
        rows.iter().map(|row| row.context).collect::<BTreeSet<_>>().into_iter().collect();
    let bins = bins(&rows);
    let mut settings: Vec<&str> = Vec::new();
    for cell in &summary.cells {
        let has = rows.iter().any(|row| row.setting == cell.setting);
        if has && !settings.contains(&cell.setting.as_str()) {
            settings.push(&cell.setting);
        }
    }
    if settings.is_empty() {
        return None;
    }
    let most = contexts.len().min(MOST_CONTEXTS);
    let cells = (CELL.0 * most as f64, CELL.1 * bins.len() as f64);
    let panel_width = (LEFT + cells.0 + GAP).max(LEAST_PANEL);
    let names: Vec<Vec<String>> =
        settings.iter().map(|name| lines(&text::plain(name), panel_width)).collect();
    let name_height = NAME_LINE * names.iter().map(Vec::len).max().unwrap_or_default() as f64;
    let panel = (panel_width, name_height + ABOVE + cells.1 + BELOW);
    let columns = ((WIDTH / panel.0) as usize).max(1);
    let panels: Vec<(&str, &[String], &[u32])> = settings
        .iter()
        .zip(&names)
        .flat_map(|(setting, name)| {
            contexts.chunks(MOST_CONTEXTS).map(move |part| (*setting, &name[..], part))
        })
        .collect();
    let title =
        format!("{}: score by depth and context length", text::xml(&shorten(&text::plain(&summary.suite))));
    let mut svg = tone::begin(HEAD + panel.1 * panels.len().div_ceil(columns) as f64, &title);
    head(&mut svg, &title, &rows);
    for (at, (setting, name, contexts)) in panels.into_iter().enumerate() {
        let place = (panel.0 * (at % columns) as f64, HEAD + panel.1 * (at / columns) as f64);
        draw_name(&mut svg, place, name);
        let _ = writeln!(svg, r#"<g transform="translate({} {})">"#, place.0, place.1 + name_height);
        draw_panel(&mut svg, &rows, setting, contexts, &bins);
        svg.push_str("</g>\n");
    }
    svg.push_str("</svg>\n");
    Some(svg)
}

/// Scores by depth of the tasks that count; KLD by depth is not a score.
fn rows(summary: &Summary) -> Vec<&DepthRow> {
    let kind = |row: &DepthRow| {
        let task = summary.tasks.iter().find(|task| task.task == row.task && task.quality.is_some());
        task.map(|task| task.sanity)
    };
    let of = |sanity: bool| -> Vec<&DepthRow> {
        summary.depths.iter().filter(|row| kind(row) == Some(sanity)).collect()
    };
    let primary = of(false);
    if primary.is_empty() { of(true) } else { primary }
}

fn bins(rows: &[&DepthRow]) -> Vec<(f64, f64)> {
    let mut bins: Vec<(f64, f64)> = rows.iter().map(|row| (row.from, row.to)).collect();
    bins.sort_by(|a, b| a.0.total_cmp(&b.0));
    bins.dedup();
    bins
}

fn spot(rows: &[&DepthRow], setting: &str, context: u32, bin: (f64, f64)) -> Option<Spot> {
    let here = rows
        .iter()
        .filter(|row| row.setting == setting && row.context == context && (row.from, row.to) == bin);
    let (mut sum, mut tasks, mut n) = (0.0, 0.0, 0);
    for row in here {
        sum += row.value;
        tasks += 1.0;
        n += row.n;
    }
    (n > 0).then(|| Spot { score: sum / tasks, n })
}

fn head(svg: &mut String, title: &str, rows: &[&DepthRow]) {
    let tasks: BTreeSet<&str> = rows.iter().map(|row| row.task.as_str()).collect();
    let mean = format!("Mean over {} of the share found; n: answers asked for.", count(tasks.len()));
    let bold = r#" font-size="15" font-weight="600""#;
    super::label(svg, (EDGE, 26.0), "start", &Tone::Ink.fill(), bold, title);
    let places = "Rows: place in the context, from its start. Columns: context in tokens.";
    for (at, words) in [mean.as_str(), places].into_iter().enumerate() {
        super::label(svg, (EDGE, 46.0 + 18.0 * at as f64), "start", &Tone::Faint.fill(), "", words);
    }
    for step in 0..=10 {
        let score = f64::from(step) / 10.0;
        let x = EDGE + 44.0 * f64::from(step);
        square(svg, (x, 76.0), (44.0, 20.0), score);
        super::label(svg, (x + 22.0, 90.5), "middle", &ink_on(score), "", &format!("{score:.1}"));
    }
}

fn count(tasks: usize) -> String {
    if tasks == 1 { "1 task".into() } else { format!("{tasks} tasks") }
}

/// A name in lines of a panel's width, broken at blanks; what does not fit into the last ends with dots.
fn lines(name: &str, panel_width: f64) -> Vec<String> {
    let room = ((panel_width - GAP) / NAME_CHARACTER) as usize;
    let mut lines = vec![String::new()];
    for word in name.split(' ') {
        let full =
            lines.last().is_some_and(|line| !line.is_empty() && length(line) + 1 + length(word) > room);
        if full && lines.len() < NAME_LINES {
            lines.push(String::new());
        }
        if let Some(line) = lines.last_mut() {
            *line = if line.is_empty() { word.into() } else { format!("{line} {word}") };
        }
    }
    lines.iter().map(|line| shortened(line, room)).collect()
}

fn length(text: &str) -> usize {
    text.chars().count()
}

fn shortened(line: &str, room: usize) -> String {
    if length(line) <= room { line.into() } else { line.chars().take(room - 1).chain(['…']).collect() }
}

fn draw_name(svg: &mut String, (x, y): (f64, f64), lines: &[String]) {
    let more = r#" font-weight="600""#;
    for (at, line) in lines.iter().enumerate() {
        let y = y + NAME_LINE * at as f64 + 16.0;
        super::label(svg, (x + EDGE, y), "start", &Tone::Ink.fill(), more, &text::xml(line));
    }
}

fn draw_panel(svg: &mut String, rows: &[&DepthRow], setting: &str, contexts: &[u32], bins: &[(f64, f64)]) {
    let name = text::plain(setting);
    for (column, context) in contexts.iter().enumerate() {
        let x = LEFT + CELL.0 * (column as f64 + 0.5);
        super::label(
            svg,
            (x, ABOVE - 8.0),
            "middle",
            &Tone::Faint.fill(),
            "",
            &text::thousands(u64::from(*context)),
        );
        for (at, bin) in bins.iter().enumerate() {
            let corner = (LEFT + CELL.0 * column as f64, ABOVE + CELL.1 * at as f64);
            let words =
                format!("{name}, {context} tokens, depth {:.0} to {:.0}%", bin.0 * 100.0, bin.1 * 100.0);
            draw_spot(svg, corner, spot(rows, setting, *context, *bin).as_ref(), &words);
        }
    }
    for (at, (from, to)) in bins.iter().enumerate() {
        let y = ABOVE + CELL.1 * (at as f64 + 0.5) + 4.5;
        let words = format!("{:.0}–{:.0}%", from * 100.0, to * 100.0);
        super::label(svg, (LEFT - 8.0, y), "end", &Tone::Faint.fill(), "", &words);
    }
    let bottom = ABOVE + CELL.1 * bins.len() as f64;
    line(svg, (LEFT, bottom), (LEFT + CELL.0 * contexts.len() as f64, bottom), Tone::Edge, 1.0);
}

fn draw_spot(svg: &mut String, (x, y): (f64, f64), spot: Option<&Spot>, words: &str) {
    let Some(Spot { score, n }) = spot else {
        rectangle(svg, (x, y), CELL, &Tone::Empty.rimmed(Tone::Paper));
        super::label(svg, (x + CELL.0 / 2.0, y + 24.0), "middle", &Tone::Faint.fill(), "", text::NONE);
        return;
    };
    let words = text::xml(words);
    let _ = writeln!(svg, "<g><title>{words}: {score:.2}, {n} answers</title>");
    square(svg, (x, y), CELL, *score);
    let middle = x + CELL.0 / 2.0;
    let ink = ink_on(*score);
    super::label(svg, (middle, y + 16.5), "middle", &ink, "", &text::score(*score));
    super::label(svg, (middle, y + 31.5), "middle", &ink, "", &format!("n {n}"));
    svg.push_str("</g>\n");
}

fn square(svg: &mut String, place: (f64, f64), size: (f64, f64), score: f64) {
    let [red, green, blue] = colour(score).map(|channel| channel.round() as u8);
    let paint = format!(r##"fill="#{red:02x}{green:02x}{blue:02x}" {}"##, Tone::Paper.stroke());
    rectangle(svg, place, size, &paint);
}

fn rectangle(svg: &mut String, (x, y): (f64, f64), (width, height): (f64, f64), paint: &str) {
    let _ = writeln!(svg, r#"<rect x="{x:.1}" y="{y:.1}" width="{width}" height="{height}" {paint}/>"#);
}

/// Red, green and blue of a score (0..255).
fn colour(score: f64) -> [f64; 3] {
    let score = score.clamp(0.0, 1.0);
    let above = COLOURS.iter().position(|(from, _)| *from >= score).unwrap_or(COLOURS.len() - 1).max(1);
    let ((from, low), (to, high)) = (COLOURS[above - 1], COLOURS[above]);
    let share = (score - from) / (to - from);
    [0, 1, 2].map(|at| low[at] + (high[at] - low[at]) * share)
}

/// Text that reads on the colour of a score.
fn ink_on(score: f64) -> String {
    let ink = if luminance(colour(score)) < DARK { "#ffffff" } else { INK };
    format!(r#"fill="{ink}""#)
}

/// Relative luminance (0..1) of sRGB channels (0..255), WCAG 2.2.
fn luminance(channels: [f64; 3]) -> f64 {
    let linear = channels.map(|channel| {
        let share = channel / 255.0;
        if share <= 0.04045 { share / 12.92 } else { ((share + 0.055) / 1.055).powf(2.4) }
    });
    0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::analysis::summary::{Estimate, TaskRow};
    use crate::judge::analysis::testing;

    fn summary() -> Summary {
        let mut summary = testing::summary();
        for (setting, loss) in [("<b>full</b>", 0.0), ("small", 0.25)] {
            for context in [4096, 8192] {
                summary.cells.push(testing::cell(setting, context));
                for (task, sanity) in
                    [("retrieval/a", false), ("retrieval/b", false), ("retrieval/easy", true)]
                {
                    let quality = Some(Estimate { value: 0.5, low: None, high: None, n: 8 });
                    summary.tasks.push(task_row(task, setting, context, sanity, quality));
                    for bin in 0..4 {
                        let value = if task == "retrieval/a" { 1.0 - loss } else { 0.5 };
                        let from = f64::from(bin) / 4.0;
                        let (task, setting) = (task.into(), setting.into());
                        summary.depths.push(DepthRow {
                            task,
                            setting,
                            context,
                            from,
                            to: from + 0.25,
                            value,
                            n: 2,
                        });
                    }
                }
            }
        }
        summary
    }

    fn task_row(task: &str, setting: &str, context: u32, sanity: bool, quality: Option<Estimate>) -> TaskRow {
        TaskRow {
            task: task.into(),
            arm: None,
            setting: setting.into(),
            context,
            sanity,
            quality,
            difference: None,
            server_s: 0.0,
            shown_after_s: None,
            uninformative: false,
            labels: std::collections::BTreeMap::new(),
            scored: 8,
            unscored: std::collections::BTreeMap::new(),
            failed: 0,
        }
    }

    #[test]
    fn every_spot_shows_the_mean_of_the_tasks_that_count() {
        let svg = heatmap(&summary()).unwrap();
        assert_eq!(svg.matches(">0.75</text>").count(), 8, "the first setting: (1 + 0.5) / 2");
        assert_eq!(svg.matches(">0.62</text>").count(), 8, "the second: (0.75 + 0.5) / 2");
        assert_eq!(svg.matches(">n 4</text>").count(), 16, "the sanity task is left out");
        assert!(svg.contains("4,096") && svg.contains("75–100%"));
    }

    #[test]
    fn names_are_escaped_and_nothing_is_remote() {
        let svg = heatmap(&summary()).unwrap();
        assert!(!svg.contains("<b>") && svg.contains("&lt;b&gt;"));
        assert_eq!(svg.matches("http").count(), 1, "only the namespace");
        assert!(!svg.contains("NaN"));
    }

    #[test]
    fn many_context_lengths_have_several_panels() {
        let mut summary = summary();
        let row = summary.depths[0].clone();
        for context in (1..=20).map(|step| step * 1000) {
            summary.depths.push(DepthRow { context, ..row.clone() });
        }
        let svg = heatmap(&summary).unwrap();
        let contexts = 22_usize;
        assert_eq!(svg.matches("<g transform").count(), 2 * contexts.div_ceil(MOST_CONTEXTS));
        assert!(svg.contains(&format!(r#"viewBox="0 0 {WIDTH} "#)), "as wide as every picture");
    }

    #[test]
    fn without_scores_by_depth_there_is_no_picture() {
        assert_eq!(heatmap(&testing::summary()), None);
        let mut kld = summary();
        kld.tasks.iter_mut().for_each(|task| task.quality = None);
        assert_eq!(heatmap(&kld), None, "KLD by depth is not a score");
    }

    #[test]
    fn names_are_broken_at_blanks_and_never_too_wide() {
        assert_eq!(lines("Q8_0 kv=f16", 222.0), ["Q8_0 kv=f16"]);
        assert_eq!(lines("Q4_1 kv=q4_0 spec=ngram-simple", 222.0), ["Q4_1 kv=q4_0", "spec=ngram-simple"]);
        for line in lines(&"x".repeat(100), 222.0).iter().chain(&lines(&"ab ".repeat(100), 222.0)) {
            assert!(line.chars().count() as f64 * NAME_CHARACTER <= 222.0 - GAP, "{line}");
        }
        assert_eq!(lines(&"ab ".repeat(100), 222.0).len(), NAME_LINES);
    }

    #[test]
    fn better_is_lighter_and_every_number_reads() {
        let steps: Vec<f64> = (0..=100).map(|step| luminance(colour(f64::from(step) / 100.0))).collect();
        assert!(steps.is_sorted_by(|a, b| a < b), "{steps:?}");
        for step in 0..=100 {
            let score = f64::from(step) / 100.0;
            let ink = if ink_on(score).contains(INK) { 0.023 } else { 1.0 };
            let (light, dark) = (steps[step as usize].max(ink), steps[step as usize].min(ink));
            let contrast = (light + 0.05) / (dark + 0.05);
            // The two inks are equally good at 3.8; WCAG asks for 4.5 in small type.
            assert!(contrast >= 3.7, "{contrast} at {score}");
        }
    }
}
