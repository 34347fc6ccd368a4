//! Foreign text made harmless: nothing in it steers a terminal or turns the reading direction.

use std::borrow::Cow;
use std::fmt::Write as _;

/// Whether a terminal or a viewer would act on a character instead of showing it: control characters (C0, DEL, C1) and
/// invisible ones that hide, join or reorder their neighbours.
pub fn is_unsafe(c: char) -> bool {
    c.is_control() || is_invisible(c)
}

/// Zero-width and direction-changing characters, the byte order mark and tags.
const fn is_invisible(c: char) -> bool {
    matches!(
        c,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}'
    )
}

/// Whether printing keeps a character: line ends and tabs are what lines and tables are made of.
fn is_kept(c: char) -> bool {
    matches!(c, '\n' | '\t') || !is_unsafe(c)
}

/// The text with unsafe characters spelled out, `\u{1b}`; line ends and tabs stay.
pub fn clean(text: &str) -> Cow<'_, str> {
    spelled(text, |out, c| {
        let _ = write!(out, "\\u{{{:x}}}", u32::from(c));
    })
}

/// The same for JSON: `\u202e`, which is the same value to every reader.
pub fn clean_json(text: &str) -> Cow<'_, str> {
    spelled(text, |out, c| {
        for unit in c.encode_utf16(&mut [0; 2]) {
            let _ = write!(out, "\\u{unit:04x}");
        }
    })
}

fn spelled(text: &str, spell: impl Fn(&mut String, char)) -> Cow<'_, str> {
    if text.chars().all(is_kept) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_kept(c) { out.push(c) } else { spell(&mut out, c) }
    }
    Cow::Owned(out)
}

/// As [`clean`], but colours and type styles (`ESC [ numbers m`) pass. For text of our own making, whose foreign parts
/// were cleaned before they were coloured.
pub fn clean_coloured(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\u{1b}') {
        let (before, from) = rest.split_at(at);
        out.push_str(&clean(before));
        let length = style_length(from).unwrap_or(0);
        let (style, after) = from.split_at(length);
        out.push_str(style);
        rest = after;
        if length == 0 {
            out.push_str("\\u{1b}");
            rest = &from[1..];
        }
    }
    out.push_str(&clean(rest));
    out
}

/// Bytes of the style sequence that a text begins with.
fn style_length(text: &str) -> Option<usize> {
    let numbers = text.strip_prefix("\u{1b}[")?;
    let end = numbers.find(|c: char| !(c.is_ascii_digit() || c == ';'))?;
    (numbers[end..].starts_with('m') && end <= 20).then_some(2 + end + 1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_kind_of_control_is_spelled_out() {
        assert_eq!(clean("a\tb\n"), "a\tb\n");
        assert_eq!(clean("\u{1b}[31mred\u{1b}]0;title\u{7}"), "\\u{1b}[31mred\\u{1b}]0;title\\u{7}");
        assert_eq!(clean("\u{9b}2J \u{85} \u{7f}\r"), "\\u{9b}2J \\u{85} \\u{7f}\\u{d}");
        assert_eq!(clean("\u{202e}abc\u{2066}\u{e0041}"), "\\u{202e}abc\\u{2066}\\u{e0041}");
        assert_eq!(clean("größe 日本 – “x”"), "größe 日本 – “x”");
    }

    #[test]
    fn cleaned_json_is_the_same_value() {
        let value = serde_json::json!({ "a\u{202e}": "\u{9b}2J\u{7f}\u{e0041}\u{1b}\r\n" });
        let text = serde_json::to_string(&value).unwrap();
        let cleaned = clean_json(&text);
        assert!(cleaned.chars().all(|c| !is_unsafe(c)), "{cleaned}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&cleaned).unwrap(), value);
    }

    #[test]
    fn only_styles_pass_with_colours() {
        assert_eq!(clean_coloured("\u{1b}[1;31mx\u{1b}[0m\u{1b}[m"), "\u{1b}[1;31mx\u{1b}[0m\u{1b}[m");
        assert_eq!(clean_coloured("\u{1b}[2J\u{1b}]0;t\u{7}\u{1b}"), "\\u{1b}[2J\\u{1b}]0;t\\u{7}\\u{1b}");
        assert_eq!(clean_coloured("\u{1b}\u{1b}[3m\u{9b}"), "\\u{1b}\u{1b}[3m\\u{9b}");
    }

    proptest! {
        #[test]
        fn nothing_unsafe_is_left(text in "\\PC{0,8}[\u{0}-\u{ff}\u{202a}-\u{202e}m\\[]{0,24}") {
            prop_assert!(clean(&text).chars().all(|c| matches!(c, '\n' | '\t') || !is_unsafe(c)));
            let mut styles = clean_coloured(&text);
            while let Some(at) = styles.find('\u{1b}') {
                let length = style_length(&styles[at..]);
                prop_assert!(length.is_some());
                styles.replace_range(at..at + length.unwrap_or(1), "");
            }
        }
    }
}
