//! Which process listens on a port of this machine: a server that was not started here.

/// Programs that pass connections on to a server elsewhere (in a container, behind a tunnel): their memory is not its.
const FORWARDERS: &[&str] = &[
    "docker-proxy",
    "rootlessport",
    "slirp4netns",
    "pasta",
    "ssh",
    "sshd",
    "kubectl",
    "socat",
    "nginx",
    "caddy",
    "haproxy",
];

/// The process that listens on the TCP port; of a parent and its children that share the socket, the parent.
///
/// # Errors
/// Says why it is not known: nothing listens, it belongs to another user, or the port is only passed on.
#[cfg(target_os = "linux")]
pub fn owner(port: u16) -> Result<u32, String> {
    let sockets = listening(port)?;
    if sockets.is_empty() {
        return Err(format!("no process of this machine listens on port {port}"));
    }
    let mut owners = holders(&sockets)?;
    owners.sort_by_key(|owner| owner.pid);
    let is_child = |parent: i32| owners.iter().any(|other| other.pid == parent);
    let first = owners.iter().find(|owner| !is_child(owner.parent));
    let first = first.ok_or_else(|| {
        format!("the process that listens on port {port} belongs to another user, or runs in a container")
    })?;
    if FORWARDERS.contains(&first.name.as_str()) {
        return Err(format!("port {port} is passed on by {}: the server is elsewhere", first.name));
    }
    u32::try_from(first.pid).map_err(|_| format!("process id {} is out of range", first.pid))
}

/// As on Linux.
///
/// # Errors
/// Always: only Linux says which process listens on a port.
#[cfg(not(target_os = "linux"))]
pub fn owner(_port: u16) -> Result<u32, String> {
    Err("only Linux says which process listens on a port".to_owned())
}

/// A process that holds one of the sockets.
#[cfg(target_os = "linux")]
struct Owner {
    pid: i32,
    parent: i32,
    name: String,
}

/// Inodes of the sockets that listen on the port.
#[cfg(target_os = "linux")]
fn listening(port: u16) -> Result<Vec<u64>, String> {
    use procfs::net::{TcpState, tcp, tcp6};

    let mut entries = tcp().map_err(|error| format!("/proc/net/tcp cannot be read: {error}"))?;
    entries.extend(tcp6().unwrap_or_default());
    let here =
        entries.iter().filter(|entry| entry.state == TcpState::Listen && entry.local_address.port() == port);
    Ok(here.map(|entry| entry.inode).collect())
}

#[cfg(target_os = "linux")]
fn holders(sockets: &[u64]) -> Result<Vec<Owner>, String> {
    use procfs::process::{FDTarget, Process, all_processes};

    let processes = all_processes().map_err(|error| format!("processes cannot be listed: {error}"))?;
    let holds = |process: &Process| {
        let files = process.fd().into_iter().flatten().flatten();
        files
            .into_iter()
            .any(|file| matches!(file.target, FDTarget::Socket(inode) if sockets.contains(&inode)))
    };
    let owners = processes.flatten().filter(holds).filter_map(|process| {
        let stat = process.stat().ok()?;
        Some(Owner { pid: stat.pid, parent: stat.ppid, name: stat.comm })
    });
    Ok(owners.collect())
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_listener_is_found_by_its_port() {
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        assert_eq!(owner(port), Ok(std::process::id()));
        // Nobody can listen there; a port that was freed may be another test's at once.
        assert!(owner(0).unwrap_err().contains("no process"));
    }
}
