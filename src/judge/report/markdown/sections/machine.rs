use super::super::render_markdown;
use crate::judge::analysis::testing;
use crate::record::{GpuCard, Machine};

/// The report's line on the machine.
fn words(machine: &Machine) -> String {
    let mut summary = testing::summary();
    summary.machine = machine.clone();
    let report = render_markdown(&summary, None).unwrap();
    report.lines().find(|line| line.starts_with("| machine |")).unwrap().to_owned()
}

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
    for part in
        ["copies 21.3 GB/s", "clock up to 3.50 GHz", "governor performance", "AMD GPU", "0.345 of 1.98 GHz"]
    {
        assert!(full.contains(part), "{part}: {full}");
    }
    assert_eq!(full.matches("NVIDIA H100").count(), 1, "{full}");
    assert!(full.contains("80.0 GiB, clock") && full.contains("limit 700 W, PCIe gen 5 x16"), "{full}");
}
