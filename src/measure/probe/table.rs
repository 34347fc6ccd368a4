//! The table of probes: a new one is its file and a line here.

use super::entry::ProbeEntry;
use super::{amd, intel, memory, noise, nvidia, rapl};

/// Every probe that kneepoint knows.
pub static PROBES: &[ProbeEntry] =
    &[memory::ENTRY, noise::ENTRY, nvidia::ENTRY, amd::ENTRY, intel::ENTRY, rapl::ENTRY];
