//! Measured memory against the formula of `pick`.

use serde::Serialize;

use crate::judge::analysis::summary::{MemoryCheck, Summary};

/// A measured cell against the formula.
#[derive(Serialize)]
pub(super) struct MemoryView<'a> {
    setting: &'a str,
    check: &'a MemoryCheck,
    kv_disagrees: bool,
}

/// One row a measured cell whose model's cache is known.
pub(super) fn rows(summary: &Summary) -> Vec<MemoryView<'_>> {
    let fits = summary.memory_fits.iter();
    let rows = fits.flat_map(|fit| fit.checks.iter().map(|check| (fit.setting.as_str(), check)));
    rows.map(|(setting, check)| MemoryView { setting, check, kv_disagrees: check.kv_disagrees() }).collect()
}
