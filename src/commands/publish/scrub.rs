//! Taking names of people and machines out of what is published.

use std::collections::BTreeMap;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::error::{Context, Result};
use crate::record::journal::loadtest::LoadtestJournal;
use crate::record::journal::{HeldJournal, Journal, Part};
use crate::tree;

/// Shortest name of a user or machine that is looked for: shorter ones are parts of other words.
const SHORTEST: usize = 3;
/// The field of a reply that says where its tokens lie in its text: it holds of that text alone, as the server sent it.
const TOKENS: &str = "token_lengths";
/// Names that say nothing of anybody.
const NOBODY: &[&str] = &["root", "user", "localhost", "nobody", "ubuntu", "admin"];

/// What is taken out, and how often it was.
#[derive(Debug, Default)]
pub(in crate::commands) struct Scrubber {
    home: String,
    names: Vec<(String, &'static str)>,
    removed: BTreeMap<&'static str, usize>,
    /// Paths by their last part, in the order in which they came.
    paths: BTreeMap<String, Vec<String>>,
}

impl Scrubber {
    /// The names of this user and this machine, as the system says them.
    pub(in crate::commands) fn of_this_machine() -> Self {
        let variable = |name: &str| std::env::var(name).unwrap_or_default();
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let user = [variable("USER"), variable("LOGNAME")].into_iter().find(|name| !name.is_empty());
        Self::new(&variable("HOME"), host.trim(), &user.unwrap_or_default())
    }

    fn new(home: &str, host: &str, user: &str) -> Self {
        let is_name = |name: &str| name.len() >= SHORTEST && !NOBODY.contains(&name);
        let names = [(host, "HOST"), (user, "USER")].into_iter().filter(|(name, _)| is_name(name));
        let home = if home.len() > 1 { home.trim_end_matches('/').to_owned() } else { String::new() };
        Self {
            home,
            names: names.map(|(name, to)| (name.to_owned(), to)).collect(),
            removed: BTreeMap::new(),
            paths: BTreeMap::new(),
        }
    }

    /// What was taken out, in words; never the thing itself.
    pub(in crate::commands) fn removed(&self) -> Vec<String> {
        self.removed.iter().map(|(what, count)| format!("{what}: {count} times")).collect()
    }

    /// The same with names taken out of every text of it; `paths`: folders, too. A model's replies are not cut: what they
    /// say of folders is no folder of ours.
    pub(in crate::commands) fn scrubbed<T: Serialize + DeserializeOwned>(
        &mut self,
        of: &T,
        paths: bool,
    ) -> Result<T> {
        let mut value = tree::tree(of).context(|| "cannot look through a run".into())?;
        self.walk(&mut value, paths);
        tree::value(&value).context(|| "cannot put a run together again".into())
    }

    /// A journal with names and folders taken out of all that it holds: whatever a page is made of comes from here.
    pub(super) fn all(&mut self, journal: &Journal) -> Result<Journal> {
        let Journal { header, cases, launches, trials, decisions, held, load, doubts, parts, repeated } =
            journal;
        Ok(Journal {
            header: self.scrubbed(header, true)?,
            // A case's text is no folder of ours.
            cases: self.each(cases, false)?,
            launches: self.each(launches, true)?,
            trials: self.each(trials, true)?,
            decisions: self.each(decisions, true)?,
            // A place in a schema is no folder of ours.
            held: HeldJournal {
                schemas: self.each(&held.schemas, false)?,
                cases: self.each(&held.cases, false)?,
            },
            load: LoadtestJournal {
                servers: self.each(&load.servers, true)?,
                steps: self.each(&load.steps, true)?,
                trials: self.each(&load.trials, true)?,
            },
            doubts: self.each(doubts, true)?,
            parts: (1..).zip(parts).map(|(number, part)| self.part(number, part)).collect::<Result<_>>()?,
            repeated: self.each(repeated, true)?,
        })
    }

    /// A worker's machine has a name that its cluster gave it.
    fn part(&mut self, number: usize, part: &Part) -> Result<Part> {
        let place = format!("machine {number}");
        let machine = self.scrubbed(&part.machine, true)?;
        Ok(Part { name: format!("part {number}"), place, machine, ..part.clone() })
    }

    fn each<T: Serialize + DeserializeOwned>(&mut self, items: &[T], paths: bool) -> Result<Vec<T>> {
        items.iter().map(|item| self.scrubbed(item, paths)).collect()
    }

    fn walk(&mut self, value: &mut Value, paths: bool) {
        match value {
            Value::String(text) => *text = self.text(text, paths),
            Value::Array(items) => items.iter_mut().for_each(|item| self.walk(item, paths)),
            Value::Object(fields) => {
                let tokens = fields.remove(TOKENS).map(|tokens| (tokens, texts(fields)));
                for (name, field) in fields.iter_mut() {
                    self.walk(field, paths && name != "reply" && name != "content");
                }
                if let Some((tokens, before)) = tokens
                    && texts(fields) == before
                {
                    fields.insert(TOKENS.to_owned(), tokens);
                }
            }
            _ => {}
        }
    }

    fn text(&mut self, text: &str, paths: bool) -> String {
        let mut text = text.to_owned();
        if !self.home.is_empty() {
            text = self.replaced(&text, &self.home.clone(), "~", "home folder");
        }
        for (name, to) in self.names.clone() {
            let what = if to == "HOST" { "name of the machine" } else { "name of the user" };
            text = self.replaced(&text, &name, to, what);
        }
        text = self.homes(&text);
        if paths { self.folders(&text) } else { text }
    }

    /// Replaces a name where it stands for itself.
    fn replaced(&mut self, text: &str, name: &str, to: &str, what: &'static str) -> String {
        let mut made = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(at) = rest.find(name) {
            let (before, after) = (&rest[..at], &rest[at + name.len()..]);
            made.push_str(before);
            let part_of_a_word =
                made.chars().next_back().is_some_and(is_word) || after.chars().next().is_some_and(is_word);
            if part_of_a_word {
                made.push_str(name);
            } else {
                made.push_str(to);
                *self.removed.entry(what).or_default() += 1;
            }
            rest = after;
        }
        made + rest
    }

    /// `/home/NAME` and `/Users/NAME` of whomever.
    fn homes(&mut self, text: &str) -> String {
        let mut made = text.to_owned();
        for root in ["/home/", "/Users/", "C:\\Users\\"] {
            let mut from = 0;
            while let Some(at) = made[from..].find(root).map(|at| at + from) {
                let after = at + root.len();
                let name = made[after..]
                    .find(|c: char| !(is_word(c) || c == '.' || c == '-'))
                    .unwrap_or(made.len() - after);
                made.replace_range(at..after + name, "~");
                *self.removed.entry("home folder").or_default() += 1;
                from = at + 1;
            }
        }
        made
    }

    /// Absolute paths by their last part; what lies in another folder under the same name has a number: settings may differ by it.
    fn folders(&mut self, text: &str) -> String {
        let words = text.split_inclusive(|c: char| c.is_whitespace() || "\"'=,;()".contains(c));
        words.map(|word| self.folder(word)).collect()
    }

    fn folder(&mut self, word: &str) -> String {
        let bare = word.trim_end_matches(|c: char| c.is_whitespace() || "\"'=,;()".contains(c));
        let (path, end) = word.split_at(bare.len());
        let is_path = path.starts_with('/') && !path.starts_with("//") && path.matches('/').count() > 1;
        let last = path.rsplit('/').find(|part| !part.is_empty());
        match last.filter(|_| is_path) {
            Some(last) => {
                *self.removed.entry("folder").or_default() += 1;
                let whole = path.trim_end_matches('/');
                let known = self.paths.entry(last.to_owned()).or_default();
                let place = known.iter().position(|known| known == whole).unwrap_or_else(|| {
                    known.push(whole.to_owned());
                    known.len() - 1
                });
                let number = if place == 0 { String::new() } else { (place + 1).to_string() };
                format!("…{number}/{last}{end}")
            }
            None => word.to_owned(),
        }
    }
}

/// The texts of a reply that [`TOKENS`] is about.
fn texts(reply: &Map<String, Value>) -> [Option<Value>; 2] {
    ["reasoning", "content"].map(|name| reply.get(name).cloned())
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::record::Reply;

    #[test]
    fn names_and_folders_go_and_replies_stay() {
        let mut scrubber = Scrubber::new("/home/jo.doe", "workbox", "jodoe");
        let run = json!({
            "argv": ["/home/jo.doe/bin/server", "--model", "/data/models/q.gguf", "--host=/run/x/y.sock", "--ctx", "512"],
            "error": "cannot read /srv/secret/log.txt on workbox (jodoe)",
            "reply": { "content": "see /etc/app/config and /home/other/x; workboxes" },
            "n": 3
        });
        let clean = scrubber.scrubbed(&run, true).unwrap();
        assert_eq!(
            clean["argv"],
            json!(["~/bin/server", "--model", "…/q.gguf", "--host=…/y.sock", "--ctx", "512"])
        );
        assert_eq!(clean["error"], "cannot read …/log.txt on HOST (USER)");
        assert_eq!(clean["reply"]["content"], "see /etc/app/config and ~/x; workboxes");
        let removed = scrubber.removed();
        assert_eq!(
            removed,
            [
                "folder: 3 times",
                "home folder: 2 times",
                "name of the machine: 1 times",
                "name of the user: 1 times"
            ]
        );
        assert!(!removed.join(" ").contains("doe"));
    }

    #[test]
    fn where_tokens_lie_is_kept_with_the_text_alone_that_they_are_of() {
        let mut scrubber = Scrubber::new("/home/jo.doe", "workbox", "474");
        let reply = |content: &str| Reply {
            content: content.into(),
            token_lengths: "474".into(),
            ..Reply::default()
        };
        let same = reply("see the 7 boxes");
        assert_eq!(scrubber.scrubbed(&same, true).unwrap(), same);
        let other = scrubber.scrubbed(&reply("see the workbox"), true).unwrap();
        assert_eq!((other.content.as_str(), other.token_lengths.as_str()), ("see the HOST", ""));
    }

    #[test]
    fn settings_that_differ_by_a_folder_alone_stay_two() {
        let mut scrubber = Scrubber::new("/", "", "");
        let labels = ["Q8_0 lora=/runs/a/adapter.gguf", "Q8_0 lora=/runs/b/adapter.gguf"];
        let clean = json!(["Q8_0 lora=…/adapter.gguf", "Q8_0 lora=…2/adapter.gguf"]);
        // In the summary and in the journal alike.
        for _ in 0..2 {
            assert_eq!(scrubber.scrubbed(&json!(labels), true).unwrap(), clean);
        }
        assert_eq!(scrubber.scrubbed(&json!("/runs/a/ /runs/a"), true).unwrap(), "…/a …/a");
    }

    #[test]
    fn what_says_nothing_of_anybody_stays() {
        let mut scrubber = Scrubber::new("/", "pc", "root");
        assert_eq!(
            scrubber.scrubbed(&json!("pc root / a/b //x/y http://h/a/b"), true).unwrap(),
            json!("pc root / a/b //x/y http://h/a/b")
        );
        assert!(scrubber.removed().is_empty());
    }
}
