//! The table of probes: a new one is its file and a line here.

use super::entry::ProbeEntry;

/// Every probe that kneepoint knows.
pub static PROBES: &[ProbeEntry] = &[
    super::memory::ENTRY,
    super::noise::ENTRY,
    super::nvidia::ENTRY,
    super::amd::ENTRY,
    super::intel::ENTRY,
    super::rapl::ENTRY,
];
