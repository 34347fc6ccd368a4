//! Retrieval: find what was said somewhere in a long context.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::trial::{FinishReason, Reply};

mod haystack;
pub mod niah;

/// A reply's text as the matchers read it: control characters become newlines, the ends are trimmed, the
/// case is folded.
fn readable(text: &str) -> String {
    let text: String = text.chars().map(|c| if c.is_control() { '\n' } else { c }).collect();
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
fn ran_out(reply: &Reply) -> bool {
    reply.finish_reason == Some(FinishReason::Length)
}

/// The answers of a target `{"answers": [..]}`; none when the target is not of that form.
fn answers(target: &Value) -> Vec<String> {
    let listed = target.get("answers").and_then(Value::as_array);
    let texts = listed.into_iter().flatten().filter_map(Value::as_str);
    texts.map(str::to_owned).collect()
}

/// A target `{"answers": [..]}`.
fn target(answers: Vec<String>) -> Value {
    serde_json::json!(BTreeMap::from([("answers", answers)]))
}

#[cfg(test)]
mod tests {
    use super::*;

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
