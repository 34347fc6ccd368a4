//! NVIDIA's management library: GPU memory of the server's processes and of the cards, energy, throttling, and
//! who else is on the cards.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::path::Path;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use nvml_wrapper::bitmasks::device::ThrottleReasons;
use nvml_wrapper::enum_wrappers::device::Clock;
use nvml_wrapper::enums::device::UsedGpuMemory;
use nvml_wrapper::{Device, Nvml};

use super::entry::{Probe, ProbeEntry, Subject};
use super::joules::{Joules, OFTEN, Reading, TOO_SHORT, idle_watts};

use crate::error::{Error, Result};
use crate::measure::processes;
use crate::record::{GpuCard, Measurement, Source, metric};

/// The line of the table.
pub const ENTRY: ProbeEntry = ProbeEntry {
    name: "nvidia",
    summary: "GPU memory of the server and of the cards, energy, throttling, other processes (NVML)",
    check,
    metrics: &[
        (metric::PEAK_VRAM_BYTES, Source::Nvml),
        (metric::PEAK_VRAM_DEVICE_BYTES, Source::Nvml),
        (metric::ON_GPU, Source::Nvml),
        (metric::GPU_CARDS, Source::Nvml),
        (metric::GPU_ENERGY_J, Source::Nvml),
        (metric::GPU_THROTTLED, Source::Nvml),
        (metric::GPU_OTHERS, Source::Nvml),
    ],
    start: |subject| Box::new(Nvidia::new(subject)),
};

/// Time between two looks at memory and processes; energy is read more often.
const INTERVAL: Duration = Duration::from_millis(100);
/// The name that the driver installs; the one without a number comes with development files only.
const LIBRARY: &str = "libnvidia-ml.so.1";
/// Why an instance of a card has no energy of its own.
const SPLIT: &str = "the card is split by MIG: its energy is that of all its instances together";

/// Reasons for low clocks that make a measurement slower than the card is.
const SLOW: ThrottleReasons = ThrottleReasons::SW_POWER_CAP
    .union(ThrottleReasons::HW_SLOWDOWN)
    .union(ThrottleReasons::SW_THERMAL_SLOWDOWN)
    .union(ThrottleReasons::HW_THERMAL_SLOWDOWN)
    .union(ThrottleReasons::HW_POWER_BRAKE_SLOWDOWN);

/// Opened once and kept: where nothing else holds the driver, each opening wakes the cards anew, a second or more.
static OPENED: OnceLock<Nvml> = OnceLock::new();

fn open() -> Result<&'static Nvml, String> {
    if let Some(nvml) = OPENED.get() {
        return Ok(nvml);
    }
    let nvml = Nvml::builder()
        .lib_path(OsStr::new(LIBRARY))
        .init()
        .map_err(|error| format!("NVIDIA's management library does not answer: {error}"))?;
    Ok(OPENED.get_or_init(|| nvml))
}

fn devices(nvml: &Nvml) -> Result<Vec<Device<'_>>, String> {
    let count = nvml.device_count().map_err(|error| error.to_string())?;
    let devices: Vec<Device<'_>> = (0..count).filter_map(|index| nvml.device_by_index(index).ok()).collect();
    if devices.is_empty() { Err("no NVIDIA GPU can be used".to_owned()) } else { Ok(devices) }
}

fn check() -> Result<String, String> {
    let nvml = open()?;
    let driver = nvml.sys_driver_version().unwrap_or_else(|_| "unknown".to_owned());
    let mut found = vec![format!("driver {driver}")];
    for place in places(nvml)? {
        found.push(place.title());
        let others: Vec<String> = match processes(&place.device) {
            Ok(processes) => {
                processes.into_keys().map(|pid| format!("{} ({pid})", process_name(pid))).collect()
            }
            Err(reason) => {
                found.push(reason);
                continue;
            }
        };
        if !others.is_empty() {
            found.push(format!("in use by {}", others.join(", ")));
        }
    }
    Ok(found.join("; "))
}

/// Mean power of a card (W) while nothing of ours runs, over two seconds.
///
/// # Errors
/// Why there is no figure.
pub fn idle_power_w() -> Result<f64, String> {
    let nvml = open()?;
    let places = places(nvml)?;
    idle_watts(|| places.iter().map(Place::energy).collect())
}

/// What the driver says of its cards; none where there is no driver.
pub fn cards() -> Vec<GpuCard> {
    let Ok(nvml) = open() else { return Vec::new() };
    let driver = nvml.sys_driver_version().ok();
    devices(nvml).unwrap_or_default().iter().map(|device| facts(device, driver.as_deref())).collect()
}

/// Where the cards are on the bus (`0000:65:00.0`), in the order of [`cards`]; none where there is no driver.
pub fn addresses() -> Vec<String> {
    let Ok(nvml) = open() else { return Vec::new() };
    let devices = devices(nvml).unwrap_or_default();
    let bus = |device: &Device<'_>| device.pci_info().map(|info| address(&info.bus_id));
    devices.iter().map(|device| bus(device).unwrap_or_default()).collect()
}

/// As the kernel writes it: NVML has eight digits for the domain, sysfs four where they do.
fn address(bus_id: &str) -> String {
    let lower = bus_id.to_lowercase();
    match lower.strip_prefix("0000") {
        Some(short) if lower.len() == "00000000:65:00.0".len() => short.to_owned(),
        _ => lower,
    }
}

fn facts(device: &Device<'_>, driver: Option<&str>) -> GpuCard {
    let hertz = |megahertz: u32| f64::from(megahertz) * 1e6;
    let link = device.current_pcie_link_gen().ok().zip(device.current_pcie_link_width().ok());
    let most = device.max_pcie_link_gen().ok().zip(device.max_pcie_link_width().ok());
    let words = |(generation, width): (u32, u32)| format!("gen {generation} x{width}");
    let pcie = link.map(|link| match most {
        Some(most) if most != link => format!("{} of {}", words(link), words(most)),
        _ => words(link),
    });
    GpuCard {
        name: name_of(device),
        driver: driver.map(|version| format!("NVIDIA {version}")),
        memory_bytes: device.memory_info().ok().map(|info| info.total),
        clock_hz: device.clock_info(Clock::SM).ok().map(hertz),
        max_clock_hz: device.max_clock_info(Clock::SM).ok().map(hertz),
        max_memory_clock_hz: device.max_clock_info(Clock::Memory).ok().map(hertz),
        power_limit_w: device.enforced_power_limit().ok().map(|milliwatts| f64::from(milliwatts) / 1e3),
        pcie,
        instances: instances(device).iter().map(name_of).collect(),
    }
}

fn name_of(device: &Device<'_>) -> String {
    device.name().unwrap_or_else(|_| "a GPU".to_owned())
}

fn has_mig(device: &Device<'_>) -> bool {
    device.mig_mode().is_ok_and(|mode| mode.current != 0)
}

/// What MIG has split a card into; none when it has not.
fn instances<'nvml>(device: &Device<'nvml>) -> Vec<Device<'nvml>> {
    if !has_mig(device) {
        return Vec::new();
    }
    let count = device.mig_device_count().unwrap_or_default();
    (0..count).filter_map(|index| device.mig_device_by_index(index).ok()).collect()
}

/// Where a server can work: a card, or an instance of one that MIG has split.
struct Place<'nvml> {
    /// Memory and processes are of this.
    device: Device<'nvml>,
    is_instance: bool,
    throttled: bool,
}

/// Every place. A split card itself is none: nothing can run on the whole of it.
fn places(nvml: &Nvml) -> Result<Vec<Place<'_>>, String> {
    let mut places = Vec::new();
    for card in devices(nvml)? {
        // Only the whole card knows why its clocks are low.
        let throttled = card.current_throttle_reasons().is_ok_and(|why| why.intersects(SLOW));
        let instances = instances(&card);
        if instances.is_empty() {
            places.push(Place { device: card, is_instance: false, throttled });
        } else {
            let place = |device| Place { device, is_instance: true, throttled };
            places.extend(instances.into_iter().map(place));
        }
    }
    Ok(places)
}

impl Place<'_> {
    fn title(&self) -> String {
        let memory = match self.device.memory_info() {
            Ok(info) => format!("{:.1} GiB", info.total as f64 / f64::from(1 << 30)),
            Err(_) => "no memory of its own reported: that of the machine is shared".to_owned(),
        };
        let mig = if self.is_instance { ", an instance by MIG: no energy of its own" } else { "" };
        format!("{} ({memory}{mig})", name_of(&self.device))
    }

    fn energy(&self) -> Result<Reading, String> {
        if self.is_instance { Err(SPLIT.to_owned()) } else { energy(&self.device) }
    }
}

/// Processes on a card and what they hold of its memory (bytes), where the driver says so.
///
/// # Errors
/// When the driver lists none at all: no list is not an empty one.
fn processes(device: &Device<'_>) -> Result<BTreeMap<u32, Option<u64>>, String> {
    let (compute, graphics) = (device.running_compute_processes(), device.running_graphics_processes());
    if let (Err(error), Err(_)) = (&compute, &graphics) {
        return Err(format!("the driver does not list the processes on the card: {error}"));
    }
    let used = |memory: &UsedGpuMemory| match memory {
        UsedGpuMemory::Used(bytes) => Some(*bytes),
        UsedGpuMemory::Unavailable => None,
    };
    // Vulkan's and CUDA's processes may stand in both lists.
    let all = compute.iter().flatten().chain(graphics.iter().flatten());
    Ok(all.map(|process| (process.pid, used(&process.used_gpu_memory))).collect())
}

/// Whether a process stands in this machine's (or container's) list.
fn is_visible(pid: u32) -> bool {
    Path::new("/proc").join(pid.to_string()).exists()
}

/// Whether process ids here are those of a namespace of its own, as in a container: the kernel's first one has a fixed
/// number (`PROC_PID_INIT_INO` in its `include/linux/proc_ns.h`).
fn has_own_pids() -> bool {
    const FIRST: &str = "pid:[4026531836]";
    std::fs::read_link("/proc/self/ns/pid").is_ok_and(|link| link.as_os_str() != FIRST)
}

/// Whether the kernel or a driver has a device of NVIDIA's here, with or without the library: a card of the machine, one
/// on a Jetson, or Windows' card under Linux.
fn has_device() -> bool {
    ["/proc/driver/nvidia/gpus", "/dev/nvidiactl", "/dev/nvhost-gpu", "/dev/nvmap", "/dev/dxg"]
        .iter()
        .any(|path| Path::new(path).exists())
}

fn process_name(pid: u32) -> String {
    std::fs::read_to_string(format!("/proc/{pid}/comm"))
        .map_or_else(|_| "a process that is not visible here".to_owned(), |name| name.trim().to_owned())
}

/// What a card says of its energy: the counter (Volta and newer), else the power.
fn energy(device: &Device<'_>) -> Result<Reading, String> {
    match device.total_energy_consumption() {
        Ok(millijoules) => Ok(Reading::Stepped(millijoules as f64 / 1e3)),
        Err(_) => {
            let milliwatts = device.power_usage().map_err(|error| error.to_string())?;
            Ok(Reading::Power(f64::from(milliwatts) / 1e3))
        }
    }
}

/// What a trial has seen of a card.
#[derive(Debug, Clone, Default)]
struct Card {
    joules: Joules,
    /// Why there is no energy.
    no_energy: Option<String>,
    /// Peak memory in use, by whomever (bytes).
    used: Option<u64>,
    /// Why that is not known.
    no_used: Option<String>,
    throttled: bool,
    /// Whether a process of the server is on it.
    ours: bool,
    /// Processes that are not the server's.
    others: BTreeSet<u32>,
}

/// What a trial has seen.
#[derive(Debug, Default)]
struct Seen {
    /// Peak memory of the server over all cards (bytes).
    server: Option<u64>,
    /// Whether a process of the server was on a card.
    found: bool,
    /// Whether a card had processes that are not visible here.
    foreign: bool,
    /// Why the processes of a card are not known.
    unlisted: Option<String>,
    sampled: bool,
}

impl Seen {
    /// Whether the server is on a card, or why nobody can tell.
    fn on_gpu(&self, own_pids: bool) -> Result<bool, String> {
        match (&self.unlisted, self.found) {
            (_, true) => Ok(true),
            (Some(reason), false) => Err(reason.clone()),
            (None, false) if self.foreign => Err("the driver lists processes by ids that do not exist here (those \
                 of the host, where this is a container with process ids of its own): which of them is the server's \
                 cannot be told; run the container with the host's ids (--pid=host)"
                .to_owned()),
            (None, false) if own_pids => Err("the driver lists no process of the server, and may hide those of a \
                 container with process ids of its own; run it with the host's (--pid=host)"
                .to_owned()),
            (None, false) => Ok(false),
        }
    }
}

struct Nvidia {
    server: u32,
    /// The library, or why there is none.
    nvml: Result<&'static Nvml, String>,
    cards: Vec<Card>,
    seen: Seen,
    /// Why the memory of single processes is not known.
    hidden: Option<String>,
    /// The last look at memory and processes of the trial.
    looked: Option<Instant>,
}

impl Nvidia {
    fn new(subject: Subject) -> Self {
        let nvml = open();
        let places = nvml.as_ref().ok().and_then(|nvml| places(nvml).ok());
        let cards = vec![Card::default(); places.map_or(0, |places| places.len())];
        let seen = Seen::default();
        Self { server: subject.server_pid, nvml, cards, seen, hidden: None, looked: None }
    }

    fn read_energy(&mut self) -> Result<(), String> {
        let nvml = self.nvml.as_ref().map_err(Clone::clone)?;
        // A reading takes 4 ms (H200): once it is known which cards are the server's, the others are left alone.
        let known = self.cards.iter().any(|card| card.ours);
        for (place, card) in places(nvml)?.iter().zip(&mut self.cards) {
            if known && !card.ours {
                continue;
            }
            match place.energy() {
                Ok(reading) => card.joules.add(Instant::now(), reading),
                Err(reason) => card.no_energy = Some(reason),
            }
        }
        Ok(())
    }

    fn look(&mut self) -> Result<(), String> {
        let nvml = self.nvml.as_ref().map_err(Clone::clone)?;
        self.looked = Some(Instant::now());
        let ours: BTreeSet<u32> = processes::tree(self.server)
            .map_err(|error| error.to_string())?
            .into_iter()
            .filter_map(|pid| u32::try_from(pid).ok())
            .collect();
        let mut found = false;
        let mut held = vec![0_u64; self.cards.len()];
        for ((place, card), held) in places(nvml)?.iter().zip(&mut self.cards).zip(&mut held) {
            // Each figure by itself: a card that shares the machine's memory (GB10, Jetson) reports none of its own.
            match place.device.memory_info() {
                Ok(info) => card.used = card.used.max(Some(info.used)),
                Err(error) => {
                    card.no_used = Some(format!("the card does not report its memory in use: {error}"));
                }
            }
            card.throttled |= place.throttled;
            let listed = processes(&place.device).unwrap_or_else(|reason| {
                self.seen.unlisted = Some(reason);
                BTreeMap::new()
            });
            for (pid, used) in listed {
                if !ours.contains(&pid) {
                    self.seen.foreign |= !is_visible(pid);
                    card.others.insert(pid);
                    continue;
                }
                found = true;
                match used {
                    Some(bytes) => *held += bytes,
                    None => self.hidden = Some("the driver does not say what single processes hold".into()),
                }
            }
        }
        // A server opens every card to look at it: those that it works on hold far more.
        let most = held.iter().copied().max().unwrap_or_default();
        let known = self.cards.iter().any(|card| card.ours);
        for (card, held) in self.cards.iter_mut().zip(&held) {
            let works = *held > 0 && held * 10 >= most;
            if known && works && !card.ours {
                card.no_energy =
                    Some("the server came onto the card in the middle of the request".to_owned());
            }
            card.ours |= works;
        }
        if found {
            self.seen.found = true;
            self.seen.server = self.seen.server.max(Some(held.iter().sum()));
        }
        self.seen.sampled = true;
        Ok(())
    }

    /// The cards that the server is on, and what the trial saw of them; all of them where nobody says which they are.
    fn end(&mut self) -> Vec<Card> {
        let mut cards: Vec<Card> = self.cards.iter_mut().map(Card::end).collect();
        if cards.iter().any(|card| card.ours) {
            cards.retain(|card| card.ours);
        }
        cards
    }
}

impl Card {
    fn end(&mut self) -> Self {
        std::mem::take(self)
    }
}

impl Probe for Nvidia {
    fn name(&self) -> &'static str {
        ENTRY.name
    }

    fn interval(&self) -> Option<Duration> {
        let cards = self.cards.iter().filter(|card| card.ours).count();
        Some(OFTEN * u32::try_from(cards).unwrap_or(u32::MAX).clamp(1, 4))
    }

    fn sample(&mut self) -> Result<()> {
        self.read_energy().map_err(Error::runtime)?;
        if self.looked.is_none_or(|looked| looked.elapsed() >= INTERVAL) {
            self.look().map_err(Error::runtime)?;
        }
        Ok(())
    }

    fn take(&mut self) -> Vec<Measurement> {
        // What the server holds at the end of a trial belongs to it, however short it was.
        if self.looked.take().is_some()
            && let Err(error) = self.look()
        {
            tracing::debug!(error, "no last look at the cards");
        }
        self.looked = None;
        let seen = std::mem::take(&mut self.seen);
        let mut cards = self.end();
        let reason = match &self.nvml {
            Err(reason) => reason.clone(),
            Ok(_) if !seen.sampled => "no sample was taken".to_owned(),
            Ok(_) => "the cards do not report it".to_owned(),
        };
        let on_gpu = match &self.nvml {
            // Without a card nothing can be on one.
            Err(_) if !has_device() => Ok(false),
            _ if !seen.sampled => Err(reason.clone()),
            _ => seen.on_gpu(has_own_pids()),
        };
        let hidden = match (&self.hidden, &on_gpu) {
            (Some(hidden), _) => hidden.clone(),
            (None, Err(why)) => why.clone(),
            (None, Ok(_)) if !seen.sampled => reason.clone(),
            (None, Ok(_)) => "the server's processes are not on a card".to_owned(),
        };
        let server = seen.server.filter(|_| self.hidden.is_none()).map(|bytes| bytes as f64);
        let sampled = |value: f64| seen.sampled.then_some(value);
        let hardly_moved = cards.iter().any(|card| card.joules.hardly_moved());
        let joules: Option<f64> = cards.iter_mut().map(|card| card.joules.take()).sum();
        // A reading that failed in between is a hole that nobody can fill.
        let no_energy = cards.iter().find_map(|card| card.no_energy.clone());
        let joules = joules.filter(|_| seen.sampled && no_energy.is_none());
        let too_short = hardly_moved.then(|| TOO_SHORT.to_owned());
        let no_energy = no_energy.or(too_short).unwrap_or_else(|| reason.clone());
        // A sum with a hole in it is none.
        let used: Option<u64> = cards.iter().map(|card| card.used).sum();
        let used = used.filter(|_| seen.sampled).map(|bytes| bytes as f64);
        let no_used = cards.iter().find_map(|card| card.no_used.clone()).unwrap_or_else(|| reason.clone());
        let throttled = cards.iter().any(|card| card.throttled);
        let others: BTreeSet<&u32> = cards.iter().flat_map(|card| &card.others).collect();
        vec![
            measured(metric::PEAK_VRAM_BYTES, server, &hidden),
            measured(metric::PEAK_VRAM_DEVICE_BYTES, used, &no_used),
            match on_gpu {
                Ok(on) => measured(metric::ON_GPU, Some(f64::from(u8::from(on))), ""),
                Err(why) => measured(metric::ON_GPU, None, &why),
            },
            measured(metric::GPU_CARDS, sampled(cards.len() as f64), &reason),
            measured(metric::GPU_ENERGY_J, joules, &no_energy),
            measured(metric::GPU_THROTTLED, sampled(f64::from(u8::from(throttled))), &reason),
            measured(metric::GPU_OTHERS, sampled(others.len() as f64), &reason),
        ]
    }
}

fn measured(name: &'static str, value: Option<f64>, reason: &str) -> Measurement {
    match value {
        Some(value) => Measurement::new(name, Source::Nvml, value),
        None => Measurement::absent(name, Source::Nvml, reason),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_written_as_the_kernel_does() {
        assert_eq!(address("00000000:65:00.0"), "0000:65:00.0");
        assert_eq!(address("00010000:C1:00.0"), "00010000:c1:00.0");
        assert_eq!(address("0000:03:00.0"), "0000:03:00.0");
    }

    /// On a machine with a card the figures are there; on any other the reason is.
    #[test]
    fn every_figure_is_there_or_absent_with_a_reason() {
        let mut probe = Nvidia::new(Subject { server_pid: std::process::id() });
        let sampled = probe.sample().is_ok();
        std::thread::sleep(INTERVAL);
        assert_eq!(probe.sample().is_ok(), sampled);
        assert_eq!(sampled, check().is_ok());
        for measurement in probe.take() {
            match measurement.value {
                // This process holds nothing on a card, and without one that is certain.
                Some(value) => {
                    assert!(
                        (sampled || measurement.name == metric::ON_GPU) && value >= 0.0,
                        "{measurement:?}"
                    );
                }
                None => assert!(!measurement.absent.unwrap().is_empty()),
            }
        }
        assert_eq!(idle_power_w().is_ok(), sampled);
    }

    #[test]
    fn that_nobody_can_tell_is_not_taken_for_no() {
        let seen = |found, foreign, unlisted: Option<&str>| Seen {
            found,
            foreign,
            unlisted: unlisted.map(str::to_owned),
            ..Seen::default()
        };
        assert_eq!(seen(true, true, None).on_gpu(true), Ok(true), "found is found, whoever else is there");
        assert_eq!(seen(false, false, None).on_gpu(false), Ok(false));
        let host = seen(false, true, None).on_gpu(false).unwrap_err();
        assert!(host.contains("ids that do not exist here") && host.contains("--pid=host"), "{host}");
        assert!(seen(false, false, None).on_gpu(true).unwrap_err().contains("may hide"));
        let unlisted = seen(false, false, Some("the driver does not list")).on_gpu(false);
        assert!(unlisted.unwrap_err().contains("does not list"), "no list is not an empty one");
    }
}
