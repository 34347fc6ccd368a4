//! The processes of a server: kneepoint's watcher over it, the server, and whatever that started.

use std::collections::BTreeMap;

use procfs::process::all_processes;

use crate::error::{Context, Result};

/// The hidden subcommand that starts a server and watches over it; arguments: `-- PROGRAM ARGS..`.
pub const WATCH_SERVER: &str = "__watch-server";

/// The hidden subcommand that becomes a server; arguments: `--parent PID -- PROGRAM ARGS..`.
pub const EXEC_SERVER: &str = "__exec-server";

/// Returns whether a process is a watcher of any kneepoint.
pub(crate) fn is_watcher(pid: u32) -> bool {
    let words = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    words.split(|byte| *byte == 0).nth(1) == Some(WATCH_SERVER.as_bytes())
}

/// All processes of a server, itself first: its descendants, and those that lost their parent, which kneepoint's
/// watcher has adopted. The watcher itself is none of them.
///
/// # Errors
/// When `/proc` cannot be read.
pub(crate) fn tree(server: u32) -> Result<Vec<i32>> {
    let (server, table) = (process_id(server)?, Table::read()?);
    let mut found = table.descendants(server);
    let is_watcher = |pid: &i32| u32::try_from(*pid).is_ok_and(is_watcher);
    if let Some(watcher) = table.parents.get(&server).copied().filter(is_watcher) {
        let adopted = table.descendants(watcher).into_iter().skip(1);
        found.extend(adopted.filter(|pid| !found.contains(pid)).collect::<Vec<_>>());
    }
    Ok(found)
}

/// The process and all its descendants, itself first.
///
/// # Errors
/// When `/proc` cannot be read.
pub(crate) fn descendants(root: u32) -> Result<Vec<i32>> {
    Ok(Table::read()?.descendants(process_id(root)?))
}

fn process_id(number: u32) -> Result<i32> {
    i32::try_from(number).context(|| format!("process id {number} is out of range"))
}

/// Who started whom. To read it takes a file of every process on the machine: all that is asked at a moment is asked of one.
#[derive(Default)]
struct Table {
    children: BTreeMap<i32, Vec<i32>>,
    parents: BTreeMap<i32, i32>,
}

impl Table {
    fn read() -> Result<Self> {
        let mut table = Self::default();
        let processes = all_processes().context(|| "cannot list processes".to_owned())?;
        for stat in processes.flatten().filter_map(|process| process.stat().ok()) {
            table.children.entry(stat.ppid).or_default().push(stat.pid);
            table.parents.insert(stat.pid, stat.ppid);
        }
        Ok(table)
    }

    fn descendants(&self, root: i32) -> Vec<i32> {
        let mut found = vec![root];
        let mut next = 0;
        while let Some(pid) = found.get(next).copied() {
            // Not twice: of processes that end and begin meanwhile the table may hold a circle.
            let children = self.children.get(&pid).into_iter().flatten();
            found.extend(children.copied().filter(|child| !found.contains(child)).collect::<Vec<_>>());
            next += 1;
        }
        found
    }
}

/// Keeps this process, and all that it starts, to these processors; to none where the list is empty.
///
/// # Errors
/// When a processor does not exist or may not be used.
#[cfg(target_os = "linux")]
pub(crate) fn pin(cpus: &[usize]) -> Result<()> {
    use nix::sched::{CpuSet, sched_setaffinity};

    if cpus.is_empty() {
        return Ok(());
    }
    let mut set = CpuSet::new();
    for cpu in cpus {
        set.set(*cpu).context(|| format!("there is no processor {cpu}"))?;
    }
    let this = nix::unistd::Pid::from_raw(0);
    sched_setaffinity(this, &set).context(|| format!("cannot keep to the processors {cpus:?}"))
}

/// Elsewhere nobody is pinned.
#[cfg(not(target_os = "linux"))]
pub(crate) fn pin(_: &[usize]) -> Result<()> {
    Ok(())
}

/// Processors that this process may use, those of one core together, cores in the order of their first; each processor alone
/// where the kernel does not say which share a core.
#[cfg(target_os = "linux")]
pub(crate) fn cores() -> Vec<Vec<usize>> {
    use nix::sched::{CpuSet, sched_getaffinity};

    let Ok(allowed) = sched_getaffinity(nix::unistd::Pid::from_raw(0)) else { return Vec::new() };
    let mut cores: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    let mut order: Vec<String> = Vec::new();
    for cpu in (0..CpuSet::count()).filter(|cpu| allowed.is_set(*cpu).unwrap_or_default()) {
        let file = format!("/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list");
        let core =
            std::fs::read_to_string(file).map_or_else(|_| cpu.to_string(), |list| list.trim().to_owned());
        if !cores.contains_key(&core) {
            order.push(core.clone());
        }
        cores.entry(core).or_default().push(cpu);
    }
    order.into_iter().filter_map(|core| cores.remove(&core)).collect()
}

/// Elsewhere nobody is pinned.
#[cfg(not(target_os = "linux"))]
pub(crate) fn cores() -> Vec<Vec<usize>> {
    Vec::new()
}

/// Ends this process, as SIGTERM does, when the one that started it ends.
///
/// # Errors
/// When that one is gone already, or the kernel cannot be asked.
pub(crate) fn end_with(parent: i32) -> Result<()> {
    #[cfg(target_os = "linux")]
    nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGTERM)
        .context(|| "cannot ask for the parent-death signal".to_owned())?;
    if nix::unistd::getppid() == nix::unistd::Pid::from_raw(parent) {
        return Ok(());
    }
    Err(crate::error::Error::runtime("the kneepoint that started this worker is gone"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn children_count() {
        let mut child = std::process::Command::new("sleep").arg("30").spawn().unwrap();
        let pids = tree(std::process::id()).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(pids[0], std::process::id() as i32);
        assert!(pids.contains(&(child.id() as i32)));
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn every_processor_is_of_one_core() {
        let cores = cores();
        let mut all = cores.concat();
        let processors = std::thread::available_parallelism().unwrap().get();
        assert!(all.len() >= processors && cores.iter().all(|core| !core.is_empty()), "{cores:?}");
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), cores.concat().len());
    }

    #[test]
    fn this_process_is_no_watcher() {
        assert!(!is_watcher(std::process::id()));
    }
}
