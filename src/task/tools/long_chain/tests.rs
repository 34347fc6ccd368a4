use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::error::Kind;
use crate::record::{Arm, FinishReason, Prompt, Role, ToolCall};
use crate::task::testing::{WordCounter, params};

fn with(context: u32, samples: u32, arm: Arm, steps: u32) -> Params {
    let mut params = params(context, samples, Some(arm));
    params.options.insert(STEPS.to_owned(), steps);
    params
}

fn make(context: u32, samples: u32, arm: Arm, steps: u32) -> Vec<Case> {
    LongChain.cases(&with(context, samples, arm, steps), 7, &WordCounter::default()).unwrap()
}

fn messages(case: &Case) -> Vec<Message> {
    match &case.prompt {
        Prompt::Chat { messages, .. } => messages.clone(),
        Prompt::Distributions { .. } => Vec::new(),
    }
}

fn scored(case: &Case, replies: Vec<Reply>) -> Score {
    LongChain.score(case, &Reply::of_conversation(replies).unwrap()).score().unwrap().clone()
}

/// What an agent knows that has read the conversation: per sender the latest id, pin and slot, and the last request.
#[derive(Default)]
struct Agent {
    ids: BTreeMap<String, String>,
    pins: BTreeMap<String, Value>,
    slots: BTreeMap<String, Value>,
    request: String,
    called: String,
    result: Value,
}

impl Agent {
    fn sender(&self) -> String {
        let (_, sender) = self.request.rsplit_once(" from ").unwrap();
        sender.trim_end_matches('.').to_owned()
    }

    fn reads(&mut self, message: &Message) {
        let result = match message.role {
            Role::Tool => Some(message.content.as_str()),
            Role::User => message.content.strip_prefix("Result: "),
            _ => None,
        };
        match (message.role, result) {
            (_, Some(result)) => self.learns(serde_json::from_str(result).unwrap()),
            (Role::User, None) => {
                self.request.clone_from(&message.content);
                self.result = Value::Null;
                self.called.clear();
            }
            (Role::Assistant, _) if message.content != "Done." => {
                let call = message.tool_calls.first();
                let text = || {
                    serde_json::from_str::<Value>(&message.content).unwrap()["name"]
                        .as_str()
                        .unwrap()
                        .to_owned()
                };
                self.called = call.map_or_else(text, |call| call.name.clone());
            }
            _ => {}
        }
    }

    fn learns(&mut self, result: Value) {
        let sender = self.sender();
        if let Some(id) = result["parcel_id"].as_str() {
            self.ids.insert(sender.clone(), id.to_owned());
        }
        for (key, known) in [("pin", &mut self.pins), ("slot_id", &mut self.slots)] {
            if let Some(value) = result.get(key) {
                known.insert(sender.clone(), value.clone());
            }
        }
        self.result = result;
    }

    /// The next call by the rules of the system prompt.
    fn acts(&self) -> (String, Value) {
        let sender = self.sender();
        let id = &self.ids[&sender];
        let day = || -> Value {
            let (_, rest) = self.request.split_once(" on day ").unwrap();
            rest.split(' ').next().unwrap().parse::<u32>().unwrap().into()
        };
        let release =
            || json!({ "parcel_id": id, "slot_id": self.slots[&sender], "pin": self.pins[&sender] });
        let (name, arguments) = match (self.result["error"].as_str(), self.called.as_str()) {
            (Some("depot_full"), _) => {
                ("book_overflow", json!({ "parcel_id": id, "permit": self.result["permit"], "day": day() }))
            }
            (Some("pin_expired"), _) => {
                ("renew_pin", json!({ "parcel_id": id, "slot_id": self.slots[&sender] }))
            }
            (None, "renew_pin") => ("release_parcel", release()),
            (Some(other), _) => panic!("no rule for {other}"),
            _ if self.request.starts_with("Release") => ("release_parcel", release()),
            _ => {
                let (_, rest) = self.request.split_once("Book a slot at ").unwrap();
                let depot = rest.split_once(" on day ").unwrap().0;
                ("book_slot", json!({ "parcel_id": id, "depot": depot, "day": day() }))
            }
        };
        (name.to_owned(), arguments)
    }
}

/// Plays a conversation with an agent that reads all that is said.
fn play(case: &Case) -> Vec<Reply> {
    let mut agent = Agent::default();
    messages(case)[1..].iter().for_each(|message| agent.reads(message));
    let mut replies = Vec::new();
    loop {
        let (name, arguments) = agent.acts();
        let call = Expected { name, arguments: arguments.as_object().unwrap().clone(), variants: Vec::new() };
        replies.push(reply_with(case.arm, &[call]));
        match LongChain.step(case, &replies) {
            Step::Say(more) => more.iter().for_each(|message| agent.reads(message)),
            _ => return replies,
        }
    }
}

#[test]
fn an_agent_that_remembers_all_makes_every_call() {
    for (context, arm, steps) in [
        (8192, Arm::Prompted, 5),
        (8192, Arm::Native, 12),
        (32_768, Arm::Constrained, 5),
        (131_072, Arm::Prompted, 20),
    ] {
        for case in make(context, 3, arm, steps) {
            let replies = play(&case);
            assert_eq!(replies.len(), steps as usize);
            let score = scored(&case, replies);
            assert_eq!((score.quality, score.label), (Some(1.0), None));
            assert_eq!((score.metrics["unbroken"], score.metrics["recovery"]), (1.0, 1.0));
        }
    }
}

#[test]
fn the_history_fills_the_context_and_has_errors() {
    for context in [8192, 32_768] {
        for case in make(context, 4, Arm::Prompted, 5) {
            let replies = play(&case);
            let mut all = messages(&case);
            for said in 1..replies.len() {
                let Step::Say(more) = LongChain.step(&case, &replies[..said]) else { panic!("{said}") };
                all.extend(more);
            }
            let used = WordCounter::default().count_chat(&all, &[]).unwrap() + case.max_tokens;
            assert!(used <= context && used + 400 > context, "{used} of {context}");
            let text: String = all.iter().map(|message| message.content.as_str()).collect();
            assert!(text.matches("depot_full").count() > 2 && text.matches("pin_expired").count() > 2);
            for pair in all[1..].windows(2) {
                assert_ne!(pair[0].role, pair[1].role, "roles take turns");
            }
        }
    }
    let depths: Vec<f64> =
        make(32_768, 16, Arm::Prompted, 1).iter().map(|case| case.depth.unwrap()).collect();
    assert!(
        depths.iter().any(|depth| *depth < 0.25) && depths.iter().any(|depth| *depth > 0.75),
        "{depths:?}"
    );
}

#[test]
fn one_mistake_costs_one_step_and_says_where_the_chain_breaks() {
    let case = &make(8192, 1, Arm::Native, 5)[0];
    let right = play(case);
    let mut replies = right.clone();
    replies[2] = Reply { content: "I released it.".into(), ..Reply::default() };
    let score = scored(case, replies);
    assert_eq!((score.quality, score.metrics["unbroken"]), (Some(0.8), 0.4));
    assert_eq!(score.label.as_deref(), Some("no_call"));
    // What stopped early has the rest wrong.
    let score = scored(case, right[..3].to_vec());
    assert_eq!((score.quality, score.label.as_deref()), (Some(0.6), Some("missing")));
}

fn edited(reply: &Reply, edit: impl Fn(&mut Value)) -> Reply {
    let call = &reply.tool_calls[0];
    let mut arguments: Value = serde_json::from_str(&call.arguments).unwrap();
    edit(&mut arguments);
    Reply { tool_calls: vec![ToolCall { arguments: arguments.to_string(), ..call.clone() }], ..reply.clone() }
}

#[test]
fn errors_get_their_label() {
    let case = make(8192, 8, Arm::Native, 5)
        .into_iter()
        .find(|case| !case.target["steps"][0]["stale"].as_array().unwrap_or(&Vec::new()).is_empty())
        .expect("half of the asked parcels were relabelled");
    let right = play(&case);
    let label = |at: usize, reply: Reply| {
        let mut replies = right.clone();
        replies[at] = reply;
        scored(&case, replies).label.unwrap()
    };
    let old = case.target["steps"][0]["stale"][0].clone();
    assert_eq!(label(0, edited(&right[0], |arguments| arguments["parcel_id"] = old.clone())), "stale_value");
    assert_eq!(label(0, edited(&right[0], |arguments| arguments["day"] = json!("3"))), "type");
    assert_eq!(label(0, edited(&right[0], |arguments| arguments["depot"] = json!("Nowhere"))), "value");
    let expired = right[2].tool_calls[0].arguments.parse::<Value>().unwrap()["pin"].clone();
    assert_eq!(label(4, edited(&right[4], |arguments| arguments["pin"] = expired.clone())), "stale_value");
    assert_eq!(label(1, right[0].clone()), "wrong_tool");
    let both = Reply {
        tool_calls: [&right[0].tool_calls[..], &right[1].tool_calls[..]].concat(),
        ..Reply::default()
    };
    assert_eq!(label(0, both), "extra_call");
    let thought =
        format!("<think>{}</think>I will.", super::super::grading::prompted_text(&[expected(&case, 0)]));
    assert_eq!(label(0, Reply { content: thought, ..Reply::default() }), "no_call");
    let cut = Reply { finish_reason: Some(FinishReason::Length), ..Reply::default() };
    assert_eq!(label(3, cut), "truncated");
}

fn expected(case: &Case, step: usize) -> Expected {
    serde_json::from_value(case.target["steps"][step]["call"].clone()).unwrap()
}

#[test]
fn a_call_that_is_only_thought_of_is_none_in_the_prompted_arm() {
    let case = &make(8192, 1, Arm::Prompted, 1)[0];
    let call = super::super::grading::prompted_text(&[expected(case, 0)]);
    for hidden in [
        Reply { content: format!("<think>{call}</think>I cannot."), ..Reply::default() },
        Reply { reasoning: call.clone(), content: "I cannot.".into(), ..Reply::default() },
        Reply {
            content: format!(
                "<|channel|>analysis<|message|>{call}<|end|><|start|>assistant<|channel|>final<|message|>No."
            ),
            ..Reply::default()
        },
    ] {
        assert_eq!(scored(case, vec![hidden.clone()]).quality, Some(0.0), "{hidden:?}");
    }
    let said = Reply { content: format!("<think>Hm.</think>{call}"), ..Reply::default() };
    assert_eq!(scored(case, vec![said]).quality, Some(1.0));
}

#[test]
fn single_steps_are_forced() {
    let mut params = with(16_384, 20, Arm::Prompted, 10);
    params.score = Scoring::Probability;
    params.questions = 10;
    let cases = LongChain.cases(&params, 7, &WordCounter::default()).unwrap();
    assert_eq!(cases.len(), 20);
    for (at, case) in cases.iter().enumerate() {
        let mut agent = Agent::default();
        let mut said = messages(case);
        said.pop();
        said[1..].iter().for_each(|message| agent.reads(message));
        let (name, arguments) = agent.acts();
        assert_eq!(
            (&expected(case, 0).name, Value::Object(expected(case, 0).arguments)),
            (&name, arguments),
            "{at}"
        );
        assert!(case.shared_tokens > 8192 && case.prompt_tokens + case.max_tokens <= 16_384);
    }
    params.questions = 11;
    let error = LongChain.cases(&params, 7, &WordCounter::default()).unwrap_err();
    assert!(error.kind() == Kind::Usage && !error.hints().is_empty());
}

#[test]
fn the_desk_refuses_what_is_not_right() {
    let mut desk = desk::Desk::default();
    let mut random = crate::task::random::Random::of_task(1, "desk");
    desk.expect(desk::Parcel::draw(&mut random, "Ada".into(), true, true));
    let mut call = |name: &str, arguments: Value| desk.call(name, &arguments);
    assert_eq!(call("register_parcel", json!({ "sender": "Bo" }))["error"], "unknown_sender");
    let here = call("register_parcel", json!({ "sender": "Ada" }));
    let id = &here["parcel_id"];
    assert_eq!(call("book_overflow", json!({ "parcel_id": id, "permit": "W-1" }))["error"], "wrong_permit");
    let full = call("book_slot", json!({ "parcel_id": id }));
    assert_eq!(full["error"], "depot_full");
    assert_eq!(
        call("release_parcel", json!({ "parcel_id": id, "slot_id": "S-1", "pin": here["pin"] }))["error"],
        "wrong_slot"
    );
    let slot = call("book_overflow", json!({ "parcel_id": id, "permit": full["permit"] }))["slot_id"].clone();
    assert_eq!(call("book_slot", json!({ "parcel_id": id }))["error"], "booked_already");
    let new = call("relabel_parcel", json!({ "parcel_id": id }))["parcel_id"].clone();
    assert_eq!(call("relabel_parcel", json!({ "parcel_id": id }))["error"], "unknown_parcel");
    assert_eq!(call("relabel_parcel", json!({ "parcel_id": new }))["error"], "relabelled_already");
    let release = |pin: &Value| json!({ "parcel_id": new, "slot_id": slot, "pin": pin });
    assert_eq!(call("release_parcel", release(&json!(1)))["error"], "wrong_pin");
    assert_eq!(call("release_parcel", release(&here["pin"]))["error"], "pin_expired");
    let pin = call("renew_pin", json!({ "parcel_id": new, "slot_id": slot }))["pin"].clone();
    assert_eq!(call("release_parcel", release(&here["pin"]))["error"], "wrong_pin");
    assert_eq!(call("release_parcel", release(&pin))["released"], true);
    assert_eq!(call("sing", json!({ "parcel_id": new }))["error"], "unknown_function");
}

proptest! {
    #[test]
    fn no_other_arguments_are_right(key in 0_usize..3, text in any::<String>()) {
        let case = &make(8192, 1, Arm::Native, 1)[0];
        let right = reply_with(case.arm, &[expected(case, 0)]);
        let name = ["parcel_id", "depot", "day"][key];
        let is_same = expected(case, 0).arguments[name] == json!(text);
        let reply = edited(&right, |arguments| arguments[name] = json!(text));
        prop_assert_eq!(scored(case, vec![reply]).quality, Some(f64::from(u8::from(is_same))));
    }
}
