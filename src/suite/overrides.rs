//! `--set KEY=VALUE`: overrides of any suite key; `--set model=MODEL` (`--model MODEL`): another model instead of the
//! suite's.

use std::path::Path;

use toml::{Table, Value};

use crate::error::{Context, Error, Result};
use crate::measure::model::folder::Found;
use crate::measure::model::{Reference, folder, packages};
use crate::record::secrets::expand_home;

/// Applies `KEY=VALUE` overrides in order. Keys are dotted, list items by number (`task.0.samples`);
/// values are TOML (`["f16"]`, `3`, `"x"`), and what is not TOML is taken as a bare word.
///
/// # Errors
/// A usage error when an override has no `=` or its path leads through something that has no keys.
///
/// `suites_folder` is where the suite's own paths start; that of `model=PATH` starts where kneepoint was started.
pub(super) fn apply(mut table: Table, overrides: &[String], suites_folder: &Path) -> Result<Table> {
    for text in overrides {
        let (key, value) = text.split_once('=').ok_or_else(|| {
            Error::usage(format!("--set {text}: no `=`"))
                .hint("write --set KEY=VALUE, such as --set rounds=1")
        })?;
        let path: Vec<&str> = key.trim().split('.').collect();
        if path.iter().any(|part| part.is_empty()) {
            return Err(Error::usage(format!("--set {text}: the key has an empty part")));
        }
        let value = value_of(value.trim());
        if let (["model"], Value::String(model)) = (path.as_slice(), &value) {
            own_model(&mut table, model, suites_folder)?;
            continue;
        }
        set(&mut table, &path, value).map_err(|reason| {
            Error::usage(format!("--set {text}: {reason}"))
                .hint("list items are named by number, such as task.0.samples=10")
        })?;
    }
    Ok(table)
}

/// Puts the user's model in place of the suite's only one: settings that name that model, or the quant that it has, mean
/// the new one and its quant. What is derived is derived from the new one.
fn own_model(table: &mut Table, model: &str, suites_folder: &Path) -> Result<()> {
    let old = match table.get("model").and_then(Value::as_array).map(Vec::as_slice) {
        Some([Value::Table(only)]) => only.clone(),
        other => {
            let count = other.map_or(0, <[Value]>::len);
            return Err(Error::usage(format!("--model {model}: the suite has {count} models, not one"))
                .hint("name the one that is meant: --set model.0.path=/path/to/model.gguf"));
        }
    };
    let new = OwnModel::of(model)?;
    let mut entry = Table::new();
    entry.insert("name".into(), Value::String(new.name.clone()));
    entry.insert(new.key.into(), Value::String(new.value.clone()));
    if let Some(weights) = &new.weights {
        entry.insert("weights".into(), Value::String(weights.clone()));
    }
    let derive = old.get("derive").and_then(Value::as_array).cloned().unwrap_or_default();
    let derive: Vec<Value> = derive
        .into_iter()
        .filter(|quant| quant.as_str().is_none_or(|quant| !new.offers.iter().any(|own| own == quant)))
        .collect();
    if !derive.is_empty() {
        entry.insert("derive".into(), Value::Array(derive));
    }
    let renamed = Renamed {
        model: (old.get("name").and_then(Value::as_str).map(str::to_owned), new.name),
        weights: own_weights(&old, suites_folder).zip(new.weights),
    };
    table.insert("model".into(), Value::Array(vec![Value::Table(entry)]));
    for part in ["reference", "matrix", "setting"] {
        if let Some(settings) = table.get_mut(part) {
            renamed.apply(settings);
        }
    }
    Ok(())
}

/// The quant that a suite's model usually has.
fn own_weights(model: &Table, suites_folder: &Path) -> Option<String> {
    let text = |key: &str| model.get(key).and_then(Value::as_str);
    if let Some(weights) = text("weights") {
        return Some(weights.to_owned());
    }
    let package = text("package").and_then(|name| packages::model(name).ok()?.weights().map(str::to_owned));
    let hub = || Reference::parse(text("from")?).ok()?.quant();
    let file = || folder::weights_of(&suites_folder.join(expand_home(text("path")?)));
    package.or_else(hub).or_else(file)
}

/// A model as the user names it on the command line.
struct OwnModel {
    name: String,
    key: &'static str,
    value: String,
    weights: Option<String>,
    /// Quants that have files of their own.
    offers: Vec<String>,
}

impl OwnModel {
    fn of(text: &str) -> Result<Self> {
        if text.starts_with("hf:") {
            let reference = Reference::parse(text)
                .map_err(|message| Error::usage(format!("--model {text}: {message}")))?;
            let weights = reference.quant();
            let name = text.trim_start_matches("hf:").split([':', '@']).next().unwrap_or_default();
            let name = name.rsplit('/').next().unwrap_or(name).to_owned();
            return Ok(Self {
                name,
                key: "from",
                value: text.into(),
                offers: weights.clone().into_iter().collect(),
                weights,
            });
        }
        let path = std::path::absolute(expand_home(text)).context(|| format!("cannot find {text}"))?;
        if !path.exists() && !text.contains('*') {
            return Err(Error::usage(format!("--model {text}: there is no such file or folder")).hint(
                "name a GGUF file, a folder, a pattern such as models/Foo-*.gguf, or hf:OWNER/REPO:QUANT",
            ));
        }
        let offers: Vec<String> = match folder::look(&path)? {
            Found::File => folder::weights_of(&path).into_iter().collect(),
            Found::Folder(weights) => weights.into_iter().collect(),
            Found::Quants(offers) => offers.into_iter().map(|offer| offer.weights).collect(),
        };
        let last = path.file_name().unwrap_or_default().to_string_lossy();
        let stem = last.strip_suffix(".gguf").unwrap_or(&last).trim_end_matches(['*', '-', '.', '_']);
        let weights = offers.first().cloned();
        Ok(Self {
            name: stem.to_owned(),
            key: "path",
            value: path.to_string_lossy().into_owned(),
            weights,
            offers,
        })
    }
}

/// Names that settings must use now.
struct Renamed {
    model: (Option<String>, String),
    weights: Option<(String, String)>,
}

impl Renamed {
    fn apply(&self, settings: &mut Value) {
        match settings {
            Value::Array(items) => items.iter_mut().for_each(|item| self.apply(item)),
            Value::Table(keys) => {
                for (key, value) in keys.iter_mut() {
                    match key.as_str() {
                        "model" => each_word(value, &|word| self.of_model(word)),
                        "draft" => each_word(value, &|word| self.of_draft(word)),
                        "weights" => each_word(value, &|word| self.of_weights(word)),
                        "exclude" => self.apply(value),
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }

    fn of_model(&self, word: &str) -> Option<String> {
        (self.model.0.as_deref() == Some(word)).then(|| self.model.1.clone())
    }

    fn of_weights(&self, word: &str) -> Option<String> {
        let (old, new) = self.weights.as_ref()?;
        (old == word).then(|| new.clone())
    }

    /// `MODEL`, or `MODEL:QUANT`.
    fn of_draft(&self, word: &str) -> Option<String> {
        self.of_model(word).or_else(|| {
            let (model, quant) = word.rsplit_once(':')?;
            let quant = self.of_weights(quant).unwrap_or_else(|| quant.to_owned());
            Some(format!("{}:{quant}", self.of_model(model)?))
        })
    }
}

/// Changes a word, or every word of a list.
fn each_word(value: &mut Value, change: &dyn Fn(&str) -> Option<String>) {
    match value {
        Value::String(word) => {
            if let Some(new) = change(word) {
                *word = new;
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| each_word(item, change)),
        _ => {}
    }
}

fn value_of(text: &str) -> Value {
    format!("value = {text}")
        .parse::<Table>()
        .ok()
        .and_then(|mut table| table.remove("value"))
        .unwrap_or_else(|| Value::String(text.to_owned()))
}

fn set(table: &mut Table, path: &[&str], value: Value) -> Result<(), String> {
    let (first, rest) = (path[0], &path[1..]);
    if rest.is_empty() {
        table.insert(first.to_owned(), value);
        return Ok(());
    }
    match table.entry(first).or_insert_with(|| Value::Table(Table::new())) {
        Value::Table(inner) => set(inner, rest, value),
        Value::Array(items) => set_item(items, first, rest, value),
        _ => Err(format!("`{first}` has no keys")),
    }
}

fn set_item(items: &mut [Value], name: &str, path: &[&str], value: Value) -> Result<(), String> {
    let count = items.len();
    let index: usize = path[0].parse().map_err(|_| format!("`{name}` is a list: name an item by number"))?;
    let item = items.get_mut(index).ok_or_else(|| format!("`{name}` has {count} items (numbered from 0)"))?;
    match (path.len(), item) {
        (1, item) => *item = value,
        (_, Value::Table(inner)) => return set(inner, &path[1..], value),
        _ => return Err(format!("`{name}.{index}` has no keys")),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn applied(text: &str, overrides: &[&str]) -> Result<Table, String> {
        let overrides: Vec<String> = overrides.iter().map(|text| (*text).to_owned()).collect();
        apply(text.parse().unwrap(), &overrides, Path::new("")).map_err(|error| error.to_string())
    }

    #[test]
    fn values_are_toml_or_bare_words() {
        let table = applied("a = 1", &["matrix.kv=[\"f16\", \"q8_0\"]", "a=2", "name=night"]).unwrap();
        assert_eq!(table["matrix"]["kv"].as_array().unwrap().len(), 2);
        assert_eq!(table["a"].as_integer(), Some(2));
        assert_eq!(table["name"].as_str(), Some("night"));
    }

    #[test]
    fn list_items_are_named_by_number() {
        let table = applied("[[task]]\nsamples = 1", &["task.0.samples=9"]).unwrap();
        assert_eq!(table["task"][0]["samples"].as_integer(), Some(9));
    }

    /// A suite like `suites/tools.toml` runs on another model, whatever quant that has.
    #[test]
    fn a_model_of_ones_own_takes_the_place_of_the_suites() {
        let suite = "[[model]]\nname = \"Old\"\npath = \"old.gguf\"\nweights = \"Q4_K_M\"\nderive = [\"Q2_K\"]\n\
                     [reference]\nmodel = \"Old\"\nweights = \"Q4_K_M\"\n[matrix]\nweights = [\"Q4_K_M\", \"Q2_K\"]\n\
                     draft = [\"Old:Q4_K_M\"]\n";
        let folder = tempfile::tempdir().unwrap();
        for (name, quant, derive) in [("Mine-Q8_0", "Q8_0", Some(1)), ("Mine-Q2_K", "Q2_K", None)] {
            let file = folder.path().join(format!("{name}.gguf"));
            std::fs::write(&file, "no GGUF: the name tells").unwrap();
            let table = applied(suite, &[&format!("model={}", file.display())]).unwrap();
            let model = &table["model"][0];
            assert_eq!((model["name"].as_str(), model["weights"].as_str()), (Some(name), Some(quant)));
            assert_eq!(model["path"].as_str(), file.to_str());
            assert_eq!(model.get("derive").map(|quants| quants.as_array().unwrap().len()), derive);
            assert_eq!(table["reference"]["weights"].as_str(), Some(quant));
            assert_eq!(table["reference"]["model"].as_str(), Some(name));
            assert_eq!(table["matrix"]["weights"][0].as_str(), Some(quant));
            assert_eq!(table["matrix"]["draft"][0].as_str(), Some(format!("{name}:{quant}").as_str()));
        }
        let hub = applied(suite, &["model=hf:owner/Some-GGUF:Q5_K_M"]).unwrap();
        assert_eq!(hub["model"][0]["from"].as_str(), Some("hf:owner/Some-GGUF:Q5_K_M"));
        assert_eq!(hub["reference"]["weights"].as_str(), Some("Q5_K_M"));
        assert!(applied(suite, &["model=/no/such/file.gguf"]).unwrap_err().contains("no such file"));
        let two = format!("{suite}[[model]]\nname = \"b\"\n");
        assert!(applied(&two, &["model=hf:o/r:Q4_0"]).unwrap_err().contains("2 models"));
    }

    #[test]
    fn mistakes_say_what_is_wrong() {
        assert_eq!(applied("a = 1", &["a"]).unwrap_err(), "--set a: no `=`");
        assert_eq!(applied("a = 1", &["a.b=2"]).unwrap_err(), "--set a.b=2: `a` has no keys");
        assert!(applied("[[t]]\nx=1", &["t.5.x=1"]).unwrap_err().contains("has 1 items"));
    }
}
