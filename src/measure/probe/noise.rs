//! The machine's noise during a trial: stolen time, other processes, load, clock.

use std::time::Duration;

use procfs::process::Process;
use procfs::{CpuInfo, CpuTime, Current, CurrentSI, KernelStats, LoadAverage};

use super::entry::{Probe, ProbeEntry, Subject};
use crate::error::{Context, Result};
use crate::measure::processes::tree;
use crate::record::{Measurement, Source, metric};

/// The line of the table.
pub const ENTRY: ProbeEntry = ProbeEntry {
    name: "noise",
    summary: "stolen CPU time, CPU use of other processes, load and mean clock during a trial",
    check,
    metrics: &[
        (metric::STEAL, Source::Procfs),
        (metric::OTHER_CPU, Source::Procfs),
        (metric::LOAD1, Source::Procfs),
        (metric::CPU_HZ, Source::Procfs),
    ],
    start: |subject| Box::new(Noise::new(subject)),
};

/// Below this many ticks of all processors together a share is mostly rounding.
const MIN_TICKS: u64 = 10;

fn check() -> Result<String, String> {
    KernelStats::current().map_err(|error| format!("/proc/stat cannot be read: {error}"))?;
    match mean_clock() {
        Ok(_) => Ok("stolen and foreign CPU time, load, clock".to_owned()),
        Err(reason) => Ok(format!("stolen and foreign CPU time, load ({reason})")),
    }
}

/// CPU time since boot (ticks of all processors together).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Ticks {
    total: u64,
    busy: u64,
    steal: u64,
    /// Used by the server's processes and kneepoint.
    ours: u64,
}

#[derive(Debug)]
struct Noise {
    server: u32,
    first: Option<Ticks>,
    last: Option<Ticks>,
    error: Option<String>,
}

impl Noise {
    fn new(subject: Subject) -> Self {
        Self { server: subject.server_pid, first: None, last: None, error: None }
    }

    fn shares(&self) -> Result<(f64, f64), String> {
        match (self.first, self.last, &self.error) {
            (_, _, Some(error)) => Err(error.clone()),
            (Some(first), Some(last), None) => shares(first, last),
            _ => Err("no sample was taken".to_owned()),
        }
    }
}

impl Probe for Noise {
    fn name(&self) -> &'static str {
        ENTRY.name
    }

    fn interval(&self) -> Option<Duration> {
        None
    }

    fn sample(&mut self) -> Result<()> {
        let ticks = ticks(self.server).inspect_err(|error| self.error = Some(error.to_string()))?;
        self.first.get_or_insert(ticks);
        self.last = Some(ticks);
        Ok(())
    }

    fn take(&mut self) -> Vec<Measurement> {
        let (steal, other) = match self.shares() {
            Ok((steal, other)) => (Ok(steal), Ok(other)),
            Err(reason) => (Err(reason.clone()), Err(reason)),
        };
        (self.first, self.last, self.error) = (None, None, None);
        vec![
            measurement(metric::STEAL, steal),
            measurement(metric::OTHER_CPU, other),
            measurement(metric::LOAD1, load1()),
            measurement(metric::CPU_HZ, mean_clock()),
        ]
    }
}

fn measurement(name: &'static str, value: Result<f64, String>) -> Measurement {
    match value {
        Ok(value) => Measurement::new(name, Source::Procfs, value),
        Err(reason) => Measurement::absent(name, Source::Procfs, reason),
    }
}

/// Shares (0..1) of the machine's CPU time between two samples: stolen, and used by others.
fn shares(first: Ticks, last: Ticks) -> Result<(f64, f64), String> {
    let total = last.total.saturating_sub(first.total);
    if total < MIN_TICKS {
        return Err("the trial was too short for the kernel's clock tick".to_owned());
    }
    let share = |from: u64, to: u64| to.saturating_sub(from) as f64 / total as f64;
    let busy = share(first.busy, last.busy);
    let ours = share(first.ours, last.ours);
    // The two counters are read one after the other and tick apart.
    Ok((share(first.steal, last.steal), (busy - ours).clamp(0.0, 1.0)))
}

fn ticks(server: u32) -> Result<Ticks> {
    let time = KernelStats::current().context(|| "cannot read /proc/stat".to_owned())?.total;
    let mut ours = own_ticks();
    for pid in tree(server)? {
        ours += process_ticks(Process::new(pid));
    }
    Ok(Ticks {
        total: busy(&time) + time.idle + time.iowait.unwrap_or_default() + time.steal.unwrap_or_default(),
        busy: busy(&time),
        steal: time.steal.unwrap_or_default(),
        ours,
    })
}

/// Time that processors worked; guests are counted in `user` and `nice` already.
fn busy(time: &CpuTime) -> u64 {
    time.user + time.nice + time.system + time.irq.unwrap_or_default() + time.softirq.unwrap_or_default()
}

fn own_ticks() -> u64 {
    process_ticks(Process::myself())
}

/// User and system time of a process; 0 once it is gone (its time then counts as another's).
fn process_ticks(process: procfs::ProcResult<Process>) -> u64 {
    match process.and_then(|process| process.stat()) {
        Ok(stat) => stat.utime + stat.stime,
        Err(_) => 0,
    }
}

fn load1() -> Result<f64, String> {
    match LoadAverage::current() {
        Ok(load) => Ok(f64::from(load.one)),
        Err(error) => Err(format!("/proc/loadavg cannot be read: {error}")),
    }
}

/// Mean clock of the processors (Hz).
fn mean_clock() -> Result<f64, String> {
    let info = CpuInfo::current().map_err(|error| format!("/proc/cpuinfo cannot be read: {error}"))?;
    let clocks: Vec<f64> =
        (0..info.num_cores()).filter_map(|cpu| info.get_field(cpu, "cpu MHz")?.trim().parse().ok()).collect();
    if clocks.is_empty() {
        return Err("/proc/cpuinfo names no clock".to_owned());
    }
    Ok(clocks.iter().sum::<f64>() / clocks.len() as f64 * 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Ticks = Ticks { total: 1000, busy: 500, steal: 10, ours: 100 };

    #[test]
    fn shares_are_of_the_whole_machine() {
        let end = Ticks { total: 1200, busy: 650, steal: 20, ours: 220 };
        let (steal, other) = shares(START, end).unwrap();
        assert!((steal - 0.05).abs() < 1e-12);
        assert!((other - 0.15).abs() < 1e-12);
    }

    #[test]
    fn our_own_work_is_not_noise_even_when_counters_tick_apart() {
        let end = Ticks { total: 1100, busy: 600, steal: 10, ours: 203 };
        assert_eq!(shares(START, end).unwrap(), (0.0, 0.0));
    }

    #[test]
    fn a_blink_has_no_share() {
        let end = Ticks { total: 1005, ..START };
        assert!(shares(START, end).unwrap_err().contains("too short"));
    }

    #[test]
    fn a_real_trial_has_shares() {
        let mut probe = Noise::new(Subject { server_pid: std::process::id() });
        probe.sample().unwrap();
        let until = std::time::Instant::now() + Duration::from_millis(300);
        let mut work = 0_u64;
        while std::time::Instant::now() < until {
            work = std::hint::black_box(work.wrapping_add(1));
        }
        probe.sample().unwrap();
        let measured = probe.take();
        assert_eq!(measured.len(), ENTRY.metrics.len());
        for name in [metric::STEAL, metric::OTHER_CPU] {
            let share = measured.iter().find(|m| m.name == name).unwrap().value.unwrap();
            assert!((0.0..=1.0).contains(&share), "{name} = {share}");
        }
        assert!(probe.take()[0].absent.is_some(), "the next trial starts afresh");
    }
}
