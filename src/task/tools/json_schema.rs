//! Structured output: a request with all its facts, a JSON Schema, and one value that is right.
//!
//! The quality of a reply is whether it is valid against the schema (Draft 2020-12, formats checked); what it
//! says is judged beside: `facts` is the share of the right value's leaves that are in the reply at the same
//! place. In the constrained arm the server is given the schema too (`response_format`), with the same prompt, so
//! that the arms differ by nothing else. A server that refuses the schema has given no usable reply: that scores
//! 0 with the label `not_compiled` and `compiled` 0, and so coverage is 1 - not_compiled / scored, and compliance
//! where it compiled is quality / coverage.

use std::sync::LazyLock;

use jsonschema::error::ValidationErrorKind;
use jsonschema::{Draft, Validator};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::{Error, Result};
use crate::task::sizing::too_small;
use crate::task::{Params, Task, TaskOption, TokenCounter, Weight};
use crate::trial::{Arm, Case, FinishReason, Message, Outcome, Prompt, Reply, Score};

use super::asked;
use super::extract::MAX_BYTES;
use super::ladder::{has_monstrous_number, same_json};

static DATA: LazyLock<std::result::Result<Vec<Collection>, String>> = LazyLock::new(|| {
    [
        include_str!("../../../datasets/tools/schemas-1-flat.json"),
        include_str!("../../../datasets/tools/schemas-2-bounded.json"),
        include_str!("../../../datasets/tools/schemas-3-nested.json"),
        include_str!("../../../datasets/tools/schemas-4-composed.json"),
        include_str!("../../../datasets/tools/schemas-5-nasty.json"),
    ]
    .into_iter()
    .map(|text| serde_json::from_str(text).map_err(|error| error.to_string()))
    .collect()
});

static OPTIONS: &[TaskOption] = &[
    TaskOption {
        name: "output_tokens",
        help: "output budget in tokens (the longest right value has some 120, more when it is indented)",
        default: 512,
        min: 16,
        max: 65_536,
        difficulty: None,
    },
    TaskOption {
        name: "from_level",
        help: "easiest schemas taken: 1 flat, 2 bounded, 3 nested, 4 composed, 5 nasty",
        default: 1,
        min: 1,
        max: 5,
        difficulty: Some(crate::task::Harder::Larger),
    },
];

/// What the model is told in both arms.
const INSTRUCTION: &str = "Answer with one JSON value that is valid against the user's JSON Schema and holds what the \
    user says, and with nothing else. Text in backquotes is taken as it is, without the backquotes. Leave out optional \
    properties that the user says nothing about.";
/// Words of a server that cannot hold a reply to a schema.
const REFUSALS: [&str; 3] = ["schema", "grammar", "response_format"];

/// The task `tools/json_schema`.
#[derive(Debug)]
pub struct JsonSchema;

/// The schemas of a level.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Collection {
    level: String,
    schemas: Vec<Entry>,
}

/// One entry of the data set.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    id: String,
    request: String,
    schema: Value,
    /// What the request comes to.
    answer: Value,
    /// Other instances that pass.
    #[cfg_attr(not(test), expect(dead_code, reason = "the data set's own tests"))]
    valid: Vec<Value>,
    /// Instances that fail.
    #[cfg_attr(not(test), expect(dead_code, reason = "the data set's own tests"))]
    invalid: Vec<Value>,
    /// Texts of the answer that are not in the request as they are (a date written in words, ..).
    #[serde(default)]
    #[cfg_attr(not(test), expect(dead_code, reason = "the data set's own tests"))]
    derived: Vec<String>,
}

/// What a right answer is: the target of a case.
#[derive(Debug, Serialize, Deserialize)]
struct Target {
    /// The entry's name in the data set.
    entry: String,
    /// Its level.
    level: String,
    /// What a reply has to be valid against.
    schema: Value,
    /// What it has to say.
    answer: Value,
}

impl Task for JsonSchema {
    fn name(&self) -> &'static str {
        "tools/json_schema"
    }

    fn summary(&self) -> &'static str {
        "replies keep to a JSON Schema, from flat to nasty, and hold the facts of the request"
    }

    fn version(&self) -> u32 {
        1
    }

    fn weight(&self) -> Weight {
        Weight::Primary
    }

    fn arms(&self) -> &'static [Arm] {
        &[Arm::Prompted, Arm::Constrained]
    }

    fn options(&self) -> &'static [TaskOption] {
        OPTIONS
    }

    fn max_tokens(&self, params: &Params) -> u32 {
        params.option(self, "output_tokens")
    }

    fn cases(&self, params: &Params, seed: u64, tokens: &dyn TokenCounter) -> Result<Vec<Case>> {
        let arm = asked::arm(self, params)?;
        let easier = params.option(self, "from_level").saturating_sub(1) as usize;
        let hard_enough = data()?.iter().skip(easier);
        let entries: Vec<(&str, &Entry)> = hard_enough
            .flat_map(|level| level.schemas.iter().map(|entry| (level.level.as_str(), entry)))
            .collect();
        let chosen = asked::sample(self, params, seed, &entries)?;
        let case = |(index, (level, entry)): (u32, &(&str, &Entry))| {
            self.case(params, arm, index, (level, entry), tokens)
        };
        (0..).zip(chosen).map(case).collect()
    }

    fn score(&self, case: &Case, reply: &Reply) -> Outcome {
        let target = serde_json::from_value::<Target>(case.target.clone())
            .map_err(|error| format!("the case has no target of this task: {error}"));
        match target.and_then(|target| score(&target, reply)) {
            Ok(score) if case.arm == Some(Arm::Constrained) => Outcome::Scored(score.with("compiled", 1.0)),
            Ok(score) => Outcome::Scored(score),
            Err(reason) => Outcome::Unscored { reason },
        }
    }

    fn refused(&self, case: &Case, words: &str) -> Option<Outcome> {
        let words = words.to_lowercase();
        let of_the_schema = words.starts_with("http ") && REFUSALS.iter().any(|word| words.contains(word));
        let score = || {
            let score = Score::of(0.0).with("compiled", 0.0).labelled("not_compiled");
            ["json_validity", "schema_compliance", "facts", "exact", "bare"]
                .into_iter()
                .fold(score, |score, name| score.with(name, 0.0))
        };
        (case.arm == Some(Arm::Constrained) && of_the_schema).then(|| Outcome::Scored(score()))
    }

    fn perfect(&self, case: &Case) -> Option<Reply> {
        let target: Target = serde_json::from_value(case.target.clone()).ok()?;
        let content = target.answer.to_string();
        Some(Reply { content, finish_reason: Some(FinishReason::Stop), ..Reply::default() })
    }
}

impl JsonSchema {
    fn case(
        &self,
        params: &Params,
        arm: Arm,
        index: u32,
        (level, entry): (&str, &Entry),
        tokens: &dyn TokenCounter,
    ) -> Result<Case> {
        let max_tokens = self.max_tokens(params);
        let user = format!("{}\n\nJSON Schema:\n{}", entry.request, entry.schema);
        let messages = vec![Message::system(INSTRUCTION), Message::user(user)];
        let prompt_tokens = tokens.count_chat(&messages, &[])?;
        if prompt_tokens.saturating_add(max_tokens) > params.context {
            return Err(too_small(self.name(), params.context, max_tokens, prompt_tokens));
        }
        Ok(Case {
            id: String::new(),
            task: self.name().into(),
            task_version: self.version(),
            arm: Some(arm),
            context: params.context,
            index,
            depth: None,
            cluster: format!("{}/{}", self.name(), entry.id),
            prompt: Prompt::Chat {
                messages,
                tools: Vec::new(),
                tool_choice: None,
                response_schema: (arm == Arm::Constrained).then(|| entry.schema.clone()),
            },
            max_tokens,
            prompt_tokens,
            target: Target::new(level, entry).to_json()?,
        }
        .seal())
    }
}

impl Target {
    fn new(level: &str, entry: &Entry) -> Self {
        Self {
            entry: entry.id.clone(),
            level: level.into(),
            schema: entry.schema.clone(),
            answer: entry.answer.clone(),
        }
    }

    fn to_json(&self) -> Result<Value> {
        serde_json::to_value(self)
            .map_err(|error| Error::runtime("a case cannot be written as JSON").with_source(error))
    }
}

fn data() -> Result<&'static [Collection]> {
    match &*DATA {
        Ok(data) => Ok(data),
        Err(error) => Err(Error::runtime(format!("datasets/tools/schemas-*.json cannot be read: {error}"))),
    }
}

fn score(target: &Target, reply: &Reply) -> std::result::Result<Score, String> {
    let ran_out = reply.finish_reason == Some(FinishReason::Length);
    Ok(match read(&reply.content) {
        Found::Nothing | Found::Broken if ran_out => unread("truncated"),
        Found::Nothing => unread("no_json"),
        Found::Broken => unread("bad_json"),
        Found::Value { value, bare } => {
            let violation = violation(&target.schema, &value)?;
            judged(&target.answer, &value, bare, violation)
        }
    })
}

fn unread(label: &str) -> Score {
    figures(false, false, (0, 1), false, false).labelled(label)
}

fn judged(answer: &Value, value: &Value, bare: bool, violation: Option<Violation>) -> Score {
    let exact = same_json(answer, value);
    let score = figures(true, violation.is_none(), facts(answer, Some(value)), exact, bare);
    match violation {
        Some(violation) => score.labelled(violation.name()),
        // The one label that a score of 1 may have: valid, and wrong.
        None if !exact => score.labelled("facts"),
        None => score,
    }
}

fn figures(json: bool, compliant: bool, facts: (usize, usize), exact: bool, bare: bool) -> Score {
    let bit = |yes: bool| f64::from(u8::from(yes));
    Score::of(bit(compliant))
        .with("json_validity", bit(json))
        .with("schema_compliance", bit(compliant))
        .with("facts", facts.0 as f64 / facts.1.max(1) as f64)
        .with("exact", bit(exact))
        .with("bare", bit(bare))
}

/// The JSON in a reply.
#[derive(Debug, PartialEq)]
enum Found {
    /// Nothing that looks like JSON.
    Nothing,
    /// Something that looks like it and is not.
    Broken,
    /// A value; `bare`: with nothing around it.
    Value { value: Value, bare: bool },
}

/// The JSON value that a text is, else the first object or array in it (in a code fence, between words). What
/// is inside of one that is broken does not count.
fn read(text: &str) -> Found {
    let text = text[..text.floor_char_boundary(MAX_BYTES)].trim();
    if let Ok(value) = serde_json::from_str(text) {
        return Found::Value { value, bare: true };
    }
    let mut found = Found::Nothing;
    let mut rest = text;
    while let Some(at) = rest.find(['{', '[']) {
        rest = &rest[at..];
        match serde_json::Deserializer::from_str(rest).into_iter::<Value>().next() {
            Some(Ok(value)) => return Found::Value { value, bare: false },
            Some(Err(error)) => {
                found = Found::Broken;
                rest = &rest[offset(rest, &error).max(1)..];
            }
            None => break,
        }
    }
    found
}

/// Where in the text an error is (bytes).
fn offset(text: &str, error: &serde_json::Error) -> usize {
    let before: usize = text.split_inclusive('\n').take(error.line().saturating_sub(1)).map(str::len).sum();
    text.floor_char_boundary(before.saturating_add(error.column()))
}

/// In which way a value breaks a schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Violation {
    Missing,
    Extra,
    Type,
    Enum,
    Pattern,
    Format,
    Bounds,
    Combination,
    Other,
}

impl Violation {
    const fn name(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Extra => "extra",
            Self::Type => "type",
            Self::Enum => "enum",
            Self::Pattern => "pattern",
            Self::Format => "format",
            Self::Bounds => "bounds",
            Self::Combination => "combination",
            Self::Other => "value",
        }
    }

    fn of(kind: &ValidationErrorKind) -> Self {
        use ValidationErrorKind as Kind;
        match kind {
            Kind::Required { .. } => Self::Missing,
            Kind::AdditionalProperties { .. }
            | Kind::AdditionalItems { .. }
            | Kind::UnevaluatedProperties { .. }
            | Kind::UnevaluatedItems { .. }
            | Kind::FalseSchema => Self::Extra,
            Kind::Type { .. } => Self::Type,
            Kind::Enum { .. } | Kind::Constant { .. } => Self::Enum,
            Kind::Pattern { .. } | Kind::PropertyNames { .. } => Self::Pattern,
            Kind::Format { .. } => Self::Format,
            Kind::Minimum { .. }
            | Kind::Maximum { .. }
            | Kind::ExclusiveMinimum { .. }
            | Kind::ExclusiveMaximum { .. }
            | Kind::MultipleOf { .. }
            | Kind::MinLength { .. }
            | Kind::MaxLength { .. }
            | Kind::MinItems { .. }
            | Kind::MaxItems { .. }
            | Kind::MinProperties { .. }
            | Kind::MaxProperties { .. } => Self::Bounds,
            Kind::AnyOf { .. }
            | Kind::OneOfNotValid { .. }
            | Kind::OneOfMultipleValid { .. }
            | Kind::Not { .. } => Self::Combination,
            _ => Self::Other,
        }
    }
}

/// How a value breaks a schema; of several ways the one that comes first in [`Violation`].
fn violation(schema: &Value, value: &Value) -> std::result::Result<Option<Violation>, String> {
    if has_monstrous_number(value) {
        return Ok(Some(Violation::Other));
    }
    Ok(validator(schema)?.iter_errors(value).map(|error| Violation::of(error.kind())).min())
}

fn validator(schema: &Value) -> std::result::Result<Validator, String> {
    jsonschema::options()
        .with_draft(Draft::Draft202012)
        .should_validate_formats(true)
        .build(schema)
        .map_err(|error| format!("the case's schema is not one: {error}"))
}

/// How many leaves (texts, numbers, booleans, nulls, empty lists and objects) of the answer a value has at the
/// same place, and how many there are.
fn facts(answer: &Value, given: Option<&Value>) -> (usize, usize) {
    let add = |(a, b): (usize, usize), (c, d): (usize, usize)| (a + c, b + d);
    match answer {
        Value::Object(object) if !object.is_empty() => object
            .iter()
            .map(|(key, value)| facts(value, given.and_then(|given| given.get(key))))
            .fold((0, 0), add),
        Value::Array(values) if !values.is_empty() => {
            let at = |index: usize| given.and_then(|given| given.get(index));
            values.iter().enumerate().map(|(index, value)| facts(value, at(index))).fold((0, 0), add)
        }
        leaf => (usize::from(given.is_some_and(|given| same_json(leaf, given))), 1),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::task::conformance::{WordCounter, params};

    /// Keywords of Draft 2020-12 that the data set has to use somewhere.
    const KEYWORDS: [&str; 52] = [
        "$schema",
        "$id",
        "$anchor",
        "$dynamicAnchor",
        "$ref",
        "$dynamicRef",
        "$defs",
        "$comment",
        "type",
        "enum",
        "const",
        "multipleOf",
        "minimum",
        "maximum",
        "exclusiveMinimum",
        "exclusiveMaximum",
        "minLength",
        "maxLength",
        "pattern",
        "format",
        "items",
        "prefixItems",
        "contains",
        "minContains",
        "maxContains",
        "minItems",
        "maxItems",
        "uniqueItems",
        "unevaluatedItems",
        "properties",
        "patternProperties",
        "additionalProperties",
        "propertyNames",
        "required",
        "minProperties",
        "maxProperties",
        "dependentRequired",
        "dependentSchemas",
        "unevaluatedProperties",
        "allOf",
        "anyOf",
        "oneOf",
        "not",
        "if",
        "then",
        "else",
        "title",
        "description",
        "default",
        "examples",
        "contentMediaType",
        "readOnly",
    ];
    const FORMATS: [&str; 10] =
        ["date", "date-time", "time", "duration", "email", "hostname", "ipv4", "ipv6", "uri", "uuid"];

    fn entries() -> impl Iterator<Item = &'static Entry> {
        data().unwrap().iter().flat_map(|level| &level.schemas)
    }

    fn case_of(arm: Arm, entry: &str) -> Case {
        let params = params(8192, entries().count() as u32, Some(arm));
        let all = JsonSchema.cases(&params, 1, &WordCounter::default()).unwrap();
        all.into_iter().find(|case| case.target["entry"] == entry).unwrap()
    }

    fn says(content: &str) -> Reply {
        Reply { content: content.into(), finish_reason: Some(FinishReason::Stop), ..Reply::default() }
    }

    fn scored(case: &Case, reply: &Reply) -> Score {
        JsonSchema.score(case, reply).score().unwrap().clone()
    }

    #[test]
    fn every_instance_passes_or_fails_as_it_says() {
        for Entry { id, schema, answer, valid, invalid, .. } in entries() {
            assert!(jsonschema::meta::is_valid(schema), "{id}");
            assert!(!valid.is_empty() && invalid.len() >= 2, "{id}: the answer and 1 more pass, 2 fail");
            let validator = validator(schema).unwrap();
            for instance in valid.iter().chain([answer]) {
                let errors: Vec<_> = validator.iter_errors(instance).map(|error| error.to_string()).collect();
                assert!(errors.is_empty(), "{id}: {instance}: {errors:?}");
            }
            for instance in invalid {
                assert!(!validator.is_valid(instance), "{id}: {instance} passes");
            }
            let all: Vec<_> = valid.iter().chain(invalid).chain([answer]).collect();
            let repeated = (1..all.len()).any(|at| all[..at].iter().any(|other| same_json(other, all[at])));
            assert!(!repeated, "{id}: the same instance twice");
        }
    }

    #[test]
    fn the_data_set_is_sound() {
        let ids: BTreeSet<&str> = entries().map(|entry| entry.id.as_str()).collect();
        assert!(ids.len() >= 120 && ids.len() == entries().count(), "{}", ids.len());
        let levels: Vec<&str> = data().unwrap().iter().map(|level| level.level.as_str()).collect();
        assert_eq!(levels, ["flat", "bounded", "nested", "composed", "nasty"]);
        assert!(data().unwrap().iter().all(|level| level.schemas.len() >= 20));
        let requests: BTreeSet<&str> = entries().map(|entry| entry.request.as_str()).collect();
        assert_eq!(requests.len(), ids.len());
    }

    #[test]
    fn every_keyword_and_format_is_covered() {
        let (mut keywords, mut formats) = (BTreeSet::new(), BTreeSet::new());
        entries().for_each(|entry| walk(&entry.schema, &mut keywords, &mut formats));
        let missing: Vec<_> = KEYWORDS.iter().filter(|keyword| !keywords.contains(**keyword)).collect();
        assert!(missing.is_empty(), "no schema has {missing:?}");
        let missing: Vec<_> = FORMATS.iter().filter(|format| !formats.contains(**format)).collect();
        assert!(missing.is_empty(), "no schema has {missing:?}");
        // Nothing is fetched: every reference stays inside of its schema.
        let remote = |entry: &&Entry| entry.schema.to_string().contains("\"$ref\":\"http");
        assert_eq!(entries().filter(remote).count(), 0);
    }

    /// The keywords of a schema and of those inside it; names of properties are none.
    fn walk<'a>(schema: &'a Value, keywords: &mut BTreeSet<&'a str>, formats: &mut BTreeSet<&'a str>) {
        let Value::Object(schema) = schema else { return };
        for (keyword, value) in schema {
            keywords.insert(keyword);
            match (keyword.as_str(), value) {
                ("properties" | "$defs" | "patternProperties" | "dependentSchemas", Value::Object(named)) => {
                    named.values().for_each(|schema| walk(schema, keywords, formats));
                }
                ("allOf" | "anyOf" | "oneOf" | "prefixItems", Value::Array(schemas)) => {
                    schemas.iter().for_each(|schema| walk(schema, keywords, formats));
                }
                ("format", Value::String(format)) => {
                    formats.insert(format);
                }
                ("enum" | "const" | "default" | "examples" | "dependentRequired", _) => {}
                (_, schema) => walk(schema, keywords, formats),
            }
        }
    }

    /// What a reply is held to is said: every text and number of the answer is in the request, is one of the
    /// schema's own (an enum's, a constant), or is named as derived.
    #[test]
    fn facts_are_in_the_request() {
        for Entry { id, request, schema, answer, derived, .. } in entries() {
            let mut leaves = Vec::new();
            collect(answer, &mut leaves);
            let unsaid: Vec<_> = leaves
                .iter()
                .filter(|leaf| !request.contains(leaf.as_str()) && !derived.contains(leaf))
                .filter(|leaf| !schema.to_string().contains(&Value::String(leaf.to_string()).to_string()))
                .collect();
            assert!(unsaid.is_empty(), "{id}: the request does not say {unsaid:?}");
            assert!(derived.iter().all(|text| leaves.contains(text)), "{id}: {derived:?}");
        }
    }

    fn collect(value: &Value, leaves: &mut Vec<String>) {
        match value {
            Value::String(text) => leaves.push(text.clone()),
            Value::Number(number) => leaves.push(number.to_string()),
            Value::Array(values) => values.iter().for_each(|value| collect(value, leaves)),
            Value::Object(object) => object.values().for_each(|value| collect(value, leaves)),
            Value::Null | Value::Bool(_) => {}
        }
    }

    #[test]
    fn arms_differ_by_the_response_schema_alone() {
        let (prompted, constrained) = (case_of(Arm::Prompted, "tree"), case_of(Arm::Constrained, "tree"));
        let parts = |case: &Case| match &case.prompt {
            Prompt::Chat { messages, response_schema, .. } => (messages.clone(), response_schema.clone()),
            Prompt::Distributions { .. } => panic!("not a chat"),
        };
        assert_eq!(parts(&prompted).0, parts(&constrained).0);
        assert_eq!(
            (parts(&prompted).1, parts(&constrained).1),
            (None, Some(constrained.target["schema"].clone()))
        );
        assert_eq!(prompted.target, constrained.target);
    }

    #[test]
    fn replies_get_their_label() {
        let case = case_of(Arm::Prompted, "licence_plate");
        for (content, quality, label) in [
            (r#"{"plate": "B-KT 4092", "color": "blue"}"#, 1.0, None),
            (r#"Sure: ```json {"color": "blue", "plate": "B-KT 4092"} ``` Done."#, 1.0, None),
            (r#"{"plate": "B-KT 4092", "color": "red"}"#, 1.0, Some("facts")),
            (r#"{"plate": "B-KT 4092"}"#, 0.0, Some("missing")),
            (r#"{"plate": "B-KT 4092", "color": "blue", "x": 1}"#, 0.0, Some("extra")),
            (r#"{"plate": "B-KT 4092", "color": 7}"#, 0.0, Some("type")),
            (r#"{"plate": "BKT 4092", "color": "blue"}"#, 0.0, Some("pattern")),
            (r#"{"plate": "B-KT 4092", "color": ""}"#, 0.0, Some("bounds")),
            (r#"{"plate": "B-KT 4092", "color": "blue""#, 0.0, Some("bad_json")),
            (r#"{"car": {"plate": "B-KT 4092", "color": "blue"},}"#, 0.0, Some("bad_json")),
            ("The car is blue.", 0.0, Some("no_json")),
            ("\"blue\"", 0.0, Some("type")),
            ("", 0.0, Some("no_json")),
        ] {
            let score = scored(&case, &says(content));
            assert_eq!((score.quality, score.label.as_deref()), (Some(quality), label), "{content}");
        }
        let cut = Reply { finish_reason: Some(FinishReason::Length), ..says(r#"{"plate": "B-KT 40"#) };
        assert_eq!(scored(&case, &cut).label.as_deref(), Some("truncated"));
    }

    #[test]
    fn other_keywords_have_labels_too() {
        for (entry, content, label) in [
            ("traffic_light", r#"{"crossing":12,"light":"yellow"}"#, "enum"),
            ("date", r#"{"ends":"7 March 2028"}"#, "format"),
            ("one_of_shape", r#"{"shape":"circle","width":2}"#, "combination"),
            ("tuple", r#"["Nadia",34,true,1]"#, "extra"),
            ("contains", r#"[{"name":"Ann","role":"writer"}]"#, "value"),
        ] {
            let score = scored(&case_of(Arm::Prompted, entry), &says(content));
            assert_eq!((score.quality, score.label.as_deref()), (Some(0.0), Some(label)), "{content}");
        }
    }

    #[test]
    fn facts_are_counted_leaf_by_leaf() {
        let case = case_of(Arm::Prompted, "order_lines");
        let content = r#"{"order": 5521, "lines": [{"article": "A-10", "pieces": 2}, {"article": "C-34", "pieces": 1}]}"#;
        let score = scored(&case, &says(content));
        let figures =
            ["facts", "exact", "bare", "json_validity", "schema_compliance"].map(|name| score.metrics[name]);
        assert_eq!(figures, [0.8, 0.0, 1.0, 1.0, 1.0]);
        assert_eq!(facts(&json!({"a": [], "b": null}), Some(&json!({"a": {}, "b": null}))), (1, 2));
    }

    #[test]
    fn a_whole_number_is_an_integer_however_it_is_written() {
        let case = case_of(Arm::Prompted, "stock");
        assert_eq!(scored(&case, &says(r#"{"article": "KX-20", "pieces": 0.0}"#)).label, None);
        let monstrous = format!(r#"{{"article": "KX-20", "pieces": 1e{}}}"#, "9".repeat(30));
        assert_eq!(scored(&case, &says(&monstrous)).label.as_deref(), Some("value"));
    }

    #[test]
    fn a_refused_schema_is_counted_and_other_refusals_are_failures() {
        let constrained = case_of(Arm::Constrained, "dynamic_ref");
        for words in [
            "HTTP 400: JSON schema conversion failed: Unrecognized schema: {\"$dynamicRef\":\"#menu\"}",
            "HTTP 400: Failed to parse grammar",
            "HTTP 422: this response_format type is unavailable now",
        ] {
            let outcome = JsonSchema.refused(&constrained, words).unwrap();
            let score = outcome.score().unwrap();
            assert_eq!((score.quality, score.metrics["compiled"]), (Some(0.0), 0.0));
            assert_eq!(score.label.as_deref(), Some("not_compiled"));
        }
        let full =
            "HTTP 400: the prompt of 9000 tokens does not fit into the server's context of 4096 tokens";
        assert_eq!(JsonSchema.refused(&constrained, full), None);
        assert_eq!(JsonSchema.refused(&constrained, "no connection to http://127.0.0.1:1/schema"), None);
        let prompted = case_of(Arm::Prompted, "dynamic_ref");
        assert_eq!(JsonSchema.refused(&prompted, "HTTP 400: Failed to parse grammar"), None);
        assert_eq!(scored(&constrained, &JsonSchema.perfect(&constrained).unwrap()).metrics["compiled"], 1.0);
        assert!(!scored(&prompted, &JsonSchema.perfect(&prompted).unwrap()).metrics.contains_key("compiled"));
    }

    #[test]
    fn harder_levels_can_be_asked_for() {
        let mut params = params(8192, 24, Some(Arm::Prompted));
        params.options.insert("from_level".into(), 5);
        let cases = JsonSchema.cases(&params, 1, &WordCounter::default()).unwrap();
        assert!(cases.iter().all(|case| case.target["level"] == "nasty"));
        params.samples = 25;
        let error = JsonSchema.cases(&params, 1, &WordCounter::default()).unwrap_err();
        assert_eq!(error.kind(), crate::error::Kind::Usage);
    }

    /// Texts of 10 MB that make careless scanners quadratic. The limit is far above what it takes.
    #[test]
    fn hostile_texts_take_bounded_time() {
        let start = std::time::Instant::now();
        for pattern in ["[", "{", "{\"a\":", "[\n", "[1,", "[]]{", "{\"a\"}\n", "é{", "[\"\\"] {
            read(&pattern.repeat(10_000_000 / pattern.len()));
        }
        assert!(start.elapsed().as_secs() < 60, "{:?}", start.elapsed());
    }

    proptest! {
        #[test]
        fn a_value_is_found_between_words(words in "[a-z .\n]{0,20}", n in any::<i32>(), text in ".{0,20}") {
            let value = json!({ "n": n, "text": text });
            let found = read(&format!("{words}\n```json\n{value}\n```\n{words}"));
            prop_assert_eq!(found, Found::Value { value, bare: false });
        }

        #[test]
        fn no_text_makes_it_panic(text in r#"([\[\]{}",:\n]|\\|é|1e9|null|"a"|```json|\$serde_json::private::Number){0,60}"#) {
            read(&text);
        }
    }
}
