//! What needles are hidden in.

use std::collections::VecDeque;

use super::essay::Essay;
use crate::task::fitting::Piece;
use crate::task::random::Random;
use crate::task::words::{Keys, Numbers};

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
pub(super) enum Haystack {
    /// Short sentences that say nothing; one unit is one sentence.
    Noise,
    /// Prose, generated or the user's own; one unit is one sentence.
    Prose,
    /// Nothing but needles with other keys; one unit is one needle.
    Needles,
}

/// What a key or a value looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// An adjective and a noun, such as `amber-anchor`.
    Words,
    /// Seven digits.
    Number,
    /// A random UUID (version 4).
    Code,
}

impl Kind {
    /// What sentences call a value of this kind.
    pub(super) const fn noun(self) -> &'static str {
        match self {
            Self::Words => "word",
            Self::Number => "number",
            Self::Code => "code",
        }
    }
}

/// One key with its value, as the haystack states it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Needle {
    /// What is asked for, such as `amber-anchor`.
    pub(super) key: String,
    /// The answer, such as `4711321`.
    pub(super) value: String,
    /// What the sentence calls the value.
    noun: &'static str,
}

impl Needle {
    /// The sentence that states it.
    pub(super) fn sentence(&self) -> String {
        format!("The secret {} for {} is {}.", self.noun, self.key, self.value)
    }
}

/// Needles that never share a key or a value.
#[derive(Debug)]
pub(super) struct Needles {
    random: Random,
    keys: Keys,
    numbers: Numbers,
    key: Kind,
    value: Kind,
}

impl Needles {
    pub(super) fn new(random: Random, key: Kind, value: Kind) -> Self {
        Self { random, keys: Keys::default(), numbers: Numbers::default(), key, value }
    }

    /// A needle with a key and a value of its own.
    pub(super) fn draw(&mut self) -> Needle {
        let key = self.fresh(self.key);
        self.with_key(key)
    }

    /// A needle with a value of its own for a key.
    pub(super) fn with_key(&mut self, key: String) -> Needle {
        Needle { key, value: self.fresh(self.value), noun: self.value.noun() }
    }

    fn fresh(&mut self, kind: Kind) -> String {
        match kind {
            Kind::Words => self.keys.next(&mut self.random),
            Kind::Number => self.numbers.next(&mut self.random).to_string(),
            Kind::Code => uuid(&mut self.random),
        }
    }
}

/// A random UUID: 122 random bits, so that no two are alike.
fn uuid(random: &mut Random) -> String {
    let mut bits = |n: u32| random.below(1 << n);
    let (a, b, c, d, e) = (bits(32), bits(16), bits(12), bits(14), bits(48));
    format!("{a:08x}-{b:04x}-4{c:03x}-{:04x}-{e:012x}", 0x8000 | d)
}

/// A haystack that grows: its units stay as they are when it gets longer.
#[derive(Debug)]
pub(super) struct Pile<'a> {
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

impl<'a> Pile<'a> {
    /// An empty haystack. `text` is the user's own, instead of generated prose; each case begins at another
    /// place in it.
    pub(super) fn new(haystack: Haystack, mut random: Random, text: Option<&'a [String]>) -> Self {
        let source = match (haystack, text) {
            (Haystack::Noise, _) => Source::Noise,
            (Haystack::Needles, _) => Source::Needles,
            (Haystack::Prose, None) => {
                Source::Essay { essay: Box::new(Essay::new(random)), ready: VecDeque::new() }
            }
            (Haystack::Prose, Some(sentences)) => {
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

impl Haystack {
    /// The most units that it can have.
    pub(super) fn max_units(self, key: Kind, text: Option<&[String]>) -> usize {
        match (self, text) {
            (Self::Prose, Some(sentences)) => sentences.len(),
            // The needles that are asked for have keys too.
            (Self::Needles, _) if key == Kind::Words => Keys::MAX - 64,
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

    fn needles(kind: Kind) -> Needles {
        Needles::new(Random::of_task(1, "haystack"), kind, kind)
    }

    #[test]
    fn growing_keeps_what_is_there() {
        let text: Vec<String> = ["One.", "Two.", "Three."].map(str::to_owned).to_vec();
        for (haystack, text) in [
            (Haystack::Noise, None),
            (Haystack::Needles, None),
            (Haystack::Prose, None),
            (Haystack::Prose, Some(text.as_slice())),
        ] {
            let mut needles = needles(Kind::Words);
            let mut pile = Pile::new(haystack, Random::of_task(1, "pile"), text);
            let before = pile.units(7, &mut needles).to_vec();
            let after = pile.units(20, &mut needles);
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
        let mut needles = needles(Kind::Code);
        let mut pile = Pile::new(Haystack::Needles, Random::of_task(1, "pile"), None);
        let all = pile.units(9, &mut needles).join("\n");
        let front = pile.units(4, &mut needles).join("\n");
        let piece = pile.piece(4, 9, "\n", &mut needles);
        assert!(front.ends_with(&piece.lead));
        assert_eq!(front + &piece.added, all);
    }

    #[test]
    fn codes_are_version_4_uuids() {
        let mut random = Random::of_task(1, "uuid");
        for _ in 0..200 {
            let code = uuid(&mut random);
            let groups: Vec<usize> = code.split('-').map(str::len).collect();
            assert_eq!(groups, [8, 4, 4, 4, 12], "{code}");
            assert_eq!(&code[14..15], "4");
            assert!("89ab".contains(&code[19..20]));
        }
    }
}
