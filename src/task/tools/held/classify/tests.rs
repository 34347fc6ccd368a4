use serde_json::json;

use super::super::keywords::every_keyword;
use super::*;

/// Keywords with their rows; a keyword that no row is about stands alone.
fn rows(schema: &Value) -> Vec<String> {
    let mut found = Vec::new();
    for keyword in every_keyword(schema).unwrap() {
        match of_keyword(schema, &keyword) {
            None => found.push(keyword.name.to_owned()),
            Some(situations) => {
                found.extend(situations.into_iter().map(|situation| situation.row().to_owned()))
            }
        }
    }
    found
}

#[test]
fn what_stands_beside_a_keyword_tells_its_row() {
    for (schema, expected) in [
        (json!({"type": "string", "enum": ["a", "b"]}), vec!["type", "enum"]),
        (json!({"type": "string", "enum": ["a", 1]}), vec!["type", "enum", "siblings of enum"]),
        (json!({"type": ["string"], "minLength": 0}), vec!["type"]),
        (json!({"type": "integer", "format": "int32"}), vec!["type"]),
        (json!({"type": "string", "format": "iri"}), vec!["type", "format"]),
        (
            json!({"format": "date", "pattern": "^a$"}),
            vec!["pattern, anchored", "pattern without a type", "format: date", "format beside pattern"],
        ),
        (
            json!({"type": "integer", "minimum": 1, "maximum": 5}),
            vec!["type", "both bounds of an integer", "both bounds of an integer"],
        ),
        (
            json!({"type": "integer", "minimum": -9, "maximum": -2}),
            vec!["type", "minimum of an integer, below zero", "maximum of an integer, below zero"],
        ),
        (
            json!({"type": "number", "exclusiveMinimum": 0, "minimum": 1}),
            vec![
                "type",
                "minimum of a number",
                "exclusiveMinimum of a number",
                "exclusiveMinimum beside minimum",
            ],
        ),
        (
            json!({"type": "integer", "minimum": 0, "multipleOf": 5}),
            vec!["type", "minimum of an integer", "multipleOf"],
        ),
        (
            json!({"type": "string", "anyOf": [{"type": "string"}, {"const": "x"}]}),
            vec!["type", "anyOf", "type", "const"],
        ),
        (
            json!({"required": ["a"], "anyOf": [{"type": "object"}]}),
            vec![
                "required, a name that properties do not have",
                "required without a type",
                "anyOf",
                "siblings of anyOf",
                "type",
            ],
        ),
        (json!({"$ref": "http://example.org/x"}), vec!["$ref"]),
        (json!({"dependencies": {"a": ["b"]}, "contains": {}, "minContains": 0}), vec!["dependencies"]),
    ] {
        assert_eq!(rows(&schema), expected, "{schema}");
    }
}

#[test]
fn branches_are_apart_only_where_no_value_can_fit_both() {
    let apart = |branches: Value| {
        let schema = json!({"oneOf": branches, "$defs": {"n": {"type": "null"}}});
        rows(&schema).contains(&"oneOf, apart".to_owned())
    };
    let tagged =
        |kind: &str| json!({"type": "object", "properties": {"kind": {"const": kind}}, "required": ["kind"]});
    let closed = |name: &str| json!({"type": "object", "properties": {name: {}}, "required": [name], "additionalProperties": false});
    assert!(apart(json!([{"type": "string"}, {"$ref": "#/$defs/n"}])));
    assert!(apart(json!([tagged("a"), tagged("b")])) && apart(json!([closed("a"), closed("b")])));
    assert!(
        apart(json!([{"enum": [1, 2]}, {"enum": [3]}])) && apart(json!([{"type": "string"}, {"const": 1}]))
    );
    assert!(
        !apart(json!([tagged("a"), tagged("a")])) && !apart(json!([{"type": "integer"}, {"type": "number"}]))
    );
    assert!(
        !apart(json!([{"type": "string"}, {"minLength": 2}]))
            && !apart(json!([{"enum": [1]}, {"enum": [1, 2]}]))
    );
}

#[test]
fn references_that_come_back_are_told() {
    let list = json!({"$defs": {"n": {"properties": {"next": {"$ref": "#/$defs/m"}}}, "m": {"items": {"$ref": "#/$defs/n"}}},
        "$ref": "#/$defs/n"});
    assert!(rows(&list).contains(&"$ref that comes back".to_owned()));
    let plain =
        json!({"$defs": {"n": {"items": {"$ref": "#/$defs/m"}}, "m": {"type": "null"}}, "$ref": "#/$defs/n"});
    assert!(!rows(&plain).contains(&"$ref that comes back".to_owned()));
}
