//! The section on the load phase.

use serde::Serialize;

use super::super::files::LOAD_FILE;
use super::super::svg::load_curve;
use super::super::text::{self, joined, or_none};
use crate::judge::analysis::summary::{
    LoadQualityRow, LoadRow, LoadServerRow, LoadSummary, Percentiles, Summary,
};
use crate::record::suite::LoadLimits;

/// Everything that the section shows.
#[derive(Serialize)]
pub(super) struct LoadView {
    words: String,
    limits: Option<String>,
    picture: Option<&'static str>,
    steps: Vec<StepView>,
    quality: Vec<QualityView>,
    servers: Vec<ServerView>,
}

#[derive(Serialize)]
struct StepView {
    setting: String,
    load: String,
    requests: String,
    failed: String,
    output: String,
    rate: String,
    within: String,
    goodput: String,
    peak: String,
    answered: String,
    ttft: String,
    gaps: String,
    itl: String,
    e2e: String,
}

#[derive(Serialize)]
struct QualityView {
    setting: String,
    task: String,
    crowd: String,
    quality: String,
    difference: String,
    verdict: String,
    p: String,
    identical: String,
    failed: u32,
}

#[derive(Serialize)]
struct ServerView {
    setting: String,
    memory: String,
    kv: String,
    warm_up: String,
    command: String,
}

/// The section; `None` without a load phase.
pub(super) fn view(summary: &Summary) -> Option<LoadView> {
    let load = summary.load.as_ref()?;
    Some(LoadView {
        words: words(load),
        limits: load.limits.as_ref().map(limits),
        picture: load_curve(summary).is_some().then_some(LOAD_FILE),
        steps: load.steps.iter().map(step).collect(),
        quality: load.quality.iter().map(quality).collect(),
        servers: load.servers.iter().map(server).collect(),
    })
}

/// What was sent to what.
fn words(load: &LoadSummary) -> String {
    let numbers = |all: &[u32]| {
        let shown: Vec<String> = all.iter().map(|tokens| text::tokens(*tokens)).collect();
        shown.join(" and ")
    };
    let prefix = match load.shared_prefix_tokens {
        0 => "no two of which begin alike".to_owned(),
        tokens => format!("which all begin with the same {} tokens", text::tokens(tokens)),
    };
    format!(
        "Every setting on a server of its own with {} slots of {} tokens. Prompts of {} tokens, {prefix}; replies of {} tokens.",
        load.slots,
        text::tokens(load.context),
        numbers(&load.prompt_tokens),
        numbers(&load.output_tokens),
    )
}

fn limits(limits: &LoadLimits) -> String {
    let named = [
        ("the first token within", limits.ttft_s),
        ("a later token within", limits.itl_s),
        ("all of it within", limits.e2e_s),
    ];
    joined(named.into_iter().filter_map(|(name, limit)| Some(format!("{name} {}", text::seconds(limit?)))))
}

fn step(row: &LoadRow) -> StepView {
    let number = |value: Option<f64>| or_none(value.map(text::significant));
    let requests = match &row.broke {
        Some(_) => "broken off".to_owned(),
        None => row.requests.to_string(),
    };
    let failed = match row.not_sent {
        0 => row.failed.to_string(),
        not_sent => format!("{} ({not_sent} not sent)", row.failed),
    };
    let behind = if row.falls_behind { " (falls behind)" } else { "" };
    StepView {
        setting: text::code(&row.setting),
        load: format!("{}{behind}", row.arrivals.words()),
        requests,
        failed,
        output: number(row.output_tps),
        rate: number(row.requests_per_s),
        within: text::estimate(row.within_limits, text::percent),
        goodput: number(row.goodput_per_s),
        peak: row.peak_in_flight.to_string(),
        answered: text::tokens(row.e2e_s.n),
        ttft: percentiles(&row.ttft_s),
        gaps: text::tokens(row.itl_s.n),
        itl: percentiles(&row.itl_s),
        e2e: percentiles(&row.e2e_s),
    }
}

/// `120 ms / 150 ms / 200 ms / –`, and a dash where there is none of them.
fn percentiles(of: &Percentiles) -> String {
    if of.all().iter().all(Option::is_none) {
        return text::NONE.to_owned();
    }
    let shown = of.all().map(|value| or_none(value.map(text::seconds)));
    shown.join(" / ")
}

fn quality(row: &LoadQualityRow) -> QualityView {
    let arm = row.arm.map_or_else(String::new, |arm| format!(" ({arm})"));
    let verdict = match (&row.unscored, row.streams) {
        (Some(reason), _) if row.quality.is_none() => format!("unscored: {}", text::markdown(reason)),
        (_, 1) => "noise floor".to_owned(),
        _ => text::verdict(row.verdict).to_owned(),
    };
    QualityView {
        setting: text::code(&row.setting),
        task: format!("{}{arm}, {}", text::markdown(&row.task), text::tokens(row.context)),
        crowd: if row.streams == 1 { "alone again".to_owned() } else { row.streams.to_string() },
        quality: text::estimate(row.quality, text::score),
        difference: text::estimate(row.difference, text::signed_points),
        verdict,
        p: or_none(row.p_holm.map(text::significant)),
        identical: or_none(row.identical.map(text::percent)),
        failed: row.failed,
    }
}

fn server(row: &LoadServerRow) -> ServerView {
    let warm_up = match (&row.void, row.warm_up) {
        (Some(_), _) => "void".to_owned(),
        (None, None) => text::NONE.to_owned(),
        (None, Some(warm_up)) => {
            let steady = if warm_up.steady { "steady" } else { "not steady" };
            format!("{steady} after {} rounds, {}", warm_up.rounds, text::seconds(warm_up.seconds))
        }
    };
    ServerView {
        setting: text::code(&row.setting),
        memory: or_none(row.peak_bytes.map(text::bytes)),
        kv: or_none(row.kv_bytes.map(text::bytes)),
        warm_up,
        command: text::fenced(&row.command, "sh"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::render_markdown;
    use crate::judge::analysis::summary::{Estimate, LoadSummary, Verdict};
    use crate::judge::analysis::testing;
    use crate::record::journal::loadtest::WarmUp;
    use crate::record::suite::Arrivals;

    use super::*;

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
}
