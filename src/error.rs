//! One error type: what failed, where, and what to try next.

use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

/// Everything went well.
pub const EXIT_OK: u8 = 0;
/// Something failed while running.
pub const EXIT_RUNTIME: u8 = 1;
/// The command line or the suite is wrong; nothing was started.
pub const EXIT_USAGE: u8 = 2;
/// A filter selected no trial, cell or run, or nothing fits.
pub const EXIT_NOTHING_SELECTED: u8 = 4;
/// A bug in kneepoint itself: a panic. As `EX_SOFTWARE` of `sysexits.h`, and not Rust's 101, which is
/// [`EXIT_ENGINE_START`] here.
pub const EXIT_BUG: u8 = 70;
/// A gate or a regression check failed.
pub const EXIT_GATE_FAILED: u8 = 100;
/// An inference server could not be started.
pub const EXIT_ENGINE_START: u8 = 101;
/// Some planned trials have no outcome.
pub const EXIT_INCOMPLETE: u8 = 106;
/// Stopped by Ctrl-C, SIGTERM or SIGHUP.
pub const EXIT_INTERRUPTED: u8 = 130;
/// The reader of stdout closed it before all lines were printed: what SIGPIPE makes of a program.
pub const EXIT_READER_GONE: u8 = 141;

/// What class of failure this is; decides the exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Something failed while running.
    Runtime,
    /// The command line or the suite is wrong.
    Usage,
    /// A filter selected nothing.
    NothingSelected,
    /// A gate or a regression check failed.
    GateFailed,
    /// An inference server could not be started.
    EngineStart,
    /// Some planned trials have no outcome.
    Incomplete,
    /// The server cannot do what was asked, whatever the case: what needs it is not scored.
    Unsupported,
    /// The server refuses this very request and may answer others.
    Refused,
    /// Stopped by the user.
    Interrupted,
    /// Nobody reads stdout any more, and there is more to print.
    ReaderGone,
}

impl Kind {
    /// The exit code of the process for this kind of failure.
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Runtime | Self::Unsupported | Self::Refused => EXIT_RUNTIME,
            Self::Usage => EXIT_USAGE,
            Self::NothingSelected => EXIT_NOTHING_SELECTED,
            Self::GateFailed => EXIT_GATE_FAILED,
            Self::EngineStart => EXIT_ENGINE_START,
            Self::Incomplete => EXIT_INCOMPLETE,
            Self::Interrupted => EXIT_INTERRUPTED,
            Self::ReaderGone => EXIT_READER_GONE,
        }
    }
}

/// A place in a text file that an error points at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Location {
    /// The file as the user named it.
    pub file: PathBuf,
    /// Its whole text, for showing the line.
    pub text: Arc<str>,
    /// Byte range in `text`.
    pub span: Range<usize>,
    /// A few words under the marked place.
    pub label: String,
}

impl Location {
    /// Line and column of the start of the span, both from 1; the column counts characters.
    pub fn line_column(&self) -> (usize, usize) {
        let before = self.text.get(..self.span.start).unwrap_or(&self.text);
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().map_or(0, |tail| tail.chars().count()) + 1;
        (line, column)
    }
}

/// What failed, where, and what to try next. Messages are lowercase fragments.
#[derive(Debug)]
pub struct Error(Box<Inner>);

#[derive(Debug)]
struct Inner {
    kind: Kind,
    message: String,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
    hints: Vec<String>,
    location: Option<Location>,
}

/// A result with this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error of the given kind.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        let message = message.into();
        Self(Box::new(Inner { kind, message, source: None, hints: Vec::new(), location: None }))
    }

    /// A failure while running (exit code 1).
    pub fn runtime(message: impl Into<String>) -> Self {
        Self::new(Kind::Runtime, message)
    }

    /// A wrong command line or suite (exit code 2).
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Kind::Usage, message)
    }

    /// Adds the error that caused this one.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// Adds a line that says what to try next.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.0.hints.push(hint.into());
        self
    }

    /// Adds the place in a file that the error is about.
    #[must_use]
    pub fn at(mut self, location: Location) -> Self {
        self.0.location = Some(location);
        self
    }

    /// The class of failure.
    pub fn kind(&self) -> Kind {
        self.0.kind
    }

    /// What to try next, in order.
    pub fn hints(&self) -> &[String] {
        &self.0.hints
    }

    /// The place in a file, if the error is about one.
    pub fn location(&self) -> Option<&Location> {
        self.0.location.as_ref()
    }
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}

/// Turns any result into ours, saying what was being done.
pub trait Context<T> {
    /// Wraps the error as a runtime failure with `message` in front.
    fn context(self, message: impl FnOnce() -> String) -> Result<T>;
}

impl<T, E: Into<Box<dyn std::error::Error + Send + Sync>>> Context<T> for std::result::Result<T, E> {
    fn context(self, message: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|source| Error::runtime(message()).with_source(source))
    }
}

/// An error and what caused it, joined with colons. A cause that the text before quotes already is not said again:
/// many errors show their source as well as have it.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let said = error.to_string();
        if !quotes(&text, &said) {
            text.push_str(": ");
            text.push_str(&said);
        }
        cause = error.source();
    }
    text
}

/// Whether a text ends with another one as a part of its own: after a colon, or in brackets.
fn quotes(text: &str, said: &str) -> bool {
    let open = text.trim_end_matches([')', '.']);
    let ends = |text: &str| {
        let before = text.strip_suffix(said)?;
        Some(before.is_empty() || before.ends_with([' ', '(', ':', '\n', '`', '"']))
    };
    said.is_empty() || ends(text).or_else(|| ends(open)).unwrap_or(false)
}

/// Did-you-mean: the candidate nearest to `word`, if one is near enough to be a slip.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    candidates
        .into_iter()
        .map(|candidate| (strsim::jaro_winkler(word, candidate), candidate))
        .filter(|(similarity, _)| *similarity > 0.75)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_and_column_count_from_one() {
        let text: Arc<str> = "a = 1\nkv = [\"q3_0\"]\n".into();
        let at = text.find("\"q3").unwrap();
        let location = Location { file: "s.toml".into(), text, span: at..at + 6, label: String::new() };
        assert_eq!(location.line_column(), (2, 7));
    }

    #[test]
    fn a_cause_is_told_once() {
        let io = || std::io::Error::from_raw_os_error(2);
        let doubled = Error::runtime(format!("cannot run x: {}", io())).with_source(io());
        assert_eq!(chain(&doubled), "cannot run x: No such file or directory (os error 2)");
        let wrapped = Error::runtime("cannot begin").with_source(std::io::Error::other(io()));
        assert_eq!(chain(&wrapped), "cannot begin: No such file or directory (os error 2)");
        let plain = Error::runtime("cannot read a").with_source(Error::runtime("a"));
        assert_eq!(chain(&Error::runtime("no").with_source(plain)), "no: cannot read a");
        let apart = Error::runtime("cannot grab").with_source(Error::runtime("ab"));
        assert_eq!(chain(&apart), "cannot grab: ab");
    }

    #[test]
    fn nearest_finds_slips_and_nothing_else() {
        assert_eq!(nearest("samlpes", ["samples", "seed"]), Some("samples"));
        assert_eq!(nearest("zzz", ["samples", "seed"]), None);
    }
}
