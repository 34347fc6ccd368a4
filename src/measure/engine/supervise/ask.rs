//! Asking a server's binary about itself.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;
use tokio::time::timeout;

use super::log::{
    TAIL_LINES, cannot_run, engine_start, exit_words, hints, printable, printable_tail, signal_of,
};
use crate::error::{Error, Result};
use crate::measure::engine::definition::Engine;
use crate::measure::engine::launch::LIBRARY_PATH;
use crate::measure::engine::table::ENGINES;
use crate::record::Build;

/// What the flag begins with that names the model: the help of every engine has it, and that of other programs has not.
const MODEL_FLAG: &str = "--model";
/// Asks a server's binary what it can do (`--version`, `--help`).
///
/// # Errors
/// [`Kind::EngineStart`] when the binary does not run.
pub async fn ask(engine: &dyn Engine, binary: &Path, library_path: Option<&Path>) -> Result<Build> {
    let questions = engine.introspection(binary);
    let program = &questions.program;
    let version = async {
        match questions.version.as_slice() {
            [] => Ok(String::new()),
            words => output(program, library_path, words, questions.limit, |_| false).await,
        }
    };
    // ik_llama.cpp prints its help and ends with 1, as after a mistake.
    let is_help = |text: &str| text.contains(MODEL_FLAG);
    let help = output(program, library_path, &questions.help, questions.limit, is_help);
    // Both at once: each loads the drivers of cards, or imports half of Python.
    let (version, help) = tokio::join!(version, help);
    let (version, help) = (version?, help?);
    // One that says nothing of itself may be a launcher of somebody's own.
    if !help.trim().is_empty() && !help.contains(MODEL_FLAG) {
        let message =
            format!("{} is no server of {}: its help knows no {MODEL_FLAG}", binary.display(), engine.name());
        return Err(Error::usage(message)
            .hint(format!("name a binary of {} with engine.binary", engine.name()))
            .hint(format!("it said of itself: {}", first_line(&version))));
    }
    if !engine.recognises(&help) {
        return Err(of_another(engine, binary, &help));
    }
    Ok(engine.build(&version, &help))
}

fn first_line(text: &str) -> String {
    printable(text.lines().find(|line| !line.trim().is_empty()).unwrap_or("nothing"))
}

/// Two engines call their binary `llama-server`: what it says of itself tells whose it is.
fn of_another(engine: &dyn Engine, binary: &Path, help: &str) -> Error {
    let same_name = |other: &&&dyn Engine| {
        other.name() != engine.name()
            && other.card().binaries == engine.card().binaries
            && other.recognises(help)
    };
    let error = Error::usage(format!("{} is no server of {}", binary.display(), engine.name()));
    match ENGINES.iter().find(same_name) {
        Some(owner) => error
            .hint(format!("it is one of {0}: set engine.name = \"{0}\"", owner.name()))
            .hint(format!("or name a binary of {} with engine.binary", engine.name())),
        None => error.hint(format!("name a binary of {} with engine.binary", engine.name())),
    }
}

/// What a program prints; one that ends with a failure must have printed what is `good`.
async fn output(
    binary: &Path,
    library_path: Option<&Path>,
    args: &[String],
    limit: Duration,
    good: impl Fn(&str) -> bool,
) -> Result<String> {
    let arg = args.join(" ");
    let mut command = Command::new(binary);
    command.args(args).stdin(Stdio::null()).kill_on_drop(true);
    if let Some(folder) = library_path {
        command.env(LIBRARY_PATH, folder);
    }
    let output = timeout(limit, command.output())
        .await
        .map_err(|_| engine_start(format!("{} {arg} does not end", binary.display())))?
        .map_err(|source| cannot_run(binary, source))?;
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    if output.status.success() || (output.status.code().is_some() && good(&text)) {
        return Ok(text);
    }
    let tail = printable_tail(&text, TAIL_LINES);
    let how = exit_words(output.status);
    let error = engine_start(format!("{} {arg} failed ({how}):\n{tail}", binary.display()));
    Err(hints(signal_of(output.status), &tail).into_iter().fold(error, Error::hint))
}
