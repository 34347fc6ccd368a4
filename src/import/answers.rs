//! What imported cases with reference answers have in common: how they look, and how RULER scores them.

use serde_json::{Value, json};

use super::format::Matching;
use super::lines::Line;
use crate::record::{Case, Message, Outcome, Prompt, Reply, Score};
use crate::task::retrieval::{all_answers, answers, match_all, match_part, ran_out};
use crate::task::{Card, Task, TaskOption};

/// Key in the target for RULER's index, where the file names its cases otherwise.
pub(super) const INDEX: &str = "index";

/// RULER's index of a case of its files.
pub(super) fn ruler_index(case: &Case) -> Option<&str> {
    case.target.get(INDEX).and_then(Value::as_str)
}

/// What a file of predictions calls a case: RULER's index, which several cases may share.
pub fn prediction_name(case: &Case) -> Option<&str> {
    ruler_index(case).or_else(|| case.target.get("source").and_then(Value::as_str))
}

/// The cluster of a case that its file names so.
pub(super) fn cluster(task: &str, name: &str) -> String {
    format!("{task}/{name}")
}

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
    let Card { name, version, .. } = task.card();
    Case::new(name, version, index, Prompt::chat(messages), target).in_cluster(self::cluster(name, cluster))
}

/// The index of a line's case, from 0.
pub(super) fn index_of(line: &Line<'_>) -> u32 {
    u32::try_from(line.number - 1).unwrap_or(u32::MAX)
}

/// A reply that names every reference.
pub(super) fn perfect(case: &Case) -> Option<Reply> {
    Some(Reply { content: all_answers(case), ..Reply::default() })
}

/// Name of the figure for what the published scorer says of the same reply (0..1), where it says something else.
pub const PUBLISHED: &str = "published";

/// A score with what the published scorer says, where that is something else.
pub(super) fn beside(score: Score, published: f64) -> Score {
    if score.quality == Some(published) { score } else { score.with(PUBLISHED, published) }
}

/// RULER's score of one reply, with a word for what went wrong. What the model only thought is no answer; RULER's own
/// scorer reads the whole text, thinking included: where that makes a difference, what it says is the figure
/// [`PUBLISHED`].
pub(super) fn score(case: &Case, reply: &Reply) -> Outcome {
    let references = answers(&case.target);
    let any = case.target.get("any").and_then(Value::as_bool).unwrap_or_default();
    let matched = if any { match_part } else { match_all };
    let answer = reply.answer();
    let quality = matched(&references, &answer);
    let score = beside(Score::of(quality), matched(&references, &reply.content));
    Outcome::Scored(match quality {
        1.0 => score,
        _ if ran_out(reply) => score.labelled("truncated"),
        0.0 if answer.trim().is_empty() => score.labelled("empty"),
        0.0 => score.labelled("wrong"),
        _ => score.labelled("partial"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_only_thought_is_no_answer_wherever_the_server_leaves_it() {
        let target = serde_json::json!({ "answers": ["42"] });
        let case = Case::new("retrieval/ruler", 1, 0, Prompt::chat(Vec::new()), target);
        let quality = |reply: &Reply| score(&case, reply).score().and_then(|score| score.quality);
        let says = |content: &str| Reply { content: content.into(), ..Reply::default() };
        for hidden in [
            Reply { reasoning: "It is 42.".into(), ..says("I cannot tell.") },
            says("<think>It is 42.</think>I cannot tell."),
            says("It is 42.</think>I cannot tell."),
            says("<|channel|>analysis<|message|>42<|end|><|start|>assistant<|channel|>final<|message|>No."),
            says("analysisIt is 42.assistantfinalI cannot tell."),
        ] {
            assert_eq!(quality(&hidden), Some(0.0), "{hidden:?}");
        }
        assert_eq!(quality(&says("<think>7?</think>It is 42.")), Some(1.0));
    }
}
