//! The journal: the only seam between measuring and judging. One JSON record a line.

mod belongs;
mod check;
mod fingerprint;
mod folder;
mod header;
mod index;
mod join;
mod launch;
mod line;
pub mod loadtest;
pub mod pack;
mod read;
mod records;
mod shelf;
mod whole;
mod write;

pub use belongs::difference;
#[cfg(test)]
pub(crate) use fingerprint::NEWEST_TASK_VERSION;
pub use fingerprint::fingerprint;
pub use folder::{FILE_NAME, PACKED_NAME, PARTS, changed, has_header, is_in, is_locked, parts};
pub use header::{FORMAT, Header};
pub use join::{load, own, progress};
pub use launch::{AttachedServer, LaunchRecord, PackedServer};
pub use read::parse;
#[cfg(test)]
pub(crate) use records::Line;
pub use records::Record;
pub use whole::{HeldJournal, Journal, Part};
pub use write::{JournalWriter, Place};
