//! One session of a run: from what the journal holds to its end or an interruption.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use super::output::{look, print, print_json, print_styled};
use super::progress::Display;
use super::setup::runtime;
use super::{chosen, github, night_before, notify, report};
use crate::cli::Global;
use crate::console;
use crate::error::{EXIT_GATE_FAILED, EXIT_INCOMPLETE, EXIT_INTERRUPTED, EXIT_OK, Error, Result};
use crate::judge::analysis;
use crate::judge::serving::ServeForm;
use crate::measure::runner;
use crate::measure::runner::{Ending, Eta, Event, Interrupt, Prepared, Runner, Subscriber, Terms, Turns};
use crate::record::capacity::{Course, End};
use crate::record::journal::loadtest::{LoadtestServer, LoadtestStep, LoadtestTrial};
use crate::record::journal::{Journal, JournalWriter, LaunchRecord, Place, Record};
use crate::record::plan::Plan;
use crate::record::secrets::Secrets;
use crate::record::suite::{Arrivals, LoadSearch, LoadSpec, StoppingRule, Suite};
use crate::record::{Outcome, Selection, StopRule, Trial, TrialKey, journal, short_hash};

/// One session of a run.
pub(super) struct Session {
    pub(super) folder: PathBuf,
    /// As it is run; the journal's has no keys in it.
    pub(super) suite: Suite,
    pub(super) secrets: Secrets,
    pub(super) journal: Journal,
    pub(super) writer: JournalWriter,
    pub(super) retry_failed: bool,
    pub(super) json: bool,
}

impl Session {
    /// Measures what is left, and reports what there is.
    ///
    /// # Errors
    /// As the runner's, with the way to go on.
    pub(super) fn go_on(
        mut self,
        plan: &Plan,
        prepared: &Prepared,
        mut display: Display,
        global: &Global,
    ) -> Result<u8> {
        let measured = self.measure(plan, prepared, &mut display, global);
        let ending = measured.inspect_err(|error| self.show_what_there_is(error, global))?;
        let chosen = self.journal.header.choice_notes.is_some();
        if self.searches() && (chosen || !self.json) {
            return self.conclude(ending, &[ServeForm::Shell], global);
        }
        self.report(plan, ending, global)
    }

    /// A run that ends in an error has a report of what was measured until then, and whoever waits for it is told.
    fn show_what_there_is(&self, error: &Error, global: &Global) {
        let problem = crate::error::chain(error);
        let shown = journal::load(&self.folder).and_then(|journal| {
            if !journal.trials.is_empty() {
                report::remake(&journal, &self.folder, &global.runs_dir)?;
            }
            let summary = analysis::summarise(&journal)?;
            notify::tell(self.suite.notify.as_ref(), &summary, Some(&problem));
            Ok(())
        });
        if let Err(error) = shown {
            tracing::debug!("no report of what was measured: {}", crate::error::chain(&error));
        }
    }

    fn searches(&self) -> bool {
        self.suite.stopping.is_some_and(|stopping| stopping.rule == Some(StoppingRule::Best))
    }

    /// Measures what is left of a plan, as the suite says: all of it, or visit by visit until the best setting is shown.
    ///
    /// # Errors
    /// As the runner's, with the way to go on.
    pub(super) fn measure(
        &mut self,
        plan: &Plan,
        prepared: &Prepared,
        display: &mut Display,
        global: &Global,
    ) -> Result<Ending> {
        crate::clock::begin_session(self.journal.next_session());
        let place = self.writer.place()?;
        let ending = match self.searches() {
            true => self.search(plan, prepared, display, global, &place),
            false => self.all_of(plan, prepared, display, global, &place),
        };
        display.finish();
        // Where the folder is gone, nothing goes on.
        let resumable = place.check().is_ok();
        if resumable {
            self.secrets.clean_folder(&self.folder.join("engine"));
        }
        ending.map_err(|error| if resumable { error.hint(self.resume_hint(global)) } else { error })
    }

    fn all_of(
        &mut self,
        plan: &Plan,
        prepared: &Prepared,
        display: &mut Display,
        global: &Global,
        place: &Place,
    ) -> Result<Ending> {
        self.expect(plan, prepared, display, global);
        runtime()?.block_on(async {
            let interrupt = Interrupt::listen()?;
            self.run(plan, prepared, display, &analysis::stopping::Sequential, &interrupt, place).await
        })
    }

    /// Tells the display what is left.
    pub(super) fn expect(&self, plan: &Plan, prepared: &Prepared, display: &mut Display, global: &Global) {
        let estimator =
            super::estimate::estimator(&self.suite, prepared, &global.runs_dir, Some(&self.journal));
        let retry = |trial: &&Trial| self.retry_failed && matches!(trial.outcome, Outcome::Failed { .. });
        let done: HashSet<TrialKey> =
            self.journal.trials.iter().filter(|trial| !retry(trial)).map(|trial| trial.key).collect();
        let selection = Selection::of(&self.suite, &self.journal.trials);
        let settled =
            |key: &TrialKey| done.contains(key) || self.journal.is_stopped(key) || selection.skips(key);
        display.expect(Eta::new(&self.suite, plan, &estimator, settled));
    }

    /// Runs a plan, or a part of it, from what the journal holds.
    pub(super) async fn run(
        &mut self,
        plan: &Plan,
        prepared: &Prepared,
        display: &mut Display,
        stop_rule: &dyn StopRule,
        interrupt: &Interrupt,
        place: &Place,
    ) -> Result<Ending> {
        let terms = Terms {
            retry_failed: self.retry_failed,
            stop_rule,
            interrupt: interrupt.clone(),
            turns: self.turns(),
        };
        let mut recorder = Recorder { writer: &mut self.writer, secrets: &self.secrets };
        let subscribers: Vec<&mut dyn Subscriber> = vec![&mut recorder, display];
        let mut runner =
            Runner::new(&self.suite, prepared, self.folder.clone(), &self.journal, terms, subscribers)?;
        tokio::select! {
            ending = runner.run(plan) => ending,
            // Dropping the runner kills its server.
            () = interrupt.asked(2) => Ok(Ending::Interrupted),
            gone = runner::gone(place.clone()) => Err(gone),
        }
    }

    /// What a worker shares with the others of its run on the same machine.
    fn turns(&self) -> Option<Turns> {
        let worker = self.journal.header.worker.as_ref()?;
        Some(Turns::new(self.folder.parent()?, &short_hash(worker.place.as_bytes())))
    }

    /// Reports, and answers.
    pub(super) fn conclude(&self, ending: Ending, forms: &[ServeForm], global: &Global) -> Result<u8> {
        let journal = journal::load(&self.folder)?;
        report::remake(&journal, &self.folder, &global.runs_dir)?;
        let complete = ending == Ending::Complete && !is_cut_short(&journal);
        let answered = chosen::of(&journal, complete)
            .and_then(|choice| if self.json { print_json(&choice) } else { print(&choice.text(forms)?) });
        if ending == Ending::Interrupted {
            // One that was stopped before its reference was done has no answer yet.
            let so_far = if answered.is_ok() { "" } else { ": nothing can be said yet" };
            console::note(&format!("interrupted{so_far}\n\nhint: {}", self.resume_hint(global)));
            return Ok(EXIT_INTERRUPTED);
        }
        answered?;
        if !global.quiet {
            console::note(&format!("run: {}", self.folder.display()));
        }
        Ok(EXIT_OK)
    }

    pub(super) fn resume_hint(&self, global: &Global) -> String {
        // A worker's folder lies two below that of its run.
        let mut above = self.folder.ancestors().skip(1);
        let is_part = above.next().is_some_and(|parts| parts.ends_with(journal::PARTS));
        let run = if is_part { above.next() } else { None }.unwrap_or(&self.folder);
        let name = run.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
        let mut command = format!("kneepoint resume {name}");
        if global.runs_dir != Path::new("runs") {
            command.push_str(&format!(" --runs-dir {}", global.runs_dir.display()));
        }
        format!("`{command}` goes on where this run stopped")
    }

    /// The report of what there is, also after an interruption.
    pub(super) fn report(&self, plan: &Plan, ending: Ending, global: &Global) -> Result<u8> {
        let journal = journal::load(&self.folder)?;
        let mut summary = analysis::summarise(&journal)?;
        summary.night_before = night_before::of(&journal, &self.folder, &global.runs_dir);
        let paths = report::write(&journal, &summary, &self.folder, None)?;
        let report = paths.first().cloned().unwrap_or_default();
        if self.json {
            print_json(&summary)?;
        } else {
            print_styled(&crate::judge::report::table(&summary, look()))?;
            print(&format!("\nreport: {}\n", report.display()))?;
        }
        if ending == Ending::Interrupted {
            console::note(&format!("interrupted\n\nhint: {}", self.resume_hint(global)));
            return Ok(EXIT_INTERRUPTED);
        }
        let kept = report::tell_gates(&summary) != report::Gates::Failed;
        github::tell(&summary);
        let selection = Selection::of(&journal.header.suite, &journal.trials);
        let planned: HashSet<&TrialKey> =
            plan.keys().filter(|key| !journal.is_stopped(key) && !selection.skips(key)).collect();
        let done = journal.trials.iter().filter(|trial| planned.contains(&trial.key)).count();
        let planned = planned.len();
        let unloaded = unloaded(plan, &journal);
        let missing = (done < planned).then(|| format!("{done} of {planned} trials"));
        notify::tell(self.suite.notify.as_ref(), &summary, missing.as_deref());
        if done < planned || !summary.failures.is_empty() || unloaded > 0 {
            let failed = summary.failures.len();
            let under_load = match unloaded {
                0 => String::new(),
                steps => format!(" and {steps} steps under load were broken off or left out"),
            };
            let report = report.display();
            console::note(&format!(
                "incomplete: {failed} of {planned} trials failed{under_load}; see {report}\n\n\
                 hint: {} (with --retry-failed: tries the failed ones again)",
                self.resume_hint(global)
            ));
            // A failed gate is the graver news.
            return Ok(if kept { EXIT_INCOMPLETE } else { EXIT_GATE_FAILED });
        }
        Ok(if kept { EXIT_OK } else { EXIT_GATE_FAILED })
    }
}

/// Planned steps of the load phase that show nothing; of a search that did not come to its end, one.
fn unloaded(plan: &Plan, journal: &Journal) -> usize {
    let Some(load) = &journal.header.suite.load else { return 0 };
    let missing = |setting: &str| match &load.search {
        Some(search) => usize::from(!is_searched(load, search, setting, journal)),
        None => {
            let shown = |arrivals: &Arrivals| {
                let mut steps = journal.load.steps_of(setting);
                steps.any(|step| step.arrivals == *arrivals && step.broke.is_none())
            };
            load.steps().iter().filter(|step| !shown(step)).count()
        }
    };
    plan.load.iter().map(|visit| missing(&visit.cell.setting.label)).sum()
}

/// Whether the search for the limits of a setting came to its end, and a load showed something. A load that a server broke
/// under is an answer, the lowest one aside.
fn is_searched(load: &LoadSpec, search: &LoadSearch, setting: &str, journal: &Journal) -> bool {
    let steps = || journal.load.steps_of(setting);
    let ended = matches!(Course::limits_end(load, search, steps()), End::Found | End::Unsettled);
    ended && steps().any(|step| step.broke.is_none())
}

/// Writes every event that belongs into the journal, before anybody else sees the next one.
struct Recorder<'a> {
    writer: &'a mut JournalWriter,
    secrets: &'a Secrets,
}

impl Recorder<'_> {
    fn launch(&self, launch: &LaunchRecord) -> Result<LaunchRecord> {
        let masked = self.secrets.masked(launch)?;
        Ok(LaunchRecord { setting: launch.setting.clone(), ..masked })
    }

    /// Replies stay as they are; errors quote logs.
    fn trial(&self, trial: &Trial) -> Trial {
        let mut trial = trial.clone();
        match &mut trial.outcome {
            Outcome::Failed { error: words, .. } | Outcome::Unscored { reason: words } => {
                *words = self.secrets.text(words);
            }
            Outcome::Scored(_) => {}
        }
        trial
    }
}

impl Subscriber for Recorder<'_> {
    fn on(&mut self, event: &Event<'_>) -> Result<()> {
        match event {
            Event::Case(case) => self.writer.append(&Record::Case(Box::new((*case).clone()))),
            Event::HeldSchema(held) => self.writer.append(&Record::HeldSchema(Box::new((*held).clone()))),
            Event::HeldCase(held) => self.writer.append(&Record::HeldCase(Box::new((*held).clone()))),
            Event::Launched(launch) => self.writer.append(&Record::Launch(Box::new(self.launch(launch)?))),
            Event::Trial(trial) => self.writer.append(&Record::Trial(Box::new(self.trial(trial)))),
            Event::Stopped { decision, .. } => {
                self.writer.append(&Record::Decision(Box::new((*decision).clone())))
            }
            Event::LoadtestServer(server) => {
                let server = LoadtestServer { launch: self.launch(&server.launch)?, ..(*server).clone() };
                self.writer.append(&Record::LoadtestServer(Box::new(server)))
            }
            Event::LoadtestStep(step) => {
                let broke = step.broke.as_ref().map(|reason| self.secrets.text(reason));
                self.writer.append(&Record::LoadtestStep(Box::new(LoadtestStep { broke, ..(*step).clone() })))
            }
            Event::LoadtestTrial(asked) => {
                let asked = LoadtestTrial { trial: self.trial(&asked.trial), ..(*asked).clone() };
                self.writer.append(&Record::LoadtestTrial(Box::new(asked)))
            }
            _ => Ok(()),
        }
    }
}

/// Whether the budget ended before the search did.
fn is_cut_short(journal: &Journal) -> bool {
    journal.decisions.iter().any(|decision| decision.reason == crate::record::StopReason::Budget)
}
