//! The tables of what the arms of tool tasks show.

use serde::Serialize;

use super::super::text::{self, or_none, ratio};
use crate::judge::analysis::summary::{ArmRow, ConstrainedArm, Summary};

/// Native against prompted, and what constraining does.
#[derive(Serialize)]
pub(super) struct ArmsView {
    native: Vec<NativeView>,
    constrained: Vec<ConstrainedView>,
}

#[derive(Serialize)]
struct NativeView {
    context: String,
    task: String,
    setting: String,
    difference: String,
    requests: u32,
}

#[derive(Serialize)]
struct ConstrainedView {
    context: String,
    task: String,
    setting: String,
    difference: String,
    requests: String,
    coverage: String,
    compliance: String,
    ttft: String,
    decode: String,
    against: String,
}

/// Both tables; `None` where no two arms can be compared.
pub(super) fn tables(summary: &Summary) -> Option<ArmsView> {
    (!summary.arms.is_empty()).then(|| ArmsView {
        native: summary.arms.iter().filter_map(native).collect(),
        constrained: summary.arms.iter().filter_map(constrained).collect(),
    })
}

fn native(row: &ArmRow) -> Option<NativeView> {
    row.native.map(|difference| NativeView {
        context: text::tokens(row.context),
        task: text::markdown(&row.task),
        setting: text::code(&row.setting),
        difference: text::estimate(Some(difference), text::signed_points),
        requests: difference.n,
    })
}

fn constrained(row: &ArmRow) -> Option<ConstrainedView> {
    row.constrained.as_ref().map(|arm: &ConstrainedArm| ConstrainedView {
        context: text::tokens(row.context),
        task: text::markdown(&row.task),
        setting: text::code(&row.setting),
        difference: text::estimate(arm.difference, text::signed_points),
        requests: or_none(arm.difference.map(|difference| difference.n.to_string())),
        coverage: text::estimate(Some(arm.coverage), text::percent),
        compliance: text::estimate(arm.compliance, text::percent),
        ttft: ratio(arm.cost.and_then(|cost| cost.ttft)),
        decode: ratio(arm.cost.and_then(|cost| cost.decode)),
        against: or_none(arm.cost.map(|cost| cost.against.name().to_owned())),
    })
}

#[cfg(test)]
mod tests {
    use super::super::render_markdown;
    use super::*;
    use crate::judge::analysis::summary::{ConstraintCost, Estimate};
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
            cost: Some(ConstraintCost {
                against: Arm::Native,
                ttft: Some(estimate(1.25, 0.125)),
                decode: None,
            }),
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
}
