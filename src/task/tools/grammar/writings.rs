//! Whether a JSON value can be written in a grammar: in any order of its keys, with any escapes, without white space or with a
//! blank behind every comma and colon.

use serde_json::{Map, Number, Value};

use super::chart::{Chart, Place};
use super::{Grammar, OverLimit};
use crate::task::tools::effort::Effort;
use crate::task::tools::numbers::same_json;

/// Most keys of an object that are tried in every order; of more, in the order of the value alone.
const MAX_KEYS: usize = 10;
/// Steps that a writing of a value may take; one holds some hundred bytes.
const STEPS: u32 = 1_000_000;
/// Longest number that is written without its exponent (bytes).
const MAX_PLAIN: usize = 40;
/// Most zeros that say nothing behind the point.
const MAX_ZEROS: usize = 2;

/// Which signs stand between the parts of a value.
#[derive(Debug, Clone, Copy)]
struct Style {
    comma: &'static str,
    colon: &'static str,
}

const STYLES: [Style; 2] = [Style { comma: ",", colon: ":" }, Style { comma: ", ", colon: ": " }];

impl Grammar {
    /// Whether any writing of a value is one of the grammar's texts.
    ///
    /// # Errors
    /// When finding out takes more steps than the limits allow.
    pub fn can_write(&self, value: &Value, effort: &Effort<'_>) -> Result<bool, OverLimit> {
        for style in STYLES {
            let steps = u32::try_from(effort.left()).unwrap_or(u32::MAX).min(STEPS);
            let (written, left) = self.write(value, style, steps);
            // Somebody who gives up is noticed here; a step that was refused is the limit's.
            effort.spend(u64::from(steps - left)).ok_or(OverLimit)?;
            if written? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether the value can be written in this style, and how many of the steps are left.
    fn write(&self, value: &Value, style: Style, steps: u32) -> (Result<bool, OverLimit>, u32) {
        let chart = match Chart::new(self, steps) {
            Ok(chart) => chart,
            Err(limit) => return (Err(limit), 0),
        };
        let mut writer = Writer { chart, style };
        let end = writer.value(Some(writer.chart.start()), value);
        let written = end.map(|end| end.is_some_and(|end| writer.chart.may_end(end)));
        (written, writer.chart.left())
    }
}

/// Where the writing has come; `None`: nowhere, the grammar does not allow it.
type At = Option<Place>;
type Step = Result<At, OverLimit>;

struct Writer<'g> {
    chart: Chart<'g>,
    style: Style,
}

impl Writer<'_> {
    fn value(&mut self, at: At, value: &Value) -> Step {
        match value {
            Value::Null => self.text(at, "null"),
            Value::Bool(yes) => self.text(at, if *yes { "true" } else { "false" }),
            Value::Number(number) => self.any_of(at, &spellings(number)),
            Value::String(text) => self.string(at, text),
            Value::Array(values) => self.array(at, values),
            Value::Object(object) if object.len() > MAX_KEYS => self.in_order(at, object),
            Value::Object(object) => self.object(at, object),
        }
    }

    fn text(&mut self, at: At, text: &str) -> Step {
        match at {
            Some(at) => self.chart.write(at, text),
            None => Ok(None),
        }
    }

    fn any_of(&mut self, at: At, texts: &[String]) -> Step {
        let mut ends = Vec::new();
        for text in texts {
            ends.extend(self.text(at, text)?);
        }
        self.chart.meet(&ends)
    }

    fn string(&mut self, at: At, text: &str) -> Step {
        let mut at = self.text(at, "\"")?;
        for c in text.chars() {
            if at.is_none() {
                return Ok(None);
            }
            at = self.any_of(at, &escapes(c))?;
        }
        self.text(at, "\"")
    }

    fn array(&mut self, at: At, values: &[Value]) -> Step {
        let mut at = self.text(at, "[")?;
        for (index, value) in values.iter().enumerate() {
            if index > 0 {
                at = self.text(at, self.style.comma)?;
            }
            at = self.value(at, value)?;
        }
        self.text(at, "]")
    }

    fn member(&mut self, at: At, first: bool, (key, value): (&String, &Value)) -> Step {
        let at = if first { at } else { self.text(at, self.style.comma)? };
        let at = self.string(at, key)?;
        let at = self.text(at, self.style.colon)?;
        self.value(at, value)
    }

    fn in_order(&mut self, at: At, object: &Map<String, Value>) -> Step {
        let mut at = self.text(at, "{")?;
        for (index, member) in object.iter().enumerate() {
            at = self.member(at, index == 0, member)?;
        }
        self.text(at, "}")
    }

    /// Every order: a place for each set of keys that can have been written.
    fn object(&mut self, at: At, object: &Map<String, Value>) -> Step {
        let Some(begun) = self.text(at, "{")? else { return Ok(None) };
        let members: Vec<(&String, &Value)> = object.iter().collect();
        let mut ways: Vec<Vec<Place>> = vec![Vec::new(); 1 << members.len()];
        ways[0].push(begun);
        // A larger number has never fewer keys than are in a part of it, so every set is whole when it is looked at.
        for written in 0..ways.len() {
            let places = std::mem::take(&mut ways[written]);
            let Some(place) = self.chart.meet(&places)? else { continue };
            if written == ways.len() - 1 {
                return self.text(Some(place), "}");
            }
            for (index, member) in members.iter().enumerate().filter(|(index, _)| written & (1 << index) == 0)
            {
                let end = self.member(Some(place), written == 0, *member)?;
                ways[written | (1 << index)].extend(end);
            }
        }
        Ok(None)
    }
}

/// The ways to write a character in a JSON string.
fn escapes(c: char) -> Vec<String> {
    let mut all = Vec::new();
    if c >= ' ' && c != '"' && c != '\\' {
        all.push(c.to_string());
    }
    let short = match c {
        '"' | '\\' | '/' => Some(c),
        '\u{8}' => Some('b'),
        '\u{c}' => Some('f'),
        '\n' => Some('n'),
        '\r' => Some('r'),
        '\t' => Some('t'),
        _ => None,
    };
    all.extend(short.map(|short| format!("\\{short}")));
    let mut units = [0; 2];
    all.push(c.encode_utf16(&mut units).iter().map(|unit| format!("\\u{unit:04x}")).collect());
    all
}

/// The ways to write a number: as it stands, without an exponent, and with fewer or more zeros behind the point.
///
/// Grammars of multiples may want a fixed number of digits there: 0.50 for 0.5.
fn spellings(number: &Number) -> Vec<String> {
    let text = number.as_str().to_owned();
    let plain = if text.contains(['e', 'E']) { plain(number) } else { Some(text.clone()) };
    let shortest = plain.map(|plain| match plain.split_once('.') {
        Some((whole, fraction)) => (whole.to_owned(), fraction.trim_end_matches('0').to_owned()),
        None => (plain, String::new()),
    });
    let padded = shortest.into_iter().flat_map(|(whole, fraction)| {
        (0..=MAX_ZEROS).map(move |zeros| match (fraction.as_str(), zeros) {
            ("", 0) => whole.clone(),
            _ => format!("{whole}.{fraction}{}", "0".repeat(zeros)),
        })
    });
    let others: Vec<String> = padded.filter(|other| *other != text).collect();
    std::iter::once(text).chain(others).collect()
}

/// A number that is written with an exponent without one, where that is short and the same number.
fn plain(number: &Number) -> Option<String> {
    let text = number.as_f64()?.to_string();
    let same =
        |text: &str| text.parse().is_ok_and(|plain| same_json(&Value::Number(plain), &number.clone().into()));
    (text.len() <= MAX_PLAIN && same(&text)).then_some(text)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// What llama-server build 10068 made of `{"type": "object"}`.
    const ANY: &str = include_str!("../../../../tests/fixtures/llama-server-b10068/any-object.gbnf");

    fn can_write(grammar: &str, value: &Value) -> bool {
        Grammar::read(grammar).unwrap().can_write(value, &Effort::new(u64::MAX, &|| false)).unwrap()
    }

    #[test]
    fn keys_may_come_in_any_order_that_the_grammar_has() {
        let grammar = r#"root ::= "{\"b\":" [0-9] ",\"a\":" [0-9] (",\"c\":" [0-9])? "}""#;
        assert!(can_write(grammar, &json!({"a": 1, "b": 2})));
        assert!(can_write(grammar, &json!({"c": 3, "a": 1, "b": 2})));
        assert!(!can_write(grammar, &json!({"a": 1})));
        assert!(!can_write(grammar, &json!({"a": 1, "b": 2, "d": 3})));
        let spaced = r#"root ::= "{\"a\": " [0-9] ", \"b\": [" [0-9] ", " [0-9] "]}""#;
        assert!(can_write(spaced, &json!({"b": [1, 2], "a": 1})));
    }

    #[test]
    fn escapes_and_spellings_are_tried_all() {
        assert!(can_write(r#"root ::= "\"\\u00e9\\n/\"""#, &json!("é\n/")));
        assert!(can_write(r#"root ::= "\"" [^"\\]* "\"""#, &json!("🦀/")));
        assert!(!can_write(r#"root ::= "\"" [^"\\]* "\"""#, &json!("a\"b")));
        assert!(can_write(r#"root ::= "5""#, &serde_json::from_str("5.0").unwrap()));
        assert!(can_write(r#"root ::= "1.5""#, &serde_json::from_str("1.50").unwrap()));
        assert!(!can_write(r#"root ::= "5""#, &json!(50)));
        assert!(can_write(r#"root ::= "0.50""#, &json!(0.5)));
        assert!(can_write(r#"root ::= "5.00""#, &json!(5)));
        assert!(can_write(r#"root ::= "0.0000001""#, &json!(1e-7)), "JSON writes it as 1e-7");
    }

    #[test]
    fn a_free_object_takes_any_value_but_long_numbers() {
        let value =
            json!({"a": [1, -2.5, null], "b": {"c": "\"\\é🦀\n", "d": {}}, "e": true, "f": "x", "g": []});
        assert!(can_write(ANY, &value));
        assert!(!can_write(ANY, &json!([1])), "no object");
        assert!(can_write(ANY, &json!({"n": 1_234_567_890_123_456_u64})));
        assert!(!can_write(ANY, &json!({"n": 12_345_678_901_234_567_u64})), "17 digits");
    }

    #[test]
    fn a_text_of_another_kind_of_end_gives_a_plain_no() {
        // All ways to write the text die at its end, together.
        let grammar = r#"root ::= "\"" ([^"\\] | "\\u" [0-9a-f]{4}){41,} "\"""#;
        assert!(!can_write(grammar, &json!("a".repeat(40))));
        assert!(can_write(grammar, &json!("a".repeat(41))));
    }

    #[test]
    fn all_values_of_a_schema_share_the_effort_and_giving_up_ends_it() {
        let grammar = Grammar::read(ANY).unwrap();
        let value = json!({"a": [1, 2, 3]});
        let effort = Effort::new(10_000, &|| false);
        let written = std::iter::repeat_with(|| grammar.can_write(&value, &effort));
        let count = written.take_while(|written| *written == Ok(true)).take(10_000).count();
        assert!((1..10_000).contains(&count), "{count}");
        assert_eq!(grammar.can_write(&value, &Effort::new(u64::MAX, &|| true)), Err(OverLimit));
    }

    #[test]
    fn objects_with_many_keys_are_written_in_their_own_order() {
        let object: Map<String, Value> = (0..30).map(|n| (format!("k{n}"), json!(n))).collect();
        assert!(can_write(ANY, &Value::Object(object)));
    }
}
