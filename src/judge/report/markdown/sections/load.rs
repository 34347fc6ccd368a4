use super::super::render_markdown;
use crate::judge::analysis::summary::{
    CapacityCrowd, CapacityEnd, CapacityQuality, CapacityRow, CapacityStep, Estimate, LoadCapacity,
    LoadLimit, LoadQualityRow, LoadRow, LoadServerRow, LoadSummary, MissedLimit, Percentiles, Verdict,
};
use crate::judge::analysis::testing;
use crate::judge::report::{Look, load_curve, table};
use crate::record::journal::loadtest::WarmUp;
use crate::record::suite::{Arrivals, LoadLimits, LoadSearch, SearchOver};

fn load() -> LoadSummary {
    let of = |n: u32, scale: f64| Percentiles {
        n,
        p50: Some(0.12 * scale),
        p90: Some(0.2 * scale),
        p95: Some(0.25 * scale),
        p99: (n >= 100).then_some(0.5 * scale),
    };
    let row = LoadRow {
        setting: "a|b".into(),
        arrivals: Arrivals::Closed(4),
        visit: 0,
        broke: None,
        requests: 100,
        failed: 2,
        not_sent: 0,
        error: Some("HTTP 500: <b>no</b>".into()),
        window_s: Some(60.0),
        output_tps: Some(123.4),
        prompt_tps: Some(500.0),
        requests_per_s: Some(0.96),
        ttft_s: of(98, 1.0),
        itl_s: of(9_000, 0.1),
        e2e_s: of(98, 20.0),
        late_s: of(100, 0.001),
        within_limits: Some(Estimate { value: 0.9, low: Some(0.83), high: Some(0.94), n: 100 }),
        goodput_per_s: Some(0.87),
        peak_in_flight: 4,
        backlog: None,
        falls_behind: false,
        cached: Some(0.0),
        short: 0,
        untimed: 0,
        untimed_reason: None,
    };
    let open = LoadRow {
        arrivals: Arrivals::Poisson(0.5),
        not_sent: 7,
        failed: 0,
        falls_behind: true,
        backlog: Some(40),
        peak_in_flight: 256,
        ..row.clone()
    };
    let broke = LoadRow {
        arrivals: Arrivals::Closed(8),
        broke: Some("the server died".into()),
        requests: 0,
        failed: 0,
        output_tps: None,
        requests_per_s: None,
        ttft_s: Percentiles::default(),
        itl_s: Percentiles::default(),
        e2e_s: Percentiles::default(),
        within_limits: None,
        goodput_per_s: None,
        peak_in_flight: 0,
        ..row.clone()
    };
    let estimate = |value, low, high| Some(Estimate { value, low: Some(low), high: Some(high), n: 40 });
    let items = LoadQualityRow {
        setting: "a|b".into(),
        task: "retrieval/niah_multikey_2".into(),
        arm: None,
        context: 1024,
        streams: 4,
        quality: estimate(0.8, 0.65, 0.9),
        difference: estimate(-0.025, -0.13, 0.07),
        p_holm: Some(1.0),
        verdict: Verdict::NotSeparable,
        identical: Some(0.7),
        failed: 1,
        unscored: None,
    };
    let alone = LoadQualityRow {
        streams: 1,
        p_holm: None,
        verdict: Verdict::Reference,
        identical: Some(1.0),
        failed: 0,
        ..items.clone()
    };
    LoadSummary {
        context: 1024,
        slots: 8,
        prompt_tokens: vec![128, 512],
        output_tokens: vec![64],
        shared_prefix_tokens: 0,
        limits: Some(LoadLimits { ttft_s: Some(0.5), itl_s: Some(0.05), e2e_s: None }),
        servers: vec![LoadServerRow {
            setting: "a|b".into(),
            void: None,
            warm_up: Some(WarmUp { rounds: 3, seconds: 12.0, steady: true }),
            peak_bytes: Some(300_000_000),
            kv_bytes: None,
            command: "llama-server -np 8".into(),
        }],
        capacity: None,
        steps: vec![row, broke, open],
        quality: vec![alone, items],
    }
}

#[test]
fn the_section_says_how_settings_serve_many_at_once() {
    let mut summary = testing::summary();
    summary.load = Some(load());
    let report = render_markdown(&summary, None).unwrap();
    let start = report.find("## Many requests at once").unwrap();
    let length = report[start..].find("\n## Noise floor").unwrap();
    insta::assert_snapshot!(&report[start..start + length]);
}

/// A search that the limits stopped, and one whose answers got worse first.
fn capacity() -> LoadCapacity {
    let step = |streams, share, missed: Vec<MissedLimit>| CapacityStep {
        arrivals: Arrivals::Closed(streams),
        visits: 2,
        share,
        requests: 80,
        failed: 0,
        behind: 0,
        broke: None,
        missed,
    };
    let late = MissedLimit { limit: LoadLimit::Ttft, allowed_s: 0.5, reached_s: Some(0.81) };
    let slow = MissedLimit { limit: LoadLimit::Itl, allowed_s: 0.05, reached_s: None };
    let crowd = |streams, value, verdict| CapacityCrowd {
        arrivals: Arrivals::Closed(streams),
        streams,
        difference: Some(Estimate { value, low: Some(value - 0.1), high: Some(value + 0.1), n: 40 }),
        verdict: Some(verdict),
    };
    let stopped = CapacityRow {
        setting: "a|b".into(),
        held: Some(step(9, 0.97, Vec::new())),
        failed: Some(step(10, 0.81, vec![late, slow])),
        end: CapacityEnd::Found,
        quality: Some(CapacityQuality {
            held: Some(crowd(9, -0.025, Verdict::NotSeparable)),
            failed: None,
            end: CapacityEnd::Top,
        }),
    };
    let top = CapacityRow {
        setting: "c".into(),
        held: Some(step(64, 1.0, Vec::new())),
        failed: None,
        end: CapacityEnd::Top,
        quality: Some(CapacityQuality {
            held: Some(crowd(16, 0.0, Verdict::NoWorse)),
            failed: Some(crowd(17, -0.3, Verdict::Worse)),
            end: CapacityEnd::Found,
        }),
    };
    let broke = CapacityStep { broke: Some("the server *died*".into()), ..step(1, 0.0, Vec::new()) };
    let none = CapacityRow {
        setting: "d".into(),
        held: None,
        failed: Some(broke),
        end: CapacityEnd::Bottom,
        quality: Some(CapacityQuality { held: None, failed: None, end: CapacityEnd::Bottom }),
    };
    let search = LoadSearch { over: SearchOver::Streams, from: 1.0, to: 64.0, within: 0.1, goal: 0.95 };
    LoadCapacity { search, rows: vec![stopped, top, none] }
}

#[test]
fn a_search_says_how_far_every_setting_goes_and_what_stopped_it() {
    let mut summary = testing::summary();
    summary.load = Some(LoadSummary { capacity: Some(capacity()), ..load() });
    let report = render_markdown(&summary, None).unwrap();
    let start = report.find("### The highest load").unwrap();
    let length = report[start..].find("\n### Every step").unwrap();
    insta::assert_snapshot!(&report[start..start + length]);
}

#[test]
fn the_terminal_has_the_highest_loads_or_every_step() {
    let mut summary = testing::summary();
    let mut shown = String::new();
    for capacity in [None, Some(capacity())] {
        summary.load = Some(LoadSummary { capacity, ..load() });
        // There are no cells, and no row without a cell.
        let text = table(&summary, Look::of(false, false, None));
        shown += &format!("{}\n\n", &text[..text.find("\n\n").unwrap()]);
    }
    insta::assert_snapshot!(shown);
}

#[test]
fn the_picture_has_a_line_for_every_setting_with_a_ladder() {
    let mut summary = testing::summary();
    assert_eq!(load_curve(&summary), None);
    let mut load = load();
    load.steps.truncate(1);
    summary.load = Some(load.clone());
    assert_eq!(load_curve(&summary), None, "one point is no curve");
    let more = LoadRow {
        arrivals: Arrivals::Closed(8),
        output_tps: Some(150.0),
        setting: "a|b".into(),
        ..load.steps[0].clone()
    };
    load.steps.push(more);
    summary.load = Some(load);
    let picture = load_curve(&summary).unwrap();
    assert_eq!(picture.matches("<polyline").count(), 1);
    assert!(!picture.contains("NaN") && picture.contains("a|b"), "{picture}");
}
