//! A server's life: started, ready, ended.

use std::fs::File;
use std::io::Read;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use process_wrap::tokio::{ChildWrapper, CommandWrap, ProcessGroup};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::process::Command;
use tokio::time::{sleep, timeout};

use super::log::{TAIL_LINES, cannot_run, engine_start, exit_words, hints, log_tail, signal_of};
#[cfg(target_os = "linux")]
use super::watcher::{self, Line, MARK};
use crate::error::{Context, Error, Result};
#[cfg(target_os = "linux")]
use crate::measure::processes::WATCH_SERVER;
use crate::record::Argv;

/// How long a server may take to end after SIGTERM, unless the launcher says otherwise.
const GRACE: Duration = Duration::from_secs(3);
/// How long a server that closed its port may take to end.
const ENDING: Duration = Duration::from_secs(15);
/// How long a killed server may take to end: the watcher's own limit, and a little.
const KILLED: Duration = Duration::from_secs(25);
/// How long a killed server may take to be reaped when we cannot wait asynchronously.
const REAP: Duration = Duration::from_secs(1);
/// How often readiness is asked for.
const POLL: Duration = Duration::from_millis(50);
/// How long one readiness request may take.
const PROBE: Duration = Duration::from_secs(2);
/// Bytes of a log that are read at most.
const LOG_BYTES: u64 = 8 << 20;

/// How servers are started.
#[derive(Debug, Clone)]
pub struct Launcher {
    /// The binary that understands `__watch-server` and [`EXEC_SERVER`](super::EXEC_SERVER); `None` starts servers directly, so they
    /// survive a SIGKILL of kneepoint, and what calls `setsid` survives every end.
    pub reexec: Option<PathBuf>,
    /// How long a server may take until it is ready.
    pub start_timeout: Duration,
    /// How long it may take to end after SIGTERM.
    pub grace: Duration,
}

impl Launcher {
    /// Starts servers through our own binary where orphans can be adopted (Linux).
    pub fn new(start_timeout: Duration) -> Self {
        #[cfg(target_os = "linux")]
        let reexec = Some(PathBuf::from(watcher::MYSELF));
        #[cfg(not(target_os = "linux"))]
        let reexec = None;
        Self { reexec, start_timeout, grace: GRACE }
    }

    /// Starts a server and returns when `health` on `port` answers 200.
    ///
    /// # Errors
    /// [`Kind::EngineStart`](crate::error::Kind::EngineStart) with the end of the log when the server ends early, is not ready in time, or
    /// when another process answers on its port.
    pub async fn start(&self, argv: &Argv, port: u16, health: &str, log: &Path) -> Result<Server> {
        let started = Instant::now();
        let mut server = self.spawn(argv, log)?;
        (server.port, server.grace) = (port, self.grace);
        tokio::select! {
            status = server.child.wait() => {
                let end = server.reap(status);
                return Err(server.ended_early(&end));
            }
            () = ready(port, health) => {}
            () = sleep(self.start_timeout) => return Err(server.too_slow(self.start_timeout)),
        }
        if listens_on(server.pid, port) == Some(false) {
            return Err(server.not_ours(port));
        }
        server.load = started.elapsed();
        Ok(server)
    }

    #[cfg(target_os = "linux")]
    fn spawn(&self, argv: &Argv, log: &Path) -> Result<Server> {
        let Some(reexec) = &self.reexec else { return self.spawn_directly(argv, log) };
        let failed = |source| cannot_run(&argv.program, source);
        let (line, input, output) = Line::new().map_err(failed)?;
        let mark = mark();
        let mut command = Command::new(reexec);
        command
            .arg0(watcher::NAME)
            .args([WATCH_SERVER, "--"])
            .arg(&argv.program)
            .args(&argv.args)
            .envs(argv.env.iter().map(|(name, value)| (name, value)))
            .env(MARK, &mark)
            .stdin(input)
            .stdout(output)
            .stderr(log_file(log)?);
        // What kneepoint keeps of the watcher's ends of the pipes is gone with the command.
        let child = CommandWrap::from(command).wrap(ProcessGroup::leader()).spawn().map_err(failed)?;
        let mut server = Server::of(child, log, Hold::Watched { line, mark });
        if let Hold::Watched { line, .. } = &mut server.hold {
            // Without a word of it there is no server; how that came is told by the watcher's end.
            server.pid = line.server().unwrap_or(server.pid);
        }
        Ok(server)
    }

    #[cfg(not(target_os = "linux"))]
    fn spawn(&self, argv: &Argv, log: &Path) -> Result<Server> {
        self.spawn_directly(argv, log)
    }

    fn spawn_directly(&self, argv: &Argv, log: &Path) -> Result<Server> {
        let output = log_file(log)?;
        let errors = output.try_clone().context(|| format!("cannot write {}", log.display()))?;
        let mut command = Command::new(&argv.program);
        command
            .args(&argv.args)
            .envs(argv.env.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors);
        let child = CommandWrap::from(command)
            .wrap(ProcessGroup::leader())
            .spawn()
            .map_err(|source| cannot_run(&argv.program, source))?;
        Ok(Server::of(child, log, Hold::Group))
    }
}

/// A value of [`MARK`] that no other server has.
#[cfg(target_os = "linux")]
fn mark() -> String {
    static STARTED: AtomicU32 = AtomicU32::new(0);
    let count = STARTED.fetch_add(1, Ordering::Relaxed);
    let now = chrono::Utc::now().timestamp_micros();
    format!("{}-{count}-{now}", std::process::id())
}

/// A running server; dropping it kills all of its processes.
#[derive(Debug)]
pub struct Server {
    /// The watcher, or the server itself where there is none.
    child: Box<dyn ChildWrapper>,
    hold: Hold,
    pid: u32,
    port: u16,
    log: PathBuf,
    load: Duration,
    grace: Duration,
    /// How it ended, once that is known.
    end: Option<End>,
}

/// How a server's processes are reached.
#[derive(Debug)]
enum Hold {
    /// By its process group.
    Group,
    /// By a watcher, and by the mark where that was killed.
    #[cfg(target_os = "linux")]
    Watched { line: Line, mark: String },
}

/// What became of a server that answered no request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Broken {
    /// Its process is gone.
    Died,
    /// Its process is there, but nothing listens any more.
    ClosedItsPort,
    /// It listens.
    Hangs,
}

/// How a server ended.
#[derive(Debug, Clone)]
enum End {
    /// As its exit status says.
    Exited(ExitStatus),
    /// Its watcher was killed, and it with that.
    Unwatched(ExitStatus),
    /// That cannot be known.
    Unknown(String),
}

impl End {
    fn words(&self) -> String {
        match self {
            Self::Exited(status) => exit_words(*status),
            Self::Unwatched(status) => format!("its watcher was {}", exit_words(*status)),
            Self::Unknown(reason) => format!("unknown end: {reason}"),
        }
    }

    /// The exit status of the server itself.
    fn status(&self) -> Option<ExitStatus> {
        match self {
            Self::Exited(status) => Some(*status),
            Self::Unwatched(_) | Self::Unknown(_) => None,
        }
    }
}

impl Server {
    fn of(child: Box<dyn ChildWrapper>, log: &Path, hold: Hold) -> Self {
        let pid = child.id().unwrap_or_default();
        let log = log.to_owned();
        Self { child, hold, pid, port: 0, log, load: Duration::ZERO, grace: GRACE, end: None }
    }

    /// Its process id, which is also the id of its process group.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Time from starting it until it was ready.
    pub fn load_time(&self) -> Duration {
        self.load
    }

    /// Its log file.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// Whether it still runs.
    pub fn is_alive(&mut self) -> bool {
        self.exit().is_none()
    }

    /// What became of a server that answered no request. One that has closed its port is given time to end: Python servers
    /// write diagnostics for seconds after a crash.
    pub async fn broken(&mut self) -> Broken {
        let began = Instant::now();
        loop {
            if !self.is_alive() {
                return Broken::Died;
            }
            let open = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port));
            match timeout(PROBE, open).await {
                Ok(Err(_)) if began.elapsed() < ENDING => sleep(POLL).await,
                Ok(Err(_)) => return Broken::ClosedItsPort,
                _ => return Broken::Hangs,
            }
        }
    }

    /// How it ended, in words; `None` while it runs.
    pub fn exit(&mut self) -> Option<String> {
        if let Some(end) = &self.end {
            return Some(end.words());
        }
        match self.child.try_wait() {
            Ok(None) => None,
            Ok(Some(status)) => Some(self.reap(Ok(status)).words()),
            Err(error) => Some(format!("its state cannot be read: {error}")),
        }
    }

    /// The last lines of its log, control characters escaped, long lines cut.
    pub fn log_tail(&self, lines: usize) -> String {
        log_tail(&self.log, lines)
    }

    /// Its whole log (8 MiB at most).
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn read_log(&self) -> Result<String> {
        let mut bytes = Vec::new();
        File::open(&self.log)
            .and_then(|file| file.take(LOG_BYTES).read_to_end(&mut bytes))
            .context(|| format!("cannot read {}", self.log.display()))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Ends it: SIGTERM to all of its processes, the launcher's [grace](Launcher::grace), then SIGKILL.
    ///
    /// # Errors
    /// When the process cannot be reaped.
    pub async fn stop(mut self) -> Result<()> {
        self.ask_to_end();
        let mut waited = timeout(self.grace, self.child.wait()).await;
        if waited.is_err() {
            tracing::warn!(pid = self.pid, "the server ignored SIGTERM: killing it");
            self.kill();
            waited = timeout(KILLED, self.child.wait()).await;
        }
        let cannot_end = || format!("cannot end the server (process {})", self.pid);
        let status = waited.context(cannot_end)?.context(cannot_end)?;
        self.reap(Ok(status));
        Ok(())
    }

    /// Once it is gone: kills what it left behind, and takes note of how it ended.
    fn reap(&mut self, status: std::io::Result<ExitStatus>) -> End {
        let end = match status {
            Ok(status) => self.end_of(status),
            Err(error) => End::Unknown(error.to_string()),
        };
        self.end.get_or_insert(end).clone()
    }

    /// How the server ended whose watcher (or who itself) ended so; nothing of it is left then.
    fn end_of(&mut self, status: ExitStatus) -> End {
        #[cfg(target_os = "linux")]
        if let Hold::Watched { line, mark } = &mut self.hold {
            let farewell = line.farewell();
            if !farewell.left.is_empty() {
                tracing::warn!("processes of the server cannot be ended: {:?}", farewell.left);
            }
            return match (farewell.ended, signal_of(status)) {
                (Some(ended), _) => End::Exited(ended),
                (None, Some(_)) => {
                    watcher::kill_marked(mark, &self.log);
                    End::Unwatched(status)
                }
                (None, None) if status.success() => End::Unknown("a signal without a name".into()),
                (None, None) => End::Exited(status),
            };
        }
        self.kill();
        End::Exited(status)
    }

    fn ask_to_end(&mut self) {
        match &mut self.hold {
            Hold::Group => self.signal_group(Signal::SIGTERM),
            #[cfg(target_os = "linux")]
            Hold::Watched { line, .. } => line.stop(),
        }
    }

    fn kill(&mut self) {
        match &mut self.hold {
            Hold::Group => self.signal_group(Signal::SIGKILL),
            #[cfg(target_os = "linux")]
            Hold::Watched { line, .. } => line.kill(),
        }
    }

    fn signal_group(&self, signal: Signal) {
        if let Ok(group) = i32::try_from(self.pid) {
            // An error means that nothing is left to be signalled.
            let _ = killpg(Pid::from_raw(group), signal);
        }
    }

    fn ended_early(&self, end: &End) -> Error {
        let tail = self.log_tail(TAIL_LINES);
        let message = format!("the server ended before it was ready ({})", end.words());
        let error = self.with_log(message, &tail);
        let status = end.status();
        let mut hints = hints(status.and_then(signal_of), &tail);
        if status.is_some_and(|status| status.success()) {
            hints.push(
                "a script that starts the server must stay as long as the server: `exec` it, or `wait` for it".into(),
            );
        }
        hints.into_iter().fold(error, Error::hint)
    }

    fn too_slow(&self, limit: Duration) -> Error {
        let message = format!("the server was not ready after {:.0} s", limit.as_secs_f64());
        self.with_log(message, &self.log_tail(TAIL_LINES))
            .hint("a large model needs longer: raise `engine.start_timeout_s` in the suite")
    }

    fn not_ours(&self, port: u16) -> Error {
        let message = format!("another process answers on port {port}");
        self.with_log(message, &self.log_tail(TAIL_LINES))
            .hint("something took the port in between: run the command again")
    }

    fn with_log(&self, message: String, tail: &str) -> Error {
        let tail = if tail.is_empty() { "(the log is empty)" } else { tail };
        engine_start(format!("{message}; end of its log:\n{tail}"))
            .hint(format!("the whole log is {}", self.log.display()))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.end.is_some() {
            return;
        }
        self.kill();
        let deadline = Instant::now() + REAP;
        while self.is_alive() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// So many ports are tried for one server: another process may be quicker to take one that had been free.
pub const PORTS: u32 = 3;

/// A TCP port of the loopback interface that was free a moment ago.
///
/// # Errors
/// When the loopback interface cannot be used.
pub fn free_port() -> Result<u16> {
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .context(|| "cannot find a free port on 127.0.0.1".to_owned())?;
    let address = listener.local_addr().context(|| "cannot read a port number".to_owned())?;
    Ok(address.port())
}

/// Returns when `GET path` on the port answers 200.
async fn ready(port: u16, path: &str) {
    loop {
        if let Ok(Ok(true)) = timeout(PROBE, answers_200(port, path)).await {
            return;
        }
        sleep(POLL).await;
    }
}

/// A bare request: readiness needs the status line and nothing else.
async fn answers_200(port: u16, path: &str) -> std::io::Result<bool> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut status = [0; 13];
    stream.read_exact(&mut status).await?;
    Ok(status.starts_with(b"HTTP/1.") && status[8..] == *b" 200 ")
}

/// Whether the process (or a child of it) listens on the port; `None` where that cannot be found out.
#[cfg(target_os = "linux")]
fn listens_on(pid: u32, port: u16) -> Option<bool> {
    use procfs::net::TcpState;
    use procfs::process::{FDTarget, Process};

    let mut entries = procfs::net::tcp().ok()?;
    entries.extend(procfs::net::tcp6().unwrap_or_default());
    let listening: Vec<u64> = entries
        .iter()
        .filter(|entry| entry.state == TcpState::Listen && entry.local_address.port() == port)
        .map(|entry| entry.inode)
        .collect();
    if listening.is_empty() {
        return None;
    }
    for pid in crate::measure::processes::tree(pid).ok()? {
        for fd in Process::new(pid).ok()?.fd().ok()?.flatten() {
            if matches!(fd.target, FDTarget::Socket(inode) if listening.contains(&inode)) {
                return Some(true);
            }
        }
    }
    Some(false)
}

#[cfg(not(target_os = "linux"))]
fn listens_on(_pid: u32, _port: u16) -> Option<bool> {
    None
}

fn log_file(path: &Path) -> Result<File> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).context(|| format!("cannot make {}", folder.display()))?;
    }
    File::create(path).context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn free_ports_can_be_used() {
        let port = free_port().unwrap();
        std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
    }
}
