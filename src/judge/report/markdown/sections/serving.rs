use super::super::render_markdown;
use crate::judge::analysis::summary::{Estimate, PrefixCacheRow};
use crate::judge::analysis::testing;
use crate::task::serving::Variant;

#[test]
fn every_change_has_a_line() {
    let estimate = |value: f64| Some(Estimate { value, low: Some(value * 0.5), high: Some(value), n: 4 });
    let kept = PrefixCacheRow {
        setting: "a|b".into(),
        context: 4096,
        variant: Variant::Append.name().into(),
        cases: 4,
        possible: estimate(0.96),
        reused: estimate(0.95),
        warm_ttft_s: estimate(0.05),
        cold_ttft_s: estimate(2.0),
        ttft_ratio: estimate(0.025),
        compared: 4,
        same: 3,
        right_warm: 2,
        right_cold: 4,
    };
    let silent = PrefixCacheRow {
        setting: "c".into(),
        variant: "of another version".into(),
        reused: None,
        cold_ttft_s: None,
        ttft_ratio: None,
        compared: 0,
        ..kept.clone()
    };
    let mut summary = testing::summary();
    assert!(!render_markdown(&summary, None).unwrap().contains("prefix cache"));
    summary.prefix_cache = vec![kept, silent];
    let report = render_markdown(&summary, None).unwrap();
    let start = report.find("## What keeps the prefix cache").unwrap();
    let length = report[start..].find("\n## Noise floor").unwrap();
    insta::assert_snapshot!(&report[start..start + length]);
}
