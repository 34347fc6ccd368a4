//! The answer that a reply names at its end.

use crate::record::{Name, Reply, Score};
use crate::task::retrieval::ran_out;

use super::chain;

/// The word that answers are named behind, whatever signs stand between.
const WORD: &str = "answer";

/// Judges a reply by the answer that it names. `first` and `last` read the first and the last answer of a text, if it has any.
///
/// The answer is the first one in the last line that has the word `answer`, behind that word; in a reply without such a line
/// that was not cut off, the last one of all. What only the thinking names is none.
pub(super) fn judge<T: PartialEq>(
    reply: &Reply,
    wanted: &T,
    first: impl Fn(&str) -> Option<T>,
    last: impl Fn(&str) -> Option<T>,
) -> Score {
    let answer = reply.answer();
    let named = named(&answer, &first).pop();
    let said = named.or_else(|| last(&answer).filter(|_| !ran_out(reply)));
    let right = said.as_ref() == Some(wanted);
    let label = match said {
        _ if right => None,
        None if ran_out(reply) => Some("truncated"),
        None if answer.trim().is_empty() => Some("empty"),
        None => Some("no_answer"),
        Some(_) => Some("wrong"),
    };
    let changed = has_changed(reply, &first);
    let score = Score { label: label.map(Name::from), ..Score::of(f64::from(u8::from(right))) };
    chain::figures(reply, right, changed)
        .into_iter()
        .fold(score, |score, (name, value)| score.with(name, value))
}

/// Whether the last two answers that a reply names, thinking included, differ.
fn has_changed<T: PartialEq>(reply: &Reply, first: &impl Fn(&str) -> Option<T>) -> bool {
    let mut all = named(&reply.reasoning, first);
    all.extend(named(&reply.content, first));
    all.len() > 1 && all[all.len() - 1] != all[all.len() - 2]
}

/// The answers behind the word, line by line.
fn named<T>(text: &str, first: &impl Fn(&str) -> Option<T>) -> Vec<T> {
    text.lines().filter_map(|line| first(behind_word(line)?)).collect()
}

/// What stands behind the last `answer` of a line, in any case of letters.
fn behind_word(line: &str) -> Option<&str> {
    let bytes = line.as_bytes();
    let at = bytes.windows(WORD.len()).rposition(|window| window.eq_ignore_ascii_case(WORD.as_bytes()))?;
    line.get(at + WORD.len()..)
}

/// The numbers of a text, in order: digits, with commas between thousands, a sign and a fraction.
pub(super) fn numbers(text: &str) -> Vec<f64> {
    let mut found = Vec::new();
    let mut rest = text;
    let mut before = None;
    while let Some(start) = rest.find(|c: char| c.is_ascii_digit()) {
        let front = &rest[..start];
        let sign = front.strip_suffix(['-', '\u{2212}']);
        let word = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
        let negative = sign.is_some_and(|front| !word(front.chars().next_back().or(before)));
        let length = number_length(&rest[start..]);
        let digits = rest[start..start + length].replace(',', "");
        found.extend(digits.parse::<f64>().ok().map(|number| if negative { -number } else { number }));
        before = rest[..start + length].chars().next_back();
        rest = &rest[start + length..];
    }
    found
}

/// Bytes of the number that a text begins with: a comma needs three digits behind it and no more, a point one.
fn number_length(text: &str) -> usize {
    let digits = |from: usize| text[from..].bytes().take_while(u8::is_ascii_digit).count();
    let mut at = digits(0);
    while text[at..].starts_with(',') && digits(at + 1) == 3 {
        at += 4;
    }
    if text[at..].starts_with('.') && digits(at + 1) > 0 {
        at += 1 + digits(at + 1);
    }
    at
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::record::FinishReason;

    fn judged(reply: &Reply) -> Score {
        judge(reply, &42.0, |text| numbers(text).first().copied(), |text| numbers(text).last().copied())
    }

    fn says(content: &str) -> Score {
        judged(&Reply { content: content.into(), ..Reply::default() })
    }

    #[test]
    fn the_last_line_with_the_word_names_the_answer() {
        for right in [
            "Answer: 42",
            "7 and 35.\n**Answer:** 42 guests (6 steps)",
            "The final answer is $\\boxed{42}$.",
            "Answer: 41\nNo, wait.\nanswer = 42.0",
            "So there are 42.",
            "ANSWER: 42\nThat is 1 of 3 inns.",
        ] {
            assert_eq!((says(right).quality, says(right).label), (Some(1.0), None), "{right}");
        }
        for (wrong, label) in [
            ("Answer: 41", "wrong"),
            ("Answer: 42\nAnswer: 43", "wrong"),
            ("Answer: -42", "wrong"),
            ("Answer: 42.5", "wrong"),
            ("Answer: 1,042", "wrong"),
            ("Answer: none", "no_answer"),
            (" \n", "empty"),
        ] {
            assert_eq!(says(wrong).label.as_deref(), Some(label), "{wrong}");
        }
    }

    #[test]
    fn what_only_the_thinking_names_is_no_answer() {
        for content in [
            "<think>Answer: 42</think>",
            "Answer: 42</think>",
            "<think>It is 42.\nAnswer: 42",
            "[THINK]Answer: 42[/THINK]I cannot tell.",
            "<|channel|>analysis<|message|>Answer: 42<|end|>",
            "analysisAnswer: 42assistantfinalI do not know.",
        ] {
            assert_eq!(says(content).quality, Some(0.0), "{content}");
        }
        let reply = Reply { reasoning: "Answer: 42".into(), ..Reply::default() };
        assert_eq!(judged(&reply).quality, Some(0.0));
        assert_eq!(says("<think>Answer: 7</think>Answer: 42").quality, Some(1.0));
        let harmony = "<|channel|>analysis<|message|>Answer: 7<|end|><|start|>assistant<|channel|>final<|message|>Answer: 42";
        assert_eq!(says(harmony).quality, Some(1.0));
    }

    #[test]
    fn a_reply_that_was_cut_off_must_have_named_its_answer() {
        let cut = |content: &str| {
            let finish_reason = Some(FinishReason::Length);
            judged(&Reply { content: content.into(), finish_reason, ..Reply::default() })
        };
        assert_eq!(cut("7 and 35 are 42").label.as_deref(), Some("truncated"));
        assert_eq!(cut("Answer: 42").quality, Some(1.0));
        assert_eq!(cut("").metrics["ran_out"], 1.0);
    }

    #[test]
    fn figures_tell_how_it_came_to_its_answer() {
        let reply = Reply {
            reasoning: "The answer is 40.".into(),
            content: "Answer: 42".into(),
            tokens: vec![1; 300],
            ..Reply::default()
        };
        let metrics = judged(&reply).metrics;
        assert_eq!((metrics["changed"], metrics["looped"], metrics["right_tokens"]), (1.0, 1.0, 300.0));
        let wrong =
            judged(&Reply { content: "Answer: 1".into(), tokens: vec![1, 2], ..Reply::default() }).metrics;
        assert!(!wrong.contains_key("right_tokens") && wrong["changed"] == 0.0 && wrong["looped"] == 0.0);
    }

    #[test]
    fn numbers_are_read_as_people_write_them() {
        for (text, expected) in [
            ("1,234 and 5", vec![1234.0, 5.0]),
            ("1, 2,34", vec![1.0, 2.0, 34.0]),
            ("-5 x-6 7-8 = -9.50", vec![-5.0, 6.0, 7.0, 8.0, -9.5]),
            ("3.", vec![3.0]),
            ("٣ none", vec![]),
        ] {
            assert_eq!(numbers(text), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_and_the_marked_answer_counts(text in any::<String>(), number in 0_u32..10_000) {
            numbers(&text);
            let quality = says(&format!("{text}\n{} {number}", chain::MARK)).quality;
            // A tag of thinking that the text opens may swallow the answer; it never makes another one right.
            prop_assert!(quality == Some(0.0) || number == 42);
            if !text.contains(['<', '[', '◁']) && !text.starts_with("analysis") {
                prop_assert_eq!(quality, Some(f64::from(u8::from(number == 42))));
            }
        }
    }
}
