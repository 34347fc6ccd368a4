use super::super::render_markdown;
use crate::judge::analysis::summary::{ArmRow, ConstrainedArm, ConstraintCost, Estimate};
use crate::judge::analysis::testing;
use crate::record::Arm;

fn estimate(value: f64, reach: f64) -> Estimate {
    Estimate { value, low: Some(value - reach), high: Some(value + reach), n: 40 }
}

fn row(setting: &str, native: Option<Estimate>, constrained: Option<ConstrainedArm>) -> ArmRow {
    ArmRow { task: "tools/arguments".into(), setting: setting.into(), context: 4096, native, constrained }
}

#[test]
fn tables_say_what_the_engine_adds_and_what_constraining_costs() {
    let timed = ConstrainedArm {
        difference: Some(estimate(-0.05, 0.025)),
        coverage: estimate(0.75, 0.125),
        compliance: Some(Estimate { value: 1.0, low: None, high: None, n: 1 }),
        cost: Some(ConstraintCost { against: Arm::Native, ttft: Some(estimate(1.25, 0.125)), decode: None }),
    };
    let refused =
        ConstrainedArm { difference: None, coverage: estimate(0.0, 0.0), compliance: None, cost: None };
    let mut summary = testing::summary();
    assert!(!render_markdown(&summary, None).unwrap().contains("What the arms show"));
    summary.arms = vec![
        row("a|b", Some(estimate(0.125, 0.0625)), Some(timed)),
        row("c", None, Some(refused)),
        row("d", Some(estimate(0.0, 0.0)), None),
    ];
    let report = render_markdown(&summary, None).unwrap();
    let start = report.find("## What the arms show").unwrap();
    let length = report[start..].find("\n## Noise floor").unwrap();
    insta::assert_snapshot!(&report[start..start + length]);
}
