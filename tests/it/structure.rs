//! The picture of docs/architecture.md, kept: no file-level import circle, and no import against the floors.
//!
//! Reads the `use` lines and the paths of non-test code. A re-export is a signpost: what it names counts as an import of
//! the file that defines it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Every floor with those that it may import; files of `src/` itself that are not listed are the ground.
const FLOORS: &[(&str, &[&str])] = &[
    ("ground", &[]),
    ("record", &["ground"]),
    ("task", &["ground", "record"]),
    ("import", &["ground", "record", "task"]),
    ("measure", &["ground", "record", "task", "import"]),
    ("judge", &["ground", "record", "task", "import"]),
    ("suite", &["ground", "record", "task", "import", "measure"]),
    ("cli", &["ground", "record", "task", "import", "measure", "judge", "suite"]),
    ("commands", &["ground", "record", "task", "import", "measure", "judge", "suite", "cli"]),
];

/// Rooms whose circles are known and not yet untied: none is.
const KNOWN: &[&str] = &[];

#[test]
fn imports_follow_the_picture() {
    let mut files = BTreeMap::new();
    read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), "", &mut files);
    let faults = faults(&files, KNOWN);
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn a_circle_and_an_import_against_the_floors_are_found() {
    let tree = |edits: &[(&str, &str)]| {
        let mut files: BTreeMap<String, String> = [
            ("record/mod.rs", "mod case;\npub use case::Case;"),
            ("record/case.rs", "pub struct Case; // use crate::judge::Verdict;"),
            (
                "judge/mod.rs",
                "mod verdict;\npub use verdict::Verdict;\nuse crate::{clock, record::{self, Case}};",
            ),
            (
                "judge/verdict.rs",
                "use super::super::record::Case;\n#[cfg(test)]\nmod tests {\n use crate::measure;\n}",
            ),
            ("measure/mod.rs", "fn look() -> crate::record::Case { todo!() }"),
            ("clock.rs", ""),
        ]
        .map(|(file, text)| (file.to_owned(), text.to_owned()))
        .into();
        files.extend(edits.iter().map(|(file, text)| ((*file).to_owned(), (*text).to_owned())));
        faults(&files, &[])
    };
    assert_eq!(tree(&[]), Vec::<String>::new());
    // Through the re-export in mod.rs, which itself imports verdict.rs: a circle of the two.
    let circle = tree(&[
        ("judge/mod.rs", "mod verdict;\npub struct Rule;\nfn f() { verdict::g() }"),
        ("judge/verdict.rs", "use super::Rule;"),
    ]);
    assert_eq!(circle, ["circle: judge judge/verdict"]);
    let signpost = tree(&[("judge/verdict.rs", "use super::Verdict;")]);
    assert_eq!(signpost, Vec::<String>::new());
    let across = tree(&[("measure/mod.rs", "fn f() { crate::judge::Verdict::new() }")]);
    assert_eq!(across, ["measure may not import judge/verdict (measure stands beside or below judge)"]);
    let upward = tree(&[("clock.rs", "use crate::record::{Case};")]);
    assert_eq!(upward, ["clock may not import record/case (ground stands beside or below record)"]);
    let gone = faults(&BTreeMap::from([("clock.rs".to_owned(), String::new())]), &["task"]);
    assert_eq!(gone, ["no circle is left in task: take it off the list of known ones"]);
}

/// The Rust files of a folder by their path from `src/`.
fn read(folder: &Path, name: &str, files: &mut BTreeMap<String, String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let file = path.file_name().unwrap().to_string_lossy();
        if path.is_dir() {
            read(&path, &format!("{name}{file}/"), files);
        } else if file.ends_with(".rs") {
            files.insert(format!("{name}{file}"), std::fs::read_to_string(&path).unwrap());
        }
    }
}

type Module = Vec<String>;

/// What is wrong with the imports of a tree of files.
fn faults(files: &BTreeMap<String, String>, known: &[&str]) -> Vec<String> {
    let edges = Tree::of(files).edges();
    let mut faults: Vec<String> = Vec::new();
    for (from, to) in edges.iter().flat_map(|(from, to)| to.iter().map(move |to| (from, to))) {
        let (own, other) = (floor(from), floor(to));
        let allowed = FLOORS.iter().find(|(name, _)| *name == own).map_or(&[][..], |(_, below)| below);
        // A table names everything in its room, so it stands above it.
        let table = from.last().is_some_and(|name| name == "table") && own == "task" && other == "import";
        if own != other && own != "top" && !table && !allowed.contains(&other) {
            let (from, to) = (from.join("/"), to.join("/"));
            faults.push(format!("{from} may not import {to} ({own} stands beside or below {other})"));
        }
    }
    let circles = circles(&edges);
    let is_in = |file: &str, room: &&str| {
        file.strip_prefix(*room).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    let unknown =
        circles.iter().filter(|circle| !circle.iter().all(|file| known.iter().any(|room| is_in(file, room))));
    faults.extend(
        unknown.map(|circle| format!("circle: {}", circle.iter().cloned().collect::<Vec<_>>().join(" "))),
    );
    let left = |room: &&&str| circles.iter().flatten().any(|file| is_in(file, room));
    let gone = known.iter().filter(|room| !left(room));
    faults
        .extend(gone.map(|room| format!("no circle is left in {room}: take it off the list of known ones")));
    faults
}

fn floor(module: &Module) -> &str {
    match module.first().map(String::as_str) {
        None | Some("main") => "top",
        Some(name) if FLOORS.iter().any(|(floor, _)| *floor == name) => name,
        Some(_) => "ground",
    }
}

/// Files that import each other, directly or by others: each set of them once.
fn circles(edges: &BTreeMap<Module, BTreeSet<Module>>) -> BTreeSet<BTreeSet<String>> {
    let reached = |from: &Module| {
        let (mut seen, mut open) = (BTreeSet::new(), vec![from]);
        while let Some(next) = open.pop() {
            open.extend(edges.get(next).into_iter().flatten().filter(|to| seen.insert((*to).clone())));
        }
        seen
    };
    let all: BTreeMap<&Module, BTreeSet<Module>> = edges.keys().map(|from| (from, reached(from))).collect();
    let circle = |from: &&Module| {
        let back = |to: &&Module| all.get(*to).is_some_and(|reached| reached.contains(*from));
        all[*from].iter().filter(back).map(|module| module.join("/")).collect()
    };
    edges.keys().filter(|from| all[from].contains(*from)).map(|from| circle(&from)).collect()
}

/// The modules with what they import and what they pass on.
struct Tree {
    imports: BTreeMap<Module, Vec<Module>>,
    passed_on: BTreeMap<Module, BTreeMap<String, Module>>,
}

impl Tree {
    fn of(files: &BTreeMap<String, String>) -> Self {
        let texts: BTreeMap<Module, Vec<String>> =
            files.iter().map(|(file, text)| (module_of(file), words(&without_tests(text)))).collect();
        let for_tests: BTreeSet<Module> =
            files.iter().flat_map(|(file, text)| test_modules(file, text)).collect();
        let is_test = |module: &Module| {
            module.iter().any(|name| name == "tests")
                || (0..=module.len()).any(|at| for_tests.contains(&module[..at]))
        };
        let mut tree = Self { imports: BTreeMap::new(), passed_on: BTreeMap::new() };
        for (module, words) in texts.iter().filter(|(module, _)| !is_test(module)) {
            tree.imports.insert(module.clone(), Vec::new());
            tree.passed_on.insert(module.clone(), BTreeMap::new());
            tree.scan(module, words, &texts);
        }
        tree
    }

    fn scan(&mut self, module: &Module, words: &[String], texts: &BTreeMap<Module, Vec<String>>) {
        let absolute = |path: &[String]| {
            let mut own = module.clone();
            match path.first()?.as_str() {
                "crate" => return Some(path[1..].to_vec()),
                "super" | "self" => {}
                child => {
                    own.push(child.to_owned());
                    texts.contains_key(&own).then_some(())?;
                    return Some([module.as_slice(), path].concat());
                }
            }
            let mut rest = path;
            while let [first, more @ ..] = rest
                && matches!(first.as_str(), "super" | "self")
            {
                (first == "super").then(|| own.truncate(module.len() - (path.len() - rest.len()) - 1));
                rest = more;
            }
            Some([own.as_slice(), rest].concat())
        };
        let mut at = 0;
        while at < words.len() {
            let mut paths = Vec::new();
            let before = at.checked_sub(1).map_or(";", |before| &words[before]);
            if words[at] == "use" && matches!(before, ";" | "{" | "}" | "]" | ")" | "pub") {
                at += 1;
                tree_of_use(words, &mut at, &[], &mut paths);
                let public = matches!(before, "pub" | ")");
                for (path, name) in paths {
                    let Some(path) = absolute(&path) else { continue };
                    match public {
                        true => drop(self.passed_on.entry(module.clone()).or_default().insert(name, path)),
                        false => self.imports.entry(module.clone()).or_default().push(path),
                    }
                }
            } else if words.get(at + 1).is_some_and(|next| next == "::") && !matches!(before, "::" | "in") {
                let mut path = vec![words[at].clone()];
                while words.get(at + 1).is_some_and(|next| next == "::") && at + 2 < words.len() {
                    at += 2;
                    path.push(words[at].clone());
                }
                self.imports.entry(module.clone()).or_default().extend(absolute(&path));
            }
            at += 1;
        }
    }

    /// The file that defines what a path names.
    fn file_of(&self, path: &[String], steps: usize) -> Option<Module> {
        let at = (0..=path.len()).rev().find(|&at| self.imports.contains_key(&path[..at]))?;
        let passed = path.get(at).and_then(|name| self.passed_on[&path[..at]].get(name));
        match passed.filter(|_| steps > 0) {
            Some(target) => self.file_of(&[target.as_slice(), &path[at + 1..]].concat(), steps - 1),
            None => Some(path[..at].to_vec()),
        }
    }

    fn edges(&self) -> BTreeMap<Module, BTreeSet<Module>> {
        let targets = |(from, paths): (&Module, &Vec<Module>)| {
            let files = paths.iter().filter_map(|path| self.file_of(path, 8)).filter(|to| to != from);
            (from.clone(), files.filter(|to| !to.is_empty()).collect())
        };
        self.imports.iter().map(targets).collect()
    }
}

/// The paths of a use tree, each with the name that it gets.
fn tree_of_use(words: &[String], at: &mut usize, before: &[String], paths: &mut Vec<(Module, String)>) {
    let mut path = before.to_vec();
    loop {
        match words.get(*at).map(String::as_str) {
            Some("::") => *at += 1,
            Some("{") => {
                *at += 1;
                while words.get(*at).is_some_and(|word| word != "}" && word != ";") {
                    tree_of_use(words, at, &path, paths);
                    *at += usize::from(words.get(*at).is_some_and(|word| word == ","));
                }
                *at += 1;
                return;
            }
            Some("as") => {
                paths.push((path, words[*at + 1].clone()));
                *at += 2;
                return;
            }
            Some("self") if !path.is_empty() => *at += 1,
            Some(";" | "," | "}") | None => {
                let name = path.last().cloned().unwrap_or_default();
                paths.push((path, name));
                return;
            }
            Some(word) => {
                path.push(word.to_owned());
                *at += 1;
            }
        }
    }
}

fn module_of(file: &str) -> Module {
    let parts = file.trim_end_matches(".rs").split('/').map(str::to_owned);
    parts.filter(|part| part != "mod" && part != "lib").collect()
}

/// The files that a file declares for tests only.
fn test_modules(file: &str, text: &str) -> Vec<Module> {
    let declared = text.split("#[cfg(test)]").skip(1).filter_map(|part| {
        let (before, name) = part.split(';').next()?.rsplit_once("mod ")?;
        (!before.contains('{')).then(|| [module_of(file), vec![name.trim().to_owned()]].concat())
    });
    declared.collect()
}

/// The code without comments, and without what is compiled for tests only.
fn without_tests(text: &str) -> String {
    let uncommented: Vec<&str> =
        text.lines().map(|line| line.split("//").next().unwrap_or_default()).collect();
    let text = uncommented.join("\n");
    let mut parts = text.split("#[cfg(test)]");
    let mut code = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        match (part.find(';'), part.find('{')) {
            (Some(end), Some(body)) if end < body => code.push_str(&part[end..]),
            (Some(end), None) => code.push_str(&part[end..]),
            // `mod tests { .. }` is the last of a file.
            (_, Some(body)) if part[..body].contains("mod tests") => break,
            _ => code.push_str(part),
        }
    }
    code
}

/// Names and signs; `::` is one.
fn words(text: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let (mut last, mut colon) = (' ', false);
    for sign in text.chars() {
        let in_name = |sign: char| sign.is_alphanumeric() || sign == '_';
        match words.last_mut() {
            Some(word) if in_name(sign) && in_name(last) => word.push(sign),
            Some(word) if sign == ':' && last == ':' && colon => {
                word.push(sign);
                colon = false;
                last = sign;
                continue;
            }
            _ if !sign.is_whitespace() => words.push(sign.to_string()),
            _ => {}
        }
        colon = sign == ':';
        last = sign;
    }
    words
}
