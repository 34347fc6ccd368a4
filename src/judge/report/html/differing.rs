//! Where two replies part: at a token, where the journal says of both where their tokens lie, at a word otherwise.

use serde::Serialize;

use crate::record::token_lengths::Piece;

/// Characters of a reply that are shown.
const REPLY_CHARS: usize = 900;
/// Characters to either side of a difference that may be its word: some languages part none by blanks.
const WORD_CHARS: usize = 16;
/// Most tokens of a piece that is marked whole. A character has four bytes at most, and so many tokens; more are text that a
/// server kept back.
const PIECE_TOKENS: u32 = 4;

/// What a reply says, and the pieces in which it came, as far as they are known.
#[derive(Default)]
pub(super) struct Said {
    pub(super) text: String,
    pub(super) pieces: Vec<Piece>,
}

/// Two texts from where they part.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Differing {
    /// What both begin with; of a long text the end.
    pub(super) shared: String,
    pub(super) own: Branch,
    pub(super) theirs: Branch,
    pub(super) marked: Marked,
}

/// What is marked of both.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Marked {
    /// The first differing token.
    Token,
    /// Tokens that came as one piece, the first differing one among them.
    Piece,
    /// The first differing word.
    Word,
}

/// What a text goes on with where two part.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Branch {
    /// What is marked: a token, or the word with the first differing character, or that character where it is in none, with
    /// the blanks in front of it that differ; empty where the text ended.
    mark: String,
    /// It is of blanks alone, a line's end among them, which shows nothing.
    is_line_end: bool,
    /// What follows.
    rest: String,
}

impl Branch {
    fn new(mark: &str, rest: &str) -> Self {
        let is_line_end = mark.contains('\n') && mark.chars().all(char::is_whitespace);
        Self { mark: mark.to_owned(), is_line_end, rest: cut(rest) }
    }

    /// The same with its texts written in another way.
    pub(super) fn map(self, write: fn(&str) -> String) -> Self {
        Self { mark: write(&self.mark), rest: write(&self.rest), ..self }
    }
}

/// Tells where two texts that differ part.
pub(super) fn parted(own: &Said, theirs: &Said) -> Differing {
    by_token(own, theirs).unwrap_or_else(|| by_word(&own.text, &theirs.text))
}

/// At the first token that differs, or the piece with it; `None` where that is not known.
fn by_token(own: &Said, theirs: &Said) -> Option<Differing> {
    let is_alike = |(a, b): &(&Piece, &Piece)| {
        a.tokens == b.tokens && own.text[a.bytes.clone()] == theirs.text[b.bytes.clone()]
    };
    let alike = own.pieces.iter().zip(&theirs.pieces).take_while(is_alike).count();
    let (a, b) = (own.piece(alike)?, theirs.piece(alike)?);
    let marked = if a.tokens.max(b.tokens) <= 1 { Marked::Token } else { Marked::Piece };
    let is_shown = marked == Marked::Token || holds_the_difference((own, &a), (theirs, &b));
    if !is_shown || a.bytes.len().max(b.bytes.len()) > REPLY_CHARS {
        return None;
    }
    let branch = |said: &Said, piece: &Piece| {
        Branch::new(&said.text[piece.bytes.clone()], &said.text[piece.bytes.end..])
    };
    Some(Differing {
        shared: end_of(&own.text[..a.bytes.start]),
        own: branch(own, &a),
        theirs: branch(theirs, &b),
        marked,
    })
}

/// Whether two pieces, one of several tokens, hold the first character that differs. Where they do not, the same tokens may
/// have come in other pieces.
fn holds_the_difference((own, a): (&Said, &Piece), (theirs, b): (&Said, &Piece)) -> bool {
    let (a_text, b_text) = (&own.text[a.bytes.clone()], &theirs.text[b.bytes.clone()]);
    let differs = a_text.chars().zip(b_text.chars()).any(|(a, b)| a != b);
    let one_ended = a_text.is_empty() || b_text.is_empty();
    (differs || one_ended) && a.tokens.max(b.tokens) <= PIECE_TOKENS
}

impl Said {
    /// A piece by its number; behind the last one of a text that is known to its end an empty one.
    fn piece(&self, number: usize) -> Option<Piece> {
        let end = self.pieces.last()?.bytes.end;
        let is_end = number == self.pieces.len() && end == self.text.len();
        self.pieces.get(number).cloned().or_else(|| is_end.then_some(Piece { bytes: end..end, tokens: 0 }))
    }
}

/// At the first word that differs.
fn by_word(own: &str, theirs: &str) -> Differing {
    let (own, theirs): (Vec<char>, Vec<char>) = (own.chars().collect(), theirs.chars().collect());
    let same = own.iter().zip(&theirs).take_while(|(a, b)| a == b).count();
    let inside = |text: &[char]| text.get(same).is_some_and(|c| c.is_alphanumeric());
    let begun = own[..same].iter().rev().take(WORD_CHARS).take_while(|c| c.is_alphanumeric()).count();
    // Where one text ends or goes on with a blank in the middle of the other's word, that whole word differs.
    let at = if inside(&own) || inside(&theirs) { same - begun } else { same };
    Differing {
        shared: end_of(&own[..at].iter().collect::<String>()),
        own: word(&own[at..]),
        theirs: word(&theirs[at..]),
        marked: Marked::Word,
    }
}

fn word(text: &[char]) -> Branch {
    let blanks = text.iter().take(WORD_CHARS).take_while(|c| c.is_whitespace()).count();
    let letters = text[blanks..].iter().take(2 * WORD_CHARS).take_while(|c| c.is_alphanumeric()).count();
    let end = blanks + letters.max(1).min(text.len() - blanks);
    let of = |part: &[char]| part.iter().collect::<String>();
    Branch::new(&of(&text[..end]), &of(&text[end..]))
}

/// What is shown in front of a difference.
fn end_of(text: &str) -> String {
    match text.char_indices().rev().nth(REPLY_CHARS / 2 - 1) {
        Some((from, _)) if from > 0 => format!("… {}", &text[from..]),
        _ => text.to_owned(),
    }
}

/// What is shown behind it.
fn cut(text: &str) -> String {
    match text.char_indices().nth(REPLY_CHARS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::token_lengths;

    fn branch(mark: &str, rest: &str) -> Branch {
        Branch::new(mark, rest)
    }

    /// A reply of pieces, each with the number of tokens that made it.
    fn said(pieces: &[(&str, u64)]) -> Said {
        let text: String = pieces.iter().map(|(piece, _)| *piece).collect();
        let digits = token_lengths::written(pieces.iter().map(|(piece, tokens)| (piece.len(), *tokens)));
        Said { pieces: token_lengths::read(&digits, &text), text }
    }

    fn words(text: &str) -> Said {
        Said { text: text.to_owned(), pieces: Vec::new() }
    }

    #[test]
    fn texts_part_at_their_first_differing_token() {
        let own = said(&[("He", 1), (" is", 1), (" go", 1), ("ing", 1), (" home", 1)]);
        let theirs = said(&[("He", 1), (" is", 1), (" going", 1), (" away", 1)]);
        let differing = parted(&own, &theirs);
        assert_eq!((differing.marked, differing.shared.as_str()), (Marked::Token, "He is"));
        assert_eq!(differing.own, branch(" go", "ing home"));
        assert_eq!(differing.theirs, branch(" going", " away"), "the same letters in other tokens");
        // The second token of a word.
        let other = said(&[("He", 1), (" is", 1), (" go", 1), ("ne", 1)]);
        let differing = parted(&own, &other);
        assert_eq!((differing.own, differing.theirs), (branch("ing", " home"), branch("ne", "")));
    }

    #[test]
    fn a_text_may_end_where_the_other_goes_on() {
        let whole = said(&[("a", 1), ("\n", 1), ("b", 1)]);
        let differing = parted(&said(&[("a", 1)]), &whole);
        assert_eq!((differing.marked, differing.own), (Marked::Token, branch("", "")));
        assert_eq!(differing.theirs, branch("\n", "b"));
        assert!(differing.theirs.is_line_end && !branch("", "").is_line_end && !branch(" ", "").is_line_end);
        // A call behind the text has no tokens here.
        let mut called = said(&[("a", 1)]);
        called.text.push_str("\nf({})");
        assert_eq!(parted(&called, &whole).marked, Marked::Word);
    }

    #[test]
    fn a_character_of_several_tokens_is_marked_whole() {
        let crab = said(&[("a", 1), (" 🦀", 3), ("!", 1)]);
        let face = said(&[("a", 1), (" 😀", 2), ("!", 1)]);
        let differing = parted(&crab, &face);
        assert_eq!((differing.marked, &differing.own), (Marked::Piece, &branch(" 🦀", "!")));
        assert_eq!(parted(&crab, &said(&[("a", 1)])).marked, Marked::Piece);
        let later = parted(&crab, &said(&[("a", 1), (" 🦀", 3), ("?", 1)]));
        assert_eq!((later.marked, later.own), (Marked::Token, branch("!", "")));
    }

    #[test]
    fn where_tokens_lie_unknown_the_word_is_marked() {
        let own = said(&[("größer", 1), (" als", 1), (" 7", 1), ("1", 1)]);
        let theirs = words("größer als 79");
        assert_eq!(parted(&own, &theirs), parted(&words(&own.text), &theirs));
        assert_eq!(parted(&own, &theirs).own, branch("71", ""));
        // The same tokens in other pieces, and a long piece that was kept back.
        let lumped = said(&[("größer als", 2), (" 79", 2)]);
        let apart = said(&[("größer", 1), (" als", 1), (" 7", 1), ("9", 1)]);
        assert_eq!(parted(&said(&[("größer als 7", 3), ("1", 1)]), &apart).marked, Marked::Word);
        assert_eq!(parted(&own, &lumped).marked, Marked::Word);
        assert_eq!(parted(&said(&[("abcde", 5)]), &said(&[("abcdf", 5)])).marked, Marked::Word);
        // What was noted ends before they part.
        let mut short = said(&[("größer", 1)]);
        short.text.push_str(" als 79");
        assert_eq!(parted(&short, &own).marked, Marked::Word);
        assert_eq!(parted(&said(&[(&"x".repeat(5000), 1)]), &own).marked, Marked::Word);
    }

    #[test]
    fn texts_part_at_their_first_differing_word() {
        let said = |own: &str, theirs: &str| {
            let differing = parted(&words(own), &words(theirs));
            assert_eq!(differing.marked, Marked::Word);
            (differing.shared, differing.own, differing.theirs)
        };
        let shared = "größer als ".to_owned();
        assert_eq!(said("größer als 71", "größer als 79!"), (shared, branch("71", ""), branch("79", "!")));
        assert_eq!(said("a b", "a"), ("a".into(), branch(" b", ""), branch("", "")));
        assert_eq!(said("a.", "a, b"), ("a".into(), branch(".", ""), branch(",", " b")));
        assert_eq!(said("yes. No", "yes. "), ("yes. ".into(), branch("No", ""), branch("", "")));
    }

    #[test]
    fn long_texts_are_cut_around_the_difference() {
        let long = "a".repeat(5000);
        let differing = parted(&words(&format!("{long}x{long}")), &words(&long));
        assert!(differing.shared.starts_with("… a") && differing.shared.len() < REPLY_CHARS);
        let own = differing.own;
        assert!(own.mark.contains('x') && own.mark.len() == 2 * WORD_CHARS && own.rest.ends_with('…'));
        assert_eq!(differing.theirs, branch(&"a".repeat(WORD_CHARS), ""));
    }
}
