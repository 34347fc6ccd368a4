//! Unified diffs: read leniently, applied strictly. Line numbers of hunks only say where to look first.

use std::collections::{BTreeMap, BTreeSet};

/// Hunks that are read; a right diff has far fewer.
const MOST_HUNKS: usize = 4096;

/// One line of a hunk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Edit {
    /// Stays as it is.
    Keep(String),
    /// Goes.
    Remove(String),
    /// Comes in.
    Add(String),
}

/// Neighbouring changes with the lines around them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Hunk {
    /// Number of the old line that it says it begins at, from 1.
    pub(super) at: Option<usize>,
    pub(super) edits: Vec<Edit>,
}

impl Hunk {
    /// The old lines that it names, in order.
    fn old(&self) -> Vec<&str> {
        let old = self.edits.iter().filter_map(|edit| match edit {
            Edit::Keep(line) | Edit::Remove(line) => Some(line.as_str()),
            Edit::Add(_) => None,
        });
        old.collect()
    }
}

/// The hunks of a text: each begins with `@@`. A line in front of the first that is a change begins one, too; heads of files are
/// passed over. An empty line is an empty line that stays.
pub(super) fn read(lines: &[&str]) -> Vec<Hunk> {
    let mut hunks: Vec<Hunk> = Vec::new();
    for line in lines {
        if line.starts_with("@@") {
            if hunks.len() == MOST_HUNKS {
                break;
            }
            hunks.push(Hunk { at: old_start(line), edits: Vec::new() });
            continue;
        }
        let is_head = ["--- ", "+++ ", "diff ", "index "].iter().any(|head| line.starts_with(head));
        if hunks.is_empty() && is_head {
            continue;
        }
        let edit = match line.chars().next() {
            Some('+') => Edit::Add(line[1..].trim_end().to_owned()),
            Some('-') => Edit::Remove(line[1..].trim_end().to_owned()),
            Some(' ') => Edit::Keep(line[1..].trim_end().to_owned()),
            Some('\\') => continue,
            // The blank in front was left out.
            _ => Edit::Keep(line.trim_end().to_owned()),
        };
        if hunks.is_empty() {
            if matches!(edit, Edit::Keep(_)) {
                continue;
            }
            hunks.push(Hunk::default());
        }
        if let Some(hunk) = hunks.last_mut() {
            hunk.edits.push(edit);
        }
    }
    hunks
}

/// The old line that `@@ -12,3 +12,4 @@` begins at.
fn old_start(head: &str) -> Option<usize> {
    let (_, rest) = head.split_once('-')?;
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

/// What is done to a file: changes that do not depend on each other, by old lines (from 0).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Changes {
    /// Lines that go.
    pub(super) removed: BTreeSet<usize>,
    /// Lines that come in, by how many old lines stand in front of them.
    pub(super) added: BTreeMap<usize, Vec<String>>,
}

impl Changes {
    /// As single changes: what is in both was done rightly.
    pub(super) fn single(&self) -> BTreeSet<(usize, Option<&[String]>)> {
        let removed = self.removed.iter().map(|line| (*line, None));
        let added = self.added.iter().map(|(place, lines)| (self.beginning(*place), Some(lines.as_slice())));
        removed.chain(added).collect()
    }

    /// Lines that replace others may come in in front of them or behind them: the place in front of the gone ones.
    fn beginning(&self, mut place: usize) -> usize {
        while place > 0 && self.removed.contains(&(place - 1)) {
            place -= 1;
        }
        place
    }

    /// The file with the changes.
    #[cfg(test)]
    pub(super) fn applied(&self, file: &[String]) -> Vec<String> {
        let mut new = Vec::new();
        for at in 0..=file.len() {
            new.extend(self.added.get(&at).into_iter().flatten().cloned());
            new.extend(file.get(at).filter(|_| !self.removed.contains(&at)).cloned());
        }
        new
    }
}

/// Applies hunks in order. Each must find its old lines behind those of the hunk in front of it, nearest to where it says; those
/// that do not are left out. Returns the changes of each hunk, `None` for one that does not apply.
pub(super) fn apply(hunks: &[Hunk], file: &[String]) -> Vec<Option<Changes>> {
    let mut from = 0;
    let mut applied = Vec::with_capacity(hunks.len());
    for hunk in hunks {
        let place = place(hunk, file, from);
        applied.push(place.map(|place| {
            let (changes, end) = changes(hunk, place);
            from = end;
            changes
        }));
    }
    applied
}

/// Where the old lines of a hunk stand (from 0), not in front of `from`.
fn place(hunk: &Hunk, file: &[String], from: usize) -> Option<usize> {
    let old = hunk.old();
    let last = file.len().checked_sub(old.len())?;
    if old.is_empty() {
        // Nothing says where lines come in but the number.
        return hunk.at.filter(|at| (from..=file.len()).contains(at));
    }
    let stands = |place: &usize| old.iter().zip(&file[*place..]).all(|(old, line)| line == old);
    let aim = hunk.at.map_or(from, |at| at.saturating_sub(1));
    (from..=last).filter(stands).min_by_key(|place| place.abs_diff(aim))
}

/// The changes of a hunk whose old lines begin there, and where they end.
fn changes(hunk: &Hunk, place: usize) -> (Changes, usize) {
    let mut changes = Changes::default();
    let mut at = place;
    for edit in &hunk.edits {
        match edit {
            Edit::Keep(_) => at += 1,
            Edit::Remove(_) => {
                changes.removed.insert(at);
                at += 1;
            }
            Edit::Add(line) => changes.added.entry(at).or_default().push(line.clone()),
        }
    }
    (changes, at)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn file(text: &str) -> Vec<String> {
        text.lines().map(str::to_owned).collect()
    }

    fn applied(diff: &str, old: &str) -> Vec<String> {
        let lines: Vec<&str> = diff.lines().collect();
        let mut all = Changes::default();
        for changes in apply(&read(&lines), &file(old)).into_iter().flatten() {
            all.removed.extend(changes.removed);
            all.added.extend(changes.added);
        }
        all.applied(&file(old))
    }

    #[test]
    fn diffs_apply_by_their_lines_and_numbers_only_help() {
        for (diff, new) in [
            ("--- a\n+++ b\n@@ -2,1 +2,1 @@\n-b\n+x", "a x c a b c"),
            ("@@ -5 +5 @@\n-b\n+x", "a b c a x c"),
            ("@@ -99 +1 @@\n a\n-b\n c", "a b c a c"),
            ("-b\n+x", "a x c a b c"),
            ("@@ @@\n c\n+x\n a", "a b c x a b c"),
            ("@@ -1 @@\n-a\n@@ -4 @@\n-a", "b c b c"),
            ("@@ -0,0 +1 @@\n+x", "x a b c a b c"),
            ("@@ -1 @@\n-b\n-z\n+x\n@@ -3 @@\n-c", "a b a b c"),
            ("no diff at all", "a b c a b c"),
        ] {
            let new: Vec<&str> = new.split(' ').collect();
            assert_eq!(applied(diff, "a\nb\nc\na\nb\nc"), new, "{diff}");
        }
    }

    #[test]
    fn a_replacement_is_the_same_in_either_order() {
        let single = |diff: &str| {
            let lines: Vec<&str> = diff.lines().collect();
            let changes = apply(&read(&lines), &file("a\nb\nc"));
            format!("{:?}", changes[0].as_ref().unwrap().single())
        };
        assert_eq!(single("@@ @@\n-b\n+x"), single("@@ @@\n a\n+x\n-b\n c"));
        assert_ne!(single("@@ @@\n-b\n+x"), single("@@ @@\n-b\n c\n+x"));
    }

    proptest! {
        #[test]
        fn a_diff_of_whole_files_makes_the_new_one(old in "[ab\n]{0,20}", new in "[ab\n]{0,20}") {
            let all = |sign: char, text: &str| text.lines().map(|line| format!("{sign}{line}\n")).collect::<String>();
            let diff = format!("@@ -1 +1 @@\n{}{}", all('-', &old), all('+', &new));
            prop_assume!(!old.is_empty());
            prop_assert_eq!(applied(&diff, &old), file(&new));
        }

        #[test]
        fn any_text_is_read_and_applied(diff in "(@@|-|\\+| |[0-9]|a|b|\n){0,60}", old in "[ab\n]{0,20}") {
            let lines: Vec<&str> = diff.lines().collect();
            let file = file(&old);
            for changes in apply(&read(&lines), &file).into_iter().flatten() {
                prop_assert!(changes.removed.iter().all(|at| *at < file.len()));
                prop_assert!(changes.added.keys().all(|at| *at <= file.len()));
            }
        }
    }
}
