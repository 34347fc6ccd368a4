//! What the tasks of this family share: a chain of facts among facts that do not matter, and what is asked about it.

use serde_json::Value;

use crate::record::Reply;
use crate::task::coherence::detect;
use crate::task::options::{THINKING, option, output_tokens, tuned};
use crate::task::params::FILL_CONTEXT;
use crate::task::random::Random;
use crate::task::retrieval::closed::{Closed, MOST_PARTS};
use crate::task::retrieval::draft::Draw;
use crate::task::retrieval::listing::{Fixed, Listing, Question, share};
use crate::task::{Card, Harder, Needs, Params, TaskOption};

/// What the line of the answer begins with.
pub(super) const MARK: &str = "Answer:";

/// Most questions to one text: each has a chain of its own.
pub(super) const MOST_QUESTIONS: u32 = 16;
/// Tokens kept for the lines around the steps, and for a step, where a suite says nothing.
const BESIDE_STEPS: u32 = 96;
const STEP_TOKENS: u32 = 24;
/// Names of the figures beside the score.
pub(super) const FIGURES: &[&str] = &["right_tokens", "ran_out", "looped", "changed"];

/// The options of a task of this family, with what else it has.
pub(super) const OUTPUT: TaskOption =
    output_tokens(240, "output budget of steps and answer in tokens; without it 96, and 24 a step");
pub(super) const STEPS: TaskOption = tuned(
    option("steps", "steps from the first fact to the answer; more is harder", 6, 3, 30),
    Harder::Larger,
);
pub(super) const THINKS: TaskOption = THINKING;
pub(super) const FILL: TaskOption = option(
    FILL_CONTEXT,
    "1: facts that do not matter fill the context; 0: only `distractors` of them",
    1,
    0,
    1,
);
pub(super) const DISTRACTORS: TaskOption =
    option("distractors", "facts that do not matter, where they do not fill the context", 12, 0, 10_000);

/// What a card of this family needs.
pub(super) const NEEDS: Needs =
    Needs { closed_answer: true, questions: MOST_QUESTIONS, reads_tokens: true, ..Needs::LONG };

/// Tokens kept for steps and answer where a suite says nothing.
pub(super) fn answer_tokens(card: &Card, params: &Params) -> u32 {
    BESIDE_STEPS + STEP_TOKENS * params.option(card, "steps")
}

/// A step as a reply says it: `The brave fox inn has`, `46`, ` guests.`
#[derive(Debug, Clone)]
pub(super) struct Step {
    pub(super) begun: String,
    pub(super) value: String,
    pub(super) end: &'static str,
}

/// A chain of facts, and the question about its end.
#[derive(Debug)]
pub(super) struct Chain {
    /// The facts, in any order.
    pub(super) facts: Vec<String>,
    pub(super) question: String,
    pub(super) target: Value,
    /// What follows from them, in order; the last is the answer.
    pub(super) steps: Vec<Step>,
}

/// The listing of the facts of all chains among others.
pub(super) fn listing(
    draw: &Draw<'_>,
    intro: &str,
    chains: Vec<Chain>,
    random: &mut Random,
    other: impl FnMut() -> String + 'static,
) -> Listing {
    let mut facts = Vec::new();
    let mut questions = Vec::new();
    for chain in chains {
        let closed = Some(closed(&chain.steps));
        facts.extend(chain.facts.into_iter().map(|fact| Fixed::new(share(random), fact)));
        questions.push(Question { text: chain.question, target: chain.target, closed });
    }
    let listing = Listing::new(intro.to_owned(), questions, facts, other);
    match draw.option(FILL_CONTEXT) {
        0 => listing.exactly(draw.option("distractors") as usize),
        _ => listing,
    }
}

/// A right reply.
pub(super) fn worked(steps: &[Step]) -> String {
    let answer = steps.last().map_or("", |step| &step.value);
    format!("{}\n{MARK} {answer}", said(steps))
}

fn said(steps: &[Step]) -> String {
    let said: Vec<String> =
        steps.iter().map(|Step { begun, value, end }| format!("{begun} {value}{end}")).collect();
    said.join(" ")
}

/// The values of up to six steps, the last among them, each behind the right steps in front of it.
fn closed(steps: &[Step]) -> Closed {
    let parts = MOST_PARTS.min(steps.len());
    let places = (1..=parts).map(|part| part * steps.len() / parts - 1);
    Closed::steps(places.map(|at| {
        let before = said(&steps[..at]);
        let blank = if before.is_empty() { "" } else { " " };
        (format!("{before}{blank}{}", steps[at].begun), steps[at].value.clone())
    }))
}

/// Figures of a reply beside its score: `right_tokens`, what a right one took (tokens, thinking included); `ran_out`, 1 where
/// its budget ended it; `looped`, 1 where it ends in a loop; `changed`, 1 where the last answer that it names, thinking
/// included, is another than the one before.
pub(super) fn figures(reply: &Reply, right: bool, changed: bool) -> Vec<(&'static str, f64)> {
    let flag = |value: bool| f64::from(u8::from(value));
    let mut figures =
        vec![("ran_out", flag(crate::task::retrieval::ran_out(reply))), ("changed", flag(changed))];
    if !reply.tokens.is_empty() {
        figures.push(("looped", flag(detect::trailing_loop(&reply.tokens).is_some())));
        if right {
            figures.push(("right_tokens", reply.tokens.len() as f64));
        }
    }
    figures
}
