//! What a format of files is.

use std::path::Path;

use super::lines::{Line, lines};
use crate::error::Result;
use crate::record::{Case, Reply};

/// A case of a file, and what the file calls it.
#[derive(Debug, Clone, PartialEq)]
pub struct Imported {
    /// The file's own name for it; replies are matched by this.
    pub id: String,
    /// The case, ready to be scored by its task.
    pub case: Case,
}

/// Which of a case's references a reply must hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Matching {
    /// The share of all references that are found
    All,
    /// Any one of them
    Part,
}

/// A format of files that hold cases.
pub trait Format: Sync {
    /// Name in `--cases NAME:FILE`.
    fn name(&self) -> &'static str;

    /// What such files are, in one line.
    fn summary(&self) -> &'static str;

    /// Reads one line, for scoring alone: what only matters for sending the case may be left empty.
    ///
    /// # Errors
    /// A message that says what is wrong with the line.
    fn case(&self, line: &Line<'_>, matching: Option<Matching>) -> Result<Imported, String>;

    /// Reads every case of a file, or of the files that are named together. `each` gets where it stands
    /// (`FILE:LINE`), and the case or what is wrong with it.
    ///
    /// # Errors
    /// When a file cannot be read, and what `each` returns.
    fn read(&self, file: &Path, matching: Option<Matching>, each: TakeCase<'_>) -> Result<()> {
        lines(file, |number, text| {
            let read = text.and_then(|text| self.case(&Line { number, text }, matching));
            each(format!("{}:{number}", file.display()), read)
        })
    }

    /// The verdict of the format's own published checker on a reply, where it has one.
    fn verdict(&self, _case: &Case, _reply: &Reply) -> Option<Verdict> {
        None
    }
}

/// Takes cases, each with its place in its file.
pub type TakeCase<'a> = &'a mut dyn FnMut(String, Result<Imported, String>) -> Result<()>;

/// What a published checker says of a reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// Whether the reply passes.
    pub valid: bool,
    /// Why it does not: the checker's name for the error, a colon, and words.
    pub error: Option<String>,
}
