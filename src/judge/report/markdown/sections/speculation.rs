use super::super::render_markdown;
use crate::judge::analysis::summary::{
    AcceptanceHalf, DraftFigures, DraftMemory, DraftPositionRate, DraftStretch, Estimate, LosslessFinding,
    Losslessness, SpeculationRow, SpeculationTask, SpeculationVerdict,
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
