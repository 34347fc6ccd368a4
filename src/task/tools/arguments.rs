//! Exact arguments: one request, one right call, in values that low-bit weights and caches corrupt first
//! (escapes, unicode, paths, long numbers, nested lists, listed values, options that must stay out).

use std::sync::LazyLock;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::error::{Error, Result};
use crate::task::random::Random;
use crate::task::sizing::too_small;
use crate::task::{Params, Task, TaskOption, TokenCounter, Weight};
use crate::trial::{
    Arm, Case, FinishReason, Message, Outcome, Prompt, Reply, Role, Score, Tool, ToolCall, ToolChoice,
};

use super::extract::{Extraction, from_server, from_text};
use super::ladder::{Expected, Fault, Rungs, judge};

static DATA: LazyLock<std::result::Result<Data, String>> = LazyLock::new(|| {
    serde_json::from_str(include_str!("../../../datasets/tools/arguments.json"))
        .map_err(|error| error.to_string())
});

static OPTIONS: &[TaskOption] = &[TaskOption {
    name: "output_tokens",
    help: "output budget in tokens (the longest right call has some 80, more when it is indented)",
    default: 128,
    min: 16,
    max: 65_536,
    difficulty: None,
}];

/// What the model is told in every arm.
const INSTRUCTION: &str = "Call the function that does what the user asks, with exactly the user's values. Text in \
    backquotes is passed on as it is, without the backquotes. Leave out optional arguments that the user does not \
    ask for.";
/// What it is told beside, in front of the tools, where these are described in the prompt.
const FORMAT: &str = "Answer with one JSON object and nothing else: {\"name\": function, \"arguments\": {name: value}}. \
    The functions:";
/// A worked example in front of the request: small models take the form of an answer from one.
const EXAMPLE_REQUEST: &str = "What is 1.5 plus 20?";
const EXAMPLE_ANSWER: &str = r#"{"name": "add", "arguments": {"a": 1.5, "b": 20}}"#;

/// The task `tools/arguments`.
#[derive(Debug)]
pub struct Arguments;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Data {
    tools: Vec<Tool>,
    cases: Vec<Request>,
}

/// One entry of the data set.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Request {
    id: String,
    tags: Vec<String>,
    tools: Vec<String>,
    user: String,
    expected: Bare,
    variants: Vec<serde_json::Map<String, Value>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Bare {
    name: String,
    arguments: serde_json::Map<String, Value>,
}

/// What a right answer is: the target of a case.
#[derive(Debug, Serialize, Deserialize)]
struct Target {
    /// The request's name in the data set.
    request: String,
    /// What it is hard about.
    tags: Vec<String>,
    /// The right call.
    expected: Expected,
    /// The tools that were offered; in the prompted arm they are nowhere else.
    offered: Vec<Tool>,
}

impl Task for Arguments {
    fn name(&self) -> &'static str {
        "tools/arguments"
    }

    fn summary(&self) -> &'static str {
        "tool calls keep exact arguments: escapes, unicode, paths, long numbers, nesting, absent options"
    }

    fn version(&self) -> u32 {
        1
    }

    fn weight(&self) -> Weight {
        Weight::Primary
    }

    fn arms(&self) -> &'static [Arm] {
        &[Arm::Native, Arm::Prompted]
    }

    fn options(&self) -> &'static [TaskOption] {
        OPTIONS
    }

    fn max_tokens(&self, params: &Params) -> u32 {
        params.option(self, "output_tokens")
    }

    fn cases(&self, params: &Params, seed: u64, tokens: &dyn TokenCounter) -> Result<Vec<Case>> {
        let data = data()?;
        let arm = self.arm(params)?;
        if params.samples as usize > data.cases.len() {
            return Err(self.too_many(params.samples, data.cases.len()));
        }
        let mut order: Vec<&Request> = data.cases.iter().collect();
        Random::of_task(seed, self.name()).shuffle(&mut order);
        (0..params.samples)
            .zip(order)
            .map(|(index, request)| {
                // The same in every arm and at every context: they are compared.
                let random = Random::of_case(seed, self.name(), 0, index);
                let offered = offered(data, arm, request, random);
                self.case(params, arm, index, request, offered, tokens)
            })
            .collect()
    }

    fn score(&self, case: &Case, reply: &Reply) -> Outcome {
        match serde_json::from_value::<Target>(case.target.clone()) {
            Ok(target) => Outcome::Scored(score(case.arm, &target, reply)),
            Err(error) => {
                Outcome::Unscored { reason: format!("the case has no target of this task: {error}") }
            }
        }
    }

    fn perfect(&self, case: &Case) -> Option<Reply> {
        let target: Target = serde_json::from_value(case.target.clone()).ok()?;
        let arguments = Value::Object(target.expected.arguments).to_string();
        let name = target.expected.name;
        Some(match case.arm {
            Some(Arm::Prompted) => Reply {
                content: format!("{{\"name\": {}, \"arguments\": {arguments}}}", Value::String(name)),
                finish_reason: Some(FinishReason::Stop),
                ..Reply::default()
            },
            _ => Reply {
                tool_calls: vec![ToolCall { id: None, name, arguments }],
                finish_reason: Some(FinishReason::ToolCalls),
                ..Reply::default()
            },
        })
    }
}

impl Arguments {
    fn arm(&self, params: &Params) -> Result<Arm> {
        params.arm.filter(|arm| self.arms().contains(arm)).ok_or_else(|| {
            let asked = params.arm.map_or("none", Arm::name);
            Error::usage(format!("{}: no such arm: {asked}", self.name()))
                .hint("give the task `arms = [\"native\", \"prompted\"]` or one of them")
        })
    }

    fn too_many(&self, samples: u32, cases: usize) -> Error {
        Error::usage(format!("{}: {samples} samples of {cases} requests", self.name()))
            .hint(format!("set the task's `samples` to at most {cases}"))
    }

    fn case(
        &self,
        params: &Params,
        arm: Arm,
        index: u32,
        request: &Request,
        offered: Vec<Tool>,
        tokens: &dyn TokenCounter,
    ) -> Result<Case> {
        let max_tokens = self.max_tokens(params);
        let (messages, tools) = render(arm, request, &offered);
        let prompt_tokens = tokens.count_chat(&messages, &tools)?;
        if prompt_tokens.saturating_add(max_tokens) > params.context {
            return Err(too_small(self.name(), params.context, max_tokens, prompt_tokens));
        }
        Ok(Case {
            id: String::new(),
            task: self.name().into(),
            task_version: self.version(),
            arm: Some(arm),
            context: params.context,
            index,
            depth: None,
            cluster: format!("{}/{}", self.name(), request.id),
            prompt: Prompt::Chat {
                messages,
                tool_choice: (!tools.is_empty()).then_some(ToolChoice::Auto),
                tools,
                response_schema: None,
            },
            max_tokens,
            prompt_tokens,
            target: Target::new(request, offered).to_json()?,
        }
        .seal())
    }
}

impl Target {
    fn new(request: &Request, offered: Vec<Tool>) -> Self {
        Self {
            request: request.id.clone(),
            tags: request.tags.clone(),
            expected: Expected {
                name: request.expected.name.clone(),
                arguments: request.expected.arguments.clone(),
                variants: request.variants.clone(),
            },
            offered,
        }
    }

    fn to_json(&self) -> Result<Value> {
        serde_json::to_value(self)
            .map_err(|error| Error::runtime("a case cannot be written as JSON").with_source(error))
    }
}

fn data() -> Result<&'static Data> {
    DATA.as_ref()
        .map_err(|error| Error::runtime(format!("datasets/tools/arguments.json cannot be read: {error}")))
}

/// The tools of a request, in an order of the seed's; in the prompted arm after that of the example.
fn offered(data: &Data, arm: Arm, request: &Request, mut random: Random) -> Vec<Tool> {
    let named = |tool: &&Tool| request.tools.contains(&tool.name);
    let mut offered: Vec<Tool> = data.tools.iter().filter(named).cloned().collect();
    random.shuffle(&mut offered);
    if arm == Arm::Prompted {
        offered.insert(0, example_tool());
    }
    offered
}

/// The messages and the `tools` field of an arm.
fn render(arm: Arm, request: &Request, offered: &[Tool]) -> (Vec<Message>, Vec<Tool>) {
    let user = Message::user(request.user.clone());
    if arm != Arm::Prompted {
        return (vec![Message::system(INSTRUCTION), user], offered.to_vec());
    }
    let functions: Vec<String> = offered.iter().map(describe).collect();
    let messages = vec![
        Message::system(format!("{INSTRUCTION} {FORMAT}\n{}", functions.join("\n"))),
        Message::user(EXAMPLE_REQUEST),
        Message::new(Role::Assistant, EXAMPLE_ANSWER),
        user,
    ];
    (messages, Vec::new())
}

/// The tool of the worked example.
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
    format!(
        "- {}: {} Arguments: {}, required: {}",
        tool.name,
        tool.description,
        part("properties"),
        required.join(", ")
    )
}

fn score(arm: Option<Arm>, target: &Target, reply: &Reply) -> Score {
    let (parsed, rungs) = climb(arm, target, reply);
    let bit = |reached: bool| f64::from(u8::from(reached));
    let score = Score::of(bit(rungs.fault.is_none()))
        .with("parsed", bit(parsed))
        .with("known_tool", bit(rungs.known_tool))
        .with("schema_valid", bit(rungs.schema_valid))
        .with("right_tool", bit(rungs.right_tool))
        .with("fields", rungs.fields);
    match rungs.fault {
        Some(fault) => score.labelled(fault.name()),
        None => score,
    }
}

/// Whether there is a call, and how far it comes.
fn climb(arm: Option<Arm>, target: &Target, reply: &Reply) -> (bool, Rungs) {
    let stopped = |fault| {
        let rungs = Rungs { fault: Some(fault), ..Rungs::default() };
        (false, rungs)
    };
    let ran_out = reply.finish_reason == Some(FinishReason::Length);
    match extract(arm, reply) {
        Extraction::NoCall | Extraction::BadJson if ran_out => stopped(Fault::Truncated),
        Extraction::NoCall if leaked(arm, target, reply) => stopped(Fault::LeakedToContent),
        Extraction::NoCall => stopped(Fault::NoCall),
        Extraction::BadJson => stopped(Fault::BadJson),
        Extraction::Calls(calls) => {
            let mut rungs = judge(&calls[0], &target.expected, &target.offered);
            if calls.len() > 1 {
                rungs.fault = rungs.fault.or(Some(Fault::ExtraCall));
            }
            (true, rungs)
        }
    }
}

/// The calls that count: the server's where it has some, and in the prompted arm those in the text.
fn extract(arm: Option<Arm>, reply: &Reply) -> Extraction {
    match from_server(&reply.tool_calls) {
        Extraction::NoCall if arm == Some(Arm::Prompted) => from_text(&reply.content),
        extraction => extraction,
    }
}

/// Whether a call of an offered tool is in the text although the server should have parsed it.
fn leaked(arm: Option<Arm>, target: &Target, reply: &Reply) -> bool {
    let Extraction::Calls(calls) = from_text(&reply.content) else {
        return false;
    };
    let offered = |name: &str| target.offered.iter().any(|tool| tool.name == name);
    arm != Some(Arm::Prompted) && calls.iter().any(|call| offered(&call.name))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::task::conformance::{WordCounter, params};
    use crate::task::tools::ladder::{same_json, schema_fault};

    fn cases(arm: Arm, samples: u32) -> Vec<Case> {
        let params = params(8192, samples, Some(arm));
        Arguments.cases(&params, 7, &WordCounter::default()).unwrap()
    }

    fn case_of(arm: Arm, request: &str) -> Case {
        let all = cases(arm, data().unwrap().cases.len() as u32);
        all.into_iter().find(|case| case.target["request"] == request).unwrap()
    }

    fn judged(case: &Case, reply: &Reply) -> (f64, Option<String>) {
        let outcome = Arguments.score(case, reply);
        let score = outcome.score().unwrap();
        (score.quality.unwrap(), score.label.clone())
    }

    fn says(content: &str, finish_reason: FinishReason) -> Reply {
        Reply { content: content.into(), finish_reason: Some(finish_reason), ..Reply::default() }
    }

    fn calls(name: &str, arguments: &str) -> ToolCall {
        ToolCall { id: None, name: name.into(), arguments: arguments.into() }
    }

    #[test]
    fn every_expected_call_is_valid_and_every_variant_deliberate() {
        let data = data().unwrap();
        assert!(data.cases.len() >= 24 && data.tools.len() >= 8);
        for tool in &data.tools {
            let options = jsonschema::options();
            assert!(options.build(&tool.parameters).is_ok(), "{}", tool.name);
            assert!(jsonschema::meta::is_valid(&tool.parameters), "{}", tool.name);
        }
        for request in &data.cases {
            let id = &request.id;
            let named = |tool: &&Tool| tool.name == request.expected.name;
            let tool = data.tools.iter().find(named).unwrap();
            let accepted: Vec<Value> = std::iter::once(&request.expected.arguments)
                .chain(&request.variants)
                .map(|arguments| Value::Object(arguments.clone()))
                .collect();
            for (index, arguments) in accepted.iter().enumerate() {
                assert_eq!(schema_fault(&tool.parameters, arguments), None, "{id}: {arguments}");
                let before = &accepted[..index];
                assert!(!before.iter().any(|other| same_json(other, arguments)), "{id}: {arguments}");
            }
        }
    }

    #[test]
    fn the_data_set_is_sound() {
        let data = data().unwrap();
        let ids: BTreeSet<&str> = data.cases.iter().map(|request| request.id.as_str()).collect();
        assert_eq!(ids.len(), data.cases.len());
        let tools: BTreeSet<&str> = data.tools.iter().map(|tool| tool.name.as_str()).collect();
        assert_eq!(tools.len(), data.tools.len());
        let used: BTreeSet<&str> = data.cases.iter().map(|request| request.expected.name.as_str()).collect();
        assert_eq!(used, tools, "every tool is the right one somewhere");
        for request in &data.cases {
            assert_eq!(request.tools[0], request.expected.name, "{}", request.id);
            assert!((1..=3).contains(&request.tools.len()), "{}", request.id);
            assert!(request.tools.iter().all(|name| tools.contains(name.as_str())), "{}", request.id);
            assert!(!request.tags.is_empty(), "{}", request.id);
        }
        let tagged =
            |tag: &str| data.cases.iter().filter(|request| request.tags.iter().any(|t| t == tag)).count();
        for tag in ["escapes", "unicode", "paths", "digits", "nested", "enums", "optional"] {
            assert!(tagged(tag) >= 5, "{tag}: {}", tagged(tag));
        }
    }

    /// Every text in backquotes is in the arguments, so that no request asks for something that is not scored.
    #[test]
    fn quoted_values_are_expected() {
        for request in &data().unwrap().cases {
            let arguments = serde_json::to_value(&request.expected.arguments).unwrap();
            let mut texts = Vec::new();
            collect_texts(&arguments, &mut texts);
            for quoted in request.user.split('`').skip(1).step_by(2) {
                let found = texts.iter().any(|text| text.contains(quoted));
                assert!(found, "{}: {quoted} is not in {arguments}", request.id);
            }
        }
    }

    fn collect_texts(value: &Value, texts: &mut Vec<String>) {
        match value {
            Value::String(text) => texts.push(text.clone()),
            Value::Array(values) => values.iter().for_each(|value| collect_texts(value, texts)),
            Value::Object(object) => object.iter().for_each(|(key, value)| {
                texts.push(key.clone());
                collect_texts(value, texts);
            }),
            _ => {}
        }
    }

    #[test]
    fn arms_ask_for_the_same_in_their_own_way() {
        let (native, prompted) = (cases(Arm::Native, 12), cases(Arm::Prompted, 12));
        for (native, prompted) in native.iter().zip(&prompted) {
            assert_eq!(native.target["expected"], prompted.target["expected"]);
            let Prompt::Chat { tools, tool_choice, .. } = &native.prompt else {
                panic!("not a chat");
            };
            assert!(!tools.is_empty() && *tool_choice == Some(ToolChoice::Auto));
            let Prompt::Chat { tools, tool_choice, messages, .. } = &prompted.prompt else {
                panic!("not a chat");
            };
            assert!(tools.is_empty() && tool_choice.is_none());
            assert_eq!(messages.len(), 4);
            for tool in prompted.target["offered"].as_array().unwrap() {
                let line = format!("- {}: ", tool["name"].as_str().unwrap());
                assert!(messages[0].content.contains(&line), "{}", messages[0].content);
            }
        }
    }

    #[test]
    fn errors_get_their_label() {
        use FinishReason::{Length, Stop};
        let case = case_of(Arm::Prompted, "thermostat_plain");
        let right = r#"{"name":"set_thermostat","arguments":{"room":"living_room","celsius":21.50}}"#;
        assert_eq!(judged(&case, &says(right, Stop)), (1.0, None));
        assert_eq!(judged(&case, &says(&format!("{right} I hope"), Length)), (1.0, None));
        let twice = format!("{right}\n{right}");
        let until = right.replace("21.50", "21.50,\"until\":\"21:00\"");
        for (content, finish, label) in [
            ("It is warm.", Stop, "no_call"),
            ("It is warm", Length, "truncated"),
            (&right[..40], Length, "truncated"),
            (&right[..40], Stop, "bad_json"),
            (&right.replace("set_", "put_"), Stop, "unknown_tool"),
            (&right.replace("living_room", "attic"), Stop, "enum"),
            (&right.replace("21.50", "\"21.5\""), Stop, "type"),
            (&right.replace("21.50", "22"), Stop, "value"),
            (&right.replace("celsius", "degrees"), Stop, "missing"),
            (&until, Stop, "extra"),
            (&twice, Stop, "extra_call"),
            (EXAMPLE_ANSWER, Stop, "wrong_tool"),
            (
                r#"{"name":"log_reading","arguments":{"sensor":"s","value":1,"unit":"volt"}}"#,
                Stop,
                "wrong_tool",
            ),
        ] {
            assert_eq!(judged(&case, &says(content, finish)), (0.0, Some(label.into())), "{content}");
        }
    }

    #[test]
    fn a_call_that_the_server_did_not_parse_has_leaked() {
        let case = case_of(Arm::Native, "parcel_twenty");
        let text = r#"{"name":"track_parcel","arguments":{"tracking_number":98765432109876543210,"carrier":"freight"}}"#;
        let fenced = format!("```json\n{text}\n```");
        assert_eq!(
            judged(&case, &says(&fenced, FinishReason::Stop)),
            (0.0, Some("leaked_to_content".into()))
        );
        let reply = Reply {
            tool_calls: vec![calls(
                "track_parcel",
                r#"{"carrier":"freight","tracking_number":98765432109876543210}"#,
            )],
            ..Reply::default()
        };
        assert_eq!(judged(&case, &reply), (1.0, None));
        let rounded = Reply {
            tool_calls: vec![calls(
                "track_parcel",
                r#"{"carrier":"freight","tracking_number":98765432109876540000}"#,
            )],
            ..Reply::default()
        };
        assert_eq!(judged(&case, &rounded), (0.0, Some("value".into())));
    }

    #[test]
    fn fields_say_how_much_was_right() {
        let case = case_of(Arm::Native, "transfer_memo");
        let reply = Reply {
            tool_calls: vec![calls(
                "transfer_money",
                r#"{"account":"00398217745061","amount":9800.0,"currency":"EUR","memo":"家賃 4月"}"#,
            )],
            ..Reply::default()
        };
        let outcome = Arguments.score(&case, &reply);
        let metrics = &outcome.score().unwrap().metrics;
        assert_eq!((metrics["fields"], metrics["schema_valid"], metrics["right_tool"]), (0.75, 1.0, 1.0));
    }

    #[test]
    fn targets_survive_the_journal() {
        for case in cases(Arm::Prompted, data().unwrap().cases.len() as u32) {
            let text = serde_json::to_string(&case).unwrap();
            let back: Case = serde_json::from_str(&text).unwrap();
            assert_eq!(back, case);
            let perfect = Arguments.perfect(&back).unwrap();
            assert_eq!(judged(&back, &perfect), (1.0, None));
        }
    }

    #[test]
    fn impossible_requests_are_usage_errors() {
        let counter = WordCounter::default();
        for params in [
            params(8192, 1, None),
            params(8192, 1, Some(Arm::Constrained)),
            params(8192, 999, Some(Arm::Native)),
            params(200, 1, Some(Arm::Native)),
        ] {
            let error = Arguments.cases(&params, 7, &counter).unwrap_err();
            assert_eq!(error.kind(), crate::error::Kind::Usage);
            assert!(!error.hints().is_empty());
        }
    }
}
