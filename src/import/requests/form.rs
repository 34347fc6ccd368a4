//! The schema that a request holds its reply to, in the words of every server that has some.
//!
//! OpenAI, and with it all engines here, take `response_format`; beside it vLLM had `guided_json` and has
//! `structured_outputs`, llama.cpp and SGLang take `json_schema`, llama.cpp a `schema` within `json_object`, and Ollama
//! `format` (their documentation of 2026-07). All of them say the same, and are sent as `response_format`.

use serde_json::{Map, Value, json};

use crate::record::ANY_OBJECT;
use crate::task::tools::schema::Schema;

/// Keys that hold a reply to something else than a JSON schema.
const OTHERS: [&str; 7] =
    ["guided_regex", "guided_choice", "guided_grammar", "grammar", "regex", "ebnf", "structural_tag"];

/// What [`ANY_OBJECT`] asks for.
pub(super) fn any_object() -> Value {
    json!({ "type": "object" })
}

/// Says what cannot be judged here, or by another draft than it names. It is sent as it is: a client may send a schema
/// that makes no sense, and a server may take it all the same.
pub(super) fn warn_of_schema(what: &str, schema: &Value) {
    match Schema::compile(schema) {
        Ok(schema) => {
            if let Some(draft) = schema.unknown_draft() {
                tracing::warn!(
                    "{what}: `$schema` names no draft that is known here, `{draft}`: judged by 2020-12"
                );
            }
        }
        Err(error) => tracing::warn!("{what} cannot be used here, replies to it are unscored: {error}"),
    }
}

/// The schema of a body, if it has one; [`ANY_OBJECT`] for any JSON object.
///
/// # Errors
/// When it is no schema, when there are two, or when the reply is held to something else.
pub(super) fn schema(body: &Value) -> Result<Option<Value>, String> {
    let body = body.as_object().ok_or("not a chat-completion request: not an object")?;
    // Clients in Python keep what OpenAI does not know apart.
    let extra = body.get("extra_body").and_then(Value::as_object);
    let mut found: Option<(&str, Value)> = None;
    for part in std::iter::once(body).chain(extra) {
        for (key, schema) in of_part(part)? {
            warn_of_schema(&format!("the schema of `{key}`"), &schema);
            match &found {
                Some((first, other)) if *other != schema => {
                    return Err(format!(
                        "`{first}` and `{key}` hold the reply to two schemas: leave one out"
                    ));
                }
                _ => found = Some((key, schema)),
            }
        }
    }
    Ok(found.map(|(_, schema)| schema))
}

fn of_part(body: &Map<String, Value>) -> Result<Vec<(&'static str, Value)>, String> {
    let said = |key: &str| body.get(key).filter(|value| !value.is_null());
    if let Some(key) = OTHERS.iter().find(|key| said(key).is_some()) {
        return Err(other(key));
    }
    let mut found = Vec::new();
    let mut add = |key, schema: Option<Value>| found.extend(schema.map(|schema| (key, schema)));
    add("response_format", said("response_format").map(response_format).transpose()?.flatten());
    for key in ["guided_json", "json_schema"] {
        add(key, said(key).map(|schema| read(key, schema)).transpose()?);
    }
    add("structured_outputs", said("structured_outputs").map(structured_outputs).transpose()?.flatten());
    add("format", said("format").map(format).transpose()?);
    Ok(found)
}

fn other(key: &str) -> String {
    format!("`{key}` holds the reply to something else than a JSON schema: leave this request out")
}

fn response_format(format: &Value) -> Result<Option<Value>, String> {
    let schema = format.pointer("/json_schema/schema").or(format.get("schema"));
    match (format.get("type").and_then(Value::as_str), schema) {
        (Some("text"), _) => Ok(None),
        (Some("json_schema" | "json_object"), Some(schema)) => read("response_format", schema).map(Some),
        (Some("json_object"), None) => Ok(Some(ANY_OBJECT)),
        _ => Err("`response_format` is neither text nor a JSON schema: leave this request out".into()),
    }
}

fn structured_outputs(outputs: &Value) -> Result<Option<Value>, String> {
    let said = |key: &str| outputs.get(key).filter(|value| !value.is_null());
    if let Some(schema) = said("json") {
        return read("structured_outputs", schema).map(Some);
    }
    if said("json_object") == Some(&Value::Bool(true)) {
        return Ok(Some(ANY_OBJECT));
    }
    match ["regex", "choice", "grammar", "structural_tag"].iter().find(|key| said(key).is_some()) {
        Some(key) => Err(other(&format!("structured_outputs.{key}"))),
        None => Ok(None),
    }
}

fn format(format: &Value) -> Result<Value, String> {
    match format.as_str() {
        Some("json") => Ok(ANY_OBJECT),
        _ => read("format", format),
    }
}

/// A schema, or the text of one.
fn read(key: &str, schema: &Value) -> Result<Value, String> {
    let schema = match schema {
        Value::String(text) => serde_json::from_str(text)
            .map_err(|error| format!("the schema of `{key}` is no JSON: {error}"))?,
        schema => schema.clone(),
    };
    match schema {
        Value::Object(_) => Ok(schema),
        _ => Err(format!("the schema of `{key}` is no object")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_servers_way_of_holding_a_reply_to_a_schema_is_read() {
        let schema = || json!({"type": "object", "properties": {"n": {"type": "integer"}}});
        let text = schema().to_string();
        for body in [
            json!({"response_format": {"type": "json_schema", "json_schema": {"name": "n", "strict": true, "schema": schema()}}}),
            json!({"response_format": {"type": "json_schema", "schema": schema()}}),
            json!({"response_format": {"type": "json_object", "schema": schema()}}),
            json!({"guided_json": schema()}),
            json!({"guided_json": text}),
            json!({"structured_outputs": {"json": schema()}}),
            json!({"structured_outputs": {"json": text, "regex": null}}),
            json!({"json_schema": schema()}),
            json!({"json_schema": text}),
            json!({"format": schema()}),
            json!({"extra_body": {"guided_json": schema()}}),
            json!({"guided_json": schema(), "response_format": {"type": "text"}}),
            json!({"guided_json": schema(), "json_schema": text}),
        ] {
            assert_eq!(super::schema(&body), Ok(Some(schema())), "{body}");
        }
        for body in [
            json!({"response_format": {"type": "json_object"}}),
            json!({"structured_outputs": {"json_object": true}}),
            json!({"format": "json"}),
        ] {
            assert_eq!(super::schema(&body), Ok(Some(ANY_OBJECT)), "{body}");
        }
        for body in [json!({}), json!({"response_format": null}), json!({"structured_outputs": {}})] {
            assert_eq!(super::schema(&body), Ok(None), "{body}");
        }
    }

    #[test]
    fn what_holds_a_reply_to_something_else_is_named() {
        for (body, named) in [
            (json!({"guided_regex": "a+"}), "`guided_regex`"),
            (json!({"structured_outputs": {"choice": ["a"]}}), "`structured_outputs.choice`"),
            (json!({"grammar": "root ::= \"x\""}), "`grammar`"),
            (json!({"response_format": {"type": "structural_tag"}}), "`response_format`"),
            (json!({"guided_json": "{"}), "`guided_json` is no JSON"),
            (json!({"json_schema": [1]}), "`json_schema` is no object"),
            (json!({"json_schema": {}, "guided_json": {"type": "object"}}), "two schemas"),
            (json!([1]), "not an object"),
        ] {
            let error = super::schema(&body).unwrap_err();
            assert!(error.contains(named), "{body}: {error}");
        }
    }
}
