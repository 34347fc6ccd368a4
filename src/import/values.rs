//! Values of files, in the forms that files give them.

use serde_json::Value;

/// A name that files give as text or as a number.
pub(super) fn name_of(value: &Value) -> Result<String, String> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Number(number) => Ok(number.to_string()),
        other => Err(format!("a name must be text or a number, not {}", kind_of(other))),
    }
}

pub(super) fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a truth value",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// References as files give them: texts or numbers, at least one.
pub(super) fn references(values: &[Value], field: &str) -> Result<Vec<String>, String> {
    if values.is_empty() {
        return Err(format!("`{field}` is empty: there is nothing to score against"));
    }
    values.iter().map(|value| name_of(value).map_err(|error| format!("`{field}`: {error}"))).collect()
}
