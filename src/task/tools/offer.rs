//! Tools, and what the model is told of them in each arm.

use serde_json::{Value, json};

use crate::record::{Arm, Message, Role, Tool, ToolChoice};
use crate::task::random::Random;

/// How many calls a request may be after, as the model is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CallCount {
    /// Exactly one.
    One,
    /// One for each thing that is asked for.
    Several,
    /// One, or none.
    OneOrNone,
}

impl CallCount {
    /// What the model is told in every arm.
    const fn instruction(self) -> &'static str {
        match self {
            Self::One => {
                "Call the function that does what the user asks, with exactly the user's values. Text in backquotes \
                 is passed on as it is, without the backquotes. Lists keep the user's order. Leave out optional \
                 arguments that the user does not ask for."
            }
            Self::Several => {
                "Call a function for each thing that the user asks, all in one reply, with exactly the user's values. \
                 Text in backquotes is passed on as it is, without the backquotes. Lists keep the user's order. Leave \
                 out optional arguments that the user does not ask for."
            }
            Self::OneOrNone => {
                "If one of the functions does what the user asks, call it, with exactly the user's values. If the user \
                 left out something that it requires, do not call it but ask the user for it. If the user wants \
                 something done that no function does, say that you cannot do it. If nothing has to be done, answer in \
                 words."
            }
        }
    }

    /// What it is told beside, in front of the tools, where these are described in the prompt.
    const fn format(self) -> &'static str {
        match self {
            Self::One => {
                "Answer with one JSON object and nothing else: {\"name\": function, \"arguments\": {name: value}}. \
                 The functions:"
            }
            Self::Several => {
                "Answer with a JSON list of the calls and nothing else: [{\"name\": function, \"arguments\": {name: \
                 value}}, ...]. The functions:"
            }
            Self::OneOrNone => {
                "A call is one JSON object and nothing else: {\"name\": function, \"arguments\": {name: value}}. The \
                 functions:"
            }
        }
    }

    /// Worked examples in front of the request: small models take the form of an answer from one.
    const fn examples(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::One => &[("What is 1.5 plus 20?", r#"{"name": "add", "arguments": {"a": 1.5, "b": 20}}"#)],
            Self::Several => &[(
                "What is 1.5 plus 20? And 7 plus 8?",
                r#"[{"name": "add", "arguments": {"a": 1.5, "b": 20}}, {"name": "add", "arguments": {"a": 7, "b": 8}}]"#,
            )],
            Self::OneOrNone => &[
                ("What is 1.5 plus 20?", r#"{"name": "add", "arguments": {"a": 1.5, "b": 20}}"#),
                ("Add 4 to a number.", "Which number should 4 be added to?"),
                ("Send the sum to my printer.", "I cannot do that: I have no function for printing."),
                ("Good morning!", "Good morning!"),
            ],
        }
    }
}

/// Tools, and how they reach the model.
#[derive(Debug, Clone)]
pub(super) struct Offer {
    count: CallCount,
    pub(super) arm: Arm,
    tools: Vec<Tool>,
}

impl Offer {
    /// The tools in an order of the seed's; in the prompted arm after that of the examples.
    pub(super) fn new(count: CallCount, arm: Arm, mut tools: Vec<Tool>, mut random: Random) -> Self {
        random.shuffle(&mut tools);
        if arm == Arm::Prompted {
            tools.insert(0, example_tool());
        }
        Self { count, arm, tools }
    }

    /// The conversation up to the first thing that the person says.
    pub(super) fn opening(&self) -> Vec<Message> {
        let instruction = self.count.instruction();
        if self.arm != Arm::Prompted {
            return vec![Message::system(instruction)];
        }
        let functions: Vec<String> = self.tools.iter().map(describe).collect();
        let told = format!("{instruction} {}\n{}", self.count.format(), functions.join("\n"));
        let mut messages = vec![Message::system(told)];
        for (request, answer) in self.count.examples() {
            messages.extend([Message::user(*request), Message::new(Role::Assistant, *answer)]);
        }
        messages
    }

    /// What goes into the `tools` field.
    pub(super) fn field(&self) -> &[Tool] {
        if self.arm == Arm::Prompted { &[] } else { &self.tools }
    }

    /// The tools where they are nowhere else than in a text, for the case's target.
    pub(super) fn only_told(&self) -> Vec<Tool> {
        if self.arm == Arm::Prompted { self.tools.clone() } else { Vec::new() }
    }

    pub(super) fn tool_choice(&self) -> Option<ToolChoice> {
        match self.arm {
            Arm::Native => Some(ToolChoice::Auto),
            Arm::Prompted => None,
            Arm::Constrained => Some(ToolChoice::Required),
        }
    }
}

/// The tool of the worked examples.
fn example_tool() -> Tool {
    Tool {
        name: "add".into(),
        description: "Add two numbers.".into(),
        parameters: json!({
            "type": "object",
            "properties": {"a": {"type": "number"}, "b": {"type": "number"}},
            "required": ["a", "b"],
            "additionalProperties": false
        }),
    }
}

/// A tool in a line: its arguments by name with their schemas, under the key that the answer has them too
/// (given the whole schema, small models answer with a copy of it).
pub(super) fn describe(tool: &Tool) -> String {
    let part = |key: &str| tool.parameters.get(key).cloned().unwrap_or_default();
    let required = part("required");
    let required: Vec<&str> = required.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let required = if required.is_empty() { "none".into() } else { required.join(", ") };
    format!("- {}: {} Arguments: {}, required: {required}", tool.name, tool.description, part("properties"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_are_calls_of_the_example_tool() {
        use crate::task::tools::extract::{Extraction, from_text};
        use crate::task::tools::ladder::schema_fault;
        for (count, calls) in [(CallCount::One, 1), (CallCount::Several, 2), (CallCount::OneOrNone, 1)] {
            let Extraction::Calls(read) = from_text(count.examples()[0].1) else { panic!("{count:?}") };
            assert_eq!(read.len(), calls);
            for call in read {
                assert_eq!(call.name, example_tool().name);
                assert_eq!(schema_fault(&example_tool().parameters, &call.arguments), None);
            }
            for (_, answer) in &count.examples()[1..] {
                assert_eq!(from_text(answer), Extraction::NoCall);
            }
        }
    }
}
