//! Needles: keys with values, each stated in a sentence of its own.

use crate::task::random::Random;
use crate::task::words::{Keys, Numbers};

/// What a key or a value looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ValueKind {
    /// An adjective and a noun, such as `amber-anchor`.
    Words,
    /// Seven digits.
    Number,
    /// A random UUID (version 4).
    Code,
}

impl ValueKind {
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
    key: ValueKind,
    value: ValueKind,
}

impl Needles {
    pub(super) fn new(random: Random, key: ValueKind, value: ValueKind) -> Self {
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

    fn fresh(&mut self, kind: ValueKind) -> String {
        match kind {
            ValueKind::Words => self.keys.next(&mut self.random),
            ValueKind::Number => self.numbers.next(&mut self.random).to_string(),
            ValueKind::Code => uuid(&mut self.random),
        }
    }
}

/// A random UUID: 122 random bits, so that no two are alike.
fn uuid(random: &mut Random) -> String {
    let mut bits = |n: u32| random.below(1 << n);
    let (a, b, c, d, e) = (bits(32), bits(16), bits(12), bits(14), bits(48));
    format!("{a:08x}-{b:04x}-4{c:03x}-{:04x}-{e:012x}", 0x8000 | d)
}

#[cfg(test)]
mod tests {
    use super::*;

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
