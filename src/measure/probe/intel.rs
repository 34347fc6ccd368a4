//! Intel's graphics cards, by the sensors of the `i915` and `xe` drivers
//! (the kernel's `Documentation/ABI/testing/sysfs-driver-intel-i915-hwmon` and `-xe-hwmon`).

use std::path::Path;

use super::drm::{self, Card, Drm, Maker};
use super::entry::ProbeEntry;
use super::joules::Reading;
use super::sysfs::first_line;
use crate::record::GpuCard;

/// The line of the table.
pub const ENTRY: ProbeEntry = ProbeEntry {
    name: INTEL.probe,
    summary: "GPU memory of the server, energy of the cards (i915's and xe's files)",
    check: || drm::check(Path::new("/"), &INTEL),
    metrics: drm::METRICS,
    start: |subject| Box::new(Drm::new(Path::new("/"), &INTEL, subject)),
};

static INTEL: Maker = Maker {
    probe: "intel",
    title: "Intel",
    vendor: "0x8086",
    is_shared: |card| card.address == INTEGRATED,
    memory: |_| None,
    used: |_| Err("Intel's drivers do not say what is in use of a card's memory".to_owned()),
    energy,
    max_clock_hz,
};

/// Where graphics inside Intel's processors are, which work in the machine's memory.
const INTEGRATED: &str = "0000:00:02.0";

/// What is known of the cards.
pub fn cards(root: &Path) -> Vec<GpuCard> {
    drm::facts(root, &INTEL)
}

/// Where they are on the bus (`0000:03:00.0`), in the order of [`cards`].
pub fn addresses(root: &Path) -> Vec<String> {
    drm::addresses(root, &INTEL)
}

/// Mean power of a card (W) while nothing of ours runs, over two seconds.
///
/// # Errors
/// Why there is no figure.
pub fn idle_power_w() -> Result<f64, String> {
    drm::idle_power_w(Path::new("/"), &INTEL)
}

/// The counter of the whole card, else of its package (uJ). Processors with graphics inside have none: their energy
/// is in the processor's.
fn energy(card: &Card) -> Result<Reading, String> {
    let counter = ["energy1_input", "energy2_input"].iter().find_map(|file| card.sensor(is_whole_card, file));
    let microjoules = counter.ok_or("the driver has no energy counter of this card")?;
    Ok(Reading::Counter { joules: microjoules? / 1e6, range: None })
}

/// `i915` has further sensors for parts of the card (`i915_gt0`), which are in the whole.
fn is_whole_card(sensor: &Path) -> bool {
    matches!(first_line(&sensor.join("name")).as_deref(), Some("i915" | "xe"))
}

/// Megahertz in a file: `xe` has one for each tile, `i915` one beside the device.
fn max_clock_hz(card: &Card) -> Option<f64> {
    let files = ["tile0/gt0/freq0/max_freq", "drm/card0/gt_max_freq_mhz", "drm/card1/gt_max_freq_mhz"];
    files.iter().find_map(|file| drm::number(&card.device.join(file)).ok()).map(|megahertz| megahertz * 1e6)
}

#[cfg(test)]
mod tests {
    use super::super::drm::tests::{Tree, subject, value};
    use super::super::entry::Probe;
    use super::*;
    use crate::record::metric;

    const ADDRESS: &str = "0000:03:00.0";

    #[test]
    fn energy_is_of_the_whole_card_and_memory_of_the_server() {
        let tree = Tree::new();
        let card = tree.card(1, ADDRESS, "0x8086");
        let sensor = |number: u32, name: &str, file: &str, microjoules: u64| {
            tree.write(&format!("{card}/hwmon/hwmon{number}/name"), &format!("{name}\n"));
            tree.write(&format!("{card}/hwmon/hwmon{number}/{file}"), &format!("{microjoules}\n"));
        };
        sensor(2, "i915_gt0", "energy1_input", 5);
        sensor(4, "i915", "energy1_input", 10_000_000);
        tree.hold(9, ADDRESS, 4, "drm-resident-local0:\t2 MiB\ndrm-resident-system0:\t7 MiB");
        let mut probe = Drm::new(tree.root(), &INTEL, subject());
        probe.sample().unwrap();
        sensor(2, "i915_gt0", "energy1_input", 500_000_000);
        sensor(4, "i915", "energy1_input", 11_500_000);
        probe.sample().unwrap();
        let measured = probe.take();
        assert_eq!(value(&measured, metric::GPU_ENERGY_J), Ok(1.5));
        assert_eq!(value(&measured, metric::PEAK_VRAM_BYTES), Ok(f64::from(2 << 20)));
        assert!(value(&measured, metric::PEAK_VRAM_DEVICE_BYTES).unwrap_err().contains("do not say"));
    }

    #[test]
    fn a_card_whose_package_alone_has_a_counter_is_measured_by_that() {
        let tree = Tree::new();
        let card = tree.card(0, ADDRESS, "0x8086");
        tree.write(&format!("{card}/hwmon/hwmon1/name"), "xe\n");
        tree.write(&format!("{card}/hwmon/hwmon1/energy2_input"), "7000000\n");
        tree.write(&format!("{card}/tile0/gt0/freq0/max_freq"), "2400\n");
        let cards = Card::all(tree.root(), &INTEL);
        assert_eq!(energy(&cards[0]).unwrap(), Reading::Counter { joules: 7.0, range: None });
        assert_eq!(super::cards(tree.root())[0].max_clock_hz, Some(2.4e9));
    }

    #[test]
    fn graphics_in_a_processor_have_no_energy_of_their_own() {
        let tree = Tree::new();
        tree.card(0, "0000:00:02.0", "0x8086");
        let mut probe = Drm::new(tree.root(), &INTEL, subject());
        probe.sample().unwrap();
        probe.sample().unwrap();
        let measured = probe.take();
        assert!(value(&measured, metric::GPU_ENERGY_J).unwrap_err().contains("no energy counter"));
        assert!(value(&measured, metric::PEAK_VRAM_BYTES).is_err(), "the server has it not open");
        assert_eq!(value(&measured, metric::ON_GPU), Ok(0.0));
    }

    #[test]
    fn graphics_in_a_processor_hold_the_machines_memory() {
        let tree = Tree::new();
        tree.card(0, "0000:00:02.0", "0x8086");
        let held = |lines: &str| {
            tree.hold(9, "0000:00:02.0", 4, lines);
            let mut probe = Drm::new(tree.root(), &INTEL, subject());
            probe.sample().unwrap();
            probe.take()
        };
        let i915 = held("drm-resident-system0:\t7 MiB\ndrm-resident-stolen-system0:\t1 MiB");
        assert_eq!(value(&i915, metric::PEAK_VRAM_BYTES), Ok(f64::from(8 << 20)));
        let xe = held("drm-resident-system:\t0\ndrm-resident-gtt:\t6 MiB");
        assert_eq!(value(&xe, metric::PEAK_VRAM_BYTES), Ok(f64::from(6 << 20)));
        let old_kernel = held("drm-engine-render:\t17 ns");
        assert_eq!(value(&old_kernel, metric::ON_GPU), Ok(1.0), "it is there, with an unknown amount");
        assert!(value(&old_kernel, metric::PEAK_VRAM_BYTES).unwrap_err().contains("does not say"));
    }
}
