//! When things arrived, and what follows from that.
//!
//! While a stream runs, chunks are only stamped and stored ([`Recording`]); everything here is computed
//! after it ended.

use std::time::Duration;

use crate::trial::{Measurement, Source, metric};

/// The bytes of a reply and when each chunk of them arrived.
#[derive(Debug, Default)]
pub struct Recording {
    bytes: Vec<u8>,
    chunks: Vec<Chunk>,
}

#[derive(Debug, Clone, Copy)]
struct Chunk {
    /// Time since the request was sent.
    at: Duration,
    /// Bytes of the reply that had arrived with this chunk.
    end: usize,
}

impl Recording {
    /// Stores a chunk; `at` is the time since the request was sent, taken right after the chunk arrived.
    pub fn push(&mut self, at: Duration, chunk: &[u8]) {
        self.bytes.extend_from_slice(chunk);
        self.chunks.push(Chunk { at, end: self.bytes.len() });
    }

    /// All bytes so far.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// All bytes so far, to be overwritten in place.
    pub(super) fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.bytes
    }

    /// Whether nothing arrived.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// When the first `length` bytes of the reply had arrived; `None` when they never did.
    pub fn arrival(&self, length: usize) -> Option<Duration> {
        let chunk = self.chunks.partition_point(|chunk| chunk.end < length);
        self.chunks.get(chunk).map(|chunk| chunk.at)
    }
}

/// An event that carries at least one token.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TokenEvent {
    /// Time since the request was sent, connecting included (s).
    pub at_s: f64,
    /// Tokens generated up to and including this event, if the engine says so on the event itself.
    pub tokens: Option<u64>,
}

/// Token counts of a request as the engine gave them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Tokens of the prompt, cached ones among them.
    pub prompt: Option<u64>,
    /// Tokens generated, an end-of-turn token that is not shown among them.
    pub output: Option<u64>,
    /// Prompt tokens taken from a cache.
    pub cached: Option<u64>,
}

/// A stream in numbers.
#[derive(Debug, Clone, PartialEq)]
pub struct Timeline {
    /// Events that carry tokens, in order of arrival.
    pub events: Vec<TokenEvent>,
    /// What the engine counted.
    pub counts: Counts,
    /// Time from sending the request to the end of the reply (s).
    pub total_s: f64,
}

/// A number, or why there is none.
type Figure = Result<f64, String>;

impl Timeline {
    /// The client's figures: TTFT, total, prefill and decode rate, inter-token latency.
    pub fn measurements(&self) -> Vec<Measurement> {
        of_turns(std::slice::from_ref(self))
    }

    fn ttft(&self) -> Figure {
        let first = self.events.first();
        first.map(|event| event.at_s).ok_or_else(|| "no event carried a token".to_owned())
    }

    /// Prompt tokens over TTFT. It holds the first decode step and the way over the network too, so it is a
    /// lower bound of the engine's own prefill rate.
    fn prefill_rate(&self) -> Figure {
        let ttft = self.ttft()?;
        let prompt = self.counts.prompt.ok_or("the engine did not count the prompt")?;
        match self.counts.cached {
            Some(0) => Ok(prompt as f64 / ttft),
            Some(cached) => Err(format!("not cold: {cached} prompt tokens came from a cache")),
            None => Err("the engine does not say whether the prompt was cached".to_owned()),
        }
    }

    /// Tokens after the first event's tokens, and the time between the first and the last event (s).
    fn decoded(&self) -> Result<(u64, f64), String> {
        let [first, .., last] = self.events.as_slice() else {
            return Err(ONE_EVENT.to_owned());
        };
        let seconds = last.at_s - first.at_s;
        if seconds <= 0.0 {
            return Err("all tokens arrived at once".to_owned());
        }
        let (before, until) = (self.first_tokens(first)?, self.last_tokens(last)?);
        if until <= before {
            return Err(format!(
                "token counts contradict each other: {before} after the first event, {until} after the last"
            ));
        }
        Ok((until - before, seconds))
    }

    /// One token an event may be assumed only where the total leaves no other way.
    fn first_tokens(&self, first: &TokenEvent) -> Result<u64, String> {
        let events = self.events.len() as u64;
        match (first.tokens, self.counts.output) {
            (Some(tokens), _) => Ok(tokens),
            (None, Some(output)) if output == events => Ok(1),
            (None, Some(output)) => Err(format!(
                "{output} tokens came in {events} events, and the engine does not say how many in the first"
            )),
            (None, None) => Err(UNCOUNTED.to_owned()),
        }
    }

    /// The event's own count is better than the total: the total may hold an end-of-turn token, which
    /// comes after the last event that carries text.
    fn last_tokens(&self, last: &TokenEvent) -> Result<u64, String> {
        last.tokens.or(self.counts.output).ok_or_else(|| UNCOUNTED.to_owned())
    }

    fn latencies(&self) -> Vec<f64> {
        let pairs = self.events.windows(2);
        pairs.map(|pair| pair[1].at_s - pair[0].at_s).collect()
    }
}

/// The client's figures of a conversation, one timeline a turn: TTFT and prefill rate of the first turn (the
/// later ones go on from the cache), the time of all requests together, decode rate and inter-token latency over
/// the tokens of all turns (never from one turn to the next). Turns of a single event have no part in the rate.
pub fn of_turns(turns: &[Timeline]) -> Vec<Measurement> {
    let mut latencies: Vec<f64> = turns.iter().flat_map(Timeline::latencies).collect();
    latencies.sort_by(f64::total_cmp);
    let latency = |q: f64| nearest_rank(&latencies, q).ok_or_else(|| ONE_EVENT.to_owned());
    let first = |figure: fn(&Timeline) -> Figure| match turns.first() {
        Some(turn) => figure(turn),
        None => Err("nothing was asked".to_owned()),
    };
    [
        (metric::TTFT_S, first(Timeline::ttft)),
        (metric::TOTAL_S, Ok(turns.iter().map(|turn| turn.total_s).sum())),
        (metric::PREFILL_TPS, first(Timeline::prefill_rate)),
        (metric::DECODE_TPS, decode_rate(turns)),
        (metric::ITL_P50_S, latency(0.5)),
        (metric::ITL_P95_S, latency(0.95)),
        (metric::ITL_MAX_S, latency(1.0)),
    ]
    .into_iter()
    .map(|(name, figure)| match figure {
        Ok(value) => Measurement::new(name, Source::Client, value),
        Err(reason) => Measurement::absent(name, Source::Client, reason),
    })
    .collect()
}

/// Tokens over their time, all turns together; the first turn's reason when none can be timed.
fn decode_rate(turns: &[Timeline]) -> Figure {
    let mut reason = None;
    let (mut tokens, mut seconds) = (0, 0.0);
    for turn in turns {
        match turn.decoded() {
            Ok((more, time)) => (tokens, seconds) = (tokens + more, seconds + time),
            Err(why) => reason = reason.or(Some(why)),
        }
    }
    if tokens == 0 {
        return Err(reason.unwrap_or_else(|| UNCOUNTED.to_owned()));
    }
    Ok(tokens as f64 / seconds)
}

const ONE_EVENT: &str = "fewer than two events carried tokens";
const UNCOUNTED: &str = "the engine did not count the tokens of the reply";

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

    fn timeline(events: &[(f64, Option<u64>)], output: Option<u64>) -> Timeline {
        Timeline {
            events: events.iter().map(|&(at_s, tokens)| TokenEvent { at_s, tokens }).collect(),
            counts: Counts { prompt: Some(100), output, cached: Some(0) },
            total_s: 9.0,
        }
    }

    fn figure(timeline: &Timeline, name: &str) -> Figure {
        let all = timeline.measurements();
        let found = all.into_iter().find(|m| m.name == name).unwrap();
        found.value.ok_or_else(|| found.absent.unwrap())
    }

    #[test]
    fn chunks_tell_when_a_prefix_was_there() {
        let mut recording = Recording::default();
        recording.push(Duration::from_millis(10), b"abc");
        recording.push(Duration::from_millis(20), b"");
        recording.push(Duration::from_millis(30), b"de");
        assert_eq!(recording.arrival(1), Some(Duration::from_millis(10)));
        assert_eq!(recording.arrival(3), Some(Duration::from_millis(10)));
        assert_eq!(recording.arrival(4), Some(Duration::from_millis(30)));
        assert_eq!(recording.arrival(6), None);
        assert_eq!(recording.bytes(), b"abcde");
    }

    #[test]
    fn decode_rate_counts_tokens_not_events() {
        // 4 tokens a chunk, a chunk every 80 ms: 50 tokens/s, whatever the number of chunks.
        let events: Vec<_> = (0..5).map(|i| (1.0 + 0.08 * f64::from(i), Some(4 + 4 * i as u64))).collect();
        let rate = figure(&timeline(&events, Some(21)), metric::DECODE_TPS).unwrap();
        assert!((rate - 50.0).abs() < 1e-9, "{rate}");
    }

    #[test]
    fn one_token_an_event_only_when_the_total_says_so() {
        let events = [(1.0, None), (1.5, None), (2.0, None)];
        assert_eq!(figure(&timeline(&events, Some(3)), metric::DECODE_TPS), Ok(2.0));
        let reason = figure(&timeline(&events, Some(4)), metric::DECODE_TPS).unwrap_err();
        assert!(reason.contains("4 tokens came in 3 events"), "{reason}");
        assert!(figure(&timeline(&events, None), metric::DECODE_TPS).is_err());
    }

    #[test]
    fn no_rate_without_time_or_tokens() {
        assert!(figure(&timeline(&[(1.0, Some(1))], Some(1)), metric::DECODE_TPS).is_err());
        let at_once = [(1.0, Some(1)), (1.0, Some(2))];
        assert!(figure(&timeline(&at_once, Some(2)), metric::DECODE_TPS).is_err());
        let backwards = [(1.0, Some(5)), (2.0, Some(3))];
        assert!(figure(&timeline(&backwards, Some(5)), metric::DECODE_TPS).is_err());
        assert!(figure(&timeline(&[], Some(0)), metric::TTFT_S).is_err());
    }

    #[test]
    fn prefill_is_measured_only_cold() {
        let mut timeline = timeline(&[(0.5, Some(1))], Some(1));
        assert_eq!(figure(&timeline, metric::PREFILL_TPS), Ok(200.0));
        timeline.counts.cached = Some(7);
        assert!(figure(&timeline, metric::PREFILL_TPS).unwrap_err().contains("not cold: 7"));
        timeline.counts.cached = None;
        assert!(figure(&timeline, metric::PREFILL_TPS).is_err());
    }

    #[test]
    fn latency_percentiles_are_of_intervals() {
        let events: Vec<_> = [0.0, 0.1, 0.3, 0.6, 1.0].map(|at| (at, None)).into();
        let timeline = timeline(&events, None);
        let near = |name, expected: f64| {
            let value = figure(&timeline, name).unwrap();
            assert!((value - expected).abs() < 1e-9, "{name} {value}");
        };
        near(metric::ITL_P50_S, 0.2);
        near(metric::ITL_P95_S, 0.4);
        near(metric::ITL_MAX_S, 0.4);
    }

    #[test]
    fn a_conversation_is_cold_once_and_decodes_over_all_turns() {
        let mut later = timeline(&[(0.1, Some(1)), (0.2, Some(2))], Some(2));
        later.counts = Counts { prompt: Some(120), output: Some(2), cached: Some(110) };
        let one_event = timeline(&[(0.1, Some(1))], Some(1));
        let all = of_turns(&[timeline(&[(0.5, Some(1)), (1.5, Some(11))], Some(11)), later, one_event]);
        let value = |name: &str| all.iter().find(|m| m.name == name).unwrap().value.unwrap();
        assert_eq!([value(metric::TTFT_S), value(metric::PREFILL_TPS)], [0.5, 200.0]);
        assert_eq!([value(metric::TOTAL_S), value(metric::ITL_MAX_S)], [27.0, 1.0]);
        assert!((value(metric::DECODE_TPS) - 11.0 / 1.1).abs() < 1e-9);
        assert!(of_turns(&[]).iter().all(|m| m.value.is_none() || m.name == metric::TOTAL_S));
    }

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
}
