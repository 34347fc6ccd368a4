//! What a probe is: the trait, and a line of the table of probes.

use std::time::Duration;

use crate::error::Result;
use crate::record::{Measurement, Source};

/// What a probe looks at.
#[derive(Debug, Clone, Copy)]
pub struct Subject {
    /// Process id of the server; its children count too.
    pub server_pid: u32,
}

/// Samples something on an OS thread of its own while a trial runs.
pub trait Probe: Send {
    /// Name in logs and in `kneepoint doctor`.
    fn name(&self) -> &'static str;

    /// How often to sample between the start and the end of a trial; `None`: only then.
    fn interval(&self) -> Option<Duration>;

    /// Takes one sample; called at the start of a trial, then at the probe's interval, then at its end.
    ///
    /// # Errors
    /// When the source cannot be read; the reason becomes the absent measurement's.
    fn sample(&mut self) -> Result<()>;

    /// Ends the trial: what was measured since the last `take`, absent figures with their reason.
    fn take(&mut self) -> Vec<Measurement>;
}

/// A line of the table: how to find out whether a probe works here, and how to start one.
pub struct ProbeEntry {
    /// Name in `kneepoint doctor`.
    pub name: &'static str,
    /// What it measures, one line.
    pub summary: &'static str,
    /// Says why it cannot work on this machine; `Ok` with what it found otherwise.
    pub check: fn() -> Result<String, String>,
    /// What it measures, by [`metric`](crate::record::metric) name: absent with a reason when it breaks.
    pub metrics: &'static [(&'static str, Source)],
    /// Starts one for a server.
    pub start: fn(Subject) -> Box<dyn Probe>,
}
