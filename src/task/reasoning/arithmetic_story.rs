//! Quantities told by each other: a chain of small sums through facts that lie scattered among others.

use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::record::{Case, Outcome, Reply, Score};
use crate::task::options::read_target;
use crate::task::random::Random;
use crate::task::retrieval::draft::{CaseDraft, Draw};
use crate::task::retrieval::{About, Retrieval};
use crate::task::words::Keys;
use crate::task::{Card, Params, TaskOption};

use super::chain::{self, Chain, Step};
use super::final_answer;

/// Places, and what they have.
const TOPICS: &[(&str, &str)] = &[
    ("inn", "guests"),
    ("shop", "lamps"),
    ("farm", "goats"),
    ("library", "maps"),
    ("school", "pupils"),
    ("ship", "sailors"),
    ("mill", "sacks"),
    ("garden", "roses"),
];
/// Every quantity lies between these.
const LEAST: i64 = 2;
const MOST: i64 = 999;
/// Quantities begin with at most this.
const FIRST_MOST: u32 = 60;
/// Draws of an operation before the smallest change is taken.
const TRIES: u32 = 24;
/// In so many of 100 draws a fact that does not matter begins a chain of its own.
const NEW_START: usize = 15;

static OPTIONS: &[TaskOption] =
    &[chain::OUTPUT, chain::THINKS, chain::STEPS, chain::FILL, chain::DISTRACTORS];

/// The task `reasoning/arithmetic_story`.
#[derive(Debug)]
pub struct ArithmeticStory;

#[derive(Debug, Serialize, Deserialize)]
struct Target {
    /// The quantity that is asked for.
    answer: i64,
    /// A reply that works it out.
    worked: String,
}

impl Retrieval for ArithmeticStory {
    fn about(&self) -> About {
        About {
            card: Card {
                name: "reasoning/arithmetic_story",
                summary: "a chain of small sums through facts scattered over the context, worked out step by step",
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
        let mut story = Story::new(draw.random("#others"));
        let chains = (0..draw.params.questions.max(1)).map(|_| story.chain(&mut random, steps)).collect();
        let (place, thing) = story.topic;
        let intro = format!(
            "Each of these sentences tells how many {thing} one {place} has; some tell it by another {place}. They come in no \
             order, and most do not matter."
        );
        Box::new(chain::listing(draw, &intro, chains, &mut random, move || story.other()))
    }

    /// Quality is 1 when the final answer is the right number. Figures: see [`chain::figures`].
    fn judge(&self, case: &Case, reply: &Reply) -> Result<Score, Outcome> {
        let target: Target = read_target(case)?;
        let first = |text: &str| final_answer::numbers(text).first().copied();
        let last = |text: &str| final_answer::numbers(text).last().copied();
        Ok(final_answer::judge(reply, &(target.answer as f64), first, last))
    }

    fn right_answer(&self, case: &Case) -> Option<String> {
        read_target::<Target>(case).ok().map(|target| target.worked)
    }
}

/// A place with what it has.
#[derive(Debug, Clone)]
struct Place {
    name: String,
    has: i64,
}

/// How a place's quantity follows from others'.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Relation {
    More(i64),
    Fewer(i64),
    Times(i64),
    Half,
    /// With another place together.
    Together,
}

impl Relation {
    fn draw(random: &mut Random, has: i64) -> Self {
        match random.below(10) {
            0..=2 => Self::More(i64::from(random.between(2, 40))),
            3..=5 => Self::Fewer(i64::from(random.between(2, 40))),
            6 | 7 => Self::Times(i64::from(random.between(2, 3))),
            8 if has % 2 == 0 => Self::Half,
            _ => Self::Together,
        }
    }

    fn of(self, has: i64, beside: i64) -> i64 {
        match self {
            Self::More(by) => has + by,
            Self::Fewer(by) => has - by,
            Self::Times(by) => has * by,
            Self::Half => has / 2,
            Self::Together => has + beside,
        }
    }
}

/// Places that know of each other.
struct Story {
    random: Random,
    names: Keys,
    topic: (&'static str, &'static str),
    /// Places that facts which do not matter may be told by.
    known: Vec<Place>,
}

impl Story {
    fn new(mut random: Random) -> Self {
        let topic = TOPICS[random.below(TOPICS.len())];
        Self { random, names: Keys::default(), topic, known: Vec::new() }
    }

    fn name(&mut self, random: &mut Random) -> String {
        format!("{} {}", self.names.next(random).replace('-', " "), self.topic.0)
    }

    fn start(&mut self, random: &mut Random) -> (Place, String) {
        let place = Place { name: self.name(random), has: i64::from(random.between(5, FIRST_MOST)) };
        let fact = format!("The {} has {} {}.", place.name, place.has, self.topic.1);
        (place, fact)
    }

    /// A new place told by one place, or by two.
    fn next(&mut self, random: &mut Random, from: &Place, beside: &Place) -> (Place, String) {
        let mut relation = Relation::More(1);
        for _ in 0..TRIES {
            let drawn = Relation::draw(random, from.has);
            let distinct = drawn != Relation::Together || beside.name != from.name;
            if distinct && (LEAST..=MOST).contains(&drawn.of(from.has, beside.has)) {
                relation = drawn;
                break;
            }
        }
        // Only at the upper end of the range is there nothing that one more would do.
        if relation == Relation::More(1) && from.has >= MOST {
            relation = Relation::Fewer(1);
        }
        let place = Place { name: self.name(random), has: relation.of(from.has, beside.has) };
        let fact = self.fact(relation, &place.name, &from.name, &beside.name);
        (place, fact)
    }

    fn fact(&self, relation: Relation, name: &str, from: &str, beside: &str) -> String {
        let things = self.topic.1;
        match relation {
            Relation::More(by) => format!("The {name} has {by} more {things} than the {from}."),
            Relation::Fewer(by) => format!("The {name} has {by} fewer {things} than the {from}."),
            Relation::Times(by) => format!("The {name} has {by} times as many {things} as the {from}."),
            Relation::Half => format!("The {name} has half as many {things} as the {from}."),
            Relation::Together => {
                format!("The {name} has as many {things} as the {from} and the {beside} together.")
            }
        }
    }

    /// A chain of its own: each place is told by the one before, or by that and an earlier one.
    fn chain(&mut self, random: &mut Random, steps: usize) -> Chain {
        let (first, fact) = self.start(random);
        let (mut places, mut facts) = (vec![first], vec![fact]);
        for at in 0..steps {
            let beside = places[random.below(at + 1)].clone();
            let (place, fact) = self.next(random, &places[at].clone(), &beside);
            places.push(place);
            facts.push(fact);
        }
        let steps: Vec<Step> = places.iter().map(|place| self.step(place)).collect();
        let (asked, (kind, things)) = (&places[places.len() - 1], self.topic);
        let question = format!(
            "How many {things} does the {} have? Work it out step by step: say for one {kind} after another how many {things} \
             it has, beginning with the one whose number is given. End with a line that begins with `{}` and gives that number.",
            asked.name,
            chain::MARK
        );
        let target = json!(Target { answer: asked.has, worked: chain::worked(&steps) });
        self.known.extend(places);
        Chain { facts, question, target, steps }
    }

    fn step(&self, place: &Place) -> Step {
        Step { begun: format!("The {} has", place.name), value: place.has.to_string(), end: "." }
    }

    /// A fact that does not matter: about a place of its own, mostly told by places that are known.
    fn other(&mut self) -> String {
        let mut random = self.random.clone();
        let (place, fact) = if random.chance(NEW_START) {
            self.start(&mut random)
        } else {
            let [from, beside] = [(); 2].map(|()| self.known[random.below(self.known.len())].clone());
            self.next(&mut random, &from, &beside)
        };
        self.known.push(place);
        self.random = random;
        fact
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::testing::{facts, make, of_family, question, shared};
    use super::*;
    use crate::task::Task;

    /// What every place has: sentences are read again and again until nothing new follows.
    fn solve(case: &Case) -> i64 {
        let sentences = facts(case);
        let mut known: BTreeMap<String, i64> = BTreeMap::new();
        loop {
            let before = known.len();
            for sentence in &sentences {
                if let Some((name, number)) = read(sentence, &known) {
                    let old = known.insert(name, number);
                    assert!(old.is_none_or(|old| old == number), "{sentence} contradicts {old:?}");
                }
            }
            if known.len() == before {
                break;
            }
        }
        assert_eq!(known.len(), sentences.len(), "a sentence for each place");
        assert!(known.values().all(|has| (LEAST..=MOST).contains(has)));
        let question = question(case);
        let (_, rest) = question.split_once(" does the ").unwrap();
        known[rest.split_once(" have?").unwrap().0]
    }

    fn read(sentence: &str, known: &BTreeMap<String, i64>) -> Option<(String, i64)> {
        let (name, rest) = sentence.strip_prefix("The ")?.trim_end_matches('.').split_once(" has ")?;
        let words: Vec<&str> = rest.split(' ').collect();
        let of = |text: &str| known.get(text).copied();
        let number = |word: &str| word.parse::<i64>().ok();
        let behind = |mark: &str| rest.split_once(mark).map(|(_, rest)| rest);
        let value = match words.as_slice() {
            [by, "more", ..] => of(behind(" than the ")?)? + number(by)?,
            [by, "fewer", ..] => of(behind(" than the ")?)? - number(by)?,
            [by, "times", ..] => of(behind(" as the ")?)? * number(by)?,
            ["half", ..] => of(behind(" as the ")?)? / 2,
            ["as", "many", ..] => {
                let both = behind(" as the ")?.strip_suffix(" together")?;
                let (one, other) = both.split_once(" and the ")?;
                of(one)? + of(other)?
            }
            [count, _] => number(count)?,
            _ => panic!("{sentence}"),
        };
        Some((name.to_owned(), value))
    }

    #[test]
    fn a_reader_of_all_sentences_finds_the_answer() {
        for (context, steps) in [(1024, 3), (2048, 6), (4096, 12), (8192, 30), (32_768, 30)] {
            for case in make(&ArithmeticStory, context, 4, &[("steps", steps)]) {
                assert_eq!(json!(solve(&case)), case.target["answer"]);
                let perfect = ArithmeticStory.perfect(&case).unwrap();
                assert_eq!(perfect.content.matches(" has ").count(), steps as usize + 1);
            }
        }
    }

    #[test]
    fn each_question_to_a_text_has_a_chain_of_its_own() {
        for case in shared(&ArithmeticStory, 8192, 8) {
            assert_eq!(json!(solve(&case)), case.target["answer"]);
        }
    }

    #[test]
    fn it_keeps_the_rules_of_its_family() {
        of_family(&ArithmeticStory, |case| format!("Answer: {}", case.target["answer"]));
    }
}
