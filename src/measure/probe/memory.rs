//! Memory of the server's process tree, from `/proc`.

use std::time::{Duration, Instant};

use procfs::process::Process;

use super::entry::{Probe, ProbeEntry, Subject};
use crate::error::{Error, Result};
use crate::measure::processes::tree;
use crate::record::{Measurement, Source, metric};

/// The line of the table.
pub const ENTRY: ProbeEntry = ProbeEntry {
    name: "memory",
    summary: "peak resident, proportional, anonymous and file-mapped memory of the server's processes",
    check,
    metrics: &[
        (metric::PEAK_RSS_BYTES, Source::Procfs),
        (metric::PEAK_PSS_BYTES, Source::Procfs),
        (metric::PEAK_ANON_BYTES, Source::Procfs),
        (metric::PEAK_FILE_BYTES, Source::Procfs),
    ],
    start: |subject| Box::new(Memory::new(subject)),
};

/// Time between two samples.
const INTERVAL: Duration = Duration::from_millis(250);
/// How long a list of the server's processes is good for: to find them takes a file of every process on the machine.
const LISTED_FOR: Duration = Duration::from_secs(1);
/// How much the resident size must have grown (a ratio) for the proportional one to be read again within a trial: the kernel
/// walks every page table entry for it, a millisecond for some hundred MiB, with the map of the server's memory locked.
const GROWN: f64 = 1.01;

fn check() -> Result<String, String> {
    let own = Process::myself().map_err(|error| format!("/proc cannot be read: {error}"))?;
    match pss(&own) {
        Ok(_) => Ok("resident and proportional set sizes".to_owned()),
        Err(error) => Ok(format!("resident set sizes only: {error}")),
    }
}

/// Peaks over the process tree (bytes), each the largest sum that a sample saw.
#[derive(Debug, Default)]
struct Peaks {
    rss: Option<u64>,
    pss: Option<u64>,
    anon: Option<u64>,
    file: Option<u64>,
}

#[derive(Debug)]
struct Memory {
    server: u32,
    /// Its processes, and when they were listed.
    listed: Option<(Instant, Vec<i32>)>,
    peaks: Peaks,
    /// Resident size when the proportional one was last read in this trial (bytes).
    walked_at: Option<u64>,
    rss_error: Option<String>,
    pss_error: Option<String>,
}

impl Memory {
    fn new(subject: Subject) -> Self {
        Self {
            server: subject.server_pid,
            listed: None,
            peaks: Peaks::default(),
            walked_at: None,
            rss_error: None,
            pss_error: None,
        }
    }

    fn look(&mut self) -> Result<(Sizes, Vec<Process>)> {
        let listed = self.listed.take().filter(|(when, _)| when.elapsed() < LISTED_FOR);
        let (when, pids) = match listed {
            Some(listed) => listed,
            None => (Instant::now(), tree(self.server)?),
        };
        let seen = sizes(self.server, &pids);
        self.listed = Some((when, pids));
        seen
    }

    /// Whether the proportional size may be larger than what was read of it.
    fn has_grown(&self, resident: u64) -> bool {
        self.walked_at.is_none_or(|then| resident as f64 > then as f64 * GROWN)
    }

    fn add_pss(&mut self, resident: u64, pss: Result<u64, String>) {
        self.walked_at = Some(resident);
        match pss {
            Ok(pss) => self.peaks.pss = self.peaks.pss.max(Some(pss)),
            Err(reason) => self.pss_error = Some(reason),
        }
    }
}

impl Probe for Memory {
    fn name(&self) -> &'static str {
        ENTRY.name
    }

    fn interval(&self) -> Option<Duration> {
        Some(INTERVAL)
    }

    fn sample(&mut self) -> Result<()> {
        let (sizes, processes) = self.look().inspect_err(|error| self.rss_error = Some(error.to_string()))?;
        self.peaks.rss = self.peaks.rss.max(Some(sizes.high_water));
        self.peaks.anon = self.peaks.anon.max(Some(sizes.anon));
        self.peaks.file = self.peaks.file.max(Some(sizes.file));
        if self.has_grown(sizes.resident) {
            self.add_pss(sizes.resident, all_pss(&processes, self.server));
        }
        Ok(())
    }

    fn take(&mut self) -> Vec<Measurement> {
        let peaks = std::mem::take(&mut self.peaks);
        self.walked_at = None;
        let rss_error = self.rss_error.take();
        let reason = rss_error.unwrap_or_else(|| "no sample was taken".to_owned());
        let pss_reason = self.pss_error.take().unwrap_or_else(|| reason.clone());
        vec![
            bytes(metric::PEAK_RSS_BYTES, peaks.rss, &reason),
            bytes(metric::PEAK_PSS_BYTES, peaks.pss, &pss_reason),
            bytes(metric::PEAK_ANON_BYTES, peaks.anon, &reason),
            bytes(metric::PEAK_FILE_BYTES, peaks.file, &reason),
        ]
    }
}

fn bytes(name: &'static str, value: Option<u64>, reason: &str) -> Measurement {
    match value {
        Some(value) => Measurement::new(name, Source::Procfs, value as f64),
        None => Measurement::absent(name, Source::Procfs, reason),
    }
}

/// What one sample saw, summed over the process tree (bytes).
#[derive(Debug, Default)]
struct Sizes {
    resident: u64,
    /// For a server that is a single process its own high-water mark (`VmHWM`, since its start) instead of the resident size of
    /// this moment: memory belongs to the cell, and a peak between two samples is not missed.
    high_water: u64,
    anon: u64,
    file: u64,
}

/// One sample, and the processes that it saw.
fn sizes(server: u32, pids: &[i32]) -> Result<(Sizes, Vec<Process>)> {
    let alone = pids.len() == 1;
    let mut sum = Sizes::default();
    let mut processes = Vec::new();
    for &pid in pids {
        // A child may end while we look; the server itself may not.
        match Process::new(pid).and_then(|process| Ok((process.status()?, process))) {
            Ok((status, process)) => {
                let kib = |value: Option<u64>| value.unwrap_or_default() * 1024;
                sum.resident += kib(status.vmrss);
                sum.high_water += kib(if alone { status.vmhwm.max(status.vmrss) } else { status.vmrss });
                sum.anon += kib(status.rssanon);
                sum.file += kib(status.rssfile);
                processes.push(process);
            }
            Err(error) if i64::from(pid) == i64::from(server) => {
                return Err(Error::runtime(format!("process {server} cannot be read: {error}")));
            }
            Err(_) => {}
        }
    }
    if sum.resident == 0 {
        return Err(Error::runtime(format!("process {server} has no memory: it has ended")));
    }
    Ok((sum, processes))
}

/// Proportional set sizes of a server's processes, summed (bytes).
fn all_pss(processes: &[Process], server: u32) -> Result<u64, String> {
    let mut sum = 0;
    for process in processes {
        match pss(process) {
            Ok(bytes) => sum += bytes,
            Err(_) if i64::from(process.pid) != i64::from(server) && !process.is_alive() => {}
            Err(reason) => return Err(reason),
        }
    }
    Ok(sum)
}

/// Proportional set size of one process (bytes).
fn pss(process: &Process) -> Result<u64, String> {
    let rollup =
        process.smaps_rollup().map_err(|error| format!("proportional set size cannot be read: {error}"))?;
    rollup
        .memory_map_rollup
        .0
        .first()
        .and_then(|map| map.extension.map.get("Pss").copied())
        .ok_or_else(|| "the kernel reports no proportional set size".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(measurements: &[Measurement], name: &str) -> f64 {
        measurements.iter().find(|m| m.name == name).unwrap().value.unwrap()
    }

    #[test]
    fn own_process_has_plausible_sizes() {
        let mut probe = Memory::new(Subject { server_pid: std::process::id() });
        let ballast = vec![1_u8; 32 << 20];
        probe.sample().unwrap();
        assert_eq!(ballast.iter().map(|&b| u64::from(b)).sum::<u64>(), 32 << 20);
        let measured = probe.take();
        assert!(value(&measured, metric::PEAK_RSS_BYTES) >= (32 << 20) as f64);
        assert!(value(&measured, metric::PEAK_ANON_BYTES) >= (32 << 20) as f64);
        assert!(value(&measured, metric::PEAK_FILE_BYTES) > 0.0);
        assert!(value(&measured, metric::PEAK_PSS_BYTES) <= value(&measured, metric::PEAK_RSS_BYTES));
    }

    #[test]
    fn a_process_that_is_gone_is_absent_with_a_reason() {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        child.wait().unwrap();
        let mut probe = Memory::new(Subject { server_pid: child.id() });
        assert!(probe.sample().is_err());
        for measurement in probe.take() {
            assert_eq!(measurement.value, None);
            assert!(measurement.absent.unwrap().contains("process"));
        }
    }

    #[test]
    fn the_proportional_size_is_read_again_when_there_is_more_memory() {
        let mut probe = Memory::new(Subject { server_pid: std::process::id() });
        assert!(probe.has_grown(0), "nothing was read in this trial");
        probe.add_pss(1000 << 20, Ok(900 << 20));
        assert!(!probe.has_grown(1000 << 20) && !probe.has_grown(1009 << 20));
        assert!(probe.has_grown(1011 << 20));
        probe.add_pss(1011 << 20, Ok(911 << 20));
        assert!(!probe.has_grown(1011 << 20), "a size that was kept is not read at every sample");
        assert_eq!(value(&probe.take(), metric::PEAK_PSS_BYTES), f64::from(911 << 20));
        assert!(probe.has_grown(0), "every trial has a figure of its own");
    }

    #[test]
    fn peaks_are_of_one_trial() {
        let mut probe = Memory::new(Subject { server_pid: std::process::id() });
        probe.sample().unwrap();
        probe.take();
        assert!(probe.take().iter().all(|m| m.absent.as_deref() == Some("no sample was taken")));
    }
}
