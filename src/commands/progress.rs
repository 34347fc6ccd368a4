//! What a person sees of a run: one bar, silent when stderr is not a terminal or with `-q`.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::cli::Global;
use crate::console::{self, clean};
use crate::error::Result;
use crate::journal::LaunchRecord;
use crate::model::Progress;
use crate::runner::{Event, Subscriber};
use crate::trial::Outcome;

/// The bar of a run.
pub(super) struct Display {
    bar: ProgressBar,
    verbose: bool,
    failed: usize,
}

impl Display {
    pub(super) fn new(global: &Global) -> Self {
        let shown = console::stderr_is_terminal() && !global.quiet;
        let target = if shown { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(None, target);
        Self { bar, verbose: global.verbose > 0, failed: 0 }
    }

    /// Takes the bar away.
    pub(super) fn finish(&self) {
        self.bar.finish_and_clear();
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

impl Subscriber for Display {
    fn on(&mut self, event: &Event<'_>) -> Result<()> {
        match event {
            Event::Started { total, done } => {
                self.bar.set_style(style("{bar:30} {pos}/{len} trials  {elapsed} (ETA {eta})  {msg}"));
                self.bar.set_length(*total as u64);
                self.bar.set_position(*done as u64);
                self.bar.reset_eta();
                self.bar.enable_steady_tick(Duration::from_millis(500));
            }
            Event::Visit { visit, remaining } => {
                let again = if visit.replicate > 0 { " (A/A)" } else { "" };
                let cell = format!("{} at {}{again}", visit.cell.setting, visit.cell.context);
                self.bar.set_message(clean(&cell).into_owned());
                self.say(&format!("round {}: {cell}: {remaining} trials", visit.round + 1));
            }
            Event::Launched(launch) => self.note_launch(launch),
            Event::Trial(trial) => {
                self.bar.inc(1);
                if let Outcome::Failed { error, .. } = &trial.outcome {
                    self.failed += 1;
                    let first = error.lines().next().unwrap_or_default();
                    self.bar.suspend(|| tracing::warn!("{} {}: {first}", trial.key.setting, trial.key.task));
                }
            }
            Event::Stopped { decision, saved } => {
                self.bar.inc(*saved as u64);
                let (setting, context) = (&decision.setting, decision.context);
                self.say(&format!("{setting} at {context} stops: {}", decision.because));
            }
            Event::Note(note) => self.bar.suspend(|| tracing::warn!("{note}")),
            Event::LoadVisit { visit, steps } => {
                self.say(&format!("load: {} at {}: {steps} steps", visit.cell.setting, visit.cell.context));
            }
            Event::LoadWork { setting, what } => {
                self.bar.set_message(clean(&format!("{setting} under load: {what}")).into_owned());
                self.say(&format!("load: {setting}: {what}"));
            }
            Event::LoadServer(server) => self.note_launch(&server.launch),
            Event::LoadStep(step) => {
                if let Some(reason) = &step.broke {
                    let (setting, words) = (&step.setting, step.arrivals.words());
                    let first = reason.lines().next().unwrap_or_default();
                    self.bar.suspend(|| tracing::warn!("{setting} under load, {words}: {first}"));
                }
            }
            Event::LoadTrial(_) | Event::Case(_) | Event::TrialStarted(_) => {}
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
