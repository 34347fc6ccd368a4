//! One file a command. stdout is data, stderr is progress and logs.

use std::io::{IsTerminal, Write};

use clap::CommandFactory;
use serde::Serialize;

use crate::cli::{Cli, Command, Global};
use crate::error::{self, Context, EXIT_OK, Error, Result};

mod cases;
mod compare;
mod docs;
mod doctor;
mod history;
mod list;
mod mock;
mod pick;
mod pilot;
mod progress;
mod report;
mod route;
mod run;
mod runs;
mod schema;
mod score;
mod validate;

pub use docs::{engines, reference};

/// Runs a command; the exit code when nothing failed.
///
/// # Errors
/// What the command says; its kind decides the exit code.
pub fn dispatch(cli: Cli) -> Result<u8> {
    let global = &cli.global;
    match &cli.command {
        Command::Run(args) => run::run(args, global),
        Command::Resume(args) => run::resume(args, global),
        Command::Report(args) => report::report(args, global),
        Command::Pick(args) => pick::pick(args, global),
        Command::Compare(args) => compare::compare(args, global),
        Command::Route(args) => route::route(args, global),
        Command::History(args) => history::history(args, global),
        Command::Score(args) => score::score(args, global),
        Command::Cases(args) => cases::cases(args, global),
        Command::Validate(args) => validate::validate(args),
        Command::List(args) => list::list(args),
        Command::Doctor(args) => doctor::doctor(args, global),
        Command::Schema(args) => schema::schema(args),
        Command::MockServer(args) => mock::serve(args),
        Command::Completions(args) => docs::completions(args),
        Command::Man => docs::man(),
        Command::WatchServer(args) => watch_server(args),
        Command::ExecServer(args) => Err(exec_server(args)),
        Command::Reference(args) if args.engines => print(&docs::engines()),
        Command::Reference(_) => print(&docs::reference()),
    }
}

#[cfg(target_os = "linux")]
fn watch_server(args: &crate::cli::WatchServerArgs) -> Result<u8> {
    match args.command.split_first() {
        Some((program, rest)) => crate::engine::supervise::watch_server(program, rest).map(|()| EXIT_OK),
        None => Err(Error::usage("no server to start")),
    }
}

#[cfg(not(target_os = "linux"))]
fn watch_server(_: &crate::cli::WatchServerArgs) -> Result<u8> {
    Err(Error::usage("servers can only be watched on Linux"))
}

fn exec_server(args: &crate::cli::ExecServerArgs) -> Error {
    match args.command.split_first() {
        Some((program, rest)) => crate::engine::supervise::exec_server(args.parent, program, rest),
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
        .with_writer(std::io::stderr)
        .with_ansi(colour(&std::io::stderr()))
        .without_time()
        .init();
}

/// Columns without lines.
fn plain_table() -> comfy_table::Table {
    let mut table = comfy_table::Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    table
}

/// How the table at the end of a run looks here.
fn look() -> crate::report::Look {
    let stdout = std::io::stdout();
    let width = comfy_table::Table::new().width();
    crate::report::Look::of(stdout.is_terminal(), !colour(&stdout), width)
}

/// Whether to colour what goes to this stream: a terminal, and `NO_COLOR` not set.
fn colour(stream: &impl IsTerminal) -> bool {
    stream.is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Prints an error as people read it: what failed, where, and what to try next.
pub fn print_error(error: &Error) {
    let text = error_text(error, colour(&std::io::stderr()));
    // Nothing is left to do when stderr is gone.
    let _ = std::io::stderr().write_all(text.as_bytes());
}

fn error_text(error: &Error, colour: bool) -> String {
    let mut text = match error.location() {
        Some(_) => located(error, colour),
        None => format!("error: {}\n", error::chain(error)),
    };
    for hint in error.hints() {
        text.push_str(&format!("\nhint: {hint}"));
    }
    if !error.hints().is_empty() {
        text.push('\n');
    }
    text
}

/// The line of the file with the place marked.
fn located(error: &Error, colour: bool) -> String {
    let Some(place) = error.location() else { return String::new() };
    let (line, column) = place.line_column();
    let heading = format!("error: {}\n", error::chain(error));
    let where_ = format!("  --> {}:{line}:{column}\n", place.file.display());
    let theme = if colour { miette::GraphicalTheme::unicode() } else { miette::GraphicalTheme::none() };
    let start = place.span.start.min(place.text.len());
    let length = place.span.len().clamp(1, 200);
    let label = miette::LabeledSpan::new(Some(place.label.clone()), start, length);
    let report = miette::MietteDiagnostic::new("").with_label(label);
    let report = miette::Report::new(report).with_source_code(place.text.to_string());
    let mut marked = String::new();
    let handler = miette::GraphicalReportHandler::new_themed(theme).with_context_lines(1);
    if handler.render_report(&mut marked, report.as_ref()).is_err() {
        marked.clear();
    }
    // The heading above says where: leave out the frame, keep the lines and what is written under them.
    let frame = |line: &str| line.contains(",-[") || line.contains('╭');
    let source = |line: &&str| line.contains(['|', ':', '│', '·']) && !frame(line);
    let snippet: String = marked.lines().filter(source).map(|line| format!("{line}\n")).collect();
    format!("{heading}{where_}{snippet}")
}

/// Prints data on stdout. A closed pipe is not an error.
fn print(text: &str) -> Result<u8> {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Error::runtime("cannot write to stdout").with_source(error))
        }
        _ => Ok(EXIT_OK),
    }
}

/// Prints data on stdout as JSON.
fn print_json(data: &impl Serialize) -> Result<u8> {
    let text = serde_json::to_string_pretty(data).context(|| "cannot write JSON".into())?;
    print(&format!("{text}\n"))
}

/// The clap command, for what is made from it.
fn command() -> clap::Command {
    Cli::command()
}
