//! Names of settings without what all of them share: a report of four settings that differ in one word says the others once.

use serde_json::Value;

use crate::error::{Context, Result};
use crate::judge::analysis::summary::Summary;
use crate::tree;

/// Parts of a name that reports are about: they stay, shared or not.
const TELLING: &[&str] = &["kv=", "spec=", "draft=", "fa="];

/// A summary with short names.
pub(super) struct Shortened {
    pub(super) summary: Summary,
    /// Options that were taken out of the names (`threads=4`), in their order; empty where nothing is shared.
    pub(super) shared: Vec<String>,
}

/// A summary with short names; the command that repeats the run keeps the whole ones, by which `--filter` goes.
///
/// # Errors
/// When the summary cannot be written as JSON.
pub(super) fn shortened(summary: &Summary) -> Result<Shortened> {
    let names = names(summary);
    let shared = shared(&names);
    if shared.is_empty() {
        return Ok(Shortened { summary: summary.clone(), shared });
    }
    let mut pairs: Vec<(&str, String)> = names.iter().map(|name| (*name, short(name, &shared))).collect();
    // One name may be the beginning of another.
    pairs.sort_by_key(|(name, _)| std::cmp::Reverse(name.len()));
    let unwritten = || "the summary cannot be written".to_owned();
    let mut tree = tree::tree(summary).context(unwritten)?;
    rename(&mut tree, &pairs);
    let renamed: Summary = tree::value(&tree).context(unwritten)?;
    Ok(Shortened { summary: Summary { repeat: summary.repeat.clone(), ..renamed }, shared })
}

/// The settings of a run, each once, the reference among them.
fn names(summary: &Summary) -> Vec<&str> {
    let mut names = vec![summary.reference.as_str()];
    let of_cells = summary.cells.iter().map(|cell| cell.setting.as_str());
    let under_load = summary.load.iter().flat_map(|load| &load.servers).map(|server| server.setting.as_str());
    for name in of_cells.chain(under_load) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

/// Options that every name holds; none of a single setting's.
fn shared(names: &[&str]) -> Vec<String> {
    let [first, others @ ..] = names else { return Vec::new() };
    if others.is_empty() {
        return Vec::new();
    }
    let is_option = |part: &&str| {
        part.contains('=')
            && !part.starts_with('-')
            && !TELLING.iter().any(|telling| part.starts_with(telling))
    };
    let everywhere = |part: &&str| others.iter().all(|name| name.split(' ').any(|other| other == *part));
    first.split(' ').skip(1).filter(is_option).filter(everywhere).map(str::to_owned).collect()
}

fn short(name: &str, shared: &[String]) -> String {
    name.split(' ').filter(|part| !shared.iter().any(|option| option == part)).collect::<Vec<_>>().join(" ")
}

/// Replaces the names in every text.
fn rename(tree: &mut Value, pairs: &[(&str, String)]) {
    let renamed =
        |text: &str| pairs.iter().fold(text.to_owned(), |text, (name, short)| text.replace(name, short));
    match tree {
        Value::String(text) if text.contains('=') => *text = renamed(text),
        Value::Array(list) => list.iter_mut().for_each(|item| rename(item, pairs)),
        Value::Object(fields) => {
            let old = std::mem::take(fields);
            for (name, mut field) in old {
                rename(&mut field, pairs);
                let name = if name.contains('=') { renamed(&name) } else { name };
                fields.insert(name, field);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::analysis::testing;

    #[test]
    fn what_all_names_share_is_said_once() {
        let mut summary = testing::summary();
        let label = |kv: &str, more: &str| format!("Q8_0 kv={kv} eager=true{more} pool=2");
        let names = [label("f16", ""), label("q8_0", ""), label("f16", " graph=false")];
        summary.reference.clone_from(&names[0]);
        summary.cells = names.iter().map(|name| testing::cell(name, 512)).collect();
        summary.verdict = format!("{} is no worse than {}.", names[2], names[0]);
        summary.repeat = format!("kneepoint run s.toml --filter 'setting={}'", names[2]);
        let Shortened { summary: shown, shared } = shortened(&summary).unwrap();
        assert_eq!(shown.repeat, summary.repeat, "a filter goes by whole names");
        assert_eq!(shared, ["eager=true", "pool=2"]);
        let settings: Vec<&str> = shown.cells.iter().map(|cell| cell.setting.as_str()).collect();
        assert_eq!(settings, ["Q8_0 kv=f16", "Q8_0 kv=q8_0", "Q8_0 kv=f16 graph=false"]);
        assert_eq!(shown.verdict, "Q8_0 kv=f16 graph=false is no worse than Q8_0 kv=f16.");
    }

    #[test]
    fn a_name_that_is_the_point_or_alone_stays() {
        assert_eq!(shared(&["Q8_0 kv=f16 threads=4"]), Vec::<String>::new());
        assert_eq!(shared(&["Q8_0 kv=f16 spec=ngram", "Q4_0 kv=f16 spec=ngram"]), Vec::<String>::new());
        assert_eq!(shared(&["Q8_0 kv=f16 a=1", "Q8_0 kv=f16 a=2"]), Vec::<String>::new());
    }
}
