//! JSON values as YAML: enough for manifests, whose keys and texts are ours or the user's.

use serde_json::Value;

/// Returns a document as YAML (1.2, block style). Texts that could be read as anything else are quoted as JSON quotes them, which is
/// YAML, too.
pub(super) fn document(value: &Value) -> String {
    let mut text = String::new();
    write(value, 0, &mut text);
    text.trim_start().to_owned()
}

fn write(value: &Value, depth: usize, text: &mut String) {
    let indent = "  ".repeat(depth);
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            for (name, field) in fields {
                text.push_str(&format!("\n{indent}{}:", scalar(&Value::String(name.clone()))));
                inner(field, depth + 1, text);
            }
        }
        Value::Array(items) if !items.is_empty() => {
            for item in items {
                let mut lines = String::new();
                write(item, depth + 1, &mut lines);
                // The first field stands behind the dash.
                text.push_str(&format!("\n{indent}- {}", lines.trim_start()));
            }
        }
        Value::Object(_) => text.push_str("{}"),
        Value::Array(_) => text.push_str("[]"),
        scalar_value => text.push_str(&scalar(scalar_value)),
    }
}

fn inner(field: &Value, depth: usize, text: &mut String) {
    let is_block = match field {
        Value::Object(fields) => !fields.is_empty(),
        Value::Array(items) => !items.is_empty(),
        _ => false,
    };
    if !is_block {
        text.push(' ');
    }
    write(field, depth, text);
}

fn scalar(value: &Value) -> String {
    match value {
        Value::String(text) if is_plain(text) => text.clone(),
        // JSON's quotes and escapes are YAML's.
        other => other.to_string(),
    }
}

/// Whether a text is a word that no reader takes for anything else.
fn is_plain(text: &str) -> bool {
    let first = text.chars().next().is_some_and(|c| c.is_ascii_alphabetic() || c == '/');
    let words = ["true", "false", "null", "yes", "no", "on", "off", "y", "n"];
    first
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "/._-".contains(c))
        && !words.contains(&text.to_ascii_lowercase().as_str())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let value = json!({
            "apiVersion": "batch/v1",
            "empty": {}, "none": [], "number": 3, "flag": true, "nothing": null,
            "texts": ["yes", "12", "a: b", "- x", "#", "", "two\nlines \"quoted\"", "$(X)", "nvidia.com/gpu"],
            "nested": [{ "name": "a", "list": [[1, 2], [{ "deep": "x" }]], "map": { "k/v": "1" } }, { "b": [] }],
            "no": "off"
        });
        let text = document(&value);
        let read: Value = serde_norway::from_str(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
        assert_eq!(read, value, "{text}");
    }
}
