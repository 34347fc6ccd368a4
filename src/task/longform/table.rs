//! A table out of prose.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::record::{Case, Outcome, Reply, Score};
use crate::task::options::{THINKING, read_target};
use crate::task::prose::{NAMES, SURNAMES, TOWNS, TRADES};
use crate::task::random::Random;
use crate::task::{Card, Params, TaskOption};

use super::lines;
use super::work::{CLOSED, Job, Longform, SIZE_TOKENS, Work};

/// Columns of the table.
const COLUMNS: [&str; 5] = ["name", "trade", "town", "age", "animal"];
const ANIMALS: &[&str] = &["cat", "dog", "donkey", "goat", "hen", "parrot", "pony", "rabbit"];
/// How a person is mentioned first.
const FIRST: &[&str] = &[
    "{name} is a {trade} from {town}.",
    "In {town} lives {name}, a {trade}.",
    "Then there is {name} from {town}, who works as a {trade}.",
];
/// What is said of them later.
const LATER: &[&str] = &[
    "{name} is {age} years old and keeps a {animal}.",
    "The {animal} belongs to {name}, aged {age}.",
    "At {age}, {name} still feeds the {animal} every morning.",
];
/// People whose later sentences are mixed.
const GROUP: usize = 6;

static OPTIONS: &[TaskOption] = &[SIZE_TOKENS, THINKING];

/// The task `longform/table`.
pub static TABLE: Longform = Longform(&Table);

#[derive(Debug)]
struct Table;

#[derive(Debug, Serialize, Deserialize)]
struct Target {
    rows: Vec<Vec<String>>,
}

impl Work for Table {
    fn card(&self) -> Card {
        Card {
            name: "longform/table",
            summary: "a table with a row for each person of a long prose text, no cell confused with another's",
            options: OPTIONS,
            figures: &["first_error", "cells"],
            needs: CLOSED,
            ..Card::PRIMARY
        }
    }

    /// A unit is a person.
    fn job(&self, _: &Params, mut random: Random, units: usize) -> Job {
        let rows = rows(&mut random, units);
        let mut paragraphs = Vec::new();
        for group in rows.chunks(GROUP) {
            let mut sentences: Vec<String> = group.iter().map(|row| fill(&mut random, FIRST, row)).collect();
            let mut later: Vec<String> = group.iter().map(|row| fill(&mut random, LATER, row)).collect();
            random.shuffle(&mut later);
            sentences.append(&mut later);
            paragraphs.push(sentences.join(" "));
        }
        let prompt = format!(
            "{}\n\nWrite a table with a row for each person, in the order in which they are first mentioned. A row has the form\n\
             | {} |\nwith the words of the text. Write one row a line, without a head, and nothing else.",
            paragraphs.join("\n\n"),
            COLUMNS.join(" | ")
        );
        let (answer, stretches) = written(&rows);
        Job { prompt, answer, target: json!(Target { rows }), stretches }
    }

    /// Quality is F1 of the rows. The figure `cells` is the share of the cells that are right, rows found by their name.
    fn judge(&self, case: &Case, reply: &Reply) -> Result<Score, Outcome> {
        let target: Target = read_target(case)?;
        let answer = reply.answer();
        let said: Vec<Vec<String>> =
            lines::body(&answer, |_| false).into_iter().map(cells).filter(|row| is_row(row)).collect();
        let joined = |rows: &[Vec<String>]| rows.iter().map(|row| row.join(" | ")).collect::<Vec<_>>();
        let compared = lines::compare(&joined(&target.rows), &joined(&said));
        Ok(lines::score(&compared, reply).with("cells", right_cells(&target.rows, &said)))
    }

    fn right(&self, case: &Case) -> Option<String> {
        Some(written(&read_target::<Target>(case).ok()?.rows).0)
    }
}

/// People: name, trade, town, age, animal.
fn rows(random: &mut Random, count: usize) -> Vec<Vec<String>> {
    let mut names = BTreeSet::new();
    let mut rows = Vec::new();
    while rows.len() < count {
        let middle = char::from(b'A' + random.below(26) as u8);
        let name = format!("{} {middle}. {}", random.pick(NAMES), random.pick(SURNAMES));
        if names.insert(name.clone()) {
            let age = random.between(18, 89).to_string();
            let words = [random.pick(TRADES), random.pick(TOWNS), &age, random.pick(ANIMALS)];
            rows.push([name].into_iter().chain(words.map(str::to_owned)).collect());
        }
    }
    rows
}

fn fill(random: &mut Random, templates: &[&str], row: &[String]) -> String {
    let template = random.pick(templates).to_owned();
    let put = |text: String, (column, cell): (&&str, &String)| text.replace(&format!("{{{column}}}"), cell);
    COLUMNS.iter().zip(row).fold(template, put)
}

/// The table, and where what stands behind the first bar of each row lies.
fn written(rows: &[Vec<String>]) -> (String, Vec<std::ops::Range<usize>>) {
    let mut text = String::new();
    let mut stretches = Vec::new();
    for row in rows {
        text.push_str(if text.is_empty() { "|" } else { "\n|" });
        let start = text.len();
        text.push_str(&format!(" {} |", row.join(" | ")));
        stretches.push(start..text.len());
    }
    (text, stretches)
}

/// The cells of a line, whatever bars enclose it.
fn cells(line: &str) -> Vec<String> {
    let line = line.trim().trim_start_matches('|').trim_end_matches('|');
    line.split('|').map(lines::item).collect()
}

/// Whether a line is a row, and neither the table's head nor what separates it.
fn is_row(cells: &[String]) -> bool {
    let is_head = cells.first().is_some_and(|cell| cell.eq_ignore_ascii_case(COLUMNS[0]));
    !is_head && !cells.iter().all(|cell| cell.chars().all(|c| "-: ".contains(c)))
}

/// Share of the cells behind the names that are right (0..1).
fn right_cells(wanted: &[Vec<String>], said: &[Vec<String>]) -> f64 {
    let mut by_name: BTreeMap<&str, &[String]> = BTreeMap::new();
    for row in said {
        by_name.entry(&row[0]).or_insert(&row[1..]);
    }
    let (mut right, mut all) = (0, 0);
    for row in wanted {
        let found = by_name.get(row[0].as_str()).copied().unwrap_or_default();
        right += row[1..].iter().zip(found).filter(|(wanted, said)| wanted == said).count();
        all += row.len() - 1;
    }
    right as f64 / all.max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::super::testing::{judged, make, of_family, prompt, score};
    use super::*;

    /// Reads the prose sentence by sentence: people in the order of their first mention, their facts by known words.
    fn solve(case: &Case) -> String {
        let (text, _) = prompt(case).split_once("\n\nWrite a table").unwrap();
        let mut order = Vec::new();
        let mut facts: BTreeMap<String, [String; 4]> = BTreeMap::new();
        // A sentence ends with a point behind a lower-case letter or a digit, never behind an initial.
        let text = text.replace('\n', " ");
        let words: Vec<&str> = text.split_whitespace().collect();
        let mut sentence: Vec<&str> = Vec::new();
        for word in words {
            sentence.push(word);
            let is_initial = word.len() == 2 && word.starts_with(char::is_uppercase);
            if !word.ends_with('.') || is_initial {
                continue;
            }
            let at = sentence.iter().position(|word| word.len() == 2 && word.ends_with('.')).unwrap();
            let clean = |word: &str| word.trim_matches([',', '.']).to_owned();
            let name = format!("{} {} {}", sentence[at - 1], sentence[at], clean(sentence[at + 1]));
            if !facts.contains_key(&name) {
                order.push(name.clone());
            }
            let of = facts.entry(name).or_default();
            let joined = sentence.join(" ");
            for word in sentence.iter().map(|word| clean(word)) {
                let place = match word.as_str() {
                    trade if TRADES.contains(&trade) => 0,
                    age if age.parse::<u32>().is_ok() => 2,
                    animal if ANIMALS.contains(&animal) => 3,
                    _ => continue,
                };
                of[place] = word;
            }
            if let Some(town) = TOWNS.iter().find(|town| joined.contains(**town)) {
                of[1] = (*town).to_owned();
            }
            sentence.clear();
        }
        let row = |name: &String| format!("| {name} | {} |", facts[name].join(" | "));
        order.iter().map(row).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn a_reader_of_the_prose_writes_the_table() {
        for size in [512, 4096, 8192] {
            for case in make(&TABLE, 32_768, 3, &[("size_tokens", size)]) {
                assert_eq!(judged(&TABLE, &case, &solve(&case)), (1.0, None));
            }
        }
    }

    #[test]
    fn a_head_and_other_bars_do_not_matter_and_cells_are_counted() {
        let case = &make(&TABLE, 2048, 1, &[])[0];
        let right = TABLE.0.right(case).unwrap();
        let dressed = format!("| Name | Trade | Town | Age | Animal |\n|---|:--|---|--:|---|\n{right}");
        assert_eq!(judged(&TABLE, case, &dressed), (1.0, None));
        let bare: Vec<&str> = right.lines().map(|line| line.trim_matches(['|', ' '])).collect();
        assert_eq!(judged(&TABLE, case, &bare.join("\n")), (1.0, None));
        let rows = bare.len() as f64;
        let target: Target = read_target(case).unwrap();
        let wrong = right.replacen(&format!("| {} |", target.rows[1][3]), "| 17 |", 1);
        let found = score(&TABLE, case, &wrong);
        assert_eq!(found.metrics["cells"], 1.0 - 0.25 / rows);
        assert!(found.quality.unwrap() < 1.0);
    }

    #[test]
    fn it_keeps_the_rules_of_its_family() {
        of_family(&TABLE);
    }
}
