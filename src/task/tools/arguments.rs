//! Exact arguments: one request, one right call, in values that low-bit weights and caches corrupt first
//! (escapes, unicode, paths, long numbers, nested lists, listed values, options that must stay out).

use crate::error::Result;
use crate::record::{Case, Outcome, Reply};
use crate::task::random::Random;
use crate::task::{Card, Needs, Params, Task, TaskOption, TokenCounter};

use super::cases::{ALL_ARMS, OUTPUT_TOKENS, output_tokens, single_requests};
use super::data::{Request, data};
use super::grading;
use super::offer::CallCount;

static OPTIONS: &[TaskOption] = &[output_tokens(
    "output budget in tokens (the longest right call has some 200, more when it is indented)",
    256,
)];

/// The task `tools/arguments`.
#[derive(Debug)]
pub struct Arguments;

impl Task for Arguments {
    fn card(&self) -> Card {
        Card {
            name: "tools/arguments",
            summary: "tool calls keep exact arguments: escapes, unicode, paths, long numbers, nesting, absent options",
            version: 2,
            arms: ALL_ARMS,
            options: OPTIONS,
            needs: Needs { closed_answer: true, ..Needs::SHORT },
            ..Card::PRIMARY
        }
    }

    fn max_tokens(&self, params: &Params) -> u32 {
        params.option(&self.card(), OUTPUT_TOKENS)
    }

    fn cases(&self, params: &Params, seed: u64, tokens: &dyn TokenCounter) -> Result<Vec<Case>> {
        let data = data()?;
        let tools = |request: &Request, _: &mut Random| data.named(&request.tools);
        single_requests((self, params, seed), tokens, CallCount::One, data.of_one_call(), tools)
    }

    fn score(&self, case: &Case, reply: &Reply) -> Outcome {
        grading::outcome(case, reply)
    }

    fn perfect(&self, case: &Case) -> Option<Reply> {
        grading::perfect(case)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Arm, FinishReason, Prompt, ToolCall, ToolChoice};
    use crate::task::testing::{WordCounter, params};

    fn most() -> u32 {
        data().unwrap().of_one_call().len() as u32
    }

    fn cases(arm: Arm, samples: u32) -> Vec<Case> {
        let params = params(8192, samples, Some(arm));
        Arguments.cases(&params, 7, &WordCounter::default()).unwrap()
    }

    fn case_of(arm: Arm, request: &str) -> Case {
        cases(arm, most()).into_iter().find(|case| case.target["request"] == request).unwrap()
    }

    fn judged(case: &Case, reply: &Reply) -> (f64, Option<String>) {
        let outcome = Arguments.score(case, reply);
        let score = outcome.score().unwrap();
        (score.quality.unwrap(), score.label.map(String::from))
    }

    fn says(content: &str, finish_reason: FinishReason) -> Reply {
        Reply { content: content.into(), finish_reason: Some(finish_reason), ..Reply::default() }
    }

    fn called(name: &str, arguments: &str) -> Reply {
        let call = ToolCall { id: None, name: name.into(), arguments: arguments.into() };
        Reply { tool_calls: vec![call], ..Reply::default() }
    }

    #[test]
    fn arms_ask_for_the_same_in_their_own_way() {
        let [native, prompted, constrained] =
            [Arm::Native, Arm::Prompted, Arm::Constrained].map(|arm| cases(arm, 12));
        for ((native, prompted), constrained) in native.iter().zip(&prompted).zip(&constrained) {
            assert_eq!(native.target["expected"], prompted.target["expected"]);
            assert_eq!(native.target, constrained.target);
            let Prompt::Chat { tools, tool_choice, messages, .. } = &native.prompt else {
                panic!("not a chat");
            };
            assert!(!tools.is_empty() && *tool_choice == Some(ToolChoice::Auto));
            let Prompt::Chat { tools: same, tool_choice, messages: also, .. } = &constrained.prompt else {
                panic!("not a chat");
            };
            assert_eq!((same, *tool_choice, also), (tools, Some(ToolChoice::Required), messages));
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
            (r#"{"name": "add", "arguments": {"a": 1.5, "b": 20}}"#, Stop, "wrong_tool"),
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
        let text = r#"{"name":"track_parcel","arguments":{"tracking_number":98765432109876543210,"carrier":"freight"}}"#;
        let leaked = (0.0, Some("leaked_to_content".to_owned()));
        for arm in [Arm::Native, Arm::Constrained] {
            let case = case_of(arm, "parcel_twenty");
            let arguments = r#"{"tracking_number":98765432109876543210,"carrier":"freight"}"#;
            for wrapped in [
                format!("```json\n{text}\n```"),
                format!("<tool_call>\n{text}\n</tool_call>"),
                format!("[TOOL_CALLS]track_parcel[ARGS]{arguments}"),
                format!("<|channel|>commentary to=functions.track_parcel <|constrain|>json<|message|>{arguments}<|call|>"),
                "<tool_call>\n<function=track_parcel>\n<parameter=carrier>\nfreight\n</parameter>\n</function>\n</tool_call>"
                    .to_owned(),
                "[track_parcel(tracking_number=98765432109876543210, carrier=\"freight\")]".to_owned(),
                format!("<think>I look.</think>\n<tool_call>\n{text}\n</tool_call>"),
            ] {
                assert_eq!(judged(&case, &says(&wrapped, FinishReason::Stop)), leaked, "{wrapped}");
            }
            let thought = format!("<think>Maybe <tool_call>{text}</tool_call>?</think>I cannot.");
            assert_eq!(judged(&case, &says(&thought, FinishReason::Stop)), (0.0, Some("no_call".into())));
            let other = text.replace("track_parcel", "find_parcel");
            assert_eq!(judged(&case, &says(&other, FinishReason::Stop)), (0.0, Some("no_call".into())));
        }
    }

    #[test]
    fn long_numbers_count_by_every_digit() {
        let case = case_of(Arm::Native, "parcel_twenty");
        let arguments = |number: &str| format!(r#"{{"carrier":"freight","tracking_number":{number}}}"#);
        let right = called("track_parcel", &arguments("98765432109876543210"));
        assert_eq!(judged(&case, &right), (1.0, None));
        let rounded = called("track_parcel", &arguments("98765432109876540000"));
        assert_eq!(judged(&case, &rounded), (0.0, Some("value".into())));
    }

    #[test]
    fn fields_say_how_much_was_right() {
        let case = case_of(Arm::Native, "transfer_memo");
        let arguments = r#"{"account":"00398217745061","amount":9800.0,"currency":"EUR","memo":"家賃 4月"}"#;
        let outcome = Arguments.score(&case, &called("transfer_money", arguments));
        let metrics = &outcome.score().unwrap().metrics;
        assert_eq!((metrics["fields"], metrics["schema_valid"], metrics["right_tool"]), (0.75, 1.0, 1.0));
    }

    #[test]
    fn targets_survive_the_journal() {
        for arm in [Arm::Prompted, Arm::Native] {
            for case in cases(arm, most()) {
                let text = serde_json::to_string(&case).unwrap();
                let back: Case = serde_json::from_str(&text).unwrap();
                assert_eq!(back, case);
                let perfect = Arguments.perfect(&back).unwrap();
                assert_eq!(judged(&back, &perfect), (1.0, None));
            }
        }
    }

    #[test]
    fn impossible_requests_are_usage_errors() {
        let counter = WordCounter::default();
        for params in [
            params(8192, 1, None),
            params(8192, most() + 1, Some(Arm::Native)),
            params(300, 1, Some(Arm::Native)),
        ] {
            let error = Arguments.cases(&params, 7, &counter).unwrap_err();
            assert_eq!(error.kind(), crate::error::Kind::Usage);
            assert!(!error.hints().is_empty());
        }
    }
}
