//! Who holds what, while things are put down, moved and exchanged: are updates lost?

use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::record::{Case, Outcome, Reply, Score};
use crate::task::options::{self, OUTPUT_HELP, THINKING, option, output_tokens, tuned};
use crate::task::random::Random;
use crate::task::words::NOUNS;
use crate::task::{Card, Harder, Needs, Params, Step, Task, TaskOption, TokenCounter};

use super::dialogue::{self, Draft, Target, Turn};
use super::turns::{self, Judged, Verdict};

const OWNERS: &[&str] = &[
    "Ada", "Bruno", "Carla", "Dmitri", "Elena", "Farid", "Greta", "Hugo", "Ines", "Jonas", "Keiko", "Luca",
    "Mara", "Nils", "Olga", "Pablo",
];
const PLACES: &[&str] = &["drawer", "box", "locker", "crate", "trunk", "cupboard", "chest", "safe"];
/// What a place holds that holds no thing.
const EMPTY: &str = "empty";
/// For how many turns what is asked may have stood unchanged: one of these is aimed at in every turn.
const LAGS: [u32; 7] = [0, 1, 2, 4, 8, 16, 32];
/// Lags are reported in these ranges, with the name of their figure.
const LAG_RANGES: [(u32, u32, &str); 4] =
    [(0, 0, "lag_0"), (1, 3, "lag_1_3"), (4, 15, "lag_4_15"), (16, u32::MAX, "lag_16_up")];

static OPTIONS: &[TaskOption] = &[
    output_tokens(12, OUTPUT_HELP),
    THINKING,
    tuned(option("owners", "people who have places; more is harder", 3, 1, 16), Harder::Larger),
    tuned(option("places", "places that each of them has; more is harder", 2, 2, 8), Harder::Larger),
    tuned(option("events", "events in a turn; more is harder", 2, 1, 32), Harder::Larger),
];

/// The task `coherence/state_ledger`.
#[derive(Debug)]
pub struct StateLedger;

/// Something happens to places, named by their numbers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Event {
    /// A thing is put there; what was there is gone.
    Put(usize, String),
    /// What the first holds goes to the second; what was there is gone.
    Move(usize, usize),
    /// Both exchange what they hold.
    Swap(usize, usize),
}

impl Event {
    fn happen(&self, held: &mut [String]) {
        match self {
            Self::Put(at, thing) => held[*at].clone_from(thing),
            Self::Move(from, to) => {
                let moved = std::mem::replace(&mut held[*from], EMPTY.into());
                held[*to] = moved;
            }
            Self::Swap(one, other) => held.swap(*one, *other),
        }
    }

    fn places(&self) -> Vec<usize> {
        match self {
            Self::Put(at, _) => vec![*at],
            Self::Move(one, other) | Self::Swap(one, other) => vec![*one, *other],
        }
    }
}

/// What happened in a turn, and what is asked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Facts {
    events: Vec<Event>,
    /// Number of the place that is asked about.
    asked: usize,
    /// Turns since it last changed.
    lag: u32,
}

type Ledger = Target<Vec<String>, Facts>;

impl Task for StateLedger {
    fn card(&self) -> Card {
        Card {
            name: "coherence/state_ledger",
            summary: "lost updates: what a place holds after many turns of things put down, moved and exchanged",
            options: OPTIONS,
            needs: Needs::DIALOGUE,
            ..Card::PRIMARY
        }
    }

    fn max_tokens(&self, params: &Params) -> u32 {
        options::max_tokens(self, params)
    }

    fn cases(&self, params: &Params, seed: u64, tokens: &dyn TokenCounter) -> Result<Vec<Case>> {
        let of = |name| params.option(&self.card(), name) as usize;
        let (owners, places, events) = (of("owners"), of("places"), of("events"));
        dialogue::cases(self, params, seed, tokens, |random| History::new(random, owners, places, events))
    }

    fn step(&self, case: &Case, replies: &[Reply]) -> Step {
        dialogue::step(case, replies)
    }

    /// The answer is the only thing that a reply names. What the model said of a place is carried on through the
    /// events: a wrong answer that follows from that is its own mistake.
    fn score(&self, case: &Case, reply: &Reply) -> Outcome {
        match Ledger::read(case) {
            Ok(ledger) => score(&ledger, reply).map_or_else(out_of_form, Outcome::Scored),
            Err(outcome) => outcome,
        }
    }

    fn perfect(&self, case: &Case) -> Option<Reply> {
        Ledger::read(case).ok()?.perfect()
    }
}

fn out_of_form() -> Outcome {
    Outcome::Unscored { reason: "the target names places that there are not".to_owned() }
}

/// `None` when the ledger names places that it has not.
fn score(ledger: &Ledger, reply: &Reply) -> Option<Score> {
    let vocabulary: Vec<&str> = NOUNS.iter().copied().chain([EMPTY]).collect();
    let (mut held, mut believed) = (ledger.opening.clone(), ledger.opening.clone());
    let known = |facts: &Facts| {
        let mut places = facts.events.iter().flat_map(Event::places).chain([facts.asked]);
        places.all(|place| place < ledger.opening.len())
    };
    let mut judged = Vec::with_capacity(ledger.turns.len());
    for (turn, reply) in ledger.replies(reply) {
        let Facts { events, asked, .. } = &turn.facts;
        if !known(&turn.facts) {
            return None;
        }
        for event in events {
            event.happen(&mut held);
            event.happen(&mut believed);
        }
        let text = reply.map(turns::read).unwrap_or_default();
        let answer = turns::only_one(&vocabulary, &text);
        let elsewhere =
            answer.is_some_and(|answer| answer != EMPTY && held.iter().any(|thing| thing == answer));
        let error = if elsewhere { "other_place" } else { "forgot" };
        let follows = believed[*asked].as_str();
        let verdict = Verdict::of(reply, answer.as_ref(), &held[*asked].as_str(), Some(&follows), error);
        judged.push(Judged::exact(judged.len(), ledger.turns.len(), verdict));
        if let Some(answer) = answer.filter(|_| !ledger.gold) {
            believed[*asked] = answer.to_owned();
        }
    }
    Some(with_lags(turns::score(ledger.gold, &judged), ledger, &judged))
}

/// Adds the accuracy by how long what is asked has stood unchanged.
fn with_lags(score: Score, ledger: &Ledger, judged: &[Judged]) -> Score {
    LAG_RANGES.iter().fold(score, |score, (first, last, name)| {
        let turns = ledger.turns.iter().zip(judged);
        let here: Vec<f64> = turns
            .filter(|(turn, _)| (*first..=*last).contains(&turn.facts.lag))
            .map(|(_, judged)| judged.score)
            .collect();
        match here.len() {
            0 => score,
            n => score.with(name, here.iter().sum::<f64>() / n as f64),
        }
    })
}

/// A ledger and what happens to it.
struct History {
    random: Random,
    places: Vec<String>,
    events: usize,
    opening: Vec<String>,
    held: Vec<String>,
    /// The turn in which each place last changed, the ledger's beginning being turn 0.
    changed: Vec<u32>,
    turns: Vec<Turn<Facts>>,
}

impl History {
    fn new(mut random: Random, owners: usize, places: usize, events: usize) -> Self {
        let names = OWNERS[..owners]
            .iter()
            .flat_map(|owner| PLACES[..places].iter().map(move |place| format!("{owner}'s {place}")));
        let places: Vec<String> = names.collect();
        let mut held: Vec<String> = Vec::new();
        for _ in &places {
            let thing = new_thing(&mut random, &held);
            held.push(thing);
        }
        let changed = vec![0; places.len()];
        Self { random, places, events, opening: held.clone(), held, changed, turns: Vec::new() }
    }

    /// Something that may happen. Only what is there is moved, and never so that a second place becomes empty:
    /// else `empty` would be the best guess everywhere.
    fn event(&mut self) -> Event {
        let places = self.places.len();
        let one = self.random.below(places);
        let other = (one + 1 + self.random.below(places - 1)) % places;
        match self.random.below(3) {
            0 if self.may_move(one, other) => Event::Move(one, other),
            1 => Event::Swap(one, other),
            _ => Event::Put(one, new_thing(&mut self.random, &self.held)),
        }
    }

    fn may_move(&self, from: usize, to: usize) -> bool {
        let full = self.held.iter().all(|thing| thing != EMPTY);
        self.held[from] != EMPTY && (full || self.held[to] == EMPTY)
    }

    fn text(&self, event: &Event) -> String {
        let name = |place: &usize| self.places[*place].as_str();
        match event {
            Event::Put(at, thing) => format!("The {thing} is put in {}.", name(at)),
            Event::Move(from, to) => format!("What is in {} goes to {}.", name(from), name(to)),
            Event::Swap(one, other) => format!("{} and {} exchange things.", name(one), name(other)),
        }
    }

    fn turn(&mut self) -> Turn<Facts> {
        let now = self.turns.len() as u32 + 1;
        let (mut events, mut said) = (Vec::new(), Vec::new());
        for _ in 0..self.events {
            let event = self.event();
            said.push(self.text(&event));
            event.happen(&mut self.held);
            event.places().into_iter().for_each(|place| self.changed[place] = now);
            events.push(event);
        }
        let (asked, lag) = self.ask(now);
        said.push(format!("What is in {}?", self.places[asked]));
        Turn { say: said.join(" "), right: self.held[asked].clone(), facts: Facts { events, asked, lag } }
    }

    /// The place whose lag is nearest to one drawn from [`LAGS`], and its lag.
    fn ask(&mut self, now: u32) -> (usize, u32) {
        let aim = LAGS[self.random.below(LAGS.len())];
        let start = self.random.below(self.places.len());
        let lags = (0..self.places.len()).map(|n| {
            let place = (start + n) % self.places.len();
            (place, now - self.changed[place])
        });
        lags.min_by_key(|(_, lag)| lag.abs_diff(aim)).unwrap_or_default()
    }
}

/// A thing that no place holds.
fn new_thing(random: &mut Random, held: &[String]) -> String {
    loop {
        let thing = random.pick(NOUNS);
        if !held.iter().any(|other| other == thing) {
            return thing.to_owned();
        }
    }
}

impl Draft for History {
    type Opening = Vec<String>;
    type Facts = Facts;

    fn grow(&mut self, units: usize) {
        while self.turns.len() < units {
            let turn = self.turn();
            self.turns.push(turn);
        }
    }

    fn system(&self, _: usize) -> String {
        let lines: Vec<String> =
            self.places.iter().zip(&self.opening).map(|(place, thing)| format!("{place}: {thing}")).collect();
        format!(
            "You keep a ledger of what is where. At first:\n{}\nA place holds one thing at most: what is put in it or \
             goes to it takes the place of what was there, and a place whose thing went away is {EMPTY}. Every message \
             says what happens, in order, and then asks what is in a place now. Reply with the one word for the thing \
             (or {EMPTY}) and with nothing else.",
            lines.join("\n")
        )
    }

    fn opening(&self) -> Vec<String> {
        self.opening.clone()
    }

    fn turns(&self, units: usize) -> Vec<Turn<Facts>> {
        self.turns[..units].to_vec()
    }

    fn added(&self, unit: usize) -> String {
        self.turns[unit].say.clone()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::dialogue::testing::{judge, make};
    use super::*;
    use crate::record::{Message, Role};

    /// Reads the conversation sentence by sentence; `heard` may change what is said.
    fn solve(messages: &[Message], mut heard: impl FnMut(&mut BTreeMap<String, String>, &Message)) -> String {
        let mut held: BTreeMap<String, String> = messages[0]
            .content
            .lines()
            .filter_map(|line| line.split_once(": "))
            .map(|(place, thing)| (place.to_owned(), thing.to_owned()))
            .collect();
        let mut answer = String::new();
        for message in &messages[1..] {
            if message.role == Role::Assistant {
                heard(&mut held, message);
                continue;
            }
            for sentence in message.content.split_inclusive(['.', '?']) {
                let sentence = sentence.trim().trim_end_matches(['.', '?']);
                if let Some(place) =
                    sentence.strip_prefix("What is in ").filter(|rest| !rest.contains(" goes to "))
                {
                    answer = held[place].clone();
                } else if let Some((from, to)) =
                    sentence.strip_prefix("What is in ").and_then(|rest| rest.split_once(" goes to "))
                {
                    let thing = held.insert(from.to_owned(), "empty".to_owned()).unwrap();
                    held.insert(to.to_owned(), thing);
                } else if let Some((thing, place)) =
                    sentence.strip_prefix("The ").and_then(|rest| rest.split_once(" is put in "))
                {
                    held.insert(place.to_owned(), thing.to_owned());
                } else {
                    let (one, other) =
                        sentence.strip_suffix(" exchange things").unwrap().split_once(" and ").unwrap();
                    let [thing, of_other] = [one, other].map(|place| held[place].clone());
                    held.insert(one.to_owned(), of_other);
                    held.insert(other.to_owned(), thing);
                }
            }
        }
        answer
    }

    #[test]
    fn a_reader_of_the_conversation_gets_every_turn_right() {
        for options in [&[][..], &[("owners", 1), ("events", 5)], &[("owners", 16), ("places", 8)]] {
            for case in make(&StateLedger, 4096, 4, options) {
                let score =
                    judge(&StateLedger, &case, |messages| format!("The {}.", solve(messages, |_, _| ())));
                assert_eq!((score.quality, score.label), (Some(1.0), None), "{options:?}");
                assert_eq!(score.metrics["lag_0"], 1.0);
            }
        }
    }

    #[test]
    fn a_constant_answer_gets_little() {
        for case in make(&StateLedger, 8192, 6, &[]) {
            let score = judge(&StateLedger, &case, |_| EMPTY.to_owned());
            assert!(score.quality.unwrap() < 0.3, "{:?}", score.quality);
        }
    }

    #[test]
    fn words_of_the_ledger_do_not_name_things() {
        for word in PLACES.iter().chain([&EMPTY]) {
            assert!(!NOUNS.contains(word), "{word}");
        }
    }

    #[test]
    fn lags_are_spread() {
        let case = &make(&StateLedger, 8192, 1, &[("owners", 8), ("places", 2)])[0];
        let ledger = Ledger::read(case).unwrap();
        for (first, last, name) in LAG_RANGES {
            let here = ledger.turns.iter().filter(|turn| (first..=last).contains(&turn.facts.lag)).count();
            assert!(here * 20 > ledger.turns.len(), "{name}: {here} of {}", ledger.turns.len());
        }
    }

    /// A model that answers one turn wrongly and believes what it said from then on.
    fn believer(messages: &[Message], wrong_at: usize, thing: &str) -> String {
        let turn = messages.iter().filter(|message| message.role == Role::User).count();
        if turn == wrong_at {
            return thing.to_owned();
        }
        let mut asked: Vec<String> = messages
            .iter()
            .filter(|message| message.role == Role::User)
            .map(|message| {
                let (_, place) = message.content.rsplit_once("What is in ").unwrap();
                place.trim_end_matches('?').to_owned()
            })
            .rev()
            .collect();
        solve(messages, |held, reply| {
            held.insert(asked.pop().unwrap(), reply.content.clone());
        })
    }

    #[test]
    fn its_own_mistake_is_followed_through_events() {
        let cases = make(&StateLedger, 8192, 8, &[("events", 1)]);
        let [mut own, mut forgot] = [0.0; 2];
        for pair in cases.chunks(2) {
            let taken = StateLedger.perfect(&pair[0]).unwrap();
            let unused = NOUNS.iter().find(|noun| taken.turns().all(|turn| turn.content != **noun)).unwrap();
            let free = judge(&StateLedger, &pair[0], |messages| believer(messages, 3, unused));
            let gold = judge(&StateLedger, &pair[1], |messages| believer(messages, 3, unused));
            own += free.metrics["own_mistake"] * free.metrics["turns"];
            forgot += free.metrics["forgot"] * free.metrics["turns"];
            assert_eq!((gold.metrics["own_mistake"], gold.metrics["first_wrong_turn"]), (0.0, 3.0));
            assert_eq!(gold.metrics["forgot"] * gold.metrics["turns"], 1.0);
        }
        assert_eq!(forgot.round(), 4.0, "one in each conversation");
        assert!(own >= 1.0, "in no conversation was the place asked about again");
    }

    #[test]
    fn errors_are_named() {
        let case = &make(&StateLedger, 1024, 1, &[])[0];
        let ledger = Ledger::read(case).unwrap();
        let first = |content: &str| {
            let reply = Reply { content: content.into(), ..Reply::default() };
            let turns = ledger.turns.len() as f64;
            let score = score(&ledger, &reply).unwrap();
            (score.quality.unwrap() * turns, score.metrics["forgot"] * turns)
        };
        let right = &ledger.turns[0].right;
        assert_eq!(first(&right.to_uppercase()), (1.0, 0.0));
        assert_eq!(first(&format!("{right} or lantern or owl")), (0.0, 0.0));
        let other =
            NOUNS.iter().find(|noun| *noun != right && !ledger.opening.iter().any(|thing| thing == *noun));
        assert_eq!(first(other.unwrap()), (0.0, 1.0));
    }

    #[test]
    fn a_target_with_unknown_places_is_not_judged() {
        let mut case = make(&StateLedger, 1024, 1, &[])[0].clone();
        case.target["turns"][1]["facts"]["asked"] = serde_json::json!(99);
        assert!(matches!(StateLedger.score(&case, &Reply::default()), Outcome::Unscored { .. }));
    }
}
