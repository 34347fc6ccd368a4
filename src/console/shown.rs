//! Making text that a server sent fit to be shown.

use super::clean::is_unsafe;

/// Longest piece of a server's own words in a message (characters).
const SHOWN: usize = 300;

/// A server's words on one line: white space folded, control and direction-changing characters escaped
/// (a terminal would obey them), cut to a few hundred characters.
pub fn shown(text: &str) -> String {
    let mut line = String::new();
    let mut count = 0;
    for (i, word) in text.split_whitespace().enumerate() {
        let space = (i > 0).then_some(' ');
        for c in space.into_iter().chain(word.chars()) {
            if count == SHOWN {
                line.push('…');
                return line;
            }
            count += 1;
            if is_unsafe(c) {
                line.extend(c.escape_unicode());
            } else {
                line.push(c);
            }
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_safe_line() {
        assert_eq!(shown("  bad\r\n  thing\t!"), "bad thing !");
        assert_eq!(shown("\u{1b}[31mred\u{202e}"), "\\u{1b}[31mred\\u{202e}");
        assert_eq!(shown("größe 日本"), "größe 日本");
        assert_eq!(shown(""), "");
    }

    #[test]
    fn long_text_is_cut() {
        let line = shown(&"é".repeat(10_000));
        assert_eq!(line.chars().count(), SHOWN + 1);
        assert!(line.ends_with('…'));
        assert_eq!(shown(&"x".repeat(SHOWN)).len(), SHOWN);
    }
}
