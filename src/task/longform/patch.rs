//! A diff that must apply: many small changes to a file whose lines are much alike.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::record::{Case, Outcome, Reply, Score};
use crate::task::options::{THINKING, option, read_target};
use crate::task::random::Random;
use crate::task::retrieval::ran_out;
use crate::task::words::{ADJECTIVES, Keys};
use crate::task::{Card, Needs, Params, TaskOption};

use super::lines;
use super::unified::{self, Changes, Edit, Hunk};
use super::work::{Job, Longform, SIZE_TOKENS, Work};

/// Settings of a section: every section has some of them.
const SETTINGS: &[&str] =
    &["color", "depth", "height", "limit", "mode", "owner", "rate", "size", "speed", "width"];
/// Fewest and most settings of a section.
const LEAST_SETTINGS: u32 = 4;
const MOST_SETTINGS: u32 = 7;
/// Values are below this.
const VALUES: u32 = 100;

static OPTIONS: &[TaskOption] = &[
    SIZE_TOKENS,
    THINKING,
    option("untouched", "sections without a change for each that has one, on average", 0, 0, 8),
];

/// The task `longform/patch`.
pub static PATCH: Longform = Longform(&Patch);

#[derive(Debug)]
struct Patch;

#[derive(Debug, Serialize, Deserialize)]
struct Target {
    file: Vec<String>,
    /// Old lines that go, from 0.
    removed: BTreeSet<usize>,
    /// Lines that come in, by how many old ones stand in front of them.
    added: BTreeMap<usize, Vec<String>>,
}

impl Work for Patch {
    fn card(&self) -> Card {
        Card {
            name: "longform/patch",
            summary: "a unified diff of many changes: every hunk applies to the file, and the changes are those asked for",
            options: OPTIONS,
            figures: &["first_error", "applies"],
            needs: Needs::SHORT,
            ..Card::PRIMARY
        }
    }

    fn least(&self) -> usize {
        2
    }

    /// A unit is a change, in a section of its own.
    fn job(&self, params: &Params, mut random: Random, units: usize) -> Job {
        let untouched = params.option(&self.card(), "untouched");
        let mut file = ConfigFile::default();
        let mut asked = Vec::new();
        for _ in 0..units {
            for _ in 0..random.between(0, 2 * untouched) {
                file.section(&mut random);
            }
            let section = file.section(&mut random);
            asked.push(file.change(&mut random, section));
        }
        let prompt = format!(
            "Here is the file settings.conf:\n\n```\n{}\n```\n\nMake these changes:\n{}\n\nReply with a unified diff of the file in \
             one code block and nothing else: for each change a hunk with a line `@@ -OLD +NEW @@` (the numbers of its first line), \
             one unchanged line in front and one behind, in the order of the file.",
            file.lines.join("\n"),
            asked.join("\n")
        );
        let ConfigFile { lines, changes: Changes { removed, added }, .. } = file;
        let target = Target { file: lines, removed, added };
        Job { prompt, answer: target.diff(), target: json!(target), stretches: Vec::new() }
    }

    /// Quality is F1 of the changes: lines that go, and lines that come in at their place. Those of hunks that do not apply are
    /// not made. The figure `applies` is the share of the hunks that do.
    fn judge(&self, case: &Case, reply: &Reply) -> Result<Score, Outcome> {
        let target: Target = read_target(case)?;
        let wanted = target.changes();
        let answer = reply.answer();
        let hunks = unified::read(&lines::body(&answer, |_| false));
        let made = unified::apply(&hunks, &target.file);
        let judged = Judged::of(&wanted, &made);
        let score = Score::of(judged.f1)
            .with("first_error", judged.first_error)
            .with("exact", f64::from(u8::from(judged.f1 == 1.0)))
            .with("applies", made.iter().flatten().count() as f64 / made.len().max(1) as f64);
        Ok(match () {
            () if judged.f1 == 1.0 => score,
            () if ran_out(reply) => score.labelled("truncated"),
            () if answer.trim().is_empty() => score.labelled("empty"),
            () if hunks.is_empty() => score.labelled("no_diff"),
            () if made.contains(&None) => score.labelled("does_not_apply"),
            () => score.labelled("other_changes"),
        })
    }

    fn right(&self, case: &Case) -> Option<String> {
        read_target::<Target>(case).ok().map(|target| target.diff())
    }
}

/// What the hunks of a reply are worth.
struct Judged {
    f1: f64,
    /// Share of the changes, in the order of the file, in front of the first that is wrong, was not made or was not asked for.
    first_error: f64,
}

impl Judged {
    /// Formula: F1 = 2 x right changes / (wanted changes + made changes).
    fn of(wanted: &Changes, made: &[Option<Changes>]) -> Self {
        let wanted = wanted.single();
        // A hunk that does not apply is one wrong change.
        let mut said = Vec::new();
        for hunk in made {
            match hunk {
                Some(changes) => said.extend(changes.single().into_iter().map(Some)),
                None => said.push(None),
            }
        }
        let right: BTreeSet<_> = said.iter().flatten().filter(|change| wanted.contains(*change)).collect();
        let alike =
            wanted.iter().zip(&said).take_while(|(wanted, said)| said.as_ref() == Some(*wanted)).count();
        Self {
            f1: 2.0 * right.len() as f64 / (wanted.len() + said.len()).max(1) as f64,
            first_error: alike as f64 / wanted.len().max(said.len()).max(1) as f64,
        }
    }
}

impl Target {
    fn changes(&self) -> Changes {
        Changes { removed: self.removed.clone(), added: self.added.clone() }
    }

    /// The diff with one line around each change.
    fn diff(&self) -> String {
        let mut hunks: Vec<(usize, Hunk)> = Vec::new();
        let places: BTreeSet<usize> = self.removed.iter().chain(self.added.keys()).copied().collect();
        let mut done = 0;
        for place in places {
            if place < done {
                continue;
            }
            let mut edits = Vec::new();
            let keep = |at: usize| self.file.get(at).map(|line| Edit::Keep(line.clone()));
            edits.extend(place.checked_sub(1).and_then(keep));
            let mut at = place;
            while self.removed.contains(&at) {
                edits.push(Edit::Remove(self.file[at].clone()));
                at += 1;
            }
            let places = place..=at;
            let added = places.flat_map(|place| self.added.get(&place).into_iter().flatten());
            edits.extend(added.cloned().map(Edit::Add));
            edits.extend(keep(at));
            done = at + 1;
            hunks.push((place.max(1), Hunk { at: None, edits }));
        }
        let mut text = String::from("--- settings.conf\n+++ settings.conf");
        let mut shift = 0_i64;
        for (at, hunk) in hunks {
            let new = at as i64 + shift;
            text.push_str(&format!("\n@@ -{at} +{new} @@"));
            for edit in &hunk.edits {
                let (sign, line) = match edit {
                    Edit::Keep(line) => (' ', line),
                    Edit::Remove(line) => ('-', line),
                    Edit::Add(line) => ('+', line),
                };
                shift += match sign {
                    '+' => 1,
                    '-' => -1,
                    _ => 0,
                };
                text.push_str(&format!("\n{sign}{line}"));
            }
        }
        text
    }
}

/// A file of sections with settings, as it is written, and what is to be done to it.
#[derive(Debug, Default)]
struct ConfigFile {
    names: Keys,
    lines: Vec<String>,
    changes: Changes,
}

/// A section that was just written.
struct Section {
    name: String,
    /// Number of the line of its first setting.
    first: usize,
    settings: Vec<&'static str>,
}

impl ConfigFile {
    fn section(&mut self, random: &mut Random) -> Section {
        let name = self.names.next(random);
        self.lines.push(format!("[{name}]"));
        let mut settings = SETTINGS.to_vec();
        random.shuffle(&mut settings);
        settings.truncate(random.between(LEAST_SETTINGS, MOST_SETTINGS) as usize);
        let first = self.lines.len();
        for setting in &settings {
            self.lines.push(format!("{setting} = {}", value(random)));
        }
        Section { name, first, settings }
    }

    /// A change in the middle of a section, so that no two touch each other; returns how it is asked for.
    fn change(&mut self, random: &mut Random, section: Section) -> String {
        let Section { name, first, settings } = section;
        let at = 1 + random.below(settings.len() - 2);
        let (line, setting) = (first + at, settings[at]);
        match random.below(3) {
            0 => {
                let new = loop {
                    let new = format!("{setting} = {}", value(random));
                    if new != self.lines[line] {
                        break new;
                    }
                };
                self.changes.removed.insert(line);
                self.changes.added.insert(line + 1, vec![new.clone()]);
                let (_, value) = new.split_once(" = ").unwrap_or_default();
                format!("- in [{name}], set {setting} to {value}")
            }
            1 => {
                self.changes.removed.insert(line);
                format!("- in [{name}], remove {setting}")
            }
            _ => {
                let unused = SETTINGS.iter().filter(|other| !settings.contains(other));
                let unused: Vec<&str> = unused.copied().collect();
                let (new, value) = (random.pick(&unused), value(random));
                self.changes.added.insert(line + 1, vec![format!("{new} = {value}")]);
                format!("- in [{name}], add `{new} = {value}` behind {setting}")
            }
        }
    }
}

fn value(random: &mut Random) -> String {
    if random.chance(50) {
        return random.between(0, VALUES - 1).to_string();
    }
    random.pick(ADJECTIVES).to_owned()
}

#[cfg(test)]
mod tests {
    use super::super::testing::{judged, make, of_family, prompt, score};
    use super::*;

    /// Makes each change by hand on the file, and writes one hunk of the whole file.
    fn solve(case: &Case) -> (Vec<String>, String) {
        let mut parts = prompt(case).split("```\n");
        let old: Vec<&str> = parts.nth(1).unwrap().lines().collect();
        let wanted = parts.next().unwrap();
        let mut new: Vec<String> = old.iter().map(|line| (*line).to_owned()).collect();
        for line in wanted.lines().filter(|line| line.starts_with("- in [")) {
            let (section, change) = line["- in ".len()..].split_once(", ").unwrap();
            let start = new.iter().position(|line| line == section).unwrap();
            let setting = |name: &str| {
                let is_it =
                    |line: &String| line.split_once(" = ").is_some_and(|(setting, _)| setting == name);
                start + 1 + new[start + 1..].iter().position(is_it).unwrap()
            };
            if let Some(rest) = change.strip_prefix("set ") {
                let (name, value) = rest.split_once(" to ").unwrap();
                let at = setting(name);
                new[at] = format!("{name} = {value}");
            } else if let Some(name) = change.strip_prefix("remove ") {
                let at = setting(name);
                new.remove(at);
            } else {
                let (line, name) = change.strip_prefix("add `").unwrap().split_once("` behind ").unwrap();
                let at = setting(name);
                new.insert(at + 1, line.to_owned());
            }
        }
        let removed: String = old.iter().map(|line| format!("-{line}\n")).collect();
        let added: String = new.iter().map(|line| format!("+{line}\n")).collect();
        (new, format!("@@ -1 +1 @@\n{removed}{added}"))
    }

    #[test]
    fn the_right_diff_makes_the_file_that_was_asked_for() {
        for (size, untouched) in [(512, 0), (512, 1), (2048, 3), (8192, 1)] {
            for case in make(&PATCH, 65_536, 3, &[("size_tokens", size), ("untouched", untouched)]) {
                let target: Target = read_target(&case).unwrap();
                let (new, _) = solve(&case);
                assert_eq!(target.changes().applied(&target.file), new);
                let right = PATCH.0.right(&case).unwrap();
                let made = unified::apply(&unified::read(&lines::body(&right, |_| false)), &target.file);
                let mut all = Changes::default();
                for changes in made {
                    let changes = changes.expect("every hunk applies");
                    all.removed.extend(changes.removed);
                    all.added.extend(changes.added);
                }
                assert_eq!(all.applied(&target.file), new);
            }
        }
    }

    #[test]
    fn faults_are_named_and_cost_their_changes() {
        let case = &make(&PATCH, 2048, 1, &[])[0];
        let right = PATCH.0.right(case).unwrap();
        let hunks: Vec<&str> = right.split("\n@@").collect();
        // Other line numbers do not matter, a line that is not there does.
        let numbers = right.replace("@@ -", "@@ -1");
        assert!(score(&PATCH, case, &numbers).metrics["applies"] == 1.0);
        let context = hunks[2].lines().nth(1).unwrap();
        let broken = right.replacen(context, " nothing = such", 1);
        let found = score(&PATCH, case, &broken);
        assert_eq!(found.label.as_deref(), Some("does_not_apply"));
        assert!(found.metrics["applies"] < 1.0 && (0.5..1.0).contains(&found.quality.unwrap()), "{found:?}");
        assert_eq!(found.metrics["first_error"] > 0.0, hunks.len() > 2);
        let missing = format!("{}\n@@{}", hunks[0], hunks[2..].join("\n@@"));
        let (quality, label) = judged(&PATCH, case, &missing);
        assert!((0.5..1.0).contains(&quality) && label.as_deref() == Some("other_changes"));
        assert_eq!(judged(&PATCH, case, "I changed it all.").1.as_deref(), Some("no_diff"));
        // The whole file anew makes far more changes than were asked for.
        assert!(judged(&PATCH, case, &solve(case).1).0 < 0.5);
    }

    #[test]
    fn it_keeps_the_rules_of_its_family() {
        of_family(&PATCH);
    }
}
