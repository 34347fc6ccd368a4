//! When things arrived, and what follows from that.
//!
//! While a stream runs, chunks are only stamped and stored ([`Recording`]); everything here is computed
//! after it ended.

use std::time::Duration;

use crate::quantile::nearest_rank;
use crate::record::{Measurement, Source, metric};

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

/// Room for a reply of usual length, made at once: to grow step by step with thousands of streams beside costs more than to copy
/// what comes (bytes).
const FIRST_BYTES: usize = 16 << 10;
/// The same, of its chunks.
const FIRST_CHUNKS: usize = 128;

impl Recording {
    /// Stores a chunk; `at` is the time since the request was sent, taken right after the chunk arrived.
    pub fn push(&mut self, at: Duration, chunk: &[u8]) {
        if self.chunks.is_empty() {
            self.bytes.reserve(FIRST_BYTES);
            self.chunks.reserve(FIRST_CHUNKS);
        }
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

/// An event that carries at least one token, or says that one was generated.
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
    /// The server sent choices beside the one that was asked for, and counts their tokens too.
    pub other_choices: bool,
}

/// A number, or why there is none.
type Figure = Result<f64, String>;

/// So few tokens may come with the first event, and its arrival is still that of the first token: drafts and batches put a
/// few into one.
const FEW_AT_FIRST: u64 = 4;
/// So many may not, even where later events hold as many: a parser that keeps a reply back sends it in large pieces.
const MANY_AT_FIRST: u64 = 16;
/// Events within this time of the first came with it (s): no model makes tokens so fast.
const LUMP_S: f64 = 0.001;
/// Fewest tokens after the first event that make a rate.
const LEAST_TOKENS: u64 = 4;
/// Shortest time that they may take (s): below it the way of the bytes counts, not the model.
const LEAST_S: f64 = 0.005;

impl Timeline {
    /// The client's figures: TTFT, total, prefill and decode rate, inter-token latency.
    pub fn measurements(&self) -> Vec<Measurement> {
        of_turns(std::slice::from_ref(self))
    }

    fn ttft(&self) -> Figure {
        let first = self.events.first().ok_or("no event carried a token")?;
        self.untimed().map_or(Ok(first.at_s), |reason| Err(reason.to_owned()))
    }

    /// Why the arrivals of the events are not those of the tokens; `None` where they are.
    pub fn untimed(&self) -> Option<&'static str> {
        let (first, later) = self.events.split_first()?;
        if self.tokens_with(first) > MANY_AT_FIRST || holds_more_than_later(first, later) {
            return Some(HELD_BACK);
        }
        let few = FEW_AT_FIRST.saturating_mul(self.events.len() as u64);
        let uncounted = first.tokens.is_none() && !self.other_choices;
        (uncounted && self.counts.output? > few).then_some(FEW_EVENTS)
    }

    /// Tokens that arrived when the first event did, in however many events.
    fn tokens_with(&self, first: &TokenEvent) -> u64 {
        let with_it = self.events.partition_point(|event| event.at_s - first.at_s < LUMP_S);
        let counted = self.events[..with_it].last().and_then(|event| event.tokens);
        counted.unwrap_or(with_it as u64)
    }

    /// Prompt tokens over TTFT less one step: what a step costs beside the prompt (scheduling, sampling, the way over the
    /// network) is in TTFT, too, and the median time between two events is a fair measure of it. Against llama-server's own
    /// times TTFT holds 4 to 19 ms more than the prefill where a step takes 2 to 17 ms (published runs).
    fn prefill_rate(&self) -> Figure {
        let ttft = self.ttft()?;
        let reading = self.step().map(|step| ttft - step).filter(|reading| *reading > 0.0).unwrap_or(ttft);
        let prompt = self.counts.prompt.ok_or("the engine did not count the prompt")?;
        match self.counts.cached {
            Some(0) => Ok(prompt as f64 / reading),
            Some(cached) => Err(format!("not cold: {cached} prompt tokens came from a cache")),
            None => Err("the engine does not say whether the prompt was cached".to_owned()),
        }
    }

    /// Median time between two events (s); `None` where there are none or they are not timed.
    fn step(&self) -> Option<f64> {
        let mut latencies = self.latencies();
        latencies.sort_by(f64::total_cmp);
        nearest_rank(&latencies, 0.5)
    }

    /// Tokens after the first event's tokens, and the time between the first and the last event (s).
    fn decoded(&self) -> Result<(u64, f64), String> {
        if let Some(reason) = self.untimed() {
            return Err(reason.to_owned());
        }
        if self.other_choices {
            return Err(OTHER_CHOICES.to_owned());
        }
        let [first, .., last] = self.events.as_slice() else {
            return Err(ONE_EVENT.to_owned());
        };
        let seconds = last.at_s - first.at_s;
        if seconds <= 0.0 {
            return Err(AT_ONCE.to_owned());
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
            (None, Some(_)) => Err(MORE_TOKENS.to_owned()),
            (None, None) => Err(UNCOUNTED.to_owned()),
        }
    }

    /// The event's own count is better than the total: the total may hold an end-of-turn token, which
    /// comes after the last event that carries text.
    fn last_tokens(&self, last: &TokenEvent) -> Result<u64, String> {
        last.tokens.or(self.counts.output).ok_or_else(|| UNCOUNTED.to_owned())
    }

    /// Times between the events (s); none where those are not the times of tokens.
    fn latencies(&self) -> Vec<f64> {
        let timed = if self.untimed().is_none() { self.events.as_slice() } else { &[] };
        timed.windows(2).map(|pair| pair[1].at_s - pair[0].at_s).collect()
    }
}

/// Whether the first event holds many tokens, and more than two later ones. Servers that send every so many tokens begin
/// no other way than they go on.
fn holds_more_than_later(first: &TokenEvent, later: &[TokenEvent]) -> bool {
    let held = first.tokens.unwrap_or(1);
    let pieces = later.len() as u64;
    let until = later.last().and_then(|event| event.tokens);
    let after = until.map_or(pieces, |until| until.saturating_sub(held));
    let like_later = pieces > 0 && held.saturating_mul(pieces) <= after.saturating_mul(2);
    held > FEW_AT_FIRST && !like_later
}

/// The client's figures of a conversation, one timeline a turn: TTFT and prefill rate of the first turn (the
/// later ones go on from the cache), the time of all requests together, decode rate and inter-token latency over
/// the tokens of all turns (never from one turn to the next). Turns of a single event, and those whose tokens were kept
/// back, have no part in the rate.
pub fn of_turns(turns: &[Timeline]) -> Vec<Measurement> {
    let mut latencies: Vec<f64> = turns.iter().flat_map(Timeline::latencies).collect();
    latencies.sort_by(f64::total_cmp);
    let no_latency = turns.iter().find_map(Timeline::untimed).unwrap_or(ONE_EVENT);
    let latency = |q: f64| nearest_rank(&latencies, q).ok_or_else(|| no_latency.to_owned());
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
    let (mut tokens, mut seconds) = (0_u64, 0.0);
    for turn in turns {
        match turn.decoded() {
            Ok((more, time)) => (tokens, seconds) = (tokens.saturating_add(more), seconds + time),
            Err(why) => reason = reason.or(Some(why)),
        }
    }
    match tokens {
        0 => Err(reason.unwrap_or_else(|| UNCOUNTED.to_owned())),
        _ if tokens < LEAST_TOKENS => Err(FEW_TOKENS.to_owned()),
        _ if seconds < LEAST_S => Err(AT_ONCE.to_owned()),
        _ => Ok(tokens as f64 / seconds),
    }
}

// None of them holds a number: reports count trials by reason.
const ONE_EVENT: &str = "fewer than two events carried tokens";
const UNCOUNTED: &str = "the engine did not count the tokens of the reply";
const HELD_BACK: &str = "many tokens came with the first one: the server had kept them back";
const FEW_EVENTS: &str =
    "many tokens came in few events, and the engine does not say how many the first one held";
const MORE_TOKENS: &str =
    "more tokens came than events, and the engine does not say how many the first one held";
const OTHER_CHOICES: &str = "the server sent several choices and counts the tokens of all of them together";
const FEW_TOKENS: &str = "too few tokens came after the first event for a rate";
const AT_ONCE: &str = "the tokens arrived at once, or within a few milliseconds";

#[cfg(test)]
mod tests {
    use super::*;

    fn timeline(events: &[(f64, Option<u64>)], output: Option<u64>) -> Timeline {
        Timeline {
            events: events.iter().map(|&(at_s, tokens)| TokenEvent { at_s, tokens }).collect(),
            counts: Counts { prompt: Some(100), output, cached: Some(0) },
            total_s: 9.0,
            other_choices: false,
        }
    }

    fn figure(timeline: &Timeline, name: &str) -> Figure {
        let all = timeline.measurements();
        let found = all.into_iter().find(|m| m.name == name).unwrap();
        found.value.ok_or_else(|| found.absent.unwrap().into())
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
        let events: Vec<_> = (0..5).map(|i| (1.0 + 0.5 * f64::from(i), None)).collect();
        assert_eq!(figure(&timeline(&events, Some(5)), metric::DECODE_TPS), Ok(2.0));
        let reason = figure(&timeline(&events, Some(6)), metric::DECODE_TPS).unwrap_err();
        assert_eq!(reason, MORE_TOKENS);
        assert!(figure(&timeline(&events, None), metric::DECODE_TPS).is_err());
    }

    #[test]
    fn no_rate_without_time_or_tokens() {
        assert!(figure(&timeline(&[(1.0, Some(1))], Some(1)), metric::DECODE_TPS).is_err());
        let at_once = [(1.0, Some(1)), (1.0, Some(2))];
        assert!(figure(&timeline(&at_once, Some(2)), metric::DECODE_TPS).is_err());
        let backwards = [(1.0, Some(4)), (2.0, Some(3))];
        assert!(
            figure(&timeline(&backwards, Some(5)), metric::DECODE_TPS).unwrap_err().contains("contradict")
        );
        assert!(figure(&timeline(&[], Some(0)), metric::TTFT_S).is_err());
    }

    #[test]
    fn no_rate_from_a_few_tokens_or_milliseconds() {
        let rate = |tokens: u64, seconds: f64| {
            let events = [(1.0, Some(1)), (1.0 + seconds, Some(1 + tokens))];
            figure(&timeline(&events, Some(1 + tokens)), metric::DECODE_TPS)
        };
        assert_eq!(rate(3, 1.0), Err(FEW_TOKENS.to_owned()));
        assert_eq!(rate(4, 1.0), Ok(4.0));
        assert_eq!(rate(100, 0.004), Err(AT_ONCE.to_owned()));
        assert_eq!(rate(100, 0.25), Ok(400.0));
    }

    /// 50 tokens of 20 ms that a parser keeps back: they come with the first event, 1.1 s after the request.
    #[test]
    fn a_reply_that_was_kept_back_has_no_time_to_its_first_token_and_no_rate() {
        let lump = timeline(&[(1.1, Some(50)), (1.102, Some(51))], Some(51));
        let more = timeline(&[(1.1, Some(50)), (1.12, Some(51)), (1.2, Some(55))], Some(55));
        // In several events, but all of them at once; and a server that counts at the end only.
        let spread: Vec<_> = (0..50).map(|i| (1.1 + 1e-5 * f64::from(i), Some(1 + i as u64))).collect();
        let spread = timeline(&spread, Some(50));
        let uncounted = timeline(&[(1.1, None), (1.2, None)], Some(51));
        for held in [lump, more, spread, uncounted] {
            for name in [metric::TTFT_S, metric::PREFILL_TPS, metric::DECODE_TPS, metric::ITL_P50_S] {
                let reason = figure(&held, name).unwrap_err();
                assert!(reason == HELD_BACK || reason == FEW_EVENTS, "{name}: {reason}");
            }
            assert_eq!(figure(&held, metric::TOTAL_S), Ok(9.0));
        }
        // The beginning of a call is kept back, the rest is not.
        let mut events = vec![(1.0, Some(12))];
        events.extend((1..=20).map(|i| (1.0 + 0.1 * f64::from(i), Some(12 + i as u64))));
        assert_eq!(figure(&timeline(&events, Some(32)), metric::TTFT_S), Err(HELD_BACK.to_owned()));
    }

    #[test]
    fn tokens_that_always_come_by_the_piece_are_timed_by_the_piece() {
        for size in [1, 4, 16] {
            let events: Vec<_> = (1..=5).map(|i| (0.5 * i as f64, Some(size * i))).collect();
            let pieces = timeline(&events, Some(5 * size));
            assert_eq!(figure(&pieces, metric::TTFT_S), Ok(0.5), "{size}");
            assert_eq!(figure(&pieces, metric::DECODE_TPS), Ok(2.0 * size as f64), "{size}");
        }
    }

    #[test]
    fn counts_of_several_choices_make_no_rate() {
        let events: Vec<_> = (0..9).map(|i| (1.0 + 0.1 * f64::from(i), Some(1 + i as u64))).collect();
        let several = Timeline { other_choices: true, ..timeline(&events, Some(9)) };
        assert_eq!(figure(&several, metric::DECODE_TPS), Err(OTHER_CHOICES.to_owned()));
        assert_eq!(figure(&several, metric::TTFT_S), Ok(1.0));
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
    fn a_step_is_taken_off_what_reading_the_prompt_took() {
        let events: Vec<_> = (0..9).map(|i| (0.5 + 0.1 * f64::from(i), Some(1 + i as u64))).collect();
        let rate = figure(&timeline(&events, Some(9)), metric::PREFILL_TPS).unwrap();
        assert!((rate - 100.0 / 0.4).abs() < 1e-6, "{rate}");
        // A prompt that is read faster than a step leaves nothing to take it from.
        let slow: Vec<_> = (0..9).map(|i| (0.05 + 0.1 * f64::from(i), Some(1 + i as u64))).collect();
        let rate = figure(&timeline(&slow, Some(9)), metric::PREFILL_TPS).unwrap();
        assert!((rate - 100.0 / 0.05).abs() < 1e-6, "{rate}");
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
}
