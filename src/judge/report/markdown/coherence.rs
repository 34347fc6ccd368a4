//! What the template shows of coherence: greedy divergence, the tasks' own figures.

use serde::Serialize;

use super::super::text::{self, joined, or_none};
use crate::judge::analysis::summary::{
    DivergenceExample, DivergenceRow, DivergenceVerdict, FigureRow, Summary,
};

#[derive(Serialize)]
pub(super) struct DivergenceView {
    rows: Vec<DivergenceRowView>,
    acceptance: Vec<AcceptanceView>,
    examples: Vec<ExampleView>,
}

#[derive(Serialize)]
struct DivergenceRowView {
    context: String,
    setting: String,
    parted: String,
    median: String,
    curve: String,
    accepted: String,
    verdict: &'static str,
    p: String,
}

#[derive(Serialize)]
struct AcceptanceView {
    context: String,
    setting: String,
    range: String,
    replies: u32,
    parted: u32,
}

#[derive(Serialize)]
struct ExampleView {
    context: String,
    setting: String,
    index: u32,
    token: u32,
    before: String,
    ours: String,
    theirs: String,
}

#[derive(Serialize)]
pub(super) struct FiguresView {
    task: String,
    context: String,
    columns: Vec<String>,
    rows: Vec<FiguresRowView>,
}

#[derive(Serialize)]
struct FiguresRowView {
    setting: String,
    cells: Vec<String>,
}

pub(super) fn divergence(summary: &Summary) -> Option<DivergenceView> {
    let rows = &summary.divergence;
    (!rows.is_empty()).then(|| DivergenceView {
        rows: rows.iter().map(divergence_row).collect(),
        acceptance: rows.iter().flat_map(acceptance).collect(),
        examples: rows.iter().filter_map(|row| Some(example(row, row.example.as_ref()?))).collect(),
    })
}

/// The setting's name; the reference's row is the one against itself.
fn name(row: &DivergenceRow) -> String {
    let again = if row.verdict == DivergenceVerdict::Noise { " again" } else { "" };
    format!("{}{again}", text::code(&row.setting))
}

fn divergence_row(row: &DivergenceRow) -> DivergenceRowView {
    let point = |token: u32, share: f64| format!("{token}: {}", text::percent(share));
    DivergenceRowView {
        context: text::tokens(row.context),
        setting: name(row),
        parted: format!("{} of {}", text::estimate(Some(row.parted), text::percent), row.parted.n),
        median: or_none(row.median_first.map(text::significant)),
        curve: joined(row.survival.iter().map(|at| point(at.token, at.share))),
        accepted: or_none(row.draft_acceptance.map(text::percent)),
        verdict: verdict(row.verdict),
        p: or_none(row.p_holm.map(|p| if p < 0.001 { "< 0.001".into() } else { format!("{p:.3}") })),
    }
}

fn verdict(verdict: DivergenceVerdict) -> &'static str {
    match verdict {
        DivergenceVerdict::Noise => "this is the noise",
        DivergenceVerdict::AsNoise => "as the reference's own noise",
        DivergenceVerdict::BeyondNoise => "beyond it",
        DivergenceVerdict::Unclear => "more, but so few replies cannot tell",
        DivergenceVerdict::NoNoiseFloor => "the reference did not run twice",
    }
}

fn acceptance(row: &DivergenceRow) -> Vec<AcceptanceView> {
    let ranges = row.by_acceptance.iter();
    ranges
        .map(|range| AcceptanceView {
            context: text::tokens(row.context),
            setting: name(row),
            range: format!("{}–{}", text::percent(range.from), text::percent(range.to)),
            replies: range.replies,
            parted: range.parted,
        })
        .collect()
}

fn example(row: &DivergenceRow, example: &DivergenceExample) -> ExampleView {
    ExampleView {
        context: text::tokens(row.context),
        setting: name(row),
        index: example.index,
        token: example.token,
        before: text::markdown(&example.before),
        ours: ended(&example.setting),
        theirs: ended(&example.reference),
    }
}

/// A reply that ended where the other went on has nothing more to show.
fn ended(rest: &str) -> String {
    if rest.is_empty() { "(ended)".into() } else { text::markdown(rest) }
}

/// A table for every task with figures and context length.
pub(super) fn figures(summary: &Summary) -> Vec<FiguresView> {
    let alike = |a: &FigureRow, b: &FigureRow| a.task == b.task && a.arm == b.arm && a.context == b.context;
    summary.figures.chunk_by(alike).map(figures_table).collect()
}

fn figures_table(rows: &[FigureRow]) -> FiguresView {
    let mut columns: Vec<&str> = Vec::new();
    let mut settings: Vec<(&str, u32)> = Vec::new();
    for row in rows {
        if !columns.contains(&row.figure.as_str()) {
            columns.push(&row.figure);
        }
        if !settings.contains(&(row.setting.as_str(), row.replicate)) {
            settings.push((&row.setting, row.replicate));
        }
    }
    let cell = |(setting, replicate): (&str, u32), column: &str| {
        let found = rows
            .iter()
            .find(|row| row.setting == setting && row.replicate == replicate && row.figure == column);
        or_none(found.map(figure))
    };
    let line = |of: &(&str, u32)| FiguresRowView {
        setting: format!("{}{}", text::code(of.0), if of.1 > 0 { " again" } else { "" }),
        cells: columns.iter().map(|column| cell(*of, column)).collect(),
    };
    let arm = rows.first().and_then(|row| row.arm).map_or(String::new(), |arm| format!(" ({arm})"));
    FiguresView {
        task: text::markdown(rows.first().map_or("", |row| &row.task)) + &arm,
        context: text::tokens(rows.first().map_or(0, |row| row.context)),
        columns: columns.iter().map(|column| text::markdown(column)).collect(),
        rows: settings.iter().map(line).collect(),
    }
}

fn figure(row: &FigureRow) -> String {
    let value = text::significant(row.value.value);
    let Some(difference) = row.difference else { return value };
    format!("{value} ({})", text::estimate(Some(difference), signed))
}

/// A difference with its sign.
fn signed(value: f64) -> String {
    let size = text::significant(value.abs());
    match () {
        () if value > 0.0 => format!("+{size}"),
        () if value < 0.0 => format!("−{size}"),
        () => size,
    }
}

#[cfg(test)]
mod tests {
    use super::super::render_markdown;
    use super::*;
    use crate::judge::analysis::summary::{AcceptanceRow, Estimate, KldBand, SurvivalPoint};
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
}
