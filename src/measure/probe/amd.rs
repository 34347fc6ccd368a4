//! AMD's graphics cards, by the files of the `amdgpu` driver
//! (<https://docs.kernel.org/gpu/amdgpu/thermal.html>, <https://docs.kernel.org/gpu/amdgpu/driver-misc.html>).

use std::path::Path;

use super::drm::{self, Card, Drm, Maker};
use super::entry::ProbeEntry;
use super::joules::Reading;
use crate::record::GpuCard;

/// The line of the table.
pub const ENTRY: ProbeEntry = ProbeEntry {
    name: AMD.probe,
    summary: "GPU memory of the server and of the cards, energy (amdgpu's files)",
    check: || drm::check(Path::new("/"), &AMD),
    metrics: drm::METRICS,
    start: |subject| Box::new(Drm::new(Path::new("/"), &AMD, subject)),
};

static AMD: Maker = Maker {
    probe: "amd",
    title: "AMD",
    vendor: "0x1002",
    is_shared,
    memory: |card| memory(card, "total").ok(),
    used: |card| memory(card, "used"),
    energy,
    max_clock_hz,
};

/// Carve-outs up to this (bytes) are taken for those of graphics inside a processor, where nothing better is known.
const CARVE_OUT: u64 = 4 << 30;

/// The card's own memory, and of graphics inside a processor the machine's that is mapped for it (GTT) as well (bytes).
fn memory(card: &Card, which: &str) -> Result<u64, String> {
    let of = |pool: &str| drm::size(&card.device.join(format!("mem_info_{pool}_{which}")));
    let own = of("vram")?;
    Ok(if is_shared(card) { own.saturating_add(of("gtt")?) } else { own })
}

/// Graphics inside a processor work in the machine's memory: their own is a small carve-out of it. Cards with memory
/// chips of their own use GTT only to hand data over.
///
/// The driver's table of sensors says what it is by its format: revision 1 is a card's, later ones a processor's
/// (`struct metrics_table_header` in the kernel's `kgd_pp_interface.h`). Without it the sizes tell.
fn is_shared(card: &Card) -> bool {
    const FORMAT_REVISION: usize = 2;
    let table = std::fs::read(card.device.join("gpu_metrics")).unwrap_or_default();
    if let Some(revision) = table.get(FORMAT_REVISION) {
        return *revision > 1;
    }
    let total = |pool: &str| drm::size(&card.device.join(format!("mem_info_{pool}_total"))).ok();
    total("vram").zip(total("gtt")).is_some_and(|(own, mapped)| own <= CARVE_OUT && mapped > own)
}

/// What is known of the cards.
pub fn cards(root: &Path) -> Vec<GpuCard> {
    drm::facts(root, &AMD)
}

/// Where they are on the bus (`0000:03:00.0`), in the order of [`cards`].
pub fn addresses(root: &Path) -> Vec<String> {
    drm::addresses(root, &AMD)
}

/// Mean power of a card (W) while nothing of ours runs, over two seconds.
///
/// # Errors
/// Why there is no figure.
pub fn idle_power_w() -> Result<f64, String> {
    drm::idle_power_w(Path::new("/"), &AMD)
}

/// A counter where the card has one (uJ), else its power: averaged, or of the moment (uW).
fn energy(card: &Card) -> Result<Reading, String> {
    let any = |_: &Path| true;
    if let Some(microjoules) = card.sensor(any, "energy1_input") {
        return Ok(Reading::Counter { joules: microjoules? / 1e6, range: None });
    }
    let power = ["power1_average", "power1_input"].iter().find_map(|file| card.sensor(any, file));
    let microwatts = power.ok_or("the amdgpu driver reports neither energy nor power of the card")?;
    Ok(Reading::Power(microwatts? / 1e6))
}

/// The last line of the table of states, such as `2: 2124Mhz *`.
fn max_clock_hz(card: &Card) -> Option<f64> {
    let table = std::fs::read_to_string(card.device.join("pp_dpm_sclk")).ok()?;
    let clocks = table.lines().filter_map(|line| {
        let megahertz = line.split_once(':')?.1.trim().split(|c: char| !c.is_ascii_digit()).next()?;
        megahertz.parse::<f64>().ok()
    });
    clocks.reduce(f64::max).map(|megahertz| megahertz * 1e6)
}

#[cfg(test)]
mod tests {
    use super::super::drm::tests::{Tree, subject, value};
    use super::super::entry::Probe;
    use super::*;
    use crate::record::metric;

    const ADDRESS: &str = "0000:03:00.0";

    fn probe(tree: &Tree) -> Drm {
        Drm::new(tree.root(), &AMD, subject())
    }

    #[test]
    fn memory_and_energy_of_the_servers_card_are_measured() {
        let tree = Tree::new();
        let card = tree.card(0, ADDRESS, "0x1002");
        let other = tree.card(1, "0000:04:00.0", "0x1002");
        let set = |device: &str, used: u64, microjoules: u64| {
            tree.write(&format!("{device}/mem_info_vram_used"), &used.to_string());
            tree.write(&format!("{device}/hwmon/hwmon3/energy1_input"), &microjoules.to_string());
        };
        set(&card, 5_000, 1_000_000);
        set(&other, 70, 0);
        tree.hold(3, ADDRESS, 1, "drm-memory-vram:\t4 KiB");
        let mut probe = probe(&tree);
        probe.sample().unwrap();
        set(&card, 4_000, 3_500_000);
        set(&other, 70, 99_000_000);
        tree.hold(3, ADDRESS, 1, "drm-memory-vram:\t2 KiB");
        probe.sample().unwrap();
        let measured = probe.take();
        let value = |name| value(&measured, name);
        assert_eq!(value(metric::PEAK_VRAM_BYTES), Ok(4096.0), "the peak, not the last");
        assert_eq!(value(metric::PEAK_VRAM_DEVICE_BYTES), Ok(5000.0), "of the card that the server is on");
        assert_eq!(value(metric::GPU_ENERGY_J), Ok(2.5));
        assert_eq!(value(metric::GPU_CARDS), Ok(1.0));
        assert!(value(metric::GPU_THROTTLED).is_err());
        let again = probe.take();
        assert!(again.iter().all(|measurement| measurement.value.is_none()), "a trial starts afresh");
    }

    #[test]
    fn memory_mapped_for_graphics_in_a_processor_counts_as_theirs() {
        // In the form of a Strix Halo: 512 MiB set aside, 96 GiB that can be mapped.
        let tree = Tree::new();
        let card = tree.card(0, "0000:c4:00.0", "0x1002");
        let write =
            |file: &str, bytes: u64| tree.write(&format!("{card}/mem_info_{file}"), &format!("{bytes}\n"));
        write("vram_total", 512 << 20);
        write("vram_used", 300 << 20);
        write("gtt_total", 96 << 30);
        write("gtt_used", 20 << 30);
        tree.hold(7, "0000:c4:00.0", 3, "drm-memory-vram:\t204800 KiB\ndrm-memory-gtt:\t18874368 KiB");
        let take = || {
            let mut probe = probe(&tree);
            probe.sample().unwrap();
            probe.take()
        };
        let measured = take();
        assert_eq!(value(&measured, metric::PEAK_VRAM_BYTES), Ok(((200 << 20) + (18_u64 << 30)) as f64));
        assert_eq!(
            value(&measured, metric::PEAK_VRAM_DEVICE_BYTES),
            Ok(((300 << 20) + (20_u64 << 30)) as f64)
        );
        assert_eq!(value(&measured, metric::ON_GPU), Ok(1.0));
        assert_eq!(cards(tree.root())[0].memory_bytes, Some((512 << 20) + (96 << 30)));
        // A small card whose table of sensors is a card's: what is mapped for it is only handed over.
        tree.write(&format!("{card}/gpu_metrics"), "\x78\x00\x01\x03");
        assert_eq!(value(&take(), metric::PEAK_VRAM_BYTES), Ok(f64::from(200 << 20)));
        // A large carve-out of a processor is one all the same.
        write("vram_total", 64 << 30);
        tree.write(&format!("{card}/gpu_metrics"), "\x78\x00\x03\x00");
        assert_eq!(value(&take(), metric::PEAK_VRAM_BYTES), Ok(((200 << 20) + (18_u64 << 30)) as f64));
    }

    #[test]
    fn a_cards_own_memory_alone_counts() {
        let tree = Tree::new();
        let card = tree.card(0, ADDRESS, "0x1002");
        let write =
            |file: &str, bytes: u64| tree.write(&format!("{card}/mem_info_{file}"), &format!("{bytes}\n"));
        write("vram_total", 24 << 30);
        write("vram_used", 8 << 30);
        write("gtt_total", 64 << 30);
        write("gtt_used", 3 << 30);
        tree.hold(7, ADDRESS, 3, "drm-resident-vram:\t5 MiB\ndrm-resident-gtt:\t9 MiB");
        let mut probe = probe(&tree);
        probe.sample().unwrap();
        let measured = probe.take();
        assert_eq!(value(&measured, metric::PEAK_VRAM_BYTES), Ok(f64::from(5 << 20)));
        assert_eq!(value(&measured, metric::PEAK_VRAM_DEVICE_BYTES), Ok((8_u64 << 30) as f64));
    }

    #[test]
    fn a_server_that_has_no_card_open_is_on_none() {
        let tree = Tree::new();
        tree.card(0, ADDRESS, "0x1002");
        let mut probe = probe(&tree);
        probe.sample().unwrap();
        let measured = probe.take();
        assert_eq!(value(&measured, metric::ON_GPU), Ok(0.0));
        assert!(value(&measured, metric::PEAK_VRAM_BYTES).unwrap_err().contains("not on a card"));
    }

    #[test]
    fn power_serves_where_there_is_no_counter_and_nothing_is_made_up() {
        let tree = Tree::new();
        let card = tree.card(0, ADDRESS, "0x1002");
        let mut probe = probe(&tree);
        probe.sample().unwrap();
        let measured = probe.take();
        assert!(value(&measured, metric::GPU_ENERGY_J).unwrap_err().contains("neither energy nor power"));
        assert!(value(&measured, metric::PEAK_VRAM_DEVICE_BYTES).unwrap_err().contains("cannot be read"));
        assert!(value(&measured, metric::PEAK_VRAM_BYTES).is_err());
        tree.write(&format!("{card}/hwmon/hwmon3/power1_average"), "60000000\n");
        let reading = energy(&Card::all(tree.root(), &AMD)[0]).unwrap();
        assert_eq!(reading, Reading::Power(60.0));
        tree.write(&format!("{card}/hwmon/hwmon3/power1_average"), "much\n");
        assert!(energy(&Card::all(tree.root(), &AMD)[0]).unwrap_err().contains("no number"));
    }

    #[test]
    fn a_machine_without_such_a_card_measures_nothing() {
        let tree = Tree::new();
        tree.card(0, ADDRESS, "0x8086");
        let mut probe = probe(&tree);
        probe.sample().unwrap();
        assert!(probe.take().is_empty() && probe.interval().is_none());
        assert!(drm::check(tree.root(), &AMD).unwrap_err().contains("no AMD"));
    }

    #[test]
    fn facts_of_a_card_are_read() {
        let tree = Tree::new();
        let card = tree.card(0, ADDRESS, "0x1002");
        tree.write(&format!("{card}/product_name"), "Radeon RX 7900 XTX\n");
        tree.write(&format!("{card}/mem_info_vram_total"), "25753026560\n");
        tree.write(&format!("{card}/pp_dpm_sclk"), "0: 500Mhz *\n1: 2371Mhz\n2: 2526Mhz\n");
        tree.write(&format!("{card}/current_link_width"), "16\n");
        tree.write(&format!("{card}/current_link_speed"), "16.0 GT/s PCIe\n");
        let facts = &cards(tree.root())[0];
        assert_eq!(
            (facts.name.as_str(), facts.memory_bytes),
            ("AMD Radeon RX 7900 XTX", Some(25_753_026_560))
        );
        assert_eq!(facts.max_clock_hz, Some(2.526e9));
        assert_eq!(facts.pcie.as_deref(), Some("x16 at 16.0 GT/s PCIe"));
        assert!(drm::check(tree.root(), &AMD).unwrap().contains("no memory"));
    }
}
