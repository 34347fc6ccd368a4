//! Two runs side by side as Markdown.

use super::blocks::{change, list, section, table};
use super::text;
use crate::judge::analysis::compare::{
    ComparedCell, Comparison, Cost, CostRow, Flip, Ratio, Regression, RunName, Shift, Unit,
};

/// What changed from run A to run B.
pub fn comparison(comparison: &Comparison) -> String {
    let mut out = String::from("# Comparison\n\n");
    out.push_str(&format!("A: {}\n\nB: {}\n\n", run(&comparison.a), run(&comparison.b)));
    out.push_str(&format!("{}\n", verdict(comparison)));
    out.push_str(&section("Regressions", &regressions(&comparison.regressions)));
    out.push_str(&section("What else differs", &differences(comparison)));
    out.push_str(&section("Cells", &cells(comparison)));
    out.push_str(&section("The machines side by side", &costs(comparison)));
    out.push_str(&section("Flips", &flips(comparison)));
    let notes: Vec<String> = comparison.unpaired.iter().chain(&comparison.notes).cloned().collect();
    out.push_str(&section("Notes", &list(&notes)));
    out
}

fn run(name: &RunName) -> String {
    format!("{} ({}, {})", text::code(&name.run), text::markdown(&name.suite), text::markdown(&name.started))
}

fn verdict(comparison: &Comparison) -> String {
    let counted = comparison.cells.iter().filter(|cell| cell.void.is_none()).count();
    let pairs: u32 = comparison.cells.iter().map(|cell| cell.pairs).sum();
    let unpaired: u32 = comparison.cells.iter().map(|cell| cell.unpaired).sum();
    let apart = |cell: &&ComparedCell| cell.quality.is_some_and(|q| q.low > Some(0.0) || q.high < Some(0.0));
    let changed = comparison.cells.iter().filter(apart).count();
    let thresholds: Vec<String> = comparison.thresholds.iter().map(ToString::to_string).collect();
    let judged = match (thresholds.is_empty(), comparison.regressions.len()) {
        (true, _) => "No threshold was set.".to_owned(),
        (false, 0) => format!("Nothing is shown to be worse by {}.", thresholds.join(", ")),
        (false, 1) => "One whole interval lies beyond its threshold.".to_owned(),
        (false, n) => format!("{n} whole intervals lie beyond their thresholds."),
    };
    format!(
        "{counted} cells, {} paired items ({unpaired} unpaired); quality differs in {changed} cells by an interval that leaves out 0 (before adjustment for their number). {judged}",
        text::thousands(u64::from(pairs)),
    )
}

fn regressions(regressions: &[Regression]) -> String {
    let line = |regression: &Regression| {
        let shown = |value: f64| match regression.threshold.measure.unit() {
            Unit::Points => format!("{:.1} points", value * 100.0),
            Unit::Share => format!("{:.1}%", value * 100.0),
            Unit::Nat => format!("{} nat", text::nat(value)),
        };
        format!(
            "- {} at {} tokens: {} worse by {} (threshold {})\n",
            text::code(&regression.setting),
            text::tokens(regression.context),
            regression.threshold.measure.name(),
            text::estimate(Some(regression.worse_by), shown),
            regression.threshold,
        )
    };
    regressions.iter().map(line).collect()
}

fn differences(comparison: &Comparison) -> String {
    let row = |difference: &crate::judge::analysis::compare::Difference| {
        let items = if difference.changes_items { "makes other items" } else { "" };
        vec![
            text::markdown(&difference.what),
            text::markdown(&difference.a),
            text::markdown(&difference.b),
            items.to_owned(),
        ]
    };
    let rows: Vec<Vec<String>> = comparison.differences.iter().map(row).collect();
    if rows.is_empty() { String::new() } else { table(&["", "A", "B", ""], &rows) }
}

fn cells(comparison: &Comparison) -> String {
    let rows: Vec<Vec<String>> = comparison.cells.iter().map(cell).collect();
    let header = [
        "context",
        "setting",
        "pairs",
        "lost / gained",
        "quality A",
        "quality B",
        "difference (points)",
        "p (Holm)",
        "decode",
        "prefill",
        "TTFT",
        "energy",
        "memory",
        "KLD (nat)",
        "leaked (points)",
        "broke (points)",
    ];
    table(&header, &rows)
}

fn cell(cell: &ComparedCell) -> Vec<String> {
    let score = |value: Option<f64>| value.map_or(text::NONE.into(), text::score);
    let ratio = |ratio: Option<Ratio>| text::estimate(ratio.map(|ratio| ratio.ratio), change);
    let setting = match &cell.void {
        Some(reason) => format!("{} void {}", text::code(&cell.setting), text::markdown(reason)),
        None => text::code(&cell.setting),
    };
    vec![
        text::tokens(cell.context),
        setting,
        cell.pairs.to_string(),
        format!("{} / {}", cell.lost, cell.gained),
        score(cell.quality_a),
        score(cell.quality_b),
        text::estimate(cell.quality, text::signed_points),
        cell.p_holm.map_or(text::NONE.into(), p_value),
        ratio(cell.decode),
        ratio(cell.prefill),
        ratio(cell.ttft),
        ratio(cell.energy),
        ratio(cell.memory),
        shift(cell.kld, signed_nat),
        shift(cell.leaked, text::signed_points),
        shift(cell.failed, text::signed_points),
    ]
}

fn shift(shift: Option<Shift>, of: impl Fn(f64) -> String) -> String {
    text::estimate(shift.map(|shift| shift.difference), of)
}

fn signed_nat(value: f64) -> String {
    let sign = if value > 0.0 { "+" } else { "" };
    format!("{sign}{}", text::nat(value)).replace('-', "−")
}

/// What each machine does with a request at a time, and what that costs.
fn costs(comparison: &Comparison) -> String {
    let both = |row: &CostRow, of: fn(&Cost) -> Option<f64>| {
        let shown = |value: Option<f64>| value.map_or(text::NONE.into(), text::significant);
        format!("{} / {}", shown(of(&row.a)), shown(of(&row.b)))
    };
    let row = |row: &CostRow| {
        vec![
            text::tokens(row.context),
            text::code(&row.setting),
            both(row, |cost| cost.decode_tps),
            both(row, |cost| cost.prefill_tps),
            both(row, |cost| cost.token_j),
            both(row, |cost| cost.million_output),
            both(row, |cost| cost.million_prompt),
        ]
    };
    let rows: Vec<Vec<String>> = comparison.costs.iter().map(row).collect();
    if rows.is_empty() {
        return String::new();
    }
    let header = [
        "context",
        "setting",
        "decode A / B (tokens/s)",
        "prefill A / B (tokens/s)",
        "energy of an output token A / B (J)",
        "price of a million output tokens A / B",
        "price of a million prompt tokens A / B",
    ];
    let words = "One request at a time: a server that batches makes each token cheaper. Energy has the prefill in it. \
                 Prices are those of `--price-a` and `--price-b` for an hour, divided by the rates.";
    format!("{}\n{words}\n", table(&header, &rows))
}

fn p_value(p: f64) -> String {
    if p < 0.001 { "&lt; 0.001".into() } else { format!("{p:.3}") }
}

fn flips(comparison: &Comparison) -> String {
    if comparison.flips_in_all == 0 {
        return String::new();
    }
    let shown = comparison.flips.len() as u32;
    let mut out = format!("{} items changed their score", comparison.flips_in_all);
    if shown < comparison.flips_in_all {
        out.push_str(&format!("; {shown} are listed (--flips N for more)"));
    }
    out.push_str(".\n\n");
    let rows: Vec<Vec<String>> = comparison.flips.iter().map(flip).collect();
    if !rows.is_empty() {
        out.push_str(&table(&["context", "setting", "item", "score", "reply in A", "reply in B"], &rows));
    }
    out
}

fn flip(flip: &Flip) -> Vec<String> {
    let arm = flip.arm.map_or(String::new(), |arm| format!(" {arm}"));
    vec![
        text::tokens(flip.context),
        text::code(&flip.setting),
        text::markdown(&format!("{}{arm} {}", flip.task, flip.index)),
        format!("{} → {}", text::score(flip.score_a), text::score(flip.score_b)),
        text::markdown(&flip.reply_a),
        text::markdown(&flip.reply_b),
    ]
}
