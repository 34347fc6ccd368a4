//! How much of a reply is thinking, in tokens.

use serde_json::Value;

use crate::record::{Reply, thinking};

/// Bytes of a reply, in the order in which they came, up to the end of its thinking; `None` where it did not think.
pub(super) fn until(reply: &Reply) -> Option<usize> {
    let parted = thinking::part(&reply.content);
    if reply.reasoning.is_empty() && parted.thinking.is_empty() {
        return None;
    }
    if parted.thinking.is_empty() {
        return Some(reply.reasoning.len());
    }
    let answer = parted.answer.trim();
    let inline = if answer.is_empty() { None } else { reply.content.rfind(answer) };
    Some(reply.reasoning.len() + inline.unwrap_or(reply.content.len()))
}

/// What the engine counts of thinking, OpenAI's and SGLang's way; servers that do not part it say 0 whatever comes.
pub(super) fn counted(value: &Value) -> Option<u64> {
    let number = |path: &str| value.pointer(path).and_then(Value::as_u64).filter(|tokens| *tokens > 0);
    number("/usage/completion_tokens_details/reasoning_tokens").or_else(|| number("/usage/reasoning_tokens"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::{Decoded, from_events, from_whole};
    use super::*;
    use crate::measure::client::sse::{Bounds, decode};
    use crate::record::Source;
    use crate::record::thinking::part;

    fn streamed(events: &[Value]) -> Decoded {
        let lines: String = events.iter().map(|event| format!("data: {event}\n\n")).collect();
        let bounds = Bounds { line: 1 << 20, event: 1 << 20 };
        from_events(&decode(format!("{lines}data: [DONE]\n\n").as_bytes(), bounds).unwrap()).unwrap()
    }

    /// Forms in which models think and say `It is 7.`, and how much of the text is thinking (characters).
    const FORMS: [(&str, usize); 9] = [
        ("<think>\nIs it 6?\n</think>\n\nIt is 7.", 27),
        // The template opened it.
        ("Is it 6?\n</think>\n\nIt is 7.", 19),
        ("[THINK]Is it 6?[/THINK]It is 7.", 23),
        ("<seed:think>Is it 6?</seed:think>It is 7.", 33),
        ("◁think▷Is it 6?◁/think▷It is 7.", 23),
        (
            "<|channel|>analysis<|message|>Is it 6?<|end|><|start|>assistant<|channel|>final<|message|>It is 7.",
            90,
        ),
        (
            "<|channel|>analysis<|message|>Is it 6?<|end|><|start|>assistant<|channel|>final<|message|>It is 7.<|return|>",
            90,
        ),
        ("analysisIs it 6?assistantfinalIt is 7.", 30),
        ("Here is my thought process: Is it 6? Here is my response: It is 7.", 58),
    ];

    /// A text as a stream of events of so many characters each, with its tokens counted at the end; a character is a token.
    fn in_pieces(text: &str, size: usize) -> Decoded {
        let characters: Vec<char> = text.chars().collect();
        let mut events: Vec<Value> = characters
            .chunks(size)
            .map(|piece| {
                let text: String = piece.iter().collect();
                json!({ "choices": [{ "index": 0, "delta": { "content": text } }] })
            })
            .collect();
        let usage = json!({ "prompt_tokens": 3, "completion_tokens": characters.len() });
        events.push(json!({ "choices": [{ "index": 0, "delta": {}, "finish_reason": "stop" }] }));
        events.push(json!({ "choices": [], "usage": usage }));
        streamed(&events)
    }

    #[test]
    fn thinking_in_the_text_is_parted_wherever_a_stream_is_cut() {
        for (text, thought) in FORMS {
            for size in [1, 2, 3, 5, 8, 1000] {
                let decoded = in_pieces(text, size);
                assert_eq!(decoded.reply.content, text);
                assert_eq!(decoded.reply.answer().trim(), "It is 7.", "{text} by {size}");
                let parted = part(&decoded.reply.content);
                assert!(
                    parted.thinking.contains("Is it 6?") && !parted.rest.contains("6?"),
                    "{text} by {size}"
                );
                let counted = (size == 1).then_some((thought as u64, Source::Client));
                assert_eq!(decoded.thinking, counted, "{text} by {size}");
            }
            let message = json!({ "role": "assistant", "content": text });
            let whole = json!({ "choices": [{ "message": message, "finish_reason": "stop" }] });
            let whole = from_whole(whole.to_string().as_bytes()).unwrap();
            assert_eq!(whole.reply.answer().trim(), "It is 7.", "{text} in one piece");
            assert_eq!(whole.thinking, None, "nobody counted");
        }
    }

    #[test]
    fn thinking_that_never_ends_is_no_answer_wherever_a_stream_is_cut() {
        for text in [
            "<think>\nIt is 7.",
            "[THINK]It is 7.",
            "<|channel|>analysis<|message|>It is 7.",
            "analysisIt is 7.",
            "Here is my thought process: It is 7.",
        ] {
            for size in [1, 4, 1000] {
                let decoded = in_pieces(text, size);
                assert_eq!(decoded.reply.answer().trim(), "", "{text} by {size}");
                let all = text.chars().count() as u64;
                assert_eq!(
                    decoded.thinking,
                    (size == 1).then_some((all, Source::Client)),
                    "{text} by {size}"
                );
            }
        }
        let plain = in_pieces("It is 7.", 1);
        assert_eq!((plain.reply.answer().as_ref(), plain.thinking), ("It is 7.", None), "it did not think");
    }

    #[test]
    fn thinking_in_fields_is_counted_up_to_the_answer_or_by_the_engine() {
        let event = |delta: Value, tokens: Option<u64>| {
            let usage = tokens.map(|tokens| json!({ "prompt_tokens": 3, "completion_tokens": tokens }));
            json!({ "choices": [{ "index": 0, "delta": delta }], "usage": usage })
        };
        let end = |usage: Value| json!({ "choices": [], "usage": usage });
        for name in ["reasoning", "reasoning_content", "thinking"] {
            let thought = |text: &str, tokens| event(json!({ name: text }), tokens);
            let said = |text: &str, tokens| event(json!({ "content": text }), tokens);
            // Speculation puts several tokens into one event.
            let counted = [
                thought("Is ", Some(1)),
                thought("it 6?", Some(4)),
                said("It is", Some(6)),
                said(" 7.", Some(8)),
            ];
            let decoded = streamed(&counted);
            assert_eq!(
                (decoded.reply.reasoning.as_str(), decoded.reply.content.as_str()),
                ("Is it 6?", "It is 7.")
            );
            assert_eq!(decoded.thinking, Some((4, Source::Client)), "{name}");
            for usage in [
                json!({ "completion_tokens": 9, "completion_tokens_details": { "reasoning_tokens": 5 } }),
                json!({ "completion_tokens": 9, "reasoning_tokens": 5 }),
            ] {
                let events = [thought("Is it 6?", None), said("It is 7.", None), end(usage)];
                assert_eq!(streamed(&events).thinking, Some((5, Source::Engine)), "{name}");
            }
            let silent = [
                thought("Is it 6?", None),
                said("It is 7.", None),
                end(json!({ "completion_tokens": 9, "reasoning_tokens": 0 })),
            ];
            assert_eq!(
                streamed(&silent).thinking,
                None,
                "two events of nine tokens, and an engine that counts none"
            );
        }
        let parts = json!([{ "type": "thinking", "thinking": [{ "type": "text", "text": "Is it 6?" }] }]);
        let decoded = streamed(&[
            event(json!({ "content": parts }), Some(4)),
            event(json!({ "content": "It is 7." }), Some(8)),
        ]);
        assert_eq!(
            (decoded.reply.reasoning.as_str(), decoded.reply.content.as_str()),
            ("Is it 6?", "It is 7.")
        );
        assert_eq!(decoded.thinking, Some((4, Source::Client)));
    }
}
