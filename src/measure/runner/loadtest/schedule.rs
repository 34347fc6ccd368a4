//! Which request is sent when. It knows no clock and sends nothing: it is told the time since the step began.
//!
//! A step has three parts. First the load builds up: until the first request of every stream has ended (closed loop),
//! or the first of all (open loop). Then requests count, until there are enough. After that more are sent, whose
//! results are not kept, until the last that counts has ended: every one that counts meets the full load.

use std::collections::VecDeque;
use std::time::Duration;

use crate::record::suite::Arrivals;
use crate::task::random::Random;

/// Failures in a row, without a success between, after which a step is broken off.
const FAILURES: u32 = 20;

/// What a request is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// Brings the load up.
    Ramp,
    /// Counts.
    Counts,
    /// Keeps the load up.
    Pressure,
}

/// A request that is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shot {
    /// Position in the step, from 0.
    pub(super) number: u32,
    /// When it is due.
    pub(super) due: Duration,
    pub(super) part: Part,
}

/// What to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// Send this one now.
    Send(Shot),
    /// This one is due, but too many are under way: it is never sent.
    TooMany(Shot),
    /// Nothing is due before this moment, unless a request ends.
    At(Duration),
    /// Nothing is due before a request ends.
    Wait,
    /// The step is over; what is still under way does not matter.
    Over,
}

/// How much of a step counts: at least one of both.
#[derive(Debug, Clone, Copy)]
pub(super) struct Extent {
    /// So many requests.
    pub(super) requests: Option<u32>,
    /// Requests that are due for so long.
    pub(super) duration: Option<Duration>,
}

/// The course of a step.
#[derive(Debug)]
pub(super) struct Schedule {
    source: Source,
    extent: Extent,
    sent: u32,
    /// Requests that must have ended before any counts.
    ramp: u32,
    ramp_left: u32,
    /// When counting began.
    from: Option<Duration>,
    /// When the last request that counts was due, once no other will.
    until: Option<Duration>,
    last_due: Duration,
    counted: u32,
    counted_under_way: u32,
    under_way: u32,
    peak: u32,
    failed_in_a_row: u32,
}

/// Where requests come from.
#[derive(Debug)]
enum Source {
    /// Streams that are free, by the moment since when.
    Closed(VecDeque<Duration>),
    Open {
        random: Box<Random>,
        rate: f64,
        due: Duration,
        most: u32,
    },
}

impl Schedule {
    /// `purpose` seeds the arrivals: the same gives the same timetable. `most` requests may be under way in an open
    /// loop.
    pub(super) fn new(arrivals: Arrivals, extent: Extent, most: u32, seed: u64, purpose: &str) -> Self {
        let (source, ramp) = match arrivals {
            Arrivals::Closed(streams) => {
                (Source::Closed((0..streams).map(|_| Duration::ZERO).collect()), streams)
            }
            Arrivals::Poisson(rate) => {
                let random = Random::of_task(seed, purpose);
                (Source::Open { random: Box::new(random), rate, due: Duration::ZERO, most }, 1)
            }
        };
        Self {
            source,
            extent,
            sent: 0,
            ramp,
            ramp_left: ramp,
            from: None,
            until: None,
            last_due: Duration::ZERO,
            counted: 0,
            counted_under_way: 0,
            under_way: 0,
            peak: 0,
            failed_in_a_row: 0,
        }
    }

    /// What to do at this moment. A request that is returned for sending is under way from then on.
    pub(super) fn next(&mut self, now: Duration) -> Next {
        self.close();
        if self.has_broken() || (self.until.is_some() && self.counted_under_way == 0) {
            return Next::Over;
        }
        let due = match &mut self.source {
            Source::Closed(free) => match free.pop_front() {
                Some(since) => since,
                None => return Next::Wait,
            },
            Source::Open { due, .. } if now < *due => return Next::At(*due),
            Source::Open { random, rate, due, .. } => {
                let this = *due;
                *due = this.saturating_add(interval(random, *rate));
                this
            }
        };
        self.shoot(due)
    }

    fn shoot(&mut self, due: Duration) -> Next {
        let shot = Shot { number: self.sent, due, part: self.part(due) };
        self.sent += 1;
        let counts = shot.part == Part::Counts;
        if counts {
            self.counted += 1;
            self.last_due = due;
            if Some(self.counted) == self.extent.requests {
                self.until = Some(due);
            }
        }
        if let Source::Open { most, .. } = self.source
            && self.under_way >= most
        {
            return Next::TooMany(shot);
        }
        self.counted_under_way += u32::from(counts);
        self.under_way += 1;
        self.peak = self.peak.max(self.under_way);
        Next::Send(shot)
    }

    /// No request counts any more when the next one is due after the step's duration.
    fn close(&mut self) {
        let next_due = match &self.source {
            Source::Closed(free) => free.front().copied(),
            Source::Open { due, .. } => Some(*due),
        };
        let end = self.from.zip(self.extent.duration).map(|(from, duration)| from + duration);
        if self.until.is_none() && next_due.zip(end).is_some_and(|(due, end)| due >= end) {
            self.until = end;
        }
    }

    fn part(&self, due: Duration) -> Part {
        match (self.from, self.until) {
            // In an open loop a request may have been due before counting began.
            (Some(from), None) if due >= from => Part::Counts,
            (_, None) => Part::Ramp,
            (_, Some(_)) => Part::Pressure,
        }
    }

    /// A request has ended; in a closed loop its stream is free.
    pub(super) fn ended(&mut self, shot: &Shot, now: Duration, well: bool) {
        self.under_way -= 1;
        self.counted_under_way -= u32::from(shot.part == Part::Counts);
        self.failed_in_a_row = if well { 0 } else { self.failed_in_a_row + 1 };
        if shot.number < self.ramp {
            self.ramp_left -= 1;
            if self.ramp_left == 0 {
                self.from = Some(now);
            }
        }
        if let Source::Closed(free) = &mut self.source {
            free.push_back(now);
        }
    }

    /// Whether so many requests failed in a row that no more are sent.
    pub(super) fn has_broken(&self) -> bool {
        self.failed_in_a_row >= FAILURES.max(2 * self.ramp)
    }

    /// From when to when requests counted; `None` when none did.
    pub(super) fn window(&self) -> Option<(Duration, Duration)> {
        let from = self.from.filter(|_| self.counted > 0)?;
        Some((from, self.until.unwrap_or(self.last_due)))
    }

    /// Most requests under way at the same time.
    pub(super) const fn peak(&self) -> u32 {
        self.peak
    }
}

/// Time to the next arrival of a Poisson process: exponentially distributed with mean 1 / rate.
fn interval(random: &mut Random, rate: f64) -> Duration {
    const STEPS: usize = 1 << 53;
    // In (0, 1]: the logarithm is finite.
    let uniform = (random.below(STEPS) + 1) as f64 / STEPS as f64;
    Duration::try_from_secs_f64(-uniform.ln() / rate).unwrap_or(Duration::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    fn requests(n: u32) -> Extent {
        Extent { requests: Some(n), duration: None }
    }

    /// Plays a step on a server that takes `service` for every request and has room for all; what was sent, in order.
    fn play(schedule: &mut Schedule, service: Duration) -> (Vec<Shot>, Vec<Shot>) {
        let (mut sent, mut refused) = (Vec::new(), Vec::new());
        let mut under_way: VecDeque<(Duration, Shot)> = VecDeque::new();
        let mut now = Duration::ZERO;
        loop {
            let next = schedule.next(now);
            match next {
                Next::Send(shot) => {
                    under_way.push_back((now + service, shot));
                    sent.push(shot);
                    continue;
                }
                Next::TooMany(shot) => {
                    refused.push(shot);
                    continue;
                }
                Next::Over => return (sent, refused),
                Next::At(_) | Next::Wait => {}
            }
            let end = under_way.front().map(|(end, _)| *end);
            let due = if let Next::At(due) = next { Some(due) } else { None };
            now = [end, due].into_iter().flatten().min().unwrap();
            if end == Some(now) {
                let (_, shot) = under_way.pop_front().unwrap();
                schedule.ended(&shot, now, true);
            }
        }
    }

    fn count(shots: &[Shot], part: Part) -> usize {
        shots.iter().filter(|shot| shot.part == part).count()
    }

    #[test]
    fn one_stream_sends_one_after_another() {
        let mut schedule = Schedule::new(Arrivals::Closed(1), requests(5), 9, 1, "t");
        let (sent, _) = play(&mut schedule, MS(100));
        let due: Vec<Duration> = sent.iter().map(|shot| shot.due).collect();
        assert_eq!(due, [0, 100, 200, 300, 400, 500].map(MS));
        assert_eq!((sent[0].part, sent[5].part), (Part::Ramp, Part::Counts));
        // Nothing had to keep the load up: the last one that counts was alone.
        assert_eq!((count(&sent, Part::Counts), count(&sent, Part::Pressure)), (5, 0));
        assert_eq!((schedule.window(), schedule.peak()), (Some((MS(100), MS(500))), 1));
    }

    #[test]
    fn streams_keep_the_load_up_until_the_last_that_counts_has_ended() {
        let mut schedule = Schedule::new(Arrivals::Closed(4), requests(10), 9, 1, "t");
        let (sent, _) = play(&mut schedule, MS(100));
        assert_eq!(count(&sent, Part::Counts), 10);
        assert_eq!(schedule.peak(), 4);
        // While one that counts is under way, so are three others.
        let last = sent.iter().rfind(|shot| shot.part == Part::Counts).unwrap();
        let beside = sent.iter().filter(|s| s.due + MS(100) > last.due && s.due < last.due + MS(100));
        assert!(beside.count() >= 4);
        assert!(count(&sent, Part::Pressure) >= 2, "{sent:?}");
    }

    #[test]
    fn nothing_counts_before_every_stream_had_an_answer() {
        let mut schedule = Schedule::new(Arrivals::Closed(2), requests(3), 9, 1, "t");
        let send = |schedule: &mut Schedule, now| match schedule.next(MS(now)) {
            Next::Send(shot) => shot,
            other => panic!("{other:?}"),
        };
        let (slow, quick) = (send(&mut schedule, 0), send(&mut schedule, 0));
        assert_eq!(schedule.next(MS(0)), Next::Wait);
        schedule.ended(&quick, MS(10), true);
        let again = send(&mut schedule, 10);
        assert_eq!(again.part, Part::Ramp, "the other stream has none yet");
        schedule.ended(&slow, MS(50), true);
        assert_eq!(send(&mut schedule, 50).part, Part::Counts);
    }

    #[test]
    fn a_duration_ends_a_step_too() {
        let extent = Extent { requests: Some(1000), duration: Some(MS(350)) };
        let mut schedule = Schedule::new(Arrivals::Closed(1), extent, 9, 1, "t");
        let (sent, _) = play(&mut schedule, MS(100));
        // Due at 100, 200, 300 and 400 ms; 450 ms is the end.
        assert_eq!(count(&sent, Part::Counts), 4);
        assert_eq!(schedule.window(), Some((MS(100), MS(450))));
    }

    #[test]
    fn arrivals_are_those_of_the_timetable_whatever_the_server_does() {
        let timetable = |service| {
            let mut schedule = Schedule::new(Arrivals::Poisson(10.0), requests(300), 4096, 7, "t");
            let (sent, _) = play(&mut schedule, service);
            sent.into_iter().map(|shot| shot.due).collect::<Vec<_>>()
        };
        let (quick, slow) = (timetable(MS(1)), timetable(MS(20_000)));
        assert_eq!(quick[..200], slow[..200]);
        let gaps: Vec<f64> = quick.windows(2).map(|pair| (pair[1] - pair[0]).as_secs_f64()).collect();
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        let variance = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / gaps.len() as f64;
        // Of an exponential distribution the standard deviation is the mean.
        assert!((0.085..0.115).contains(&mean), "{mean}");
        assert!((0.8..1.2).contains(&(variance.sqrt() / mean)), "{}", variance.sqrt());
        let other = Schedule::new(Arrivals::Poisson(10.0), requests(300), 4096, 8, "t");
        let (sent, _) = play(&mut { other }, MS(1));
        assert_ne!(sent[5].due, quick[5]);
    }

    #[test]
    fn arrivals_beyond_the_cap_are_counted_but_not_sent() {
        let mut schedule = Schedule::new(Arrivals::Poisson(100.0), requests(200), 3, 7, "t");
        let (sent, refused) = play(&mut schedule, MS(100));
        assert_eq!(schedule.peak(), 3);
        assert!(refused.len() > 50, "{}", refused.len());
        assert_eq!(count(&sent, Part::Counts) + count(&refused, Part::Counts), 200);
    }

    #[test]
    fn a_server_that_only_fails_ends_the_step() {
        let mut schedule = Schedule::new(Arrivals::Closed(2), requests(1000), 9, 1, "t");
        let mut failed = 0;
        while let Next::Send(shot) = schedule.next(MS(failed)) {
            failed += 1;
            schedule.ended(&shot, MS(failed), false);
        }
        assert_eq!(failed, 20);
        assert!(schedule.has_broken());
    }

    #[test]
    fn one_success_between_failures_is_enough_to_go_on() {
        let mut schedule = Schedule::new(Arrivals::Closed(1), requests(100), 9, 1, "t");
        let mut sent = 0;
        while let Next::Send(shot) = schedule.next(MS(sent)) {
            sent += 1;
            schedule.ended(&shot, MS(sent), sent % 15 == 0);
        }
        assert_eq!(sent, 101);
        assert!(!schedule.has_broken());
    }
}
