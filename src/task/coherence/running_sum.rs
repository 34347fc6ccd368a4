//! A sum that is carried on from turn to turn: do errors pile up?

use crate::error::Result;
use crate::record::{Case, Outcome, Reply};
use crate::task::options::{self, OUTPUT_HELP, THINKING, option, output_tokens, tuned};
use crate::task::random::Random;
use crate::task::words::Keys;
use crate::task::{Card, Harder, Needs, Params, Step, Task, TaskOption, TokenCounter};

use super::dialogue::{self, Draft, Target, Turn};
use super::turns::{self, Judged, Verdict};

static OPTIONS: &[TaskOption] = &[
    output_tokens(12, OUTPUT_HELP),
    THINKING,
    option("names", "names that stand for a number", 8, 2, 512),
    tuned(option("per_turn", "names to add up in a turn; more is harder", 2, 1, 64), Harder::Larger),
    tuned(
        option("largest", "largest number that a name stands for; larger is harder", 9, 1, 9999),
        Harder::Larger,
    ),
];

/// The task `coherence/running_sum`.
#[derive(Debug)]
pub struct RunningSum;

/// What a turn adds, and what that makes.
type Sums = (i64, i64);

impl Task for RunningSum {
    fn card(&self) -> Card {
        Card {
            name: "coherence/running_sum",
            summary: "errors that pile up: a sum carried on from turn to turn, from its own replies and from right ones",
            options: OPTIONS,
            needs: Needs::DIALOGUE,
            ..Card::PRIMARY
        }
    }

    fn max_tokens(&self, params: &Params) -> u32 {
        options::max_tokens(self, params)
    }

    fn cases(&self, params: &Params, seed: u64, tokens: &dyn TokenCounter) -> Result<Vec<Case>> {
        let of = |name| params.option(&self.card(), name);
        let (names, per_turn, largest) = (of("names"), of("per_turn"), of("largest"));
        dialogue::cases(self, params, seed, tokens, |random| Sum::new(random, names, per_turn, largest))
    }

    fn step(&self, case: &Case, replies: &[Reply]) -> Step {
        dialogue::step(case, replies)
    }

    /// The last whole number of a reply is its answer.
    fn score(&self, case: &Case, reply: &Reply) -> Outcome {
        let target: Target<(), Sums> = match Target::read(case) {
            Ok(target) => target,
            Err(outcome) => return outcome,
        };
        let mut before: Option<i64> = Some(0);
        let mut judged = Vec::with_capacity(target.turns.len());
        for (turn, reply) in target.replies(reply) {
            let (added, total) = turn.facts;
            let answer = reply.and_then(|reply| last_integer(&turns::read(reply)));
            let follows = before.and_then(|before| before.checked_add(added));
            let verdict = Verdict::of(reply, answer.as_ref(), &total, follows.as_ref(), "forgot");
            judged.push(Judged::exact(judged.len(), target.turns.len(), verdict));
            before = if target.gold { Some(total) } else { answer };
        }
        Outcome::Scored(turns::score(target.gold, &judged))
    }

    fn perfect(&self, case: &Case) -> Option<Reply> {
        Target::<(), Sums>::read(case).ok()?.perfect()
    }
}

/// The last whole number of a text; commas between its digits do not count.
fn last_integer(text: &str) -> Option<i64> {
    let is_part = |c: char| c.is_ascii_digit() || c == ',';
    let end = text.rfind(|c: char| c.is_ascii_digit())? + 1;
    let rest = text[..end].trim_end_matches(is_part);
    let digits: String = text[rest.len()..end].chars().filter(char::is_ascii_digit).collect();
    let number: i64 = digits.parse().ok()?;
    let before_sign = rest.strip_suffix('-').map(|before| before.chars().next_back());
    // A dash behind a word or a number is no sign.
    let negative = before_sign.is_some_and(|c| c.is_none_or(|c| !c.is_alphanumeric()));
    Some(if negative { -number } else { number })
}

/// A dictionary, and turns that name some of it.
struct Sum {
    random: Random,
    numbers: Vec<(String, u32)>,
    per_turn: u32,
    turns: Vec<Turn<Sums>>,
}

impl Sum {
    fn new(mut random: Random, names: u32, per_turn: u32, largest: u32) -> Self {
        let mut keys = Keys::default();
        let mut entry = || (keys.next(&mut random), random.between(1, largest));
        let numbers = (0..names).map(|_| entry()).collect();
        Self { random, numbers, per_turn, turns: Vec::new() }
    }

    fn turn(&mut self) -> Turn<Sums> {
        let mut names = Vec::new();
        let mut added = 0;
        for _ in 0..self.per_turn {
            let (name, number) = &self.numbers[self.random.below(self.numbers.len())];
            names.push(name.as_str());
            added += i64::from(*number);
        }
        let total = added + self.turns.last().map_or(0, |turn| turn.facts.1);
        Turn { say: format!("Add {}.", names.join(", ")), right: total.to_string(), facts: (added, total) }
    }
}

impl Draft for Sum {
    type Opening = ();
    type Facts = Sums;

    fn grow(&mut self, units: usize) {
        while self.turns.len() < units {
            let turn = self.turn();
            self.turns.push(turn);
        }
    }

    fn system(&self, _: usize) -> String {
        let lines: Vec<String> =
            self.numbers.iter().map(|(name, number)| format!("{name} = {number}")).collect();
        format!(
            "Each of these names stands for a number:\n{}\nYou keep a running sum, which is 0 at first. Every message \
             names what to add to it; a name may come more than once. Reply with the new running sum in digits and \
             with nothing else.",
            lines.join("\n")
        )
    }

    fn opening(&self) {}

    fn turns(&self, units: usize) -> Vec<Turn<Sums>> {
        self.turns[..units].to_vec()
    }

    fn added(&self, unit: usize) -> String {
        self.turns[unit].say.clone()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::super::dialogue::testing::{judge, make};
    use super::*;
    use crate::record::{Message, Role};

    /// Reads the conversation as a person would, and works out the sum from all its turns.
    fn solve(messages: &[Message]) -> i64 {
        let numbers: BTreeMap<&str, i64> = messages[0]
            .content
            .lines()
            .filter_map(|line| line.split_once(" = "))
            .map(|(name, number)| (name, number.parse().unwrap()))
            .collect();
        let said = messages.iter().filter(|message| message.role == Role::User);
        said.flat_map(|message| message.content["Add ".len()..].trim_end_matches('.').split(", "))
            .map(|name| numbers[name])
            .sum()
    }

    #[test]
    fn a_reader_of_the_conversation_gets_every_turn_right() {
        for options in [&[][..], &[("per_turn", 5), ("largest", 500), ("names", 3), ("output_tokens", 16)]] {
            for case in make(&RunningSum, 2048, 4, options) {
                let score = judge(&RunningSum, &case, |messages| format!("Sum: **{}**.", solve(messages)));
                assert_eq!((score.quality, score.label), (Some(1.0), None));
            }
        }
    }

    /// Adds what the last turn names to what the last reply in the conversation says, with one slip.
    fn slips(messages: &[Message], slip_at: usize) -> String {
        let replies: Vec<&Message> = messages.iter().filter(|m| m.role == Role::Assistant).collect();
        let before = replies.last().map_or(0, |message| last_integer(&message.content).unwrap());
        let (first, last) = (messages[0].clone(), messages.last().unwrap().clone());
        let slip = i64::from(replies.len() + 1 == slip_at);
        (before + solve(&[first, last]) + slip).to_string()
    }

    #[test]
    fn its_own_mistake_is_told_from_forgetting() {
        let cases = make(&RunningSum, 2048, 2, &[]);
        let score = judge(&RunningSum, &cases[0], |messages| slips(messages, 4));
        let turns = score.metrics["turns"];
        assert_eq!(score.quality, Some(3.0 / turns));
        assert_eq!(score.metrics["first_wrong_turn"], 4.0);
        assert_eq!(score.metrics["forgot"], 1.0 / turns);
        assert_eq!(score.metrics["own_mistake"], (turns - 4.0) / turns);
        assert_eq!(score.label.as_deref(), Some("own_mistake"));
        // With gold history the same slip costs one turn.
        let gold = judge(&RunningSum, &cases[1], |messages| slips(messages, 4));
        assert_eq!(gold.quality, Some((turns - 1.0) / turns));
        assert_eq!((gold.metrics["own_mistake"], gold.metrics["forgot"]), (0.0, 1.0 / turns));
        assert_eq!(gold.metrics["gold_history"], 1.0);
    }

    #[test]
    fn a_conversation_that_stopped_early_has_the_rest_wrong() {
        let case = &make(&RunningSum, 1024, 1, &[])[0];
        let perfect = RunningSum.perfect(case).unwrap();
        let turns = perfect.turns().count();
        let cut = Reply { earlier: perfect.earlier[..3].to_vec(), ..perfect.earlier[3].clone() };
        let outcome = RunningSum.score(case, &cut);
        let score = outcome.score().unwrap();
        assert_eq!(score.quality, Some(4.0 / turns as f64));
        assert_eq!(score.label.as_deref(), Some("missing"));
    }

    #[test]
    fn the_answer_is_the_last_whole_number() {
        for (text, expected) in [
            ("17", Some(17)),
            ("12 + 5 = 17.", Some(17)),
            ("1,234", Some(1234)),
            ("1, 234", Some(234)),
            ("12, or so", Some(12)),
            ("-5", Some(-5)),
            ("= -5", Some(-5)),
            ("fox-5", Some(5)),
            ("9-5", Some(5)),
            ("none", None),
            ("", None),
            ("99999999999999999999999", None),
            ("٣", None),
        ] {
            assert_eq!(last_integer(text), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_has_an_answer_or_none(text in any::<String>(), number in any::<u32>()) {
            last_integer(&text);
            prop_assert_eq!(last_integer(&format!("{text} {number} .")), Some(i64::from(number)));
        }
    }
}
