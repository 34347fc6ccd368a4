//! The table of formats: one line for each.

use super::{Format, bfcl, own, qa, requests, ruler};

/// Every format of cases; the first is kneepoint's own.
pub static FORMATS: &[&dyn Format] = &[&own::Own, &ruler::Ruler, &qa::Qa, &bfcl::Bfcl, &requests::Requests];

/// The format of that name.
pub fn find(name: &str) -> Option<&'static dyn Format> {
    FORMATS.iter().copied().find(|format| format.name() == name)
}
