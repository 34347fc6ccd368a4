//! A user's file as a task of a suite: which one it is, what is wrong with it, and room for its cases.

use std::path::Path;

use crate::error::{Error, Result};
use crate::record::{Case, Prompt};
use crate::task::{Params, TokenCounter};

/// The file of a task for a context length: `{context}` in its path is replaced.
pub(super) fn file_at(task: &str, params: &Params) -> Result<std::path::PathBuf> {
    let file = params.file.as_ref().ok_or_else(|| {
        Error::usage(format!("{task} reads a file, and none is named"))
            .hint("add file = \"cases.jsonl\" to the task")
    })?;
    Ok(file.to_string_lossy().replace("{context}", &params.context.to_string()).into())
}

/// An error about a line of the user's file.
pub(super) fn bad_line(path: &Path, number: usize, reason: &str) -> Error {
    Error::usage(format!("{}:{number}: {reason}", path.display()))
}

/// The error for a file with fewer cases than the suite asks for.
pub(super) fn too_few(task: &str, path: &Path, found: usize, asked: u32) -> Error {
    Error::usage(format!("{task}: {} holds {found} cases, {asked} are asked for", path.display()))
        .hint(format!("set `samples` of the task to {found} or less"))
}

/// Counts the prompt of a case with the served model's tokenizer; a reason when there is no room for it.
pub(super) fn size(
    case: &mut Case,
    context: u32,
    max_tokens: u32,
    tokens: &dyn TokenCounter,
) -> Result<Option<String>> {
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
