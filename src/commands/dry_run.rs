//! `run --dry-run`: what a run would do and cost, and the servers' commands; nothing is started but a short look at how
//! fast the reference is, where no earlier run says it.

use std::path::Path;

#[cfg(test)]
use schemars::JsonSchema;
use serde::Serialize;

use super::expected::{self, ExpectedVerdicts};
use super::output::{plain_table, print, print_json};
use super::setup::runtime;
use crate::cli::{Global, RunArgs};
use crate::error::Result;
use crate::judge::analysis;
use crate::judge::analysis::gates;
use crate::judge::analysis::gates::UndecidableGate;
use crate::judge::analysis::power::{PowerRow, TextsRow};
use crate::measure::model::{Silent, Store};
use crate::measure::runner;
use crate::measure::runner::{Basis, ConfigFile, Prepared, ServerCommand, megabytes};
use crate::record::plan::{Plan, Visit};
use crate::record::suite::{LoadSearch, LoadSpec, SampledAlike, Suite};
use crate::record::{Argv, Warning};

/// What `run --dry-run --json` prints.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub(super) struct DryRun {
    /// Version of this form.
    pub schema_version: u32,
    /// Suite name.
    pub suite: String,
    /// Trials in all.
    pub trials: usize,
    /// How often each case of the tasks with a score is asked; absent where that is once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repeats: Option<u32>,
    /// How settings are sampled, those that sample alike together; left out where all are greedy.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sampling: Vec<SampledAlike>,
    /// Most tokens that may be prefilled and generated in all.
    pub tokens_at_most: u64,
    /// Time in all (s); see `docs/suites.md`.
    pub estimate_s: Option<f64>,
    /// What the time rests on, in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub estimate_basis: Option<String>,
    /// The time may be off by this factor either way.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub estimate_factor: Option<f64>,
    /// Address of the server, where one is attached: nothing is started.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attached: Option<String>,
    /// What would be fetched or made first.
    pub preparations: Vec<String>,
    /// What the run would be sorry for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<Warning>,
    /// Gates that cannot pass with the planned cases, however well the run goes; `warnings` says so, too.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub undecidable_gates: Vec<UndecidableGate>,
    /// What would be downloaded in all (bytes).
    pub download_bytes: u64,
    /// What downloads and derived quants would take on disk (bytes), about; in the cache they stay for the next run.
    pub disk_bytes: u64,
    /// Model files that a run would hash first, because nobody did so since they changed (bytes).
    pub unhashed_bytes: u64,
    /// Which drop of quality the suite can see, with which chance.
    pub power: Vec<PowerRow>,
    /// The same where answers are scored by their probability.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub texts: Vec<TextsRow>,
    /// What the verdicts are expected to take, where an earlier run asked the same.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verdicts: Option<ExpectedVerdicts>,
    /// Every setting at every context length, in the order in which they are first visited.
    pub cells: Vec<DryCell>,
    /// Server processes in run order.
    pub visits: Vec<DryVisit>,
    /// Server processes of the load phase.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub load: Vec<DryLoad>,
}

/// A setting at a context length in a dry run.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub(super) struct DryCell {
    /// Setting label.
    pub setting: String,
    /// Context length (tokens).
    pub context: u32,
    /// Trials in all, the reference's second visits among them.
    pub trials: usize,
    /// Server processes that are started for it: one a visit, unless the one before serves it, too.
    pub servers: usize,
    /// Why this build cannot run the setting.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unsupported: Option<String>,
}

/// A server process of the load phase in a dry run.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
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
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
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
    /// The server of the visit before serves it, too.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub goes_on: bool,
    /// The server's configuration file, for engines that read one.
    #[serde(skip)]
    pub config: Option<ConfigFile>,
    /// The command, when everything that it names is on this machine.
    pub argv: Option<Argv>,
    /// Why this build cannot run the setting.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unsupported: Option<String>,
}

pub(super) fn dry_run(suite: &Suite, plan: &Plan, args: &RunArgs, global: &Global) -> Result<u8> {
    // A dry run is quick: what no earlier run hashed stays unhashed.
    let store = Store::open(&Silent)?.without_hashing();
    let needed = runner::preparations(suite, &store)?;
    let (prepared, version) = match needed.lines.is_empty() && suite.engine.url.is_none() {
        true => {
            let prepared = runtime()?.block_on(runner::prepare(suite, None, &store))?;
            let version = prepared.version().map(str::to_owned);
            (Some(prepared), version)
        }
        false => {
            let build = runtime()?.block_on(runner::check_engine(suite, &store))?;
            (None, build.map(|build| build.version))
        }
    };
    let visits = visits(suite, plan, prepared.as_ref())?;
    let estimate = prepared.as_ref().map(|prepared| estimated(suite, plan, prepared, args, global));
    let (estimate_s, basis) = estimate.unzip();
    let undecidable_gates = gates::undecidable(suite, plan);
    let mut warnings = runner::foreseen(suite, &store, version.as_deref());
    warnings.extend(super::validate::gate_warnings(&undecidable_gates));
    let dry = DryRun {
        schema_version: 1,
        suite: suite.name.clone(),
        trials: plan.trials(),
        repeats: suite.repeats(),
        sampling: suite.sampled(),
        tokens_at_most: plan.keys().map(|key| u64::from(key.context)).sum(),
        attached: suite.engine.url.clone(),
        estimate_s: estimate_s.flatten(),
        estimate_factor: basis.as_ref().map(|basis| basis.factor),
        estimate_basis: basis.map(|basis| basis.words),
        preparations: needed.lines,
        warnings,
        undecidable_gates,
        download_bytes: needed.download_bytes,
        disk_bytes: needed.disk_bytes,
        unhashed_bytes: needed.unhashed_bytes,
        power: analysis::power::rows(suite),
        texts: analysis::power::texts(suite),
        verdicts: prepared
            .as_ref()
            .and_then(|prepared| expected::verdicts(suite, prepared, &global.runs_dir)),
        cells: cells(&visits),
        visits,
        load: dry_load(suite, plan, prepared.as_ref())?,
    };
    if args.json { print_json(&dry) } else { print(&dry_text(&dry)) }
}

/// The time of a plan (s), and what it rests on: earlier runs, a short look at the reference, or a rule.
fn estimated(
    suite: &Suite,
    plan: &Plan,
    prepared: &Prepared,
    args: &RunArgs,
    global: &Global,
) -> (Option<f64>, Basis) {
    let mut estimator = super::estimate::estimator(suite, prepared, &global.runs_dir, None);
    let failed = match args.no_probe {
        true => None,
        false => super::estimate::probed(&mut estimator, suite, prepared),
    };
    let Basis { words, factor } = estimator.basis().clone();
    let words = failed.map_or(words.clone(), |failed| format!("{words}; {failed}"));
    (estimator.total_s(suite, plan), Basis { words, factor })
}

fn visits(suite: &Suite, plan: &Plan, prepared: Option<&Prepared>) -> Result<Vec<DryVisit>> {
    let befores = std::iter::once(None).chain(plan.visits.iter().map(Some));
    let visits = plan.visits.iter().zip(befores).map(|(visit, before)| {
        let command = prepared.map(|prepared| command(suite, prepared, visit)).transpose();
        let (command, unsupported) = match command {
            Ok(command) => (command, None),
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
            goes_on: before.is_some_and(|before| visit.goes_on_with(before)),
            config: command.as_ref().and_then(|command| command.config.clone()),
            argv: command.map(|command| command.argv.without_keys()),
            unsupported,
        })
    });
    visits.collect()
}

/// What a visit's server would be started with; its port is not known yet.
fn command(suite: &Suite, prepared: &Prepared, visit: &Visit) -> Result<ServerCommand> {
    runner::command(suite, prepared, visit, 0, Path::new(""))
}

fn cells(visits: &[DryVisit]) -> Vec<DryCell> {
    let mut cells: Vec<DryCell> = Vec::new();
    for visit in visits {
        let same = |cell: &&mut DryCell| cell.setting == visit.setting && cell.context == visit.context;
        match cells.iter_mut().find(same) {
            Some(cell) => {
                cell.trials += visit.trials;
                cell.servers += usize::from(!visit.goes_on);
            }
            None => cells.push(DryCell {
                setting: visit.setting.clone(),
                context: visit.context,
                trials: visit.trials,
                servers: usize::from(!visit.goes_on),
                unsupported: visit.unsupported.clone(),
            }),
        }
    }
    cells
}

fn dry_load(suite: &Suite, plan: &Plan, prepared: Option<&Prepared>) -> Result<Vec<DryLoad>> {
    let Some(spec) = &suite.load else { return Ok(Vec::new()) };
    let length = match (spec.requests, spec.duration_s) {
        (Some(requests), Some(seconds)) => format!("{requests} requests or {seconds} s"),
        (Some(requests), None) => format!("{requests} requests"),
        (None, seconds) => format!("{} s", seconds.unwrap_or_default()),
    };
    let steps = match &spec.search {
        Some(search) => dry_search(spec, search, &length),
        None => dry_ladder(spec, &length),
    };
    let servers = plan.load.iter().map(|visit| {
        Ok(DryLoad {
            setting: visit.cell.setting.label.clone(),
            context: visit.cell.context,
            slots: visit.slots,
            steps: steps.clone(),
            argv: prepared
                .map(|prepared| command(suite, prepared, visit).map(|command| command.argv.without_keys()))
                .transpose()?,
        })
    });
    servers.collect()
}

fn dry_ladder(spec: &LoadSpec, length: &str) -> Vec<String> {
    let steps = spec.steps().into_iter().map(|step| format!("{}, {length}", step.words()));
    let cases = spec.quality.as_ref().map(|quality| {
        let concurrencies: Vec<String> = spec.concurrencies().map(|streams| streams.to_string()).collect();
        let (samples, task) = (quality.samples, &quality.task);
        format!("{samples} cases of {task}: alone twice, and {} at a time", concurrencies.join(", "))
    });
    steps.chain(cases).collect()
}

/// The most that a search comes to.
fn dry_search(spec: &LoadSpec, search: &LoadSearch, length: &str) -> Vec<String> {
    let (from, to) = (search.from, search.arrivals(search.to).words());
    let within = crate::judge::analysis::words::percent(search.within);
    let most = search.most_steps(spec.quality.is_some());
    let in_all = spec.requests.map_or_else(String::new, |requests| {
        let requests = u64::from(requests) * u64::from(most);
        format!(", {} requests in all", crate::judge::analysis::words::thousands(requests))
    });
    let steps =
        format!("a search from {from} to {to}, to within {within}: at most {most} steps of {length}{in_all}");
    let cases = spec.quality.as_ref().map(|quality| {
        let (samples, task, crowds) = (quality.samples, &quality.task, search.most_crowds());
        format!("{samples} cases of {task}: alone twice, and in at most {crowds} crowds")
    });
    std::iter::once(steps).chain(cases).collect()
}

fn dry_text(dry: &DryRun) -> String {
    let commands = Commands::of(dry);
    let servers = dry.visits.iter().filter(|visit| !visit.goes_on).count();
    let mut text = format!(
        "{}: {} trials of {} cells by {} server processes\n\n",
        dry.suite,
        dry.trials,
        dry.cells.len(),
        servers + dry.load.len(),
    );
    text.push_str(&cell_table(dry, &commands));
    text.push('\n');
    text.push_str(&sum(dry));
    for preparation in &dry.preparations {
        text.push_str(&format!("first: {preparation}\n"));
    }
    for warning in &dry.warnings {
        text.push_str(&format!("{warning}\n"));
    }
    text.push_str(&power_text(&dry.power));
    text.push_str(&texts_text(&dry.texts));
    text.push_str(&expected::text(dry.verdicts.as_ref()));
    for cell in &dry.cells {
        if let Some(why) = &cell.unsupported {
            text.push_str(&format!("{} at {}: unsupported: {why}\n", cell.setting, cell.context));
        }
    }
    for load in &dry.load {
        let (setting, context, slots) = (&load.setting, load.context, load.slots);
        text.push_str(&format!("load: {setting} at {context}, {slots} slots: {}\n", load.steps.join("; ")));
    }
    text.push_str(&commands.text(dry));
    text
}

/// Every cell in a row, then the servers of the load phase.
fn cell_table(dry: &DryRun, commands: &Commands) -> String {
    let mut table = plain_table();
    table.set_header(["context", "setting", "trials", "servers", "command"]);
    for cell in &dry.cells {
        let same = |visit: &&DryVisit| visit.setting == cell.setting && visit.context == cell.context;
        let argv = dry.visits.iter().find(same).and_then(|visit| visit.argv.as_ref());
        let command = match &cell.unsupported {
            Some(_) => "unsupported".to_owned(),
            None => commands.number(argv),
        };
        table.add_row([
            cell.context.to_string(),
            crate::judge::report::plain(&cell.setting),
            cell.trials.to_string(),
            cell.servers.to_string(),
            command,
        ]);
    }
    for load in &dry.load {
        let setting = format!("{}, under load", crate::judge::report::plain(&load.setting));
        let command = commands.number(load.argv.as_ref());
        table.add_row([load.context.to_string(), setting, String::new(), "1".to_owned(), command]);
    }
    table.lines().map(|line| format!("{}\n", line.trim_end())).collect()
}

/// What it costs in all.
fn sum(dry: &DryRun) -> String {
    let mut table = plain_table();
    let nothing = |bytes: u64| if bytes == 0 { "nothing".to_owned() } else { megabytes(bytes) };
    if dry.attached.is_none() {
        table.add_row(["download", &nothing(dry.download_bytes)]);
        table.add_row(["disk", &nothing(dry.disk_bytes)]);
    }
    if dry.unhashed_bytes > 0 {
        table.add_row(["hashing", &format!("{} of model files first", megabytes(dry.unhashed_bytes))]);
    }
    if let Some(repeats) = dry.repeats {
        table.add_row(["repeats", &format!("{repeats} of each case, each with a seed of its own")]);
    }
    for alike in &dry.sampling {
        let settings: Vec<String> =
            alike.settings.iter().map(|setting| crate::judge::report::plain(setting)).collect();
        let of = if dry.sampling.len() > 1 { format!(": {}", settings.join(", ")) } else { String::new() };
        table.add_row(["sampling", &format!("{}{of}", alike.sampling.words())]);
    }
    table.add_row(["time", &time_text(dry)]);
    table.add_row([
        "tokens",
        &format!("at most {}", crate::judge::analysis::words::thousands(dry.tokens_at_most)),
    ]);
    table.lines().map(|line| format!("{}\n", line.trim_end())).collect()
}

/// How long it takes, and how sure that is.
fn time_text(dry: &DryRun) -> String {
    let basis = dry.estimate_basis.as_deref().map(crate::judge::report::plain_whole).unwrap_or_default();
    match (dry.estimate_s, dry.estimate_factor) {
        (Some(seconds), Some(factor)) => format!(
            "about {}, between {} and {} ({basis})",
            crate::judge::report::about(seconds),
            crate::judge::report::about(seconds / factor),
            crate::judge::report::about(seconds * factor)
        ),
        _ if dry.attached.is_some() => "not known before the server answered some requests".to_owned(),
        _ => "not known before the files are there".to_owned(),
    }
}

/// The servers' command lines, each once however often it is started.
struct Commands {
    argvs: Vec<Argv>,
    /// The configuration files that they name.
    configs: Vec<ConfigFile>,
}

impl Commands {
    fn of(dry: &DryRun) -> Self {
        let mut distinct: Vec<Argv> = Vec::new();
        let visits = dry.visits.iter().filter_map(|visit| visit.argv.as_ref());
        for argv in visits.chain(dry.load.iter().filter_map(|load| load.argv.as_ref())) {
            if !distinct.contains(argv) {
                distinct.push(argv.clone());
            }
        }
        let configs = dry.visits.iter().filter_map(|visit| visit.config.clone()).collect();
        Self { argvs: distinct, configs }
    }

    /// Its number, from 1.
    fn number(&self, argv: Option<&Argv>) -> String {
        let at = argv.and_then(|argv| self.argvs.iter().position(|known| known == argv));
        at.map_or_else(|| "-".to_owned(), |at| (at + 1).to_string())
    }

    fn text(&self, dry: &DryRun) -> String {
        match (&dry.attached, self.argvs.is_empty()) {
            (Some(url), _) => format!("\nattached to {url}: nothing is started\n"),
            (None, true) => "\nthe commands are known once the files above are there\n".to_owned(),
            (None, false) => {
                let numbered = self.argvs.iter().enumerate();
                let shown = numbered.map(|(at, argv)| {
                    format!("\ncommand {}\n  {}\n{}", at + 1, argv.shell(), self.config_of(argv))
                });
                shown.collect()
            }
        }
    }

    /// The text of the configuration file that a command names; empty where it names none.
    fn config_of(&self, argv: &Argv) -> String {
        let named = |config: &&ConfigFile| argv.args.iter().any(|arg| Path::new(arg) == config.path);
        let Some(config) = self.configs.iter().find(named) else { return String::new() };
        let lines = config.text.lines().map(|line| {
            // Indentation is meaning there, and cleaning trims it.
            let (indent, said) = line.split_at(line.len() - line.trim_start_matches(' ').len());
            format!("    {indent}{}\n", crate::console::shown(said))
        });
        format!("  {}:\n{}", config.path.display(), lines.collect::<String>())
    }
}

fn texts_text(rows: &[TextsRow]) -> String {
    let line = |row: &TextsRow| match row.scatter {
        Some(scatter) => format!(
            "power at {}: {} texts show a margin of {:.0} points when their mean differences scatter by {:.1} points or less\n",
            row.context,
            row.texts,
            row.margin * 100.0,
            scatter * 100.0
        ),
        None => format!("power at {}: {} texts show nothing, five is the least\n", row.context, row.texts),
    };
    rows.iter().map(line).collect()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_shown_with_the_file_that_it_names() {
        let config =
            ConfigFile { path: "engine/1-config.yml".into(), text: "model:\n  port: 1\n".to_owned() };
        let named = Argv { args: vec!["--config".into(), "engine/1-config.yml".into()], ..Argv::default() };
        let commands = Commands { argvs: Vec::new(), configs: vec![config] };
        assert_eq!(commands.config_of(&named), "  engine/1-config.yml:\n    model:\n      port: 1\n");
        assert_eq!(commands.config_of(&Argv::default()), "");
    }
}
