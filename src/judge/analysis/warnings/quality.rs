//! What weakens the figures of quality: cells and tasks that do not count, noise, what broke.

use std::collections::BTreeSet;

use super::finding::Finding;
use super::limits::UNLISTED_LIMIT;
use crate::judge::analysis::run::Run;
use crate::judge::analysis::summary::{
    AaSummary, CellSummary, DivergenceRow, DivergenceVerdict, Summary, TaskRow, Unit, WarningCode,
};
use crate::record::suite::SampledAlike;
use crate::task::Weight;

pub(super) fn void(summary: &Summary) -> Vec<Finding> {
    let finding = |cell: &CellSummary| {
        let reason = cell.void.as_ref()?;
        Some(Finding::at(WarningCode::CellVoid, &cell.setting, cell.context).detail(reason))
    };
    summary.cells.iter().filter_map(finding).collect()
}

/// What the reference differs from itself, or that nobody knows.
pub(super) fn noise_floor(summary: &Summary) -> Vec<Finding> {
    let finding = |context: u32| match summary.aa.iter().find(|aa| aa.context == context) {
        None => Some(Finding::new(WarningCode::NoNoiseFloor).in_context(context)),
        Some(aa) => (aa.floor > 0.0).then(|| disagrees(aa)),
    };
    contexts(summary).into_iter().filter_map(finding).collect()
}

fn disagrees(aa: &AaSummary) -> Finding {
    Finding::new(WarningCode::NoiseFloor)
        .in_context(aa.context)
        .figure("disagreement", aa.discordance, Unit::Share)
        .figure("floor", aa.floor, Unit::Share)
}

/// What else than its name says is another for a setting than for the reference: how it is sampled.
pub(super) fn sampled_otherwise(summary: &Summary) -> Vec<Finding> {
    let others = summary.sampling.iter().filter(|alike| !alike.differs.is_empty());
    let of = |alike: &SampledAlike| {
        let detail = alike.differs.join(", ");
        let finding = |setting: &String| {
            Finding::of_setting(WarningCode::SamplingDiffers, setting).about(setting).detail(&detail)
        };
        alike.settings.iter().map(finding).collect::<Vec<_>>()
    };
    others.flat_map(of).collect()
}

/// Tasks at which the reference is so good or so bad that damage cannot show.
pub(super) fn uninformative(run: &Run<'_>, summary: &Summary) -> Vec<Finding> {
    let reference = summary.tasks.iter().filter(|row| row.setting == summary.reference && row.uninformative);
    let finding = |row: &TaskRow| {
        let mean = row.quality.map_or(0.0, |quality| quality.value);
        let is_left_out = mean <= 0.0 && run.weight(&row.task) == Weight::Primary;
        let code = if is_left_out { WarningCode::TaskLeftOut } else { WarningCode::UninformativeTask };
        Finding::new(code).in_context(row.context).about(task_name(row)).figure(
            "reference_score",
            mean,
            Unit::Share,
        )
    };
    reference.map(finding).collect()
}

/// Context lengths at which the reference scores so little that its loss would be within the margin.
pub(super) fn nothing_to_lose(summary: &Summary) -> Vec<Finding> {
    let reference = summary.cells.iter().filter(|cell| cell.setting == summary.reference);
    let finding = |cell: &CellSummary| {
        let quality = cell.quality.filter(|quality| quality.value <= summary.margin)?;
        Some(
            Finding::new(WarningCode::NothingToLose)
                .in_context(cell.context)
                .figure("quality", quality.value, Unit::Share)
                .figure("margin", summary.margin, Unit::Share),
        )
    };
    reference.filter_map(finding).collect()
}

/// Context lengths at which probabilities were read on the way of prompts, and which.
pub(super) fn prefill_path(summary: &Summary) -> Vec<Finding> {
    let finding = |context: u32| {
        let mut cells = summary.cells.iter().filter(|cell| cell.context == context);
        let answers = cells.clone().any(|cell| cell.prefill_path);
        let detail = match (answers, cells.any(|cell| cell.kld_on_prefill_path)) {
            (false, false) => return None,
            (true, false) => "probabilities of answers",
            (false, true) => "next-token distributions",
            (true, true) => "probabilities",
        };
        Some(Finding::new(WarningCode::PrefillPath).in_context(context).detail(detail))
    };
    contexts(summary).into_iter().filter_map(finding).collect()
}

pub(super) fn broken(summary: &Summary) -> Vec<Finding> {
    let cells = summary.cells.iter().filter(|cell| cell.failed > 0 && cell.void.is_none());
    let cells = cells.map(|cell| {
        Finding::at(broken_code(cell, summary), &cell.setting, cell.context)
            .figure("failed", cell.failed, Unit::Trials)
            .figure("planned", cell.planned, Unit::Trials)
    });
    let broke_all = |row: &&TaskRow| row.setting == summary.reference && row.scored == 0 && row.failed > 0;
    let tasks = summary.tasks.iter().filter(|row| !row.sanity).filter(broke_all);
    let tasks = tasks.map(|row| {
        Finding::at(WarningCode::TaskBroke, &row.setting, row.context).about(task_name(row)).figure(
            "failed",
            row.failed,
            Unit::Trials,
        )
    });
    cells.chain(tasks).collect()
}

fn broken_code(cell: &CellSummary, summary: &Summary) -> WarningCode {
    if cell.quality.is_none() && cell.not_comparable.is_empty() {
        WarningCode::NothingScored
    } else if cell.setting == summary.reference {
        WarningCode::ReferenceBroke
    } else {
        WarningCode::TrialsBroke
    }
}

/// Cells that were not asked, or did not take, a whole task.
pub(super) fn not_comparable(summary: &Summary) -> Vec<Finding> {
    let cells = summary.cells.iter().filter(|cell| !cell.not_comparable.is_empty());
    let finding = |cell: &CellSummary| {
        Finding::at(WarningCode::NotComparable, &cell.setting, cell.context)
            .about(cell.not_comparable.join(", "))
    };
    cells.map(finding).collect()
}

pub(super) fn truncated(summary: &Summary) -> Option<Finding> {
    let truncated: u32 = summary.cells.iter().map(|cell| cell.truncated).sum();
    let scored: u32 = summary.cells.iter().map(|cell| cell.scored).sum();
    (truncated > 0).then(|| {
        Finding::new(WarningCode::RepliesTruncated).figure("truncated", truncated, Unit::Replies).figure(
            "scored",
            scored,
            Unit::Trials,
        )
    })
}

/// Served distributions of which the lists hold too little to say how far they moved.
pub(super) fn short_lists(summary: &Summary) -> Vec<Finding> {
    let worst = |context: u32| {
        let cells = summary.cells.iter().filter(|cell| cell.context == context);
        cells.filter_map(|cell| cell.kld.as_ref()?.unlisted).max_by(f64::total_cmp)
    };
    let finding = |context: u32| {
        let unlisted = worst(context).filter(|unlisted| *unlisted > UNLISTED_LIMIT)?;
        let finding = Finding::new(WarningCode::KldListsShort).in_context(context);
        Some(finding.figure("listed", 1.0 - unlisted, Unit::Share))
    };
    contexts(summary).into_iter().filter_map(finding).collect()
}

/// Speculation promises the very same tokens: where greedy replies part beyond the noise, it does not keep that.
pub(super) fn not_lossless(run: &Run<'_>, summary: &Summary) -> Vec<Finding> {
    let beyond = summary.divergence.iter().filter(|row| row.verdict == DivergenceVerdict::BeyondNoise);
    let finding = |row: &DivergenceRow| {
        Finding::at(WarningCode::SpeculationNotLossless, &row.setting, row.context)
            .figure("parted", row.parted.value, Unit::Share)
            .figure("replies", row.parted.n, Unit::Replies)
    };
    beyond.filter(|row| only_speculates(run, &row.setting)).map(finding).collect()
}

/// Whether a setting is the reference but for speculation.
fn only_speculates(run: &Run<'_>, label: &str) -> bool {
    let reference = run.suite.reference();
    let found = run.suite.settings.iter().find(|setting| setting.label == label);
    found.is_some_and(|setting| {
        setting.speculation != reference.speculation
            && (&setting.weights, &setting.k, &setting.v) == (&reference.weights, &reference.k, &reference.v)
    })
}

fn contexts(summary: &Summary) -> BTreeSet<u32> {
    summary.cells.iter().map(|cell| cell.context).collect()
}

pub(super) fn task_name(row: &TaskRow) -> String {
    row.arm.map_or(row.task.clone(), |arm| format!("{} ({arm})", row.task))
}
