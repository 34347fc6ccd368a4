//! One file a command. stdout is data, stderr is progress and logs.

use std::path::Path;

use clap::{CommandFactory, Parser};
use serde::Serialize;

use crate::cli::{Cli, Command, Global};
use crate::console::{self, Form, Reader};
use crate::error::{self, Context, EXIT_OK, Error, Kind, Result};
use crate::record::journal;
use crate::record::journal::Journal;

mod cases;
mod compare;
mod docs;
mod doctor;
mod dry_run;
mod earlier;
mod estimate;
mod history;
mod list;
mod mock;
mod night_before;
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

/// The journal of a run, for figures; what speaks against them is said first.
fn open(folder: &Path) -> Result<Journal> {
    let journal = journal::load(folder)?;
    for doubt in &journal.doubts {
        // Also with --quiet: it is about the figures, not about how things go.
        console::note(&format!("warning: {}: {doubt}", folder.display()));
    }
    Ok(journal)
}

/// Columns without lines.
fn plain_table() -> comfy_table::Table {
    let mut table = comfy_table::Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    table
}

/// How the table at the end of a run looks here.
fn look() -> crate::judge::report::Look {
    let width = comfy_table::Table::new().width();
    crate::judge::report::Look::of(console::stdout_is_terminal(), !console::stdout_has_colours(), width)
}

/// Prints an error as people read it: what failed, where, and what to try next.
pub fn print_error(error: &Error) {
    // Who closed the pipe knows.
    if error.kind() != Kind::ReaderGone {
        console::note_coloured(&error_text(error, console::stderr_has_colours()));
    }
}

fn error_text(error: &Error, colour: bool) -> String {
    let mut text = format!("error: {}\n", console::clean(&error::chain(error)));
    if let Some(place) = error.location() {
        text.push_str(&marked(place, colour));
    }
    for hint in error.hints() {
        text.push_str(&format!("\nhint: {}", console::clean(hint)));
    }
    if !error.hints().is_empty() {
        text.push('\n');
    }
    text
}

/// The line of the file with the place marked.
fn marked(place: &error::Location, colour: bool) -> String {
    let (line, column) = place.line_column();
    let file = place.file.display().to_string();
    let where_ = format!("  --> {}:{line}:{column}\n", console::clean(&file));
    let theme = if colour { miette::GraphicalTheme::unicode() } else { miette::GraphicalTheme::none() };
    let (text, span) = clean_place(&place.text, place.span.clone());
    let start = span.start.min(text.len());
    let length = span.len().clamp(1, 200);
    let label = miette::LabeledSpan::new(Some(console::clean(&place.label).into_owned()), start, length);
    let report = miette::MietteDiagnostic::new("").with_label(label);
    let report = miette::Report::new(report).with_source_code(text);
    let mut marked = String::new();
    let handler = miette::GraphicalReportHandler::new_themed(theme).with_context_lines(1);
    if handler.render_report(&mut marked, report.as_ref()).is_err() {
        marked.clear();
    }
    // The heading above says where: leave out the frame, keep the lines and what is written under them.
    let frame = |line: &str| line.contains(",-[") || line.contains('╭');
    let source = |line: &&str| line.contains(['|', ':', '│', '·']) && !frame(line);
    let snippet: String = marked.lines().filter(source).map(|line| format!("{line}\n")).collect();
    format!("{where_}{snippet}")
}

/// A text without what a terminal would obey, and where a span of it is then.
fn clean_place(text: &str, span: std::ops::Range<usize>) -> (String, std::ops::Range<usize>) {
    let at = |end: usize| text.get(..end).map_or(end, |before| console::clean(before).len());
    (console::clean(text).into_owned(), at(span.start)..at(span.end))
}

/// Prints data on stdout. A closed pipe is not an error: the work is done.
fn print(text: &str) -> Result<u8> {
    console::data(text, Form::Plain).map(|_| EXIT_OK)
}

/// As [`print`], for what may hold our own colours.
fn print_styled(text: &str) -> Result<u8> {
    let form = if console::stdout_has_colours() { Form::Coloured } else { Form::Plain };
    console::data(text, form).map(|_| EXIT_OK)
}

/// Prints one of many lines of JSON; those that would follow are not made for nobody.
///
/// # Errors
/// [`Kind::ReaderGone`] when nobody reads them.
fn print_json_line(data: &impl Serialize) -> Result<()> {
    let text = serde_json::to_string(data).context(|| "cannot write JSON".into())?;
    match console::data(&format!("{text}\n"), Form::Json)? {
        Reader::There => Ok(()),
        Reader::Gone => Err(Error::new(Kind::ReaderGone, "nobody reads stdout any more")),
    }
}

/// Prints data on stdout as JSON.
fn print_json(data: &impl Serialize) -> Result<u8> {
    let text = serde_json::to_string_pretty(data).context(|| "cannot write JSON".into())?;
    console::data(&format!("{text}\n"), Form::Json).map(|_| EXIT_OK)
}

/// The clap command, for what is made from it.
fn command() -> clap::Command {
    Cli::command()
}
