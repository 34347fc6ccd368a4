//! Values of several forms: an option's (a number, a word or a truth value, kept as the text that a server gets), and
//! amounts with units.

#[cfg(test)]
use std::borrow::Cow;
use std::fmt;

#[cfg(test)]
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserialize, Deserializer, Visitor};

use crate::quantity;

/// A number, a text or a truth value of a suite, as text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scalar(pub String);

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ScalarVisitor)
    }
}

struct ScalarVisitor;

impl Visitor<'_> for ScalarVisitor {
    type Value = Scalar;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number, a text, `true` or `false`")
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Scalar, E> {
        Ok(Scalar(value.to_string()))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Scalar, E> {
        Ok(Scalar(value.to_string()))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Scalar, E> {
        Ok(Scalar(value.to_string()))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Scalar, E> {
        Ok(Scalar(value.to_string()))
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Scalar, E> {
        Ok(Scalar(value.to_owned()))
    }
}

#[cfg(test)]
impl JsonSchema for Scalar {
    fn schema_name() -> Cow<'static, str> {
        "Scalar".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A number, a text or a truth value.",
            "type": ["number", "string", "boolean"],
        })
    }
}

/// A number of tokens: `32768`, or `"32k"` (k is 1024).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tokens(pub u32);

impl<'de> Deserialize<'de> for Tokens {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TokensVisitor)
    }
}

struct TokensVisitor;

impl Visitor<'_> for TokensVisitor {
    type Value = Tokens;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a whole number such as 32768, or a text such as \"32k\" (k is 1024)")
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Tokens, E> {
        u32::try_from(value).map(Tokens).map_err(|_| E::invalid_value(de::Unexpected::Signed(value), &self))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Tokens, E> {
        u32::try_from(value).map(Tokens).map_err(|_| E::invalid_value(de::Unexpected::Unsigned(value), &self))
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Tokens, E> {
        quantity::tokens(value).map(Tokens).map_err(|reason| E::custom(format!("`{value}`: {reason}")))
    }
}

#[cfg(test)]
impl JsonSchema for Tokens {
    fn schema_name() -> Cow<'static, str> {
        "Tokens".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A whole number, or a text such as \"32k\" (k is 1024) or \"1m\".",
            "anyOf": [
                { "type": "integer", "minimum": 0, "maximum": 4_294_967_295u32 },
                { "type": "string", "pattern": "^\\s*[0-9]+(\\.[0-9]+)?\\s*[kKmM]?\\s*$" },
            ],
        })
    }
}

/// A number of tokens that may be large: `2000000`, or `"2m"` (m is 1024 x 1024).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget(pub u64);

impl<'de> Deserialize<'de> for Budget {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(BudgetVisitor)
    }
}

struct BudgetVisitor;

impl Visitor<'_> for BudgetVisitor {
    type Value = Budget;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        TokensVisitor.expecting(f)
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Budget, E> {
        u64::try_from(value).map(Budget).map_err(|_| E::invalid_value(de::Unexpected::Signed(value), &self))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Budget, E> {
        Ok(Budget(value))
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Budget, E> {
        TokensVisitor.visit_str(value).map(|tokens| Budget(tokens.0.into()))
    }
}

#[cfg(test)]
impl JsonSchema for Budget {
    fn schema_name() -> Cow<'static, str> {
        "Budget".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A whole number, or a text such as \"900k\" (k is 1024) or \"2m\".",
            "anyOf": [
                { "type": "integer", "minimum": 0 },
                { "type": "string", "pattern": "^\\s*[0-9]+(\\.[0-9]+)?\\s*[kKmM]?\\s*$" },
            ],
        })
    }
}

/// A limit of a gate: a number, or an amount of memory such as `"24GiB"`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limit {
    /// The number; of memory in bytes.
    pub value: f64,
    /// Whether it was written as an amount of memory.
    pub is_memory: bool,
}

impl Limit {
    fn number<E>(value: f64) -> Result<Self, E> {
        Ok(Self { value, is_memory: false })
    }
}

impl<'de> Deserialize<'de> for Limit {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(LimitVisitor)
    }
}

struct LimitVisitor;

impl Visitor<'_> for LimitVisitor {
    type Value = Limit;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number, or an amount of memory such as \"24GiB\"")
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Limit, E> {
        Limit::number(value as f64)
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Limit, E> {
        Limit::number(value as f64)
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Limit, E> {
        Limit::number(value)
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Limit, E> {
        let unit = value.trim().ends_with(|c: char| c.is_ascii_alphabetic());
        let bytes = quantity::bytes(value).ok().filter(|_| unit);
        bytes.map(|bytes| Limit { value: bytes as f64, is_memory: true }).ok_or_else(|| {
            E::custom(format!("`{value}`: write a number, or memory as \"24GiB\" or \"24GB\" (decimal)"))
        })
    }
}

#[cfg(test)]
impl JsonSchema for Limit {
    fn schema_name() -> Cow<'static, str> {
        "Limit".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A number, or an amount of memory such as \"24GiB\" or \"24GB\" (decimal).",
            "anyOf": [
                { "type": "number" },
                { "type": "string", "pattern": "^\\s*[0-9]+(\\.[0-9]+)?\\s*([kKmMgGtT]([iI]?[bB])?|[bB])\\s*$" },
            ],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, serde::Deserialize)]
    struct File {
        at: Tokens,
    }

    fn tokens(text: &str) -> Result<u32, String> {
        let file: Result<File, _> = toml::from_str(&format!("at = {text}"));
        file.map(|file| file.at.0).map_err(|error| error.message().to_owned())
    }

    #[test]
    fn tokens_are_numbers_or_texts_with_a_unit() {
        assert_eq!(tokens("32768"), Ok(32_768));
        assert_eq!(tokens("\"32k\""), Ok(32_768));
        assert_eq!(tokens("\"1m\""), Ok(1 << 20));
        assert_eq!(tokens("\"8192\""), Ok(8192));
        for wrong in ["\"32q\"", "-1", "5000000000", "1.5", "true", "\"0.3\""] {
            let error = tokens(wrong).unwrap_err();
            assert!(error.contains("32k"), "{wrong}: {error}");
        }
    }
}
