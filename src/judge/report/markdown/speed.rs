//! Speed by length of the prompt.

use serde::Serialize;

use super::super::text;
use crate::judge::analysis::summary::{Estimate, SpeedRow, Summary};

/// A setting on prompts of about one length.
#[derive(Serialize)]
pub(super) struct SpeedView {
    context: String,
    prompts: String,
    setting: String,
    ttft: String,
    ttft_ratio: String,
    prefill: String,
    decode: String,
    decode_ratio: String,
}

pub(super) fn rows(summary: &Summary) -> Vec<SpeedView> {
    let ratio = |ratio: Option<Estimate>| text::estimate(ratio, |value| format!("{value:.2}×"));
    let view = |row: &SpeedRow| SpeedView {
        context: text::tokens(row.context),
        prompts: match row.shortest == row.longest {
            true => text::tokens(row.longest),
            false => format!("{} to {}", text::tokens(row.shortest), text::tokens(row.longest)),
        },
        setting: text::code(&row.setting),
        ttft: text::estimate(row.ttft_s, text::seconds),
        ttft_ratio: ratio(row.ttft_ratio),
        prefill: text::estimate(row.prefill_tps, text::significant),
        decode: text::estimate(row.decode_tps, text::significant),
        decode_ratio: ratio(row.decode_ratio),
    };
    summary.speeds.iter().map(view).collect()
}
