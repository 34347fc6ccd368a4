//! Finds the calls in a reply: those that the server parsed, or those that the model wrote into its text.
//!
//! | module | what it does |
//! |---|---|
//! | `families` | the syntaxes in which models write calls, a file a family |
//! | `places` | whether what looks like a call is meant as one |
//! | `leak` | calls that the server left in the text |
//!
//! Replies are hostile input. Time and memory are bounded by [`MAX_BYTES`]; nesting by the JSON parser, which
//! gives up at 128 levels.

use std::collections::HashSet;

use serde_json::{Map, Value};

use crate::record::ToolCall;

mod families;
mod leak;
mod places;

pub use families::Written;
pub use leak::{Leak, from_prompted, leak};

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

/// What is odd about the JSON of a reply, whether or not its calls could be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Oddities {
    /// An object names a key twice; the last one counts.
    pub duplicate_keys: bool,
    /// Words follow the last call, or the arguments of one.
    pub trailing_text: bool,
    /// Nested deeper than is read.
    pub too_deep: bool,
    /// Longer than is read, or with more calls.
    pub too_large: bool,
}

impl Oddities {
    /// The names of those that are there, as they are named in results.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        let all = [
            (self.duplicate_keys, "duplicate_keys"),
            (self.trailing_text, "trailing_text"),
            (self.too_deep, "too_deep"),
            (self.too_large, "too_large"),
        ];
        all.into_iter().filter_map(|(is_there, name)| is_there.then_some(name))
    }
}

/// The calls that the server parsed. A call without any argument text has no arguments.
pub fn from_server(calls: &[ToolCall]) -> Extraction {
    read_server(calls).0
}

/// As [`from_server`], with what is odd about the arguments.
pub fn read_server(calls: &[ToolCall]) -> (Extraction, Oddities) {
    let mut odd = Oddities { too_large: calls.len() > MAX_CALLS, ..Oddities::default() };
    let mut read = Vec::new();
    for call in calls.iter().take(MAX_CALLS) {
        let Some(arguments) = parse_arguments(&call.arguments, &mut odd) else {
            return (Extraction::BadJson, odd);
        };
        read.push(Call { name: call.name.clone(), arguments });
    }
    (Extraction::of(read, false), odd)
}

/// The calls in a text: JSON objects with a name and arguments, bare, in an array, in a code fence or in
/// `<tool_call>` tags, between any other words.
pub fn from_text(text: &str) -> Extraction {
    read_text(text).0
}

/// As [`from_text`], with what is odd about the JSON.
pub fn read_text(text: &str) -> (Extraction, Oddities) {
    let mut odd = Oddities { too_large: text.len() > MAX_BYTES, ..Oddities::default() };
    let text = head(text, MAX_BYTES);
    let mut end_of_last = None;
    let mut calls = Vec::new();
    let mut broken = false;
    let mut failures = 0;
    let mut at = 0;
    while let Some(offset) = text[at..].find(['{', '[']) {
        at += offset;
        let mut values = serde_json::Deserializer::from_str(&text[at..]).into_iter::<Value>();
        let value = values.next();
        if let Some(Ok(value)) = value {
            let known = calls.len();
            broken |= !collect(&value, &mut calls, &mut odd);
            let end = at + values.byte_offset();
            if calls.len() > known {
                odd.duplicate_keys |= has_duplicate_keys(&text[at..end]);
                end_of_last = Some(end);
            }
            at = end;
        } else {
            odd.too_deep |= matches!(value, Some(Err(error)) if is_too_deep(&error));
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
    odd.too_large |= calls.len() >= MAX_CALLS;
    odd.trailing_text |= end_of_last.is_some_and(|end| is_more_than_an_end(&text[end..]));
    (Extraction::of(calls, broken), odd)
}

/// Returns whether anything follows but the end of a wrapping.
fn is_more_than_an_end(text: &str) -> bool {
    !text.replace("</tool_call>", "").trim_matches(|c: char| c == '`' || c.is_whitespace()).is_empty()
}

/// The parser has no other word for it.
fn is_too_deep(error: &serde_json::Error) -> bool {
    error.to_string().starts_with("recursion limit exceeded")
}

/// Returns whether an object in a valid JSON text names a key twice. Keys are compared after their escapes.
fn has_duplicate_keys(json: &str) -> bool {
    let mut open: Vec<HashSet<String>> = Vec::new();
    let mut at = 0;
    while let Some(offset) = json[at..].find(['{', '}', '"']) {
        at += offset;
        match json.as_bytes()[at] {
            b'{' => open.push(HashSet::new()),
            b'}' => drop(open.pop()),
            _ => {
                let end = at + string_length(&json[at..]);
                let is_key = json[end..].trim_start().starts_with(':');
                let key = serde_json::from_str(&json[at..end]).ok().filter(|_| is_key);
                let is_new = key.zip(open.last_mut()).is_none_or(|(key, keys)| keys.insert(key));
                if !is_new {
                    return true;
                }
                at = end;
                continue;
            }
        }
        at += 1;
    }
    false
}

/// Bytes of the JSON string that a text begins with, quotes included.
fn string_length(text: &str) -> usize {
    let mut escaped = false;
    let end = text.bytes().enumerate().skip(1).find(|(_, byte)| {
        let ends = *byte == b'"' && !escaped;
        escaped = *byte == b'\\' && !escaped;
        ends
    });
    end.map_or(text.len(), |(at, _)| at + 1)
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
fn collect(value: &Value, calls: &mut Vec<Call>, odd: &mut Oddities) -> bool {
    match value {
        Value::Array(values) => values.iter().take(MAX_CALLS).all(|value| collect(value, calls, odd)),
        Value::Object(object) => match (object.get("tool_calls"), object.get("function")) {
            (Some(inner @ Value::Array(_)), _) | (_, Some(inner @ Value::Object(_))) => {
                collect(inner, calls, odd)
            }
            _ => collect_call(object, calls, odd),
        },
        _ => true,
    }
}

fn collect_call(object: &Map<String, Value>, calls: &mut Vec<Call>, odd: &mut Oddities) -> bool {
    let name = object.get("name").or(object.get("function")).and_then(Value::as_str);
    let arguments = object.get("arguments").or(object.get("parameters"));
    let (Some(name), Some(arguments)) = (name, arguments) else {
        return true;
    };
    let arguments = match arguments {
        Value::String(text) => parse_arguments(text, odd),
        other => Some(other.clone()),
    };
    let Some(arguments) = arguments else { return false };
    calls.push(Call { name: name.to_owned(), arguments });
    true
}

/// Argument text as JSON; no text is no arguments.
fn parse_arguments(text: &str, odd: &mut Oddities) -> Option<Value> {
    if text.len() > MAX_BYTES {
        odd.too_large = true;
        return None;
    }
    if text.trim().is_empty() {
        return Some(Value::Object(Map::new()));
    }
    match serde_json::from_str(text) {
        Ok(value) => {
            odd.duplicate_keys |= has_duplicate_keys(text);
            Some(value)
        }
        Err(error) => {
            odd.too_deep |= is_too_deep(&error);
            let mut values = serde_json::Deserializer::from_str(text).into_iter::<Value>();
            odd.trailing_text |= matches!(values.next(), Some(Ok(Value::Object(_))));
            None
        }
    }
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

    fn odd_text(text: &str) -> Vec<&'static str> {
        read_text(text).1.names().collect()
    }

    fn odd_arguments(arguments: &str) -> Vec<&'static str> {
        let call = ToolCall { id: None, name: "f".into(), arguments: arguments.into() };
        read_server(&[call]).1.names().collect()
    }

    #[test]
    fn duplicate_keys_and_trailing_text_are_told() {
        let call = |arguments: &str| format!("{{\"name\": \"f\", \"arguments\": {arguments}}}");
        for (arguments, odd) in [
            (r#"{"a": 1, "b": {"a": 1}, "c": ["a", "a"]}"#, vec![]),
            (r#"{"a": 1, "a": 2}"#, vec!["duplicate_keys"]),
            (r#"{"a": 1, "\u0061" : 2}"#, vec!["duplicate_keys"]),
            (r#"{"x": [{"a\"": "a\\", "a": 1, "b": ":"}, {"k":{}, "k":{}}]}"#, vec!["duplicate_keys"]),
        ] {
            assert_eq!(odd_arguments(arguments), odd, "{arguments}");
            assert_eq!(odd_text(&call(arguments)), odd, "{arguments}");
        }
        assert_eq!(odd_arguments("{\"a\": 1} That is it."), ["trailing_text"]);
        assert_eq!(odd_arguments("{\"a\": "), Vec::<&str>::new());
        assert_eq!(odd_text(&format!("```json\n{}\n```\n", call("{}"))), Vec::<&str>::new());
        assert_eq!(odd_text(&format!("<tool_call>{}</tool_call>", call("{}"))), Vec::<&str>::new());
        assert_eq!(odd_text(&format!("{} Done.", call("{}"))), ["trailing_text"]);
        assert_eq!(odd_text("Just words, {and} more."), Vec::<&str>::new());
    }

    #[test]
    fn what_is_too_deep_or_too_large_is_told() {
        let deep = format!("{{\"a\": {}1{}}}", "[".repeat(200), "]".repeat(200));
        assert_eq!(odd_arguments(&deep), ["too_deep"]);
        assert_eq!(odd_text(&format!("{{\"name\": \"f\", \"arguments\": {deep}}}")), ["too_deep"]);
        assert_eq!(odd_arguments(&" ".repeat(MAX_BYTES + 1)), ["too_large"]);
        let many = "{\"name\":\"f\",\"arguments\":{}}\n".repeat(MAX_CALLS + 1);
        assert!(odd_text(&many).contains(&"too_large"));
        assert_eq!(odd_text(&"x".repeat(MAX_BYTES + 1)), ["too_large"]);
    }

    /// A reply of 100 MB: nothing of it is read but its beginning.
    #[test]
    fn a_reply_of_100_mb_ends_in_a_clear_outcome() {
        let start = std::time::Instant::now();
        let huge =
            "{\"name\": \"f\", \"arguments\": {\"a\": \"".to_owned() + &"x".repeat(100_000_000) + "\"}}";
        let (found, odd) = read_text(&huge);
        assert_eq!((found, odd.too_large), (Extraction::BadJson, true));
        let call = ToolCall { id: None, name: "f".into(), arguments: huge };
        let (found, odd) = read_server(&[call]);
        assert_eq!((found, odd.too_large), (Extraction::BadJson, true));
        assert!(start.elapsed().as_secs() < 20, "{:?}", start.elapsed());
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

    /// JSON texts with short keys, so that objects often repeat one, and how many entries their objects have.
    fn json_text() -> impl Strategy<Value = (String, usize)> {
        let leaf = prop_oneof![
            Just("null".to_owned()),
            any::<i32>().prop_map(|n| n.to_string()),
            any::<String>().prop_map(|text| Value::String(text).to_string()),
        ];
        let sum = |inner: &[(String, usize)]| inner.iter().map(|(_, entries)| entries).sum::<usize>();
        let joined = |inner: Vec<(String, usize)>| {
            inner.into_iter().map(|(text, _)| text).collect::<Vec<_>>().join(" ,")
        };
        leaf.prop_map(|text| (text, 0)).prop_recursive(4, 40, 5, move |inner| {
            let entry = ("[ab\"\\\\{]", inner.clone())
                .prop_map(|(key, (value, entries))| (format!("{}: {value}", Value::String(key)), entries));
            prop_oneof![
                prop::collection::vec(inner, 0..4)
                    .prop_map(move |values| (sum(&values), joined(values)))
                    .prop_map(|(entries, text)| (format!("[{text}]"), entries)),
                prop::collection::vec(entry, 0..4)
                    .prop_map(move |own| (own.len() + sum(&own), joined(own)))
                    .prop_map(|(entries, text)| (format!("{{{text}}}"), entries)),
            ]
        })
    }

    fn entries(value: &Value) -> usize {
        match value {
            Value::Array(values) => values.iter().map(entries).sum(),
            Value::Object(object) => object.len() + object.values().map(entries).sum::<usize>(),
            _ => 0,
        }
    }

    proptest! {
        #[test]
        fn duplicate_keys_are_those_whose_entries_a_parser_loses((text, written) in json_text()) {
            let kept = entries(&serde_json::from_str(&text).unwrap());
            prop_assert_eq!(has_duplicate_keys(&text), kept < written, "{}", text);
        }

        #[test]
        fn a_call_is_found_whatever_its_arguments((arguments, _) in json_text(), before in "[a-z .]{0,20}") {
            let text = format!("{before}{{\"name\":\"f\",\"arguments\":{{\"x\":{arguments}}}}} end");
            let Extraction::Calls(calls) = from_text(&text) else {
                return Err(TestCaseError::fail(format!("no call in {text}")));
            };
            prop_assert_eq!(&calls[0].arguments["x"], &serde_json::from_str::<Value>(&arguments).unwrap());
        }

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
