//! Cases and replies that were made elsewhere, in files of one JSON value a line.
//!
//! A new format is one file and one line in [`FORMATS`]; a suite reaches it through a task of its own, so that
//! what is imported is run, scored and reported like any other case.

use std::path::Path;

use serde_json::Value;

use crate::error::{Error, Result};
use crate::record::{Case, Prompt, Reply};
use crate::task::{Params, TokenCounter};

pub mod answers;
pub mod bfcl;
mod lines;
pub mod own;
pub mod qa;
pub mod replies;
pub mod requests;
pub mod ruler;

pub use lines::{Line, lines};

/// Every format of cases; the first is kneepoint's own.
pub static FORMATS: &[&dyn Format] = &[&own::Own, &ruler::Ruler, &qa::Qa, &bfcl::Bfcl, &requests::Requests];

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

/// What a file of predictions calls a case: RULER's index, which several cases may share.
pub fn prediction_name(case: &Case) -> Option<&str> {
    answers::ruler_index(case).or_else(|| case.target.get("source").and_then(Value::as_str))
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
fn file_at(task: &str, params: &Params) -> Result<std::path::PathBuf> {
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

/// Counts the prompt of a case with the served model's tokenizer; a reason when there is no room for it.
fn size(case: &mut Case, context: u32, max_tokens: u32, tokens: &dyn TokenCounter) -> Result<Option<String>> {
    case.context = context;
    case.max_tokens = max_tokens;
    if let Prompt::Chat { messages, tools, .. } = &case.prompt {
        case.prompt_tokens = tokens.count_chat(messages, tools)?;
    }
    let fits = case.prompt_tokens.saturating_add(max_tokens) <= context;
    Ok((!fits).then(|| {
        format!(
            "the prompt has {} tokens here and {max_tokens} are kept for the reply: more than the context of \
             {context} tokens",
            case.prompt_tokens
        )
    }))
}
