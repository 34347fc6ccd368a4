//! `list`.

use std::path::{Path, PathBuf};

#[cfg(test)]
use schemars::JsonSchema;
use serde::Serialize;

use super::output::{plain_table, print, print_json};
use crate::cli::{ListArgs, Listed};
use crate::console::clean;
use crate::error::Result;
use crate::measure::engine;
use crate::measure::engine::Capability;
use crate::task::Weight;
use crate::{suite, task};

/// What `list --json` prints.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub(super) struct Listing {
    /// Version of this form.
    pub schema_version: u32,
    /// The things listed.
    pub items: Vec<Item>,
}

/// One thing listed.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub(super) struct Item {
    /// Name as suites or commands use it.
    pub name: String,
    /// What it is.
    pub summary: String,
    /// Further facts, one a line.
    pub details: Vec<String>,
}

pub(super) fn list(args: &ListArgs) -> Result<u8> {
    let items = match args.what {
        Listed::Tasks => tasks(),
        Listed::Engines => engines(),
        Listed::Suites => suites(Path::new("suites")),
    };
    if args.json {
        return print_json(&Listing { schema_version: 1, items });
    }
    let mut table = plain_table();
    for item in &items {
        let mut lines = vec![item.summary.clone()];
        lines.extend(item.details.iter().cloned());
        table.add_row([clean(&item.name), clean(&lines.join("\n"))]);
    }
    print(&format!("{}\n", table.trim_fmt()))
}

fn tasks() -> Vec<Item> {
    let items = task::TASKS.iter().map(|task| {
        let mut details = vec![match task.card().weight {
            Weight::Primary => "part of the suite's quality".to_owned(),
            Weight::Sanity => "a sanity check, reported apart".to_owned(),
            Weight::Comparative => "compared with the reference, no quality of its own".to_owned(),
        }];
        if !task.card().arms.is_empty() {
            let arms: Vec<_> = task.card().arms.iter().map(|arm| arm.name()).collect();
            details.push(format!("arms: {}", arms.join(", ")));
        }
        if task.card().needs.reads_file {
            details.push("reads the cases from `file`".to_owned());
        }
        if task.card().needs.modes.len() > 1 {
            let modes: Vec<_> = task.card().needs.modes.iter().map(|mode| mode.name()).collect();
            details.push(format!("modes: {}", modes.join(", ")));
        }
        if task.card().needs.takes_text {
            details.push("takes a text of your own (`text`) to hide needles in".to_owned());
        }
        for option in task.card().options {
            let tuned = if option.difficulty.is_some() { ", tuned by --pilot" } else { "" };
            details
                .push(format!("option {}: {} (default {}{tuned})", option.name, option.help, option.default));
        }
        Item { name: task.name().to_owned(), summary: task.card().summary.to_owned(), details }
    });
    items.collect()
}

fn engines() -> Vec<Item> {
    let items = engine::ENGINES.iter().map(|engine| {
        let mut details = vec![
            format!("cache types: {}", engine.card().cache_types.join(" ")),
            format!("speculation: {}", engine.card().speculation_types.join(" ")),
        ];
        let options: Vec<&str> = engine.card().options.iter().map(|option| option.name).collect();
        if !options.is_empty() {
            details.push(format!("options: {}", options.join(" ")));
        }
        let supports = |capability: &Capability| {
            format!("{}: {}", capability.name(), engine.supports(*capability).words())
        };
        details.extend(Capability::ALL.iter().map(supports));
        Item { name: engine.name().to_owned(), summary: engine.card().described(), details }
    });
    items.collect()
}

/// Suite files of a folder; one that is not valid is listed with what is wrong.
fn suites(folder: &Path) -> Vec<Item> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut paths: Vec<PathBuf> = entries
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|ext| ext == "toml"))
        .collect();
    paths.sort();
    let items = paths.iter().map(|path| {
        let (summary, details) = match suite::load(path, &[]) {
            Ok(suite) => {
                let size = format!("{} settings, contexts {:?}", suite.settings.len(), suite.contexts);
                (suite.description, vec![size])
            }
            Err(error) => (format!("not valid: {error}"), Vec::new()),
        };
        Item { name: path.display().to_string(), summary, details }
    });
    items.collect()
}
