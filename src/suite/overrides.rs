//! `--set KEY=VALUE`: overrides of any suite key.

use toml::{Table, Value};

use crate::error::{Error, Result};

/// Applies `KEY=VALUE` overrides in order. Keys are dotted, list items by number (`task.0.samples`);
/// values are TOML (`["f16"]`, `3`, `"x"`), and what is not TOML is taken as a bare word.
///
/// # Errors
/// A usage error when an override has no `=` or its path leads through something that has no keys.
pub(super) fn apply(mut table: Table, overrides: &[String]) -> Result<Table> {
    for text in overrides {
        let (key, value) = text.split_once('=').ok_or_else(|| {
            Error::usage(format!("--set {text}: no `=`"))
                .hint("write --set KEY=VALUE, such as --set rounds=1")
        })?;
        let path: Vec<&str> = key.trim().split('.').collect();
        if path.iter().any(|part| part.is_empty()) {
            return Err(Error::usage(format!("--set {text}: the key has an empty part")));
        }
        set(&mut table, &path, value_of(value.trim())).map_err(|reason| {
            Error::usage(format!("--set {text}: {reason}"))
                .hint("list items are named by number, such as task.0.samples=10")
        })?;
    }
    Ok(table)
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
        apply(text.parse().unwrap(), &overrides).map_err(|error| error.to_string())
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

    #[test]
    fn mistakes_say_what_is_wrong() {
        assert_eq!(applied("a = 1", &["a"]).unwrap_err(), "--set a: no `=`");
        assert_eq!(applied("a = 1", &["a.b=2"]).unwrap_err(), "--set a.b=2: `a` has no keys");
        assert!(applied("[[t]]\nx=1", &["t.5.x=1"]).unwrap_err().contains("has 1 items"));
    }
}
