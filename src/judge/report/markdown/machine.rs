//! The machine of a run, in words.

use super::super::text::{self, joined};
use crate::record::{GpuCard, Machine};

/// The machine in one line; what a run did not record is left out.
pub(super) fn words(machine: &Machine) -> String {
    let mut parts = vec![
        text::markdown(&machine.cpu),
        format!("{} logical processors", machine.cpus),
        format!("{} memory", text::bytes(machine.memory_bytes)),
    ];
    parts.extend(
        machine
            .memory_copy_bytes_per_s
            .map(|speed| format!("copies {} GB/s", text::significant(speed / 1e9))),
    );
    parts.extend(clock(machine.cpu_hz, machine.cpu_max_hz).map(|clock| format!("clock {clock}")));
    parts.extend(machine.cpu_governor.as_ref().map(|name| format!("governor {}", text::markdown(name))));
    let described = |name: &&String| !machine.cards.iter().any(|card| card.name == **name);
    parts.extend(machine.gpus.iter().filter(described).map(|gpu| text::markdown(gpu)));
    parts.extend(machine.cards.iter().map(card));
    parts.push(text::markdown(&machine.os));
    joined(parts.into_iter().filter(|part| !part.is_empty()))
}

/// A card and what its driver says of it.
fn card(card: &GpuCard) -> String {
    let mut facts = Vec::new();
    facts.extend(card.driver.as_ref().map(|driver| format!("driver {}", text::markdown(driver))));
    facts.extend(card.memory_bytes.map(text::bytes));
    facts.extend(clock(card.clock_hz, card.max_clock_hz).map(|clock| format!("clock {clock}")));
    facts.extend(card.max_memory_clock_hz.map(|hertz| format!("memory clock {}", gigahertz(hertz))));
    facts.extend(card.power_limit_w.map(|watts| format!("limit {} W", text::significant(watts))));
    facts.extend(card.pcie.as_ref().map(|link| format!("PCIe {}", text::markdown(link))));
    facts.extend((!card.instances.is_empty()).then(|| format!("{} instances by MIG", card.instances.len())));
    if facts.is_empty() {
        return text::markdown(&card.name);
    }
    format!("{} ({})", text::markdown(&card.name), facts.join(", "))
}

/// `1.2 of 3.5 GHz`, or what is known of it.
fn clock(now: Option<f64>, most: Option<f64>) -> Option<String> {
    match (now, most) {
        (Some(now), Some(most)) => Some(format!("{} of {}", text::significant(now / 1e9), gigahertz(most))),
        (Some(now), None) => Some(gigahertz(now)),
        (None, Some(most)) => Some(format!("up to {}", gigahertz(most))),
        (None, None) => None,
    }
}

fn gigahertz(hertz: f64) -> String {
    format!("{} GHz", text::significant(hertz / 1e9))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_known_is_said_and_nothing_else() {
        let bare = Machine {
            cpu: "CPU".into(),
            cpus: 2,
            memory_bytes: 8 << 30,
            os: "Linux".into(),
            ..Machine::default()
        };
        let before = words(&bare);
        assert_eq!(before, words(&Machine { gpus: Vec::new(), ..bare.clone() }));
        assert!(!before.contains("copies") && !before.contains("clock"), "{before}");
        let known = GpuCard {
            name: "NVIDIA H100".into(),
            driver: Some("NVIDIA 580.65".into()),
            memory_bytes: Some(80 << 30),
            clock_hz: Some(3.45e8),
            max_clock_hz: Some(1.98e9),
            power_limit_w: Some(700.0),
            pcie: Some("gen 5 x16".into()),
            ..GpuCard::default()
        };
        let full = words(&Machine {
            memory_copy_bytes_per_s: Some(2.13e10),
            cpu_max_hz: Some(3.5e9),
            cpu_governor: Some("performance".into()),
            gpus: vec!["NVIDIA H100".into(), "AMD GPU 0x744c".into()],
            cards: vec![known],
            ..bare
        });
        for part in [
            "copies 21.3 GB/s",
            "clock up to 3.50 GHz",
            "governor performance",
            "AMD GPU",
            "0.345 of 1.98 GHz",
        ] {
            assert!(full.contains(part), "{part}: {full}");
        }
        assert_eq!(full.matches("NVIDIA H100").count(), 1, "{full}");
        assert!(full.contains("80.0 GiB, clock") && full.contains("limit 700 W, PCIe gen 5 x16"), "{full}");
    }
}
