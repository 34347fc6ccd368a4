//! How a text is cut into words before byte pairs are merged.
//!
//! What the regular expressions of the models' tokenizers match (llama.cpp, `src/llama-vocab.cpp`), read from left to
//! right without one: they look ahead, which plain regular expressions do not.

use unicode_general_category::{GeneralCategory, get_general_category};

/// A way of cutting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cut {
    /// GPT-2's: `gpt-2`.
    Gpt2,
    /// GPT-2's, every digit apart: `smollm`.
    Smollm,
    /// Letters with one sign in front, so many digits together, newlines with what stands before: `qwen2`, `llama-bpe`.
    Modern {
        /// Digits in one word at most.
        digits: usize,
    },
}

/// What a character is to the expressions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Letter,
    Number,
    Space,
    Other,
}

impl Cut {
    /// The way of this name in GGUF files; `None` where it is not known here.
    pub(super) fn named(pre: &str) -> Option<Self> {
        match pre {
            "gpt-2" => Some(Self::Gpt2),
            "smollm" => Some(Self::Smollm),
            "qwen2" => Some(Self::Modern { digits: 1 }),
            "llama-bpe" => Some(Self::Modern { digits: 3 }),
            _ => None,
        }
    }

    /// Hands the words of a text over in order; together they are the text.
    pub(super) fn words<'t>(self, text: &'t str, each: &mut dyn FnMut(&'t str)) {
        match self {
            Self::Gpt2 => in_order(text, each, gpt2),
            Self::Smollm => {
                for part in text.split_inclusive(|c| kind(c) == Kind::Number) {
                    // A digit is a word, and what stands before it ends there.
                    let last = part.chars().next_back().filter(|c| kind(*c) == Kind::Number);
                    let (before, digit) = part.split_at(part.len() - last.map_or(0, char::len_utf8));
                    in_order(before, each, gpt2);
                    if !digit.is_empty() {
                        each(digit);
                    }
                }
            }
            Self::Modern { digits } => in_order(text, each, |rest| modern(rest, digits)),
        }
    }
}

fn in_order<'t>(text: &'t str, each: &mut dyn FnMut(&'t str), length: impl Fn(&str) -> usize) {
    let mut rest = text;
    while !rest.is_empty() {
        let (word, after) = rest.split_at(length(rest));
        each(word);
        rest = after;
    }
}

/// Bytes of the first word:
/// `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`.
fn gpt2(text: &str) -> usize {
    if let Some(length) = contraction(text, false) {
        return length;
    }
    let body = text.strip_prefix(' ').unwrap_or(text);
    match body.chars().next().map(kind) {
        Some(of @ (Kind::Letter | Kind::Number | Kind::Other)) => {
            text.len() - body.len() + run(body, |k| k == of)
        }
        _ => spaces(text),
    }
}

/// Bytes of the first word: `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,digits}|`
/// ` ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`.
fn modern(text: &str, digits: usize) -> usize {
    if let Some(length) = contraction(text, true) {
        return length;
    }
    let mut chars = text.chars();
    let Some(first) = chars.next() else { return 0 };
    let behind = &text[first.len_utf8()..];
    match kind(first) {
        Kind::Letter => return run(text, |k| k == Kind::Letter),
        Kind::Number => {
            let numbers = text.chars().take(digits).take_while(|c| kind(*c) == Kind::Number);
            return numbers.map(char::len_utf8).sum();
        }
        Kind::Space | Kind::Other => {}
    }
    if !is_newline(first) && chars.next().is_some_and(|c| kind(c) == Kind::Letter) {
        return first.len_utf8() + run(behind, |k| k == Kind::Letter);
    }
    let signs = if first == ' ' { behind } else { text };
    let signs_length = run(signs, |k| k == Kind::Other);
    if signs_length > 0 {
        let end = text.len() - signs.len() + signs_length;
        let newlines = text[end..].find(|c| !is_newline(c)).unwrap_or(text.len() - end);
        return end + newlines;
    }
    let blank = run(text, |k| k == Kind::Space);
    match text[..blank].rfind(is_newline) {
        Some(last) => last + 1,
        None => spaces(text),
    }
}

/// `\s+(?!\S)|\s+`: the spaces that a text begins with, but for the one that the next word may take.
fn spaces(text: &str) -> usize {
    let blank = run(text, |k| k == Kind::Space);
    let last = text[..blank].chars().next_back().map_or(1, char::len_utf8);
    if blank < text.len() && blank > last { blank - last } else { blank.max(last) }
}

fn contraction(text: &str, any_case: bool) -> Option<usize> {
    const ENDS: [&str; 7] = ["s", "t", "re", "ve", "m", "ll", "d"];
    let behind = text.strip_prefix('\'')?;
    let begins = |end: &&&str| match behind.get(..end.len()) {
        Some(found) if any_case => found.eq_ignore_ascii_case(end),
        found => found == Some(**end),
    };
    ENDS.iter().find(begins).map(|end| 1 + end.len())
}

fn run(text: &str, of: impl Fn(Kind) -> bool) -> usize {
    text.find(|c| !of(kind(c))).unwrap_or(text.len())
}

fn is_newline(c: char) -> bool {
    matches!(c, '\r' | '\n')
}

fn kind(c: char) -> Kind {
    if c.is_ascii() {
        return match c {
            'a'..='z' | 'A'..='Z' => Kind::Letter,
            '0'..='9' => Kind::Number,
            ' ' | '\t'..='\r' => Kind::Space,
            _ => Kind::Other,
        };
    }
    use GeneralCategory as G;
    match get_general_category(c) {
        G::UppercaseLetter | G::LowercaseLetter | G::TitlecaseLetter | G::ModifierLetter | G::OtherLetter => {
            Kind::Letter
        }
        G::DecimalNumber | G::LetterNumber | G::OtherNumber => Kind::Number,
        _ if c.is_whitespace() => Kind::Space,
        _ => Kind::Other,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn words(cut: Cut, text: &str) -> Vec<&str> {
        let mut words = Vec::new();
        cut.words(text, &mut |word| words.push(word));
        words
    }

    #[test]
    fn smollm_cuts_as_gpt2_does_with_every_digit_apart() {
        let of = |text| words(Cut::Smollm, text);
        assert_eq!(of("It's 42, isn't"), ["It", "'s", " ", "4", "2", ",", " isn", "'t"]);
        assert_eq!(of("a  b\n\nc"), ["a", " ", " b", "\n", "\n", "c"]);
        assert_eq!(of("is:  7"), ["is", ":", "  ", "7"]);
        assert_eq!(of("end \n"), ["end", " \n"]);
        assert_eq!(of("IT'S"), ["IT", "'", "S"]);
        assert_eq!(words(Cut::Gpt2, "It's 42, isn't"), ["It", "'s", " 42", ",", " isn", "'t"]);
    }

    #[test]
    fn later_ones_keep_newlines_together_and_take_a_sign_in_front() {
        let of = |text| words(Cut::Modern { digits: 1 }, text);
        assert_eq!(of("It'S 42 (ok)\n\n x"), ["It", "'S", " ", "4", "2", " (", "ok", ")\n\n", " x"]);
        assert_eq!(of("a  b \n\n  c"), ["a", " ", " b", " \n\n", " ", " c"]);
        assert_eq!(of("\tx\t\t"), ["\tx", "\t\t"]);
        assert_eq!(words(Cut::Modern { digits: 3 }, "12345"), ["123", "45"]);
        assert_eq!(of("größer 日本"), ["größer", " 日本"]);
    }

    proptest! {
        #[test]
        fn words_make_up_the_text(text in "[ a-zé日\\n\\t\\r.,'0-9sS\u{a0}²🦀]{0,60}") {
            for cut in [Cut::Gpt2, Cut::Smollm, Cut::Modern { digits: 1 }, Cut::Modern { digits: 3 }] {
                let cut_up = words(cut, &text);
                prop_assert!(cut_up.iter().all(|word| !word.is_empty()));
                prop_assert_eq!(cut_up.concat(), text.clone());
            }
        }
    }
}
