//! Cases and replies that were made elsewhere, in files of one JSON value a line.
//!
//! A new format is one file and one line in [`FORMATS`]; a suite reaches it through a task of its own, so that
//! what is imported is run, scored and reported like any other case.

use std::path::Path;

use serde_json::Value;

use crate::error::{Error, Result};
use crate::trial::Case;

mod answers;
mod lines;
pub mod own;
pub mod qa;
pub mod replies;
pub mod ruler;

pub use lines::{Line, lines};

/// Every format of cases; the first is kneepoint's own.
pub static FORMATS: &[&dyn Format] = &[&own::Own, &ruler::Ruler, &qa::Qa];

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
}

/// The format of that name.
pub fn find(name: &str) -> Option<&'static dyn Format> {
    FORMATS.iter().copied().find(|format| format.name() == name)
}

/// A name that files give as text or as a number.
fn name_of(value: &Value) -> Result<String, String> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Number(number) => Ok(number.to_string()),
        other => Err(format!("a name must be text or a number, not {}", kind_of(other))),
    }
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a truth value",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// References as files give them: texts or numbers, at least one.
fn references(values: &[Value], field: &str) -> Result<Vec<String>, String> {
    if values.is_empty() {
        return Err(format!("`{field}` is empty: there is nothing to score against"));
    }
    values.iter().map(|value| name_of(value).map_err(|error| format!("`{field}`: {error}"))).collect()
}

/// The file of a task for a context length: `{context}` in its path is replaced.
fn file_at(task: &str, params: &crate::task::Params) -> Result<std::path::PathBuf> {
    let file = params.file.as_ref().ok_or_else(|| {
        Error::usage(format!("{task} reads a file, and none is named"))
            .hint("add file = \"cases.jsonl\" to the task")
    })?;
    Ok(file.to_string_lossy().replace("{context}", &params.context.to_string()).into())
}

/// An error about a line of the user's file.
fn bad_line(path: &Path, number: usize, reason: &str) -> Error {
    Error::usage(format!("{}:{number}: {reason}", path.display()))
}

/// The error for a file with fewer cases than the suite asks for.
fn too_few(task: &str, path: &Path, found: usize, asked: u32) -> Error {
    Error::usage(format!("{task}: {} holds {found} cases, {asked} are asked for", path.display()))
        .hint(format!("set `samples` of the task to {found} or less"))
}
