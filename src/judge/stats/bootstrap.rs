//! Seeded bootstraps: stratified by task, by cluster, and nested by group.

use rand::Rng;

use super::clusters::ClusterSums;
use super::joint::joint_draws;
use super::order::quantile;
use super::random::pick;
use super::rates::Interval;

/// Bootstrap draws of the mean over strata of the strata's means: [`joint_draws`] of one cell. Two calls with
/// equally seeded streams and the same clusters draw the same clusters.
pub fn stratified_draws(strata: &[ClusterSums], draws: u32, rng: &mut impl Rng) -> Vec<Option<f64>> {
    let cells = joint_draws(&[strata], draws, rng);
    cells.into_iter().next().map(|cell| cell.means).unwrap_or_default()
}

/// Consecutive observations that are drawn together: their mean and how many they are.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Part {
    /// Mean of the observations.
    pub mean: f64,
    /// Number of observations.
    pub count: f64,
}

/// Cuts a series into parts of `length` consecutive observations (the last one may be shorter), because
/// neighbouring observations are not independent.
///
/// Formula: Carlstein (1986), non-overlapping blocks.
pub fn blocked(series: &[f64], length: usize) -> Vec<Part> {
    let part = |block: &[f64]| Part {
        mean: block.iter().sum::<f64>() / block.len() as f64,
        count: block.len() as f64,
    };
    series.chunks(length.max(1)).map(part).collect()
}

/// Bootstrap draws of a mean from groups of parts: first groups are drawn with replacement, then parts
/// inside each drawn group. With one group the draws cover only what varies inside it.
///
/// Formula: Davison and Hinkley (1997), 3.8, hierarchical data.
pub fn nested_mean_draws(groups: &[Vec<Part>], draws: u32, rng: &mut impl Rng) -> Vec<f64> {
    let mut means = Vec::with_capacity(draws as usize);
    for _ in 0..draws {
        let (mut sum, mut count) = (0.0, 0.0);
        for_each_pick(groups, rng, |part| {
            sum += part.mean * part.count;
            count += part.count;
        });
        if count > 0.0 {
            means.push(sum / count);
        }
    }
    means
}

/// As [`nested_mean_draws`], for statistics of all observations of the drawn parts.
pub fn nested_draws<T: Copy, const N: usize>(
    groups: &[Vec<&[T]>],
    draws: u32,
    rng: &mut impl Rng,
    mut statistics: impl FnMut(&mut [T]) -> Option<[f64; N]>,
) -> Vec<[f64; N]> {
    let mut all = Vec::with_capacity(draws as usize);
    let mut drawn = Vec::new();
    for _ in 0..draws {
        drawn.clear();
        for_each_pick(groups, rng, |part: &[T]| drawn.extend_from_slice(part));
        all.extend(statistics(&mut drawn));
    }
    all
}

fn for_each_pick<T: Copy>(groups: &[Vec<T>], rng: &mut impl Rng, mut with: impl FnMut(T)) {
    for _ in 0..groups.len() {
        let group = &groups[pick(rng, groups.len())];
        for _ in 0..group.len() {
            with(group[pick(rng, group.len())]);
        }
    }
}

/// The percentile interval of bootstrap draws; `None` for fewer than two draws.
///
/// Formula: Efron (1981), percentile method.
pub fn percentile_interval(draws: impl IntoIterator<Item = f64>, confidence: f64) -> Option<Interval> {
    let mut ascending: Vec<f64> = draws.into_iter().collect();
    if ascending.len() < 2 {
        return None;
    }
    ascending.sort_unstable_by(f64::total_cmp);
    let tail = (1.0 - confidence) / 2.0;
    Some((quantile(&ascending, tail)?, quantile(&ascending, 1.0 - tail)?))
}

/// Interval of the mean of independent estimates, each given as value, low and high, from their own
/// intervals; `None` without any.
///
/// Formula: method of variance estimates recovery, Zou and Donner (2008).
pub fn mover(parts: &[(f64, f64, f64)]) -> Option<(f64, f64, f64)> {
    if parts.is_empty() {
        return None;
    }
    let n = parts.len() as f64;
    let value = parts.iter().map(|(value, _, _)| value).sum::<f64>() / n;
    let below = parts.iter().map(|(value, low, _)| (value - low).powi(2)).sum::<f64>();
    let above = parts.iter().map(|(value, _, high)| (high - value).powi(2)).sum::<f64>();
    Some((value, value - below.sqrt() / n, value + above.sqrt() / n))
}

#[cfg(test)]
mod tests {
    use super::super::close;
    use super::super::random::rng;
    use super::*;

    #[test]
    fn streams_repeat_and_differ_by_purpose() {
        assert_eq!(rng(1, "a").next_u64(), rng(1, "a").next_u64());
        assert_ne!(rng(1, "a").next_u64(), rng(1, "b").next_u64());
        assert_ne!(rng(1, "a").next_u64(), rng(2, "a").next_u64());
    }

    #[test]
    fn picks_cover_the_range_evenly() {
        let mut rng = rng(1, "pick");
        let mut seen = [0_u32; 7];
        for _ in 0..7000 {
            seen[pick(&mut rng, 7)] += 1;
        }
        assert!(seen.iter().all(|count| (850..1150).contains(count)), "{seen:?}");
    }

    #[test]
    fn the_spread_of_the_draws_is_the_standard_error() {
        // Values 0 and 1 in equal shares: the standard error of the mean is .5 / sqrt(100).
        let values: Vec<f64> = (0..100).map(|i| f64::from(i % 2)).collect();
        let draws = stratified_draws(&[ClusterSums::singletons(&values)], 4000, &mut rng(5, "se"));
        let means: Vec<f64> = draws.into_iter().flatten().collect();
        let mean = means.iter().sum::<f64>() / means.len() as f64;
        let variance = means.iter().map(|m| (m - mean).powi(2)).sum::<f64>() / means.len() as f64;
        close(mean, 0.5, 0.005);
        close(variance.sqrt(), 0.05, 0.003);
    }

    #[test]
    fn strata_weigh_the_same_whatever_their_size() {
        let strata = [ClusterSums::singletons(&[1.0; 50]), ClusterSums::singletons(&[0.0; 5])];
        let draws = stratified_draws(&strata, 10, &mut rng(1, "w"));
        assert!(draws.iter().all(|draw| *draw == Some(0.5)));
    }

    #[test]
    fn clusters_are_drawn_whole() {
        let mut two = ClusterSums::new(2);
        (0..10).for_each(|_| two.add(0, 1.0));
        (0..10).for_each(|_| two.add(1, 0.0));
        let draws = stratified_draws(&[two], 100, &mut rng(1, "c"));
        assert!(draws.iter().flatten().all(|m| [0.0, 0.5, 1.0].contains(m)));
    }

    #[test]
    fn draws_without_items_are_absent() {
        assert_eq!(stratified_draws(&[ClusterSums::new(3)], 2, &mut rng(1, "e")), [None, None]);
        assert_eq!(stratified_draws(&[], 1, &mut rng(1, "e")), [None]);
    }

    #[test]
    fn parts_keep_order_and_count() {
        let parts = blocked(&[1.0, 3.0, 5.0], 2);
        assert_eq!(parts[0], Part { mean: 2.0, count: 2.0 });
        assert_eq!(parts[1], Part { mean: 5.0, count: 1.0 });
    }

    #[test]
    fn nested_means_centre_on_the_mean() {
        let groups = vec![blocked(&[1.0, 2.0, 3.0, 4.0], 1), blocked(&[5.0, 6.0, 7.0, 8.0], 1)];
        let draws = nested_mean_draws(&groups, 4000, &mut rng(2, "m"));
        close(draws.iter().sum::<f64>() / 4000.0, 4.5, 0.1);
        assert!(nested_mean_draws(&[], 3, &mut rng(2, "m")).is_empty());
    }

    #[test]
    fn mover_of_one_is_itself_and_of_four_is_half_as_wide() {
        let (value, low, high) = mover(&[(0.1, -0.1, 0.2)]).unwrap();
        close(value, 0.1, 1e-12);
        close(low, -0.1, 1e-12);
        close(high, 0.2, 1e-12);
        let (_, low, high) = mover(&[(0.0, -0.2, 0.2); 4]).unwrap();
        close(low, -0.1, 1e-12);
        close(high, 0.1, 1e-12);
        assert_eq!(mover(&[]), None);
    }
}
