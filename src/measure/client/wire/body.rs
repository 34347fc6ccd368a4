//! Parts of request bodies that servers share.

use serde_json::{Map, Value, json};

use super::conversation::Conversation;
use crate::record::{ANY_OBJECT, Message, Tool, ToolCall, prefill};

/// Returns one JSON object with the keys of both; those of `more` come last, and win.
pub(crate) fn merged(mut body: Value, more: Value) -> Value {
    if let (Value::Object(body), Value::Object(more)) = (&mut body, more) {
        body.extend(more);
    }
    body
}

/// What is asked, in the words that all servers share: messages, tools, the choice among them, the reply's schema.
pub(crate) fn said(conversation: &Conversation<'_>) -> Value {
    let Conversation { messages, tools, tool_choice, response_schema, .. } = *conversation;
    let mut body = template_body(messages, tools);
    if let Some(choice) = tool_choice.filter(|_| !tools.is_empty()) {
        body["tool_choice"] = json!(choice);
    }
    match response_schema {
        Some(any) if *any == ANY_OBJECT => body["response_format"] = json!({ "type": "json_object" }),
        Some(schema) => {
            let named = json!({ "name": "reply", "strict": true, "schema": schema });
            body["response_format"] = json!({ "type": "json_schema", "json_schema": named });
        }
        None => {}
    }
    body
}

/// Makes every reply as long as its budget: tokens that end it are never chosen. llama.cpp, vLLM and SGLang know the
/// key; elsewhere replies may be shorter.
pub(in crate::measure::client) fn ignore_end(body: &mut Value) {
    body["ignore_eos"] = true.into();
}

/// The same request for a reply in one piece.
pub(in crate::measure::client) fn in_one_piece(mut body: Value) -> Value {
    if let Value::Object(body) = &mut body {
        body.insert("stream".into(), false.into());
        body.shift_remove("stream_options");
    }
    body
}

/// The body of a request for the rendered prompt: messages, and tools when there are any.
///
/// llama-server goes on with a last message of the assistant, here and in a chat completion alike
/// (`--prefill-assistant`, on by default). It refuses to where the template may open a reasoning part, so that
/// is turned off: a reply that began already has nothing to think about. Other templates ignore the key.
pub fn template_body(messages: &[Message], tools: &[Tool]) -> Value {
    let mut body = Map::new();
    body.insert("messages".into(), messages.iter().map(message).collect());
    if prefill(messages).is_some() {
        body.insert("chat_template_kwargs".into(), json!({ "enable_thinking": false }));
    }
    if !tools.is_empty() {
        body.insert("tools".into(), tools.iter().map(tool).collect());
        // Builds of llama.cpp differ in their default; elsewhere it is yes.
        body.insert("parallel_tool_calls".into(), json!(true));
    }
    Value::Object(body)
}

fn message(message: &Message) -> Value {
    let mut value = json!({ "role": message.role, "content": message.content });
    if !message.tool_calls.is_empty() {
        value["tool_calls"] = message.tool_calls.iter().map(tool_call).collect();
    }
    if let Some(id) = &message.tool_call_id {
        value["tool_call_id"] = json!(id);
    }
    value
}

fn tool_call(call: &ToolCall) -> Value {
    let mut value = json!({
        "type": "function",
        "function": { "name": call.name, "arguments": call.arguments },
    });
    if let Some(id) = &call.id {
        value["id"] = json!(id);
    }
    value
}

fn tool(tool: &Tool) -> Value {
    json!({
        "type": "function",
        "function": {
            "name": tool.name,
            "description": tool.description,
            "parameters": tool.parameters,
        },
    })
}
