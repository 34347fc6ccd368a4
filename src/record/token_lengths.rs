//! Where the tokens of a reply lie in its text, in a form that a journal has room for: a digit (base 36) a token says how many
//! bytes it added to the text, so that `4260` are tokens of 4, 2, 6 and 0 bytes. `z` is 35 bytes and goes on with the next digit.
//! A token of 0 bytes is one whose text came together with that of the next one that has any.

use std::ops::Range;

/// Digits that are noted of a reply: most replies part before, and a journal must not grow with every long one.
const MOST: usize = 1024;
const BASE: u32 = 36;
/// The digit that goes on with the next one.
const ON: u32 = BASE - 1;

/// A piece of a reply's text, as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// Where it stands in the text (bytes, at the borders of characters).
    pub bytes: Range<usize>,
    /// How many tokens made it, at least one. Of several it is not known where one ends: a character that is split between
    /// them, or text that a parser kept back.
    pub tokens: u32,
}

/// Writes down how many bytes and tokens each piece of a text has; of a long text the beginning.
#[must_use]
pub fn written(pieces: impl IntoIterator<Item = (usize, u64)>) -> String {
    let mut digits = String::new();
    for (bytes, tokens) in pieces {
        let more = usize::try_from(tokens.saturating_sub(1)).unwrap_or(usize::MAX);
        let length = more.saturating_add(bytes / ON as usize).saturating_add(1);
        if length > MOST - digits.len() {
            break;
        }
        digits.extend(std::iter::repeat_n('0', more));
        digits.extend(std::iter::repeat_n('z', bytes / ON as usize));
        digits.extend(char::from_digit(bytes as u32 % ON, BASE));
    }
    digits
}

/// The pieces of `text` from its beginning on, as far as they were noted; none where the notes are not of this text.
#[must_use]
pub fn read(digits: &str, text: &str) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let (mut from, mut to, mut tokens) = (0, 0, 0_u32);
    let mut goes_on = false;
    for digit in digits.chars() {
        let Some(value) = digit.to_digit(BASE) else { return Vec::new() };
        to += value as usize;
        tokens = tokens.saturating_add(u32::from(!goes_on));
        goes_on = value == ON;
        if goes_on || to == from {
            continue;
        }
        if !text.is_char_boundary(to) {
            return Vec::new();
        }
        pieces.push(Piece { bytes: from..to, tokens });
        (from, tokens) = (to, 0);
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let text = format!("größer 🦀{}.", " ".repeat(80));
        let pieces = [(4, 1), (4, 1), (1, 1), (4, 3), (80, 1), (1, 1)];
        let digits = written(pieces);
        assert_eq!(digits, "441004zza1");
        let read = read(&digits, &text);
        let again: Vec<(usize, u64)> =
            read.iter().map(|piece| (piece.bytes.len(), u64::from(piece.tokens))).collect();
        assert_eq!(again, pieces);
        assert_eq!(&text[read[3].bytes.clone()], "🦀");
        // 35 and 70 bytes end with a digit of their own.
        assert_eq!(written([(34, 1), (35, 1), (70, 2)]), "yz00zz0");
    }

    #[test]
    fn notes_that_are_not_of_a_text_say_nothing() {
        for (digits, text) in [("35", "größer"), ("4", "abc"), ("1ä1", "abc"), ("-1", "abc"), ("2", "ä·")]
        {
            let pieces = read(digits, text);
            assert_eq!(pieces.is_empty(), digits != "2", "{digits} {text}: {pieces:?}");
        }
        assert_eq!(read("", "abc"), []);
        assert_eq!(read("1z", "abc"), [Piece { bytes: 0..1, tokens: 1 }], "the end was cut off");
    }

    #[test]
    fn a_long_reply_is_noted_from_its_beginning_on() {
        let digits = written(std::iter::repeat_n((4, 1), 5000));
        assert_eq!(digits.len(), MOST);
        assert_eq!(read(&digits, &"word".repeat(5000)).len(), MOST);
        assert_eq!(written([(2, 1), (usize::MAX, u64::MAX), (3, 1)]), "2");
        assert_eq!(written([(1, 1), (1 << 20, 1)]), "1");
    }
}
