//! Probes: what the machine and the server's processes cost while a request runs.
//!
//! A new probe is one file and one line in [`PROBES`].

pub mod amd;
pub mod bandwidth;
mod drm;
mod entry;
pub mod intel;
mod joules;
pub mod listener;
pub mod machine;
pub mod memory;
pub mod near;
pub mod noise;
pub mod nvidia;
pub mod rapl;
pub mod sampler;
mod sysfs;
mod table;

pub use entry::{Probe, ProbeEntry, Subject};
pub use table::PROBES;
