//! Energy of the processor's packages, from the kernel's powercap counters (Intel's RAPL, AMD's since Zen).

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::entry::{Probe, ProbeEntry, Subject};
use super::joules::{Joules, Reading};
use crate::error::{Error, Result};
use crate::record::{Measurement, Source, metric};

/// The line of the table.
pub const ENTRY: ProbeEntry = ProbeEntry {
    name: "rapl",
    summary: "energy of the processor's packages (powercap)",
    check: || match Rapl::at(Path::new(POWERCAP)).look() {
        Ok(packages) => Ok(format!("{packages} processor packages")),
        Err(reason) => Err(reason),
    },
    metrics: &[(metric::CPU_ENERGY_J, Source::Rapl)],
    start: |_: Subject| Box::new(Rapl::at(Path::new(POWERCAP))),
};

const POWERCAP: &str = "/sys/class/powercap";
/// Far shorter than the counters need to come round (a minute at the least).
const INTERVAL: Duration = Duration::from_millis(500);

/// A processor package.
#[derive(Debug)]
struct Package {
    counter: PathBuf,
    /// Where the counter starts again (J).
    range: Option<f64>,
    joules: Joules,
}

#[derive(Debug)]
struct Rapl {
    packages: Vec<Package>,
    reason: Option<String>,
}

impl Rapl {
    fn at(root: &Path) -> Self {
        let mut zones: Vec<PathBuf> =
            fs::read_dir(root).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
        zones.sort();
        let packages = zones.iter().filter(|zone| is_package(zone)).map(|zone| Package {
            counter: zone.join("energy_uj"),
            range: read_uj(&zone.join("max_energy_range_uj")).ok(),
            joules: Joules::default(),
        });
        Self { packages: packages.collect(), reason: None }
    }

    /// Reads every counter; how many there are.
    fn look(&mut self) -> Result<usize, String> {
        if self.packages.is_empty() {
            return Err(
                "the kernel has no energy counters of this processor (often so in virtual machines)".into()
            );
        }
        for package in &mut self.packages {
            let joules = read_uj(&package.counter)?;
            package.joules.add(Instant::now(), Reading::Counter { joules, range: package.range });
        }
        Ok(self.packages.len())
    }
}

/// `intel-rapl:0`, whose parts (`intel-rapl:0:0`) are in it already, and which `psys` would count again.
fn is_package(zone: &Path) -> bool {
    let name = zone.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let top = name.starts_with("intel-rapl:") && name.matches(':').count() == 1;
    top && fs::read_to_string(zone.join("name")).is_ok_and(|name| name.trim().starts_with("package"))
}

/// A counter in microjoules, as joules.
fn read_uj(path: &Path) -> Result<f64, String> {
    let text = fs::read_to_string(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::PermissionDenied => {
            format!(
                "{} may only be read by root: `sudo chmod a+r` on it allows it until the next start",
                path.display()
            )
        }
        _ => format!("{} cannot be read: {error}", path.display()),
    })?;
    let microjoules: f64 = text.trim().parse().map_err(|_| format!("{} is no number", path.display()))?;
    Ok(microjoules / 1e6)
}

impl Probe for Rapl {
    fn name(&self) -> &'static str {
        ENTRY.name
    }

    fn interval(&self) -> Option<Duration> {
        Some(INTERVAL)
    }

    fn sample(&mut self) -> Result<()> {
        match self.look() {
            Ok(_) => Ok(()),
            Err(reason) => {
                self.reason = Some(reason.clone());
                Err(Error::runtime(reason))
            }
        }
    }

    fn take(&mut self) -> Vec<Measurement> {
        // The reason goes first: a counter that failed in between has a hole that nobody can fill.
        let used: Vec<Option<f64>> = self.packages.iter_mut().map(|package| package.joules.take()).collect();
        let total: Option<f64> = used.into_iter().sum();
        let name = metric::CPU_ENERGY_J;
        vec![match (self.reason.take(), total.filter(|_| !self.packages.is_empty())) {
            (Some(reason), _) => Measurement::absent(name, Source::Rapl, reason),
            (None, Some(joules)) => Measurement::new(name, Source::Rapl, joules),
            (None, None) => Measurement::absent(name, Source::Rapl, "no two samples were taken"),
        }]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zone(root: &Path, name: &str, kind: &str, microjoules: u64) {
        let zone = root.join(name);
        fs::create_dir_all(&zone).unwrap();
        fs::write(zone.join("name"), kind).unwrap();
        fs::write(zone.join("max_energy_range_uj"), "262143328850\n").unwrap();
        fs::write(zone.join("energy_uj"), format!("{microjoules}\n")).unwrap();
    }

    #[test]
    fn packages_are_summed_and_their_parts_are_not() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        let set = |first, second| {
            zone(root, "intel-rapl:0", "package-0\n", first);
            zone(root, "intel-rapl:1", "package-1\n", second);
        };
        set(1_000_000, 262_143_000_000);
        zone(root, "intel-rapl:0:0", "core\n", 5);
        zone(root, "intel-rapl:2", "psys\n", 5);
        let mut probe = Rapl::at(root);
        probe.sample().unwrap();
        // The second one comes round.
        set(3_500_000, 671_150);
        probe.sample().unwrap();
        let value = probe.take()[0].value.unwrap();
        assert!((value - (2.5 + 1.0)).abs() < 1e-6, "{value}");
        assert!(probe.take()[0].absent.is_some());
    }

    #[test]
    fn a_machine_without_counters_says_so() {
        let root = tempfile::tempdir().unwrap();
        let mut probe = Rapl::at(root.path());
        assert!(probe.sample().is_err());
        assert!(probe.take()[0].absent.as_ref().unwrap().contains("no energy counters"));
    }

    #[test]
    fn a_counter_that_breaks_leaves_no_half_sum() {
        let root = tempfile::tempdir().unwrap();
        zone(root.path(), "intel-rapl:0", "package-0", 1);
        let mut probe = Rapl::at(root.path());
        probe.sample().unwrap();
        fs::write(root.path().join("intel-rapl:0/energy_uj"), "much").unwrap();
        assert!(probe.sample().is_err());
        assert!(probe.take()[0].absent.as_ref().unwrap().contains("no number"));
    }
}
