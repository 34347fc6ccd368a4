//! Errors as people read them: what failed, where, and what to try next.

use crate::console;
use crate::error::{self, Error, Kind};

/// Prints an error as people read it: what failed, where, and what to try next.
pub fn print_error(error: &Error) {
    // Who closed the pipe knows.
    if error.kind() != Kind::ReaderGone {
        console::note_coloured(&error_text(error, console::stderr_has_colours()));
    }
}

fn error_text(error: &Error, colour: bool) -> String {
    let mut text = format!("error: {}\n", console::clean(&error::chain(error)));
    if let Some(place) = error.location() {
        text.push_str(&marked(place, colour));
    }
    for hint in error.hints() {
        text.push_str(&format!("\nhint: {}", console::clean(hint)));
    }
    if !error.hints().is_empty() {
        text.push('\n');
    }
    text
}

/// The line of the file with the place marked.
fn marked(place: &error::Location, colour: bool) -> String {
    let (line, column) = place.line_column();
    let file = place.file.display().to_string();
    let where_ = format!("  --> {}:{line}:{column}\n", console::clean(&file));
    let theme = if colour { miette::GraphicalTheme::unicode() } else { miette::GraphicalTheme::none() };
    let (text, span) = clean_place(&place.text, place.span.clone());
    let start = span.start.min(text.len());
    let length = span.len().clamp(1, 200);
    let label = miette::LabeledSpan::new(Some(console::clean(&place.label).into_owned()), start, length);
    let report = miette::MietteDiagnostic::new("").with_label(label);
    let report = miette::Report::new(report).with_source_code(text);
    let mut marked = String::new();
    let handler = miette::GraphicalReportHandler::new_themed(theme).with_context_lines(1);
    if handler.render_report(&mut marked, report.as_ref()).is_err() {
        marked.clear();
    }
    // The heading above says where: leave out the frame, keep the lines and what is written under them.
    let frame = |line: &str| line.contains(",-[") || line.contains('╭');
    let source = |line: &&str| line.contains(['|', ':', '│', '·']) && !frame(line);
    let snippet: String = marked.lines().filter(source).map(|line| format!("{line}\n")).collect();
    format!("{where_}{snippet}")
}

/// A text without what a terminal would obey, and where a span of it is then.
fn clean_place(text: &str, span: std::ops::Range<usize>) -> (String, std::ops::Range<usize>) {
    let at = |end: usize| text.get(..end).map_or(end, |before| console::clean(before).len());
    (console::clean(text).into_owned(), at(span.start)..at(span.end))
}
