//! Judges a call rung by rung: parsed, known tool, valid against its schema, right tool, right arguments.

use std::cmp::Ordering;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::record::Tool;

use super::extract::Call;
use super::fault::Fault;
use super::numbers::{same_json, tamed};
use super::schema::{Judgement, Schema};

/// Why a judgement is missing, where the work is the reason.
pub(crate) const OVER_LIMIT: &str = "judging it would take more work than the limits allow";

/// The call that is asked for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Expected {
    /// Function name.
    pub name: String,
    /// Its arguments.
    pub arguments: Map<String, Value>,
    /// Other arguments that are just as right.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub variants: Vec<Map<String, Value>>,
}

/// How far up the ladder a call came.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Rungs {
    /// The tool was offered.
    pub known_tool: bool,
    /// The arguments are valid against the called tool's schema.
    pub schema_valid: bool,
    /// It is the right tool.
    pub right_tool: bool,
    /// Share of the arguments, given or expected, that are exactly right (0..1); 0 for another tool.
    pub fields: f64,
    /// The first rung that broke; `None`: the call is exactly right.
    pub fault: Option<Fault>,
}

/// Judges one call against what is asked for.
pub fn judge(call: &Call, expected: &Expected, offered: &[Tool]) -> Rungs {
    let Some(tool) = offered.iter().find(|tool| tool.name == call.name) else {
        return Rungs { fault: Some(Fault::UnknownTool), ..Rungs::default() };
    };
    let right_tool = call.name == expected.name;
    let (fields, unequal) =
        if right_tool { compare_arguments(&call.arguments, expected) } else { (0.0, Some(Fault::WrongTool)) };
    // Where the schema tells nothing: what was asked for is right, and anything else is wrong whatever it would tell.
    let invalid = schema_check(&tool.parameters, &call.arguments).unwrap_or(unequal);
    Rungs {
        known_tool: true,
        schema_valid: invalid.is_none(),
        right_tool,
        fields,
        fault: invalid.or(unequal),
    }
}

/// What is wrong with arguments by their schema (of the draft that it names, formats checked, nothing fetched, bounded
/// work); of several errors the one that comes first in [`Fault`]. `None`: valid.
///
/// # Errors
/// Why that cannot be told, in words: the schema does not compile here, or the work would be more than the limits allow.
/// Then nobody may say that the arguments are wrong.
pub fn schema_check(schema: &Value, arguments: &Value) -> Result<Option<Fault>, String> {
    let compiled = Schema::compile(schema).map_err(|error| format!("it cannot be used here: {error}"))?;
    let tame = tamed(arguments, schema)?;
    let fault = match compiled.judge(&tame) {
        Judgement::Valid => None,
        Judgement::Invalid(fault) => Some(fault),
        Judgement::OverLimit => return Err(OVER_LIMIT.to_owned()),
    };
    let loose = has_loose_integer(schema, arguments).then_some(Fault::Type);
    Ok(fault.into_iter().chain(loose).min())
}

/// As [`schema_check`], for those who have to go on: what cannot be told is a fault of its own.
pub fn schema_fault(schema: &Value, arguments: &Value) -> Option<Fault> {
    schema_check(schema, arguments).unwrap_or(Some(Fault::OverLimit))
}

/// JSON Schema takes 5.0 for an integer; most programs that receive such a call do not. `properties`,
/// `items` and `additionalProperties` are followed.
fn has_loose_integer(schema: &Value, value: &Value) -> bool {
    match value {
        Value::Number(number) => {
            schema.get("type").and_then(Value::as_str) == Some("integer")
                && number.as_str().contains(['.', 'e', 'E'])
        }
        Value::Array(values) => match schema.get("items") {
            Some(items) => values.iter().any(|value| has_loose_integer(items, value)),
            None => false,
        },
        Value::Object(object) => object.iter().any(|(key, value)| {
            let property = schema.get("properties").and_then(|all| all.get(key));
            let schema = property.or(schema.get("additionalProperties"));
            schema.is_some_and(|schema| has_loose_integer(schema, value))
        }),
        _ => false,
    }
}

/// The share of arguments that are right, and what is wrong, against the nearest accepted arguments.
fn compare_arguments(given: &Value, expected: &Expected) -> (f64, Option<Fault>) {
    let Value::Object(given) = given else {
        return (0.0, Some(Fault::Type));
    };
    let accepted = std::iter::once(&expected.arguments).chain(&expected.variants);
    accepted
        .map(|accepted| compare_fields(given, accepted))
        // The first of equals, so that what is expected goes before its variants.
        .reduce(|best, next| if next.0.total_cmp(&best.0) == Ordering::Greater { next } else { best })
        .unwrap_or((0.0, Some(Fault::Value)))
}

fn compare_fields(given: &Map<String, Value>, accepted: &Map<String, Value>) -> (f64, Option<Fault>) {
    let missing = accepted.keys().filter(|key| !given.contains_key(*key)).count();
    let extra = given.keys().filter(|key| !accepted.contains_key(*key)).count();
    let right = accepted
        .iter()
        .filter(|(key, value)| given.get(*key).is_some_and(|given| same_json(given, value)))
        .count();
    let all = accepted.len() + extra;
    let fault = if missing > 0 {
        Some(Fault::Missing)
    } else if extra > 0 {
        Some(Fault::Extra)
    } else if right < all {
        Some(Fault::Value)
    } else {
        None
    };
    (if all == 0 { 1.0 } else { right as f64 / all as f64 }, fault)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn parse(text: &str) -> Value {
        serde_json::from_str(text).unwrap()
    }

    fn tools() -> Vec<Tool> {
        let parameters = json!({
            "type": "object",
            "properties": {
                "n": {"type": "integer", "minimum": 1},
                "x": {"type": "number"},
                "kind": {"enum": ["a", "b"]},
                "when": {"type": "string", "format": "date-time"},
                "list": {"type": "array", "items": {"type": "integer"}}
            },
            "required": ["n"],
            "additionalProperties": false
        });
        let tool = |name: &str| Tool {
            name: name.into(),
            description: String::new(),
            parameters: parameters.clone(),
        };
        vec![tool("f"), tool("g")]
    }

    fn rungs(name: &str, arguments: &str) -> Rungs {
        let expected = Expected {
            name: "f".into(),
            arguments: json!({"n": 5, "x": 0.5}).as_object().unwrap().clone(),
            variants: vec![json!({"n": 5, "kind": "a"}).as_object().unwrap().clone()],
        };
        let call = Call { name: name.into(), arguments: parse(arguments) };
        judge(&call, &expected, &tools())
    }

    #[test]
    fn every_rung_has_its_fault() {
        for (name, arguments, fault, fields) in [
            ("f", r#"{"x":0.5,"n":5}"#, None, 1.0),
            ("f", r#"{"n":5,"x":5e-1}"#, None, 1.0),
            ("f", r#"{"n":5,"kind":"a"}"#, None, 1.0),
            ("h", r#"{"n":5,"x":0.5}"#, Some(Fault::UnknownTool), 0.0),
            ("g", r#"{"n":5,"x":0.5}"#, Some(Fault::WrongTool), 0.0),
            ("f", r#"{"x":0.5}"#, Some(Fault::Missing), 0.5),
            ("f", r#"{"n":5}"#, Some(Fault::Missing), 0.5),
            ("f", r#"{"n":5,"x":0.5,"y":1}"#, Some(Fault::Extra), 2.0 / 3.0),
            ("f", r#"{"n":5,"x":0.5,"list":[]}"#, Some(Fault::Extra), 2.0 / 3.0),
            ("f", r#"{"n":"5","x":0.5}"#, Some(Fault::Type), 0.5),
            ("f", r#"{"n":5.0,"x":0.5}"#, Some(Fault::Type), 1.0),
            ("f", r#"{"n":5,"x":0.5,"list":[1e0]}"#, Some(Fault::Type), 2.0 / 3.0),
            ("f", r#"{"n":5,"kind":"c"}"#, Some(Fault::Enum), 0.5),
            ("f", r#"{"n":0,"x":0.5}"#, Some(Fault::Value), 0.5),
            ("f", r#"{"n":5,"x":0.25}"#, Some(Fault::Value), 0.5),
            ("f", r#"{"n":5,"x":0.5,"when":"soon"}"#, Some(Fault::Value), 2.0 / 3.0),
            ("f", "[5]", Some(Fault::Type), 0.0),
            ("f", r#"{"n":5,"x":1e999999999999999999999}"#, Some(Fault::Value), 0.5),
            ("f", r#"{"n":1e999999999999999999999,"x":0.5}"#, Some(Fault::Type), 0.5),
        ] {
            let rungs = rungs(name, arguments);
            assert_eq!((rungs.fault, rungs.fields), (fault, fields), "{name} {arguments}");
        }
    }

    #[test]
    fn monstrous_numbers_are_judged_by_where_they_lie() {
        let nines = "9".repeat(1000);
        for (schema, value, fault) in [
            (json!({"type": "number"}), format!("1e{nines}"), None),
            (json!({"type": "number", "maximum": 5}), format!("1e{nines}"), Some(Fault::Value)),
            (json!({"type": "number", "minimum": 5}), nines.clone(), None),
            (json!({"type": "integer", "minimum": 5}), nines.clone(), None),
            (json!({"type": "integer"}), format!("0.{nines}"), Some(Fault::Type)),
            (json!({"type": "integer"}), format!("{nines}.{nines}"), Some(Fault::Type)),
            (json!({"exclusiveMinimum": 0, "maximum": 1}), format!("0.{nines}"), None),
            (json!({"exclusiveMinimum": 0}), format!("1e-{nines}"), None),
            (json!({"exclusiveMinimum": 0}), format!("-1e-{nines}"), Some(Fault::Value)),
            (json!({"minimum": -1}), format!("-{nines}"), Some(Fault::Value)),
            (json!({"maximum": 1}), format!("0.{}", "3".repeat(600)), None),
            (json!({"type": "string"}), nines.clone(), Some(Fault::Type)),
        ] {
            assert_eq!(schema_check(&schema, &parse(&value)), Ok(fault), "{schema}");
        }
        for schema in [json!({"multipleOf": 3}), json!({"items": {"uniqueItems": true}})] {
            assert!(schema_check(&schema, &parse(&nines)).unwrap_err().contains("too long for arithmetic"));
        }
    }

    #[test]
    fn what_a_schema_cannot_tell_makes_no_right_call_wrong() {
        let tool =
            |parameters: Value| vec![Tool { name: "f".into(), description: String::new(), parameters }];
        let expected = Expected {
            name: "f".into(),
            arguments: json!({"n": 5}).as_object().unwrap().clone(),
            variants: Vec::new(),
        };
        let offered = tool(json!({"$ref": "https://example.test/far.json"}));
        let call = |arguments: &str| Call { name: "f".into(), arguments: parse(arguments) };
        let right = judge(&call(r#"{"n":5}"#), &expected, &offered);
        assert_eq!((right.fault, right.schema_valid), (None, true));
        assert_eq!(judge(&call(r#"{"n":6}"#), &expected, &offered).fault, Some(Fault::Value));
    }

    proptest! {
        #[test]
        fn no_arguments_make_it_panic(
            text in r#"(\[|\]|\{|\}|"n"|"x"|"list"|:|,|1e99999|-0\.0|5|9{0,500}|"\$serde_json::private::Number"|null){0,16}"#
        ) {
            if let Ok(arguments) = serde_json::from_str::<Value>(&text) {
                rungs("f", &arguments.to_string());
            }
        }
    }
}
