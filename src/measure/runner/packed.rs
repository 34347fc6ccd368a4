//! Beside a reference that comes from a pack: the cases are the pack's, and the server must see them as its server did.

use std::collections::HashMap;

use super::case_file::{CaseFile, Place};
use crate::error::{Error, Kind, Result};
use crate::measure::client::Client;
use crate::record::journal::{Journal, LaunchRecord};
use crate::record::suite::Suite;
use crate::record::{Arm, Case, Name, Prompt};

/// What identifies a list of cases in a pack: task, arm, context.
pub(super) type PackedList = (Name, Option<Arm>, u32);

/// Puts the cases of a journal on disk; where they lie, by list and index. Nothing where the reference is served here.
pub(super) fn lists(
    suite: &Suite,
    journal: &Journal,
    spool: &mut CaseFile,
) -> Result<HashMap<PackedList, Vec<Place>>> {
    let mut lists: HashMap<PackedList, Vec<Place>> = HashMap::new();
    if suite.pack.is_none() {
        return Ok(lists);
    }
    let mut cases: Vec<&Case> = journal.cases.iter().collect();
    cases.sort_by_key(|case| case.index);
    for case in cases {
        let list = lists.entry((case.task, case.arm, case.context)).or_default();
        if list.len() != case.index as usize {
            return Err(Error::usage(format!("the pack has no case {} of {}", list.len(), case.task)));
        }
        list.push(spool.push(case)?);
    }
    Ok(lists)
}

/// Refuses a server that renders prompts with another chat template than the one of the pack.
pub(super) fn same_template(suite: &Suite, launch: &LaunchRecord) -> Result<()> {
    let theirs = suite.pack.as_ref().and_then(|pack| pack.template_hash.as_ref());
    let (Some(theirs), Some(ours)) = (theirs, &launch.effective.template_hash) else { return Ok(()) };
    if ours == theirs {
        return Ok(());
    }
    let message = format!(
        "{} is served with another chat template than the pack's reference: its hash is {ours} here and {theirs} there",
        launch.setting
    );
    Err(Error::usage(message)
        .hint("give the server the other one: `--chat-template-file` in `engine.args` or the setting's `extra_args`"))
}

/// Refuses a server that makes another number of tokens of a case's prompt than the pack's did: it has another tokenizer
/// or another template. What cannot be counted says nothing.
pub(super) async fn same_tokens(case: &Case, client: &Client) -> Result<()> {
    let Prompt::Chat { messages, tools, .. } = &case.prompt else { return Ok(()) };
    let counted = match client.size_chat(messages, tools).await {
        Err(error) if error.kind() == Kind::Unsupported => return Ok(()),
        counted => counted?,
    };
    if counted == case.prompt_tokens || client.could_not_count(messages, tools) {
        return Ok(());
    }
    let message = format!(
        "case {} of {} at {} tokens of context has {counted} tokens with this server and {} in the pack",
        case.index, case.task, case.context, case.prompt_tokens
    );
    Err(Error::usage(message)
        .hint("another tokenizer or chat template: take a quant of the model that the pack is of"))
}
