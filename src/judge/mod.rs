//! Everything that reads a journal: statistics, verdicts, reports. Pure: the same journal gives the same bytes.

pub mod analysis;
pub mod report;
pub mod serving;
pub mod stats;
