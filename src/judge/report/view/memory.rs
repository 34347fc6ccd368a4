//! Measured memory against the formula of `pick`.

use serde::Serialize;

use crate::judge::analysis::summary::{MemoryCheck, Summary};

/// A measured cell against the formula.
#[derive(Serialize)]
pub(in crate::judge::report) struct CheckRow<'a> {
    check: &'a MemoryCheck,
    kv_disagrees: bool,
}

impl<'a> CheckRow<'a> {
    pub(in crate::judge::report) fn of(check: &'a MemoryCheck) -> Self {
        Self { check, kv_disagrees: check.kv_disagrees() }
    }
}

/// The same, with the setting that it is of.
#[derive(Serialize)]
pub(super) struct MemoryRow<'a> {
    setting: &'a str,
    #[serde(flatten)]
    row: CheckRow<'a>,
}

/// Returns a row for every measured cell whose model's cache is known.
pub(super) fn rows(summary: &Summary) -> Vec<MemoryRow<'_>> {
    let fits = summary.memory_fits.iter();
    let rows = fits.flat_map(|fit| fit.checks.iter().map(|check| (fit.setting.as_str(), check)));
    rows.map(|(setting, check)| MemoryRow { setting, row: CheckRow::of(check) }).collect()
}
