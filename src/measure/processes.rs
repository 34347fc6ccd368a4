//! The processes of a server: kneepoint's watcher over it, the server, and whatever that started.

use std::collections::BTreeMap;

use procfs::process::{Process, all_processes};

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
    let mut found = descendants(server)?;
    let parent = Process::new(found[0]).and_then(|process| process.stat()).map(|stat| stat.ppid);
    if let Some(watcher) = parent.ok().and_then(|pid| u32::try_from(pid).ok()).filter(|pid| is_watcher(*pid))
    {
        let adopted: Vec<i32> = descendants(watcher)?.into_iter().skip(1).collect();
        found.extend(adopted.into_iter().filter(|pid| !found.contains(pid)).collect::<Vec<_>>());
    }
    Ok(found)
}

/// The process and all its descendants, itself first.
///
/// # Errors
/// When `/proc` cannot be read.
pub(crate) fn descendants(root: u32) -> Result<Vec<i32>> {
    let root = i32::try_from(root).context(|| format!("process id {root} is out of range"))?;
    let mut children: BTreeMap<i32, Vec<i32>> = BTreeMap::new();
    let processes = all_processes().context(|| "cannot list processes".to_owned())?;
    for stat in processes.flatten().filter_map(|process| process.stat().ok()) {
        children.entry(stat.ppid).or_default().push(stat.pid);
    }
    let mut found = vec![root];
    let mut next = 0;
    while let Some(&pid) = found.get(next) {
        found.extend(children.remove(&pid).unwrap_or_default());
        next += 1;
    }
    Ok(found)
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
    fn this_process_is_no_watcher() {
        assert!(!is_watcher(std::process::id()));
    }
}
