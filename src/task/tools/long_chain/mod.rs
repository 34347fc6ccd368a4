//! An agent's long history, and its next calls: ids from far back, strict arguments, recovery after a tool that failed.
//!
//! The history (requests, calls, results and errors of a desk) fills the context and is always right, also behind the
//! model's own replies: each step is scored by itself, as the next call of a flawless history. So one mistake costs one step, and
//! `unbroken` says where the chain would have ended.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::record::{Case, Message, Outcome, Reply, Score, Scoring, Tool};
use crate::task::fitting::{Draft, Fitter};
use crate::task::options::{THINKING, THINKING_TOKENS, option, tuned};
use crate::task::random::stratified_depth;
use crate::task::sizing::{too_large, too_small};
use crate::task::{Card, Emit, Harder, Needs, Params, Step, Task, TaskOption, TokenCounter, collected};

use super::cases::{ALL_ARMS, OUTPUT_TOKENS, ToolCase, arm, output_tokens, random_of};
use super::fault::Fault;
use super::grading::{calls, offered, read, reply_with, to_json};
use super::ladder::{Expected, judge};
use super::offer::{CallCount, Offer};
use super::{extract, forced_call};

mod desk;
mod history;
mod speech;

use history::{Asked, History};

/// Most exchanges of a history; names of senders end there.
const MOST_EXCHANGES: usize = 20_000;
/// Tokens of a chat template behind the last message, at most: they may be no part of the shared beginning.
const TEMPLATE_END: u32 = 24;
/// Name of the option for the steps that are asked for.
const STEPS: &str = "steps";
/// The label of a call that has an id or pin which was replaced since.
const STALE: &str = "stale_value";

static OPTIONS: &[TaskOption] = &[
    output_tokens("output budget in tokens, of every call (the longest right one has some 60)", 128),
    THINKING,
    tuned(
        option(STEPS, "calls that are asked for, one after another; five take two recoveries", 5, 1, 40),
        Harder::Larger,
    ),
];

/// The task `tools/long_chain`.
#[derive(Debug)]
pub struct LongChain;

/// What a right reply is, step by step.
#[derive(Debug, Serialize, Deserialize)]
struct Target {
    steps: Vec<TargetStep>,
    /// The tools that were offered, where they are in no `tools` field.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    offered: Vec<Tool>,
}

#[derive(Debug, Serialize, Deserialize)]
struct TargetStep {
    /// What the conversation goes on with in front of it: the call of the step before, its result, the next request.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    say: Vec<Message>,
    call: Expected,
    /// Ids and pins that were right once.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    stale: Vec<String>,
    /// Whether it follows a call that failed.
    recovers: bool,
}

impl Task for LongChain {
    fn card(&self) -> Card {
        Card {
            name: "tools/long_chain",
            summary: "the next calls of an agent whose long history fills the context: far ids, replaced ids, failed tools",
            arms: ALL_ARMS,
            options: OPTIONS,
            figures: &["unbroken", "plain", "recovery"],
            needs: Needs { closed_answer: true, forced_questions: 40, ..Needs::LONG },
            ..Card::PRIMARY
        }
    }

    fn max_tokens(&self, params: &Params) -> u32 {
        let card = self.card();
        params.option(&card, OUTPUT_TOKENS).saturating_add(params.option(&card, THINKING_TOKENS))
    }

    fn cases(&self, params: &Params, seed: u64, tokens: &dyn TokenCounter) -> Result<Vec<Case>> {
        collected(|emit| self.each_case(params, seed, tokens, emit))
    }

    fn each_case(&self, params: &Params, seed: u64, tokens: &dyn TokenCounter, emit: Emit<'_>) -> Result<()> {
        arm(self, params)?;
        let budget = params.context.saturating_sub(self.max_tokens(params));
        let mut fitter = Fitter::new(budget, 1, MOST_EXCHANGES);
        let questions = params.questions.max(1);
        (0..params.samples.div_ceil(questions)).try_for_each(|text| {
            let mut history = self.history(params, seed, text)?;
            let Some(fit) = fitter.fit(&mut history, tokens)? else {
                let needed = tokens.count_chat(&history.messages(1), history.tools())?;
                return Err(too_small(&self.card(), params.context, self.max_tokens(params), needed));
            };
            if fit.units >= fitter.max() {
                return Err(too_large(self.name(), params.context, fit.tokens));
            }
            let made = Made { task: self, params, text, units: fit.units, tokens };
            match params.score {
                Scoring::Match => emit(made.conversation(&mut history)?),
                Scoring::Probability => made.questions(&mut history, emit),
            }
        })
    }

    fn step(&self, case: &Case, replies: &[Reply]) -> Step {
        let Ok(target) = read::<Target>(case) else { return Step::Done };
        target.steps.into_iter().nth(replies.len()).map_or(Step::Done, |step| Step::Say(step.say))
    }

    /// Quality is the share of the steps whose call is exactly right and the only one. The figures: `unbroken`, the share of
    /// the steps in front of the first wrong one; `plain` and `recovery`, the share of right ones among those that follow a
    /// request and those that follow a call that failed.
    fn score(&self, case: &Case, reply: &Reply) -> Outcome {
        match read::<Target>(case) {
            Ok(target) => Outcome::Scored(score(case, &target, reply)),
            Err(outcome) => outcome,
        }
    }

    fn perfect(&self, case: &Case) -> Option<Reply> {
        let target: Target = read(case).ok()?;
        let right = target.steps.iter().map(|step| reply_with(case.arm, std::slice::from_ref(&step.call)));
        Reply::of_conversation(right.collect())
    }
}

impl LongChain {
    fn name(&self) -> &'static str {
        self.card().name
    }

    fn history(&self, params: &Params, seed: u64, text: u32) -> Result<History> {
        let random = random_of(self, seed, text);
        let offer = Offer::new(CallCount::One, arm(self, params)?, desk::tools(), random.clone());
        let depth = stratified_depth(seed, self.name(), params.context, text);
        Ok(History::new(offer, random, depth, params.option(&self.card(), STEPS) as usize))
    }
}

/// The cases of one history.
struct Made<'a> {
    task: &'a LongChain,
    params: &'a Params,
    /// Number of the history.
    text: u32,
    units: usize,
    tokens: &'a dyn TokenCounter,
}

impl Made<'_> {
    /// All steps, one after another.
    fn conversation(&self, history: &mut History) -> Result<Case> {
        let messages = history.until(self.units, 0);
        let steps = history.steps().iter().enumerate().map(|(at, step)| TargetStep {
            say: if at == 0 { Vec::new() } else { history.between(at) },
            call: step.call.clone(),
            stale: step.stale.clone(),
            recovers: step.recovers,
        });
        let target = Target { steps: steps.collect(), offered: history.offer().only_told() };
        let prompt_tokens = self.tokens.count_chat(&messages, history.tools())?;
        let case = self.case(history, self.text, messages, prompt_tokens, target, Vec::new())?;
        Ok(case.at_depth(Some(history.depth(self.units))).seal())
    }

    /// Single steps, spread over all of them, the last among them.
    fn questions(&self, history: &mut History, emit: Emit<'_>) -> Result<()> {
        let questions = self.params.questions.max(1);
        let first = self.text * questions;
        let steps = history.steps().len();
        if (questions as usize) > steps {
            let message =
                format!("{}: {questions} questions to a history of {steps} steps", self.task.name());
            return Err(Error::usage(message).hint(format!("ask fewer questions, or raise its `{STEPS}`")));
        }
        let mut shared = 0;
        for question in 0..questions.min(self.params.samples - first) {
            let at = (question as usize + 1) * steps / questions as usize - 1;
            let step = history.steps()[at].clone();
            let forced = forced_call::parts(std::slice::from_ref(&step.call), self.tokens)?;
            let mut messages = history.until(self.units, at);
            let said = self.tokens.count_chat(&messages, history.tools())?;
            if question == 0 {
                shared = said.saturating_sub(TEMPLATE_END).max(1);
            }
            messages.extend(
                forced
                    .first()
                    .filter(|part| !part.begun.is_empty())
                    .map(|part| Message::prefill(&part.begun)),
            );
            let prompt_tokens = self.tokens.count_chat(&messages, history.tools())?;
            let Asked { call, stale, recovers } = step;
            let step = TargetStep { say: Vec::new(), call, stale, recovers };
            let target = Target { steps: vec![step], offered: history.offer().only_told() };
            let case = self.case(history, first + question, messages, prompt_tokens, target, forced)?;
            emit(case.at_depth(Some(history.depth(self.units))).sharing(shared).seal())?;
        }
        Ok(())
    }

    fn case(
        &self,
        history: &History,
        index: u32,
        messages: Vec<Message>,
        prompt_tokens: u32,
        target: Target,
        forced: Vec<crate::record::ForcedPart>,
    ) -> Result<Case> {
        let request = format!("{}/history {}", self.params.context, self.text);
        let case = ToolCase {
            task: self.task,
            params: self.params,
            index,
            request: &request,
            offer: history.offer().clone(),
            target: to_json(&target)?,
            forced,
        };
        case.sized(messages, prompt_tokens)
    }
}

fn score(case: &Case, target: &Target, reply: &Reply) -> Score {
    let offered = offered(case, &target.offered);
    let replies = reply.turns().map(Some).chain(std::iter::repeat(None));
    let labels: Vec<Option<&'static str>> = target
        .steps
        .iter()
        .zip(replies)
        .map(|(step, reply)| reply.map_or(Some("missing"), |reply| error(case, step, reply, offered)))
        .collect();
    let share = |is: &dyn Fn(usize) -> bool| {
        let of: Vec<usize> = (0..labels.len()).filter(|at| is(*at)).collect();
        let right = of.iter().filter(|at| labels[**at].is_none()).count();
        (!of.is_empty()).then(|| right as f64 / of.len() as f64)
    };
    let unbroken = labels.iter().take_while(|label| label.is_none()).count();
    let quality = share(&|_| true).unwrap_or_default();
    let mut score = Score::of(quality).with("unbroken", unbroken as f64 / labels.len().max(1) as f64);
    let kinds = [("plain", false), ("recovery", true)];
    for (name, recovers) in kinds {
        if let Some(value) = share(&|at| target.steps[at].recovers == recovers) {
            score = score.with(name, value);
        }
    }
    match labels.into_iter().flatten().next() {
        Some(label) => score.labelled(label),
        None => score,
    }
}

/// What is wrong with the call of a step.
fn error(case: &Case, step: &TargetStep, reply: &Reply, offered: &[Tool]) -> Option<&'static str> {
    let made = match calls(case.arm, reply, offered) {
        Ok(made) => made,
        Err(fault) => return Some(fault.name()),
    };
    let [call] = made.as_slice() else { return Some(Fault::ExtraCall.name()) };
    let fault = judge(call, &step.call, offered).fault?;
    Some(if has_stale(call, step) { STALE } else { fault.name() })
}

fn has_stale(call: &extract::Call, step: &TargetStep) -> bool {
    let values = call.arguments.as_object().into_iter().flat_map(|arguments| arguments.values());
    let text = |value: &serde_json::Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    values.map(text).any(|value| step.stale.contains(&value))
}

#[cfg(test)]
mod tests;
