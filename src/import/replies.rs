//! Replies that were made elsewhere: `{"case", "content", "reasoning"?, "tool_calls"?, "finish_reason"?}`, or RULER's
//! own predictions, `{"index", "pred", "input"?, ..}`; where no case is needed also chat completions as a server gives
//! them, and lines of batch files that hold one.

use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::values::{kind_of, name_of};
use crate::record::{FinishReason, Reply, ToolCall, said};

/// Which case a reply answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answered {
    /// The case of that name.
    Case(String),
    /// A prediction of RULER's: the next case with this index, or with this input where the line says it.
    Prediction {
        /// RULER's index; several cases may share it.
        index: String,
        /// What was asked.
        input: Option<String>,
    },
}

/// A reply and the case that it answers.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer<Case = Answered> {
    /// The case.
    pub case: Case,
    /// The reply.
    pub reply: Reply,
}

#[derive(Deserialize)]
struct Raw {
    #[serde(default)]
    case: Value,
    /// Servers say `null` beside tool calls; leaving it out is a mistake.
    #[serde(deserialize_with = "present")]
    content: Option<String>,
    #[serde(default)]
    reasoning: Option<String>,
    #[serde(default)]
    tool_calls: Option<Vec<RawCall>>,
    #[serde(default)]
    finish_reason: Option<String>,
}

/// A line of a file of predictions, as RULER's `call_api.py` writes it; what else it holds is the case's.
#[derive(Deserialize)]
struct Prediction {
    index: Value,
    pred: Value,
    #[serde(default)]
    input: Option<String>,
}

impl Prediction {
    fn answer(self) -> Result<Answer, String> {
        let content = match self.pred {
            Value::Null => String::new(),
            Value::String(text) => text,
            // Some clients keep the list of samples.
            Value::Array(samples) => match samples.as_slice() {
                [Value::String(only)] => only.clone(),
                _ => return Err("`pred` is a list of something else than one text".into()),
            },
            other => return Err(format!("`pred` is {}, not text", kind_of(&other))),
        };
        let index = name_of(&self.index).map_err(|error| format!("`index`: {error}"))?;
        Ok(Answer {
            case: Answered::Prediction { index, input: self.input },
            reply: Reply { content, ..Reply::default() },
        })
    }
}

/// A call in our form, `{"name", "arguments"}`, or in that of a chat completion, `{"function": {..}}`; the
/// arguments as the text that came, or as the object that it holds.
#[derive(Deserialize)]
struct RawCall {
    #[serde(default)]
    id: Option<String>,
    #[serde(default)]
    function: Option<Function>,
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    arguments: Value,
}

#[derive(Deserialize)]
struct Function {
    name: String,
    #[serde(default)]
    arguments: Value,
}

impl RawCall {
    fn call(self) -> Result<ToolCall, String> {
        let (name, arguments) = match (self.function, self.name) {
            (Some(function), _) => (function.name, function.arguments),
            (None, Some(name)) => (name, self.arguments),
            (None, None) => return Err("not a reply: a tool call has no `name`".into()),
        };
        let arguments = match arguments {
            Value::Null => String::new(),
            Value::String(text) => text,
            other => other.to_string(),
        };
        Ok(ToolCall { id: self.id, name, arguments })
    }
}

fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    Option::deserialize(deserializer)
}

/// Reads one line. Keys that are not known are left alone: logs hold more than is needed here.
///
/// # Errors
/// A message that says what is wrong with the line.
pub fn parse(line: &str) -> Result<Answer, String> {
    if let Ok(prediction) = serde_json::from_str::<Prediction>(line) {
        return prediction.answer();
    }
    let apart =
        serde_json::from_str::<Value>(line).ok().and_then(|mut row| told_apart(&mut row).then_some(row));
    let raw: Raw = match apart {
        Some(row) => serde_json::from_value(row),
        None => serde_json::from_str(line),
    }
    .map_err(not_a_reply)?;
    if raw.case.is_null() {
        return Err("not a reply: it names no `case`".into());
    }
    Ok(Answer { case: Answered::Case(named(&raw.case)?), reply: raw.reply()? })
}

/// Reads one line where no case is needed: one without a name has that of its line (from 1).
///
/// # Errors
/// As [`parse`].
pub fn parse_unnamed(line: &str, number: usize) -> Result<Answer<String>, String> {
    let mut row: Value = serde_json::from_str(line).map_err(not_a_reply)?;
    let case =
        ["case", "custom_id", "id"].iter().find_map(|key| row.get(*key)).filter(|name| !name.is_null());
    let case = case.map_or_else(|| Ok(number.to_string()), named)?;
    let completion = ["/response/body", "/response", "/body"]
        .iter()
        .find(|place| row.pointer(place).is_some_and(|inner| inner.get("choices").is_some()));
    if let Some(inner) = completion.and_then(|place| row.pointer_mut(place)) {
        row = inner.take();
    }
    if let Some(choice) = row.pointer("/choices/0") {
        let message = choice.get("message").cloned().unwrap_or_default();
        let finish_reason = choice.get("finish_reason").cloned().unwrap_or_default();
        row = message;
        if let Some(message) = row.as_object_mut() {
            message.insert("finish_reason".into(), finish_reason);
        }
    }
    told_apart(&mut row);
    let raw: Raw = serde_json::from_value(row).map_err(not_a_reply)?;
    Ok(Answer { case, reply: raw.reply()? })
}

/// Brings content in parts and reasoning under other names into the form of [`Raw`]; whether there was any.
fn told_apart(row: &mut Value) -> bool {
    let has_parts = row.get("content").is_some_and(Value::is_array);
    let reasoning = said::reasoning(row);
    let is_plain = row.get("reasoning").and_then(Value::as_str) == Some(reasoning.as_str());
    let changes = has_parts || (!is_plain && !reasoning.is_empty());
    let content = has_parts.then(|| said::content(row));
    if let (true, Some(message)) = (changes, row.as_object_mut()) {
        if let Some(content) = content {
            message.insert("content".into(), content.into());
        }
        message.insert("reasoning".into(), reasoning.into());
    }
    changes
}

fn not_a_reply(error: serde_json::Error) -> String {
    format!("not a reply: {error}")
}

fn named(case: &Value) -> Result<String, String> {
    name_of(case).map_err(|error| format!("`case`: {error}"))
}

impl Raw {
    fn reply(self) -> Result<Reply, String> {
        Ok(Reply {
            content: self.content.unwrap_or_default(),
            reasoning: self.reasoning.unwrap_or_default(),
            tool_calls: self.tool_calls.into_iter().flatten().map(RawCall::call).collect::<Result<_, _>>()?,
            finish_reason: self.finish_reason.as_deref().and_then(FinishReason::of),
            ..Reply::default()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_but_case_and_content_may_be_left_out() {
        let answer = parse(r#"{"case": 7, "content": "42"}"#).unwrap();
        assert_eq!((answer.case, answer.reply.content.as_str()), (Answered::Case("7".into()), "42"));
        assert_eq!(answer.reply.finish_reason, None);
        let line = r#"{"case": "a", "content": null, "reasoning": "hm", "finish_reason": "length", "model": "x",
            "tool_calls": [{"name": "f", "arguments": "{}"}]}"#;
        let reply = parse(line).unwrap().reply;
        assert_eq!((reply.content.as_str(), reply.reasoning.as_str()), ("", "hm"));
        assert_eq!(reply.finish_reason, Some(FinishReason::Length));
        assert_eq!(reply.tool_calls[0].name, "f");
    }

    #[test]
    fn thinking_is_told_apart_in_every_form() {
        for line in [
            r#"{"case": 1, "content": "7", "reasoning": "6?"}"#,
            r#"{"case": 1, "content": "7", "reasoning_content": "6?"}"#,
            r#"{"case": 1, "content": "7", "reasoning": null, "reasoning_content": "6?"}"#,
            r#"{"case": 1, "content": "7", "thinking": "6?"}"#,
            r#"{"case": 1, "content": [{"type": "thinking", "thinking": [{"type": "text", "text": "6?"}]}, {"type": "text", "text": "7"}]}"#,
        ] {
            let reply = parse(line).unwrap().reply;
            assert_eq!((reply.reasoning.as_str(), reply.content.as_str()), ("6?", "7"), "{line}");
            assert_eq!(parse_unnamed(line, 1).unwrap().reply, reply, "{line}");
            let completion = line.replacen("{\"case\": 1, ", "{\"choices\": [{\"message\": {", 1) + "}]}";
            assert_eq!(parse_unnamed(&completion, 1).unwrap().reply, reply, "{completion}");
        }
        let call = r#"{"case": 1, "content": null, "reasoning_content": "6?", "tool_calls": [{"name": "f", "arguments": {"n": 5.0}}]}"#;
        let reply = parse(call).unwrap().reply;
        assert_eq!((reply.reasoning.as_str(), reply.tool_calls[0].arguments.as_str()), ("6?", "{\"n\":5.0}"));
    }

    #[test]
    fn calls_may_have_the_form_of_a_chat_completion() {
        let line = r#"{"case": "a", "content": null, "tool_calls": [
            {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{\"n\": 5.0}"}},
            {"name": "g", "arguments": {"n": 5.0}}, {"name": "h"}]}"#;
        let calls = parse(line).unwrap().reply.tool_calls;
        let calls: Vec<_> = calls.iter().map(|call| (&*call.name, &*call.arguments)).collect();
        assert_eq!(calls, [("f", "{\"n\": 5.0}"), ("g", "{\"n\":5.0}"), ("h", "")]);
    }

    #[test]
    fn where_no_case_is_needed_completions_are_replies_too() {
        let message = r#"{"role": "assistant", "content": "{}", "reasoning_content": "hm"}"#;
        let completion = format!(
            r#"{{"id": "c-1", "choices": [{{"index": 0, "message": {message}, "finish_reason": "stop"}}]}}"#
        );
        let batch =
            format!(r#"{{"custom_id": "a", "response": {{"status_code": 200, "body": {completion}}}}}"#);
        for (line, case, reasoning) in [
            (r#"{"content": "{}"}"#, "7", ""),
            (r#"{"case": 3, "content": "{}"}"#, "3", ""),
            (&completion, "c-1", "hm"),
            (&batch, "a", "hm"),
        ] {
            let answer = parse_unnamed(line, 7).unwrap();
            assert_eq!((answer.case.as_str(), answer.reply.content.as_str()), (case, "{}"), "{line}");
            assert_eq!(answer.reply.reasoning, reasoning);
        }
        for line in [r#"{"name": "x"}"#, r#"{"choices": []}"#, "[1]", "{"] {
            assert!(parse_unnamed(line, 1).unwrap_err().starts_with("not a reply"), "{line}");
        }
    }

    #[test]
    fn predictions_of_rulers_are_replies() {
        let prediction = |index: &str, input: Option<&str>| Answered::Prediction {
            index: index.into(),
            input: input.map(Into::into),
        };
        for (line, case, content) in [
            (r#"{"index": 7, "pred": "42"}"#, prediction("7", None), "42"),
            (
                r#"{"index": 0, "pred": " It is 42.", "input": "?", "outputs": ["42"], "others": {}, "truncation": -1, "length": 9}"#,
                prediction("0", Some("?")),
                " It is 42.",
            ),
            (r#"{"index": "a", "pred": ["42"], "input": null}"#, prediction("a", None), "42"),
            (r#"{"index": 1, "pred": null}"#, prediction("1", None), ""),
        ] {
            let answer = parse(line).unwrap();
            assert_eq!((answer.case, answer.reply.content.as_str()), (case, content), "{line}");
        }
        for (line, named) in
            [(r#"{"index": 1, "pred": 5}"#, "a number"), (r#"{"index": [], "pred": ""}"#, "`index`")]
        {
            assert!(parse(line).unwrap_err().contains(named), "{line}");
        }
    }

    #[test]
    fn mistakes_are_named() {
        for (line, named) in [
            (r#"{"content": "x"}"#, "`case`"),
            (r#"{"case": 1}"#, "`content`"),
            (r#"{"case": [1], "content": "x"}"#, "not a list"),
            (r#"{"case": 1, "content": 5}"#, "integer"),
            (r#"{"case": 1, "content": "", "tool_calls": [{}]}"#, "no `name`"),
            ("{\"case\": 1, \"content\": \"x\"", "EOF"),
            ("<html>", "line 1"),
        ] {
            let error = parse(line).unwrap_err();
            assert!(error.contains(named), "{line}: {error}");
        }
    }
}
