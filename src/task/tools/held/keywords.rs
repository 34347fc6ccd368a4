//! The keywords of a schema that say something of a value, and the schema without one of them.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

/// Most keywords of a schema that values are tried for.
const MAX_TRIED: usize = 200;
/// Most keywords of a schema that are looked up.
const MAX_LISTED: usize = 20_000;
/// Schemas within schemas.
const MAX_DEPTH: u32 = 64;

/// Keywords that hold one schema.
const ONE: &[&str] = &[
    "items",
    "additionalItems",
    "unevaluatedItems",
    "additionalProperties",
    "unevaluatedProperties",
    "contains",
    "propertyNames",
    "not",
    "if",
    "then",
    "else",
];
/// Keywords that hold a list of schemas.
const LISTS: &[&str] = &["allOf", "anyOf", "oneOf", "prefixItems", "items"];
/// Keywords that hold schemas by name.
const MAPS: &[&str] = &["properties", "patternProperties", "$defs", "definitions", "dependentSchemas"];

/// Keywords that a value can break; what only holds others (`properties`, `$ref`, `allOf`) is looked into instead.
pub(super) const BREAKABLE: &[&str] = &[
    "type",
    "enum",
    "const",
    "required",
    "additionalProperties",
    "unevaluatedProperties",
    "patternProperties",
    "propertyNames",
    "minProperties",
    "maxProperties",
    "dependentRequired",
    "dependentSchemas",
    "dependencies",
    "items",
    "additionalItems",
    "unevaluatedItems",
    "contains",
    "minContains",
    "maxContains",
    "minItems",
    "maxItems",
    "uniqueItems",
    "pattern",
    "format",
    "minLength",
    "maxLength",
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "multipleOf",
    "anyOf",
    "oneOf",
    "allOf",
    "not",
    "if",
    "$dynamicRef",
    "$ref",
];

/// Keywords that hold schemas whose own keywords are looked at: of themselves they say nothing that these do not. They are there to be
/// taken away, where a schema is refused or right values are barred.
const HOLDERS: &[&str] = &[
    "items",
    "additionalItems",
    "unevaluatedItems",
    "additionalProperties",
    "unevaluatedProperties",
    "patternProperties",
    "dependentSchemas",
    "propertyNames",
    "allOf",
    "if",
    "$ref",
];
/// Keywords whose schemas are not looked into: what is wrong in them is right outside.
const CLOSED: &[&str] = &["not", "if", "contains"];

/// Keywords that are broken where one within them is, or that others are broken through.
const AROUND: &[&str] = &[
    "anyOf",
    "oneOf",
    "allOf",
    "not",
    "if",
    "contains",
    "minContains",
    "maxContains",
    "propertyNames",
    "dependentSchemas",
    "dependencies",
    "unevaluatedItems",
    "unevaluatedProperties",
    "$dynamicRef",
];

/// A keyword at a place of a schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Keyword {
    /// JSON pointer to the schema that has it.
    pub(super) at: String,
    pub(super) name: &'static str,
    /// Whether other keywords stand for it.
    pub(super) is_holder: bool,
}

impl Keyword {
    /// Whether a value that breaks keywords of these names (the last parts of their places) may break this one alone.
    pub(super) fn may_be_alone(&self, broken: &BTreeSet<String>) -> bool {
        let other = |name: &str| name != self.name && BREAKABLE.contains(&name) && !AROUND.contains(&name);
        !broken.iter().any(|name| other(name))
    }
}

/// The keywords of a schema that values are tried for, those of the whole before those of its parts.
pub(super) fn keywords(schema: &Value) -> Vec<Keyword> {
    let mut look = Look { names: BREAKABLE, most: MAX_TRIED, is_short: false, found: Vec::new() };
    look.at(schema, String::new(), 0);
    look.found
}

/// Every keyword of a schema, in the same order; `None` where there are too many, or schemas are too deep in others.
pub(super) fn every_keyword(schema: &Value) -> Option<Vec<Keyword>> {
    let names = [BREAKABLE, &["prefixItems"]].concat();
    let mut look = Look { names: &names, most: MAX_LISTED, is_short: false, found: Vec::new() };
    look.at(schema, String::new(), 0);
    (!look.is_short).then_some(look.found)
}

/// A walk through a schema.
struct Look<'n> {
    /// Keywords that are looked for.
    names: &'n [&'static str],
    most: usize,
    /// Whether something was left out.
    is_short: bool,
    found: Vec<Keyword>,
}

impl Look<'_> {
    fn at(&mut self, schema: &Value, at: String, depth: u32) {
        let Value::Object(object) = schema else { return };
        if depth > MAX_DEPTH {
            self.is_short = true;
            return;
        }
        let there =
            |name: &&&'static str| object.get(**name).is_some_and(|value| says_something(name, value));
        for name in self.names.iter().filter(there) {
            if self.found.len() == self.most {
                self.is_short = true;
                break;
            }
            let is_holder = HOLDERS.contains(name) && !object[*name].is_boolean();
            self.found.push(Keyword { at: at.clone(), name, is_holder });
        }
        for (part, schema) in parts(object) {
            self.at(schema, format!("{at}/{part}"), depth + 1);
        }
    }
}

/// Whether a keyword of this name and value can be broken; the schemas `true` and `{}` cannot.
fn says_something(name: &str, value: &Value) -> bool {
    match value {
        Value::Bool(yes) => *yes == (name == "uniqueItems"),
        Value::Object(object) => !object.is_empty() || name == "const",
        _ => true,
    }
}

/// The schemas in a schema, with their places in it.
fn parts(object: &Map<String, Value>) -> Vec<(String, &Value)> {
    let mut parts = Vec::new();
    for key in ONE.iter().filter(|key| !CLOSED.contains(key)) {
        parts.extend(
            object.get(*key).filter(|value| value.is_object()).map(|value| ((*key).to_owned(), value)),
        );
    }
    for key in LISTS {
        let list = object.get(*key).and_then(Value::as_array).into_iter().flatten().enumerate();
        parts.extend(list.map(|(index, schema)| (format!("{key}/{index}"), schema)));
    }
    for key in MAPS {
        let named = object.get(*key).and_then(Value::as_object).into_iter().flatten();
        parts.extend(named.map(|(name, schema)| (format!("{key}/{}", escaped(name)), schema)));
    }
    parts
}

fn escaped(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

/// The schema without a keyword; without `if` there is no `then` and no `else` either.
pub(super) fn without(schema: &Value, keyword: &Keyword) -> Value {
    let mut schema = schema.clone();
    if let Some(Value::Object(object)) = schema.pointer_mut(&keyword.at) {
        object.shift_remove(keyword.name);
        if keyword.name == "if" {
            object.shift_remove("then");
            object.shift_remove("else");
        }
    }
    schema
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn keywords_are_told_from_names_and_values() {
        let schema = json!({
            "type": "object",
            "properties": {"pattern": {"const": {"minimum": 3}}, "a/b": {"items": [{"minLength": 1}]}},
            "additionalProperties": true,
            "$defs": {"x": {"not": {"required": ["y"]}}},
            "items": {},
            "if": {"type": "null"}, "then": false
        });
        let found = keywords(&schema);
        let found: Vec<String> =
            found.iter().map(|keyword| format!("{} {}", keyword.at, keyword.name)).collect();
        assert_eq!(
            found,
            [
                " type",
                " if",
                "/properties/pattern const",
                "/properties/a~1b items",
                "/properties/a~1b/items/0 minLength",
                "/$defs/x not",
            ]
        );
        let keyword = Keyword { at: "/properties/a~1b/items/0".into(), name: "minLength", is_holder: false };
        assert_eq!(without(&schema, &keyword).pointer("/properties/a~1b/items/0"), Some(&json!({})));
        let keyword = Keyword { at: String::new(), name: "if", is_holder: true };
        assert_eq!(without(&schema, &keyword).get("then"), None);
    }
}
