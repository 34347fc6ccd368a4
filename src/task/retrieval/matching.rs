//! Which answers a reply holds, by RULER's published rules.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::record::{Case, FinishReason, Part, Reply, Score};

/// Judges a reply by the share of its answers; `error` names the error of an answer that is not all right and
/// was not cut off, given its text and its score.
pub(super) fn judged(case: &Case, reply: &Reply, error: impl FnOnce(&str, f64) -> &'static str) -> Score {
    let text = reply.answer();
    let found = found(&answers(&case.target), &text);
    let quality = share(&found);
    let score = Score { parts: parts(case, &found).into(), ..Score::of(quality) };
    if quality >= 1.0 {
        score
    } else if ran_out(reply) {
        score.labelled("truncated")
    } else if text.trim().is_empty() {
        score.labelled("empty")
    } else {
        score.labelled(error(&text, quality))
    }
}

/// Which of the answers was found where; nothing for a case whose answers have no places.
fn parts(case: &Case, found: &[bool]) -> Vec<Part> {
    let depths = case.target.get("depths").and_then(Value::as_array);
    let depths = depths.into_iter().flatten().filter_map(Value::as_f64);
    let part = |(found, depth): (&bool, f64)| Part { depth, quality: f64::from(u8::from(*found)) };
    found.iter().zip(depths).map(part).collect()
}

/// The label of an error that has no kind of its own.
pub(super) fn plain_error(quality: f64) -> &'static str {
    if quality > 0.0 { "incomplete" } else { "wrong" }
}

/// A text that names every answer.
pub(crate) fn all_answers(case: &Case) -> String {
    answers(&case.target).join(", ")
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
    share(&found(references, text))
}

/// Which of the references the text holds as case-insensitive substrings.
fn found(references: &[String], text: &str) -> Vec<bool> {
    let text = readable(text);
    references.iter().map(|wanted| text.contains(&wanted.to_lowercase())).collect()
}

/// Share of what was found (0..1); 0 of nothing.
fn share(found: &[bool]) -> f64 {
    if found.is_empty() {
        return 0.0;
    }
    found.iter().filter(|found| **found).count() as f64 / found.len() as f64
}

/// 1 when the text holds any of the references as a case-insensitive substring, else 0; RULER's
/// `string_match_part` for one sample.
pub fn match_part(references: &[String], text: &str) -> f64 {
    let text = readable(text);
    let found = references.iter().any(|wanted| text.contains(&wanted.to_lowercase()));
    f64::from(u8::from(found))
}

/// Returns whether the reply was cut off by its output budget.
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
pub(super) fn target(answers: Vec<String>) -> Value {
    serde_json::json!(BTreeMap::from([("answers", answers)]))
}

/// A target `{"answers": [..], "depths": [..]}`: where each answer lies (0..1).
pub(super) fn target_at(answers: Vec<String>, depths: &[f64]) -> Value {
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
            assert_eq!(reply.answer(), expected, "{content}");
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
