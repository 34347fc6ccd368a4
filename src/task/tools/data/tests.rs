//! Proves the data set: every call valid and said in its request, every variant deliberate, nothing twice.

use std::collections::BTreeSet;

use serde_json::Value;

use super::*;
use crate::task::tools::ladder::schema_fault;
use crate::task::tools::numbers::same_json;

const TAGS: [&str; 12] = [
    "arrays",
    "dates",
    "digits",
    "enums",
    "escapes",
    "ids",
    "near_names",
    "nested",
    "optional",
    "paths",
    "unicode",
    "unions",
];

fn accepted(call: &Expected) -> Vec<Value> {
    let all = std::iter::once(&call.arguments).chain(&call.variants);
    all.map(|arguments| Value::Object(arguments.clone())).collect()
}

/// Every value that is no list or object, in order.
fn leaves<'a>(value: &'a Value, into: &mut Vec<&'a Value>) {
    match value {
        Value::Array(values) => values.iter().for_each(|value| leaves(value, into)),
        Value::Object(object) => object.values().for_each(|value| leaves(value, into)),
        leaf => into.push(leaf),
    }
}

/// Every value under one of the keys, anywhere in a schema.
fn under<'a>(schema: &'a Value, keys: &[&str], into: &mut Vec<&'a Value>) {
    match schema {
        Value::Array(values) => values.iter().for_each(|value| under(value, keys, into)),
        Value::Object(object) => object.iter().for_each(|(key, value)| {
            if keys.contains(&key.as_str()) {
                leaves(value, into);
            }
            under(value, keys, into);
        }),
        _ => {}
    }
}

fn words(text: &str) -> String {
    text.to_lowercase().replace(['_', '-'], " ")
}

/// Returns whether a number stands in a text by itself, as it is written.
fn has_number(text: &str, number: &str) -> bool {
    text.match_indices(number).any(|(at, found)| {
        let before = text[..at].chars().next_back();
        let mut after = text[at + found.len()..].chars();
        let (next, second) = (after.next(), after.next());
        let goes_on = |c: Option<char>| c.is_some_and(|c| c.is_ascii_digit());
        let inside = goes_on(before) || before == Some('.');
        let unfinished = goes_on(next) || next == Some('.') && goes_on(second);
        !inside && !unfinished
    })
}

/// Returns whether a request says a value: a text as it is, a listed one in the same words, a number as it is written.
/// Yes, no and null are said in words of any kind.
fn is_said(user: &str, tool: &Listed, value: &Value) -> bool {
    match value {
        Value::String(text) => {
            let mut listed = Vec::new();
            under(&tool.parameters, &["enum", "const"], &mut listed);
            user.contains(text) || listed.contains(&value) && words(user).contains(&words(text))
        }
        Value::Number(number) => has_number(user, number.as_str()),
        _ => true,
    }
}

fn as_text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[test]
fn the_counts_are_those_that_are_promised() {
    let data = data().unwrap();
    assert!(data.tools.len() >= 60, "{} tools", data.tools.len());
    assert!(DOMAINS.len() >= 12);
    assert!(data.requests.len() >= 300, "{} requests", data.requests.len());
    assert!(data.of_several_calls().len() >= 40, "{}", data.of_several_calls().len());
    assert!(data.abstentions.len() >= 60, "{}", data.abstentions.len());
    for kind in [RequestKind::Ask, RequestKind::Answer, RequestKind::Refuse] {
        assert!(data.abstentions.iter().filter(|asked| asked.right == kind).count() >= 20, "{kind:?}");
    }
    for tag in TAGS {
        let tagged = data.requests.iter().filter(|request| request.tags.iter().any(|t| t == tag)).count();
        assert!(tagged >= 10, "{tag}: {tagged}");
    }
}

#[test]
fn nothing_is_there_twice() {
    let data = data().unwrap();
    let tools: BTreeSet<&str> = data.tools.iter().map(|tool| tool.name.as_str()).collect();
    assert_eq!(tools.len(), data.tools.len());
    let ids = data.requests.iter().map(|request| request.id.as_str());
    let ids: Vec<&str> = ids.chain(data.abstentions.iter().map(|asked| asked.id.as_str())).collect();
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len());
    let users = data.requests.iter().map(|request| request.user.as_str());
    let users: Vec<&str> = users.chain(data.abstentions.iter().map(|asked| asked.user.as_str())).collect();
    assert_eq!(users.iter().collect::<BTreeSet<_>>().len(), users.len());
}

#[test]
fn every_schema_is_one_and_closed() {
    let data = data().unwrap();
    let mut keywords = BTreeSet::new();
    for tool in &data.tools {
        assert!(jsonschema::meta::is_valid(&tool.parameters), "{}", tool.name);
        assert!(jsonschema::options().build(&tool.parameters).is_ok(), "{}", tool.name);
        assert_eq!(tool.parameters["additionalProperties"], false, "{}", tool.name);
        assert!(tool.description.ends_with('.'), "{}", tool.name);
        assert!(tool.alike.iter().all(|name| data.tool(name).is_some()), "{}", tool.name);
        let text = tool.parameters.to_string();
        for keyword in [
            "anyOf",
            "oneOf",
            "const",
            "enum",
            "default",
            "format",
            "pattern",
            "minimum",
            "maximum",
            "exclusiveMinimum",
            "minItems",
            "maxItems",
            "uniqueItems",
            "minProperties",
            "additionalProperties",
        ] {
            if text.contains(&format!("\"{keyword}\"")) {
                keywords.insert(keyword);
            }
        }
    }
    assert_eq!(keywords.len(), 15, "the tools together have every keyword: {keywords:?}");
}

#[test]
fn every_tool_is_right_somewhere_and_offered_with_others() {
    let data = data().unwrap();
    let calls = data.requests.iter().flat_map(|request| &request.calls);
    let right: BTreeSet<&str> = calls.map(|call| call.name.as_str()).collect();
    assert_eq!(right, data.tools.iter().map(|tool| tool.name.as_str()).collect());
    for request in &data.requests {
        assert!(request.tools.iter().all(|name| data.tool(name).is_some()), "{}", request.id);
        assert_eq!(
            request.tools.iter().collect::<BTreeSet<_>>().len(),
            request.tools.len(),
            "{}",
            request.id
        );
        let called: BTreeSet<&str> = request.calls.iter().map(|call| call.name.as_str()).collect();
        let first: BTreeSet<&str> = request.tools.iter().take(called.len()).map(String::as_str).collect();
        assert_eq!(called, first, "{}: the right tools come first", request.id);
        assert!((1..=6).contains(&request.calls.len()) && !request.tags.is_empty(), "{}", request.id);
    }
}

#[test]
fn every_call_is_valid_and_every_variant_deliberate() {
    let data = data().unwrap();
    for request in &data.requests {
        for call in &request.calls {
            let tool = data.tool(&call.name).unwrap();
            let accepted = accepted(call);
            for (index, arguments) in accepted.iter().enumerate() {
                assert_eq!(schema_fault(&tool.parameters, arguments), None, "{}: {arguments}", request.id);
                let same = accepted[..index].iter().find(|other| same_json(other, arguments));
                assert_eq!(same, None, "{}: {arguments}", request.id);
            }
        }
    }
}

/// Else it would matter which call is compared with which.
#[test]
fn no_call_is_right_for_two_expected_ones() {
    for request in data().unwrap().of_several_calls() {
        for (index, call) in request.calls.iter().enumerate() {
            for other in request.calls[index + 1..].iter().filter(|other| other.name == call.name) {
                let accepted = accepted(other);
                for arguments in self::accepted(call) {
                    assert!(!accepted.iter().any(|a| same_json(a, &arguments)), "{}", request.id);
                }
            }
        }
    }
}

#[test]
fn every_value_is_said_in_the_request_or_derived_for_a_reason() {
    let data = data().unwrap();
    for request in &data.requests {
        let mut needed = BTreeSet::new();
        for call in &request.calls {
            let tool = data.tool(&call.name).unwrap();
            let arguments = Value::Object(call.arguments.clone());
            let mut values = Vec::new();
            leaves(&arguments, &mut values);
            for value in values.into_iter().filter(|value| !is_said(&request.user, tool, value)) {
                let text = as_text(value);
                assert!(request.derived.contains_key(&text), "{}: {value} is not said", request.id);
                needed.insert(text);
            }
        }
        let named: BTreeSet<String> = request.derived.keys().cloned().collect();
        assert_eq!(named, needed, "{}: derived for nothing", request.id);
        assert!(request.derived.values().all(|reason| !reason.is_empty()), "{}", request.id);
    }
}

/// So that no request asks for something that is not scored.
#[test]
fn every_quoted_text_is_in_the_calls() {
    for request in &data().unwrap().requests {
        let calls = serde_json::to_value(&request.calls).unwrap();
        let mut texts = Vec::new();
        collect_texts(&calls, &mut texts);
        for quoted in request.user.split('`').skip(1).step_by(2) {
            let found = texts.iter().any(|text| text.contains(quoted))
                || request.derived.contains_key(&unescaped(quoted));
            assert!(found, "{}: {quoted} is not in {calls}", request.id);
        }
    }
}

/// Numbers in their own spelling, keys and texts.
fn collect_texts(value: &Value, texts: &mut Vec<String>) {
    match value {
        Value::Array(values) => values.iter().for_each(|value| collect_texts(value, texts)),
        Value::Object(object) => object.iter().for_each(|(key, value)| {
            texts.push(key.clone());
            collect_texts(value, texts);
        }),
        leaf => texts.push(as_text(leaf)),
    }
}

fn unescaped(text: &str) -> String {
    text.replace("\\n", "\n")
}

#[test]
fn tags_mean_what_they_say() {
    let data = data().unwrap();
    for request in &data.requests {
        let mut texts = Vec::new();
        let calls = serde_json::to_value(&request.calls).unwrap();
        collect_texts(&calls, &mut texts);
        let any = |test: fn(&str) -> bool| texts.iter().any(|text| test(text));
        let tagged = |tag: &str| request.tags.iter().any(|t| t == tag);
        assert!(!tagged("unicode") || any(|text| !text.is_ascii()), "{}", request.id);
        assert!(!tagged("escapes") || any(|text| text.contains(['"', '\\', '\n', '\''])), "{}", request.id);
        let has_long_number = |text: &str| {
            text.as_bytes().windows(5).any(|five| five.iter().all(u8::is_ascii_digit)) || text.contains("0.0")
        };
        if tagged("digits") {
            assert!(texts.iter().any(|text| has_long_number(text)), "{}", request.id);
        }
        let known = |tag: &String| {
            TAGS.contains(&tag.as_str()) || ["formats", "plain", "types"].contains(&tag.as_str())
        };
        assert!(request.tags.iter().all(known), "{}: {:?}", request.id, request.tags);
    }
}

#[test]
fn what_is_missing_is_required_and_not_said() {
    let data = data().unwrap();
    for asked in data.abstentions.iter().filter(|asked| asked.right == RequestKind::Ask) {
        assert!(!asked.missing.is_empty(), "{}", asked.id);
        for missing in &asked.missing {
            assert!(asked.tools.contains(&missing.tool), "{}", asked.id);
            let tool = data.tool(&missing.tool).unwrap();
            let required = tool.parameters["required"].as_array().unwrap();
            assert!(required.iter().any(|name| *name == missing.argument), "{}", asked.id);
            assert!(!missing.words.is_empty(), "{}", asked.id);
            assert!(missing.words.iter().all(|word| word.to_lowercase() == *word), "{}", asked.id);
        }
    }
}

/// A tool is taken for the right one when the request has every word of its name.
#[test]
fn no_right_tool_is_offered_where_none_is_needed_or_none_does_it() {
    let data = data().unwrap();
    for asked in &data.abstentions {
        assert_ne!(asked.right, RequestKind::Call, "{}", asked.id);
        assert!(
            asked.tools.len() >= 2 && asked.tools.iter().all(|name| data.tool(name).is_some()),
            "{}",
            asked.id
        );
        if asked.right == RequestKind::Ask {
            continue;
        }
        assert!(asked.missing.is_empty(), "{}", asked.id);
        let said = words(&asked.user);
        for name in &asked.tools {
            assert!(!words(name).split(' ').all(|word| said.contains(word)), "{}: {name}", asked.id);
        }
    }
}

#[test]
fn a_right_call_fits_into_the_output_budgets() {
    use crate::record::Arm;
    use crate::task::testing::WordCounter;
    use crate::task::tools::grading::reply_with;
    use crate::task::{TokenCounter as _, find};
    let budget = |task: &str| find(task).unwrap().card().options[0].default as usize;
    for request in &data().unwrap().requests {
        let task = if request.calls.len() == 1 { "tools/arguments" } else { "tools/parallel" };
        let reply = reply_with(Some(Arm::Prompted), &request.calls);
        let needed = WordCounter::default().tokenize(&reply.content).unwrap().len();
        assert!(needed < budget(task), "{}: {needed} tokens", request.id);
    }
}
