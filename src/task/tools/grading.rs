//! The calls of a reply against the calls that are asked for, in any order.

use std::cmp::Ordering;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::{Error, Result};
use crate::record::{Arm, Case, FinishReason, Outcome, Prompt, Reply, Score, Tool, ToolCall};

use super::data::Request;
use super::extract::{Call, Extraction, from_prompted, from_server, leak};
use super::fault::Fault;
use super::ladder::{Expected, Rungs, judge};
use super::offer::Offer;

/// Calls of a reply that are compared with what is asked for; what is behind them is too much anyway.
const COMPARED: usize = 16;

/// What a right reply is: the target of a case.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Target {
    /// The request's name in the data set.
    request: String,
    /// What it is hard about.
    tags: Vec<String>,
    /// The right calls, in any order.
    expected: Vec<Expected>,
    /// The tools that were offered, where they are in no `tools` field.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    offered: Vec<Tool>,
}

/// The target of a request.
pub(super) fn target(request: &Request, offer: &Offer) -> Result<Value> {
    to_json(&Target {
        request: request.id.clone(),
        tags: request.tags.clone(),
        expected: request.calls.clone(),
        offered: offer.only_told(),
    })
}

/// A target as JSON.
pub(super) fn to_json(target: &impl Serialize) -> Result<Value> {
    serde_json::to_value(target)
        .map_err(|error| Error::runtime("a case cannot be written as JSON").with_source(error))
}

/// A target of a case, or the outcome when it is of another task.
pub(super) fn read<T: serde::de::DeserializeOwned>(case: &Case) -> std::result::Result<T, Outcome> {
    serde_json::from_value(case.target.clone()).map_err(|error| Outcome::Unscored {
        reason: format!("the case has no target of this task: {error}"),
    })
}

/// The tools that a case offers: in its `tools` field, or else those that its prompt tells of.
pub(super) fn offered<'a>(case: &'a Case, told: &'a [Tool]) -> &'a [Tool] {
    match &case.prompt {
        Prompt::Chat { tools, .. } if !tools.is_empty() => tools,
        _ => told,
    }
}

/// Judges a reply. Quality is 1 when every expected call is there, exactly right, and no other one, else 0.
/// Metrics, 0..1 and means over the expected calls: `parsed`, `known_tool`, `schema_valid`, `right_tool`, `fields`;
/// where several are expected also `calls_right`, and how many went wrong in which way (`fault_..`) and
/// were too many (`extra_calls`).
pub(super) fn outcome(case: &Case, reply: &Reply) -> Outcome {
    match read::<Target>(case) {
        Ok(target) => Outcome::Scored(grade(case, &target, reply).score()),
        Err(outcome) => outcome,
    }
}

/// A reply with exactly the right calls.
pub(super) fn perfect(case: &Case) -> Option<Reply> {
    let target: Target = read(case).ok()?;
    Some(reply_with(case.arm, &target.expected))
}

/// These calls as the worked example of the prompted arm has them.
pub(super) fn prompted_text(calls: &[Expected]) -> String {
    let text = |call: &Expected| {
        let arguments = spaced(&Value::Object(call.arguments.clone()));
        format!("{{\"name\": {}, \"arguments\": {arguments}}}", Value::String(call.name.clone()))
    };
    let texts: Vec<String> = calls.iter().map(text).collect();
    if texts.len() == 1 { texts.concat() } else { format!("[{}]", texts.join(", ")) }
}

/// JSON with a blank behind every comma and colon, as people and models write it.
fn spaced(value: &Value) -> String {
    match value {
        Value::Object(fields) => {
            let field = |(name, value): (&String, &Value)| {
                format!("{}: {}", Value::String(name.clone()), spaced(value))
            };
            format!("{{{}}}", fields.iter().map(field).collect::<Vec<_>>().join(", "))
        }
        Value::Array(values) => format!("[{}]", values.iter().map(spaced).collect::<Vec<_>>().join(", ")),
        other => other.to_string(),
    }
}

/// A reply with these calls, as it comes in an arm.
pub(super) fn reply_with(arm: Option<Arm>, calls: &[Expected]) -> Reply {
    let arguments = |call: &Expected| Value::Object(call.arguments.clone()).to_string();
    if arm == Some(Arm::Prompted) {
        let content = prompted_text(calls);
        return Reply { content, finish_reason: Some(FinishReason::Stop), ..Reply::default() };
    }
    let call = |call: &Expected| ToolCall { id: None, name: call.name.clone(), arguments: arguments(call) };
    Reply {
        tool_calls: calls.iter().map(call).collect(),
        finish_reason: Some(FinishReason::ToolCalls),
        ..Reply::default()
    }
}

/// The calls that count: the server's where it has some, and in the prompted arm those in the text.
///
/// # Errors
/// Why there are none.
pub(super) fn calls(
    arm: Option<Arm>,
    reply: &Reply,
    offered: &[Tool],
) -> std::result::Result<Vec<Call>, Fault> {
    let found = match from_server(&reply.tool_calls) {
        Extraction::NoCall if arm == Some(Arm::Prompted) => from_prompted(reply, offered),
        found => found,
    };
    match found {
        Extraction::Calls(calls) => Ok(calls),
        _ if ran_out(reply) => Err(Fault::Truncated),
        Extraction::NoCall if arm != Some(Arm::Prompted) && leak(reply, offered).is_some() => {
            Err(Fault::LeakedToContent)
        }
        Extraction::NoCall => Err(Fault::NoCall),
        Extraction::BadJson => Err(Fault::BadJson),
    }
}

/// Returns whether there is just one call, and it is exactly the expected one.
pub(super) fn exact(
    calls: &std::result::Result<Vec<Call>, Fault>,
    expected: Option<&Expected>,
    offered: &[Tool],
) -> bool {
    let (Ok(calls), Some(expected)) = (calls, expected) else { return false };
    matches!(calls.as_slice(), [call] if judge(call, expected, offered).fault.is_none())
}

fn ran_out(reply: &Reply) -> bool {
    reply.finish_reason == Some(FinishReason::Length)
}

/// How far each of the expected calls came.
struct Grades {
    parsed: bool,
    each: Vec<Rungs>,
    extra: usize,
}

fn grade(case: &Case, target: &Target, reply: &Reply) -> Grades {
    let offered = offered(case, &target.offered);
    let failed = |fault| Rungs { fault: Some(fault), ..Rungs::default() };
    match calls(case.arm, reply, offered) {
        Err(fault) => Grades { parsed: false, each: vec![failed(fault); target.expected.len()], extra: 0 },
        Ok(calls) => {
            let has_leaked = || case.arm != Some(Arm::Prompted) && leak(reply, offered).is_some();
            let absent = failed(match calls.len() < target.expected.len() {
                _ if ran_out(reply) => Fault::Truncated,
                true if has_leaked() => Fault::LeakedToContent,
                _ => Fault::MissingCall,
            });
            let each = pair(&calls, &target.expected, offered);
            Grades {
                parsed: true,
                each: each.into_iter().map(|rungs| rungs.unwrap_or(absent)).collect(),
                extra: calls.len().saturating_sub(target.expected.len()),
            }
        }
    }
}

/// For each expected call how far the call came that is paired with it: of all pairs that are left, the one that
/// comes furthest is made first. So a right call is always paired with what it is right for (no call is right for
/// two expected ones: the data set's test says so).
fn pair(calls: &[Call], expected: &[Expected], offered: &[Tool]) -> Vec<Option<Rungs>> {
    let mut pairs: Vec<(usize, usize, Rungs)> = Vec::new();
    for (which, call) in calls.iter().take(COMPARED).enumerate() {
        pairs.extend(
            expected.iter().enumerate().map(|(slot, expected)| (which, slot, judge(call, expected, offered))),
        );
    }
    pairs.sort_by(|(_, _, a), (_, _, b)| by_height(b, a));
    let mut used = vec![false; calls.len()];
    let mut slots = vec![None; expected.len()];
    for (which, slot, rungs) in pairs {
        if !used[which] && slots[slot].is_none() {
            used[which] = true;
            slots[slot] = Some(rungs);
        }
    }
    slots
}

fn by_height(a: &Rungs, b: &Rungs) -> Ordering {
    let steps = |rungs: &Rungs| (rungs.fault.is_none(), rungs.right_tool);
    let rest = |rungs: &Rungs| (rungs.known_tool, rungs.schema_valid);
    steps(a).cmp(&steps(b)).then(a.fields.total_cmp(&b.fields)).then(rest(a).cmp(&rest(b)))
}

impl Grades {
    fn fault(&self) -> Option<Fault> {
        let first = self.each.iter().find_map(|rungs| rungs.fault);
        first.or((self.extra > 0).then_some(Fault::ExtraCall))
    }

    /// The mean over the expected calls.
    fn mean(&self, of: impl Fn(&Rungs) -> f64) -> f64 {
        self.each.iter().map(of).sum::<f64>() / self.each.len().max(1) as f64
    }

    fn score(&self) -> Score {
        let bit = |reached: bool| f64::from(u8::from(reached));
        let mut score = Score::of(bit(self.fault().is_none()))
            .with("parsed", bit(self.parsed))
            .with("known_tool", self.mean(|rungs| bit(rungs.known_tool)))
            .with("schema_valid", self.mean(|rungs| bit(rungs.schema_valid)))
            .with("right_tool", self.mean(|rungs| bit(rungs.right_tool)))
            .with("fields", self.mean(|rungs| rungs.fields));
        if self.each.len() > 1 {
            score = self.count_calls(score);
        }
        match self.fault() {
            Some(fault) => score.labelled(fault.name()),
            None => score,
        }
    }

    /// What is said beside where several calls are expected.
    fn count_calls(&self, score: Score) -> Score {
        let right = self.mean(|rungs| f64::from(u8::from(rungs.fault.is_none())));
        let score = score.with("calls_right", right).with("extra_calls", self.extra as f64);
        Fault::OF_A_CALL.iter().fold(score, |score, fault| {
            let count = self.each.iter().filter(|rungs| rungs.fault == Some(*fault)).count();
            score.with(&format!("fault_{}", fault.name()), count as f64)
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn tools() -> Vec<Tool> {
        let parameters = json!({
            "type": "object",
            "properties": {"n": {"type": "integer"}, "m": {"type": "integer"}},
            "required": ["n"],
            "additionalProperties": false
        });
        let tool = |name: &str| Tool {
            name: name.into(),
            description: String::new(),
            parameters: parameters.clone(),
        };
        vec![tool("f"), tool("g")]
    }

    fn grades(calls: &[(&str, Value)], expected: &[(&str, Value)]) -> Grades {
        let calls: Vec<Call> = calls
            .iter()
            .map(|(name, arguments)| Call { name: (*name).into(), arguments: arguments.clone() })
            .collect();
        let expected: Vec<Expected> = expected
            .iter()
            .map(|(name, arguments)| Expected {
                name: (*name).into(),
                arguments: arguments.as_object().unwrap().clone(),
                variants: Vec::new(),
            })
            .collect();
        let absent = Rungs { fault: Some(Fault::MissingCall), ..Rungs::default() };
        let each = pair(&calls, &expected, &tools());
        Grades {
            parsed: true,
            each: each.into_iter().map(|rungs| rungs.unwrap_or(absent)).collect(),
            extra: calls.len().saturating_sub(expected.len()),
        }
    }

    #[test]
    fn order_does_not_matter_and_every_call_counts_once() {
        let (one, two, three) = (json!({"n": 1}), json!({"n": 2}), json!({"n": 3}));
        let expected = [("f", one.clone()), ("f", two.clone()), ("g", three.clone())];
        let right = [("g", three.clone()), ("f", two.clone()), ("f", one.clone())];
        assert_eq!(grades(&right, &expected).fault(), None);

        let twice = [("f", one.clone()), ("f", one.clone()), ("g", three.clone())];
        let grades_of_twice = grades(&twice, &expected);
        assert_eq!(grades_of_twice.fault(), Some(Fault::Value));
        assert_eq!(grades_of_twice.each[0].fault, None);

        let fewer = [("g", three.clone()), ("f", two.clone())];
        assert_eq!(grades(&fewer, &expected).fault(), Some(Fault::MissingCall));

        let more = [("f", one.clone()), ("f", two), ("g", three), ("g", one)];
        assert_eq!(grades(&more, &expected).fault(), Some(Fault::ExtraCall));
    }

    #[test]
    fn a_wrong_call_takes_no_place_from_a_right_one() {
        let expected = [("f", json!({"n": 1, "m": 1})), ("f", json!({"n": 1, "m": 2}))];
        // The first call is nearly right for the first place, the second one is right for it.
        let calls = [("f", json!({"n": 1, "m": 9})), ("f", json!({"n": 1, "m": 1}))];
        let grades = grades(&calls, &expected);
        assert_eq!((grades.each[0].fault, grades.each[1].fault), (None, Some(Fault::Value)));
        assert!((grades.mean(|rungs| rungs.fields) - 0.75).abs() < 1e-12);
        let score = grades.score();
        assert_eq!(score.label.as_deref(), Some("value"));
        assert_eq!((score.metrics["calls_right"], score.metrics["fault_value"]), (0.5, 1.0));
        assert_eq!(score.metrics["extra_calls"], 0.0);
    }

    #[test]
    fn every_fault_of_several_calls_is_counted() {
        let expected = [("f", json!({"n": 1})), ("f", json!({"n": 2})), ("g", json!({"n": 3}))];
        let calls = [("h", json!({})), ("g", json!({"n": "3"})), ("f", json!({"n": 2}))];
        let score = grades(&calls, &expected).score();
        assert_eq!(score.quality, Some(0.0));
        assert_eq!((score.metrics["fault_unknown_tool"], score.metrics["fault_type"]), (1.0, 1.0));
        assert_eq!(score.metrics["fault_missing_call"], 0.0);
        assert!((score.metrics["right_tool"] - 2.0 / 3.0).abs() < 1e-12);
    }
}
