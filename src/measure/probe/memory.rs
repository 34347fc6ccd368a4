//! Memory of the server's process tree, from `/proc`.

use std::time::Duration;

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

/// Reading `smaps_rollup` walks every page table entry of the process: seldom enough not to be felt.
const INTERVAL: Duration = Duration::from_millis(250);

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
    peaks: Peaks,
    rss_error: Option<String>,
    pss_error: Option<String>,
}

impl Memory {
    fn new(subject: Subject) -> Self {
        Self { server: subject.server_pid, peaks: Peaks::default(), rss_error: None, pss_error: None }
    }

    fn add(&mut self, sizes: &Sizes) {
        let peaks = &mut self.peaks;
        peaks.rss = peaks.rss.max(Some(sizes.rss));
        peaks.anon = peaks.anon.max(Some(sizes.anon));
        peaks.file = peaks.file.max(Some(sizes.file));
        match &sizes.pss {
            Ok(pss) => peaks.pss = peaks.pss.max(Some(*pss)),
            Err(reason) => self.pss_error = Some(reason.clone()),
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
        let sizes = sizes(self.server).inspect_err(|error| self.rss_error = Some(error.to_string()))?;
        self.add(&sizes);
        Ok(())
    }

    fn take(&mut self) -> Vec<Measurement> {
        let peaks = std::mem::take(&mut self.peaks);
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
#[derive(Debug)]
struct Sizes {
    rss: u64,
    anon: u64,
    file: u64,
    pss: Result<u64, String>,
}

/// One sample.
///
/// For a server that is a single process its own high-water mark (`VmHWM`, since its start) stands in for
/// the sampled resident size: memory belongs to the cell, and a peak between two samples is not missed.
fn sizes(server: u32) -> Result<Sizes> {
    let pids = tree(server)?;
    let alone = pids.len() == 1;
    let mut sum = Sizes { rss: 0, anon: 0, file: 0, pss: Ok(0) };
    for pid in pids {
        // A child may end while we look; the server itself may not.
        match Process::new(pid).and_then(|process| Ok((process.status()?, process))) {
            Ok((status, process)) => {
                let kib = |value: Option<u64>| value.unwrap_or_default() * 1024;
                sum.rss += kib(if alone { status.vmhwm.max(status.vmrss) } else { status.vmrss });
                sum.anon += kib(status.rssanon);
                sum.file += kib(status.rssfile);
                sum.pss = match (sum.pss, pss(&process)) {
                    (Ok(total), Ok(more)) => Ok(total + more),
                    (Ok(total), Err(_)) if i64::from(pid) != i64::from(server) && !process.is_alive() => {
                        Ok(total)
                    }
                    (Err(reason), _) | (_, Err(reason)) => Err(reason),
                };
            }
            Err(error) if i64::from(pid) == i64::from(server) => {
                return Err(Error::runtime(format!("process {server} cannot be read: {error}")));
            }
            Err(_) => {}
        }
    }
    if sum.rss == 0 {
        return Err(Error::runtime(format!("process {server} has no memory: it has ended")));
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
    fn peaks_are_of_one_trial() {
        let mut probe = Memory::new(Subject { server_pid: std::process::id() });
        probe.sample().unwrap();
        probe.take();
        assert!(probe.take().iter().all(|m| m.absent.as_deref() == Some("no sample was taken")));
    }
}
