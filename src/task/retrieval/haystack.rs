//! What needles are hidden in.

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
    /// Nothing but needles with other keys; one unit is one needle.
    Needles,
}

/// One key with its value, as the haystack states it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Needle {
    /// What is asked for, such as `amber-anchor`.
    pub(super) key: String,
    /// The answer, such as `4711321`.
    pub(super) value: String,
}

impl Needle {
    /// The sentence that states it.
    pub(super) fn sentence(&self) -> String {
        format!("The secret number for {} is {}.", self.key, self.value)
    }
}

/// Needles that never share a key or a value.
#[derive(Debug)]
pub(super) struct Needles {
    random: Random,
    keys: Keys,
    numbers: Numbers,
}

impl Needles {
    pub(super) fn new(random: Random) -> Self {
        Self { random, keys: Keys::default(), numbers: Numbers::default() }
    }

    pub(super) fn draw(&mut self) -> Needle {
        Needle {
            key: self.keys.next(&mut self.random),
            value: self.numbers.next(&mut self.random).to_string(),
        }
    }
}

impl Haystack {
    /// The most units that it can have.
    pub(super) const fn max_units(self) -> usize {
        match self {
            Self::Noise => u32::MAX as usize,
            // The needle that is asked for has a key too.
            Self::Needles => Keys::MAX - 1,
        }
    }

    /// What stands between two units.
    pub(super) const fn separator(self) -> &'static str {
        match self {
            Self::Noise => " ",
            Self::Needles => "\n",
        }
    }

    /// Makes `units` longer until it has `len` of them. The ones that are there stay as they are.
    pub(super) fn grow(self, units: &mut Vec<String>, len: usize, needles: &mut Needles) {
        while units.len() < len {
            units.push(match self {
                Self::Noise => NOISE[units.len() % NOISE.len()].to_owned(),
                Self::Needles => needles.draw().sentence(),
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growing_keeps_what_is_there() {
        for haystack in [Haystack::Noise, Haystack::Needles] {
            let mut needles = Needles::new(Random::of_task(1, "haystack"));
            let mut units = Vec::new();
            haystack.grow(&mut units, 7, &mut needles);
            let before = units.clone();
            haystack.grow(&mut units, 20, &mut needles);
            assert_eq!(units.len(), 20);
            assert_eq!(units[..7], before);
        }
    }
}
