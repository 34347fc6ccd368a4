//! Right values of a schema that nobody gave any for: made from its keywords, and judged before they are used.

use serde_json::{Map, Value, json};

use super::{decimals, patterns};
use crate::task::tools::effort::Effort;

/// Schemas within schemas.
const MAX_DEPTH: u32 = 12;
/// Longest array and text, and most properties, that are made.
const MAX_LENGTH: u64 = 3_000;
/// Ways through branches that are tried.
const CHOICES: usize = 6;
/// What reading a pattern counts for, in parts of a schema.
const PATTERN_WORK: u64 = 100;

/// Values that may be right: with as few properties as may be and with all, through one branch and another.
///
/// Work is counted in parts of the schema that are looked at.
pub(super) fn candidates(schema: &Value, effort: &Effort<'_>) -> Vec<Value> {
    let all = (0..CHOICES).flat_map(|choice| [(choice, false), (choice, true)]);
    let made = all.filter_map(|(choice, full)| Maker { root: schema, choice, full, effort }.make(schema, 0));
    let mut found: Vec<Value> = Vec::new();
    for value in made {
        if !found.contains(&value) {
            found.push(value);
        }
    }
    found
}

/// A value of a part of a schema, for properties that are added.
pub(super) fn of_part(root: &Value, part: &Value, effort: &Effort<'_>) -> Option<Value> {
    Maker { root, choice: 0, full: false, effort }.make(part, 0)
}

#[derive(Clone, Copy)]
struct Maker<'s> {
    root: &'s Value,
    choice: usize,
    full: bool,
    effort: &'s Effort<'s>,
}

impl<'s> Maker<'s> {
    fn make(self, schema: &Value, depth: u32) -> Option<Value> {
        self.effort.spend(1)?;
        let Value::Object(own) = schema else {
            return (*schema != Value::Bool(false)).then(|| json!("x"));
        };
        if depth > MAX_DEPTH {
            return None;
        }
        let whole = self.merged(own, depth)?;
        if let Some(value) = whole.get("const") {
            return Some(value.clone());
        }
        if let Some(values) = whole.get("enum").and_then(Value::as_array) {
            return values.get(self.choice % values.len().max(1)).cloned();
        }
        match self.kind(&whole).as_str() {
            "object" => self.object(&whole, depth),
            "array" => self.array(&whole, depth),
            "integer" => Some(number(&whole, true, self.choice)),
            "number" => Some(number(&whole, false, self.choice)),
            "boolean" => Some(json!(self.choice.is_multiple_of(2))),
            "null" => Some(Value::Null),
            _ => self.text(&whole).map(Value::String),
        }
    }

    /// A schema's own keywords with those of what it refers to, of all parts and of a branch.
    fn merged(self, own: &Map<String, Value>, depth: u32) -> Option<Map<String, Value>> {
        self.effort.spend(own.values().map(size).sum())?;
        let mut whole = own.clone();
        let mut parts: Vec<&Value> = Vec::new();
        for key in ["$ref", "$dynamicRef", "$recursiveRef"] {
            if let Some(reference) = own.get(key).and_then(Value::as_str) {
                parts.push(self.resolve(reference)?);
            }
        }
        parts.extend(own.get("allOf").and_then(Value::as_array).into_iter().flatten());
        for key in ["anyOf", "oneOf"] {
            let branches = own.get(key).and_then(Value::as_array);
            parts.extend(branches.and_then(|all| all.get(self.choice % all.len().max(1))));
        }
        let condition = if self.choice.is_multiple_of(2) { ["if", "then"].as_slice() } else { &["else"] };
        parts.extend(condition.iter().filter_map(|key| own.get(*key)));
        if depth > MAX_DEPTH {
            return None;
        }
        for part in parts.into_iter().filter_map(Value::as_object) {
            add(&mut whole, &self.merged(part, depth + 1)?);
        }
        Some(whole)
    }

    /// What a reference names, where that is in the schema.
    fn resolve(self, reference: &str) -> Option<&'s Value> {
        let (base, pointer) = reference.split_once('#')?;
        let target = if base.is_empty() { self.root.pointer(pointer) } else { None };
        target.or_else(|| anchored(self.root, pointer, 0))
    }

    fn kind(self, schema: &Map<String, Value>) -> String {
        match schema.get("type") {
            Some(Value::String(kind)) => kind.clone(),
            Some(Value::Array(kinds)) => {
                let kind = kinds.get(self.choice % kinds.len().max(1)).and_then(Value::as_str);
                kind.unwrap_or("string").to_owned()
            }
            _ => implied(schema).to_owned(),
        }
    }

    fn object(self, schema: &Map<String, Value>, depth: u32) -> Option<Value> {
        let properties = schema.get("properties").and_then(Value::as_object);
        let mut wanted: Vec<&str> = names(schema.get("required"));
        if self.full {
            wanted.extend(properties.into_iter().flatten().map(|(name, _)| name.as_str()));
        }
        let mut object = Map::new();
        for name in wanted {
            self.put(name, schema, &mut object, depth)?;
        }
        let least = schema.get("minProperties").and_then(Value::as_u64).unwrap_or(0).min(MAX_LENGTH);
        let others = properties.into_iter().flatten().map(|(name, _)| name.clone());
        for name in others.chain((0..least).map(|number| format!("p{number}"))) {
            if object.len() as u64 >= least {
                break;
            }
            self.put(&name, schema, &mut object, depth)?;
        }
        Some(Value::Object(object))
    }

    /// Puts a property into an object, and those that it calls for.
    fn put(
        self,
        name: &str,
        schema: &Map<String, Value>,
        object: &mut Map<String, Value>,
        depth: u32,
    ) -> Option<()> {
        if object.contains_key(name) {
            return Some(());
        }
        let own = schema.get("properties").and_then(|properties| properties.get(name));
        let of_all = schema.get("additionalProperties").or(schema.get("unevaluatedProperties"));
        let of_name = schema.get("patternProperties").and_then(Value::as_object).into_iter().flatten();
        let of_name = of_name.map(|(_, schema)| schema).next();
        let part = own.or(of_name).or(of_all).unwrap_or(&Value::Null);
        let value = if part.is_null() { json!("x") } else { self.make(part, depth + 1)? };
        object.insert(name.to_owned(), value);
        for name in names(schema.get("dependentRequired").and_then(|all| all.get(name))) {
            self.put(name, schema, object, depth)?;
        }
        Some(())
    }

    fn array(self, schema: &Map<String, Value>, depth: u32) -> Option<Value> {
        let length = |key: &str| schema.get(key).and_then(Value::as_u64).unwrap_or(0);
        let prefix = schema.get("prefixItems").or(schema.get("items")).and_then(Value::as_array);
        let prefix = prefix.map_or(&[][..], Vec::as_slice);
        let (contains, items) =
            (schema.get("contains"), schema.get("items").filter(|items| !items.is_array()));
        let least = length("minItems").max(length("minContains")).max(u64::from(contains.is_some()));
        let least = least.max(if self.full { prefix.len().max(1) as u64 } else { 0 });
        let most = schema.get("maxItems").and_then(Value::as_u64).unwrap_or(MAX_LENGTH);
        let unique = schema.get("uniqueItems") == Some(&Value::Bool(true));
        let mut values = Vec::new();
        for index in 0..least.min(most).min(MAX_LENGTH) as usize {
            let part = prefix.get(index).or(contains).or(items);
            let value = match part {
                Some(part) => self.make(part, depth + 1)?,
                None => json!("x"),
            };
            values.push(if unique && index > 0 { told_apart(value, index) } else { value });
        }
        Some(Value::Array(values))
    }

    fn text(self, schema: &Map<String, Value>) -> Option<String> {
        let pattern = schema.get("pattern").and_then(Value::as_str);
        let format = schema.get("format").and_then(Value::as_str).and_then(of_format);
        let text = match (pattern, format) {
            (_, Some(text)) => text.to_owned(),
            (Some(pattern), None) => {
                self.effort.spend(PATTERN_WORK)?;
                patterns::example(pattern)?
            }
            (None, None) => "text".to_owned(),
        };
        let length = |key: &str| schema.get(key).and_then(Value::as_u64);
        let least = length("minLength").unwrap_or(0).min(MAX_LENGTH) as usize;
        let most = length("maxLength").unwrap_or(MAX_LENGTH).min(MAX_LENGTH) as usize;
        self.effort.spend(least as u64 / 16)?;
        let missing = least.saturating_sub(text.chars().count());
        let last = text.chars().last().unwrap_or('x');
        Some(text.chars().chain(std::iter::repeat_n(last, missing)).take(most).collect())
    }
}

/// The parts of a value, itself among them; a long text counts as several.
pub(super) fn size(value: &Value) -> u64 {
    match value {
        Value::Object(object) => {
            1 + object.iter().map(|(key, part)| 1 + key.len() as u64 / 16 + size(part)).sum::<u64>()
        }
        Value::Array(parts) => 1 + parts.iter().map(size).sum::<u64>(),
        Value::String(text) => 1 + text.len() as u64 / 16,
        _ => 1,
    }
}

/// The schema that has an anchor.
fn anchored<'s>(schema: &'s Value, anchor: &str, depth: u32) -> Option<&'s Value> {
    if anchor.is_empty() || anchor.starts_with('/') || depth > 4 * MAX_DEPTH {
        return None;
    }
    let has = |key: &str| schema.get(key).and_then(Value::as_str) == Some(anchor);
    if has("$anchor") || has("$dynamicAnchor") {
        return Some(schema);
    }
    match schema {
        Value::Object(object) => object.values().find_map(|part| anchored(part, anchor, depth + 1)),
        Value::Array(parts) => parts.iter().find_map(|part| anchored(part, anchor, depth + 1)),
        _ => None,
    }
}

/// Adds what another schema says: names and properties beside each other, anything else in place of what was there.
fn add(whole: &mut Map<String, Value>, part: &Map<String, Value>) {
    for (key, value) in part {
        match (key.as_str(), whole.get_mut(key), value) {
            ("required", Some(Value::Array(all)), Value::Array(more)) => all.extend(more.iter().cloned()),
            ("properties", Some(Value::Object(all)), Value::Object(more)) => {
                all.extend(more.iter().map(|(name, schema)| (name.clone(), schema.clone())));
            }
            ("$ref" | "allOf" | "anyOf" | "oneOf" | "if" | "then" | "else", Some(_), _) => {}
            _ => {
                whole.insert(key.clone(), value.clone());
            }
        }
    }
}

fn names(list: Option<&Value>) -> Vec<&str> {
    list.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect()
}

/// The type that the keywords of a schema are about.
fn implied(schema: &Map<String, Value>) -> &'static str {
    let has = |keys: &[&str]| keys.iter().any(|key| schema.contains_key(*key));
    if has(&[
        "properties",
        "required",
        "additionalProperties",
        "minProperties",
        "maxProperties",
        "patternProperties",
    ]) || has(&["propertyNames", "unevaluatedProperties", "dependentRequired", "dependentSchemas"])
    {
        "object"
    } else if has(&[
        "items",
        "prefixItems",
        "contains",
        "minItems",
        "maxItems",
        "uniqueItems",
        "unevaluatedItems",
    ]) {
        "array"
    } else if has(&["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"]) {
        "number"
    } else {
        "string"
    }
}

fn number(schema: &Map<String, Value>, whole: bool, choice: usize) -> Value {
    let bound = |key: &str| schema.get(key).and_then(Value::as_f64);
    let step = bound("multipleOf").filter(|step| *step > 0.0);
    let grain = step.unwrap_or(if whole { 1.0 } else { 0.5 });
    let above = bound("exclusiveMinimum").map(|least| least + grain);
    let below = bound("exclusiveMaximum").map(|most| most - grain);
    let least = bound("minimum").into_iter().chain(above).reduce(f64::max);
    let most = bound("maximum").into_iter().chain(below).reduce(f64::min);
    // Farther on for later choices: what two branches allow is right in neither of them.
    let further = (choice / 2) as f64 * 7.0;
    let wished = match (least, most) {
        (Some(least), most) => (least + further).min(most.unwrap_or(f64::INFINITY)),
        (None, Some(most)) => most - further,
        (None, None) => 1.0 + further,
    };
    let value = match step {
        Some(step) if least.is_some() => decimals::times(decimals::steps(wished, step).ceil(), step),
        Some(step) => decimals::times(decimals::steps(wished, step).floor(), step),
        None => wished,
    };
    decimals::json(if whole { value.ceil() } else { value })
}

fn of_format(format: &str) -> Option<&'static str> {
    Some(match format {
        "date" => "2026-03-07",
        "time" => "12:30:00Z",
        "date-time" => "2026-03-07T12:30:00Z",
        "duration" => "P1D",
        "email" | "idn-email" => "a@example.org",
        "hostname" | "idn-hostname" => "example.org",
        "ipv4" => "192.0.2.1",
        "ipv6" => "2001:db8::1",
        "uri" | "iri" | "uri-reference" | "iri-reference" | "uri-template" => "https://example.org/a",
        "uuid" => "01234567-89ab-4def-8123-456789abcdef",
        "json-pointer" => "/a",
        "relative-json-pointer" => "0/a",
        "regex" => "a",
        _ => return None,
    })
}

/// The same kind of value, another one for every index.
fn told_apart(value: Value, index: usize) -> Value {
    match &value {
        Value::Number(number) => number.as_i64().map_or(value.clone(), |number| json!(number + index as i64)),
        Value::String(text) => json!(format!("{text}{index}")),
        _ => value,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::tools::schema::{Judgement, Schema};

    fn candidates(schema: &Value) -> Vec<Value> {
        super::candidates(schema, &Effort::new(10_000_000, &|| false))
    }

    #[test]
    fn schemas_that_lead_back_to_themselves_end() {
        let all: Vec<Value> = (0..60).map(|_| json!({"$ref": "#"})).collect();
        let members: Map<String, Value> = (0..60).map(|n| (format!("m{n}"), json!({"$ref": "#"}))).collect();
        let names: Vec<String> = members.keys().cloned().collect();
        let lists = |within: Value| json!({"type": "array", "items": within, "minItems": 3_000});
        for (schema, takes_all) in [
            (json!({"allOf": all}), false),
            (json!({"type": "object", "properties": members, "required": names}), false),
            (lists(lists(lists(json!({"type": "null"})))), true),
        ] {
            let effort = Effort::new(300_000, &|| false);
            super::candidates(&schema, &effort);
            assert_eq!(effort.left() == 0, takes_all, "{schema}");
        }
    }

    #[test]
    fn a_right_value_is_found_for_schemas_of_all_kinds() {
        for schema in [
            json!({"type": "object", "properties": {"a": {"type": "string", "pattern": "^[a-z]{3}$"},
                "b": {"type": "array", "items": {"$ref": "#/$defs/c"}, "minItems": 2, "uniqueItems": true}},
                "required": ["a", "b"], "additionalProperties": false, "$defs": {"c": {"type": "integer", "minimum": 3}}}),
            json!({"allOf": [{"properties": {"a": {"type": "null"}}, "required": ["a"]}, {"minProperties": 3}]}),
            json!({"oneOf": [{"type": "string", "format": "date"}, {"type": "number", "multipleOf": 0.25}]}),
            json!({"type": "object", "additionalProperties": {"type": "boolean"}, "minProperties": 2}),
            json!({"if": {"properties": {"a": {"const": 1}}, "required": ["a"]}, "then": {"required": ["b"]}, "type": "object"}),
            json!({"type": "array", "prefixItems": [{"const": 1}, {"enum": ["x"]}], "items": false, "minItems": 2}),
            json!({"exclusiveMinimum": 3, "maximum": 4, "type": "number"}),
            json!({"type": "number", "minimum": 0.3, "multipleOf": 0.1}),
            json!({"type": "number", "exclusiveMinimum": 0.07, "maximum": 0.08, "multipleOf": 0.01}),
            json!({"type": "number", "maximum": -1.1, "multipleOf": 0.05}),
            json!({"type": "string", "minLength": 7, "maxLength": 9}),
            json!({"dependentRequired": {"a": ["b"]}, "required": ["a"], "type": "object"}),
        ] {
            let compiled = Schema::compile(&schema).unwrap();
            let right =
                candidates(&schema).into_iter().find(|value| compiled.judge(value) == Judgement::Valid);
            assert!(right.is_some(), "{schema}: {:?}", candidates(&schema));
        }
        assert!(candidates(&json!(false)).is_empty());
    }
}
