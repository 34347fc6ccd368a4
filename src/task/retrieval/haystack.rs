//! What needles are hidden in.

use std::collections::VecDeque;

use super::essay::Essay;
use super::needles::{Needles, ValueKind};
use crate::task::fitting::Piece;
use crate::task::random::Random;
use crate::task::words::Keys;

/// A fixed group of short sentences, repeated for as long as it takes: text that says nothing.
const NOISE: &[&str] = &[
    "Rain falls on the old roof.",
    "The river runs past the mill.",
    "A dog sleeps by the door.",
    "The road goes on and on.",
    "Nothing else happens here today.",
];

/// What a haystack is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HaystackKind {
    /// Short sentences that say nothing; one unit is one sentence.
    Noise,
    /// Prose, generated or the user's own; one unit is one sentence.
    Prose,
    /// Nothing but needles with other keys; one unit is one needle.
    Needles,
}

/// A haystack that grows: its units stay as they are when it gets longer.
#[derive(Debug)]
pub(super) struct Haystack<'a> {
    units: Vec<String>,
    source: Source<'a>,
}

#[derive(Debug)]
enum Source<'a> {
    Noise,
    Needles,
    Essay { essay: Box<Essay>, ready: VecDeque<String> },
    Text { sentences: &'a [String], start: usize },
}

impl<'a> Haystack<'a> {
    /// An empty haystack. `text` is the user's own, instead of generated prose; each case begins at another
    /// place in it.
    pub(super) fn new(kind: HaystackKind, mut random: Random, text: Option<&'a [String]>) -> Self {
        let source = match (kind, text) {
            (HaystackKind::Noise, _) => Source::Noise,
            (HaystackKind::Needles, _) => Source::Needles,
            (HaystackKind::Prose, None) => {
                Source::Essay { essay: Box::new(Essay::new(random)), ready: VecDeque::new() }
            }
            (HaystackKind::Prose, Some(sentences)) => {
                Source::Text { sentences, start: random.below(sentences.len()) }
            }
        };
        Self { units: Vec::new(), source }
    }

    /// The first `len` units. `needles` gives the keys and values that the haystack names itself.
    pub(super) fn units(&mut self, len: usize, needles: &mut Needles) -> &[String] {
        while self.units.len() < len {
            let unit = match &mut self.source {
                Source::Noise => NOISE[self.units.len() % NOISE.len()].to_owned(),
                Source::Needles => needles.draw().sentence(),
                Source::Text { sentences, start } => {
                    sentences[(*start + self.units.len()) % sentences.len()].clone()
                }
                Source::Essay { essay, ready } => {
                    if ready.is_empty() {
                        ready.extend(essay.paragraph(needles));
                    }
                    ready.pop_front().unwrap_or_default()
                }
            };
            self.units.push(unit);
        }
        &self.units[..len]
    }

    /// The units `from..to` as they stand behind what is in front of them.
    pub(super) fn piece(&mut self, from: usize, to: usize, separator: &str, needles: &mut Needles) -> Piece {
        Piece::of(self.units(to.max(1), needles), from, to, separator)
    }
}

impl HaystackKind {
    /// The most units that it can have.
    pub(super) fn max_units(self, key: ValueKind, text: Option<&[String]>) -> usize {
        match (self, text) {
            (Self::Prose, Some(sentences)) => sentences.len(),
            // The needles that are asked for have keys too.
            (Self::Needles, _) if key == ValueKind::Words => Keys::MAX - 64,
            _ => usize::MAX,
        }
    }

    /// What stands between two units.
    pub(super) const fn separator(self) -> &'static str {
        match self {
            Self::Noise | Self::Prose => " ",
            Self::Needles => "\n",
        }
    }
}

/// Where in `units` a fraction of it lies.
pub(super) fn place(depth: f64, units: usize) -> usize {
    (depth * (units + 1) as f64) as usize
}

/// The units with each sentence put in behind so many of them; `sentences` go in ascending order.
pub(super) fn insert(units: &[String], sentences: &[(usize, String)], separator: &str) -> String {
    let length: usize = units.iter().map(|unit| unit.len() + separator.len()).sum();
    let mut text = String::with_capacity(length + 120 * sentences.len());
    let mut add = |sentence: &str| {
        if !text.is_empty() {
            text.push_str(separator);
        }
        text.push_str(sentence);
    };
    let mut waiting = sentences.iter().peekable();
    for behind in 0..=units.len() {
        while let Some((_, sentence)) = waiting.next_if(|(place, _)| *place <= behind) {
            add(sentence);
        }
        if let Some(unit) = units.get(behind) {
            add(unit);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn needles(kind: ValueKind) -> Needles {
        Needles::new(Random::of_task(1, "kind"), kind, kind)
    }

    #[test]
    fn growing_keeps_what_is_there() {
        let text: Vec<String> = ["One.", "Two.", "Three."].map(str::to_owned).to_vec();
        for (kind, text) in [
            (HaystackKind::Noise, None),
            (HaystackKind::Needles, None),
            (HaystackKind::Prose, None),
            (HaystackKind::Prose, Some(text.as_slice())),
        ] {
            let mut needles = needles(ValueKind::Words);
            let mut haystack = Haystack::new(kind, Random::of_task(1, "haystack"), text);
            let before = haystack.units(7, &mut needles).to_vec();
            let after = haystack.units(20, &mut needles);
            assert_eq!(after.len(), 20);
            assert_eq!(after[..7], before);
            assert!(after.iter().all(|unit| !unit.is_empty()));
        }
    }

    #[test]
    fn sentences_go_in_where_they_should() {
        let units: Vec<String> = ["a", "b"].map(str::to_owned).to_vec();
        let at = |place: usize, text: &str| (place, text.to_owned());
        assert_eq!(insert(&units, &[at(0, "x"), at(1, "y"), at(1, "z")], " "), "x a y z b");
        assert_eq!(insert(&units, &[at(2, "x")], "\n"), "a\nb\nx");
        assert_eq!((place(0.0, 9), place(0.55, 9), place(0.999, 9)), (0, 5, 9));
    }

    #[test]
    fn a_piece_is_what_units_add() {
        let mut needles = needles(ValueKind::Code);
        let mut haystack = Haystack::new(HaystackKind::Needles, Random::of_task(1, "haystack"), None);
        let all = haystack.units(9, &mut needles).join("\n");
        let front = haystack.units(4, &mut needles).join("\n");
        let piece = haystack.piece(4, 9, "\n", &mut needles);
        assert!(front.ends_with(&piece.lead));
        assert_eq!(front + &piece.added, all);
    }
}
