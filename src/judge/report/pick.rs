//! The answer of `pick` as Markdown that reads well in a terminal too.

use super::blocks::{frequency, list, section, table};
use super::text;
use crate::judge::analysis::pick::{CandidateRow, Goal, Pick, RunnerUp};
use crate::judge::analysis::summary::{MemoryCheck, MemoryKind, MemoryPrediction};

/// The setting to use, its command, how sure that is, and why not another one.
pub fn pick(pick: &Pick) -> String {
    let mut out = warnings(pick);
    out.push_str(&format!("# {}\n\n", text::code(&pick.setting)));
    out.push_str(&format!("{}\n", answer(pick)));
    if let Some(command) = &pick.serve_command {
        out.push_str(&format!("\nTo serve it:\n\n{}\n", text::fenced(command, "sh")));
    }
    if let Some(command) = &pick.command {
        out.push_str(&format!("\nAs it was measured:\n\n{}\n", text::fenced(command, "sh")));
    }
    out.push_str(&section("Settings", &settings(pick)));
    out.push_str(&section("Refused", &refused(pick)));
    out.push_str(&section("Memory by formula", &memory(&pick.memory)));
    out.push_str(&section("Notes", &list(&pick.notes)));
    out
}

/// What must be read before the answer; nothing when nothing was seen.
fn warnings(pick: &Pick) -> String {
    if pick.warnings.is_empty() {
        return String::new();
    }
    let texts: Vec<String> = pick.warnings.iter().map(|warning| warning.text.clone()).collect();
    format!("**Before you rely on this:**\n\n{}\n", list(&texts))
}

fn answer(pick: &Pick) -> String {
    let goal = match pick.goal {
        Goal::Decode => "highest decode rate",
        Goal::Ttft => "shortest time to the first token",
        Goal::Memory => "least memory",
        Goal::Energy => "least energy for a request",
        Goal::Knee => "best compromise of the suite's objectives",
    };
    let sure = match pick.frequency {
        Some(share) => format!("It is the pick in {:.0}% of the bootstrap draws", share * 100.0),
        None => "Nothing says how sure that is".into(),
    };
    let second = pick.runner_up.as_ref().map_or("no other setting meets the requirements".into(), |second| {
        format!("the runner-up is {} ({})", text::code(&second.setting), margin(second, pick.goal))
    });
    format!(
        "At {} tokens this setting has the {goal} of those with {}. {sure}; {second}.",
        text::tokens(pick.context),
        text::markdown_whole(&pick.requirements.join(", ")),
    )
}

/// By how much the pick is ahead.
fn margin(second: &RunnerUp, goal: Goal) -> String {
    let shown = |value: f64| match goal {
        Goal::Knee => format!("{value:.2}"),
        _ => text::change(1.0 + value),
    };
    let sure =
        second.frequency.map_or(String::new(), |_| format!(", picked in {}", frequency(second.frequency)));
    format!("margin {}{sure}", text::estimate(Some(second.margin), shown))
}

fn settings(pick: &Pick) -> String {
    let mut kinds: Vec<MemoryKind> = pick.candidates.iter().filter_map(|row| row.memory_kind).collect();
    kinds.dedup();
    let head = match kinds.as_slice() {
        [MemoryKind::Gpu] => "GPU memory",
        [MemoryKind::Cards] => "memory in use on the cards",
        [MemoryKind::Main] => "main memory",
        _ => "memory",
    };
    let shown = |row: &CandidateRow| match (row.memory_bytes, row.memory_kind.filter(|_| kinds.len() > 1)) {
        (None, _) => text::NONE.to_owned(),
        (Some(bytes), None) => text::bytes(bytes),
        (Some(bytes), Some(kind)) => format!("{} ({})", text::bytes(bytes), kind.name()),
    };
    let rows: Vec<Vec<String>> = pick.candidates.iter().map(|row| candidate(row, shown(row), pick)).collect();
    table(
        &["setting", "quality", "difference (points)", "decode (t/s)", "TTFT", head, "picked in", ""],
        &rows,
    )
}

fn candidate(row: &CandidateRow, memory: String, pick: &Pick) -> Vec<String> {
    let standing = if row.setting == pick.setting {
        "**pick**"
    } else if !row.refused.is_empty() {
        "refused"
    } else if pick.runner_up.as_ref().is_some_and(|second| second.setting == row.setting) {
        "runner-up"
    } else {
        ""
    };
    vec![
        text::code(&row.setting),
        text::estimate(row.quality, text::score),
        text::estimate(row.difference, text::signed_points),
        text::estimate(row.decode_tps, text::significant),
        text::estimate(row.ttft_s, text::seconds),
        memory,
        frequency(row.frequency),
        standing.into(),
    ]
}

/// The refused ones, those first that look better than the pick.
fn refused(pick: &Pick) -> String {
    let line = |row: &CandidateRow| {
        let looks = if row.better_looking { " looks better, but" } else { "" };
        format!("- {}{looks}: {}\n", text::code(&row.setting), text::markdown_whole(&row.refused.join("; ")))
    };
    let refused = || pick.candidates.iter().filter(|row| !row.refused.is_empty());
    let better: String = refused().filter(|row| row.better_looking).map(line).collect();
    let others: String = refused().filter(|row| !row.better_looking).map(line).collect();
    better + &others
}

fn memory(memory: &MemoryPrediction) -> String {
    let part = |bytes: Option<u64>| bytes.map_or(text::NONE.into(), text::bytes);
    let mut out = format!(
        "Weights {} + KV cache {} + compute buffers {} + the rest of the server {} = {} of {} at {} tokens.\n\n",
        text::bytes(memory.weights_bytes),
        part(memory.kv_bytes),
        part(memory.compute_bytes),
        memory.other_bytes.map_or(text::NONE.into(), text::signed_bytes),
        part(memory.total_bytes),
        memory.kind.map_or("memory", MemoryKind::words),
        text::tokens(memory.context),
    );
    let rows: Vec<Vec<String>> = memory.checks.iter().map(check).collect();
    if !rows.is_empty() {
        let header =
            ["context", "KV by the engine", "KV by formula", "measured peak", "by formula", "residual"];
        out.push_str(&table(&header, &rows));
    }
    let notes = list(&memory.notes);
    if !notes.is_empty() {
        out.push('\n');
    }
    out + &notes
}

fn check(check: &MemoryCheck) -> Vec<String> {
    let part = |bytes: Option<u64>| bytes.map_or(text::NONE.into(), text::bytes);
    vec![
        text::tokens(check.context),
        part(check.kv_reported_bytes),
        if check.kv_disagrees() {
            format!("**{}**", part(check.kv_formula_bytes))
        } else {
            part(check.kv_formula_bytes)
        },
        part(check.peak_bytes),
        part(check.formula_bytes),
        check.residual_bytes.map_or(text::NONE.into(), text::signed_bytes),
    ]
}
