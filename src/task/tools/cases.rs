//! From a request of the data set to a case.

use serde_json::Value;

use crate::error::{Error, Result};
use crate::record::{Arm, Case, ForcedPart, Message, Prompt, Scoring, Tool};
use crate::task::random::Random;
use crate::task::sizing::too_small;
use crate::task::{Params, Task, TaskOption, TokenCounter};

use super::data::Request;
use super::forced_call;
use super::grading;
use super::offer::{CallCount, Offer};

/// The arms of a task whose right replies always have a call.
pub(super) static ALL_ARMS: &[Arm] = &[Arm::Native, Arm::Prompted, Arm::Constrained];

/// Name of the option that [`output_tokens`] declares.
pub(super) const OUTPUT_TOKENS: &str = "output_tokens";

/// The option that says how many tokens a reply may have.
pub(super) const fn output_tokens(help: &'static str, default: u32) -> TaskOption {
    TaskOption { name: OUTPUT_TOKENS, help, default, min: 16, max: 65_536, difficulty: None }
}

/// A case that is being made.
pub(super) struct ToolCase<'a> {
    pub(super) task: &'a dyn Task,
    pub(super) params: &'a Params,
    pub(super) index: u32,
    /// The request's name in the data set.
    pub(super) request: &'a str,
    pub(super) offer: Offer,
    pub(super) target: Value,
    /// What a right reply says, where it is scored by its probability.
    pub(super) forced: Vec<ForcedPart>,
}

impl ToolCase<'_> {
    /// A case of an opening and one thing that the person says.
    ///
    /// # Errors
    /// When it does not fit into the context, or cannot be counted.
    pub(super) fn case(self, user: &str, tokens: &dyn TokenCounter) -> Result<Case> {
        let mut messages = self.offer.opening();
        messages.push(Message::user(user));
        if let Some(begun) = self.forced.first().map(|part| &part.begun).filter(|begun| !begun.is_empty()) {
            messages.push(Message::prefill(begun));
        }
        let prompt_tokens = tokens.count_chat(&messages, self.offer.field())?;
        self.sized(messages, prompt_tokens)
    }

    /// The case of a conversation that was counted.
    ///
    /// # Errors
    /// When it does not fit into the context.
    pub(super) fn sized(self, messages: Vec<Message>, prompt_tokens: u32) -> Result<Case> {
        let Self { task, params, index, request, offer, target, forced } = self;
        let max_tokens = task.max_tokens(params);
        if prompt_tokens.saturating_add(max_tokens) > params.context {
            return Err(too_small(&task.card(), params.context, max_tokens, prompt_tokens));
        }
        let prompt = Prompt::Chat {
            messages,
            tool_choice: offer.tool_choice(),
            tools: offer.field().to_vec(),
            response_schema: None,
        };
        let card = task.card();
        let case = card.case(params.context, index, prompt, target);
        let cluster = format!("{}/{request}", card.name);
        let case = case.in_arm(Some(offer.arm)).in_cluster(cluster).sized(prompt_tokens, max_tokens);
        Ok(case.forcing(forced).seal())
    }
}

/// The arm that a suite asks for.
///
/// # Errors
/// A usage error when the task has no such arm.
pub(super) fn arm(task: &dyn Task, params: &Params) -> Result<Arm> {
    params.arm.filter(|arm| task.card().arms.contains(arm)).ok_or_else(|| {
        let asked = params.arm.map_or("none", Arm::name);
        let all: Vec<String> = task.card().arms.iter().map(|arm| format!("\"{arm}\"")).collect();
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
    count: CallCount,
    requests: Vec<&Request>,
    tools: impl Fn(&Request, &mut Random) -> Vec<Tool>,
) -> Result<Vec<Case>> {
    let arm = arm(task, params)?;
    let case = |(index, request): (u32, &Request)| {
        let mut random = random_of(task, seed, index);
        let tools = tools(request, &mut random);
        let offer = Offer::new(count, arm, tools, random);
        let target = grading::target(request, &offer)?;
        let forced = match params.score {
            Scoring::Match => Vec::new(),
            Scoring::Probability => forced_call::parts(&request.calls, tokens)?,
        };
        ToolCase { task, params, index, request: &request.id, offer, target, forced }
            .case(&request.user, tokens)
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
