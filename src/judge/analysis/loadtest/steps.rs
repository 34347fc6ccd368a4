//! One step of one setting in figures.

use std::collections::BTreeMap;

use crate::judge::analysis::summary::{Estimate, LoadRow, Percentiles};
use crate::judge::stats::wilson;
use crate::quantile::nearest_rank;
use crate::record::capacity::{SteadyPart, falls_behind, keeps};
use crate::record::journal::loadtest::{LoadtestRequest, LoadtestStep};
use crate::record::suite::{Arrivals, LoadLimits, LoadSpec};

/// The figures of a step.
pub(super) fn row(step: &LoadtestStep, spec: &LoadSpec, confidence: f64) -> LoadRow {
    let window = SteadyPart::of(step);
    let counted: Vec<&LoadtestRequest> = step.requests.iter().filter(|request| request.counts).collect();
    // What was broken off shows nothing.
    let counted = if step.broke.is_some() { Vec::new() } else { counted };
    let done: Vec<&LoadtestRequest> = counted.iter().copied().filter(|request| request.is_done()).collect();
    let limits = spec.limits.unwrap_or_default();
    let since_due = |of: fn(&LoadtestRequest) -> Option<f64>| {
        percentiles(done.iter().filter_map(|request| Some(of(request)? - request.due_s)))
    };
    let timed = done.iter().filter(|request| request.untimed.is_none());
    let gaps = timed.flat_map(|request| request.gaps_us.iter().map(|gap| f64::from(*gap) / 1e6));
    let late = counted.iter().filter_map(|request| Some(request.sent_s? - request.due_s));
    let backlog =
        window.filter(|_| matches!(step.arrivals, Arrivals::Poisson(_))).map(|part| part.backlog(step));
    LoadRow {
        setting: step.setting.clone(),
        arrivals: step.arrivals,
        visit: step.visit,
        broke: step.broke.clone(),
        requests: counted.len() as u32,
        failed: counted.iter().filter(|request| request.failed.is_some()).count() as u32,
        not_sent: counted.iter().filter(|request| request.sent_s.is_none()).count() as u32,
        error: commonest(counted.iter().filter_map(|request| request.error.as_deref())),
        window_s: window.map(SteadyPart::seconds),
        output_tps: window.map(|window| output_rate(window, step)),
        prompt_tps: window.and_then(|window| prompt_rate(window, step)),
        requests_per_s: window.map(|window| rate(window, step, |_| true)),
        ttft_s: since_due(first_token),
        itl_s: percentiles(gaps),
        e2e_s: since_due(|request| request.end_s),
        late_s: percentiles(late),
        within_limits: spec.limits.and_then(|limits| share_within(&counted, &limits, confidence)),
        goodput_per_s: window
            .filter(|_| spec.limits.is_some())
            .map(|window| rate(window, step, |request| keeps(request, &limits))),
        peak_in_flight: step.peak_in_flight,
        backlog,
        falls_behind: backlog.is_some_and(|grown| falls_behind(grown, counted.len(), spec.slots)),
        cached: cached(&done),
        short: done.iter().filter(|request| is_short(request, spec)).count() as u32,
        untimed: done.iter().filter(|request| request.untimed.is_some()).count() as u32,
        untimed_reason: commonest(done.iter().filter_map(|request| request.untimed.as_deref())),
    }
}

/// When its first token arrived; `None` where that is not known.
fn first_token(request: &LoadtestRequest) -> Option<f64> {
    request.first_s.filter(|_| request.untimed.is_none())
}

/// Answers in the steady part that pass, per second.
fn rate(window: SteadyPart, step: &LoadtestStep, passes: impl Fn(&LoadtestRequest) -> bool) -> f64 {
    let ended = step.requests.iter().filter(|request| {
        request.is_done() && request.end_s.is_some_and(|end| window.holds(end)) && passes(request)
    });
    ended.count() as f64 / window.seconds()
}

/// Tokens that arrived in it per second. An event of a reply counts as its mean number of tokens.
fn output_rate(window: SteadyPart, step: &LoadtestStep) -> f64 {
    step.requests.iter().map(|request| tokens(window, request)).sum::<f64>() / window.seconds()
}

fn tokens(window: SteadyPart, request: &LoadtestRequest) -> f64 {
    let Some((first, output)) = request.first_s.zip(request.output_tokens) else { return 0.0 };
    let mut at = first;
    let mut inside = u32::from(window.holds(at));
    for gap in &request.gaps_us {
        at += f64::from(*gap) / 1e6;
        inside += u32::from(window.holds(at));
    }
    f64::from(inside) * output as f64 / (request.gaps_us.len() + 1) as f64
}

/// Prompt tokens that were read, by the moment of the first token; `None` when the engine does not count them.
fn prompt_rate(window: SteadyPart, step: &LoadtestStep) -> Option<f64> {
    let inside =
        step.requests.iter().filter(|request| request.first_s.is_some_and(|first| window.holds(first)));
    let read: Option<Vec<u64>> = inside
        .map(|request| Some(request.prompt_tokens?.saturating_sub(request.cached_tokens.unwrap_or(0))))
        .collect();
    Some(read?.iter().sum::<u64>() as f64 / window.seconds())
}

pub(super) fn percentiles(values: impl Iterator<Item = f64>) -> Percentiles {
    let mut ascending: Vec<f64> = values.collect();
    ascending.sort_unstable_by(f64::total_cmp);
    let n = ascending.len();
    // The small term is for rounding: 10 observations have a 90th percentile.
    let at = |q: f64| nearest_rank(&ascending, q).filter(|_| n as f64 * (1.0 - q) + 1e-9 >= 1.0);
    Percentiles { n: n as u32, p50: at(0.5), p90: at(0.9), p95: at(0.95), p99: at(0.99) }
}

fn share_within(counted: &[&LoadtestRequest], limits: &LoadLimits, confidence: f64) -> Option<Estimate> {
    let n = counted.len() as f64;
    let within = counted.iter().filter(|request| keeps(request, limits)).count() as f64;
    let (low, high) = wilson(within, n, confidence)?;
    Some(Estimate { value: within / n, low: Some(low), high: Some(high), n: counted.len() as u32 })
}

fn commonest<'a>(words: impl Iterator<Item = &'a str>) -> Option<String> {
    let mut counts: BTreeMap<&str, u32> = BTreeMap::new();
    for words in words {
        *counts.entry(words).or_default() += 1;
    }
    let most = counts.into_iter().max_by_key(|(_, count)| *count);
    most.map(|(words, _)| words.to_owned())
}

fn cached(done: &[&LoadtestRequest]) -> Option<f64> {
    let counts: Option<Vec<(u64, u64)>> =
        done.iter().map(|request| request.cached_tokens.zip(request.prompt_tokens)).collect();
    let counts = counts?;
    let (cached, all) = counts.iter().fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
    (all > 0).then(|| cached as f64 / all as f64)
}

fn is_short(request: &LoadtestRequest, spec: &LoadSpec) -> bool {
    let (_, asked) = spec.sizes(request.number);
    request.output_tokens.is_some_and(|output| output < u64::from(asked))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::record::Stage;

    pub(in super::super) fn spec() -> LoadSpec {
        LoadSpec {
            context: 1024,
            slots: 2,
            concurrency: vec![1, 2],
            rates: Vec::new(),
            search: None,
            requests: Some(4),
            duration_s: None,
            prompt_tokens: vec![100],
            output_tokens: vec![11],
            shared_prefix_tokens: 0,
            max_in_flight: 8,
            warm_up_s: 1.0,
            limits: None,
            quality: None,
        }
    }

    /// Due at `due`, sent 10 ms later, first token 200 ms after it was due, ten more each 50 ms.
    pub(in super::super) fn request(number: u32, due: f64) -> LoadtestRequest {
        LoadtestRequest {
            number,
            counts: number > 0,
            due_s: due,
            sent_s: Some(due + 0.01),
            first_s: Some(due + 0.2),
            end_s: Some(due + 0.75),
            gaps_us: vec![50_000; 10],
            prompt_tokens: Some(100),
            output_tokens: Some(11),
            cached_tokens: Some(0),
            untimed: None,
            failed: None,
            error: None,
        }
    }

    /// One stream, each request when the last has ended; the first brings the load up.
    pub(in super::super) fn step(requests: u32) -> LoadtestStep {
        LoadtestStep {
            setting: "a".into(),
            context: 1024,
            launch: 0,
            arrivals: Arrivals::Closed(1),
            visit: 0,
            started: String::new(),
            from_s: Some(0.75),
            until_s: Some(0.75 * f64::from(requests)),
            requests: (0..=requests).map(|number| request(number, 0.75 * f64::from(number))).collect(),
            pressure: 0,
            peak_in_flight: 1,
            broke: None,
            measurements: Vec::new(),
        }
    }

    fn near(found: Option<f64>, expected: f64) {
        let found = found.unwrap();
        assert!((found - expected).abs() < 1e-6, "{found} is not {expected}");
    }

    #[test]
    fn rates_are_those_of_the_steady_part() {
        let row = row(&step(5), &spec(), 0.95);
        assert_eq!((row.requests, row.failed, row.not_sent, row.short), (5, 0, 0, 0));
        // Four whole requests of 11 tokens and 100 prompt tokens in 3 s.
        near(row.window_s, 3.0);
        near(row.requests_per_s, 4.0 / 3.0);
        near(row.output_tps, 44.0 / 3.0);
        near(row.prompt_tps, 400.0 / 3.0);
        near(row.ttft_s.p50, 0.2);
        near(row.itl_s.p95, 0.05);
        near(row.e2e_s.p50, 0.75);
        near(row.late_s.p50, 0.01);
        assert_eq!((row.backlog, row.falls_behind, row.within_limits), (None, false, None));
    }

    #[test]
    fn percentiles_need_observations_above_them() {
        let of = |n: u32| percentiles((1..=n).map(f64::from));
        assert_eq!(of(0), Percentiles::default());
        assert_eq!((of(1).p50, of(2).p50), (None, Some(1.0)));
        assert_eq!((of(9).p90, of(10).p90), (None, Some(9.0)));
        assert_eq!((of(19).p95, of(20).p95), (None, Some(19.0)));
        assert_eq!((of(99).p99, of(100).p99), (None, Some(99.0)));
    }

    #[test]
    fn goodput_counts_what_keeps_every_limit_and_nothing_that_failed() {
        let mut step = step(5);
        step.requests[2].first_s = Some(step.requests[2].due_s + 0.3);
        step.requests[3].gaps_us = vec![60_000; 10];
        step.requests[4].failed = Some(Stage::Stream);
        let of = |limits| row(&step, &LoadSpec { limits: Some(limits), ..spec() }, 0.95);
        let all = of(LoadLimits { ttft_s: Some(0.25), itl_s: Some(0.055), e2e_s: Some(1.0) });
        near(all.within_limits.map(|share| share.value), 0.4);
        // Of the answers in the steady part (1, 2 and 3) only the first keeps them.
        near(all.goodput_per_s, 1.0 / 3.0);
        let late = of(LoadLimits { ttft_s: Some(0.25), ..LoadLimits::default() });
        near(late.within_limits.map(|share| share.value), 0.6);
        assert_eq!((late.failed, late.requests), (1, 5));
    }

    #[test]
    fn replies_that_were_kept_back_are_in_no_percentile_of_tokens() {
        let mut kept = step(30);
        for request in &mut kept.requests[1..=3] {
            *request = LoadtestRequest {
                first_s: request.end_s.map(|end| end - 0.001),
                gaps_us: vec![1],
                untimed: Some("kept back".into()),
                ..request.clone()
            };
        }
        let spec =
            LoadSpec { limits: Some(LoadLimits { itl_s: Some(0.055), ..LoadLimits::default() }), ..spec() };
        let row = row(&kept, &spec, 0.95);
        assert_eq!((row.ttft_s.n, row.itl_s.n, row.e2e_s.n), (27, 270, 30));
        near(row.ttft_s.p95, 0.2);
        near(row.itl_s.p50, 0.05);
        assert_eq!((row.untimed, row.untimed_reason.as_deref()), (3, Some("kept back")));
        // 0.74 s for 11 tokens: each took up to 74 ms, and nobody can say that it was less.
        near(row.within_limits.map(|share| share.value), 0.9);
    }

    #[test]
    fn a_backlog_that_grows_says_that_the_server_falls_behind() {
        let mut step = step(30);
        step.arrivals = Arrivals::Poisson(4.0);
        let end = step.until_s.unwrap();
        for (at, request) in step.requests.iter_mut().enumerate() {
            request.end_s = request.end_s.map(|_| 2.0 * at as f64);
        }
        let late = row(&step, &spec(), 0.95);
        assert!(late.falls_behind && late.backlog.unwrap() > 15, "{:?} in {end} s", late.backlog);
        step.requests.iter_mut().for_each(|request| request.end_s = Some(request.due_s + 0.75));
        assert!(!row(&step, &spec(), 0.95).falls_behind);
    }

    #[test]
    fn what_was_not_sent_or_broken_off_has_no_latency() {
        let mut step = step(5);
        step.requests[5] = LoadtestRequest {
            sent_s: None,
            first_s: None,
            end_s: None,
            gaps_us: Vec::new(),
            output_tokens: None,
            ..step.requests[5].clone()
        };
        let unsent = row(&step, &spec(), 0.95);
        assert_eq!((unsent.not_sent, unsent.e2e_s.n, unsent.failed), (1, 4, 0));
        step.broke = Some("died".into());
        let broke = row(&step, &spec(), 0.95);
        assert_eq!((broke.requests, broke.output_tps, broke.ttft_s), (0, None, Percentiles::default()));
    }
}
