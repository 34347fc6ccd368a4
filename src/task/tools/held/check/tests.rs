use serde_json::json;

use super::*;

/// A grammar that takes any object, and so enforces nothing but that.
const ANY: &str = include_str!("../../../../../tests/fixtures/llama-server-b10068/any-object.gbnf");

/// Nobody gives up.
const PATIENT: GiveUp<'static> = &|| false;

fn check(schema: Value, right: Vec<Value>) -> Check {
    Check::new(Constraint { right, ..Constraint::new("schema", schema) }, PATIENT).unwrap()
}

fn first(check: &Check, grammar: &str) -> Found {
    check.first(&Answer::Grammar(grammar.into()), PATIENT)
}

fn holds(held: &HeldSchema) -> Vec<(String, Hold)> {
    held.keywords.iter().map(|held| (format!("{} {}", held.at, held.keyword), held.hold)).collect()
}

#[test]
fn a_keyword_is_dropped_where_a_value_that_breaks_it_alone_can_be_written() {
    let schema = json!({
        "type": "object",
        "properties": {"n": {"type": "integer", "minimum": 3}, "t": {"type": "string", "pattern": "^[a-z]+$"}},
        "required": ["n", "t"]
    });
    let check = check(schema, Vec::new());
    let Found { held, ask, .. } = first(&check, ANY);
    assert_eq!(held.conversion, Conversion::Made);
    assert!(ask.is_empty(), "every right value can be written");
    for (keyword, hold) in holds(&held) {
        // A number where an object has to be: that alone the grammar keeps out.
        let expected = if keyword == " type" { Hold::Enforced } else { Hold::Dropped };
        assert_eq!(hold, expected, "{keyword}");
    }
    let minimum = held.keywords.iter().find(|held| held.keyword == "minimum").unwrap();
    let broken = minimum.instance.as_ref().unwrap();
    assert!(broken["n"].as_i64().unwrap() < 3 && broken["t"].is_string(), "{broken}");
    assert_eq!(held.in_full(), Some(false));
    assert_eq!(held.keywords_of(Hold::Dropped), ["minimum", "pattern", "required", "type"]);
}

#[test]
fn a_grammar_that_is_the_schema_holds_it_in_full() {
    let schema = json!({"type": "object", "properties": {"a": {"enum": ["x", "y"]}}, "required": ["a"],
        "additionalProperties": false});
    let check = check(schema, vec![json!({"a": "y"})]);
    let grammar = r#"root ::= "{\"a\":" ("\"x\"" | "\"y\"") "}""#;
    let found = first(&check, grammar);
    assert!(holds(&found.held).iter().all(|(_, hold)| *hold == Hold::Enforced), "{:?}", found.held);
    assert_eq!(check.finish(found, &[], PATIENT).in_full(), Some(true));
    assert_eq!(check.reach(&Answer::Grammar(grammar.into()), PATIENT), (Some(true), Some(true)));
    let other = Answer::Grammar(r#"root ::= "{\"a\":\"x\"}""#.into());
    assert_eq!(check.reach(&other, PATIENT), (Some(false), Some(true)), "another right value can be written");
    let none = Answer::Grammar(r#"root ::= "{}""#.into());
    assert_eq!(check.reach(&none, PATIENT), (Some(false), Some(false)));
}

#[test]
fn a_closed_object_is_no_fault_and_is_told() {
    let schema = json!({"type": "object", "properties": {"a": {"enum": ["x"]}}, "required": ["a"]});
    let check = check(schema, Vec::new());
    let held = first(&check, r#"root ::= "{\"a\":\"x\"}""#).held;
    assert!(held.closed && held.right_barred == 0, "{held:?}");
    assert_eq!(held.in_full(), Some(true));
}

#[test]
fn the_keyword_that_bars_right_values_is_found_by_asking_without_it() {
    let schema = json!({"allOf": [{"type": "string"}, {"minLength": 1}]});
    let check = check(schema, vec![json!("abc")]);
    let found = first(&check, r#"root ::= "{}""#);
    assert!(!found.ask.is_empty());
    let answer = |keyword: &usize| match check.without(*keyword).get("allOf") {
        Some(_) => Answer::Grammar(r#"root ::= "{}""#.into()),
        None => Answer::Grammar(r#"root ::= "\"" [^"\\]* "\"""#.into()),
    };
    let answers: Vec<Answer> = found.ask.iter().map(answer).collect();
    let held = check.finish(found, &answers, PATIENT);
    assert_eq!(held.keywords_of(Hold::OverRestricted), ["allOf"]);
    assert_eq!(held.in_full(), Some(false));
}

#[test]
fn a_refusal_is_traced_to_its_keyword() {
    let schema = json!({"type": "object", "properties": {"a": {"type": "string", "pattern": "\\d"}}});
    let check = check(schema, Vec::new());
    let found = check.first(&Answer::Refused("HTTP 400: Pattern must start with '^'".into()), PATIENT);
    let answer = |keyword: &usize| match check.without(*keyword).pointer("/properties/a/pattern") {
        Some(_) => Answer::Refused("HTTP 400".into()),
        None => Answer::Grammar(ANY.into()),
    };
    let answers: Vec<Answer> = found.ask.iter().map(answer).collect();
    let held = check.finish(found, &answers, PATIENT);
    assert_eq!(held.keywords_of(Hold::Refused), ["pattern"]);
    assert_eq!(held.in_full(), Some(false));
}

#[test]
fn what_is_not_known_is_said() {
    let check = check(json!({"type": "null"}), Vec::new());
    let reason = |answer: Answer| match check.first(&answer, PATIENT).held.conversion {
        Conversion::Unknown { reason } => reason,
        other => panic!("{other:?}"),
    };
    assert_eq!(reason(Answer::Nothing("no way".into())), "no way");
    assert!(reason(Answer::Grammar("root ::= <[1]>".into())).contains("names tokens"));
    assert_eq!(check.first(&Answer::Nothing(String::new()), PATIENT).held.in_full(), None);
    assert!(Check::new(Constraint::new("s", json!({"type": "whole"})), PATIENT).is_err());
    // Nothing that could be tried: no right value is known, and nothing is claimed.
    let none = self::check(json!({"type": "string", "pattern": "(?=a)b"}), Vec::new());
    let held = first(&none, ANY).held;
    assert_eq!((held.right, held.in_full()), (0, None), "{held:?}");
}

#[test]
fn conditions_and_uniqueness_are_broken_too() {
    for (schema, keyword) in [
        (json!({"type": "array", "items": {"type": "integer"}, "uniqueItems": true}), " uniqueItems"),
        (json!({"type": "array", "items": {"type": "integer"}, "contains": {"const": 7}}), " contains"),
        (
            json!({"type": "object", "properties": {"a": {"type": "boolean"}, "b": {"type": "integer"}},
                "dependentRequired": {"a": ["b"]}}),
            " dependentRequired",
        ),
        (
            json!({"type": "object", "properties": {"by": {"enum": ["post", "hand"]}, "code": {"type": "string"}},
                "required": ["by"], "if": {"properties": {"by": {"const": "post"}}}, "then": {"required": ["code"]}}),
            "/then required",
        ),
        (json!({"type": "string", "not": {"enum": ["root"]}}), " not"),
        (json!({"type": "object", "propertyNames": {"pattern": "^[a-z]+$"}}), "/propertyNames pattern"),
        (json!({"type": "integer", "multipleOf": 5}), " multipleOf"),
        (json!({"type": "number", "multipleOf": 0.01}), " multipleOf"),
        (json!({"type": "number", "multipleOf": 0.5, "minimum": 0.5}), " multipleOf"),
        (
            json!({"type": "object", "properties": {"price": {"type": "number", "minimum": 0, "multipleOf": 0.05}},
                "required": ["price"]}),
            "/properties/price multipleOf",
        ),
        (json!({"type": "string", "format": "date"}), " format"),
    ] {
        let check = check(schema.clone(), Vec::new());
        let at = check.keywords.iter().position(|found| format!("{} {}", found.at, found.name) == keyword);
        assert!(!check.witnesses[at.unwrap()].is_empty(), "{schema}");
        assert!(!check.right.is_empty(), "{schema}");
    }
}

#[test]
fn whoever_gives_up_is_told_nothing_rather_than_half_of_it() {
    let schema = json!({"type": "object", "properties": {"a": {"enum": ["x", "y"]}}, "required": ["a"]});
    let late: GiveUp<'static> = &|| true;
    assert_eq!(Check::new(Constraint::new("s", schema.clone()), late).unwrap_err(), TOO_LONG);
    let check = check(schema, Vec::new());
    let found = check.first(&Answer::Grammar(ANY.into()), late);
    assert_eq!(found.held.conversion, Conversion::Unknown { reason: TOO_LONG.into() });
    assert_eq!((found.held.in_full(), found.ask), (None, Vec::new()));
    let long = json!({"type": "string", "description": "x".repeat(MAX_SCHEMA)});
    assert!(Check::new(Constraint::new("s", long), PATIENT).unwrap_err().contains("longer than 256 KiB"));
}

/// Schemas that ask for more than anybody has time for end, and soon.
#[test]
fn hostile_schemas_take_bounded_work() {
    let many: serde_json::Map<String, Value> = (0..400)
        .map(|n| {
            (
                format!("p{n}"),
                json!({"type": "array", "items": {"type": "string", "minLength": 2_900}, "minItems": 2_900}),
            )
        })
        .collect();
    let names: Vec<&String> = many.keys().collect();
    let wide = json!({"type": "object", "properties": many, "required": names, "minProperties": 300});
    let fan = json!({"$defs": {"a": {"anyOf": vec![json!({"$ref": "#/$defs/a"}); 30]}}, "allOf": vec![json!({"type": "object"}); 300]});
    for schema in [wide, fan] {
        let began = std::time::Instant::now();
        if let Ok(check) = Check::new(Constraint::new("s", schema), PATIENT) {
            check.first(&Answer::Grammar(ANY.into()), PATIENT);
        }
        assert!(began.elapsed().as_secs() < 60, "{:?}", began.elapsed());
    }
}
