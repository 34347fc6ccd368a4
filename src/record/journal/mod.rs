//! The journal: the only seam between measuring and judging. One JSON record a line.

mod check;
mod fingerprint;
mod folder;
mod header;
mod launch;
mod line;
pub mod loadtest;
pub mod pack;
mod read;
mod records;
mod whole;
mod write;

#[cfg(test)]
pub(crate) use fingerprint::NEWEST_TASK_VERSION;
pub use fingerprint::fingerprint;
pub use folder::{FILE_NAME, PACKED_NAME, has_header, is_in, is_locked};
pub use header::{FORMAT, Header};
pub use launch::{AttachedServer, LaunchRecord, PackedServer};
pub use read::{load, parse};
#[cfg(test)]
pub(crate) use records::Line;
pub use records::Record;
pub use whole::{HeldJournal, Journal};
pub use write::{JournalWriter, Place};
