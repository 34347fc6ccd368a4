//! What servers hold of the schemas of constrained requests: the same for many settings, so it is told once for all contexts, too.

use serde::Serialize;

use crate::judge::analysis::summary::{ArmRow, HeldArm, HeldFailures, HeldTask, Summary};

/// What is held of a task's schemas, wherever that is the same.
#[derive(Serialize)]
pub(super) struct HeldRow<'a> {
    task: &'a str,
    context: u32,
    held: &'a HeldArm,
}

/// Wrong replies of a setting.
#[derive(Serialize)]
pub(super) struct FailuresRow<'a> {
    task: &'a str,
    setting: &'a str,
    context: u32,
    failures: &'a HeldFailures,
}

/// A row for every setting of a constrained arm that schemas were asked about for.
pub(super) fn failures(summary: &Summary) -> Vec<FailuresRow<'_>> {
    let mut rows = Vec::new();
    for arm in &summary.arms {
        if let Some(held) = arm.constrained.as_ref().and_then(|constrained| constrained.held.as_ref()) {
            let ArmRow { task, setting, context, .. } = arm;
            rows.push(FailuresRow { task, setting, context: *context, failures: &held.failures });
        }
    }
    rows
}

pub(super) fn rows(summary: &Summary) -> Vec<HeldRow<'_>> {
    let mut rows: Vec<HeldRow<'_>> = Vec::new();
    for HeldTask { task, context, held } in &summary.held {
        if !rows.iter().any(|known| known.task == task && of_server(known.held) == of_server(held)) {
            rows.push(HeldRow { task, context: *context, held });
        }
    }
    rows
}

/// Whether values were tried on what a server makes of any schema.
pub(super) fn is_any_tried(summary: &Summary) -> bool {
    summary.held.iter().any(|task| task.held.by_table.is_empty() && task.held.unknown < task.held.schemas)
}

/// What does not depend on the replies.
fn of_server(held: &HeldArm) -> HeldArm {
    HeldArm { failures: HeldFailures::default(), ..held.clone() }
}
