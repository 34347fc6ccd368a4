//! The process between kneepoint and a server: it outlives kneepoint by as long as it takes to end the server.
//!
//! kneepoint starts itself as `__watch-server`; that process starts the server and stays. Its standard input is a pipe
//! that only kneepoint holds: a line `stop` asks every process of the server to end, the end of the pipe (kneepoint
//! closed it, or died of whatever) kills them all. Whatever a server starts stays below the watcher, also when it
//! calls `setsid` or forks twice, because orphans come to the nearest "child subreaper" (see `prctl(2)`). So the tree
//! is known without guessing, and the watcher has ended when the last process of it has.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io::{BufRead, BufReader, PipeReader, PipeWriter, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::prctl;
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::error::{Context, Result};
use crate::measure::processes::{EXEC_SERVER, descendants};

/// Name of the watcher among the processes: `pkill kneepoint` must not end it together with kneepoint.
pub(super) const NAME: &str = "server-watcher";
/// What runs now, also when its file was replaced by a newer one since.
pub(super) const MYSELF: &str = "/proc/self/exe";

/// The variable that marks every process of a server, whoever started it.
pub(super) const MARK: &str = "KNEEPOINT_SERVER";

/// The line that asks for a soft end.
const STOP: &str = "stop";
/// How often what was killed is looked at again: a process may have forked in between.
const AGAIN: Duration = Duration::from_millis(10);
/// How long killed processes are waited for; a process that hangs in the kernel does not even take SIGKILL.
const KILL_LIMIT: Duration = Duration::from_secs(20);

/// Starts the server and returns when none of its processes is left.
///
/// # Errors
/// When it cannot be started.
pub fn watch_server(program: &OsString, args: &[OsString]) -> Result<()> {
    prctl::set_child_subreaper(true).context(|| "cannot adopt the server's orphans".into())?;
    // A long name would be cut, nothing else can go wrong.
    let _ = prctl::set_name(c"server-watcher");
    blocked().thread_block().context(|| "cannot block signals".into())?;
    let changes = SignalFd::with_flags(&children_end(), SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)
        .context(|| "cannot wait for the server".into())?;
    let server = spawn(program, args)?;
    report(&format!("started {server}"));
    let (ended, left) = Watch { server, ended: None, phase: Phase::Serving }.go(&changes);
    report(&format!("ended {}", ended.unwrap_or_else(|| "unknown".into())));
    if !left.is_empty() {
        let left: Vec<String> = left.iter().map(ToString::to_string).collect();
        report(&format!("left {}", left.join(" ")));
    }
    Ok(())
}

/// Signals that must not end the watcher before its server, and the one that it reads.
fn blocked() -> SigSet {
    [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGQUIT, Signal::SIGTSTP, Signal::SIGCHLD]
        .into_iter()
        .collect()
}

fn children_end() -> SigSet {
    [Signal::SIGCHLD].into_iter().collect()
}

/// Undoes what a program inherits from the watcher that started it.
pub(super) fn unblock_signals() {
    // Nobody can be told yet; a server that takes no SIGTERM is killed.
    let _ = blocked().thread_unblock();
}

/// Starts the server in a process group of its own, by the detour that ends it with the watcher. Both its outputs go
/// where the watcher's errors go: into the log.
fn spawn(program: &OsString, args: &[OsString]) -> Result<Pid> {
    let log = std::io::stderr().as_fd().try_clone_to_owned().context(|| "cannot pass the log on".into())?;
    let server = Command::new(MYSELF)
        .args([EXEC_SERVER, "--parent", &std::process::id().to_string(), "--"])
        .arg(program)
        .args(args)
        .stdin(Stdio::null())
        .stdout(log)
        .process_group(0)
        .spawn()
        .context(|| format!("cannot start {}", Path::new(program).display()))?;
    Ok(pid(server.id()))
}

fn pid(id: u32) -> Pid {
    Pid::from_raw(i32::try_from(id).unwrap_or(i32::MAX))
}

/// Tells kneepoint, if it is still there.
fn report(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// What the watcher is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// The server runs.
    Serving,
    /// It was asked to end.
    Stopping,
    /// Everything is killed, since then.
    Killing(Instant),
}

struct Watch {
    server: Pid,
    /// How the server itself ended, in the words of a report.
    ended: Option<String>,
    phase: Phase,
}

impl Watch {
    /// Until no process is left: how the server ended, and what could not be ended.
    fn go(mut self, changes: &SignalFd) -> (Option<String>, Vec<Pid>) {
        loop {
            let waited = self.wait(changes);
            self.obey(waited);
            while let Ok(Some(_)) = changes.read_signal() {}
            if self.reap() {
                return (self.ended, Vec::new());
            }
            if self.ended.is_some() && self.phase == Phase::Serving {
                self.phase = Phase::Killing(Instant::now());
            }
            if let Phase::Killing(since) = self.phase {
                let left = signal_all(Signal::SIGKILL);
                if since.elapsed() > KILL_LIMIT {
                    return (self.ended, left);
                }
            }
        }
    }

    /// Waits for an order or for the end of a process; whether there may be an order.
    fn wait(&self, changes: &SignalFd) -> bool {
        let stdin = std::io::stdin();
        let mut fds =
            [PollFd::new(changes.as_fd(), PollFlags::POLLIN), PollFd::new(stdin.as_fd(), PollFlags::POLLIN)];
        let killing = matches!(self.phase, Phase::Killing(_));
        let (fds, timeout) = if killing {
            // Orders are over, and the closed pipe would wake us for ever.
            (&mut fds[..1], PollTimeout::try_from(AGAIN).unwrap_or(PollTimeout::ZERO))
        } else {
            (&mut fds[..], PollTimeout::NONE)
        };
        // An interrupted wait is like a short one.
        let _ = poll(fds, timeout);
        fds.get(1).is_some_and(|orders| orders.any().unwrap_or(true))
    }

    fn obey(&mut self, waited: bool) {
        if !waited {
            return;
        }
        let mut bytes = [0; 64];
        match nix::unistd::read(std::io::stdin(), &mut bytes) {
            Ok(0) => self.phase = Phase::Killing(Instant::now()),
            Ok(count) if String::from_utf8_lossy(&bytes[..count]).contains(STOP) => {
                self.phase = Phase::Stopping;
                signal_all(Signal::SIGTERM);
            }
            Ok(_) | Err(Errno::EINTR | Errno::EAGAIN) => {}
            Err(_) => self.phase = Phase::Killing(Instant::now()),
        }
    }

    /// Takes note of what ended; whether nothing is left.
    fn reap(&mut self) -> bool {
        loop {
            match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::StillAlive) => break,
                Ok(WaitStatus::Exited(pid, code)) => self.note(pid, format!("exit {code}")),
                Ok(WaitStatus::Signaled(pid, signal, _)) => {
                    self.note(pid, format!("signal {}", signal as i32))
                }
                Ok(_) | Err(Errno::EINTR) => {}
                Err(Errno::ECHILD) => return true,
                // A signal that has no name here: whose end it was shows below.
                Err(_) => {}
            }
        }
        if self.ended.is_none() && kill(self.server, None) == Err(Errno::ESRCH) {
            self.ended = Some("unknown".into());
        }
        false
    }

    fn note(&mut self, pid: Pid, how: String) {
        if pid == self.server {
            self.ended = Some(how);
        }
    }
}

/// Signals everything below this process; what there was.
fn signal_all(signal: Signal) -> Vec<Pid> {
    let all = descendants(std::process::id()).unwrap_or_default();
    let below: Vec<Pid> = all.into_iter().skip(1).map(Pid::from_raw).collect();
    for pid in &below {
        // An error means that it has just ended.
        let _ = kill(*pid, signal);
    }
    below
}

/// kneepoint's end of the two pipes to a watcher.
#[derive(Debug)]
pub(super) struct Line {
    /// Closing it kills the server.
    orders: Option<PipeWriter>,
    reports: BufReader<PipeReader>,
}

/// What a watcher said when it had ended.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Farewell {
    /// How the server ended; `None` when the watcher could not say, because it was killed itself.
    pub(super) ended: Option<ExitStatus>,
    /// Processes that did not even take SIGKILL.
    pub(super) left: Vec<u32>,
}

impl Line {
    /// The line, and what becomes the watcher's standard input and output.
    pub(super) fn new() -> std::io::Result<(Self, PipeReader, PipeWriter)> {
        let (input, orders) = std::io::pipe()?;
        let (reports, output) = std::io::pipe()?;
        Ok((Self { orders: Some(orders), reports: BufReader::new(reports) }, input, output))
    }

    /// The server's process id, which is the first that a watcher tells; `None` when it ended without a word.
    pub(super) fn server(&mut self) -> Option<u32> {
        let mut line = String::new();
        self.reports.read_line(&mut line).ok()?;
        line.trim().strip_prefix("started ")?.parse().ok()
    }

    /// Asks every process of the server to end.
    pub(super) fn stop(&mut self) {
        if let Some(orders) = &mut self.orders {
            // An error means that the watcher has ended.
            let _ = writeln!(orders, "{STOP}");
        }
    }

    /// Kills every process of the server.
    pub(super) fn kill(&mut self) {
        self.orders = None;
    }

    /// What the watcher said at last. To be asked when it has ended: it waits for that.
    pub(super) fn farewell(&mut self) -> Farewell {
        let mut text = String::new();
        // What cannot be read was not said.
        let _ = self.reports.read_to_string(&mut text);
        Farewell::parse(&text)
    }
}

impl Farewell {
    fn parse(text: &str) -> Self {
        let mut farewell = Self::default();
        for line in text.lines() {
            let mut words = line.split_whitespace();
            match words.next() {
                Some("ended") => farewell.ended = status(words.next(), words.next()),
                Some("left") => farewell.left = words.filter_map(|pid| pid.parse().ok()).collect(),
                _ => {}
            }
        }
        farewell
    }
}

/// As `wait(2)` encodes it: an exit code in the second byte, a signal in the first.
fn status(how: Option<&str>, number: Option<&str>) -> Option<ExitStatus> {
    let number: i32 = number?.parse().ok()?;
    match how? {
        "exit" => Some(ExitStatus::from_raw((number & 0xff) << 8)),
        "signal" => Some(ExitStatus::from_raw(number & 0x7f)),
        _ => None,
    }
}

/// Kills what a watcher that was killed itself could not: every process that carries the mark in its environment, or
/// writes into the server's log, and everything below them. Some servers write over their environment to change what
/// `ps` shows, hence both.
pub(super) fn kill_marked(mark: &str, log: &Path) {
    let log = std::fs::canonicalize(log).ok();
    let deadline = Instant::now() + KILL_LIMIT;
    while Instant::now() < deadline {
        let found = marked(mark, log.as_deref());
        if found.is_empty() {
            return;
        }
        for pid in found {
            let _ = kill(pid, Signal::SIGKILL);
        }
        std::thread::sleep(AGAIN);
    }
}

fn marked(mark: &str, log: Option<&Path>) -> BTreeSet<Pid> {
    let processes = procfs::process::all_processes().into_iter().flatten().flatten();
    let lives = |process: &procfs::process::Process| {
        process.pid != std::process::id() as i32 && process.stat().is_ok_and(|stat| stat.state != 'Z')
    };
    let carries = |process: &procfs::process::Process| {
        let value =
            process.environ().ok().and_then(|variables| variables.get(std::ffi::OsStr::new(MARK)).cloned());
        value.is_some_and(|value| value == mark)
    };
    let writes = |process: &procfs::process::Process| {
        let output = |fd: u8| std::fs::read_link(format!("/proc/{}/fd/{fd}", process.pid)).ok();
        log.is_some() && [1, 2].into_iter().any(|fd| output(fd).as_deref() == log)
    };
    let roots = processes.filter(|process| lives(process) && (carries(process) || writes(process)));
    let trees = roots.flat_map(|root| descendants(root.pid.unsigned_abs()).unwrap_or_default());
    trees.map(Pid::from_raw).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_watchers_last_words_are_the_servers_end() {
        let code = Farewell::parse("ended exit 3\n");
        assert_eq!(code.ended.and_then(|status| status.code()), Some(3));
        let killed = Farewell::parse("ended signal 11\nleft 7 8\n");
        assert_eq!(killed.ended.and_then(|status| status.signal()), Some(11));
        assert_eq!(killed.left, [7, 8]);
        assert_eq!(Farewell::parse("ended unknown\n").ended, None);
        assert_eq!(Farewell::parse(""), Farewell::default());
    }
}
