//! Calls and values as Python has them: several models write their calls as Python, and BFCL's rules are about
//! Python's types and its `==`.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use serde_json::{Map, Number as JsonNumber, Value};

mod arithmetic;
pub(crate) mod calls;

/// A value of Python's.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Python {
    /// `None`.
    None,
    /// `True` or `False`.
    Bool(bool),
    /// A whole number of any size: decimal digits without leading zeros, maybe after a minus.
    Int(String),
    /// A float.
    Float(f64),
    /// A string.
    Text(String),
    /// A list.
    List(Vec<Python>),
    /// A tuple; JSON has none.
    Tuple(Vec<Python>),
    /// A dictionary whose keys are strings.
    Dict(BTreeMap<String, Python>),
}

/// The types that BFCL's checker tells apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PythonType {
    None,
    Bool,
    Int,
    Float,
    Text,
    List,
    Tuple,
    Dict,
}

impl PythonType {
    /// The type that a function's documentation names; a tuple is a list once it was JSON, and `any` is checked
    /// as a string.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "string" | "any" => Self::Text,
            "integer" => Self::Int,
            "float" => Self::Float,
            "boolean" => Self::Bool,
            "array" | "tuple" => Self::List,
            "dict" => Self::Dict,
            _ => return None,
        })
    }

    /// Python's name of the type.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::None => "NoneType",
            Self::Bool => "bool",
            Self::Int => "int",
            Self::Float => "float",
            Self::Text => "str",
            Self::List => "list",
            Self::Tuple => "tuple",
            Self::Dict => "dict",
        }
    }
}

/// A number by its exact value.
#[derive(PartialEq)]
enum Number<'a> {
    Whole(Cow<'a, str>),
    Other(f64),
}

impl Python {
    pub(crate) const fn kind(&self) -> PythonType {
        match self {
            Self::None => PythonType::None,
            Self::Bool(_) => PythonType::Bool,
            Self::Int(_) => PythonType::Int,
            Self::Float(_) => PythonType::Float,
            Self::Text(_) => PythonType::Text,
            Self::List(_) => PythonType::List,
            Self::Tuple(_) => PythonType::Tuple,
            Self::Dict(_) => PythonType::Dict,
        }
    }

    /// A whole number of decimal digits, maybe after a minus.
    pub(crate) fn int(lexeme: &str) -> Self {
        let (sign, digits) = lexeme.strip_prefix('-').map_or(("", lexeme), |rest| ("-", rest));
        match digits.trim_start_matches('0') {
            "" => Self::Int("0".into()),
            digits => Self::Int(format!("{sign}{digits}")),
        }
    }

    /// A float of a decimal lexeme; infinite where it is too large, as in Python.
    pub(crate) fn float(lexeme: &str) -> Option<Self> {
        lexeme.parse().ok().map(Self::Float)
    }

    /// As JSON has it: a tuple is a list, and a number that JSON lacks is none.
    pub(crate) fn to_json(&self) -> Value {
        match self {
            Self::None => Value::Null,
            Self::Bool(is) => Value::Bool(*is),
            Self::Int(digits) => digits.parse().map_or(Value::Null, Value::Number),
            Self::Float(float) => JsonNumber::from_f64(*float).map_or(Value::Null, Value::Number),
            Self::Text(text) => Value::String(text.clone()),
            Self::List(values) | Self::Tuple(values) => values.iter().map(Self::to_json).collect(),
            Self::Dict(entries) => {
                Value::Object(entries.iter().map(|(key, value)| (key.clone(), value.to_json())).collect())
            }
        }
    }

    /// Returns whether it is the empty string, by which answers say that a parameter may be left out.
    pub(crate) fn is_empty_text(&self) -> bool {
        matches!(self, Self::Text(text) if text.is_empty())
    }

    /// Python's `==`: `True`, `1` and `1.0` are equal, a list never equals a tuple.
    pub(crate) fn equals(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::None, Self::None) => true,
            (Self::Text(a), Self::Text(b)) => a == b,
            (Self::List(a), Self::List(b)) | (Self::Tuple(a), Self::Tuple(b)) => {
                a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.equals(b))
            }
            (Self::Dict(a), Self::Dict(b)) => {
                a.len() == b.len() && a.iter().zip(b).all(|((k, a), (l, b))| k == l && a.equals(b))
            }
            _ => matches!((self.number(), other.number()), (Some(a), Some(b)) if a == b),
        }
    }

    fn number(&self) -> Option<Number<'_>> {
        Some(match self {
            Self::Bool(is) => Number::Whole(if *is { "1" } else { "0" }.into()),
            Self::Int(digits) => Number::Whole(digits.into()),
            // `{:.0}` writes every digit of a whole float.
            Self::Float(0.0) => Number::Whole("0".into()),
            Self::Float(float) if float.fract() == 0.0 => Number::Whole(format!("{float:.0}").into()),
            Self::Float(float) => Number::Other(*float),
            _ => return None,
        })
    }
}

impl From<&Value> for Python {
    /// What Python's `json` makes of it.
    fn from(value: &Value) -> Self {
        match value {
            Value::Null => Self::None,
            Value::Bool(is) => Self::Bool(*is),
            Value::Number(number) => {
                let lexeme = number.as_str();
                let float = || Self::float(lexeme).unwrap_or(Self::None);
                if lexeme.contains(['.', 'e', 'E']) { float() } else { Self::int(lexeme) }
            }
            Value::String(text) => Self::Text(text.clone()),
            Value::Array(values) => Self::List(values.iter().map(Self::from).collect()),
            Value::Object(object) => Self::Dict(dict(object)),
        }
    }
}

fn dict(object: &Map<String, Value>) -> BTreeMap<String, Python> {
    object.iter().map(|(key, value)| (key.clone(), value.into())).collect()
}

impl fmt::Display for Python {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("None"),
            Self::Bool(is) => f.write_str(if *is { "True" } else { "False" }),
            Self::Int(digits) => f.write_str(digits),
            Self::Float(float) => write!(f, "{float:?}"),
            Self::Text(text) => write!(f, "{text:?}"),
            Self::List(values) => separated(f, "[", values.iter().map(|value| (None, value)), "]"),
            Self::Tuple(values) => separated(f, "(", values.iter().map(|value| (None, value)), ")"),
            Self::Dict(entries) => {
                separated(f, "{", entries.iter().map(|(key, value)| (Some(key.as_str()), value)), "}")
            }
        }
    }
}

fn separated<'a>(
    f: &mut fmt::Formatter<'_>,
    open: &str,
    values: impl Iterator<Item = (Option<&'a str>, &'a Python)>,
    close: &str,
) -> fmt::Result {
    f.write_str(open)?;
    for (position, (key, value)) in values.enumerate() {
        if position > 0 {
            f.write_str(", ")?;
        }
        if let Some(key) = key {
            write!(f, "{key:?}: ")?;
        }
        write!(f, "{value}")?;
    }
    f.write_str(close)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn python(json: &str) -> Python {
        Python::from(&serde_json::from_str::<Value>(json).unwrap())
    }

    #[test]
    fn numbers_are_equal_as_in_python() {
        for (a, b) in [
            ("true", "1"),
            ("1", "1.0"),
            ("false", "-0.0"),
            ("-0", "0"),
            ("100000000000000000000", "1e20"),
            ("0.1", "0.10000000000000000001"),
            ("[1, {\"a\": true}]", "[1.0, {\"a\": 1}]"),
            ("1e400", "2e400"),
        ] {
            assert!(python(a).equals(&python(b)), "{a} {b}");
        }
        for (a, b) in [
            ("true", "\"True\""),
            ("null", "0"),
            ("9007199254740993", "9007199254740992.0"),
            ("100000000000000000001", "1e20"),
            ("[1, 2]", "[2, 1]"),
            ("{\"a\": 1}", "{\"b\": 1}"),
            ("\"\"", "[]"),
        ] {
            assert!(!python(a).equals(&python(b)), "{a} {b}");
        }
        let tuple = Python::Tuple(vec![Python::int("1")]);
        assert!(!tuple.equals(&python("[1]")));
    }

    #[test]
    fn five_is_an_int_and_five_point_nought_a_float() {
        let kinds = ["5", "5.0", "5e0", "true", "null", "[]", "{}", "\"\""].map(|json| python(json).kind());
        use PythonType::{Bool, Dict, Float, Int, List, None, Text};
        assert_eq!(kinds, [Int, Float, Float, Bool, None, List, Dict, Text]);
        let shown = python(r#"[null, true, -07]"#.replace("-07", "-7").as_str()).to_string();
        assert_eq!(shown, "[None, True, -7]");
    }
}
