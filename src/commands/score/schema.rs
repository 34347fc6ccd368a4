//! `score --schema`: replies against a JSON Schema of one's own.

use std::path::Path;

use serde_json::Value;

use super::line::ScoreLine;
use crate::console;
use crate::error::{EXIT_OK, EXIT_RUNTIME, Error, Result};
use crate::import::{self, replies};
use crate::record::Outcome;
use crate::task::Task;
use crate::task::tools::json_schema::{JsonSchema, by_schema};
use crate::task::tools::schema::{Schema, Uncompiled};

/// What became of the replies.
#[derive(Default)]
struct Count {
    valid: usize,
    invalid: usize,
    unscored: usize,
    errors: usize,
}

/// Prints a line a reply; the exit code.
pub(super) fn score(file: &Path, replies: &Path) -> Result<u8> {
    let schema = read(file)?;
    let mut count = Count::default();
    import::lines(replies, |number, text| {
        let place = format!("{}:{number}", replies.display());
        let line = match text.and_then(|text| replies::parse_unnamed(text, number)) {
            Ok(answer) => ScoreLine {
                case: Some(answer.case),
                task: Some(JsonSchema.card().name.to_owned()),
                ..judged(&schema, &answer.reply, &mut count)
            },
            Err(reason) => {
                count.errors += 1;
                ScoreLine { error: Some(format!("{place}: {reason}")), ..ScoreLine::default() }
            }
        };
        line.print()
    })?;
    let Count { valid, invalid, unscored, errors } = count;
    let share = match valid + invalid {
        0 => String::new(),
        judged => format!(" ({:.2}%)", valid as f64 / judged as f64 * 100.0),
    };
    let judged = valid + invalid;
    console::note(&format!(
        "{valid} of {judged} replies valid{share}, {unscored} not judged, {errors} errors"
    ));
    Ok(if errors > 0 { EXIT_RUNTIME } else { EXIT_OK })
}

fn judged(schema: &Value, reply: &crate::record::Reply, count: &mut Count) -> ScoreLine {
    match by_schema(schema, reply) {
        Ok((score, error)) => {
            let valid = score.quality == Some(1.0);
            *if valid { &mut count.valid } else { &mut count.invalid } += 1;
            ScoreLine {
                outcome: Some(Outcome::Scored(score)),
                valid: Some(valid),
                error,
                ..ScoreLine::default()
            }
        }
        Err(reason) => {
            count.unscored += 1;
            ScoreLine { outcome: Some(Outcome::Unscored { reason }), ..ScoreLine::default() }
        }
    }
}

/// Reads a schema: itself, or wrapped as a request's `response_format` has it.
fn read(file: &Path) -> Result<Value> {
    let shown = file.display();
    let text = std::fs::read_to_string(file)
        .map_err(|source| Error::usage(format!("cannot read the schema {shown}")).with_source(source))?;
    let mut value: Value = serde_json::from_str(&text)
        .map_err(|source| Error::usage(format!("the schema {shown} is no JSON")).with_source(source))?;
    let wrapped =
        |value: &Value| value.get("name").is_some_and(Value::is_string) && value.get("type").is_none();
    let inner = if value.pointer("/json_schema/schema").is_some() {
        value.pointer_mut("/json_schema/schema")
    } else if wrapped(&value) {
        value.get_mut("schema")
    } else {
        None
    };
    if let Some(inner) = inner {
        value = inner.take();
    }
    match Schema::compile(&value) {
        Ok(schema) => {
            if let Some(draft) = schema.unknown_draft() {
                tracing::warn!(
                    "{shown}: `$schema` names no draft that is known here, `{draft}`: judged by 2020-12"
                );
            }
            Ok(value)
        }
        Err(Uncompiled::NoSchema(error)) => Err(Error::usage(format!("{shown} is no JSON Schema: {error}"))
            .hint("without `$schema` it is read as draft 2020-12")),
        Err(Uncompiled::Unable(error)) => {
            Err(Error::runtime(format!("{shown} cannot be used here: {error}"))
                .hint("nothing is fetched: put what it refers to into the file"))
        }
    }
}
