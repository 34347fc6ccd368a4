//! How the history is told: per arm.

use serde_json::Value;

use crate::record::{Arm, Message, Role, ToolCall};
use crate::task::tools::grading::prompted_text;
use crate::task::tools::ladder::Expected;
use crate::task::tools::offer::{Offer, describe};

/// What the model is told in every arm.
const RULES: &str = "You are the agent of a parcel desk. You do what you are asked by calling functions, one call at a time and \
    with exactly the values that were said or returned. A parcel is known by its latest id: relabelling gives it a new one and \
    voids the old. When book_slot fails with depot_full, call book_overflow for the same parcel and day with the permit that the \
    error names. When release_parcel fails with pin_expired, call renew_pin for the parcel and its slot, and then release_parcel \
    again with the new pin. When all is done, say Done.";
/// What it is told beside, in front of the functions, where these are described in the prompt.
const FORMAT: &str = "To call a function, answer with one JSON object and nothing else: {\"name\": function, \"arguments\": \
    {name: value}}. The functions:";
/// What the agent says at the end of a request.
pub(super) const DONE: &str = "Done.";
/// About what a template puts around a message: pieces are counted with it.
const TURN: &str = "\n\nturn:\n";

/// The beginning of the conversation.
pub(super) fn opening(offer: &Offer) -> Vec<Message> {
    if offer.arm != Arm::Prompted {
        return vec![Message::system(RULES)];
    }
    let functions: Vec<String> = offer.only_told().iter().map(describe).collect();
    vec![Message::system(format!("{RULES}\n\n{FORMAT}\n{}", functions.join("\n")))]
}

/// A call and its result.
pub(super) fn called(arm: Arm, call: &Expected, result: &Value) -> Vec<Message> {
    let (said, result_text) = text(call, result);
    if arm == Arm::Prompted {
        return vec![Message::new(Role::Assistant, said), Message::user(result_text)];
    }
    let id = call_id(call, result);
    let mut message = Message::new(Role::Assistant, "");
    message.tool_calls.push(ToolCall {
        id: Some(id.clone()),
        name: call.name.clone(),
        arguments: Value::Object(call.arguments.clone()).to_string(),
    });
    let mut returned = Message::new(Role::Tool, result.to_string());
    returned.tool_call_id = Some(id);
    vec![message, returned]
}

/// Nine letters and digits (the strictest template wants just that), the same for the same call and result.
fn call_id(call: &Expected, result: &Value) -> String {
    let text = format!("{} {} {result}", call.name, Value::Object(call.arguments.clone()));
    crate::record::short_hash(text.as_bytes()).chars().take(9).collect()
}

/// The end of a request.
pub(super) fn done() -> Message {
    Message::new(Role::Assistant, DONE)
}

/// A call and its result as text.
pub(super) fn text(call: &Expected, result: &Value) -> (String, String) {
    (prompted_text(std::slice::from_ref(call)), format!("Result: {result}"))
}

/// An exchange as text, with about what a template puts around its messages.
pub(super) fn turns(user: &str, done: impl Iterator<Item = (String, String)>) -> String {
    let calls: String = done.map(|(call, result)| format!("{TURN}{call}{TURN}{result}")).collect();
    format!("{TURN}{user}{calls}{TURN}{DONE}")
}
