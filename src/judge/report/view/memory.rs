//! Measured memory against the formula of `pick`.

use serde::Serialize;

use crate::judge::analysis::summary::{MemoryCheck, Summary};

/// A measured cell against the formula.
#[derive(Serialize)]
pub(super) struct MemoryRow<'a> {
    setting: &'a str,
    check: &'a MemoryCheck,
    kv_disagrees: bool,
}

/// Returns a row for every measured cell whose model's cache is known.
pub(super) fn rows(summary: &Summary) -> Vec<MemoryRow<'_>> {
    let fits = summary.memory_fits.iter();
    let rows = fits.flat_map(|fit| fit.checks.iter().map(|check| (fit.setting.as_str(), check)));
    rows.map(|(setting, check)| MemoryRow { setting, check, kv_disagrees: check.kv_disagrees() }).collect()
}
