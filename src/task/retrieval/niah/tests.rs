use proptest::prelude::*;

use super::*;
use crate::record::FinishReason;
use crate::task::testing::{WordCounter, params};
use crate::task::{Params, Task, find};

fn cases(task: &Niah, context: u32, samples: u32) -> Vec<Case> {
    let params = params(context, samples, None);
    task.cases(&params, 7, &WordCounter::default()).unwrap()
}

fn text(case: &Case) -> &str {
    match &case.prompt {
        Prompt::Chat { messages, .. } => &messages[0].content,
        Prompt::Distributions { .. } => "",
    }
}

fn label(case: &Case, content: &str, finish_reason: FinishReason) -> (f64, Option<String>) {
    let reply = Reply { content: content.into(), finish_reason: Some(finish_reason), ..Reply::default() };
    let outcome = SINGLE_1.score(case, &reply);
    let score = outcome.score().unwrap();
    (score.quality.unwrap(), score.label.map(String::from))
}

#[test]
fn the_answer_stands_once_at_its_depth() {
    for task in [&SINGLE_1, &MULTIKEY_2] {
        for case in cases(task, 2048, 16) {
            let answer = &answers(&case.target)[0];
            assert_eq!(text(&case).matches(answer.as_str()).count(), 1);
            let place = text(&case).find(answer.as_str()).unwrap() as f64 / text(&case).len() as f64;
            let depth = case.depth.unwrap();
            assert!((place - depth).abs() < 0.12, "{place} for {depth}");
        }
    }
}

#[test]
fn the_first_cases_do_not_depend_on_how_many_there_are() {
    for task in [&SINGLE_1, &MULTIKEY_2] {
        assert_eq!(cases(task, 1024, 3), cases(task, 1024, 12)[..3]);
    }
}

#[test]
fn depths_cover_the_context() {
    let depths: Vec<f64> = cases(&MULTIKEY_2, 2048, 20).iter().filter_map(|case| case.depth).collect();
    for bin in 0..5 {
        let n = depths.iter().filter(|&&d| (d * 5.0).min(4.9) as usize == bin).count();
        assert!((2..=6).contains(&n), "bin {bin} has {n} of 20");
    }
}

#[test]
fn keys_and_values_differ_within_a_case() {
    let case = &cases(&MULTIKEY_2, 8192, 1)[0];
    let lines: Vec<&str> = text(case).lines().filter(|line| line.starts_with("The secret")).collect();
    let mut keys: Vec<&str> = lines.iter().filter_map(|line| line.split(' ').nth(4)).collect();
    assert!(keys.len() > 300);
    keys.sort_unstable();
    assert!(keys.windows(2).all(|pair| pair[0] != pair[1]));
}

#[test]
fn errors_get_their_label() {
    let case = &cases(&MULTIKEY_2, 1024, 1)[0];
    let answer = answers(&case.target).remove(0);
    let other =
        &values_in(text(case), ValueKind::Number).into_iter().find(|number| *number != answer).unwrap();
    use FinishReason::{Length, Stop};
    assert_eq!(label(case, &format!("It is {answer}."), Length), (1.0, None));
    for (content, finish, expected) in [
        (other.as_str(), Stop, "other_needle"),
        (other, Length, "truncated"),
        (&format!("<think>{answer}"), Length, "truncated"),
        (&format!("<think>{answer}</think>It is 42."), Stop, "wrong"),
        ("I think that", Length, "truncated"),
        ("", Stop, "empty"),
        ("\u{1b}[K I cannot say.", Stop, "no_number"),
        ("It is 42.", Stop, "wrong"),
    ] {
        assert_eq!(label(case, content, finish), (0.0, Some(expected.into())), "{content}");
    }
}

#[test]
fn reasoning_does_not_count() {
    let case = &cases(&SINGLE_1, 1024, 1)[0];
    let reply = Reply { reasoning: answers(&case.target).remove(0), ..Reply::default() };
    assert_eq!(SINGLE_1.score(case, &reply).score().unwrap().quality, Some(0.0));
}

#[test]
fn a_context_that_is_too_small_is_a_usage_error() {
    let params = params(160, 1, None);
    let error = MULTIKEY_2.cases(&params, 7, &WordCounter::default()).unwrap_err();
    assert_eq!(error.kind(), crate::error::Kind::Usage);
    assert!(!error.hints().is_empty());
}

static FAMILY: [&Niah; 8] =
    [&SINGLE_1, &SINGLE_2, &SINGLE_3, &MULTIKEY_1, &MULTIKEY_2, &MULTIKEY_3, &MULTIVALUE, &MULTIQUERY];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]
    #[test]
    fn needles_stand_as_often_as_stated_and_decoys_are_no_answers(seed: u64, needles in 1_u32..9, which in 0_usize..8) {
        let task = FAMILY[which];
        let mut params = params(2048, 3, None);
        if task.asked != Asked::One {
            params.options.insert("needles".into(), needles);
        }
        let wanted = match task.asked {
            Asked::One | Asked::OneOf => 1,
            Asked::ValuesOfOne | Asked::All => needles as usize,
        };
        for case in task.cases(&params, seed, &WordCounter::default()).unwrap() {
            let answers = answers(&case.target);
            prop_assert_eq!(answers.len(), wanted);
            let mut values = values_in(text(&case), task.value);
            for answer in &answers {
                prop_assert_eq!(text(&case).matches(answer.as_str()).count(), 1);
            }
            // Whatever has the form of a value stands there once: no decoy is an answer, or another decoy.
            let all = values.len();
            values.sort_unstable();
            values.dedup();
            prop_assert_eq!(values.len(), all);
            let stated = text(&case).matches("The secret ").count();
            let expected = if task.asked == Asked::One { 1 } else { needles as usize };
            if task.haystack != HaystackKind::Needles {
                prop_assert_eq!(stated, expected);
            }
        }
    }
}

#[test]
fn what_is_asked_for_is_what_the_needles_say() {
    for task in FAMILY {
        for case in cases(task, 2048, 4) {
            let (body, question) = text(&case).rsplit_once("\n\n").unwrap();
            let asked: Vec<&str> = body
                .split("The secret ")
                .skip(1)
                .filter_map(|rest| {
                    let (key, value) = rest.split_once(" for ")?.1.split_once(" is ")?;
                    question.contains(key).then(|| value.split(['.', '\n']).next())?
                })
                .collect();
            let mut gold = answers(&case.target);
            let mut asked: Vec<String> = asked.into_iter().map(str::to_owned).collect();
            gold.sort();
            asked.sort();
            assert_eq!(asked, gold, "{}", task.name);
        }
    }
}

#[test]
fn needles_of_one_case_are_spread_one_by_one() {
    let cases = cases(&MULTIVALUE, 2048, 20);
    for needle in 0..4 {
        let mut bins = [0; 5];
        for case in &cases {
            let depth = case.target["depths"][needle].as_f64().unwrap();
            bins[(depth * 5.0).min(4.9) as usize] += 1;
        }
        assert!(bins.iter().all(|n| (2..=6).contains(n)), "needle {needle}: {bins:?}");
    }
}

#[test]
fn half_of_the_values_is_half_of_the_score() {
    let case = &cases(&MULTIQUERY, 1024, 1)[0];
    let half = answers(&case.target)[..2].join(", ");
    let score = |content: String| {
        let outcome = MULTIQUERY.score(case, &Reply { content, ..Reply::default() });
        outcome.score().cloned().unwrap()
    };
    assert_eq!(
        (score(half.clone()).quality, score(half.clone()).label.as_deref()),
        (Some(0.5), Some("incomplete"))
    );
    let parts = score(half.clone()).parts;
    let depths = case.target["depths"].as_array().unwrap();
    for (at, (part, depth)) in parts.iter().zip(depths).enumerate() {
        assert_eq!(Some(part.depth), depth.as_f64());
        assert_eq!(part.quality, if at < 2 { 1.0 } else { 0.0 }, "needle {at}");
    }
    assert_eq!(parts.len(), 4);
    let decoy =
        values_in(text(case), ValueKind::Number).into_iter().find(|v| !answers(&case.target).contains(v));
    if let Some(decoy) = decoy {
        assert_eq!(score(format!("{half}, {decoy}")).label.as_deref(), Some("other_needle"));
    }
}

#[test]
fn codes_are_read_whatever_their_case() {
    let case = &cases(&MULTIKEY_3, 1024, 1)[0];
    let answer = answers(&case.target).remove(0);
    let score = |content: String| {
        let outcome = MULTIKEY_3.score(case, &Reply { content, ..Reply::default() });
        outcome.score().map(|score| (score.quality, score.label)).unwrap()
    };
    assert_eq!(score(answer.to_uppercase()), (Some(1.0), None));
    let other = values_in(text(case), ValueKind::Code).into_iter().find(|code| *code != answer).unwrap();
    assert_eq!(score(other.to_uppercase()), (Some(0.0), Some("other_needle".into())));
    assert_eq!(score("none of them".into()), (Some(0.0), Some("no_code".into())));
}

#[test]
fn in_prefill_mode_the_answer_is_begun() {
    for task in FAMILY {
        let params = Params { mode: Mode::Prefill, ..params(2048, 1, None) };
        let case = task.cases(&params, 7, &WordCounter::default()).unwrap().remove(0);
        let Prompt::Chat { messages, .. } = &case.prompt else { unreachable!() };
        let began = crate::record::prefill(messages).unwrap();
        assert!(began.starts_with("The secret ") && (began.ends_with(" is") || began.ends_with(" are")));
        // It must not give the answer away.
        assert!(!answers(&case.target).iter().any(|answer| began.contains(answer.as_str())));
    }
}

#[test]
fn a_text_of_ones_own_is_the_haystack() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("own.txt");
    let write = |word: &str| {
        let sentences: Vec<String> =
            (0..900).map(|n| format!("Sentence {n} is about a {word} and more.")).collect();
        std::fs::write(&path, sentences.join(" ")).unwrap();
    };
    write("crocodile");
    let source = crate::record::suite::TextSource::open(&path).unwrap();
    let own = Params { text: Some(source.clone()), ..params(1024, 3, None) };
    let cases = SINGLE_2.cases(&own, 7, &WordCounter::default()).unwrap();
    let starts: std::collections::BTreeSet<&str> =
        cases.iter().filter_map(|case| text(case).split("\n\n").nth(1)?.split('.').next()).collect();
    assert_eq!(starts.len(), 3, "each case begins elsewhere: {starts:?}");
    for case in &cases {
        assert!(text(case).matches("crocodile").count() > 30);
        assert_eq!(text(case).matches("The secret ").count(), 1);
        assert_eq!(case.target["text"], source.hash.as_str());
    }
    // Another text, other cases; too little of it is an error that says so.
    let long = Params { context: 131_072, ..own.clone() };
    let error = SINGLE_2.cases(&long, 7, &WordCounter::default()).unwrap_err();
    assert!(error.to_string().contains("too large"), "{error}");
    write("hippopotamus");
    assert!(SINGLE_2.cases(&own, 7, &WordCounter::default()).is_err());
    assert!(!find("retrieval/niah_multikey_2").unwrap().card().needs.takes_text);
}
