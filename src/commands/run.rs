//! `run` and `resume`.

use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::Serialize;

use super::progress::Display;
use super::{look, print, print_json, report, runs};
use crate::analysis::{self, power::PowerRow};
use crate::cli::{Global, ResumeArgs, RunArgs};
use crate::engine::Argv;
use crate::error::{Context, EXIT_GATE_FAILED, EXIT_INCOMPLETE, EXIT_INTERRUPTED, EXIT_OK, Error, Result};
use crate::journal::{self, FORMAT, Header, Journal, JournalWriter, Record};
use crate::model::{Progress, Silent, Store};
use crate::plan::{self, Filter, Plan};
use crate::runner::{self, Ending, Event, Interrupt, Prepared, Runner, Subscriber};
use crate::suite::{self, Arrivals, Suite, Warning};

/// The one runtime: on this thread, which lives as long as the process (a server's parent-death signal
/// follows the thread that started it).
pub(super) fn runtime() -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context(|| "cannot start the async runtime".into())
}

pub(super) fn run(args: &RunArgs, global: &Global) -> Result<u8> {
    let suite = suite::load(&args.suite, &args.overrides)?;
    if args.pilot {
        return super::pilot::pilot(args, &suite, global);
    }
    let filter = Filter::parse(&args.filters)?;
    let plan = plan::plan(&suite, &filter)?;
    if args.dry_run {
        return dry_run(&suite, &plan, args.json);
    }
    let display = Display::new(global);
    let prepared = prepare(&suite, &display)?;
    for warning in runner::beyond_trained(&suite, &Store::open(&Silent)?) {
        tracing::warn!("{}", warning.text);
    }
    let folder = runs::create(&global.runs_dir, &suite)?;
    let header = header_of(args, &suite, &prepared, &folder);
    let resolved = serde_json::to_string_pretty(&suite).context(|| "cannot write the suite".into())?;
    std::fs::write(folder.join("suite.json"), resolved + "\n")
        .context(|| "cannot write suite.json".into())?;
    std::fs::copy(&args.suite, folder.join("suite.toml")).context(|| "cannot copy the suite".into())?;
    let writer = JournalWriter::create(&folder, &header)?;
    let journal = Journal::new(header);
    let sitting = Sitting { folder, journal, writer, retry_failed: false, json: args.json };
    sitting.go_on(&plan, &prepared, display, global)
}

pub(super) fn resume(args: &ResumeArgs, global: &Global) -> Result<u8> {
    let folder = runs::find(&global.runs_dir, &args.run)?;
    let (writer, journal) = JournalWriter::open(&folder)?;
    let header = &journal.header;
    let suite = header.suite.clone();
    let plan = plan::plan(&suite, &Filter::parse(&header.filters)?)?;
    let display = Display::new(global);
    let prepared = prepare(&suite, &display)?;
    check_same(header, &prepared)?;
    let sitting = Sitting { folder, journal, writer, retry_failed: args.retry_failed, json: args.json };
    sitting.go_on(&plan, &prepared, display, global)
}

pub(super) fn prepare(suite: &Suite, progress: &dyn Progress) -> Result<Prepared> {
    let store = Store::open(progress)?;
    runtime()?.block_on(runner::prepare(suite, &store))
}

/// Trials of two sittings belong together only when everything that they depend on is the same.
fn check_same(header: &Header, prepared: &Prepared) -> Result<()> {
    let engines = [prepared.engine_info.clone()];
    let now = journal::fingerprint(&header.suite, &header.filters, &engines, &prepared.model_infos);
    if now == header.fingerprint {
        return Ok(());
    }
    let mut error = Error::usage(format!(
        "this run cannot be resumed: its fingerprint is {}, that of today's set-up is {now}",
        header.fingerprint
    ));
    for (before, today) in header.engines.iter().zip(&engines) {
        if before.version != today.version {
            error = error.hint(format!("the engine was `{}` and is `{}`", before.version, today.version));
        }
    }
    for (before, today) in header.models.iter().zip(&prepared.model_infos) {
        if before.sha256 != today.sha256 {
            error = error.hint(format!("the file of {} {} is another one now", before.name, before.weights));
        }
    }
    if header.tool_version != env!("CARGO_PKG_VERSION") {
        error = error.hint(format!("it was made by kneepoint {}", header.tool_version));
    }
    Err(error.hint("start a new run with `kneepoint run`"))
}

fn header_of(args: &RunArgs, suite: &Suite, prepared: &Prepared, folder: &Path) -> Header {
    let engines = vec![prepared.engine_info.clone()];
    let models = prepared.model_infos.clone();
    Header {
        format: FORMAT,
        run: folder.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default(),
        started: crate::clock::now(),
        tool_version: env!("CARGO_PKG_VERSION").to_owned(),
        git_hash: option_env!("KNEEPOINT_GIT_HASH").map(str::to_owned),
        fingerprint: journal::fingerprint(suite, &args.filters, &engines, &models),
        suite: suite.clone(),
        repeat: repeat_command(args),
        machine: crate::probe::machine::measured(),
        engines,
        models,
        filters: args.filters.clone(),
    }
}

fn repeat_command(args: &RunArgs) -> String {
    let mut words = vec!["kneepoint".to_owned(), "run".to_owned(), args.suite.display().to_string()];
    words.extend(args.overrides.iter().flat_map(|set| ["--set".to_owned(), set.clone()]));
    words.extend(args.filters.iter().flat_map(|filter| ["--filter".to_owned(), filter.clone()]));
    words.iter().map(|word| crate::engine::shell_word(word)).collect::<Vec<_>>().join(" ")
}

/// One sitting at a run: from what the journal holds to its end or an interruption.
struct Sitting {
    folder: PathBuf,
    journal: Journal,
    writer: JournalWriter,
    retry_failed: bool,
    json: bool,
}

impl Sitting {
    fn go_on(
        mut self,
        plan: &Plan,
        prepared: &Prepared,
        mut display: Display,
        global: &Global,
    ) -> Result<u8> {
        let suite = self.journal.header.suite.clone();
        let folder = self.folder.clone();
        let mut recorder = Recorder { writer: &mut self.writer };
        let ending = runtime()?.block_on(async {
            let interrupt = Interrupt::listen()?;
            let mut runner = Runner::new(
                &suite,
                prepared,
                folder.clone(),
                &self.journal,
                self.retry_failed,
                interrupt.clone(),
                vec![&mut recorder, &mut display],
            )?;
            tokio::select! {
                ending = runner.run(plan) => ending,
                // Dropping the runner kills its server.
                () = interrupt.asked(2) => Ok(Ending::Interrupted),
            }
        });
        display.finish();
        let ending = ending.map_err(|error| error.hint(self.resume_hint(global)))?;
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
        let summary = analysis::summarise(&journal)?;
        let paths = report::write(&summary, &self.folder, None)?;
        let report = paths.first().cloned().unwrap_or_default();
        if self.json {
            print_json(&summary)?;
        } else {
            print(&crate::report::table(&summary, look()))?;
            print(&format!("\nreport: {}\n", report.display()))?;
        }
        if ending == Ending::Interrupted {
            eprintln!("interrupted\n\nhint: {}", self.resume_hint(global));
            return Ok(EXIT_INTERRUPTED);
        }
        let kept = report::tell_gates(&summary);
        let planned = plan.keys().filter(|key| !journal.is_stopped(key)).count();
        let done = summary.done as usize;
        let unloaded = unloaded(plan, &journal);
        if done < planned || !summary.failures.is_empty() || unloaded > 0 {
            let failed = summary.failures.len();
            let under_load = match unloaded {
                0 => String::new(),
                steps => format!(" and {steps} steps under load were broken off or left out"),
            };
            let report = report.display();
            eprintln!("incomplete: {failed} of {planned} trials failed{under_load}; see {report}");
            eprintln!(
                "\nhint: {} (with --retry-failed: tries the failed ones again)",
                self.resume_hint(global)
            );
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
}

impl Subscriber for Recorder<'_> {
    fn on(&mut self, event: &Event<'_>) -> Result<()> {
        match event {
            Event::Case(case) => self.writer.append(&Record::Case(Box::new((*case).clone()))),
            Event::Launched(launch) => self.writer.append(&Record::Launch(Box::new((*launch).clone()))),
            Event::Trial(trial) => self.writer.append(&Record::Trial(Box::new((*trial).clone()))),
            Event::Stopped { decision, .. } => {
                self.writer.append(&Record::Decision(Box::new((*decision).clone())))
            }
            Event::LoadServer(server) => self.writer.append(&Record::LoadServer(Box::new((*server).clone()))),
            Event::LoadStep(step) => self.writer.append(&Record::LoadStep(Box::new((*step).clone()))),
            Event::LoadTrial(asked) => self.writer.append(&Record::LoadTrial(Box::new((*asked).clone()))),
            _ => Ok(()),
        }
    }
}

/// What `run --dry-run --json` prints.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct DryRun {
    /// Version of this form.
    pub schema_version: u32,
    /// Suite name.
    pub suite: String,
    /// Trials in all.
    pub trials: usize,
    /// Most tokens that may be prefilled and generated in all.
    pub tokens_at_most: u64,
    /// Time in all by a rule of thumb for this machine (s); see `docs/suites.md`.
    pub estimate_s: Option<f64>,
    /// Address of the server, where one is attached: nothing is started.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attached: Option<String>,
    /// What would be fetched or made first.
    pub preparations: Vec<String>,
    /// What the run would be sorry for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<Warning>,
    /// Which drop of quality the suite can see, with which chance.
    pub power: Vec<PowerRow>,
    /// Server processes in run order.
    pub visits: Vec<DryVisit>,
    /// Server processes of the load phase.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub load: Vec<DryLoad>,
}

/// A server process of the load phase in a dry run.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct DryLoad {
    /// Setting label.
    pub setting: String,
    /// Context length of a slot (tokens).
    pub context: u32,
    /// Requests that the server works on at the same time.
    pub slots: u16,
    /// What it goes through, in words.
    pub steps: Vec<String>,
    /// The command, when everything that it names is on this machine.
    pub argv: Option<Argv>,
}

/// A server process of a dry run.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct DryVisit {
    /// Round, from 0.
    pub round: u32,
    /// Setting label.
    pub setting: String,
    /// Context length (tokens).
    pub context: u32,
    /// 1 for the reference's second visit.
    pub replicate: u32,
    /// Trials.
    pub trials: usize,
    /// The command, when everything that it names is on this machine.
    pub argv: Option<Argv>,
    /// Why this build cannot run the setting.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unsupported: Option<String>,
}

fn dry_run(suite: &Suite, plan: &Plan, json: bool) -> Result<u8> {
    let preparations = runner::preparations(suite, &Store::open(&Silent)?)?;
    let prepared = match preparations.is_empty() && suite.engine.url.is_none() {
        true => Some(prepare(suite, &Silent)?),
        false => None,
    };
    let visits = plan.visits.iter().map(|visit| {
        let (argv, unsupported) =
            match prepared.as_ref().map(|p| runner::argv(suite, p, visit, 0)).transpose() {
                Ok(argv) => (argv, None),
                // As in a run: without the reference nothing can be compared.
                Err(error) if visit.cell.setting == *suite.reference() => return Err(error),
                Err(error) => (None, Some(crate::error::chain(&error))),
            };
        Ok(DryVisit {
            round: visit.round,
            setting: visit.cell.setting.label.clone(),
            context: visit.cell.context,
            replicate: visit.replicate,
            trials: visit.trials.len(),
            argv,
            unsupported,
        })
    });
    let dry = DryRun {
        schema_version: 1,
        suite: suite.name.clone(),
        trials: plan.trials(),
        tokens_at_most: plan.keys().map(|key| u64::from(key.context)).sum(),
        attached: suite.engine.url.clone(),
        estimate_s: prepared.as_ref().map(|prepared| runner::estimate_s(plan, prepared, suite.load.as_ref())),
        preparations,
        warnings: runner::beyond_trained(suite, &Store::open(&Silent)?),
        power: analysis::power::rows(suite),
        visits: visits.collect::<Result<_>>()?,
        load: dry_load(suite, plan, prepared.as_ref())?,
    };
    if json { print_json(&dry) } else { print(&dry_text(&dry)) }
}

fn dry_load(suite: &Suite, plan: &Plan, prepared: Option<&Prepared>) -> Result<Vec<DryLoad>> {
    let Some(spec) = &suite.load else { return Ok(Vec::new()) };
    let length = match (spec.requests, spec.duration_s) {
        (Some(requests), Some(seconds)) => format!("{requests} requests or {seconds} s"),
        (Some(requests), None) => format!("{requests} requests"),
        (None, seconds) => format!("{} s", seconds.unwrap_or_default()),
    };
    let mut steps: Vec<String> =
        spec.steps().into_iter().map(|step| format!("{}, {length}", step.words())).collect();
    steps.extend(spec.quality.as_ref().map(|quality| {
        let crowds: Vec<String> = spec.crowds().map(|streams| streams.to_string()).collect();
        let (samples, task) = (quality.samples, &quality.task);
        format!("{samples} items of {task}: alone twice, and {} at a time", crowds.join(", "))
    }));
    let servers = plan.load.iter().map(|visit| {
        Ok(DryLoad {
            setting: visit.cell.setting.label.clone(),
            context: visit.cell.context,
            slots: visit.slots,
            steps: steps.clone(),
            argv: prepared.map(|prepared| runner::argv(suite, prepared, visit, 0)).transpose()?,
        })
    });
    servers.collect()
}

fn dry_text(dry: &DryRun) -> String {
    let mut text = format!(
        "{}: {} trials by {} server processes, at most {} tokens",
        dry.suite,
        dry.trials,
        dry.visits.len(),
        dry.tokens_at_most
    );
    if let Some(seconds) = dry.estimate_s {
        text.push_str(&format!(", about {:.0} min on this machine", (seconds / 60.0).ceil()));
    }
    text.push('\n');
    for preparation in &dry.preparations {
        text.push_str(&format!("first: {preparation}\n"));
    }
    for warning in &dry.warnings {
        text.push_str(&format!("{warning}\n"));
    }
    text.push_str(&power_text(&dry.power));
    for visit in &dry.visits {
        let again = if visit.replicate > 0 { " (A/A)" } else { "" };
        let (round, setting, context) = (visit.round + 1, &visit.setting, visit.context);
        text.push_str(&format!("\nround {round}: {setting} at {context}{again}: {} trials\n", visit.trials));
        text.push_str(&match &visit.unsupported {
            Some(why) => format!("  unsupported: {why}\n"),
            None => command_text(visit.argv.as_ref(), dry.attached.as_deref()),
        });
    }
    for load in &dry.load {
        let (setting, context, slots) = (&load.setting, load.context, load.slots);
        let steps = load.steps.join("; ");
        text.push_str(&format!("\nload: {setting} at {context}, {slots} slots: {steps}\n"));
        text.push_str(&command_text(load.argv.as_ref(), dry.attached.as_deref()));
    }
    text
}

fn command_text(argv: Option<&Argv>, attached: Option<&str>) -> String {
    match (argv, attached) {
        (Some(argv), _) => format!("  {}\n", argv.shell()),
        (None, Some(url)) => format!("  attached to {url}: nothing is started\n"),
        (None, None) => "  (the command is known once the files above are there)\n".to_owned(),
    }
}

fn power_text(rows: &[PowerRow]) -> String {
    let points = |share: f64| format!("{:.0}", share * 100.0);
    let mut text = String::new();
    for row in rows {
        let chances = row.chances.iter().map(|chance| {
            format!("{} points with {:.0}%", points(chance.drop), (chance.power * 100.0).floor())
        });
        text.push_str(&format!(
            "power at {}: {} pairs, of which {}% differ, show a drop of {}{}\n",
            row.context,
            row.pairs,
            points(row.discordance),
            chances.collect::<Vec<_>>().join(", "),
            row.smallest_drop.map_or(String::new(), |drop| format!("; 80% for {:.1} points", drop * 100.0)),
        ));
    }
    text
}
