//! Finds the calls in a reply: those that the server parsed, or those that the model wrote into its text.
//!
//! Replies are hostile input. Time and memory are bounded by [`MAX_BYTES`]; nesting by the JSON parser.

use serde_json::{Map, Value};

use crate::trial::ToolCall;

/// Bytes of a text, or of one call's arguments, that are read; the rest is not looked at.
pub const MAX_BYTES: usize = 256 * 1024;
/// Calls of one reply that are read.
pub const MAX_CALLS: usize = 64;
/// Openings of something that is not JSON after which a text is given up.
const MAX_FAILURES: usize = 1024;

/// A call with its arguments read.
#[derive(Debug, Clone, PartialEq)]
pub struct Call {
    /// Function name.
    pub name: String,
    /// Arguments, number lexemes as they were written. Normally an object.
    pub arguments: Value,
}

/// What a reply holds.
#[derive(Debug, Clone, PartialEq)]
pub enum Extraction {
    /// No call, and nothing that looks like one.
    NoCall,
    /// Something that looks like a call and is not JSON.
    BadJson,
    /// Calls, at least one, in order.
    Calls(Vec<Call>),
}

impl Extraction {
    fn of(calls: Vec<Call>, broken: bool) -> Self {
        match (broken, calls.is_empty()) {
            (true, _) => Self::BadJson,
            (false, true) => Self::NoCall,
            (false, false) => Self::Calls(calls),
        }
    }
}

/// The calls that the server parsed. A call without any argument text has no arguments.
pub fn from_server(calls: &[ToolCall]) -> Extraction {
    let mut read = Vec::new();
    for call in calls.iter().take(MAX_CALLS) {
        let Some(arguments) = parse_arguments(&call.arguments) else {
            return Extraction::BadJson;
        };
        read.push(Call { name: call.name.clone(), arguments });
    }
    Extraction::of(read, false)
}

/// The calls in a text: JSON objects with a name and arguments, bare, in an array, in a code fence or in
/// `<tool_call>` tags, between any other words.
pub fn from_text(text: &str) -> Extraction {
    let text = head(text, MAX_BYTES);
    let mut calls = Vec::new();
    let mut broken = false;
    let mut failures = 0;
    let mut at = 0;
    while let Some(offset) = text[at..].find(['{', '[']) {
        at += offset;
        let mut values = serde_json::Deserializer::from_str(&text[at..]).into_iter::<Value>();
        if let Some(Ok(value)) = values.next() {
            broken |= !collect(&value, &mut calls);
            at += values.byte_offset();
        } else {
            // What cannot be read from here may still hold something that can: go on inside of it. That
            // is not quadratic, as the parser gives up at 128 levels, so at most 128 openings that are
            // not closed see the same bytes.
            broken |= looks_like_a_call(&text[at..]);
            failures += 1;
            at += 1;
        }
        if failures > MAX_FAILURES || calls.len() >= MAX_CALLS {
            break;
        }
    }
    broken |= calls.is_empty() && text.contains("<tool_call>");
    Extraction::of(calls, broken)
}

/// At most `max` bytes of the start of a text.
fn head(text: &str, max: usize) -> &str {
    &text[..text.floor_char_boundary(max)]
}

/// An opening that is followed by a call's first key was meant to be a call.
fn looks_like_a_call(text: &str) -> bool {
    let word = head(text, 64).trim_start_matches(|c: char| "[{\"'".contains(c) || c.is_whitespace());
    ["name", "function", "tool_calls"].iter().any(|key| word.starts_with(key))
}

/// Adds the calls that a JSON value is or holds; false when one of them has arguments that are not JSON.
fn collect(value: &Value, calls: &mut Vec<Call>) -> bool {
    match value {
        Value::Array(values) => values.iter().take(MAX_CALLS).all(|value| collect(value, calls)),
        Value::Object(object) => match (object.get("tool_calls"), object.get("function")) {
            (Some(inner @ Value::Array(_)), _) | (_, Some(inner @ Value::Object(_))) => collect(inner, calls),
            _ => collect_call(object, calls),
        },
        _ => true,
    }
}

fn collect_call(object: &Map<String, Value>, calls: &mut Vec<Call>) -> bool {
    let name = object.get("name").or(object.get("function")).and_then(Value::as_str);
    let arguments = object.get("arguments").or(object.get("parameters"));
    let (Some(name), Some(arguments)) = (name, arguments) else {
        return true;
    };
    let arguments = match arguments {
        Value::String(text) => parse_arguments(text),
        other => Some(other.clone()),
    };
    let Some(arguments) = arguments else { return false };
    calls.push(Call { name: name.to_owned(), arguments });
    true
}

/// Argument text as JSON; no text is no arguments.
fn parse_arguments(text: &str) -> Option<Value> {
    if text.trim().is_empty() {
        return Some(Value::Object(Map::new()));
    }
    if text.len() > MAX_BYTES {
        return None;
    }
    serde_json::from_str(text).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn one() -> Extraction {
        Extraction::Calls(vec![Call { name: "f".into(), arguments: json!({"a": [1, {"b": "}"}]}) }])
    }

    fn server(arguments: &str) -> Extraction {
        from_server(&[ToolCall { id: None, name: "f".into(), arguments: arguments.into() }])
    }

    #[test]
    fn every_usual_wrapping_is_read() {
        let call = r#"{"name": "f", "arguments": {"a": [1, {"b": "}"}]}}"#;
        let as_text = r#"{"name": "f", "arguments": "{\"a\": [1, {\"b\": \"}\"}]}"}"#;
        for text in [
            call.to_owned(),
            format!("Sure {{here}} [1]:\n```json\n{call}\n```\nDone."),
            format!("<tool_call>\n{call}\n</tool_call>"),
            format!("<tool_call>{call}"),
            format!("[{call}]"),
            format!(r#"{{"tool_calls": [{{"type": "function", "function": {call}}}]}}"#),
            call.replace("arguments", "parameters"),
            call.replace("name", "function"),
            as_text.to_owned(),
        ] {
            assert_eq!(from_text(&text), one(), "{text}");
        }
    }

    #[test]
    fn several_calls_stay_in_order() {
        let calls: Vec<String> = (0..3).map(|n| format!(r#"{{"name":"f{n}","arguments":{{}}}}"#)).collect();
        let texts = [
            format!("[{}]", calls.join(",")),
            calls.join("\n"),
            format!("<tool_call>{}</tool_call>", calls.join("</tool_call><tool_call>")),
        ];
        for text in texts {
            let Extraction::Calls(read) = from_text(&text) else {
                panic!("no calls in {text}");
            };
            let names: Vec<&str> = read.iter().map(|call| call.name.as_str()).collect();
            assert_eq!(names, ["f0", "f1", "f2"]);
        }
    }

    #[test]
    fn broken_calls_are_told_from_no_calls() {
        for text in [
            r#"{"name": "f", "arguments": {"a": 1}"#,
            r#"{"name": "f", "arguments": {"a": }}"#,
            "{'name': 'f', 'arguments': {}}",
            r#"[{"name": "f", "arguments": {}}, {"name": "g", "argu"#,
            r#"{"name": "f", "arguments": "{\"a\": "}"#,
            "<tool_call>f(1)</tool_call>",
        ] {
            assert_eq!(from_text(text), Extraction::BadJson, "{text}");
        }
        for text in ["", "I call f(1).", "{curly} [brackets]", "[1, 2]", r#"{"name": "Bob"}"#, "{}"] {
            assert_eq!(from_text(text), Extraction::NoCall, "{text}");
        }
    }

    #[test]
    fn calls_of_the_server_are_read() {
        assert_eq!(server(r#"{"a": [1, {"b": "}"}]}"#), one());
        assert_eq!(server(r#"{"a": "#), Extraction::BadJson);
        assert_eq!(server(&format!("\"{}\"", "x".repeat(MAX_BYTES))), Extraction::BadJson);
        assert!(matches!(server(" "), Extraction::Calls(calls) if calls[0].arguments == json!({})));
        assert_eq!(from_server(&[]), Extraction::NoCall);
    }

    #[test]
    fn number_lexemes_are_kept() {
        let text = r#"{"name":"f","arguments":{"a":98765432109876543210,"b":5.0,"c":1E+2}}"#;
        let Extraction::Calls(calls) = from_text(text) else {
            panic!("no call");
        };
        let lexeme = |key: &str| calls[0].arguments[key].to_string();
        assert_eq!([lexeme("a"), lexeme("b")], ["98765432109876543210", "5.0"]);
        assert_eq!(lexeme("c").to_lowercase(), "1e+2");
    }

    /// Texts of 10 MB that make careless scanners quadratic. The limit is far above what it takes.
    #[test]
    fn hostile_texts_take_bounded_time() {
        let start = std::time::Instant::now();
        let patterns = [
            "[",
            "{",
            "{\"a\":",
            "[\"",
            "[\"\\",
            "[1,",
            "{\"name\":\"",
            "{\"name\":[1,",
            "[[],",
            "`",
            "<tool_call>",
            "é{",
        ];
        for pattern in patterns {
            let text = pattern.repeat(10_000_000 / pattern.len());
            from_text(&text);
            from_server(&[ToolCall { id: None, name: "f".into(), arguments: text }]);
        }
        let long_string = format!("[\"{}", "[1,".repeat(3_000_000));
        from_text(&long_string);
        assert!(start.elapsed().as_secs() < 60, "{:?}", start.elapsed());
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in ".{0,200}") {
            from_text(&text);
            server(&text);
        }

        #[test]
        fn no_json_like_text_makes_it_panic(text in r#"([\[\]{}",:]|name|arguments|"|1|\\|é|\$serde_json::private::Number|<tool_call>){0,60}"#) {
            from_text(&text);
            server(&text);
        }
    }
}
