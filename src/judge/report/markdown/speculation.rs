//! The tables of what speculation does.

use serde::Serialize;

use super::super::text::{self, or_none, ratio};
use crate::judge::analysis::summary::{DraftFigures, LosslessFinding, SpeculationRow, Summary};

/// Positions of a draft that have a column, where any draft reaches so far.
const POSITIONS: [u32; 12] = [1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64];

/// Everything about speculation.
#[derive(Serialize)]
pub(super) struct SpeculationView {
    sampling: &'static str,
    verdicts: Vec<VerdictView>,
    tasks: Vec<FiguresView>,
    columns: Vec<u32>,
    positions: Vec<PositionsView>,
    stretches: Vec<StretchView>,
    halves: Vec<HalfView>,
    memory: Vec<MemoryView>,
}

#[derive(Serialize)]
struct VerdictView {
    context: String,
    setting: String,
    twin: String,
    verdict: &'static str,
    because: String,
}

#[derive(Serialize)]
struct FiguresView {
    context: String,
    setting: String,
    task: String,
    requests: u32,
    undrafted: u32,
    drafted: String,
    accepted: String,
    decode: String,
    total: String,
    same: String,
}

#[derive(Serialize)]
struct PositionsView {
    context: String,
    setting: String,
    cells: Vec<String>,
}

#[derive(Serialize)]
struct StretchView {
    context: String,
    setting: String,
    range: String,
    drafted: String,
    accepted: String,
}

#[derive(Serialize)]
struct HalfView {
    context: String,
    setting: String,
    range: String,
    replies: u32,
    parted: u32,
}

#[derive(Serialize)]
struct MemoryView {
    context: String,
    setting: String,
    beyond: String,
    model: String,
    kv: String,
}

/// The tables; `None` where nothing speculates.
pub(super) fn tables(summary: &Summary) -> Option<SpeculationView> {
    let rows = &summary.speculation;
    let reached =
        |position: &u32| rows.iter().any(|row| row.positions.iter().any(|at| at.position == *position));
    let columns: Vec<u32> = POSITIONS.into_iter().filter(reached).collect();
    (!rows.is_empty()).then(|| SpeculationView {
        sampling: sampling(rows),
        verdicts: rows.iter().map(verdict).collect(),
        tasks: rows.iter().flat_map(figures).collect(),
        positions: rows.iter().filter_map(|row| positions(row, &columns)).collect(),
        columns,
        stretches: rows.iter().flat_map(stretches).collect(),
        halves: rows.iter().flat_map(halves).collect(),
        memory: rows.iter().map(memory).collect(),
    })
}

fn sampling(rows: &[SpeculationRow]) -> &'static str {
    if rows.iter().any(|row| row.losslessness.finding == LosslessFinding::NotGreedy) {
        "The suite samples, so equal distributions give different texts: losslessness cannot be judged from them."
    } else {
        "**Lossless** means that greedy replies part from the twin's no more than the reference's part from its own."
    }
}

fn verdict(row: &SpeculationRow) -> VerdictView {
    VerdictView {
        context: text::tokens(row.context),
        setting: text::code(&row.setting),
        twin: or_none(row.twin.as_deref().map(text::code)),
        verdict: row.verdict.words(),
        because: text::markdown(&row.because),
    }
}

/// A line for all requests, and one for each task where there are several.
fn figures(row: &SpeculationRow) -> Vec<FiguresView> {
    let line = |task: String, figures: &DraftFigures| FiguresView {
        context: text::tokens(row.context),
        setting: text::code(&row.setting),
        task,
        requests: figures.requests.max(figures.compared),
        undrafted: figures.undrafted,
        drafted: text::thousands(figures.drafted),
        accepted: text::estimate(figures.acceptance, text::percent),
        decode: ratio(figures.decode),
        total: ratio(figures.total),
        same: match figures.compared {
            0 => text::NONE.to_owned(),
            compared => format!("{} of {compared}", figures.same_replies),
        },
    };
    let mut lines = vec![line("all".to_owned(), &row.all)];
    for task in row.tasks.iter().filter(|_| row.tasks.len() > 1) {
        let arm = task.arm.map_or(String::new(), |arm| format!(" ({arm})"));
        lines.push(line(text::markdown(&task.task) + &arm, &task.figures));
    }
    lines
}

fn positions(row: &SpeculationRow, columns: &[u32]) -> Option<PositionsView> {
    let cell = |column: &u32| {
        let at = row.positions.iter().find(|at| at.position == *column);
        or_none(at.map(|at| text::percent(at.acceptance.value)))
    };
    (!row.positions.is_empty()).then(|| PositionsView {
        context: text::tokens(row.context),
        setting: text::code(&row.setting),
        cells: columns.iter().map(cell).collect(),
    })
}

fn stretches(row: &SpeculationRow) -> Vec<StretchView> {
    let stretches = row.stretches.iter();
    stretches
        .map(|stretch| StretchView {
            context: text::tokens(row.context),
            setting: text::code(&row.setting),
            range: format!("{}–{}", stretch.from + 1, stretch.to),
            drafted: text::thousands(stretch.drafted),
            accepted: text::estimate(stretch.acceptance, text::percent),
        })
        .collect()
}

fn halves(row: &SpeculationRow) -> Vec<HalfView> {
    let halves = row.losslessness.halves.iter();
    halves
        .map(|half| HalfView {
            context: text::tokens(row.context),
            setting: text::code(&row.setting),
            range: format!("{}–{}", text::percent(half.from), text::percent(half.to)),
            replies: half.replies,
            parted: half.parted,
        })
        .collect()
}

fn memory(row: &SpeculationRow) -> MemoryView {
    let bytes = |bytes: Option<u64>| or_none(bytes.map(text::bytes));
    let signed = |bytes: i64| {
        let sign = if bytes < 0 { "−" } else { "+" };
        format!("{sign}{}", text::bytes(bytes.unsigned_abs()))
    };
    MemoryView {
        context: text::tokens(row.context),
        setting: text::code(&row.setting),
        beyond: or_none(row.memory.beyond_twin_bytes.map(signed)),
        model: bytes(row.memory.model_bytes),
        kv: bytes(row.memory.kv_bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::super::render_markdown;
    use super::*;
    use crate::judge::analysis::summary::{
        AcceptanceHalf, DraftMemory, DraftPositionRate, DraftStretch, Estimate, Losslessness,
        SpeculationTask, SpeculationVerdict,
    };
    use crate::judge::analysis::testing;

    fn estimate(value: f64) -> Estimate {
        Estimate { value, low: Some(value * 0.9), high: Some(value * 1.1), n: 12 }
    }

    fn row() -> SpeculationRow {
        let figures = DraftFigures {
            requests: 24,
            undrafted: 6,
            drafted: 1200,
            accepted: 600,
            acceptance: Some(estimate(0.5)),
            decode: Some(estimate(1.5)),
            total: Some(estimate(1.25)),
            same_replies: 23,
            compared: 24,
        };
        let task = |task: &str| SpeculationTask { task: task.into(), arm: None, figures: figures.clone() };
        let at = |position| DraftPositionRate {
            position,
            drafted: 90,
            acceptance: estimate(1.0 / f64::from(position)),
        };
        SpeculationRow {
            setting: "a|b".into(),
            context: 4096,
            twin: Some("a".into()),
            tasks: vec![task("coherence/one"), task("coherence/two")],
            all: figures.clone(),
            positions: vec![at(1), at(2), at(5), at(8)],
            stretches: vec![
                DraftStretch { from: 0, to: 32, drafted: 200, acceptance: Some(estimate(0.75)) },
                DraftStretch { from: 32, to: 100, drafted: 0, acceptance: None },
            ],
            losslessness: Losslessness {
                finding: LosslessFinding::AsNoise,
                replies: 12,
                halves: vec![AcceptanceHalf { from: 0.25, to: 0.5, replies: 6, parted: 1 }],
                ..Losslessness::default()
            },
            memory: DraftMemory {
                beyond_twin_bytes: Some(-1_048_576),
                model_bytes: Some(88 << 20),
                kv_bytes: None,
            },
            verdict: SpeculationVerdict::FasterAndLossless,
            because: "decode rate 1.5×".into(),
        }
    }

    #[test]
    fn every_part_has_a_table() {
        let mut summary = testing::summary();
        assert!(!render_markdown(&summary, None).unwrap().contains("## Speculation"));
        let silent = SpeculationRow {
            setting: "c".into(),
            twin: None,
            tasks: Vec::new(),
            all: DraftFigures::default(),
            positions: Vec::new(),
            stretches: Vec::new(),
            losslessness: Losslessness::default(),
            memory: DraftMemory::default(),
            verdict: SpeculationVerdict::NotShown,
            because: "no setting of the suite is the same but for speculation".into(),
            ..row()
        };
        summary.speculation = vec![row(), silent];
        let report = render_markdown(&summary, None).unwrap();
        let start = report.find("## Speculation").unwrap();
        let length = report[start..].find("\n## Noise floor").unwrap();
        insta::assert_snapshot!(&report[start..start + length]);
    }
}
