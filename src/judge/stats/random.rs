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
pub(super) fn pick(rng: &mut impl Rng, n: usize) -> usize {
    ((u64::from(rng.next_u32()) * n as u64) >> 32) as usize
}
