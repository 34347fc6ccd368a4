//! Graphics cards by the kernel's own files: what AMD's and Intel's drivers say, each in its way.
//!
//! Cards are folders of `/sys/class/drm`; what a process holds on them stands in its `/proc/PID/fdinfo`
//! (<https://docs.kernel.org/gpu/drm-usage-stats.html>), each client of a card by an id of its own.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::entry::{Probe, Subject};
use super::joules::{Joules, Reading, idle_watts};
use super::sysfs::{first_line, folders, is_card};
use crate::error::{Error, Result};
use crate::measure::processes;
use crate::record::{GpuCard, Measurement, Source, metric};

const INTERVAL: Duration = Duration::from_millis(200);

/// What these probes measure.
pub(super) const METRICS: &[(&str, Source)] = &[
    (metric::PEAK_VRAM_BYTES, Source::Sysfs),
    (metric::PEAK_VRAM_DEVICE_BYTES, Source::Sysfs),
    (metric::ON_GPU, Source::Sysfs),
    (metric::GPU_CARDS, Source::Sysfs),
    (metric::GPU_ENERGY_J, Source::Sysfs),
    (metric::GPU_THROTTLED, Source::Sysfs),
    (metric::GPU_OTHERS, Source::Sysfs),
];

/// A maker of cards, and where its driver says what.
pub(super) struct Maker {
    /// Name of the probe.
    pub probe: &'static str,
    /// Name in messages.
    pub title: &'static str,
    /// PCI vendor.
    pub vendor: &'static str,
    /// Whether the card works in the machine's memory (graphics inside a processor): what it takes there is its own.
    pub is_shared: fn(&Card) -> bool,
    /// Memory of the card (bytes).
    pub memory: fn(&Card) -> Option<u64>,
    /// Memory in use, by whomever (bytes).
    pub used: fn(&Card) -> Result<u64, String>,
    /// Energy or power.
    pub energy: fn(&Card) -> Result<Reading, String>,
    /// Highest clock (Hz).
    pub max_clock_hz: fn(&Card) -> Option<f64>,
}

/// A card's folders.
#[derive(Debug, Clone)]
pub(super) struct Card {
    /// Of the PCI device.
    pub device: PathBuf,
    /// Of its sensors.
    pub sensors: Vec<PathBuf>,
    /// `0000:03:00.0`.
    pub address: String,
    /// Name in reports.
    pub name: String,
}

impl Card {
    /// Cards of a maker, by number.
    pub(super) fn all(root: &Path, maker: &Maker) -> Vec<Self> {
        let cards = folders(&root.join("sys/class/drm"));
        cards.iter().filter(|folder| is_card(folder)).filter_map(|folder| Self::of(folder, maker)).collect()
    }

    fn of(folder: &Path, maker: &Maker) -> Option<Self> {
        let device = folder.join("device");
        if first_line(&device.join("vendor"))? != maker.vendor {
            return None;
        }
        let address = fs::canonicalize(&device).ok()?.file_name()?.to_string_lossy().into_owned();
        let model = first_line(&device.join("product_name"))
            .or_else(|| Some(format!("GPU {}", first_line(&device.join("device"))?)))?;
        let sensors = folders(&device.join("hwmon"));
        Some(Self { device, sensors, address, name: format!("{} {model}", maker.title) })
    }

    /// A number in a file of the first sensor that has it.
    pub(super) fn sensor(&self, wanted: fn(&Path) -> bool, file: &str) -> Option<Result<f64, String>> {
        let mut paths = self.sensors.iter().filter(|sensor| wanted(sensor)).map(|sensor| sensor.join(file));
        paths.find(|path| path.exists()).map(|path| number(&path))
    }

    fn facts(&self, maker: &Maker) -> GpuCard {
        let driver = fs::canonicalize(self.device.join("driver")).ok();
        let line = |file: &str| first_line(&self.device.join(file));
        let pcie = line("current_link_width").zip(line("current_link_speed"));
        GpuCard {
            name: self.name.clone(),
            driver: driver.and_then(|path| Some(path.file_name()?.to_string_lossy().into_owned())),
            memory_bytes: (maker.memory)(self),
            max_clock_hz: (maker.max_clock_hz)(self),
            pcie: pcie.map(|(width, speed)| format!("x{width} at {speed}")),
            ..GpuCard::default()
        }
    }
}

/// A number in a file.
pub(super) fn number(path: &Path) -> Result<f64, String> {
    let text =
        fs::read_to_string(path).map_err(|error| format!("{} cannot be read: {error}", path.display()))?;
    let number: Option<f64> = text.trim().parse().ok();
    number.filter(|number| number.is_finite()).ok_or_else(|| format!("{} is no number", path.display()))
}

/// A size in a file (bytes).
pub(super) fn size(path: &Path) -> Result<u64, String> {
    number(path).map(|bytes| bytes.max(0.0) as u64)
}

/// What is known of a maker's cards.
pub(super) fn facts(root: &Path, maker: &Maker) -> Vec<GpuCard> {
    Card::all(root, maker).iter().map(|card| card.facts(maker)).collect()
}

/// Where a maker's cards are on the bus.
pub(super) fn addresses(root: &Path, maker: &Maker) -> Vec<String> {
    Card::all(root, maker).into_iter().map(|card| card.address).collect()
}

/// Whether a maker's cards are here, for `doctor`.
pub(super) fn check(root: &Path, maker: &Maker) -> Result<String, String> {
    let cards = Card::all(root, maker);
    if cards.is_empty() {
        return Err(format!("no {} graphics card", maker.title));
    }
    let line = |card: &Card| {
        let says = |what: &str, known: Result<(), String>| match known {
            Ok(()) => what.to_owned(),
            Err(reason) => format!("no {what} ({reason})"),
        };
        let memory = says("memory", (maker.used)(card).map(drop));
        format!("{}: {memory}, {}", card.name, says("energy", (maker.energy)(card).map(drop)))
    };
    Ok(cards.iter().map(line).collect::<Vec<_>>().join("; "))
}

/// Mean power of a maker's cards (W) while nothing of ours runs.
///
/// # Errors
/// Why there is no figure.
pub(super) fn idle_power_w(root: &Path, maker: &Maker) -> Result<f64, String> {
    let cards = Card::all(root, maker);
    if cards.is_empty() {
        return Err(format!("no {} graphics card", maker.title));
    }
    idle_watts(|| cards.iter().map(|card| (maker.energy)(card)).collect())
}

/// What a client of a card holds (bytes); `None` where the driver does not say it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Held {
    /// In the card's own memory.
    own: Option<u64>,
    /// In the machine's memory, mapped for the card.
    shared: Option<u64>,
}

impl Held {
    fn plus(self, other: Self) -> Self {
        let sum = |a: Option<u64>, b: Option<u64>| a.zip(b).map(|(a, b)| a.saturating_add(b)).or(a).or(b);
        Self { own: sum(self.own, other.own), shared: sum(self.shared, other.shared) }
    }

    /// What counts as the card's memory.
    fn counted(self, is_shared: bool) -> Option<u64> {
        if is_shared { self.plus(Self { own: self.shared, shared: None }).own } else { self.own }
    }
}

/// What a process holds, by card: each client of a card once, however many descriptors it has.
///
/// # Errors
/// When its descriptors cannot be looked at.
fn held_by(root: &Path, pid: i64) -> Result<BTreeMap<String, Held>, String> {
    let folder = root.join(format!("proc/{pid}/fdinfo"));
    if let Err(error) = fs::read_dir(&folder)
        && error.kind() == std::io::ErrorKind::PermissionDenied
    {
        return Err(format!("what process {pid} has open cannot be read: {error}"));
    }
    let mut clients: BTreeMap<(String, String), Held> = BTreeMap::new();
    for file in folders(&folder) {
        let Ok(text) = fs::read_to_string(&file) else { continue };
        if let Some((address, client, held)) = client(&text) {
            clients.insert((address, client), held);
        }
    }
    let mut sums: BTreeMap<String, Held> = BTreeMap::new();
    for ((address, _), held) in clients {
        let sum = sums.entry(address).or_default();
        *sum = sum.plus(held);
    }
    Ok(sums)
}

/// Address of the card, id of the client, and what is resident (bytes).
fn client(text: &str) -> Option<(String, String, Held)> {
    let value =
        |key: &str| text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':')).map(str::trim);
    let (address, id) = (value("drm-pdev")?, value("drm-client-id")?);
    // `vram` (AMD), `vram0` (xe), `local0` (i915); `gtt` (AMD, xe), `system` (xe), `system0`, `stolen-system0` (i915);
    // `drm-memory-` is what AMD's older kernels write.
    let of = |prefix: &str, kinds: &[&str]| -> Option<u64> {
        let regions = text.lines().filter_map(|line| line.strip_prefix(prefix)?.split_once(':'));
        let wanted = regions.filter(|(region, _)| kinds.iter().any(|kind| region.starts_with(kind)));
        wanted.filter_map(|(_, amount)| kernel_bytes(amount)).reduce(u64::saturating_add)
    };
    let either = |kinds: &[&str]| of("drm-resident-", kinds).or_else(|| of("drm-memory-", kinds));
    let held = Held { own: either(&["vram", "local"]), shared: either(&["gtt", "system", "stolen"]) };
    Some((address.to_owned(), id.to_owned(), held))
}

/// `123`, `123 KiB`, `4 MiB`.
fn kernel_bytes(amount: &str) -> Option<u64> {
    let mut words = amount.split_whitespace();
    let number: u64 = words.next()?.parse().ok()?;
    let unit = match words.next() {
        None => 1,
        Some("KiB") => 1 << 10,
        Some("MiB") => 1 << 20,
        Some(_) => return None,
    };
    number.checked_mul(unit)
}

/// What a trial has seen of a card.
#[derive(Debug, Default)]
struct Seen {
    joules: Joules,
    /// Why there is no energy.
    no_energy: Option<String>,
    /// Peak memory in use, by whomever (bytes).
    used: Option<u64>,
    no_used: Option<String>,
    /// Peak memory of the server (bytes).
    ours: Option<u64>,
}

/// Watches a maker's cards. Where there is none it measures nothing, and says nothing.
pub(super) struct Drm {
    maker: &'static Maker,
    root: PathBuf,
    server: u32,
    cards: Vec<(Card, Seen)>,
    /// Peak memory of the server over all cards (bytes).
    held: Option<u64>,
    /// Whether the server had a card open.
    found: bool,
    /// Why it is not known what the server holds.
    hidden: Option<String>,
    sampled: bool,
}

impl Drm {
    pub(super) fn new(root: &Path, maker: &'static Maker, subject: Subject) -> Self {
        let cards = Card::all(root, maker).into_iter().map(|card| (card, Seen::default())).collect();
        let server = subject.server_pid;
        Self {
            maker,
            root: root.to_owned(),
            server,
            cards,
            held: None,
            found: false,
            hidden: None,
            sampled: false,
        }
    }

    fn look(&mut self) -> Result<(), String> {
        let mut held: BTreeMap<String, Held> = BTreeMap::new();
        for pid in processes::tree(self.server).map_err(|error| error.to_string())? {
            match held_by(&self.root, i64::from(pid)) {
                Ok(cards) => {
                    for (address, more) in cards {
                        let sum = held.entry(address).or_default();
                        *sum = sum.plus(more);
                    }
                }
                Err(reason) => self.hidden = Some(reason),
            }
        }
        let mut all = None;
        for (card, seen) in &mut self.cards {
            match (self.maker.energy)(card) {
                Ok(reading) => seen.joules.add(Instant::now(), reading),
                Err(reason) => seen.no_energy = Some(reason),
            }
            match (self.maker.used)(card) {
                Ok(bytes) => seen.used = seen.used.max(Some(bytes)),
                Err(reason) => seen.no_used = Some(reason),
            }
            let Some(held) = held.get(&card.address) else { continue };
            self.found = true;
            if let Some(bytes) = held.counted((self.maker.is_shared)(card)) {
                seen.ours = seen.ours.max(Some(bytes));
                all = Some(all.unwrap_or(0) + bytes);
            }
        }
        self.held = self.held.max(all);
        self.sampled = true;
        Ok(())
    }
}

impl Probe for Drm {
    fn name(&self) -> &'static str {
        self.maker.probe
    }

    fn interval(&self) -> Option<Duration> {
        (!self.cards.is_empty()).then_some(INTERVAL)
    }

    fn sample(&mut self) -> Result<()> {
        if self.cards.is_empty() { Ok(()) } else { self.look().map_err(Error::runtime) }
    }

    fn take(&mut self) -> Vec<Measurement> {
        if self.cards.is_empty() {
            return Vec::new();
        }
        let mut seen: Vec<Seen> = self.cards.iter_mut().map(|(_, seen)| std::mem::take(seen)).collect();
        // The cards that the server holds memory of; all of them where nobody says which they are.
        if seen.iter().any(|card| card.ours > Some(0)) {
            seen.retain(|card| card.ours > Some(0));
        }
        let sampled = std::mem::take(&mut self.sampled);
        let none = if sampled { "the card's driver does not say it" } else { "no sample was taken" };
        let reason = |of: fn(&Seen) -> Option<&String>| {
            seen.iter().find_map(of).cloned().unwrap_or_else(|| none.to_owned())
        };
        let (no_used, no_energy) =
            (reason(|card| card.no_used.as_ref()), reason(|card| card.no_energy.as_ref()));
        // A sum with a hole in it is none.
        let used: Option<u64> = seen.iter().map(|card| card.used).sum();
        let cards = sampled.then_some(seen.len() as f64);
        let energy = |card: &mut Seen| card.joules.take().filter(|_| card.no_energy.is_none());
        let joules: Option<f64> = seen.iter_mut().map(energy).sum();
        let held = self.held.take().map(|bytes| bytes as f64);
        let (found, hidden) = (std::mem::take(&mut self.found), self.hidden.take());
        let not_held = match (&hidden, found) {
            (Some(reason), _) => reason.as_str(),
            (None, true) => "the card's driver does not say what the server's processes hold of its memory",
            (None, false) if sampled => "the server's processes are not on a card",
            (None, false) => none,
        };
        // What cannot be looked at may be on the card.
        let on_gpu = if found { Some(1.0) } else { Some(0.0).filter(|_| sampled && hidden.is_none()) };
        vec![
            measured(metric::PEAK_VRAM_BYTES, held, not_held),
            measured(metric::ON_GPU, on_gpu, not_held),
            measured(metric::PEAK_VRAM_DEVICE_BYTES, used.map(|bytes| bytes as f64), &no_used),
            measured(metric::GPU_CARDS, cards, none),
            measured(metric::GPU_ENERGY_J, joules, &no_energy),
            measured(
                metric::GPU_THROTTLED,
                None,
                "the kernel's files do not say whether the card slowed down",
            ),
            measured(metric::GPU_OTHERS, None, "the kernel does not list the processes of a card"),
        ]
    }
}

fn measured(name: &'static str, value: Option<f64>, reason: &str) -> Measurement {
    match value {
        Some(value) => Measurement::new(name, Source::Sysfs, value),
        None => Measurement::absent(name, Source::Sysfs, reason),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A made-up tree of the kernel's files.
    pub(in crate::measure::probe) struct Tree(tempfile::TempDir);

    impl Tree {
        pub(in crate::measure::probe) fn new() -> Self {
            Self(tempfile::tempdir().unwrap())
        }

        pub(in crate::measure::probe) fn root(&self) -> &Path {
            self.0.path()
        }

        pub(in crate::measure::probe) fn write(&self, path: &str, text: &str) {
            let path = self.root().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }

        /// A card at an address, as a link to its PCI device; the folder of the device.
        pub(in crate::measure::probe) fn card(&self, number: u32, address: &str, vendor: &str) -> String {
            let device = format!("sys/devices/pci0000:00/{address}");
            self.write(&format!("{device}/vendor"), &format!("{vendor}\n"));
            self.write(&format!("{device}/device"), "0x744c\n");
            let card = self.root().join(format!("sys/class/drm/card{number}"));
            fs::create_dir_all(&card).unwrap();
            std::os::unix::fs::symlink(self.root().join(&device), card.join("device")).unwrap();
            device
        }

        /// What this process holds of a card, as client `id`, by descriptor `fd`.
        pub(in crate::measure::probe) fn hold(&self, fd: u32, address: &str, id: u32, lines: &str) {
            let text =
                format!("pos:\t0\ndrm-driver:\tx\ndrm-pdev:\t{address}\ndrm-client-id:\t{id}\n{lines}\n");
            self.write(&format!("proc/{}/fdinfo/{fd}", std::process::id()), &text);
        }
    }

    pub(in crate::measure::probe) fn value(measured: &[Measurement], name: &str) -> Result<f64, String> {
        let found = measured.iter().find(|measurement| measurement.name == name).unwrap();
        found.value.ok_or_else(|| found.absent.as_ref().unwrap().to_string())
    }

    pub(in crate::measure::probe) fn subject() -> Subject {
        Subject { server_pid: std::process::id() }
    }

    #[test]
    fn descriptors_of_one_client_count_once() {
        let tree = Tree::new();
        tree.hold(3, "0000:03:00.0", 7, "drm-resident-vram:\t100 KiB\ndrm-resident-gtt:\t5 MiB");
        tree.hold(4, "0000:03:00.0", 7, "drm-resident-vram:\t100 KiB");
        tree.hold(5, "0000:03:00.0", 8, "drm-resident-vram0:\t1 MiB\ndrm-resident-vram1:\t1 MiB");
        tree.hold(6, "0000:04:00.0", 9, "drm-memory-vram:\t3");
        tree.hold(7, "0000:05:00.0", 1, "drm-resident-system:\t3 MiB");
        tree.write(&format!("proc/{}/fdinfo/8", std::process::id()), "pos:\t0\nflags:\t02\n");
        let held = held_by(tree.root(), i64::from(std::process::id())).unwrap();
        let held_in = |own, shared| Held { own, shared };
        let expected = [
            ("0000:03:00.0".to_owned(), held_in(Some((100 << 10) + (2 << 20)), None)),
            ("0000:04:00.0".to_owned(), held_in(Some(3), None)),
            ("0000:05:00.0".to_owned(), held_in(None, Some(3 << 20))),
        ];
        assert_eq!(held, BTreeMap::from(expected));
        assert_eq!(kernel_bytes("9 GiB"), None);
    }
}
