//! Many records with a key and a value; some keys differ from the one asked for by one or two characters.
//! A damaged K cache blurs keys: the reply is then a decoy's value.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::record::{Case, Outcome, Reply, Score};
use crate::task::random::Random;
use crate::task::{Card, Harder, Needs, TaskOption};

use super::listing::{Fixed, Listing, Question, share};
use super::{
    About, CaseDraft, Closed, Draw, OUTPUT_HELP, Retrieval, THINKING, option, output_tokens, ran_out,
    read_target, tuned,
};

/// Characters of keys, the letters first: no vowels (no words), nothing that looks like something else.
const ALPHABET: &[u8] = b"bcdfghjkmnpqrstvwxz23456789";
/// How many of them are letters.
const LETTERS: usize = 19;
/// Edits (Levenshtein) that still make a decoy; every other key is further away.
const MAX_DISTANCE: usize = 2;
/// Digits of a value.
const VALUE_DIGITS: u32 = 10;
/// Questions to one text: the key and the fewest decoys that it may have.
const MOST_QUESTIONS: u32 = 9;
/// Fewest digits that are read as a try at a value.
const NUMBER_DIGITS: usize = 5;

static OPTIONS: &[TaskOption] = &[
    output_tokens(64, OUTPUT_HELP),
    THINKING,
    tuned(
        option("decoys", "records whose key is 1 or 2 edits away from the one asked for", 12, 8, 64),
        Harder::Larger,
    ),
    tuned(
        option("distance", "largest distance of a decoy's key in edits; 1 is harder", 2, 1, 2),
        Harder::Smaller,
    ),
    option("key_length", "characters of a key; longer keys are harder", 8, 6, 16),
];

/// Keys that are nearly the same.
#[derive(Debug)]
pub struct ConfusableKeys;

#[derive(Debug, Serialize, Deserialize)]
struct Target {
    answer: String,
    /// Values of the records with a similar key.
    decoys: Vec<String>,
}

impl Retrieval for ConfusableKeys {
    fn about(&self) -> About {
        About {
            card: Card {
                name: "retrieval/confusable_keys",
                summary: "the value of a key is not taken from a key that is spelt nearly the same (K cache precision)",
                options: OPTIONS,
                needs: Needs { closed_answer: true, questions: MOST_QUESTIONS, ..Needs::LONG },
                ..Card::PRIMARY
            },
            prefill: None,
        }
    }

    fn draft<'a>(&self, draw: &Draw<'a>) -> Box<dyn CaseDraft + 'a> {
        Box::new(listing(draw))
    }

    fn judge(&self, case: &Case, reply: &Reply) -> Result<Score, Outcome> {
        let target: Target = read_target(case)?;
        let answer = reply.answer();
        let said = numbers(&answer);
        if !said.is_empty() && said.iter().all(|number| *number == target.answer) {
            return Ok(Score::of(1.0));
        }
        let label = if ran_out(reply) {
            "truncated"
        } else if said.iter().any(|number| target.decoys.iter().any(|decoy| decoy == number)) {
            "decoy"
        } else if said.is_empty() {
            "none"
        } else {
            "other"
        };
        Ok(Score::of(0.0).labelled(label))
    }

    fn right_answer(&self, case: &Case) -> Option<String> {
        read_target(case).ok().map(|Target { answer, .. }| answer)
    }
}

fn listing(draw: &Draw<'_>) -> Listing {
    let length = draw.option("key_length");
    let distance = draw.option("distance") as usize;
    let mut random = draw.random("");
    let mut values = Values::default();
    let key = random_key(&mut random, length);
    let mut used = BTreeSet::from([key.clone()]);
    let answer = values.next(&mut random);
    let decoys: Vec<String> = (0..draw.option("decoys")).map(|_| values.next(&mut random)).collect();
    let mut family = vec![(key.clone(), answer)];
    let mut fixed = vec![Fixed { share: draw.depth(""), line: record(&key, &family[0].1), asked: Some(0) }];
    for (at, value) in decoys.into_iter().enumerate() {
        let decoy = decoy_key(&mut random, &key, 1 + at % distance, &mut used);
        // Further questions ask for the decoys: their depths are as random as they are.
        fixed.push(Fixed {
            share: share(&mut random),
            line: record(&decoy, &value),
            asked: u32::try_from(at + 1).ok(),
        });
        family.push((decoy, value));
    }
    let questions =
        (0..draw.params.questions.max(1) as usize).map(|asked| question(&family, asked)).collect();
    let next = move || {
        let key = other_key(&mut random, length, &key, &mut used);
        record(&key, &values.next(&mut random))
    };
    Listing::new(INTRO.into(), questions, fixed, next)
}

/// A question for one of several keys that look alike.
fn question(family: &[(String, String)], asked: usize) -> Question {
    let (key, answer) = &family[asked];
    let decoys = family.iter().filter(|(other, _)| other != key).map(|(_, value)| value.clone()).collect();
    let text = format!(
        "What is the value of the key {key}? Other keys may look much like it: take the one that is exactly {key}. \
         Answer with the {VALUE_DIGITS} digits only."
    );
    Question {
        text,
        closed: Some(Closed::one(format!("The value of the key {key} is"), answer)),
        target: json!(Target { answer: answer.clone(), decoys }),
    }
}

const INTRO: &str = "Below are records, one on each line: a key, a colon and the value of that key. You will \
                     be asked for the value of one key.";

fn record(key: &str, value: &str) -> String {
    format!("{key}: {value}")
}

/// A key of so many characters. It starts with a letter, so it is never read as a number.
fn random_key(random: &mut Random, length: u32) -> String {
    let first = ALPHABET[random.below(LETTERS)];
    let rest = (1..length).map(|_| ALPHABET[random.below(ALPHABET.len())]);
    std::iter::once(first).chain(rest).map(char::from).collect()
}

/// A new key of about so many characters that is no decoy of `asked`. Decoys are shorter and longer by up to
/// two, so these vary too.
fn other_key(random: &mut Random, length: u32, asked: &str, used: &mut BTreeSet<String>) -> String {
    loop {
        let length = random.between(length - 2, length + 2);
        let key = random_key(random, length);
        if strsim::levenshtein(&key, asked) > MAX_DISTANCE && used.insert(key.clone()) {
            return key;
        }
    }
}

/// A new key that is so many edits away from `asked`.
fn decoy_key(random: &mut Random, asked: &str, distance: usize, used: &mut BTreeSet<String>) -> String {
    loop {
        let key = (0..distance).fold(asked.to_owned(), |key, _| edited(random, &key));
        if strsim::levenshtein(&key, asked) == distance && used.insert(key.clone()) {
            return key;
        }
    }
}

/// The key with one character changed, put in or left out, but never the first.
fn edited(random: &mut Random, key: &str) -> String {
    let mut bytes = key.as_bytes().to_vec();
    let at = 1 + random.below(bytes.len() - 1);
    let new = ALPHABET[random.below(ALPHABET.len())];
    match random.below(3) {
        0 => bytes[at] = new,
        1 => bytes.insert(at, new),
        _ => {
            bytes.remove(at);
        }
    }
    bytes.into_iter().map(char::from).collect()
}

/// Different ten-digit numbers, one after another.
#[derive(Debug, Default)]
struct Values(BTreeSet<usize>);

impl Values {
    fn next(&mut self, random: &mut Random) -> String {
        let first = 10_usize.pow(VALUE_DIGITS - 1);
        loop {
            let value = first + random.below(9 * first);
            if self.0.insert(value) {
                return value.to_string();
            }
        }
    }
}

/// The numbers of a text that are long enough to be tries at a value. Digits within a word (a key) are none.
fn numbers(text: &str) -> Vec<&str> {
    text.split(|c: char| !c.is_alphanumeric())
        .filter(|word| word.len() >= NUMBER_DIGITS && word.bytes().all(|byte| byte.is_ascii_digit()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::testing::{judge, judged, make, messages};
    use super::*;
    use crate::record::FinishReason;

    /// Key and value of every record.
    fn records(case: &Case) -> Vec<(&str, &str)> {
        let lines = messages(case)[0].content.lines().filter_map(|line| line.split_once(": "));
        lines.filter(|(key, _)| !key.contains(' ')).collect()
    }

    fn target(case: &Case) -> Target {
        read_target(case).unwrap()
    }

    /// Levenshtein's distance by its definition, apart from the crate that the generator uses.
    fn distance(a: &[u8], b: &[u8]) -> usize {
        let mut rows = vec![(0..=b.len()).collect::<Vec<_>>()];
        for i in 1..=a.len() {
            let mut row = vec![i];
            for j in 1..=b.len() {
                let swap = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
                row.push(swap.min(rows[i - 1][j] + 1).min(row[j - 1] + 1));
            }
            rows.push(row);
        }
        rows[a.len()][b.len()]
    }

    #[test]
    fn there_are_as_many_decoys_as_stated_at_their_distance_and_none_has_the_answer() {
        for (context, decoys, far, length) in
            [(512, 8, 2, 6), (2048, 12, 2, 8), (2048, 64, 1, 16), (4096, 40, 2, 6)]
        {
            let options = [("decoys", decoys), ("distance", far), ("key_length", length)];
            for case in make(&ConfusableKeys, context, 6, &options) {
                let records = records(&case);
                let target = target(&case);
                let keys: BTreeSet<&str> = records.iter().map(|record| record.0).collect();
                let values: BTreeSet<&str> = records.iter().map(|record| record.1).collect();
                assert_eq!((keys.len(), values.len()), (records.len(), records.len()), "all differ");
                assert!(values.iter().all(|value| value.len() == 10));

                let (asked, _) = records.iter().find(|record| record.1 == target.answer).unwrap();
                assert!(messages(&case)[0].content.contains(&format!("value of the key {asked}?")));
                let near = |record: &&(&str, &str)| {
                    (1..=MAX_DISTANCE).contains(&distance(record.0.as_bytes(), asked.as_bytes()))
                };
                let near: Vec<_> = records.iter().filter(near).collect();
                let found: BTreeSet<&str> = near.iter().map(|record| record.1).collect();
                assert_eq!(found, target.decoys.iter().map(String::as_str).collect());
                assert_eq!(near.len(), decoys as usize);
                let worst = near.iter().map(|record| distance(record.0.as_bytes(), asked.as_bytes())).max();
                assert_eq!(worst, Some(far as usize));
                assert!(!target.decoys.contains(&target.answer));
            }
        }
    }

    #[test]
    fn the_answer_stands_once_at_its_depth_and_depths_are_spread() {
        let cases = make(&ConfusableKeys, 4096, 16, &[]);
        for case in &cases {
            let records = records(case);
            let answer = target(case).answer;
            assert_eq!(messages(case)[0].content.matches(&answer).count(), 1);
            let at = records.iter().position(|record| record.1 == answer).unwrap();
            assert_eq!(case.depth, Some(at as f64 / records.len() as f64));
        }
        for quarter in 0..4 {
            let of_quarter = |case: &&Case| (case.depth.unwrap() * 4.0) as usize == quarter;
            let n = cases.iter().filter(of_quarter).count();
            assert!((3..=5).contains(&n), "{n} of 16 in quarter {quarter}");
        }
    }

    #[test]
    fn errors_get_their_label() {
        let case = &make(&ConfusableKeys, 2048, 1, &[])[0];
        let Target { answer, decoys } = target(case);
        let other = records(case)
            .into_iter()
            .find(|(_, value)| *value != answer && !decoys.contains(&(*value).into()));
        let other = other.unwrap().1;
        let right = [
            answer.clone(),
            format!(" The value of b2345678 is **{answer}**.\r\n"),
            format!("{answer} {answer}"),
        ];
        for content in right {
            assert_eq!(judged(&ConfusableKeys, case, &content), (1.0, None), "{content}");
        }
        for (content, label) in [
            (decoys[3].clone(), "decoy"),
            (format!("{answer} or {}", decoys[0]), "decoy"),
            (other.to_owned(), "other"),
            (format!("{answer} {other}"), "other"),
            (answer[..9].to_owned(), "other"),
            (format!("{answer}0"), "other"),
            (String::new(), "none"),
            ("b2345678".into(), "none"),
            ("\u{1b}[2J I cannot say, 42.".into(), "none"),
        ] {
            assert_eq!(judged(&ConfusableKeys, case, &content), (0.0, Some(label.into())), "{content}");
        }
        assert_eq!(
            judge(&ConfusableKeys, case, &decoys[0], FinishReason::Length).1,
            Some("truncated".into())
        );
        assert_eq!(judge(&ConfusableKeys, case, &answer, FinishReason::Length), (1.0, None));
    }
}
