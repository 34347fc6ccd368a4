//! What machine this is: read once a run.

use std::fs;
use std::path::Path;

use procfs::{CpuInfo, Current, Meminfo};

use super::sysfs::{first_line, folders, is_card};
use super::{amd, bandwidth, intel, nvidia};
use crate::record::Machine;

/// The machine as a run finds it: also what its cards use while nothing of ours runs and, where the run starts servers here, how fast
/// it copies memory (of a server that runs already nobody knows what it reads, nor always where it is).
/// Takes 2 s with a card, and about 0.3 s without one: copying memory does nothing to a card that is watched meanwhile.
pub fn measured(starts_servers: bool) -> Machine {
    std::thread::scope(|scope| {
        let watch = std::thread::Builder::new().spawn_scoped(scope, idle_gpu_w);
        let memory_copy_bytes_per_s = starts_servers.then(bandwidth::copy_bytes_per_s).flatten();
        // A thread may not be granted (a container's limits).
        let idle_gpu_w = watch.map_or_else(|_| idle_gpu_w(), |watch| watch.join().ok().flatten());
        Machine { idle_gpu_w, memory_copy_bytes_per_s, ..machine() }
    })
}

/// Power of an idle card (W), where one tells.
fn idle_gpu_w() -> Option<f64> {
    nvidia::idle_power_w().or_else(|_| amd::idle_power_w()).or_else(|_| intel::idle_power_w()).ok()
}

/// The machine; what cannot be read is called unknown, an empty list of GPUs means that none was found.
pub fn machine() -> Machine {
    Machine {
        os: os(),
        cpu: cpu(),
        cpus: std::thread::available_parallelism().map_or(1, |n| u32::try_from(n.get()).unwrap_or(u32::MAX)),
        memory_bytes: Meminfo::current().map(|info| info.mem_total).unwrap_or_default(),
        gpus: gpus(Path::new("/")),
        idle_gpu_w: None,
        memory_copy_bytes_per_s: None,
        cpu_hz: CpuInfo::current().ok().and_then(|info| mean_clock_hz(&info)),
        cpu_max_hz: clock_file(Path::new("/"), "cpuinfo_max_freq")
            .and_then(|khz| Some(khz.parse::<f64>().ok()? * 1e3)),
        cpu_governor: clock_file(Path::new("/"), "scaling_governor"),
        cards: [nvidia::cards(), amd::cards(Path::new("/")), intel::cards(Path::new("/"))].concat(),
    }
}

/// Mean clock of the processors (Hz), where the kernel says it.
fn mean_clock_hz(info: &CpuInfo) -> Option<f64> {
    let clocks: Vec<f64> = (0..info.num_cores())
        .filter_map(|cpu| info.get_field(cpu, "cpu MHz")?.parse::<f64>().ok())
        .filter(|megahertz| megahertz.is_finite() && *megahertz > 0.0)
        .collect();
    (!clocks.is_empty()).then(|| clocks.iter().sum::<f64>() / clocks.len() as f64 * 1e6)
}

/// A line on the clock of the first processor; virtual machines have none.
fn clock_file(root: &Path, name: &str) -> Option<String> {
    first_line(&root.join("sys/devices/system/cpu/cpu0/cpufreq").join(name))
}

/// Main memory that could be had without swapping (bytes), as the kernel estimates it.
pub fn free_memory_bytes() -> Option<u64> {
    Meminfo::current().ok()?.mem_available
}

/// Whether a GPU was found that a server could use.
pub fn has_gpu() -> bool {
    !gpus(Path::new("/")).is_empty()
}

fn os() -> String {
    let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let name = release
        .lines()
        .find_map(|line| line.strip_prefix("PRETTY_NAME="))
        .map_or(std::env::consts::OS, |name| name.trim_matches('"'));
    let kernel =
        first_line(Path::new("/proc/sys/kernel/osrelease")).unwrap_or_else(|| "unknown kernel".into());
    format!("{name}, {} {kernel}, {}", std::env::consts::OS, std::env::consts::ARCH)
}

fn cpu() -> String {
    CpuInfo::current()
        .ok()
        .and_then(|info| info.model_name(0).map(str::to_owned))
        .unwrap_or_else(|| format!("unknown {} processor", std::env::consts::ARCH))
}

/// GPUs by name; `root` is `/` but in tests.
fn gpus(root: &Path) -> Vec<String> {
    let nvidia = nvidia_gpus(root);
    let others = drm_gpus(root, !nvidia.is_empty());
    nvidia.into_iter().chain(others).collect()
}

/// NVIDIA's driver lists each card with its model.
fn nvidia_gpus(root: &Path) -> Vec<String> {
    folders(&root.join("proc/driver/nvidia/gpus"))
        .iter()
        .filter_map(|folder| fs::read_to_string(folder.join("information")).ok())
        .filter_map(|text| {
            text.lines().find_map(|line| line.strip_prefix("Model:")).map(|model| model.trim().to_owned())
        })
        .collect()
}

/// Cards of the kernel's graphics subsystem. Displays without a compute engine (virtual machines,
/// management controllers) are from other makers and do not count.
fn drm_gpus(root: &Path, nvidia_known: bool) -> Vec<String> {
    folders(&root.join("sys/class/drm"))
        .iter()
        .filter(|folder| is_card(folder))
        .filter_map(|folder| {
            let device = folder.join("device");
            let maker = match first_line(&device.join("vendor"))?.as_str() {
                "0x1002" => "AMD",
                "0x8086" => "Intel",
                "0x10de" if !nvidia_known => "NVIDIA",
                _ => return None,
            };
            let model = first_line(&device.join("product_name"))
                .or_else(|| Some(format!("GPU {}", first_line(&device.join("device"))?)))?;
            Some(format!("{maker} {model}"))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use procfs::FromRead;

    use super::*;

    #[test]
    fn this_machine_has_a_processor_and_memory() {
        let machine = machine();
        assert!(machine.cpus >= 1);
        assert!(machine.memory_bytes > 64 << 20);
        assert!(!machine.cpu.is_empty());
        assert!(machine.os.contains(std::env::consts::ARCH));
    }

    #[test]
    fn clocks_are_read_where_the_kernel_has_them() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(clock_file(root.path(), "scaling_governor"), None);
        let folder = root.path().join("sys/devices/system/cpu/cpu0/cpufreq");
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("scaling_governor"), "powersave\n").unwrap();
        assert_eq!(clock_file(root.path(), "scaling_governor").as_deref(), Some("powersave"));
        let info = CpuInfo::from_read(
            &b"processor\t: 0\ncpu MHz\t\t: 2000.0\n\nprocessor\t: 1\ncpu MHz\t\t: 3000.0\n\n"[..],
        );
        assert_eq!(mean_clock_hz(&info.unwrap()), Some(2.5e9));
    }

    #[test]
    fn gpus_are_found_by_maker_and_displays_are_not() {
        let root = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        assert!(gpus(root.path()).is_empty());
        write("sys/class/drm/card0/device/vendor", "0x1234\n");
        write("sys/class/drm/card0/device/device", "0x1111\n");
        assert!(gpus(root.path()).is_empty(), "a virtual display");
        write("sys/class/drm/card1/device/vendor", "0x1002\n");
        write("sys/class/drm/card1/device/device", "0x744c\n");
        write("sys/class/drm/card1-DP-1/device/vendor", "0x1002\n");
        write("sys/class/drm/card2/device/vendor", "0x10de\n");
        write("sys/class/drm/card2/device/device", "0x2330\n");
        write("proc/driver/nvidia/gpus/0000:01:00.0/information", "Model: \t\t NVIDIA H100\nIRQ: 1\n");
        assert_eq!(gpus(root.path()), ["NVIDIA H100", "AMD GPU 0x744c"]);
    }
}
