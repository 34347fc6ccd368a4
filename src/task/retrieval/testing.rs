//! What the tests of this family share, and what holds for all of it.

use super::{confusable_keys, counting, graph_walks, ordinal_recall, same_asks};
use crate::error::{Error, Kind, Result};
use crate::record::{Case, FinishReason, Message, Outcome, Prompt, Reply, Tool};
use crate::task::testing::{WordCounter, params};
use crate::task::{Params, Task, TokenCounter, Weight};

pub(super) fn with(context: u32, samples: u32, options: &[(&str, u32)]) -> Params {
    let options = options.iter().map(|&(name, value)| (name.to_owned(), value)).collect();
    Params { options, ..params(context, samples, None) }
}

pub(super) fn make(task: &dyn Task, context: u32, samples: u32, options: &[(&str, u32)]) -> Vec<Case> {
    task.cases(&with(context, samples, options), 7, &WordCounter::default()).unwrap()
}

/// The messages of a case.
pub(super) fn messages(case: &Case) -> &[Message] {
    match &case.prompt {
        Prompt::Chat { messages, .. } => messages,
        Prompt::Distributions { .. } => &[],
    }
}

/// Quality and label of a reply that ended by itself.
pub(super) fn judged(task: &dyn Task, case: &Case, content: &str) -> (f64, Option<String>) {
    judge(task, case, content, FinishReason::Stop)
}

pub(super) fn judge(
    task: &dyn Task,
    case: &Case,
    content: &str,
    finish_reason: FinishReason,
) -> (f64, Option<String>) {
    let reply = Reply { content: content.into(), finish_reason: Some(finish_reason), ..Reply::default() };
    let outcome = task.score(case, &reply);
    let score = outcome.score().unwrap();
    (score.quality.unwrap(), score.label.map(String::from))
}

const OURS: [&dyn Task; 5] = [
    &confusable_keys::ConfusableKeys,
    &graph_walks::GraphWalks,
    &counting::Counting,
    &ordinal_recall::OrdinalRecall,
    &same_asks::SameAsks,
];
/// More tokens (of [`WordCounter`]) than any unit has.
const UNIT: u32 = 24;

/// Joins what stands on both sides of a seam, and charges for long texts: not additive at all.
struct Odd;

impl TokenCounter for Odd {
    fn count_chat(&self, messages: &[Message], _: &[Tool]) -> Result<u32> {
        let bytes: usize = messages.iter().map(|message| message.content.len() + 9).sum();
        Ok((bytes / 3 + bytes / 700 * 5) as u32)
    }

    fn tokenize(&self, text: &str) -> Result<Vec<u32>> {
        Ok(vec![0; text.len() / 3 + 1])
    }
}

#[test]
fn a_tokenizer_that_is_not_additive_never_takes_a_case_over_its_budget() {
    for task in OURS {
        for case in task.cases(&params(8192, 6, None), 5, &Odd).unwrap() {
            let used = case.prompt_tokens + case.max_tokens;
            assert_eq!(case.prompt_tokens, Odd.count_chat(messages(&case), &[]).unwrap());
            assert!(used <= 8192 && used + 4 * UNIT > 8192, "{}: {used}", task.name());
        }
    }
}

struct Silent;

impl TokenCounter for Silent {
    fn count_chat(&self, _: &[Message], _: &[Tool]) -> Result<u32> {
        Ok(0)
    }

    fn tokenize(&self, _: &str) -> Result<Vec<u32>> {
        Ok(Vec::new())
    }
}

#[test]
fn a_server_that_counts_nothing_does_not_make_endless_cases() {
    for task in OURS {
        let error = task.cases(&params(2048, 1, None), 5, &Silent).unwrap_err();
        assert_eq!(error.kind(), Kind::Usage, "{error}");
    }
}

struct Gone;

impl TokenCounter for Gone {
    fn count_chat(&self, _: &[Message], _: &[Tool]) -> Result<u32> {
        Err(Error::runtime("gone"))
    }

    fn tokenize(&self, _: &str) -> Result<Vec<u32>> {
        Err(Error::runtime("gone"))
    }
}

#[test]
fn a_failing_count_is_passed_on() {
    for task in OURS {
        assert_eq!(task.cases(&params(2048, 1, None), 5, &Gone).unwrap_err().kind(), Kind::Runtime);
    }
}

#[test]
fn a_context_or_an_output_budget_that_is_too_small_is_a_usage_error() {
    for task in OURS {
        for params in [params(160, 1, None), with(4096, 1, &[("output_tokens", 1)])] {
            let error = task.cases(&params, 5, &WordCounter::default()).unwrap_err();
            assert_eq!(error.kind(), Kind::Usage, "{error}");
            assert!(!error.hints().is_empty());
        }
    }
}

#[test]
fn cases_do_not_depend_on_how_many_there_are() {
    for task in OURS {
        assert_eq!(make(task, 1024, 3, &[]), make(task, 1024, 9, &[])[..3]);
    }
}

#[test]
fn reasoning_has_a_budget_and_never_counts_as_an_answer() {
    for task in OURS {
        let params = with(4096, 1, &[("thinking_tokens", 1000)]);
        assert_eq!(task.max_tokens(&params), task.max_tokens(&with(4096, 1, &[])) + 1000);
        let case = &make(task, 4096, 1, &[])[0];
        let perfect = task.perfect(case).unwrap();
        let reply = Reply { reasoning: perfect.content, ..Reply::default() };
        assert_eq!(task.score(case, &reply).score().unwrap().quality, Some(0.0));
        assert_eq!(task.card().weight, Weight::Primary);
    }
}

#[test]
fn a_target_of_another_form_is_unscored() {
    for task in OURS {
        let mut case = make(task, 1024, 1, &[]).remove(0);
        case.target = serde_json::json!({"answers": 7});
        assert!(matches!(task.score(&case, &Reply::default()), Outcome::Unscored { .. }));
        assert_eq!(task.perfect(&case), None);
    }
}
