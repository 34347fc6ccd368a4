//! The tables of what keeps a server's prefix cache.

use serde::Serialize;

use super::super::text::{self, ratio};
use crate::judge::analysis::summary::{PrefixCacheRow, Summary};
use crate::task::serving::Variant;

/// One cell's changes.
#[derive(Serialize)]
pub(super) struct PrefixCacheView {
    setting: String,
    context: String,
    rows: Vec<ChangeView>,
}

#[derive(Serialize)]
struct ChangeView {
    change: String,
    possible: String,
    reused: String,
    warm: String,
    cold: String,
    ratio: String,
    same: String,
    right_warm: String,
    right_cold: String,
}

/// A table for every cell.
pub(super) fn tables(summary: &Summary) -> Vec<PrefixCacheView> {
    let alike = |a: &PrefixCacheRow, b: &PrefixCacheRow| (&a.setting, a.context) == (&b.setting, b.context);
    summary.prefix_cache.chunk_by(alike).map(table).collect()
}

fn table(rows: &[PrefixCacheRow]) -> PrefixCacheView {
    PrefixCacheView {
        setting: text::code(rows.first().map_or("", |row| &row.setting)),
        context: text::tokens(rows.first().map_or(0, |row| row.context)),
        rows: rows.iter().map(change).collect(),
    }
}

fn change(row: &PrefixCacheRow) -> ChangeView {
    let of_compared = |count: u32| match row.compared {
        0 => text::NONE.to_owned(),
        compared => format!("{count} of {compared}"),
    };
    ChangeView {
        change: Variant::named(&row.variant)
            .map_or_else(|| text::markdown(&row.variant), |v| v.words().to_owned()),
        possible: text::estimate(row.possible, text::percent),
        reused: text::estimate(row.reused, text::percent),
        warm: text::estimate(row.warm_ttft_s, text::seconds),
        cold: text::estimate(row.cold_ttft_s, text::seconds),
        ratio: ratio(row.ttft_ratio),
        same: of_compared(row.same),
        right_warm: of_compared(row.right_warm),
        right_cold: of_compared(row.right_cold),
    }
}

#[cfg(test)]
mod tests {
    use super::super::render_markdown;
    use super::*;
    use crate::judge::analysis::summary::Estimate;
    use crate::judge::analysis::testing;

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
}
