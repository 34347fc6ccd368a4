//! Which rows of `docs/seen/constrained.md` a keyword of a schema is a case of: what libraries make of a keyword hangs on its value, and on
//! the keywords beside it.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::keywords::{BREAKABLE, Keyword};
use super::patterns;
use super::situation::Situation;

/// Formats of JSON Schema that have no row.
const OTHER_FORMATS: &[&str] = &[
    "idn-email",
    "idn-hostname",
    "uri-reference",
    "iri",
    "iri-reference",
    "uri-template",
    "json-pointer",
    "relative-json-pointer",
    "regex",
];
/// Lengths that some engines go no further than.
const LONG: f64 = 2_000.0;
/// References that are followed to see whether they come back.
const MAX_REFERENCES: usize = 32;
/// Most branches, and names of properties, that schemas are told apart by.
const MAX_NAMES: usize = 64;

/// The situations of a keyword of a schema: none of them where there is nothing to hold, `None` where no row is about it.
pub(super) fn of_keyword(schema: &Value, keyword: &Keyword) -> Option<Vec<Situation>> {
    use Situation as S;
    let object = schema.pointer(&keyword.at)?.as_object()?;
    let value = object.get(keyword.name)?;
    let node = Node { root: schema, object, types: Types::of(object) };
    let is_zero = value.as_f64() == Some(0.0);
    let one = |situation: S| Some(vec![situation]);
    match keyword.name {
        "type" => {
            one(if value.as_array().is_some_and(|types| types.len() > 1) { S::TypeList } else { S::Type })
        }
        "enum" => Some(node.listed(value.as_array()?)),
        "const" => Some([S::Const].into_iter().chain(has_quote(value).then_some(S::EnumQuote)).collect()),
        "required" => Some(node.required(value.as_array()?)),
        "additionalProperties" if value.is_boolean() => one(S::AdditionalNone),
        "additionalProperties" => {
            one(if node.has("properties") { S::AdditionalBeside } else { S::Additional })
        }
        "unevaluatedProperties" if value.is_boolean() => one(S::UnevaluatedNone),
        "patternProperties" => one(node.pattern_properties(value.as_object()?)),
        "propertyNames" => {
            let beside = node.has("properties") || node.has("patternProperties");
            one(if beside { S::PropertyNamesBeside } else { S::PropertyNames })
        }
        "minProperties" | "minItems" | "minLength" | "minContains" if is_zero => Some(Vec::new()),
        "minProperties" => {
            one(if node.has("properties") { S::MinPropertiesBeside } else { S::MinProperties })
        }
        "maxProperties" => one(S::MaxProperties),
        "dependentRequired" => one(S::DependentRequired),
        "dependentSchemas" => one(S::DependentSchemas),
        "items" if value.is_array() => one(S::ItemsList),
        "items" if value.is_object() => one(S::Items),
        "items" | "prefixItems" if node.has("prefixItems") => one(S::PrefixItems),
        "contains" => one(S::Contains),
        "minContains" | "maxContains" if !node.has("contains") => Some(Vec::new()),
        "minContains" => one(S::Contains),
        "maxContains" => one(S::MaxContains),
        "minItems" if node.types == Types::Any => one(S::MinItemsUntyped),
        "minItems" => one(if node.has_items() { S::MinItems } else { S::MinItemsBare }),
        "maxItems" => one(if node.has_items() { S::MaxItems } else { S::MaxItemsBare }),
        "uniqueItems" => one(if node.types == Types::Any { S::UniqueUntyped } else { S::Unique }),
        "pattern" => Some(node.pattern(value.as_str()?)),
        "format" => node.format(value.as_str()?),
        "minLength" => one(node.length(S::MinLength)),
        "maxLength" => {
            let long = value.as_f64().is_some_and(|length| length > LONG);
            one(node.length(if long { S::MaxLengthLong } else { S::MaxLength }))
        }
        "minimum" | "maximum" | "exclusiveMinimum" | "exclusiveMaximum" => {
            node.bound(keyword.name, value.as_f64()?)
        }
        "multipleOf" => Some(node.multiple(value.as_f64()?)),
        "anyOf" => Some(node.with_siblings(S::AnyOf, "anyOf", S::AnyOfSiblings)),
        "oneOf" => {
            let branches = value.as_array()?;
            let kind = if node.are_apart(branches) { S::OneOfApart } else { S::OneOfBoth };
            Some(node.with_siblings(kind, "oneOf", S::AnyOfSiblings))
        }
        "allOf" => Some(node.with_siblings(node.all_of(value.as_array()?), "allOf", S::AllOfSiblings)),
        "not" => one(S::Not),
        "if" => one(S::If),
        "$ref" => Some(node.with_siblings(node.reference(value.as_str()?)?, "$ref", S::RefSiblings)),
        _ => None,
    }
}

/// What `type` says.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Types<'s> {
    /// Nothing.
    Any,
    One(&'s str),
    Several(Vec<&'s str>),
}

impl<'s> Types<'s> {
    fn of(object: &'s Map<String, Value>) -> Self {
        match object.get("type") {
            Some(Value::String(name)) => Self::One(name),
            Some(Value::Array(names)) => match *names.iter().filter_map(Value::as_str).collect::<Vec<_>>() {
                [] => Self::Any,
                [name] => Self::One(name),
                ref names => Self::Several(names.to_vec()),
            },
            _ => Self::Any,
        }
    }

    fn names(&self) -> &[&'s str] {
        match self {
            Self::Any => &[],
            Self::One(name) => std::slice::from_ref(name),
            Self::Several(names) => names,
        }
    }

    /// Whether a value may be of this type.
    fn allow(&self, name: &str) -> bool {
        *self == Self::Any || self.names().contains(&name)
    }

    fn allow_value(&self, value: &Value) -> bool {
        let name = match value {
            Value::Null => "null",
            Value::Bool(_) => "boolean",
            Value::Number(number) if number.is_f64() => "number",
            Value::Number(_) => return self.allow("integer") || self.allow("number"),
            Value::String(_) => "string",
            Value::Array(_) => "array",
            Value::Object(_) => "object",
        };
        self.allow(name)
    }

    /// Whether no value is of a type of both.
    fn are_apart(&self, other: &Self) -> bool {
        let same = |pair: (&str, &str)| {
            pair.0 == pair.1 || matches!(pair, ("integer", "number") | ("number", "integer"))
        };
        let (ours, theirs) = (self.names(), other.names());
        let is_of_both = ours.iter().any(|&one| theirs.iter().any(|&other| same((one, other))));
        !ours.is_empty() && !theirs.is_empty() && !is_of_both
    }
}

/// A schema within a schema.
struct Node<'s> {
    root: &'s Value,
    object: &'s Map<String, Value>,
    types: Types<'s>,
}

impl<'s> Node<'s> {
    fn has(&self, keyword: &str) -> bool {
        let empty = |value: &Value| value.as_object().is_some_and(Map::is_empty);
        self.object.get(keyword).is_some_and(|value| !empty(value))
    }

    fn has_items(&self) -> bool {
        self.has("items") || self.has("prefixItems")
    }

    fn number(&self, keyword: &str) -> Option<f64> {
        self.object.get(keyword)?.as_f64()
    }

    /// Keywords beside one that say something of a value.
    fn siblings(&self, of: &str) -> Vec<&str> {
        let says = |name: &&str| *name != of && (BREAKABLE.contains(name) || *name == "properties");
        self.object.keys().map(String::as_str).filter(says).collect()
    }

    fn with_siblings(&self, kind: Situation, of: &str, beside: Situation) -> Vec<Situation> {
        let branches = self.object.get(of).and_then(Value::as_array);
        // A type beside branches that all name theirs says nothing more.
        let typed =
            |branch: &Value| ["type", "enum", "const", "$ref"].iter().any(|key| branch.get(key).is_some());
        let are_typed = branches.is_some_and(|branches| branches.iter().all(typed));
        let siblings = self.siblings(of);
        let says = siblings.iter().any(|name| *name != "type" || !are_typed);
        [kind].into_iter().chain(says.then_some(beside)).collect()
    }

    fn listed(&self, values: &[Value]) -> Vec<Situation> {
        let mut found = vec![Situation::Enum];
        if values.iter().any(has_quote) {
            found.push(Situation::EnumQuote);
        }
        let others = self.siblings("enum").iter().any(|name| *name != "type");
        if others || !values.iter().all(|value| self.types.allow_value(value)) {
            found.push(Situation::EnumSiblings);
        }
        found
    }

    fn required(&self, names: &[Value]) -> Vec<Situation> {
        if names.is_empty() {
            return Vec::new();
        }
        let properties = self.object.get("properties").and_then(Value::as_object);
        let is_named = |name: &Value| {
            name.as_str()
                .is_some_and(|name| properties.is_some_and(|properties| properties.contains_key(name)))
        };
        let mut found = Vec::new();
        if !names.iter().all(is_named) {
            found.push(Situation::RequiredUnnamed);
        }
        if self.types == Types::Any {
            found.push(Situation::RequiredUntyped);
        }
        if found.is_empty() { vec![Situation::Required] } else { found }
    }

    fn pattern_properties(&self, patterns: &Map<String, Value>) -> Situation {
        match self.has("properties") || patterns.len() > 1 {
            true => Situation::PatternPropertiesBeside,
            false => Situation::PatternProperties,
        }
    }

    fn pattern(&self, pattern: &str) -> Vec<Situation> {
        let mut found = Vec::new();
        if patterns::looks_around(pattern) {
            found.push(Situation::PatternLook);
        }
        if patterns::has_class(pattern) {
            found.push(Situation::PatternClass);
        }
        if !patterns::is_anchored(pattern) {
            found.push(Situation::PatternOpen);
        }
        if found.is_empty() {
            found.push(Situation::PatternAnchored);
        }
        match self.types {
            Types::Any => found.push(Situation::PatternUntyped),
            Types::One(_) => {}
            Types::Several(_) => found.push(Situation::PatternTypes),
        }
        found
    }

    fn format(&self, format: &str) -> Option<Vec<Situation>> {
        use Situation as S;
        if !self.types.allow("string") {
            return Some(Vec::new());
        }
        let kind = match format {
            "date" => S::Date,
            "email" => S::Email,
            "date-time" => S::DateTime,
            "time" => S::Time,
            "duration" => S::Duration,
            "uuid" => S::Uuid,
            "uri" => S::Uri,
            "hostname" => S::Hostname,
            "ipv4" => S::Ipv4,
            "ipv6" => S::Ipv6,
            other if OTHER_FORMATS.contains(&other) => return None,
            _ => S::FormatUnknown,
        };
        Some([kind].into_iter().chain(self.has("pattern").then_some(S::FormatBesidePattern)).collect())
    }

    fn length(&self, alone: Situation) -> Situation {
        match self.types {
            _ if self.has("pattern") => Situation::LengthBesidePattern,
            _ if self.has("format") => Situation::LengthBesideFormat,
            Types::Any => Situation::LengthUntyped,
            _ => alone,
        }
    }

    fn bound(&self, name: &str, value: f64) -> Option<Vec<Situation>> {
        use Situation as S;
        let is_integer = match &self.types {
            Types::Any => return Some(vec![S::BoundUntyped]),
            Types::Several(_) => return Some(vec![S::BoundTypes]),
            Types::One("integer") => true,
            Types::One("number") => false,
            Types::One(_) => return Some(Vec::new()),
        };
        let lower = self.number("minimum").or(self.number("exclusiveMinimum"));
        let upper = self.number("maximum").or(self.number("exclusiveMaximum"));
        let two = |one: &str, other: &str| self.has(one) && self.has(other);
        let mut found = Vec::new();
        match (lower, upper, is_integer) {
            (Some(lower), Some(upper), true) if lower < 0.0 && upper >= 0.0 => found.push(S::IntegerAround),
            (Some(lower), Some(_), true) if lower >= 0.0 => found.push(S::IntegerBoth),
            (Some(lower), Some(upper), false) if lower < 0.0 && upper >= 0.0 => found.push(S::NumberAround),
            (Some(_), Some(_), false) => found.push(S::NumberBoth),
            _ => {}
        }
        let below = value < 0.0;
        match (name, is_integer) {
            ("minimum", true) if below => found.push(S::IntegerMinBelow),
            ("maximum", true) if below => found.push(S::IntegerMaxBelow),
            ("minimum", true) if found.is_empty() => found.push(S::IntegerMin),
            ("maximum", true) if found.is_empty() => found.push(S::IntegerMax),
            ("exclusiveMinimum", true) => found.push(S::IntegerExclusiveMin),
            ("exclusiveMaximum", true) => found.push(S::IntegerExclusiveMax),
            ("minimum", false) if found.is_empty() => found.push(S::NumberMin),
            ("maximum", false) if found.is_empty() => found.push(S::NumberMax),
            ("exclusiveMinimum", false) => found.push(S::NumberExclusiveMin),
            ("exclusiveMaximum", false) => found.push(S::NumberExclusiveMax),
            _ => {}
        }
        let beside = match name {
            "exclusiveMinimum" => two("minimum", "exclusiveMinimum"),
            "exclusiveMaximum" => two("maximum", "exclusiveMaximum"),
            _ => false,
        };
        found.extend(beside.then_some(S::ExclusiveBeside));
        Some(found)
    }

    fn multiple(&self, step: f64) -> Vec<Situation> {
        if self.types == Types::Any {
            return vec![Situation::MultipleUntyped];
        }
        if !self.types.allow("integer") && !self.types.allow("number") {
            return Vec::new();
        }
        if step.fract() != 0.0 {
            return vec![Situation::MultipleFraction];
        }
        let lower = self.number("minimum").or(self.number("exclusiveMinimum"));
        let below = lower.is_none_or(|lower| lower < 0.0);
        [Situation::Multiple].into_iter().chain(below.then_some(Situation::MultipleBelow)).collect()
    }

    fn all_of(&self, branches: &'s [Value]) -> Situation {
        let objects = branches.iter().all(|branch| self.is_object(branch));
        match (branches.len(), objects) {
            (0 | 1, true) => Situation::AllOfObjects,
            (0 | 1, false) => Situation::AllOfText,
            (_, true) => Situation::AllOfTwoObjects,
            (_, false) => Situation::AllOfTexts,
        }
    }

    fn is_object(&self, schema: &'s Value) -> bool {
        let Some(object) = self.resolved(schema).as_object() else { return false };
        match Types::of(object) {
            Types::Any => ["properties", "required"].iter().any(|key| object.contains_key(*key)),
            types => types.names() == ["object"],
        }
    }

    /// What a schema's `$ref` leads to, if it has one that leads somewhere.
    fn resolved(&self, schema: &'s Value) -> &'s Value {
        let target = schema.get("$ref").and_then(Value::as_str);
        target.and_then(|target| self.root.pointer(target.strip_prefix('#')?)).unwrap_or(schema)
    }

    /// Whether no value fits two of these; what cannot be told easily is taken for no.
    fn are_apart(&self, branches: &'s [Value]) -> bool {
        let branches: Vec<&Value> = branches.iter().map(|branch| self.resolved(branch)).collect();
        let after = |at: usize| branches[at + 1..].iter();
        let mut pairs =
            branches.iter().enumerate().flat_map(|(at, &one)| after(at).map(move |&other| (one, other)));
        branches.len() < MAX_NAMES && pairs.all(|(one, other)| self.two_apart(one, other, 0))
    }

    fn two_apart(&self, one: &'s Value, other: &'s Value, depth: u32) -> bool {
        let (Some(one), Some(other)) = (self.resolved(one).as_object(), self.resolved(other).as_object())
        else {
            return false;
        };
        let (ours, theirs) = (Types::of(one), Types::of(other));
        if ours.are_apart(&theirs) {
            return true;
        }
        match (listed_values(one), listed_values(other)) {
            (Some(a), Some(b)) => return !a.iter().any(|value| b.contains(value)),
            (Some(a), None) if theirs != Types::Any => {
                return !a.iter().any(|value| theirs.allow_value(value));
            }
            (None, Some(b)) if ours != Types::Any => return !b.iter().any(|value| ours.allow_value(value)),
            _ => {}
        }
        let both_objects = ours == Types::One("object") && theirs == Types::One("object");
        both_objects
            && depth < 4
            && (excludes(one, other) || excludes(other, one) || self.told_by_property(one, other, depth))
    }

    /// Whether both want a property whose schemas are apart.
    fn told_by_property(
        &self,
        one: &'s Map<String, Value>,
        other: &'s Map<String, Value>,
        depth: u32,
    ) -> bool {
        let property = |object: &'s Map<String, Value>, name: &str| object.get("properties")?.get(name);
        required_names(one).filter(|name| required_names(other).any(|theirs| theirs == *name)).any(|name| {
            property(one, name)
                .zip(property(other, name))
                .is_some_and(|(a, b)| self.two_apart(a, b, depth + 1))
        })
    }

    fn reference(&self, target: &'s str) -> Option<Situation> {
        let pointer = target.strip_prefix('#')?;
        if pointer.is_empty() {
            return Some(Situation::RefRoot);
        }
        self.root.pointer(pointer)?;
        Some(match self.comes_back(target) {
            _ if pointer.contains(['~', '%']) => Situation::RefEscaped,
            true => Situation::RefBack,
            false => Situation::Ref,
        })
    }

    /// Whether a reference leads to a schema from which it is reached again.
    fn comes_back(&self, target: &'s str) -> bool {
        let (mut seen, mut open) = (BTreeSet::new(), vec![target]);
        while let Some(next) = open.pop() {
            let mut found = Vec::new();
            let schema = next.strip_prefix('#').and_then(|pointer| self.root.pointer(pointer));
            schema.into_iter().for_each(|schema| references(schema, &mut found));
            if found.contains(&target) {
                return true;
            }
            if seen.len() > MAX_REFERENCES {
                return false;
            }
            open.extend(found.into_iter().filter(|found| seen.insert(*found)));
        }
        false
    }
}

fn references<'s>(schema: &'s Value, found: &mut Vec<&'s str>) {
    match schema {
        Value::Object(object) => {
            found.extend(object.get("$ref").and_then(Value::as_str));
            object.values().for_each(|part| references(part, found));
        }
        Value::Array(parts) => parts.iter().for_each(|part| references(part, found)),
        _ => {}
    }
}

fn required_names(object: &Map<String, Value>) -> impl Iterator<Item = &str> {
    object.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
}

/// Whether a closed object has no room for what the other one wants.
fn excludes(closed: &Map<String, Value>, other: &Map<String, Value>) -> bool {
    let known = closed.get("properties").and_then(Value::as_object);
    let is_closed = closed.get("additionalProperties") == Some(&Value::Bool(false));
    is_closed
        && !closed.contains_key("patternProperties")
        && required_names(other).any(|name| !known.is_some_and(|known| known.contains_key(name)))
}

fn listed_values(object: &Map<String, Value>) -> Option<Vec<&Value>> {
    match (object.get("const"), object.get("enum")) {
        (Some(value), _) => Some(vec![value]),
        (None, Some(Value::Array(values))) => Some(values.iter().collect()),
        _ => None,
    }
}

/// Whether a text in it is written with an escape.
fn has_quote(value: &Value) -> bool {
    value.as_str().is_some_and(|text| text.contains(['"', '\\']) || text.contains(char::is_control))
}

#[cfg(test)]
mod tests;
