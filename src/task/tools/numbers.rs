//! JSON numbers of any length: compared by their exact value, and kept from costing all memory.

use std::borrow::Cow;

use serde_json::{Number, Value};

/// Longest number, in characters, and largest exponent that a schema is asked about: beyond it, big-number
/// arithmetic on a hostile reply could take all memory.
const MAX_NUMBER: usize = 400;

/// Returns whether a number in a value is so long or large that arithmetic on it could take all memory.
pub(super) fn has_monstrous_number(value: &Value) -> bool {
    match value {
        Value::Number(number) => is_monstrous(number),
        Value::Array(values) => values.iter().any(has_monstrous_number),
        Value::Object(object) => object.values().any(has_monstrous_number),
        _ => false,
    }
}

fn is_monstrous(number: &Number) -> bool {
    let exponent = Decimal::of(number.as_str()).exponent;
    number.as_str().len() > MAX_NUMBER || exponent.unsigned_abs() > MAX_NUMBER as u64
}

/// A value as a schema is asked about it: a number that is too long or too large for arithmetic becomes one with the
/// same sign that is as whole as it was, and as far from any number of bearable length.
///
/// # Errors
/// When the schema asks for more of numbers than where they lie and whether they are whole.
pub(super) fn tamed<'v>(value: &'v Value, schema: &Value) -> Result<Cow<'v, Value>, String> {
    if !has_monstrous_number(value) {
        return Ok(Cow::Borrowed(value));
    }
    if has_keyword(schema, &["multipleOf", "divisibleBy", "uniqueItems"]) {
        return Err("the value has a number that is too long for arithmetic".into());
    }
    Ok(Cow::Owned(tame(value)))
}

fn has_keyword(schema: &Value, keywords: &[&str]) -> bool {
    match schema {
        Value::Array(values) => values.iter().any(|value| has_keyword(value, keywords)),
        Value::Object(object) => {
            object.iter().any(|(key, value)| keywords.contains(&key.as_str()) || has_keyword(value, keywords))
        }
        _ => false,
    }
}

fn tame(value: &Value) -> Value {
    match value {
        Value::Number(number) if is_monstrous(number) => Value::Number(Decimal::of(number.as_str()).tamed()),
        Value::Array(values) => values.iter().map(tame).collect(),
        Value::Object(object) => object.iter().map(|(key, value)| (key.clone(), tame(value))).collect(),
        other => other.clone(),
    }
}

/// Exact equality of JSON values: strings by code points, objects without order, arrays in order, numbers
/// by their exact decimal value however they are written (5, 5.0 and 0.5e1 are the same number).
pub(crate) fn same_json(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => Decimal::of(a.as_str()) == Decimal::of(b.as_str()),
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same_json(a, b))
        }
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(key, a)| b.get(key).is_some_and(|b| same_json(a, b)))
        }
        _ => a == b,
    }
}

/// The exact value of a JSON number: +-0.digits x 10^exponent without zeros at either end.
#[derive(Debug, PartialEq, Eq)]
struct Decimal {
    negative: bool,
    digits: String,
    exponent: i64,
}

impl Decimal {
    fn of(lexeme: &str) -> Self {
        let (negative, unsigned) = match lexeme.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, lexeme),
        };
        let (mantissa, exponent) = unsigned.split_once(['e', 'E']).unwrap_or((unsigned, "0"));
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let all = [whole, fraction].concat();
        let digits = all.trim_start_matches('0');
        let leading = all.len() - digits.len();
        let digits = digits.trim_end_matches('0');
        if digits.is_empty() {
            return Self { negative: false, digits: String::new(), exponent: 0 };
        }
        let place = whole.len() as i64 - leading as i64;
        Self { negative, digits: digits.to_owned(), exponent: parse_exponent(exponent).saturating_add(place) }
    }
}

impl Decimal {
    /// A number of bearable length that lies where this one does; see [`tamed`].
    fn tamed(&self) -> Number {
        let most = MAX_NUMBER as i64;
        let whole = self.digits.len() as i64 <= self.exponent;
        let sign = if self.negative { "-" } else { "" };
        let text = if self.digits.is_empty() {
            "0".to_owned()
        } else if self.exponent > most {
            // Larger than any number of that length; a fraction stays one.
            let fraction = if whole { "" } else { ".5" };
            format!("{sign}1{}{fraction}", "0".repeat(MAX_NUMBER))
        } else if self.exponent < -most {
            format!("{sign}1e-{MAX_NUMBER}")
        } else {
            // At least one digit behind the point, and not 0, where there was one.
            let kept = self.digits.len().min(MAX_NUMBER.max(usize::try_from(self.exponent + 1).unwrap_or(0)));
            let mut digits = self.digits[..kept].to_owned();
            if kept < self.digits.len() {
                digits.pop();
                digits.push('1');
            }
            format!("{sign}0.{digits}e{}", self.exponent)
        };
        text.parse().unwrap_or_else(|_| Number::from(0))
    }
}

/// An exponent; one that is too long for an `i64` becomes its end of the range.
fn parse_exponent(text: &str) -> i64 {
    let fallback = if text.starts_with('-') { i64::MIN } else { i64::MAX };
    text.parse().unwrap_or(fallback)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn parse(text: &str) -> Value {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn numbers_are_equal_by_value() {
        for (a, b) in [
            ("5", "5.0"),
            ("0.5e1", "5"),
            ("-0", "0.000"),
            ("120", "1.2E+2"),
            ("0.000125", "1.25e-4"),
            ("1e400", "10e399"),
        ] {
            assert!(same_json(&parse(a), &parse(b)), "{a} {b}");
        }
        for (a, b) in [
            ("9007199254740993", "9007199254740992"),
            ("98765432109876543210", "98765432109876543211"),
            ("5", "-5"),
            ("5", "50"),
            ("0.1", "0.10000000000000001"),
            ("5", "\"5\""),
            ("[1,2]", "[2,1]"),
            ("{\"a\":1}", "{\"a\":1,\"b\":null}"),
            ("\"\u{e9}\"", "\"e\u{301}\""),
        ] {
            assert!(!same_json(&parse(a), &parse(b)), "{a} {b}");
        }
    }

    proptest! {
        #[test]
        fn equality_agrees_with_whole_numbers(a in -1000_i64..1000, b in -1000_i64..1000, zeros in 0_usize..3) {
            let a_written = format!("{a}.{}", "0".repeat(zeros + 1));
            prop_assert_eq!(same_json(&parse(&a_written), &json!(b)), a == b);
        }
    }
}
