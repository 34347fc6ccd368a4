//! The schemas of a user's own file: a JSON Schema, an array of tools, the body of a request, or schemas with values that are known to
//! be right and wrong.

use serde_json::Value;

use crate::task::tools::held::check::Constraint;

/// Largest file (bytes).
pub const MAX_BYTES: u64 = 16 << 20;

/// Reads the schemas of a file's text: of an OpenAI array of tools (or one tool) the parameters of each, of a request's body
/// those of its tools and that of its reply (`response_format`, `json_schema`), of `{"schemas": [..]}` each `schema` with its `answer`,
/// `valid` and `invalid` values (the form of `datasets/tools`), else the file is a JSON Schema itself.
///
/// # Errors
/// What is wrong with it, in words.
pub fn schemas(text: &str) -> Result<Vec<Constraint>, String> {
    let value: Value = serde_json::from_str(text).map_err(|error| format!("it is no JSON: {error}"))?;
    let found = match &value {
        Value::Array(tools) => of_tools(tools)?,
        Value::Object(object)
            if object.contains_key("messages") || object.contains_key("response_format") =>
        {
            of_body(&value)?
        }
        Value::Object(object) if object.get("tools").is_some_and(Value::is_array) => of_body(&value)?,
        Value::Object(object) if object.get("schemas").is_some_and(Value::is_array) => {
            with_values(object.get("schemas").and_then(Value::as_array).map_or(&[], Vec::as_slice))?
        }
        Value::Object(object) if object.contains_key("function") || is_tool(&value) => {
            of_tools(std::slice::from_ref(&value))?
        }
        Value::Object(_) => vec![Constraint::new("schema", value)],
        other => return Err(format!("it is {}, and no schema, tools or request", kind(other))),
    };
    if found.is_empty() {
        return Err("there is no schema in it: neither tools with parameters nor a response_format".into());
    }
    Ok(found)
}

fn of_body(body: &Value) -> Result<Vec<Constraint>, String> {
    let mut found = Vec::new();
    match body.get("tools") {
        None | Some(Value::Null) => {}
        Some(Value::Array(tools)) => found.extend(of_tools(tools)?),
        Some(other) => return Err(format!("`tools` is {}, and no array", kind(other))),
    }
    let format = body.get("response_format");
    let schema = format.and_then(|format| format.pointer("/json_schema/schema").or(format.get("schema")));
    if let Some(schema) = schema.or(body.get("json_schema")) {
        found.push(Constraint::new("reply", schema.clone()));
    }
    Ok(found)
}

/// Schemas with values: the answer that is wanted first among those that are right.
fn with_values(entries: &[Value]) -> Result<Vec<Constraint>, String> {
    let values = |entry: &Value, key: &str| match entry.get(key) {
        None => Ok(Vec::new()),
        Some(Value::Array(values)) => Ok(values.clone()),
        Some(other) => Err(format!("`{key}` is {}, and no array", kind(other))),
    };
    let one = |(index, entry): (usize, &Value)| {
        let schema = entry.get("schema").filter(|schema| schema.is_object() || schema.is_boolean());
        let schema = schema.ok_or_else(|| format!("entry {index} of `schemas` has no `schema`"))?;
        let name = ["id", "name"].iter().find_map(|key| entry.get(key)?.as_str());
        let right = entry.get("answer").into_iter().cloned().chain(values(entry, "valid")?).collect();
        Ok(Constraint {
            right,
            wrong: values(entry, "invalid")?,
            ..Constraint::new(name.map_or_else(|| format!("schema {index}"), str::to_owned), schema.clone())
        })
    };
    entries.iter().enumerate().map(one).collect()
}

/// A tool in the form of OpenAI's Responses or Anthropic's Messages: no `function` around it.
fn is_tool(value: &Value) -> bool {
    value.get("name").is_some_and(Value::is_string)
        && (value.get("parameters").is_some_and(Value::is_object) || value.get("input_schema").is_some())
}

fn of_tools(tools: &[Value]) -> Result<Vec<Constraint>, String> {
    let mut found = Vec::new();
    for (index, entry) in tools.iter().enumerate() {
        let tool = entry.get("function").unwrap_or(entry);
        let name = tool.get("name").and_then(Value::as_str);
        let name = name.ok_or_else(|| format!("entry {index} of the array is no tool: it has no `name`"))?;
        match tool.get("parameters").or(tool.get("input_schema")) {
            // A tool without arguments.
            None | Some(Value::Null) => {}
            Some(schema @ (Value::Object(_) | Value::Bool(_))) => {
                found.push(Constraint::new(name, schema.clone()));
            }
            Some(other) => {
                return Err(format!("the parameters of `{name}` are {}, and no schema", kind(other)));
            }
        }
    }
    Ok(found)
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Vec<String> {
        schemas(text).unwrap().into_iter().map(|constraint| constraint.name).collect()
    }

    #[test]
    fn every_form_is_told() {
        assert_eq!(names(r#"{"type": "object", "properties": {"tools": {"type": "array"}}}"#), ["schema"]);
        let tool = r#"{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}"#;
        assert_eq!(names(&format!("[{tool}, {{\"name\": \"g\", \"input_schema\": {{}}}}]")), ["f", "g"]);
        assert_eq!(names(tool), ["f"]);
        let format = r#"{"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "null"}}}"#;
        let body = format!(r#"{{"messages": [], "tools": [{tool}], "response_format": {format}}}"#);
        assert_eq!(names(&body), ["f", "reply"]);
        let known = r#"{"schemas": [{"id": "s", "schema": {}, "answer": 1, "valid": [2], "invalid": [3]}, {"schema": true}]}"#;
        let [known, bare] = schemas(known).unwrap().try_into().unwrap();
        assert_eq!((known.name.as_str(), bare.name.as_str()), ("s", "schema 1"));
        assert_eq!((known.right, known.wrong), (vec![1.into(), 2.into()], vec![3.into()]));
        assert!(bare.right.is_empty() && bare.wrong.is_empty());
    }

    #[test]
    fn what_is_none_says_why() {
        for (text, words) in [
            ("{", "it is no JSON"),
            ("3", "it is a number, and no schema"),
            ("[3]", "entry 0 of the array is no tool"),
            (r#"{"messages": []}"#, "there is no schema in it"),
            (r#"{"messages": [], "tools": 3}"#, "`tools` is a number"),
            (r#"{"schemas": [{"id": "s"}]}"#, "entry 0 of `schemas` has no `schema`"),
            (r#"{"schemas": [{"schema": {}, "valid": 3}]}"#, "`valid` is a number, and no array"),
            (r#"[{"name": "f", "parameters": 3}]"#, "the parameters of `f` are a number"),
        ] {
            assert!(schemas(text).unwrap_err().contains(words), "{text}");
        }
    }
}
