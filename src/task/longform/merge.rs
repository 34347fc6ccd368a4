//! Two sorted lists become one.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::record::{Case, Outcome, Reply, Score};
use crate::task::options::{THINKING, read_target};
use crate::task::random::Random;
use crate::task::words::{ADJECTIVES, NOUNS};
use crate::task::{Card, Params, TaskOption};

use super::lines;
use super::work::{CLOSED, Job, Longform, SIZE_TOKENS, Work};

static OPTIONS: &[TaskOption] = &[SIZE_TOKENS, THINKING];

/// The task `longform/merge`.
pub static MERGE: Longform = Longform(&Merge);

#[derive(Debug)]
struct Merge;

#[derive(Debug, Serialize, Deserialize)]
struct Target {
    lines: Vec<String>,
}

impl Work for Merge {
    fn card(&self) -> Card {
        Card {
            name: "longform/merge",
            summary: "two sorted lists are merged into one, line by line, over a long reply",
            options: OPTIONS,
            figures: &["first_error", "exact"],
            needs: CLOSED,
            ..Card::PRIMARY
        }
    }

    /// A unit is a line of the merged list.
    fn job(&self, _: &Params, mut random: Random, units: usize) -> Job {
        let mut numbers = BTreeSet::new();
        let mut lists = [Vec::new(), Vec::new()];
        for at in 0..units {
            let number = loop {
                let number = random.between(10_000, 99_999);
                if numbers.insert(number) {
                    break number;
                }
            };
            let item = format!("{number} {} {}", random.pick(ADJECTIVES), random.pick(NOUNS));
            // Neither list is empty.
            let list = if at < 2 { at } else { random.below(2) };
            lists[list].push(item);
        }
        lists.iter_mut().for_each(|list| list.sort_unstable());
        let mut merged = lists.concat();
        merged.sort_unstable();
        let (answer, stretches) = bulleted(&merged);
        let [first, second] = lists.map(|list| bulleted(&list).0);
        let prompt = format!(
            "Here are two lists, each sorted by its numbers.\n\nList A:\n{first}\n\nList B:\n{second}\n\nMerge them into one list \
             that is sorted by the numbers, smallest first. Write every line as it stands here, one a line, and nothing else."
        );
        Job { prompt, answer, target: json!(Target { lines: merged }), stretches }
    }

    fn judge(&self, case: &Case, reply: &Reply) -> Result<Score, Outcome> {
        let target: Target = read_target(case)?;
        let said: Vec<String> =
            lines::body(&reply.answer(), |_| false).into_iter().map(lines::item).collect();
        Ok(lines::score(&lines::compare(&target.lines, &said), reply))
    }

    fn right(&self, case: &Case) -> Option<String> {
        Some(bulleted(&read_target::<Target>(case).ok()?.lines).0)
    }
}

/// A line for each with a bullet in front, and where what stands behind the bullets lies.
pub(super) fn bulleted(items: &[String]) -> (String, Vec<std::ops::Range<usize>>) {
    let mut text = String::new();
    let mut stretches = Vec::new();
    for item in items {
        let line_break = if text.is_empty() { "" } else { "\n" };
        text.push_str(line_break);
        text.push('-');
        let start = text.len();
        text.push(' ');
        text.push_str(item);
        stretches.push(start..text.len());
    }
    (text, stretches)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{judged, make, of_family, prompt};
    use super::*;

    /// Takes the smaller of both heads, again and again.
    fn solve(case: &Case) -> String {
        let list = |from: &str| -> Vec<String> {
            let (_, rest) = prompt(case).split_once(from).unwrap();
            rest.lines().take_while(|line| line.starts_with("- ")).map(str::to_owned).collect()
        };
        let (mut a, mut b) = (list("List A:\n"), list("List B:\n"));
        let number = |line: &String| line.split(' ').nth(1).unwrap().parse::<u32>().unwrap();
        let mut merged = Vec::new();
        while !a.is_empty() || !b.is_empty() {
            let from_a = b.is_empty() || !a.is_empty() && number(&a[0]) < number(&b[0]);
            merged.push(if from_a { a.remove(0) } else { b.remove(0) });
        }
        merged.join("\n")
    }

    #[test]
    fn taking_the_smaller_head_is_right() {
        for size in [512, 2048, 8192] {
            for case in make(&MERGE, 24_576, 3, &[("size_tokens", size)]) {
                assert_eq!(judged(&MERGE, &case, &solve(&case)), (1.0, None));
            }
        }
    }

    #[test]
    fn it_keeps_the_rules_of_its_family() {
        of_family(&MERGE);
    }

    #[test]
    fn errors_are_named() {
        let case = &make(&MERGE, 2048, 1, &[])[0];
        let right = solve(case);
        let lines: Vec<&str> = right.lines().collect();
        let label = |lines: &[&str]| judged(&MERGE, case, &lines.join("\n")).1;
        let mut swapped = lines.clone();
        swapped.swap(3, 4);
        assert_eq!(label(&swapped).as_deref(), Some("other_order"));
        assert_eq!(label(&lines[..5]).as_deref(), Some("missing_lines"));
        assert_eq!(label(&[&lines[..], &lines[..1]].concat()).as_deref(), Some("extra_lines"));
        let whole = judged(&MERGE, case, &right.replacen(' ', "  ", 9).replace("- ", "* "));
        assert_eq!(whole, (1.0, None));
    }
}
