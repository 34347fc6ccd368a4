//! The right tool among many with near names: attention to the schemas, which a quantised K cache blurs.

use crate::error::Result;
use crate::record::{Case, Outcome, Reply, Tool};
use crate::task::random::Random;
use crate::task::{Card, Harder, Needs, Params, Task, TaskOption, TokenCounter};

use super::cases::{ALL_ARMS, OUTPUT_TOKENS, output_tokens, single_requests};
use super::data::{DataSet, Listed, Request, data};
use super::grading;
use super::offer::CallCount;
use super::siblings::siblings;

static OPTIONS: &[TaskOption] = &[
    output_tokens("output budget in tokens (the longest right call has some 200)", 256),
    TaskOption {
        name: "tools",
        help: "how many tools are offered: 1, 8, 32 and 128 are usual (128 have some 15,000 tokens); more is harder",
        default: 8,
        min: 1,
        max: 256,
        difficulty: Some(Harder::Larger),
    },
];

/// The task `tools/selection`.
#[derive(Debug)]
pub struct Selection;

impl Task for Selection {
    fn card(&self) -> Card {
        Card {
            name: "tools/selection",
            summary: "the right tool is chosen and filled in among 1, 8, 32 or 128 with near names",
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
        let count = params.option(&self.card(), "tools") as usize;
        let tools = |request: &Request, random: &mut Random| offered_tools(data, request, count, random);
        single_requests((self, params, seed), tokens, CallCount::One, data.of_one_call(), tools)
    }

    fn score(&self, case: &Case, reply: &Reply) -> Outcome {
        grading::outcome(case, reply)
    }

    fn perfect(&self, case: &Case) -> Option<Reply> {
        grading::perfect(case)
    }
}

/// The request's own tools, the right one first; then siblings of the right one in turn with other tools of the
/// data set; then siblings of those. A larger set has the smaller ones in it.
fn offered_tools(data: &DataSet, request: &Request, count: usize, random: &mut Random) -> Vec<Tool> {
    let mut tools = data.named(&request.tools);
    let mut near = tools.first().map(siblings).unwrap_or_default();
    let mut others: Vec<&Listed> = data.tools.iter().filter(|tool| is_other(data, request, tool)).collect();
    random.shuffle(&mut near);
    random.shuffle(&mut others);
    let mut near = near.into_iter();
    for other in others.iter().take(count) {
        tools.extend(near.next());
        tools.push(other.tool());
    }
    let more = count.saturating_sub(tools.len());
    tools.extend(others.iter().flat_map(|other| siblings(&other.tool())).take(more));
    tools.truncate(count);
    tools
}

/// Returns whether a tool is none of the request's, and could not do the same as the right one.
fn is_other(data: &DataSet, request: &Request, tool: &Listed) -> bool {
    let right = request.tools.first().and_then(|name| data.tool(name));
    let alike =
        right.is_some_and(|right| right.alike.contains(&tool.name) || tool.alike.contains(&right.name));
    !alike && !request.tools.contains(&tool.name)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::record::{Arm, Prompt, ToolCall};
    use crate::task::testing::{WordCounter, params};

    fn offered(tools: u32, samples: u32) -> Vec<(Case, Vec<String>)> {
        let mut params = params(262_144, samples, Some(Arm::Native));
        params.options.insert("tools".into(), tools);
        let cases = Selection.cases(&params, 5, &WordCounter::default()).unwrap();
        let named = |case: Case| match &case.prompt {
            Prompt::Chat { tools, .. } => {
                let names = tools.iter().map(|tool| tool.name.clone()).collect();
                (case, names)
            }
            Prompt::Distributions { .. } => panic!("not a chat"),
        };
        cases.into_iter().map(named).collect()
    }

    #[test]
    fn a_larger_set_has_the_smaller_one_in_it() {
        let sets: Vec<_> = [1, 8, 32, 128, 256].into_iter().map(|n| offered(n, 10)).collect();
        for (count, set) in [1, 8, 32, 128, 256].into_iter().zip(&sets) {
            for (case, names) in set {
                assert_eq!(names.len(), count);
                assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), count, "{names:?}");
                let right = case.target["expected"][0]["name"].as_str().unwrap();
                assert!(names.iter().any(|name| name == right));
            }
        }
        for pair in sets.windows(2) {
            for ((one, small), (other, large)) in pair[0].iter().zip(&pair[1]) {
                assert_eq!(one.target["request"], other.target["request"]);
                assert!(small.iter().all(|name| large.contains(name)));
            }
        }
    }

    #[test]
    fn the_right_tool_stands_anywhere() {
        let places: BTreeSet<usize> = offered(8, 60)
            .iter()
            .map(|(case, names)| {
                let right = case.target["expected"][0]["name"].as_str().unwrap();
                names.iter().position(|name| name == right).unwrap()
            })
            .collect();
        assert_eq!(places.len(), 8);
    }

    #[test]
    fn a_sibling_is_the_wrong_tool() {
        for (case, names) in offered(8, 20) {
            let mut reply = Selection.perfect(&case).unwrap();
            let right = reply.tool_calls[0].name.clone();
            let sibling = names.iter().find(|name| **name != right && name.contains(&right)).unwrap();
            let arguments = reply.tool_calls[0].arguments.clone();
            reply.tool_calls = vec![ToolCall { id: None, name: sibling.clone(), arguments }];
            let outcome = Selection.score(&case, &reply);
            let score = outcome.score().unwrap();
            assert_eq!((score.quality, score.label.as_deref()), (Some(0.0), Some("wrong_tool")));
            assert_eq!(score.metrics["schema_valid"], 1.0);
        }
    }

    #[test]
    fn what_could_do_the_same_is_not_drawn_beside() {
        for (case, names) in offered(256, 200) {
            let right = case.target["expected"][0]["name"].as_str().unwrap();
            let request = data().unwrap().requests.iter().find(|r| case.target["request"] == r.id).unwrap();
            for alike in &data().unwrap().tool(right).unwrap().alike {
                assert!(!names.contains(alike) || request.tools.contains(alike), "{right} beside {alike}");
            }
        }
    }
}
