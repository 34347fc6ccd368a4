use std::collections::BTreeSet;

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::task::testing::{WordCounter, params};
use crate::task::tools::schema::Judgement;

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
        let compiled = Schema::compile(schema).unwrap();
        for instance in valid.iter().chain([answer]) {
            assert_eq!(compiled.judge(instance), Judgement::Valid, "{id}: {instance}");
        }
        for instance in invalid {
            assert!(matches!(compiled.judge(instance), Judgement::Invalid(_)), "{id}: {instance} passes");
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
        (None, Some(Box::new(constrained.target["schema"].clone())))
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
    let content =
        r#"{"order": 5521, "lines": [{"article": "A-10", "pieces": 2}, {"article": "C-34", "pieces": 1}]}"#;
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
    let score = scored(&case, &says(&monstrous));
    assert_eq!((score.quality, score.label.as_deref()), (Some(1.0), Some("facts")), "no bound forbids it");
}

/// A journal may come from anywhere, and `score` judges its replies again.
#[test]
fn a_planted_schema_takes_bounded_time() {
    let start = std::time::Instant::now();
    let mut case = case_of(Arm::Prompted, "licence_plate");
    let reply = says(&json!("a".repeat(40) + "!").to_string());
    for (schema, named) in [
        (json!({"pattern": "^(a|a)*\\1b"}), "more work than the limits allow"),
        (json!({"$ref": "#"}), "lead back to themselves"),
        (json!({"$ref": "https://example.test/far.json"}), "cannot be used here"),
    ] {
        case.target["schema"] = schema;
        let Outcome::Unscored { reason } = JsonSchema.score(&case, &reply) else { panic!("{named}") };
        assert!(reason.contains(named), "{reason}");
    }
    assert!(start.elapsed().as_secs() < 60, "{:?}", start.elapsed());
}

#[test]
fn a_refused_schema_is_counted_and_other_refusals_are_failures() {
    let constrained = case_of(Arm::Constrained, "dynamic_ref");
    for words in [
        "HTTP 400: JSON schema conversion failed: Unrecognized schema: {\"$dynamicRef\":\"#menu\"}",
        "HTTP 400: Failed to parse grammar",
        // vLLM 0.23.0, which has begun its stream by then.
        "HTTP 400 (within HTTP 200): Grammar error: Unimplemented keys: [\"uniqueItems\"] (BadRequestError)",
        "HTTP 422: this response_format type is unavailable now",
    ] {
        let outcome = JsonSchema.refused(&constrained, words).unwrap();
        let score = outcome.score().unwrap();
        assert_eq!((score.quality, score.metrics["compiled"]), (Some(0.0), 0.0));
        assert_eq!(score.label.as_deref(), Some("not_compiled"));
    }
    let full = "HTTP 400: the prompt of 9000 tokens does not fit into the server's context of 4096 tokens";
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

#[test]
fn replies_are_judged_by_a_schema_alone() {
    let schema = json!({"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]});
    for (content, quality, label, bare) in [
        (r#" {"n": 1} "#, 1.0, None, 1.0),
        ("Here: {\"n\": 1}", 1.0, None, 0.0),
        (r#"{"n": "1"}"#, 0.0, Some("type"), 1.0),
        ("{}", 0.0, Some("missing"), 1.0),
        (r#"{"n": 1"#, 0.0, Some("bad_json"), 0.0),
        ("no", 0.0, Some("no_json"), 0.0),
    ] {
        let (score, words) = by_schema(&schema, &says(content)).unwrap();
        assert_eq!((score.quality, score.label.as_deref()), (Some(quality), label), "{content}");
        assert_eq!((score.metrics["schema_compliance"], score.metrics["bare"]), (quality, bare), "{content}");
        assert_eq!(words.is_some(), quality == 0.0, "{content}: {words:?}");
    }
    assert!(by_schema(&json!({"$ref": "#/nowhere"}), &says("{}")).is_err());
}
