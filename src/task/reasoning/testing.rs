//! What the tests of this family share, and what holds for all of it.

use crate::record::{Case, FinishReason, Message, Prompt, Reply, Scoring};
use crate::task::params::FILL_CONTEXT;
use crate::task::testing::{WordCounter, params};
use crate::task::{Params, Task};

fn with(context: u32, samples: u32, options: &[(&str, u32)]) -> Params {
    let options = options.iter().map(|&(name, value)| (name.to_owned(), value)).collect();
    Params { options, ..params(context, samples, None) }
}

pub(super) fn make(task: &dyn Task, context: u32, samples: u32, options: &[(&str, u32)]) -> Vec<Case> {
    task.cases(&with(context, samples, options), 7, &WordCounter::default()).unwrap()
}

/// So many questions to one text.
pub(super) fn shared(task: &dyn Task, context: u32, questions: u32) -> Vec<Case> {
    let params = Params { questions, ..with(context, questions, &[]) };
    task.cases(&params, 7, &WordCounter::default()).unwrap()
}

fn messages(case: &Case) -> &[Message] {
    match &case.prompt {
        Prompt::Chat { messages, .. } => messages,
        Prompt::Distributions { .. } => &[],
    }
}

/// The facts of a case, a sentence each.
pub(super) fn facts(case: &Case) -> Vec<String> {
    let text = &messages(case)[0].content;
    text.split("\n\n").nth(1).unwrap().lines().map(str::to_owned).collect()
}

/// What is asked about them.
pub(super) fn question(case: &Case) -> String {
    messages(case)[0].content.split("\n\n").nth(2).unwrap().to_owned()
}

/// What holds for both tasks; `short` says nothing but the right answer.
pub(super) fn of_family(task: &dyn Task, short: impl Fn(&Case) -> String) {
    let score = |case: &Case, reply: &Reply| task.score(case, reply).score().unwrap().clone();
    let says = |content: String| Reply { content, ..Reply::default() };
    let case = &make(task, 2048, 1, &[])[0];
    let perfect = task.perfect(case).unwrap();
    assert_eq!(score(case, &perfect).quality, Some(1.0));
    assert_eq!(score(case, &says(short(case))).quality, Some(1.0));
    // The steps without their last line say the answer last.
    let (steps, _) = perfect.content.rsplit_once('\n').unwrap();
    assert_eq!(score(case, &says(steps.to_owned())).quality, Some(1.0));
    let half = steps[..steps.len() / 2].to_owned();
    let cut = Reply { finish_reason: Some(FinishReason::Length), ..says(half) };
    assert_eq!(score(case, &cut).label.as_deref(), Some("truncated"));
    for hidden in [
        Reply { reasoning: perfect.content.clone(), ..Reply::default() },
        says(format!("<think>{}</think>", perfect.content)),
        says(format!("<|channel|>analysis<|message|>{}<|end|>", perfect.content)),
    ] {
        assert_eq!(score(case, &hidden).quality, Some(0.0), "{hidden:?}");
    }
    // Without a context to fill there are as many facts as a suite says.
    let few = |distractors| make(task, 16_384, 3, &[(FILL_CONTEXT, 0), ("distractors", distractors)]);
    let bare = few(0);
    for (bare, case) in bare.iter().zip(few(20)) {
        assert_eq!(facts(bare).len() + 20, facts(&case).len());
        assert_eq!(bare.target, case.target);
        assert!(case.prompt_tokens < 4096);
    }
    // By probability the last step is among those that are asked for, and no more than six are.
    for steps in [3, 30] {
        let params = Params { score: Scoring::Probability, ..with(8192, 2, &[("steps", steps)]) };
        for case in task.cases(&params, 7, &WordCounter::default()).unwrap() {
            assert_eq!(case.forced.len(), 6.min(steps as usize + 1));
            let last = case.forced.last().unwrap();
            let worked = case.target["worked"].as_str().unwrap();
            assert!(worked.starts_with(&format!("{}{}", last.begun, last.forms[0].text)), "{last:?}");
            let answer = worked.rsplit_once(' ').unwrap().1;
            assert_eq!(last.forms[0].text.trim(), answer);
            assert!(case.forced.windows(2).all(|pair| pair[1].begun.starts_with(&pair[0].begun)));
        }
    }
}
