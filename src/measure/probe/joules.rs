//! Energy from what sources give: a counter that may wrap, or a power that has to be summed over time.

use std::time::{Duration, Instant};

/// How long idle power is watched.
const IDLE_WATCH: Duration = Duration::from_secs(2);

/// Mean power of a card (W), from two readings of all of them two seconds apart.
///
/// # Errors
/// When a reading fails, or the cards report no energy.
pub(super) fn idle_watts(mut read: impl FnMut() -> Result<Vec<Reading>, String>) -> Result<f64, String> {
    let start = Instant::now();
    let mut cards: Vec<Joules> = Vec::new();
    for pause in [Duration::ZERO, IDLE_WATCH] {
        std::thread::sleep(pause);
        let readings = read()?;
        cards.resize(readings.len(), Joules::default());
        for (card, reading) in cards.iter_mut().zip(readings) {
            card.add(Instant::now(), reading);
        }
    }
    let seconds = start.elapsed().as_secs_f64();
    let used: Option<f64> = cards.iter_mut().map(Joules::take).sum();
    let per_card = used.map(|joules| joules / seconds / cards.len() as f64);
    per_card.filter(|_| !cards.is_empty()).ok_or_else(|| "the cards report no energy".to_owned())
}

/// Energy used between the first and the last reading of a trial (J).
#[derive(Debug, Clone, Default)]
pub(super) struct Joules {
    last: Option<(Instant, Reading)>,
    used: Option<f64>,
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
    /// Power right now (W).
    Power(f64),
}

impl Joules {
    /// Adds what was used since the reading before; readings of another kind start anew.
    pub(super) fn add(&mut self, at: Instant, reading: Reading) {
        let Some((before, last)) = self.last.replace((at, reading)) else { return };
        let more = match (last, reading) {
            (Reading::Counter { joules: from, .. }, Reading::Counter { joules: to, range }) => {
                advanced(from, to, range)
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

    /// Ends the trial: what was used (J); `None` with fewer than two readings.
    pub(super) fn take(&mut self) -> Option<f64> {
        self.last = None;
        self.used.take()
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
