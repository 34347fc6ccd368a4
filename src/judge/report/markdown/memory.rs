//! The table of measured memory against the formula of `pick`.

use serde::Serialize;

use crate::judge::analysis::summary::{MemoryCheck, MemoryFit, Summary};
use crate::judge::report::text;

/// A measured cell against the formula.
#[derive(Serialize)]
pub(super) struct MemoryView {
    setting: String,
    context: String,
    kv_reported: String,
    kv_formula: String,
    peak: String,
    formula: String,
    residual: String,
}

/// One row a measured cell whose model's cache is known.
pub(super) fn rows(summary: &Summary) -> Vec<MemoryView> {
    summary.memory_fits.iter().flat_map(|fit| fit.checks.iter().map(|check| row(fit, check))).collect()
}

fn row(fit: &MemoryFit, check: &MemoryCheck) -> MemoryView {
    let bytes = |value: Option<u64>| value.map_or(text::NONE.to_owned(), text::bytes);
    MemoryView {
        setting: text::code(&fit.setting),
        context: text::tokens(check.context),
        kv_reported: bytes(check.kv_reported_bytes),
        kv_formula: if check.kv_disagrees() {
            format!("**{}**", bytes(check.kv_formula_bytes))
        } else {
            bytes(check.kv_formula_bytes)
        },
        peak: bytes(check.peak_bytes),
        formula: bytes(check.formula_bytes),
        residual: check.residual_bytes.map_or(text::NONE.to_owned(), text::signed_bytes),
    }
}
