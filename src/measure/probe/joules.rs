//! Energy from what sources give: a counter that may wrap, one that moves in steps, or a power that has to be summed over time.

use std::time::{Duration, Instant};

/// How long idle power is watched.
const IDLE_WATCH: Duration = Duration::from_secs(2);
/// Time between two readings of a counter that may move in steps: a quarter of the steps that were seen.
pub(super) const OFTEN: Duration = Duration::from_millis(25);

/// Mean power of a card (W), from readings of all of them over two seconds.
///
/// # Errors
/// When a reading fails, or the cards report no energy.
pub(super) fn idle_watts(mut read: impl FnMut() -> Result<Vec<Reading>, String>) -> Result<f64, String> {
    let start = Instant::now();
    let mut cards: Vec<Joules> = Vec::new();
    loop {
        let readings = read()?;
        cards.resize(readings.len(), Joules::default());
        for (card, reading) in cards.iter_mut().zip(readings) {
            card.add(Instant::now(), reading);
        }
        if start.elapsed() >= IDLE_WATCH {
            break;
        }
        std::thread::sleep(OFTEN);
    }
    let seconds = start.elapsed().as_secs_f64();
    let used: Option<f64> = cards.iter_mut().map(Joules::take).sum();
    let per_card = used.map(|joules| joules / seconds / cards.len() as f64);
    per_card.filter(|_| !cards.is_empty()).ok_or_else(|| "the cards report no energy".to_owned())
}

/// Energy used between the first and the last reading of a trial (J).
#[derive(Debug, Clone, Default)]
pub(super) struct Joules {
    first: Option<Instant>,
    last: Option<(Instant, Reading)>,
    used: Option<f64>,
    steps: Steps,
}

/// What a source says at one moment.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Reading {
    /// Energy since some moment in the past (J); it starts again at 0 after `range`, if that is known.
    Counter {
        /// The counter (J).
        joules: f64,
        /// Where it starts again (J).
        range: Option<f64>,
    },
    /// A counter (J) that stands still and is set forward from time to time: every 100 ms by NVML on an H200 (driver 580.159), where a
    /// request of 160 ms would gain or lose more than half of what it used.
    Stepped(f64),
    /// Power right now (W).
    Power(f64),
}

/// Why there is no energy of a trial in which a counter hardly moved.
pub(super) const TOO_SHORT: &str =
    "the card's energy counter was set forward less than twice meanwhile: the request was too short for it";

/// When a counter was set forward, and to what: the first two times of a trial and the last two.
#[derive(Debug, Clone, Default)]
struct Steps {
    first: Vec<(Instant, f64)>,
    last: Vec<(Instant, f64)>,
}

impl Steps {
    /// A step that was seen between two readings is taken for their middle.
    fn add(&mut self, before: Instant, at: Instant, joules: f64) {
        let step = (before + at.duration_since(before) / 2, joules);
        if self.first.len() < 2 {
            self.first.push(step);
        }
        if self.last.len() == 2 {
            self.last.remove(0);
        }
        self.last.push(step);
    }

    /// What was used between two moments (J): between the first step and the last as counted; before and behind them at the
    /// power of the nearest two steps.
    fn between(&self, start: Instant, end: Instant) -> Option<f64> {
        let power = |steps: &[(Instant, f64)]| {
            let [(from, less), (to, more)] = steps else { return None };
            let seconds = to.duration_since(*from).as_secs_f64();
            (seconds > 0.0 && more >= less).then(|| (more - less) / seconds)
        };
        let (first, last) = (self.first.first()?, self.last.last()?);
        let before = power(&self.first)? * first.0.duration_since(start).as_secs_f64();
        let behind = power(&self.last)? * end.duration_since(last.0).as_secs_f64();
        (last.1 >= first.1).then_some(before + (last.1 - first.1) + behind)
    }
}

impl Joules {
    /// Adds what was used since the reading before; readings of another kind start anew.
    pub(super) fn add(&mut self, at: Instant, reading: Reading) {
        self.first.get_or_insert(at);
        let Some((before, last)) = self.last.replace((at, reading)) else { return };
        let more = match (last, reading) {
            (Reading::Counter { joules: from, .. }, Reading::Counter { joules: to, range }) => {
                advanced(from, to, range)
            }
            (Reading::Stepped(from), Reading::Stepped(to)) => {
                if from != to {
                    self.steps.add(before, at, to);
                }
                None
            }
            // Trapezoids: power between two readings is taken for their mean.
            (Reading::Power(from), Reading::Power(to)) => {
                Some((from + to) / 2.0 * at.duration_since(before).as_secs_f64())
            }
            _ => None,
        };
        if let Some(more) = more {
            self.used = Some(self.used.unwrap_or_default() + more);
        }
    }

    /// Ends the trial: what was used (J); `None` with fewer than two readings, and fewer than two steps.
    pub(super) fn take(&mut self) -> Option<f64> {
        let Self { first, last, used, steps } = std::mem::take(self);
        match (first, last) {
            (Some(start), Some((end, Reading::Stepped(_)))) => steps.between(start, end),
            _ => used,
        }
    }

    /// Whether a counter that moves in steps was read, and moved less than twice.
    pub(super) fn hardly_moved(&self) -> bool {
        matches!(self.last, Some((_, Reading::Stepped(_)))) && self.steps.first.len() < 2
    }
}

/// How far a counter went; one that fell without a known range was reset, and nobody knows how far it went.
fn advanced(from: f64, to: f64, range: Option<f64>) -> Option<f64> {
    if to >= from {
        return Some(to - from);
    }
    range.filter(|range| *range >= from).map(|range| range - from + to)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn used(readings: &[(u64, Reading)]) -> Option<f64> {
        let start = Instant::now();
        let mut joules = Joules::default();
        for &(ms, reading) in readings {
            joules.add(start + Duration::from_millis(ms), reading);
        }
        joules.take()
    }

    fn counter(joules: f64, range: Option<f64>) -> Reading {
        Reading::Counter { joules, range }
    }

    #[test]
    fn counters_are_subtracted_and_may_wrap_once_between_readings() {
        assert_eq!(used(&[(0, counter(5.0, None)), (9, counter(7.5, None))]), Some(2.5));
        let range = Some(100.0);
        let around = [(0, counter(90.0, range)), (5, counter(10.0, range)), (9, counter(15.0, range))];
        assert_eq!(used(&around), Some(25.0));
    }

    #[test]
    fn a_counter_that_was_reset_is_not_guessed_at() {
        assert_eq!(used(&[(0, counter(90.0, None)), (5, counter(10.0, None))]), None);
        assert_eq!(used(&[(0, counter(90.0, Some(50.0))), (5, counter(10.0, Some(50.0)))]), None);
    }

    #[test]
    fn power_is_summed_over_time() {
        let readings =
            [(0, Reading::Power(100.0)), (1000, Reading::Power(200.0)), (3000, Reading::Power(200.0))];
        assert_eq!(used(&readings), Some(550.0));
    }

    /// A counter that is set forward every 100 ms, read every 25 ms: `power` (W) at a moment (ms), a trial from `start` to `end` (ms).
    fn stepped(power: impl Fn(u64) -> f64, start: u64, end: u64) -> Option<f64> {
        let counted = |until: u64| (0..until).map(|ms| power(ms) / 1e3).sum::<f64>();
        let moments = (start..end).step_by(25).chain([end]);
        let readings: Vec<_> = moments.map(|ms| (ms, Reading::Stepped(counted(ms / 100 * 100)))).collect();
        used(&readings)
    }

    #[test]
    fn a_counter_in_steps_tells_what_was_used_between_them() {
        for (start, end) in [(0, 1000), (30, 430), (99, 401), (250, 2333), (70, 5090)] {
            let joules = stepped(|_| 300.0, start, end).unwrap();
            let right = 0.3 * (end - start) as f64;
            assert!((joules / right - 1.0).abs() < 0.07, "{start} to {end}: {joules} of {right}");
        }
        // A card at 80 W that takes 500 W while it works: what the counter had not counted at the end is not lost.
        let works = |ms: u64| if (1000..1640).contains(&ms) { 500.0 } else { 80.0 };
        let joules = stepped(works, 1000, 1640).unwrap();
        assert!((joules / 320.0 - 1.0).abs() < 0.07, "{joules}");
        // Readings at both ends alone would miss an eighth of it.
        let ends = [(1000, counter(80.0, None)), (1640, counter(80.0 + 300.0, None))];
        assert_eq!(used(&ends), Some(300.0));
    }

    #[test]
    fn what_is_shorter_than_two_steps_has_no_energy() {
        assert_eq!(stepped(|_| 300.0, 10, 170), None);
        let mut joules = Joules::default();
        let start = Instant::now();
        joules.add(start, Reading::Stepped(5.0));
        joules.add(start + Duration::from_millis(90), Reading::Stepped(9.0));
        assert!(joules.hardly_moved());
        assert_eq!(joules.take(), None);
        assert!(!joules.hardly_moved(), "a trial starts afresh");
    }

    #[test]
    fn a_counter_in_steps_that_was_reset_is_not_guessed_at() {
        let readings = [(0, 90.0), (100, 95.0), (200, 5.0), (300, 9.0)]
            .map(|(ms, joules)| (ms, Reading::Stepped(joules)));
        assert_eq!(used(&readings), None);
    }

    #[test]
    fn one_reading_is_no_energy_and_a_trial_starts_afresh() {
        assert_eq!(used(&[(0, counter(5.0, None))]), None);
        assert_eq!(used(&[]), None);
        let mut joules = Joules::default();
        joules.add(Instant::now(), counter(1.0, None));
        joules.take();
        joules.add(Instant::now(), counter(9.0, None));
        assert_eq!(joules.take(), None);
    }
}
