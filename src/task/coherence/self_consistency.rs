//! A table of people, a long text about them that the model writes turn by turn, and questions at its end: do
//! the people stay who they are?

use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::record::{Case, Outcome, Reply};
use crate::task::options::{self, OUTPUT_HELP, THINKING, option, output_tokens};
use crate::task::prose::{FOODS, NAMES, SURNAMES, TOWNS, TRADES};
use crate::task::random::Random;
use crate::task::{Card, Params, Step, Task, TaskOption, TokenCounter};

use super::dialogue::{self, Draft, Target, Turn};
use super::turns::{self, Judged, Verdict, only_one};

/// Letters between first and last name.
const INITIALS: &[&str] = &[
    "A", "B", "C", "D", "E", "F", "G", "H", "I", "J", "K", "L", "M", "N", "O", "P", "R", "S", "T", "U", "V",
    "W", "Y",
];

static OPTIONS: &[TaskOption] = &[
    output_tokens(64, OUTPUT_HELP),
    THINKING,
    option("questions", "questions at the end, spread over the text", 8, 4, 256),
];

/// The task `coherence/self_consistency`.
#[derive(Debug)]
pub struct SelfConsistency;

/// What is said of a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Field {
    Trade,
    Town,
    Food,
}

impl Field {
    const ALL: [Self; 3] = [Self::Trade, Self::Town, Self::Food];

    const fn vocabulary(self) -> &'static [&'static str] {
        match self {
            Self::Trade => TRADES,
            Self::Town => TOWNS,
            Self::Food => FOODS,
        }
    }

    fn question(self, name: &str) -> String {
        match self {
            Self::Trade => format!("What is the trade of {name}? Reply with the trade alone."),
            Self::Town => format!("In which town does {name} live? Reply with the town alone."),
            Self::Food => format!("What does {name} like to eat or drink? Reply with that alone."),
        }
    }
}

/// What a turn is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Facts {
    /// A passage about a person: trade, town, food.
    Passage([String; 3]),
    /// A question about the person of the passage of that number.
    Question(usize, Field),
}

type Book = Target<(), Facts>;

impl Task for SelfConsistency {
    fn card(&self) -> Card {
        Card {
            name: "coherence/self_consistency",
            summary: "entity drift: questions about people after a long text about them that the model wrote itself",
            options: OPTIONS,
            ..Card::PRIMARY
        }
    }

    fn max_tokens(&self, params: &Params) -> u32 {
        options::max_tokens(self, params)
    }

    fn cases(&self, params: &Params, seed: u64, tokens: &dyn TokenCounter) -> Result<Vec<Case>> {
        let questions = params.option(&self.card(), "questions") as usize;
        dialogue::cases(self, params, seed, tokens, |random| Draw::new(random, questions))
    }

    fn step(&self, case: &Case, replies: &[Reply]) -> Step {
        dialogue::step(case, replies)
    }

    /// The questions are judged: the answer is the only word of its kind that a reply names. A wrong one that
    /// stands in the model's own passage about that person is its own mistake. Where a question's passage lies in
    /// the text is its place.
    fn score(&self, case: &Case, reply: &Reply) -> Outcome {
        let book = match Book::read(case) {
            Ok(book) => book,
            Err(outcome) => return outcome,
        };
        let passages = book.turns.iter().filter(|turn| matches!(turn.facts, Facts::Passage(_))).count();
        let mut written: Vec<String> = Vec::with_capacity(passages);
        let mut told = 0;
        let mut judged = Vec::new();
        for (index, (turn, reply)) in book.replies(reply).enumerate() {
            let text = reply.map(turns::read).unwrap_or_default();
            match &turn.facts {
                Facts::Passage(facts) => {
                    told += kept(facts, &text);
                    written.push(text);
                }
                Facts::Question(passage, field) => {
                    let answer = only_one(field.vocabulary(), &text);
                    let own = written.get(*passage).filter(|_| !book.gold);
                    let follows = own.and_then(|own| only_one(field.vocabulary(), own));
                    let right = turn.right.as_str();
                    let verdict = Verdict::of(reply, answer.as_ref(), &right, follows.as_ref(), "forgot");
                    let place = *passage as f64 / passages.max(1) as f64;
                    judged.push(Judged { turn: index + 1, place, ..Judged::exact(0, 1, verdict) });
                }
            }
        }
        let told = f64::from(told) / (Field::ALL.len() * passages.max(1)) as f64;
        Outcome::Scored(turns::score(book.gold, &judged).with("facts_told", told))
    }

    fn perfect(&self, case: &Case) -> Option<Reply> {
        Book::read(case).ok()?.perfect()
    }
}

/// How many of the three facts a passage tells as they are.
fn kept(facts: &[String; 3], passage: &str) -> u32 {
    let pairs = Field::ALL.iter().zip(facts);
    let told = pairs.filter(|(field, fact)| only_one(field.vocabulary(), passage) == Some(fact.as_str()));
    told.count() as u32
}

/// A person of the table.
#[derive(Debug, Clone, PartialEq)]
struct Person {
    name: String,
    facts: [String; 3],
    /// What would be asked about this person.
    field: Field,
}

impl Person {
    fn row(&self) -> String {
        let [trade, town, food] = &self.facts;
        format!("{}: {trade}, {town}, {food}", self.name)
    }

    fn passage(&self) -> Turn<Facts> {
        let [trade, town, food] = &self.facts;
        let name = &self.name;
        Turn {
            say: format!("Write the next two sentences, about {name}: trade, town, and what {name} likes."),
            right: format!("{name} was a {trade} in {town}. Nothing pleased {name} more than {food}."),
            facts: Facts::Passage(self.facts.clone()),
        }
    }

    fn question(&self, passage: usize) -> Turn<Facts> {
        Turn {
            say: self.field.question(&self.name),
            right: self.facts[self.field as usize].clone(),
            facts: Facts::Question(passage, self.field),
        }
    }
}

/// People, drawn one after another. A unit is a person: a row of the table and a passage.
struct Draw {
    random: Random,
    questions: usize,
    people: Vec<Person>,
}

impl Draw {
    fn new(random: Random, questions: usize) -> Self {
        Self { random, questions, people: Vec::new() }
    }

    fn person(&mut self) -> Person {
        let name = loop {
            let [first, initial, last] = [NAMES, INITIALS, SURNAMES].map(|list| self.random.pick(list));
            let name = format!("{first} {initial}. {last}");
            if !self.people.iter().any(|other| other.name == name) {
                break name;
            }
        };
        let facts = Field::ALL.map(|field| self.random.pick(field.vocabulary()).to_owned());
        Person { name, facts, field: Field::ALL[self.random.below(Field::ALL.len())] }
    }
}

impl Draft for Draw {
    type Opening = ();
    type Facts = Facts;

    /// Every question is about another person.
    fn min_units(&self) -> usize {
        self.questions
    }

    fn grow(&mut self, units: usize) {
        while self.people.len() < units {
            let person = self.person();
            self.people.push(person);
        }
    }

    fn system(&self, units: usize) -> String {
        let rows: Vec<String> = self.people[..units].iter().map(Person::row).collect();
        format!(
            "These are the people of a book (name: trade, town, what they like to eat or drink):\n{}\nYou write the book, \
             two sentences at a time, as you are told. Keep to the table. Later there are questions about the people, \
             to be answered in as few words as possible.",
            rows.join("\n")
        )
    }

    fn opening(&self) {}

    fn turns(&self, units: usize) -> Vec<Turn<Facts>> {
        let people = &self.people[..units];
        let passages = people.iter().map(Person::passage);
        // In the middle of equal parts of the text, so that every quarter is asked about.
        let asked = (0..self.questions).map(|n| (2 * n + 1) * units / (2 * self.questions));
        passages.chain(asked.map(|passage| people[passage].question(passage))).collect()
    }

    fn added(&self, unit: usize) -> String {
        let person = &self.people[unit];
        format!("{}\n{}", person.row(), person.passage().say)
    }
}

#[cfg(test)]
mod tests {
    use super::super::dialogue::testing::{judge, make};
    use super::*;
    use crate::record::Message;

    /// Reads the table in the system prompt and does what the last message says.
    fn model(messages: &[Message], wrong_town_of: Option<&str>) -> String {
        let last = &messages.last().unwrap().content;
        let rows = messages[0].content.lines().filter_map(|line| line.split_once(": "));
        let (name, row) =
            rows.clone().find(|(name, row)| row.split(", ").count() == 3 && last.contains(name)).unwrap();
        let [trade, town, food] = row.split(", ").collect::<Vec<_>>()[..] else { panic!("{row}") };
        let town = match wrong_town_of {
            Some(wrong) if wrong == name => TOWNS.iter().find(|other| **other != town).unwrap(),
            _ => town,
        };
        match last {
            last if last.starts_with("Write") => format!("{name}, {trade}, sat in {town} with {food}."),
            last if last.contains("trade") => format!("A {trade}."),
            last if last.contains("town") => town.to_uppercase(),
            _ => food.to_owned(),
        }
    }

    #[test]
    fn a_reader_of_the_table_gets_every_question_right() {
        for context in [2048, 8192] {
            for case in make(&SelfConsistency, context, 4, &[]) {
                let score = judge(&SelfConsistency, &case, |messages| model(messages, None));
                assert_eq!((score.quality, score.label), (Some(1.0), None));
                assert_eq!((score.metrics["facts_told"], score.metrics["turns"]), (1.0, 8.0));
                let quarters = turns::metric::QUARTERS;
                assert!(quarters.iter().all(|quarter| score.metrics.contains_key(*quarter)));
            }
        }
    }

    /// The name in a question about a town, and that question's number from 0.
    fn asked_town(case: &Case) -> Option<String> {
        let book = Book::read(case).unwrap();
        let question =
            book.turns.iter().find(|turn| matches!(turn.facts, Facts::Question(_, Field::Town)))?;
        let name = question.say.strip_prefix("In which town does ")?.split_once(" live?")?.0;
        Some(name.to_owned())
    }

    #[test]
    fn what_it_wrote_itself_is_told_from_what_it_forgot() {
        let cases = make(&SelfConsistency, 4096, 8, &[]);
        let mut seen = 0;
        for pair in cases.chunks(2) {
            let Some(name) = asked_town(&pair[0]) else { continue };
            seen += 1;
            let [free, gold] = [&pair[0], &pair[1]]
                .map(|case| judge(&SelfConsistency, case, |messages| model(messages, Some(&name))));
            assert_eq!((free.quality, free.label.as_deref()), (Some(7.0 / 8.0), Some("own_mistake")));
            assert_eq!((gold.quality, gold.label.as_deref()), (Some(7.0 / 8.0), Some("forgot")));
            assert!(free.metrics["facts_told"] < 1.0);
        }
        assert!(seen > 0);
    }

    #[test]
    fn passages_tell_facts_or_not() {
        let facts = ["baker", "Cinder Bay", "dried figs"].map(str::to_owned);
        for (text, told) in [
            ("The baker of Cinder Bay eats dried figs.", 3),
            ("The baker of Cinder Bay eats rice.", 2),
            ("The baker and the judge met in Cinder Bay.", 1),
            ("", 0),
        ] {
            assert_eq!(kept(&facts, text), told, "{text}");
        }
    }

    #[test]
    fn no_expression_stands_in_another_of_its_kind() {
        for field in Field::ALL {
            for one in field.vocabulary() {
                assert_eq!(only_one(field.vocabulary(), one), Some(*one));
            }
        }
    }
}
