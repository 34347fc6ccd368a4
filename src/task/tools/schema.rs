//! JSON Schema (of the draft that `$schema` names, formats checked) of hostile values within limits, fetching nothing.
//!
//! Drafts 4, 6, 7, 2019-09 and 2020-12 are known; without `$schema`, and where it names something else, 2020-12 is taken
//! ([`Schema::unknown_draft`] says so). A keyword that another draft has is no keyword: `uuid` is a format since
//! 2019-09.
//!
//! A schema with lookaround in its patterns or with references that fan out can take a validator longer than
//! the universe has lasted, and a thread cannot be stopped from outside. So the work is bounded before it is
//! begun: a walk over schema and value together counts what a validator would visit and gives up at
//! [`MAX_WORK`], and a pattern gives up at [`MAX_BACKTRACKS`]. The same value always has the same outcome, on
//! any machine.

use std::collections::{BTreeSet, HashMap};

use jsonschema::error::ValidationErrorKind;
use jsonschema::{Draft, PatternOptions, Validator};
use serde_json::{Map, Value};

use super::fault::Fault;
use super::numbers::has_monstrous_number;

/// Pairs of a schema and a value that are visited, with what else costs time counted in such visits.
const MAX_WORK: u32 = 100_000;
/// Schemas that apply within each other, those of nested values included.
const MAX_DEPTH: u32 = 384;
/// Steps back of a pattern on one string; patterns without lookaround and back-references take none.
const MAX_BACKTRACKS: usize = 10_000;
/// Size of a compiled pattern (bytes).
const MAX_PATTERN: usize = 1 << 20;
/// Longest description of an error (characters).
const MAX_WORDS: usize = 300;
/// What matching a pattern counts for, in visits.
const PATTERN_WORK: usize = 50;
/// What a reference to somewhere else counts for, in visits; only the draft's own schemas can be there.
const FOREIGN_WORK: usize = 500;

/// What a schema says of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Judgement {
    /// Valid.
    Valid,
    /// Not valid; of several errors the one that comes first in [`Fault`].
    Invalid(Fault),
    /// Finding out would take more work than the limits allow.
    OverLimit,
}

/// Why a schema judges nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Uncompiled {
    /// Its draft does not allow it: no server can use it either.
    #[error("{0}")]
    NoSchema(String),
    /// It may be one, but not for us: a reference to what is not in it, a pattern that we cannot compile, or more work
    /// than the limits allow.
    #[error("{0}")]
    Unable(String),
}

/// A schema that compiled.
#[derive(Debug)]
pub struct Schema {
    schema: Value,
    anchors: HashMap<String, String>,
    validator: Validator,
    unknown_draft: Option<String>,
}

impl Schema {
    /// Compiles a schema by the draft that it names.
    ///
    /// # Errors
    /// Why it does not compile: not a schema of that draft, a reference to what is not in it, a pattern that is none or
    /// too large, or references that lead back to themselves on one and the same value.
    pub fn compile(schema: &Value) -> Result<Self, Uncompiled> {
        let (schema, draft, unknown_draft) = with_draft(schema);
        if has_monstrous_number(&schema) {
            return Err(Uncompiled::Unable("it has a number that is too long for arithmetic".into()));
        }
        let anchors = anchors(&schema);
        // Any value shows a loop of references, and a fan of them that would already stop the compiler.
        Walk::new(&schema, &anchors).visit(&schema, &Value::Null, 0).map_err(|_| {
            let why = "its references lead back to themselves, or fan out beyond any use";
            Uncompiled::Unable(why.to_owned())
        })?;
        let patterns = PatternOptions::fancy_regex().backtrack_limit(MAX_BACKTRACKS).size_limit(MAX_PATTERN);
        let validator = jsonschema::options()
            .with_draft(draft)
            .with_pattern_options(patterns)
            .should_validate_formats(true)
            .build(&schema)
            .map_err(|error| uncompiled(&schema, &error.to_string()))?;
        Ok(Self { schema, anchors, validator, unknown_draft })
    }

    /// What `$schema` names, where it is no draft that is known here: then it was judged by 2020-12.
    pub fn unknown_draft(&self) -> Option<&str> {
        self.unknown_draft.as_deref()
    }

    /// The first error of a value in words, with its place; `None`: it is valid, or finding out would take more work
    /// than the limits allow. The value's own texts are not in it.
    pub fn first_words(&self, value: &Value) -> Option<String> {
        Walk::new(&self.schema, &self.anchors).visit(&self.schema, value, 0).ok()?;
        let error = self.validator.iter_errors(value).next()?;
        let place = error.instance_path().to_string();
        let words: String = error.masked().to_string().chars().take(MAX_WORDS).collect();
        Some(if place.is_empty() { words } else { format!("{place}: {words}") })
    }

    /// Judges a value.
    pub fn judge(&self, value: &Value) -> Judgement {
        match self.first_error(value, fault_of) {
            Ok(None) => Judgement::Valid,
            Ok(Some(fault)) => Judgement::Invalid(fault),
            Err(OverLimit) => Judgement::OverLimit,
        }
    }

    /// The keywords that a value breaks, as the last parts of their places in the schema; empty: it is valid.
    ///
    /// # Errors
    /// When finding out would take more work than the limits allow.
    pub fn broken_keywords(&self, value: &Value) -> Result<BTreeSet<String>, OverLimit> {
        Walk::new(&self.schema, &self.anchors).visit(&self.schema, value, 0)?;
        let mut broken = BTreeSet::new();
        for error in self.validator.iter_errors(value) {
            if is_limit(error.kind()) {
                return Err(OverLimit);
            }
            let place = error.schema_path().to_string();
            broken.insert(place.rsplit('/').next().unwrap_or_default().to_owned());
        }
        Ok(broken)
    }

    /// The kind of a value's errors that comes first of all; `None`: it is valid.
    ///
    /// # Errors
    /// When finding out would take more work than the limits allow.
    pub fn first_error<K: Ord>(
        &self,
        value: &Value,
        kind: impl Fn(&ValidationErrorKind) -> K,
    ) -> Result<Option<K>, OverLimit> {
        Walk::new(&self.schema, &self.anchors).visit(&self.schema, value, 0)?;
        let mut first = None;
        for error in self.validator.iter_errors(value) {
            if is_limit(error.kind()) {
                return Err(OverLimit);
            }
            let found = kind(error.kind());
            first = Some(match first {
                Some(first) => found.min(first),
                None => found,
            });
        }
        Ok(first)
    }
}

/// A schema as it is compiled, its draft, and what it names instead of one. A name that is none would have to be
/// fetched, so it is left out.
fn with_draft(schema: &Value) -> (Value, Draft, Option<String>) {
    let mut schema = schema.clone();
    let named = schema.get("$schema").and_then(Value::as_str).map(str::to_owned);
    let draft = named.as_deref().map_or(Draft::Draft202012, Draft::from_schema_uri);
    let known = [Draft::Draft4, Draft::Draft6, Draft::Draft7, Draft::Draft201909, Draft::Draft202012];
    if known.contains(&draft) {
        return (schema, draft, None);
    }
    if let Some(schema) = schema.as_object_mut() {
        schema.shift_remove("$schema");
    }
    (schema, Draft::Draft202012, named)
}

/// Returns whether it is the schema's fault or ours.
fn uncompiled(schema: &Value, words: &str) -> Uncompiled {
    match jsonschema::meta::validate(schema) {
        Err(error) if !matches!(error.kind(), ValidationErrorKind::Format { .. }) => {
            Uncompiled::NoSchema(error.to_string())
        }
        _ => Uncompiled::Unable(words.to_owned()),
    }
}

fn is_limit(kind: &ValidationErrorKind) -> bool {
    matches!(
        kind,
        ValidationErrorKind::BacktrackLimitExceeded { .. } | ValidationErrorKind::RegexEngineFailure { .. }
    )
}

fn fault_of(kind: &ValidationErrorKind) -> Fault {
    match kind {
        ValidationErrorKind::Required { .. } => Fault::Missing,
        ValidationErrorKind::AdditionalProperties { .. }
        | ValidationErrorKind::UnevaluatedProperties { .. } => Fault::Extra,
        ValidationErrorKind::Type { .. } => Fault::Type,
        ValidationErrorKind::Enum { .. } | ValidationErrorKind::Constant { .. } => Fault::Enum,
        _ => Fault::Value,
    }
}

/// Where the names that references may use stand: JSON pointers by anchor or id.
fn anchors(schema: &Value) -> HashMap<String, String> {
    let mut anchors = HashMap::new();
    let mut open = vec![(String::new(), schema)];
    while let Some((pointer, value)) = open.pop() {
        match value {
            Value::Object(object) => {
                for (key, prefix) in [("$anchor", "#"), ("$dynamicAnchor", "#"), ("$id", ""), ("id", "")] {
                    if let Some(name) = object.get(key).and_then(Value::as_str) {
                        anchors.insert(format!("{prefix}{name}"), pointer.clone());
                    }
                }
                let escaped = |key: &str| key.replace('~', "~0").replace('/', "~1");
                open.extend(object.iter().map(|(key, value)| (format!("{pointer}/{}", escaped(key)), value)));
            }
            Value::Array(values) => {
                let numbered = values.iter().enumerate();
                open.extend(numbered.map(|(index, value)| (format!("{pointer}/{index}"), value)));
            }
            _ => {}
        }
    }
    anchors
}

/// The work is more than is allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OverLimit;

type Step = Result<(), OverLimit>;

/// Counts what a validator would visit at most: every branch is followed, as if none were ever skipped.
struct Walk<'a> {
    root: &'a Value,
    anchors: &'a HashMap<String, String>,
    left: u32,
}

impl<'a> Walk<'a> {
    fn new(root: &'a Value, anchors: &'a HashMap<String, String>) -> Self {
        Self { root, anchors, left: MAX_WORK }
    }

    fn visit(&mut self, schema: &'a Value, value: &Value, depth: u32) -> Step {
        self.spend(1)?;
        if depth > MAX_DEPTH {
            return Err(OverLimit);
        }
        let Value::Object(schema) = schema else { return Ok(()) };
        self.same_value(schema, value, depth + 1)?;
        match value {
            Value::Object(object) => self.properties(schema, object, depth + 1),
            Value::Array(values) => self.items(schema, values, depth + 1),
            Value::String(text) if schema.contains_key("pattern") => {
                self.spend(PATTERN_WORK + text.len() / 256)
            }
            _ => Ok(()),
        }
    }

    fn spend(&mut self, work: usize) -> Step {
        let work = u32::try_from(work).unwrap_or(u32::MAX);
        self.left = self.left.checked_sub(work).ok_or(OverLimit)?;
        Ok(())
    }

    /// The schemas that apply to the value itself.
    fn same_value(&mut self, schema: &'a Map<String, Value>, value: &Value, depth: u32) -> Step {
        for key in ["$ref", "$dynamicRef", "$recursiveRef"] {
            if let Some(reference) = schema.get(key).and_then(Value::as_str) {
                match self.resolve(reference) {
                    Some(target) => self.visit(target, value, depth)?,
                    None => self.spend(FOREIGN_WORK)?,
                }
            }
        }
        for key in ["allOf", "anyOf", "oneOf"] {
            for branch in schema.get(key).and_then(Value::as_array).into_iter().flatten() {
                self.visit(branch, value, depth)?;
            }
        }
        for branch in ["not", "if", "then", "else"].iter().filter_map(|key| schema.get(*key)) {
            self.visit(branch, value, depth)?;
        }
        // Until 2019-09 `dependencies` were either schemas or lists of names.
        for branch in ["dependentSchemas", "dependencies"].iter().flat_map(|key| schemas(schema, key)) {
            self.visit(branch.1, value, depth)?;
        }
        let listed = schema.get("enum").and_then(Value::as_array);
        self.spend(listed.map_or(0, |listed| listed.len() / 8))
    }

    fn properties(
        &mut self,
        schema: &'a Map<String, Value>,
        object: &Map<String, Value>,
        depth: u32,
    ) -> Step {
        for (key, value) in object {
            let own = schema.get("properties").and_then(|properties| properties.get(key));
            let rest = ["additionalProperties", "unevaluatedProperties"];
            let rest = rest.iter().filter_map(|key| schema.get(*key)).filter(|_| own.is_none());
            for schema in own.into_iter().chain(rest) {
                self.visit(schema, value, depth)?;
            }
            for (_, schema) in schemas(schema, "patternProperties") {
                self.spend(PATTERN_WORK + key.len() / 256)?;
                self.visit(schema, value, depth)?;
            }
            if let Some(names) = schema.get("propertyNames") {
                self.visit(names, &Value::String(key.clone()), depth)?;
            }
        }
        Ok(())
    }

    fn items(&mut self, schema: &'a Map<String, Value>, values: &[Value], depth: u32) -> Step {
        // Until 2020-12 a list of `items` was what `prefixItems` are.
        let prefix = schema.get("prefixItems").or(schema.get("items")).and_then(Value::as_array);
        if schema.contains_key("uniqueItems") {
            self.spend(values.len())?;
        }
        for (index, value) in values.iter().enumerate() {
            let own = prefix.and_then(|prefix| prefix.get(index));
            let rest = ["items", "additionalItems", "contains", "unevaluatedItems"];
            for schema in own.into_iter().chain(rest.iter().filter_map(|key| schema.get(*key))) {
                self.visit(schema, value, depth)?;
            }
        }
        Ok(())
    }

    fn resolve(&self, reference: &str) -> Option<&'a Value> {
        if let Some(pointer) = self.anchors.get(reference) {
            return self.root.pointer(pointer);
        }
        let (base, pointer) = reference.split_once('#')?;
        let base = if base.is_empty() { "" } else { self.anchors.get(base)? };
        self.root.pointer(base)?.pointer(pointer)
    }
}

/// The schemas that a keyword has by name.
fn schemas<'a>(schema: &'a Map<String, Value>, key: &str) -> impl Iterator<Item = (&'a String, &'a Value)> {
    schema.get(key).and_then(Value::as_object).into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn judge(schema: &Value, value: &Value) -> Judgement {
        Schema::compile(schema).unwrap().judge(value)
    }

    /// Generous: what the limits are for would take years.
    fn in_time(run: impl FnOnce()) {
        let start = std::time::Instant::now();
        run();
        assert!(start.elapsed().as_secs() < 60, "{:?}", start.elapsed());
    }

    #[test]
    fn a_pattern_without_lookaround_takes_linear_time() {
        in_time(|| {
            let schema = json!({"type": "string", "pattern": "^(a+)+$"});
            let value = json!("a".repeat(200_000) + "!");
            assert_eq!(judge(&schema, &value), Judgement::Invalid(Fault::Value));
        });
    }

    #[test]
    fn a_planted_pattern_gives_up() {
        in_time(|| {
            for pattern in ["^(?=(a+)+$)(a+)+b$", "^(a|a)*\\1b", "^(?:(?:a+)+)+(?!x)$"] {
                let schema = json!({"type": "object", "additionalProperties": {"pattern": pattern}});
                let text = "a".repeat(5_000) + "!";
                let object: Map<String, Value> =
                    (0..20).map(|n| (n.to_string(), json!(format!("{text}{n}")))).collect();
                let judgement = judge(&schema, &Value::Object(object));
                assert!(
                    matches!(judgement, Judgement::OverLimit | Judgement::Invalid(Fault::Value)),
                    "{pattern}"
                );
            }
            let schema = json!({"pattern": "^(a|a)*\\1b"});
            assert_eq!(judge(&schema, &json!("a".repeat(40) + "!")), Judgement::OverLimit);
        });
    }

    #[test]
    fn references_without_end_do_not_compile() {
        for schema in [
            json!({"$ref": "#"}),
            json!({"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"anyOf": [{"$ref": "#/$defs/a"}]}}, "$ref": "#/$defs/a"}),
            json!({"$anchor": "here", "not": {"$ref": "#here"}}),
        ] {
            assert!(Schema::compile(&schema).is_err(), "{schema}");
        }
    }

    #[test]
    fn references_that_fan_out_do_not_compile() {
        let mut defs = Map::new();
        for n in 0..40 {
            let next = json!({"$ref": format!("#/$defs/d{}", n + 1)});
            defs.insert(format!("d{n}"), json!({"anyOf": [next, next]}));
        }
        defs.insert("d40".into(), json!({"type": "integer"}));
        let schema = json!({"$defs": defs, "$ref": "#/$defs/d0"});
        in_time(|| assert!(Schema::compile(&schema).is_err()));
    }

    #[test]
    fn a_fan_through_nested_values_compiles_in_time() {
        let mut defs = Map::new();
        for n in 0..40 {
            let next = json!({"$ref": format!("#/$defs/d{}", n + 1)});
            defs.insert(format!("d{n}"), json!({"properties": {"a": next, "b": next}, "items": next}));
        }
        defs.insert("d40".into(), json!({"type": "integer"}));
        let schema = json!({"$defs": defs, "$ref": "#/$defs/d0"});
        in_time(|| assert_eq!(judge(&schema, &json!({"a": {"b": []}})), Judgement::Valid));
    }

    #[test]
    fn a_value_that_makes_a_sound_schema_fan_out_is_over_the_limit() {
        let twice = json!({"properties": {"a": {"$ref": "#"}}});
        let schema = json!({"allOf": [twice, twice]});
        let nested = |depth: usize| (0..depth).fold(json!({}), |inner, _| json!({"a": inner}));
        in_time(|| {
            assert_eq!(judge(&schema, &nested(8)), Judgement::Valid);
            assert_eq!(judge(&schema, &nested(100)), Judgement::OverLimit);
        });
    }

    #[test]
    fn recursive_schemas_of_real_life_are_judged_as_deep_as_json_goes() {
        let schema = json!({
            "$defs": {"node": {
                "type": "object",
                "properties": {"name": {"type": "string"}, "children": {"type": "array", "items": {"$ref": "#/$defs/node"}}},
                "required": ["name"],
                "additionalProperties": false
            }},
            "$ref": "#/$defs/node"
        });
        let tree = |leaf: Value| (0..60).fold(leaf, |inner, _| json!({"name": "x", "children": [inner]}));
        assert_eq!(judge(&schema, &tree(json!({"name": "leaf"}))), Judgement::Valid);
        assert_eq!(judge(&schema, &tree(json!({}))), Judgement::Invalid(Fault::Missing));
    }

    #[test]
    fn large_values_are_judged_and_huge_ones_are_over_the_limit() {
        let schema = json!({"type": "array", "items": {"type": "integer"}});
        let list = |n: usize| Value::from_iter((0..n).map(Value::from));
        in_time(|| {
            assert_eq!(judge(&schema, &list(50_000)), Judgement::Valid);
            assert_eq!(judge(&schema, &list(5_000_000)), Judgement::OverLimit);
        });
    }

    #[test]
    fn nothing_is_fetched() {
        let error = Schema::compile(&json!({"$ref": "http://127.0.0.1:9/schema.json"})).unwrap_err();
        assert!(matches!(error, Uncompiled::Unable(words) if !words.is_empty()));
        assert!(Schema::compile(&json!({"$ref": "file:///etc/hostname"})).is_err());
    }

    /// What each draft says of the same words.
    #[test]
    fn the_draft_that_a_schema_names_is_the_one_that_judges() {
        let names = |draft: &str, schema: Value| {
            let mut schema = schema;
            schema["$schema"] = draft.into();
            schema
        };
        let tuple = |draft| names(draft, json!({"items": [{"type": "integer"}], "additionalItems": false}));
        let uuid = |draft| names(draft, json!({"format": "uuid"}));
        let (old, new) = (json!([1, 2]), json!("no uuid"));
        for draft in [
            "http://json-schema.org/draft-04/schema#",
            "http://json-schema.org/draft-06/schema#",
            "http://json-schema.org/draft-07/schema#",
            "https://json-schema.org/draft-07/schema",
        ] {
            assert_eq!(judge(&tuple(draft), &old), Judgement::Invalid(Fault::Value), "{draft}");
            assert_eq!(judge(&tuple(draft), &json!([1])), Judgement::Valid, "{draft}");
            assert_eq!(judge(&uuid(draft), &new), Judgement::Valid, "{draft}: no format of this draft");
        }
        let of_2019 = "https://json-schema.org/draft/2019-09/schema";
        assert_eq!(judge(&tuple(of_2019), &old), Judgement::Invalid(Fault::Value));
        assert_eq!(judge(&uuid(of_2019), &new), Judgement::Invalid(Fault::Value));
        let recursive = json!({"$recursiveAnchor": true, "properties": {"a": {"$recursiveRef": "#"}},
            "additionalProperties": false});
        let recursive = names(of_2019, recursive);
        assert_eq!(judge(&recursive, &json!({"a": {"b": 1}})), Judgement::Invalid(Fault::Extra));
        let of_2020 = "https://json-schema.org/draft/2020-12/schema";
        assert_eq!(judge(&uuid(of_2020), &new), Judgement::Invalid(Fault::Value));
        let prefix = names(of_2020, json!({"prefixItems": [{"type": "integer"}], "items": false}));
        assert!(matches!(judge(&prefix, &old), Judgement::Invalid(_)));

        let old_names = json!({"id": "http://x.test/a", "definitions": {"n": {"id": "#n", "type": "integer"}},
            "properties": {"n": {"$ref": "#n"}, "m": {"minimum": 3, "exclusiveMinimum": true}},
            "dependencies": {"n": ["m"]}});
        let old_names = names("http://json-schema.org/draft-04/schema#", old_names);
        for (value, judgement) in [
            (json!({"n": 1, "m": 4}), Judgement::Valid),
            (json!({"n": "1", "m": 4}), Judgement::Invalid(Fault::Type)),
            (json!({"m": 3}), Judgement::Invalid(Fault::Value)),
            (json!({"n": 1}), Judgement::Invalid(Fault::Missing)),
        ] {
            assert_eq!(judge(&old_names, &value), judgement, "{value}");
        }
    }

    #[test]
    fn a_draft_that_is_not_known_is_named_and_judged_by_2020_12() {
        for name in ["https://example.test/my/schema", "http://json-schema.org/draft-03/schema#", ""] {
            let schema = json!({"$schema": name, "prefixItems": [{"type": "integer"}], "items": false});
            let compiled = Schema::compile(&schema).unwrap();
            assert_eq!(compiled.unknown_draft(), Some(name));
            assert!(matches!(compiled.judge(&json!([1, 2])), Judgement::Invalid(_)));
        }
        let known = json!({"$schema": "http://json-schema.org/draft-07/schema"});
        assert_eq!(Schema::compile(&known).unwrap().unknown_draft(), None);
        assert_eq!(Schema::compile(&json!({})).unwrap().unknown_draft(), None);
    }

    /// RFC 5890 to 5892, 6531 and 3987.
    #[test]
    fn internationalised_formats_are_checked() {
        for (format, valid, invalid) in [
            ("idn-hostname", "실례.테스트", "〮실례.테스트"),
            ("idn-hostname", "xn--ihqwcrb4cv8a8dqg056pqjye.test", "a\u{302e}b"),
            ("idn-email", "실례@실례.테스트", "실례"),
            ("idn-email", "joe.bloggs@example.com", "2962"),
            ("hostname", "www.example.com", "-bad.example"),
            ("iri", "http://ƒøø.ßår/?∂éœ=πîx#πîüx", "http://2001:0db8:85a3"),
            ("iri-reference", "/âππ", "\\\\WINDOWS\\filëßåré"),
        ] {
            let schema = json!({"format": format});
            assert_eq!(judge(&schema, &json!(valid)), Judgement::Valid, "{format}: {valid}");
            assert_eq!(
                judge(&schema, &json!(invalid)),
                Judgement::Invalid(Fault::Value),
                "{format}: {invalid}"
            );
        }
    }

    #[test]
    fn whose_fault_it_is_that_a_schema_does_not_compile_is_told() {
        let error = |schema: Value| Schema::compile(&schema).unwrap_err();
        for ours in [
            json!({"$ref": "http://127.0.0.1:9/schema.json"}),
            json!({"$ref": "#/$defs/absent"}),
            json!({"pattern": "(?<=a(?R)*)["}),
            json!({"$schema": "http://json-schema.org/draft-07/schema#", "pattern": "["}),
            serde_json::from_str(r#"{"minimum": 1e99999}"#).unwrap(),
        ] {
            assert!(matches!(error(ours.clone()), Uncompiled::Unable(_)), "{ours}");
        }
        for theirs in [
            json!({"type": "whole"}),
            json!({"properties": []}),
            json!({"$schema": "http://json-schema.org/draft-04/schema#", "exclusiveMinimum": 3}),
        ] {
            assert!(matches!(error(theirs.clone()), Uncompiled::NoSchema(_)), "{theirs}");
        }
    }

    #[test]
    fn the_first_error_is_said_with_its_place_and_without_the_value() {
        let schema = json!({"properties": {"a": {"items": {"type": "integer"}}}});
        let words = Schema::compile(&schema).unwrap().first_words(&json!({"a": [1, "hostile"]})).unwrap();
        assert!(
            words.starts_with("/a/1: ") && words.contains("integer") && !words.contains("hostile"),
            "{words}"
        );
        assert_eq!(Schema::compile(&schema).unwrap().first_words(&json!({"a": [1]})), None);
    }
}
