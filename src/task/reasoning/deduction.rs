//! Rules of the form if .. then: one fact, and a chain of rules of which one fires at each step.

use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::record::{Case, Outcome, Reply, Score};
use crate::task::options::{option, read_target, tuned};
use crate::task::random::Random;
use crate::task::retrieval::draft::{CaseDraft, Draw};
use crate::task::retrieval::{About, Retrieval};
use crate::task::words::Keys;
use crate::task::{Card, Harder, Params, TaskOption};

use super::chain::{self, Chain, Step};
use super::final_answer;

/// What a room may hold: none of them is a word of the rooms' names.
const THINGS: &[&str] = &["harp", "flute", "cello", "lute", "banjo", "tuba", "trumpet"];
/// In so many of 100 draws a fact that does not matter is what a new room holds.
const NEW_START: usize = 10;

static OPTIONS: &[TaskOption] = &[
    chain::OUTPUT,
    chain::THINKS,
    chain::STEPS,
    tuned(
        option("things", "things that a room may hold: rules a step, and answers", 4, 2, 7),
        Harder::Larger,
    ),
    chain::FILL,
    chain::DISTRACTORS,
];

/// The task `reasoning/deduction`.
#[derive(Debug)]
pub struct Deduction;

#[derive(Debug, Serialize, Deserialize)]
struct Target {
    /// What the room that is asked for holds.
    answer: String,
    /// A reply that works it out.
    worked: String,
}

impl Retrieval for Deduction {
    fn about(&self) -> About {
        About {
            card: Card {
                name: "reasoning/deduction",
                summary: "a chain of rules that follow from one fact, among rules that do not fire, worked out step by step",
                options: OPTIONS,
                figures: chain::FIGURES,
                needs: chain::NEEDS,
                ..Card::PRIMARY
            },
            prefill: None,
        }
    }

    fn answer_tokens(&self, params: &Params) -> u32 {
        chain::answer_tokens(&self.about().card, params)
    }

    fn draft<'a>(&self, draw: &Draw<'a>) -> Box<dyn CaseDraft + 'a> {
        let mut random = draw.random("");
        let steps = draw.option("steps") as usize;
        let mut house = House::new(draw.random("#others"), draw.option("things") as usize);
        let chains = (0..draw.params.questions.max(1)).map(|_| house.chain(&mut random, steps)).collect();
        let intro = format!(
            "In a house each room holds one of these things: {}. What is known of the rooms stands here in no order, and most of \
             it does not matter.",
            house.things.join(", ")
        );
        Box::new(chain::listing(draw, &intro, chains, &mut random, move || house.other()))
    }

    /// Quality is 1 when the final answer is the right thing. Figures: see [`chain::figures`].
    fn judge(&self, case: &Case, reply: &Reply) -> Result<Score, Outcome> {
        let target: Target = read_target(case)?;
        let first = |text: &str| things(text).next();
        let last = |text: &str| things(text).last();
        Ok(final_answer::judge(reply, &target.answer, first, last))
    }

    fn right_answer(&self, case: &Case) -> Option<String> {
        read_target::<Target>(case).ok().map(|target| target.worked)
    }
}

/// The things that a text names, in order.
fn things(text: &str) -> impl Iterator<Item = String> {
    let words = text.split(|c: char| !c.is_alphanumeric()).map(str::to_lowercase);
    words.filter(|word| THINGS.contains(&word.as_str()))
}

/// Rooms, and what follows for one from another.
struct House {
    random: Random,
    names: Keys,
    things: Vec<&'static str>,
    /// Rooms that rules which do not matter may begin with.
    known: Vec<String>,
    /// Rules that are still to be told.
    waiting: Vec<String>,
}

impl House {
    fn new(mut random: Random, things: usize) -> Self {
        let mut all = THINGS.to_vec();
        random.shuffle(&mut all);
        all.truncate(things);
        Self { random, names: Keys::default(), things: all, known: Vec::new(), waiting: Vec::new() }
    }

    fn name(&mut self, random: &mut Random) -> String {
        format!("{} room", self.names.next(random).replace('-', " "))
    }

    /// A new room that holds for each thing of another one a thing of its own: the things, and the rules.
    fn rules(&mut self, random: &mut Random, from: &str) -> (String, Vec<&'static str>, Vec<String>) {
        let to = self.name(random);
        let mut held = self.things.clone();
        random.shuffle(&mut held);
        let rule =
            |(one, other): (&&str, &&str)| format!("If the {from} holds a {one}, the {to} holds a {other}.");
        let rules = self.things.iter().zip(&held).map(rule).collect();
        (to, held, rules)
    }

    fn chain(&mut self, random: &mut Random, steps: usize) -> Chain {
        let mut room = self.name(random);
        let mut holds = random.below(self.things.len());
        let mut facts = vec![format!("The {room} holds a {}.", self.things[holds])];
        let mut worked = vec![self.step(&room, holds)];
        let mut rooms = vec![room.clone()];
        for _ in 0..steps {
            let (next, held, rules) = self.rules(random, &room);
            holds = self.things.iter().position(|thing| *thing == held[holds]).unwrap_or_default();
            facts.extend(rules);
            worked.push(self.step(&next, holds));
            rooms.push(next.clone());
            room = next;
        }
        let question = format!(
            "What does the {room} hold? Work it out step by step: say for one room after another what it holds, beginning with \
             the one that is known. End with a line that begins with `{}` and names that thing.",
            chain::MARK
        );
        let target = json!(Target { answer: self.things[holds].to_owned(), worked: chain::worked(&worked) });
        self.known.extend(rooms);
        Chain { facts, question, target, steps: worked }
    }

    fn step(&self, room: &str, holds: usize) -> Step {
        Step { begun: format!("The {room} holds a"), value: self.things[holds].to_owned(), end: "." }
    }

    /// A fact or a rule about a room that no chain leads to.
    fn other(&mut self) -> String {
        let mut random = self.random.clone();
        if self.waiting.is_empty() && random.chance(NEW_START) {
            let room = self.name(&mut random);
            let thing = self.things[random.below(self.things.len())];
            self.known.push(room.clone());
            self.waiting.push(format!("The {room} holds a {thing}."));
        } else if self.waiting.is_empty() {
            let from = self.known[random.below(self.known.len())].clone();
            let (room, _, rules) = self.rules(&mut random, &from);
            self.known.push(room);
            self.waiting = rules;
        }
        let at = random.below(self.waiting.len());
        self.random = random;
        self.waiting.swap_remove(at)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::testing::{facts, make, of_family, question, shared};
    use super::*;
    use crate::task::Task;
    use crate::task::words::{ADJECTIVES, NOUNS};

    /// What every room holds as far as it follows: rules fire until none does any more.
    fn solve(case: &Case) -> String {
        let sentences = facts(case);
        let mut known: BTreeMap<&str, &str> = BTreeMap::new();
        loop {
            let before = known.len();
            for sentence in &sentences {
                let sentence = sentence.trim_end_matches('.');
                let told = match sentence.strip_prefix("If the ") {
                    Some(rule) => {
                        let (condition, consequence) = rule.split_once(", the ").unwrap();
                        let (room, thing) = condition.split_once(" holds a ").unwrap();
                        (known.get(room) == Some(&thing)).then_some(consequence)
                    }
                    None => sentence.strip_prefix("The "),
                };
                if let Some((room, thing)) = told.and_then(|told| told.split_once(" holds a ")) {
                    let old = known.insert(room, thing);
                    assert!(old.is_none_or(|old| old == thing), "{sentence} contradicts {old:?}");
                }
            }
            if known.len() == before {
                break;
            }
        }
        let question = question(case);
        let (_, rest) = question.split_once("What does the ").unwrap();
        known[rest.split_once(" hold?").unwrap().0].to_owned()
    }

    #[test]
    fn all_that_follows_has_the_answer() {
        for (context, steps, things) in [(1024, 3, 2), (2048, 6, 4), (8192, 30, 7), (32_768, 12, 4)] {
            for case in make(&Deduction, context, 4, &[("steps", steps), ("things", things)]) {
                assert_eq!(json!(solve(&case)), case.target["answer"]);
                let perfect = Deduction.perfect(&case).unwrap();
                assert_eq!(perfect.content.matches(" holds a ").count(), steps as usize + 1);
            }
        }
    }

    #[test]
    fn each_question_to_a_text_has_a_chain_of_its_own() {
        for case in shared(&Deduction, 8192, 8) {
            assert_eq!(json!(solve(&case)), case.target["answer"]);
        }
    }

    #[test]
    fn things_are_no_words_of_names() {
        assert!(THINGS.iter().all(|thing| !NOUNS.contains(thing) && !ADJECTIVES.contains(thing)));
    }

    #[test]
    fn no_answer_is_right_much_more_often_than_the_others() {
        let cases = make(&Deduction, 1024, 48, &[("steps", 3)]);
        let count = |thing: &str| cases.iter().filter(|case| case.target["answer"] == thing).count();
        assert!(THINGS.iter().all(|thing| count(thing) < 20));
    }

    #[test]
    fn it_keeps_the_rules_of_its_family() {
        of_family(&Deduction, |case| format!("**Answer:** a {}.", case.target["answer"].as_str().unwrap()));
    }
}
