use std::collections::BTreeSet;
use std::sync::LazyLock;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::environment::{KINDS, World};
use super::*;
use crate::record::{Message, Role, Score, Tool};
use crate::task::testing::{WordCounter, params};
use crate::task::tools::ladder::schema_fault;

fn scenarios() -> impl Iterator<Item = (&'static Collection, &'static Scenario)> {
    scenario::data().unwrap().iter().flat_map(entries)
}

fn cases(arm: Arm, context: u32) -> Vec<Case> {
    let params = params(context, scenarios().count() as u32, Some(arm));
    MultiTurn.cases(&params, 7, &WordCounter::default()).unwrap()
}

fn case_of(arm: Arm, scenario: &str) -> Case {
    cases(arm, 8192).into_iter().find(|case| case.target["scenario"]["id"] == scenario).unwrap()
}

fn scored(case: &Case, replies: Vec<Reply>) -> Score {
    MultiTurn.score(case, &conversation(replies)).score().unwrap().clone()
}

/// Replies as a trial holds them.
fn conversation(mut replies: Vec<Reply>) -> Reply {
    let last = replies.pop().unwrap();
    Reply { earlier: replies, ..last }
}

fn perfect(case: &Case) -> Vec<Reply> {
    let mut last = MultiTurn.perfect(case).unwrap();
    let mut replies = std::mem::take(&mut last.earlier);
    replies.push(last);
    replies
}

fn is_call(reply: &Reply) -> bool {
    !reply.tool_calls.is_empty() || reply.content.starts_with('{')
}

fn says(content: &str) -> Reply {
    Reply { content: content.into(), finish_reason: Some(FinishReason::Stop), ..Reply::default() }
}

fn call(name: &str, arguments: &str) -> ToolCall {
    ToolCall { id: None, name: name.into(), arguments: arguments.into() }
}

fn calls(calls: Vec<ToolCall>) -> Reply {
    Reply { tool_calls: calls, finish_reason: Some(FinishReason::ToolCalls), ..Reply::default() }
}

#[test]
fn the_data_set_is_sound() {
    let ids: BTreeSet<&str> = scenarios().map(|(_, scenario)| scenario.id.as_str()).collect();
    assert!(ids.len() >= 40 && ids.len() == scenarios().count(), "{}", ids.len());
    for (collection, Scenario { id, tags, turns, .. }) in scenarios() {
        assert!(turns.len() >= 2 && !tags.is_empty(), "{id}");
        for (name, arguments) in turns.iter().flat_map(|turn| &turn.calls) {
            let tool = collection.tools.iter().find(|tool| tool.name == *name);
            assert_eq!(schema_fault(&tool.unwrap().parameters, arguments), None, "{id}: {name} {arguments}");
        }
        assert!(turns.iter().all(|turn| turn.calls.len() <= 3), "{id}: `calls_per_turn` says 3 at most");
    }
    for (kind, collection) in KINDS.iter().zip(scenario::data().unwrap()) {
        assert_eq!(kind.name, collection.environment);
        let used: BTreeSet<&str> = collection
            .scenarios
            .iter()
            .flat_map(|scenario| scenario.turns.iter().flat_map(|turn| &turn.calls))
            .map(|(name, _)| name.as_str())
            .collect();
        for tool in &collection.tools {
            assert!(jsonschema::meta::is_valid(&tool.parameters), "{}", tool.name);
            assert!(used.contains(tool.name.as_str()), "no scenario calls {}", tool.name);
        }
    }
    for tag in ["chain", "lookup", "several", "error", "correction", "chat", "ids", "unicode", "copy"] {
        assert!(scenarios().any(|(_, scenario)| scenario.tags.iter().any(|other| other == tag)), "{tag}");
    }
}

/// The required end is written down by hand and by no means what the calls happen to come to.
#[test]
fn the_right_calls_reach_the_required_state() {
    for (collection, scenario) in scenarios() {
        let open = |state| World::open(&collection.environment, state, &collection.tools).unwrap();
        let mut world = open(&scenario.state);
        let start = world.essence();
        for (name, arguments) in scenario.turns.iter().flat_map(|turn| &turn.calls) {
            let before = world.essence();
            if world.call(name, arguments.clone()).is_err() {
                assert_eq!(world.essence(), before, "{}: an error changed the state", scenario.id);
                let tagged = scenario.tags.iter().any(|tag| tag == "error");
                assert!(tagged, "{}: {name} {arguments} fails", scenario.id);
            }
        }
        assert_eq!(world.essence(), open(&scenario.end).essence(), "{}", scenario.id);
        assert_ne!(world.essence(), start, "{} changes nothing", scenario.id);
    }
}

#[test]
fn the_right_conversation_scores_one_and_ends_where_it_should() {
    for arm in [Arm::Native, Arm::Prompted] {
        for case in cases(arm, 8192) {
            let replies = perfect(&case);
            let id = &case.target["scenario"]["id"];
            for asked in 1..replies.len() {
                let step = MultiTurn.step(&case, &replies[..asked]);
                assert!(matches!(step, Step::Say(_)), "{id} ends after {asked} of {} replies", replies.len());
            }
            assert_eq!(MultiTurn.step(&case, &replies), Step::Done, "{id}");
            let score = scored(&case, replies);
            assert_eq!((score.quality, score.label), (Some(1.0), None), "{id}: {score:?}");
            assert_eq!((score.metrics["state"], score.metrics["results"]), (1.0, 1.0));
            assert!(!score.metrics.contains_key("first_wrong_turn"));
        }
    }
}

#[test]
fn every_call_is_needed() {
    for case in cases(Arm::Native, 8192) {
        let replies = perfect(&case);
        for dropped in (0..replies.len()).filter(|&at| is_call(&replies[at])) {
            let mut replies = replies.clone();
            replies.remove(dropped);
            let score = scored(&case, replies);
            let id = &case.target["scenario"]["id"];
            assert_eq!(score.quality, Some(0.0), "{id} is right without call {dropped}");
            assert!(score.label.is_some() && score.metrics["first_wrong_turn"] >= 1.0, "{id}: {score:?}");
        }
    }
}

#[test]
fn every_result_has_to_be_told() {
    for case in cases(Arm::Prompted, 8192) {
        let replies = perfect(&case);
        for silent in
            (0..replies.len()).filter(|&at| replies[at].content.trim() != "Done." && !is_call(&replies[at]))
        {
            let mut replies = replies.clone();
            replies[silent].content = "Done.".into();
            let score = scored(&case, replies);
            assert_eq!((score.quality, score.label.as_deref()), (Some(0.0), Some("missing_result")));
        }
    }
}

/// Results come from calls: nothing that the person said, and no guess, is one.
#[test]
fn results_cannot_be_known_without_the_calls() {
    for case in cases(Arm::Native, 8192) {
        let replies: Vec<Reply> = perfect(&case).into_iter().filter(|reply| !is_call(reply)).collect();
        let score = scored(&case, replies);
        assert_eq!(score.quality, Some(0.0));
        let asks = scenarios().find(|(_, scenario)| case.target["scenario"]["id"] == scenario.id.as_str());
        let asks = asks.unwrap().1.turns.iter().any(|turn| !turn.results.is_empty());
        assert_eq!(score.metrics["results"], if asks { 0.0 } else { 1.0 }, "{}", case.cluster);
    }
}

#[test]
fn the_same_end_may_be_reached_another_way() {
    let case = case_of(Arm::Native, "tickets_two_new");
    let open = |title: &str, priority: &str| {
        call("open_ticket", &json!({ "title": title, "priority": priority }).to_string())
    };
    // The other order gives the other ids; both in one reply; one wrong guess in between.
    let both = calls(vec![open("水漏れ 4階", "high"), open("Lärm in Büro 3", "normal")]);
    let guess = calls(vec![call("assign_ticket", r#"{"id": "T-9", "person": "Haruka"}"#)]);
    let assign = calls(vec![call("assign_ticket", r#"{"id": "T-1", "person": "Haruka"}"#)]);
    let score = scored(&case, vec![both, says("Both are open."), guess, assign, says("She has it.")]);
    assert_eq!((score.quality, score.metrics["state"]), (Some(1.0), 1.0), "{score:?}");
    assert_eq!((score.metrics["calls"], score.metrics["errors"], score.metrics["turns"]), (4.0, 1.0, 2.0));
}

#[test]
fn the_native_conversation_has_tool_messages_with_ids() {
    let case = case_of(Arm::Native, "files_tidy_folder");
    let with_id = ToolCall { id: Some("x1".into()), ..call("list_files", r#"{"folder": "inbox"}"#) };
    let Step::Say(said) = MultiTurn.step(&case, &[calls(vec![with_id, call("read_file", "{broken")])]) else {
        panic!("it is over");
    };
    let roles: Vec<Role> = said.iter().map(|message| message.role).collect();
    assert_eq!(roles, [Role::Assistant, Role::Tool, Role::Tool]);
    let ids: Vec<_> = said[0].tool_calls.iter().map(|call| call.id.clone()).collect();
    assert_eq!(ids, [said[1].tool_call_id.clone(), said[2].tool_call_id.clone()]);
    assert_eq!(said[1].content, r#"{"files":["inbox/a17.txt","inbox/k02.txt"]}"#);
    assert_eq!(said[2].content, r#"{"error":"the call is not valid JSON"}"#);
    assert_eq!(said[0].tool_calls[1].arguments, "{}");
}

#[test]
fn the_person_goes_on_when_the_model_stops_calling() {
    let case = case_of(Arm::Prompted, "files_port_number");
    let look = says(r#"{"name": "read_file", "arguments": {"path": "etc/server.conf"}}"#);
    let Step::Say(said) = MultiTurn.step(&case, std::slice::from_ref(&look)) else { panic!("it is over") };
    assert_eq!(said[1], Message::user("Results:\nread_file: {\"content\":\"host=alpha\\nport=8471\\n\"}"));
    let Step::Say(said) = MultiTurn.step(&case, &[look, says("It is 8471.")]) else { panic!("it is over") };
    assert_eq!(said[0], Message::new(Role::Assistant, "It is 8471."));
    assert!(said[1].content.starts_with("Add a line to the end"), "{said:?}");
}

#[test]
fn what_goes_wrong_has_a_label() {
    let native = case_of(Arm::Native, "files_port_number");
    let prompted = case_of(Arm::Prompted, "files_port_number");
    let text = r#"{"name": "read_file", "arguments": {"path": "etc/server.conf"}}"#;
    let look = || calls(vec![call("read_file", r#"{"path": "etc/server.conf"}"#)]);
    let wrong = calls(vec![call("append_file", r#"{"path": "etc/client.conf", "content": "port=8417\n"}"#)]);
    let cut = Reply { finish_reason: Some(FinishReason::Length), ..says(&text[..30]) };
    let unfinished = vec![look(), says("8471")];
    for (case, replies, turn, label) in [
        (&native, vec![says("8471"), says("Done.")], 1.0, "no_call"),
        (&native, vec![says(text), says("Done.")], 1.0, "leaked_to_content"),
        (
            &native,
            vec![
                says("<function=read_file>\n<parameter=path>\netc/server.conf\n</parameter>\n</function>"),
                says("Done."),
            ],
            1.0,
            "leaked_to_content",
        ),
        (&native, vec![look(), says("<think>8471</think>I see."), says("Done.")], 1.0, "missing_result"),
        (&native, vec![look(), says("I see."), says("Done.")], 1.0, "missing_result"),
        (&native, vec![look(), says("8471"), wrong, says("Done.")], 2.0, "wrong_state"),
        (&native, vec![calls(vec![call("read_file", "{")]), says("8471")], 1.0, "bad_json"),
        (&native, unfinished, 2.0, "unfinished"),
        (&prompted, vec![cut], 1.0, "truncated"),
        (&prompted, vec![says(&text[..30]), says("8471")], 1.0, "bad_json"),
        (&native, vec![look(); 20], 1.0, "call_limit"),
    ] {
        let score = scored(case, replies);
        assert_eq!(score.quality, Some(0.0));
        let got = (score.metrics["first_wrong_turn"], score.label.as_deref());
        assert_eq!(got, (turn, Some(label)), "{score:?}");
    }
}

#[test]
fn a_conversation_that_fills_its_context_ends() {
    let case = case_of(Arm::Native, "files_port_number");
    let text = json!({ "path": "etc/client.conf", "content": "x".repeat(9000) }).to_string();
    let write = calls(vec![call("write_file", &text)]);
    let replies = vec![write; 9];
    let asked = (1..9).find(|&asked| MultiTurn.step(&case, &replies[..asked]) == Step::Done);
    assert_eq!(asked, Some(3), "3 x 9000 bytes are taken for 9000 tokens of 8192");
    assert_eq!(scored(&case, replies).label.as_deref(), Some("context_full"));
    // The right conversation fits, or the case is not made.
    let error = MultiTurn.cases(&params(700, 42, Some(Arm::Native)), 7, &WordCounter::default()).unwrap_err();
    assert_eq!(error.kind(), crate::error::Kind::Usage);
    for case in cases(Arm::Prompted, 2048) {
        assert_eq!(scored(&case, perfect(&case)).quality, Some(1.0));
    }
}

#[test]
fn targets_survive_the_journal() {
    for case in cases(Arm::Native, 8192) {
        let back: Case = serde_json::from_str(&serde_json::to_string(&case).unwrap()).unwrap();
        assert_eq!(back, case);
        assert_eq!(scored(&back, perfect(&back)).quality, Some(1.0));
    }
}

/// Arguments that fit a schema of ours more often than not.
fn any_arguments(tool: &Tool) -> impl Strategy<Value = Value> + use<> {
    let properties = tool.parameters["properties"].as_object().unwrap().clone();
    let fields: Vec<_> = properties.into_iter().map(|(name, schema)| field(name, &schema)).collect();
    fields.prop_map(|fields| {
        Value::Object(fields.into_iter().filter_map(|(name, value)| Some((name, value?))).collect())
    })
}

fn field(name: String, schema: &Value) -> impl Strategy<Value = (String, Option<Value>)> + use<> {
    let fitting = match (schema["type"].as_str(), schema["enum"].as_array(), schema["pattern"].as_str()) {
        (_, Some(values), _) => proptest::sample::select(values.clone()).boxed(),
        (Some("integer"), ..) => prop_oneof![0_u64..400, any::<u64>()].prop_map(|n| json!(n)).boxed(),
        (Some("boolean"), ..) => any::<bool>().prop_map(Value::Bool).boxed(),
        (Some("array"), ..) => proptest::collection::vec("[ABé]{0,3}", 0..3).prop_map(|v| json!(v)).boxed(),
        _ => prop_oneof![
            "[a-zA-Z./é]{0,6}",
            Just("23:59".to_owned()),
            Just("2026-03-12".to_owned()),
            proptest::sample::select(KNOWN.to_vec()).prop_map(str::to_owned),
        ]
        .prop_map(Value::String)
        .boxed(),
    };
    let value = prop_oneof![12 => fitting.prop_map(Some), 2 => Just(None), 1 => Just(Some(Value::Null))];
    value.prop_map(move |value| (name.clone(), value))
}

/// Names that some scenario's state has.
const KNOWN: [&str; 14] = [
    "e1",
    "e2",
    "T-7",
    "T-8",
    "M-41",
    "C-118",
    "main",
    "savings",
    "bedroom",
    "front",
    "SPRING25",
    "Gartenhof Immobilien",
    "readme.txt",
    "report.txt",
];

/// A scenario, and calls of its environment's tools.
fn any_calls() -> impl Strategy<Value = (usize, Vec<(String, Value)>)> {
    let all: Vec<usize> = (0..scenarios().count()).collect();
    proptest::sample::select(all).prop_flat_map(|at| {
        let tools = scenarios().nth(at).unwrap().0.tools.clone();
        let call = proptest::sample::select(tools)
            .prop_flat_map(|tool| any_arguments(&tool).prop_map(move |given| (tool.name.clone(), given)));
        (Just(at), proptest::collection::vec(call, 1..12))
    })
}

static BOTH: LazyLock<[(Arm, Case); 2]> =
    LazyLock::new(|| [Arm::Native, Arm::Prompted].map(|arm| (arm, case_of(arm, "files_port_number"))));

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// Also: an error changes nothing, and the same calls always come to the same.
    #[test]
    fn no_calls_make_an_environment_panic((at, made) in any_calls(), odd in any::<String>()) {
        let (collection, scenario) = scenarios().nth(at).unwrap();
        let open = || World::open(&collection.environment, &scenario.state, &collection.tools).unwrap();
        let (mut world, mut again) = (open(), open());
        for (name, arguments) in made {
            let before = world.essence();
            let answer = world.call(&name, arguments.clone());
            prop_assert_eq!(&answer, &again.call(&name, arguments));
            if answer.is_err() {
                prop_assert_eq!(world.essence(), before);
            }
        }
        prop_assert!(world.call(&odd, json!(odd)).is_err());
        prop_assert_eq!(world.essence(), again.essence());
    }

    #[test]
    fn no_replies_make_a_conversation_panic(
        texts in proptest::collection::vec(
            r#"(\{"name": ?"(read_file|write_file|pay)", ?"arguments": ?)?([\[\]{}":,]|path|é|9{1,30}|1e99){0,20}"#, 1..8
        )
    ) {
        for (arm, case) in BOTH.iter() {
            let replies: Vec<Reply> = texts.iter().map(|text| match arm {
                Arm::Native => calls(vec![call("read_file", text), call(text, "{}")]),
                _ => says(text),
            }).collect();
            MultiTurn.step(case, &replies);
            prop_assert_eq!(scored(case, replies).quality, Some(0.0));
        }
    }
}
