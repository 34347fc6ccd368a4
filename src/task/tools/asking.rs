//! From a request of the data set to a case: what the model is told in each arm.

use serde_json::{Value, json};

use crate::error::{Error, Result};
use crate::record::{Arm, Case, Message, Prompt, Role, Tool, ToolChoice};
use crate::task::random::Random;
use crate::task::sizing::too_small;
use crate::task::{Params, Task, TaskOption, TokenCounter};

use super::data::Request;
use super::marking;

/// The arms of a task whose right replies always have a call.
pub(super) static ALL_ARMS: &[Arm] = &[Arm::Native, Arm::Prompted, Arm::Constrained];

/// Name of the option that [`output_tokens`] declares.
pub(super) const OUTPUT_TOKENS: &str = "output_tokens";

/// The option that says how many tokens a reply may have.
pub(super) const fn output_tokens(help: &'static str, default: u32) -> TaskOption {
    TaskOption { name: OUTPUT_TOKENS, help, default, min: 16, max: 65_536, difficulty: None }
}

/// How many calls a request may be after, as the model is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Manner {
    /// Exactly one.
    One,
    /// One for each thing that is asked for.
    Several,
    /// One, or none.
    Perhaps,
}

impl Manner {
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
            Self::Perhaps => {
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
            Self::Perhaps => {
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
            Self::Perhaps => &[
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
    manner: Manner,
    arm: Arm,
    tools: Vec<Tool>,
}

impl Offer {
    /// The tools in an order of the seed's; in the prompted arm after that of the examples.
    pub(super) fn new(manner: Manner, arm: Arm, mut tools: Vec<Tool>, mut random: Random) -> Self {
        random.shuffle(&mut tools);
        if arm == Arm::Prompted {
            tools.insert(0, example_tool());
        }
        Self { manner, arm, tools }
    }

    /// The conversation up to the first thing that the person says.
    pub(super) fn opening(&self) -> Vec<Message> {
        let instruction = self.manner.instruction();
        if self.arm != Arm::Prompted {
            return vec![Message::system(instruction)];
        }
        let functions: Vec<String> = self.tools.iter().map(describe).collect();
        let told = format!("{instruction} {}\n{}", self.manner.format(), functions.join("\n"));
        let mut messages = vec![Message::system(told)];
        for (request, answer) in self.manner.examples() {
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

    fn tool_choice(&self) -> Option<ToolChoice> {
        match self.arm {
            Arm::Native => Some(ToolChoice::Auto),
            Arm::Prompted => None,
            Arm::Constrained => Some(ToolChoice::Required),
        }
    }
}

/// A case that is being made.
pub(super) struct Item<'a> {
    pub(super) task: &'a dyn Task,
    pub(super) params: &'a Params,
    pub(super) index: u32,
    /// The request's name in the data set.
    pub(super) request: &'a str,
    pub(super) offer: Offer,
    pub(super) target: Value,
}

impl Item<'_> {
    /// A case of an opening and one thing that the person says.
    ///
    /// # Errors
    /// When it does not fit into the context, or cannot be counted.
    pub(super) fn case(self, user: &str, tokens: &dyn TokenCounter) -> Result<Case> {
        let mut messages = self.offer.opening();
        messages.push(Message::user(user));
        let prompt_tokens = tokens.count_chat(&messages, self.offer.field())?;
        self.sized(messages, prompt_tokens)
    }

    /// The case of a conversation that was counted.
    ///
    /// # Errors
    /// When it does not fit into the context.
    pub(super) fn sized(self, messages: Vec<Message>, prompt_tokens: u32) -> Result<Case> {
        let Self { task, params, index, request, offer, target } = self;
        let max_tokens = task.max_tokens(params);
        if prompt_tokens.saturating_add(max_tokens) > params.context {
            return Err(too_small(task.name(), params.context, max_tokens, prompt_tokens));
        }
        Ok(Case {
            id: String::new(),
            task: task.name().into(),
            task_version: task.version(),
            arm: Some(offer.arm),
            context: params.context,
            index,
            depth: None,
            cluster: format!("{}/{request}", task.name()),
            prompt: Prompt::Chat {
                messages,
                tool_choice: offer.tool_choice(),
                tools: offer.field().to_vec(),
                response_schema: None,
            },
            max_tokens,
            prompt_tokens,
            target,
        }
        .seal())
    }
}

/// The arm that a suite asks for.
///
/// # Errors
/// A usage error when the task has no such arm.
pub(super) fn arm(task: &dyn Task, params: &Params) -> Result<Arm> {
    params.arm.filter(|arm| task.arms().contains(arm)).ok_or_else(|| {
        let asked = params.arm.map_or("none", Arm::name);
        let all: Vec<String> = task.arms().iter().map(|arm| format!("\"{arm}\"")).collect();
        Error::usage(format!("{}: no such arm: {asked}", task.name()))
            .hint(format!("give the task `arms = [{}]` or some of them", all.join(", ")))
    })
}

/// Cases of one request each, as many as a suite asks for; `tools` are those that a request is offered.
///
/// # Errors
/// When there are not so many requests, the data set does not hold together, or a case does not fit into the context.
pub(super) fn single_requests(
    (task, params, seed): (&dyn Task, &Params, u64),
    tokens: &dyn TokenCounter,
    manner: Manner,
    requests: Vec<&Request>,
    tools: impl Fn(&Request, &mut Random) -> Vec<Tool>,
) -> Result<Vec<Case>> {
    let arm = arm(task, params)?;
    let case = |(index, request): (u32, &Request)| {
        let mut random = random_of(task, seed, index);
        let tools = tools(request, &mut random);
        let offer = Offer::new(manner, arm, tools, random);
        let target = marking::target(request, &offer)?;
        Item { task, params, index, request: &request.id, offer, target }.case(&request.user, tokens)
    };
    (0..).zip(drawn(task, params, seed, requests)?).map(case).collect()
}

/// As many of the items as a suite asks for, in an order of the seed's: the same in every arm and at every
/// context, as these are compared.
///
/// # Errors
/// A usage error when there are not so many.
pub(super) fn drawn<T>(task: &dyn Task, params: &Params, seed: u64, mut items: Vec<T>) -> Result<Vec<T>> {
    enough(task, params, items.len())?;
    Random::of_task(seed, task.name()).shuffle(&mut items);
    items.truncate(params.samples as usize);
    Ok(items)
}

/// # Errors
/// A usage error when a suite asks for more samples than there are.
pub(super) fn enough(task: &dyn Task, params: &Params, most: usize) -> Result<()> {
    if params.samples as usize <= most {
        return Ok(());
    }
    Err(Error::usage(format!("{}: {} samples of {most} requests", task.name(), params.samples))
        .hint(format!("set the task's `samples` to at most {most}")))
}

/// The randomness of one case: the same in every arm and at every context.
pub(super) fn random_of(task: &dyn Task, seed: u64, index: u32) -> Random {
    Random::of_case(seed, task.name(), 0, index)
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
fn describe(tool: &Tool) -> String {
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
        for (manner, calls) in [(Manner::One, 1), (Manner::Several, 2), (Manner::Perhaps, 1)] {
            let Extraction::Calls(read) = from_text(manner.examples()[0].1) else { panic!("{manner:?}") };
            assert_eq!(read.len(), calls);
            for call in read {
                assert_eq!(call.name, example_tool().name);
                assert_eq!(schema_fault(&example_tool().parameters, &call.arguments), None);
            }
            for (_, answer) in &manner.examples()[1..] {
                assert_eq!(from_text(answer), Extraction::NoCall);
            }
        }
    }
}
