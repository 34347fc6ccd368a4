//! Conversations that act: a person asks for several things one after another, the model calls functions of a
//! small deterministic environment, and one wrong call spoils all that builds on it.
//!
//! Right is: at the end the environment is in the required state, and every value that the person asked for was
//! told and came from a call. Which way led there does not matter.

use crate::error::Result;
use crate::record::{Arm, Case, FinishReason, Outcome, Prompt, Reply, ToolCall, ToolChoice};
use crate::task::random::Random;
use crate::task::sizing::too_small;
use crate::task::{Card, Needs, Params, Step, Task, TaskOption, TokenCounter};

use super::cases::{OUTPUT_TOKENS, arm, drawn, output_tokens, random_of};
use super::grading::to_json;
use play::{Player, Room};
use scenario::{Collection, Scenario, Target, Turn};

pub mod environment;
mod play;
mod scenario;
mod speech;

static OPTIONS: &[TaskOption] = &[
    output_tokens("output budget in tokens, of every reply of a conversation", 192),
    TaskOption {
        name: "calls_per_turn",
        help: "calls that one turn of the person may take (a right way takes 3 at most); then the conversation ends",
        default: 10,
        min: 3,
        max: 100,
        difficulty: None,
    },
];

/// The task `tools/multi_turn`.
#[derive(Debug)]
pub struct MultiTurn;

impl Task for MultiTurn {
    fn card(&self) -> Card {
        Card {
            name: "tools/multi_turn",
            summary: "conversations of tool calls end in the right state: ids carried on, errors handled, results told",
            arms: &[Arm::Native, Arm::Prompted],
            options: OPTIONS,
            needs: Needs::SHORT,
            ..Card::PRIMARY
        }
    }

    fn max_tokens(&self, params: &Params) -> u32 {
        params.option(&self.card(), OUTPUT_TOKENS)
    }

    fn cases(&self, params: &Params, seed: u64, tokens: &dyn TokenCounter) -> Result<Vec<Case>> {
        let arm = arm(self, params)?;
        let all: Vec<_> = scenario::data()?.iter().flat_map(entries).collect();
        let chosen = drawn(self, params, seed, all)?;
        (0..)
            .zip(chosen)
            .map(|(index, (collection, scenario))| {
                let target = self.target(params, collection, scenario, random_of(self, seed, index));
                self.case(params, arm, index, &target, tokens)
            })
            .collect()
    }

    fn step(&self, case: &Case, replies: &[Reply]) -> Step {
        let Ok(target) = Target::of(&case.target) else { return Step::Done };
        let Ok(mut player) = player(case, &target) else { return Step::Done };
        let said = replies.iter().try_fold(Vec::new(), |_, reply| player.take(reply));
        said.map_or(Step::Done, Step::Say)
    }

    fn score(&self, case: &Case, reply: &Reply) -> Outcome {
        match Target::of(&case.target).and_then(|target| Ok(play(player(case, &target)?, reply).score())) {
            Ok(score) => Outcome::Scored(score),
            Err(reason) => Outcome::Unscored { reason },
        }
    }

    fn perfect(&self, case: &Case) -> Option<Reply> {
        let target = Target::of(&case.target).ok()?;
        Some(gold(case.arm?, &target.scenario.turns))
    }
}

impl MultiTurn {
    fn target(
        &self,
        params: &Params,
        collection: &Collection,
        scenario: &Scenario,
        mut random: Random,
    ) -> Target {
        let mut tools = collection.tools.clone();
        random.shuffle(&mut tools);
        Target {
            environment: collection.environment.clone(),
            tools,
            calls_per_turn: params.option(&self.card(), "calls_per_turn"),
            scenario: scenario.clone(),
        }
    }

    fn case(
        &self,
        params: &Params,
        arm: Arm,
        index: u32,
        target: &Target,
        tokens: &dyn TokenCounter,
    ) -> Result<Case> {
        let max_tokens = self.max_tokens(params);
        let first = target.scenario.turns.first().map_or("", |turn| &turn.user);
        let (messages, tools) = speech::opening(arm, &target.tools, first);
        let prompt_tokens = tokens.count_chat(&messages, &tools)?;
        let prompt = Prompt::Chat {
            messages,
            tool_choice: (!tools.is_empty()).then_some(ToolChoice::Auto),
            tools,
            response_schema: None,
        };
        let card = self.card();
        let case = card.case(params.context, index, prompt, to_json(target)?);
        let cluster = format!("{}/{}", card.name, target.scenario.id);
        let case = case.in_arm(Some(arm)).in_cluster(cluster).sized(prompt_tokens, max_tokens).seal();
        self.check_room(&case, arm, target)?;
        Ok(case)
    }

    /// The right conversation must fit.
    fn check_room(&self, case: &Case, arm: Arm, target: &Target) -> Result<()> {
        let room = Room { context: u32::MAX, ..room(case) };
        let player = Player::new(arm, target, room).map_err(crate::Error::runtime)?;
        let needs = play(player, &gold(arm, &target.scenario.turns)).needs();
        if needs <= u64::from(case.context) {
            return Ok(());
        }
        let prompt = u32::try_from(needs).unwrap_or(u32::MAX).saturating_sub(case.max_tokens);
        Err(too_small(&self.card(), case.context, case.max_tokens, prompt))
    }
}

fn entries(collection: &Collection) -> impl Iterator<Item = (&Collection, &Scenario)> {
    collection.scenarios.iter().map(move |scenario| (collection, scenario))
}

fn room(case: &Case) -> Room {
    Room { context: case.context, start: case.prompt_tokens.saturating_add(case.max_tokens) }
}

fn player<'a>(case: &Case, target: &'a Target) -> std::result::Result<Player<'a>, String> {
    let arm = case.arm.ok_or("the case has no arm")?;
    Player::new(arm, target, room(case))
}

/// Plays all replies of a conversation.
fn play<'a>(mut player: Player<'a>, reply: &Reply) -> Player<'a> {
    for reply in reply.earlier.iter().chain([reply]) {
        if player.take(reply).is_none() {
            break;
        }
    }
    player
}

/// The right conversation: a reply for each call, and one that ends each turn.
fn gold(arm: Arm, turns: &[Turn]) -> Reply {
    let mut replies: Vec<Reply> = turns.iter().flat_map(|turn| gold_turn(arm, turn)).collect();
    let last = replies.pop().unwrap_or_default();
    Reply { earlier: replies, ..last }
}

fn gold_turn(arm: Arm, turn: &Turn) -> impl Iterator<Item = Reply> {
    let calls = turn.calls.iter().map(move |(name, arguments)| match arm {
        Arm::Prompted => Reply {
            content: serde_json::json!({ "name": name, "arguments": arguments }).to_string(),
            finish_reason: Some(FinishReason::Stop),
            ..Reply::default()
        },
        _ => Reply {
            tool_calls: vec![ToolCall { id: None, name: name.clone(), arguments: arguments.to_string() }],
            finish_reason: Some(FinishReason::ToolCalls),
            ..Reply::default()
        },
    });
    let end = Reply {
        content: format!("Done. {}", turn.results.join(" ")),
        finish_reason: Some(FinishReason::Stop),
        ..Reply::default()
    };
    calls.chain([end])
}

#[cfg(test)]
mod tests;
