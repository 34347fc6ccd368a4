//! Texts that fit a pattern, and what is in one.

use regex_syntax::hir::{Class, Hir, HirKind};

/// Longest text (characters).
const MAX_CHARS: usize = 2_000;
/// Longest pattern (bytes): each of its classes may hold hundreds of ranges.
const MAX_PATTERN: usize = 2_000;
/// Parts of a pattern that are written, those that are repeated counted as often.
const MAX_PARTS: u32 = 20_000;

/// A short text that fits a pattern, as far as that can be told from its parts: look-around and back-references are none. Whoever
/// uses it has to judge it.
pub(super) fn example(pattern: &str) -> Option<String> {
    if pattern.len() > MAX_PATTERN {
        return None;
    }
    let parse =
        |pattern: &str| regex_syntax::ParserBuilder::new().nest_limit(100).build().parse(pattern).ok();
    let hir = parse(pattern).or_else(|| parse(&without_look_around(pattern)))?;
    let mut text = String::new();
    write(&hir, &mut text, &mut MAX_PARTS.clone())?;
    Some(text)
}

/// Groups that look ahead or back.
const LOOK_AROUND: [&str; 4] = ["(?=", "(?!", "(?<=", "(?<!"];

/// Whether a pattern looks ahead or back.
pub(super) fn looks_around(pattern: &str) -> bool {
    LOOK_AROUND.iter().any(|group| pattern.contains(group))
}

/// A pattern without the groups that look ahead or back: what is left of it may fit still.
fn without_look_around(pattern: &str) -> String {
    let mut left = String::new();
    let (mut rest, mut depth) = (pattern, 0_u32);
    while let Some(c) = rest.chars().next() {
        let looks = LOOK_AROUND.iter().any(|group| rest.starts_with(group));
        let length = if c == '\\' { 1 + rest.chars().nth(1).map_or(0, char::len_utf8) } else { c.len_utf8() };
        match c {
            '(' if looks || depth > 0 => depth += 1,
            ')' if depth > 0 => depth -= 1,
            _ if depth == 0 => left.push_str(&rest[..length]),
            _ => {}
        }
        rest = &rest[length..];
    }
    left
}

fn write(hir: &Hir, text: &mut String, left: &mut u32) -> Option<()> {
    *left = left.checked_sub(1)?;
    if text.len() > MAX_CHARS && text.chars().count() > MAX_CHARS {
        return None;
    }
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => {}
        HirKind::Literal(literal) => text.push_str(std::str::from_utf8(&literal.0).ok()?),
        HirKind::Class(class) => text.push(one_of(class)?),
        HirKind::Repetition(repetition) => {
            // One where it may be none: an empty text shows little.
            let often = repetition.min.max(u32::from(repetition.max != Some(0)));
            for _ in 0..often.min(MAX_CHARS as u32) {
                write(&repetition.sub, text, left)?;
            }
        }
        HirKind::Capture(capture) => write(&capture.sub, text, left)?,
        HirKind::Concat(parts) => parts.iter().try_for_each(|part| write(part, text, left))?,
        HirKind::Alternation(parts) => write(parts.first()?, text, left)?,
    }
    Some(())
}

/// A character of a class, a letter or a digit if there is one.
fn one_of(class: &Class) -> Option<char> {
    let Class::Unicode(class) = class else { return None };
    let within = |c: &char| class.ranges().iter().any(|range| (range.start()..=range.end()).contains(c));
    let common = "aA0x1".chars().find(within);
    common.or_else(|| class.ranges().first().map(|range| range.start()))
}

/// Whether a pattern has classes by a letter, or borders of words.
pub(super) fn has_class(pattern: &str) -> bool {
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        // What is escaped is passed over, so that `\\d` is none.
        if c == '\\' && chars.next().is_some_and(|next| "dDwWsSbBpP".contains(next)) {
            return true;
        }
    }
    false
}

/// Whether a pattern says how the whole text is: from `^` to `$`, and not one of several ways.
pub(super) fn is_anchored(pattern: &str) -> bool {
    let ends = pattern
        .strip_suffix('$')
        .is_some_and(|rest| rest.chars().rev().take_while(|c| *c == '\\').count() % 2 == 0);
    pattern.starts_with('^') && ends && !has_open_choice(pattern)
}

/// Whether a pattern has a `|` outside of groups and classes.
fn has_open_choice(pattern: &str) -> bool {
    let (mut depth, mut in_class) = (0_u32, false);
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => {
                chars.next();
            }
            '[' => in_class = true,
            ']' => in_class = false,
            '(' if !in_class => depth += 1,
            ')' if !in_class => depth = depth.saturating_sub(1),
            '|' if !in_class && depth == 0 => return true,
            _ => {}
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_fit() {
        for (pattern, text) in [
            ("^[A-Z]{1,3}-[A-Z]{1,2} [1-9][0-9]{0,3}$", "A-A 10"),
            ("^(red|green)$", "red"),
            (r"\d+[.]?", "0."),
            ("^é*$", "é"),
        ] {
            assert_eq!(example(pattern).as_deref(), Some(text), "{pattern}");
        }
        // To be judged by whoever takes it.
        assert_eq!(example("^(?!ab)(?:x|y)$").as_deref(), Some("x"));
        assert_eq!(example("(?=(a(b)))\\(c").as_deref(), Some("(c"));
        assert_eq!(example("(a)\\1"), None);
        assert_eq!(example("((((a{1000}){1000}){1000}){1000}){1000}"), None);
        assert_eq!(example(&"\\w".repeat(1_001)), None);
    }
    #[test]
    fn what_is_in_a_pattern_is_told() {
        for (pattern, anchored) in [
            ("^a$", true),
            ("^(a|b)[|]$", true),
            ("^a|b$", false),
            ("a$", false),
            ("^a", false),
            (r"^a\$", false),
            (r"^a\\$", true),
        ] {
            assert_eq!(is_anchored(pattern), anchored, "{pattern}");
        }
        assert!(has_class(r"^\d$") && has_class(r"[\w]") && !has_class(r"^\\d$") && !has_class("^d$"));
        assert!(looks_around("^(?!ab)x$") && !looks_around("^(?:ab)$"));
    }
}
