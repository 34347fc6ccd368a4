//! Prose from a seed: as long as asked for, never the same twice, with facts that come back.
//!
//! Each text has a cast of its own. Who a person is, where they live and what they carry is said early and
//! again later, so a model that still sees the beginning predicts the later mentions with confidence:
//! that is where a damaged context shows. Everything here was written for kneepoint.

use super::random::Random;
use super::words::{ADJECTIVES, NOUNS};

#[rustfmt::skip]
pub(crate) const NAMES: &[&str] = &[
    "Ada", "Bruno", "Carla", "Dmitri", "Elena", "Farid", "Greta", "Hugo", "Ines", "Jonas", "Keiko", "Luca",
    "Mara", "Nils", "Olga", "Pablo", "Quinn", "Rosa", "Samir", "Tilda", "Umar", "Vera", "Wanda", "Yusuf",
];
#[rustfmt::skip]
pub(crate) const SURNAMES: &[&str] = &[
    "Abbott", "Berg", "Castell", "Dorn", "Ekman", "Fuchs", "Garnier", "Holt", "Ivanov", "Jansen", "Kessler",
    "Lindt", "Moreau", "Novak", "Okafor", "Petrov", "Rossi", "Silva", "Tanaka", "Weiss",
];
#[rustfmt::skip]
pub(crate) const TOWNS: &[&str] = &[
    "Aldermoor", "Brackwater", "Cinder Bay", "Dunmarsh", "Eastgate", "Fenwick", "Greyford", "Hollowell",
    "Ironbridge", "Kingsferry", "Larkhill", "Millbrook", "Northolt", "Oakhaven", "Pinecrest", "Ravensby",
    "Saltmere", "Thornbury", "Westmoor", "Yarrow",
];
#[rustfmt::skip]
pub(crate) const TRADES: &[&str] = &[
    "baker", "carpenter", "doctor", "editor", "farmer", "gardener", "judge", "librarian", "mason", "miner", "nurse",
    "painter", "pilot", "printer", "sailor", "singer", "surveyor", "tailor", "teacher", "weaver",
];
#[rustfmt::skip]
const MATERIALS: &[&str] = &[
    "brass", "clay", "copper", "glass", "iron", "ivory", "leather", "linen", "oak", "paper", "pewter", "silk",
    "silver", "steel", "stone", "wool",
];
#[rustfmt::skip]
pub(crate) const FOODS: &[&str] = &[
    "bean soup", "black tea", "bread and cheese", "cold milk", "dried figs", "fried fish", "honey cake", "lentils",
    "onion pie", "pears", "pickled plums", "rice", "roast lamb", "salted butter", "smoked trout", "walnuts",
];
#[rustfmt::skip]
const WEATHER: &[&str] = &[
    "a cold wind", "a dry heat", "a heavy fog", "a light drizzle", "a low sun", "a sudden storm", "bright sunshine",
    "deep snow", "hail", "thin ice", "thunder far away", "warm rain",
];
#[rustfmt::skip]
const TIMES: &[&str] = &[
    "after supper", "at dawn", "at noon", "before the feast", "by midnight", "during the harvest", "in early spring",
    "in late August", "in the third week", "just before dark", "on Friday", "on the last day of March", "on Tuesday",
    "that same evening", "the next morning", "two hours later",
];
#[rustfmt::skip]
const DEEDS: &[&str] = &[
    "asked for", "borrowed", "broke", "buried", "carried", "cleaned", "counted", "described", "drew", "dropped",
    "examined", "forgot", "found", "gave away", "hid", "kept", "lost", "measured", "mended", "moved", "noticed",
    "painted", "sold", "stole", "studied", "traded", "weighed", "wrapped",
];
#[rustfmt::skip]
const REASONS: &[&str] = &[
    "because nobody else would", "for no clear reason", "in spite of the cost", "so that the children could sleep",
    "to settle an old debt", "to win a bet", "without a word", "although the door was locked",
    "while the others argued", "as the rules demanded", "before the letter arrived", "until the money ran out",
];
#[rustfmt::skip]
const MOODS: &[&str] = &[
    "afraid", "angry", "bored", "calm", "curious", "delighted", "doubtful", "jealous", "proud", "puzzled", "relieved",
    "sorry", "tired", "weary",
];
#[rustfmt::skip]
const SUBJECTS: &[&str] = &[
    "the bridge", "the council", "the drought", "the election", "the fire", "the harvest", "the inheritance", "the map",
    "the new railway", "the price of salt", "the school", "the shipwreck", "the tax", "the trial", "the wedding",
    "the well",
];

/// Sentences about whoever the paragraph is about; `{..}` is filled in by [`Prose::slot`].
const SENTENCES: &[&str] = &[
    "{name} {deed} the {adjective} {noun} {time}.",
    "{time_first}, {name} {deed} {count} {noun}s and a {adjective} {noun}.",
    "With {weather} over {home}, {name} stayed indoors and ate {food}.",
    "\"I have {count} {noun}s left,\" said {name}, \"and not one of them is {adjective}.\"",
    "\"Where is my {keepsake}?\" asked {name}, and {other} only shrugged.",
    "As a {trade}, {name} had seen {count} such {noun}s, but never a {adjective} one.",
    "{name} {deed} a {material} {noun} {reason}.",
    "The {noun} near {town} was {adjective}, and {name} felt {mood} about it.",
    "They talked about {subject} until {other} {deed} the {noun}.",
    "{other} wrote to {name} about {subject}, but the letter went to {town}.",
    "In the year {year}, the {trade}s of {town} owned {count} {material} {noun}s.",
    "{name} kept the {keepsake} under a {adjective} {noun}, {reason}.",
    "It cost {count} coins, which made {other} {mood}.",
    "Nobody in {home} {deed} the {noun} that {name} had {deed} {time}.",
    "There was {weather}, then {weather}, and the road to {town} was closed.",
    "{name}, being {mood}, walked {count} miles from {home} to {town} {reason}.",
    "Of the {count} guests, only {other} liked the {food}.",
    "When {other} came in, the {adjective} {noun} fell off the {noun}.",
    "Was it the {noun} or the {noun} that {name} {deed} {time}?",
    "The {trade} from {town} offered {count} {noun}s for the {keepsake}; {name} refused.",
    "{time_first} there was a meeting about {subject}, and {name} spoke {reason}.",
    "A {adjective}, {adjective} {noun} stood where the {material} {noun} had been.",
    "{other} was {mood}: {subject} mattered more than any {noun}.",
    "Between {home} and {town} lie {count} miles of {adjective} land.",
];

/// How a paragraph about somebody who was not named yet begins.
const ARRIVALS: &[&str] = &[
    "{full}, a {trade} from {home}, always carried a {keepsake}.",
    "In {home} there lived a {trade} called {full}, known to all for a {keepsake}.",
    "The {keepsake} belonged to {full}, who was a {trade} in {home}.",
];

/// How a paragraph about somebody who was named before begins: facts that a reader knows already.
const RETURNS: &[&str] = &[
    "{full}, the {trade} from {home}, still carried the {keepsake}.",
    "Meanwhile the {trade} {full} was back in {home}, with the {keepsake} in hand.",
    "Everyone in {home} remembered {full} the {trade} and the {keepsake}.",
];

/// Somebody with facts that do not change within a text.
#[derive(Debug, Clone)]
struct Person {
    name: &'static str,
    surname: &'static str,
    home: &'static str,
    trade: &'static str,
    keepsake: String,
}

/// A text that goes on for as long as it is asked to.
#[derive(Debug, Clone)]
pub(crate) struct Prose {
    random: Random,
    /// Who may still be named for the first time.
    strangers: Vec<&'static str>,
    cast: Vec<Person>,
    /// Who the paragraph is about.
    focus: usize,
}

impl Prose {
    pub(crate) fn new(mut random: Random) -> Self {
        let mut strangers = NAMES.to_vec();
        random.shuffle(&mut strangers);
        Self { random, strangers, cast: Vec::new(), focus: 0 }
    }

    /// The next paragraph: four to eight sentences about one person, without a line break.
    pub(crate) fn paragraph(&mut self) -> String {
        self.sentences().join(" ")
    }

    /// The next paragraph, sentence by sentence.
    pub(crate) fn sentences(&mut self) -> Vec<String> {
        let opening = self.turn_to_somebody();
        let mut sentences = vec![self.fill(opening)];
        for _ in 0..self.random.between(3, 7) {
            let template = self.random.pick(SENTENCES);
            sentences.push(self.fill(template));
        }
        sentences
    }

    /// Chooses who the paragraph is about, and how it begins.
    fn turn_to_somebody(&mut self) -> &'static str {
        let somebody_new = self.cast.len() < 2 || self.random.chance(30);
        if somebody_new && let Some(name) = self.strangers.pop() {
            let person = self.introduce(name);
            self.cast.push(person);
            self.focus = self.cast.len() - 1;
            return self.random.pick(ARRIVALS);
        }
        self.focus = self.random.below(self.cast.len());
        self.random.pick(RETURNS)
    }

    fn introduce(&mut self, name: &'static str) -> Person {
        let random = &mut self.random;
        Person {
            name,
            surname: random.pick(SURNAMES),
            home: random.pick(TOWNS),
            trade: random.pick(TRADES),
            keepsake: format!("{} {}", random.pick(MATERIALS), random.pick(NOUNS)),
        }
    }

    /// A template with every `{slot}` filled in. Somebody must have been named before.
    pub(crate) fn fill(&mut self, template: &str) -> String {
        let mut text = String::new();
        for (index, piece) in template.split(['{', '}']).enumerate() {
            if index % 2 == 0 {
                text.push_str(piece);
            } else {
                let filled = self.slot(piece);
                text.push_str(&filled);
            }
        }
        text
    }

    fn slot(&mut self, slot: &str) -> String {
        let person = &self.cast[self.focus];
        let random = &mut self.random;
        match slot {
            "name" => person.name.into(),
            "full" => format!("{} {}", person.name, person.surname),
            "home" => person.home.into(),
            "trade" => person.trade.into(),
            "keepsake" => person.keepsake.clone(),
            "other" => {
                let others = self.cast.len().saturating_sub(1).max(1);
                let other = (self.focus + 1 + random.below(others)) % self.cast.len();
                self.cast[other].name.into()
            }
            "count" => random.between(2, 999).to_string(),
            "year" => random.between(1500, 1990).to_string(),
            "time_first" => {
                let time = random.pick(TIMES);
                time[..1].to_uppercase() + &time[1..]
            }
            _ => random.pick(list(slot)).into(),
        }
    }
}

/// The words for a slot.
fn list(slot: &str) -> &'static [&'static str] {
    match slot {
        "adjective" => ADJECTIVES,
        "deed" => DEEDS,
        "food" => FOODS,
        "material" => MATERIALS,
        "mood" => MOODS,
        "noun" => NOUNS,
        "reason" => REASONS,
        "subject" => SUBJECTS,
        "time" => TIMES,
        "town" => TOWNS,
        "weather" => WEATHER,
        _ => &["something"],
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn paragraphs(seed: u64, n: usize) -> Vec<String> {
        let mut prose = Prose::new(Random::of_task(seed, "prose"));
        (0..n).map(|_| prose.paragraph()).collect()
    }

    #[test]
    fn every_slot_has_words() {
        let all = [SENTENCES, ARRIVALS, RETURNS].concat();
        let mut prose = Prose::new(Random::of_task(1, "prose"));
        prose.paragraph();
        for template in all {
            let text = prose.fill(template);
            assert!(!text.contains("something") && !text.contains(['{', '}']), "{text}");
        }
    }

    #[test]
    fn the_seed_decides_the_text() {
        assert_eq!(paragraphs(1, 20), paragraphs(1, 20));
        assert_ne!(paragraphs(1, 20), paragraphs(2, 20));
    }

    #[test]
    fn a_long_text_does_not_repeat_itself() {
        let text = paragraphs(3, 400).join(" ");
        let words: Vec<&str> = text.split(' ').collect();
        let runs: BTreeSet<&[&str]> = words.windows(12).collect();
        let share = runs.len() as f64 / words.windows(12).len() as f64;
        assert!(share > 0.97, "{share} of the runs of 12 words are different");
    }

    #[test]
    fn facts_come_back_as_they_were() {
        let mut prose = Prose::new(Random::of_task(5, "prose"));
        let text: Vec<String> = (0..200).map(|_| prose.paragraph()).collect();
        let text = text.join(" ");
        for person in &prose.cast {
            assert!(text.matches(&person.keepsake).count() >= 2, "{}", person.keepsake);
        }
    }
}
