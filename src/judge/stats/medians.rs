//! Block-bootstrap draws of a median over visits.
//!
//! A draw weighs blocks of neighbouring observations; its median is searched for over counts that were
//! made once for every block, so that a draw costs the number of blocks and not that of observations.

use rand::Rng;

use super::joint::Streams;
use super::parallel::{fill_rows, threads_for};
use super::random::{for_each_pick, pick};

/// A visit is cut into at most so many blocks.
const MOST_BLOCKS: usize = 64;

/// Ranks between two counts.
const BUCKET: usize = 32;

/// Bootstrap draws of the median of all observations, which come in groups (the visits of a cell, each in order
/// of time): groups are drawn with replacement, then blocks of consecutive observations inside each drawn group.
/// Neighbouring trials of a server are not independent (clocks, caches, other load), visits differ by the
/// machine's drift. With one group the draws cover only what varies inside it.
///
/// A block has n^(1/3) / 2 observations, at least 1, and more where that gave more than 64 blocks a group.
///
/// Formula: Carlstein (1986), non-overlapping blocks, inside Davison and Hinkley (1997), 3.8, hierarchical data.
pub fn nested_median_draws(groups: &[Vec<f64>], draws: u32, rng: &mut impl Rng) -> Vec<f64> {
    let blocks = Blocks::of(groups);
    if blocks.sorted.is_empty() {
        return Vec::new();
    }
    let streams = Streams::of(rng);
    let mut medians = vec![0.0; draws as usize];
    let steps = draws as usize * blocks.sizes.len() * 16;
    let weights = || vec![0_u32; blocks.sizes.len()];
    fill_rows(&mut medians, 1, threads_for(steps), weights, |weights, number, row| {
        blocks.draw(weights, &mut streams.draw(number));
        row[0] = blocks.median(weights);
    });
    medians
}

/// Observations in ascending order, and where their blocks lie among them.
struct Blocks {
    sorted: Vec<f64>,
    /// The block of each observation, in ascending order of the observations.
    block_at: Vec<u32>,
    /// Observations a block.
    sizes: Vec<u32>,
    /// First block and number of blocks of each group that is not empty.
    groups: Vec<(usize, usize)>,
    /// For every bucket of ranks, how many observations of each block lie before it: bucket by bucket.
    before: Vec<u32>,
}

fn block_length(observations: usize) -> usize {
    let by_growth = ((observations as f64).cbrt() / 2.0) as usize;
    by_growth.max(observations.div_ceil(MOST_BLOCKS)).max(1)
}

impl Blocks {
    fn of(groups: &[Vec<f64>]) -> Self {
        let mut tagged: Vec<(f64, u32)> = Vec::new();
        let mut blocks = Self {
            sorted: Vec::new(),
            block_at: Vec::new(),
            sizes: Vec::new(),
            groups: Vec::new(),
            before: Vec::new(),
        };
        for group in groups.iter().filter(|group| !group.is_empty()) {
            let first = blocks.sizes.len();
            for block in group.chunks(block_length(group.len())) {
                let id = blocks.sizes.len() as u32;
                tagged.extend(block.iter().map(|value| (*value, id)));
                blocks.sizes.push(block.len() as u32);
            }
            blocks.groups.push((first, blocks.sizes.len() - first));
        }
        tagged.sort_by(|a, b| a.0.total_cmp(&b.0));
        (blocks.sorted, blocks.block_at) = tagged.into_iter().unzip();
        blocks.count();
        blocks
    }

    fn count(&mut self) {
        let mut seen = vec![0_u32; self.sizes.len()];
        for bucket in self.block_at.chunks(BUCKET) {
            self.before.extend_from_slice(&seen);
            bucket.iter().for_each(|block| seen[*block as usize] += 1);
        }
    }

    /// How often each block is drawn.
    fn draw(&self, weights: &mut [u32], rng: &mut impl Rng) {
        weights.fill(0);
        for _ in 0..self.groups.len() {
            let (first, blocks) = self.groups[pick(rng, self.groups.len())];
            let weights = &mut weights[first..first + blocks];
            for_each_pick(rng, blocks, blocks, |block| weights[block] += 1);
        }
    }

    fn median(&self, weights: &[u32]) -> f64 {
        let total = weighted(weights, &self.sizes);
        if total % 2 == 1 {
            return self.value_at_rank(weights, total / 2).0;
        }
        let (lower, upper) = self.value_at_rank(weights, total / 2 - 1);
        f64::midpoint(lower, upper)
    }

    /// The observation that has `rank` drawn ones before it, and the drawn one behind it.
    fn value_at_rank(&self, weights: &[u32], rank: u64) -> (f64, f64) {
        let (bucket, mut passed) = self.bucket_of(weights, rank);
        let start = bucket * BUCKET;
        let mut found = None;
        for (value, block) in self.sorted[start..].iter().zip(&self.block_at[start..]) {
            passed += u64::from(weights[*block as usize]);
            if passed > rank + 1 {
                return (found.unwrap_or(*value), *value);
            }
            if passed > rank && found.is_none() {
                found = Some(*value);
            }
        }
        let last = self.sorted[self.sorted.len() - 1];
        (found.unwrap_or(last), last)
    }

    /// The last bucket with at most `rank` drawn observations before it, and how many those are. Medians lie near the
    /// middle: the search starts there and widens.
    fn bucket_of(&self, weights: &[u32], rank: u64) -> (usize, u64) {
        let blocks = self.sizes.len();
        let before = |bucket: usize| weighted(weights, &self.before[bucket * blocks..(bucket + 1) * blocks]);
        let (mut low, mut high) = (0, self.before.len() / blocks);
        let (mut passed, mut probe, mut step) = (0, high / 2, 1);
        while high - low > 1 {
            let seen = before(probe);
            if seen <= rank {
                (low, passed, probe) = (probe, seen, probe + step);
            } else {
                (high, probe) = (probe, probe.saturating_sub(step));
            }
            step *= 2;
            if probe <= low || probe >= high {
                probe = usize::midpoint(low, high);
            }
        }
        (low, passed)
    }
}

fn weighted(weights: &[u32], counts: &[u32]) -> u64 {
    weights.iter().zip(counts).map(|(weight, count)| u64::from(*weight) * u64::from(*count)).sum()
}

#[cfg(test)]
mod tests {
    use super::super::{percentile_interval, rng};
    use super::*;
    use crate::quantile::median;

    #[test]
    fn a_drawn_median_is_that_of_the_drawn_observations() {
        let groups: Vec<Vec<f64>> = (0..3)
            .map(|g| (0..100 + g * 7).map(|i| ((i * 7919 + g * 13) % 101) as f64 / 3.0).collect())
            .collect();
        let blocks = Blocks::of(&groups);
        for number in 0..40 {
            let mut weights = vec![0; blocks.sizes.len()];
            blocks.draw(&mut weights, &mut rng(number, "median"));
            let drawn = blocks.sorted.iter().zip(&blocks.block_at);
            let mut written_out: Vec<f64> = drawn
                .flat_map(|(value, block)| std::iter::repeat_n(*value, weights[*block as usize] as usize))
                .collect();
            assert_eq!(Some(blocks.median(&weights)), median(&mut written_out), "draw {number}");
        }
    }

    #[test]
    fn a_bucket_is_found_wherever_it_lies() {
        let blocks = Blocks::of(&[(0..1000).map(f64::from).collect()]);
        let weights = vec![1; blocks.sizes.len()];
        for rank in 0..1000 {
            assert_eq!(blocks.bucket_of(&weights, rank), (rank as usize / BUCKET, rank / 32 * 32), "{rank}");
            let behind = (rank + 1).min(999);
            assert_eq!(blocks.value_at_rank(&weights, rank), (rank as f64, behind as f64), "{rank}");
        }
    }

    #[test]
    fn blocks_grow_with_the_visit() {
        assert_eq!([1, 8, 63, 64, 1000, 6400].map(block_length), [1, 1, 1, 2, 16, 100]);
    }

    #[test]
    fn no_observations_no_draws() {
        assert!(nested_median_draws(&[], 3, &mut rng(1, "m")).is_empty());
        assert!(nested_median_draws(&[Vec::new()], 3, &mut rng(1, "m")).is_empty());
    }

    #[test]
    fn neighbours_that_move_together_widen_the_interval() {
        let width = |series: Vec<f64>| {
            let draws = nested_median_draws(&[series], 400, &mut rng(4, "blocks"));
            let (low, high) = percentile_interval(draws, 0.95).unwrap();
            high - low
        };
        let slow: Vec<f64> =
            (0..512).map(|i| f64::from(i / 64 % 2) * 10.0 + f64::from(i * 37 % 64) / 8.0).collect();
        let mut mixed = slow.clone();
        mixed.sort_by_key(|value| (value * 8.0) as u64 * 2_654_435_761 % 1009);
        assert!(width(slow) > width(mixed));
    }

    #[test]
    fn nested_draws_see_the_drift_between_visits() {
        let still = vec![vec![1.0, 2.0, 3.0, 2.0]; 6];
        let drift: Vec<Vec<f64>> = (0..6).map(|v| vec![f64::from(v) * 10.0; 4]).collect();
        let width = |groups: &[Vec<f64>]| {
            let draws = nested_median_draws(groups, 500, &mut rng(2, "n"));
            let (low, high) = percentile_interval(draws, 0.95).unwrap();
            high - low
        };
        assert!(width(&drift) > 10.0 * width(&still).max(0.5));
    }
}
