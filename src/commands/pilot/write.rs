//! Options put into a suite's text without touching anything else of it.

use std::collections::BTreeMap;
use std::path::Path;

use toml::Spanned;

use crate::error::{Context, Error, Result};
use crate::suite::raw::{RawSuite, RawTask};
use crate::suite::scalar::Tokens;

/// New values of options, by task.
pub(super) type Changes = BTreeMap<String, BTreeMap<String, u32>>;

/// An insertion or replacement: bytes of the old text, and what stands there then.
type Edit = (std::ops::Range<usize>, String);

/// Writes the changes into a suite file. The file is replaced in one step, so a crash leaves the old one.
///
/// # Errors
/// When the file cannot be read or written, or its form is one that cannot be edited safely.
pub(super) fn write(path: &Path, changes: &Changes) -> Result<()> {
    let text = std::fs::read_to_string(path).context(|| format!("cannot read {}", path.display()))?;
    let edited = edit(&text, changes)?;
    let mut next = path.as_os_str().to_owned();
    next.push(".new");
    std::fs::write(&next, edited)
        .and_then(|()| std::fs::rename(&next, path))
        .context(|| format!("cannot write {}", path.display()))
}

/// The text with the changes: values are replaced where they stand, others are added as `options.NAME = VALUE`
/// below the task's name or beside the options that are there.
fn edit(text: &str, changes: &Changes) -> Result<String> {
    let raw: RawSuite = toml::from_str(text).context(|| "the suite is not valid".into())?;
    let mut edits: Vec<Edit> = Vec::new();
    for task in &raw.tasks {
        if let Some(options) = changes.get(task.name.get_ref()) {
            edits.extend(task_edits(text, task, options));
        }
    }
    edits.sort_by_key(|(range, _)| std::cmp::Reverse(range.start));
    let mut edited = text.to_owned();
    for (range, new) in edits {
        edited.replace_range(range, &new);
    }
    verify(&raw, &edited, changes)?;
    Ok(edited)
}

fn task_edits(text: &str, task: &RawTask, options: &BTreeMap<String, u32>) -> Vec<Edit> {
    let known = |name: &str| task.options.iter().find(|(key, _)| key.get_ref() == name);
    let mut edits = Vec::new();
    let mut added = Vec::new();
    for (name, value) in options {
        match known(name) {
            Some((_, old)) => edits.push((old.span(), value.to_string())),
            None => added.push((name, value)),
        }
    }
    if !added.is_empty() {
        let (place, before, between) = place_of_new(text, task);
        let new: String =
            added.iter().map(|(name, value)| format!("{before}{name} = {value}{between}")).collect();
        edits.push((place..place, new));
    }
    edits
}

/// Where new options go, and what stands in front of and behind each.
fn place_of_new(text: &str, task: &RawTask) -> (usize, String, &'static str) {
    let last = task.options.iter().max_by_key(|(_, value)| value.span().end);
    let Some((key, value)) = last else {
        return (line_end(text, task.name.span().end), "\noptions.".into(), "");
    };
    let line = text[..key.span().start].rfind('\n').map_or(0, |at| at + 1);
    let in_front = &text[line..key.span().start];
    match in_front.trim() {
        // A section of its own, or dotted keys: a line more of the same kind.
        front @ ("" | "options.") => {
            (line_end(text, value.span().end), format!("\n{}{front}", indent(in_front)), "")
        }
        // `options = { .. }`
        _ => (value.span().end, ", ".into(), ""),
    }
}

fn indent(line: &str) -> &str {
    &line[..line.len() - line.trim_start().len()]
}

fn line_end(text: &str, from: usize) -> usize {
    text[from..]
        .find('\n')
        .map_or(text.len(), |at| from + at - usize::from(text[from..from + at].ends_with('\r')))
}

/// The edited text must mean the old suite with the new options, and nothing else.
fn verify(old: &RawSuite, edited: &str, changes: &Changes) -> Result<()> {
    let by_hand = |reason: String| {
        let lines = changes.iter().flat_map(|(task, options)| {
            options.iter().map(move |(name, value)| format!("{task}: options.{name} = {value}"))
        });
        Error::runtime(format!("the options cannot be written into the suite: {reason}"))
            .hint(format!("put them in by hand: {}", lines.collect::<Vec<_>>().join("; ")))
    };
    let new: RawSuite = toml::from_str(edited).map_err(|error| by_hand(error.message().to_owned()))?;
    let plain = |options: &BTreeMap<Spanned<String>, Spanned<Tokens>>| -> BTreeMap<String, u32> {
        options.iter().map(|(name, value)| (name.get_ref().clone(), value.get_ref().0)).collect()
    };
    for (old, new) in old.tasks.iter().zip(&new.tasks) {
        let mut wanted = plain(&old.options);
        wanted.extend(changes.get(old.name.get_ref()).cloned().unwrap_or_default());
        if wanted != plain(&new.options) || old.samples.get_ref() != new.samples.get_ref() {
            return Err(by_hand(format!("its form of {} is not one that can be edited", old.name.get_ref())));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "name = \"t\" # the name\ncontexts = [512]\n[reference]\nkv = \"f16\"\n";

    fn changes(options: &[(&str, u32)]) -> Changes {
        let options = options.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect();
        [("a/b".to_owned(), options)].into()
    }

    #[test]
    fn only_the_options_change() {
        for (before, after) in [
            // Nothing there yet, with keys and another task behind.
            (
                "[[task]]\nname = \"a/b\" # ours\nsamples = 2\n\n[[task]]\nname = \"c/d\"\nsamples = 3\n",
                "[[task]]\nname = \"a/b\" # ours\noptions.keys = 9\noptions.n = 4\nsamples = 2\n\n[[task]]\nname = \"c/d\"\nsamples = 3\n",
            ),
            // A section; one value there, with its comment.
            (
                "[[task]]\nname = \"a/b\"\nsamples = 2\n[task.options]\n  n = 1  # was hard\n# end\n",
                "[[task]]\nname = \"a/b\"\nsamples = 2\n[task.options]\n  n = 4  # was hard\n  keys = 9\n# end\n",
            ),
            // An inline table.
            (
                "[[task]]\nname = \"a/b\"\nsamples = 2\noptions = { n = 1, m = 7 } # x",
                "[[task]]\nname = \"a/b\"\nsamples = 2\noptions = { n = 4, m = 7, keys = 9 } # x",
            ),
            // Dotted keys, Windows line breaks.
            (
                "[[task]]\r\nname = \"a/b\"\r\noptions.n = 1\r\nsamples = 2\r\n",
                "[[task]]\r\nname = \"a/b\"\r\noptions.n = 4\noptions.keys = 9\r\nsamples = 2\r\n",
            ),
        ] {
            let edited = edit(&format!("{HEAD}{before}"), &changes(&[("n", 4), ("keys", 9)])).unwrap();
            assert_eq!(edited, format!("{HEAD}{after}"));
        }
    }

    #[test]
    fn a_form_that_cannot_be_edited_is_left_alone() {
        let empty = "[[task]]\nname = \"a/b\"\nsamples = 2\noptions = {}\n";
        let error = edit(&format!("{HEAD}{empty}"), &changes(&[("n", 4)])).unwrap_err();
        assert!(error.hints()[0].contains("a/b: options.n = 4"), "{error}: {:?}", error.hints());
    }

    #[test]
    fn the_file_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("suite.toml");
        std::fs::write(&path, format!("{HEAD}[[task]]\nname = \"a/b\"\nsamples = 2\n")).unwrap();
        write(&path, &changes(&[("n", 4)])).unwrap();
        assert!(std::fs::read_to_string(&path).unwrap().contains("options.n = 4\nsamples"));
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "nothing is left over");
    }
}
