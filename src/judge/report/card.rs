//! A short block of text for model cards and threads: no wider than 80 columns, no pictures.

use std::fmt::Write as _;

use super::text;
use crate::error::Result;
use crate::judge::analysis::summary::{CellSummary, Summary};

/// Columns of the block.
const WIDTH: usize = 80;
/// Columns of a setting's name, and of each figure.
const NAME: usize = 32;
const FIGURE: usize = 11;

/// Writes the block: each setting beside the reference, by context length, as code that Markdown leaves alone.
///
/// # Errors
/// Never; the other formats may.
pub fn card(summary: &Summary) -> Result<String> {
    let mut block = String::new();
    line(&mut block, &text::plain(&summary.suite));
    for model in &summary.models {
        let size = text::bytes(model.bytes);
        line(&mut block, &format!("{} {}, {size}", text::plain(&model.name), text::plain(&model.weights)));
    }
    for engine in &summary.engines {
        line(&mut block, &format!("{} {}", text::plain(&engine.name), text::plain(&engine.version)));
    }
    for level in summary.cells.chunk_by(|a, b| a.context == b.context) {
        let context = level.first().map_or(0, |cell| cell.context);
        block.push('\n');
        line(&mut block, &format!("{} tokens", text::tokens(context)));
        row(&mut block, "setting", &["verdict", "points", "decode/s", "memory"]);
        for cell in level {
            let figures = figures(cell);
            let figures: Vec<&str> = figures.iter().map(String::as_str).collect();
            row(&mut block, &text::plain(&cell.setting), &figures);
        }
    }
    block.push('\n');
    let verdicts = format!(
        "no worse: within {} of {}, {} confidence; kneepoint {}",
        text::points(summary.margin),
        text::plain(&summary.reference),
        text::percent(summary.confidence),
        summary.tool_version
    );
    line(&mut block, &verdicts);
    Ok(text::fenced(&block, "text") + "\n")
}

fn figures(cell: &CellSummary) -> [String; 4] {
    let or_none = |figure: Option<String>| figure.unwrap_or_else(|| text::NONE.to_owned());
    let verdict = if cell.void.is_some() { "void" } else { text::verdict(cell.verdict) };
    let verdict = match verdict {
        "not separable" => "open",
        "not measured" => "–",
        "not comparable" => "other tasks",
        other => other,
    };
    [
        verdict.to_owned(),
        or_none(cell.difference.map(|points| text::signed_points(points.value))),
        or_none(cell.decode_tps.map(|rate| text::significant(rate.value))),
        or_none(cell.memory.peak_bytes.map(text::bytes)),
    ]
}

/// A name and its figures, the figures to the right.
fn row(block: &mut String, name: &str, figures: &[&str]) {
    let mut line = fitted(name, NAME);
    let gap = NAME.saturating_sub(line.chars().count());
    line.push_str(&" ".repeat(gap));
    for figure in figures {
        let _ = write!(line, " {figure:>FIGURE$}");
    }
    block.push_str(line.trim_end());
    block.push('\n');
}

fn line(block: &mut String, words: &str) {
    block.push_str(&fitted(words, WIDTH));
    block.push('\n');
}

fn fitted(text: &str, width: usize) -> String {
    match text.chars().count() > width {
        true => text.chars().take(width - 1).collect::<String>() + "…",
        false => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::analysis::testing;

    #[test]
    fn it_fits_into_80_columns_whatever_the_names_are() {
        let mut summary = testing::summary();
        summary.suite = "s".repeat(300);
        summary.reference = "r".repeat(300);
        summary.cells = vec![testing::cell(&"x`\u{1b}".repeat(60), 512), testing::cell("b", 1024)];
        summary.cells[0].memory.peak_bytes = Some(123_456_789_012);
        let card = card(&summary).unwrap();
        assert!(card.lines().all(|line| line.chars().count() <= WIDTH), "{card}");
        assert!(
            card.starts_with("```text\n") && card.trim_end().ends_with("```") && !card.contains('\u{1b}')
        );
        assert!(card.contains("1,024 tokens") && card.contains("115 GiB"), "{card}");
    }
}
