//! Errors as people read them: what failed, where, and what to try next.

use std::ops::Range;

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};

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

/// Longest place that is marked (bytes).
const LONGEST_MARK: usize = 200;

/// The line of the file with the place marked, and its neighbours.
fn marked(place: &error::Location, colour: bool) -> String {
    let (text, span) = clean_place(&place.text, place.span.clone());
    let start = span.start.min(text.len());
    let end = (start + span.len().clamp(1, LONGEST_MARK)).min(text.len()).max(start);
    let mark = AnnotationKind::Primary.span(start..end).label(console::clean(&place.label));
    let around = AnnotationKind::Visible.span(neighbours(&text, start, end));
    let file = place.file.display().to_string();
    let snippet = Snippet::source(&text).path(console::clean(&file)).annotation(mark).annotation(around);
    let renderer = if colour { Renderer::styled() } else { Renderer::plain() };
    renderer.render(&[Group::with_level(Level::ERROR).element(snippet)]) + "\n"
}

/// A place with the line before its first and the one behind its last.
fn neighbours(text: &str, start: usize, end: usize) -> Range<usize> {
    let line_start =
        |at: usize| text.get(..at).and_then(|before| before.rfind('\n')).map_or(0, |end| end + 1);
    let line_end =
        |at: usize| text.get(at..).and_then(|after| after.find('\n')).map_or(text.len(), |more| at + more);
    line_start(line_start(start).saturating_sub(1))..line_end((line_end(end) + 1).min(text.len()))
}

/// A text without what a terminal would obey, and where a span of it is then.
fn clean_place(text: &str, span: Range<usize>) -> (String, Range<usize>) {
    let at = |end: usize| text.get(..end).map_or(end, |before| console::clean(before).len());
    (console::clean(text).into_owned(), at(span.start)..at(span.end))
}
