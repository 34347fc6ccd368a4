//! What imported cases with reference answers have in common: how they look, and how RULER scores them.

use serde_json::{Value, json};

use super::{Line, Matching};
use crate::task::retrieval::{all_answers, answers, match_all, match_part, ran_out};
use crate::task::{Task, TaskOption};
use crate::trial::{Case, Message, Outcome, Prompt, Reply, Score};

/// Name of the option for the output budget.
pub(super) const OUTPUT_TOKENS: &str = "output_tokens";

/// The option for the output budget.
pub(super) const fn output_tokens(default: u32, help: &'static str) -> TaskOption {
    TaskOption { name: OUTPUT_TOKENS, help, default, min: 8, max: 65_536, difficulty: None }
}

/// What a right answer is: all the references or any one of them, and the file's own name for the case.
pub(super) fn target(references: &[String], matching: Matching, source: &str) -> Value {
    json!({"answers": references, "any": matching == Matching::Part, "source": source})
}

/// A case of a task; the lengths are the caller's to fill in, and so is the seal.
pub(super) fn case(
    task: &dyn Task,
    index: u32,
    cluster: &str,
    messages: Vec<Message>,
    target: Value,
) -> Case {
    Case {
        id: String::new(),
        task: task.name().into(),
        task_version: task.version(),
        arm: None,
        context: 0,
        index,
        depth: None,
        cluster: format!("{}/{cluster}", task.name()),
        prompt: Prompt::chat(messages),
        max_tokens: 0,
        prompt_tokens: 0,
        target,
    }
}

/// The index of a line's case, from 0.
pub(super) fn index_of(line: &Line<'_>) -> u32 {
    u32::try_from(line.number - 1).unwrap_or(u32::MAX)
}

/// A reply that names every reference.
pub(super) fn perfect(case: &Case) -> Option<Reply> {
    Some(Reply { content: all_answers(case), ..Reply::default() })
}

/// RULER's score of one reply, with a word for what went wrong; reasoning is no answer.
pub(super) fn score(case: &Case, reply: &Reply) -> Outcome {
    let references = answers(&case.target);
    let any = case.target.get("any").and_then(Value::as_bool).unwrap_or_default();
    let matched = if any { match_part } else { match_all };
    let quality = matched(&references, &reply.content);
    let score = Score::of(quality);
    Outcome::Scored(match quality {
        1.0 => score,
        _ if ran_out(reply) => score.labelled("truncated"),
        0.0 if reply.content.trim().is_empty() => score.labelled("empty"),
        0.0 => score.labelled("wrong"),
        _ => score.labelled("partial"),
    })
}
