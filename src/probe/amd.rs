//! AMD's graphics cards, by the files of the `amdgpu` driver
//! (<https://docs.kernel.org/gpu/amdgpu/thermal.html>, <https://docs.kernel.org/gpu/amdgpu/driver-misc.html>).

use std::path::Path;

use super::ProbeEntry;
use super::drm::{self, Card, Drm, Maker};
use super::joules::Reading;
use crate::analysis::summary::GpuCard;

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
    memory: |card| drm::size(&card.device.join("mem_info_vram_total")).ok(),
    used: |card| drm::size(&card.device.join("mem_info_vram_used")),
    energy,
    max_clock_hz,
};

/// What is known of the cards.
pub fn cards(root: &Path) -> Vec<GpuCard> {
    drm::facts(root, &AMD)
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
    use super::super::Probe;
    use super::super::drm::tests::{Tree, subject, value};
    use super::*;
    use crate::trial::metric;

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
