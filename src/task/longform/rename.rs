//! Names are changed throughout a file, and nothing else is.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::record::{Case, Outcome, Reply, Score};
use crate::task::options::{THINKING, option, read_target, tuned};
use crate::task::random::Random;
use crate::task::words::{ADJECTIVES, NOUNS};
use crate::task::{Card, Harder, Params, TaskOption};

use super::lines;
use super::work::{CLOSED, Job, Longform, SIZE_TOKENS, Work};

/// Lines of a function, its head among them.
const FUNCTION: usize = 6;
/// Names that the file uses.
const NAMES: usize = 10;
/// Endings of names that only look like one that is changed.
const ENDINGS: &[&str] = &["_count", "_old", "2", "s"];
/// In so many of 100 draws a name is one of those that are changed.
const CHANGED: usize = 40;
/// In front of the expression of a line whose probability is asked for.
const ASSIGNS: &str = " =";

static OPTIONS: &[TaskOption] = &[
    SIZE_TOKENS,
    THINKING,
    tuned(option("renames", "names that are changed; more is harder", 2, 1, 4), Harder::Larger),
];

/// The task `longform/rename`.
pub static RENAME: Longform = Longform(&Rename);

#[derive(Debug)]
struct Rename;

#[derive(Debug, Serialize, Deserialize)]
struct Target {
    lines: Vec<String>,
    /// Numbers (from 0) of the lines in which a name changes.
    changed: Vec<usize>,
}

impl Work for Rename {
    fn card(&self) -> Card {
        Card {
            name: "longform/rename",
            summary: "names are changed throughout a source file, its other lines copied as they are",
            options: OPTIONS,
            figures: &["first_error", "renamed", "copied"],
            needs: CLOSED,
            ..Card::PRIMARY
        }
    }

    /// A unit is a line of the file.
    fn job(&self, params: &Params, mut random: Random, units: usize) -> Job {
        let renames = params.option(&self.card(), "renames") as usize;
        let mut words = NOUNS.to_vec();
        random.shuffle(&mut words);
        let (names, new) = (&words[..NAMES], &words[NAMES..NAMES + renames]);
        let lines: Vec<Line> = (0..units).map(|at| Line::draw(&mut random, names, renames, at)).collect();
        let (mut before, mut after) = (Vec::new(), Vec::new());
        for line in &lines {
            before.push(line.text(|name| names[name]));
            after.push(line.text(|name| new.get(name).copied().unwrap_or(names[name])));
        }
        let mut asked = String::new();
        for (old, new) in names.iter().zip(new) {
            // Writing to a string does not fail.
            let _ = writeln!(asked, "- {old} becomes {new}");
        }
        let prompt = format!(
            "Here is a source file:\n\n```\n{}\n```\n\nChange these names wherever they are used:\n{asked}Names that only contain \
             one of them (such as {}{}) stay as they are, and so do texts in quotes and comments behind #. Write the whole file \
             with the names changed, in one code block, and nothing else.",
            before.join("\n"),
            names[0],
            ENDINGS[0]
        );
        let differs = |at: &usize| before[*at] != after[*at];
        let changed = (0..units).filter(differs).collect();
        let (answer, stretches) = written(&after);
        Job { prompt, answer, target: json!(Target { lines: after, changed }), stretches }
    }

    /// Quality is F1 of the lines in order, blanks at their ends left out. The figures `renamed` and `copied` are the shares of
    /// the lines with and without a change that are there.
    fn judge(&self, case: &Case, reply: &Reply) -> Result<Score, Outcome> {
        let target: Target = read_target(case)?;
        let said: Vec<String> = lines::body(&reply.answer(), |line| line.starts_with("def "))
            .into_iter()
            .map(|line| line.trim_end().to_owned())
            .collect();
        let score = lines::score(&lines::compare(&target.lines, &said), reply);
        let there = |changed: bool| {
            let of = |(at, _): &(usize, &String)| target.changed.binary_search(at).is_ok() == changed;
            let lines: Vec<&String> =
                target.lines.iter().enumerate().filter(of).map(|(_, line)| line).collect();
            let found = lines.iter().filter(|line| said.contains(line)).count();
            found as f64 / lines.len().max(1) as f64
        };
        Ok(score.with("renamed", there(true)).with("copied", there(false)))
    }

    fn right(&self, case: &Case) -> Option<String> {
        Some(written(&read_target::<Target>(case).ok()?.lines).0)
    }
}

/// The file, and where the expressions of its assignments lie.
fn written(lines: &[String]) -> (String, Vec<std::ops::Range<usize>>) {
    let mut text = String::new();
    let mut stretches = Vec::new();
    for line in lines {
        if !text.is_empty() {
            text.push('\n');
        }
        let start = text.len();
        text.push_str(line);
        let expression = line.find(ASSIGNS).map(|at| start + at + ASSIGNS.len());
        stretches.extend(expression.map(|from| from..text.len()));
    }
    (text, stretches)
}

/// A line in pieces.
#[derive(Debug)]
struct Line(Vec<Part>);

#[derive(Debug)]
enum Part {
    /// The name of that number.
    Name(usize),
    Text(String),
}

impl Line {
    fn draw(random: &mut Random, names: &[&str], renames: usize, at: usize) -> Self {
        let mut name = || {
            let among = if random.chance(CHANGED) { renames } else { names.len() };
            random.below(among)
        };
        let [one, two, three] = [name(), name(), name()];
        let text = |text: String| Part::Text(text);
        if at.is_multiple_of(FUNCTION) {
            let word = random.pick(ADJECTIVES);
            let head = text(format!("def {word}_{at}("));
            return Self(vec![head, Part::Name(one), text(", ".into()), Part::Name(two), text("):".into())]);
        }
        if at % FUNCTION == FUNCTION - 1 {
            return Self(vec![text("    return ".into()), Part::Name(one)]);
        }
        let number = random.between(2, 99);
        let indent = || text("    ".into());
        Self(match random.below(6) {
            0 | 1 => vec![
                indent(),
                Part::Name(one),
                text(" = ".into()),
                Part::Name(two),
                text(format!(" + {number}")),
            ],
            2 => vec![
                indent(),
                Part::Name(one),
                text(" = ".into()),
                Part::Name(two),
                text(" * ".into()),
                Part::Name(three),
            ],
            3 => {
                let like = format!("{}{}", names[one], random.pick(ENDINGS));
                vec![text(format!("    {like} = ")), Part::Name(two), text(format!(" - {number}"))]
            }
            4 => vec![text(format!("    print(\"{} is\", ", names[one])), Part::Name(two), text(")".into())],
            _ => vec![
                indent(),
                Part::Name(one),
                text(" = ".into()),
                Part::Name(two),
                text(format!("  # {} at {number}", names[three])),
            ],
        })
    }

    fn text<'a>(&self, name: impl Fn(usize) -> &'a str) -> String {
        let part = |part: &Part| match part {
            Part::Name(number) => name(*number).to_owned(),
            Part::Text(text) => text.clone(),
        };
        self.0.iter().map(part).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{judged, make, of_family, prompt, score};
    use super::*;

    /// Reads the file character by character and changes whole words outside quotes and comments.
    fn solve(case: &Case) -> String {
        let mut parts = prompt(case).split("```\n");
        let file = parts.nth(1).unwrap().trim_end();
        let wanted: Vec<(&str, &str)> = parts
            .next()
            .unwrap()
            .lines()
            .filter_map(|line| line.strip_prefix("- ")?.split_once(" becomes "))
            .collect();
        let change =
            |word: &str| wanted.iter().find(|(old, _)| *old == word).map_or(word, |(_, new)| new).to_owned();
        let mut out = String::new();
        for line in file.lines() {
            let (mut word, mut quoted, mut comment) = (String::new(), false, false);
            for c in line.chars().chain(['\n']) {
                if c.is_alphanumeric() || c == '_' {
                    word.push(c);
                    continue;
                }
                out += &if quoted || comment {
                    std::mem::take(&mut word)
                } else {
                    change(&std::mem::take(&mut word))
                };
                quoted ^= c == '"';
                comment |= c == '#';
                out.push(c);
            }
        }
        out.trim_end().to_owned()
    }

    #[test]
    fn whole_words_outside_quotes_and_comments_change() {
        for (size, renames) in [(512, 1), (2048, 2), (8192, 4)] {
            for case in make(&RENAME, 24_576, 3, &[("size_tokens", size), ("renames", renames)]) {
                assert_eq!(judged(&RENAME, &case, &solve(&case)), (1.0, None));
                let target: Target = read_target(&case).unwrap();
                let share = target.changed.len() as f64 / target.lines.len() as f64;
                assert!((0.2..0.95).contains(&share), "{share}");
            }
        }
    }

    #[test]
    fn what_was_not_changed_and_what_was_not_copied_is_told_apart() {
        let case = &make(&RENAME, 2048, 1, &[])[0];
        let file = prompt(case).split("```\n").nth(1).unwrap();
        let same = score(&RENAME, case, file);
        assert!(same.metrics["renamed"] < 0.3 && same.metrics["copied"] == 1.0, "{same:?}");
        assert_eq!(same.label.as_deref(), Some("altered_lines"));
        let flat: Vec<&str> = file.lines().map(str::trim_start).collect();
        assert!(score(&RENAME, case, &flat.join("\n")).quality.unwrap() < 0.3, "indentation counts");
    }

    #[test]
    fn it_keeps_the_rules_of_its_family() {
        of_family(&RENAME);
    }
}
