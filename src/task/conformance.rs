//! What every task must keep to, checked over the whole table.

use std::collections::{BTreeSet, HashSet};

use proptest::prelude::*;

use super::testing::{WordCounter, params};
use super::*;
use crate::error::Kind;
use crate::record::journal::NEWEST_TASK_VERSION;
use crate::record::{
    Arm, FinishReason, Message, Mode, PackedDistributions, Packing, Prompt, Scoring, Tool, ToolCall,
};

/// Largest unit of any haystack (tokens of [`WordCounter`]): how far below its context a case may stay.
const UNIT: u32 = 48;
/// Tokens that a case of several requests may keep for what changes from one to the next.
const CHANGES: u32 = 128;
const CONTEXTS: [u32; 5] = [512, 1024, 2048, 4096, 8192];
/// Room for a few questions to one text.
const SHARED: u32 = 4096;

/// Every task in each of its arms.
fn all() -> Vec<(&'static dyn Task, Option<Arm>)> {
    let arms = |task: &dyn Task| match task.card().arms {
        [] => vec![None],
        arms => arms.iter().copied().map(Some).collect(),
    };
    // Tasks that read a file are tested beside their formats, with files.
    let own = TASKS.iter().filter(|task| !task.card().needs.reads_file);
    own.flat_map(|task| arms(*task).into_iter().map(|arm| (*task, arm))).collect()
}

/// A context that the task has room in, by this tokenizer: the schemas of tools are long.
fn enough(task: &dyn Task) -> u32 {
    if task.card().arms.is_empty() { 2048 } else { 8192 }
}

/// Cases of a task, or none where the context is too small for it (which must be said with a hint).
fn cases(task: &dyn Task, context: u32, arm: Option<Arm>, seed: u64) -> Vec<Case> {
    match task.cases(&params(context, 8, arm), seed, &WordCounter::default()) {
        Ok(cases) => cases,
        Err(error) => {
            assert!(context < enough(task), "{}: {error}", task.name());
            assert_eq!(error.kind(), Kind::Usage, "{}: {error}", task.name());
            assert!(!error.hints().is_empty(), "{}: {error}", task.name());
            Vec::new()
        }
    }
}

fn quality(task: &dyn Task, case: &Case, reply: &Reply) -> Option<f64> {
    task.score(case, reply).score().and_then(|score| score.quality)
}

#[test]
fn names_and_options_are_unique_and_described() {
    let names: BTreeSet<&str> = TASKS.iter().map(|task| task.name()).collect();
    assert_eq!(names.len(), TASKS.len());
    for task in TASKS {
        assert!(find(task.name()).is_some());
        assert_eq!(task.name().split('/').count(), 2, "{}", task.name());
        assert!(!task.card().summary.is_empty());
        assert!((1..=NEWEST_TASK_VERSION).contains(&task.version()), "raise the constant");
        for option in task.card().options {
            assert!((option.min..=option.max).contains(&option.default), "{}", option.name);
            assert!(!option.help.is_empty());
        }
    }
}

#[test]
fn the_same_seed_gives_the_same_bytes_and_another_seed_others() {
    for (task, arm) in all() {
        for context in CONTEXTS {
            let bytes = |seed| serde_json::to_string(&cases(task, context, arm, seed)).unwrap();
            let first = bytes(1);
            assert_eq!(first, bytes(1), "{}", task.name());
            if first != "[]" {
                assert_ne!(first, bytes(2), "{}", task.name());
            }
        }
    }
}

#[test]
fn one_by_one_or_all_at_once_is_the_same() {
    for (task, arm) in all() {
        let params = params(enough(task), 5, arm);
        let mut one_by_one = Vec::new();
        let counter = WordCounter::default();
        let mut emit = |case| {
            one_by_one.push(case);
            Ok(())
        };
        task.each_case(&params, 1, &counter, &mut emit).unwrap();
        assert_eq!(one_by_one, task.cases(&params, 1, &counter).unwrap(), "{}", task.name());
        let stopped = task.each_case(&params, 1, &counter, &mut |_| Err(crate::Error::runtime("full")));
        assert_eq!(stopped.unwrap_err().to_string(), "full");
    }
}

#[test]
fn cards_do_not_contradict_themselves() {
    for task in TASKS {
        let (card, needs, name) = (task.card(), task.card().needs, task.name());
        assert!(needs.modes.contains(&Mode::Chat), "{name}");
        assert!(needs.reads_file || !needs.reads_answers, "{name}: answers stand beside a file of questions");
        assert!(
            card.arms.is_empty() || !needs.fills_context || name == "tools/long_chain",
            "{name}: tools and requests are as long as they are"
        );
        match task.comparison() {
            Comparison::Greedy(_) => assert!(needs.reads_tokens, "{name}: tokens are compared"),
            Comparison::Distributions(_) => assert_eq!(card.weight, Weight::Comparative, "{name}"),
            Comparison::Warm(_) => {
                assert!(needs.watches_cache, "{name}: replies must say how they were served")
            }
            Comparison::Calls(_) => assert!(!card.arms.is_empty(), "{name}: tools are offered"),
            Comparison::Figures(_) => {}
            // What neither counts nor compares is there for its speed.
            Comparison::None => {
                let speed = name == "serving/speed";
                assert!(speed || card.weight != Weight::Comparative, "{name} compares nothing");
            }
        }
    }
}

/// The cases of a task with as many questions to a text as it can ask, at most five, two texts in all.
fn shared(task: &dyn Task, score: Scoring) -> Vec<Case> {
    let card = task.card();
    let questions = card.needs.most_questions(score).min(5);
    let arm = card.arms.contains(&Arm::Prompted).then_some(Arm::Prompted);
    let asked = Params { score, questions, ..params(enough(task).max(SHARED), 2 * questions, arm) };
    task.cases(&asked, 5, &WordCounter::default()).unwrap()
}

#[test]
fn answers_that_are_forced_go_on_with_the_reply_that_was_begun() {
    let closed = TASKS.iter().filter(|task| task.card().needs.closed_answer);
    let mut seen = 0;
    for task in closed {
        for case in shared(*task, Scoring::Probability) {
            let Prompt::Chat { messages, .. } = &case.prompt else { panic!("{}: no chat", task.name()) };
            let begun = crate::record::prefill(messages).unwrap_or_default();
            assert_eq!(case.forced[0].begun, begun, "{}", task.name());
            assert!(case.prompt_tokens + case.max_tokens <= case.context, "{}", task.name());
            for part in &case.forced {
                assert!(part.begun.starts_with(begun) && !part.forms.is_empty(), "{}", task.name());
                assert!(part.forms.iter().all(|form| !form.tokens.is_empty()), "{}: {part:?}", task.name());
            }
            seen += 1;
        }
    }
    assert!(seen > 30, "{seen}");
}

#[test]
fn questions_to_one_text_have_one_beginning_and_answers_of_their_own() {
    let several = |task: &&&dyn Task| task.card().needs.most_questions(Scoring::Probability) > 1;
    let several = TASKS.iter().filter(several);
    let mut texts = 0;
    for task in several {
        for score in [Scoring::Match, Scoring::Probability] {
            let needs = task.card().needs;
            if needs.most_questions(score) == 1 || score == Scoring::Probability && !needs.closed_answer {
                continue;
            }
            let cases = shared(*task, score);
            let clusters: HashSet<&str> = cases.iter().map(|case| case.cluster.as_str()).collect();
            assert_eq!(clusters.len(), 2, "{}", task.name());
            for text in cases.chunks(cases.len() / 2) {
                let said = |case: &Case| match &case.prompt {
                    Prompt::Chat { messages, .. } => messages[0].content.clone(),
                    Prompt::Distributions { .. } => String::new(),
                };
                let first = said(&text[0]);
                let common =
                    |other: &str| first.bytes().zip(other.bytes()).take_while(|(a, b)| a == b).count();
                // Of a conversation the first message alone is the same to the byte.
                let least = text.iter().map(|case| common(&said(case))).min().unwrap();
                assert!(least * 10 > first.len() * 8, "{}: {least} of {}", task.name(), first.len());
                let answers: HashSet<String> = text.iter().map(|case| case.target.to_string()).collect();
                assert_eq!(answers.len(), text.len(), "{}", task.name());
                assert!(text.iter().all(|case| case.cluster == text[0].cluster && case.shared_tokens > 0));
                for case in text.iter().filter(|_| score == Scoring::Match) {
                    assert_eq!(
                        quality(*task, case, &task.perfect(case).unwrap()),
                        Some(1.0),
                        "{}",
                        task.name()
                    );
                }
                texts += 1;
            }
        }
    }
    assert!(texts >= 12, "{texts}");
}

#[test]
fn case_ids_are_the_hash_of_the_content_and_unique() {
    for (task, arm) in all() {
        let all: Vec<Case> = CONTEXTS.iter().flat_map(|&context| cases(task, context, arm, 1)).collect();
        let ids: BTreeSet<&str> = all.iter().map(|case| case.id.as_str()).collect();
        assert_eq!(ids.len(), all.len(), "{}", task.name());
        for case in &all {
            assert_eq!(case.clone().seal().id, case.id);
            assert_eq!((case.task.as_str(), case.task_version, case.arm), (task.name(), task.version(), arm));
            assert!(case.depth.is_none_or(|depth| (0.0..=1.0).contains(&depth)));
        }
        let indices: Vec<u32> = cases(task, enough(task), arm, 1).iter().map(|case| case.index).collect();
        assert_eq!(indices, (0..8).collect::<Vec<_>>());
    }
}

#[test]
fn token_budgets_are_met() {
    for (task, arm) in all() {
        for context in CONTEXTS {
            for case in cases(task, context, arm, 3) {
                let used = case.prompt_tokens + case.max_tokens;
                assert_eq!(
                    (case.context, case.max_tokens),
                    (context, task.max_tokens(&params(context, 8, arm)))
                );
                assert!(used <= context, "{}: {used} of {context}", task.name());
                if let Prompt::Chat { messages, tools, .. } = &case.prompt {
                    let counted = WordCounter::default().count_chat(messages, tools).unwrap();
                    assert_eq!(case.prompt_tokens, counted, "{}", task.name());
                }
                if task.card().needs.fills_context && turns(task, &case) == 1 {
                    assert!(context - used < UNIT, "{}: {used} of {context}", task.name());
                }
            }
        }
    }
}

/// Replies of a conversation in which every reply is right; 1 for a task of one turn.
fn turns(task: &dyn Task, case: &Case) -> usize {
    task.perfect(case).map_or(1, |reply| reply.turns().count())
}

fn counted(messages: &[Message], tools: &[Tool]) -> u32 {
    WordCounter::default().count_chat(messages, tools).unwrap()
}

/// Every message until the last reply where each reply says so, and what the longest turn adds (tokens).
fn held(task: &dyn Task, case: &Case, says: &str) -> (Vec<Message>, u32) {
    let Prompt::Chat { messages, .. } = &case.prompt else { panic!("{} is no chat", case.task) };
    let (mut messages, mut replies, mut longest) = (messages.clone(), Vec::new(), 0);
    loop {
        replies.push(Reply { content: says.to_owned(), ..Reply::default() });
        let more = match task.step(case, &replies) {
            Step::Done => return (messages, longest),
            Step::Say(more) => more,
            // The longest request of a case counts.
            Step::Ask(ask) => {
                let tokens = counted(&ask.messages, &ask.tools);
                assert!(tokens + case.max_tokens <= case.context, "{}: {tokens}", task.name());
                messages = if tokens > counted(&messages, &[]) { ask.messages } else { messages };
                longest = longest.max(CHANGES);
                continue;
            }
        };
        let added = WordCounter::default().count_chat(&more, &[]).unwrap();
        longest = longest.max(added);
        messages.extend(more);
    }
}

#[test]
fn conversations_of_the_longest_replies_fill_their_context() {
    for (task, arm) in all().into_iter().filter(|(_, arm)| arm.is_none()) {
        for context in CONTEXTS {
            for case in cases(task, context, arm, 3).iter().filter(|case| turns(task, case) > 1) {
                // As many tokens as the budget allows: each such character is one.
                let longest_reply = "!".repeat(case.max_tokens as usize);
                let (messages, turn) = held(task, case, &longest_reply);
                let counted = WordCounter::default().count_chat(&messages, &[]).unwrap();
                let used = counted + case.max_tokens;
                assert!(used <= context, "{}: {used} of {context}", task.name());
                // Gold replies are shorter than they may be.
                if messages.iter().any(|message| message.content == longest_reply) {
                    assert!(context - used < turn + UNIT, "{}: {used} of {context}", task.name());
                }
            }
        }
    }
}

#[test]
fn conversations_end_where_their_right_replies_do() {
    for (task, arm) in all() {
        for case in cases(task, 2048, arm, 1) {
            let Some(perfect) = task.perfect(&case) else { continue };
            let replies: Vec<Reply> =
                perfect.turns().map(|turn| Reply { earlier: Vec::new(), ..turn.clone() }).collect();
            for said in 1..replies.len() {
                let more = match task.step(&case, &replies[..said]) {
                    Step::Say(more) => more,
                    Step::Ask(ask) => ask.messages,
                    Step::Done => panic!("{} ends after {said} of {} turns", task.name(), replies.len()),
                };
                assert!(!more.is_empty() && crate::record::prefill(&more).is_none(), "{}", task.name());
            }
            assert_eq!(task.step(&case, &replies), Step::Done, "{}", task.name());
        }
    }
}

#[test]
fn replies_that_are_begun_keep_the_same_rules() {
    for task in TASKS
        .iter()
        .filter(|task| task.card().needs.modes.contains(&Mode::Prefill) && !task.card().needs.reads_file)
    {
        for context in [1024, 4096] {
            let params = Params { mode: Mode::Prefill, ..params(context, 4, None) };
            for case in task.cases(&params, 3, &WordCounter::default()).unwrap() {
                let Prompt::Chat { messages, tools, .. } = &case.prompt else { continue };
                let began = crate::record::prefill(messages).unwrap();
                // A blank at the end would be a token that no text has there.
                assert_eq!(began.trim(), began, "{}", task.name());
                assert_eq!(case.prompt_tokens, WordCounter::default().count_chat(messages, tools).unwrap());
                let used = case.prompt_tokens + case.max_tokens;
                assert!(used <= context && context - used < UNIT, "{}: {used} of {context}", task.name());
                assert_eq!(quality(*task, &case, &task.perfect(&case).unwrap()), Some(1.0));
            }
        }
    }
}

#[test]
fn counting_stays_cheap() {
    for (task, arm) in all() {
        let counter = WordCounter::default();
        task.cases(&params(8192, 20, arm), 1, &counter).unwrap();
        assert!(counter.counts.get() <= 20 * 4 + 12, "{}: {} counts", task.name(), counter.counts.get());
    }
}

#[test]
fn a_perfect_reply_scores_one_and_an_empty_one_nothing() {
    for (task, arm) in all() {
        for context in CONTEXTS {
            for case in cases(task, context, arm, 5) {
                if task.card().weight == Weight::Comparative {
                    assert_eq!(task.perfect(&case), None);
                    assert_eq!(quality(task, &case, &Reply::default()), None);
                } else {
                    let perfect = task.perfect(&case).unwrap();
                    assert_eq!(quality(task, &case, &perfect), Some(1.0), "{}", task.name());
                    assert_eq!(quality(task, &case, &Reply::default()), Some(0.0), "{}", task.name());
                }
            }
        }
    }
}

#[test]
fn cases_survive_the_journal() {
    for (task, arm) in all() {
        for case in cases(task, enough(task), arm, 1) {
            let text = serde_json::to_string(&case).unwrap();
            assert_eq!(serde_json::from_str::<Case>(&text).unwrap(), case, "{}", task.name());
        }
    }
}

#[test]
fn a_huge_reply_is_judged() {
    let content = "\u{1b}[2J{\"name\": [<tool_call> 1234567 \u{0}é".repeat(100_000);
    let reply = Reply {
        tool_calls: vec![ToolCall { id: None, name: content.clone(), arguments: content.clone() }],
        content,
        ..Reply::default()
    };
    for (task, arm) in all() {
        for case in cases(task, enough(task), arm, 1).iter().take(1) {
            assert_ne!(quality(task, case, &reply), Some(1.0));
        }
    }
}

fn any_reply() -> impl Strategy<Value = Reply> {
    let text = || {
        prop_oneof![any::<String>(), r#"([\[\]{}",:\n\x00\x1b]|name|arguments|[0-9]{7}|<tool_call>){0,40}"#]
    };
    let call = (text(), text()).prop_map(|(name, arguments)| ToolCall { id: None, name, arguments });
    let packing = prop_oneof![Just(Packing::Records), Just(Packing::Steps)];
    let packed = (any::<usize>(), text(), packing).prop_map(|(top_k, data, packing)| PackedDistributions {
        path: crate::record::ReadPath::Decode,
        top_k,
        data,
        packing,
    });
    let finish = prop_oneof![Just(FinishReason::Length), Just(FinishReason::Stop)];
    let earlier = text().prop_map(|content| Reply { content, ..Reply::default() });
    let calls = proptest::collection::vec(call, 0..3);
    let tokens = proptest::collection::vec(0_u32..9, 0..400);
    let parts = (
        text(),
        calls,
        proptest::option::of(packed),
        finish,
        proptest::collection::vec(earlier, 0..3),
        tokens,
    );
    parts.prop_map(|(content, tool_calls, distributions, finish, earlier, tokens)| Reply {
        content,
        tool_calls,
        distributions,
        tokens,
        finish_reason: Some(finish),
        earlier,
        ..Reply::default()
    })
}

#[test]
fn no_reply_makes_a_task_panic() {
    let all: Vec<_> = all()
        .into_iter()
        .flat_map(|(task, arm)| {
            cases(task, enough(task), arm, 1).into_iter().take(2).map(move |case| (task, case))
        })
        .collect();
    proptest!(|(reply in any_reply(), reference in any_reply())| {
        for (task, case) in &all {
            let quality = quality(*task, case, &reply);
            prop_assert!(quality.is_none_or(|quality| (0.0..=1.0).contains(&quality)));
            let comparison = task.comparison();
            comparison.figures(case, &reply, &reference);
            comparison.positions(case, &reply, &reference);
            comparison.divergence(case, &reply, &reference);
            comparison.warm(case, &reply, &reference);
            task.step(case, &[reference.clone(), reply.clone()]);
        }
    });
}
