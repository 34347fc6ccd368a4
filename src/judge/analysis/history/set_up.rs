//! What a run was made with: the machine, which keeps series apart, and everything else that may change between two
//! nights.

use crate::judge::analysis::summary::Summary;
use crate::record::{EngineInfo, GpuCard, Machine};

/// The machine of a run in words: runs of one name are of machines that are alike. What a night may change without
/// being another machine (kernel, driver, clocks) is not in it.
pub fn machine_name(machine: &Machine, engines: &[EngineInfo]) -> String {
    let cpu = if machine.cpu.is_empty() { "unknown processor" } else { &machine.cpu };
    let mut parts = vec![cpu.to_owned()];
    if machine.cpus > 0 {
        parts.push(format!("{} CPUs", machine.cpus));
    }
    // The kernel keeps a little of it for itself, more or less of it from version to version.
    if machine.memory_bytes > 0 {
        parts.push(format!("{:.0} GiB", machine.memory_bytes as f64 / f64::from(1 << 30)));
    }
    let mut gpus: Vec<&str> = machine.gpus.iter().map(String::as_str).collect();
    gpus.sort_unstable();
    for pair in gpus.chunk_by(|a, b| a == b) {
        parts.push(if pair.len() > 1 { format!("{} x {}", pair.len(), pair[0]) } else { pair[0].to_owned() });
    }
    // A server that ran already may be on any machine: its address is what is known of it.
    let attached = engines.iter().map(|engine| engine.origin.as_str());
    parts.extend(attached.filter(|origin| origin.starts_with("attached at ")).map(str::to_owned));
    parts.join(", ")
}

/// Something that a run was made with.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Part {
    what: String,
    is: String,
}

/// Everything that a figure may depend on and that is not the machine itself.
fn parts(run: &Summary) -> Vec<Part> {
    let part = |what: &str, is: &str| Part { what: what.to_owned(), is: is.to_owned() };
    let engines = run.engines.iter().map(|engine| part(&format!("engine {}", engine.name), &engine.version));
    let models = run.models.iter().map(|model| {
        let sha256: String = model.sha256.chars().take(12).collect();
        part(&format!("file of {} {}", model.name, model.weights), &sha256)
    });
    let cards = run.machine.cards.iter().enumerate().flat_map(|(number, card)| of_card(number, card));
    let mut all: Vec<Part> = engines.chain(models).chain(cards).collect();
    all.push(part("kneepoint", &run.tool_version));
    all.push(part("operating system", &run.machine.os));
    all.extend(run.machine.cpu_governor.as_deref().map(|governor| part("CPU governor", governor)));
    all
}

fn of_card(number: usize, card: &GpuCard) -> Vec<Part> {
    let part = |what: &str, is: String| Part { what: format!("{what} of card {number}"), is };
    let mut all: Vec<Part> = card.driver.iter().map(|driver| part("driver", driver.clone())).collect();
    all.extend(card.power_limit_w.map(|watts| part("power limit", format!("{watts:.0} W"))));
    all
}

/// What is another in `after` than in `before`, such as `engine llama.cpp: b1 -> b2`. Parts that only one of them
/// knows are left out.
pub(super) fn changed(before: &Summary, after: &Summary) -> Vec<String> {
    let (old, new) = (parts(before), parts(after));
    let mut lines = Vec::new();
    for part in &new {
        let same = old.iter().find(|other| other.what == part.what);
        if let Some(other) = same.filter(|other| other.is != part.is) {
            lines.push(format!("{}: {} -> {}", part.what, other.is, part.is));
        }
    }
    let named = lines.iter().any(|line| line.starts_with("engine ") || line.starts_with("file of "));
    if before.fingerprint != after.fingerprint && !named {
        lines.push("the suite, its filters or a task's version".to_owned());
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::analysis::testing;

    #[test]
    fn a_kernel_does_not_make_another_machine_but_a_card_does() {
        let machine = |os: &str, bytes: u64, gpus: &[&str]| Machine {
            os: os.into(),
            cpu: "CPU".into(),
            cpus: 8,
            memory_bytes: bytes,
            gpus: gpus.iter().map(|gpu| (*gpu).to_owned()).collect(),
            ..Machine::default()
        };
        let name = |machine: &Machine| machine_name(machine, &[]);
        let old = machine("Linux 6.1", 67_300_000_000, &["H100", "H100"]);
        assert_eq!(name(&old), "CPU, 8 CPUs, 63 GiB, 2 x H100");
        assert_eq!(name(&old), name(&machine("Linux 6.8", 67_250_000_000, &["H100", "H100"])));
        assert_ne!(name(&old), name(&machine("Linux 6.1", 67_300_000_000, &["H100"])));
        let attached = |url: &str| {
            [EngineInfo {
                name: "vllm".into(),
                version: "1".into(),
                origin: format!("attached at {url}"),
                sha256: None,
                placement: None,
            }]
        };
        assert_ne!(machine_name(&old, &attached("http://a")), machine_name(&old, &attached("http://b")));
    }

    #[test]
    fn what_changed_is_named_with_both_values() {
        let mut before = testing::summary();
        before.engines = vec![EngineInfo {
            name: "llama.cpp".into(),
            version: "b1".into(),
            origin: "PATH".into(),
            sha256: None,
            placement: None,
        }];
        let mut after = before.clone();
        assert!(changed(&before, &after).is_empty());
        after.machine.os = "Linux 6.8".into();
        before.machine.os = "Linux 6.1".into();
        after.engines[0].version = "b2".into();
        after.fingerprint = "other".into();
        assert_eq!(
            changed(&before, &after),
            ["engine llama.cpp: b1 -> b2", "operating system: Linux 6.1 -> Linux 6.8"]
        );
        before.engines[0].version = "b2".into();
        before.machine.os = "Linux 6.8".into();
        assert_eq!(changed(&before, &after), ["the suite, its filters or a task's version"]);
    }
}
