//! Axes: from figures to places, with round ticks.

/// Maps figures to a span of pixels, linear or logarithmic.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Axis {
    low: f64,
    high: f64,
    log: bool,
    /// Pixel of `low` and of `high`.
    span: (f64, f64),
    /// Where ticks go, in figures.
    pub(super) ticks: Vec<f64>,
}

impl Axis {
    /// A linear axis that holds all figures, with ticks at 1, 2 or 5 times a power of ten; it does not run
    /// past what the quantity can be (`possible`).
    pub(super) fn linear(figures: &[f64], possible: (f64, f64), span: (f64, f64)) -> Self {
        let (low, high) = extent(figures);
        let room = (high - low).max(1e-9 * high.abs().max(1.0)) * 0.06;
        let (low, high) = ((low - room).max(possible.0), (high + room).min(possible.1));
        let step = round_step((high - low) / 6.0);
        let (low, high) = ((low / step).floor() * step, (high / step).ceil() * step);
        let count = ((high - low) / step).round() as i64;
        // Multiples of the step rather than sums, so that 0.3 stays 0.3.
        let first = (low / step).round() as i64;
        let ticks = (first..=first + count).map(|at| at as f64 * step).collect();
        Self { low, high, log: false, span, ticks }
    }

    /// A logarithmic axis of positive figures, with ticks at powers of ten, and at 2 and 5 times them when
    /// it spans few decades.
    pub(super) fn log(figures: &[f64], span: (f64, f64)) -> Self {
        let positive: Vec<f64> = figures.iter().copied().filter(|figure| *figure > 0.0).collect();
        let (low, high) = extent(&positive);
        let (low, high) = (low.max(1e-12) / 1.3, high.max(1e-12) * 1.3);
        let (first, last) = (low.log10().floor() as i32, high.log10().ceil() as i32);
        let factors: &[f64] = if last - first <= 3 { &[1.0, 2.0, 5.0] } else { &[1.0] };
        let ticks = (first..=last)
            .flat_map(|power| factors.iter().map(move |factor| factor * 10_f64.powi(power)))
            .filter(|tick| (low..=high).contains(tick))
            .collect();
        Self { low, high, log: true, span, ticks }
    }

    /// The pixel of a figure; figures off the axis lie on its nearer end.
    pub(super) fn at(&self, figure: f64) -> f64 {
        let share = if self.log {
            (figure.max(self.low) / self.low).ln() / (self.high / self.low).ln()
        } else {
            (figure - self.low) / (self.high - self.low)
        };
        self.span.0 + (self.span.1 - self.span.0) * share.clamp(0.0, 1.0)
    }

    /// The tick as text, with as many decimals as tell it from its neighbours.
    pub(super) fn label(&self, tick: f64) -> String {
        if self.log {
            return if tick >= 1e-3 { trim(format!("{tick:.4}")) } else { format!("{tick:.0e}") };
        }
        let step = self.ticks.get(1).zip(self.ticks.first()).map_or(1.0, |(b, a)| (b - a).abs());
        let decimals = (-step.log10().floor()).clamp(0.0, 6.0) as usize;
        let text = format!("{tick:.decimals$}");
        if text.trim_start_matches('-').chars().all(|c| c == '0' || c == '.') {
            text.trim_start_matches('-').to_owned()
        } else {
            text
        }
    }
}

fn trim(text: String) -> String {
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn extent(figures: &[f64]) -> (f64, f64) {
    let low = figures.iter().copied().reduce(f64::min).unwrap_or(0.0);
    let high = figures.iter().copied().reduce(f64::max).unwrap_or(1.0);
    if low < high {
        (low, high)
    } else {
        let room = if low == 0.0 { 0.5 } else { low.abs() * 0.1 };
        (low - room, high + room)
    }
}

/// The smallest of 1, 2, 5 times a power of ten that is at least `step`.
fn round_step(step: f64) -> f64 {
    let power = 10_f64.powf(step.log10().floor());
    let factor = [1.0, 2.0, 5.0, 10.0].into_iter().find(|factor| factor * power >= step * (1.0 - 1e-9));
    factor.unwrap_or(10.0) * power
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANY: (f64, f64) = (f64::NEG_INFINITY, f64::INFINITY);

    #[test]
    fn an_axis_stays_within_what_can_be() {
        let axis = Axis::linear(&[0.01, 0.99], (0.0, 1.0), (0.0, 100.0));
        assert_eq!((axis.ticks.first(), axis.ticks.last()), (Some(&0.0), Some(&1.0)));
    }

    #[test]
    fn ticks_are_round_and_hold_the_figures() {
        let axis = Axis::linear(&[31.0, 84.0], ANY, (0.0, 100.0));
        assert_eq!(axis.ticks, [20.0, 30.0, 40.0, 50.0, 60.0, 70.0, 80.0, 90.0]);
        assert_eq!(axis.label(20.0), "20");
        assert!(axis.at(31.0) > 0.0 && axis.at(84.0) < 100.0);
    }

    #[test]
    fn small_steps_keep_their_decimals() {
        let axis = Axis::linear(&[0.31, 0.42], ANY, (0.0, 1.0));
        assert!(axis.ticks.iter().all(|tick| axis.label(*tick).len() == 4), "{:?}", axis.ticks);
    }

    #[test]
    fn one_figure_still_makes_an_axis() {
        for figures in [&[5.0][..], &[0.0][..], &[]] {
            let axis = Axis::linear(figures, ANY, (0.0, 100.0));
            assert!(axis.ticks.len() >= 3 && axis.at(5.0).is_finite(), "{axis:?}");
        }
    }

    #[test]
    fn decades_are_even_on_a_log_axis() {
        let axis = Axis::log(&[0.001, 1.0], (0.0, 100.0));
        let gap = axis.at(0.1) - axis.at(0.01);
        assert!((gap - (axis.at(1.0) - axis.at(0.1))).abs() < 1e-9);
        assert!(axis.ticks.contains(&0.01));
        assert_eq!(axis.label(0.01), "0.01");
        assert!(axis.at(0.0) == 0.0, "zero lies on the end");
    }

    #[test]
    fn a_span_may_run_backwards() {
        let axis = Axis::linear(&[0.0, 1.0], ANY, (100.0, 0.0));
        assert!(axis.at(0.0) > axis.at(1.0));
    }
}
