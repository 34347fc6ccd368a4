//! Seeded randomness that never changes under our feet: the draws are ours, not a library's, so that a
//! newer `rand` cannot change the cases of a published suite.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng as _};
use sha2::{Digest as _, Sha256};

/// A stream of random numbers of its own for each purpose.
#[derive(Debug, Clone)]
pub(crate) struct Random(ChaCha8Rng);

impl Random {
    /// The stream of one case. It depends on nothing else, so case `i` stays the same when a suite asks
    /// for more cases, or for other context lengths beside this one.
    pub(crate) fn of_case(seed: u64, task: &str, context: u32, index: u32) -> Self {
        Self::seeded(seed, task, &[context, index])
    }

    /// The stream of what all cases of a task share.
    pub(crate) fn of_task(seed: u64, task: &str) -> Self {
        Self::seeded(seed, task, &[])
    }

    fn seeded(seed: u64, task: &str, parts: &[u32]) -> Self {
        let mut hash = Sha256::new();
        hash.update(seed.to_le_bytes());
        for part in parts {
            hash.update(part.to_le_bytes());
        }
        // Last and of any length: no two (seed, task, parts) give the same bytes.
        hash.update([parts.len() as u8]);
        hash.update(task.as_bytes());
        Self(ChaCha8Rng::from_seed(hash.finalize().into()))
    }

    /// A whole number below `end`, every one equally likely; 0 when `end` is 0.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        let end = end as u64;
        // The incomplete last stretch of the range is drawn again: no bias.
        let fair = u64::MAX - u64::MAX % end.max(1);
        loop {
            let draw = self.0.next_u64();
            if draw < fair {
                return (draw % end.max(1)) as usize;
            }
        }
    }

    /// A whole number in `first..=last`.
    pub(crate) fn between(&mut self, first: u32, last: u32) -> u32 {
        first + self.below((last.saturating_sub(first) as usize) + 1) as u32
    }

    /// One of the items. The slice must not be empty.
    pub(crate) fn pick<'a, T: ?Sized>(&mut self, items: &[&'a T]) -> &'a T {
        items[self.below(items.len())]
    }

    /// True in `percent` of 100 draws.
    pub(crate) fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    /// Puts the items in a random order, every order equally likely.
    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }
}

/// Where the answer of case `index` lies in its context, 0 (start) to just below 1 (end).
///
/// A van der Corput sequence, scrambled by the seed: of any 2^k consecutive cases (counted from a multiple
/// of 2^k) exactly one falls into each 2^k-th of the context, in an order that the seed decides. So the
/// first `n` cases are spread evenly for every `n`, and asking for more cases changes none of the first.
pub(crate) fn stratified_depth(seed: u64, task: &str, context: u32, index: u32) -> f64 {
    let scramble = Random::seeded(seed, task, &[context]).0.next_u32();
    f64::from(index.reverse_bits() ^ scramble) / (f64::from(u32::MAX) + 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_differ_by_every_part() {
        let first = |mut random: Random| random.below(1 << 40);
        let one = first(Random::of_case(1, "a/b", 512, 0));
        assert_eq!(one, first(Random::of_case(1, "a/b", 512, 0)));
        for other in [
            Random::of_case(2, "a/b", 512, 0),
            Random::of_case(1, "a/c", 512, 0),
            Random::of_case(1, "a/b", 513, 0),
            Random::of_case(1, "a/b", 512, 1),
            Random::of_task(1, "a/b"),
        ] {
            assert_ne!(one, first(other));
        }
    }

    #[test]
    fn draws_stay_in_range_and_reach_every_value() {
        let mut random = Random::of_task(7, "test");
        let mut seen = [0; 6];
        for _ in 0..600 {
            seen[random.between(3, 8) as usize - 3] += 1;
        }
        assert!(seen.iter().all(|&n| (50..200).contains(&n)), "{seen:?}");
        assert_eq!(random.below(0), 0);
        assert_eq!(random.below(1), 0);
    }

    #[test]
    fn the_draws_are_pinned() {
        // A change here changes every published case: bump the tasks' versions if it is meant.
        let mut random = Random::of_case(1, "retrieval/niah_single_1", 1024, 0);
        assert_eq!([(); 4].map(|()| random.below(1000)), [942, 443, 615, 397]);
        let mut order = [0, 1, 2, 3, 4, 5];
        random.shuffle(&mut order);
        assert_eq!(order, [0, 5, 3, 2, 4, 1]);
    }

    #[test]
    fn every_aligned_block_of_cases_covers_every_stratum_once() {
        for (seed, block) in [(1, 4_u32), (2, 8), (3, 16), (4, 64)] {
            for start in [0, block, 5 * block] {
                let mut strata: Vec<u32> = (start..start + block)
                    .map(|index| stratified_depth(seed, "t", 1024, index))
                    .map(|depth| (depth * f64::from(block)) as u32)
                    .collect();
                strata.sort_unstable();
                assert_eq!(strata, (0..block).collect::<Vec<_>>());
            }
        }
    }

    #[test]
    fn the_seed_decides_the_order_of_depths() {
        let depths = |seed| [0, 1, 2, 3].map(|index| stratified_depth(seed, "t", 1024, index));
        assert_ne!(depths(1), depths(2));
    }
}
