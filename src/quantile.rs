//! Quantiles of few observations.

/// The median; reorders the numbers. `None` when empty.
pub fn median(numbers: &mut [f64]) -> Option<f64> {
    let n = numbers.len();
    if n == 0 {
        return None;
    }
    let (below, &mut middle, _) = numbers.select_nth_unstable_by(n / 2, f64::total_cmp);
    if n % 2 == 1 {
        return Some(middle);
    }
    let lower = below.iter().copied().max_by(f64::total_cmp)?;
    Some(f64::midpoint(lower, middle))
}

/// The nearest-rank percentile of ascending values: the smallest value that at least the share `q` (0..1)
/// of all values does not exceed; `None` when there are none.
pub fn nearest_rank(ascending: &[f64], q: f64) -> Option<f64> {
    let rank = (q * ascending.len() as f64).ceil() as usize;
    let last = ascending.len().checked_sub(1)?;
    ascending.get(rank.saturating_sub(1).min(last)).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearest_rank_by_hand() {
        let values = [15.0, 20.0, 35.0, 40.0, 50.0];
        assert_eq!(nearest_rank(&values, 0.05), Some(15.0));
        assert_eq!(nearest_rank(&values, 0.3), Some(20.0));
        assert_eq!(nearest_rank(&values, 0.4), Some(20.0));
        assert_eq!(nearest_rank(&values, 0.5), Some(35.0));
        assert_eq!(nearest_rank(&values, 1.0), Some(50.0));
        assert_eq!(nearest_rank(&values, 0.0), Some(15.0));
        assert_eq!(nearest_rank(&[], 0.5), None);
    }

    #[test]
    fn medians_of_odd_and_even_lists() {
        assert_eq!(median(&mut [5.0, 1.0, 3.0]), Some(3.0));
        assert_eq!(median(&mut [4.0, 1.0, 3.0, 2.0]), Some(2.5));
        assert_eq!(median(&mut [7.0]), Some(7.0));
        assert_eq!(median(&mut []), None);
    }
}
