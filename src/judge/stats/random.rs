//! Random numbers that are the same everywhere.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use sha2::{Digest, Sha256};

/// A random stream for one purpose: the same seed and purpose give the same numbers everywhere, and
/// streams of different purposes are unrelated.
pub fn rng(seed: u64, purpose: &str) -> ChaCha8Rng {
    let mut hash = Sha256::new();
    hash.update(seed.to_le_bytes());
    hash.update(purpose.as_bytes());
    ChaCha8Rng::from_seed(hash.finalize().into())
}

/// A number in `0..n`. The bias of the multiplication, n / 2^32, is far below what any draw can show.
#[inline]
pub(super) fn pick(rng: &mut impl Rng, n: usize) -> usize {
    within(rng.next_u32(), n)
}

#[inline]
fn within(word: u32, n: usize) -> usize {
    ((u64::from(word) * n as u64) >> 32) as usize
}

/// Words that are taken from a stream at once.
const WORDS: usize = 256;

/// As so many [`pick`]s of `0..n` one after the other: the same numbers, taken from the stream in blocks.
pub(super) fn for_each_pick(rng: &mut impl Rng, n: usize, times: usize, mut with: impl FnMut(usize)) {
    let mut words = [0; WORDS];
    let mut left = times;
    while left > 0 {
        let words = &mut words[..left.min(WORDS)];
        // Two words at once, the first below. Not `fill_bytes`: it copies word by word.
        let (pairs, last) = words.as_chunks_mut::<2>();
        for pair in pairs {
            let both = rng.next_u64();
            *pair = [both as u32, (both >> 32) as u32];
        }
        last.iter_mut().for_each(|word| *word = rng.next_u32());
        words.iter().for_each(|word| with(within(*word, n)));
        left -= words.len();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn picks_in_blocks_are_picks_one_by_one() {
        for (n, times) in [(7, 0), (7, 1), (10_000, WORDS - 1), (3, WORDS), (60_000, 3 * WORDS + 5)] {
            let (mut one_by_one, mut in_blocks) = (rng(1, "picks"), rng(1, "picks"));
            // Not at the start of a block of the stream's own.
            assert_eq!(one_by_one.next_u32(), in_blocks.next_u32());
            let expected: Vec<usize> = (0..times).map(|_| pick(&mut one_by_one, n)).collect();
            let mut picked = Vec::new();
            for_each_pick(&mut in_blocks, n, times, |place| picked.push(place));
            assert_eq!(picked, expected, "{times} of {n}");
            assert_eq!(one_by_one.next_u32(), in_blocks.next_u32(), "the stream goes on where it would");
        }
    }
}
