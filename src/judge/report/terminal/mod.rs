//! The table at the end of a run.

use comfy_table::{Attribute, Cell, Color};

use super::columns::{Column, Shape};
use super::effective::{Reach, Reached};
use super::text;
use crate::judge::analysis::summary::{CellSummary, FrontStatus, NightBefore, Summary, Verdict};
use load::under_load;
use look::{blank, drawn};

mod load;
mod look;

pub use look::Look;

/// What changed since the run before where there is one, every cell in a row, how far each setting goes when there is a ladder of context lengths,
/// what it bears where requests came many at once, then the verdict.
/// Differences are in points, KLD in nat, decode rates in tokens/s, lengths in tokens.
pub fn table(summary: &Summary, look: Look) -> String {
    let mut parts: Vec<String> =
        summary.night_before.as_ref().map(|before| night_before(before, look)).into_iter().collect();
    // Of the load phase alone there are none.
    if !summary.cells.is_empty() {
        parts.push(cells(summary, look));
    }
    if !summary.effective.is_empty() {
        parts.push(effective(summary, look));
    }
    parts.extend(summary.load.as_ref().map(|load| under_load(load, look)));
    let width = usize::from(look.width.unwrap_or(100));
    let mut after = vec![wrap(&text::plain_whole(&summary.verdict), width)];
    for cell in &summary.cells {
        if let Some(reason) = &cell.void {
            let (setting, reason) = (text::plain(&cell.setting), text::plain(reason));
            after.push(wrap(&format!("void: {setting} at {} tokens: {reason}", cell.context), width));
        }
    }
    parts.push(after.join("\n"));
    parts.join("\n\n") + "\n"
}

/// What changed since the run before, a line a figure.
pub fn night_before(before: &NightBefore, look: Look) -> String {
    let width = usize::from(look.width.unwrap_or(100));
    let mut lines = vec![wrap(&text::plain_whole(&before.sentence()), width)];
    lines.extend(before.worse.iter().chain(&before.better).map(|line| format!("  {}", text::plain(line))));
    lines.join("\n")
}

fn cells(summary: &Summary, look: Look) -> String {
    let mut table = blank(look);
    let shape = Shape::narrow(&summary.cells);
    let heads = shape.columns().into_iter().map(|column| shape.head(column).name.to_owned());
    table.set_header(["context".to_owned(), "setting".to_owned()].into_iter().chain(heads));
    table.add_rows(summary.cells.iter().map(|cell| row(cell, &shape)));
    drawn(&table)
}

fn effective(summary: &Summary, look: Look) -> String {
    let mut table = blank(look);
    let above = format!("above {} up to", text::ruler_line());
    table.set_header(["setting", "within the margin up to", "shown no worse up to", &above]);
    for length in &summary.effective {
        let Reach { within, shown, above } = Reach::new(length, &summary.reference);
        let reached = [within, shown, above].map(Reached::words);
        table.add_row([text::plain(&length.setting)].into_iter().chain(reached));
    }
    drawn(&table)
}

fn row(cell: &CellSummary, shape: &Shape) -> Vec<Cell> {
    let figures = shape.columns().into_iter().map(|column| {
        let value = Cell::new(text::plain(&shape.value(column, cell).plain()));
        styled(value, column, cell)
    });
    [Cell::new(cell.context), Cell::new(text::plain(&cell.setting))].into_iter().chain(figures).collect()
}

/// Words that the eye should find have a colour.
fn styled(value: Cell, column: &Column, cell: &CellSummary) -> Cell {
    match (column.name, cell.verdict, cell.front) {
        ("verdict", ..) if cell.void.is_some() => value.fg(Color::Red),
        ("verdict", Verdict::NoWorse, _) => value.fg(Color::Green),
        ("verdict", Verdict::Worse, _) => value.fg(Color::Red),
        ("verdict", Verdict::Reference, _) | ("front", _, FrontStatus::OnFront) => {
            value.add_attribute(Attribute::Bold)
        }
        ("front", _, FrontStatus::Dominated) => value.add_attribute(Attribute::Dim),
        _ => value,
    }
}

/// Breaks a text at spaces so that no line is wider than `width` columns, where words allow.
fn wrap(text: &str, width: usize) -> String {
    use unicode_width::UnicodeWidthStr;
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let fits =
            lines.last().is_some_and(|line| line.is_empty() || line.width() + 1 + word.width() <= width);
        if !fits {
            lines.push(String::new());
        }
        if let Some(line) = lines.last_mut() {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::analysis::testing;

    #[test]
    fn looks_follow_the_output() {
        let plain = Look { colour: false, width: None, lines: false };
        assert_eq!(Look::of(false, false, Some(80)), plain);
        assert_eq!(Look::of(true, true, Some(80)), Look { colour: false, width: Some(80), lines: true });
        assert!(Look::of(true, false, None).colour);
    }

    #[test]
    fn colour_only_where_wanted() {
        let mut summary = testing::summary();
        let mut cell = testing::cell("quick\u{1b}[2J", 512);
        cell.verdict = Verdict::Worse;
        summary.cells = vec![cell];
        assert!(!table(&summary, Look::of(false, false, None)).contains('\u{1b}'));
        let coloured = table(&summary, Look::of(true, false, Some(120)));
        assert!(coloured.contains("\u{1b}[") && !coloured.contains("\u{1b}[2J"));
    }

    #[test]
    fn tables_stay_within_the_terminal() {
        let mut summary = testing::summary();
        summary.verdict = "one two three ".repeat(30);
        summary.cells = vec![testing::cell("Q4_1 kv=q8_0 spec=ngram-simple", 512)];
        let text = table(&summary, Look::of(true, true, Some(80)));
        use unicode_width::UnicodeWidthStr;
        assert!(text.lines().all(|line| line.width() <= 80), "{text}");
    }
}
