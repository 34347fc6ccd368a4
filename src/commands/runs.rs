//! Run folders: made, and found again by path, unique prefix, `latest` or `latest~N` (N runs before it).
//!
//! A run appears at once and whole: its folder is made under a hidden name, and gets its own when the journal in it has
//! its header. What is found under a hidden name is a run that is being prepared, or whose kneepoint was killed before it
//! began.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::path::{Path, PathBuf};

use crate::error::{Context, Error, Result};
use crate::record::journal;
use crate::record::journal::{Header, Journal, JournalWriter};
use crate::record::suite::Suite;

/// What the name of a folder begins with while its run is prepared.
const HIDDEN: &str = ".new-";
/// Names the run that this one came after, where the clock does not show it.
const FOLLOWS: &str = "follows";
/// What a folder of a run holds in which nothing was measured, at most.
const EMPTY: &[&str] = &["engine", "suite.json", "suite.toml", FOLLOWS, journal::FILE_NAME, "cases.tmp"];
/// Length of the time that a folder's name begins with.
const STAMP: usize = "20260731T235959Z".len();

/// A run that is being prepared. Dropped before it has begun, it leaves nothing behind.
pub(super) struct NewRun {
    hidden: PathBuf,
    folder: PathBuf,
    /// `None` once the run has begun.
    writer: Option<JournalWriter>,
    /// The folder of the runs, if it was not there before.
    made: Option<PathBuf>,
}

/// Takes the place of a new run: `<utc time>-<suite>-<short id>`.
pub(super) fn prepare(runs_dir: &Path, suite: &Suite) -> Result<NewRun> {
    let elsewhere = |error: Error| error.hint("choose another place with --runs-dir or KNEEPOINT_RUNS_DIR");
    let made = (!runs_dir.exists()).then(|| runs_dir.to_owned());
    std::fs::create_dir_all(runs_dir)
        .context(|| format!("cannot create {}", runs_dir.display()))
        .map_err(elsewhere)?;
    // One kneepoint at a time makes a folder, so that none takes another's for a leftover. Where folders cannot be
    // locked, that is as rare as two starts in the same millisecond.
    let lock = File::open(runs_dir).and_then(|folder| folder.lock().map(|()| folder));
    let before = entries(runs_dir);
    sweep(&before);
    let stamp = crate::clock::folder_stamp();
    let unique = format!("{}{}{}", crate::clock::now(), std::process::id(), suite.fingerprint());
    let id = crate::record::short_hash(unique.as_bytes());
    let name = format!("{stamp}-{}-{}", suite.name, &id[..6]);
    let hidden = runs_dir.join(format!("{HIDDEN}{name}"));
    std::fs::create_dir_all(hidden.join("engine"))
        .context(|| format!("cannot create {}", hidden.display()))
        .map_err(elsewhere)?;
    let mut new = NewRun { folder: runs_dir.join(&name), hidden, writer: None, made };
    if let Some(newest) = before.last().filter(|newest| newest.order.stamp >= stamp) {
        std::fs::write(new.hidden.join(FOLLOWS), &newest.name)
            .context(|| format!("cannot write to {}", new.hidden.display()))?;
    }
    new.writer = Some(JournalWriter::reserve(&new.hidden)?);
    drop(lock);
    Ok(new)
}

impl NewRun {
    /// The name that the run will have.
    pub(super) fn name(&self) -> String {
        name_of(&self.folder)
    }

    /// Where its files go until it begins.
    pub(super) fn hidden(&self) -> &Path {
        &self.hidden
    }

    /// The run begins: its folder appears under its own name, with the journal's header on disk and what it takes from
    /// elsewhere.
    pub(super) fn begin(
        mut self,
        header: &Header,
        taken: Option<&Journal>,
    ) -> Result<(PathBuf, JournalWriter)> {
        let mut writer = self.writer.take().ok_or_else(|| Error::runtime("the run has begun already"))?;
        let records = taken.into_iter().flat_map(Journal::records);
        let begun = writer.begin(header).and_then(|()| writer.append_all(records)).and_then(|()| {
            std::fs::rename(&self.hidden, &self.folder)
                .context(|| format!("cannot create {}", self.folder.display()))
        });
        if let Err(error) = begun {
            self.writer = Some(writer);
            return Err(error);
        }
        writer.moved_to(&self.folder);
        // Some file systems refuse; then the new name lasts when the system sees fit.
        let _ = self.folder.parent().map(|folder| File::open(folder).and_then(|folder| folder.sync_all()));
        Ok((self.folder.clone(), writer))
    }
}

impl Drop for NewRun {
    fn drop(&mut self) {
        if self.writer.is_none() && self.folder.is_dir() {
            return;
        }
        // A leftover is harmless: `latest` says what it is, and the next run removes it.
        let _ = std::fs::remove_dir_all(&self.hidden);
        if let Some(made) = &self.made {
            // Fails when there is something in it by now.
            let _ = std::fs::remove_dir(made);
        }
    }
}

/// Removes what kneepoints left that were killed while they prepared a run. A newer run begins, so `latest` is not
/// about them any more.
fn sweep(entries: &[Entry]) {
    for entry in entries.iter().filter(|entry| entry.is_hidden()) {
        if entry.state() == State::Nothing && holds_nothing(&entry.folder) {
            let _ = std::fs::remove_dir_all(&entry.folder);
        }
    }
}

/// What became of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// It has a journal with a header.
    Begun,
    /// A kneepoint is preparing it.
    Preparing,
    /// It ended before its journal had a header.
    Nothing,
}

/// A folder of a run, or of what should have become one.
#[derive(Debug, Clone)]
struct Entry {
    name: String,
    folder: PathBuf,
    order: Order,
}

/// Sorts runs by their creation.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Order {
    /// The time in its name, or in that of the run that it came after, whichever is later.
    stamp: String,
    /// How many runs it came after against the clock.
    depth: u32,
    name: String,
}

impl Entry {
    fn is_hidden(&self) -> bool {
        name_of(&self.folder).starts_with(HIDDEN)
    }

    fn state(&self) -> State {
        match () {
            () if !self.is_hidden() && journal::has_header(&self.folder) => State::Begun,
            () if journal::is_locked(&self.folder) => State::Preparing,
            () => State::Nothing,
        }
    }
}

/// Finds a run: a folder with a journal, a unique prefix of a name, `latest`, or `latest~N`: N runs before it.
pub(super) fn find(runs_dir: &Path, name: &str) -> Result<PathBuf> {
    let direct = Path::new(name);
    if journal::is_in(direct) {
        return Ok(direct.to_path_buf());
    }
    let entries = entries(runs_dir);
    if let Some(before) = runs_before_latest(name) {
        let (last, older) = entries.split_last().ok_or_else(|| none_there(runs_dir))?;
        let Some(further) = before.checked_sub(1) else { return begun(last, &entries) };
        let older = older.iter().rev().filter(|entry| entry.state() == State::Begun);
        let found = older.clone().nth(further).map(|entry| entry.folder.clone());
        return found.ok_or_else(|| {
            let there = older.count() + 1;
            Error::usage(format!("`{name}` is beyond the {there} runs in {}", runs_dir.display()))
                .hint(format!("the latest is {}", last.name))
        });
    }
    let matching: Vec<&Entry> = entries.iter().filter(|known| known.name.starts_with(name)).collect();
    match matching.as_slice() {
        [one] => begun(one, &entries),
        [] if entries.is_empty() => Err(none_there(runs_dir)),
        [] => Err(Error::usage(format!("no run `{name}` in {}", runs_dir.display()))
            .hint(format!("the latest is {}", entries.last().map_or("", |last| last.name.as_str())))),
        several => Err(Error::usage(format!("`{name}` is the start of {} runs", several.len()))
            .hint(format!("give more of the name: {}", shown(several)))),
    }
}

/// How many runs before the latest one a name means: 0 for `latest`, 2 for `latest~2`; `None` for other names.
fn runs_before_latest(name: &str) -> Option<usize> {
    match name.strip_prefix("latest")? {
        "" => Some(0),
        "~" => Some(1),
        before => before.strip_prefix('~')?.parse().ok(),
    }
}

/// The folder of a run that has begun; an older one must not stand in for it without a word.
fn begun(entry: &Entry, all: &[Entry]) -> Result<PathBuf> {
    let name = &entry.name;
    let error = match entry.state() {
        State::Begun => return Ok(entry.folder.clone()),
        State::Preparing => {
            Error::usage(format!("run {name} is still being prepared: nothing is measured yet"))
                .hint("wait until it has begun")
        }
        State::Nothing => Error::usage(format!("run {name} ended before it began: nothing was measured"))
            .hint("`kneepoint run SUITE` starts it again")
            .hint("`kneepoint history prune` removes what it left"),
    };
    let older = all.iter().rev().find(|other| other.order < entry.order && other.state() == State::Begun);
    Err(match older {
        Some(older) => error.hint(format!("the run before it is {}", older.name)),
        None => error,
    })
}

fn shown(entries: &[&Entry]) -> String {
    entries.iter().take(5).map(|entry| entry.name.as_str()).collect::<Vec<_>>().join(", ")
}

fn none_there(runs_dir: &Path) -> Error {
    Error::usage(format!("no runs in {}", runs_dir.display()))
        .hint("`kneepoint run suites/quickstart.toml` makes one; --runs-dir names another folder")
}

/// Names of the runs in a folder that have begun, oldest first.
pub(super) fn names(runs_dir: &Path) -> Vec<String> {
    let begun = entries(runs_dir).into_iter().filter(|entry| entry.state() == State::Begun);
    begun.map(|entry| entry.name).collect()
}

/// A run in which nothing was measured.
pub(super) struct Leftover {
    pub(super) name: String,
    pub(super) folder: PathBuf,
    pub(super) suite: String,
    /// The time in its name (UTC, RFC 3339).
    pub(super) started: String,
}

/// Runs that ended before they began, oldest first.
pub(super) fn leftovers(runs_dir: &Path) -> Vec<Leftover> {
    let is_leftover = |entry: &Entry| {
        is_run_name(&entry.name) && entry.state() == State::Nothing && holds_nothing(&entry.folder)
    };
    let nothing = entries(runs_dir).into_iter().filter(is_leftover);
    nothing
        .map(|entry| {
            // Between the time and the id.
            let suite = entry.name.get(STAMP + 1..entry.name.len() - 7).unwrap_or_default().to_owned();
            Leftover { started: rfc3339(&entry.name), suite, name: entry.name, folder: entry.folder }
        })
        .collect()
}

/// `20260731T235959Z-..` as `2026-07-31T23:59:59Z`; only for names of runs.
fn rfc3339(name: &str) -> String {
    let part = |range: std::ops::Range<usize>| name.get(range).unwrap_or_default();
    format!("{}-{}-{}T{}:{}:{}Z", part(0..4), part(4..6), part(6..8), part(9..11), part(11..13), part(13..15))
}

/// Whether a folder holds nothing that a run without a journal would not have: nothing of the user's.
fn holds_nothing(folder: &Path) -> bool {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.all(|name| EMPTY.contains(&name.as_str()))
}

/// Every run in a folder, oldest first: those with a journal, and those that should have got one.
fn entries(runs_dir: &Path) -> Vec<Entry> {
    let found = std::fs::read_dir(runs_dir).into_iter().flatten().flatten();
    let found = found.filter_map(|entry| {
        let name = entry.file_name().into_string().ok()?;
        let folder = named(entry.path(), &name);
        let name = name.strip_prefix(HIDDEN).unwrap_or(&name).to_owned();
        let is_run = journal::is_in(&folder) || (is_run_name(&name) && folder.is_dir());
        is_run.then_some((name, folder))
    });
    let found: Vec<(String, PathBuf)> = found.collect();
    let follows: HashMap<&str, String> = found
        .iter()
        .filter_map(|(name, folder)| {
            let before = std::fs::read_to_string(folder.join(FOLLOWS)).ok()?;
            Some((name.as_str(), before.trim().to_owned()))
        })
        .collect();
    let known: HashSet<&str> = found.iter().map(|(name, _)| name.as_str()).collect();
    let mut entries: Vec<Entry> = found
        .iter()
        .map(|(name, folder)| Entry {
            name: name.clone(),
            folder: folder.clone(),
            order: order(name, &|name| follows.get(name).filter(|before| known.contains(before.as_str()))),
        })
        .collect();
    entries.sort_by(|a, b| a.order.cmp(&b.order));
    entries
}

/// The folder of a run; one whose kneepoint was killed between the header and the name gets its name now.
fn named(folder: PathBuf, name: &str) -> PathBuf {
    let Some(name) = name.strip_prefix(HIDDEN).filter(|name| is_run_name(name)) else { return folder };
    if journal::is_locked(&folder) || !journal::has_header(&folder) {
        return folder;
    }
    let own = folder.with_file_name(name);
    match std::fs::rename(&folder, &own) {
        Ok(()) => own,
        Err(_) => folder,
    }
}

/// Follows the runs that a run came after while their time is not before its own; `before` names the last of them.
fn order<'a>(name: &'a str, before: &dyn Fn(&str) -> Option<&'a String>) -> Order {
    let own = stamp(name).to_owned();
    let mut order = Order { stamp: own, depth: 0, name: name.to_owned() };
    let mut at = name;
    // A chain cannot be longer than that, unless somebody made a circle.
    while let Some(earlier) = before(at).filter(|_| order.depth < 10_000) {
        if stamp(earlier) > order.stamp.as_str() {
            order.stamp = stamp(earlier).to_owned();
        }
        order.depth += 1;
        at = earlier;
    }
    // A run after the clock was right again is later than those of the wrong time before it.
    if order.stamp == stamp(name) && before(name).is_none_or(|earlier| stamp(earlier) < order.stamp.as_str())
    {
        order.depth = 0;
    }
    order
}

/// The time that a name begins with; the whole name where it is of another kind.
fn stamp(name: &str) -> &str {
    if is_run_name(name) { &name[..STAMP] } else { name }
}

/// Whether kneepoint gives such names: `20260731T235959Z-suite-0a1b2c`.
fn is_run_name(name: &str) -> bool {
    let (Some(stamp), Some(rest)) = (name.get(..STAMP), name.get(STAMP..)) else { return false };
    let shape = |at: usize, c: char| match at {
        8 => c == 'T',
        15 => c == 'Z',
        _ => c.is_ascii_digit(),
    };
    let id = rest.rsplit('-').next().unwrap_or_default();
    stamp.chars().enumerate().all(|(at, c)| shape(at, c))
        && rest.len() > 8
        && rest.starts_with('-')
        && id.len() == 6
        && id.chars().all(|c| c.is_ascii_hexdigit())
}

fn name_of(folder: &Path) -> String {
    folder.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs with a journal's header, each with the run that it names as the one before it.
    fn runs(of: &[(&str, Option<&str>)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (name, follows) in of {
            let folder = dir.path().join(name);
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(folder.join(journal::FILE_NAME), "{\"header\": {}}\n").unwrap();
            if let Some(follows) = follows {
                std::fs::write(folder.join(FOLLOWS), follows).unwrap();
            }
        }
        dir
    }

    const WRONG: &str = "20300101T000000Z-a-000001";
    const SECOND: &str = "20260102T000000Z-a-000002";
    const THIRD: &str = "20260103T000000Z-a-000003";
    const LATER: &str = "20310101T000000Z-a-000004";

    #[test]
    fn latest_is_the_last_that_was_made_also_after_a_clock_that_was_ahead() {
        let dir = runs(&[(WRONG, None), (SECOND, Some(WRONG)), (THIRD, Some(SECOND))]);
        assert_eq!(names(dir.path()), [WRONG, SECOND, THIRD]);
        assert_eq!(find(dir.path(), "latest").unwrap(), dir.path().join(THIRD));
        let dir = runs(&[(WRONG, None), (SECOND, Some(WRONG)), (THIRD, Some(SECOND)), (LATER, None)]);
        assert_eq!(names(dir.path()), [WRONG, SECOND, THIRD, LATER]);
    }

    #[test]
    fn latest_counts_backwards() {
        let of = runs_before_latest;
        assert_eq!(
            [of("latest"), of("latest~1"), of("latest~12"), of("latest~"), of("latest-run"), of("latest~x")],
            [Some(0), Some(1), Some(12), Some(1), None, None]
        );
        let dir = runs(&[(SECOND, None), (THIRD, Some(SECOND)), (LATER, None)]);
        assert_eq!(find(dir.path(), "latest~2").unwrap(), dir.path().join(SECOND));
        let beyond = find(dir.path(), "latest~3").unwrap_err();
        assert!(beyond.to_string().contains("beyond the 3 runs"), "{beyond}");
    }

    #[test]
    fn runs_of_one_second_keep_their_order() {
        let [a, b] = ["20260102T000000Z-z-000001", "20260102T000000Z-a-000002"];
        let dir = runs(&[(a, None), (b, Some(a))]);
        assert_eq!(names(dir.path()), [a, b]);
    }

    #[test]
    fn without_the_run_before_it_the_clock_decides() {
        let dir = runs(&[(SECOND, Some(WRONG)), (THIRD, Some(SECOND))]);
        assert_eq!(names(dir.path()), [SECOND, THIRD]);
        let circle = runs(&[(SECOND, Some(THIRD)), (THIRD, Some(SECOND))]);
        assert_eq!(names(circle.path()).len(), 2);
    }

    #[test]
    fn a_newest_run_without_a_header_is_named_and_no_older_one_stands_in() {
        for (name, journal) in [
            (THIRD.to_owned(), None),
            (THIRD.to_owned(), Some("")),
            (THIRD.to_owned(), Some("{\"header\": {\"for")),
            (format!("{HIDDEN}{THIRD}"), Some("")),
        ] {
            let dir = runs(&[(SECOND, None)]);
            let folder = dir.path().join(&name);
            std::fs::create_dir_all(folder.join("engine")).unwrap();
            if let Some(text) = journal {
                std::fs::write(folder.join(journal::FILE_NAME), text).unwrap();
            }
            let error = find(dir.path(), "latest").unwrap_err();
            assert!(error.to_string().contains(THIRD) && error.to_string().contains("nothing"), "{error}");
            assert!(error.hints().iter().any(|hint| hint.contains(SECOND)), "{:?}", error.hints());
            assert_eq!(names(dir.path()), [SECOND]);
            let left = leftovers(dir.path());
            assert_eq!(left.len(), 1);
            assert_eq!(left[0].started, "2026-01-03T00:00:00Z");
        }
    }

    #[test]
    fn a_run_that_was_killed_between_its_header_and_its_name_is_a_run() {
        let dir = runs(&[(SECOND, None)]);
        let hidden = dir.path().join(format!("{HIDDEN}{THIRD}"));
        std::fs::create_dir_all(&hidden).unwrap();
        std::fs::write(hidden.join(journal::FILE_NAME), "{\"header\": {}}\n").unwrap();
        assert_eq!(find(dir.path(), "latest").unwrap(), dir.path().join(THIRD));
        assert_eq!(names(dir.path()), [SECOND, THIRD]);
        assert!(!hidden.exists());
    }

    #[test]
    fn a_run_that_is_prepared_is_told_from_one_that_was_killed() {
        let dir = runs(&[(SECOND, None)]);
        let hidden = dir.path().join(format!("{HIDDEN}{THIRD}"));
        std::fs::create_dir_all(&hidden).unwrap();
        let writer = JournalWriter::reserve(&hidden).unwrap();
        let error = find(dir.path(), "latest").unwrap_err();
        assert!(error.to_string().contains("being prepared"), "{error}");
        assert!(leftovers(dir.path()).is_empty());
        drop(writer);
        assert!(find(dir.path(), "latest").unwrap_err().to_string().contains("ended before it began"));
    }

    #[test]
    fn what_is_not_kneepoints_is_no_leftover() {
        let dir = runs(&[]);
        let folder = dir.path().join(THIRD);
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("thesis.tex"), "mine").unwrap();
        std::fs::create_dir_all(dir.path().join("notes")).unwrap();
        assert!(leftovers(dir.path()).is_empty());
        assert!(is_run_name(THIRD) && !is_run_name("20260103-a") && !is_run_name("notes"));
    }
}
