//! What a message of a chat completion says and thinks, in the forms in which servers and logs write it.

use serde_json::Value;

/// Where the reasoning of a message stands, where the server told it apart: llama.cpp, SGLang, older vLLM and LM Studio
/// (`reasoning_content`), vLLM since 0.11.2 and Ollama (`reasoning`), Ollama's own interface (`thinking`).
const REASONING: [&str; 3] = ["reasoning_content", "reasoning", "thinking"];
/// Parts of a list that are reasoning, by their `type`: Mistral's, and what gateways make of others.
const THINKING_PARTS: [&str; 2] = ["thinking", "reasoning"];
/// How deep lists of parts are read.
const DEEPEST: usize = 4;

/// The text of a message or a delta without its reasoning.
pub fn content(message: &Value) -> String {
    match message.get("content") {
        Some(Value::Array(parts)) => {
            let said = parts.iter().filter(|part| !is_thinking(part));
            said.filter_map(|part| part.get("text")?.as_str()).collect()
        }
        Some(Value::String(text)) => text.clone(),
        _ => String::new(),
    }
}

/// The reasoning of a message or a delta, told apart by the server: in a field of its own (of several with a text the first), else
/// among the parts of its content.
pub fn reasoning(message: &Value) -> String {
    let fields = REASONING.iter().map(|name| text(message.get(name), DEEPEST));
    let parts = || match message.get("content") {
        Some(Value::Array(parts)) => parts.iter().filter(|part| is_thinking(part)).map(thought).collect(),
        _ => String::new(),
    };
    fields.into_iter().find(|text| !text.is_empty()).unwrap_or_else(parts)
}

fn is_thinking(part: &Value) -> bool {
    part.get("type").and_then(Value::as_str).is_some_and(|kind| THINKING_PARTS.contains(&kind))
}

/// The text of a part that is thinking: under the name of its type, or as `text`.
fn thought(part: &Value) -> String {
    let names = THINKING_PARTS.iter().chain(&["text"]);
    names.map(|name| text(part.get(name), DEEPEST)).find(|text| !text.is_empty()).unwrap_or_default()
}

/// Text given as a string, or as a list of parts with a `text` each.
fn text(value: Option<&Value>, deepest: usize) -> String {
    match value {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(parts)) if deepest > 0 => {
            parts.iter().map(|part| text(part.get("text"), deepest - 1)).collect()
        }
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn reasoning_is_found_wherever_servers_put_it() {
        for (message, thought, said) in [
            (json!({ "content": "7", "reasoning_content": "6?" }), "6?", "7"),
            (json!({ "content": "7", "reasoning": "6?" }), "6?", "7"),
            (json!({ "content": "7", "thinking": "6?" }), "6?", "7"),
            (
                json!({ "content": "7", "reasoning": "", "reasoning_content": null, "thinking": "6?" }),
                "6?",
                "7",
            ),
            (json!({ "content": "7", "reasoning_content": "6?", "reasoning": "6?" }), "6?", "7"),
            // Mistral's parts.
            (
                json!({ "content": [
                    { "type": "thinking", "thinking": [{ "type": "text", "text": "6" }, { "type": "text", "text": "?" }] },
                    { "type": "text", "text": "7" },
                ] }),
                "6?",
                "7",
            ),
            (json!({ "content": [{ "type": "reasoning", "text": "6?" }, { "text": "7" }] }), "6?", "7"),
            (json!({ "content": null, "reasoning": { "effort": "high" } }), "", ""),
            (json!({ "content": 7 }), "", ""),
            (json!("7"), "", ""),
        ] {
            assert_eq!(
                (reasoning(&message).as_str(), content(&message).as_str()),
                (thought, said),
                "{message}"
            );
        }
    }

    #[test]
    fn lists_in_lists_end() {
        let mut deep = json!("6?");
        for _ in 0..100 {
            deep = json!([{ "text": deep }]);
        }
        assert_eq!(reasoning(&json!({ "reasoning": deep })), "");
    }
}
