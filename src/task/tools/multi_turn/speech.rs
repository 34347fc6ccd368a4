//! What is said to the model, and how its calls are read: per arm.

use serde_json::{Value, json};

use super::environment::Answer;
use crate::record::{Arm, Message, Reply, Role, Tool, ToolCall};
use crate::task::tools::extract::{Extraction, MAX_CALLS, from_prompted, from_server, leak};

/// What the model is told in every arm.
const INSTRUCTION: &str = "You act for the user by calling functions, one call or several at a time; their results \
    come back to you. Do exactly what the user asks and no more, with exactly the user's values. Text in backquotes \
    is passed on as it is, without the backquotes. If a call fails, do what the user said for that case. When all is \
    done, answer in a short sentence, and repeat what the user asked to know exactly as the functions gave it.";
/// What it is told beside, in front of the functions, where these are described in the prompt.
const FORMAT: &str = "To call functions, answer with nothing but one JSON object a line: {\"name\": function, \
    \"arguments\": {name: value}}. For example, where there is a function add, the request to add 1.5 and 20 is \
    answered with {\"name\": \"add\", \"arguments\": {\"a\": 1.5, \"b\": 20}}, and when the result comes back, with a \
    sentence: It is 21.5. The functions:";

/// The beginning of a conversation, and its `tools` field.
pub(super) fn opening(arm: Arm, tools: &[Tool], user: &str) -> (Vec<Message>, Vec<Tool>) {
    let user = Message::user(user);
    if arm != Arm::Prompted {
        return (vec![Message::system(INSTRUCTION), user], tools.to_vec());
    }
    let functions: Vec<String> = tools.iter().map(describe).collect();
    let system = format!("{INSTRUCTION}\n\n{FORMAT}\n{}", functions.join("\n"));
    (vec![Message::system(system), user], Vec::new())
}

/// A tool in a line: its arguments by name with their schemas.
fn describe(tool: &Tool) -> String {
    let part = |key: &str| tool.parameters.get(key).cloned().unwrap_or_else(|| json!([]));
    format!(
        "- {}: {} Arguments: {}, required: {}",
        tool.name,
        tool.description,
        part("properties"),
        part("required")
    )
}

/// A call that the model made or meant to make.
#[derive(Debug)]
pub(super) struct Attempt {
    id: Option<String>,
    /// Function name; empty when not even that can be read.
    pub(super) name: String,
    /// Its arguments, unless they are not JSON.
    pub(super) arguments: Option<Value>,
}

/// The calls of a reply: those that the server parsed, in the prompted arm else those in the text.
pub(super) fn attempts(arm: Arm, tools: &[Tool], reply: &Reply) -> Vec<Attempt> {
    if reply.tool_calls.is_empty() && arm == Arm::Prompted {
        return written(from_prompted(reply, tools));
    }
    reply.tool_calls.iter().take(MAX_CALLS).map(parsed).collect()
}

fn parsed(call: &ToolCall) -> Attempt {
    let arguments = match from_server(std::slice::from_ref(call)) {
        Extraction::Calls(mut calls) => calls.pop().map(|call| call.arguments),
        Extraction::NoCall | Extraction::BadJson => None,
    };
    let id = call.id.clone().filter(|id| !id.is_empty());
    Attempt { id, name: call.name.clone(), arguments }
}

fn written(found: Extraction) -> Vec<Attempt> {
    match found {
        Extraction::NoCall => Vec::new(),
        Extraction::BadJson => vec![Attempt { id: None, name: String::new(), arguments: None }],
        Extraction::Calls(calls) => calls
            .into_iter()
            .map(|call| Attempt { id: None, name: call.name, arguments: Some(call.arguments) })
            .collect(),
    }
}

/// Returns whether a call of an offered tool is in a text that the server should have parsed.
pub(super) fn leaked(arm: Arm, tools: &[Tool], reply: &Reply) -> bool {
    arm != Arm::Prompted && leak(reply, tools).is_some()
}

/// The model's turn with its calls, and what they came to. `first` is the number of the first of these calls
/// in the conversation, for those that the server gave no id.
pub(super) fn results(
    arm: Arm,
    reply: &Reply,
    attempts: &[Attempt],
    answers: &[Answer],
    first: u32,
) -> Vec<Message> {
    if arm == Arm::Prompted {
        return vec![
            Message::new(Role::Assistant, as_written(reply)),
            Message::user(listed(attempts, answers)),
        ];
    }
    let mut said = Message::new(Role::Assistant, reply.content.clone());
    let mut returned = Vec::new();
    for ((number, attempt), answer) in (first..).zip(attempts).zip(answers) {
        // Nine letters and digits: the strictest template wants just that.
        let id = attempt.id.clone().unwrap_or_else(|| format!("call{:05}", number % 100_000));
        said.tool_calls.push(ToolCall {
            id: Some(id.clone()),
            name: attempt.name.clone(),
            // Some templates read the arguments: what is not JSON would fail the next request.
            arguments: attempt.arguments.as_ref().map_or_else(|| "{}".into(), Value::to_string),
        });
        let mut message = Message::new(Role::Tool, shown(answer).to_string());
        message.tool_call_id = Some(id);
        returned.push(message);
    }
    returned.insert(0, said);
    returned
}

/// The text of a reply; where the server took calls out of it although no tools were sent, those calls.
fn as_written(reply: &Reply) -> String {
    if !reply.content.is_empty() || reply.tool_calls.is_empty() {
        return reply.content.clone();
    }
    let line =
        |call: &ToolCall| format!("{{\"name\": {}, \"arguments\": {}}}", json!(call.name), call.arguments);
    reply.tool_calls.iter().take(MAX_CALLS).map(line).collect::<Vec<_>>().join("\n")
}

fn listed(attempts: &[Attempt], answers: &[Answer]) -> String {
    let lines =
        attempts.iter().zip(answers).map(|(attempt, answer)| format!("{}: {}", attempt.name, shown(answer)));
    format!("Results:\n{}", lines.collect::<Vec<_>>().join("\n"))
}

/// An answer as the model sees it.
pub(super) fn shown(answer: &Answer) -> Value {
    match answer {
        Ok(result) => result.clone(),
        Err(error) => json!({ "error": error }),
    }
}

/// Returns whether a text holds a value as a word of its own: `42` is not in `e42` nor in `1423`. Letters in any
/// case, commas within numbers left out.
pub(super) fn holds(text: &str, value: &str) -> bool {
    let (text, value) = (plain(text), plain(value));
    let free = |c: Option<char>| c.is_none_or(|c| !c.is_alphanumeric());
    text.match_indices(&value).any(|(at, found)| {
        free(text[..at].chars().next_back()) && free(text[at + found.len()..].chars().next())
    })
}

/// Lower case, without the commas that stand between a digit and three more.
fn plain(text: &str) -> String {
    let chars: Vec<char> = text.to_lowercase().chars().collect();
    let digit = |at: usize| chars.get(at).is_some_and(char::is_ascii_digit);
    let parts_thousands =
        |at: usize| at > 0 && digit(at - 1) && (1..=3).all(|next| digit(at + next)) && !digit(at + 4);
    let kept = chars.iter().enumerate().filter(|(at, c)| **c != ',' || !parts_thousands(*at));
    kept.map(|(_, c)| *c).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_found_as_words() {
        for (text, value) in [
            ("It is 1,265 euros.", "1265"),
            ("(e7)", "E7"),
            ("price: 17.", "17"),
            ("Käsespätzle — 9,80 €!", "käsespätzle — 9,80 €"),
            ("\"balance\":42}", "42"),
        ] {
            assert!(holds(text, value), "{text} {value}");
        }
        for (text, value) in [("e42", "42"), ("1423", "42"), ("", "a"), ("9.80", "9,80"), ("T-21", "T-2")] {
            assert!(!holds(text, value), "{text} {value}");
        }
    }

    #[test]
    fn results_carry_the_ids_of_their_calls() {
        let call = |id: Option<&str>, arguments: &str| ToolCall {
            id: id.map(Into::into),
            name: "f".into(),
            arguments: arguments.into(),
        };
        let reply = Reply {
            tool_calls: vec![call(Some("abc"), "{\"a\":1}"), call(None, "{broken"), call(Some(""), "")],
            ..Reply::default()
        };
        let attempts = attempts(Arm::Native, &[], &reply);
        let answers = [Ok(json!({"ok": true})), Err("no".into()), Ok(json!(1))];
        let messages = results(Arm::Native, &reply, &attempts, &answers, 7);
        let ids: Vec<_> = messages[1..].iter().map(|message| message.tool_call_id.clone().unwrap()).collect();
        assert_eq!(ids, ["abc", "call00008", "call00009"]);
        let calls: Vec<_> = messages[0].tool_calls.iter().map(|call| call.arguments.as_str()).collect();
        assert_eq!(calls, ["{\"a\":1}", "{}", "{}"]);
        assert_eq!(messages[2].content, "{\"error\":\"no\"}");
        assert!(messages[1..].iter().all(|message| message.role == Role::Tool));
    }

    #[test]
    fn the_prompted_arm_has_no_messages_of_tools() {
        let reply = Reply { content: "{\"name\":\"f\",\"arguments\":{}}".into(), ..Reply::default() };
        let attempts = attempts(Arm::Prompted, &[], &reply);
        let messages = results(Arm::Prompted, &reply, &attempts, &[Ok(json!({"n": 3}))], 0);
        assert_eq!(
            messages,
            [Message::new(Role::Assistant, reply.content), Message::user("Results:\nf: {\"n\":3}")]
        );
    }
}
