//! The one place that writes to stdout and stderr. Everything goes through [`clean`], and a pipe that its reader has
//! closed is no reason to panic: stdout's end is told to the caller, stderr's is passed over in silence.

use std::io::{self, ErrorKind, IsTerminal, Write};

mod clean;
mod shown;

pub use clean::{clean, clean_coloured, clean_json, is_unsafe};
pub use shown::shown;

use crate::error::{Error, Result};

/// Whether somebody still reads stdout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Reader {
    /// As far as it is known.
    There,
    /// The pipe's other end is closed.
    Gone,
}

/// How a text for stdout is cleaned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Words for people: unsafe characters are spelled out.
    Plain,
    /// As plain, with our own colours.
    Coloured,
    /// JSON: unsafe characters are escaped as JSON does.
    Json,
}

/// Prints data on stdout.
///
/// # Errors
/// When stdout cannot be written for another reason than that nobody reads it.
pub fn data(text: &str, form: Form) -> Result<Reader> {
    let text = match form {
        Form::Plain => clean(text),
        Form::Coloured => clean_coloured(text).into(),
        Form::Json => clean_json(text),
    };
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Ok(()) => Ok(Reader::There),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(Reader::Gone),
        Err(error) => Err(Error::runtime("cannot write to stdout").with_source(error)),
    }
}

/// Says something on stderr, a line or several.
pub fn note(text: &str) {
    say(&format!("{}\n", clean(text)));
}

/// As [`note`], for text that holds its own line ends and, on a terminal, our own colours.
pub fn note_coloured(text: &str) {
    if colours(&io::stderr()) { say(&clean_coloured(text)) } else { say(&clean(text)) }
}

/// Asks something on stderr; the answer is typed on the same line.
pub fn ask(question: &str) {
    say(&clean(question));
}

/// Nothing is left to do when stderr is gone.
fn say(text: &str) {
    let mut stderr = io::stderr().lock();
    let _ = stderr.write_all(text.as_bytes()).and_then(|()| stderr.flush());
}

/// Whether a person looks at stdout.
pub fn stdout_is_terminal() -> bool {
    io::stdout().is_terminal()
}

/// Whether a person looks at stderr.
pub fn stderr_is_terminal() -> bool {
    io::stderr().is_terminal()
}

/// Whether to colour what goes to stdout: a terminal, and `NO_COLOR` not set.
pub fn stdout_has_colours() -> bool {
    colours(&io::stdout())
}

/// Whether to colour what goes to stderr.
pub fn stderr_has_colours() -> bool {
    colours(&io::stderr())
}

fn colours(stream: &impl IsTerminal) -> bool {
    stream.is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Where log lines go: cleaned, onto stderr, never failing.
#[derive(Debug, Clone, Copy)]
pub struct Log;

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // Lines arrive whole.
        note_coloured(&String::from_utf8_lossy(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
