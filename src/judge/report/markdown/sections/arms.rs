use std::collections::BTreeMap;

use super::super::render_markdown;
use crate::judge::analysis::summary::{
    ArmRow, ConstrainedArm, ConstraintCost, Estimate, HeldArm, HeldFailures, HeldTask,
};
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
        held: Some(HeldArm {
            schemas: 5,
            in_full: 2,
            refused: 1,
            not_enforced: [("pattern".to_owned(), 2), ("minimum".to_owned(), 1)].into(),
            over_restricted: [("allOf".to_owned(), 1)].into(),
            refused_for: [("$ref".to_owned(), 1)].into(),
            unknown: 1,
            unknown_because: [("<b>|a server's [words](javascript:x)\u{1b}".to_owned(), 1)].into(),
            by_table: BTreeMap::new(),
            unreachable: 6,
            answer_barred: 9,
            failures: HeldFailures {
                answer: (0..30).collect(),
                other: vec![31],
                refused: vec![32],
                unknown: vec![],
            },
        }),
    };
    let refused = ConstrainedArm {
        difference: None,
        coverage: estimate(0.0, 0.0),
        compliance: None,
        cost: None,
        held: None,
    };
    let mut summary = testing::summary();
    let held = timed.held.clone().unwrap();
    summary.held = vec![HeldTask { task: "tools/json_schema".into(), context: 4096, held }];
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

#[test]
fn what_is_known_by_table_alone_is_marked() {
    let held = HeldArm {
        schemas: 5,
        in_full: 2,
        refused: 1,
        not_enforced: [("pattern".to_owned(), 2)].into(),
        over_restricted: BTreeMap::new(),
        refused_for: [("uniqueItems".to_owned(), 1)].into(),
        unknown: 1,
        unknown_because: [("the table has no row for format".to_owned(), 1)].into(),
        by_table: [(
            "vllm 0.33.0 (of the table the nearest to 0.34.0|<b>), with xgrammar 0.2.8".to_owned(),
            5,
        )]
        .into(),
        unreachable: 0,
        answer_barred: 0,
        failures: HeldFailures::default(),
    };
    let mut summary = testing::summary();
    let constrained = ConstrainedArm {
        difference: None,
        coverage: estimate(0.5, 0.25),
        compliance: None,
        cost: None,
        held: Some(held.clone()),
    };
    summary.held = vec![HeldTask { task: "tools/json_schema".into(), context: 4096, held }];
    summary.arms = vec![row("a", None, Some(constrained))];
    let report = render_markdown(&summary, None).unwrap();
    let start = report.find("## What the arms show").unwrap();
    let length = report[start..].find("\n## Noise floor").unwrap();
    insta::assert_snapshot!(&report[start..start + length]);
}
