//! Retrieval: find what was said somewhere in a long context.

use std::collections::BTreeMap;

use serde_json::Value;

use super::fitting::{Draft, Fitter};
use super::sizing::{Fit, too_large, too_small};
use super::{Params, Task, TaskOption, TokenCounter};
use crate::error::Result;
use crate::trial::{Case, FinishReason, Message, Mode, Outcome, Prompt, Reply, Score};

pub mod common_words;
pub mod confusable_keys;
pub mod counting;
mod essay;
mod fill;
pub mod frequent_words;
pub mod graph_walks;
mod haystack;
pub mod niah;
pub mod ordinal_recall;
#[cfg(test)]
mod published;
pub mod variable_tracking;

/// Name of the option for the tokens that a model may think with before it answers.
pub const THINKING_TOKENS: &str = "thinking_tokens";
/// Name of the option for the tokens of an answer.
const OUTPUT_TOKENS: &str = "output_tokens";

/// Both ways for a reply to begin.
static MODES: &[Mode] = &[Mode::Chat, Mode::Prefill];

/// The option for the output budget, with its default in chat mode.
const fn output_tokens(default: u32, help: &'static str) -> TaskOption {
    TaskOption { name: OUTPUT_TOKENS, help, default, min: 8, max: 65_536, difficulty: None }
}

/// The option for the budget of thinking models.
const THINKING: TaskOption = TaskOption {
    name: THINKING_TOKENS,
    help: "tokens added to the output budget for a model that thinks before it answers",
    default: 0,
    min: 0,
    max: 65_536,
    difficulty: None,
};

/// Output budget of a case: for the answer (in prefill mode `prefill`, unless the suite says otherwise) and
/// for thinking.
fn output_budget(task: &dyn Task, params: &Params, prefill: u32) -> u32 {
    let answer = match (params.options.get(OUTPUT_TOKENS), params.mode) {
        (None, Mode::Prefill) => prefill,
        _ => params.option(task, OUTPUT_TOKENS),
    };
    answer.saturating_add(params.option(task, THINKING_TOKENS))
}

/// A case in the making: a draft that knows what is asked of it.
trait Question: Draft {
    /// Where the answer lies with so many units (0..1); `None` when it lies in several places.
    fn depth(&self, units: usize) -> Option<f64>;

    /// What a right answer is, with so many units.
    fn target(&self, units: usize) -> Value;
}

/// A fitter for the cases of a task with `min..=max` units.
fn fitter(task: &dyn Task, params: &Params, min: usize, max: usize) -> Fitter {
    Fitter::new(params.context.saturating_sub(task.max_tokens(params)), min, max)
}

/// Case `index` of a task: the draft made as long as the context allows.
fn fill(
    task: &dyn Task,
    params: &Params,
    index: u32,
    draft: &mut dyn Question,
    fitter: &mut Fitter,
    tokens: &dyn TokenCounter,
) -> Result<Case> {
    let (name, max_tokens) = (task.name(), task.max_tokens(params));
    let Some(Fit { units, tokens: prompt_tokens }) = fitter.fit(draft, tokens)? else {
        let needed = tokens.count_chat(&draft.messages(fitter.min()), &[])?;
        return Err(too_small(name, params.context, max_tokens, needed));
    };
    if units >= fitter.max() {
        return Err(too_large(name, params.context, prompt_tokens));
    }
    Ok(Case {
        id: String::new(),
        task: name.into(),
        task_version: task.version(),
        arm: None,
        context: params.context,
        index,
        depth: draft.depth(units),
        cluster: format!("{name}/{}/{index}", params.context),
        prompt: Prompt::chat(draft.messages(units)),
        max_tokens,
        prompt_tokens,
        target: draft.target(units),
    }
    .seal())
}

/// A question, and in prefill mode the first words of an answer to it.
fn conversation(question: String, mode: Mode, answer: impl FnOnce() -> String) -> Vec<Message> {
    let mut messages = vec![Message::user(question)];
    if mode == Mode::Prefill {
        messages.push(Message::prefill(answer()));
    }
    messages
}

/// Judges a reply by the share of its answers; `error` names the error of an answer that is not all right and
/// was not cut off, given its text and its score.
fn judged(case: &Case, reply: &Reply, error: impl FnOnce(&str, f64) -> &'static str) -> Outcome {
    let text = answer_text(reply);
    let quality = match_all(&answers(&case.target), text);
    let score = Score::of(quality);
    Outcome::Scored(if quality >= 1.0 {
        score
    } else if ran_out(reply) {
        score.labelled("truncated")
    } else if text.trim().is_empty() {
        score.labelled("empty")
    } else {
        score.labelled(error(text, quality))
    })
}

/// The label of an error that has no kind of its own.
fn plain_error(quality: f64) -> &'static str {
    if quality > 0.0 { "incomplete" } else { "wrong" }
}

/// A reply that scores 1.
fn perfect(case: &Case) -> Reply {
    Reply { content: answers(&case.target).join(", "), ..Reply::default() }
}

/// The text after the reasoning, also where the server left the reasoning in the text. Reasoning that does not
/// end is no answer.
fn answer_text(reply: &Reply) -> &str {
    match reply.content.rsplit_once("</think>") {
        Some((_, answer)) => answer,
        None if reply.content.trim_start().starts_with("<think>") => "",
        None => &reply.content,
    }
}

/// A reply's text as RULER's matchers read it: the control characters U+0000 to U+001F (and no others) become
/// newlines, the ends are trimmed, the case is folded.
fn readable(text: &str) -> String {
    let text: String = text.chars().map(|c| if c < ' ' { '\n' } else { c }).collect();
    text.trim().to_lowercase()
}

/// Share of the references (0..1) that the text holds as case-insensitive substrings; RULER's
/// `string_match_all` for one sample. 0 without references.
pub fn match_all(references: &[String], text: &str) -> f64 {
    if references.is_empty() {
        return 0.0;
    }
    let text = readable(text);
    let found = references.iter().filter(|wanted| text.contains(&wanted.to_lowercase()));
    found.count() as f64 / references.len() as f64
}

/// 1 when the text holds any of the references as a case-insensitive substring, else 0; RULER's
/// `string_match_part` for one sample.
pub fn match_part(references: &[String], text: &str) -> f64 {
    let text = readable(text);
    let found = references.iter().any(|wanted| text.contains(&wanted.to_lowercase()));
    f64::from(u8::from(found))
}

/// Whether the reply was cut off by its output budget.
pub(crate) fn ran_out(reply: &Reply) -> bool {
    reply.finish_reason == Some(FinishReason::Length)
}

/// The answers of a target `{"answers": [..]}`; none when the target is not of that form.
pub(crate) fn answers(target: &Value) -> Vec<String> {
    let listed = target.get("answers").and_then(Value::as_array);
    let texts = listed.into_iter().flatten().filter_map(Value::as_str);
    texts.map(str::to_owned).collect()
}

/// A target `{"answers": [..]}`.
fn target(answers: Vec<String>) -> Value {
    serde_json::json!(BTreeMap::from([("answers", answers)]))
}

/// A target `{"answers": [..], "depths": [..]}`: where each answer lies (0..1).
fn target_at(answers: Vec<String>, depths: &[f64]) -> Value {
    let mut target = target(answers);
    target["depths"] = depths.iter().copied().collect();
    target
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasoning_in_the_text_is_not_the_answer() {
        for (content, expected) in [
            ("7", "7"),
            ("<think>5 or 6?</think>7", "7"),
            // The template opened the reasoning already.
            ("5 or 6?</think>\n7", "\n7"),
            (" <think>It must be 7", ""),
            ("I <think> so", "I <think> so"),
            ("<think></think>", ""),
        ] {
            let reply = Reply { content: content.into(), reasoning: "7".into(), ..Reply::default() };
            assert_eq!(answer_text(&reply), expected, "{content}");
        }
    }

    #[test]
    fn answers_are_matched_by_the_published_rules() {
        let all = |refs: &[&str], text: &str| match_all(&texts(refs), text);
        // Case, control characters, several references, partial hits, empty.
        assert_eq!(all(&["ABCDE", "fghij"], "abcde and FGHIJ"), 1.0);
        assert_eq!(all(&["one", "two", "three", "four"], "one, three"), 0.5);
        assert_eq!(all(&["a b"], "a\tb"), 0.0);
        assert_eq!(all(&["a\u{0}"], "a\u{0}"), 0.0);
        assert_eq!(all(&["x"], ""), 0.0);
        // A substring counts, and so does a reference named twice.
        assert_eq!(all(&["123"], "9912399"), 1.0);
        assert_eq!(all(&["x", "x"], "x"), 1.0);
    }

    fn texts(list: &[&str]) -> Vec<String> {
        list.iter().map(|&text| text.to_owned()).collect()
    }

    #[test]
    fn match_all_counts_the_share_found() {
        assert_eq!(match_all(&texts(&["1234567"]), "It is 1234567."), 1.0);
        assert_eq!(match_all(&texts(&["Amber-Fox", "7"]), "amber-FOX"), 0.5);
        assert_eq!(match_all(&texts(&["1234567"]), "1,234,567"), 0.0);
        assert_eq!(match_all(&[], "anything"), 0.0);
    }

    #[test]
    fn match_part_takes_the_best() {
        assert_eq!(match_part(&texts(&["x", "fox"]), "A FOX"), 1.0);
        assert_eq!(match_part(&texts(&["x", "fox"]), "a wolf"), 0.0);
        assert_eq!(match_part(&[], "a wolf"), 0.0);
    }

    #[test]
    fn control_characters_separate() {
        assert_eq!(match_all(&texts(&["12"]), "1\u{0}2"), 0.0);
        assert_eq!(match_all(&texts(&["12"]), "\u{1b}[1m12\u{1b}[0m\r\n"), 1.0);
    }

    #[test]
    fn targets_come_back() {
        assert_eq!(answers(&target(texts(&["a", "b"]))), ["a", "b"]);
        assert_eq!(answers(&Value::Null), Vec::<String>::new());
        assert_eq!(answers(&serde_json::json!({"answers": [1, "x"]})), ["x"]);
    }
}
