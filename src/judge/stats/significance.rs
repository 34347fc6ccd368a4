//! Paired tests of no difference.

use rand::Rng;
use statrs::distribution::{Binomial, DiscreteCDF};

use super::joint::Streams;
use super::parallel::{fill_rows, threads_for};

/// Up to this many differences every assignment of signs is tried; above it they are drawn.
const EXACT_LIMIT: usize = 16;

/// Two-sided p-value for `gains` pairs that went from wrong to right and `losses` the other way.
///
/// Formula: McNemar (1947) in its exact form: a two-sided binomial test of `gains` in `gains + losses`
/// tosses, the smaller tail doubled.
pub fn mcnemar_exact(gains: u32, losses: u32) -> f64 {
    let flips = u64::from(gains) + u64::from(losses);
    if flips == 0 {
        return 1.0;
    }
    match Binomial::new(0.5, flips) {
        Ok(tosses) => (2.0 * tosses.cdf(u64::from(gains.min(losses)))).min(1.0),
        Err(_) => 1.0,
    }
}

/// Two-sided p-value that paired contributions have no sign of their own: the share of assignments of
/// signs whose sum is at least as far from zero as the one seen.
///
/// Exact for up to 16 contributions that are not zero; else `draws` random assignments, and
/// (1 + hits) / (1 + draws) so that it is never zero (Phipson and Smyth 2010).
///
/// Formula: Fisher (1935), randomisation test for paired data.
pub fn sign_flip(contributions: &[f64], draws: u32, rng: &mut impl Rng) -> f64 {
    let sizes: Vec<f64> = contributions.iter().copied().filter(|x| *x != 0.0).collect();
    if sizes.is_empty() {
        return 1.0;
    }
    let seen = sizes.iter().sum::<f64>().abs();
    // Sums of the same numbers in another order differ in their last bits.
    let threshold = seen - 1e-12 * sizes.iter().map(|x| x.abs()).sum::<f64>();
    if sizes.len() <= EXACT_LIMIT {
        let all = 1_u64 << sizes.len();
        let hits = (0..all).filter(|&signs| signed_sum(&sizes, signs).abs() >= threshold);
        return hits.count() as f64 / all as f64;
    }
    let tables: Vec<[f64; 256]> = sizes.chunks(8).map(signed_sums).collect();
    let streams = Streams::of(rng);
    let mut extreme = vec![false; draws as usize];
    let steps = draws as usize * tables.len() * 2;
    fill_rows(
        &mut extreme,
        1,
        threads_for(steps),
        || vec![0_u8; tables.len()],
        |signs, number, row| {
            streams.draw(number).fill_bytes(signs);
            let sum: f64 = tables.iter().zip(signs).map(|(table, signs)| table[usize::from(*signs)]).sum();
            row[0] = sum.abs() >= threshold;
        },
    );
    let hits = extreme.iter().filter(|hit| **hit).count();
    (hits + 1) as f64 / (f64::from(draws) + 1.0)
}

/// The sums of up to eight numbers under every assignment of signs: a byte of random signs is one look-up.
fn signed_sums(sizes: &[f64]) -> [f64; 256] {
    std::array::from_fn(|signs| signed_sum(sizes, signs as u64))
}

/// The sum with the sign of each number given by a bit.
fn signed_sum(sizes: &[f64], signs: u64) -> f64 {
    let signed = |(bit, size): (usize, &f64)| if signs >> bit & 1 == 1 { *size } else { -size };
    sizes.iter().enumerate().map(signed).sum()
}

#[cfg(test)]
mod tests {
    use super::super::{close, rng};
    use super::*;

    #[test]
    fn mcnemar_agrees_with_scipy() {
        // scipy.stats.binomtest(b, b + c, .5).pvalue
        close(mcnemar_exact(2, 10), 0.038_574_218_75, 1e-9);
        close(mcnemar_exact(0, 5), 0.0625, 1e-9);
        close(mcnemar_exact(1, 9), 0.021_484_375, 1e-9);
        close(mcnemar_exact(13, 37), 0.000_936_222_910_851_825, 1e-9);
        close(mcnemar_exact(100, 141), 0.009_831_541_178_608_736, 1e-9);
        assert_eq!(mcnemar_exact(3, 3), 1.0);
        assert_eq!(mcnemar_exact(0, 0), 1.0);
    }

    #[test]
    fn sign_flip_of_ones_is_mcnemar() {
        let mut contributions = vec![-1.0; 10];
        contributions.extend([1.0, 1.0, 0.0, 0.0]);
        let p = sign_flip(&contributions, 1000, &mut rng(1, "test"));
        close(p, mcnemar_exact(2, 10), 1e-12);
    }

    #[test]
    fn exact_sign_flip_agrees_with_scipy() {
        // scipy.stats.permutation_test((x,), numpy.sum, permutation_type="samples", n_resamples=inf)
        // of x = [.5, -.1, .8, .3, .9, -.2] (vectorised over signs)
        let p = sign_flip(&[0.5, -0.1, 0.8, 0.3, 0.9, -0.2], 0, &mut rng(1, "test"));
        close(p, 0.156_25, 1e-12);
    }

    #[test]
    fn drawn_sign_flip_is_near_the_exact_one() {
        // 30 one-way flips and 10 the other way: binomtest(10, 40).pvalue = 0.002221...
        let mut contributions = vec![-1.0; 30];
        contributions.extend([1.0; 10]);
        let p = sign_flip(&contributions, 20_000, &mut rng(7, "test"));
        close(p, mcnemar_exact(10, 30), 0.0015);
    }

    #[test]
    fn false_alarms_keep_the_level() {
        let mut rng = rng(3, "null");
        let mut alarms = 0;
        for _ in 0..400 {
            let contributions: Vec<f64> =
                (0..24).map(|_| if rng.next_u32().is_multiple_of(2) { 0.3 } else { -0.3 }).collect();
            alarms += u32::from(sign_flip(&contributions, 199, &mut rng) <= 0.05);
        }
        assert!(alarms <= 36, "{alarms} false alarms in 400 at 5%");
    }
}
