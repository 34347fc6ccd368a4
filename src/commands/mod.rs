//! One file a command. stdout is data, stderr is progress and logs.

use clap::Parser;

use crate::cli::{Cli, Command, Global};
use crate::console;
use crate::error::{self, EXIT_OK, Error, Result};

mod cases;
mod choose;
mod chosen;
mod compare;
mod docs;
mod doctor;
mod dry_run;
mod earlier;
mod estimate;
mod expected;
mod fit;
mod github;
mod history;
mod kld_base;
mod list;
mod merge;
mod mistakes;
mod mock;
mod night_before;
mod notify;
mod output;
mod pick;
mod pilot;
mod progress;
mod publish;
mod reference;
mod report;
mod route;
mod run;
mod runs;
mod schema;
mod schema_check;
mod score;
mod search;
mod session;
mod setup;
mod share;
mod spread;
mod validate;
mod worker;

pub use docs::{engines, reference};
pub use mistakes::print_error;
use output::{print, print_styled};

/// Reads the command line.
///
/// # Errors
/// The exit code when there is nothing to run: help was asked for and printed, or the command line is wrong and that was
/// said.
pub fn parse() -> Result<Cli, u8> {
    Cli::try_parse().map_err(|error| {
        let stderr = error.use_stderr();
        let coloured = if stderr { console::stderr_has_colours() } else { console::stdout_has_colours() };
        let text = if coloured { error.render().ansi().to_string() } else { error.render().to_string() };
        if stderr {
            console::note_coloured(&text);
        } else if let Err(error) = print_styled(&text) {
            print_error(&error);
            return error.kind().exit_code();
        }
        u8::try_from(error.exit_code()).unwrap_or(error::EXIT_USAGE)
    })
}

/// Runs a command; the exit code when nothing failed.
///
/// # Errors
/// What the command says; its kind decides the exit code.
pub fn dispatch(cli: Cli) -> Result<u8> {
    let global = &cli.global;
    if !matches!(cli.command, Command::WatchServer(_) | Command::ExecServer(_)) {
        crate::measure::runner::end_at_once()?;
    }
    match &cli.command {
        Command::Run(args) if args.pilot => pilot::pilot(args, global),
        Command::Run(args) if args.spread.is_asked() => spread::run(args, global),
        Command::Run(args) => run::run(args, global),
        Command::Resume(args) if spread::is_of_workers(args, global) => spread::resume(args, global),
        Command::Resume(args) => run::resume(args, global),
        Command::Worker(args) => worker::worker(args, global),
        Command::Merge(args) => merge::merge(args, global),
        Command::Report(args) => report::report(args, global),
        Command::Publish(args) => publish::publish(args, global),
        Command::Share(args) => share::share(args, global),
        Command::Fit(args) => fit::fit(args, global),
        Command::Choose(args) => choose::choose(args, global),
        Command::Pick(args) => pick::pick(args, global),
        Command::Compare(args) => compare::compare(args, global),
        Command::Route(args) => route::route(args, global),
        Command::SchemaCheck(args) => schema_check::schema_check(args, global),
        Command::KldBase(args) => kld_base::kld_base(args, global),
        Command::ReferencePack(args) => reference::reference(args, global),
        Command::History(args) => history::history(args, global),
        Command::Score(args) => score::score(args, global),
        Command::Cases(args) => cases::cases(args, global),
        Command::Validate(args) => validate::validate(args),
        Command::List(args) => list::list(args),
        Command::Doctor(args) => doctor::doctor(args, global),
        Command::Schema(args) => schema::schema(args),
        Command::MockServer(args) => mock::serve(args),
        Command::Completions(args) => docs::completions(args),
        Command::Man(args) => docs::man(args),
        Command::WatchServer(args) => watch_server(args),
        Command::ExecServer(args) => Err(exec_server(args)),
        Command::Reference(args) if args.engines => print(&docs::engines()),
        Command::Reference(_) => print(&docs::reference()),
    }
}

#[cfg(target_os = "linux")]
fn watch_server(args: &crate::cli::WatchServerArgs) -> Result<u8> {
    match args.command.split_first() {
        Some((program, rest)) => {
            crate::measure::engine::supervise::watch_server(program, rest).map(|()| EXIT_OK)
        }
        None => Err(Error::usage("no server to start")),
    }
}

#[cfg(not(target_os = "linux"))]
fn watch_server(_: &crate::cli::WatchServerArgs) -> Result<u8> {
    Err(Error::usage("servers can only be watched on Linux"))
}

fn exec_server(args: &crate::cli::ExecServerArgs) -> Error {
    match args.command.split_first() {
        Some((program, rest)) => crate::measure::engine::supervise::exec_server(args.parent, program, rest),
        None => Error::usage("no server to start"),
    }
}

/// Logs go to stderr: warnings by default, more with `-v`, nothing with `-q`.
pub fn set_up_logging(global: &Global) {
    let level = match (global.quiet, global.verbose) {
        (true, _) => "error",
        (false, 0) => "kneepoint=warn",
        (false, 1) => "kneepoint=info",
        (false, 2) => "kneepoint=debug",
        (false, _) => "debug",
    };
    let filter = tracing_subscriber::EnvFilter::try_from_env("KNEEPOINT_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(level));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(|| console::Log)
        .with_ansi(console::stderr_has_colours())
        // To say that stderr is gone there is only stderr.
        .log_internal_errors(false)
        .without_time()
        .init();
}
