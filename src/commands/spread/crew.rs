//! The workers of this machine: started, watched, stopped.

use std::fs::OpenOptions;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::signal::unix::{SignalKind, signal};

use super::tally::Tally;
use crate::cli::Global;
use crate::commands::setup::runtime;
use crate::console;
use crate::error::{Context, EXIT_INCOMPLETE, EXIT_INTERRUPTED, Result};
use crate::judge::report::plain;
use crate::measure::runner::{Ending, Interrupt};
use crate::record::journal::PARTS;

/// Between two looks at the workers and their journals.
const LOOK: Duration = Duration::from_millis(300);
/// Between two lines of a run that nobody watches on a terminal.
const EVERY: Duration = Duration::from_secs(180);
/// Lines of a worker's log that are shown where it failed.
const TAIL: usize = 6;

/// How a worker is started.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    /// Which share it measures.
    pub(super) index: u32,
    /// What it is called.
    pub(super) name: String,
    /// Words behind `kneepoint worker RUN`.
    pub(super) args: Vec<String>,
    /// Environment variables that its servers obey.
    pub(super) env: Vec<(String, String)>,
}

/// A worker that runs, or has ended.
struct Member {
    plan: Plan,
    child: Child,
    log: PathBuf,
    ended: Option<ExitStatus>,
}

/// Starts workers, waits for all of them, and says how far they are out of `total` trials.
///
/// # Errors
/// When none can be started. A worker that fails leaves the others at work; what it said is shown at the end.
pub(super) fn work(run: &Path, plans: Vec<Plan>, total: usize, global: &Global) -> Result<Ending> {
    let interrupt = Interrupt::listen()?;
    let mut crew = Vec::new();
    for plan in plans {
        match start(run, plan, global) {
            Ok(member) => crew.push(member),
            Err(error) => {
                stop(&mut crew);
                return Err(error);
            }
        }
    }
    let watched = runtime()?.block_on(watch(run, &mut crew, total, &interrupt, global));
    stop(&mut crew);
    watched?;
    for member in crew.iter().filter(|member| member.failed()) {
        console::note(&member.farewell());
    }
    Ok(if interrupt.requested() { Ending::Interrupted } else { Ending::Complete })
}

fn start(run: &Path, plan: Plan, global: &Global) -> Result<Member> {
    let parts = run.join(PARTS);
    std::fs::create_dir_all(&parts).context(|| format!("cannot create {}", parts.display()))?;
    let log = parts.join(format!("{:04}.log", plan.index));
    let file = OpenOptions::new().create(true).append(true).open(&log);
    let file = file.context(|| format!("cannot write {}", log.display()))?;
    let own = std::env::current_exe().context(|| "cannot find the program of kneepoint".into())?;
    let run = std::path::absolute(run).context(|| format!("cannot find {}", run.display()))?;
    let mut command = Command::new(own);
    command
        .arg("worker")
        .arg(run)
        .args(["--index", &plan.index.to_string(), "--parent", &std::process::id().to_string()])
        .arg("--runs-dir")
        .arg(&global.runs_dir)
        .args(&plan.args)
        .envs(plan.env.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(file)
        // Ctrl-C is for us to pass on, once.
        .process_group(0);
    let child = command.spawn().context(|| format!("cannot start {}", plan.name))?;
    Ok(Member { plan, child, log, ended: None })
}

async fn watch(
    run: &Path,
    crew: &mut [Member],
    total: usize,
    interrupt: &Interrupt,
    global: &Global,
) -> Result<()> {
    let (mut tally, mut told, mut asked) = (Tally::default(), Told::new(total, global), 0);
    let mut child = signal(SignalKind::child()).context(|| "cannot hear of workers that end".into())?;
    while crew.iter_mut().any(Member::is_at_work) {
        tokio::select! {
            () = tokio::time::sleep(LOOK) => {}
            _ = child.recv() => {}
            () = interrupt.asked(asked + 1) => {
                asked += 1;
                // The first asks them to end after their trials, the second to end at once.
                crew.iter().for_each(Member::ask);
            }
        }
        let busy = crew.iter().filter(|member| member.ended.is_none()).count();
        told.tell(tally.trials(run), busy);
    }
    told.finish();
    Ok(())
}

/// Ends whoever is still at work.
fn stop(crew: &mut [Member]) {
    for member in crew.iter_mut().filter(|member| member.ended.is_none()) {
        member.ask();
        member.ended = member.child.wait().ok();
    }
}

impl Member {
    fn is_at_work(&mut self) -> bool {
        if self.ended.is_none() {
            self.ended = self.child.try_wait().ok().flatten();
        }
        self.ended.is_none()
    }

    fn ask(&self) {
        if self.ended.is_none()
            && let Ok(pid) = i32::try_from(self.child.id())
        {
            // An error means that it is gone.
            let pid = nix::unistd::Pid::from_raw(pid);
            let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM);
        }
    }

    /// Whether it ended in another way than well, interrupted, or with trials that broke.
    fn failed(&self) -> bool {
        let fine = [0, i32::from(EXIT_INTERRUPTED), i32::from(EXIT_INCOMPLETE)];
        self.ended.is_none_or(|ended| ended.code().is_none_or(|code| !fine.contains(&code)))
    }

    /// What became of it, with what it said last.
    fn farewell(&self) -> String {
        let how = match self.ended {
            Some(ended) => match (ended.code(), ended.signal()) {
                (Some(code), _) => format!("ended with exit code {code}"),
                (None, Some(signal)) => format!("was killed by signal {signal}"),
                (None, None) => "ended".to_owned(),
            },
            None => "cannot be waited for".to_owned(),
        };
        let said = std::fs::read(&self.log).unwrap_or_default();
        let said = String::from_utf8_lossy(&said);
        let lines: Vec<&str> = said.lines().filter(|line| !line.trim().is_empty()).collect();
        let last: Vec<String> = lines[lines.len().saturating_sub(TAIL)..]
            .iter()
            .map(|line| format!("  {}", plain(line)))
            .collect();
        format!("{} {how}; the end of {}:\n{}", self.plan.name, self.log.display(), last.join("\n"))
    }
}

/// What is said of the workers' progress: a bar on a terminal, a line every few minutes elsewhere.
pub(super) struct Told {
    bar: ProgressBar,
    total: usize,
    lines: bool,
    every: Duration,
    last: Instant,
}

impl Told {
    pub(super) fn new(total: usize, global: &Global) -> Self {
        let shown = console::stderr_is_terminal() && !global.quiet;
        let target = if shown { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(Some(total as u64), target);
        let style = ProgressStyle::with_template("{bar:30} {pos}/{len} trials  {elapsed}  {msg}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        let every = crate::commands::progress::seconds_between_lines().unwrap_or(EVERY);
        Self { bar, total, lines: !shown && !global.quiet, every, last: Instant::now() }
    }

    pub(super) fn tell(&mut self, done: usize, busy: usize) {
        let done = done.min(self.total);
        self.bar.set_position(done as u64);
        self.bar.set_message(format!("{busy} at work"));
        if self.lines && self.last.elapsed() >= self.every {
            self.last = Instant::now();
            console::note(&format!("{done} of {} trials, {busy} workers at work", self.total));
        }
    }

    pub(super) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}
