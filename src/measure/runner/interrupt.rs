//! Ctrl-C, SIGTERM and SIGHUP. While a run measures, the first asks it to stop after the trial and the second stops it
//! at once; before that (attaching, fetching, hashing, quantising) and after it, the first ends the process. Either way
//! the exit code is [`EXIT_INTERRUPTED`], and nothing that was started goes on.

use std::sync::{Arc, Mutex, OnceLock, PoisonError, mpsc};
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

use crate::console;
use crate::error::{Context, EXIT_INTERRUPTED, Error, Result};

/// How long a run that was asked twice may take to come down.
const PATIENCE: Duration = Duration::from_secs(10);

/// Who is to be told of a signal; nobody: the process ends.
static LISTENER: Mutex<Option<watch::Sender<u32>>> = Mutex::new(None);
/// Whether the signals are watched, or why not.
static WATCHED: OnceLock<std::result::Result<(), String>> = OnceLock::new();

/// Tells how often the user asked to stop. Cheap to clone; when the last clone is gone, a signal ends the process.
#[derive(Debug, Clone)]
pub struct Interrupt {
    count: watch::Receiver<u32>,
    _hold: Option<Arc<Hold>>,
}

/// Gives the signals back.
#[derive(Debug)]
struct Hold;

impl Drop for Hold {
    fn drop(&mut self) {
        *listener() = None;
    }
}

fn listener() -> std::sync::MutexGuard<'static, Option<watch::Sender<u32>>> {
    LISTENER.lock().unwrap_or_else(PoisonError::into_inner)
}

/// From now on signals that would end the process end it with [`EXIT_INTERRUPTED`], and what it started with it; those
/// that the process was started to ignore (`nohup`) stay ignored.
///
/// # Errors
/// When the signal handlers cannot be installed.
pub fn end_at_once() -> Result<()> {
    WATCHED
        .get_or_init(watch_signals)
        .clone()
        .map_err(|reason| Error::runtime(format!("cannot listen for Ctrl-C and SIGTERM: {reason}")))
}

impl Interrupt {
    /// Listens for Ctrl-C, SIGTERM and SIGHUP from now on; they no longer end the process by themselves.
    ///
    /// # Errors
    /// When the signal handlers cannot be installed.
    pub fn listen() -> Result<Self> {
        end_at_once()?;
        let (sender, count) = watch::channel(0);
        *listener() = Some(sender);
        Ok(Self { count, _hold: Some(Arc::new(Hold)) })
    }

    /// One that never fires, for tests.
    pub fn never() -> Self {
        Self { count: watch::channel(0).1, _hold: None }
    }

    /// Whether the user asked to stop.
    pub fn requested(&self) -> bool {
        *self.count.borrow() > 0
    }

    /// Waits until the user has asked `times` times; for ever if nobody listens.
    pub async fn asked(&self, times: u32) {
        let mut count = self.count.clone();
        if count.wait_for(|count| *count >= times).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// Watches on a thread of its own: the main thread may hash a file of many gigabytes meanwhile.
fn watch_signals() -> std::result::Result<(), String> {
    let (ready, installed) = mpsc::channel();
    let watch = move || {
        let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime,
            Err(error) => return drop(ready.send(Err(error.to_string()))),
        };
        runtime.block_on(async {
            match signals() {
                Ok(signals) => {
                    // Nobody who waits for this can be gone.
                    let _ = ready.send(Ok(()));
                    heed(signals).await;
                }
                Err(error) => drop(ready.send(Err(error.to_string()))),
            }
        });
    };
    let thread = std::thread::Builder::new().name("signals".to_owned()).spawn(watch);
    thread.map_err(|error| error.to_string())?;
    installed.recv().unwrap_or_else(|error| Err(error.to_string()))
}

/// The signals that are not ignored.
fn signals() -> Result<Vec<Signal>> {
    let kinds = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()];
    let ignored = ignored();
    let heeded = kinds.into_iter().filter(|kind| ignored & bit(*kind) == 0);
    heeded.map(|kind| signal(kind).context(|| "cannot install a signal handler".into())).collect()
}

fn bit(kind: SignalKind) -> u64 {
    1 << (kind.as_raw_value() - 1)
}

/// Signals that whoever started this process wants to be ignored, a bit each; none where that cannot be read.
fn ignored() -> u64 {
    let status = procfs::process::Process::myself().and_then(|own| own.status());
    status.map_or(0, |status| status.sigign)
}

async fn heed(mut signals: Vec<Signal>) {
    loop {
        any(&mut signals).await;
        match tell() {
            None => end_now(),
            Some(1) => console::note("stopping after this trial; press Ctrl-C again to stop at once"),
            Some(2) => drop(tokio::spawn(async {
                tokio::time::sleep(PATIENCE).await;
                end_now();
            })),
            Some(_) => end_now(),
        }
    }
}

/// Waits for the next signal of any kind.
async fn any(signals: &mut [Signal]) {
    std::future::poll_fn(|context| {
        let came = signals.iter_mut().any(|signal| signal.poll_recv(context).is_ready());
        if came { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
}

/// Tells who listens; how often that was by now.
fn tell() -> Option<u32> {
    let listener = listener();
    let sender = listener.as_ref()?;
    sender.send_modify(|count| *count += 1);
    let count = *sender.borrow();
    Some(count)
}

/// Ends what this process started, and the process.
fn end_now() {
    for pid in started() {
        // An error means that it is gone.
        let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL);
    }
    console::note("interrupted");
    std::process::exit(EXIT_INTERRUPTED.into());
}

/// The processes below this one.
fn started() -> Vec<i32> {
    let own = std::process::id();
    let tree = crate::measure::processes::descendants(own).unwrap_or_default();
    tree.into_iter().filter(|pid| *pid > 0 && u32::try_from(*pid) != Ok(own)).collect()
}
