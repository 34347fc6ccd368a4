//! Sends what a [`Schedule`] says when it says so, and writes down what becomes of it.

use std::future::Future;
use std::time::Duration;

use tokio::task::{JoinSet, yield_now};
use tokio::time::{Instant, sleep_until};

use super::schedule::{Next, Part, Schedule, Shot};
use crate::measure::client::Failure;
use crate::measure::client::timeline::Timeline;
use crate::record::Stage;
use crate::record::journal::loadtest::LoadtestRequest;

/// What became of a step.
#[derive(Debug)]
pub(super) struct Driven {
    /// Requests that brought the load up, and those that count, by number.
    pub(super) requests: Vec<LoadtestRequest>,
    /// Requests that kept the load up.
    pub(super) pressure: u32,
    /// Why the last request failed, when so many did in a row that the step was broken off.
    pub(super) broke: Option<String>,
}

/// A request that has ended.
struct Flown {
    shot: Shot,
    sent: Duration,
    end: Duration,
    answer: Result<Timeline, Failure>,
}

/// Goes through a step. `ask` begins a request: the future that it returns is first polled when the request is sent.
pub(super) async fn drive<F>(schedule: &mut Schedule, mut ask: impl FnMut(&Shot) -> F) -> Driven
where
    F: Future<Output = Result<Timeline, Failure>> + Send + 'static,
{
    let began = Instant::now();
    let mut flights: JoinSet<Flown> = JoinSet::new();
    let mut driven = Driven { requests: Vec::new(), pressure: 0, broke: None };
    let mut last_error = None;
    let mut lost = None;
    loop {
        let landed = match schedule.next(began.elapsed()) {
            Next::Send(shot) => {
                driven.pressure += u32::from(shot.part == Part::Pressure);
                let answer = ask(&shot);
                flights.spawn(async move {
                    let sent = began.elapsed();
                    let answer = answer.await;
                    let end = match &answer {
                        Ok(timeline) => sent + seconds(timeline.total_s),
                        Err(_) => began.elapsed(),
                    };
                    Flown { shot, sent, end, answer }
                });
                // Its request is on its way before the next one's clock starts: begun all at once, each would wait on its
                // own clock until the last had begun.
                yield_now().await;
                continue;
            }
            Next::TooMany(shot) => {
                driven.note(blank(&shot), shot.part);
                continue;
            }
            Next::At(due) => tokio::select! {
                Some(landed) = flights.join_next() => landed,
                () = sleep_until(began + due) => continue,
            },
            Next::Wait => match flights.join_next().await {
                Some(landed) => landed,
                // A schedule waits only for what is under way.
                None => break,
            },
            Next::Over => break,
        };
        // Only a request whose task panicked has no record; nothing then says that it ended, and the step breaks.
        let Ok(flown) = landed else {
            lost = Some("a request's task panicked".to_owned());
            break;
        };
        schedule.ended(&flown.shot, began.elapsed(), flown.answer.is_ok());
        last_error = flown.answer.as_ref().err().map(|failure| failure.message.clone());
        let part = flown.shot.part;
        driven.note(flown.record(), part);
    }
    // Dropping the rest closes their connections, and the server stops working on them.
    flights.shutdown().await;
    driven.requests.sort_by_key(|request| request.number);
    let failed = last_error.filter(|_| schedule.has_broken() || schedule.window().is_none());
    driven.broke = lost.or(failed);
    driven
}

impl Driven {
    fn note(&mut self, request: LoadtestRequest, part: Part) {
        if part != Part::Pressure {
            self.requests.push(request);
        }
    }
}

fn blank(shot: &Shot) -> LoadtestRequest {
    LoadtestRequest {
        number: shot.number,
        counts: shot.part == Part::Counts,
        due_s: micros(shot.due),
        sent_s: None,
        first_s: None,
        end_s: None,
        gaps_us: Vec::new(),
        prompt_tokens: None,
        output_tokens: None,
        cached_tokens: None,
        untimed: None,
        failed: None,
        error: None,
    }
}

impl Flown {
    fn record(self) -> LoadtestRequest {
        let known = LoadtestRequest {
            sent_s: Some(micros(self.sent)),
            end_s: Some(micros(self.end)),
            ..blank(&self.shot)
        };
        let failed =
            |stage, message| LoadtestRequest { failed: Some(stage), error: Some(message), ..known.clone() };
        match self.answer {
            Err(failure) => failed(failure.stage, failure.message),
            Ok(timeline) => match timeline.events.first() {
                None => failed(Stage::Stream, "the reply held no token".to_owned()),
                Some(first) => LoadtestRequest {
                    first_s: Some(micros(self.sent + seconds(first.at_s))),
                    gaps_us: gaps_us(&timeline),
                    prompt_tokens: timeline.counts.prompt,
                    output_tokens: timeline.counts.output,
                    cached_tokens: timeline.counts.cached,
                    untimed: timeline.untimed().map(str::to_owned),
                    ..known
                },
            },
        }
    }
}

fn gaps_us(timeline: &Timeline) -> Vec<u32> {
    let pairs = timeline.events.windows(2);
    pairs.map(|pair| ((pair[1].at_s - pair[0].at_s) * 1e6).round() as u32).collect()
}

fn seconds(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or_default()
}

/// Seconds, to the microsecond.
fn micros(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e6
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::super::schedule::Extent;
    use super::*;
    use crate::measure::client::timeline::{Counts, TokenEvent};
    use crate::record::suite::Arrivals;

    /// Two tokens, the second 2 ms after the first.
    fn answer(first_s: f64) -> Timeline {
        let event = |at_s, tokens| TokenEvent { at_s, tokens: Some(tokens) };
        Timeline {
            events: vec![event(first_s, 1), event(first_s + 0.002, 2)],
            counts: Counts { prompt: Some(9), output: Some(2), cached: Some(0) },
            total_s: first_s + 0.003,
            other_choices: false,
        }
    }

    fn failure() -> Failure {
        Failure { stage: Stage::Request, message: "HTTP 500: no".into(), unsupported: false }
    }

    fn block_on<T>(work: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
    }

    fn schedule(arrivals: Arrivals, requests: u32, most: u32) -> Schedule {
        Schedule::new(arrivals, Extent { requests: Some(requests), duration: None }, most, 1, "t")
    }

    #[test]
    fn so_many_are_under_way_and_every_one_that_counts_is_written_down() {
        let under_way = Arc::new(AtomicU32::new(0));
        let most = Arc::new(AtomicU32::new(0));
        let mut schedule = schedule(Arrivals::Closed(3), 9, 9);
        let driven = block_on(drive(&mut schedule, |shot| {
            let (under_way, most, fails) = (under_way.clone(), most.clone(), shot.number == 5);
            async move {
                most.fetch_max(under_way.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                tokio::time::sleep(Duration::from_millis(5)).await;
                under_way.fetch_sub(1, Ordering::SeqCst);
                if fails { Err(failure()) } else { Ok(answer(0.001)) }
            }
        }));
        assert_eq!((most.load(Ordering::SeqCst), schedule.peak()), (3, 3));
        assert_eq!(driven.requests.iter().filter(|request| request.counts).count(), 9);
        assert_eq!(driven.broke, None);
        let failed: Vec<_> = driven.requests.iter().filter(|request| !request.is_done()).collect();
        assert_eq!((failed.len(), failed[0].error.as_deref()), (1, Some("HTTP 500: no")));
        let done = &driven.requests[0];
        let (sent, first, end) = (done.sent_s.unwrap(), done.first_s.unwrap(), done.end_s.unwrap());
        assert!((first - sent - 0.001).abs() < 2e-6 && (end - sent - 0.004).abs() < 2e-6, "{done:?}");
        assert_eq!((done.gaps_us.as_slice(), done.output_tokens), ([2000].as_slice(), Some(2)));
    }

    #[test]
    fn a_reply_that_was_kept_back_is_marked() {
        let mut schedule = schedule(Arrivals::Closed(1), 2, 2);
        let driven = block_on(drive(&mut schedule, |shot| {
            let kept_back = shot.number == 1;
            async move {
                let mut answer = answer(0.001);
                if kept_back {
                    answer.events.iter_mut().for_each(|event| event.tokens = event.tokens.map(|n| n + 49));
                }
                Ok(answer)
            }
        }));
        let marked = |request: &LoadtestRequest| (request.number, request.untimed.is_some());
        let marked: Vec<_> = driven.requests.iter().map(marked).collect();
        assert_eq!(marked[..2], [(0, false), (1, true)]);
        // When its text arrived is still known.
        assert!(driven.requests[1].first_s.is_some() && driven.requests[1].gaps_us == [2000]);
    }

    #[test]
    fn a_late_server_does_not_delay_arrivals_and_what_is_due_is_the_start() {
        // 200 a second, each takes 50 ms: about ten under way at the same time.
        let mut schedule = schedule(Arrivals::Poisson(200.0), 40, 64);
        let driven = block_on(drive(&mut schedule, |_| async {
            tokio::time::sleep(Duration::from_millis(50)).await;
            Ok(answer(0.049))
        }));
        assert!(schedule.peak() >= 4, "{}", schedule.peak());
        for request in &driven.requests {
            assert!(request.sent_s.unwrap() >= request.due_s, "{request:?}");
        }
        let due: Vec<f64> = driven.requests.iter().map(|request| request.due_s).collect();
        assert!(due.is_sorted());
    }

    #[test]
    fn what_the_cap_kept_back_is_written_down_unsent() {
        let mut schedule = schedule(Arrivals::Poisson(500.0), 60, 2);
        let driven = block_on(drive(&mut schedule, |_| async {
            tokio::time::sleep(Duration::from_millis(30)).await;
            Ok(answer(0.01))
        }));
        let counted = driven.requests.iter().filter(|request| request.counts);
        assert_eq!(counted.clone().count(), 60);
        let unsent: Vec<_> = counted.filter(|request| request.sent_s.is_none()).collect();
        assert!(unsent.len() > 20, "{}", unsent.len());
        assert!(unsent.iter().all(|request| !request.is_done() && request.failed.is_none()));
    }

    #[test]
    fn a_server_that_only_fails_breaks_the_step_with_its_words() {
        let mut schedule = schedule(Arrivals::Closed(1), 1000, 2);
        let driven = block_on(drive(&mut schedule, |_| async { Err(failure()) }));
        assert_eq!(driven.broke.as_deref(), Some("HTTP 500: no"));
        assert_eq!(driven.requests.len(), 20);
    }
}
