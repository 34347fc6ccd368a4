//! What the tests of this family share, and what holds for all of it.

use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use crate::error::Kind;
use crate::record::{Case, FinishReason, Prompt, Reply, Score, Scoring};
use crate::task::testing::{WordCounter, params};
use crate::task::{Params, Task, TokenCounter};

pub(super) fn with(context: u32, samples: u32, options: &[(&str, u32)]) -> Params {
    let options = options.iter().map(|&(name, value)| (name.to_owned(), value)).collect();
    Params { options, ..params(context, samples, None) }
}

pub(super) fn make(task: &dyn Task, context: u32, samples: u32, options: &[(&str, u32)]) -> Vec<Case> {
    task.cases(&with(context, samples, options), 7, &WordCounter::default()).unwrap()
}

pub(super) fn prompt(case: &Case) -> &str {
    match &case.prompt {
        Prompt::Chat { messages, .. } => &messages[0].content,
        Prompt::Distributions { .. } => "",
    }
}

pub(super) fn score(task: &dyn Task, case: &Case, content: &str) -> Score {
    task.score(case, &Reply { content: content.into(), ..Reply::default() }).score().unwrap().clone()
}

/// Quality and label of a reply that ended by itself.
pub(super) fn judged(task: &dyn Task, case: &Case, content: &str) -> (f64, Option<String>) {
    let score = score(task, case, content);
    (score.quality.unwrap(), score.label.map(String::from))
}

/// What holds for every task of long replies.
pub(super) fn of_family(task: &dyn Task) {
    sizes_are_met(task);
    replies_are_graded(task);
    answers_are_forced(task);
    TestRunner::deterministic()
        .run(&(any::<String>(), 0.0..1.0), |(noise, share)| {
            let case = &make(task, 2048, 1, &[])[0];
            let right = task.perfect(case).unwrap().content;
            let cut = right.floor_char_boundary((right.len() as f64 * share) as usize);
            for content in [noise.clone(), format!("{}{noise}{}", &right[..cut], &right[cut..])] {
                let found = score(task, case, &content);
                prop_assert!((0.0..=1.0).contains(&found.quality.unwrap()));
                prop_assert!((0.0..=1.0).contains(&found.metrics["first_error"]));
            }
            Ok(())
        })
        .unwrap();
}

fn sizes_are_met(task: &dyn Task) {
    for (context, size) in [(2048, 512), (8192, 1024), (40_960, 8192)] {
        for case in make(task, context, 4, &[("size_tokens", size)]) {
            let right = task.perfect(&case).unwrap();
            let tokens = WordCounter::default().count_text(&right.content).unwrap();
            assert!(tokens <= size && tokens + 80 > size, "{tokens} of {size}");
            assert!(case.prompt_tokens + case.max_tokens <= context);
            assert!(tokens < case.max_tokens);
        }
    }
    let thinks = with(2048, 1, &[("thinking_tokens", 500)]);
    assert_eq!(task.max_tokens(&thinks), task.max_tokens(&with(2048, 1, &[])) + 500);
    for params in [with(1024, 1, &[("size_tokens", 4096)]), with(512, 1, &[])] {
        let error = task.cases(&params, 7, &WordCounter::default()).unwrap_err();
        assert!(error.kind() == Kind::Usage && !error.hints().is_empty(), "{error}");
    }
}

fn replies_are_graded(task: &dyn Task) {
    for case in make(task, 2048, 3, &[]) {
        let right = task.perfect(&case).unwrap().content;
        let found = score(task, &case, &right);
        assert_eq!((found.quality, found.label, found.metrics["first_error"]), (Some(1.0), None, 1.0));
        assert_eq!(judged(task, &case, &format!("Here it is:\n```\n{right}\n```\nDone.")).0, 1.0);
        assert_eq!(judged(task, &case, "").0, 0.0);
        // Half of it is worth something, and its error stands about there.
        let lines: Vec<&str> = right.lines().collect();
        let half = lines[..lines.len() / 2].join("\n");
        let cut =
            Reply { content: half.clone(), finish_reason: Some(FinishReason::Length), ..Reply::default() };
        let found = task.score(&case, &cut).score().unwrap().clone();
        assert_eq!(found.label.as_deref(), Some("truncated"));
        assert!((0.3..0.9).contains(&found.quality.unwrap()), "{found:?}");
        assert!((0.3..=0.6).contains(&found.metrics["first_error"]), "{found:?}");
        for hidden in [
            Reply { reasoning: right.clone(), ..Reply::default() },
            Reply { content: format!("<think>{right}</think>"), ..Reply::default() },
            Reply { content: format!("{right}\n</think>\nI am done"), ..Reply::default() },
            Reply { content: format!("<|channel|>analysis<|message|>{right}<|end|>"), ..Reply::default() },
        ] {
            assert_eq!(task.score(&case, &hidden).score().unwrap().quality, Some(0.0), "{hidden:?}");
        }
    }
}

fn answers_are_forced(task: &dyn Task) {
    if !task.card().needs.closed_answer {
        return;
    }
    let params = Params { score: Scoring::Probability, ..with(2048, 2, &[]) };
    for case in task.cases(&params, 7, &WordCounter::default()).unwrap() {
        let right = task.perfect(&case).unwrap().content;
        assert_eq!(case.forced.len(), 6);
        for part in &case.forced {
            assert!(right.starts_with(&format!("{}{}", part.begun, part.forms[0].text)), "{part:?}");
            assert!(part.forms[0].text.starts_with(' ') && !part.forms[0].tokens.is_empty(), "{part:?}");
        }
        let last = case.forced.last().unwrap();
        assert!(last.begun.len() * 10 > right.len() * 8, "the last one stands near the end");
    }
}
