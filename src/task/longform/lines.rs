//! Lines of a reply against the lines that are right.

use std::collections::BTreeMap;

use crate::record::{Reply, Score};
use crate::task::retrieval::ran_out;

/// Lines of a reply that are read beside twice as many as the right reply has; all behind them are wrong.
const READ_BESIDE: usize = 64;
/// What encloses code in Markdown.
const FENCE: &str = "```";

/// The lines of a reply that are its work: those within its first code fence, or all but a first one that ends in a colon and
/// is none of the work's by `is_line`. Empty lines are left out.
pub(super) fn body(text: &str, is_line: impl Fn(&str) -> bool) -> Vec<&str> {
    let fenced = text.lines().position(is_fence);
    let mut lines: Vec<&str> = match fenced {
        Some(at) => text.lines().skip(at + 1).take_while(|line| !is_fence(line)).collect(),
        None => text.lines().collect(),
    };
    lines.retain(|line| !line.trim().is_empty());
    let opens = |line: &&str| line.trim_end().ends_with(':') && !is_line(line);
    if fenced.is_none() && lines.first().is_some_and(opens) {
        lines.remove(0);
    }
    lines
}

fn is_fence(line: &str) -> bool {
    line.trim_start().starts_with(FENCE)
}

/// A line of a list: without its bullet or number and its ends, runs of white space as one blank.
pub(super) fn item(line: &str) -> String {
    let line = line.trim().trim_start_matches(['-', '*', '+', '•']).trim_start();
    let digits = line.bytes().take_while(u8::is_ascii_digit).count();
    let numbered = digits > 0 && line[digits..].starts_with(['.', ')']);
    let line = if numbered { &line[digits + 1..] } else { line };
    line.trim_matches(['`', '*']).split_whitespace().collect::<Vec<_>>().join(" ")
}

/// What became of the lines.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Compared {
    /// F1 of the lines in order (0..1).
    pub(super) f1: f64,
    /// Share of the reply in front of its first error (0..1).
    pub(super) first_error: f64,
    /// What kind of error there is.
    error: Option<&'static str>,
}

/// Compares lines in order.
///
/// Formula: F1 = 2 x longest common subsequence / (right lines + said lines).
pub(super) fn compare(wanted: &[String], said: &[String]) -> Compared {
    if wanted.is_empty() || said.is_empty() {
        return Compared { f1: 0.0, first_error: 0.0, error: Some("empty") };
    }
    let read = &said[..said.len().min(2 * wanted.len() + READ_BESIDE)];
    let common = common_subsequence(wanted, read);
    let alike = wanted.iter().zip(read).take_while(|(wanted, said)| wanted == said).count();
    let longest = wanted.len().max(said.len());
    let error = match (common == wanted.len(), common == said.len()) {
        (true, true) => None,
        (true, false) => Some("extra_lines"),
        (false, true) => Some("missing_lines"),
        _ if same_lines(wanted, said) => Some("other_order"),
        _ => Some("altered_lines"),
    };
    Compared {
        f1: 2.0 * common as f64 / (wanted.len() + said.len()) as f64,
        first_error: alike as f64 / longest as f64,
        error,
    }
}

/// A score of compared lines.
pub(super) fn score(compared: &Compared, reply: &Reply) -> Score {
    let exact = f64::from(u8::from(compared.error.is_none()));
    let score = Score::of(compared.f1).with("first_error", compared.first_error).with("exact", exact);
    match compared.error {
        Some(_) if ran_out(reply) => score.labelled("truncated"),
        Some(error) => score.labelled(error),
        None => score,
    }
}

/// Length of the longest common subsequence.
fn common_subsequence(one: &[String], other: &[String]) -> usize {
    // Lines as numbers: a long line is compared once.
    let mut numbers = BTreeMap::new();
    for line in one {
        let next = numbers.len();
        numbers.entry(line.as_str()).or_insert(next);
    }
    let other: Vec<usize> =
        other.iter().map(|line| numbers.get(line.as_str()).copied().unwrap_or(usize::MAX)).collect();
    let mut row = vec![0_usize; other.len() + 1];
    for line in one {
        let number = numbers[line.as_str()];
        let mut diagonal = 0;
        for (at, said) in other.iter().enumerate() {
            let above = row[at + 1];
            row[at + 1] = if *said == number { diagonal + 1 } else { above.max(row[at]) };
            diagonal = above;
        }
    }
    row[other.len()]
}

/// Whether both have the same lines, in whatever order.
fn same_lines(one: &[String], other: &[String]) -> bool {
    let sorted = |lines: &[String]| {
        let mut lines = lines.to_vec();
        lines.sort_unstable();
        lines
    };
    one.len() == other.len() && sorted(one) == sorted(other)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn lines(text: &str) -> Vec<String> {
        text.chars().map(String::from).collect()
    }

    #[test]
    fn errors_are_placed_and_named() {
        for (said, f1, first_error, error) in [
            ("abcd", 1.0, 1.0, None),
            ("abc", 6.0 / 7.0, 0.75, Some("missing_lines")),
            ("abcde", 8.0 / 9.0, 0.8, Some("extra_lines")),
            ("abdc", 0.75, 0.5, Some("other_order")),
            ("abxd", 0.75, 0.5, Some("altered_lines")),
            ("xyz", 0.0, 0.0, Some("altered_lines")),
            ("", 0.0, 0.0, Some("empty")),
        ] {
            let found = compare(&lines("abcd"), &lines(said));
            assert_eq!((found.f1, found.first_error, found.error), (f1, first_error, error), "{said}");
        }
    }

    #[test]
    fn the_work_is_in_the_fence_or_all_there_is() {
        let body = |text| body(text, |line| line == "def f():");
        assert_eq!(body("Here:\n```text\na\n\nb\n```\nDone. c"), ["a", "b"]);
        assert_eq!(body("Here it is:\n\na\n b"), ["a", " b"]);
        assert_eq!(body("```\na"), ["a"]);
        assert!(body("\n \r\n").is_empty());
        assert_eq!(body("def f():\n a"), ["def f():", " a"]);
        for line in ["- 12 calm otter", "3. 12  calm otter", "* `12 calm otter`", "12 calm otter"] {
            assert_eq!(item(line), "12 calm otter", "{line}");
        }
    }

    /// The longest common subsequence by trying all subsequences of the shorter text.
    fn by_force(one: &[u8], other: &[u8]) -> usize {
        let is_within = |part: &[u8]| {
            let mut rest = other.iter();
            part.iter().all(|byte| rest.any(|other| other == byte))
        };
        let parts = (0..1_u32 << one.len()).map(|mask| {
            let kept = one.iter().enumerate().filter(|(at, _)| mask >> at & 1 == 1);
            kept.map(|(_, byte)| *byte).collect::<Vec<u8>>()
        });
        parts.filter(|part| is_within(part)).map(|part| part.len()).max().unwrap_or_default()
    }

    proptest! {
        #[test]
        fn f1_is_that_of_the_longest_common_subsequence(one in "[abc]{1,9}", other in "[abcd]{1,9}") {
            let found = compare(&lines(&one), &lines(&other));
            let common = by_force(one.as_bytes(), other.as_bytes());
            prop_assert_eq!(found.f1, 2.0 * common as f64 / (one.len() + other.len()) as f64);
            prop_assert!((0.0..=1.0).contains(&found.first_error));
            prop_assert_eq!(found.first_error == 1.0, one == other);
            prop_assert_eq!(found.error.is_none(), one == other);
        }
    }
}
