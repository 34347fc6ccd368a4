//! Plays a conversation: the model's calls on the environment, the person's next turn when it stops calling.

use serde_json::Value;

use super::environment::{Answer, World};
use super::scenario::Target;
use super::speech::{self, Attempt, holds};
use crate::record::{Arm, FinishReason, Message, Reply, Score};

/// Bytes of conversation that are taken for one token when its length is estimated.
const BYTES_PER_TOKEN: u64 = 3;
/// Tokens that a template adds to a message, estimated.
const MESSAGE_TOKENS: u64 = 8;

/// Why a turn went wrong or the conversation ended early.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cause {
    /// The output budget ran out in a call, or in the text that should have ended a turn.
    Truncated,
    /// The calls are in the text, where the server's parser left them.
    LeakedToContent,
    /// No call where one was needed.
    NoCall,
    /// A call whose arguments are not JSON.
    BadJson,
    /// More calls in a turn than allowed.
    CallLimit,
    /// The conversation would not fit into the context any more.
    ContextFull,
    /// The calls made something else of the state.
    WrongState,
    /// The state is right, but the model did not tell what it was asked, or did not look it up.
    MissingResult,
    /// The replies end before the conversation does.
    Unfinished,
}

impl Cause {
    /// The label in results; those that other tool tasks have too are theirs.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Truncated => "truncated",
            Self::LeakedToContent => "leaked_to_content",
            Self::NoCall => "no_call",
            Self::BadJson => "bad_json",
            Self::CallLimit => "call_limit",
            Self::ContextFull => "context_full",
            Self::WrongState => "wrong_state",
            Self::MissingResult => "missing_result",
            Self::Unfinished => "unfinished",
        }
    }
}

/// How many tokens a conversation may have, and about how many it has.
#[derive(Debug, Clone, Copy)]
pub(super) struct Room {
    /// Tokens of the cell's context.
    pub(super) context: u32,
    /// Tokens of the first prompt and of one reply.
    pub(super) start: u32,
}

/// A conversation as far as it has come.
pub(super) struct Player<'a> {
    arm: Arm,
    target: &'a Target,
    world: World<'a>,
    /// What the state has to be after each turn.
    gold: Vec<Value>,
    /// All answers to calls, as text.
    answers: String,
    turns: Vec<TurnEnd>,
    this_turn: Counts,
    calls: u32,
    errors: u32,
    room: Room,
    /// Tokens said since the first prompt, estimated.
    grown: u64,
    stopped: Option<Cause>,
}

/// What a turn of the person came to.
struct TurnEnd {
    /// Required results that were told and looked up.
    results: usize,
    cause: Option<Cause>,
}

#[derive(Default)]
struct Counts {
    calls: u32,
    bad_json: u32,
}

impl<'a> Player<'a> {
    /// At the beginning of a conversation.
    ///
    /// # Errors
    /// When the target's states are not states of its environment.
    pub(super) fn new(arm: Arm, target: &'a Target, room: Room) -> Result<Self, String> {
        Ok(Self {
            arm,
            target,
            world: open(target)?,
            gold: milestones(target)?,
            answers: String::new(),
            turns: Vec::new(),
            this_turn: Counts::default(),
            calls: 0,
            errors: 0,
            room,
            grown: 0,
            stopped: None,
        })
    }

    /// Takes the model's next reply: what is said then, or `None` when the conversation is over.
    pub(super) fn take(&mut self, reply: &Reply) -> Option<Vec<Message>> {
        if self.stopped.is_some() || self.turns.len() == self.target.scenario.turns.len() {
            return None;
        }
        let attempts = speech::attempts(self.arm, &self.target.tools, reply);
        let ran_out = reply.finish_reason == Some(FinishReason::Length);
        if ran_out && attempts.iter().all(|attempt| attempt.arguments.is_none()) {
            return self.stop(Cause::Truncated);
        }
        let said = if attempts.is_empty() { self.end_turn(reply) } else { self.carry_out(reply, &attempts) }?;
        self.grown += said.iter().map(tokens).sum::<u64>();
        if self.needs() > u64::from(self.room.context) {
            return self.stop(Cause::ContextFull);
        }
        Some(said)
    }

    /// Tokens that the conversation needs so far, one more reply included: an estimate.
    pub(super) fn needs(&self) -> u64 {
        u64::from(self.room.start) + self.grown
    }

    fn stop(&mut self, cause: Cause) -> Option<Vec<Message>> {
        self.stopped = Some(cause);
        None
    }

    fn carry_out(&mut self, reply: &Reply, attempts: &[Attempt]) -> Option<Vec<Message>> {
        let first = self.calls;
        let answers: Vec<Answer> = attempts.iter().map(|attempt| self.call(attempt)).collect();
        if self.this_turn.calls > self.target.calls_per_turn {
            return self.stop(Cause::CallLimit);
        }
        Some(speech::results(self.arm, reply, attempts, &answers, first))
    }

    fn call(&mut self, attempt: &Attempt) -> Answer {
        self.calls += 1;
        self.this_turn.calls += 1;
        let answer = if self.this_turn.calls > self.target.calls_per_turn {
            Err("too many calls".into())
        } else if let Some(arguments) = &attempt.arguments {
            self.world.call(&attempt.name, arguments.clone())
        } else {
            self.this_turn.bad_json += 1;
            Err("the call is not valid JSON".into())
        };
        self.errors += u32::from(answer.is_err());
        self.answers.push_str(&spoken(&speech::shown(&answer)));
        answer
    }

    /// The model stopped calling: the person goes on, unless that was all.
    fn end_turn(&mut self, reply: &Reply) -> Option<Vec<Message>> {
        let target = self.target;
        let at = self.turns.len();
        let required = &target.scenario.turns[at].results;
        let said = reply.answer();
        let told = |value: &&String| holds(&said, value) && holds(&self.answers, value);
        let results = required.iter().filter(told).count();
        let right_state = self.world.essence() == self.gold[at];
        let cause = match (right_state, results == required.len()) {
            (true, true) => None,
            (right_state, _) => Some(self.cause(reply, right_state)),
        };
        self.turns.push(TurnEnd { results, cause });
        self.this_turn = Counts::default();
        let next = target.scenario.turns.get(at + 1)?;
        let said = Message::new(crate::record::Role::Assistant, reply.content.clone());
        Some(vec![said, Message::user(next.user.clone())])
    }

    fn cause(&self, reply: &Reply, right_state: bool) -> Cause {
        if speech::leaked(self.arm, &self.target.tools, reply) {
            Cause::LeakedToContent
        } else if self.this_turn.bad_json > 0 {
            Cause::BadJson
        } else if self.this_turn.calls == 0 {
            Cause::NoCall
        } else if right_state {
            Cause::MissingResult
        } else {
            Cause::WrongState
        }
    }

    /// Judges the conversation as it stands.
    pub(super) fn score(&self) -> Score {
        let required: usize = self.target.scenario.turns.iter().map(|turn| turn.results.len()).sum();
        let told: usize = self.turns.iter().map(|turn| turn.results).sum();
        let state = self.gold.last() == Some(&self.world.essence());
        let finished = self.turns.len() == self.target.scenario.turns.len();
        let right = finished && state && told == required;
        let score = Score::of(f64::from(u8::from(right)))
            .with("turns", self.turns.len() as f64)
            .with("calls", f64::from(self.calls))
            .with("errors", f64::from(self.errors))
            .with("state", f64::from(u8::from(state)))
            .with("results", if required == 0 { 1.0 } else { told as f64 / required as f64 });
        if right { score } else { self.with_cause(score) }
    }

    /// Adds where it first went wrong (turns counted from 1), and why.
    fn with_cause(&self, score: Score) -> Score {
        let wrong = self.turns.iter().enumerate().find_map(|(at, turn)| Some((at, turn.cause?)));
        let ended = (self.turns.len(), self.stopped.unwrap_or(Cause::Unfinished));
        let (at, cause) = wrong.unwrap_or(ended);
        score.with("first_wrong_turn", (at + 1) as f64).labelled(cause.name())
    }
}

fn open(target: &Target) -> Result<World<'_>, String> {
    World::open(&target.environment, &target.scenario.state, &target.tools)
}

/// What the state is after each turn when the right calls are made.
fn milestones(target: &Target) -> Result<Vec<Value>, String> {
    let mut world = open(target)?;
    let mut states = Vec::new();
    for turn in &target.scenario.turns {
        for (name, arguments) in &turn.calls {
            // Some right calls are meant to fail: the person says what to do then.
            let _ = world.call(name, arguments.clone());
        }
        states.push(world.essence());
    }
    // What the data set says is required, not what its calls happen to come to.
    if let Some(last) = states.last_mut() {
        *last = World::open(&target.environment, &target.scenario.end, &target.tools)?.essence();
    }
    Ok(states)
}

fn tokens(message: &Message) -> u64 {
    let calls = message.tool_calls.iter().map(|call| call.name.len() + call.arguments.len());
    let bytes = (message.content.len() + calls.sum::<usize>()) as u64;
    bytes.div_ceil(BYTES_PER_TOKEN) + MESSAGE_TOKENS
}

/// The texts and numbers in an answer, a line each: what is escaped in JSON is as it is told.
fn spoken(answer: &Value) -> String {
    match answer {
        Value::String(text) => format!("{text}\n"),
        Value::Array(values) => values.iter().map(spoken).collect(),
        Value::Object(object) => {
            object.iter().map(|(key, value)| format!("{key}\n{}", spoken(value))).collect()
        }
        other => format!("{other}\n"),
    }
}
