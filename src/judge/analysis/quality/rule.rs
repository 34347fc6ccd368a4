//! When a setting is no worse, worse, or neither.

use crate::judge::analysis::summary::{Estimate, Verdict};

/// The rule of docs/statistics.md, section 4.
pub(crate) struct Rule {
    /// Non-inferiority margin (points of the 0..1 scale).
    pub(crate) margin: f64,
    /// Mean absolute difference of the A/A pair; `None`: it did not run, so nothing is called worse.
    pub(crate) floor: Option<f64>,
    /// The most that can be lost: the reference's quality (0..1). Where that is no more than the margin, a setting that gets
    /// nothing right would be within it, so nothing is called no worse.
    pub(crate) room: f64,
    /// Level of the adjusted test (0..1).
    pub(crate) level: f64,
    /// The p-values come from E-values and decide alone what is worse: a confidence sequence is as valid, but
    /// wider than the E-value's own.
    pub(crate) anytime: bool,
}

impl Rule {
    /// `no_worse` when the whole interval lies above minus the margin; `worse` when it lies below zero, the
    /// difference is beyond the A/A floor, and the test holds over all cells; else not separable. A
    /// difference that is both (small, certain and within the margin) is `no_worse`.
    ///
    /// A case that broke counts as lost, on the reference too. `credit` is what the setting gains on those: it is
    /// taken off before anything is called `no_worse`, for a reference that dies on the hard cases proves nothing of
    /// the others.
    pub(crate) fn verdict(&self, difference: Option<&Estimate>, p_holm: Option<f64>, credit: f64) -> Verdict {
        let Some(Estimate { value, low: Some(low), high: Some(high), .. }) = difference else {
            return Verdict::NotSeparable;
        };
        let beyond_floor = self.floor.is_some_and(|floor| value.abs() > floor);
        let significant = p_holm.is_some_and(|p| p <= self.level);
        let below = if self.anytime { *value < 0.0 } else { *high < 0.0 };
        if *low - credit > -self.margin && self.room > self.margin {
            Verdict::NoWorse
        } else if below && beyond_floor && significant {
            Verdict::Worse
        } else {
            Verdict::NotSeparable
        }
    }
}
