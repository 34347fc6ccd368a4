//! A series of nights, and what it did.

use crate::judge::stats::two_sided_z;
use crate::quantile::median;

/// A level needs at least so many nights on either side of a change.
pub(super) const LEAST: usize = 3;

/// One night of so many, but fewer than make a level, may be far off on either side: it counts like the next one.
const ODD_ONE_OF: usize = 8;

/// Confidence of the nights' own intervals.
const OWN_CONFIDENCE: f64 = 0.95;

/// One night of a series.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Night {
    /// The figure.
    pub value: f64,
    /// Half the width of its own 95% interval; 0 where it has none.
    pub half_width: f64,
}

/// A change of level in a series.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// Number of the first night of the new level: the most likely one.
    pub at: usize,
    /// Every night that may be the first of the new level (95%), `at` among them, in order.
    pub candidates: Vec<usize>,
    /// Mean of the level before.
    pub before: f64,
    /// Mean of the level after.
    pub after: f64,
    /// How often a series without change, of the same numbers, looks as changed (0..1).
    pub p_value: f64,
}

/// What a series did.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Course {
    /// Changes of level, in order; none where it drifts.
    pub changes: Vec<Change>,
    /// A straight line describes it better than any levels do: its first and last point.
    pub drift: Option<(f64, f64)>,
}

pub(super) fn usable(series: &[Night]) -> bool {
    series.len() >= 2 * LEAST && series.iter().all(|night| night.value.is_finite())
}

/// 1 / (own variance + variance between nights); all 1 where neither is known.
pub(super) fn weights(series: &[Night]) -> Vec<f64> {
    let z = two_sided_z(OWN_CONFIDENCE);
    let own = |night: &Night| (night.half_width / z).powi(2);
    // Differences of neighbours hold twice the variance, and hardly any change of level.
    let steps: Vec<f64> = series.windows(2).map(|pair| pair[1].value - pair[0].value).collect();
    let scatter = spread(&steps).powi(2) / 2.0;
    let typical = median(&mut series.iter().map(own).collect::<Vec<_>>()).unwrap_or_default();
    let between = (scatter - typical).max(0.0);
    let floor = 1e-6 * series.iter().map(own).fold(0.0, f64::max);
    let weight = |night: &Night| 1.0 / (own(night) + between + floor);
    let all: Vec<f64> = series.iter().map(weight).collect();
    if all.iter().all(|weight| weight.is_finite()) { all } else { vec![1.0; series.len()] }
}

/// The values, the few smallest and largest of them replaced by the next ones (Winsor's mean). Their order plays no part in
/// it, so that random orders stay comparable, and a level of [`LEAST`] nights stays one.
pub(super) fn clamped(series: &[Night]) -> Vec<f64> {
    let values: Vec<f64> = series.iter().map(|night| night.value).collect();
    let mut sorted = values.clone();
    sorted.sort_by(f64::total_cmp);
    let odd = (values.len() / ODD_ONE_OF).min(LEAST - 1);
    let (low, high) = (sorted[odd], sorted[sorted.len() - 1 - odd]);
    values.into_iter().map(|value| value.clamp(low, high)).collect()
}

/// A standard deviation that single numbers do not move: from the median distance to zero, or from the mean distance
/// where more than half of the numbers are zero (Iglewicz and Hoaglin 1993).
pub(super) fn spread(numbers: &[f64]) -> f64 {
    let mut sizes: Vec<f64> = numbers.iter().map(|number| number.abs()).collect();
    let middle = median(&mut sizes).unwrap_or_default();
    if middle > 0.0 {
        return 1.4826 * middle;
    }
    1.2533 * sizes.iter().sum::<f64>() / sizes.len().max(1) as f64
}
