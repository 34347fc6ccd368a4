//! What a step of the load phase came to: which of its requests keep the limits, and how many were under way.

use crate::record::journal::loadtest::{LoadtestRequest, LoadtestStep};
use crate::record::suite::{Arrivals, LoadLimits, LoadSpec};

/// A backlog that grows by more than this share of the requests is no chance.
const BEHIND: f64 = 0.1;

/// The part of a step in which the load was full, longer than nothing (s since its beginning).
#[derive(Debug, Clone, Copy)]
pub struct SteadyPart {
    /// From when on requests counted.
    pub from: f64,
    /// When the last request that counts was due.
    pub until: f64,
}

impl SteadyPart {
    /// That of a step; `None` when it was broken off or has none.
    pub fn of(step: &LoadtestStep) -> Option<Self> {
        let part = Self { from: step.from_s?, until: step.until_s? };
        (step.broke.is_none() && part.until > part.from).then_some(part)
    }

    /// How long it is (s).
    pub fn seconds(self) -> f64 {
        self.until - self.from
    }

    /// Whether a moment (s) lies in it.
    pub fn holds(self, at: f64) -> bool {
        self.from < at && at <= self.until
    }

    /// By how many the requests under way grew: those that were due less those that ended, whatever became of them.
    pub fn backlog(self, step: &LoadtestStep) -> i64 {
        let sent = step.requests.iter().filter(|request| request.sent_s.is_some());
        let due = sent.clone().filter(|request| self.holds(request.due_s)).count() as i64;
        let ended = sent.filter(|request| request.end_s.is_some_and(|end| self.holds(end))).count() as i64;
        due - ended
    }

    /// Requests under way on average.
    fn under_way(self, step: &LoadtestStep) -> f64 {
        let seconds = |request: &LoadtestRequest| {
            let (from, until) = (request.sent_s?.max(self.from), request.end_s?.min(self.until));
            Some((until - from).max(0.0))
        };
        step.requests.iter().filter_map(seconds).sum::<f64>() / self.seconds()
    }
}

/// Whether a server falls behind whose backlog grew by so many while so many requests counted.
pub fn falls_behind(backlog: i64, requests: usize, slots: u16) -> bool {
    backlog > i64::from(slots) && backlog as f64 > BEHIND * requests as f64
}

/// Whether the server fell behind in a step: in an open loop alone, as streams wait for it.
pub fn is_behind(step: &LoadtestStep, slots: u16) -> bool {
    let counted = step.requests.iter().filter(|request| request.counts).count();
    let part = SteadyPart::of(step).filter(|_| matches!(step.arrivals, Arrivals::Poisson(_)));
    part.is_some_and(|part| falls_behind(part.backlog(step), counted, slots))
}

/// Whether a request was answered and keeps all limits. Where its tokens were kept back, their latest possible times
/// are what counts.
pub fn keeps(request: &LoadtestRequest, limits: &LoadLimits) -> bool {
    let since_due = |at: Option<f64>| at.map(|at| at - request.due_s);
    let within = |value: Option<f64>, limit: Option<f64>| {
        limit.is_none_or(|limit| value.is_some_and(|value| value <= limit))
    };
    request.is_done()
        && within(since_due(request.first_s), limits.ttft_s)
        && within(token_s(request), limits.itl_s)
        && within(since_due(request.end_s), limits.e2e_s)
}

/// Mean time of a token after the first (s), whatever number of tokens an event holds; 0 where there was none. Of a reply
/// that was kept back its whole time.
pub fn token_s(request: &LoadtestRequest) -> Option<f64> {
    let later = request.output_tokens?.saturating_sub(1);
    if later == 0 {
        return Some(0.0);
    }
    let seconds: f64 = match &request.untimed {
        Some(_) => request.end_s? - request.sent_s?,
        None => request.gaps_us.iter().map(|gap| f64::from(*gap) / 1e6).sum(),
    };
    Some(seconds / later as f64)
}

/// The share (0..1) of a step's requests that were answered and keep the limits. None of a step that broke off or whose
/// server falls behind: its latencies grow with its length. `None`: nothing was sent at all, as of a server that did not
/// start.
pub fn share_kept(step: &LoadtestStep, spec: &LoadSpec) -> Option<f64> {
    if step.broke.is_some() {
        return (!step.requests.is_empty()).then_some(0.0);
    }
    if is_behind(step, spec.slots) {
        return Some(0.0);
    }
    let counted: Vec<&LoadtestRequest> = step.requests.iter().filter(|request| request.counts).collect();
    let limits = spec.limits.unwrap_or_default();
    let kept = counted.iter().filter(|request| keeps(request, &limits)).count();
    Some(kept as f64 / counted.len().max(1) as f64)
}

/// With how many under way the server worked in a step: the streams, or in an open loop the mean number of requests
/// under way, at most the slots. It is the crowd that cases are asked in.
pub fn crowd(step: &LoadtestStep, slots: u16) -> u32 {
    match step.arrivals {
        Arrivals::Closed(streams) => streams,
        Arrivals::Poisson(_) => {
            let mean = SteadyPart::of(step).map_or(1.0, |part| part.under_way(step));
            (mean.round() as u32).clamp(1, slots.max(1).into())
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::record::Stage;

    pub(in super::super) fn spec() -> LoadSpec {
        LoadSpec {
            context: 512,
            slots: 16,
            concurrency: Vec::new(),
            rates: Vec::new(),
            search: None,
            requests: Some(10),
            duration_s: None,
            prompt_tokens: vec![64],
            output_tokens: vec![11],
            shared_prefix_tokens: 0,
            max_in_flight: 64,
            warm_up_s: 0.0,
            limits: Some(LoadLimits { ttft_s: Some(0.5), itl_s: None, e2e_s: Some(2.0) }),
            quality: None,
        }
    }

    /// Twenty requests, a tenth of a second apart, that take a second each; the last ten count, and `kept` of these have
    /// their first token in time.
    pub(in super::super) fn step(arrivals: Arrivals, kept: u32) -> LoadtestStep {
        let request = |number: u32| {
            let due_s = f64::from(number) / 10.0;
            LoadtestRequest {
                number,
                counts: number >= 10,
                due_s,
                sent_s: Some(due_s),
                first_s: Some(due_s + if number < 10 + kept { 0.2 } else { 0.9 }),
                end_s: Some(due_s + 1.0),
                gaps_us: vec![10_000; 10],
                prompt_tokens: Some(64),
                output_tokens: Some(11),
                cached_tokens: Some(0),
                untimed: None,
                failed: None,
                error: None,
            }
        };
        LoadtestStep {
            setting: "a".into(),
            context: 512,
            launch: 0,
            arrivals,
            visit: 0,
            started: String::new(),
            from_s: Some(1.0),
            until_s: Some(1.9),
            requests: (0..20).map(request).collect(),
            pressure: 0,
            peak_in_flight: 10,
            broke: None,
            measurements: Vec::new(),
        }
    }

    #[test]
    fn a_share_is_of_the_requests_that_count() {
        let of = |step: &LoadtestStep| share_kept(step, &spec());
        let mut plain = step(Arrivals::Closed(10), 8);
        assert_eq!(of(&plain), Some(0.8));
        plain.requests[10].failed = Some(Stage::Stream);
        assert_eq!(of(&plain), Some(0.7));
        let unlimited = LoadSpec { limits: None, ..spec() };
        assert_eq!(share_kept(&plain, &unlimited), Some(0.9), "without limits an answer is enough");
    }

    #[test]
    fn what_broke_off_or_falls_behind_keeps_nothing() {
        let broke = LoadtestStep { broke: Some("died".into()), ..step(Arrivals::Closed(10), 10) };
        assert_eq!(share_kept(&broke, &spec()), Some(0.0));
        let never = LoadtestStep { requests: Vec::new(), ..broke };
        assert_eq!(share_kept(&never, &spec()), None);
        let mut behind = step(Arrivals::Poisson(10.0), 10);
        assert!(!is_behind(&behind, 2));
        behind.requests.iter_mut().for_each(|request| request.end_s = Some(9.0));
        assert!(is_behind(&behind, 2) && !is_behind(&behind, 16));
        assert_eq!(share_kept(&behind, &LoadSpec { slots: 2, ..spec() }), Some(0.0));
        behind.arrivals = Arrivals::Closed(10);
        assert!(!is_behind(&behind, 2), "streams wait");
    }

    #[test]
    fn the_crowd_of_a_rate_is_what_was_under_way_up_to_the_slots() {
        let open = step(Arrivals::Poisson(10.0), 10);
        assert_eq!((crowd(&open, 64), crowd(&open, 4)), (10, 4));
        assert_eq!(crowd(&step(Arrivals::Closed(7), 10), 4), 7);
    }
}
