use super::super::render_markdown;
use crate::judge::analysis::summary::{
    AcceptanceRow, DivergenceExample, DivergenceRow, DivergenceVerdict, Estimate, FigureRow, KldBand,
    SurvivalPoint,
};
use crate::judge::analysis::testing;

fn estimate(value: f64) -> Estimate {
    Estimate { value, low: Some(value / 2.0), high: Some(value * 2.0), n: 20 }
}

fn divergence_row(setting: &str, verdict: DivergenceVerdict) -> DivergenceRow {
    DivergenceRow {
        task: "coherence/greedy_divergence".into(),
        setting: setting.into(),
        context: 4096,
        parted: estimate(0.25),
        median_first: Some(41.0),
        survival: vec![SurvivalPoint { token: 16, share: 0.9 }],
        p_holm: (verdict != DivergenceVerdict::Noise).then_some(0.0004),
        verdict,
        draft_acceptance: Some(0.5),
        by_acceptance: vec![AcceptanceRow { from: 0.5, to: 0.8, replies: 7, parted: 2 }],
        example: Some(DivergenceExample {
            index: 3,
            token: 17,
            before: "said the | <b>".into(),
            setting: "\u{1b}[31mcat".into(),
            reference: String::new(),
        }),
    }
}

#[test]
fn coherence_is_reported_and_model_text_is_harmless() {
    let mut summary = testing::summary();
    summary.cells = vec![testing::cell("F16 kv=f16", 4096), testing::cell("F16 kv=q4_0", 4096)];
    summary.kld_bands = vec![KldBand {
        setting: "F16 kv=q4_0".into(),
        context: 4096,
        from: 895,
        to: 1022,
        mean: estimate(0.02),
        median: estimate(0.01),
        p99: estimate(0.2),
        p999: estimate(0.4),
        rms_delta_p: estimate(0.05),
        top1_agreement: estimate(0.4),
        perplexity: estimate(12.0),
        positions: 256,
    }];
    summary.divergence = vec![
        divergence_row("F16 kv=f16", DivergenceVerdict::Noise),
        divergence_row("F16 kv=q4_0", DivergenceVerdict::BeyondNoise),
    ];
    let row = |setting: &str, replicate, difference| FigureRow {
        task: "coherence/degeneration".into(),
        arm: None,
        figure: "loop".into(),
        setting: setting.into(),
        context: 4096,
        replicate,
        value: estimate(0.3),
        difference,
    };
    summary.figures = vec![row("F16 kv=f16", 0, None), row("F16 kv=q4_0", 0, Some(estimate(0.1)))];
    let report = render_markdown(&summary, None).unwrap();
    for line in [
        "| `F16 kv=q4_0` | 895–1,022 | 0.0200 [0.0100, 0.0400] |",
        "| 4,096 | `F16 kv=f16` again | 25% [12%, 50%] of 20 | 41.0 | 16: 90% | 50% | this is the noise | – |",
        "| beyond it | < 0.001 |",
        "| 50%–80% | 7 | 2 |",
        "| said the &#124; &lt;b&gt; |",
        "| (ended) |",
        "| `F16 kv=q4_0` | 0.300 (+0.100 [+0.0500, +0.200]) |",
    ] {
        assert!(report.contains(line), "{line}\n{report}");
    }
    assert!(!report.contains('\u{1b}'));
}
