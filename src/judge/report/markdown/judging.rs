//! What the template shows of fronts and stopping early.

use serde::Serialize;

use super::super::text::{self, joined, or_none};
use crate::judge::analysis::summary::{FrontSummary, StoppingSummary, Summary};
use crate::record::{Decision, StopReason};

#[derive(Serialize)]
pub(super) struct FrontView {
    context: String,
    knee: String,
    volume: String,
}

#[derive(Serialize)]
pub(super) struct StoppingView {
    rule: String,
    saved: String,
    guarantee: String,
    cells: Vec<StoppedView>,
}

#[derive(Serialize)]
struct StoppedView {
    round: u32,
    setting: String,
    context: String,
    reason: &'static str,
    because: String,
}

pub(super) fn fronts(summary: &Summary) -> Vec<FrontView> {
    let view = |front: &FrontSummary| FrontView {
        context: text::tokens(front.context),
        knee: knee(front),
        volume: text::estimate(front.hypervolume, text::significant),
    };
    summary.fronts.iter().map(view).collect()
}

/// The settings that are the knee in at least a tenth of the draws, and how often there is none.
fn knee(front: &FrontSummary) -> String {
    let percent = |share: f64| format!("{:.0}%", share * 100.0);
    let often = front.knees.iter().filter(|knee| knee.frequency >= 0.1);
    let mut parts: Vec<String> =
        often.map(|knee| format!("{} ({})", text::code(&knee.setting), percent(knee.frequency))).collect();
    if let Some(none) = front.no_knee.filter(|share| *share >= 0.1) {
        parts.push(format!("none ({})", percent(none)));
    }
    or_none((!parts.is_empty()).then(|| joined(parts.into_iter())))
}

pub(super) fn stopping(summary: &Summary) -> Option<StoppingView> {
    let stopping = summary.stopping.as_ref()?;
    Some(StoppingView {
        rule: text::markdown_whole(&stopping.rule),
        saved: saved(summary, stopping),
        guarantee: text::markdown_whole(&stopping.guarantee),
        cells: stopping
            .decisions
            .iter()
            .map(|decision| StoppedView {
                round: decision.after_round + 1,
                setting: visit(decision),
                context: text::tokens(decision.context),
                reason: match decision.reason {
                    StopReason::Settled => "settled",
                    StopReason::Dominated => "dominated",
                    StopReason::Budget => "budget",
                    StopReason::NothingLeft => "nothing left to compare",
                },
                because: text::markdown(&decision.because),
            })
            .collect(),
    })
}

fn visit(decision: &Decision) -> String {
    let setting = text::code(&decision.setting);
    if decision.replicate == Some(1) { format!("{setting} (its second visit)") } else { setting }
}

fn saved(summary: &Summary, stopping: &StoppingSummary) -> String {
    let all = summary.planned + stopping.saved;
    let share = f64::from(stopping.saved) / f64::from(all.max(1));
    format!(
        "{} of {} planned trials ({})",
        text::thousands(u64::from(stopping.saved)),
        text::thousands(u64::from(all)),
        text::percent(share)
    )
}
