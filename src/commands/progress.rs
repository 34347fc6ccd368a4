//! What a person sees of a run: one bar on a terminal, one line every few minutes elsewhere, nothing with `-q`.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::cli::Global;
use crate::console::{self, clean};
use crate::error::Result;
use crate::judge::analysis::open_verdict;
use crate::judge::report::{about, plain};
use crate::measure::model::Progress;
use crate::measure::runner::{Eta, Event, Subscriber};
use crate::record::journal::LaunchRecord;
use crate::record::{Decision, OpenCell, Outcome, Outlook, Trial, TrialKey};

/// Between two lines of a run that nobody watches on a terminal.
const EVERY: Duration = Duration::from_secs(180);

/// Other seconds between two lines.
const EVERY_VARIABLE: &str = "KNEEPOINT_STATUS_SECONDS";

/// The bar of a run.
pub(super) struct Display {
    bar: ProgressBar,
    quiet: bool,
    verbose: bool,
    failed: usize,
    /// The visit that goes on, in words.
    cell: String,
    status: Arc<Mutex<Status>>,
    /// Says how it goes where there is no bar, until it is dropped.
    _reporter: Option<Reporter>,
}

impl Display {
    pub(super) fn new(global: &Global) -> Self {
        let terminal = console::stderr_is_terminal();
        let shown = terminal && !global.quiet;
        let target = if shown { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(None, target);
        let status = Arc::new(Mutex::new(Status::default()));
        let reporter = (!terminal && !global.quiet).then(|| Reporter::start(&status, every()));
        Self {
            bar,
            quiet: global.quiet,
            verbose: global.verbose > 0,
            failed: 0,
            cell: String::new(),
            status,
            _reporter: reporter,
        }
    }

    /// What is left of the run, as far as that is known before it goes on.
    pub(super) fn expect(&mut self, eta: Eta) {
        self.status().eta = Some(eta);
    }

    /// Says something that everybody should see but who asked for quiet.
    pub(super) fn tell(&self, text: &str) {
        if self.quiet {
            return;
        }
        if self.bar.is_hidden() {
            console::note(text);
        } else {
            self.bar.println(clean(text));
        }
    }

    /// Takes the bar away; no line follows.
    pub(super) fn finish(&self) {
        self.status().started = None;
        self.bar.finish_and_clear();
    }

    fn status(&self) -> std::sync::MutexGuard<'_, Status> {
        // A panic elsewhere leaves numbers that are still true.
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says where the run is.
    fn show_place(&self, what: &str) {
        self.bar.set_message(clean(what).into_owned());
        self.status().at = what.to_owned();
    }

    fn note_launch(&self, launch: &LaunchRecord) {
        match (&launch.failure, launch.deviations.as_slice()) {
            (Some(failure), _) => self.bar.suspend(|| tracing::warn!("{}: {failure}", launch.setting)),
            (None, []) => {}
            (None, changed) => {
                let changed = changed.join("; ");
                self.bar
                    .suspend(|| tracing::warn!("{} is void: the server changed {changed}", launch.setting));
            }
        }
    }

    fn note_trial(&mut self, trial: &Trial) {
        self.bar.inc(1);
        self.status().ended(trial);
        if let Outcome::Failed { error, .. } = &trial.outcome {
            self.failed += 1;
            let first = error.lines().next().unwrap_or_default();
            self.bar.suspend(|| tracing::warn!("{} {}: {first}", trial.key.setting, trial.key.task));
        }
        self.bar.set_prefix(self.status().left());
    }

    fn note_open(&mut self, cells: &[OpenCell]) {
        for OpenCell { setting, context, outlook } in cells {
            self.say(&format!("{setting} at {context} is open: {}", outlook_in_words(outlook)));
        }
        self.status().open = cells.to_vec();
        self.bar.set_prefix(self.status().left());
    }

    fn say(&self, text: &str) {
        if self.bar.is_hidden() {
            tracing::info!("{text}");
        } else if self.verbose {
            self.bar.println(clean(text));
        }
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

fn every() -> Duration {
    seconds_between_lines().unwrap_or(EVERY)
}

/// The time between two lines, where somebody set it.
pub(super) fn seconds_between_lines() -> Option<Duration> {
    let seconds = std::env::var(EVERY_VARIABLE).ok().and_then(|text| text.parse::<f64>().ok());
    let seconds = seconds.filter(|seconds| *seconds > 0.0 && seconds.is_finite());
    seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
}

/// How far an open cell is, and what its verdict takes yet.
fn outlook_in_words(outlook: &Outlook) -> String {
    format!("{} {} seen, {}", outlook.seen, outlook.unit.name(), open_verdict(outlook))
}

/// How far a run is.
#[derive(Default)]
struct Status {
    eta: Option<Eta>,
    total: usize,
    done: usize,
    started: Option<Instant>,
    /// Cell and round, in words.
    at: String,
    /// A visit began, and its server is not up yet.
    launching: Option<Instant>,
    /// The server is asked about schemas.
    looking: Option<Instant>,
    /// A trial is on its way.
    trial: Option<Instant>,
    /// A setting is under load.
    loading: Option<Instant>,
    /// The cells whose verdict was open after the last round, and that have not been stopped since.
    open: Vec<OpenCell>,
}

impl Status {
    /// What was spent on schemas, once for all visits, is no part of a launch.
    fn looked(&mut self) {
        if let (Some(began), Some(launching)) = (self.looking.take(), &mut self.launching) {
            *launching += began.elapsed();
        }
    }

    fn trial_started(&mut self, key: &TrialKey) {
        let now = Instant::now();
        if let (Some(began), Some(eta)) = (self.launching.take(), &mut self.eta) {
            eta.launched(key, now.duration_since(began).as_secs_f64());
        }
        self.trial = Some(now);
    }

    /// One that was never started was settled without being asked: it says nothing of the time.
    fn ended(&mut self, trial: &Trial) {
        self.done += 1;
        let took = self.trial.take().map(|began| began.elapsed().as_secs_f64());
        let answered = !matches!(trial.outcome, Outcome::Failed { .. });
        if let Some(eta) = &mut self.eta {
            eta.trial(&trial.key, took.filter(|_| answered));
        }
    }

    fn load_began(&mut self, setting: &str) {
        self.trial = None;
        let before = self.loading.replace(Instant::now());
        if let Some(eta) = &mut self.eta {
            before.iter().for_each(|began| eta.load_ended(began.elapsed().as_secs_f64()));
            eta.load_began(setting);
        }
    }

    fn skipped(&mut self, keys: &[TrialKey]) {
        self.total = self.total.saturating_sub(keys.len());
        if let Some(eta) = &mut self.eta {
            keys.iter().for_each(|key| eta.trial(key, None));
        }
    }

    fn stopped(&mut self, decision: &Decision, saved: usize) {
        self.total = self.total.saturating_sub(saved);
        self.open.retain(|cell| !decision.covers(&cell.setting, cell.context, 0));
        if let Some(eta) = &mut self.eta {
            eta.stopped(decision);
        }
    }

    /// What is left, in words: less what the trial in progress has taken already.
    fn left(&self) -> String {
        let in_progress = self.trial.map_or(0.0, |began| began.elapsed().as_secs_f64());
        let under_load = self.loading.map_or(0.0, |began| began.elapsed().as_secs_f64());
        let left = match self.eta.as_ref().and_then(|eta| eta.left_s(in_progress, under_load)) {
            Some(seconds) => format!("about {} left", about(seconds.max(1.0))),
            None => "time left not known yet".to_owned(),
        };
        left + &self.open_cells()
    }

    /// How many verdicts are open, and how far the farthest of them is, as it was at the end of the last round.
    fn open_cells(&self) -> String {
        let farthest = self.open.iter().filter_map(|cell| cell.outlook.further_s).reduce(f64::max);
        let farthest =
            farthest.map_or(String::new(), |further| format!(", the last in about {}", about(further)));
        match self.open.len() {
            0 => String::new(),
            1 => format!(", 1 verdict open{farthest}"),
            more => format!(", {more} verdicts open{farthest}"),
        }
    }

    /// The line of a run that nobody watches; `None` before it started.
    fn line(&self) -> Option<String> {
        let so_far = about(self.started?.elapsed().as_secs_f64());
        let Self { done, total, at, .. } = self;
        Some(format!("{done} of {total} trials after {so_far}, {} ({})", self.left(), plain(at)))
    }
}

/// A thread that says how it goes, until it is dropped.
struct Reporter {
    stop: Arc<(Mutex<bool>, Condvar)>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Reporter {
    fn start(status: &Arc<Mutex<Status>>, every: Duration) -> Self {
        let stop = Arc::new((Mutex::new(false), Condvar::new()));
        let (status, stopped) = (Arc::clone(status), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            while !wait(&stopped, every) {
                let line = status.lock().unwrap_or_else(PoisonError::into_inner).line();
                if let Some(line) = line {
                    console::note(&line);
                }
            }
        });
        Self { stop, thread: Some(thread) }
    }
}

/// Waits so long, or until told to stop; whether it was told.
fn wait((stop, told): &(Mutex<bool>, Condvar), every: Duration) -> bool {
    let stop = stop.lock().unwrap_or_else(PoisonError::into_inner);
    let waited = told.wait_timeout_while(stop, every, |stop| !*stop);
    *waited.unwrap_or_else(PoisonError::into_inner).0
}

impl Drop for Reporter {
    fn drop(&mut self) {
        *self.stop.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.stop.1.notify_all();
        if let Some(thread) = self.thread.take() {
            // It only waits and writes.
            let _ = thread.join();
        }
    }
}

impl Subscriber for Display {
    fn on(&mut self, event: &Event<'_>) -> Result<()> {
        match event {
            Event::Started { total, done } => {
                self.bar.set_style(style("{bar:30} {pos}/{len} trials  {elapsed} ({prefix})  {msg}"));
                self.bar.set_length(*total as u64);
                self.bar.set_position(*done as u64);
                let prefix = {
                    let mut status = self.status();
                    (status.total, status.done) = (*total, *done);
                    status.started = Some(Instant::now());
                    status.left()
                };
                self.bar.set_prefix(prefix);
                self.bar.enable_steady_tick(Duration::from_millis(500));
            }
            Event::Visit { visit, remaining } => {
                let again = if visit.replicate > 0 { " (A/A)" } else { "" };
                let cell = format!("{} at {}{again}", visit.cell.setting, visit.cell.context);
                self.say(&format!("round {}: {cell}: {remaining} trials", visit.round + 1));
                self.bar.set_message(clean(&cell).into_owned());
                self.cell = format!("round {}: {cell}", visit.round + 1);
                let mut status = self.status();
                status.at.clone_from(&self.cell);
                (status.launching, status.trial) = (Some(Instant::now()), None);
            }
            Event::Launched(launch) => self.note_launch(launch),
            Event::TrialStarted(key) => self.status().trial_started(key),
            Event::Trial(trial) => self.note_trial(trial),
            Event::Stopped { decision, saved } => {
                self.bar.inc(*saved as u64);
                self.status().stopped(decision, *saved);
                let (setting, context) = (&decision.setting, decision.context);
                self.say(&format!("{setting} at {context} stops: {}", decision.because));
            }
            Event::Open(cells) => self.note_open(cells),
            Event::Skipped(keys) => {
                self.bar.inc(keys.len() as u64);
                self.status().skipped(keys);
            }
            Event::Note(note) => self.bar.suspend(|| tracing::warn!("{note}")),
            Event::LoadtestVisit { visit, steps, at_most } => {
                let mut status = self.status();
                status.at = format!("under load: {}", visit.cell.setting);
                status.load_began(&visit.cell.setting.label);
                self.bar.set_prefix(status.left());
                drop(status);
                let most = if *at_most { "a search of at most " } else { "" };
                let (setting, context) = (&visit.cell.setting, visit.cell.context);
                self.say(&format!("load: {setting} at {context}: {most}{steps} steps"));
            }
            Event::LoadtestWork { setting, what } => {
                self.bar.set_message(clean(&format!("{setting} under load: {what}")).into_owned());
                self.bar.set_prefix(self.status().left());
                self.say(&format!("load: {setting}: {what}"));
            }
            Event::Schemas { setting, asked } => {
                let what = format!("{}: what it holds of schemas, {asked} so far", self.cell);
                self.show_place(&what);
                self.status().looking.get_or_insert_with(Instant::now);
                if *asked == 0 {
                    self.say(&format!("{setting}: finding out what the server holds of schemas"));
                }
            }
            Event::LoadtestServer(server) => self.note_launch(&server.launch),
            Event::LoadtestStep(step) => {
                if let Some(reason) = &step.broke {
                    let (setting, words) = (&step.setting, step.arrivals.words());
                    let first = reason.lines().next().unwrap_or_default();
                    self.bar.suspend(|| tracing::warn!("{setting} under load, {words}: {first}"));
                }
            }
            Event::HeldCase(_) => {
                self.show_place(&self.cell);
                self.status().looked();
            }
            Event::LoadtestTrial(_) | Event::Case(_) | Event::HeldSchema(_) => {}
        }
        Ok(())
    }
}

impl Progress for Display {
    fn begin(&self, step: &str, total_bytes: Option<u64>) {
        self.bar.reset();
        match total_bytes {
            Some(bytes) => {
                self.bar.set_style(style("{msg} {bar:30} {bytes}/{total_bytes} {bytes_per_sec}"));
                self.bar.set_length(bytes);
            }
            None => self.bar.set_style(style("{spinner} {msg} {elapsed}")),
        }
        self.bar.set_message(clean(step).into_owned());
        self.bar.enable_steady_tick(Duration::from_millis(200));
        self.say(step);
    }

    fn at(&self, bytes: u64) {
        self.bar.set_position(bytes);
    }

    fn end(&self) {
        self.bar.disable_steady_tick();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{EvidenceUnit, StopReason};

    #[test]
    fn time_spent_on_schemas_is_no_part_of_a_launch() {
        let began = Instant::now();
        let earlier = began.checked_sub(Duration::from_secs(5)).unwrap();
        let mut status = Status { launching: Some(began), looking: Some(earlier), ..Status::default() };
        status.looked();
        assert!(status.launching.unwrap() >= began + Duration::from_secs(5));
        assert_eq!(status.looking, None);
        let launching = status.launching;
        status.looked();
        assert_eq!(status.launching, launching, "once");
    }

    #[test]
    fn a_verdict_is_open_until_its_cell_stops() {
        let outlook = Outlook { unit: EvidenceUnit::Texts, seen: 5, needed: Some(9), further_s: Some(40.0) };
        let cell = |setting: &str| OpenCell { setting: setting.into(), context: 512, outlook };
        let mut status = Status { open: vec![cell("a"), cell("b")], ..Status::default() };
        assert_eq!(status.open_cells(), ", 2 verdicts open, the last in about 40 s");
        let stop = |setting: &str| Decision {
            after_round: 1,
            setting: setting.into(),
            context: 512,
            replicate: None,
            untried: false,
            within: None,
            reason: StopReason::Settled,
            because: String::new(),
        };
        status.stopped(&stop("a"), 0);
        assert_eq!(status.open_cells(), ", 1 verdict open, the last in about 40 s");
        status.stopped(&stop("b"), 0);
        assert_eq!(status.open_cells(), "");
        assert_eq!(
            outlook_in_words(&outlook),
            "5 texts seen, about 9 texts would be needed, 40 s more of the servers' time"
        );
    }
}
