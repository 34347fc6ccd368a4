//! Runs the probes on an OS thread of its own, so that nothing of them lands on the client's clock.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::entry::{Probe, ProbeEntry, Subject};
use super::table::PROBES;
use crate::error::{Context, Result};
use crate::record::Measurement;

/// The shortest time between two samples.
const TICK: Duration = Duration::from_millis(25);

/// The sampling thread of one server; ends when dropped.
#[derive(Debug)]
pub struct Sampler {
    commands: Option<Sender<Command>>,
    thread: Option<JoinHandle<()>>,
    /// Why there is nothing to be sampled.
    absent: Option<String>,
}

enum Command {
    /// A trial starts; answered when the first samples are taken.
    Begin(Sender<()>),
    /// The trial ended: last samples, then everything measured.
    End(Sender<Vec<Measurement>>),
}

impl Sampler {
    /// Starts every probe of [`PROBES`] for a server.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn start(subject: Subject) -> Result<Self> {
        Self::with_probes(PROBES, subject)
    }

    /// For a server whose processes cannot be looked at: everything is absent with this reason.
    pub fn absent(reason: String) -> Self {
        Self { commands: None, thread: None, absent: Some(reason) }
    }

    fn with_probes(entries: &'static [ProbeEntry], subject: Subject) -> Result<Self> {
        let (commands, received) = channel();
        let thread = std::thread::Builder::new()
            .name("sampler".to_owned())
            .spawn(move || {
                let slots = entries.iter().map(|entry| Slot::start(entry, subject)).collect();
                serve(slots, &received);
            })
            .context(|| "cannot start the sampling thread".to_owned())?;
        Ok(Self { commands: Some(commands), thread: Some(thread), absent: None })
    }

    /// A trial starts. Returns when the first samples are taken, so that they do not fall into its time.
    pub fn begin(&self) {
        let (done, wait) = channel();
        if self.send(Command::Begin(done)) {
            // An error means that the thread is gone: `end` says so.
            let _ = wait.recv();
        }
    }

    /// The trial ended: what was measured since [`begin`](Self::begin), absent figures with their reason.
    pub fn end(&self) -> Vec<Measurement> {
        let (done, wait) = channel();
        let measured = if self.send(Command::End(done)) { wait.recv().ok() } else { None };
        let reason = self.absent.as_deref().unwrap_or("the sampling thread is gone");
        measured.unwrap_or_else(|| PROBES.iter().flat_map(|entry| absent(entry, reason)).collect())
    }

    fn send(&self, command: Command) -> bool {
        self.commands.as_ref().is_some_and(|commands| commands.send(command).is_ok())
    }
}

impl Drop for Sampler {
    fn drop(&mut self) {
        // The thread ends when nobody can send to it any more.
        self.commands = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The thread: waits for a trial, samples while it runs.
fn serve(mut slots: Vec<Slot>, commands: &Receiver<Command>) {
    let mut in_trial = false;
    loop {
        let command = if in_trial {
            commands.recv_timeout(TICK)
        } else {
            commands.recv().map_err(|_| RecvTimeoutError::Disconnected)
        };
        match command {
            Ok(Command::Begin(done)) => {
                in_trial = true;
                slots.iter_mut().for_each(Slot::begin);
                let _ = done.send(());
            }
            Ok(Command::End(done)) => {
                in_trial = false;
                let _ = done.send(slots.iter_mut().flat_map(Slot::end).collect());
            }
            Err(RecvTimeoutError::Timeout) => slots.iter_mut().for_each(Slot::tick),
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

/// A probe and what became of it.
struct Slot {
    entry: &'static ProbeEntry,
    /// `None` with the reason once it has panicked: its state can no longer be trusted.
    probe: Result<Box<dyn Probe>, String>,
    sampled: Instant,
    in_trial: bool,
}

impl Slot {
    fn start(entry: &'static ProbeEntry, subject: Subject) -> Self {
        Self {
            entry,
            probe: guarded(entry, || (entry.start)(subject)),
            sampled: Instant::now(),
            in_trial: false,
        }
    }

    fn begin(&mut self) {
        // Whatever an aborted trial left behind does not belong to this one.
        if std::mem::replace(&mut self.in_trial, true) {
            self.with_probe(|probe| probe.take());
        }
        self.sample();
    }

    fn tick(&mut self) {
        let interval = self.probe.as_ref().ok().and_then(|probe| probe.interval());
        if interval.is_some_and(|interval| self.sampled.elapsed() >= interval) {
            self.sample();
        }
    }

    fn end(&mut self) -> Vec<Measurement> {
        self.sample();
        self.in_trial = false;
        match self.with_probe(|probe| probe.take()) {
            Some(measured) => measured,
            None => {
                let reason = self.probe.as_ref().err().cloned().unwrap_or_default();
                absent(self.entry, &reason).collect()
            }
        }
    }

    /// A failed sample is the probe's to report in its `take`.
    fn sample(&mut self) {
        let failed = self.with_probe(|probe| probe.sample().err());
        if let Some(Some(error)) = failed {
            tracing::debug!(probe = self.entry.name, %error, "no sample");
        }
        self.sampled = Instant::now();
    }

    fn with_probe<T>(&mut self, act: impl FnOnce(&mut dyn Probe) -> T) -> Option<T> {
        let probe = self.probe.as_mut().ok()?;
        match guarded(self.entry, || act(probe.as_mut())) {
            Ok(value) => Some(value),
            Err(reason) => {
                self.probe = Err(reason);
                None
            }
        }
    }
}

/// Runs code of a probe; a panic becomes a reason.
fn guarded<T>(entry: &ProbeEntry, act: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(act)).map_err(|_| format!("probe `{}` panicked", entry.name))
}

fn absent(entry: &ProbeEntry, reason: &str) -> impl Iterator<Item = Measurement> {
    entry.metrics.iter().map(move |&(name, source)| Measurement::absent(name, source, reason))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;
    use crate::record::{Source, metric};

    /// Counts its samples; breaks as told.
    struct Fake {
        samples: u32,
        interval: Option<Duration>,
        on_sample: fn(u32) -> Result<()>,
    }

    impl Probe for Fake {
        fn name(&self) -> &'static str {
            "fake"
        }

        fn interval(&self) -> Option<Duration> {
            self.interval
        }

        fn sample(&mut self) -> Result<()> {
            self.samples += 1;
            (self.on_sample)(self.samples)
        }

        fn take(&mut self) -> Vec<Measurement> {
            let samples = f64::from(std::mem::take(&mut self.samples));
            vec![Measurement::new(metric::LOAD1, Source::Client, samples)]
        }
    }

    const fn entry(start: fn(Subject) -> Box<dyn Probe>) -> ProbeEntry {
        ProbeEntry {
            name: "fake",
            summary: "",
            check: || Ok(String::new()),
            metrics: &[(metric::LOAD1, Source::Client)],
            start,
        }
    }

    fn fake(on_sample: fn(u32) -> Result<()>) -> Box<dyn Probe> {
        Box::new(Fake { samples: 0, interval: Some(Duration::ZERO), on_sample })
    }

    static ENTRIES: &[ProbeEntry] = &[
        entry(|_| fake(|_| Ok(()))),
        entry(|_| fake(|_| Err(Error::runtime("no such file")))),
        entry(|_| fake(|n| if n < 2 { Ok(()) } else { panic!("as told") })),
        entry(|_| panic!("cannot start")),
    ];

    static ONLY_ENDS: &[ProbeEntry] =
        &[entry(|_| Box::new(Fake { samples: 0, interval: None, on_sample: |_| Ok(()) }))];

    fn subject() -> Subject {
        Subject { server_pid: std::process::id() }
    }

    #[test]
    fn a_broken_probe_is_absent_and_does_not_stop_the_others() {
        let sampler = Sampler::with_probes(ENTRIES, subject()).unwrap();
        for _ in 0..2 {
            sampler.begin();
            std::thread::sleep(10 * TICK);
            let measured = sampler.end();
            assert_eq!(measured.len(), 4);
            assert!(measured[0].value.unwrap() >= 3.0, "start, end and at least one between");
            assert!(measured[1].value.is_some());
            for broken in &measured[2..] {
                assert_eq!(broken.absent.as_deref(), Some("probe `fake` panicked"));
            }
        }
    }

    #[test]
    fn what_cannot_be_looked_at_is_absent_with_the_reason() {
        let sampler = Sampler::absent("elsewhere".into());
        sampler.begin();
        let measured = sampler.end();
        assert!(!measured.is_empty());
        assert!(measured.iter().all(|m| m.value.is_none() && m.absent.as_deref() == Some("elsewhere")));
    }

    #[test]
    fn an_aborted_trial_does_not_leak_into_the_next() {
        let sampler = Sampler::with_probes(ONLY_ENDS, subject()).unwrap();
        sampler.begin();
        sampler.begin();
        assert_eq!(sampler.end()[0].value, Some(2.0), "the second start and the end");
    }

    #[test]
    fn the_real_probes_measure_every_metric_they_promise() {
        let sampler = Sampler::start(subject()).unwrap();
        sampler.begin();
        std::thread::sleep(6 * TICK);
        let measured = sampler.end();
        // A maker's probe says nothing where there is no card of that maker.
        let silent = |entry: &&ProbeEntry| ["amd", "intel"].contains(&entry.name) && (entry.check)().is_err();
        let heard: Vec<&ProbeEntry> = PROBES.iter().filter(|entry| !silent(entry)).collect();
        for &(name, source) in PROBES.iter().flat_map(|entry| entry.metrics) {
            let found = measured.iter().filter(|m| m.name == name && m.source == source);
            let promised = heard.iter().filter(|entry| entry.metrics.contains(&(name, source)));
            assert_eq!(found.count(), promised.count(), "{name}");
        }
        for entry in PROBES.iter().filter(|entry| ["memory", "noise"].contains(&entry.name)) {
            (entry.check)().unwrap();
        }
    }
}
