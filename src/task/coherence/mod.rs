//! Coherence: what the served model says next, over a long reply and over many turns, without any judge.

use serde_json::Value;

use super::options::{option, read_target};
use super::retrieval::ran_out;
use super::sizing::too_small;
use super::{Params, Task, TokenCounter};
use crate::error::{Error, Result};
use crate::record::{Case, Message, Outcome, Prompt, Reply};

pub mod block_plan;
pub mod degeneration;
pub mod detect;
mod dialogue;
pub mod greedy_divergence;
pub mod instruction_retention;
pub mod kld;
pub mod repeated_words;
mod rules;
pub mod running_sum;
pub mod self_consistency;
pub mod state_ledger;
pub mod turns;

/// Case `index` of a task that does not fill its context: one message, as it is. The prompt and the output budget
/// must fit into the context, and a right answer into the budget.
fn short_case(
    task: &dyn Task,
    params: &Params,
    index: u32,
    text: String,
    target: Value,
    tokens: &dyn TokenCounter,
) -> Result<Case> {
    let messages = vec![Message::user(text)];
    let prompt_tokens = tokens.count_chat(&messages, &[])?;
    let max_tokens = task.max_tokens(params);
    if prompt_tokens.saturating_add(max_tokens) > params.context {
        return Err(does_not_fit(task, params, prompt_tokens));
    }
    let case = task.card().case(params.context, index, Prompt::chat(messages), target);
    let case = case.sized(prompt_tokens, max_tokens).seal();
    check_answer(task, &case, tokens)?;
    Ok(case)
}

fn does_not_fit(task: &dyn Task, params: &Params, prompt_tokens: u32) -> Error {
    let card = task.card();
    let names: Vec<&str> = card.options.iter().map(|option| option.name).collect();
    too_small(&card, params.context, task.max_tokens(params), prompt_tokens)
        .hint(format!("its options are {}", names.join(", ")))
}

/// Else every reply would be cut off, whatever the setting.
fn check_answer(task: &dyn Task, case: &Case, tokens: &dyn TokenCounter) -> Result<()> {
    let Some(reply) = task.perfect(case) else { return Ok(()) };
    // One more ends the turn.
    let needed = tokens.count_text(&reply.content)? as usize + 1;
    if needed <= case.max_tokens as usize {
        return Ok(());
    }
    Err(Error::usage(format!(
        "{}: the right answer of case {} has {needed} tokens, and {} are kept for the reply",
        case.task, case.index, case.max_tokens
    ))
    .hint("raise the option that sets its output budget (`kneepoint list tasks` names it)"))
}

/// Why a reply cannot be judged by its tokens: it has text, but nobody said which tokens that is.
fn without_tokens(reply: &Reply) -> Option<Outcome> {
    let missing = reply.tokens.is_empty() && !reply.text().is_empty();
    missing.then(|| Outcome::Unscored { reason: "the tokens of the reply are not known".to_owned() })
}
