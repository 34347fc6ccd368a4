//! Medians and quantiles.

/// The quantile at `p` (0..1) of ascending numbers, linear between order statistics; `None` when empty.
///
/// Formula: Hyndman and Fan (1996), type 7.
pub fn quantile(ascending: &[f64], p: f64) -> Option<f64> {
    let last = ascending.len().checked_sub(1)?;
    let position = p.clamp(0.0, 1.0) * last as f64;
    let below = position.floor() as usize;
    let above = (below + 1).min(last);
    let share = position - below as f64;
    Some(ascending[below] + (ascending[above] - ascending[below]) * share)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_linear_between_order_statistics() {
        let numbers = [1.0, 2.0, 3.0, 10.0];
        assert_eq!(quantile(&numbers, 0.0), Some(1.0));
        assert_eq!(quantile(&numbers, 0.5), Some(2.5));
        assert_eq!(quantile(&numbers, 1.0), Some(10.0));
        assert_eq!(quantile(&[], 0.5), None);
    }
}
