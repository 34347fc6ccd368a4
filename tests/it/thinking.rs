//! Models that think, in every form in which servers hand it on: an answer that is only thought of is none, and what was thought is
//! counted apart.

use std::sync::Mutex;

use serde_json::{Value, json};

use crate::common::scripted::{Answer, Request, Scripted, chunk, models, reply};
use crate::real_servers::run;
use crate::score::{RULER, score_files};

/// A form: pieces of reasoning fields and of the text, with `V` for the value; and whether the answer has it.
struct Form {
    field: Option<(&'static str, &'static str)>,
    text: &'static str,
    right: bool,
    /// Characters that are thinking, where there is a value in front of the answer of as many as it has (7).
    thought: usize,
}

const fn text(text: &'static str, right: bool, thought: usize) -> Form {
    Form { field: None, text, right, thought }
}

const FORMS: [Form; 10] = [
    Form {
        field: Some(("reasoning_content", "It is V.")),
        text: "I do not know.",
        right: false,
        thought: 14,
    },
    Form { field: Some(("reasoning", "Is it so?")), text: "It is V.", right: true, thought: 9 },
    Form { field: Some(("reasoning", "It is V.")), text: "", right: false, thought: 14 },
    text("<think>It is V.</think>I do not know.", false, 29),
    text("It is V.</think>I do not know.", false, 22),
    text("<think>It is V", false, 20),
    text("<think>Is it so?</think>It is V.", true, 24),
    text(
        "<|channel|>analysis<|message|>It is V.<|end|><|start|>assistant<|channel|>final<|message|>I do not know.",
        false,
        96,
    ),
    text(
        "<|channel|>analysis<|message|>So?<|end|><|start|>assistant<|channel|>final<|message|>It is V.",
        true,
        85,
    ),
    text("analysisIt is V.assistantfinalI do not know.", false, 36),
];

/// A character an event, and a count at the end.
fn spoken(request: &Request, form: &Form, value: &str) -> Answer {
    let mut events = Vec::new();
    if let Some((name, thought)) = form.field {
        let thought = thought.replace('V', value);
        events.extend(thought.chars().map(|c| chunk(&json!({ name: c.to_string() }), None)));
    }
    let text = form.text.replace('V', value);
    events.extend(text.chars().map(|c| chunk(&json!({ "content": c.to_string() }), None)));
    let tokens = events.len() as u64;
    events.push(chunk(&json!({}), Some("stop")));
    events.push(json!({ "choices": [], "usage": request.usage(tokens) }));
    Answer::at_once(events)
}

fn needle(asked: &str) -> Option<&str> {
    let key = asked.rsplit_once("What is the secret number for ")?.1.split('?').next()?;
    let value = asked.split_once(&format!("The secret number for {key} is "))?.1;
    value.split('.').next()
}

#[test]
fn an_answer_that_is_only_thought_of_is_none_in_whatever_form_and_is_counted_apart() {
    let seen: Mutex<Vec<String>> = Mutex::default();
    let server = Scripted::start(move |request: &Request| {
        if !request.is_chat() {
            return if request.path == "/v1/models" { models(&["m"]) } else { Answer::not_found() };
        }
        let asked = request.asks();
        // What is not streamed counts the tokens of a prompt that is being made.
        let Some(value) = needle(asked).filter(|_| request.body["stream"] == true) else {
            return reply(request, json!({ "role": "assistant", "content": "Hello" }), "stop", 1);
        };
        let mut seen = seen.lock().unwrap();
        let case = seen.iter().position(|known| known == asked).unwrap_or_else(|| {
            seen.push(asked.to_owned());
            seen.len() - 1
        });
        spoken(request, &FORMS[case], value)
    });
    let task = format!(
        "[[task]]\nname = \"retrieval/niah_multikey_2\"\nsamples = {}\noptions.thinking_tokens = 200\n",
        FORMS.len()
    );
    let ran = run("openai", &server, &task, &[]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let trials = ran.trials();
    assert_eq!(trials.len(), 2 * FORMS.len());
    for (trial, form) in trials.iter().zip(FORMS.iter().chain(&FORMS)) {
        let quality = &trial["outcome"]["scored"]["quality"];
        let right = if form.right { 1.0 } else { 0.0 };
        assert_eq!(quality.as_f64(), Some(right), "{}: {}", form.text, trial["outcome"]);
        let measured = trial["measurements"].as_array().unwrap();
        let thought = measured.iter().find(|measured| measured["n"] == "thinking_tokens");
        let thought = thought.unwrap_or_else(|| panic!("{} has no count", form.text));
        assert_eq!(
            (&thought["v"], &thought["s"]),
            (&json!(form.thought as f64), &json!("client")),
            "{}",
            form.text
        );
    }
    let row: &Value = &ran.summary["thinking"][0];
    assert_eq!(row["tokens"]["n"], 10, "{row}");
    assert!(ran.report.contains("## Thinking"), "{}", ran.report);
}

/// Told apart by the server, in whatever field or part.
#[test]
fn a_needle_that_stands_in_a_field_for_thinking_is_no_answer() {
    for (reply, quality) in [
        (json!({ "case": 0, "content": "I do not know.", "reasoning_content": "It is 1234567." }), 0.0),
        (json!({ "case": 0, "content": null, "reasoning": "It is 1234567." }), 0.0),
        (json!({ "case": 0, "content": "", "thinking": "It is 1234567." }), 0.0),
        (
            json!({ "case": 0, "content": [
                { "type": "thinking", "thinking": [{ "type": "text", "text": "It is 1234567." }] },
                { "type": "text", "text": "I do not know." },
            ] }),
            0.0,
        ),
        (
            json!({ "case": 0, "content": [
                { "type": "thinking", "thinking": "Is it?" },
                { "type": "text", "text": "It is 1234567." },
            ] }),
            1.0,
        ),
        (json!({ "case": 0, "content": "It is 1234567.", "reasoning_content": "Is it?" }), 1.0),
    ] {
        let (code, lines, said) = score_files(RULER.lines().next().unwrap(), &reply.to_string(), &[]);
        let found = lines[0]["outcome"]["scored"]["quality"].as_f64();
        assert_eq!((code, found), (Some(0), Some(quality)), "{reply}: {said}");
    }
}
