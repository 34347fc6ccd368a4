//! Several calls in one reply: two to six things are asked for at once, and the order of the calls does not
//! matter. What low precision costs here is the last of the calls, or one made twice.

use crate::error::Result;
use crate::record::{Case, Outcome, Reply};
use crate::task::random::Random;
use crate::task::{Card, Needs, Params, Task, TaskOption, TokenCounter};

use super::cases::{ALL_ARMS, OUTPUT_TOKENS, output_tokens, single_requests};
use super::data::{Request, data};
use super::grading;
use super::offer::CallCount;

static OPTIONS: &[TaskOption] =
    &[output_tokens("output budget in tokens (six calls have some 300, more when they are indented)", 512)];

/// The task `tools/parallel`.
#[derive(Debug)]
pub struct Parallel;

impl Task for Parallel {
    fn card(&self) -> Card {
        Card {
            name: "tools/parallel",
            summary: "two to six independent tool calls are all in one reply, in any order, and no other",
            arms: ALL_ARMS,
            options: OPTIONS,
            needs: Needs::SHORT,
            ..Card::PRIMARY
        }
    }

    fn max_tokens(&self, params: &Params) -> u32 {
        params.option(&self.card(), OUTPUT_TOKENS)
    }

    fn cases(&self, params: &Params, seed: u64, tokens: &dyn TokenCounter) -> Result<Vec<Case>> {
        let data = data()?;
        let tools = |request: &Request, _: &mut Random| data.named(&request.tools);
        single_requests((self, params, seed), tokens, CallCount::Several, data.of_several_calls(), tools)
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
    use crate::record::{Arm, FinishReason};
    use crate::task::testing::{WordCounter, params};

    fn cases(arm: Arm) -> Vec<Case> {
        let most = data().unwrap().of_several_calls().len() as u32;
        Parallel.cases(&params(8192, most, Some(arm)), 7, &WordCounter::default()).unwrap()
    }

    fn judged(case: &Case, reply: &Reply) -> (f64, Option<String>) {
        let outcome = Parallel.score(case, reply);
        let score = outcome.score().unwrap();
        (score.quality.unwrap(), score.label.map(String::from))
    }

    #[test]
    fn any_order_is_right_and_every_call_is_needed() {
        for case in cases(Arm::Native) {
            let mut reply = Parallel.perfect(&case).unwrap();
            assert!((2..=6).contains(&reply.tool_calls.len()));
            reply.tool_calls.reverse();
            assert_eq!(judged(&case, &reply), (1.0, None), "{}", case.cluster);
            let last = reply.tool_calls.pop().unwrap();
            assert_eq!(judged(&case, &reply), (0.0, Some("missing_call".into())), "{}", case.cluster);
            reply.tool_calls.extend([last.clone(), last]);
            assert_eq!(judged(&case, &reply), (0.0, Some("extra_call".into())), "{}", case.cluster);
        }
    }

    #[test]
    fn a_reply_that_was_cut_off_lacks_calls_for_that_reason() {
        for case in cases(Arm::Prompted) {
            let mut reply = Parallel.perfect(&case).unwrap();
            reply.finish_reason = Some(FinishReason::Length);
            let cut = reply.content.find("}, {\"name\"").unwrap() + 1;
            // As lines, the calls in front of the cut can be read.
            reply.content = reply.content[1..cut].to_owned();
            assert_eq!(judged(&case, &reply), (0.0, Some("truncated".into())));
        }
    }
}
