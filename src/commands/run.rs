//! `run` and `resume`.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use super::output::{look, print, print_json, print_styled};
use super::progress::Display;
use super::setup::{prepare, runtime};
use super::{night_before, reference, report, runs};
use crate::cli::{Global, ResumeArgs, RunArgs};
use crate::error::{Context, EXIT_GATE_FAILED, EXIT_INCOMPLETE, EXIT_INTERRUPTED, EXIT_OK, Error, Result};
use crate::judge::analysis;
use crate::measure::model::{Silent, Store};
use crate::measure::runner;
use crate::measure::runner::{Ending, Eta, Event, Interrupt, Prepared, Runner, Subscriber, Terms};
use crate::record::filter::Filter;
use crate::record::journal::loadtest::{LoadtestServer, LoadtestStep, LoadtestTrial};
use crate::record::journal::{FORMAT, Header, Journal, JournalWriter, LaunchRecord, Record};
use crate::record::plan::Plan;
use crate::record::secrets::{self, Secrets};
use crate::record::suite::{Arrivals, Suite};
use crate::record::{EngineInfo, FileInfo, ModelInfo, Outcome, Selection, Trial, TrialKey, journal, plan};
use crate::{console, files, suite, task};

pub(super) fn run(args: &RunArgs, global: &Global) -> Result<u8> {
    let mut suite = suite::load(&args.suite, &args.overrides())?;
    let filter = Filter::parse(&args.filters)?;
    let plan = plan::plan(&suite, &filter)?;
    if args.dry_run {
        return super::dry_run::dry_run(&suite, &plan, args, global);
    }
    let taken = reference::taken(&mut suite, &args.filters)?;
    let display = Display::new(global);
    let new = runs::prepare(&global.runs_dir, &suite)?;
    let prepared = prepare(&suite, &display)?;
    reference::same_tokenizer(&suite, &prepared)?;
    for warning in runner::beyond_trained(&suite, &Store::open(&Silent)?) {
        tracing::warn!("{}", warning.text);
    }
    let own = std::fs::read_to_string(&args.suite).context(|| "cannot copy the suite".into())?;
    let sets =
        args.overrides().into_iter().map(|set| set.split_once('=').map_or(String::new(), value_as_toml));
    let secrets = Secrets::of(&suite).and_in_toml(sets.chain([own.clone()]));
    let written = secrets.masked_suite(&suite)?;
    if secrets::is_masked(&written) {
        tracing::warn!(
            "the suite's server arguments hold a key: it is not written down, so this run cannot be resumed; give \
             servers their keys by environment variables, such as HF_TOKEN or LLAMA_API_KEY"
        );
    }
    let header = header_of(args, &written, &secrets, &prepared, new.name())?;
    write_suites(&own, &written, &secrets, new.hidden())?;
    let (folder, writer) = new.begin(&header, taken.as_ref())?;
    let journal = match taken {
        Some(taken) => Journal { header, ..taken },
        None => Journal::new(header),
    };
    let session = Session { folder, suite, secrets, journal, writer, retry_failed: false, json: args.json };
    session.go_on(&plan, &prepared, display, global)
}

/// The suite beside the journal, as resolved and as the user wrote it.
fn write_suites(own: &str, written: &Suite, secrets: &Secrets, folder: &Path) -> Result<()> {
    let resolved = serde_json::to_string_pretty(written).context(|| "cannot write the suite".into())?;
    files::write(&folder.join("suite.json"), (resolved + "\n").as_bytes())?;
    files::write(&folder.join("suite.toml"), secrets.text(own).as_bytes())
}

/// The value of an override as a text of TOML.
fn value_as_toml((_, value): (&str, &str)) -> String {
    format!("value = {value}")
}

pub(super) fn resume(args: &ResumeArgs, global: &Global) -> Result<u8> {
    let folder = runs::find(&global.runs_dir, &args.run)?;
    let (writer, mut journal) = JournalWriter::open(&folder)?;
    reference::is_all_there(&journal)?;
    if journal.header.suite.pack.is_some() {
        // The cases are made nowhere else.
        journal.cases = journal::load(&folder)?.cases;
    }
    let header = &journal.header;
    if secrets::is_masked(&header.suite) {
        return Err(Error::usage(
            "this run cannot be resumed: its servers were given a key, which was not written down",
        )
        .hint("start a new run with `kneepoint run`")
        .hint("give servers their keys by environment variables, such as HF_TOKEN or LLAMA_API_KEY"));
    }
    let suite = secrets::with_home(&header.suite)?;
    let secrets = Secrets::of(&suite);
    let plan = plan::plan(&suite, &Filter::parse(&header.filters)?)?;
    let display = Display::new(global);
    unchanged(&journal)?;
    let prepared = prepare(&suite, &display)?;
    check_same(header, &prepared, &secrets)?;
    reference::same_tokenizer(&suite, &prepared)?;
    let retry_failed = args.retry_failed;
    let session = Session { folder, suite, secrets, journal, writer, retry_failed, json: args.json };
    session.go_on(&plan, &prepared, display, global)
}

/// A run goes on only by the header that it was started with.
fn unchanged(journal: &Journal) -> Result<()> {
    let doubt =
        journal.doubts.first().map(|doubt| Error::usage(format!("this run cannot be resumed: {doubt}")));
    let hint = "bring the old header back, or start a new run with `kneepoint run`";
    doubt.map_or(Ok(()), |error| Err(error.hint(hint)))
}

/// Trials of two sessions belong together only when everything that they depend on is the same.
fn check_same(header: &Header, prepared: &Prepared, secrets: &Secrets) -> Result<()> {
    let today = as_kept(header, prepared, secrets)?;
    let now = journal::fingerprint(
        &header.suite,
        &header.filters,
        task::version_of,
        &today.engines,
        &today.models,
        &today.files,
    );
    if now == header.fingerprint {
        return Ok(());
    }
    let mut error = Error::usage(format!(
        "this run cannot be resumed: its fingerprint is {}, that of today's set-up is {now}",
        header.fingerprint
    ));
    let short = |sha256: &str| sha256.get(..16).unwrap_or(sha256).to_owned();
    let swapped = |what: String, before: &str, now: &str| {
        format!("{what} is another one now (SHA-256 {}, was {})", short(now), short(before))
    };
    for (before, today) in header.engines.iter().zip(&today.engines) {
        if before.version != today.version {
            error = error.hint(format!("the engine was `{}` and is `{}`", before.version, today.version));
        } else if let (Some(old), Some(new)) = (&before.sha256, &today.sha256)
            && old != new
        {
            error = error.hint(swapped(format!("the server of {}", before.name), old, new));
        }
    }
    for (before, today) in header.models.iter().zip(&today.models) {
        if before.sha256 != today.sha256 {
            let what = format!("the file of {} {}", before.name, before.weights);
            error = error.hint(swapped(what, &before.sha256, &today.sha256));
        }
    }
    for (before, today) in header.files.iter().zip(&today.files) {
        if before != today {
            error = error.hint(swapped(format!("the file {}", before.name), &before.sha256, &today.sha256));
        }
    }
    if header.tool_version != env!("CARGO_PKG_VERSION") {
        error = error.hint(format!("it was made by kneepoint {}", header.tool_version));
    }
    Err(error.hint("start a new run with `kneepoint run`"))
}

/// What a fingerprint is made of, beside the suite.
struct SetUp {
    engines: Vec<EngineInfo>,
    models: Vec<ModelInfo>,
    files: Vec<FileInfo>,
}

/// Today's set-up, as far as the run kept its own: older runs did not hash the server, nor other files.
fn as_kept(header: &Header, prepared: &Prepared, secrets: &Secrets) -> Result<SetUp> {
    let mut engine = prepared.engine_info.clone();
    let kept = header.engines.iter().any(|engine| engine.sha256.is_some());
    if !kept {
        engine.sha256 = None;
    }
    let files = if kept { secrets.masked(&prepared.file_infos)? } else { Vec::new() };
    let engines = secrets.masked(&vec![engine])?;
    Ok(SetUp { engines, models: secrets.masked(&prepared.model_infos)?, files })
}

fn header_of(
    args: &RunArgs,
    suite: &Suite,
    secrets: &Secrets,
    prepared: &Prepared,
    run: String,
) -> Result<Header> {
    let engines = secrets.masked(&vec![prepared.engine_info.clone()])?;
    let models = secrets.masked(&prepared.model_infos)?;
    let files = secrets.masked(&prepared.file_infos)?;
    Ok(Header {
        format: FORMAT,
        run,
        started: crate::clock::now(),
        tool_version: env!("CARGO_PKG_VERSION").to_owned(),
        git_hash: option_env!("KNEEPOINT_GIT_HASH").map(str::to_owned),
        fingerprint: journal::fingerprint(suite, &args.filters, task::version_of, &engines, &models, &files),
        suite: suite.clone(),
        repeat: repeat_command(args, secrets),
        machine: crate::measure::probe::machine::measured(),
        engines,
        models,
        files,
        filters: args.filters.clone(),
    })
}

fn repeat_command(args: &RunArgs, secrets: &Secrets) -> String {
    let mut words = vec!["kneepoint".to_owned(), "run".to_owned(), args.suite.display().to_string()];
    words.extend(args.overrides().into_iter().flat_map(|set| ["--set".to_owned(), set]));
    words.extend(args.filters.iter().flat_map(|filter| ["--filter".to_owned(), filter.clone()]));
    words.iter().map(|word| crate::record::shell_word(&secrets.text(word))).collect::<Vec<_>>().join(" ")
}

/// One session of a run: from what the journal holds to its end or an interruption.
struct Session {
    folder: PathBuf,
    /// As it is run; the journal's has no keys in it.
    suite: Suite,
    secrets: Secrets,
    journal: Journal,
    writer: JournalWriter,
    retry_failed: bool,
    json: bool,
}

impl Session {
    fn go_on(
        mut self,
        plan: &Plan,
        prepared: &Prepared,
        mut display: Display,
        global: &Global,
    ) -> Result<u8> {
        let suite = self.suite.clone();
        let folder = self.folder.clone();
        crate::clock::begin_session(self.journal.next_session());
        let place = self.writer.place()?;
        let estimator = super::estimate::estimator(&suite, prepared, &global.runs_dir, Some(&self.journal));
        let retry = |trial: &&Trial| self.retry_failed && matches!(trial.outcome, Outcome::Failed { .. });
        let done: HashSet<TrialKey> =
            self.journal.trials.iter().filter(|trial| !retry(trial)).map(|trial| trial.key.clone()).collect();
        let selection = Selection::of(&suite, &self.journal.trials);
        let settled =
            |key: &TrialKey| done.contains(key) || self.journal.is_stopped(key) || selection.skips(key);
        display.expect(Eta::new(&suite, plan, &estimator, settled));
        let mut recorder = Recorder { writer: &mut self.writer, secrets: &self.secrets };
        let ending = runtime()?.block_on(async {
            let interrupt = Interrupt::listen()?;
            let mut runner = Runner::new(
                &suite,
                prepared,
                folder.clone(),
                &self.journal,
                Terms {
                    retry_failed: self.retry_failed,
                    stop_rule: &analysis::stopping::Sequential,
                    interrupt: interrupt.clone(),
                },
                vec![&mut recorder, &mut display],
            )?;
            tokio::select! {
                ending = runner.run(plan) => ending,
                // Dropping the runner kills its server.
                () = interrupt.asked(2) => Ok(Ending::Interrupted),
                gone = runner::gone(place.clone()) => Err(gone),
            }
        });
        display.finish();
        // Where the folder is gone, nothing goes on.
        let resumable = place.check().is_ok();
        if resumable {
            self.secrets.clean_folder(&self.folder.join("engine"));
        }
        let ending =
            ending.map_err(|error| if resumable { error.hint(self.resume_hint(global)) } else { error })?;
        let code = self.report(plan, ending, global)?;
        Ok(code)
    }

    fn resume_hint(&self, global: &Global) -> String {
        let name = self.folder.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
        let mut command = format!("kneepoint resume {name}");
        if global.runs_dir != Path::new("runs") {
            command.push_str(&format!(" --runs-dir {}", global.runs_dir.display()));
        }
        format!("`{command}` goes on where this run stopped")
    }

    /// The report of what there is, also after an interruption.
    fn report(&self, plan: &Plan, ending: Ending, global: &Global) -> Result<u8> {
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
        let selection = Selection::of(&journal.header.suite, &journal.trials);
        let planned: HashSet<&TrialKey> =
            plan.keys().filter(|key| !journal.is_stopped(key) && !selection.skips(key)).collect();
        let done = journal.trials.iter().filter(|trial| planned.contains(&trial.key)).count();
        let planned = planned.len();
        let unloaded = unloaded(plan, &journal);
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

/// Planned steps of the load phase that show nothing.
fn unloaded(plan: &Plan, journal: &Journal) -> usize {
    let Some(load) = &journal.header.suite.load else { return 0 };
    let shown = |setting: &str, arrivals: Arrivals| {
        let mut steps = journal.load.steps.iter();
        steps.any(|step| step.setting == setting && step.arrivals == arrivals && step.broke.is_none())
    };
    let settings = plan.load.iter().map(|visit| visit.cell.setting.label.as_str());
    let missing = |setting| load.steps().into_iter().filter(|step| !shown(setting, *step)).count();
    settings.map(missing).sum()
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
